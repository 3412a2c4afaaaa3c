package ledger_test

import (
	"errors"
	"fmt"
	"testing"

	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/store"
)

// Each test plays a worked example of the specification through Apply and the
// managers' commands, over both stores.

const none = -1 << 40 // no count

// link is a row of a worked example, in cents.
type link struct {
	register                                                  string // code; "" is R1
	brought, opening, moved, expected, counted, closing, diff int
}

// lines checks the cash lines of a session or rescue.
func lines(t *testing.T, what string, d ledger.SessionDetail, want ...link) {
	t.Helper()
	var got []string
	for _, l := range d.Drawers {
		if l.Method != journaltest.Cash {
			continue
		}
		counted := none
		if n := l.CountedNow(); n != nil {
			counted = int(*n)
		}
		got = append(got, fmt.Sprint(link{
			d.Codes[l.Register], int(l.Brought), int(l.Opening), int(l.Taken + l.Moves), int(l.Expected()), counted, int(l.Closing()), int(l.Difference()),
		}))
	}
	var expected []string
	for _, w := range want {
		if w.register == "" {
			w.register = "R1"
		}
		expected = append(expected, fmt.Sprint(w))
	}
	if fmt.Sprint(got) != fmt.Sprint(expected) {
		t.Errorf("%s: cash lines\n got %v\nwant %v", what, got, expected)
	}
}

func TestExampleW1(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(10000)
		till.Sell(20000, journaltest.Cash)
		till.Move(-2000)
		h.Deliver(till)
		h.CloseCounted(s, count(till, 27800))
		till.Sell(5000, journaltest.Cash)
		till.CloseOut(journaltest.Counts(32500), 0)
		h.Deliver(till)
		h.CloseRescue(s, 1, ledger.TillCount)
		lines(t, "S", h.Session("SHOP1", s.ID), link{"", 0, 10000, 18000, 28000, 27800, 27800, -200})
		lines(t, "R", h.Rescue(s, 1), link{"", 27800, 27800, 5000, 32800, 32500, 32500, -300})
		books(t, h, till, 32500)
	})
}

func TestExampleW2(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(10000)
		till.Sell(20000, journaltest.Cash)
		h.Deliver(till)
		h.Close(s)
		till.Sell(5000, journaltest.Cash)
		till.CloseOut(journaltest.Counts(34500), 0)
		s2 := till.Open(34000)
		till.Sell(6000, journaltest.Cash)
		till.CloseOut(journaltest.Counts(40000), 0)
		h.Deliver(till)
		r := h.CloseRescue(s, 1, ledger.TillCount)
		lines(t, "S", h.Session("SHOP1", s.ID), link{"", 0, 10000, 20000, 30000, none, 30000, 0})
		lines(t, "R", h.Rescue(s, 1), link{"", 30000, 30000, 5000, 35000, 34500, 34500, -500})
		d := h.Session("SHOP1", s2.ID)
		lines(t, "S2", d, link{"", 34500, 34000, 6000, 40000, 40000, 40000, 0})
		if d.OpeningDifference != -500 {
			t.Errorf("opening difference = %d, want -500", d.OpeningDifference)
		}
		// W9's last row: the posting of W2's rescue.
		postingIs(t, r.Posting, []string{
			"assets:cash 5000 0", "income:sales 0 4167", "liabilities:tax 0 833",
			"assets:cash 0 500", "expenses:cash differences 500 0",
		})
		books(t, h, till, 40000)
	})
}

func postingIs(t *testing.T, p *store.Posting, want []string) {
	t.Helper()
	if p == nil {
		t.Fatal("no posting")
	}
	got := map[string]int{}
	for _, l := range p.Lines {
		got[fmt.Sprintf("%s %d %d", l.Account, l.Debit, l.Credit)]++
	}
	for _, w := range want {
		got[w]--
	}
	for line, n := range got {
		if n != 0 {
			t.Errorf("posting %s: line %q %+d times", p.Number, line, n)
		}
	}
}

