package ledger_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/store"
)

// world plays random histories of three tills and a manager, and then checks
// what must hold of all of them.
type world struct {
	t      *testing.T
	h      *journaltest.House
	rnd    *rand.Rand
	tills  []*journaltest.Till
	stamps []pos.Stamp
	sold   []pos.Order
	written,
	receipts int
	total money.Amount
}

func TestRandomHistories(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 8
	}
	for i, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			for seed := range seeds / (1 + 4*i) {
				t.Run(strconv.Itoa(seed), func(t *testing.T) {
					t.Parallel()
					h := journaltest.NewHouse(t, open(t, s.url(t)), ledger.Options{})
					w := &world{t: t, h: h, rnd: rand.New(rand.NewPCG(uint64(seed), uint64(i)))}
					for n := range 3 {
						w.tills = append(w.tills, h.Till("SHOP1", fmt.Sprintf("R%d", n+1)))
					}
					for range 150 {
						w.step()
					}
					w.finish()
					w.check()
				})
			}
		})
	}
}

func (w *world) chance(percent int) bool { return w.rnd.IntN(100) < percent }

func (w *world) amount(n int) journaltest.Amount { return journaltest.Amount(1 + w.rnd.IntN(n)) }

func (w *world) step() {
	till := w.tills[w.rnd.IntN(len(w.tills))]
	switch {
	case w.chance(20):
		w.h.DeliverBy(till, 1+w.rnd.IntN(20))
	case w.chance(5):
		w.resend(till)
	case w.chance(6):
		w.manage()
	case till.Session == nil:
		w.between(till)
	default:
		w.sell(till)
	}
}

func (w *world) between(till *journaltest.Till) {
	switch {
	case w.chance(20):
		till.Move(w.amount(4000) - 2000)
	case w.chance(40) && len(w.stamps) > 0:
		if s := w.stamps[w.rnd.IntN(len(w.stamps))]; s.Register != till.Register {
			till.Join(s, w.amount(20000))
		}
	default:
		w.stamps = append(w.stamps, till.Open(w.amount(20000)))
	}
}

func (w *world) sell(till *journaltest.Till) {
	method := journaltest.Cash
	if w.chance(30) {
		method = journaltest.Card
	}
	switch {
	case w.chance(60):
		w.wrote(till.Sell(w.amount(5000), method))
	case w.chance(20) && len(w.sold) > 0:
		at := w.rnd.IntN(len(w.sold))
		w.wrote(till.Refund(w.sold[at], method))
		w.sold = slices.Delete(w.sold, at, at+1)
	case w.chance(20):
		till.PayOff(w.amount(1000), method)
		w.receipts++
	case w.chance(40):
		till.Move(w.amount(4000) - 2000)
	case w.chance(30):
		till.Count(journaltest.Counts(w.amount(30000), w.amount(5000)))
	case w.chance(50):
		drop := journaltest.Amount(0)
		if w.chance(40) {
			drop = w.amount(3000)
		}
		counts := journaltest.Counts(w.amount(30000), w.amount(5000))
		if w.chance(30) {
			till.Finish(nil, drop, nil)
		} else {
			till.CloseOut(counts, drop)
		}
	default:
		till.Continued(pos.Person{ID: "bob", Name: "Bob"})
	}
}

func (w *world) wrote(o pos.Order) {
	w.written++
	w.total += o.Total
	if o.Total > 0 {
		w.sold = append(w.sold, o)
	}
}

// resend delivers entries once more that are there already.
func (w *world) resend(till *journaltest.Till) {
	sent := w.h.Sent(till)
	if sent == 0 {
		return
	}
	from := w.rnd.Uint64N(sent)
	if _, err := w.h.Apply(w.t.Context(), till, from+1, till.Raw[from:sent]); err != nil {
		w.t.Fatal(err)
	}
}

