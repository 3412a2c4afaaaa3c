package e2e_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/pgtest"
	"tillandsia/syncserver/internal/sample"
	"tillandsia/syncserver/internal/world"
)

// limit bounds one test on a busy machine.
const limit = 4 * time.Minute

// shopfloor is a shop of real processes: a server, tills, and what the tills'
// answers promised.
type shopfloor struct {
	*testing.T
	ctx    context.Context //nolint:containedctx // of the test, bounded
	server *world.Server
	tills  []*till
	orders []sample.Order // sold over and over
}

// till is a register with a person at it.
type till struct {
	*world.Till
	floor *shopfloor
	token string // device token
	float int64

	mu   sync.Mutex
	user *world.Client
	next int
	// answered are the orders that its API said were paid.
	answered map[string]answer
}

// answer is what a register says of a sale.
type answer struct {
	ID      string `json:"id"`
	Number  string `json:"number"`
	Total   int64  `json:"total"`
	Session struct {
		ID string `json:"id"`
	} `json:"session"`
}

const (
	pointOfSale = "SHOP1"
	cashier     = "Carla Cashier"
	firstFloat  = 10_000
)

// openShop starts a shop with some tills, each with its own session open.
func openShop(t *testing.T, database string, codes ...string) *shopfloor {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	f := &shopfloor{T: t, ctx: ctx, orders: sample.Orders()}
	var err error
	f.server, err = world.StartServer(ctx, world.ServerOptions{Programs: programs, Dir: t.TempDir(), Database: database})
	f.must(err)
	t.Cleanup(func() {
		if err := f.server.Stop(); err != nil {
			t.Error(err)
		}
	})
	f.must(f.server.OpenShop(ctx, world.Shop{
		Code: pointOfSale, Name: "Corner pizzeria", Products: sample.ProductsCSV(),
		Taxes: map[string]int{"VAT10": 100_000}, Registers: codes,
	}))
	for _, code := range codes {
		f.tills = append(f.tills, f.enrol(code))
	}
	return f
}

func (f *shopfloor) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *shopfloor) enrol(code string) *till {
	f.Helper()
	w, err := f.server.Enrol(f.ctx, pointOfSale, code, "")
	f.must(err)
	t := &till{Till: w, floor: f, answered: map[string]answer{}}
	f.Cleanup(func() {
		if err := w.End(); err != nil {
			f.Error(err)
		}
	})
	data, err := os.ReadFile(filepath.Join(w.Data(), "enrolment.json"))
	f.must(err)
	var enrolment struct {
		Token string `json:"token"`
	}
	f.must(json.Unmarshal(data, &enrolment))
	t.token = enrolment.Token
	t.signIn()
	t.open(firstFloat)
	return t
}

// signIn unlocks a screen of the register.
func (t *till) signIn() {
	f := t.floor
	f.Helper()
	token, err := os.ReadFile(filepath.Join(t.Data(), "api-token"))
	f.must(err)
	program := world.NewClient(t.URL, strings.TrimSpace(string(token)))
	var users []struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	f.must(program.Get(f.ctx, "/users", &users))
	for _, u := range users {
		if u.Name != cashier {
			continue
		}
		var in struct {
			Token string `json:"token"`
		}
		f.must(program.Post(f.ctx, "/sign-ins", map[string]string{"user": u.ID, "pin": world.CashierPIN, "browser": "e2e", "device": "e2e"}, &in))
		t.mu.Lock()
		t.user = world.NewClient(t.URL, in.Token)
		t.mu.Unlock()
		return
	}
	f.Fatalf("no %s at register %s", cashier, t.Code)
}

// restart starts the register again after it was stopped or killed.
func (t *till) restart() {
	t.floor.Helper()
	t.floor.must(t.Restart(t.floor.ctx))
	t.signIn()
}

// open opens a session with what lies in the drawer.
func (t *till) open(float int64) {
	t.floor.Helper()
	t.float = float
	t.floor.must(t.user.Post(t.floor.ctx, "/session", map[string]any{"float": float, "confirm": true}, nil))
}

// closeOut counts the drawer and closes the session.
func (t *till) closeOut() {
	f := t.floor
	f.Helper()
	drawer := t.float
	for _, a := range t.answered {
		drawer += a.Total
	}
	counts := []map[string]any{{"method": "cash", "amount": drawer}, {"method": "card", "amount": 0}}
	f.must(t.user.Post(f.ctx, "/session/count", map[string]any{"counts": counts}, nil))
	f.must(t.user.Post(f.ctx, "/session/close", map[string]any{}, nil))
}

// sale is a sale as a customer asks for it; asked for again it sells once.
type sale struct {
	ID       string           `json:"id"`
	Lines    []map[string]any `json:"lines"`
	Payments []map[string]any `json:"payments"`
}

// sale makes the next one, paid exactly in cash.
func (t *till) sale() (sale, int64) {
	t.mu.Lock()
	o := t.floor.orders[t.next%len(t.floor.orders)]
	t.next++
	t.mu.Unlock()
	s := sale{ID: ulid.MustNew(ulid.Now(), rand.Reader).String()}
	var total int64
	for _, l := range o.Lines {
		s.Lines = append(s.Lines, map[string]any{"code": l.ProductCode, "qty": l.Qty * 1000})
		total += int64(l.Qty) * int64(l.UnitPrice) / int64(money.Price(100))
	}
	s.Payments = []map[string]any{{"method": "cash", "amount": total}}
	return s, total
}

