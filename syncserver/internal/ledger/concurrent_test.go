package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"tillandsia/shared/entry"
	"tillandsia/shared/pos"
	"tillandsia/shared/session"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/store"
)

// together runs functions at once and waits for all.
func together(fs ...func()) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for _, f := range fs {
		wg.Go(func() {
			<-start
			f()
		})
	}
	close(start)
	wg.Wait()
}

// TestSameBatchTwice: the same batch over two connections at once changes
// nothing twice; entries resent in any pieces neither.
func TestSameBatchTwice(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(10000)
		for range 20 {
			till.Sell(100, journaltest.Cash)
		}
		h.Connect(till)
		results := make([]error, 4)
		var fs []func()
		for i := range results {
			fs = append(fs, func() { _, results[i] = h.Apply(t.Context(), till, 1, till.Raw) })
		}
		together(fs...)
		for i, err := range results {
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		}
		booked(t, h, s, 20, 2000)
		// Overlapping pieces.
		for _, piece := range [][2]int{{0, 5}, {3, 9}, {0, len(till.Raw)}, {10, len(till.Raw)}} {
			ack, err := h.Apply(t.Context(), till, uint64(piece[0]+1), till.Raw[piece[0]:piece[1]])
			if err != nil || ack.Cursor.Seq < uint64(piece[1]) || len(ack.Flags) != 0 {
				t.Errorf("piece %v: ack %+v, %v", piece, ack, err)
			}
		}
		booked(t, h, s, 20, 2000)
		one(t, h, till)
	})
}

// TestBrokenTransport: what does not continue the cursor is not taken.
func TestBrokenTransport(t *testing.T) {
	h := house(t)
	till := h.Till("SHOP1", "R1")
	till.Open(10000)
	till.Sell(100, journaltest.Cash)
	fork := till.Clone()
	h.Deliver(till)
	till.Sell(100, journaltest.Cash)
	till.Sell(100, journaltest.Cash)
	fork.Sell(200, journaltest.Cash)
	apply := func(first uint64, raw [][]byte) error {
		_, err := h.Apply(t.Context(), till, first, raw)
		return err
	}
	if err := apply(5, till.Since(5, 0)); !errors.Is(err, ledger.ErrChain) {
		t.Errorf("a hole: %v", err)
	}
	if err := apply(4, [][]byte{till.Raw[3], till.Raw[3]}); !errors.Is(err, ledger.ErrChain) {
		t.Errorf("an entry twice: %v", err)
	}
	if err := apply(4, [][]byte{[]byte("{}")}); !errors.Is(err, ledger.ErrChain) {
		t.Errorf("no entry: %v", err)
	}
	if err := apply(1, nil); !errors.Is(err, ledger.ErrChain) {
		t.Errorf("nothing: %v", err)
	}
	h.Deliver(till)
	if err := apply(4, fork.Since(4, 0)); !errors.Is(err, ledger.ErrFork) {
		t.Errorf("another history: %v", err)
	}
	// A newer connection fences the older one.
	old := h.Register(till)
	w := h.Connect(till)
	till.Sell(100, journaltest.Cash)
	if _, err := h.Ledger.Apply(t.Context(), old, w.Generation-1, 1, 6, till.Since(6, 0)); !errors.Is(err, ledger.ErrReplaced) {
		t.Errorf("an old generation: %v", err)
	}
	h.Deliver(till)
	for err, want := range map[error]string{ledger.ErrReplaced: "replaced", ledger.ErrFork: "fork", ledger.ErrChain: "chain"} {
		if code, ok := h.Ledger.Code(fmt.Errorf("wrapped: %w", err)); !ok || string(code) != want {
			t.Errorf("code of %v = %s, %v", err, code, ok)
		}
	}
	if _, ok := h.Ledger.Code(store.ErrUnknownOutcome); ok {
		t.Error("something is said about an unknown outcome")
	}
}

