package audit

import (
	"context"
	"errors"
)

// refundRow is a line that takes back a line of another order, with what was
// sold of that.
type refundRow struct {
	pos, order, line string
	qty              int64
	register         string
	at               place
}

type soldRow struct {
	pos, order, line string
	qty              int64
}

// refunds checks that of no line more is taken back than was sold, over all
// sessions, unless the refund says so (I12). Of a sale that has not come nothing
// can be said yet.
func (a *auditor) refunds(ctx context.Context) (err error) {
	back, err := query(ctx, a.s, func(r *refundRow) []any {
		return []any{&r.pos, &r.order, &r.line, &r.qty, &r.register, &r.at.Epoch, &r.at.Seq}
	}, `SELECT l.pos, l.refund_order, l.refund_line, l.qty, o.register, o.entry_epoch, o.entry_seq FROM order_lines l JOIN orders o ON o.pos = l.pos AND o.id = l.order_id AND o.copy = l.copy
		WHERE l.refund_order <> '' ORDER BY l.pos/*C*/, l.refund_order/*C*/, l.refund_line/*C*/`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, back.close(ctx)) }()
	sold, err := query(ctx, a.s, func(s *soldRow) []any { return []any{&s.pos, &s.order, &s.line, &s.qty} },
		`SELECT l.pos, l.order_id, l.id, l.qty FROM order_lines l WHERE l.refund_order = '' AND EXISTS (SELECT 1 FROM order_lines r
			WHERE r.pos = l.pos AND r.refund_order = l.order_id AND r.refund_order <> '') ORDER BY l.pos/*C*/, l.order_id/*C*/, l.id/*C*/`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sold.close(ctx)) }()
	for back.ok {
		of := soldRow{pos: back.row.pos, order: back.row.order, line: back.row.line}
		var taken, silent, bought amount
		for back.ok && (soldRow{pos: back.row.pos, order: back.row.order, line: back.row.line}) == of {
			a.r.count("I12", "refund_lines", 1)
			taken.sub(back.row.qty)
			if !a.said[saidKey{spot{back.row.pos, back.row.register, back.row.at}, "refund_too_much"}] {
				silent.sub(back.row.qty)
			}
			if err := back.next(ctx); err != nil {
				return err
			}
		}
		for sold.ok && !after(sold.row, of) {
			if s := sold.row; s.order == of.order && s.line == of.line && s.pos == of.pos {
				bought.add(s.qty)
			}
			if err := sold.next(ctx); err != nil {
				return err
			}
		}
		a.refunded(of, taken, silent, bought)
	}
	return nil
}

func (a *auditor) refunded(of soldRow, taken, silent, sold amount) {
	what := []string{"order", of.pos + " " + of.order, "line", of.line, "sold", sold.String(), "taken", taken.String()}
	switch {
	case sold.is(0):
		a.r.find("refund_of_none", what...)
	case taken.over || sold.over || taken.n > sold.n:
		a.r.find("refund_too_much", what...)
		if silent.over || silent.n > sold.n {
			a.r.breach("I12", "refund_too_much", what...)
		}
	}
}

// after reports whether a row comes after another one.
func after(s, of soldRow) bool {
	if s.pos != of.pos {
		return s.pos > of.pos
	}
	if s.order != of.order {
		return s.order > of.order
	}
	return s.line > of.line
}
