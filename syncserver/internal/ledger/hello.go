package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/session"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/store"
)

// Limits of what one question may ask.
const (
	maxProbe  = 1024
	maxFetch  = 512
	maxTold   = 64
	maxEpochs = 4096
)

// Hello answers a register's hello: it takes the next generation, so that
// batches of an older connection are refused from then on, stores what the
// register told, and says what the server holds of each epoch.
func (l *Ledger) Hello(ctx context.Context, register store.Register, h *wire.Hello) (wire.Welcome, error) {
	id, err := l.who(ctx)
	if err != nil {
		return wire.Welcome{}, err
	}
	if len(h.Epochs) > maxEpochs {
		return wire.Welcome{}, message.New(message.Invalid, "ledger.too_many_epochs")
	}
	var welcome wire.Welcome
	err = l.store.Update(ctx, func(tx store.Tx) error {
		now := l.clock()
		row, err := tx.LockRegister(ctx, register.PointOfSale, register.ID)
		if err != nil {
			return notFound(err, "ledger.no_such_register", "register", register.ID)
		}
		epochs, err := tx.Epochs(ctx, row.PointOfSale, row.ID)
		if err != nil {
			return fmt.Errorf("read epochs: %w", err)
		}
		taken, err := takeUp(ctx, tx, row, epochs, h)
		if err != nil {
			return err
		}
		copied := isCopy(row, epochs, h)
		row.Generation = 1 + max(row.Generation, h.Generation)
		row.LastSeen = now.UnixMicro()
		row.Waiting, row.WaitingAmount = h.Waiting, h.WaitingAmount
		row.Screen, row.Program = h.Screen, h.Program
		if !h.Clock.IsZero() {
			row.ClockSkew = h.Clock.Sub(now).Microseconds()
		}
		if err := tx.Write(ctx, &store.Changes{
			Register: &row, Epochs: taken,
			Outbox: []store.OutboxRow{outboxRow(row.PointOfSale, "register", row.ID, now.UnixMicro())},
		}); err != nil {
			return fmt.Errorf("write hello: %w", err)
		}
		revision, err := tx.Revision(ctx)
		if err != nil {
			return fmt.Errorf("read revision: %w", err)
		}
		welcome = wire.Welcome{
			Version: wire.Version, Incarnation: id.incarnation, Generation: row.Generation,
			Copy: copied, Window: l.options.Window, Retention: l.options.RetentionDays,
			CatalogueHandle: id.handle, CatalogueRev: revision, Time: now.UTC(),
			Revoked: row.State == store.RegisterRevoked,
		}
		for _, e := range append(epochs, taken...) {
			welcome.Epochs = append(welcome.Epochs, wire.EpochCursor{Epoch: e.Epoch, Nonce: e.Nonce, Base: e.Base, Cursor: e.Cursor, Stable: e.Stable})
		}
		if welcome.Revoked {
			return nil
		}
		welcome.Sessions, err = inProgress(ctx, tx, row.PointOfSale)
		return err
	})
	if err != nil {
		return wire.Welcome{}, err
	}
	l.store.Poke(ctx)
	return welcome, nil
}

// takeUp returns the epochs that the server lacks and whose base is on a chain
// that it holds: a restored server learns them from the register.
func takeUp(ctx context.Context, r store.Reader, row store.Register, epochs []store.Epoch, h *wire.Hello) ([]store.Epoch, error) {
	known := map[uint64]store.Epoch{}
	for _, e := range epochs {
		known[e.Epoch] = e
	}
	var taken []store.Epoch
	for _, head := range h.Epochs {
		if _, ok := known[head.Epoch]; ok || head.Epoch == 0 {
			continue
		}
		held, err := holds(ctx, r, row, known, head.Base)
		if err != nil {
			return nil, err
		}
		if !held {
			continue
		}
		e := newEpoch(row, head.Epoch, head.Nonce, head.Base)
		known[e.Epoch] = e
		taken = append(taken, e)
	}
	return taken, nil
}

func newEpoch(row store.Register, number uint64, nonce string, base entry.Point) store.Epoch {
	begin := entry.Point{Epoch: number, Hash: base.Hash}
	return store.Epoch{
		PointOfSale: row.PointOfSale, Register: row.ID, Epoch: number, Nonce: nonce,
		Base: base, Checkpoint: begin, Cursor: begin, Stable: begin,
	}
}

// holds reports whether a point lies on a chain that the server holds of the
// register.
func holds(ctx context.Context, r store.Reader, row store.Register, known map[uint64]store.Epoch, p entry.Point) (bool, error) {
	if p.Place().IsZero() {
		return p.Hash.IsZero(), nil
	}
	e, ok := known[p.Epoch]
	if !ok || p.Seq > e.Cursor.Seq {
		return false, nil
	}
	hash, ok, err := hashAt(ctx, r, row, e, p.Seq)
	return ok && hash == p.Hash, err
}

