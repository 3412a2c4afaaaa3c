package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
)

// ignoreClosed drops the error of rolling back what a failed commit has rolled
// back itself.
func ignoreClosed(err error) error {
	if errors.Is(err, berrors.ErrTxClosed) {
		return nil
	}
	return err
}

// lookupOp returns where an operation stands.
func lookupOp(b *bolt.Tx, op string) (entry.Place, bool, error) {
	ops, err := bucket(b, bucketOps)
	if err != nil {
		return entry.Place{}, false, err
	}
	v := ops.Get([]byte(op))
	if v == nil {
		return entry.Place{}, false, nil
	}
	at, err := parsePlace(v)
	return at, err == nil, err
}

// hashAt returns the hash of the entry at a place, of a checkpoint or a base.
func hashAt(b *bolt.Tx, at entry.Place) (entry.Hash, error) {
	entries, err := bucket(b, bucketEntries)
	if err != nil {
		return entry.Hash{}, err
	}
	if raw := entries.Get(placeKey(at)); raw != nil {
		return entry.HashOf(raw), nil
	}
	epochs, err := bucket(b, bucketEpochs)
	if err != nil {
		return entry.Hash{}, err
	}
	e, found, err := get[epochRecord](epochs, epochKey(at.Epoch))
	switch {
	case err != nil:
		return entry.Hash{}, err
	case !found:
	case at.Seq == 0:
		return e.Base.Hash, nil
	case at.Seq == e.Checkpoint.Seq:
		return e.Checkpoint.Hash, nil
	case at.Seq < e.Checkpoint.Seq:
		return entry.Hash{}, fmt.Errorf("entry %d/%d: %w", at.Epoch, at.Seq, ErrPruned)
	}
	return entry.Hash{}, fmt.Errorf("entry %d/%d: %w", at.Epoch, at.Seq, ErrNotFound)
}

// readEpochs returns the epochs of a file with their heads.
func readEpochs(b *bolt.Tx) ([]epochState, error) {
	epochs, err := bucket(b, bucketEpochs)
	if err != nil {
		return nil, err
	}
	entries, err := bucket(b, bucketEntries)
	if err != nil {
		return nil, err
	}
	var all []epochState
	err = epochs.ForEach(func(k, _ []byte) error {
		record, _, err := get[epochRecord](epochs, k)
		if err != nil {
			return err
		}
		if len(k) != placeSize/2 {
			return damaged("epoch of %d bytes", len(k))
		}
		epoch := binary.BigEndian.Uint64(k)
		e := epochState{epoch: epoch, epochRecord: record, head: record.Checkpoint}
		e.acked = entry.Point{Epoch: epoch, Hash: record.Base.Hash}
		last, raw := before(entries.Cursor(), epochKey(epoch+1))
		if last != nil {
			place, err := parsePlace(last)
			if err != nil {
				return err
			}
			if place.Epoch == epoch {
				e.head = entry.Point{Epoch: place.Epoch, Seq: place.Seq, Hash: entry.HashOf(raw)}
			}
		}
		all = append(all, e)
		return nil
	})
	if err == nil && len(all) == 0 {
		err = damaged("no epoch")
	}
	return all, err
}

// headOf returns the last entry of the current epoch.
func headOf(b *bolt.Tx) (entry.Point, error) {
	entries, err := bucket(b, bucketEntries)
	if err != nil {
		return entry.Point{}, err
	}
	epochs, err := bucket(b, bucketEpochs)
	if err != nil {
		return entry.Point{}, err
	}
	current, _ := epochs.Cursor().Last()
	last, raw := entries.Cursor().Last()
	if last != nil && bytes.HasPrefix(last, current) {
		at, err := parsePlace(last)
		if err != nil {
			return entry.Point{}, err
		}
		return entry.Point{Epoch: at.Epoch, Seq: at.Seq, Hash: entry.HashOf(raw)}, nil
	}
	all, err := readEpochs(b)
	if err != nil {
		return entry.Point{}, err
	}
	return all[len(all)-1].head, nil
}

