package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/store"
)

// Errors of a batch that is not taken. Nothing of it is stored; the register
// says hello again.
var (
	// ErrReplaced is returned where a newer connection of the register has
	// taken over.
	ErrReplaced = errors.New("a newer connection took over")
	// ErrChain is returned where the batch does not continue what is held, or
	// is broken in itself.
	ErrChain = errors.New("entries do not continue the cursor")
	// ErrFork is returned where entries at or below the cursor differ from
	// those stored.
	ErrFork = errors.New("entries differ from those stored")
)

// Apply takes a batch of a register's journal in: raw entries of an epoch from
// first on. On return with nil everything up to the acknowledged cursor is
// durable, each entry with its outcome, and booked as far as it is true.
// Entries that are there already change nothing. What an entry says never
// makes Apply fail: what is wrong with it is flagged.
func (l *Ledger) Apply(ctx context.Context, register store.Register, generation, epoch, first uint64, raw [][]byte) (wire.Ack, error) {
	items, err := decodeBatch(epoch, first, raw)
	if err != nil {
		return wire.Ack{}, err
	}
	b := batch{ledger: l, register: register, generation: generation, epoch: epoch, items: items}
	ack, err := b.apply(ctx)
	switch {
	case err == nil:
		l.failures.forget(register.ID)
	case errors.Is(err, ErrReplaced), errors.Is(err, ErrChain), errors.Is(err, ErrFork), errors.Is(err, store.ErrUnknownOutcome),
		errors.Is(err, store.ErrNotFound), ctx.Err() != nil:
		return wire.Ack{}, err
	case l.failures.count(register.ID, items[0].place()) < failuresAllowed:
		return wire.Ack{}, fmt.Errorf("apply batch %d/%d of %s: %w", epoch, first, register.ID, err)
	default:
		l.log.ErrorContext(ctx, "batch fails again and again: taken entry by entry",
			"register", register.ID, "epoch", epoch, "first", first, "entries", len(items), "error", err)
		if ack, err = b.oneByOne(ctx); err != nil {
			return wire.Ack{}, err
		}
		l.failures.forget(register.ID)
	}
	l.store.Poke(ctx)
	return ack, nil
}

// decodeBatch decodes the entries of a batch and checks that they are a chain.
func decodeBatch(epoch, first uint64, raw [][]byte) ([]item, error) {
	if len(raw) == 0 {
		return nil, fmt.Errorf("%w: an empty batch", ErrChain)
	}
	items := make([]item, len(raw))
	for i := range raw {
		it, err := decode(raw[i])
		if err != nil {
			return nil, fmt.Errorf("%w: entry %d/%d: %w", ErrChain, epoch, first+uint64(i), err)
		}
		if it.entry.Epoch != epoch || it.entry.Seq != first+uint64(i) {
			return nil, fmt.Errorf("%w: %d/%d stands where %d/%d is due", ErrChain, it.entry.Epoch, it.entry.Seq, epoch, first+uint64(i))
		}
		if i > 0 && it.entry.Prev != items[i-1].hash {
			return nil, fmt.Errorf("%w: %d/%d does not name the hash before it", ErrChain, epoch, it.entry.Seq)
		}
		items[i] = it
	}
	return items, nil
}

// batch is a batch on its way in.
type batch struct {
	ledger     *Ledger
	register   store.Register
	generation uint64
	epoch      uint64
	items      []item
	// poisoned are the places whose effect cannot be computed: they are stored
	// raw and flagged.
	poisoned map[entry.Place]string
}

// conflictsAllowed is how often a batch is done again because another one took
// an operation id first.
const conflictsAllowed = 3

// errPoisoned is returned where an entry cannot be computed: the transaction is
// rolled back and done again without that entry.
var errPoisoned = errors.New("an entry cannot be computed")

func (b *batch) apply(ctx context.Context) (wire.Ack, error) {
	// The identity is read outside the transaction: a close-out needs it.
	if _, err := b.ledger.who(ctx); err != nil {
		return wire.Ack{}, err
	}
	for conflicts := 0; ; {
		var ack wire.Ack
		err := b.ledger.store.Update(ctx, func(tx store.Tx) error {
			var err error
			ack, err = b.take(ctx, tx)
			return err
		})
		switch {
		case errors.Is(err, errPoisoned):
		case errors.Is(err, store.ErrConflict) && conflicts < conflictsAllowed:
			// Another register has stored the same operation meanwhile: now it
			// is there to be seen.
			conflicts++
		default:
			return ack, err
		}
	}
}

// take does the batch in a transaction.
func (b *batch) take(ctx context.Context, tx store.Tx) (wire.Ack, error) {
	row, err := tx.LockRegister(ctx, b.register.PointOfSale, b.register.ID)
	if err != nil {
		return wire.Ack{}, fmt.Errorf("lock register: %w", err)
	}
	if row.Generation != b.generation {
		return wire.Ack{}, fmt.Errorf("%w: generation %d, now %d", ErrReplaced, b.generation, row.Generation)
	}
	e, err := b.cursor(ctx, tx, row)
	if err != nil {
		return wire.Ack{}, err
	}
	fresh, err := b.fresh(ctx, tx, e)
	if err != nil {
		return wire.Ack{}, err
	}
	if len(fresh) == 0 {
		// Everything is there: the cursor may be beyond the batch, the answer
		// is about the batch's last entry.
		last := b.items[len(b.items)-1]
		return wire.Ack{Cursor: entry.Point{Epoch: b.epoch, Seq: last.entry.Seq, Hash: last.hash}, Stable: e.Stable, Window: b.ledger.options.Window}, nil
	}
	w, err := b.ledger.load(ctx, tx, row, e, fresh)
	if err != nil {
		return wire.Ack{}, err
	}
	place, cause, err := w.run(ctx, tx, b.poisoned)
	if err != nil {
		return wire.Ack{}, err
	}
	if cause != "" {
		b.ledger.log.ErrorContext(ctx, "entry not understood", "register", row.ID, "epoch", place.Epoch, "seq", place.Seq, "cause", cause)
		b.poison(place, cause)
		return wire.Ack{}, errPoisoned
	}
	if err := w.write(ctx, tx, b.generation); err != nil {
		return wire.Ack{}, err
	}
	return wire.Ack{Cursor: w.epoch.Cursor, Stable: w.epoch.Stable, Window: b.ledger.options.Window, Flags: w.told}, nil
}

