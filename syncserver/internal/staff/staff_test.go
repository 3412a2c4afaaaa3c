package staff_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/message"
	"tillandsia/shared/secret"
	"tillandsia/syncserver/internal/setup"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
	"tillandsia/syncserver/internal/store/sqlstore"
)

var boss = staff.Actor{User: "boss", Name: "Boss", Role: catalogue.RoleAdmin, Remote: "here"}

// house is the service over SQLite with two points of sale.
type house struct {
	*testing.T
	*staff.Staff
	store store.Store
	mu    sync.Mutex
	now   time.Time
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
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
	h := &house{T: t, store: s, now: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)}
	log := slog.New(slog.DiscardHandler)
	h.Staff = staff.New(s, h.clock, log)
	up := setup.New(s, h.clock, log)
	if err := up.Seed(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"A", "B"} {
		err := up.CreatePointOfSale(t.Context(), boss, catalogue.Settings{Code: code, Name: code, TimeZone: "UTC", Methods: []string{setup.MethodCash}, Active: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// at returns a user's thing at a point of sale: "" where there is none, "gone"
// for a tombstone, the role otherwise.
func (h *house) at(point, user string) string {
	h.Helper()
	var out string
	err := h.store.View(h.Context(), func(r store.Reader) error {
		out = ""
		thing, err := r.Thing(h.Context(), point, string(catalogue.KindUser), user)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil
		case err != nil:
			return err
		case thing.Deleted:
			out = "gone"
			if len(thing.Body) > 0 {
				out = "gone with a body"
			}
			return nil
		}
		var u catalogue.User
		err = json.Unmarshal(thing.Body, &u)
		out = string(u.Role)
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return out
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

func TestFirstAdminIsMadeOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	password, err := h.FirstAdmin(t.Context())
	if err != nil || len(password) < 16 {
		t.Fatalf("first = %q, %v", password, err)
	}
	_, _, actor, err := h.SignIn(t.Context(), "Admin", password, "here")
	if err != nil || actor.Role != catalogue.RoleAdmin || !actor.MayAt("A") {
		t.Fatalf("sign in = %+v, %v", actor, err)
	}
	for _, point := range []string{"A", "B"} {
		if got := h.at(point, actor.User); got != "admin" {
			t.Errorf("at %s the admin is %q", point, got)
		}
	}
	if again, err := h.FirstAdmin(t.Context()); err != nil || again != "" {
		t.Errorf("again = %q, %v", again, err)
	}
}

func TestUsersFlowDown(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	user, err := h.Create(t.Context(), boss, staff.Change{Login: new("Ann"), Name: new("Ann"), Points: new([]string{"A", "A"}), PIN: new("1234")})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change staff.Change
		a, b   string
	}{
		{"a user is there where they work", staff.Change{}, "cashier", ""},
		{"another point of sale is added", staff.Change{Points: new([]string{"A", "B"})}, "cashier", "cashier"},
		{"taken off one they leave a tombstone", staff.Change{Points: new([]string{"B"})}, "gone", "cashier"},
		{"made inactive they are gone everywhere", staff.Change{Active: new(false)}, "gone", "gone"},
		{"made active they are back where they worked", staff.Change{Active: new(true)}, "gone", "cashier"},
		{"an admin works everywhere", staff.Change{Role: new(catalogue.RoleAdmin), PIN: new("123456")}, "admin", "admin"},
		{"no admin any more", staff.Change{Role: new(catalogue.RoleManager)}, "gone", "manager"},
	}
	for _, tt := range tests {
		if user, err = h.Update(t.Context(), boss, user.ID, tt.change); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if a, b := h.at("A", user.ID), h.at("B", user.ID); a != tt.a || b != tt.b {
			t.Errorf("%s: at A %q, at B %q, want %q and %q", tt.name, a, b, tt.a, tt.b)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	create := func(login string, role catalogue.Role, pin *string) store.User {
		u, err := h.Create(t.Context(), boss, staff.Change{Login: &login, Name: &login, Role: &role, PIN: pin})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	cashier := create("cashier", catalogue.RoleCashier, new("1234"))
	manager := create("manager", catalogue.RoleManager, nil)
	tests := []struct {
		name   string
		user   string
		change staff.Change
		want   string
	}{
		{"a cashier's PIN of three digits", cashier.ID, staff.Change{PIN: new("123")}, "staff.pin_length"},
		{"a cashier's PIN of four digits is enough", cashier.ID, staff.Change{PIN: new("4321")}, ""},
		{"a PIN of letters", cashier.ID, staff.Change{PIN: new("12a4")}, "staff.pin_length"},
		{"a PIN of other scripts' digits", cashier.ID, staff.Change{PIN: new("١٢٣٤")}, "staff.pin_length"},
		{"a PIN of thirteen digits", cashier.ID, staff.Change{PIN: new("1234567890123")}, "staff.pin_length"},
		{"a manager's PIN of five digits", manager.ID, staff.Change{PIN: new("12345")}, "staff.pin_length"},
		{"a manager's PIN of six digits is enough", manager.ID, staff.Change{PIN: new("123456")}, ""},
		{"a cashier is promoted and keeps a short PIN", cashier.ID, staff.Change{Role: new(catalogue.RoleManager)}, "staff.pin_again"},
		{"a cashier is promoted with a short PIN", cashier.ID, staff.Change{Role: new(catalogue.RoleManager), PIN: new("1234")}, "staff.pin_length"},
		{"a cashier is promoted and loses the PIN", cashier.ID, staff.Change{Role: new(catalogue.RoleManager), PIN: new("")}, ""},
		{"a short password", manager.ID, staff.Change{Password: new("123456789")}, "staff.password_length"},
		{"a password of few characters and many bytes", manager.ID, staff.Change{Password: new("äöüäöü")}, "staff.password_length"},
		{"no name", manager.ID, staff.Change{Name: new("  ")}, "staff.no_name"},
		{"no login", manager.ID, staff.Change{Login: new(" ")}, "staff.no_login"},
		{"a login that is taken", manager.ID, staff.Change{Login: new(" CASHIER ")}, "staff.login_taken"},
		{"no such role", manager.ID, staff.Change{Role: new(catalogue.Role("king"))}, "staff.no_such_role"},
		{"no such point of sale", manager.ID, staff.Change{Points: new([]string{"C"})}, "staff.no_such_point_of_sale"},
		{"no such user", "nobody", staff.Change{}, "staff.no_such_user"},
	}
	for _, tt := range tests {
		if _, err := h.Update(t.Context(), boss, tt.user, tt.change); key(err) != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, key(err), tt.want)
		}
	}
}

func TestNoSecretInTheAuditLog(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first, err := h.FirstAdmin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u, err := h.Create(t.Context(), boss, staff.Change{Login: new("ann"), Name: new("Ann"), Password: new("correct horse"), PIN: new("482913")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Update(t.Context(), boss, u.ID, staff.Change{Password: new("battery staple"), PIN: new("738291")}); err != nil {
		t.Fatal(err)
	}
	token, _, _, err := h.SignIn(t.Context(), "ann", "battery staple", "here")
	if err != nil {
		t.Fatal(err)
	}
	var rows []store.AuditRow
	err = h.store.View(t.Context(), func(r store.Reader) (err error) {
		rows, err = r.Audit(t.Context(), 0, 1000)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	actions := map[string]int{}
	for _, row := range rows {
		actions[row.Action]++
		line := strings.Join([]string{row.Action, row.Target, string(row.Before), string(row.After)}, " ")
		for _, word := range []string{first, "correct horse", "battery staple", "482913", "738291", token, "argon2", string(secret.TokenHash(token))} {
			if strings.Contains(line, word) {
				t.Errorf("the audit log tells %q: %s", word, line)
			}
		}
	}
	if actions["user_changed"] != 2 || actions["signed_in"] != 1 {
		t.Errorf("actions = %v", actions)
	}
}

func TestSignInIsSlowed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if _, err := h.Create(t.Context(), boss, staff.Change{Login: new("ann"), Name: new("Ann"), Password: new("correct horse")}); err != nil {
		t.Fatal(err)
	}
	try := func(login, password, remote string) string {
		_, _, _, err := h.SignIn(t.Context(), login, password, remote)
		return key(err)
	}
	// Side by side from many addresses: five are checked, the others must wait.
	var group sync.WaitGroup
	got := make(chan string, 20)
	for i := range 20 {
		group.Go(func() { got <- try("ann", "wrong", string(rune('a'+i))) })
	}
	group.Wait()
	close(got)
	counts := map[string]int{}
	for k := range got {
		counts[k]++
	}
	if counts["staff.sign_in_failed"] != 5 || counts["staff.slow_down"] != 15 {
		t.Fatalf("twenty tries at once = %v", counts)
	}
	if k := try("ann", "correct horse", "z"); k != "staff.slow_down" {
		t.Errorf("the right password at once = %q", k)
	}
	h.pass(2 * time.Second)
	if k := try("ann", "wrong", "z"); k != "staff.sign_in_failed" {
		t.Errorf("after the wait = %q", k)
	}
	h.pass(2 * time.Second)
	if k := try("ann", "correct horse", "z"); k != "staff.slow_down" {
		t.Errorf("the wait has not doubled: %q", k)
	}
	h.pass(2 * time.Second)
	if k := try("ann", "correct horse", "z"); k != "" {
		t.Errorf("the right password = %q", k)
	}
	for range 6 {
		if k := try("ann", "correct horse", "z"); k != "" {
			t.Errorf("right passwords are slowed: %q", k)
		}
	}
}
