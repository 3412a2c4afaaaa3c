package journal_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// cashCase is a list of steps on one register and what must hold after them,
// and after the journal was closed and opened again.
type cashCase struct {
	name  string
	steps func(w *till) pos.Stamp // returns the session looked at
	// Of the session's cash.
	opening, taken, moves, balance money.Amount
	state                          journal.State
	brought                        money.Amount
	known                          bool
}

func TestCashOfTheDrawer(t *testing.T) {
	other := pos.Stamp{ID: "01OTHER", Name: "SHOP1/R2/00007", Register: "r2", By: "bob"}
	tests := []cashCase{
		{"a drawer that never held cash is not known", func(w *till) pos.Stamp {
			s := w.opens(0)
			w.closes(s, 0)
			return s
		}, 0, 0, 0, 0, journal.Closed, 0, true},
		{"change is not cash taken", func(w *till) pos.Stamp {
			s := w.opens(10000)
			w.sells(s, "cash", 1200)
			w.sells(s, "card", 5000)
			return s
		}, 10000, 1200, 0, 11200, journal.Selling, 11200, true},
		{"a refund and a drop reduce what is expected", func(w *till) pos.Stamp {
			s := w.opens(10000)
			w.sells(s, "cash", 20000)
			w.sells(s, "cash", -600)
			w.moves(&s, -5000)
			return s
		}, 10000, 19400, -5000, 24400, journal.Selling, 24400, true},
		{"the count is what stays, less the drop (W7)", func(w *till) pos.Stamp {
			s := w.opens(10000)
			w.sells(s, "cash", 110000)
			w.counts(s, 120000, 0)
			w.closes(s, 110000)
			return s
		}, 10000, 0, 0, 10000, journal.Closed, 10000, true},
		{"a count that differs is what the next session is held against", func(w *till) pos.Stamp {
			s := w.opens(10000)
			w.sells(s, "cash", 20000)
			w.counts(s, 29500, 0)
			w.closes(s, 0)
			return s
		}, 29500, 0, 0, 29500, journal.Closed, 29500, true},
		{"of two counts the later wins", func(w *till) pos.Stamp {
			s := w.opens(10000)
			w.counts(s, 9000, 0)
			w.counts(s, 9900, 0)
			w.closes(s, 0)
			return s
		}, 9900, 0, 0, 9900, journal.Closed, 9900, true},
		{"cash taken after the count is added to it", func(w *till) pos.Stamp {
			s := w.opens(10000)
			w.counts(s, 9900, 0)
			w.sells(s, "cash", 1200)
			w.moves(&s, -200)
			return s
		}, 10000, 1200, -200, 10900, journal.Counted, 10900, true},
		{"a sale after the close-out stays in the drawer", func(w *till) pos.Stamp {
			s := w.opens(10000)
			w.counts(s, 10000, 0)
			w.closes(s, 0)
			w.sells(s, "cash", 1200)
			return s
		}, 10000, 1200, 0, 11200, journal.Closed, 11200, true},
		{"a move between sessions is in the balance brought forward only", func(w *till) pos.Stamp {
			s := w.opens(10000)
			w.closes(s, 0)
			w.moves(nil, -4000)
			return s
		}, 10000, 0, 0, 10000, journal.Closed, 6000, true},
		{"a session that was closed elsewhere is taken over at what is expected (W2b)", func(w *till) pos.Stamp {
			s := w.opens(10000)
			w.sells(s, "cash", 25000)
			s2 := w.opens(35000)
			if got := w.session(s2.ID).Brought; got != 35000 {
				w.Errorf("brought at the opening = %d, want 35000", got)
			}
			return s2
		}, 35000, 0, 0, 35000, journal.Selling, 35000, true},
		{"or at its till count (W2)", func(w *till) pos.Stamp {
			s := w.opens(10000)
			w.sells(s, "cash", 25000)
			w.counts(s, 34500, 0)
			s2 := w.opens(34000)
			if got := w.session(s2.ID).Brought; got != 34500 {
				w.Errorf("brought at the opening = %d, want 34500", got)
			}
			return s2
		}, 34000, 0, 0, 34000, journal.Selling, 34000, true},
		{"leaving and joining again begins a new line (W12)", func(w *till) pos.Stamp {
			w.joins(other, 8000)
			w.sells(other, "cash", 5000)
			w.counts(other, 13000, 0)
			w.closes(other, 0)
			own := w.opens(13000)
			w.counts(own, 13000, 0)
			w.closes(own, 0)
			w.joins(other, 13000)
			w.sells(other, "cash", 2000)
			return other
		}, 13000, 2000, 0, 15000, journal.Selling, 15000, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := create(t)
			if _, known := w.brought(); known {
				t.Error("a new drawer has a balance brought forward")
			}
			stamp := tt.steps(w)
			for _, when := range []string{"at once", "after reopening", "after rebuilding"} {
				s := w.session(stamp.ID)
				cash := s.Sums[0]
				if cash.Opening != tt.opening || cash.Taken != tt.taken || cash.Moves != tt.moves || cash.Balance() != tt.balance || s.State != tt.state {
					t.Errorf("%s: cash = %+v, balance %d, state %s; want %d + %d + %d, balance %d, %s", when, cash, cash.Balance(), s.State,
						tt.opening, tt.taken, tt.moves, tt.balance, tt.state)
				}
				if brought, known := w.brought(); brought != tt.brought || known != tt.known {
					t.Errorf("%s: brought forward = %d, %v, want %d, %v", when, brought, known, tt.brought, tt.known)
				}
				w.check()
				if when == "at once" {
					w.reopen()
				} else if err := w.Rebuild(t.Context()); err != nil {
					t.Fatalf("Rebuild = %v", err)
				}
			}
		})
	}
}

