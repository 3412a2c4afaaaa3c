package audit_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/syncserver/internal/audit"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/pgtest"
	"tillandsia/syncserver/internal/store"
	"tillandsia/syncserver/internal/store/sqlstore"
)

// dialects are what the tests run over.
var dialects = []struct {
	name string
	url  func(tb testing.TB) string
}{
	{"sqlite", func(tb testing.TB) string { return filepath.Join(tb.TempDir(), "server.db") }},
	{"postgres", func(tb testing.TB) string { return pgtest.Database(tb) }},
}

func openStore(tb testing.TB, url string) store.Store {
	tb.Helper()
	s, err := sqlstore.Open(tb.Context(), sqlstore.Options{Database: url, AllowUnsafe: true})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// run audits a database.
func run(tb testing.TB, url string) *audit.Report {
	tb.Helper()
	r, err := audit.Run(tb.Context(), url)
	if err != nil {
		tb.Fatalf("audit: %v", err)
	}
	return r
}

// told is a report as people read it.
func told(tb testing.TB, r *audit.Report) string {
	tb.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

// clean fails where an audit finds a breach.
func clean(tb testing.TB, url string) *audit.Report {
	tb.Helper()
	r := run(tb, url)
	if r.Breached() {
		tb.Fatalf("not clean:\n%s", told(tb, r))
	}
	return r
}

// history plays what a shop lives through, with everything that the audit
// looks at, through the real way in. afterwards is called after each step.
func history(t *testing.T, h *journaltest.House, afterwards func(step string)) {
	one, two := h.Till("SHOP1", "R1"), h.Till("SHOP1", "R2")
	other := h.Till("SHOP2", "R1")
	anna := one.User

	s := one.Open(10000)
	sale := one.SellCash(1234, 2000)
	one.Sell(4515, journaltest.Card)
	one.Sell(990, journaltest.PayLater)
	one.PayOff(500, journaltest.Cash)
	one.PayOff(200, journaltest.Card)
	one.Continued(pos.Person{ID: "bob", Name: "Bob"})
	one.Move(-2000)
	one.Refund(sale, journaltest.Cash)
	one.Sell(-700, journaltest.Cash) // without a receipt, approved
	one.Append(entry.KindTraining, one.Order(5000, journaltest.Cash))
	one.Continued(anna)
	h.Deliver(one)
	afterwards("open session")

	two.Join(s, 8000)
	two.Sell(12000, journaltest.Cash)
	two.CloseOut(journaltest.Counts(20000), 0)
	two.Join(s, 20000)
	two.Sell(300, journaltest.Cash)
	h.Deliver(two)
	afterwards("joined, left and joined again")

	closed := h.Close(s)
	one.Hear(closed.Close)
	two.Hear(closed.Close)
	afterwards("force closed")

	one.Sell(5000, journaltest.Cash)
	one.Sell(800, journaltest.Card)
	two.Sell(600, journaltest.Cash)
	h.Deliver(one)
	h.Deliver(two)
	afterwards("late orders")

	one.Count(journaltest.Counts(12000))
	one.Sell(100, journaltest.Cash)
	one.CloseOut(journaltest.Counts(13000, 5515), 11000)
	two.CloseOut(journaltest.Counts(20900), 0)
	h.Deliver(one)
	h.Deliver(two)
	h.CloseRescue(s, 1, ledger.TillCount)
	afterwards("rescue closed")

	one.Move(500) // between sessions
	s2 := one.Open(2450)
	one.Sell(6000, journaltest.Cash)
	h.Deliver(one)
	old := *one.Session
	one.Session = &s
	one.Sell(700, journaltest.Cash) // late once more: the second rescue
	one.Session = &old
	h.Deliver(one)
	h.CloseRescue(s, 2, ledger.NotCounted)
	afterwards("second rescue")

	one.CloseOut(journaltest.Counts(8450), 8000)
	h.Deliver(one)
	_ = s2
	afterwards("closed out")

	// A session without anything to post, closed out by its till.
	one.Open(450)
	one.CloseOut(journaltest.Counts(450), 0)
	h.Deliver(one)
	afterwards("empty session")

	// Counted centrally; a late count; a drop when no rescue is open.
	s3 := one.Open(450)
	one.Sell(2000, journaltest.Cash)
	h.Deliver(one)
	h.CloseCounted(s3, ledger.MethodCount{Register: one.Register, Method: journaltest.Cash, Amount: 2440})
	one.CloseOut(journaltest.Counts(2430), 2000)
	h.Deliver(one)
	afterwards("late count and drop between sessions")

	// A wrong order, a refund above what was sold, something not understood,
	// and another order with an id that there is.
	s4 := one.Open(430)
	wrong := one.Stamp(one.Order(1200, journaltest.Cash))
	wrong.Payments[0].Amount = 1190
	one.Write(wrong)
	partly := one.Refund(sale, journaltest.Cash)
	_ = partly
	one.Append("from_the_future", map[string]string{"what": "who knows"})
	twin := one.Stamp(one.Order(1100, journaltest.Cash))
	one.Write(twin)
	twin.Note = "another"
	twin.Number = one.Stamp(twin).Number
	one.AppendOp(twin.ID, entry.KindOrder, twin)
	one.AppendOp(twin.ID, entry.KindOrder, twin)
	h.Deliver(one)
	afterwards("flagged")
	for _, f := range h.Flags("SHOP1") {
		if f.Code == "other_content" {
			if err := h.Ledger.Accept(t.Context(), journaltest.Manager, "SHOP1", f.ID); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	afterwards("accepted")
	h.Close(s4)
	afterwards("flagged, closed")

	// Another point of sale, whose session stays open, and its drawer.
	other.Open(5000)
	other.Sell(100, journaltest.Cash)
	other.Move(-100)
	h.Deliver(other)

	// The second register's drawer is settled.
	if _, err := h.Ledger.SettleDrawer(t.Context(), journaltest.Manager, "SHOP1", two.Register, ledger.SettleRequest{
		Counts: []ledger.MethodCount{{Method: journaltest.Cash, Amount: 20800}}, Reason: "put away",
	}); err != nil {
		t.Fatal(err)
	}
	afterwards("settled")
}

// TestCleanHistory audits a history after each of its steps, while the server
// has the database open.
func TestCleanHistory(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			url := d.url(t)
			s := openStore(t, url)
			history(t, journaltest.NewHouse(t, s, ledger.Options{}), func(step string) {
				r := run(t, url)
				if r.Breached() {
					t.Fatalf("after %s:\n%s", step, told(t, r))
				}
			})
			t.Log("\n" + told(t, run(t, url)))
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

var _ money.Amount