// ask asks the register to sell, and remembers the answer.
func (t *till) ask(s sale, total int64) error {
	t.mu.Lock()
	user := t.user
	t.mu.Unlock()
	var out struct {
		Order answer `json:"order"`
	}
	if err := user.Post(t.floor.ctx, "/sales", s, &out); err != nil {
		return err
	}
	if out.Order.ID != s.ID || out.Order.Total != total {
		return fmt.Errorf("order %s of %d was sold as %s of %d", s.ID, total, out.Order.ID, out.Order.Total)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answered[s.ID] = out.Order
	return nil
}

// sell sells n orders.
func (t *till) sell(n int) {
	t.floor.Helper()
	for range n {
		t.floor.must(t.ask(t.sale()))
	}
}

// sold returns how many sales were answered.
func (t *till) sold() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.answered)
}

// cut pulls the cable and waits until the register has noticed, so that what is
// sold from now on stays there.
func (t *till) cut() {
	t.floor.Helper()
	t.Proxy.Cut()
	t.wait(func(s status) error {
		if s.Phase != "offline" {
			return fmt.Errorf("register %s has not noticed: %s", t.Code, s.Phase)
		}
		return nil
	})
}

// status is how a register's connection stands.
type status struct {
	Phase   string `json:"phase"`
	Waiting int    `json:"waiting"`
	Message string `json:"message"`
}

// synced waits until everything is delivered.
func (t *till) synced() {
	t.floor.Helper()
	t.waiting(0)
}

// waiting waits until at most so many entries wait.
func (t *till) waiting(most int) {
	t.floor.Helper()
	t.wait(func(s status) error {
		if s.Waiting > most {
			return fmt.Errorf("register %s: %d entries wait, %s %s", t.Code, s.Waiting, s.Phase, s.Message)
		}
		return nil
	})
}

func (t *till) wait(f func(s status) error) {
	t.floor.Helper()
	t.floor.must(world.Eventually(t.floor.ctx, world.Patience, func(ctx context.Context) error {
		var s status
		if err := t.user.Get(ctx, "/sync", &s); err != nil {
			return err
		}
		return f(s)
	}))
}

// order is an order at the server.
type order struct {
	ID       string `json:"id"`
	Number   string `json:"number"`
	Total    int64  `json:"total"`
	Session  string `json:"session"`
	Register string `json:"register"`
}

// booked reads every order of the server.
func (f *shopfloor) booked() []order {
	f.Helper()
	var all []order
	for after := ""; ; {
		var page struct {
			Items []order `json:"items"`
			Next  string  `json:"next"`
		}
		f.must(f.server.Manager.Get(f.ctx, "/orders?limit=500&pos="+pointOfSale+"&after="+url.QueryEscape(after), &page))
		all = append(all, page.Items...)
		if after = page.Next; after == "" {
			return all
		}
	}
}

// check waits until every till has delivered, and holds the server against
// what the tills answered: the same orders, each once, the same totals, and
// receipt numbers without a gap. Then it closes everything and has the server's
// database audited.
func (f *shopfloor) check() {
	f.Helper()
	for _, t := range f.tills {
		t.synced()
	}
	f.compare()
	for _, t := range f.tills {
		t.closeOut()
		t.synced()
	}
	f.audit()
}

func (f *shopfloor) compare() {
	f.Helper()
	promised := map[string]answer{}
	for _, t := range f.tills {
		maps.Copy(promised, t.answered)
	}
	booked := f.booked()
	seen, numbers := map[string]bool{}, map[string]bool{}
	var sum, want int64
	ordinals := map[string][]string{}
	for _, o := range booked {
		a, ok := promised[o.ID]
		switch {
		case !ok:
			f.Errorf("order %s %s is at the server; no till answered it", o.ID, o.Number)
		case seen[o.ID]:
			f.Errorf("order %s is there twice", o.ID)
		case numbers[o.Number]:
			f.Errorf("number %s is there twice", o.Number)
		case o.Number != a.Number || o.Total != a.Total:
			f.Errorf("order %s is %s of %d at the server; the till answered %s of %d", o.ID, o.Number, o.Total, a.Number, a.Total)
		}
		seen[o.ID], numbers[o.Number] = true, true
		sum += o.Total
		ordinals[o.Register+" "+a.Session.ID] = append(ordinals[o.Register+" "+a.Session.ID], o.Number)
	}
	for id, a := range promised {
		want += a.Total
		if !seen[id] {
			f.Errorf("order %s %s was answered; it is not at the server", id, a.Number)
		}
	}
	if sum != want || len(booked) != len(promised) {
		f.Errorf("%d orders of %d at the server, the tills answered %d of %d", len(booked), sum, len(promised), want)
	}
	for stay, list := range ordinals {
		slices.Sort(list)
		for i, number := range list {
			if !strings.HasSuffix(number, fmt.Sprintf("-%04d", i+1)) {
				f.Errorf("%s: receipt %d in a row is %s: numbers are skipped or given twice", stay, i+1, number)
				break
			}
		}
	}
}

func (f *shopfloor) audit() {
	f.Helper()
	if told, err := f.server.Audit(f.ctx); err != nil {
		f.Errorf("%v\n%s", err, told)
	}
}

// cluster starts a PostgreSQL cluster of the test's own, as safe as the server
// asks for, with an empty database.
func cluster(t *testing.T) (*pgtest.Cluster, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, err := pgtest.Start(ctx, pgtest.Options{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := c.CreateDatabase(ctx, "e2e"); err != nil {
		t.Fatal(err)
	}
	return c, c.URL("e2e")
}

// stores are what a test runs over.
var stores = []struct {
	name     string
	database func(t *testing.T) string
}{
	{"SQLite", func(*testing.T) string { return "" }},
	{"PostgreSQL", func(t *testing.T) string {
		t.Helper()
		_, database := cluster(t)
		return database
	}},
}

// refused reports whether a program answered with a refusal.
func refused(err error) bool {
	_, ok := errors.AsType[*world.Refusal](err)
	return ok
}
