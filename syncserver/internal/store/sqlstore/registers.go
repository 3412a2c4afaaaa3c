package sqlstore

import (
	"context"

	"tillandsia/syncserver/internal/store"
)

// Register implements [store.Reader].
func (t tx) Register(ctx context.Context, pointOfSale, id string) (store.Register, error) {
	return one(ctx, t.c, registers, "WHERE t.pos = $1 AND t.id = $2", pointOfSale, id)
}

// RegisterByToken implements [store.Reader].
func (t tx) RegisterByToken(ctx context.Context, tokenHash []byte) (store.Register, error) {
	return one(ctx, t.c, registers, "WHERE length(t.token_hash) > 0 AND t.token_hash = $1", tokenHash)
}

// Registers implements [store.Reader].
func (t tx) Registers(ctx context.Context, pointOfSale string) ([]store.Register, error) {
	if pointOfSale == "" {
		return find(ctx, t.c, registers, "ORDER BY t.pos, t.code, t.id")
	}
	return find(ctx, t.c, registers, "WHERE t.pos = $1 ORDER BY t.code, t.id", pointOfSale)
}

// Epochs implements [store.Reader].
func (t tx) Epochs(ctx context.Context, pointOfSale, register string) ([]store.Epoch, error) {
	return find(ctx, t.c, epochs, "WHERE t.pos = $1 AND t.register = $2 ORDER BY t.epoch", pointOfSale, register)
}

// AllEpochs implements [store.Reader].
func (t tx) AllEpochs(ctx context.Context, pointOfSale string) ([]store.Epoch, error) {
	return find(ctx, t.c, epochs, "WHERE t.pos = $1 ORDER BY t.register, t.epoch", pointOfSale)
}

// JournalRow implements [store.Reader].
func (t tx) JournalRow(ctx context.Context, key store.JournalKey) (store.JournalRow, error) {
	return one(ctx, t.c, journal, "WHERE t.pos = $1 AND t.register = $2 AND t.epoch = $3 AND t.seq = $4",
		key.PointOfSale, key.Register, key.Epoch, key.Seq)
}

// Journal implements [store.Reader].
func (t tx) Journal(ctx context.Context, pointOfSale, register string, epoch, from uint64, limit int) ([]store.JournalRow, error) {
	w := where{c: t.c}
	w.is("t.pos = %", pointOfSale)
	w.is("t.register = %", register)
	w.is("t.epoch = %", epoch)
	w.is("t.seq >= %", from)
	return find(ctx, t.c, journal, w.rest("t.seq", limit), w.args...)
}

// KnownOps implements [store.Reader].
func (t tx) KnownOps(ctx context.Context, pointOfSale string, ops []string) (map[string][]store.KnownOp, error) {
	known := make(map[string][]store.KnownOp)
	if len(ops) == 0 {
		return known, nil
	}
	// Each half has an index of its own; almost all rows are in the first.
	const columns = "SELECT t.pos, t.register, t.epoch, t.seq, t.op, t.content, t.outcome, t.booked FROM "
	rows, err := scan(ctx, t.c, columns+t.c.each("journal", "op", "t.outcome < 3")+" UNION ALL "+
		columns+t.c.each("journal", "op", "t.outcome >= 3 AND t.outcome <> 4"),
		[]any{pointOfSale, ops}, knownFields)
	for _, r := range rows {
		known[r.Op] = append(known[r.Op], r)
	}
	return known, err
}

// Pairing implements [store.Reader].
func (t tx) Pairing(ctx context.Context, codeHash []byte) (store.Pairing, error) {
	return one(ctx, t.c, pairings, "WHERE t.code_hash = $1", codeHash)
}

// Flags implements [store.Reader].
func (t tx) Flags(ctx context.Context, f store.FlagFilter) ([]store.Flag, error) {
	w := where{c: t.c}
	w.in("t.pos", f.PointsOfSale)
	if f.Open {
		w.conds = append(w.conds, "t.resolved = 0")
	}
	if f.Session != "" {
		w.is("t.session = %", f.Session)
		w.conds = append(w.conds, "t.session <> ''")
	}
	return find(ctx, t.c, flags, w.rest("t.at DESC, t.id DESC", f.Limit), w.args...)
}

// Flag implements [store.Reader].
func (t tx) Flag(ctx context.Context, pointOfSale, id string) (store.Flag, error) {
	return one(ctx, t.c, flags, "WHERE t.pos = $1 AND t.id = $2", pointOfSale, id)
}
