package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/pgtest"
	"tillandsia/syncserver/internal/store"
)

// The benchmarks write the rows of batches as the ledger makes them: per order
// a journal row, an order, three lines and a payment; per batch the register,
// its epoch, the session, some sums and an outbox row. The limit beside them
// is a COPY of exactly the new rows into empty tables with the same indexes,
// 4 connections, batches of 5,000; on SQLite one hand-written transaction per
// 500 orders.
//
//	go test -run '^$' -bench Ingest -benchtime 300x ./internal/store/sqlstore

const benchWriters = 4

// benchRegister makes the batches of one register.
type benchRegister struct {
	register, session string
	seq               uint64
	raw               []byte
	taxes             []byte
}

func newBenchRegister(i int) *benchRegister {
	r := &benchRegister{register: fmt.Sprintf("01JD%022d", i), session: fmt.Sprintf("01JE%022d", i), taxes: []byte(`[{"tax":"01JDTAX0000000000000000020","amount":220}]`)}
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	o := pos.Order{
		ID: "01JDZZZZZZZZZZZZZZZZZZZZZZ", Number: "SHOP1-R1-00042-0007", Ordinal: 7, User: pos.Person{ID: "01JD0000000000000000000001", Name: "Ann"},
		Session: pos.Stamp{ID: r.session, Name: "SHOP1/R1/00042", Register: r.register, By: "01JD0000000000000000000001", At: at, BusinessDate: "2026-11-24"},
		Rules:   money.Rules{Currency: money.Currency{Code: "EUR", Digits: 2}}, Catalogue: 12, Net: 3000, Total: 3300, Taxes: []money.TaxSum{{Tax: "01JDTAX0000000000000000020", Amount: 300}},
		TaxRates: []money.Tax{{ID: "01JDTAX0000000000000000020", Name: "VAT 10 %", Rate: 100000, Included: true, Account: "2100"}},
		Payments: []pos.Payment{{ID: "01JDPAY0000000000000000001", Method: "01JDMETH000000000000000001", Name: "Cash", Kind: pos.MethodCash, Account: "1000", Amount: 3300}},
	}
	for i := range 3 {
		o.Lines = append(o.Lines, pos.Line{
			ID: fmt.Sprintf("01JDLINE%018d", i), Product: fmt.Sprintf("01JDPROD%018d", i), Name: "The Barbecue Chicken Pizza", Category: "Chicken", Qty: 1000, Price: 110000,
			TaxIDs: []string{"01JDTAX0000000000000000020"}, Account: "4000",
			LineSums: money.LineSums{Amount: 1100, Net: 1000, Total: 1100, Taxes: []money.TaxSum{{Tax: "01JDTAX0000000000000000020", Amount: 100}}},
		})
	}
	raw, _, err := entry.Make(entry.Entry{PointOfSale: "SHOP1", Register: r.register, Epoch: 1, Seq: 1, Op: o.ID, At: at, Kind: entry.KindOrder}, o)
	if err != nil {
		panic(err)
	}
	r.raw = raw
	return r
}

// batch makes the rows of n orders.
func (r *benchRegister) batch(n int) (*store.Changes, []string) {
	now := time.Now().UnixMicro()
	c := &store.Changes{
		Journal: make([]store.JournalRow, n), Orders: make([]store.Order, n), Lines: make([]store.OrderLine, 0, 3*n), Payments: make([]store.Payment, n),
	}
	ops := make([]string, n)
	for i := range n {
		r.seq++
		op := ulid.Make().String()
		ops[i] = op
		place := entry.Place{Epoch: 1, Seq: r.seq}
		hash := entry.HashOf([]byte(op))
		c.Journal[i] = store.JournalRow{
			JournalKey: store.JournalKey{PointOfSale: "SHOP1", Register: r.register, Place: place},
			Op:         op, Kind: entry.KindOrder, Hash: hash, Content: hash, Raw: r.raw, At: now, Received: now, Stamped: r.session, Booked: r.session, Outcome: store.Applied,
		}
		c.Orders[i] = store.Order{
			PointOfSale: "SHOP1", ID: op, Register: r.register, Entry: place, Number: fmt.Sprintf("SHOP1-%s-00042-%04d", r.register[20:], r.seq),
			Stamped: r.session, Session: r.session, User: "01JD0000000000000000000001", UserName: "Ann", At: now, Received: now, Lines: 3,
			Net: 3000, Tax: 300, Total: 3300, Paid: 3300, Catalogue: 12,
		}
		for k := range 3 {
			c.Lines = append(c.Lines, store.OrderLine{
				PointOfSale: "SHOP1", Order: op, No: k + 1, ID: "01JDLINE000000000000000001", Product: "01JDPROD000000000000000001", Name: "The Barbecue Chicken Pizza", Category: "Chicken",
				Qty: 1000, Price: 110000, Net: 1000, Tax: 100, Total: 1100, Account: "4000", Taxes: r.taxes,
			})
		}
		c.Payments[i] = store.Payment{PointOfSale: "SHOP1", Order: op, No: 1, Session: r.session, Register: r.register, Method: "01JDMETH000000000000000001", Kind: "cash", Account: "1000", Amount: 3300}
	}
	c.Outbox = []store.OutboxRow{{PointOfSale: "SHOP1", ID: ulid.Make().String(), Kind: "session", Ref: r.session, At: now}}
	for i := range 12 {
		c.Sums = append(c.Sums, store.Sum{PointOfSale: "SHOP1", Session: r.session, Register: r.register, Kind: "sales", Account: strconv.Itoa(4000 + i), Amount: 3300, Count: n})
	}
	c.Epochs = []store.Epoch{{PointOfSale: "SHOP1", Register: r.register, Epoch: 1, Cursor: entry.Point{Epoch: 1, Seq: r.seq}}}
	return c, ops
}