func TestCardCarriesOnAfterTheCloseOut(t *testing.T) {
	w := create(t)
	s := w.opens(0)
	w.sells(s, "card", 50000)
	w.counts(s, 0, 50000)
	w.closes(s, 0)
	w.sells(s, "card", 8000)
	if got := w.session(s.ID).Sums[1].Expected(); got != 58000 {
		t.Errorf("expected of card after a late sale = %d, want 58000", got)
	}
	next := w.opens(0)
	if got := w.session(next.ID).Sums[1].Expected(); got != 0 {
		t.Errorf("card of the next session = %d, want 0", got)
	}
}

func TestZ(t *testing.T) {
	w := create(t)
	s := w.opens(10000)
	first := w.sells(s, "cash", 1200)
	w.sells(s, "card", 2400)
	refund := w.sells(s, "cash", -600)
	var x pos.Z
	w.view(func(tx *journal.Tx) error {
		var err error
		x, err = tx.X(s.ID)
		return err
	})
	if x.Number != 0 || x.Period.Sales != 2 || x.Period.Refunds != 1 || x.Period.SalesTotal != 3600 || x.Period.RefundsTotal != -600 ||
		x.Period.Net != 2500 || x.Period.Taxes[0].Amount != 500 || x.First != first.Number || x.Last != refund.Number {
		t.Errorf("X = %+v", x)
	}
	w.counts(s, 10600, 2400)
	z1 := w.closes(s, 600)
	if z1.Number != 1 || z1.Perpetual.SalesTotal != 3600 || *z1.Methods[0].Counted != 10600 || z1.Methods[0].Drop != 600 {
		t.Errorf("first Z = %+v", z1)
	}
	late := w.sells(s, "cash", 1200)
	z2 := w.closes(s, 0)
	if z2.Number != 2 || z2.Period.Sales != 1 || z2.Period.SalesTotal != 1200 || z2.Perpetual.SalesTotal != 4800 || z2.First != late.Number || !z2.From.After(z1.From) {
		t.Errorf("second Z = %+v", z2)
	}
	next := w.opens(11200)
	w.reopen()
	z3 := w.closes(next, 0)
	if z3.Number != 3 || z3.Period.Sales != 0 || z3.Perpetual.SalesTotal != 4800 || z3.First != "" {
		t.Errorf("third Z = %+v", z3)
	}
}

