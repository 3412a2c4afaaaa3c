package ledger_test

import (
	"strings"
	"testing"
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/store"
)

// TestQueueNeverBlocks: whatever an entry says, it is stored and acknowledged,
// and booked as far as it is true.
func TestQueueNeverBlocks(t *testing.T) {
	tests := []struct {
		name  string
		write func(till *journaltest.Till)
		flags string
		total money.Amount // booked in S
	}{
		{"an unknown kind", func(till *journaltest.Till) {
			till.Append("hovered", map[string]int{"height": 3})
		}, ledger.FlagNotUnderstood, 0},
		{"a body that cannot be read", func(till *journaltest.Till) {
			till.Append(entry.KindOrder, map[string]string{"total": "much"})
		}, ledger.FlagNotUnderstood, 0},
		{"an order without a session", func(till *journaltest.Till) {
			o := till.Order(1000, journaltest.Cash)
			till.AppendOp(o.ID, entry.KindOrder, o)
		}, ledger.FlagNotUnderstood, 0},
		{"an unknown user", func(till *journaltest.Till) {
			o := till.Stamp(till.Order(1000, journaltest.Cash))
			o.User = pos.Person{ID: "nobody", Name: "Nobody"}
			till.Write(o)
		}, ledger.FlagUnknownUser, 1000},
		{"an unknown product", func(till *journaltest.Till) {
			o := till.Stamp(till.Order(1000, journaltest.Cash))
			o.Lines[0].Product = "unicorn"
			till.Write(o)
		}, ledger.FlagUnknownProduct, 1000},
		{"a total that does not add up", func(till *journaltest.Till) {
			o := till.Stamp(till.Order(1000, journaltest.Cash))
			o.Total = 1100
			till.Write(o)
		}, ledger.FlagPaymentsWrong + " " + ledger.FlagTotalsWrong, 1100},
		{"change beyond cash", func(till *journaltest.Till) {
			o := till.Stamp(till.Order(1000, journaltest.Card))
			o.Payments[0].Amount, o.Change, o.ChangeMethod = 1500, 500, journaltest.Cash
			till.Write(o)
		}, ledger.FlagChangeWrong + " " + ledger.FlagSettlementDiffers, 1000},
		{"a clock a year ahead", func(till *journaltest.Till) {
			till.At = till.At.AddDate(1, 0, 0)
			till.Sell(1000, journaltest.Cash)
		}, ledger.FlagClockOff + " " + ledger.FlagClockOff, 1000},
		{"amounts out of bounds", func(till *journaltest.Till) {
			o := till.Stamp(till.Order(1000, journaltest.Cash))
			o.Total = 1 << 62
			till.Write(o)
		}, ledger.FlagNotUnderstood, 0},
		{"a character that a database cannot hold", func(till *journaltest.Till) {
			o := till.Stamp(till.Order(1000, journaltest.Cash))
			o.Lines[0].Name, o.Note = "cof\x00fee", "\x00"
			till.Write(o)
		}, "", 1000},
		{"an id that is too long for a key", func(till *journaltest.Till) {
			o := till.Stamp(till.Order(1000, journaltest.Cash))
			o.ID = strings.Repeat("x", 10_000)
			till.Write(o)
		}, ledger.FlagNotUnderstood, 0},
		{"a move without an account", func(till *journaltest.Till) {
			till.Append(entry.KindMove, pos.Move{Session: till.Session, User: till.User, Amount: 100, Method: journaltest.Cash})
		}, ledger.FlagIDDiffers + " " + ledger.FlagMoveWrong, 0},
		{"a return that nobody approved", func(till *journaltest.Till) {
			o := till.Stamp(till.Order(-1000, journaltest.Cash))
			o.Approver = nil
			till.Write(o)
		}, ledger.FlagNoApprover, -1000},
		{"a panic", func(till *journaltest.Till) {
			o := till.Stamp(till.Order(1000, journaltest.Cash))
			o.ID = panicOp
			till.Write(o)
		}, ledger.FlagNotUnderstood, 0},
		{"a training sale", func(till *journaltest.Till) {
			till.Append(entry.KindTraining, till.Stamp(till.Order(1000, journaltest.Cash)))
		}, "", 0},
		{"a close that this server did not make", func(till *journaltest.Till) {
			till.Hear(pos.Close{Session: till.ID(), Name: "SHOP1/R1/00099"})
		}, ledger.FlagCloseUnknown, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, s := range stores {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					h := journaltest.NewHouse(t, open(t, s.url(t)), ledger.Options{BeforeEntry: func(op string) {
						if op == panicOp {
							panic("a planted panic")
						}
					}})
					till := h.Till("SHOP1", "R1")
					s := till.Open(10000)
					till.Sell(100, journaltest.Cash)
					tt.write(till)
					till.Sell(200, journaltest.Cash)
					if got := codes(h.Deliver(till)); got != tt.flags {
						t.Errorf("flags %q, want %q", got, tt.flags)
					}
					if d := h.Session("SHOP1", s.ID); d.Total != tt.total+300 {
						t.Errorf("S holds %d, want %d", d.Total, tt.total+300)
					}
					// Whatever it was, the session can be closed.
					r := h.Close(s)
					var debit, credit money.Amount
					for _, l := range r.Posting.Lines {
						debit += l.Debit
						credit += l.Credit
					}
					if debit != credit {
						t.Errorf("posting: debit %d, credit %d", debit, credit)
					}
					one(t, h, till)
				})
			}
		})
	}
}

const panicOp = "01PANIC0000000000000000000"

// one checks that every entry of a till has a journal row with one outcome.
func one(t *testing.T, h *journaltest.House, till *journaltest.Till) {
	t.Helper()
	err := h.Store.View(t.Context(), func(r store.Reader) error {
		rows, err := r.Journal(t.Context(), till.PointOfSale, till.Register, till.Epoch, 1, len(till.Raw)+1)
		if err != nil {
			return err
		}
		if len(rows) != len(till.Raw) {
			t.Errorf("%d rows of %d entries", len(rows), len(till.Raw))
		}
		for i, row := range rows {
			if row.Outcome < store.Applied || row.Outcome > store.Accepted {
				t.Errorf("entry %d has outcome %d", row.Seq, row.Outcome)
			}
			if string(row.Raw) != string(till.Raw[i]) {
				t.Errorf("entry %d is not what was sent", row.Seq)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRevoked: a revoked register may deliver and gets nothing.
func TestRevoked(t *testing.T) {
	h := house(t)
	till := h.Till("SHOP1", "R1")
	s := till.Open(10000)
	till.Sell(1000, journaltest.Cash)
	if err := h.Ledger.Revoke(t.Context(), journaltest.Manager, "SHOP1", till.Register); err != nil {
		t.Fatal(err)
	}
	if w := h.Connect(till); !w.Revoked || len(w.Sessions) != 0 {
		t.Errorf("welcome = %+v", w)
	}
	h.Deliver(till)
	booked(t, h, s, 1, 1000)
	if list, err := h.Ledger.Sessions(t.Context(), h.Register(till)); err != nil || len(list) != 0 {
		t.Errorf("told %v, %v", list, err)
	}
	h.Pass(time.Hour)
	till.Sell(1000, journaltest.Cash)
	h.Deliver(till)
	if flags := h.Flags("SHOP1"); len(flags) != 1 || flags[0].Code != ledger.FlagRevoked {
		t.Errorf("flags %+v: it is said once for a session", flags)
	}
}