// readKnown reads what is kept in memory.
func readKnown(b *bolt.Tx) (known, error) {
	var k known
	var err error
	if k.epochs, err = readEpochs(b); err != nil {
		return k, err
	}
	k.head = k.epochs[len(k.epochs)-1].head
	state, err := bucket(b, bucketState)
	if err != nil {
		return k, err
	}
	series, _, err := get[Series](state, keySeries)
	if err != nil {
		return k, err
	}
	k.moved = series.Moved
	if k.nonce, _, err = get[string](state, keyNonce); err != nil {
		return k, err
	}
	heard, err := bucket(b, bucketSync)
	if err != nil {
		return k, err
	}
	acked, _, err := get[ackedRecord](heard, keyAcked)
	if err != nil {
		return k, err
	}
	k.ackedMoved = acked.Moved
	for _, p := range acked.Points {
		for i := range k.epochs {
			if k.epochs[i].epoch == p.Epoch {
				k.epochs[i].acked = p
			}
		}
	}
	if k.generation, _, err = get[uint64](heard, keyGeneration); err != nil {
		return k, err
	}
	if k.incarnation, _, err = get[string](heard, keyIncarnation); err != nil {
		return k, err
	}
	k.pending, _, err = get[string](heard, keyPending)
	return k, err
}

// Head returns the last entry of the current epoch.
func (j *Journal) Head() entry.Point { return j.now().head }

// Epochs returns what the journal holds of each epoch, in order; the last is
// the one it writes in.
func (j *Journal) Epochs() []wire.EpochHead {
	k := j.now()
	heads := make([]wire.EpochHead, 0, len(k.epochs))
	for _, e := range k.epochs {
		heads = append(heads, wire.EpochHead{Epoch: e.epoch, Nonce: e.Nonce, Base: e.Base, Checkpoint: e.Checkpoint, Head: e.head})
	}
	return heads
}

// Read returns entries from a place on (inclusive), in order, all of the
// place's epoch, at most maxEntries and at most maxBytes (but at least one
// where there is one). The bytes are those that were made. [ErrPruned] where
// the place is at or below the checkpoint.
func (j *Journal) Read(ctx context.Context, from entry.Place, maxEntries, maxBytes int) ([]Raw, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	from.Seq = max(from.Seq, 1)
	var raws []Raw
	err := j.read(func(b *bolt.Tx) error {
		entries, err := bucket(b, bucketEntries)
		if err != nil {
			return err
		}
		size := 0
		c := entries.Cursor()
		for k, v := c.Seek(placeKey(from)); k != nil && len(raws) < maxEntries; k, v = c.Next() {
			at, err := parsePlace(k)
			if err != nil {
				return err
			}
			if at.Epoch != from.Epoch {
				break
			}
			if at.Seq != from.Seq+uint64(len(raws)) {
				if len(raws) == 0 {
					return fmt.Errorf("entry %d/%d: %w", from.Epoch, from.Seq, ErrPruned)
				}
				return damaged("entry %d/%d is missing", from.Epoch, from.Seq+uint64(len(raws)))
			}
			if size += len(v); size > maxBytes && len(raws) > 0 {
				break
			}
			raws = append(raws, Raw{
				At:  entry.Point{Epoch: at.Epoch, Seq: at.Seq, Hash: entry.HashOf(v)},
				Raw: bytes.Clone(v),
			})
		}
		return nil
	})
	return raws, err
}

// HashAt returns the hash of the entry at a place; sequence 0 is the epoch's
// base, and the checkpoint's hash is known too. [ErrNotFound], [ErrPruned].
func (j *Journal) HashAt(ctx context.Context, at entry.Place) (entry.Hash, error) {
	if err := ctx.Err(); err != nil {
		return entry.Hash{}, err
	}
	var hash entry.Hash
	err := j.read(func(b *bolt.Tx) error {
		var err error
		hash, err = hashAt(b, at)
		return err
	})
	return hash, err
}

// Lookup returns where an operation stands.
func (j *Journal) Lookup(ctx context.Context, op string) (at entry.Point, found bool, err error) {
	err = j.View(ctx, func(tx *Tx) error {
		at, found, err = tx.Lookup(op)
		return err
	})
	return at, found, err
}

