package catalogue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tillandsia/register/internal/catalogue"
	shared "tillandsia/shared/catalogue"
	"tillandsia/shared/wire"
)

// server is what a server holds, and the pages that it would send.
type server struct {
	things map[string]wire.Thing
	rev    uint64
}

func (s *server) set(kind shared.Kind, id string, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	s.rev++
	s.things[string(kind)+"/"+id] = wire.Thing{Kind: string(kind), ID: id, Revision: s.rev, Body: raw}
}

func (s *server) remove(kind shared.Kind, id string) {
	s.rev++
	s.things[string(kind)+"/"+id] = wire.Thing{Kind: string(kind), ID: id, Revision: s.rev, Deleted: true}
}

// pages returns what is above a revision, n things a page.
func (s *server) pages(handle string, from uint64, snapshot bool, n int) []wire.Catalogue {
	var sum shared.Sum
	byRev := map[uint64]wire.Thing{}
	for _, t := range s.things {
		byRev[t.Revision] = t
		if !t.Deleted {
			sum.Toggle(t.Kind, t.ID, t.Revision)
		}
	}
	pages := []wire.Catalogue{{Handle: handle, From: from, Snapshot: snapshot}}
	for rev := from + 1; rev <= s.rev; rev++ {
		last := &pages[len(pages)-1]
		if t, ok := byRev[rev]; ok && (!snapshot || !t.Deleted) {
			if len(last.Things) == n {
				last.More = true
				pages = append(pages, wire.Catalogue{Handle: handle, From: last.To, Snapshot: snapshot})
				last = &pages[len(pages)-1]
			}
			last.Things = append(last.Things, t)
		}
		last.To = rev
	}
	pages[len(pages)-1].Checksum = sum.String()
	return pages
}

func shop() *server {
	s := &server{things: map[string]wire.Thing{}}
	s.set(shared.KindCompany, "company", shared.Company{Name: "Acme"})
	s.set(shared.KindSettings, "SHOP1", shared.Settings{Code: "SHOP1", Name: "Shop one", Methods: []string{"card", "cash"}})
	s.set(shared.KindRegister, "r1", shared.Register{Code: "R1", Drawer: true})
	s.set(shared.KindMethod, "cash", shared.Method{Name: "Cash", Kind: "cash", Active: true})
	s.set(shared.KindMethod, "card", shared.Method{Name: "Card", Kind: "card", Active: true})
	s.set(shared.KindTax, "vat", shared.Tax{Code: "V20", Name: "VAT", Rate: 200000})
	s.set(shared.KindCategory, "drinks", shared.Category{Name: "Drinks", Order: 1})
	s.set(shared.KindProduct, "p1", shared.Product{Code: "COF", Name: "Coffee", Category: "drinks", Price: 25000, Active: true, Barcodes: []string{"4006381333931"}})
	s.set(shared.KindProduct, "p2", shared.Product{Code: "TEA", Name: "Green tea", Category: "drinks", Price: 22000, Active: true})
	s.set(shared.KindProduct, "p3", shared.Product{Code: "OLD", Name: "Coffee of old", Active: false})
	s.set(shared.KindReason, "safe", shared.Reason{Name: "Safe", Account: "1001", Out: true})
	s.set(shared.KindCustomer, "c1", shared.Customer{Name: "Zoe Byrne", Phone: "555-1234"})
	s.set(shared.KindUser, "u1", shared.User{Name: "Anna", Role: shared.RoleCashier, PIN: "$argon2id$verifier-of-anna", Active: true})
	s.set("something_new", "x", map[string]int{"a": 1})
	return s
}

func open(t testing.TB, o catalogue.Options) *catalogue.Catalogue {
	t.Helper()
	c, err := catalogue.Open(context.WithoutCancel(t.Context()), o)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return c
}

