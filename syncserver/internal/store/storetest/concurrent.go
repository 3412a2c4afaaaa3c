package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"tillandsia/shared/entry"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/store"
)

var errOwn = errors.New("an error of the caller")

func testRollback(t *testing.T, s store.Store) {
	ctx := t.Context()
	err := s.Update(ctx, func(tx store.Tx) error {
		if err := tx.SetMeta(ctx, "k", []byte("v")); err != nil {
			return err
		}
		if v, err := tx.Meta(ctx, "k"); err != nil || string(v) != "v" {
			t.Errorf("Meta = %s, %v in the transaction that set it", v, err)
		}
		return errOwn
	})
	if err != errOwn { //nolint:errorlint // as it is
		t.Errorf("Update = %v, want the caller's error as it is", err)
	}
	view(t, s, func(r store.Reader) error {
		if _, err := r.Meta(ctx, "k"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Meta = %v after a rollback", err)
		}
		return nil
	})
	if err := s.View(ctx, func(store.Reader) error { return errOwn }); !errors.Is(err, errOwn) {
		t.Errorf("View = %v, want the caller's error", err)
	}
}

func testSwallowed(t *testing.T, s store.Store) {
	ctx := t.Context()
	row := store.AuditRow{ID: "1"}
	update(t, s, func(tx store.Tx) error { return tx.AppendAudit(ctx, row) })
	wantErr(t, s, store.ErrConflict, func(ctx context.Context, tx store.Tx) error {
		if err := tx.SetMeta(ctx, "k", nil); err != nil {
			return err
		}
		if err := tx.AppendAudit(ctx, row); !errors.Is(err, store.ErrConflict) {
			t.Errorf("AppendAudit = %v, want %v", err, store.ErrConflict)
		}
		return nil
	})
	view(t, s, func(r store.Reader) error {
		if _, err := r.Meta(ctx, "k"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Meta = %v after a swallowed error", err)
		}
		return nil
	})
}

func testPanic(t *testing.T, s store.Store) {
	ctx := t.Context()
	err := s.Update(ctx, func(tx store.Tx) error {
		check(t, tx.SetMeta(ctx, "k", nil))
		panic("in the middle")
	})
	if err == nil {
		t.Error("Update = nil after a panic")
	}
	if err := s.View(ctx, func(store.Reader) error { panic("in the middle") }); err == nil {
		t.Error("View = nil after a panic")
	}
	// A test that gives up inside of a transaction ends its goroutine there.
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = s.Update(ctx, func(tx store.Tx) error { // it does not return
			check(t, tx.SetMeta(ctx, "k", nil))
			runtime.Goexit()
			return nil
		})
	}()
	<-gone
	view(t, s, func(r store.Reader) error {
		if _, err := r.Meta(ctx, "k"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Meta = %v after panics", err)
		}
		return nil
	})
	update(t, s, func(tx store.Tx) error { return tx.SetMeta(ctx, "k", nil) })
}

func testCanceled(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Update(ctx, func(tx store.Tx) error {
		if err := tx.SetMeta(ctx, "k", nil); err != nil {
			return err
		}
		cancel()
		_, err := tx.Meta(ctx, "k")
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Update = %v, want %v", err, context.Canceled)
	}
	ran := false
	if err := s.Update(ctx, func(store.Tx) error { ran = true; return nil }); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("Update = %v, ran %v with a canceled context", err, ran)
	}
	if err := s.View(ctx, func(r store.Reader) error { _, err := r.Users(ctx); return err }); !errors.Is(err, context.Canceled) {
		t.Errorf("View = %v, want %v", err, context.Canceled)
	}
	view(t, s, func(r store.Reader) error {
		if _, err := r.Meta(t.Context(), "k"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Meta = %v after a canceled transaction", err)
		}
		return nil
	})
	update(t, s, func(tx store.Tx) error { return tx.SetMeta(t.Context(), "k", nil) })
}

func testSnapshot(t *testing.T, s store.Store) {
	ctx := t.Context()
	set := func(v string) {
		update(t, s, func(tx store.Tx) error { return tx.SetMeta(ctx, "k", []byte(v)) }) //nolint:contextcheck // it has the context of the test
	}
	set("before")
	view(t, s, func(r store.Reader) error {
		for range 2 {
			v, err := r.Meta(ctx, "k")
			if err != nil || string(v) != "before" {
				t.Errorf("Meta = %s, %v in a view of before", v, err)
			}
			set("after")
		}
		return nil
	})
}

