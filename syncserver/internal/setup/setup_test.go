package setup_test

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/setup"
	"tillandsia/syncserver/internal/store/sqlstore"
)

func settings(code string) catalogue.Settings {
	return catalogue.Settings{Code: code, Name: "Shop", TimeZone: "Europe/Vienna", Methods: []string{setup.MethodCash, setup.MethodCard}, CashControl: true, Active: true}
}

func TestSettingsAreCheckedWhenTheyAreSet(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	second, err := h.PutThing(t.Context(), boss, catalogue.KindMethod, "", json.RawMessage(`{"name":"Euro notes","kind":"cash","account":"assets:notes","active":true}`))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		set  func(s *catalogue.Settings)
		want string
	}{
		{"all is well", func(*catalogue.Settings) {}, ""},
		{"the code is taken", func(*catalogue.Settings) {}, "setup.code_taken"},
		{"a code of small letters", func(s *catalogue.Settings) { s.Code = "shop" }, "setup.bad_code"},
		{"no name", func(s *catalogue.Settings) { s.Code, s.Name = "X1", " " }, "setup.no_name"},
		{"no such time zone", func(s *catalogue.Settings) { s.Code, s.TimeZone = "X1", "Europe/Atlantis" }, "setup.no_such_time_zone"},
		{"the server's time zone", func(s *catalogue.Settings) { s.Code, s.TimeZone = "X1", "Local" }, "setup.no_such_time_zone"},
		{"a day of 25 hours", func(s *catalogue.Settings) { s.Code, s.CutOff = "X1", 24*60 }, "setup.bad_cut_off"},
		{"a negative amount", func(s *catalogue.Settings) { s.Code, s.CashRounding = "X1", -5 }, "setup.negative_amount"},
		{"no method", func(s *catalogue.Settings) { s.Code, s.Methods = "X1", nil }, "setup.no_method"},
		{"no such method", func(s *catalogue.Settings) { s.Code, s.Methods = "X1", []string{"shells"} }, "setup.no_such_method"},
		{"two cash methods", func(s *catalogue.Settings) { s.Code, s.Methods = "X1", []string{setup.MethodCash, second.ID} }, "setup.two_cash_methods"},
	}
	for _, tt := range tests {
		s := settings("SHOP1")
		tt.set(&s)
		if err := h.CreatePointOfSale(t.Context(), boss, s); key(err) != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, key(err), tt.want)
		}
	}
}

func TestBadAccountsAreRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	tests := []struct {
		name, account string
		ok            bool
	}{
		{"a name with blanks and colons", "expenses:cash differences", true},
		{"a number", "4400", true},
		{"umlauts", "aktiva:Kassenbüro", true},
		{"nothing", "", false},
		{"two blanks", "assets:a  b", false},
		{"two blanks that do not break", "assets:a\u00a0\u00a0b", false},
		{"a tab", "assets:\tcash", false},
		{"a new line", "assets:cash\nP", false},
		{"a semicolon", "assets;cash", false},
		{"a quote", `assets:"cash"`, false},
		{"brackets, which need not balance", "(assets:cash)", false},
		{"square brackets", "[assets:cash]", false},
		{"a star", "* assets:cash", false},
		{"a formula", "=1+1", false},
		{"a blank before it", " assets:cash", false},
		{"no UTF-8", "assets:\xff", false},
	}
	for _, tt := range tests {
		want := "setup.bad_account"
		if tt.ok {
			want = ""
		}
		company := setup.DefaultCompany()
		company.Accounts.Suspense = tt.account
		if got := key(h.PutCompany(t.Context(), boss, company)); got != want {
			t.Errorf("%s of the company: %q, want %q", tt.name, got, want)
		}
		body, err := json.Marshal(catalogue.Method{Name: "M", Kind: "card", Account: tt.account})
		if err != nil {
			t.Fatal(err)
		}
		if tt.name == "no UTF-8" {
			continue // JSON cannot carry it
		}
		if _, err := h.PutThing(t.Context(), boss, catalogue.KindMethod, "", body); key(err) != want {
			t.Errorf("%s of a method: %q, want %q", tt.name, key(err), want)
		}
	}
}