// TestOneRescue: two late orders at once from two registers make one rescue.
func TestOneRescue(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		one, two := h.Till("SHOP1", "R1"), h.Till("SHOP1", "R2")
		for range 10 {
			s := one.Open(10000)
			h.Deliver(one)
			two.Join(s, 8000)
			h.Deliver(two)
			h.Close(s)
			one.Sell(1000, journaltest.Cash)
			two.Sell(2000, journaltest.Cash)
			together(func() { h.Deliver(one) }, func() { h.Deliver(two) })
			d := h.Session("SHOP1", s.ID)
			if len(d.Rescues) != 1 || d.Rescues[0].Orders != 2 || d.Rescues[0].Total != 3000 {
				t.Fatalf("rescues = %+v", d.Rescues)
			}
			one.CloseOut(journaltest.Counts(11000), 0)
			two.CloseOut(journaltest.Counts(10000), 0)
		}
	})
}

// TestCloseWhileSelling: an order is either booked before the close or late;
// none is lost, none is booked twice, and the seal holds.
func TestCloseWhileSelling(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		tills := []*journaltest.Till{h.Till("SHOP1", "R1"), h.Till("SHOP1", "R2"), h.Till("SHOP1", "R3")}
		s := tills[0].Open(10000)
		h.Deliver(tills[0])
		for _, two := range tills[1:] {
			two.Join(s, 5000)
			h.Deliver(two)
		}
		const each = 60
		for _, till := range tills {
			for range each {
				till.Sell(100, journaltest.Cash)
			}
		}
		var closes []ledger.CloseResult
		var mu sync.Mutex
		var fs []func()
		for _, till := range tills {
			fs = append(fs, func() { h.DeliverBy(till, 5) })
		}
		for range 2 {
			fs = append(fs, func() {
				for h.Session("SHOP1", s.ID).Orders < each {
				}
				r := h.Close(s)
				mu.Lock()
				defer mu.Unlock()
				closes = append(closes, r)
			})
		}
		fs = append(fs, func() {
			// The rescue is closed while its cashiers still sell.
			for {
				if d := h.Session("SHOP1", s.ID); len(d.Rescues) > 0 {
					h.CloseRescue(s, 1, ledger.NotCounted)
					return
				} else if d.State == session.Closed && h.Sent(tills[0])+h.Sent(tills[1])+h.Sent(tills[2]) >= 3*each {
					return
				}
			}
		})
		together(fs...)
		if closes[0].Already == closes[1].Already || closes[0].Close.Digest != closes[1].Close.Digest || closes[0].Session.Posting != closes[1].Session.Posting {
			t.Errorf("closed twice: %+v\n%+v", closes[0].Session, closes[1].Session)
		}
		d := h.Session("SHOP1", s.ID)
		orders, total := d.Orders, d.Total
		open := 0
		for _, r := range d.Rescues {
			orders += r.Orders
			total += r.Total
			if r.State != session.Closed {
				open++
			}
		}
		if orders != 3*each || total != 3*each*100 || open > 1 {
			t.Errorf("%d orders, %d, in S and %d rescues of which %d are open", orders, total, len(d.Rescues), open)
		}
		for _, r := range d.Rescues {
			if r.State != session.Closed {
				h.CloseRescue(s, r.Ordinal, ledger.NotCounted)
			}
		}
		sealed(t, h)
	})
}

