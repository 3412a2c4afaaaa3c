package sqlstore

import (
	"context"

	"tillandsia/shared/entry"
	"tillandsia/syncserver/internal/store"
)

var drawerLines = makeTable("drawer_lines",
	`pos register method stay_epoch stay_seq ordinal session | root method_name account cash control is_first
	brought between_moves opening taken moves counted counted_epoch counted_seq after_count left_drawer fixed closed`,
	func(r *store.DrawerLine, f []any) []any {
		return append(f, &r.PointOfSale, &r.Register, &r.Method, &r.Stay.Epoch, &r.Stay.Seq, &r.Ordinal, &r.Session,
			&r.Root, &r.MethodName, &r.Account, &r.Cash, &r.Control, &r.First,
			(*int64)(&r.Brought), (*int64)(&r.Between), (*int64)(&r.Opening), (*int64)(&r.Taken), (*int64)(&r.Moves),
			&r.Counted, &r.CountedAt.Epoch, &r.CountedAt.Seq, (*int64)(&r.AfterCount), (*int64)(&r.Drop), &r.Fixed, &r.Closed)
	})

// DrawerLines implements [store.Reader].
func (t tx) DrawerLines(ctx context.Context, pointOfSale string, ids []string) ([]store.DrawerLine, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return find(ctx, t.c, drawerLines, "WHERE t.pos = $1 AND "+t.c.in("t.session", 2)+
		" ORDER BY t.register, t.method, t.stay_epoch, t.stay_seq, t.ordinal", pointOfSale, ids)
}

// DrawerChain implements [store.Reader].
func (t tx) DrawerChain(ctx context.Context, pointOfSale, register string, ids []string, tail int) ([]store.DrawerLine, error) {
	var from entry.Place
	if tail > 0 {
		places := func(p *entry.Place) []any { return []any{&p.Epoch, &p.Seq} }
		last, err := scan(ctx, t.c, `SELECT DISTINCT t.stay_epoch, t.stay_seq FROM drawer_lines t
			WHERE t.pos = $1 AND t.register = $2 ORDER BY t.stay_epoch DESC, t.stay_seq DESC LIMIT $3`,
			[]any{pointOfSale, register, tail}, places)
		if err != nil {
			return nil, err
		}
		if len(last) == tail {
			from = last[tail-1]
		}
		if len(ids) > 0 && !from.IsZero() {
			first, err := scan(ctx, t.c, `SELECT t.stay_epoch, t.stay_seq FROM drawer_lines t
				WHERE t.pos = $1 AND t.register = $2 AND `+t.c.in("t.session", 3)+` ORDER BY t.stay_epoch, t.stay_seq LIMIT 1`,
				[]any{pointOfSale, register, ids}, places)
			if err != nil {
				return nil, err
			}
			if len(first) > 0 && first[0].Less(from) {
				from = first[0]
			}
		}
	}
	return find(ctx, t.c, drawerLines, `WHERE t.pos = $1 AND t.register = $2 AND (t.stay_epoch, t.stay_seq) >= ($3, $4)
		ORDER BY t.stay_epoch, t.stay_seq, t.ordinal, t.method`, pointOfSale, register, from.Epoch, from.Seq)
}
