package admin_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/syncserver/internal/ledger/journaltest"
)

// roles is the least role of every operation, "" where anyone may call.
var roles = map[string]catalogue.Role{
	"sign-in": "", "enrol": "",
	"sign-out": catalogue.RoleCashier, "me": catalogue.RoleCashier,
	"users": catalogue.RoleAdmin, "create-user": catalogue.RoleAdmin, "change-user": catalogue.RoleAdmin,
	"company": catalogue.RoleManager, "change-company": catalogue.RoleAdmin,
	"points-of-sale": catalogue.RoleCashier, "create-point-of-sale": catalogue.RoleAdmin,
	"point-of-sale": catalogue.RoleCashier, "change-point-of-sale": catalogue.RoleManager,
	"things": catalogue.RoleCashier, "create-thing": catalogue.RoleManager, "change-thing": catalogue.RoleManager,
	"delete-thing": catalogue.RoleManager, "import-products": catalogue.RoleManager,
	"registers": catalogue.RoleCashier, "create-register": catalogue.RoleManager, "pair-register": catalogue.RoleManager,
	"revoke-register": catalogue.RoleManager, "settle-drawer": catalogue.RoleManager,
	"sessions": catalogue.RoleCashier, "session": catalogue.RoleCashier, "preview-close": catalogue.RoleManager,
	"close-session": catalogue.RoleManager, "close-rescue": catalogue.RoleManager,
	"orders": catalogue.RoleCashier, "order": catalogue.RoleCashier,
	"postings": catalogue.RoleManager, "session-posting": catalogue.RoleManager,
	"export-postings-csv": catalogue.RoleManager, "export-postings-json": catalogue.RoleManager, "export-postings-ledger": catalogue.RoleManager,
	"attention": catalogue.RoleManager, "accept-flag": catalogue.RoleManager, "retry-flag": catalogue.RoleManager,
}

// byPoint are the operations that take a point of sale as a query.
var byPoint = []string{
	"sessions", "orders", "postings", "attention", "export-postings-csv", "export-postings-json", "export-postings-ledger",
}

func TestWhoMayCallWhat(t *testing.T) {
	t.Parallel()
	s := newSurveyor(newWorld(t))
	if got, want := slices.Sorted(maps.Keys(s.operations)), slices.Sorted(maps.Keys(roles)); !slices.Equal(got, want) {
		t.Fatalf("operations %v\nof the table  %v", got, want)
	}
	callers := []struct {
		name    string // a key of tokens, "" for nobody
		role    catalogue.Role
		foreign bool // works, but not at SHOP1
	}{
		{"", "", false},
		{"cleo", catalogue.RoleCashier, false},
		{"dora", catalogue.RoleCashier, true},
		{"mona", catalogue.RoleManager, false},
		{"milo", catalogue.RoleManager, true},
		{"nora", catalogue.RoleManager, true},
		{"admin", catalogue.RoleAdmin, false},
	}
	for id, least := range roles {
		op := s.operations[id]
		for _, caller := range callers {
			r := request{method: op.method, path: op.sample(), token: caller.name}
			if op.op.RequestBody != nil {
				r.body = "{" // who may call is refused for this, and nothing happens
			}
			if slices.Contains(byPoint, id) {
				r.path += "?pos=SHOP1"
			}
			if id == "sign-out" && caller.name != "" {
				continue // it works: see the tokens' own test
			}
			status, code := 0, ""
			switch {
			case least == "":
			case caller.role == "":
				status, code = http.StatusUnauthorized, "common.unauthorized"
			case !caller.role.AtLeast(least):
				status, code = http.StatusForbidden, "admin.role"
			case caller.foreign && (strings.Contains(op.path, "{pos}") || slices.Contains(byPoint, id)):
				status, code = http.StatusForbidden, "admin.point_of_sale"
			}
			res, data := s.send(r)
			switch {
			case status == 0 && (res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden):
				t.Errorf("%s by %q is refused: %s", id, caller.name, data)
			case status == 0:
			case res.StatusCode != status:
				t.Errorf("%s by %q = %d, want %d\n%.300s", id, caller.name, res.StatusCode, status, data)
			default:
				if got := s.refusal(r, res, data); got != code {
					t.Errorf("%s by %q is refused by %s, want %s", id, caller.name, got, code)
				}
			}
		}
	}
}

func TestListsShowOnlyWhereOneWorks(t *testing.T) {
	t.Parallel()
	s := newSurveyor(newWorld(t))
	sells := func(point string) {
		till := s.Till(point, "R1")
		session := till.Open(1000)
		till.Sell(500, journaltest.Cash)
		s.Deliver(till)
		s.Close(session)
		till.Sell(700, journaltest.Cash) // a rescue, and a register that falls silent
		s.Deliver(till)
		till.Sell(900, journaltest.Cash)
		s.Connect(till)
	}
	sells("SHOP1")
	sells("SHOP2")
	s.Pass(24 * time.Hour)
	tests := []struct {
		login  string
		points []string
	}{
		{"mona", []string{"SHOP1"}}, {"milo", []string{"SHOP2"}}, {"nora", nil}, {"admin", []string{"SHOP1", "SHOP2"}},
	}
	type row struct {
		Point string `json:"point_of_sale"`
		Code  string `json:"code"`
	}
	for _, tt := range tests {
		token := tt.login
		if token != "admin" {
			token = s.signIn(tt.login, password) // a day has gone by
		} else {
			s.user("admin", catalogue.RoleAdmin, nil)
		}
		check := func(what string, rows []row) {
			t.Helper()
			var got []string
			for _, r := range rows {
				if r.Point == "" {
					r.Point = r.Code
				}
				if !slices.Contains(got, r.Point) {
					got = append(got, r.Point)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, tt.points) {
				t.Errorf("%s sees %s of %v, want %v", tt.login, what, got, tt.points)
			}
		}
		var page struct{ Items []row }
		s.do("sessions", ok, request{token: token}, &page)
		check("sessions", page.Items)
		page.Items = nil
		s.do("orders", ok, request{token: token}, &page)
		check("orders", page.Items)
		var rows []row
		s.do("postings", ok, request{token: token}, &rows)
		check("postings", rows)
		rows = nil
		s.do("export-postings-json", ok, request{token: token}, &rows)
		check("exported postings", rows)
		rows = nil
		s.do("points-of-sale", ok, request{token: token}, &rows)
		check("points of sale", rows)
		var a struct{ Rescues, Silent []row }
		s.do("attention", ok, request{token: token}, &a)
		check("rescues", a.Rescues)
		check("silent registers", a.Silent)
	}
}