func options(t testing.TB) catalogue.Options {
	return catalogue.Options{
		Dir: t.TempDir(), PointOfSale: "SHOP1", Register: "r1", LockTimeout: 100 * time.Millisecond,
		Clock:  func() time.Time { return time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC) },
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func apply(t testing.TB, c *catalogue.Catalogue, pages []wire.Catalogue) {
	t.Helper()
	for _, p := range pages {
		if err := c.Apply(t.Context(), p); err != nil {
			t.Fatalf("Apply(%d–%d) = %v", p.From, p.To, err)
		}
	}
}

func names(products []catalogue.Product) string {
	all := make([]string, 0, len(products))
	for _, p := range products {
		all = append(all, p.Name)
	}
	return strings.Join(all, ",")
}

// checkShop checks that a view is that of shop().
func checkShop(t *testing.T, v *catalogue.View) {
	t.Helper()
	if c, ok := v.Company(); !ok || c.Name != "Acme" {
		t.Errorf("Company = %v, %v", c, ok)
	}
	if s, ok := v.Settings(); !ok || s.Name != "Shop one" {
		t.Errorf("Settings = %v, %v", s, ok)
	}
	if r, ok := v.Register(); !ok || r.Code != "R1" {
		t.Errorf("Register = %v, %v", r, ok)
	}
	if m := v.Methods(); len(m) != 2 || m[0].ID != "card" || m[1].ID != "cash" {
		t.Errorf("Methods = %v, want card, cash", m)
	}
	if p, ok := v.ProductByCode("cof"); !ok || p.ID != "p1" {
		t.Errorf("ProductByCode = %v, %v", p, ok)
	}
	if p, ok := v.ProductByBarcode("4006381333931"); !ok || p.ID != "p1" {
		t.Errorf("ProductByBarcode = %v, %v", p, ok)
	}
	if p, ok := v.Product("p3"); !ok || p.Active {
		t.Errorf("Product of an inactive one = %v, %v", p, ok)
	}
	if got := names(v.ProductsIn("drinks", 0, 10)); got != "Coffee,Green tea" {
		t.Errorf("ProductsIn = %s", got)
	}
	if u := v.Users(); len(u) != 1 || u[0].PIN != "$argon2id$verifier-of-anna" {
		t.Errorf("Users = %v", u)
	}
	if c := v.SearchCustomers("555 zoe", 5); len(c) != 1 || c[0].ID != "c1" {
		t.Errorf("SearchCustomers = %v", c)
	}
	if len(v.Categories()) != 1 || len(v.Taxes()) != 1 || len(v.Reasons()) != 1 {
		t.Errorf("categories %v, taxes %v, reasons %v", v.Categories(), v.Taxes(), v.Reasons())
	}
}

func TestSnapshotThenNoServer(t *testing.T) {
	for _, size := range []int{1, 3, 1000} {
		t.Run(fmt.Sprintf("pages of %d", size), func(t *testing.T) {
			o := options(t)
			c := open(t, o)
			if _, ok := c.View().Company(); ok {
				t.Error("an empty cache has a company")
			}
			pages := shop().pages("h1", 0, true, size)
			apply(t, c, pages)
			checkShop(t, c.View())
			if handle, rev := c.Handle(); handle != "h1" || rev != 14 {
				t.Errorf("Handle = %s, %d, want h1, 14", handle, rev)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			again := open(t, o)
			checkShop(t, again.View())
			if handle, rev := again.Handle(); handle != "h1" || rev != 14 {
				t.Errorf("Handle after reopening = %s, %d, want h1, 14", handle, rev)
			}
		})
	}
}

func TestSnapshotIsSwappedInWhole(t *testing.T) {
	o := options(t)
	c := open(t, o)
	apply(t, c, shop().pages("h1", 0, true, 100))
	other := shop()
	other.set(shared.KindCompany, "company", shared.Company{Name: "Other"})
	other.remove(shared.KindProduct, "p1")
	pages := other.pages("h2", 0, true, 4)
	apply(t, c, pages[:len(pages)-1])
	checkShop(t, c.View())
	if handle, _ := c.Handle(); handle != "h1" {
		t.Errorf("handle while a snapshot is gathered = %s, want h1", handle)
	}
	// A crash here: what was gathered is gone, what was held is not.
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, o)
	checkShop(t, c.View())
	if err := c.Apply(t.Context(), pages[len(pages)-1]); !errors.Is(err, catalogue.ErrGap) {
		t.Errorf("last page of a snapshot that was cut off = %v, want ErrGap", err)
	}
	apply(t, c, pages)
	if got, _ := c.View().Company(); got.Name != "Other" {
		t.Errorf("company after the snapshot = %s, want Other", got.Name)
	}
	if _, ok := c.View().Product("p1"); ok {
		t.Error("a product that the snapshot does not hold is still there")
	}
}

func TestDelta(t *testing.T) {
	tests := []struct {
		name   string
		change func(*server)
		check  func(*testing.T, *catalogue.View)
	}{
		{"a changed price is seen", func(s *server) {
			s.set(shared.KindProduct, "p1", shared.Product{Code: "COF", Name: "Coffee", Category: "drinks", Price: 30000, Active: true})
		}, func(t *testing.T, v *catalogue.View) {
			if p, _ := v.ProductByCode("COF"); p.Price != 30000 {
				t.Errorf("price = %d, want 30000", p.Price)
			}
			if _, ok := v.ProductByBarcode("4006381333931"); ok {
				t.Error("a barcode that was taken away is still found")
			}
		}},
		{"a renamed product is found by its new name only", func(s *server) {
			s.set(shared.KindProduct, "p1", shared.Product{Code: "ESP", Name: "Espresso", Price: 25000, Active: true})
		}, func(t *testing.T, v *catalogue.View) {
			if got := names(v.Search("coffee", 9)); got != "" {
				t.Errorf("Search(coffee) = %s, want none", got)
			}
			if got := names(v.Search("esp", 9)); got != "Espresso" {
				t.Errorf("Search(esp) = %s, want Espresso", got)
			}
			if got := names(v.ProductsIn("drinks", 0, 9)); got != "Green tea" {
				t.Errorf("drinks = %s, want Green tea", got)
			}
			if got := names(v.ProductsIn("", 0, 9)); got != "Espresso" {
				t.Errorf("of no category = %s, want Espresso", got)
			}
		}},
		{"a deleted product is gone", func(s *server) { s.remove(shared.KindProduct, "p1") }, func(t *testing.T, v *catalogue.View) {
			if _, ok := v.Product("p1"); ok || v.ProductCount() != 1 {
				t.Errorf("product is there: %v, count %d, want 1", ok, v.ProductCount())
			}
		}},
		{"a deleted user is gone", func(s *server) { s.remove(shared.KindUser, "u1") }, func(t *testing.T, v *catalogue.View) {
			if len(v.Users()) != 0 {
				t.Errorf("users = %v, want none", v.Users())
			}
		}},
		{"a thing of an unknown kind is kept and counts for the checksum", func(s *server) {
			s.set("something_new", "x", map[string]int{"a": 2})
		}, checkShop},
		{"many changes at once", func(s *server) {
			for i := range 500 {
				s.set(shared.KindProduct, fmt.Sprintf("n%03d", i), shared.Product{Code: fmt.Sprintf("N%03d", i), Name: fmt.Sprintf("New %03d", 499-i), Category: "drinks", Active: true})
			}
		}, func(t *testing.T, v *catalogue.View) {
			if got := names(v.ProductsIn("drinks", 1, 3)); got != "Green tea,New 000,New 001" {
				t.Errorf("ProductsIn = %s", got)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t)
			c := open(t, o)
			s := shop()
			apply(t, c, s.pages("h1", 0, true, 5))
			_, rev := c.Handle()
			old := c.View()
			tt.change(s)
			pages := s.pages("h1", rev, false, 40)
			apply(t, c, pages)
			tt.check(t, c.View())
			checkShop(t, old)  // a view in use does not change
			apply(t, c, pages) // pages that are heard twice change nothing
			tt.check(t, c.View())
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			tt.check(t, open(t, o).View()) // and made again from the file it is the same
		})
	}
}

func TestWrongPages(t *testing.T) {
	tests := []struct {
		name   string
		change func(*wire.Catalogue)
		want   error
		handle string // afterwards
	}{
		{"another checksum asks for a snapshot", func(p *wire.Catalogue) { p.Checksum = shared.Sum{1}.String() }, catalogue.ErrChecksum, ""},
		{"a page beyond what is held is a gap", func(p *wire.Catalogue) { p.From += 5 }, catalogue.ErrGap, "h1"},
		{"a page of another handle is a gap", func(p *wire.Catalogue) { p.Handle = "h9" }, catalogue.ErrGap, "h1"},
		{"a page without a handle is a gap", func(p *wire.Catalogue) { p.Handle = "" }, catalogue.ErrGap, "h1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := open(t, options(t))
			s := shop()
			apply(t, c, s.pages("h1", 0, true, 100))
			s.set(shared.KindCompany, "company", shared.Company{Name: "Other"})
			page := s.pages("h1", 14, false, 100)[0]
			tt.change(&page)
			if err := c.Apply(t.Context(), page); !errors.Is(err, tt.want) {
				t.Errorf("Apply = %v, want %v", err, tt.want)
			}
			checkShop(t, c.View())
			if handle, _ := c.Handle(); handle != tt.handle {
				t.Errorf("handle = %q, want %q", handle, tt.handle)
			}
			apply(t, c, s.pages("h2", 0, true, 100))
			if got, _ := c.View().Company(); got.Name != "Other" {
				t.Errorf("company after a fresh snapshot = %s, want Other", got.Name)
			}
		})
	}
}

