// Package tilltest makes tills for tests: a real journal and catalogue in a
// temporary folder, a small shop in it, a clock that the test moves, and a
// server that only says what the test tells it to.
package tilltest

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cache "tillandsia/register/internal/catalogue"
	"tillandsia/register/internal/journal"
	"tillandsia/register/internal/till"
	"tillandsia/shared/catalogue"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/secret"
	"tillandsia/shared/wire"
)

// Identity is whose till it is.
var Identity = journal.Identity{PointOfSale: "SHOP1", Register: "01J000000000000000000000R1", Code: "R1"}

// PINs of the users, by id.
var PINs = map[string]string{"anna": "1111", "ben": "2222", "mia": "9999"}

// Clock is a clock that the test moves.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at 10:00 UTC on a Tuesday.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)} }

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Uplink is a server that says what it is told to.
type Uplink struct {
	mu       sync.Mutex
	sessions []wire.Session
	found    *wire.Found
}

// Tell sets the sessions in progress.
func (u *Uplink) Tell(sessions ...wire.Session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sessions = sessions
}

// Know sets what the server finds.
func (u *Uplink) Know(found *wire.Found) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.found = found
}

// Sessions implements till.Uplink.
func (u *Uplink) Sessions() []wire.Session {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.sessions)
}

// Find implements till.Uplink.
func (u *Uplink) Find(context.Context, string, string) (*wire.Found, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.found == nil {
		return nil, message.New(message.Unavailable, "uplink.not_connected")
	}
	return u.found, nil
}

// Shop is what the catalogue of a test's shop holds; tests change it.
type Shop struct {
	Company   catalogue.Company
	Settings  catalogue.Settings
	Register  catalogue.Register
	Taxes     map[string]catalogue.Tax
	Products  map[string]catalogue.Product
	Methods   map[string]catalogue.Method
	Reasons   map[string]catalogue.Reason
	Customers map[string]catalogue.Customer
	Users     map[string]catalogue.User
}

// cheap makes the PINs of tests quick to check.
var cheap = secret.Cost{Time: 1, Memory: 64}

// NewShop returns a shop with a cashier Anna, another, Ben, and a manager, Mia.
func NewShop() *Shop {
	user := func(id, name string, role catalogue.Role) catalogue.User {
		return catalogue.User{Name: name, Role: role, PIN: secret.Hash(PINs[id], cheap), Active: true}
	}
	product := func(code, name string, price money.Price, barcode string, taxes ...string) catalogue.Product {
		return catalogue.Product{Code: code, Name: name, Price: price, Taxes: taxes, Barcodes: []string{barcode}, Category: "drinks", Active: true}
	}
	return &Shop{
		Company: catalogue.Company{
			Name: "Acme", Currency: money.Currency{Code: "EUR", Digits: 2},
			Accounts: catalogue.Accounts{
				Float: "float", Loss: "loss", Gain: "gain", Rounding: "rounding", Suspense: "suspense",
				Receivable: "receivable", Safe: "safe", Income: "income", Tax: "tax",
			},
		},
		Settings: catalogue.Settings{
			Code: Identity.PointOfSale, Name: "Shop one", TimeZone: "Europe/Berlin", CutOff: 240,
			Methods: []string{"cash", "card", "later"}, CashControl: true, MaxDifference: 500,
			Denominations: []money.Amount{5000, 2000, 1000, 500, 200, 100, 50}, MaxDiscount: 100_000, Active: true,
		},
		Register: catalogue.Register{Code: Identity.Code, Name: "Counter", Drawer: true},
		Taxes: map[string]catalogue.Tax{
			"vat":  {Code: "V20", Name: "VAT 20 %", Rate: 200_000, Included: true},
			"levy": {Code: "L10", Name: "Levy 10 %", Rate: 100_000},
		},
		Products: map[string]catalogue.Product{
			"coffee": product("COF", "Coffee", 25_000, "4006381333931", "vat"),
			"tea":    product("TEA", "Tea", 30_000, "4006381333948", "vat"),
			"pizza":  product("PIZ", "Pizza", 100_000, "4006381333955", "levy"),
			"screw":  product("SCR", "Screw", 825, "4006381333962"),
			"old":    {Code: "OLD", Name: "Gone", Price: 10_000},
		},
		Methods: map[string]catalogue.Method{
			"cash":  {Name: "Cash", Kind: pos.MethodCash, Account: "cash", Active: true},
			"card":  {Name: "Card", Kind: pos.MethodCard, Account: "card", Active: true},
			"later": {Name: "Pay later", Kind: pos.MethodPayLater, Account: "receivable", Active: true},
		},
		Reasons: map[string]catalogue.Reason{
			"safe":   {Name: "To the safe", Account: "safe", Out: true},
			"petty":  {Name: "Petty cash", Account: "petty", Out: true},
			"change": {Name: "Change", Account: "bank", In: true},
		},
		Customers: map[string]catalogue.Customer{"zoe": {Name: "Zoe Byrne"}},
		Users: map[string]catalogue.User{
			"anna": user("anna", "Anna", catalogue.RoleCashier), "ben": user("ben", "Ben", catalogue.RoleCashier),
			"mia": user("mia", "Mia", catalogue.RoleManager), "nopin": {Name: "Olaf", Role: catalogue.RoleCashier, Active: true},
		},
	}
}