// SetAcked takes over the server's cursor of the point's epoch, forwards or
// backwards; the point must be on the chain ([ErrForked]). It holds in memory
// at once and is written at most once a second and at Close: a cursor lost in
// a crash is heard again at the next welcome.
func (j *Journal) SetAcked(ctx context.Context, p entry.Point) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.cursor.Lock()
	defer j.cursor.Unlock()
	at := slices.IndexFunc(j.now().epochs, func(e epochState) bool { return e.epoch == p.Epoch })
	if at < 0 {
		return fmt.Errorf("acknowledged %d/%d: %w", p.Epoch, p.Seq, ErrForked)
	}
	old := j.now().epochs[at].acked
	var moved money.Amount
	err := j.read(func(b *bolt.Tx) error {
		hash, err := hashAt(b, p.Place())
		switch {
		case errors.Is(err, ErrPruned):
			// Below the checkpoint the hash is gone; the server has a hole.
		case errors.Is(err, ErrNotFound), err == nil && hash != p.Hash:
			return fmt.Errorf("acknowledged %d/%d: %w", p.Epoch, p.Seq, ErrForked)
		case err != nil:
			return err
		}
		from, to, sign := old.Seq, p.Seq, money.Amount(1)
		if to < from {
			from, to, sign = to, from, -1
		}
		sum, err := movedBetween(b, p.Epoch, from, to)
		moved = sign * sum
		return err
	})
	if err != nil {
		return err
	}
	j.status.Lock()
	k := &j.known
	k.epochs = slices.Clone(k.epochs)
	k.epochs[at].acked = p
	k.ackedMoved += moved
	j.status.Unlock()
	j.signalKeeper()
	return nil
}

