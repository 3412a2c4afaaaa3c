package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/store"
)

// changesRead is how many rows of the outbox are read at a time.
const changesRead = 1000

// Changes returns what changed since a mark, and the next mark: the codes of
// the points of sale whose sessions changed, and the catalogue's revision. Mark
// 0 asks for the newest mark and tells nothing; marks are one above revisions
// of the outbox, so that an empty one has a mark as well.
func (l *Ledger) Changes(ctx context.Context, since uint64) (points []string, revision, mark uint64, err error) {
	err = l.store.Update(ctx, func(tx store.Tx) error {
		mark, err = tx.NumberOutbox(ctx)
		return err
	})
	if err != nil {
		return nil, 0, 0, fmt.Errorf("number the outbox: %w", err)
	}
	err = l.store.View(ctx, func(r store.Reader) error {
		points = nil
		if revision, err = r.Revision(ctx); err != nil {
			return fmt.Errorf("read revision: %w", err)
		}
		for from := since - 1; since != 0 && from < mark; {
			rows, err := r.OutboxSince(ctx, from, changesRead)
			if err != nil {
				return fmt.Errorf("read the outbox: %w", err)
			}
			for _, row := range rows {
				from = max(from, row.Revision)
				if (row.Kind == "session" || row.Kind == "close") && !slices.Contains(points, row.PointOfSale) {
					points = append(points, row.PointOfSale)
				}
			}
			if len(rows) < changesRead {
				break
			}
		}
		return nil
	})
	return points, revision, mark + 1, err
}

// Code returns the code by which a register is told an error of the calls of
// the sync endpoint; ok is false where nothing may be said about the outcome.
func (l *Ledger) Code(err error) (code wire.Code, ok bool) {
	var told *message.Error
	switch {
	case errors.Is(err, store.ErrUnknownOutcome):
		return "", false
	case errors.Is(err, ErrReplaced):
		return wire.CodeReplaced, true
	case errors.Is(err, ErrFork):
		return wire.CodeFork, true
	case errors.Is(err, ErrChain):
		return wire.CodeChain, true
	case errors.As(err, &told) && told.Class == message.NotFound:
		return wire.CodeUnknown, true
	case errors.As(err, &told) && told.Class == message.Invalid:
		return wire.CodeProtocol, true
	}
	// Everything else was rolled back: the same entries may be sent again.
	return wire.CodeUnavailable, true
}

// Closes takes closes back that a register hands in after the server was
// restored. Those that the server has are known. The others are listed: the
// server does not close again from them yet, what they closed is booked in the
// session that it has.
func (l *Ledger) Closes(ctx context.Context, register store.Register, c *wire.Closes) error {
	if len(c.Entries) == 0 {
		return nil
	}
	return l.store.Update(ctx, func(tx store.Tx) error {
		row, err := tx.LockRegister(ctx, register.PointOfSale, register.ID)
		if err != nil {
			return notFound(err, "ledger.no_such_register", "register", register.ID)
		}
		changes := store.Changes{}
		for _, raw := range c.Entries {
			it, err := decode(raw.Raw)
			record, ok := it.body.(*pos.Close)
			if err != nil || !ok || entry.HashOf(raw.Raw) != raw.At.Hash {
				continue // it comes as an entry once more, and is judged there
			}
			known, err := tx.Close(ctx, row.PointOfSale, record.Session)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("read close of %s: %w", record.Session, err)
			}
			if err == nil {
				if k, err := decodeClose(known); err == nil && k.Digest == record.Digest {
					continue
				}
			}
			changes.Flags = append(changes.Flags, store.Flag{
				PointOfSale: row.PointOfSale, ID: derived("flag", FlagCloseUnknown, record.Session, record.Digest), Code: FlagCloseUnknown,
				Register: row.ID, Session: record.Session, At: l.now(),
				Params: []byte(detailOf(map[string]string{"session": record.Session, "name": record.Name, "posting": record.Posting})),
			})
		}
		return tx.Write(ctx, &changes)
	})
}
