package audit

// money checks an order or receipt by itself (I8), and adds up what the journal
// says of the money of each register (I4).
func (w *walk) money(r *row, rec *record, flags []flag, where string) {
	currency := ""
	switch b := rec.body.(type) {
	case *order:
		if rec.kind == kindTraining {
			return
		}
		currency = b.Rules.Currency.Code
		w.r.count("I8", "orders", 1)
		w.adds(r, orderGaps(b), flags, where)
		w.approved(r, b, flags, where)
	case *receipt:
		w.r.count("I8", "receipts", 1)
		w.adds(r, receiptGaps(b), flags, where)
	case *move:
		w.takenOf(r.pos, r.register, "", movesOf(b.Method)).journal.add(b.Amount)
		return
	case *closed:
		if b.Drop != nil && b.Drop.Amount != 0 {
			w.takenOf(r.pos, r.register, "", movesOf(b.Drop.Method)).journal.sub(b.Drop.Amount)
		}
		return
	default:
		return
	}
	for _, p := range rec.paid() {
		w.takenOf(r.pos, r.register, currency, p.Method).journal.add(p.net)
	}
}

// takenOf returns the money of a method; what names no currency is in the
// company's.
func (a *auditor) takenOf(pos, register, currency, method string) *taken {
	if currency == "" {
		currency = a.currency
	}
	key := takenKey{pos, register, currency, method}
	t := a.taken[key]
	if t == nil {
		t = &taken{}
		a.taken[key] = t
	}
	return t
}

// gaps are what an order lacks: each is 0 in an order that adds up.
type gaps struct {
	lines   bool   // lines, taxes and total do not add up
	paid    amount // Σ payments − change − total − rounding
	change  bool   // more change than cash
	codes   []string
	overrun bool
}

func orderGaps(o *order) gaps {
	g := gaps{codes: []string{"totals_wrong", "payments_wrong", "change_wrong"}}
	total, net, all := sum(o.Net), amount{}, amount{}
	taxes := map[string]*amount{}
	taxOf := func(id string) *amount {
		if taxes[id] == nil {
			taxes[id] = &amount{}
		}
		return taxes[id]
	}
	for _, t := range o.Taxes {
		total.add(t.Amount)
		taxOf(t.Tax).sub(t.Amount)
	}
	for i := range o.Lines {
		l := &o.Lines[i]
		line := sum(l.Net)
		for _, t := range l.Taxes {
			line.add(t.Amount)
			taxOf(t.Tax).add(t.Amount)
		}
		g.lines = g.lines || !line.is(l.Total)
		net.add(l.Net)
		all.add(l.Total)
	}
	for _, t := range taxes {
		g.lines = g.lines || !t.is(0)
	}
	g.lines = g.lines || !total.is(o.Total) || !net.is(o.Net) || !all.is(o.Total)
	g.settle(o.Payments, o.Change, o.Total, o.Rounding)
	return g
}

func receiptGaps(b *receipt) gaps {
	g := gaps{codes: []string{"receipt_wrong", "change_wrong"}}
	g.settle(b.Payments, b.Change, b.Amount, b.Rounding)
	return g
}

func (g *gaps) settle(tenders []tender, change, total, rounding int64) {
	var cash amount
	for _, t := range tenders {
		g.paid.add(t.Amount)
		if t.Kind == "cash" {
			cash.add(t.Amount)
		}
	}
	for _, n := range []int64{change, total, rounding} {
		g.paid.sub(n)
	}
	g.change = change != 0 && (change < 0 || cash.over || change > cash.n)
	g.overrun = g.paid.over || cash.over
}

// adds records an order that does not add up and does not say so.
func (w *walk) adds(r *row, g gaps, flags []flag, where string) {
	if !g.lines && g.paid.is(0) && !g.change {
		return
	}
	if r.outcome != applied && has(flags, g.codes...) && !g.overrun {
		w.r.count("I8", "flagged", 1)
		return
	}
	w.r.breach("I8", "does_not_add_up", "entry", where, "gap", g.paid.String())
}

// approved checks that a refund without a receipt carries who approved it.
func (w *walk) approved(r *row, o *order, flags []flag, where string) {
	for i := range o.Lines {
		if o.Lines[i].Qty >= 0 || o.Lines[i].Refund != nil {
			continue
		}
		w.r.count("I12", "returns", 1)
		if o.Approver == nil && (r.outcome == applied || !has(flags, "no_approver")) {
			w.r.breach("I12", "no_approver", "entry", where)
		}
		return
	}
}

// totals checks that what is booked of each method is what the journal has.
func (a *auditor) totals() {
	// What is booked names no currency: where a register has taken a method in
	// several, the company has changed its currency, which is said.
	type key struct{ pos, register, method string }
	journal, booked, currencies := map[key]*amount{}, map[key]*amount{}, map[string]bool{}
	for k, t := range a.taken {
		if k.currency != "" {
			currencies[k.currency] = true
		}
		at := key{k.pos, k.register, k.method}
		if journal[at] == nil {
			journal[at], booked[at] = &amount{}, &amount{}
		}
		journal[at].plus(t.journal)
		booked[at].plus(t.booked)
	}
	for at, j := range journal {
		a.r.count("I4", "methods", 1)
		if !j.equals(*booked[at]) {
			a.r.breach("I4", "total", "register", a.registerOf(at.pos, at.register).String(), "method", at.method,
				"journal", j.String(), "booked", booked[at].String())
		}
	}
	if len(currencies) > 1 {
		a.r.find("currencies")
	}
}

// movesOf names the cash moves of a method beside what was taken by it.
func movesOf(method string) string { return method + " (moves)" }
