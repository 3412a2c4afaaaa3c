package setup_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/message"
	"tillandsia/syncserver/internal/setup"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
	"tillandsia/syncserver/internal/store/sqlstore"
)

var boss = staff.Actor{User: "boss", Name: "Boss", Role: catalogue.RoleAdmin, Remote: "here"}

// house is the service over SQLite.
type house struct {
	*testing.T
	*setup.Setup
	store store.Store
}

func newHouse(t *testing.T) *house {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Options{Database: filepath.Join(t.TempDir(), "s.db"), AllowUnsafe: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	h := &house{T: t, store: s, Setup: setup.New(s, func() time.Time { return now }, slog.New(slog.DiscardHandler))}
	for range 2 { // asked twice it seeds once
		if err := h.Seed(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func key(err error) string {
	if m, ok := errors.AsType[*message.Error](err); ok {
		return m.Key
	}
	if err != nil {
		return "other: " + err.Error()
	}
	return ""
}

func (h *house) products() map[string]catalogue.Product {
	h.Helper()
	things, err := h.Things(h.Context(), catalogue.KindProduct, "", 0)
	if err != nil {
		h.Fatal(err)
	}
	out := map[string]catalogue.Product{}
	for _, thing := range things {
		var p catalogue.Product
		if err := json.Unmarshal(thing.Body, &p); err != nil {
			h.Fatal(err)
		}
		out[p.Code] = p
	}
	return out
}

func (h *house) importing(csv string, dryRun bool) setup.Import {
	h.Helper()
	r, err := h.ImportProducts(h.Context(), boss, []byte(csv), dryRun)
	if err != nil {
		h.Fatalf("import: %v", err)
	}
	return r
}

func (h *house) tax(code string) string {
	h.Helper()
	body, err := json.Marshal(catalogue.Tax{Code: code, Name: code, Rate: 200_000, Included: true})
	if err != nil {
		h.Fatal(err)
	}
	thing, err := h.PutThing(h.Context(), boss, catalogue.KindTax, "", body)
	if err != nil {
		h.Fatal(err)
	}
	return thing.ID
}

func TestImportTakesFilesAsProgramsWriteThem(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, file string }{
		{"commas", "code,name,category,price,taxes,barcode,unit\nT1,Tea,Drinks,2.50,V20,4006381333931,cup\n"},
		{"semicolons", "code;name;category;price;taxes;barcode;unit\nT1;Tea;Drinks;2.50;V20;4006381333931;cup\n"},
		{"a byte order mark", "\xef\xbb\xbfcode,name,category,price,taxes,barcode,unit\nT1,Tea,Drinks,2.50,V20,4006381333931,cup\n"},
		{"columns in another order, capitals, one more column", "Price , NAME,code,colour,Taxes,Barcode,Unit,Category\n2.50,Tea,T1,green,V20,4006381333931,cup,Drinks\n"},
		{"lines that end as on Windows", "code,name,category,price,taxes,barcode,unit\r\nT1,Tea,Drinks,2.50,V20,4006381333931,cup\r\n"},
		{"quotes, blanks and empty rows", "code,name,category,price,taxes,barcode,unit\n,,,,,,\n T1 ,\" Tea \",Drinks,2.5,V20,4006381333931,cup\n\n,,,,,,\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			tax := h.tax("V20")
			r := h.importing(tt.file, false)
			if r.New != 1 || r.Changed != 0 || r.Unchanged != 0 || len(r.Errors) > 0 || !r.Applied || r.Revision == 0 {
				t.Fatalf("import = %+v", r)
			}
			p := h.products()["T1"]
			if p.Name != "Tea" || p.Price != 25_000 || len(p.Taxes) != 1 || p.Taxes[0] != tax || len(p.Barcodes) != 1 || p.Unit != "cup" || p.Category == "" || !p.Active {
				t.Errorf("product = %+v", p)
			}
		})
	}
}

func TestImportSaysWhatIsWrongByRow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, row, want string
	}{
		{"no code", ",Tea,1.00,,", "setup.no_product_code"},
		{"no name", "T1,,1.00,,", "setup.no_name"},
		{"no price", "T1,Tea,,,", "setup.bad_price"},
		{"a price in words", "T1,Tea,cheap,,", "setup.bad_price"},
		{"a price with five decimals", "T1,Tea,1.00001,,", "setup.bad_price"},
		{"a negative price", "T1,Tea,-1.00,,", "setup.negative_price"},
		{"a tax that is not there", "T1,Tea,1.00,V99,", "setup.no_such_tax"},
		{"a wrong check digit of 13", "T1,Tea,1.00,,4006381333932", "setup.bad_barcode"},
		{"a wrong check digit of 8", "T1,Tea,1.00,,96385075", "setup.bad_barcode"},
		{"a wrong check digit of 12", "T1,Tea,1.00,,036000291453", "setup.bad_barcode"},
		{"a wrong check digit of 14", "T1,Tea,1.00,,10614141000416", "setup.bad_barcode"},
		{"a barcode of another product", "T1,Tea,1.00,,96385074", "setup.barcode_taken"},
		{"the code of the row before", "C0,Tea,1.00,,", "setup.import_twice"},
		{"no UTF-8", "T1,T\xe9,1.00,,", "setup.import_unreadable"},
		{"a quote that never ends", "T1,\"Tea,1.00,,", "setup.import_unreadable"},
		{"a row cut short", "T1,Tea", "setup.bad_price"},
		{"a good check digit of 8 as the last row", "T1,Tea,1.00,,12345670", ""},
		{"a good check digit of 12", "T1,Tea,1.00,,036000291452", ""},
		{"a good check digit of 14", "T1,Tea,1.00,,10614141000415", ""},
		{"letters as a barcode", "T1,Tea,1.00,,ABC-1", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			r := h.importing("code,name,price,taxes,barcode\nC0,Cocoa,3.00,,96385074\n"+tt.row+"\n", false)
			if tt.want == "" {
				if len(r.Errors) > 0 || !r.Applied || r.New != 2 || len(h.products()) != 2 {
					t.Errorf("import = %+v", r)
				}
				return
			}
			if len(r.Errors) != 1 || r.Errors[0].Row != 3 || r.Errors[0].Key != tt.want || strings.Contains(r.Errors[0].Message, "{") || r.Errors[0].Message == tt.want {
				t.Fatalf("errors = %+v, want row 3: %s", r.Errors, tt.want)
			}
			if r.Applied || r.Revision != 0 || len(h.products()) != 0 {
				t.Errorf("something was imported: %+v", r)
			}
		})
	}
}

