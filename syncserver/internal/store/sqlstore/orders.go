package sqlstore

import (
	"cmp"
	"context"
	"slices"

	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/store"
)

// Order implements [store.Reader].
func (t tx) Order(ctx context.Context, pointOfSale, id string) (store.Order, error) {
	return one(ctx, t.c, orders, "WHERE t.pos = $1 AND t.id = $2 ORDER BY t.copy LIMIT 1", pointOfSale, id)
}

// OrderByNumber implements [store.Reader].
func (t tx) OrderByNumber(ctx context.Context, pointOfSale, number string) (store.Order, error) {
	return one(ctx, t.c, orders, "WHERE t.pos = $1 AND t.number = $2 ORDER BY t.at DESC, t.id DESC, t.copy LIMIT 1", pointOfSale, number)
}

// NumbersTaken implements [store.Reader].
func (t tx) NumbersTaken(ctx context.Context, pointOfSale string, numbers []string) (map[string][]string, error) {
	taken := make(map[string][]string)
	if len(numbers) == 0 {
		return taken, nil
	}
	type pair struct{ number, id string }
	rows, err := scan(ctx, t.c, "SELECT DISTINCT t.number, t.id FROM "+t.c.each("orders", "number", "t.number <> ''")+" ORDER BY t.number, t.id",
		[]any{pointOfSale, numbers}, func(r *pair) []any { return []any{&r.number, &r.id} })
	for _, r := range rows {
		taken[r.number] = append(taken[r.number], r.id)
	}
	return taken, err
}

// Orders implements [store.Reader].
func (t tx) Orders(ctx context.Context, f store.OrderFilter) ([]store.Order, error) {
	w := where{c: t.c}
	w.in("t.pos", f.PointsOfSale)
	if f.Session != "" {
		w.is("t.session = %", f.Session)
		if f.PointsOfSale == nil {
			// The index begins with the point of sale.
			w.is("t.pos IN (SELECT s.pos FROM sessions s WHERE s.id = %)", f.Session)
		}
	}
	if f.Stamped != "" {
		w.is("t.stamped = %", f.Stamped)
	}
	if f.Register != "" {
		w.is("t.register = %", f.Register)
	}
	w.part("t.number", f.Number)
	if f.Late != nil {
		w.is("t.late = %", *f.Late)
	}
	if f.From != 0 {
		w.is("t.at >= %", f.From)
	}
	if f.To != 0 {
		w.is("t.at < %", f.To)
	}
	w.after("t.at, t.id", f.AfterAt, f.AfterID)
	return find(ctx, t.c, orders, w.rest("t.at DESC, t.id DESC, t.copy DESC", f.Limit), w.args...)
}

// OrderLines implements [store.Reader].
func (t tx) OrderLines(ctx context.Context, pointOfSale string, ids []string) ([]store.OrderLine, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return find(ctx, t.c, orderLines, "WHERE t.pos = $1 AND "+t.c.in("t.order_id", 2)+" ORDER BY t.order_id, t.copy, t.no", pointOfSale, ids)
}

// OrderPayments implements [store.Reader].
func (t tx) OrderPayments(ctx context.Context, pointOfSale string, ids []string) ([]store.Payment, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return find(ctx, t.c, payments, "WHERE t.pos = $1 AND "+t.c.in("t.order_id", 2)+" ORDER BY t.order_id, t.copy, t.no", pointOfSale, ids)
}

// RefundedLines implements [store.Reader].
func (t tx) RefundedLines(ctx context.Context, pointOfSale string, ids []string) ([]store.RefundedLine, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	fields := func(r *store.RefundedLine) []any {
		return []any{&r.Order, &r.Line, (*int64)(&r.Sold), (*int64)(&r.Refunded)}
	}
	rows, err := scan(ctx, t.c, `SELECT t.order_id, t.id, CAST(sum(t.qty) AS BIGINT), CAST(0 AS BIGINT) FROM `+
		t.c.each("order_lines", "order_id", "t.copy = 0")+` GROUP BY t.order_id, t.id
		UNION ALL SELECT t.refund_order, t.refund_line, CAST(0 AS BIGINT), CAST(-sum(t.qty) AS BIGINT) FROM `+
		t.c.each("order_lines", "refund_order", "t.refund_order <> ''")+` GROUP BY t.refund_order, t.refund_line`,
		[]any{pointOfSale, ids}, fields)
	if err != nil {
		return nil, err
	}
	type key struct{ order, line string }
	sold := make(map[key]money.Qty)
	refunded := make(map[key]money.Qty)
	for _, r := range rows {
		k := key{r.Order, r.Line}
		sold[k] += r.Sold
		refunded[k] += r.Refunded
	}
	var out []store.RefundedLine
	for k := range sold {
		out = append(out, store.RefundedLine{Order: k.order, Line: k.line, Sold: sold[k], Refunded: refunded[k]})
	}
	slices.SortFunc(out, func(a, b store.RefundedLine) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Line, b.Line))
	})
	return out, nil
}

// RefundsOf implements [store.Reader].
func (t tx) RefundsOf(ctx context.Context, pointOfSale, order string) ([]store.OrderLine, error) {
	return find(ctx, t.c, orderLines, "WHERE t.pos = $1 AND t.refund_order = $2 AND t.refund_order <> '' ORDER BY t.order_id, t.copy, t.no", pointOfSale, order)
}

// Moves implements [store.Reader].
func (t tx) Moves(ctx context.Context, pointOfSale, session string) ([]store.Move, error) {
	return find(ctx, t.c, moves, "WHERE t.pos = $1 AND t.session = $2 AND t.session <> '' ORDER BY t.register, t.entry_epoch, t.entry_seq, t.id",
		pointOfSale, session)
}
