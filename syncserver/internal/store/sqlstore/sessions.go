package sqlstore

import (
	"context"
	"fmt"

	"tillandsia/syncserver/internal/store"
)

// Session implements [store.Reader].
func (t tx) Session(ctx context.Context, pointOfSale, id string) (store.Session, error) {
	return one(ctx, t.c, sessions, "WHERE t.pos = $1 AND t.id = $2", pointOfSale, id)
}

// SessionByID implements [store.Reader].
func (t tx) SessionByID(ctx context.Context, id string) (store.Session, error) {
	return one(ctx, t.c, sessions, "WHERE t.id = $1 ORDER BY t.pos LIMIT 1", id)
}

// Sessions implements [store.Reader].
func (t tx) Sessions(ctx context.Context, f store.SessionFilter) ([]store.Session, error) {
	w := where{c: t.c}
	w.in("t.pos", f.PointsOfSale)
	if f.Register != "" {
		w.is("t.register = %", f.Register)
	}
	if f.States != nil {
		states := make([]string, len(f.States))
		for i, s := range f.States {
			states[i] = string(s)
		}
		w.in("t.state", states)
	}
	if f.Rescue != nil {
		if *f.Rescue {
			w.conds = append(w.conds, "t.root <> ''")
		} else {
			w.conds = append(w.conds, "t.root = ''")
		}
	}
	w.part("t.name", f.Name)
	if f.OpenedFrom != 0 {
		w.is("t.opened_at >= %", f.OpenedFrom)
	}
	if f.OpenedTo != 0 {
		w.is("t.opened_at < %", f.OpenedTo)
	}
	w.after("t.opened_at, t.id", f.AfterAt, f.AfterID)
	return find(ctx, t.c, sessions, w.rest("t.opened_at DESC, t.id DESC", f.Limit), w.args...)
}

// Rescues implements [store.Reader].
func (t tx) Rescues(ctx context.Context, pointOfSale string, roots []string) ([]store.Session, error) {
	if len(roots) == 0 {
		return nil, nil
	}
	return find(ctx, t.c, sessions, "WHERE t.pos = $1 AND "+t.c.in("t.root", 2)+" AND t.root <> '' ORDER BY t.root, t.ordinal", pointOfSale, roots)
}

// Stays implements [store.Reader].
func (t tx) Stays(ctx context.Context, pointOfSale string, ids []string) ([]store.Stay, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return find(ctx, t.c, stays, "WHERE t.pos = $1 AND "+t.c.in("t.session", 2)+" ORDER BY t.register, t.at_epoch, t.at_seq, t.session", pointOfSale, ids)
}

// BetweenMoves implements [store.Reader].
func (t tx) BetweenMoves(ctx context.Context, pointOfSale, register string) ([]store.Move, error) {
	return find(ctx, t.c, moves, "WHERE t.pos = $1 AND t.register = $2 AND t.session = '' ORDER BY t.entry_epoch, t.entry_seq, t.id", pointOfSale, register)
}

// Sums implements [store.Reader].
func (t tx) Sums(ctx context.Context, pointOfSale, session string) ([]store.Sum, error) {
	return find(ctx, t.c, sums, "WHERE t.pos = $1 AND t.session = $2 ORDER BY t.register, t.kind, t.account, t.detail", pointOfSale, session)
}

// History implements [store.Reader].
func (t tx) History(ctx context.Context, pointOfSale, session string) ([]store.HistoryRow, error) {
	return find(ctx, t.c, history, "WHERE t.pos = $1 AND t.session = $2 ORDER BY t.at, t.register, t.entry_epoch, t.entry_seq, t.no, t.kind", pointOfSale, session)
}

// Counts implements [store.Reader].
func (t tx) Counts(ctx context.Context, pointOfSale, session string) ([]store.CountRow, error) {
	return find(ctx, t.c, counts, "WHERE t.pos = $1 AND t.session = $2 ORDER BY t.at, t.register, t.entry_epoch, t.entry_seq, t.method, t.attempt", pointOfSale, session)
}

