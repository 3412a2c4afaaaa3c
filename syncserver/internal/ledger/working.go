package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tillandsia/shared/drawer"
	"tillandsia/shared/entry"
	"tillandsia/shared/pos"
	"tillandsia/shared/posting"
	"tillandsia/shared/session"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/store"
)

// work is the working set of a batch: the facts that its entries need, read in
// a few queries, and what deciding on them changes. Nothing of it is written
// before all entries are decided; where one cannot be computed the whole set is
// thrown away.
type work struct {
	ledger *Ledger
	now    int64
	point  string
	reg    store.Register
	epoch  store.Epoch
	items  []item

	// sessions are the roots by id; stamps lead from the session that an entry
	// names to its root and what is special about it.
	sessions map[string]*root
	stamps   map[string]stampOf
	stays    map[string][]*stay // by root, in the order of this register's journal
	chains   map[string]*chain  // of this register, by method
	others   []store.Session    // other open sessions of this register
	between  map[string]store.Move

	ops      map[string][]store.KnownOp
	numbers  map[string][]string // receipt number to order ids
	refunded map[pos.LineRef]*store.RefundedLine
	gone     map[string]struct{} // users and products that there are not

	sums    map[sumKey]int // index in changes.Sums
	changes store.Changes
	told    []wire.Flag
	moved   []outcomeOf // rows that were stored before and change now
	flagged map[string]bool
	// flushed says that a part has been written already.
	flushed bool

	// again is set where a known entry is decided again (accept, retry).
	again *again
}

// root is a session with its rescues.
type root struct {
	store.Session
	exists  bool
	dirty   bool
	rescues []*rescue
}

type rescue struct {
	store.Session
	dirty bool
}

// open returns the rescue that is not closed, nil without.
func (r *root) open() *rescue {
	for _, o := range r.rescues {
		if o.State != session.Closed {
			return o
		}
	}
	return nil
}

// stampOf is what an entry's session means to this register.
type stampOf struct {
	root    string
	foreign bool
	rescue  bool
}

type stay struct {
	store.Stay
	dirty bool
	z     *zSums
}

// chain is a drawer's chain of one method with what the lines' rows hold
// besides.
type chain struct {
	drawer.Chain
	names map[lineKey]lineName
	old   map[lineKey]drawer.Line
}

type lineKey struct {
	session string
	stay    entry.Place
}

type lineName struct{ name, account string }

type sumKey struct {
	session, register, kind, account, detail string
}

// outcomeOf is a new outcome of a stored row; 0 leaves the one it has.
type outcomeOf struct {
	key     store.JournalKey
	outcome store.Outcome
	booked  string
}

func (w *work) chainOf(method string) *chain {
	c := w.chains[method]
	if c == nil {
		c = &chain{names: map[lineKey]lineName{}, old: map[lineKey]drawer.Line{}}
		w.chains[method] = c
	}
	return c
}

func (c *chain) put(row *store.DrawerLine) {
	key := lineKey{row.Session, row.Stay}
	c.Lines = append(c.Lines, row.Line)
	c.names[key] = lineName{row.MethodName, row.Account}
	c.old[key] = row.Line
}

// addSums adds the facts of an entry to those of the session it is booked in.
func (w *work) addSums(sessionID string, sums []posting.Sum) {
	for _, s := range sums {
		key := sumKey{sessionID, s.Register, string(s.Kind), s.Account, s.Detail}
		i, ok := w.sums[key]
		if !ok {
			i = len(w.changes.Sums)
			w.sums[key] = i
			w.changes.Sums = append(w.changes.Sums, store.Sum{
				PointOfSale: w.point, Session: sessionID, Register: s.Register, Kind: string(s.Kind), Account: s.Account, Detail: s.Detail,
			})
		}
		w.changes.Sums[i].Amount += s.Amount
		w.changes.Sums[i].Count += s.Count
	}
}

