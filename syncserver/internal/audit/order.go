package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
)

// orderRow is a row of the orders.
type orderRow struct {
	pos, id                                        string
	copy                                           int64
	register                                       string
	at                                             place
	number, stamped, session                       string
	user, userName, customer                       string
	clock                                          int64
	lines, net, tax, total, paid, change, rounding int64
	catalogue                                      int64
	late                                           bool
}

func readOrder(o *orderRow) []any {
	return []any{
		&o.pos, &o.id, &o.copy, &o.register, &o.at.Epoch, &o.at.Seq, &o.number, &o.stamped, &o.session, &o.user, &o.userName, &o.customer,
		&o.clock, &o.lines, &o.net, &o.tax, &o.total, &o.paid, &o.change, &o.rounding, &o.catalogue, &o.late,
	}
}

// lineRow is a row of the order lines.
type lineRow struct {
	pos, order                  string
	copy, no                    int64
	id, product, name, category string
	qty, price, net, tax, total int64
	account                     string
	taxes                       []byte
	refundOrder, refundLine     string
}

func readLine(l *lineRow) []any {
	return []any{
		&l.pos, &l.order, &l.copy, &l.no, &l.id, &l.product, &l.name, &l.category, &l.qty, &l.price, &l.net, &l.tax, &l.total,
		&l.account, &l.taxes, &l.refundOrder, &l.refundLine,
	}
}

// paymentRow is a row of the payments.
type paymentRow struct {
	pos, order                               string
	copy, no                                 int64
	session, register, method, kind, account string
	amount                                   int64
	reference                                string
}

func readPayment(p *paymentRow) []any {
	return []any{
		&p.pos, &p.order, &p.copy, &p.no, &p.session, &p.register, &p.method, &p.kind, &p.account, &p.amount, &p.reference,
	}
}

// key is the id of an order or receipt in its point of sale.
type key struct{ pos, id string }

func (k key) before(other key) bool {
	return k.pos < other.pos || k.pos == other.pos && k.id < other.id
}

// ids goes through the orders, their lines and payments beside the journal,
// all in the order of their ids.
type ids struct {
	*auditor
	first, more *cursor[row] // of the journal: that count, and accepted ones beside them
	orders      *cursor[orderRow]
	lines       *cursor[lineRow]
	payments    *cursor[paymentRow]
}

// byID holds orders, order lines and payments against the journal: every order
// and receipt that counts has its rows once, and no row is of anything else.
func (a *auditor) byID(ctx context.Context) (err error) {
	s := &ids{auditor: a}
	const money = " AND kind IN ('order', 'receipt') ORDER BY pos/*C*/, op/*C*/"
	if s.first, err = query(ctx, a.s, journalRow, journalColumns+"WHERE outcome < 3"+money); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.first.close(ctx)) }()
	if s.more, err = query(ctx, a.s, journalRow, journalColumns+"WHERE outcome >= 3 AND outcome = 5"+money+", register/*C*/, epoch, seq"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.more.close(ctx)) }()
	if s.orders, err = query(ctx, a.s, readOrder, `SELECT pos, id, copy, register, entry_epoch, entry_seq, number, stamped, session, user_id, user_name,
		customer, at, lines, net, tax, total, paid, change_given, rounding, catalogue, late FROM orders ORDER BY pos/*C*/, id/*C*/, copy`); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.orders.close(ctx)) }()
	if s.lines, err = query(ctx, a.s, readLine, `SELECT pos, order_id, copy, no, id, product, name, category, qty, price, net, tax, total, account, taxes,
		refund_order, refund_line FROM order_lines ORDER BY pos/*C*/, order_id/*C*/, copy, no`); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.lines.close(ctx)) }()
	if s.payments, err = query(ctx, a.s, readPayment, `SELECT pos, order_id, copy, no, session, register, method, kind, account, amount, reference
		FROM payments ORDER BY pos/*C*/, order_id/*C*/, copy, no`); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.payments.close(ctx)) }()
	for {
		k, ok := s.next()
		if !ok {
			return nil
		}
		if err := s.one(ctx, k); err != nil {
			return err
		}
	}
}

