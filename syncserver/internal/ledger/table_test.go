package ledger_test

import (
	"slices"
	"strings"
	"testing"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/session"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/store"
)

func codes(flags []wire.Flag) string {
	list := make([]string, len(flags))
	for i, f := range flags {
		list[i] = f.Code
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// TestMoneyRows plays each row of the rescue rule end to end: what happens to
// an entry that moves money, by the state of the session it is stamped with.
func TestMoneyRows(t *testing.T) {
	tests := []struct {
		name string
		// arrange brings S into its state and makes the entry; it returns S.
		arrange func(h *journaltest.House, till *journaltest.Till) pos.Stamp
		// flags are those of the last delivery.
		flags string
		check func(t *testing.T, h *journaltest.House, s pos.Stamp)
	}{
		{
			name: "an entry that is there already changes nothing",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				till.Sell(1000, journaltest.Cash)
				h.Deliver(till)
				till.Wrap(till.Raw[len(till.Raw)-1])
				return s
			},
			check: func(t *testing.T, h *journaltest.House, s pos.Stamp) { booked(t, h, s, 1, 1000, 0) },
		},
		{
			name: "the same id with other content is flagged and not counted",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				o := till.Sell(1000, journaltest.Cash)
				h.Deliver(till)
				other := till.Stamp(till.Order(5000, journaltest.Cash))
				other.ID = o.ID
				till.Write(other)
				return s
			},
			flags: session.FlagOtherContent,
			check: func(t *testing.T, h *journaltest.House, s pos.Stamp) { booked(t, h, s, 1, 1000, 0) },
		},
		{
			name: "S is a rescue: as for its root, flagged",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				h.Deliver(till)
				h.Close(s)
				till.Sell(1000, journaltest.Cash)
				h.Deliver(till)
				r := s
				r.ID, r.Name = pos.RescueID(s.ID, 1), pos.RescueName(s.Name, 1)
				till.Session = &r
				o := till.Order(2000, journaltest.Cash)
				o.Session = r
				till.Write(o)
				return s
			},
			flags: session.FlagStampRescue,
			check: func(t *testing.T, h *journaltest.House, s pos.Stamp) { booked(t, h, s, 0, 0, 2) },
		},
		{
			name: "S is of another point of sale: booked in a session recovered for this register",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				other := h.Till("SHOP2", "R9")
				foreign := other.Open(10000)
				h.Deliver(other)
				till.Session = &foreign
				till.Sell(1000, journaltest.Cash)
				till.Sell(1000, journaltest.Cash)
				s := foreign
				s.ID, s.Name = pos.RecoveredID(foreign.ID, till.Register), "SHOP1/x/1"
				return s
			},
			flags: session.FlagForeignStamp + " " + session.FlagForeignStamp,
			check: func(t *testing.T, h *journaltest.House, s pos.Stamp) {
				booked(t, h, s, 2, 2000, 0)
				if d := h.Session("SHOP1", s.ID); !d.Recovered {
					t.Error("it is not marked as recovered")
				}
			},
		},
		{
			name: "never heard of: S is made from what the entry tells",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := pos.Stamp{ID: till.ID(), Name: "SHOP1/R1/00007", Register: till.Register, By: "anna", At: till.At, BusinessDate: "2026-11-24"}
				till.Session = &s
				till.Sell(1000, journaltest.Cash)
				return s
			},
			check: func(t *testing.T, h *journaltest.House, s pos.Stamp) {
				booked(t, h, s, 1, 1000, 0)
				if d := h.Session("SHOP1", s.ID); !d.Recovered || d.Name != s.Name || d.OpenedBy != "anna" {
					t.Errorf("recovered = %+v", d.SessionView)
				}
			},
		},
		{
			name: "not closed: booked in S, a count stays valid at its place",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				till.Count(journaltest.Counts(10000))
				h.Deliver(till)
				till.Sell(1000, journaltest.Cash)
				return s
			},
			check: func(t *testing.T, h *journaltest.House, s pos.Stamp) {
				booked(t, h, s, 1, 1000, 0)
				d := h.Session("SHOP1", s.ID)
				if d.State != session.ClosingControl {
					t.Errorf("S is %s", d.State)
				}
				lines(t, "S", d, link{"", 0, 10000, 1000, 11000, 11000, 11000, 0})
			},
		},
		{
			name: "closed, and an open rescue exists: booked in it",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				h.Deliver(till)
				h.Close(s)
				till.Sell(1000, journaltest.Cash)
				h.Deliver(till)
				till.Sell(1000, journaltest.Cash)
				return s
			},
			check: func(t *testing.T, h *journaltest.House, s pos.Stamp) { booked(t, h, s, 0, 0, 2) },
		},
		{
			name: "closed, and none open: the next rescue",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				h.Deliver(till)
				h.Close(s)
				till.Sell(1000, journaltest.Cash)
				h.Deliver(till)
				h.CloseRescue(s, 1, ledger.NotCounted)
				till.Move(-500)
				return s
			},
			check: func(t *testing.T, h *journaltest.House, s pos.Stamp) {
				booked(t, h, s, 0, 0, 1, 0)
				lines(t, "R#2", h.Rescue(s, 2), link{"", 11000, 11000, -500, 10500, none, 10500, 0})
			},
		},
		{
			name: "receipts of debts and moves go the same way",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				h.Deliver(till)
				h.Close(s)
				till.PayOff(700, journaltest.Cash)
				till.Move(300)
				return s
			},
			check: func(t *testing.T, h *journaltest.House, s pos.Stamp) {
				booked(t, h, s, 0, 0, 0)
				lines(t, "R", h.Rescue(s, 1), link{"", 10000, 10000, 1000, 11000, none, 11000, 0})
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			overStores(t, func(t *testing.T, h *journaltest.House) {
				till := h.Till("SHOP1", "R1")
				s := tt.arrange(h, till)
				if got := codes(h.Deliver(till)); got != tt.flags {
					t.Errorf("flags %q, want %q", got, tt.flags)
				}
				tt.check(t, h, s)
			})
		})
	}
}