// sealed computes the seal of every closed session again, and what is booked in
// it against its list, and checks that numbers of postings have no gap.
func sealed(t *testing.T, h *journaltest.House) {
	t.Helper()
	ctx := t.Context()
	err := h.Store.View(ctx, func(r store.Reader) error {
		sessions, err := r.Sessions(ctx, store.SessionFilter{PointsOfSale: []string{"SHOP1"}, States: []session.State{session.Closed}})
		if err != nil {
			return err
		}
		for _, s := range sessions {
			if err := sealOf(ctx, t, h, r, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	postings, err := h.Ledger.Postings(ctx, store.PostingFilter{})
	if err != nil {
		t.Fatal(err)
	}
	var ordinals []int
	for _, p := range postings {
		ordinals = append(ordinals, p.Ordinal)
	}
	slices.Sort(ordinals)
	for i, n := range ordinals {
		if n != i+1 {
			t.Errorf("numbers of postings: %v", ordinals)
			break
		}
	}
}

func sealOf(ctx context.Context, t *testing.T, h *journaltest.House, r store.Reader, s store.Session) error {
	t.Helper()
	booked, err := r.Booked(ctx, s.PointOfSale, s.ID)
	if err != nil {
		return err
	}
	sums, err := r.Sums(ctx, s.PointOfSale, s.ID)
	if err != nil {
		return err
	}
	lines, err := r.DrawerLines(ctx, s.PointOfSale, []string{s.ID})
	if err != nil {
		return err
	}
	moves, err := r.Moves(ctx, s.PointOfSale, s.ID)
	if err != nil {
		return err
	}
	var posting *store.Posting
	if p, err := r.Posting(ctx, s.PointOfSale, s.ID); err == nil {
		posting = &p
	}
	if got := ledger.Digest(booked, sums, lines, moves, posting); got != s.Digest {
		t.Errorf("seal of %s is broken", s.Name)
	}
	d := h.Session(s.PointOfSale, s.ID) //nolint:contextcheck // the house's context is the test's
	if string(ledger.ListOf(booked)) != string(d.Close.List) {
		t.Errorf("what is booked in %s is not its list", s.Name)
	}
	for _, l := range lines {
		if !l.Closed || l.Opening+l.Taken+l.Moves+l.Difference()-l.Drop != l.Closing() {
			t.Errorf("drawer line of %s: %+v", s.Name, l)
		}
	}
	return nil
}

// TestCloseOutsAtOnce: many registers close out at once; every session gets one
// posting, numbers have no gap.
func TestCloseOutsAtOnce(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		var fs []func()
		var stamps []pos.Stamp
		for i := range 8 {
			till := h.Till("SHOP1", fmt.Sprintf("R%d", i+1))
			for range 5 {
				stamps = append(stamps, till.Open(1000))
				till.Sell(100, journaltest.Cash)
				till.CloseOut(journaltest.Counts(1100), 100)
			}
			fs = append(fs, func() { h.DeliverBy(till, 3) })
		}
		together(fs...)
		for _, s := range stamps {
			if d := h.Session("SHOP1", s.ID); d.State != session.Closed || d.Posting == nil && !d.Empty {
				t.Errorf("%s is %s, posting %v", s.Name, d.State, d.Session.Posting)
			}
		}
		for _, f := range h.Flags("SHOP1") {
			t.Errorf("flag %s %s", f.Code, f.Params)
		}
		sealed(t, h)
	})
}

// TestRefunds: more than was sold is flagged, also where the refund comes
// before its sale.
func TestRefunds(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		one, two := h.Till("SHOP1", "R1"), h.Till("SHOP1", "R2")
		s := one.Open(10000)
		sale := one.Sell(1000, journaltest.Cash)
		second := one.Sell(2000, journaltest.Cash)
		two.Open(10000)
		two.Refund(sale, journaltest.Cash)
		h.Deliver(two) // before its sale: nothing to say
		if flags := h.Flags("SHOP1"); len(flags) != 0 {
			t.Fatalf("flags before the sale: %+v", flags)
		}
		h.Deliver(one)
		if flags := h.Flags("SHOP1"); len(flags) != 0 {
			t.Fatalf("flags of a refund of all that was sold: %+v", flags)
		}
		found, err := h.Ledger.Find(t.Context(), h.Register(two), findOf(sale))
		if err != nil || found.Refunded[sale.Lines[0].ID] != 1000 || len(found.Raw) == 0 {
			t.Errorf("found = %+v, %v", found, err)
		}
		late := two.Refund(sale, journaltest.Cash)
		if got := codes(h.Deliver(two)); got != ledger.FlagRefundTooMuch {
			t.Errorf("flags of the second refund: %q", got)
		}
		if d := h.Session("SHOP1", s.ID); d.Orders != 2 {
			t.Errorf("%d orders", d.Orders)
		}
		// Twice before the sale: the later refund is flagged when the sale comes.
		three := h.Till("SHOP1", "R3")
		three.Open(10000)
		unsent := three.Sell(500, journaltest.Cash)
		two.Refund(unsent, journaltest.Cash)
		again := two.Refund(unsent, journaltest.Cash)
		h.Deliver(two)
		h.Deliver(three)
		var flagged []entry.Place
		for _, f := range h.Flags("SHOP1") {
			if f.Code == ledger.FlagRefundTooMuch {
				flagged = append(flagged, f.Entry)
			}
		}
		if len(flagged) != 2 {
			t.Fatalf("flags at %v, want those of %s and %s", flagged, late.ID, again.ID)
		}
		for _, o := range []pos.Order{late, again} {
			d, err := h.Ledger.Order(t.Context(), "SHOP1", o.ID)
			if err != nil || !slices.Contains(flagged, d.Order.Entry) {
				t.Errorf("refund %s at %v is not flagged (%v), %v", o.ID, d.Order.Entry, flagged, err)
			}
		}
		_ = second
	})
}