func TestResetKeepsWhatIsHeldInUse(t *testing.T) {
	o := options(t)
	c := open(t, o)
	apply(t, c, shop().pages("h1", 0, true, 100))
	if err := c.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if handle, rev := c.Handle(); handle != "" || rev != 0 {
		t.Errorf("Handle = %q, %d, want none", handle, rev)
	}
	checkShop(t, c.View())
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	checkShop(t, open(t, o).View())
}

func TestVerifiersAreSealed(t *testing.T) {
	o := options(t)
	c := open(t, o)
	apply(t, c, shop().pages("h1", 0, true, 2))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(o.Dir, "catalogue.db")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "verifier-of-anna") || strings.Contains(string(data), "argon2id") {
		t.Error("a PIN verifier stands in the file in the clear")
	}
	// A backup that was put back has no key: the rest stays in use.
	if err := os.Remove(filepath.Join(o.Dir, "instance", "catalogue.key")); err != nil {
		t.Fatal(err)
	}
	c = open(t, o)
	if u := c.View().Users(); len(u) != 1 || u[0].PIN != "" {
		t.Errorf("users without the key = %v, want Anna without a PIN", u)
	}
	if handle, _ := c.Handle(); handle != "" {
		t.Errorf("handle without the key = %q, want none", handle)
	}
	apply(t, c, shop().pages("h1", 0, true, 2))
	checkShop(t, c.View())
}