// manage closes a session or a rescue at random.
func (w *world) manage() {
	rows, err := w.h.Ledger.ListSessions(w.t.Context(), store.SessionFilter{
		PointsOfSale: []string{"SHOP1"}, States: []session.State{session.Opened, session.ClosingControl},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(rows) == 0 {
		return
	}
	w.close(rows[w.rnd.IntN(len(rows))].Session)
}

func (w *world) close(s store.Session) {
	ctx := w.t.Context()
	p, err := w.h.Ledger.PreviewClose(ctx, "SHOP1", s.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	var counts []ledger.MethodCount
	for _, l := range p.Lines {
		known := slices.ContainsFunc(counts, func(c ledger.MethodCount) bool { return c.Register == l.Register && c.Method == l.Method })
		if !known && !l.Fixed {
			counts = append(counts, ledger.MethodCount{Register: l.Register, Method: l.Method, Amount: w.amount(30000)})
		}
	}
	if s.Root == "" {
		_, err = w.h.Ledger.Close(ctx, journaltest.Manager, "SHOP1", s.ID, ledger.CloseRequest{Counted: w.chance(40), Counts: counts, Reason: "r"})
	} else {
		choice := []ledger.CountChoice{ledger.OwnCount, ledger.NotCounted, ledger.TillCount}[w.rnd.IntN(3)]
		_, err = w.h.Ledger.CloseRescue(ctx, journaltest.Manager, "SHOP1", s.ID, ledger.RescueRequest{Choice: choice, Counts: counts})
	}
	if isMessage(err, "ledger.no_till_count") || isMessage(err, "ledger.count_fixed") || isMessage(err, "ledger.count_lacks") {
		return // a random wish that cannot be
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// finish ends every session and delivers everything.
func (w *world) finish() {
	for _, till := range w.tills {
		if till.Session != nil {
			till.CloseOut(journaltest.Counts(w.amount(30000), w.amount(3000)), 0)
		}
		w.h.Deliver(till)
	}
	for _, wanted := range []bool{false, true} {
		rows, err := w.h.Ledger.ListSessions(w.t.Context(), store.SessionFilter{
			PointsOfSale: []string{"SHOP1"}, Rescue: &wanted, States: []session.State{session.Opened, session.ClosingControl},
		})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, r := range rows {
			if wanted {
				_, err = w.h.Ledger.CloseRescue(w.t.Context(), journaltest.Manager, "SHOP1", r.ID, ledger.RescueRequest{Choice: ledger.NotCounted})
			} else {
				_, err = w.h.Ledger.Close(w.t.Context(), journaltest.Manager, "SHOP1", r.ID, ledger.CloseRequest{Reason: "r"})
			}
			if err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

func (w *world) check() {
	t, h := w.t, w.h
	sealed(t, h)
	rows, err := h.Ledger.ListSessions(t.Context(), store.SessionFilter{PointsOfSale: []string{"SHOP1"}})
	if err != nil {
		t.Fatal(err)
	}
	orders, total, receipts := 0, money.Amount(0), 0
	ordinals := map[string][]int{}
	for _, r := range rows {
		orders += r.Orders
		total += r.Total
		if r.State != session.Closed {
			t.Errorf("%s is %s", r.Name, r.State)
		}
		if r.Root != "" {
			ordinals[r.Root] = append(ordinals[r.Root], r.Ordinal)
		}
		for _, s := range h.Session("SHOP1", r.ID).Sums {
			if s.Kind == "receipt" {
				receipts += s.Count
			}
		}
	}
	if orders != w.written || total != w.total || receipts != w.receipts {
		t.Errorf("booked %d orders, %d, and %d receipts; written %d, %d, %d", orders, total, receipts, w.written, w.total, w.receipts)
	}
	for root, list := range ordinals {
		slices.Sort(list)
		for i, n := range list {
			if n != i+1 {
				t.Errorf("rescues of %s: %v", root, list)
			}
		}
	}
	for _, f := range h.Flags("SHOP1") {
		if f.Code != ledger.FlagLateCount && f.Code != session.FlagTwoSessions && f.Code != ledger.FlagZDiffers {
			t.Errorf("flag %s %s", f.Code, f.Params)
		}
		if f.Code == ledger.FlagZDiffers {
			t.Errorf("Z differs: %s", f.Params)
		}
	}
	for _, till := range w.tills {
		one(t, h, till)
		w.drawer(till)
	}
}

// drawer checks the chain of a till's cash: every opening against the closing
// before it, and the books against the last closing.
func (w *world) drawer(till *journaltest.Till) {
	t := w.t
	t.Helper()
	err := w.h.Store.View(t.Context(), func(r store.Reader) error {
		lines, err := r.DrawerChain(t.Context(), "SHOP1", till.Register, nil, 0)
		if err != nil {
			return err
		}
		var last money.Amount
		var stay entry.Place
		for _, l := range lines {
			if l.Method != journaltest.Cash {
				continue
			}
			if l.Brought != last+l.Between {
				t.Errorf("%s: %s brings %d forward, the link before closed at %d and %d moved", till.Code, l.Session, l.Brought, last, l.Between)
			}
			// A rescue opens with the closing before it, unless the stay began
			// when S was closed already: then with the float.
			if l.First != stay.IsZero() || l.Ordinal > 0 && l.Opening != l.Brought && l.Stay == stay {
				t.Errorf("%s: line %+v", till.Code, l.Line)
			}
			last, stay = l.Closing(), l.Stay
		}
		books(t, w.h, till, int(last))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