func TestImportRefusesFiles(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	tests := []struct {
		name string
		file []byte
		want string
	}{
		{"an empty file", nil, "setup.import_unreadable"},
		{"no column for the price", []byte("code,name\nA,Apple\n"), "setup.import_no_column"},
		{"too large a file", make([]byte, setup.MaxImport+1), "setup.import_too_large"},
	}
	for _, tt := range tests {
		if _, err := h.ImportProducts(t.Context(), boss, tt.file, false); key(err) != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, key(err), tt.want)
		}
	}
}

func TestImportAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	tax := h.tax("V20")
	const file = "code,name,price,taxes,barcode,category\nT1,Tea,2.50,V20,4006381333931,Drinks\nT2,Toast,1.00,,,\n"
	dry := h.importing(file, true)
	if dry.New != 2 || dry.Applied || len(h.products()) != 0 {
		t.Fatalf("dry run = %+v", dry)
	}
	h.importing(file, false)
	before := h.products()["T1"]
	if again := h.importing(file, false); again.Unchanged != 2 || again.New+again.Changed != 0 || again.Applied {
		t.Errorf("the same file again = %+v", again)
	}
	// Columns that a file lacks leave the products as they are.
	r := h.importing("code,name,price\nT1,Tea,2.75\nT2,Toast,1.00\nT3,Tart,4.00\n", false)
	if r.New != 1 || r.Changed != 1 || r.Unchanged != 1 || !r.Applied {
		t.Errorf("new prices = %+v", r)
	}
	after := h.products()["T1"]
	if after.Price != 27_500 || len(after.Taxes) != 1 || after.Taxes[0] != tax || after.Category != before.Category || len(after.Barcodes) != 1 {
		t.Errorf("after new prices = %+v", after)
	}
	// A column that is there and empty takes the taxes off.
	h.importing("code,name,price,taxes\nT1,Tea,2.75,\n", false)
	if p := h.products()["T1"]; len(p.Taxes) != 0 {
		t.Errorf("taxes = %v", p.Taxes)
	}
}

func TestImportOfFiftyThousandRows(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.tax("V20")
	var b strings.Builder
	b.WriteString("code,name,price,taxes,category\n")
	for i := range 50_000 {
		fmt.Fprintf(&b, "P%05d,Product %d,%d.%02d,V20,Category %d\n", i, i, i%100, i%100, i%20)
	}
	if r := h.importing(b.String(), false); r.New != 50_000 || len(r.Errors) > 0 {
		t.Fatalf("import = %d new, %d errors", r.New, len(r.Errors))
	}
	if r := h.importing(b.String(), false); r.Unchanged != 50_000 {
		t.Errorf("again = %+v", r)
	}
	if n := len(h.products()); n != 50_000 {
		t.Errorf("%d products", n)
	}
	// As many errors are cut to what a person can use.
	if r := h.importing(strings.ReplaceAll(b.String(), ",V20,", ",V99,"), false); len(r.Errors) != 1000 || r.Applied {
		t.Errorf("%d errors", len(r.Errors))
	}
}