func TestDamagedFileIsSetAsideAndFetchedAgain(t *testing.T) {
	tests := []struct {
		name   string
		damage func([]byte) []byte
	}{
		{"no bbolt file", func([]byte) []byte { return []byte("this is no database") }},
		{"zeros", func(b []byte) []byte { return make([]byte, len(b)) }},
		{"truncated to a page", func(b []byte) []byte { return b[:4096] }},
		{"truncated in the middle", func(b []byte) []byte { return b[:3*4096] }},
		{"pages overwritten", func(b []byte) []byte {
			for i := 2 * 4096; i < len(b); i++ {
				b[i] = 0xa5
			}
			return b
		}},
		{"a thing changed", func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), `"rev":8`, `"rev":9`)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t)
			c := open(t, o)
			apply(t, c, shop().pages("h1", 0, true, 100))
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(o.Dir, "catalogue.db")
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			damaged := tt.damage(data)
			if err := os.WriteFile(file, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			c = open(t, o)
			if handle, _ := c.Handle(); handle != "" {
				t.Errorf("handle = %q, want none", handle)
			}
			aside, err := filepath.Glob(file + ".damaged-*")
			if err != nil || len(aside) != 1 {
				t.Fatalf("set aside: %v, %v, want one", aside, err)
			}
			kept, err := os.ReadFile(aside[0])
			if err != nil || string(kept) != string(damaged) {
				t.Errorf("what was set aside is not what was there: %v", err)
			}
			apply(t, c, shop().pages("h1", 0, true, 100))
			checkShop(t, c.View())
		})
	}
}

