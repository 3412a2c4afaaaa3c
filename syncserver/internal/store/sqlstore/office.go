package sqlstore

import (
	"context"
	"fmt"

	"tillandsia/syncserver/internal/store"
)

// PointOfSale implements [store.Reader].
func (t tx) PointOfSale(ctx context.Context, code string) (store.PointOfSale, error) {
	return one(ctx, t.c, points, "WHERE t.code = $1", code)
}

// PointsOfSale implements [store.Reader].
func (t tx) PointsOfSale(ctx context.Context) ([]store.PointOfSale, error) {
	return find(ctx, t.c, points, "ORDER BY t.code")
}

// Revision implements [store.Reader].
func (t tx) Revision(ctx context.Context) (uint64, error) {
	n, err := number(ctx, t.c, "SELECT value FROM counters WHERE name = 'catalogue'")
	if err != nil {
		return 0, fmt.Errorf("read revision of the catalogue: %w", err)
	}
	return uint64(n), nil
}

// Thing implements [store.Reader].
func (t tx) Thing(ctx context.Context, pointOfSale, kind, id string) (store.Thing, error) {
	return one(ctx, t.c, things, "WHERE t.pos = $1 AND t.kind = $2 AND t.id = $3", pointOfSale, kind, id)
}

// Things implements [store.Reader].
func (t tx) Things(ctx context.Context, pointOfSale, kind, after string, limit int) ([]store.Thing, error) {
	w := where{c: t.c}
	w.is("t.pos = %", pointOfSale)
	w.is("t.kind = %", kind)
	w.is("t.id > %", after)
	w.is("t.deleted = %", false)
	return find(ctx, t.c, things, w.rest("t.id", limit), w.args...)
}

// ThingsSince implements [store.Reader].
func (t tx) ThingsSince(ctx context.Context, pointOfSale string, from uint64, limit int) ([]store.Thing, error) {
	w := where{c: t.c}
	w.in("t.pos", []string{"", pointOfSale})
	w.is("t.revision > %", from)
	if limit > 0 {
		// Up to the revision in which the limit falls.
		mine := t.c.in("s.pos", 1)
		w.conds = append(w.conds, "t.revision <= (SELECT max(l.revision) FROM (SELECT s.revision FROM things s WHERE "+
			mine+" AND s.revision > $2 ORDER BY s.revision LIMIT "+w.arg(limit)+") l)")
	}
	return find(ctx, t.c, things, w.rest("t.revision, t.kind, t.id, t.pos", 0), w.args...)
}

// User implements [store.Reader].
func (t tx) User(ctx context.Context, id string) (store.User, error) {
	return one(ctx, t.c, users, "WHERE t.id = $1", id)
}

// UserByLogin implements [store.Reader].
func (t tx) UserByLogin(ctx context.Context, login string) (store.User, error) {
	return one(ctx, t.c, users, "WHERE t.login = $1 AND t.login <> ''", login)
}

// Users implements [store.Reader].
func (t tx) Users(ctx context.Context) ([]store.User, error) {
	return find(ctx, t.c, users, "ORDER BY t.id")
}

// Token implements [store.Reader].
func (t tx) Token(ctx context.Context, hash []byte) (store.Token, error) {
	return one(ctx, t.c, tokens, "WHERE t.hash = $1", hash)
}

// OutboxSince implements [store.Reader].
func (t tx) OutboxSince(ctx context.Context, from uint64, limit int) ([]store.OutboxRow, error) {
	w := where{c: t.c}
	w.is("t.revision > %", from)
	w.conds = append(w.conds, "t.revision > 0")
	return find(ctx, t.c, outbox, w.rest("t.revision", limit), w.args...)
}

// Audit implements [store.Reader].
func (t tx) Audit(ctx context.Context, before int64, limit int) ([]store.AuditRow, error) {
	w := where{c: t.c}
	if before != 0 {
		w.is("t.at < %", before)
	}
	return find(ctx, t.c, audit, w.rest("t.at DESC, t.id DESC", limit), w.args...)
}

// Meta implements [store.Reader].
func (t tx) Meta(ctx context.Context, key string) ([]byte, error) {
	r, err := one(ctx, t.c, meta, "WHERE t.name = $1", key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return r.Value, nil
}