// next returns the lowest id that any of the tables stands at.
func (s *ids) next() (k key, ok bool) {
	at := func(on bool, of key) {
		if on && (!ok || of.before(k)) {
			k, ok = of, true
		}
	}
	at(s.first.ok, key{s.first.row.pos, s.first.row.op})
	at(s.more.ok, key{s.more.row.pos, s.more.row.op})
	at(s.orders.ok, key{s.orders.row.pos, s.orders.row.id})
	at(s.lines.ok, key{s.lines.row.pos, s.lines.row.order})
	at(s.payments.ok, key{s.payments.row.pos, s.payments.row.order})
	return k, ok
}

// same reads the rows of a table that have an id.
func same[T any](ctx context.Context, c *cursor[T], of func(*T) key, k key) ([]T, error) {
	var list []T
	for c.ok && of(&c.row) == k {
		list = append(list, c.row)
		if err := c.next(ctx); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// bundle is what stands under one id and copy.
type bundle struct {
	order    *orderRow
	lines    []lineRow
	payments []paymentRow
	taken    bool
}

func (s *ids) one(ctx context.Context, k key) error {
	byOp := func(r *row) key { return key{r.pos, r.op} }
	entries, err := same(ctx, s.first, byOp, k)
	if err != nil {
		return err
	}
	more, err := same(ctx, s.more, byOp, k)
	if err != nil {
		return err
	}
	orders, err := same(ctx, s.orders, func(o *orderRow) key { return key{o.pos, o.id} }, k)
	if err != nil {
		return err
	}
	lines, err := same(ctx, s.lines, func(l *lineRow) key { return key{l.pos, l.order} }, k)
	if err != nil {
		return err
	}
	payments, err := same(ctx, s.payments, func(p *paymentRow) key { return key{p.pos, p.order} }, k)
	if err != nil {
		return err
	}
	if len(entries) > 1 {
		s.r.breach("I4", "counted_twice", "order", k.pos+" "+k.id, "n", number(int64(len(entries))))
	}
	bundles := map[int64]*bundle{}
	of := func(copyNo int64) *bundle {
		if bundles[copyNo] == nil {
			bundles[copyNo] = &bundle{}
		}
		return bundles[copyNo]
	}
	for i := range orders {
		of(orders[i].copy).order = &orders[i]
	}
	for i := range lines {
		of(lines[i].copy).lines = append(of(lines[i].copy).lines, lines[i])
	}
	for i := range payments {
		of(payments[i].copy).payments = append(of(payments[i].copy).payments, payments[i])
	}
	for i := range entries {
		s.entry(&entries[i], bundles)
	}
	for i := range more {
		s.entry(&more[i], bundles)
	}
	for _, b := range bundles {
		if !b.taken {
			s.r.breach("I4", "rows_of_none", "order", k.pos+" "+k.id)
		}
	}
	return nil
}

// entry holds the rows of an order or receipt against its entry.
func (s *ids) entry(r *row, bundles map[int64]*bundle) {
	where := s.registerOf(r.pos, r.register).String() + " " + r.at.String()
	rec, err := decode(r.raw)
	if err != nil || rec.body == nil || rec.op != r.op {
		return // said by place
	}
	switch body := rec.body.(type) {
	case *order:
		if rec.kind != kindOrder {
			return
		}
		for copyNo, b := range bundles {
			if b.taken || b.order == nil || b.order.register != r.register || b.order.at != r.at || (copyNo == 0) != (r.outcome != accepted) {
				continue
			}
			b.taken = true
			s.order(r, rec, body, b, where)
			return
		}
		s.r.breach("I4", "no_rows", "entry", where)
	case *receipt:
		var nearest *bundle
		for copyNo, b := range bundles {
			if b.taken || b.order != nil || (copyNo == 0) != (r.outcome != accepted) {
				continue
			}
			if nearest == nil || samePayments(b.payments, s.wantPayments(r, rec, copyNo)) {
				nearest = b
			}
		}
		if nearest == nil {
			s.r.breach("I4", "no_rows", "entry", where)
			return
		}
		nearest.taken = true
		if len(nearest.lines) > 0 {
			s.r.breach("I4", "order_lines", "entry", where, "n", number(int64(len(nearest.lines))), "want", "0")
		}
		s.comparePayments(r, rec, nearest, where)
	}
}

// wantPayments returns the rows that the tenders of an entry make.
func (s *ids) wantPayments(r *row, rec *record, copyNo int64) []paymentRow {
	var list []paymentRow
	for i, p := range rec.paid() {
		list = append(list, paymentRow{
			pos: r.pos, order: r.op, copy: copyNo, no: int64(i + 1), session: r.booked, register: r.register,
			method: p.Method, kind: p.Kind, account: p.Account, amount: p.net, reference: p.Reference,
		})
	}
	return list
}

func samePayments(a, b []paymentRow) bool { return slices.Equal(a, b) }

func (s *ids) comparePayments(r *row, rec *record, b *bundle, where string) {
	copyNo := int64(0)
	if len(b.payments) > 0 {
		copyNo = b.payments[0].copy
	}
	want := s.wantPayments(r, rec, copyNo)
	s.r.count("I4", "payments", int64(len(b.payments)))
	if !samePayments(b.payments, want) {
		s.r.breach("I4", "payments", "entry", where, "n", number(int64(len(b.payments))), "want", number(int64(len(want))))
	}
	currency := ""
	if o, ok := rec.body.(*order); ok {
		currency = o.Rules.Currency.Code
	}
	for i := range b.payments {
		s.takenOf(r.pos, r.register, currency, b.payments[i].method).booked.add(b.payments[i].amount)
	}
}

func (s *ids) order(r *row, rec *record, o *order, b *bundle, where string) {
	want := orderRow{
		pos: r.pos, id: r.op, copy: b.order.copy, register: r.register, at: r.at, number: o.Number, stamped: o.Session.ID, session: r.booked,
		user: o.User.ID, userName: o.User.Name, customer: rec.customer, clock: rec.at, lines: int64(len(o.Lines)), net: o.Net,
		total: o.Total, change: o.Change, rounding: o.Rounding, catalogue: o.Catalogue,
	}
	var tax, paid amount
	for _, t := range o.Taxes {
		tax.add(t.Amount)
	}
	for i := range o.Payments {
		paid.add(o.Payments[i].Amount)
	}
	want.tax, want.paid = tax.value(), paid.value()
	if session := s.sessions[id{r.pos, r.booked}]; session != nil {
		want.late = session.root != ""
	}
	s.r.count("I4", "order_rows", 1)
	if *b.order != want {
		s.r.breach("I4", "order_differs", "entry", where, "has", number(b.order.total), "says", number(o.Total))
	}
	s.compareLines(r, o, b, where)
	s.comparePayments(r, rec, b, where)
}

func (s *ids) compareLines(r *row, o *order, b *bundle, where string) {
	s.r.count("I4", "order_lines", int64(len(b.lines)))
	if len(b.lines) != len(o.Lines) {
		s.r.breach("I4", "order_lines", "entry", where, "n", number(int64(len(b.lines))), "want", number(int64(len(o.Lines))))
		return
	}
	for i := range o.Lines {
		l := &o.Lines[i]
		want := lineRow{
			pos: r.pos, order: r.op, copy: b.order.copy, no: int64(i + 1), id: l.ID, product: l.Product, name: l.Name, category: l.Category,
			qty: l.Qty, price: l.Price, net: l.Net, total: l.Total, account: l.Account, taxes: b.lines[i].taxes,
		}
		var tax amount
		for _, t := range l.Taxes {
			tax.add(t.Amount)
		}
		want.tax = tax.value()
		if l.Refund != nil {
			want.refundOrder, want.refundLine = l.Refund.Order, l.Refund.Line
		}
		if !reflect.DeepEqual(b.lines[i], want) || !sameTaxes(b.lines[i].taxes, l.Taxes) {
			s.r.breach("I4", "line_differs", "entry", where, "no", number(want.no), "has", number(b.lines[i].total), "says", number(l.Total))
		}
	}
}

// sameTaxes reports whether the taxes of a row are those of a line.
func sameTaxes(body []byte, want []taxSum) bool {
	if len(bytes.TrimSpace(body)) == 0 {
		return len(want) == 0
	}
	var has []taxSum
	return json.Unmarshal(body, &has) == nil && slices.Equal(has, want)
}