// hashAt returns the hash that the server holds at a place of an epoch.
func hashAt(ctx context.Context, r store.Reader, row store.Register, e store.Epoch, seq uint64) (entry.Hash, bool, error) {
	switch seq {
	case e.Cursor.Seq:
		return e.Cursor.Hash, true, nil
	case 0:
		return e.Base.Hash, true, nil
	case e.Checkpoint.Seq:
		return e.Checkpoint.Hash, true, nil
	}
	j, err := r.JournalRow(ctx, store.JournalKey{PointOfSale: row.PointOfSale, Register: row.ID, Place: entry.Place{Epoch: e.Epoch, Seq: seq}})
	if errors.Is(err, store.ErrNotFound) {
		return entry.Hash{}, false, nil
	}
	if err != nil {
		return entry.Hash{}, false, fmt.Errorf("read entry %d/%d: %w", e.Epoch, seq, err)
	}
	return j.Hash, true, nil
}

// isCopy reports whether another instance of the register's journal has been
// heard: the nonce is not that of the epoch it writes, or it stands at a
// generation below one that was used.
func isCopy(row store.Register, epochs []store.Epoch, h *wire.Hello) bool {
	if h.Generation < row.GenerationUsed {
		return true
	}
	if len(h.Epochs) == 0 {
		return false
	}
	writes := h.Epochs[len(h.Epochs)-1].Epoch
	for _, e := range epochs {
		if e.Epoch == writes {
			return e.Nonce != h.Nonce
		}
	}
	return false
}

// inProgress lists the sessions of a point of sale that a register can join:
// rescues and what waits in closing_control are none.
func inProgress(ctx context.Context, r store.Reader, pointOfSale string) ([]wire.Session, error) {
	no := false
	rows, err := r.Sessions(ctx, store.SessionFilter{PointsOfSale: []string{pointOfSale}, Rescue: &no, States: []session.State{session.Opened}})
	if err != nil {
		return nil, fmt.Errorf("read sessions in progress: %w", err)
	}
	if len(rows) == 0 {
		return []wire.Session{}, nil
	}
	registers, err := r.Registers(ctx, pointOfSale)
	if err != nil {
		return nil, fmt.Errorf("read registers: %w", err)
	}
	codes := codesOf(registers)
	list := make([]wire.Session, len(rows))
	for i := range rows {
		list[i] = told(&rows[i], codes)
	}
	return list, nil
}

func codesOf(registers []store.Register) map[string]string {
	codes := make(map[string]string, len(registers))
	for _, r := range registers {
		codes[r.ID] = r.Code
	}
	return codes
}

func told(s *store.Session, codes map[string]string) wire.Session {
	return wire.Session{
		Stamp: pos.Stamp{
			ID: s.ID, Name: s.Name, Register: s.Register, By: s.OpenedBy,
			At: timeOf(s.OpenedAt), BusinessDate: s.BusinessDate,
		},
		State: string(s.State), RegisterOf: codes[s.Register], ByName: s.OpenedByName, Rescue: s.Root != "",
	}
}

// Sessions returns what a register is to be told: the sessions in progress at
// its point of sale, and the closes that it has not journalled yet, S before
// its rescues. A revoked register is told nothing.
func (l *Ledger) Sessions(ctx context.Context, register store.Register) ([]wire.SessionTold, error) {
	var list []wire.SessionTold
	err := l.store.View(ctx, func(r store.Reader) error {
		list = nil
		row, err := r.Register(ctx, register.PointOfSale, register.ID)
		if err != nil {
			return notFound(err, "ledger.no_such_register", "register", register.ID)
		}
		if row.State == store.RegisterRevoked {
			return nil
		}
		open, err := inProgress(ctx, r, row.PointOfSale)
		if err != nil {
			return err
		}
		for _, s := range open {
			list = append(list, wire.SessionTold{Session: s})
		}
		closes, err := l.unheard(ctx, r, row)
		list = append(list, closes...)
		return err
	})
	return list, err
}

func (l *Ledger) unheard(ctx context.Context, r store.Reader, row store.Register) ([]wire.SessionTold, error) {
	closes, err := r.ClosesUnheard(ctx, row.PointOfSale, row.ID, maxTold)
	if err != nil {
		return nil, fmt.Errorf("read closes: %w", err)
	}
	if len(closes) == 0 {
		return nil, nil
	}
	registers, err := r.Registers(ctx, row.PointOfSale)
	if err != nil {
		return nil, fmt.Errorf("read registers: %w", err)
	}
	codes := codesOf(registers)
	list := make([]wire.SessionTold, len(closes))
	for i, c := range closes {
		s, err := r.Session(ctx, row.PointOfSale, c.Session)
		if err != nil {
			return nil, fmt.Errorf("read session %s: %w", c.Session, err)
		}
		record, err := decodeClose(c)
		if err != nil {
			return nil, err
		}
		list[i] = wire.SessionTold{Session: told(&s, codes), Close: record}
	}
	return list, nil
}

