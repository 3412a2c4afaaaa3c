package ledger_test

import (
	"path/filepath"
	"testing"

	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/pgtest"
	"tillandsia/syncserver/internal/store"
	"tillandsia/syncserver/internal/store/sqlstore"
)

// stores are what the tests run over.
var stores = []struct {
	name string
	url  func(tb testing.TB) string
}{
	{"sqlite", func(tb testing.TB) string { return filepath.Join(tb.TempDir(), "server.db") }},
	{"postgres", func(tb testing.TB) string { return pgtest.Database(tb) }},
}

func open(tb testing.TB, url string) store.Store {
	tb.Helper()
	s, err := sqlstore.Open(tb.Context(), sqlstore.Options{Database: url, AllowUnsafe: true})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// house is a house over SQLite.
func house(tb testing.TB) *journaltest.House {
	tb.Helper()
	return journaltest.NewHouse(tb, open(tb, stores[0].url(tb)), ledger.Options{})
}

// overStores runs a test over both stores.
func overStores(t *testing.T, test func(t *testing.T, h *journaltest.House)) {
	t.Helper()
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			test(t, journaltest.NewHouse(t, open(t, s.url(t)), ledger.Options{}))
		})
	}
}

func count(t *journaltest.Till, amount int) ledger.MethodCount {
	return ledger.MethodCount{Register: t.Register, Method: journaltest.Cash, Amount: journaltest.Amount(amount)}
}

// TestStory plays the founding story at the ledger.
func TestStory(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(10000)
		for range 10 {
			till.Sell(2000, journaltest.Cash)
		}
		if flags := h.Deliver(till); len(flags) > 0 {
			t.Fatalf("flags of honest sales: %+v", flags)
		}
		closed := h.Close(s)
		if closed.Already || closed.Session.State != session.Closed || closed.Posting == nil || closed.Posting.Number != "2026-00001" {
			t.Fatalf("close = %+v", closed)
		}
		if again := h.Close(s); !again.Already || again.Posting.Number != closed.Posting.Number || again.Close.Digest != closed.Close.Digest {
			t.Fatalf("closed again = %+v", again)
		}
		// The cashier sells on and notices nothing.
		for range 5 {
			till.Sell(1000, journaltest.Cash)
		}
		if flags := h.Deliver(till); len(flags) > 0 {
			t.Fatalf("flags of late sales: %+v", flags)
		}
		rescue := h.Rescue(s, 1)
		if rescue.Name != "(RESCUE FOR SHOP1/R1/00001)" || rescue.Orders != 5 || rescue.Total != 5000 || rescue.State != session.Opened {
			t.Fatalf("rescue = %+v", rescue.SessionView)
		}
		// Close-out with 345.00 counted, the next session with 340.00.
		till.CloseOut(journaltest.Counts(34500), 0)
		s2 := till.Open(34000)
		till.Sell(6000, journaltest.Cash)
		h.Deliver(till)
		r := h.CloseRescue(s, 1, ledger.TillCount)
		if r.Session.State != session.Closed || r.Session.Posting != "2026-00002" {
			t.Fatalf("rescue closed = %+v", r.Session)
		}
		// Late money once more makes the second rescue.
		old := *till.Session
		till.Session = &s
		till.Sell(700, journaltest.Cash)
		till.Session = &old
		h.Deliver(till)
		second := h.Rescue(s, 2)
		if second.Name != "(RESCUE FOR SHOP1/R1/00001) #2" || second.Orders != 1 {
			t.Fatalf("second rescue = %+v", second.SessionView)
		}
		h.CloseRescue(s, 2, ledger.NotCounted)
		till.CloseOut(journaltest.Counts(40000), 0)
		if flags := h.Deliver(till); len(flags) > 0 {
			t.Fatalf("flags at the close-out: %+v", flags)
		}
		if d := h.Session("SHOP1", s2.ID); d.State != session.Closed || d.CloseKind != "close_out" {
			t.Fatalf("second session = %+v", d.SessionView)
		}
		books(t, h, till, 40000)
	})
}

// books checks that the postings on the drawer's cash account come to what its
// last link closed at, and that every posting balances.
func books(t *testing.T, h *journaltest.House, till *journaltest.Till, want int) {
	t.Helper()
	var cash journaltest.Amount
	postings, err := h.Ledger.Postings(t.Context(), store.PostingFilter{PointsOfSale: []string{"SHOP1"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range postings {
		var debit, credit journaltest.Amount
		for _, l := range p.Lines {
			debit += l.Debit
			credit += l.Credit
			if l.Account == journaltest.CashAcct && l.Register == till.Register {
				cash += l.Debit - l.Credit
			}
		}
		if debit != credit || debit == 0 {
			t.Errorf("posting %s: debit %d, credit %d", p.Number, debit, credit)
		}
	}
	if cash != journaltest.Amount(want) {
		t.Errorf("cash in the books = %d, want %d", cash, want)
		for _, p := range postings {
			t.Logf("%s %s %s", p.Number, p.Date, p.Text)
			for _, l := range p.Lines {
				t.Logf("   %-30s %8d %8d  %s", l.Account, l.Debit, l.Credit, l.Label)
			}
		}
	}
}