func TestThingsAreChecked(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	tests := []struct {
		name string
		kind catalogue.Kind
		body string
		want string
	}{
		{"a product", catalogue.KindProduct, `{"code":"A","name":"Apple","price":10000,"active":true}`, ""},
		{"a field that is not known", catalogue.KindProduct, `{"code":"A","name":"Apple","colour":"red"}`, "common.invalid"},
		{"a product without a code", catalogue.KindProduct, `{"code":" ","name":"Apple"}`, "setup.no_product_code"},
		{"a product of no category", catalogue.KindProduct, `{"code":"A","name":"Apple","category":"none"}`, "setup.no_such_thing"},
		{"a product of no tax", catalogue.KindProduct, `{"code":"A","name":"Apple","taxes":["none"]}`, "setup.no_such_thing"},
		{"a product with a bad barcode", catalogue.KindProduct, `{"code":"A","name":"Apple","barcodes":["4006381333932"]}`, "setup.bad_barcode"},
		{"a category without a name", catalogue.KindCategory, `{"name":""}`, "setup.no_name"},
		{"a tax of 101 %", catalogue.KindTax, `{"code":"T","name":"T","rate":1010000}`, "setup.bad_rate"},
		{"a tax code with a blank", catalogue.KindTax, `{"code":"T 1","name":"T","rate":10000}`, "setup.bad_tax_code"},
		{"a method of no kind", catalogue.KindMethod, `{"name":"M","kind":"shells","account":"a"}`, "setup.bad_method_kind"},
		{"a reason without an account", catalogue.KindReason, `{"name":"R","account":""}`, "setup.bad_account"},
		{"a customer", catalogue.KindCustomer, `{"name":"Clara"}`, ""},
		{"the company", catalogue.KindCompany, `{}`, "setup.no_such_kind"},
		{"a user", catalogue.KindUser, `{}`, "setup.no_such_kind"},
	}
	for _, tt := range tests {
		if _, err := h.PutThing(t.Context(), boss, tt.kind, "", json.RawMessage(tt.body)); key(err) != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, key(err), tt.want)
		}
	}
}

func TestWhatIsLockedWhileSelling(t *testing.T) {
	t.Parallel()
	s, err := sqlstore.Open(t.Context(), sqlstore.Options{Database: filepath.Join(t.TempDir(), "s.db"), AllowUnsafe: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	h := journaltest.NewHouse(t, s, ledger.Options{})
	change := func() (settingsKey, otherKey, currencyKey, accountKey string) {
		one, two := settings("SHOP1"), settings("SHOP2")
		yen, company := setup.DefaultCompany(), setup.DefaultCompany()
		yen.Currency = money.Currency{Code: "JPY"}
		company.Accounts.Safe = "assets:other safe"
		return key(h.Setup.UpdatePointOfSale(t.Context(), boss, one)), key(h.Setup.UpdatePointOfSale(t.Context(), boss, two)),
			key(h.Setup.PutCompany(t.Context(), boss, yen)), key(h.Setup.PutCompany(t.Context(), boss, company))
	}
	expect := func(when string, want [4]string) {
		t.Helper()
		a, b, c, d := change()
		if got := [4]string{a, b, c, d}; got != want {
			t.Errorf("%s: %q, want %q", when, got, want)
		}
	}
	// The first call sets the yen, the euro comes back with the accounts.
	expect("before anything was sold", [4]string{})
	till := h.Till("SHOP1", "R1")
	session := till.Open(1000)
	h.Deliver(till)
	expect("while a session is open", [4]string{"setup.in_use", "", "setup.currency_fixed", ""})
	h.Close(session)
	expect("when it is closed", [4]string{"", "", "setup.currency_fixed", ""})
	till.Sell(500, journaltest.Cash)
	h.Deliver(till)
	expect("while only a rescue is open", [4]string{"", "", "setup.currency_fixed", ""})
	for _, code := range []string{"", "EURO", "eur", "XYZ"} {
		company := setup.DefaultCompany()
		company.Currency.Code = code
		if got := key(h.Setup.PutCompany(t.Context(), boss, company)); got != "setup.no_such_currency" {
			t.Errorf("currency %q: %q", code, got)
		}
	}
}
