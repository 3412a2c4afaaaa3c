package journal_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

var (
	anna = pos.Person{ID: "01ANNA", Name: "Anna"}
	r1   = journal.Identity{PointOfSale: "SHOP1", Register: "01J00000000000000000000R01", Code: "R1"}

	methods = []pos.Method{
		{ID: "cash", Name: "Cash", Kind: pos.MethodCash, Account: "1000"},
		{ID: "card", Name: "Card", Kind: pos.MethodCard, Account: "1100"},
		{ID: "later", Name: "Pay later", Kind: pos.MethodPayLater, Account: "1200"},
	}
)

// clock is a clock that a test moves; every reading is a second later.
type clock struct{ seconds atomic.Int64 }

func (c *clock) now() time.Time {
	return time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC).Add(time.Duration(c.seconds.Add(1)) * time.Second)
}

var ids atomic.Uint64

// newID returns a ULID; they ascend.
func newID() string {
	n := ids.Add(1)
	return ulid.ULID{1, 2, 3, 8: byte(n >> 56), 9: byte(n >> 48), 10: byte(n >> 40), 11: byte(n >> 32), 12: byte(n >> 24), 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}.String()
}

// till is a journal under test; it is verified and closed after every test.
type till struct {
	testing.TB
	*journal.Journal
	o journal.Options
}

func options(t testing.TB) journal.Options {
	c := &clock{}
	return journal.Options{
		Dir: filepath.Join(t.TempDir(), "data"), Identity: r1, Clock: c.now, LockTimeout: 100 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Software: "register test", MarkEvery: time.Hour,
	}
}