// Renew grants a register a new epoch on a base; asked again with the same
// nonce while it is empty, the same one.
func (l *Ledger) Renew(ctx context.Context, register store.Register, r *wire.Renew) (wire.Epoch, error) {
	if r.Nonce == "" {
		return wire.Epoch{}, errNonceLack
	}
	var granted store.Epoch
	err := l.store.Update(ctx, func(tx store.Tx) error {
		row, err := tx.LockRegister(ctx, register.PointOfSale, register.ID)
		if err != nil {
			return notFound(err, "ledger.no_such_register", "register", register.ID)
		}
		epochs, err := tx.Epochs(ctx, row.PointOfSale, row.ID)
		if err != nil {
			return fmt.Errorf("read epochs: %w", err)
		}
		number := uint64(1)
		for _, e := range epochs {
			if e.Nonce == r.Nonce && e.Cursor.Seq == 0 {
				granted = e
				return nil
			}
			number = max(number, e.Epoch+1)
		}
		number = max(number, r.Base.Epoch+1)
		granted = newEpoch(row, number, r.Nonce, r.Base)
		row.Nonce = r.Nonce
		return tx.Write(ctx, &store.Changes{Epochs: []store.Epoch{granted}, Register: &row})
	})
	if err != nil {
		return wire.Epoch{}, err
	}
	return wire.Epoch{Epoch: granted.Epoch, Nonce: granted.Nonce, Base: granted.Base}, nil
}

// Points returns the hashes that the server holds at places of an epoch; those
// that it does not hold are left out.
func (l *Ledger) Points(ctx context.Context, register store.Register, p *wire.Probe) (wire.Points, error) {
	if len(p.Seqs) > maxProbe {
		return wire.Points{}, message.New(message.Invalid, "ledger.too_many_points")
	}
	answer := wire.Points{Epoch: p.Epoch}
	err := l.store.View(ctx, func(r store.Reader) error {
		answer.Points = []entry.Point{}
		epochs, err := r.Epochs(ctx, register.PointOfSale, register.ID)
		if err != nil {
			return fmt.Errorf("read epochs: %w", err)
		}
		for _, e := range epochs {
			if e.Epoch != p.Epoch {
				continue
			}
			for _, seq := range p.Seqs {
				if seq > e.Cursor.Seq {
					continue
				}
				hash, ok, err := hashAt(ctx, r, register, e, seq)
				if err != nil {
					return err
				}
				if ok {
					answer.Points = append(answer.Points, entry.Point{Epoch: e.Epoch, Seq: seq, Hash: hash})
				}
			}
		}
		return nil
	})
	return answer, err
}

// Fetch returns raw entries of an epoch, fewer than asked for where there are
// many; the caller asks on.
func (l *Ledger) Fetch(ctx context.Context, register store.Register, f *wire.Fetch) (raw [][]byte, err error) {
	if f.To < f.From {
		return nil, nil
	}
	limit := int(min(f.To-f.From+1, maxFetch))
	err = l.store.View(ctx, func(r store.Reader) error {
		raw = nil
		rows, err := r.Journal(ctx, register.PointOfSale, register.ID, f.Epoch, f.From, limit)
		if err != nil {
			return fmt.Errorf("read entries: %w", err)
		}
		for _, row := range rows {
			if row.Seq <= f.To {
				raw = append(raw, row.Raw)
			}
		}
		return nil
	})
	return raw, err
}

// Find looks an order up by id or receipt number, for a refund or a reprint at
// another register, and says what was refunded of its lines so far.
func (l *Ledger) Find(ctx context.Context, register store.Register, f *wire.Find) (wire.Found, error) {
	found := wire.Found{Ask: f.Ask}
	err := l.store.View(ctx, func(r store.Reader) error {
		found.Raw, found.Refunded = nil, nil
		var o store.Order
		var err error
		if f.Order != "" {
			o, err = r.Order(ctx, register.PointOfSale, f.Order)
		} else {
			o, err = r.OrderByNumber(ctx, register.PointOfSale, f.Number)
		}
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("find order: %w", err)
		}
		row, err := r.JournalRow(ctx, store.JournalKey{PointOfSale: o.PointOfSale, Register: o.Register, Place: o.Entry})
		if err != nil {
			return fmt.Errorf("read entry of order %s: %w", o.ID, err)
		}
		found.Raw, err = original(row.Raw)
		if err != nil {
			return err
		}
		lines, err := r.RefundedLines(ctx, o.PointOfSale, []string{o.ID})
		if err != nil {
			return fmt.Errorf("read refunds of order %s: %w", o.ID, err)
		}
		for _, line := range lines {
			if line.Refunded == 0 {
				continue
			}
			if found.Refunded == nil {
				found.Refunded = map[string]money.Qty{}
			}
			found.Refunded[line.Line] = line.Refunded
		}
		return nil
	})
	return found, err
}

// original returns the bytes of the innermost original of an entry.
func original(raw []byte) ([]byte, error) {
	if !bytes.Contains(raw, []byte(`"kind":"rebased"`)) {
		return raw, nil
	}
	e, err := entry.Decode(raw)
	if err != nil || e.Kind != entry.KindRebased {
		return raw, err
	}
	wrap, err := entry.Body[pos.Rebased](&e)
	if err != nil {
		return nil, err
	}
	return wrap.Original, nil
}
