package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"tillandsia/syncserver/internal/store"
)

// tx is a transaction, of the writing or of the reading kind: the interfaces of
// package store in terms of a [conn].
type tx struct{ c conn }

var _ store.Tx = tx{}

// LockRegister implements [store.Tx].
func (t tx) LockRegister(ctx context.Context, pointOfSale, id string) (store.Register, error) {
	return one(ctx, t.c, registers, "WHERE t.pos = $1 AND t.id = $2"+t.c.forUpdate(), pointOfSale, id)
}

// LockSessions implements [store.Tx].
func (t tx) LockSessions(ctx context.Context, pointOfSale string, ids []string) (map[string]store.Session, error) {
	m := make(map[string]store.Session, len(ids))
	if len(ids) == 0 {
		return m, nil
	}
	rows, err := find(ctx, t.c, sessions, "WHERE t.pos = $1 AND "+t.c.in("t.id", 2)+" ORDER BY t.id"+t.c.forUpdate(), pointOfSale, ids)
	for _, r := range rows {
		m[r.ID] = r
	}
	return m, err
}

// LockPointOfSale implements [store.Tx].
func (t tx) LockPointOfSale(ctx context.Context, code string) (store.PointOfSale, error) {
	return one(ctx, t.c, points, "WHERE t.code = $1"+t.c.forUpdate(), code)
}

// Write implements [store.Tx].
//
// Rows that others update too come last and, as far as several transactions
// may touch the same ones without the lock of a session, in order of their
// keys.
func (t tx) Write(ctx context.Context, c *store.Changes) error {
	var own []store.Register
	if c.Register != nil {
		own = []store.Register{*c.Register}
	}
	sets := make([]rowset, 0, 20)
	add := func(s rowset) {
		if s.n > 0 {
			sets = append(sets, s)
		}
	}
	add(rowsOf(journal, modeNew, c.Journal))
	add(rowsOf(orders, modeNew, c.Orders))
	add(rowsOf(orderLines, modeNew, c.Lines))
	add(rowsOf(payments, modeNew, c.Payments))
	add(rowsOf(moves, modeNew, c.Moves))
	add(rowsOf(moves, modePut, c.MovesPut))
	add(rowsOf(history, modePut, c.History))
	add(rowsOf(counts, modePut, c.Counts))
	add(rowsOf(zReports, modePut, c.ZReports))
	add(rowsOf(heard, modePut, c.Heard))
	add(rowsOf(flags, modeKeep, c.Flags))
	add(rowsOf(outbox, modePut, c.Outbox))
	add(rowsOf(epochs, modePut, c.Epochs))
	add(rowsOf(registers, modePut, own))
	add(rowsOf(sessions, modePut, c.Sessions))
	add(rowsOf(stays, modePut, c.Stays))
	add(rowsOf(drawerLines, modePut, c.Drawer))
	add(rowsOf(sums, modeAdd, merge(c.Sums)))
	if len(sets) == 0 {
		return nil
	}
	return t.c.write(ctx, sets)
}

// merge returns the sums in order of their keys, those of one key added up.
func merge(in []store.Sum) []store.Sum {
	out := slices.Clone(in)
	slices.SortFunc(out, compareSums)
	n := 0
	for i, s := range out {
		if i > 0 && compareSums(out[n-1], s) == 0 {
			out[n-1].Amount += s.Amount
			out[n-1].Count += s.Count
			continue
		}
		out[n] = s
		n++
	}
	return out[:n]
}

func compareSums(a, b store.Sum) int {
	return cmp.Or(cmp.Compare(a.PointOfSale, b.PointOfSale), cmp.Compare(a.Session, b.Session), cmp.Compare(a.Register, b.Register),
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Detail, b.Detail))
}

// SetOutcome implements [store.Tx].
func (t tx) SetOutcome(ctx context.Context, key store.JournalKey, outcome store.Outcome, booked string) error {
	n, err := t.c.exec(ctx, "UPDATE journal SET outcome = $5, booked = $6 WHERE pos = $1 AND register = $2 AND epoch = $3 AND seq = $4",
		key.PointOfSale, key.Register, key.Epoch, key.Seq, int(outcome), booked)
	return touched(n, err, "set outcome of %s %d/%d", key.Register, key.Epoch, key.Seq)
}

// ResolveFlag implements [store.Tx]. What is resolved already stays as it is.
func (t tx) ResolveFlag(ctx context.Context, pointOfSale, id, by, how string, at int64) error {
	n, err := t.c.exec(ctx, "UPDATE flags SET resolved = $3, resolved_by = $4, how = $5 WHERE pos = $1 AND id = $2 AND resolved = 0",
		pointOfSale, id, at, by, how)
	if err == nil && n == 0 {
		_, err = t.Flag(ctx, pointOfSale, id)
		return err
	}
	return touched(n, err, "resolve flag %s", id)
}

// touched turns a statement that found no row into [store.ErrNotFound].
func touched(n int64, err error, format string, args ...any) error {
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf(format+": %w", append(args, err)...)
	}
	return nil
}