// TestAcceptAndRetry are idempotent commands by the rescue rule at that time.
func TestAcceptAndRetry(t *testing.T) {
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			broken := true
			h := journaltest.NewHouse(t, open(t, s.url(t)), ledger.Options{BeforeEntry: func(op string) {
				if op == panicOp && broken {
					panic("a planted panic")
				}
			}})
			till := h.Till("SHOP1", "R1")
			s := till.Open(10000)
			first := till.Sell(1000, journaltest.Cash)
			other := till.Stamp(till.Order(5000, journaltest.Cash))
			other.ID = first.ID
			till.Write(other)
			lost := till.Stamp(till.Order(300, journaltest.Cash))
			lost.ID = panicOp
			till.Write(lost)
			h.Deliver(till)
			byCode := map[string]store.Flag{}
			for _, f := range h.Flags("SHOP1") {
				byCode[f.Code] = f
			}
			accept, retry := byCode[session.FlagOtherContent], byCode[ledger.FlagNotUnderstood]
			if accept.ID == "" || retry.ID == "" {
				t.Fatalf("flags %+v", byCode)
			}
			booked(t, h, s, 1, 1000)
			if err := h.Ledger.Retry(t.Context(), journaltest.Manager, "SHOP1", retry.ID); !isMessage(err, "ledger.retry_failed") {
				t.Errorf("retry of what still panics: %v", err)
			}
			if err := h.Ledger.Retry(t.Context(), journaltest.Manager, "SHOP1", accept.ID); !isMessage(err, "ledger.cannot_retry") {
				t.Errorf("retry of another content: %v", err)
			}
			broken = false
			for range 2 {
				if err := h.Ledger.Accept(t.Context(), journaltest.Manager, "SHOP1", accept.ID); err != nil {
					t.Error(err)
				}
			}
			booked(t, h, s, 2, 6000)
			h.Close(s)
			for range 2 {
				if err := h.Ledger.Retry(t.Context(), journaltest.Manager, "SHOP1", retry.ID); err != nil {
					t.Error(err)
				}
			}
			booked(t, h, s, 2, 6000, 1)
			if r := h.Rescue(s, 1); r.Total != 300 {
				t.Errorf("the rescue holds %d", r.Total)
			}
			if flags := h.Flags("SHOP1"); len(flags) != 0 {
				t.Errorf("flags left: %+v", flags)
			}
			sealed(t, h)
		})
	}
}