// movedBetween sums the money of the entries of an epoch after from, up to to.
func movedBetween(b *bolt.Tx, epoch, from, to uint64) (money.Amount, error) {
	entries, err := bucket(b, bucketEntries)
	if err != nil {
		return 0, err
	}
	var sum money.Amount
	last := placeKey(entry.Place{Epoch: epoch, Seq: to})
	c := entries.Cursor()
	for k, v := c.Seek(placeKey(entry.Place{Epoch: epoch, Seq: from + 1})); k != nil && bytes.Compare(k, last) <= 0; k, v = c.Next() {
		amount, err := moneyOf(v)
		if err != nil {
			return 0, damaged("entry %x: %w", k, err)
		}
		if sum, err = add(sum, amount); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// Acked returns the server's cursor of each epoch as last heard, in order of
// epochs; an epoch without one stands at its base.
func (j *Journal) Acked() []entry.Point {
	k := j.now()
	points := make([]entry.Point, 0, len(k.epochs))
	for _, e := range k.epochs {
		points = append(points, e.acked)
	}
	return points
}

// Waiting returns how many entries are not acknowledged and the money that
// they move (signed: refunds and what is taken out count against it). It reads
// nothing.
func (j *Journal) Waiting() (entries int, amount money.Amount) {
	k := j.now()
	for _, e := range k.epochs {
		if from := max(e.acked.Seq, e.Checkpoint.Seq); e.head.Seq > from {
			entries += int(e.head.Seq - from)
		}
	}
	return entries, k.moved - k.ackedMoved
}

// Notify returns a channel that holds a token whenever something was appended
// since it was last received from: level-triggered, never blocking the till.
// There is one channel, for the journal's one uploader.
func (j *Journal) Notify() <-chan struct{} { return j.notify }

// Generation returns the connection generation last stored.
func (j *Journal) Generation() uint64 { return j.now().generation }

// SetGeneration stores a connection generation; it is durable on return.
func (j *Journal) SetGeneration(ctx context.Context, generation uint64) error {
	return j.remember(ctx, keyGeneration, generation, func(k *known) { k.generation = generation })
}

// Incarnation returns the server's incarnation last stored.
func (j *Journal) Incarnation() string { return j.now().incarnation }

// SetIncarnation stores the server's incarnation; it is durable on return.
func (j *Journal) SetIncarnation(ctx context.Context, incarnation string) error {
	return j.remember(ctx, keyIncarnation, incarnation, func(k *known) { k.incarnation = incarnation })
}

// remember stores a value of the sync bucket; setting it again is harmless, so
// that an error of the commit needs no looking up.
func (j *Journal) remember(ctx context.Context, key []byte, value any, then func(*known)) error {
	_, err := j.Append(ctx, func(tx *Tx) error {
		b, err := bucket(tx.b, bucketSync)
		if err != nil {
			return err
		}
		return put(b, key, value)
	})
	if err != nil {
		return err
	}
	j.status.Lock()
	defer j.status.Unlock()
	then(&j.known)
	return nil
}

// PendingNonce returns the nonce with which a new epoch is asked for. It is
// made and stored once, in the journal and in the nonce file, and stays the
// same until [Journal.BeginEpoch].
func (j *Journal) PendingNonce(ctx context.Context) (string, error) {
	k := j.now()
	if k.pending != "" {
		return k.pending, nil
	}
	nonce, err := newNonce(j.o.Random)
	if err != nil {
		return "", err
	}
	// The file first: a nonce that only the file holds means nothing, one
	// that only the journal held would look like a copy once it is granted.
	if err := j.instance.writeNonces(nonces{Nonce: k.nonce, Pending: nonce}); err != nil {
		return "", err
	}
	return nonce, j.remember(ctx, keyPending, nonce, func(k *known) { k.pending = nonce })
}

func (tx *Tx) forgetPending() error {
	b, err := bucket(tx.b, bucketSync)
	if err != nil {
		return err
	}
	return b.Delete(keyPending)
}

// BeginEpoch goes over to an epoch that the server gave: in one transaction
// the epoch, its begun entry, the nonce, and a new series where the grant has
// a reason for one; then the nonce file. Given the same grant again it does
// nothing. The base must be on the journal's own chain: what stands beyond it
// stays in its old epoch and is sent there. A grant on another base needs the
// re-base, which this version does not do ([ErrEpoch]).
func (j *Journal) BeginEpoch(ctx context.Context, g Grant) error {
	if j.o.ReadOnly {
		return ErrReadOnly
	}
	j.write.Lock()
	defer j.write.Unlock()
	if err := j.ready(ctx); err != nil {
		return err
	}
	k := j.now()
	current := k.epochs[len(k.epochs)-1]
	if current.epoch == g.Epoch && current.Nonce == g.Nonce && current.Base == g.Base {
		return j.instance.writeNonces(nonces{Nonce: k.nonce})
	}
	if g.Epoch <= current.epoch || g.Nonce == "" {
		return fmt.Errorf("epoch %d after %d: %w", g.Epoch, current.epoch, ErrEpoch)
	}
	if err := j.rolled(ctx, g); err != nil {
		return err
	}
	if j.o.ops.afterJournal != nil {
		if err := j.o.ops.afterJournal(); err != nil {
			return err
		}
	}
	return j.instance.writeNonces(nonces{Nonce: g.Nonce})
}

// rolled commits the transaction that begins an epoch.
func (j *Journal) rolled(ctx context.Context, g Grant) error {
	start := entry.Point{Epoch: g.Epoch, Hash: g.Base.Hash}
	_, err := j.change(ctx, func(tx *Tx) error {
		hash, err := hashAt(tx.b, g.Base.Place())
		if err != nil || hash != g.Base.Hash {
			return fmt.Errorf("epoch %d on %d/%d: %w", g.Epoch, g.Base.Epoch, g.Base.Seq, errors.Join(ErrEpoch, err))
		}
		epochs, err := bucket(tx.b, bucketEpochs)
		if err != nil {
			return err
		}
		record := epochRecord{Nonce: g.Nonce, Base: g.Base, Checkpoint: start}
		if err := put(epochs, epochKey(g.Epoch), record); err != nil {
			return err
		}
		tx.head = start
		begun := pos.Begun{Nonce: g.Nonce, Base: g.Base, Software: j.o.Software}
		if _, err := tx.Add(entry.KindBegun, j.newOp(tx.now), begun); err != nil {
			return err
		}
		if g.Why != "" {
			if _, err := tx.newSeries(g.Why); err != nil {
				return err
			}
		}
		return tx.forgetPending()
	})
	if err != nil {
		return err
	}
	// The epochs in memory are read again: there is one more.
	return j.read(func(b *bolt.Tx) error {
		fresh, err := readKnown(b)
		if err == nil {
			j.setKnown(fresh)
		}
		return err
	})
}

// setKnown takes over what was read from the file. What was acknowledged and
// not stored yet is newer in memory.
func (j *Journal) setKnown(fresh known) {
	j.status.Lock()
	defer j.status.Unlock()
	if len(j.known.epochs) > 0 {
		for i := range fresh.epochs {
			for _, e := range j.known.epochs {
				if e.epoch == fresh.epochs[i].epoch {
					fresh.epochs[i].acked = e.acked
				}
			}
		}
		fresh.ackedMoved = j.known.ackedMoved
	}
	j.known = fresh
}

// Closes returns the closes in the journal beyond the given places, one per
// epoch (epochs not named count from their beginning), in the journal's order.
func (j *Journal) Closes(ctx context.Context, beyond []entry.Place) ([]wire.RawEntry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	after := map[uint64]uint64{}
	for _, p := range beyond {
		after[p.Epoch] = p.Seq
	}
	var raws []wire.RawEntry
	err := j.read(func(b *bolt.Tx) error {
		closes, err := bucket(b, bucketCloses)
		if err != nil {
			return err
		}
		entries, err := bucket(b, bucketEntries)
		if err != nil {
			return err
		}
		c := closes.Cursor()
		for k, _ := c.Seek([]byte{closeByPlace}); k != nil && k[0] == closeByPlace; k, _ = c.Next() {
			at, err := parsePlace(k[1:])
			if err != nil {
				return err
			}
			if at.Seq <= after[at.Epoch] {
				continue
			}
			raw := entries.Get(k[1:])
			if raw == nil {
				continue // pruned: a verified copy has it
			}
			raws = append(raws, wire.RawEntry{
				At:  entry.Point{Epoch: at.Epoch, Seq: at.Seq, Hash: entry.HashOf(raw)},
				Raw: bytes.Clone(raw),
			})
		}
		return nil
	})
	return raws, err
}

func (j *Journal) signalKeeper() {
	select {
	case j.keep <- struct{}{}:
	default:
	}
}

// keeper writes the high-water mark, and what was acknowledged, when they have
// changed: at most once every MarkEvery, and at the end. Close waits for it.
func (j *Journal) keeper(ctx context.Context, acked ackedRecord) {
	defer close(j.kept)
	var mark entry.Point
	write := func() {
		mark = j.keepMark(ctx, mark)
		acked = j.keepAcked(ctx, acked)
	}
	defer write()
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.keep:
		}
		write()
		pause := time.NewTimer(j.o.MarkEvery)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

// keepMark writes the head as the mark, if it is another. The head is known
// after its commit only, so that the mark is never ahead of the journal. An
// error leaves the old mark, which is as true as before.
func (j *Journal) keepMark(ctx context.Context, written entry.Point) entry.Point {
	head := j.Head()
	if head == written {
		return written
	}
	if err := j.instance.writeMark(head); err != nil {
		j.log.WarnContext(ctx, "write mark of the journal", "error", err)
		return written
	}
	return head
}

// acked returns the cursors as they are stored.
func (k known) acked() ackedRecord {
	record := ackedRecord{Moved: k.ackedMoved}
	for _, e := range k.epochs {
		record.Points = append(record.Points, e.acked)
	}
	return record
}

// keepAcked stores the cursors, if they are others. Any error of its commit is
// as fatal as that of a sale: the file is opened again.
func (j *Journal) keepAcked(ctx context.Context, written ackedRecord) ackedRecord {
	record := j.now().acked()
	if record.Moved == written.Moved && slices.Equal(record.Points, written.Points) {
		return written
	}
	j.write.Lock()
	defer j.write.Unlock()
	if j.failed != nil {
		return written
	}
	_, err := j.change(ctx, func(tx *Tx) error {
		heard, err := bucket(tx.b, bucketSync)
		if err != nil {
			return err
		}
		return put(heard, keyAcked, record)
	})
	if err != nil {
		j.log.WarnContext(ctx, "store what was acknowledged", "error", err)
		return written
	}
	return record
}