// Page returns the shop as a snapshot at a revision.
func (s *Shop) Page(revision uint64) wire.Catalogue {
	page := wire.Catalogue{Handle: "test", Snapshot: true}
	put := func(kind catalogue.Kind, id string, body any) {
		raw, err := json.Marshal(body)
		if err != nil {
			panic(err) // the types above can always be encoded
		}
		page.Things = append(page.Things, wire.Thing{Kind: string(kind), ID: id, Body: raw})
	}
	put(catalogue.KindCompany, "company", s.Company)
	put(catalogue.KindSettings, s.Settings.Code, s.Settings)
	put(catalogue.KindRegister, Identity.Register, s.Register)
	put(catalogue.KindCategory, "drinks", catalogue.Category{Name: "Drinks"})
	putAll(put, catalogue.KindTax, s.Taxes)
	putAll(put, catalogue.KindProduct, s.Products)
	putAll(put, catalogue.KindMethod, s.Methods)
	putAll(put, catalogue.KindReason, s.Reasons)
	putAll(put, catalogue.KindCustomer, s.Customers)
	putAll(put, catalogue.KindUser, s.Users)
	var sum catalogue.Sum
	for i := range page.Things {
		page.Things[i].Revision = revision + uint64(i)
		sum.Toggle(page.Things[i].Kind, page.Things[i].ID, page.Things[i].Revision)
	}
	page.To = revision + uint64(len(page.Things)) - 1
	page.Checksum = sum.String()
	return page
}

func putAll[V any](put func(catalogue.Kind, string, any), kind catalogue.Kind, things map[string]V) {
	for id, thing := range things {
		put(kind, id, thing)
	}
}

// World is a till under test. Its journal is verified when the test ends.
type World struct {
	testing.TB
	*till.Till
	Clock     *Clock
	Uplink    *Uplink
	Shop      *Shop
	Journal   *journal.Journal
	Catalogue *cache.Catalogue
	Dir       string

	revision uint64
	idle     time.Duration
	wrap     func(till.Journal) till.Journal
}

// New returns a till in a new folder. change alters the shop before its
// catalogue arrives.
func New(t testing.TB, change ...func(*Shop)) *World {
	t.Helper()
	return NewIn(t, t.TempDir(), NewClock(), change...)
}

// NewIn is [New] in a folder and by a clock of the caller's.
func NewIn(t testing.TB, dir string, clock *Clock, change ...func(*Shop)) *World {
	t.Helper()
	w := &World{TB: t, Clock: clock, Uplink: &Uplink{}, Shop: NewShop(), Dir: dir, revision: 1}
	j, err := journal.Create(w.background(), w.options())
	if err != nil {
		t.Fatalf("journal.Create = %v", err)
	}
	w.start(j)
	t.Cleanup(w.finish)
	for _, f := range change {
		f(w.Shop)
	}
	w.Publish()
	return w
}