func TestExampleW2b(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(10000)
		till.Sell(20000, journaltest.Cash)
		h.Deliver(till)
		h.Close(s)
		till.Sell(5000, journaltest.Cash)
		till.CloseOut(nil, 0)
		s2 := till.Open(34000)
		till.Sell(6000, journaltest.Cash)
		till.CloseOut(journaltest.Counts(40000), 0)
		h.Deliver(till)
		_, err := h.Ledger.CloseRescue(t.Context(), journaltest.Manager, "SHOP1", pos.RescueID(s.ID, 1), ledger.RescueRequest{
			Choice: ledger.OwnCount, Counts: []ledger.MethodCount{count(till, 34000)},
		})
		if !isMessage(err, "ledger.count_fixed") {
			t.Fatalf("count after the next opening: %v", err)
		}
		h.CloseRescue(s, 1, ledger.NotCounted)
		lines(t, "R", h.Rescue(s, 1), link{"", 30000, 30000, 5000, 35000, none, 35000, 0})
		d := h.Session("SHOP1", s2.ID)
		lines(t, "S2", d, link{"", 35000, 34000, 6000, 40000, 40000, 40000, 0})
		if d.OpeningDifference != -1000 {
			t.Errorf("opening difference = %d, want -1000", d.OpeningDifference)
		}
		books(t, h, till, 40000)
	})
}

func isMessage(err error, key string) bool {
	var m *message.Error
	return errors.As(err, &m) && m.Key == key
}

func TestExampleW3(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(10000)
		till.Sell(20000, journaltest.Cash)
		h.Deliver(till)
		h.Close(s)
		till.CloseOut(journaltest.Counts(29800), 0)
		s2 := till.Open(29700)
		till.Sell(4000, journaltest.Cash)
		till.CloseOut(journaltest.Counts(33700), 0)
		h.Deliver(till)
		lines(t, "S", h.Session("SHOP1", s.ID), link{"", 0, 10000, 20000, 30000, none, 30000, 0})
		d := h.Session("SHOP1", s2.ID)
		lines(t, "S2", d, link{"", 30000, 29700, 4000, 33700, 33700, 33700, 0})
		if d.OpeningDifference != -300 {
			t.Errorf("opening difference = %d, want -300", d.OpeningDifference)
		}
		if rescues := h.Session("SHOP1", s.ID).Rescues; len(rescues) != 0 {
			t.Errorf("a late count made rescues: %+v", rescues)
		}
		var late int
		for _, c := range h.Session("SHOP1", s.ID).Counts {
			if c.Late {
				late++
			}
		}
		if late == 0 {
			t.Error("no late count is recorded")
		}
		books(t, h, till, 33700)
	})
}

func TestExampleW4(t *testing.T) {
	for _, tt := range []struct {
		name   string
		choice ledger.CountChoice
		first  link
		second link
	}{
		{"till's count", ledger.TillCount, link{"", 30000, 30000, 5000, 35000, 34500, 34500, -500}, link{"", 34500, 34500, 2000, 36500, 36500, 36500, 0}},
		{"not counted", ledger.NotCounted, link{"", 30000, 30000, 5000, 35000, none, 35000, 0}, link{"", 35000, 35000, 2000, 37000, 36500, 36500, -500}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			overStores(t, func(t *testing.T, h *journaltest.House) {
				till := h.Till("SHOP1", "R1")
				s := till.Open(10000)
				till.Sell(20000, journaltest.Cash)
				h.Deliver(till)
				h.Close(s)
				till.Sell(5000, journaltest.Cash)
				till.Count(journaltest.Counts(34500))
				h.Deliver(till)
				h.CloseRescue(s, 1, tt.choice)
				till.Sell(2000, journaltest.Cash)
				till.CloseOut(journaltest.Counts(36500), 0)
				h.Deliver(till)
				h.CloseRescue(s, 2, ledger.TillCount)
				lines(t, "R", h.Rescue(s, 1), tt.first)
				lines(t, "R#2", h.Rescue(s, 2), tt.second)
				books(t, h, till, 36500)
			})
		})
	}
}

