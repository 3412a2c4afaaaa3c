package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// zRow is a row of the Z reports.
type zRow struct {
	spot    spot
	series  string
	number  int64
	session string
	body    []byte
	finding string
}

func readZ(z *zRow) []any {
	return []any{&z.spot.pos, &z.spot.register, &z.spot.at.Epoch, &z.spot.at.Seq, &z.series, &z.number, &z.session, &z.body, &z.finding}
}

func zSpot(z *zRow) spot { return z.spot }

func (w *walk) zOrphan(z *zRow) {
	w.r.breach("I15", "z_of_none", "entry", w.registerOf(z.spot.pos, z.spot.register).String()+" "+z.spot.at.String(), "number", number(z.number))
}

// zPeriod is what a register has stamped with a session since its last Z of it.
type zPeriod struct {
	sales, refunds, receipts                               int64
	salesTotal, refundsTotal, net, rounding, receiptsTotal amount
	taxes, taken, moves                                    map[string]*amount
	// odd says that an entry of it was decided twice or came in a wrap: what
	// the server had of it when the Z came cannot be told any more.
	odd bool
}

func newZPeriod() *zPeriod {
	return &zPeriod{taxes: map[string]*amount{}, taken: map[string]*amount{}, moves: map[string]*amount{}}
}

func addTo(m map[string]*amount, key string, n int64) {
	if m[key] == nil {
		m[key] = &amount{}
	}
	m[key].add(n)
}

func (z *zPeriod) add(rec *record) {
	switch b := rec.body.(type) {
	case *order:
		if b.Total < 0 {
			z.refunds++
			z.refundsTotal.add(b.Total)
		} else {
			z.sales++
			z.salesTotal.add(b.Total)
		}
		z.net.add(b.Net)
		z.rounding.add(b.Rounding)
		for _, t := range b.Taxes {
			addTo(z.taxes, t.Tax, t.Amount)
		}
	case *receipt:
		z.receipts++
		z.receiptsTotal.add(b.Amount)
		z.rounding.add(b.Rounding)
	case *move:
		addTo(z.moves, b.Method, b.Amount)
	}
	for _, p := range rec.paid() {
		if p.Kind != payLater {
			addTo(z.taken, p.Method, p.net)
		}
	}
}

// differs returns the figures in which a Z report is another than the period.
func (z *zPeriod) differs(t *zReport) []string {
	var list []string
	compare := func(what string, ours amount, theirs int64) {
		if !ours.is(theirs) {
			list = append(list, fmt.Sprintf("%s %s ≠ %d", what, ours, theirs))
		}
	}
	p := &t.Period
	compare("sales", sum(z.sales), p.Sales)
	compare("refunds", sum(z.refunds), p.Refunds)
	compare("receipts", sum(z.receipts), p.Receipts)
	compare("sales_total", z.salesTotal, p.SalesTotal)
	compare("refunds_total", z.refundsTotal, p.RefundsTotal)
	compare("net", z.net, p.Net)
	compare("rounding", z.rounding, p.Rounding)
	compare("receipts_sum", z.receiptsTotal, p.ReceiptsSum)
	taxes := map[string]int64{}
	for _, tax := range p.Taxes {
		taxes[tax.Tax] += tax.Amount
		if z.taxes[tax.Tax] == nil {
			z.taxes[tax.Tax] = &amount{}
		}
	}
	for _, tax := range slices.Sorted(maps.Keys(z.taxes)) {
		compare("tax "+tax, *z.taxes[tax], taxes[tax])
	}
	of := func(m map[string]*amount, key string) amount {
		if m[key] == nil {
			return amount{}
		}
		return *m[key]
	}
	for _, m := range t.Methods {
		compare("taken "+m.Method, of(z.taken, m.Method), m.Taken)
		compare("moves "+m.Method, of(z.moves, m.Method), m.Moves)
	}
	return list
}

// z adds an entry to the period of its session, and at a close-out or leaving
// holds the till's Z report against it.
func (w *walk) z(ctx context.Context, r *row, rec *record, flags []flag, where string) error {
	rows, err := beside(ctx, w.zs, zSpot, r.spot(), w.zOrphan)
	if err != nil {
		return err
	}
	b, reports := rec.body.(*closed)
	reports = reports && rec.counted && rec.kind != kindCounted
	if !reports && len(rows) > 0 {
		w.r.breach("I15", "z_of_none", "entry", where, "number", number(rows[0].number))
	}
	if !rec.counted || rec.stamp == nil || rec.kind == kindTraining {
		return nil
	}
	root := w.rootOf(r, rec)
	period := w.till.zs[root]
	if period == nil {
		period = newZPeriod()
		w.till.zs[root] = period
	}
	period.odd = period.odd || rec.wrapped || r.outcome == accepted || has(flags, "not_understood")
	if !reports {
		period.add(rec)
		return nil
	}
	delete(w.till.zs, root)
	w.r.count("I15", "zs", 1)
	if len(rows) != 1 {
		w.r.breach("I15", "z_rows", "entry", where, "n", number(int64(len(rows))))
		if len(rows) == 0 {
			return nil
		}
	}
	w.zBody(&rows[0], b, root, where)
	if (rows[0].finding != "") != has(flags, "z_differs") {
		w.r.breach("I15", "z_finding", "entry", where, "number", number(b.Z.Number))
	}
	if list := period.differs(&b.Z); len(list) > 0 {
		switch {
		case rows[0].finding != "":
		case period.odd:
			w.r.find("z_odd", "entry", where, "differences", fmt.Sprint(list))
		default:
			w.r.breach("I15", "z_differs", "entry", where, "number", number(b.Z.Number), "differences", fmt.Sprint(list))
		}
	}
	if rows[0].finding != "" {
		w.r.find("z_differs", "entry", where, "number", number(b.Z.Number), "differences", rows[0].finding)
	}
	if !rec.wrapped {
		w.perpetual(&b.Z, where)
	}
	return nil
}

// zBody checks that the row of a Z report says what its entry says.
func (w *walk) zBody(row *zRow, b *closed, root, where string) {
	var body zReport
	err := json.Unmarshal(row.body, &body)
	if err != nil || row.series != b.Z.Series || row.number != b.Z.Number || row.session != root || !reflect.DeepEqual(sameTimes(body), sameTimes(b.Z)) {
		w.r.breach("I15", "z_row", "entry", where, "number", number(row.number))
	}
}

// sameTimes makes two Z reports comparable that say the same.
func sameTimes(z zReport) zReport {
	z.From, z.To = z.From.UTC(), z.To.UTC()
	if len(z.Methods) == 0 {
		z.Methods = nil
	}
	for _, s := range []*zSums{&z.Period, &z.Perpetual} {
		if len(s.Taxes) == 0 {
			s.Taxes = nil
		}
	}
	return z
}

// perpetual checks that the totals of a series never fall.
func (w *walk) perpetual(z *zReport, where string) {
	if w.till.lastZ == nil {
		w.till.lastZ = map[string]*zSums{}
	}
	now := z.Perpetual
	if before := w.till.lastZ[z.Series]; before != nil {
		w.r.count("I15", "perpetuals", 1)
		if now.Sales < before.Sales || now.Refunds < before.Refunds || now.Receipts < before.Receipts ||
			now.SalesTotal < before.SalesTotal || now.RefundsTotal > before.RefundsTotal || now.ReceiptsSum < before.ReceiptsSum {
			w.r.breach("I15", "perpetual", "entry", where, "number", number(z.Number))
		}
	}
	w.till.lastZ[z.Series] = &now
}