func TestReceiptOfADebt(t *testing.T) {
	w := create(t)
	s := w.opens(0)
	w.append(func(tx *journal.Tx) error {
		number, ordinal, series, err := tx.NextReceipt(s.ID)
		if err != nil {
			return err
		}
		id := newID()
		_, err = tx.Add(entry.KindReceipt, id, pos.Receipt{
			ID: id, Session: s, Number: number, Ordinal: ordinal, Series: series, User: anna, Customer: pos.Customer{ID: "c", Name: "Zoe"},
			Amount: 3000, Payments: []pos.Payment{{ID: "p", Method: "cash", Kind: pos.MethodCash, Amount: 5000}}, Change: 2000, ChangeMethod: "cash",
		})
		return err
	})
	o := w.sells(s, "cash", 1200)
	if o.Number != "SHOP1-R1-00001-0002" {
		t.Errorf("number after a receipt = %s, want …-0002: one counter for both", o.Number)
	}
	got := w.session(s.ID)
	if got.Period.Receipts != 1 || got.Period.ReceiptsSum != 3000 || got.Sums[0].Taken != 4200 || got.Period.Sales != 1 {
		t.Errorf("session = %+v", got)
	}
	w.closes(s, 0)
}

func TestNumbers(t *testing.T) {
	w := create(t)
	s := w.opens(0)
	if s.Name != "SHOP1/R1/00001" {
		t.Errorf("first session = %s, want SHOP1/R1/00001", s.Name)
	}
	for i := range 3 {
		if o, want := w.sells(s, "cash", 1200), fmt.Sprintf("SHOP1-R1-00001-%04d", i+1); o.Number != want {
			t.Errorf("number = %s, want %s", o.Number, want)
		}
	}
	// A number that is taken in a transaction that fails is taken again.
	boom := errors.New("boom")
	if _, err := w.Append(t.Context(), func(tx *journal.Tx) error {
		o, err := order(tx, s, newID(), "cash", 1200)
		if err != nil {
			return err
		}
		if _, err := tx.Add(entry.KindOrder, o.ID, o); err != nil {
			return err
		}
		return boom
	}); err != boom { //nolint:errorlint // as it is
		t.Errorf("Append = %v, want the function's own error", err)
	}
	w.reopen()
	if o := w.sells(s, "cash", 1200); o.Number != "SHOP1-R1-00001-0004" {
		t.Errorf("number after a failed sale = %s, want …-0004", o.Number)
	}
	// Two orders in one transaction.
	w.append(func(tx *journal.Tx) error {
		a, err := order(tx, s, newID(), "cash", 1200)
		if err != nil {
			return err
		}
		b, err := order(tx, s, newID(), "cash", 1200)
		if err != nil {
			return err
		}
		if a.Ordinal != 5 || b.Ordinal != 6 {
			t.Errorf("ordinals = %d, %d, want 5, 6", a.Ordinal, b.Ordinal)
		}
		for _, o := range []pos.Order{a, b} {
			if _, err := tx.Add(entry.KindOrder, o.ID, o); err != nil {
				return err
			}
		}
		return nil
	})
	// In another register's session, with a counter of its own there.
	other := pos.Stamp{ID: "01OTHER", Name: "SHOP1/R2/00042", Register: "r2", By: "bob"}
	w.closes(s, 0)
	w.joins(other, 0)
	if o := w.sells(other, "cash", 1200); o.Number != "SHOP1-R1-R2.00042-0001" {
		t.Errorf("number in a joined session = %s, want SHOP1-R1-R2.00042-0001", o.Number)
	}
	w.closes(other, 0)
	if s2 := w.opens(0); s2.Name != "SHOP1/R1/00002" {
		t.Errorf("second session = %s, want SHOP1/R1/00002", s2.Name)
	}
	w.joins(other, 0)
	if o := w.sells(other, "cash", 1200); o.Number != "SHOP1-R1-R2.00042-0002" {
		t.Errorf("number after joining again = %s, want …-0002", o.Number)
	}
}