// ZReports implements [store.Reader].
func (t tx) ZReports(ctx context.Context, pointOfSale, session string) ([]store.ZRow, error) {
	return find(ctx, t.c, zReports, "WHERE t.pos = $1 AND t.session = $2 ORDER BY t.register, t.entry_epoch, t.entry_seq", pointOfSale, session)
}

// ZNumber implements [store.Reader].
func (t tx) ZNumber(ctx context.Context, pointOfSale, register, series string, number int) ([]store.ZRow, error) {
	return find(ctx, t.c, zReports, "WHERE t.pos = $1 AND t.register = $2 AND t.series = $3 AND t.number = $4 ORDER BY t.entry_epoch, t.entry_seq",
		pointOfSale, register, series, number)
}

// Booked implements [store.Reader].
func (t tx) Booked(ctx context.Context, pointOfSale, session string) ([]store.BookedRow, error) {
	rows, err := scan(ctx, t.c, `SELECT t.pos, t.register, t.epoch, t.seq, t.op, t.hash, t.content FROM journal t
		WHERE t.pos = $1 AND t.booked = $2 AND t.booked <> '' ORDER BY t.register, t.epoch, t.seq`, []any{pointOfSale, session}, bookedFields)
	if err != nil {
		return nil, fmt.Errorf("read what is booked in %s: %w", session, err)
	}
	return rows, nil
}

// Posting implements [store.Reader].
func (t tx) Posting(ctx context.Context, pointOfSale, session string) (store.Posting, error) {
	p, err := one(ctx, t.c, postings, "WHERE t.pos = $1 AND t.session = $2", pointOfSale, session)
	if err != nil {
		return p, err
	}
	list := []store.Posting{p}
	err = t.addLines(ctx, list)
	return list[0], err
}

// Postings implements [store.Reader].
func (t tx) Postings(ctx context.Context, f store.PostingFilter) ([]store.Posting, error) {
	w := where{c: t.c}
	w.in("t.pos", f.PointsOfSale)
	if f.From != "" {
		w.is("t.day >= %", f.From)
	}
	if f.To != "" {
		w.is("t.day <= %", f.To)
	}
	list, err := find(ctx, t.c, postings, w.rest("t.year, t.tag, t.ordinal", f.Limit), w.args...)
	if err != nil {
		return nil, err
	}
	return list, t.addLines(ctx, list)
}

// addLines reads the lines of postings.
func (t tx) addLines(ctx context.Context, list []store.Posting) error {
	type key struct{ pos, session string }
	at := make(map[key]int, len(list))
	ids := make(map[string][]string)
	for i, p := range list {
		at[key{p.PointOfSale, p.Session}] = i
		ids[p.PointOfSale] = append(ids[p.PointOfSale], p.Session)
	}
	for pos, of := range ids {
		lines, err := find(ctx, t.c, postingLines, "WHERE t.pos = $1 AND "+t.c.in("t.session", 2)+" ORDER BY t.session, t.no", pos, of)
		if err != nil {
			return err
		}
		for _, l := range lines {
			p := &list[at[key{l.PointOfSale, l.Session}]]
			p.Lines = append(p.Lines, l.PostingLine)
		}
	}
	return nil
}

// Close implements [store.Reader].
func (t tx) Close(ctx context.Context, pointOfSale, session string) (store.Close, error) {
	return one(ctx, t.c, closes, "WHERE t.pos = $1 AND t.session = $2", pointOfSale, session)
}

// ClosesUnheard implements [store.Reader].
func (t tx) ClosesUnheard(ctx context.Context, pointOfSale, register string, limit int) ([]store.Close, error) {
	w := where{c: t.c, args: []any{pointOfSale, register}}
	return find(ctx, t.c, closes, `LEFT JOIN closes r ON r.pos = t.pos AND r.session = t.root
		WHERE t.pos = $1 AND NOT EXISTS (SELECT 1 FROM heard_closes h WHERE h.pos = t.pos AND h.register = $2 AND h.session = t.session)
		ORDER BY coalesce(r.at, t.at), CASE WHEN t.root = '' THEN t.session ELSE t.root END, t.ordinal, t.session`+w.limit(limit), w.args...)
}