// booked checks the orders of S and how many orders each of its rescues has.
func booked(t *testing.T, h *journaltest.House, s pos.Stamp, orders int, total money.Amount, rescues ...int) {
	t.Helper()
	d := h.Session("SHOP1", s.ID)
	if d.Orders != orders || d.Total != total {
		t.Errorf("S holds %d orders, %d; want %d, %d", d.Orders, d.Total, orders, total)
	}
	var got []int
	for _, r := range d.Rescues {
		got = append(got, r.Orders)
	}
	if len(rescues) == 1 && rescues[0] == 0 && len(got) == 0 {
		return
	}
	if !slices.Equal(got, rescues) {
		t.Errorf("orders in the rescues %v, want %v", got, rescues)
	}
}

// TestEventRows plays the second table end to end.
func TestEventRows(t *testing.T) {
	tests := []struct {
		name    string
		arrange func(h *journaltest.House, till *journaltest.Till) pos.Stamp
		flags   string
		check   func(t *testing.T, h *journaltest.House, d ledger.SessionDetail)
	}{
		{
			name: "opened, unknown: S is made",
			arrange: func(_ *journaltest.House, till *journaltest.Till) pos.Stamp {
				return till.Open(10000)
			},
			check: func(t *testing.T, _ *journaltest.House, d ledger.SessionDetail) {
				if d.State != session.Opened || d.Recovered || d.OpenedByName != "Anna" || d.Name != "SHOP1/R1/00001" || !d.OpenHeard {
					t.Errorf("%+v", d.SessionView)
				}
				lines(t, "S", d, link{"", 0, 10000, 0, 10000, none, 10000, 0})
			},
		},
		{
			name: "opened, recovered and not closed: who, when and float are filled in, the mark goes",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000) // not delivered yet
				two := h.Till("SHOP1", "R2")
				two.User = pos.Person{ID: "bob", Name: "Bob"}
				two.Join(s, 5000)
				two.Sell(1000, journaltest.Cash)
				h.Deliver(two)
				if d := h.Session("SHOP1", s.ID); !d.Recovered {
					panic("not recovered")
				}
				return s
			},
			check: func(t *testing.T, _ *journaltest.House, d ledger.SessionDetail) {
				if d.Recovered || d.OpenedByName != "Anna" || d.Orders != 1 || len(d.Stays) != 2 {
					t.Errorf("%+v, stays %+v", d.SessionView, d.Stays)
				}
			},
		},
		{
			name: "opened, recovered and closed: the float opens the line in the rescue",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				two := h.Till("SHOP1", "R2")
				two.Join(s, 5000)
				h.Deliver(two)
				h.Close(s)
				till.Sell(1000, journaltest.Cash)
				return s
			},
			check: func(t *testing.T, h *journaltest.House, d ledger.SessionDetail) {
				if d.State != session.Closed || d.OpenHeard {
					t.Errorf("S changed: %+v", d.SessionView)
				}
				if len(d.Rescues) != 1 {
					t.Fatalf("rescues %+v", d.Rescues)
				}
				lines(t, "R", h.Session("SHOP1", d.Rescues[0].ID), link{"R1", 0, 10000, 1000, 11000, none, 11000, 0})
			},
		},
		{
			name: "opened twice with other facts: flagged, the first stands",
			arrange: func(_ *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				till.Append(entry.KindOpened, pos.Opened{
					Session: s, User: pos.Person{ID: "bob", Name: "Bob"}, Methods: journaltest.Methods, Drawer: true, CashControl: true,
					CashMethod: journaltest.Cash, Float: 9000,
				})
				return s
			},
			flags: session.FlagOtherFacts,
			check: func(t *testing.T, _ *journaltest.House, d ledger.SessionDetail) {
				if d.OpenedByName != "Anna" {
					t.Errorf("opened by %s", d.OpenedByName)
				}
				lines(t, "S", d, link{"", 0, 10000, 0, 10000, none, 10000, 0})
			},
		},
		{
			name: "a second session of a register while one is not closed and has no count: both flagged",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				till.Open(10000)
				h.Deliver(till)
				return till.Open(10000)
			},
			flags: session.FlagTwoSessions,
			check: func(t *testing.T, h *journaltest.House, d ledger.SessionDetail) {
				var on []string
				for _, f := range h.Flags("SHOP1") {
					on = append(on, f.Session)
				}
				if len(on) != 2 || on[0] == on[1] {
					t.Errorf("flags on %v", on)
				}
				if d.State != session.Opened {
					t.Errorf("S is %s", d.State)
				}
			},
		},
		{
			name: "joined, closed: history, no rescue",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				one := h.Till("SHOP1", "R2")
				s := one.Open(10000)
				h.Deliver(one)
				h.Close(s)
				till.Join(s, 5000)
				return s
			},
			check: func(t *testing.T, _ *journaltest.House, d ledger.SessionDetail) {
				if len(d.Rescues) != 0 || !told(d, "joined") {
					t.Errorf("rescues %v, history %+v", d.Rescues, d.History)
				}
			},
		},
		{
			name: "counted, not closed: closing_control",
			arrange: func(_ *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				till.Count(journaltest.Counts(9990))
				return s
			},
			check: func(t *testing.T, _ *journaltest.House, d ledger.SessionDetail) {
				if d.State != session.ClosingControl || len(d.Counts) != 1 {
					t.Errorf("S is %s with counts %+v", d.State, d.Counts)
				}
				lines(t, "S", d, link{"", 0, 10000, 0, 10000, 9990, 9990, -10})
			},
		},
		{
			name: "close-out within the limit: closed and posted",
			arrange: func(_ *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				till.Sell(1000, journaltest.Cash)
				till.CloseOut(journaltest.Counts(10500), 0)
				return s
			},
			check: func(t *testing.T, _ *journaltest.House, d ledger.SessionDetail) {
				if d.State != session.Closed || d.CloseKind != "close_out" || d.Posting == nil || !d.Counted || !d.Close.CloseOut {
					t.Errorf("%+v", d.SessionView)
				}
				if at := d.Close.Positions[0]; at.Seq != 5 {
					t.Errorf("position %+v, want the place of the close-out", at)
				}
			},
		},
		{
			name: "close-out above the limit: it waits",
			arrange: func(_ *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				till.CloseOut(journaltest.Counts(9499), 0)
				return s
			},
			check: func(t *testing.T, h *journaltest.House, d ledger.SessionDetail) {
				if d.State != session.ClosingControl || !d.CloseOut {
					t.Errorf("%+v", d.SessionView)
				}
				// A manager closes it, at the till's count.
				r := h.Close(pos.Stamp{ID: d.ID, Name: "SHOP1/R1/00001"})
				lines(t, "S", h.Session("SHOP1", r.Session.ID), link{"", 0, 10000, 0, 10000, 9499, 9499, -501})
			},
		},
		{
			name: "close-out above the limit with a manager's PIN: closed",
			arrange: func(_ *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				till.Count(journaltest.Counts(5000))
				till.Finish(journaltest.Counts(5000), 0, &pos.Person{ID: "max", Name: "Max"})
				return s
			},
			check: func(t *testing.T, _ *journaltest.House, d ledger.SessionDetail) {
				if d.State != session.Closed {
					t.Errorf("S is %s", d.State)
				}
			},
		},
		{
			name: "close-out with another register joined: it waits for the last to leave",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				h.Deliver(till)
				two := h.Till("SHOP1", "R2")
				two.Join(s, 5000)
				h.Deliver(two)
				till.CloseOut(journaltest.Counts(10000), 0)
				h.Deliver(till)
				a, err := h.Ledger.Attention(h.Context(), []string{"SHOP1"})
				if err != nil || len(a.Waiting) != 1 || len(a.Waiting[0].Joined) != 1 || a.Waiting[0].Joined[0].Code != "R2" {
					panic("it is not listed as waiting for R2")
				}
				if list := h.Connect(till).Sessions; len(list) != 0 {
					panic("a session in closing_control is in progress")
				}
				two.CloseOut(journaltest.Counts(5000), 0)
				h.Deliver(two)
				return s
			},
			check: func(t *testing.T, _ *journaltest.House, d ledger.SessionDetail) {
				if d.State != session.Closed {
					t.Errorf("S is %s", d.State)
				}
			},
		},
		{
			name: "counted and closed with an open rescue: the rescue's count",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				h.Deliver(till)
				h.Close(s)
				till.Sell(1000, journaltest.Cash)
				till.CloseOut(journaltest.Counts(11050), 0)
				return s
			},
			check: func(t *testing.T, h *journaltest.House, d ledger.SessionDetail) {
				r := h.Session("SHOP1", d.Rescues[0].ID)
				if r.State != session.Opened {
					t.Errorf("the rescue is %s: only a manager closes it", r.State)
				}
				lines(t, "R", r, link{"", 10000, 10000, 1000, 11000, 11050, 11050, 50})
			},
		},
		{
			name: "cash between the count and the close-out is added to the count, in whichever session it is",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				till.Count(journaltest.Counts(10000))
				h.Deliver(till)
				h.Close(s)
				till.Sell(1000, journaltest.Cash)
				till.Finish(journaltest.Counts(10000), 0, nil)
				return s
			},
			check: func(t *testing.T, h *journaltest.House, d ledger.SessionDetail) {
				lines(t, "R", h.Session("SHOP1", d.Rescues[0].ID), link{"", 10000, 10000, 1000, 11000, 11000, 11000, 0})
			},
		},
		{
			name: "counted and closed, closed without a rescue: a late count",
			arrange: func(h *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				h.Deliver(till)
				h.Close(s)
				till.CloseOut(journaltest.Counts(9900), 0)
				return s
			},
			flags: ledger.FlagLateCount + " " + ledger.FlagLateCount,
			check: func(t *testing.T, _ *journaltest.House, d ledger.SessionDetail) {
				if len(d.Rescues) != 0 || len(d.Counts) != 2 || !d.Counts[0].Late {
					t.Errorf("rescues %v, counts %+v", d.Rescues, d.Counts)
				}
				lines(t, "S", d, link{"", 0, 10000, 0, 10000, none, 10000, 0})
			},
		},
		{
			name: "counted, unknown: recovered, then as opened",
			arrange: func(_ *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := pos.Stamp{ID: till.ID(), Name: "SHOP1/R1/00007", Register: till.Register, By: "anna", At: till.At, BusinessDate: "2026-11-24"}
				till.Session = &s
				till.Count(journaltest.Counts(1000))
				return s
			},
			check: func(t *testing.T, _ *journaltest.House, d ledger.SessionDetail) {
				if !d.Recovered || d.State != session.ClosingControl {
					t.Errorf("%+v", d.SessionView)
				}
			},
		},
		{
			name: "a Z report that is not the server's sum is a finding",
			arrange: func(_ *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				till.Sell(1000, journaltest.Cash)
				till.Count(journaltest.Counts(11000))
				till.Append(entry.KindClosed, pos.Closed{Session: s, User: till.User, Counts: journaltest.Counts(11000), Z: pos.Z{Number: 1, Period: pos.ZSums{Sales: 2}}})
				return s
			},
			flags: ledger.FlagZDiffers,
			check: func(t *testing.T, _ *journaltest.House, d ledger.SessionDetail) {
				if len(d.Zs) != 1 || !strings.Contains(d.Zs[0].Finding, "sales_total") {
					t.Errorf("Z reports %+v", d.Zs)
				}
			},
		},
		{
			name: "who continues, locks and signs in stands in the history",
			arrange: func(_ *journaltest.House, till *journaltest.Till) pos.Stamp {
				s := till.Open(10000)
				till.Append(entry.KindLocked, pos.Event{Session: &s, User: &till.User})
				till.Continued(pos.Person{ID: "bob", Name: "Bob"})
				return s
			},
			check: func(t *testing.T, _ *journaltest.House, d ledger.SessionDetail) {
				for _, kind := range []string{"opened", "locked", "continued"} {
					if !told(d, kind) {
						t.Errorf("no %s in %+v", kind, d.History)
					}
				}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			overStores(t, func(t *testing.T, h *journaltest.House) {
				till := h.Till("SHOP1", "R1")
				s := tt.arrange(h, till)
				if got := codes(h.Deliver(till)); got != tt.flags {
					t.Errorf("flags %q, want %q", got, tt.flags)
				}
				tt.check(t, h, h.Session("SHOP1", s.ID))
			})
		})
	}
}

func told(d ledger.SessionDetail, kind string) bool {
	return slices.ContainsFunc(d.History, func(h store.HistoryRow) bool { return h.Kind == kind })
}