func testLockRegister(t *testing.T, s store.Store) {
	ctx := t.Context()
	const writers, rounds = 4, 10
	r := store.Register{PointOfSale: "P", ID: "R"}
	update(t, s, func(tx store.Tx) error { return tx.PutRegister(ctx, r) })
	together(t, writers, func(int) error {
		for range rounds {
			err := s.Update(ctx, func(tx store.Tx) error {
				r, err := tx.LockRegister(ctx, "P", "R")
				if err != nil {
					return err
				}
				r.Generation++
				return tx.Write(ctx, &store.Changes{Register: &r})
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	view(t, s, func(rd store.Reader) error {
		r, err := rd.Register(ctx, "P", "R")
		if r.Generation != writers*rounds {
			t.Errorf("generation %d after %d times one more", r.Generation, writers*rounds)
		}
		return err
	})
}

// testLockSessions makes transactions create and change two sessions, named in
// either order: none is lost, and none waits for ever.
func testLockSessions(t *testing.T, s store.Store) {
	ctx := t.Context()
	const writers, rounds = 4, 10
	together(t, writers, func(i int) error {
		ids := []string{"a", "b"}
		if i%2 == 1 {
			slices.Reverse(ids)
		}
		for range rounds {
			err := s.Update(ctx, func(tx store.Tx) error {
				locked, err := tx.LockSessions(ctx, "P", ids)
				if err != nil {
					return err
				}
				var c store.Changes
				for _, id := range ids {
					x, ok := locked[id]
					if !ok {
						// Who comes first makes it; the other finds it there
						// when it runs again.
						x = store.Session{PointOfSale: "P", ID: id, State: session.Opened}
						c.Journal = append(c.Journal, store.JournalRow{JournalKey: store.JournalKey{PointOfSale: "P", Register: id, Place: entry.Place{Epoch: 1, Seq: 1}}, Op: id, Outcome: store.Applied, Raw: []byte{1}})
					}
					x.Orders++
					c.Sessions = append(c.Sessions, x)
				}
				return tx.Write(ctx, &c)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	view(t, s, func(r store.Reader) error {
		list, err := r.Sessions(ctx, store.SessionFilter{})
		for _, x := range list {
			if x.Orders != writers*rounds {
				t.Errorf("session %s counts %d, want %d", x.ID, x.Orders, writers*rounds)
			}
		}
		if len(list) != 2 {
			t.Errorf("%d sessions, want 2", len(list))
		}
		return err
	})
}

// testManyRegisters lets many registers write side by side; every third of
// their transactions fails after it wrote, one in seven by a panic.
func testManyRegisters(t *testing.T, s store.Store) {
	ctx := t.Context()
	const registers, rounds = 16, 21
	together(t, registers, func(i int) error {
		id := fmt.Sprintf("R%02d", i)
		seq := uint64(0)
		for n := range rounds {
			err := s.Update(ctx, func(tx store.Tx) error {
				if n == 0 {
					if err := tx.PutRegister(ctx, store.Register{PointOfSale: "P", ID: id}); err != nil {
						return err
					}
				}
				if _, err := tx.LockRegister(ctx, "P", id); n > 0 && err != nil {
					return err
				}
				var c store.Changes
				for k := range 10 {
					place := entry.Place{Epoch: 1, Seq: seq + uint64(k) + 1}
					op := fmt.Sprintf("%s/%d", id, place.Seq)
					c.Journal = append(c.Journal, store.JournalRow{JournalKey: store.JournalKey{PointOfSale: "P", Register: id, Place: place}, Op: op, Outcome: store.Applied, Booked: id, Raw: []byte(op)})
					c.Orders = append(c.Orders, store.Order{PointOfSale: "P", ID: op, Register: id, Session: id})
				}
				c.Sums = []store.Sum{{PointOfSale: "P", Session: id, Kind: "k", Amount: 10}}
				c.Epochs = []store.Epoch{{PointOfSale: "P", Register: id, Epoch: 1, Cursor: entry.Point{Epoch: 1, Seq: seq + 10}}}
				if err := tx.Write(ctx, &c); err != nil {
					return err
				}
				switch {
				case n%7 == 6:
					panic("on purpose")
				case n%3 == 2:
					return errOwn
				}
				return nil
			})
			switch {
			case n%7 == 6:
				if err == nil {
					return errors.New("no error of an Update that panics")
				}
			case n%3 == 2:
				if !errors.Is(err, errOwn) {
					return fmt.Errorf("not the caller's error: %w", err)
				}
			case err != nil:
				return err
			default:
				seq += 10
			}
		}
		return s.View(ctx, func(r store.Reader) error {
			rows, err := r.Journal(ctx, "P", id, 1, 1, 0)
			orders, oerr := r.Orders(ctx, store.OrderFilter{Register: id})
			sums, serr := r.Sums(ctx, "P", id)
			epochs, eerr := r.Epochs(ctx, "P", id)
			if uint64(len(rows)) != seq || uint64(len(orders)) != seq || len(sums) != 1 || uint64(sums[0].Amount) != seq || len(epochs) != 1 || epochs[0].Cursor.Seq != seq {
				return fmt.Errorf("%s: %d journal rows, %d orders, sums %v, epochs %v, want %d", id, len(rows), len(orders), sums, epochs, seq)
			}
			return errors.Join(err, oerr, serr, eerr)
		})
	})
}

func testSums(t *testing.T, s store.Store) {
	ctx := t.Context()
	const writers, rounds = 8, 10
	together(t, writers, func(i int) error {
		for range rounds {
			var c store.Changes
			for k := range 20 {
				// In an order of each writer's own, one of them twice.
				d := strconv.Itoa((k*7 + i*3) % 20)
				c.Sums = append(c.Sums, store.Sum{PointOfSale: "P", Session: "S", Kind: "sale", Detail: d, Amount: 3, Count: 1})
			}
			c.Sums = append(c.Sums, store.Sum{PointOfSale: "P", Session: "S", Kind: "sale", Detail: "0", Amount: -1})
			if err := s.Update(ctx, func(tx store.Tx) error { return tx.Write(ctx, &c) }); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, s, func(r store.Reader) error {
		sums, err := r.Sums(ctx, "P", "S")
		if len(sums) != 20 {
			t.Errorf("%d sums, want 20", len(sums))
		}
		for _, x := range sums {
			want := writers * rounds * 3
			if x.Detail == "0" {
				want -= writers * rounds
			}
			if int(x.Amount) != want || x.Count != writers*rounds {
				t.Errorf("sum %s is %d of %d, want %d of %d", x.Detail, x.Amount, x.Count, want, writers*rounds)
			}
		}
		return err
	})
}

// testThingsConcurrent lets a reader follow the revisions while writers make
// them: it misses no thing and never sees part of a revision.
func testThingsConcurrent(t *testing.T, s store.Store) {
	ctx := t.Context()
	const writers, rounds, each = 4, 15, 3
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range rounds {
				list := make([]store.Thing, each)
				for k := range list {
					list[k] = store.Thing{Kind: "product", ID: fmt.Sprintf("%d/%d/%d", i, n, k)}
				}
				if err := s.Update(ctx, func(tx store.Tx) error { _, err := tx.PutThings(ctx, list); return err }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	written := make(chan struct{})
	go func() { wg.Wait(); close(written) }()
	defer wg.Wait()
	seen := make(map[string]bool)
	from := uint64(0)
	for last := false; ; {
		select {
		case <-written:
			last = true
		default:
		}
		var page []store.Thing
		view(t, s, func(r store.Reader) (err error) { page, err = r.ThingsSince(ctx, "P", from, 2); return err })
		of := make(map[uint64]int)
		for _, x := range page {
			if x.Revision < from {
				t.Fatalf("revision %d after %d", x.Revision, from)
			}
			seen[x.ID] = true
			of[x.Revision]++
			from = x.Revision
		}
		for rev, n := range of {
			if n != each {
				t.Fatalf("%d things of revision %d, want %d", n, rev, each)
			}
		}
		if last && len(page) == 0 {
			break
		}
	}
	if len(seen) != writers*rounds*each || from != writers*rounds {
		t.Errorf("the reader saw %d things up to revision %d, want %d up to %d", len(seen), from, writers*rounds*each, writers*rounds)
	}
}

// testOutbox lets rows be written, numbered and read at once.
func testOutbox(t *testing.T, s store.Store) {
	ctx := t.Context()
	const writers, rounds = 4, 15
	var wg, numbering sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range rounds {
				c := store.Changes{Outbox: []store.OutboxRow{
					{PointOfSale: "P", ID: fmt.Sprintf("%d/%d/a", i, n), At: int64(n)}, {PointOfSale: "P", ID: fmt.Sprintf("%d/%d/b", i, n), At: int64(-n)},
				}}
				if err := s.Update(ctx, func(tx store.Tx) error { return tx.Write(ctx, &c) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	written := make(chan struct{})
	go func() { wg.Wait(); close(written) }()
	number := func() {
		if err := s.Update(ctx, func(tx store.Tx) error { _, err := tx.NumberOutbox(ctx); return err }); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		numbering.Go(func() {
			for {
				select {
				case <-written:
					number()
					return
				default:
					number()
				}
			}
		})
	}
	numbered := make(chan struct{})
	go func() { numbering.Wait(); close(numbered) }()
	defer numbering.Wait()
	seen := make(map[string]bool)
	from := uint64(0)
	for last := false; ; {
		select {
		case <-numbered:
			last = true
		default:
		}
		var page []store.OutboxRow
		view(t, s, func(r store.Reader) (err error) { page, err = r.OutboxSince(ctx, from, 7); return err })
		for _, x := range page {
			if x.Revision != from+1 || seen[x.ID] {
				t.Fatalf("row %s of revision %d after %d", x.ID, x.Revision, from)
			}
			seen[x.ID] = true
			from = x.Revision
		}
		if last && len(page) == 0 {
			break
		}
	}
	if len(seen) != writers*rounds*2 {
		t.Errorf("the reader saw %d rows, want %d", len(seen), writers*rounds*2)
	}
	update(t, s, func(tx store.Tx) error {
		last, err := tx.NumberOutbox(ctx)
		if last != from {
			t.Errorf("NumberOutbox = %d with nothing to number, want %d", last, from)
		}
		return err
	})
}

func testPostingNumbers(t *testing.T, s store.Store) {
	ctx := t.Context()
	const writers, rounds = 4, 12
	together(t, writers, func(i int) error {
		for n := range rounds {
			err := s.Update(ctx, func(tx store.Tx) error {
				k, err := tx.NextPosting(ctx, 2026, "B")
				if err != nil {
					return err
				}
				p := store.Posting{PointOfSale: "P", Session: fmt.Sprintf("%d/%d", i, n), Year: 2026, Tag: "B", Ordinal: k}
				if err := tx.PutPosting(ctx, p); err != nil {
					return err
				}
				if n%3 == 1 {
					return errOwn
				}
				return nil
			})
			if err != nil && !errors.Is(err, errOwn) {
				return err
			}
		}
		return nil
	})
	update(t, s, func(tx store.Tx) error {
		for _, series := range []struct {
			year int
			tag  string
		}{{2027, "B"}, {2026, ""}} {
			if n, err := tx.NextPosting(ctx, series.year, series.tag); n != 1 || err != nil {
				t.Errorf("NextPosting(%+v) = %d, %v, want 1", series, n, err)
			}
		}
		list, err := tx.Postings(ctx, store.PostingFilter{})
		for i, p := range list {
			if p.Ordinal != i+1 {
				t.Fatalf("posting %d after %d", p.Ordinal, i)
			}
		}
		if len(list) != writers*rounds*2/3 {
			t.Errorf("%d postings, want %d", len(list), writers*rounds*2/3)
		}
		return err
	})
}

func testInitMeta(t *testing.T, s store.Store) {
	ctx := t.Context()
	var mu sync.Mutex
	stands := make(map[string]int)
	together(t, 8, func(i int) error {
		return s.Update(ctx, func(tx store.Tx) error {
			v, err := tx.InitMeta(ctx, "k", fmt.Append(nil, i))
			mu.Lock()
			defer mu.Unlock()
			stands[string(v)]++
			return err
		})
	})
	if len(stands) != 1 {
		t.Errorf("InitMeta gave %v, want one value", stands)
	}
}

func testPoke(t *testing.T, s store.Store) {
	one, cancelOne := s.Changed()
	two, cancelTwo := s.Changed()
	defer cancelTwo()
	s.Poke(t.Context())
	s.Poke(t.Context())
	<-one
	<-two
	cancelOne()
	s.Poke(t.Context())
	<-two
	select {
	case <-one:
		t.Error("a canceled channel was poked")
	default:
	}
}

func testClosed(t *testing.T, s store.Store) {
	ctx := t.Context()
	check(t, s.Close())
	if err := s.Update(ctx, func(store.Tx) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Update = %v, want %v", err, store.ErrClosed)
	}
	if err := s.View(ctx, func(store.Reader) error { return nil }); !errors.Is(err, store.ErrClosed) {
		t.Errorf("View = %v, want %v", err, store.ErrClosed)
	}
	check(t, s.Close())
}