func TestTrainingIsApart(t *testing.T) {
	w := create(t)
	s := w.opens(0)
	w.sells(s, "cash", 1200)
	w.append(func(tx *journal.Tx) error {
		if _, err := tx.Add(entry.KindTrainingOn, newID(), pos.Event{User: &anna}); err != nil {
			return err
		}
		number, ordinal, series, err := tx.NextTraining(s.ID)
		if err != nil {
			return err
		}
		if number != "T-SHOP1-R1-00001-0001" {
			t.Errorf("training number = %s, want T-SHOP1-R1-00001-0001", number)
		}
		id := newID()
		_, err = tx.Add(entry.KindTraining, id, pos.Order{ID: id, Session: s, Number: number, Ordinal: ordinal, Series: series, User: anna})
		return err
	})
	if got := w.session(s.ID); got.Period.Sales != 1 || got.Receipts != 1 || got.Training != 1 || got.Orders != 1 {
		t.Errorf("session after a training sale = %+v", got)
	}
	w.view(func(tx *journal.Tx) error {
		on, err := tx.Training()
		if err != nil || !on {
			t.Errorf("training = %v, %v, want on", on, err)
		}
		rows, _, err := tx.Orders(journal.OrderFilter{})
		if len(rows) != 1 {
			t.Errorf("orders = %d, want 1 without the training sale", len(rows))
		}
		training, _, err2 := tx.Orders(journal.OrderFilter{Training: true})
		if len(training) != 1 {
			t.Errorf("training sales = %d, want 1", len(training))
		}
		return errors.Join(err, err2)
	})
}

func TestAddRefuses(t *testing.T) {
	w := create(t)
	s := w.opens(0)
	sold := w.sells(s, "cash", 1200)
	heard := pos.Close{Session: "01CLOSED", Name: "SHOP1/R2/00001"}
	w.append(func(tx *journal.Tx) error { _, err := tx.Add(entry.KindClose, newID(), heard); return err })
	tests := []struct {
		name string
		add  func(tx *journal.Tx) error
		want error
	}{
		{"an operation that is there already", func(tx *journal.Tx) error {
			o, err := order(tx, s, sold.ID, "cash", 1200)
			if err != nil {
				return err
			}
			_, err = tx.Add(entry.KindOrder, o.ID, o)
			return err
		}, journal.ErrDuplicate},
		{"a close of a session whose close is there already", func(tx *journal.Tx) error {
			_, err := tx.Add(entry.KindClose, newID(), heard)
			return err
		}, journal.ErrDuplicate},
		{"a number that is not the next", func(tx *journal.Tx) error {
			o, err := order(tx, s, newID(), "cash", 1200)
			if err != nil {
				return err
			}
			o.Number, o.Ordinal = "SHOP1-R1-00001-0009", 9
			_, err = tx.Add(entry.KindOrder, o.ID, o)
			return err
		}, journal.ErrNumber},
		{"a number that is taken and not used", func(tx *journal.Tx) error {
			_, _, _, err := tx.NextReceipt(s.ID)
			return err
		}, journal.ErrNumber},
		{"a session name that is not the next", func(tx *journal.Tx) error {
			_, err := tx.Add(entry.KindOpened, newID(), pos.Opened{Session: pos.Stamp{ID: newID(), Name: "SHOP1/R1/00007"}})
			return err
		}, journal.ErrNumber},
		{"a Z that is not the next", func(tx *journal.Tx) error {
			_, err := tx.Add(entry.KindClosed, newID(), pos.Closed{Session: s, Z: pos.Z{Number: 7}})
			return err
		}, journal.ErrNumber},
		{"a number in a session that is not known", func(tx *journal.Tx) error {
			_, _, _, err := tx.NextReceipt("01NONE")
			return err
		}, journal.ErrNoSession},
		{"a count of a session that is not known", func(tx *journal.Tx) error {
			_, err := tx.Add(entry.KindCounted, newID(), pos.Counted{Session: pos.Stamp{ID: "01NONE"}})
			return err
		}, journal.ErrNoSession},
		{"an entry that is too large", func(tx *journal.Tx) error {
			_, err := tx.Add(entry.KindReprinted, newID(), pos.Event{Detail: string(make([]byte, entry.MaxSize))})
			return err
		}, entry.ErrTooLarge},
		{"a sum beyond 64 bits", func(tx *journal.Tx) error {
			id := newID()
			if _, err := tx.Add(entry.KindMove, id, pos.Move{ID: id, Session: &s, Method: "cash", Amount: 1<<63 - 1}); err != nil {
				return err
			}
			_, err := tx.Add(entry.KindMove, newID(), pos.Move{ID: newID(), Session: &s, Method: "cash", Amount: 1<<63 - 1})
			return err
		}, journal.ErrOverflow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			head := w.Head()
			if _, err := w.Append(t.Context(), tt.add); !errors.Is(err, tt.want) {
				t.Errorf("Append = %v, want %v", err, tt.want)
			}
			if w.Head() != head {
				t.Errorf("head moved from %v to %v", head, w.Head())
			}
		})
	}
	if err := w.View(t.Context(), func(tx *journal.Tx) error {
		_, err := tx.Add(entry.KindLocked, newID(), pos.Event{})
		return err
	}); !errors.Is(err, journal.ErrReadOnly) {
		t.Errorf("Add in a View = %v, want ErrReadOnly", err)
	}
}