// TestSettleDrawer: a late count comes to the books where no session will come.
func TestSettleDrawer(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		s := till.Open(10000)
		till.Sell(20000, journaltest.Cash)
		h.Deliver(till)
		request := ledger.SettleRequest{Counts: []ledger.MethodCount{count(till, 22000)}, Reason: "the shop closes for good"}
		if _, err := h.Ledger.SettleDrawer(t.Context(), journaltest.Manager, "SHOP1", till.Register, request); !isMessage(err, "ledger.drawer_open") {
			t.Errorf("settling an open drawer: %v", err)
		}
		h.Close(s)
		till.CloseOut(journaltest.Counts(29800), 0)
		till.Move(-7800)
		h.Deliver(till)
		r, err := h.Ledger.SettleDrawer(t.Context(), journaltest.Manager, "SHOP1", till.Register, request)
		if err != nil {
			t.Fatal(err)
		}
		postingIs(t, r.Posting, []string{
			"assets:cash 0 7800", "assets:safe 7800 0", "assets:cash 0 200", "expenses:cash differences 200 0",
		})
		books(t, h, till, 22000)
		// And if a session comes after all, it goes on from there.
		s2 := till.Open(22000)
		till.CloseOut(journaltest.Counts(22000), 0)
		h.Deliver(till)
		if d := h.Session("SHOP1", s2.ID); d.OpeningDifference != 0 || !d.Empty {
			t.Errorf("opening difference %d, posting %q", d.OpeningDifference, d.Session.Posting)
		}
		sealed(t, h)
	})
}

// TestMovesBetweenSessions wait for the drawer's next line.
func TestMovesBetweenSessions(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		till.Open(10000)
		till.CloseOut(journaltest.Counts(10000), 0)
		till.Move(-4000)
		h.Deliver(till)
		till.Move(1000)
		s := till.Open(7000)
		h.Deliver(till)
		d := h.Session("SHOP1", s.ID)
		lines(t, "S", d, link{"", 7000, 7000, 0, 7000, none, 7000, 0})
		if len(d.Moves) != 2 || !d.Moves[0].Between {
			t.Errorf("moves %+v", d.Moves)
		}
		p := h.Close(s)
		postingIs(t, p.Posting, []string{"assets:cash 0 4000", "assets:safe 4000 0", "assets:cash 1000 0", "assets:safe 0 1000"})
		if len(p.Close.List) != 16 {
			t.Errorf("the list has %d bytes, want those of both moves", len(p.Close.List))
		}
		books(t, h, till, 7000)
		sealed(t, h)
	})
}

func findOf(o pos.Order) *wire.Find { return &wire.Find{Ask: "1", Number: o.Number} }

// TestMadeOnce: two registers that name a session nobody has heard of, at once,
// make it once, and both are booked.
func TestMadeOnce(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		one, two := h.Till("SHOP1", "R1"), h.Till("SHOP1", "R2")
		h.Connect(one)
		h.Connect(two)
		for range 10 {
			s := one.Open(10000)
			one.Sell(1000, journaltest.Cash)
			two.Join(s, 5000)
			two.Sell(2000, journaltest.Cash)
			together(func() { h.Deliver(two) }, func() { h.Deliver(one) })
			d := h.Session("SHOP1", s.ID)
			if d.Orders != 2 || d.Total != 3000 || d.Recovered || !d.OpenHeard || len(d.Stays) != 2 {
				t.Fatalf("S = %+v", d.SessionView)
			}
			one.CloseOut(journaltest.Counts(11000), 0)
			two.CloseOut(journaltest.Counts(7000), 0)
		}
	})
}

// TestRefundsAtOnce: two registers take the same line back at once; the second
// is flagged.
func TestRefundsAtOnce(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		one, two, three := h.Till("SHOP1", "R1"), h.Till("SHOP1", "R2"), h.Till("SHOP1", "R3")
		one.Open(10000)
		two.Open(10000)
		three.Open(10000)
		h.Deliver(two)
		h.Deliver(three)
		const rounds = 10
		for range rounds {
			sale := one.Sell(1000, journaltest.Cash)
			h.Deliver(one)
			two.Refund(sale, journaltest.Cash)
			three.Refund(sale, journaltest.Cash)
			together(func() { h.Deliver(two) }, func() { h.Deliver(three) })
		}
		flags := 0
		for _, f := range h.Flags("SHOP1") {
			if f.Code == ledger.FlagRefundTooMuch {
				flags++
			}
		}
		if flags != rounds {
			t.Errorf("%d of %d second refunds are flagged", flags, rounds)
		}
	})
}
