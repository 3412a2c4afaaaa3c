package journal

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tillandsia/shared/entry"
)

// Pruning says what may be pruned.
type Pruning struct {
	// Stable is how far a verified copy holds each epoch, as this connection
	// said.
	Stable []entry.Point
	// Before is the wall clock before which entries may go: the retention that
	// this connection's welcome covers.
	Before time.Time
}

// pruneBatch is how many entries go in one transaction, so that no sale waits
// long.
const pruneBatch = 500

// Prune removes entries from the beginning of the journal, as far as they are
// at or below the stable point of their epoch, where the journal's own hash
// agrees ([ErrForked] where it does not), acknowledged, and older than Before.
// An epoch is begun on only when the one before it is gone. The projections
// stay as they are; a copy of them as they stood at the checkpoint stays in
// the bucket base, so that Rebuild and Verify can go on from there. It returns
// how many entries went.
func (j *Journal) Prune(ctx context.Context, p Pruning) (int, error) {
	total := 0
	for {
		n, err := j.pruneSome(ctx, p)
		total += n
		if err != nil || n == 0 {
			return total, err
		}
	}
}

func (j *Journal) pruneSome(ctx context.Context, p Pruning) (int, error) {
	epoch, limit, err := j.prunable(ctx, p)
	if err != nil || epoch == 0 {
		return 0, err
	}
	n := 0
	var checkpoint entry.Point
	_, err = j.Append(ctx, func(tx *Tx) error {
		epochs, err := bucket(tx.b, bucketEpochs)
		if err != nil {
			return err
		}
		entries, err := bucket(tx.b, bucketEntries)
		if err != nil {
			return err
		}
		base, err := bucket(tx.b, bucketBase)
		if err != nil {
			return err
		}
		record, _, err := get[epochRecord](epochs, epochKey(epoch))
		if err != nil {
			return err
		}
		checkpoint = record.Checkpoint
		standing := newProjection(base, j.identity)
		var gone [][]byte
		c := entries.Cursor()
		for k, v := c.Seek(placeKey(entry.Place{Epoch: epoch, Seq: checkpoint.Seq + 1})); k != nil && n < pruneBatch; k, v = c.Next() {
			e, err := entry.Decode(v)
			if err != nil {
				return damaged("entry %x: %w", k, err)
			}
			if e.Epoch != epoch || e.Seq > limit || !e.At.Before(p.Before) {
				break
			}
			if err := entry.Follows(checkpoint, &e); err != nil {
				return damaged("%w", err)
			}
			body, err := bodyOf(&e)
			if err != nil {
				return err
			}
			if err := standing.apply(&e, body); err != nil {
				return err
			}
			checkpoint = entry.Point{Epoch: e.Epoch, Seq: e.Seq, Hash: entry.HashOf(v)}
			gone = append(gone, slices.Clone(k))
			n++
		}
		if n == 0 {
			return nil
		}
		if err := standing.flush(); err != nil {
			return err
		}
		for _, k := range gone {
			if err := entries.Delete(k); err != nil {
				return fmt.Errorf("prune entry %x: %w", k, err)
			}
		}
		record.Checkpoint = checkpoint
		return put(epochs, epochKey(epoch), record)
	})
	if err != nil || n == 0 {
		return 0, err
	}
	j.status.Lock()
	defer j.status.Unlock()
	j.known.epochs = slices.Clone(j.known.epochs)
	for i := range j.known.epochs {
		if j.known.epochs[i].epoch == epoch {
			j.known.epochs[i].Checkpoint = checkpoint
		}
	}
	return n, nil
}

// prunable returns the first epoch that has entries, and how far it may go;
// epoch 0 where nothing may. The last entry of the journal stays.
func (j *Journal) prunable(ctx context.Context, p Pruning) (epoch, limit uint64, err error) {
	epochs := j.now().epochs
	for i, e := range epochs {
		if e.Checkpoint.Seq >= e.head.Seq {
			continue
		}
		at := slices.IndexFunc(p.Stable, func(s entry.Point) bool { return s.Epoch == e.epoch })
		if at < 0 || p.Stable[at].Seq <= e.Checkpoint.Seq {
			return 0, 0, nil
		}
		stable := p.Stable[at]
		hash, err := j.HashAt(ctx, stable.Place())
		if err != nil || hash != stable.Hash {
			return 0, 0, fmt.Errorf("stable point %d/%d: %w", stable.Epoch, stable.Seq, ErrForked)
		}
		limit := min(stable.Seq, e.acked.Seq)
		if i == len(epochs)-1 {
			limit = min(limit, e.head.Seq-1)
		}
		if limit <= e.Checkpoint.Seq {
			return 0, 0, nil
		}
		return e.epoch, limit, nil
	}
	return 0, 0, nil
}