func TestOrdersAreListedSearchedAndRefunded(t *testing.T) {
	w := create(t)
	s := w.opens(0)
	var orders []pos.Order
	for i := range 7 {
		w.append(func(tx *journal.Tx) error {
			o, err := order(tx, s, newID(), "cash", money.Amount(100*(i+1)))
			if err != nil {
				return err
			}
			if i == 3 {
				o.Customer = &pos.Customer{ID: "c", Name: "Zoë Byrne"}
			}
			orders = append(orders, o)
			_, err = tx.Add(entry.KindOrder, o.ID, o)
			return err
		})
	}
	w.append(func(tx *journal.Tx) error {
		o, err := order(tx, s, newID(), "cash", -100)
		if err != nil {
			return err
		}
		o.Lines[0].Qty = -400
		o.Lines[0].Refund = &pos.LineRef{Order: orders[0].ID, Line: orders[0].Lines[0].ID}
		orders = append(orders, o)
		_, err = tx.Add(entry.KindOrder, o.ID, o)
		return err
	})
	list := func(f journal.OrderFilter) (numbers []int, more bool, last entry.Place) {
		t.Helper()
		w.view(func(tx *journal.Tx) error {
			rows, m, err := tx.Orders(f)
			for _, r := range rows {
				var n int
				if _, err := fmt.Sscanf(r.Number, "SHOP1-R1-00001-%d", &n); err != nil {
					return err
				}
				numbers, last = append(numbers, n), r.Place
			}
			more = m
			return err
		})
		return numbers, more, last
	}
	for range 2 {
		page, more, last := list(journal.OrderFilter{Limit: 5})
		if fmt.Sprint(page) != "[8 7 6 5 4]" || !more {
			t.Errorf("first page = %v, more %v", page, more)
		}
		page, more, _ = list(journal.OrderFilter{Limit: 5, Before: last})
		if fmt.Sprint(page) != "[3 2 1]" || more {
			t.Errorf("second page = %v, more %v", page, more)
		}
		for q, want := range map[string]string{"zoë": "[4]", "-0003": "[3]", "5.00": "[5]", "anna": "[8 7 6 5 4 3 2 1]", "nobody": "[]"} {
			if got, _, _ := list(journal.OrderFilter{Limit: 50, Query: q, Digits: 2}); fmt.Sprint(got) != want {
				t.Errorf("search %q = %v, want %s", q, got, want)
			}
		}
		w.view(func(tx *journal.Tx) error {
			row, e, raw, err := tx.Order(orders[3].ID)
			if err != nil || row.Customer != "Zoë Byrne" || e.Op != orders[3].ID || entry.HashOf(raw).IsZero() {
				t.Errorf("Order = %+v, %v, %v", row, e.Op, err)
			}
			rows, err := tx.OrdersByNumber("SHOP1-R1-00001-0004")
			if err != nil || len(rows) != 1 || rows[0].Op != orders[3].ID {
				t.Errorf("OrdersByNumber = %v, %v", rows, err)
			}
			so, err := tx.Refunded(orders[0].ID)
			if err != nil || so[orders[0].Lines[0].ID] != 400 {
				t.Errorf("Refunded = %v, %v, want 0.4", so, err)
			}
			if _, _, _, err := tx.Order("01NONE"); !errors.Is(err, journal.ErrNotFound) {
				t.Errorf("Order of none = %v, want ErrNotFound", err)
			}
			return nil
		})
		w.reopen()
	}
}