// OpenIn opens a journal that lies in a folder already, with the shop's
// catalogue beside it.
func OpenIn(t testing.TB, dir string, clock *Clock) *World {
	t.Helper()
	w := &World{TB: t, Clock: clock, Uplink: &Uplink{}, Shop: NewShop(), Dir: dir, revision: 1}
	j, err := journal.Open(w.background(), w.options())
	if err != nil {
		t.Fatalf("journal.Open = %v", err)
	}
	w.start(j)
	t.Cleanup(w.finish)
	w.Publish()
	return w
}

// Prepare makes the files of a till in a folder and closes them, for a program
// that is started on it.
func Prepare(t testing.TB, dir string, change ...func(*Shop)) {
	t.Helper()
	w := &World{TB: t, Clock: NewClock(), Uplink: &Uplink{}, Shop: NewShop(), Dir: dir, revision: 1}
	j, err := journal.Create(w.background(), w.options())
	if err != nil {
		t.Fatalf("journal.Create = %v", err)
	}
	w.start(j)
	for _, f := range change {
		f(w.Shop)
	}
	w.Publish()
	w.stop()
}

// Wrap puts something between the till and its journal.
func (w *World) Wrap(wrap func(till.Journal) till.Journal) {
	w.wrap = wrap
	w.newTill()
}

// Publish sends the shop down as the catalogue now is.
func (w *World) Publish() {
	w.Helper()
	page := w.Shop.Page(w.revision)
	w.revision = page.To + 1
	if err := w.Catalogue.Apply(w.background(), page); err != nil {
		w.Fatalf("Apply = %v", err)
	}
}

// background is a context that outlives the test's own: cleanups run when that
// has ended.
func (w *World) background() context.Context { return context.WithoutCancel(w.Context()) }

func (w *World) logger() *slog.Logger { return slog.New(slog.NewTextHandler(w.Output(), nil)) }

func (w *World) options() journal.Options {
	return journal.Options{
		Dir: w.Dir, Identity: Identity, Clock: w.Clock.Now, LockTimeout: time.Second, Logger: w.logger(), Software: "register test",
	}
}

func (w *World) start(j *journal.Journal) {
	w.Helper()
	w.Journal = j
	c, err := cache.Open(w.background(), cache.Options{
		Dir: w.Dir, PointOfSale: Identity.PointOfSale, Register: Identity.Register, Clock: w.Clock.Now,
		LockTimeout: time.Second, Logger: w.logger(),
	})
	if err != nil {
		w.Fatalf("catalogue.Open = %v", err)
	}
	w.Catalogue = c
	w.newTill()
}

func (w *World) newTill() {
	w.Helper()
	var j till.Journal = w.Journal
	if w.wrap != nil {
		j = w.wrap(j)
	}
	t, err := till.New(w.background(), till.Options{
		Journal: j, Catalogue: w.Catalogue, Uplink: w.Uplink, Clock: w.Clock.Now, Logger: w.logger(), Idle: w.idle,
	})
	if err != nil {
		w.Fatalf("till.New = %v", err)
	}
	w.Till = t
}

// Restart stops the till and starts it again over the same files.
func (w *World) Restart() {
	w.Helper()
	w.stop()
	j, err := journal.Open(w.background(), w.options())
	if err != nil {
		w.Fatalf("journal.Open = %v", err)
	}
	w.start(j)
}

func (w *World) stop() {
	w.Helper()
	if err := w.Catalogue.Close(); err != nil {
		w.Errorf("close the catalogue: %v", err)
	}
	if err := w.Journal.Close(); err != nil {
		w.Errorf("close the journal: %v", err)
	}
}

func (w *World) finish() {
	var out strings.Builder
	report, err := w.Journal.Verify(w.background(), &out)
	switch {
	case err != nil:
		w.Errorf("verify the journal: %v", err)
	case !report.OK():
		w.Errorf("the journal is broken:\n%s", out.String())
	}
	w.stop()
}