// ingest applies a batch as the ledger does: locks, reads, one Write.
func (r *benchRegister) ingest(ctx context.Context, s store.Store, n int) error {
	c, ops := r.batch(n)
	return s.Update(ctx, func(tx store.Tx) error {
		reg, err := tx.LockRegister(ctx, "SHOP1", r.register)
		if err != nil {
			return err
		}
		if _, err := tx.Epochs(ctx, "SHOP1", r.register); err != nil {
			return err
		}
		locked, err := tx.LockSessions(ctx, "SHOP1", []string{r.session})
		if err != nil {
			return err
		}
		known, err := tx.KnownOps(ctx, "SHOP1", ops)
		if err != nil || len(known) != 0 {
			return fmt.Errorf("%d operations are known: %w", len(known), err)
		}
		reg.LastSeen = c.Journal[0].Received
		x := locked[r.session]
		x.Orders += n
		w := *c
		w.Register, w.Sessions = &reg, []store.Session{x}
		return tx.Write(ctx, &w)
	})
}

func benchIngest(b *testing.B, s store.Store, size int) {
	ctx := b.Context()
	list := make([]*benchRegister, benchWriters)
	for i := range list {
		r := newBenchRegister(i)
		list[i] = r
		if err := s.Update(ctx, func(tx store.Tx) error {
			return tx.Write(ctx, &store.Changes{
				Register: &store.Register{PointOfSale: "SHOP1", ID: r.register}, Sessions: []store.Session{{PointOfSale: "SHOP1", ID: r.session, State: session.Opened}},
			})
		}); err != nil {
			b.Fatal(err)
		}
	}
	benchRun(b, size, func(i int) error { return list[i].ingest(ctx, s, size) })
}

// benchRun runs b.N batches on benchWriters goroutines.
func benchRun(b *testing.B, size int, f func(i int) error) {
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for i := range benchWriters {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "orders/s")
}

var benchSizes = []int{256, 1024}

func BenchmarkIngestPostgreSQL(b *testing.B) {
	cluster, err := pgtest.Start(b.Context(), pgtest.Options{Durable: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			b.Error(err)
		}
	})
	n := 0
	open := func(b *testing.B) *pgStore {
		b.Helper()
		n++
		name := fmt.Sprintf("bench%d", n)
		if err := cluster.CreateDatabase(b.Context(), name); err != nil {
			b.Fatal(err)
		}
		s, err := Open(b.Context(), Options{Database: cluster.URL(name)})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := errors.Join(s.Close(), cluster.DropDatabase(context.WithoutCancel(b.Context()), name)); err != nil {
				b.Error(err)
			}
		})
		p, _ := s.(*pgStore)
		return p
	}
	for _, size := range []int{256, 1024, 5000} {
		b.Run(fmt.Sprintf("limit/COPY of %d", size), func(b *testing.B) {
			s := open(b)
			list := make([]*benchRegister, benchWriters)
			for i := range list {
				list[i] = newBenchRegister(i)
			}
			benchRun(b, size, func(i int) error {
				c, _ := list[i].batch(size)
				p, err := s.writers.Acquire(b.Context())
				if err != nil {
					return err
				}
				defer p.Release()
				t := &pgTx{c: p.Conn()}
				if err := simple(b.Context(), t.c, "begin"); err != nil {
					return err
				}
				for _, set := range newRows(c) {
					if err := t.copyIn(b.Context(), set); err != nil {
						return err
					}
				}
				return simple(b.Context(), t.c, "commit")
			})
		})
	}
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("batches of %d", size), func(b *testing.B) { benchIngest(b, open(b), size) })
	}
}

// newRows are the rows of a batch that a limit writes.
func newRows(c *store.Changes) []rowset {
	return []rowset{rowsOf(journal, modeNew, c.Journal), rowsOf(orders, modeNew, c.Orders), rowsOf(orderLines, modeNew, c.Lines), rowsOf(payments, modeNew, c.Payments)}
}

func BenchmarkIngestSQLite(b *testing.B) {
	open := func(b *testing.B) *liteStore {
		s, err := Open(b.Context(), Options{Database: filepath.Join(b.TempDir(), "server.db")})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		})
		l, _ := s.(*liteStore)
		return l
	}
	b.Run("limit/transactions of 500", func(b *testing.B) {
		s := open(b)
		r := newBenchRegister(0)
		ctx := context.Background()
		var mu sync.Mutex
		benchRun(b, 500, func(int) error {
			mu.Lock()
			defer mu.Unlock()
			c, _ := r.batch(500)
			_, err := s.w.exec(ctx, "BEGIN IMMEDIATE")
			if err != nil {
				return err
			}
			if err := s.w.write(ctx, newRows(c)); err != nil {
				return err
			}
			_, err = s.w.exec(ctx, "COMMIT")
			return err
		})
	})
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("batches of %d", size), func(b *testing.B) { benchIngest(b, open(b), size) })
	}
}