func TestExampleW5(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		one, two := h.Till("SHOP1", "R1"), h.Till("SHOP1", "R2")
		s := one.Open(10000)
		one.Sell(20000, journaltest.Cash)
		h.Deliver(one)
		two.Join(s, 8000)
		two.Sell(12000, journaltest.Cash)
		h.Deliver(two)
		h.Close(s)
		one.Sell(5000, journaltest.Cash)
		two.Sell(3000, journaltest.Cash)
		one.CloseOut(journaltest.Counts(35000), 0)
		two.CloseOut(journaltest.Counts(22800), 0)
		h.Deliver(two)
		h.Deliver(one)
		r := h.CloseRescue(s, 1, ledger.TillCount)
		if !r.Session.Counted {
			t.Error("the rescue does not say that it was counted")
		}
		byCode := func(d ledger.SessionDetail, code string) ledger.SessionDetail {
			var own []store.DrawerLine
			for _, l := range d.Drawers {
				if d.Codes[l.Register] == code {
					own = append(own, l)
				}
			}
			d.Drawers = own
			return d
		}
		d, e := h.Session("SHOP1", s.ID), h.Rescue(s, 1)
		lines(t, "S/R1", byCode(d, "R1"), link{"R1", 0, 10000, 20000, 30000, none, 30000, 0})
		lines(t, "S/R2", byCode(d, "R2"), link{"R2", 0, 8000, 12000, 20000, none, 20000, 0})
		lines(t, "R/R1", byCode(e, "R1"), link{"R1", 30000, 30000, 5000, 35000, 35000, 35000, 0})
		lines(t, "R/R2", byCode(e, "R2"), link{"R2", 20000, 20000, 3000, 23000, 22800, 22800, -200})
		if len(h.Session("SHOP1", s.ID).Rescues) != 1 {
			t.Error("two registers made more than one rescue")
		}
		books(t, h, one, 35000)
		books(t, h, two, 22800)
	})
}

func TestExampleW6(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(10000)
		till.Sell(20000, journaltest.Cash)
		h.Deliver(till)
		h.Close(s)
		branch := till.Clone()
		till.Sell(5000, journaltest.Cash)
		till.CloseOut(journaltest.Counts(35000), 0)
		h.Deliver(till)
		h.CloseRescue(s, 1, ledger.TillCount)
		s2 := till.Open(37000)
		till.Sell(1000, journaltest.Cash)
		h.Deliver(till)
		// The sale of the branch comes wrapped.
		lost := branch.Sell(2000, journaltest.Cash)
		till.Wrap(branch.Raw[len(branch.Raw)-1])
		till.CloseOut(journaltest.Counts(38000), 0)
		h.Deliver(till)
		r := h.CloseRescue(s, 2, ledger.NotCounted)
		lines(t, "R", h.Rescue(s, 1), link{"", 30000, 30000, 5000, 35000, 35000, 35000, 0})
		lines(t, "R#2", h.Rescue(s, 2), link{"", 35000, 35000, 2000, 37000, none, 35000, -2000})
		d := h.Session("SHOP1", s2.ID)
		lines(t, "S2", d, link{"", 35000, 37000, 1000, 38000, 38000, 38000, 0})
		if d.OpeningDifference != 2000 {
			t.Errorf("opening difference = %d, want 2000", d.OpeningDifference)
		}
		if r.Close.Orders != 1 || r.Close.Total != lost.Total {
			t.Errorf("second rescue holds %d orders, %d", r.Close.Orders, r.Close.Total)
		}
		books(t, h, till, 38000)
	})
}