// create makes a journal, checked when the test ends.
func create(t testing.TB, change ...func(*journal.Options)) *till {
	t.Helper()
	o := options(t)
	for _, f := range change {
		f(&o)
	}
	j, err := journal.Create(t.Context(), o)
	if err != nil {
		t.Fatalf("Create = %v", err)
	}
	w := &till{TB: t, Journal: j, o: o}
	t.Cleanup(func() {
		if w.Journal == nil {
			return
		}
		w.check()
		if err := w.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return w
}

// check verifies the journal.
func (w *till) check() {
	w.Helper()
	var out strings.Builder
	// In a cleanup the test's context has ended.
	report, err := w.Verify(context.WithoutCancel(w.Context()), &out)
	if err != nil {
		w.Errorf("Verify = %v", err)
		return
	}
	if !report.OK() {
		w.Errorf("Verify found:\n%s", out.String())
	}
}

// reopen closes the journal and opens it again.
func (w *till) reopen(change ...func(*journal.Options)) {
	w.Helper()
	if err := w.Close(); err != nil {
		w.Fatalf("Close = %v", err)
	}
	w.open(change...)
}

func (w *till) open(change ...func(*journal.Options)) {
	w.Helper()
	for _, f := range change {
		f(&w.o)
	}
	j, err := journal.Open(w.Context(), w.o)
	if err != nil {
		w.Journal = nil
		w.Fatalf("Open = %v", err)
	}
	w.Journal = j
}

func (w *till) file() string { return filepath.Join(w.o.Dir, "journal.db") }

// append runs fn and requires that it commits.
func (w *till) append(fn func(tx *journal.Tx) error) journal.Result {
	w.Helper()
	r, err := w.Append(w.Context(), fn)
	if err != nil {
		w.Fatalf("Append = %v", err)
	}
	return r
}

// view reads.
func (w *till) view(fn func(tx *journal.Tx) error) {
	w.Helper()
	if err := w.View(w.Context(), fn); err != nil {
		w.Fatalf("View = %v", err)
	}
}

// open opens a session of the register's own.
func (w *till) opens(float money.Amount) pos.Stamp {
	w.Helper()
	var stamp pos.Stamp
	w.append(func(tx *journal.Tx) error {
		name, err := tx.NextSession()
		if err != nil {
			return err
		}
		brought, _, err := tx.Brought("cash")
		if err != nil {
			return err
		}
		stamp = pos.Stamp{ID: newID(), Name: name, Register: r1.Register, By: anna.ID, At: tx.Now(), BusinessDate: "2026-11-24"}
		_, err = tx.Add(entry.KindOpened, newID(), pos.Opened{
			Session: stamp, User: anna, Methods: methods, Drawer: true, CashControl: true,
			CashMethod: "cash", Float: float, Brought: brought,
		})
		return err
	})
	return stamp
}

// joins joins another register's session.
func (w *till) joins(stamp pos.Stamp, float money.Amount) {
	w.Helper()
	w.append(func(tx *journal.Tx) error {
		_, err := tx.Add(entry.KindJoined, newID(), pos.Joined{
			Session: stamp, User: anna, Methods: methods, Drawer: true, CashControl: true, CashMethod: "cash", Float: float,
		})
		return err
	})
}

// order makes an order of one line that includes 20 % tax, in a transaction.
func order(tx *journal.Tx, stamp pos.Stamp, id, method string, total money.Amount) (pos.Order, error) {
	number, ordinal, series, err := tx.NextReceipt(stamp.ID)
	if err != nil {
		return pos.Order{}, err
	}
	net := total * 5 / 6
	taxes := []money.TaxSum{{Tax: "vat20", Amount: total - net}}
	o := pos.Order{
		ID: id, Session: stamp, Number: number, Ordinal: ordinal, Series: series, User: anna,
		Rules:    money.Rules{Currency: money.Currency{Code: "EUR", Digits: 2}},
		Net:      net,
		Taxes:    taxes,
		Total:    total,
		TaxRates: []money.Tax{{ID: "vat20", Name: "VAT 20 %", Rate: 200000, Included: true, Account: "2200"}},
		Lines: []pos.Line{{
			ID: id + "-1", Product: "p1", Name: "Coffee", Qty: 1000, Price: money.Price(total) * 100, Account: "4000", TaxIDs: []string{"vat20"},
			LineSums: money.LineSums{Amount: total, Net: net, Taxes: taxes, Total: total},
		}},
	}
	for _, m := range methods {
		if m.ID != method {
			continue
		}
		pay := pos.Payment{ID: id + "-p", Method: m.ID, Name: m.Name, Kind: m.Kind, Account: m.Account, Amount: total}
		if m.Kind == pos.MethodCash && total > 0 {
			pay.Amount += 500
			o.Change, o.ChangeMethod = 500, m.ID
		}
		o.Payments = []pos.Payment{pay}
	}
	return o, nil
}

// sells takes an order.
func (w *till) sells(stamp pos.Stamp, method string, total money.Amount) pos.Order {
	w.Helper()
	var o pos.Order
	w.append(func(tx *journal.Tx) error {
		var err error
		if o, err = order(tx, stamp, newID(), method, total); err != nil {
			return err
		}
		_, err = tx.Add(entry.KindOrder, o.ID, o)
		return err
	})
	return o
}

// moves puts cash in or takes it out; without a session between sessions.
func (w *till) moves(stamp *pos.Stamp, amount money.Amount) {
	w.Helper()
	w.append(func(tx *journal.Tx) error {
		id := newID()
		_, err := tx.Add(entry.KindMove, id, pos.Move{
			ID: id, Session: stamp, User: anna, Method: "cash", CashAccount: "1000", Amount: amount,
			Reason: pos.Reason{ID: "safe", Name: "Safe", Account: "1001"},
		})
		return err
	})
}

// counts counts blindly.
func (w *till) counts(stamp pos.Stamp, cash, card money.Amount) {
	w.Helper()
	w.append(func(tx *journal.Tx) error {
		s, _, err := tx.Session(stamp.ID)
		if err != nil {
			return err
		}
		_, err = tx.Add(entry.KindCounted, newID(), pos.Counted{
			Session: stamp, User: anna, Attempt: s.Attempts + 1,
			Counts: []pos.Count{{Method: "cash", Amount: cash}, {Method: "card", Amount: card}},
		})
		return err
	})
}

// closes closes a session out, or leaves it where it was joined.
func (w *till) closes(stamp pos.Stamp, drop money.Amount) pos.Z {
	w.Helper()
	var z pos.Z
	w.append(func(tx *journal.Tx) error {
		s, _, err := tx.Session(stamp.ID)
		if err != nil {
			return err
		}
		var d *pos.Drop
		if drop != 0 {
			d = &pos.Drop{Amount: drop, Method: "cash", CashAccount: "1000", Reason: pos.Reason{ID: "safe", Name: "Safe", Account: "1001"}}
		}
		if z, err = tx.NextZ(stamp.ID, d); err != nil {
			return err
		}
		var counts []pos.Count
		for _, m := range s.Sums {
			if m.Counted != nil {
				counts = append(counts, pos.Count{Method: m.Method, Amount: *m.Counted})
			}
		}
		if s.Own {
			_, err = tx.Add(entry.KindClosed, newID(), pos.Closed{Session: stamp, User: anna, Counts: counts, Drop: d, Z: z})
		} else {
			_, err = tx.Add(entry.KindLeft, newID(), pos.Left{Session: stamp, User: anna, Counts: counts, Drop: d, Z: z})
		}
		return err
	})
	return z
}

// session reads a session.
func (w *till) session(id string) journal.Session {
	w.Helper()
	var s journal.Session
	w.view(func(tx *journal.Tx) error {
		var found bool
		var err error
		s, found, err = tx.Session(id)
		if err == nil && !found {
			err = fmt.Errorf("session %s not found", id)
		}
		return err
	})
	return s
}

// brought reads the balance brought forward.
func (w *till) brought() (amount money.Amount, known bool) {
	w.Helper()
	w.view(func(tx *journal.Tx) error {
		var err error
		amount, known, err = tx.Brought("cash")
		return err
	})
	return amount, known
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return data
}

func mustWrite(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
}