func (b *batch) poison(place entry.Place, cause string) {
	if b.poisoned == nil {
		b.poisoned = map[entry.Place]string{}
	}
	b.poisoned[place] = cause
}

// cursor returns the epoch that the batch is of. One that the server lacks is
// taken up from its first entry, where its base is on a chain that is held.
func (b *batch) cursor(ctx context.Context, tx store.Tx, row store.Register) (store.Epoch, error) {
	epochs, err := tx.Epochs(ctx, row.PointOfSale, row.ID)
	if err != nil {
		return store.Epoch{}, fmt.Errorf("read epochs: %w", err)
	}
	known := make(map[uint64]store.Epoch, len(epochs))
	for _, e := range epochs {
		if e.Epoch == b.epoch {
			return e, nil
		}
		known[e.Epoch] = e
	}
	begun, ok := b.items[0].body.(*pos.Begun)
	if !ok || b.items[0].entry.Seq != 1 || b.items[0].wrapped || begun.Base.Hash != b.items[0].entry.Prev {
		return store.Epoch{}, fmt.Errorf("%w: epoch %d is not known", ErrChain, b.epoch)
	}
	held, err := holds(ctx, tx, row, known, begun.Base)
	if err != nil {
		return store.Epoch{}, err
	}
	if !held {
		return store.Epoch{}, fmt.Errorf("%w: the base of epoch %d is not held", ErrChain, b.epoch)
	}
	return newEpoch(row, b.epoch, begun.Nonce, begun.Base), nil
}

// fresh returns the entries beyond the cursor, after checking that those at or
// below it are the ones stored.
func (b *batch) fresh(ctx context.Context, tx store.Tx, e store.Epoch) ([]item, error) {
	first := b.items[0].entry.Seq
	if first > e.Cursor.Seq+1 {
		return nil, fmt.Errorf("%w: the batch begins at %d/%d, the cursor stands at %d", ErrChain, b.epoch, first, e.Cursor.Seq)
	}
	old := min(int(e.Cursor.Seq+1-first), len(b.items))
	if old > 0 {
		rows, err := tx.Journal(ctx, e.PointOfSale, e.Register, e.Epoch, first, old)
		if err != nil {
			return nil, fmt.Errorf("read entries: %w", err)
		}
		for _, row := range rows {
			i := row.Seq - first
			if i < uint64(old) && row.Hash != b.items[i].hash {
				return nil, fmt.Errorf("%w: %d/%d", ErrFork, b.epoch, row.Seq)
			}
		}
	}
	fresh := b.items[old:]
	if len(fresh) > 0 && fresh[0].entry.Prev != e.Cursor.Hash {
		return nil, fmt.Errorf("%w: %d/%d does not stand on the cursor", ErrFork, b.epoch, fresh[0].entry.Seq)
	}
	return fresh, nil
}

// oneByOne applies the entries of a batch that fails as a whole each in a
// transaction of its own; the one that fails by itself is stored raw.
func (b *batch) oneByOne(ctx context.Context) (wire.Ack, error) {
	var ack wire.Ack
	for i := range b.items {
		single := *b
		single.items = b.items[i : i+1]
		next, err := single.apply(ctx)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, store.ErrUnknownOutcome) || errors.Is(err, ErrReplaced) {
				return wire.Ack{}, err
			}
			// A store in trouble fails whatever it is given: only an entry
			// that fails while others pass is stored raw.
			if probe := b.ledger.probe(ctx); probe != nil {
				return wire.Ack{}, errors.Join(err, probe)
			}
			single.poison(b.items[i].place(), err.Error())
			if next, err = single.apply(ctx); err != nil {
				return wire.Ack{}, err
			}
		}
		next.Flags = append(ack.Flags, next.Flags...)
		ack = next
	}
	return ack, nil
}

// probe reports whether the store takes writes at all.
func (l *Ledger) probe(ctx context.Context) error {
	return l.store.Update(ctx, func(tx store.Tx) error {
		value, err := tx.InitMeta(ctx, "probe", []byte{1})
		if err != nil {
			return err
		}
		return tx.SetMeta(ctx, "probe", value)
	})
}

// failuresAllowed is how often a batch may fail before it is taken apart.
const failuresAllowed = 3

// failures counts how often the same batch of a register failed in a row.
type failures struct {
	mu sync.Mutex
	of map[string]failure
}

type failure struct {
	at entry.Place
	n  int
}

func (f *failures) count(register string, at entry.Place) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[string]failure{}
	}
	now := f.of[register]
	if now.at != at {
		now = failure{at: at}
	}
	now.n++
	f.of[register] = now
	return now.n
}

func (f *failures) forget(register string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.of, register)
}

// refused says that a command is not possible while the server is recovering.
func (l *Ledger) refusedWhileRecovering() error {
	if l.options.Recovering {
		return message.New(message.Conflict, "ledger.recovering")
	}
	return nil
}