func TestEventsThatTheTillReads(t *testing.T) {
	w := create(t)
	until := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	w.append(func(tx *journal.Tx) error {
		for range 3 {
			if _, err := tx.Add(entry.KindPINFailed, newID(), pos.Event{User: &anna}); err != nil {
				return err
			}
		}
		if _, err := tx.Add(entry.KindLockedOut, newID(), pos.Event{User: &anna, Detail: until.Format(time.RFC3339)}); err != nil {
			return err
		}
		if _, err := tx.Add(entry.KindOfficeSignedIn, newID(), pos.Event{User: &anna, Detail: "token-1"}); err != nil {
			return err
		}
		_, err := tx.Add(entry.KindSettingsApplied, newID(), pos.Event{Detail: "revision 12"})
		return err
	})
	w.reopen()
	w.view(func(tx *journal.Tx) error {
		if got, err := tx.Tries(anna.ID); err != nil || got.Count != 3 || !got.Until.Equal(until) {
			t.Errorf("Tries = %+v, %v, want 3 until %v", got, err, until)
		}
		if spent, err := tx.Spent("token-1"); err != nil || !spent {
			t.Errorf("Spent = %v, %v, want true", spent, err)
		}
		if spent, err := tx.Spent("token-2"); err != nil || spent {
			t.Errorf("Spent of another = %v, %v, want false", spent, err)
		}
		if s, found, err := tx.Settings(); err != nil || !found || s.Detail != "revision 12" {
			t.Errorf("Settings = %+v, %v, %v", s, found, err)
		}
		return nil
	})
	w.append(func(tx *journal.Tx) error {
		_, err := tx.Add(entry.KindSignedIn, newID(), pos.Event{User: &anna})
		return err
	})
	w.view(func(tx *journal.Tx) error {
		if got, err := tx.Tries(anna.ID); err != nil || got != (journal.Tries{}) {
			t.Errorf("Tries after signing in = %+v, %v, want none", got, err)
		}
		return nil
	})
}

func TestCartsAreKeptOutsideTheChain(t *testing.T) {
	w := create(t)
	head := w.Head()
	save := func(version int, data string) error {
		_, err := w.Append(t.Context(), func(tx *journal.Tx) error {
			return tx.SaveCart(journal.Cart{ID: "c1", Browser: "b1", Version: version, Data: json.RawMessage(data)})
		})
		return err
	}
	if err := save(1, `{"lines":1}`); err != nil {
		t.Fatal(err)
	}
	if err := save(3, `{"lines":3}`); err != nil {
		t.Fatal(err)
	}
	for _, version := range []int{2, 3} {
		if err := save(version, `{"lines":2}`); !errors.Is(err, journal.ErrCartVersion) {
			t.Errorf("SaveCart of version %d over 3 = %v, want ErrCartVersion", version, err)
		}
	}
	w.reopen()
	if w.Head() != head {
		t.Errorf("head = %v, want %v: a cart is no entry", w.Head(), head)
	}
	w.view(func(tx *journal.Tx) error {
		carts, err := tx.Carts()
		if len(carts) != 1 || string(carts[0].Data) != `{"lines":3}` || carts[0].Browser != "b1" {
			t.Errorf("carts = %v", carts)
		}
		return err
	})
	w.append(func(tx *journal.Tx) error { return tx.DeleteCart("c1") })
	w.view(func(tx *journal.Tx) error {
		_, found, err := tx.Cart("c1")
		if found {
			t.Error("a deleted cart is there")
		}
		return err
	})
}