func TestExampleW7(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(10000)
		till.Sell(40000, journaltest.Cash)
		till.Sell(50000, journaltest.Card)
		h.Deliver(till)
		h.Close(s)
		till.Sell(8000, journaltest.Card)
		till.Sell(6000, journaltest.Cash)
		till.Write(till.Stamp(till.Order(-2500, journaltest.Cash)))
		till.Move(-20000)
		till.CloseOut(journaltest.Counts(33300, 58000), 0)
		h.Deliver(till)
		h.CloseRescue(s, 1, ledger.TillCount)
		r := h.Rescue(s, 1)
		lines(t, "R cash", r, link{"", 50000, 50000, -16500, 33500, 33300, 33300, -200})
		for _, m := range r.Methods {
			if m.Method == journaltest.Card && (m.Expected != 58000 || m.Difference != 0 || m.Counted == nil || *m.Counted != 58000) {
				t.Errorf("card in the rescue = %+v", m)
			}
		}
		// An ordinary close with a drop, then a float of what is left.
		s2 := till.Open(33300)
		till.Sell(86700, journaltest.Cash)
		till.CloseOut(journaltest.Counts(120000), 110000)
		s3 := till.Open(10000)
		h.Deliver(till)
		d := h.Session("SHOP1", s2.ID)
		lines(t, "S2", d, link{"", 33300, 33300, 86700, 120000, 120000, 10000, 0})
		if d.State != session.Closed || d.OpeningDifference != 0 {
			t.Errorf("S2 = %+v", d.SessionView)
		}
		if d := h.Session("SHOP1", s3.ID); d.OpeningDifference != 0 {
			t.Errorf("S3's opening difference = %d", d.OpeningDifference)
		}
		books(t, h, till, 10000)
	})
}

// Two registers open offline: independent chains, either may come first.
func TestExampleW7Offline(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		one, two := h.Till("SHOP1", "R1"), h.Till("SHOP1", "R2")
		one.Open(34500)
		one.CloseOut(journaltest.Counts(34500), 0)
		a := one.Open(34500)
		b := two.Open(8000)
		h.Deliver(two)
		h.Deliver(one)
		if a.Name != "SHOP1/R1/00002" || b.Name != "SHOP1/R2/00001" {
			t.Errorf("names %s and %s", a.Name, b.Name)
		}
		lines(t, "R1", h.Session("SHOP1", a.ID), link{"R1", 34500, 34500, 0, 34500, none, 34500, 0})
		lines(t, "R2", h.Session("SHOP1", b.ID), link{"R2", 0, 8000, 0, 8000, none, 8000, 0})
		for _, f := range h.Flags("SHOP1") {
			t.Errorf("flag %s %s", f.Code, f.Params)
		}
		p := h.Close(b)
		postingIs(t, p.Posting, []string{"assets:cash 8000 0", "assets:float 0 8000"})
	})
}

func TestExampleW7b(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(10000)
		till.Sell(110000, journaltest.Cash)
		h.Deliver(till)
		h.Close(s)
		till.CloseOut(journaltest.Counts(120000), 110000)
		s2 := till.Open(10000)
		h.Deliver(till)
		d := h.Session("SHOP1", s2.ID)
		lines(t, "S2", d, link{"", 10000, 10000, 0, 10000, none, 10000, 0})
		if d.OpeningDifference != 0 || len(h.Session("SHOP1", s.ID).Rescues) != 0 {
			t.Errorf("opening difference %d, rescues %v", d.OpeningDifference, h.Session("SHOP1", s.ID).Rescues)
		}
		p := h.Close(s2)
		postingIs(t, p.Posting, []string{"assets:cash 0 110000", "assets:safe 110000 0"})
		books(t, h, till, 10000)
	})
}