func TestSecondProcessIsTold(t *testing.T) {
	o := options(t)
	open(t, o)
	if _, err := catalogue.Open(t.Context(), o); !errors.Is(err, catalogue.ErrLocked) {
		t.Errorf("Open of a cache in use = %v, want ErrLocked", err)
	}
}

func TestUseAfterClose(t *testing.T) {
	c := open(t, options(t))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), shop().pages("h1", 0, true, 100)[0]); !errors.Is(err, catalogue.ErrClosed) {
		t.Errorf("Apply = %v, want ErrClosed", err)
	}
	if err := c.Reset(t.Context()); !errors.Is(err, catalogue.ErrClosed) {
		t.Errorf("Reset = %v, want ErrClosed", err)
	}
}

func TestSearch(t *testing.T) {
	s := &server{things: map[string]wire.Thing{}}
	add := func(id, code, name string, barcodes ...string) {
		s.set(shared.KindProduct, id, shared.Product{Code: code, Name: name, Barcodes: barcodes, Active: true})
	}
	add("1", "100", "Green apple", "4000001")
	add("2", "1001", "Apple juice")
	add("3", "APPLE", "Zebra")
	add("4", "A1", "Pineapple", "100")
	add("5", "", "Äpfel grün")
	c := open(t, options(t))
	apply(t, c, s.pages("h1", 0, true, 100))
	tests := []struct {
		name, q string
		limit   int
		want    string
	}{
		{"the code comes first, then what begins with it, then what holds it", "apple", 9, "Zebra,Apple juice,Green apple,Pineapple"},
		{"code and barcode before a code that begins so", "100", 9, "Green apple,Pineapple,Apple juice"},
		{"all words must occur", "green apple", 9, "Green apple"},
		{"words in any order", "apple green", 9, "Green apple"},
		{"upper case is the same", "PINE", 9, "Pineapple"},
		{"letters beyond ASCII are the same", "äPFEL", 9, "Äpfel grün"},
		{"no more than asked for", "apple", 2, "Zebra,Apple juice"},
		{"nothing typed lists by name", " ", 3, "Apple juice,Green apple,Pineapple"},
		{"nothing found", "xyz", 9, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := names(c.View().Search(tt.q, tt.limit)); got != tt.want {
				t.Errorf("Search(%q) = %s, want %s", tt.q, got, tt.want)
			}
		})
	}
}

// 100,000 products: a screen answers in 50 ms, of which a search may take a
// part only.
func TestHundredThousandProducts(t *testing.T) {
	s := &server{things: map[string]wire.Thing{}}
	for i := range 100_000 {
		s.set(shared.KindProduct, fmt.Sprintf("p%06d", i), shared.Product{
			Code: fmt.Sprintf("C%06d", i), Name: fmt.Sprintf("Product number %d of the long list", i*7919%100_000),
			Category: strconv.Itoa(i % 50), Barcodes: []string{fmt.Sprintf("40%011d", i)}, Active: true,
		})
	}
	c := open(t, options(t))
	start := time.Now()
	apply(t, c, s.pages("h1", 0, true, 1000))
	t.Logf("snapshot of 100,000 products: %v", time.Since(start))
	v := c.View()
	for _, q := range []string{"C099", "number 99999", "not there", "list of", "4000000099999"} {
		start := time.Now()
		found := v.Search(q, 50)
		took := time.Since(start)
		t.Logf("Search(%q): %d in %v", q, len(found), took)
		if took > 50*time.Millisecond {
			t.Errorf("Search(%q) took %v, want under 50 ms", q, took)
		}
	}
	s.set(shared.KindProduct, "p050000", shared.Product{Code: "C050000", Name: "Changed", Active: true})
	change := s.pages("h1", 100_000, false, 1000)
	start = time.Now()
	apply(t, c, change)
	t.Logf("one change among 100,000: %v", time.Since(start))
	if got := names(c.View().Search("changed", 5)); got != "Changed" {
		t.Errorf("Search(changed) = %s", got)
	}
}