// PutRegister implements [store.Tx].
func (t tx) PutRegister(ctx context.Context, r store.Register) error {
	return put(ctx, t.c, registers, &r)
}

// PutPointOfSale implements [store.Tx].
func (t tx) PutPointOfSale(ctx context.Context, p store.PointOfSale) error {
	return put(ctx, t.c, points, &p)
}

// PutThings implements [store.Tx].
func (t tx) PutThings(ctx context.Context, list []store.Thing) (uint64, error) {
	n, err := number(ctx, t.c, "UPDATE counters SET value = value + 1 WHERE name = 'catalogue' RETURNING value")
	if err != nil {
		return 0, fmt.Errorf("take revision of the catalogue: %w", err)
	}
	list = slices.Clone(list)
	for i := range list {
		list[i].Revision = uint64(n)
	}
	if len(list) == 0 {
		return uint64(n), nil
	}
	return uint64(n), t.c.write(ctx, []rowset{rowsOf(things, modePut, list)})
}

// PutUser implements [store.Tx].
func (t tx) PutUser(ctx context.Context, u store.User) error { return put(ctx, t.c, users, &u) }

// PutToken implements [store.Tx].
func (t tx) PutToken(ctx context.Context, k store.Token) error { return put(ctx, t.c, tokens, &k) }

// DeleteToken implements [store.Tx].
func (t tx) DeleteToken(ctx context.Context, hash []byte) error {
	n, err := t.c.exec(ctx, "DELETE FROM tokens WHERE hash = $1", hash)
	return touched(n, err, "delete token")
}

// PutPairing implements [store.Tx].
func (t tx) PutPairing(ctx context.Context, p store.Pairing) error {
	return put(ctx, t.c, pairings, &p)
}

// NextPosting implements [store.Tx].
func (t tx) NextPosting(ctx context.Context, year int, tag string) (int, error) {
	n, err := number(ctx, t.c,
		"INSERT INTO counters (name, value) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value",
		"posting/"+tag+"/"+strconv.Itoa(year))
	if err != nil {
		return 0, fmt.Errorf("take number of a posting: %w", err)
	}
	return int(n), nil
}

// PutPosting implements [store.Tx].
func (t tx) PutPosting(ctx context.Context, p store.Posting) error {
	lines := make([]postingLine, len(p.Lines))
	for i, l := range p.Lines {
		lines[i] = postingLine{PointOfSale: p.PointOfSale, Session: p.Session, PostingLine: l}
	}
	sets := []rowset{rowsOf(postings, modeNew, []store.Posting{p})}
	if len(lines) > 0 {
		sets = append(sets, rowsOf(postingLines, modeNew, lines))
	}
	return t.c.write(ctx, sets)
}

// PutClose implements [store.Tx].
func (t tx) PutClose(ctx context.Context, c store.Close) error { return put(ctx, t.c, closes, &c) }

// NumberOutbox implements [store.Tx].
func (t tx) NumberOutbox(ctx context.Context) (uint64, error) {
	last, err := number(ctx, t.c, "SELECT value FROM counters WHERE name = 'outbox'"+t.c.forUpdate())
	if err != nil {
		return 0, fmt.Errorf("lock revision of the outbox: %w", err)
	}
	// The counter's lock is held until the commit, so numbers become visible
	// in order, and only rows that are committed get one.
	n, err := t.c.exec(ctx, `UPDATE outbox SET revision = $1 + n.place
		FROM (SELECT pos, id, row_number() OVER (ORDER BY at, pos, id) AS place FROM outbox WHERE revision = 0) n
		WHERE outbox.pos = n.pos AND outbox.id = n.id`, last)
	if err != nil {
		return 0, fmt.Errorf("number the outbox: %w", err)
	}
	if n == 0 {
		return uint64(last), nil
	}
	if _, err := t.c.exec(ctx, "UPDATE counters SET value = $1 WHERE name = 'outbox'", last+n); err != nil {
		return 0, fmt.Errorf("store revision of the outbox: %w", err)
	}
	return uint64(last + n), nil
}

// AppendAudit implements [store.Tx].
func (t tx) AppendAudit(ctx context.Context, a store.AuditRow) error {
	return insert(ctx, t.c, audit, &a)
}

// SetMeta implements [store.Tx].
func (t tx) SetMeta(ctx context.Context, key string, value []byte) error {
	return put(ctx, t.c, meta, &metaRow{Key: key, Value: value})
}

// InitMeta implements [store.Tx].
func (t tx) InitMeta(ctx context.Context, key string, value []byte) ([]byte, error) {
	if _, err := t.c.exec(ctx, meta.insertSQL+" ON CONFLICT (name) DO NOTHING", key, value); err != nil {
		return nil, fmt.Errorf("set %s: %w", key, err)
	}
	return t.Meta(ctx, key)
}

// isNotFound reports whether err says only that a row is missing.
func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