func TestExampleW7c(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(10000)
		till.Sell(110000, journaltest.Cash)
		h.Deliver(till)
		h.Close(s)
		till.Sell(100, journaltest.Cash)
		till.Write(till.Stamp(till.Order(-100, journaltest.Cash)))
		till.CloseOut(journaltest.Counts(120000), 110000)
		s2 := till.Open(10000)
		h.Deliver(till)
		r := h.CloseRescue(s, 1, ledger.TillCount)
		lines(t, "R", h.Rescue(s, 1), link{"", 120000, 120000, 0, 120000, 120000, 10000, 0})
		d := h.Session("SHOP1", s2.ID)
		lines(t, "S2", d, link{"", 10000, 10000, 0, 10000, none, 10000, 0})
		var safe money.Amount
		for _, l := range r.Posting.Lines {
			if l.Account == journaltest.SafeAcct {
				safe += l.Debit - l.Credit
			}
		}
		if safe != 110000 {
			t.Errorf("the rescue posts %d to the safe", safe)
		}
		books(t, h, till, 10000)
	})
}

func TestExampleW8(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(10000)
		till.Sell(20000, journaltest.Cash)
		h.Deliver(till)
		till.Sell(3000, journaltest.Cash) // unheard
		first := h.CloseCounted(s, count(till, 33000))
		till.Sell(2000, journaltest.Cash)
		till.CloseOut(journaltest.Counts(35000), 0)
		h.Deliver(till)
		r := h.CloseRescue(s, 1, ledger.TillCount)
		lines(t, "S", h.Session("SHOP1", s.ID), link{"", 0, 10000, 20000, 30000, 33000, 33000, 3000})
		lines(t, "R", h.Rescue(s, 1), link{"", 33000, 33000, 5000, 38000, 35000, 35000, -3000})
		if want := "(RESCUE FOR SHOP1/R1/00001) / " + first.Posting.Number; r.Posting.Text != want {
			t.Errorf("text of the rescue's posting = %q, want %q", r.Posting.Text, want)
		}
		books(t, h, till, 35000)
	})
}

func TestExampleW9(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		// A first session leaves 100.00, so that the opening has a difference.
		till.Open(10000)
		till.CloseOut(journaltest.Counts(10000), 0)
		s := till.Open(9900)
		till.SellCash(1200, 2000)
		b := till.Order(1003, journaltest.Cash)
		b.Rules.CashRounding = 5
		b.Payments[0].Amount, b.Rounding, b.RoundingAccount = 1005, 2, journaltest.RoundAcct
		b = till.Write(till.Stamp(b))
		till.Sell(2400, journaltest.Card)
		till.Sell(1200, journaltest.PayLater)
		till.Write(till.Stamp(till.Order(-600, journaltest.Cash)))
		f := till.Order(-1003, journaltest.Cash)
		f.Rules.CashRounding = 5
		f.Payments[0].Amount, f.Rounding, f.RoundingAccount = -1005, -2, journaltest.RoundAcct
		f.Lines[0].Refund = &pos.LineRef{Order: b.ID, Line: b.Lines[0].ID}
		till.Write(till.Stamp(f))
		till.Move(-5000)
		// Expected 99.00 + 6.00 − 50.00 = 55.00; counted 55.50.
		till.CloseOut(journaltest.Counts(5550), 0)
		if flags := h.Deliver(till); len(flags) > 0 {
			t.Errorf("flags %+v", flags)
		}
		p, err := h.Ledger.Posting(t.Context(), "SHOP1", s.ID)
		if err != nil {
			t.Fatal(err)
		}
		postingIs(t, &p, []string{
			"assets:cash 600 0", "assets:card 2400 0", "assets:receivable 1200 0", "income:sales 0 4836", "liabilities:tax 0 967",
			"income:sales 1336 0", "liabilities:tax 267 0", "assets:cash 0 5000", "assets:safe 5000 0",
			"assets:cash 0 100", "expenses:cash differences 100 0", "assets:cash 50 0", "income:cash differences 0 50",
		})
	})
}