// collect gathers what has changed in the working set into the changes.
func (w *work) collect() error {
	for _, r := range w.sessions {
		if r.dirty {
			w.changes.Sessions = append(w.changes.Sessions, r.Session)
			w.poked(r.ID)
			r.dirty = false
		}
		for _, o := range r.rescues {
			if o.dirty {
				w.changes.Sessions = append(w.changes.Sessions, o.Session)
				w.poked(o.ID)
				o.dirty = false
			}
		}
	}
	// Roots before rescues, and always in the same order: rows are locked in
	// it.
	slices.SortFunc(w.changes.Sessions, func(a, b store.Session) int { return strings.Compare(a.ID, b.ID) })
	for _, list := range w.stays {
		for _, s := range list {
			if !s.dirty {
				continue
			}
			if err := s.encode(); err != nil {
				return err
			}
			w.changes.Stays = append(w.changes.Stays, s.Stay)
			s.dirty = false
		}
	}
	for method, c := range w.chains {
		for i := range c.Lines {
			line := &c.Lines[i]
			key := lineKey{line.Session, line.Stay}
			if old, ok := c.old[key]; ok && old.Equal(*line) {
				continue
			}
			name := c.names[key]
			w.changes.Drawer = append(w.changes.Drawer, store.DrawerLine{
				PointOfSale: w.point, Register: w.reg.ID, Method: method, MethodName: name.name, Account: name.account, Line: line.Clone(),
			})
			c.old[key] = line.Clone()
		}
	}
	slices.SortFunc(w.changes.Drawer, func(a, b store.DrawerLine) int {
		if a.Stay != b.Stay {
			if a.Stay.Less(b.Stay) {
				return -1
			}
			return 1
		}
		if a.Ordinal != b.Ordinal {
			return a.Ordinal - b.Ordinal
		}
		return strings.Compare(a.Method, b.Method)
	})
	return nil
}

func (w *work) poked(sessionID string) {
	w.changes.Outbox = append(w.changes.Outbox, outboxRow(w.point, "session", sessionID, w.now))
}

// flush writes what was decided so far, so that closing a session in the middle
// of a batch reads it from the store.
func (w *work) flush(ctx context.Context, tx store.Tx) error {
	if err := w.collect(); err != nil {
		return err
	}
	w.flushed = true
	if err := w.dropKnownFlags(ctx, tx); err != nil {
		return err
	}
	if err := tx.Write(ctx, &w.changes); err != nil {
		return fmt.Errorf("write batch: %w", err)
	}
	for _, o := range w.moved {
		if o.outcome == 0 {
			row, err := tx.JournalRow(ctx, o.key)
			if err != nil {
				return fmt.Errorf("read entry: %w", err)
			}
			o.outcome = row.Outcome
		}
		if err := tx.SetOutcome(ctx, o.key, o.outcome, o.booked); err != nil {
			return fmt.Errorf("set outcome: %w", err)
		}
	}
	w.changes, w.moved = store.Changes{}, nil
	clear(w.sums)
	return nil
}

// write writes the rest of the batch, with the cursor.
func (w *work) write(ctx context.Context, tx store.Tx, generation uint64) error {
	last := &w.items[len(w.items)-1]
	w.epoch.Cursor = entry.Point{Epoch: w.epoch.Epoch, Seq: last.entry.Seq, Hash: last.hash}
	w.reg.GenerationUsed = max(w.reg.GenerationUsed, generation)
	w.reg.LastSeen = w.now
	w.changes.Epochs = append(w.changes.Epochs, w.epoch)
	w.changes.Register = &w.reg
	if len(w.changes.Flags) > 0 {
		w.changes.Outbox = append(w.changes.Outbox, outboxRow(w.point, "flag", w.reg.ID, w.now))
	}
	return w.flush(ctx, tx)
}

// dropKnownFlags leaves out what has been flagged before and is said once: a
// person may have dealt with it since.
func (w *work) dropKnownFlags(ctx context.Context, tx store.Tx) error {
	kept := w.changes.Flags[:0]
	for _, f := range w.changes.Flags {
		if saidOnce(f.Code) {
			_, err := tx.Flag(ctx, w.point, f.ID)
			if err == nil {
				continue
			}
			if !errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("read flag %s: %w", f.ID, err)
			}
		}
		kept = append(kept, f)
	}
	w.changes.Flags = kept
	return nil
}
