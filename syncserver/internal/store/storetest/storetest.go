// Package storetest is the conformance suite of package store: every
// implementation runs it over fresh databases. What needs a database to be
// opened twice, or a commit to fail, has entry points of its own.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"tillandsia/syncserver/internal/store"
)

// Run runs the suite. open returns an empty store and closes it when the test
// ends.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	tests := []struct {
		name string
		test func(t *testing.T, s store.Store)
	}{
		{"every field of every row comes back", testRoundTrip},
		{"texts and numbers at the edge come back", testEdges},
		{"what is not there is not found", testNotFound},
		{"a known row conflicts", testConflict},
		{"an open rescue per root", testOpenRescue},
		{"filters and pages of sessions", testSessions},
		{"filters and pages of orders", testOrders},
		{"flags", testFlags},
		{"postings", testPostings},
		{"known operations", testKnownOps},
		{"refunded lines", testRefunds},
		{"moves between sessions", testMoves},
		{"drawer chains", testDrawer},
		{"closes unheard", testCloses},
		{"things", testThings},
		{"accounts, audit and meta", testOffice},
		{"an error rolls back", testRollback},
		{"a swallowed error cannot commit", testSwallowed},
		{"a panic becomes an error", testPanic},
		{"a canceled context", testCanceled},
		{"a view is a stable snapshot", testSnapshot},
		{"locks of a register serialize", testLockRegister},
		{"locks of sessions serialize", testLockSessions},
		{"Updates of many registers keep to themselves", testManyRegisters},
		{"sums add up under concurrency", testSums},
		{"no reader of things misses one", testThingsConcurrent},
		{"no reader of the outbox misses a row", testOutbox},
		{"numbers of postings have no gap", testPostingNumbers},
		{"two that start at once agree", testInitMeta},
		{"pokes", testPoke},
		{"a closed store says so", testClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, open(t))
		})
	}
}

// RunReopen tests that a database keeps what was committed when it is closed
// and opened again. open makes an empty database; each call of the function
// that it returns opens that one.
func RunReopen(t *testing.T, open func(t *testing.T) func(t *testing.T) store.Store) {
	t.Run("a reopened store keeps its rows", func(t *testing.T) {
		reopen := open(t)
		s := reopen(t)
		first, err := s.Identity(t.Context())
		check(t, err)
		want := filled[store.User](1, 0)
		update(t, s, func(tx store.Tx) error { return tx.PutUser(t.Context(), want) })
		check(t, s.Close())
		s = reopen(t)
		view(t, s, func(r store.Reader) error {
			got, err := r.User(t.Context(), want.ID)
			equal(t, "User", got, want)
			return err
		})
		again, err := s.Identity(t.Context())
		check(t, err)
		if first != again || first == "" {
			t.Errorf("Identity = %q after reopening, %q before", again, first)
		}
	})
}

// Fault makes the next commit of a store end without a known outcome, after it
// happened or in its place.
type Fault func(happened bool)

// RunUnknown tests commits whose outcome is unknown.
func RunUnknown(t *testing.T, open func(t *testing.T) (store.Store, Fault)) {
	for _, happened := range []bool{true, false} {
		t.Run(fmt.Sprintf("commit happened: %v", happened), func(t *testing.T) {
			ctx := t.Context()
			s, fault := open(t)
			r := filled[store.Register](1, 0)
			update(t, s, func(tx store.Tx) error { return tx.PutRegister(ctx, r) })
			fault(happened)
			runs := 0
			err := s.Update(ctx, func(tx store.Tx) error {
				runs++
				r, err := tx.LockRegister(ctx, r.PointOfSale, r.ID)
				if err != nil {
					return err
				}
				r.Generation = 77
				return tx.PutRegister(ctx, r)
			})
			if !errors.Is(err, store.ErrUnknownOutcome) {
				t.Fatalf("Update = %v, want %v", err, store.ErrUnknownOutcome)
			}
			if runs != 1 {
				t.Errorf("f ran %d times: what may have happened is not run again", runs)
			}
			// The next lock waits for the old transaction and reads the truth.
			update(t, s, func(tx store.Tx) error {
				got, err := tx.LockRegister(ctx, r.PointOfSale, r.ID)
				if err == nil && (got.Generation == 77) != happened {
					t.Errorf("generation %d after a commit that happened: %v", got.Generation, happened)
				}
				return err
			})
			view(t, s, func(rd store.Reader) error {
				got, err := rd.Register(ctx, r.PointOfSale, r.ID)
				if err == nil && (got.Generation == 77) != happened {
					t.Errorf("a reader sees generation %d after a commit that happened: %v", got.Generation, happened)
				}
				return err
			})
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func update(t *testing.T, s store.Store, f func(tx store.Tx) error) {
	t.Helper()
	check(t, s.Update(t.Context(), f))
}

func view(t *testing.T, s store.Store, f func(r store.Reader) error) {
	t.Helper()
	check(t, s.View(t.Context(), f))
}

func write(t *testing.T, s store.Store, c *store.Changes) {
	t.Helper()
	update(t, s, func(tx store.Tx) error { return tx.Write(t.Context(), c) })
}

// wantErr checks an error of an Update.
func wantErr(t *testing.T, s store.Store, want error, f func(ctx context.Context, tx store.Tx) error) {
	t.Helper()
	err := s.Update(t.Context(), func(tx store.Tx) error { return f(t.Context(), tx) })
	if !errors.Is(err, want) {
		t.Errorf("Update = %v, want %v", err, want)
	}
}

// together runs n goroutines and waits for all; each is given its number.
func together(t *testing.T, n int, f func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := f(i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