// A flagged order stands in suspense with what it lacks.
func TestExampleW9Suspense(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(0)
		o := till.Order(1200, journaltest.Cash)
		o.Payments[0].Amount = 1190
		till.Write(till.Stamp(o))
		flags := h.Deliver(till)
		if len(flags) != 1 || flags[0].Code != ledger.FlagPaymentsWrong {
			t.Errorf("flags %+v", flags)
		}
		p := h.Close(s)
		postingIs(t, p.Posting, []string{"assets:cash 1190 0", "assets:suspense 10 0", "income:sales 0 1000", "liabilities:tax 0 200"})
	})
}

// W11: included tax at half a cent; the server computes the same.
func TestExampleW11(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		till.Open(0)
		o := till.Sell(4515, journaltest.Cash)
		if o.Net != 3763 || o.Taxes[0].Amount != 752 {
			t.Fatalf("net %d, tax %d", o.Net, o.Taxes[0].Amount)
		}
		if flags := h.Deliver(till); len(flags) > 0 {
			t.Errorf("flags %+v", flags)
		}
		wrong := till.Order(4515, journaltest.Cash)
		wrong.Net, wrong.Taxes[0].Amount = 3762, 753
		wrong.Lines[0].Net = 3762
		wrong.Lines[0].Taxes = []money.TaxSum{{Tax: journaltest.VAT, Amount: 753}}
		till.Write(till.Stamp(wrong))
		if flags := h.Deliver(till); len(flags) != 1 || flags[0].Code != ledger.FlagSumsDiffer {
			t.Errorf("flags of 37.62 / 7.53: %+v", flags)
		}
	})
}

func TestExampleW12(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		one, two := h.Till("SHOP1", "R1"), h.Till("SHOP1", "R2")
		s := one.Open(10000)
		h.Deliver(one)
		two.Join(s, 8000)
		two.Sell(5000, journaltest.Cash)
		two.CloseOut(journaltest.Counts(13000), 0)
		two.Open(13000)
		two.CloseOut(journaltest.Counts(13000), 0)
		two.Join(s, 13000)
		two.Sell(2000, journaltest.Cash)
		two.CloseOut(journaltest.Counts(15000), 0)
		h.Deliver(two)
		one.CloseOut(journaltest.Counts(10000), 0)
		h.Deliver(one)
		d := h.Session("SHOP1", s.ID)
		if d.State != session.Closed {
			t.Errorf("S is %s", d.State)
		}
		var own []store.DrawerLine
		for _, l := range d.Drawers {
			if l.Register == two.Register {
				own = append(own, l)
			}
		}
		d.Drawers = own
		lines(t, "S/R2", d, link{"R2", 0, 8000, 5000, 13000, 13000, 13000, 0}, link{"R2", 13000, 13000, 2000, 15000, 15000, 15000, 0})
		for _, f := range h.Flags("SHOP1") {
			t.Errorf("flag %s %s", f.Code, f.Params)
		}
		books(t, h, two, 15000)
	})
}

// W10 at the server: numbers of another series are nobody's doubles, the same
// number twice is kept, booked and flagged on both.
func TestExampleW10(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(0)
		first := till.Sell(1000, journaltest.Cash)
		again := till.Order(1100, journaltest.Cash)
		again = till.Stamp(again)
		again.Number = first.Number
		till.Write(again)
		till.Append(entry.KindSeries, pos.SeriesBegun{Tag: "K7M", LastReceipt: first.Number, Why: "copy"})
		h.Deliver(till)
		var codes []string
		for _, f := range h.Flags("SHOP1") {
			codes = append(codes, f.Code)
		}
		if fmt.Sprint(codes) != "[number_twice number_twice]" {
			t.Errorf("flags %v", codes)
		}
		if d := h.Session("SHOP1", s.ID); d.Orders != 2 || d.Total != 2100 {
			t.Errorf("both are booked: %d orders, %d", d.Orders, d.Total)
		}
	})
}
