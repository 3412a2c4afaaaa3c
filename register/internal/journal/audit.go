package journal

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"tillandsia/shared/entry"
)

// auditor checks the sums, numbers and reports of a journal (I8, I11, I15). It
// shares no code with what makes them: it reads the entries into types of its
// own, adds in an accumulator of its own and writes numbers by a rule of its
// own.
type auditor struct {
	sums, numbers, reports *Line

	code, pos string
	// pruned: the sums of sessions that began before the checkpoint are not
	// known until their next Z. midway: neither are the numbers of the series
	// that runs there; the first of each is taken as found.
	pruned, midway bool

	tag       string
	names     map[string]bool
	sessions  int
	z         int
	receipts  map[string]int // by series and session id
	trainings map[string]int
	periods   map[string]*auditSums
	perpetual *auditSums
	// offset is true while what the series came to before the checkpoint is
	// not known: the first Z tells.
	offset bool
	lastZ  *auditSums
}

// wide is a sum in 128 bits, so that no order of additions can wrap it.
type wide struct{ hi, lo uint64 }

func (w *wide) add(n int64) {
	var carry uint64
	w.lo, carry = bits.Add64(w.lo, uint64(n), 0)
	w.hi += uint64(n>>63) + carry
}

func (w wide) is(n int64) bool { return w.lo == uint64(n) && w.hi == uint64(n>>63) }

func (w wide) plus(o wide) wide {
	lo, carry := bits.Add64(w.lo, o.lo, 0)
	hi, _ := bits.Add64(w.hi, o.hi, carry)
	return wide{hi: hi, lo: lo}
}

type auditSums struct {
	sales, refunds, receipts                            int
	salesTotal, refundsTotal, net, rounding, receiptSum wide
	taxes                                               map[string]wide
}

func newAuditSums() *auditSums { return &auditSums{taxes: map[string]wide{}} }

// The parts of entries that are looked at.
type (
	auditStamp struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	auditTax struct {
		Tax    string `json:"tax"`
		Amount int64  `json:"amount"`
	}
	auditPayment struct {
		Kind   string `json:"kind"`
		Amount int64  `json:"amount"`
	}
	auditOrder struct {
		Session auditStamp `json:"session"`
		Number  string     `json:"number"`
		Ordinal int        `json:"ordinal"`
		Series  string     `json:"series"`
		Lines   []struct {
			Net   int64      `json:"net"`
			Taxes []auditTax `json:"taxes"`
			Total int64      `json:"total"`
		} `json:"lines"`
		Net      int64          `json:"net"`
		Taxes    []auditTax     `json:"taxes"`
		Total    int64          `json:"total"`
		Amount   int64          `json:"amount"` // of a receipt
		Payments []auditPayment `json:"payments"`
		Change   int64          `json:"change"`
		Rounding int64          `json:"rounding"`
	}
	auditZSums struct {
		Sales        int        `json:"sales"`
		Refunds      int        `json:"refunds"`
		Receipts     int        `json:"receipts"`
		SalesTotal   int64      `json:"sales_total"`
		RefundsTotal int64      `json:"refunds_total"`
		Net          int64      `json:"net"`
		Taxes        []auditTax `json:"taxes"`
		Rounding     int64      `json:"rounding"`
		ReceiptsSum  int64      `json:"receipts_sum"`
	}
	auditClosed struct {
		Session auditStamp `json:"session"`
		Z       struct {
			Number    int        `json:"number"`
			Series    string     `json:"series"`
			Period    auditZSums `json:"period"`
			Perpetual auditZSums `json:"perpetual"`
		} `json:"z"`
	}
)

func newAuditor(sums, numbers, reports *Line) *auditor {
	return &auditor{
		sums: sums, numbers: numbers, reports: reports,
		names: map[string]bool{}, receipts: map[string]int{}, trainings: map[string]int{},
		periods: map[string]*auditSums{}, perpetual: newAuditSums(),
	}
}

func (a *auditor) begin(identity Identity, pruned bool) {
	a.code, a.pos = identity.Code, identity.PointOfSale
	a.pruned, a.midway, a.offset = pruned, pruned, pruned
	if pruned {
		a.sessions, a.z = -1, -1
	}
}

func (a *auditor) printer() string {
	if a.tag == "" {
		return a.code
	}
	return a.code + "." + a.tag
}

// entry looks at one entry, in the journal's order.
func (a *auditor) entry(e *entry.Entry) {
	where := fmt.Sprintf("%d/%d", e.Epoch, e.Seq)
	is := func(kinds ...entry.Kind) bool { return slices.Contains(kinds, e.Kind) }
	switch {
	case is(entry.KindSeries):
		var b struct {
			Tag string `json:"tag"`
		}
		if a.read(e, &b) && b.Tag != a.tag {
			a.tag, a.sessions, a.z = b.Tag, 0, 0
			a.perpetual, a.lastZ, a.offset = newAuditSums(), nil, false
			clear(a.receipts)
			clear(a.trainings)
			a.midway = false
		}
	case is(entry.KindOpened):
		var b struct {
			Session auditStamp `json:"session"`
		}
		if a.read(e, &b) {
			a.opened(where, b.Session)
		}
	case is(entry.KindOrder, entry.KindTraining, entry.KindReceipt):
		var o auditOrder
		if a.read(e, &o) {
			a.order(where, e.Kind, &o)
		}
	case is(entry.KindClosed, entry.KindLeft):
		var c auditClosed
		if a.read(e, &c) {
			a.closed(where, &c)
		}
	}
}

func (a *auditor) read(e *entry.Entry, into any) bool {
	if err := json.Unmarshal(e.Body, into); err != nil {
		a.sums.find("%d/%d cannot be read: %v", e.Epoch, e.Seq, err)
		return false
	}
	return true
}

func (a *auditor) opened(where string, s auditStamp) {
	a.numbers.Counts["sessions"]++
	if a.names[s.Name] {
		a.numbers.find("%s: session %s is opened twice", where, s.Name)
	}
	a.names[s.Name] = true
	parts := strings.Split(s.Name, "/")
	n := 0
	if len(parts) == 3 {
		for _, c := range parts[2] {
			n = n*10 + int(c-'0')
		}
	}
	if a.sessions < 0 {
		a.sessions = n - 1
	}
	a.sessions++
	if want := fmt.Sprintf("%s/%s/%05d", a.pos, a.printer(), a.sessions); s.Name != want {
		a.numbers.find("%s: session %s, %s comes next", where, s.Name, want)
		a.sessions = n
	}
	if a.periods[s.ID] == nil {
		a.periods[s.ID] = newAuditSums()
	}
}

func (a *auditor) order(where string, kind entry.Kind, o *auditOrder) {
	counter, count, mark := a.receipts, "receipts", ""
	if kind == entry.KindTraining {
		counter, count, mark = a.trainings, "training", "T-"
	}
	a.number(where, counter, count, mark, o)
	total := o.Total
	if kind == entry.KindReceipt {
		total = o.Amount
	} else {
		a.lines(where, o)
	}
	var paid, cash wide
	for _, p := range o.Payments {
		paid.add(p.Amount)
		if p.Kind == "cash" {
			cash.add(p.Amount)
		}
	}
	due := wide{}
	due.add(total)
	due.add(o.Rounding)
	due.add(o.Change)
	a.sums.Counts["orders"]++
	if paid != due {
		a.sums.find("%s %s: payments less change are not total and rounding", where, o.Number)
	}
	// change ≤ cash tendered, where there is any.
	left := cash
	left.add(-o.Change)
	if o.Change < 0 || o.Change > 0 && int64(left.hi) < 0 {
		a.sums.find("%s %s: change %d is more than the cash tendered", where, o.Number, o.Change)
	}
	if kind == entry.KindTraining {
		return
	}
	for _, s := range a.sumsOf(o.Session.ID) {
		s.take(kind, total, o)
	}
}

// lines checks that an order is the sum of its lines.
func (a *auditor) lines(where string, o *auditOrder) {
	var net, all, withTaxes wide
	taxes := map[string]wide{}
	for _, l := range o.Lines {
		net.add(l.Net)
		all.add(l.Total)
		line := wide{}
		line.add(l.Net)
		for _, t := range l.Taxes {
			line.add(t.Amount)
			w := taxes[t.Tax]
			w.add(t.Amount)
			taxes[t.Tax] = w
		}
		if !line.is(l.Total) {
			a.sums.find("%s %s: a line of %d is not its net and taxes", where, o.Number, l.Total)
		}
	}
	withTaxes = net
	for _, t := range o.Taxes {
		withTaxes.add(t.Amount)
		if w := taxes[t.Tax]; !w.is(t.Amount) {
			a.sums.find("%s %s: tax %s of %d is not that of its lines", where, o.Number, t.Tax, t.Amount)
		}
	}
	if !net.is(o.Net) || !all.is(o.Total) || !withTaxes.is(o.Total) {
		a.sums.find("%s %s: total %d is not the sum of its lines", where, o.Number, o.Total)
	}
}

func (a *auditor) number(where string, counter map[string]int, count, mark string, o *auditOrder) {
	a.numbers.Counts[count]++
	key := o.Session.ID
	last, known := counter[key]
	if !known && a.midway {
		last = o.Ordinal - 1
	}
	parts := strings.Split(o.Session.Name, "/")
	owner, number := "", o.Session.Name
	if len(parts) == 3 {
		owner, number = parts[1], parts[2]
	}
	if owner != a.printer() {
		number = owner + "." + number
	}
	want := fmt.Sprintf("%s%s-%s-%s-%04d", mark, a.pos, a.printer(), number, last+1)
	if o.Number != want || o.Ordinal != last+1 || o.Series != a.tag {
		a.numbers.find("%s: number %s, %s comes next", where, o.Number, want)
	}
	counter[key] = o.Ordinal
}

// sumsOf returns the sums that an order of a session goes into.
func (a *auditor) sumsOf(session string) []*auditSums {
	all := []*auditSums{a.perpetual}
	if a.periods[session] == nil && !a.pruned {
		a.periods[session] = newAuditSums()
	}
	if p := a.periods[session]; p != nil {
		all = append(all, p)
	}
	return all
}

func (s *auditSums) take(kind entry.Kind, total int64, o *auditOrder) {
	s.rounding.add(o.Rounding)
	if kind == entry.KindReceipt {
		s.receipts++
		s.receiptSum.add(total)
		return
	}
	if total < 0 {
		s.refunds++
		s.refundsTotal.add(total)
	} else {
		s.sales++
		s.salesTotal.add(total)
	}
	s.net.add(o.Net)
	for _, t := range o.Taxes {
		w := s.taxes[t.Tax]
		w.add(t.Amount)
		s.taxes[t.Tax] = w
	}
}

func (a *auditor) closed(where string, c *auditClosed) {
	a.reports.Counts["reports"]++
	a.numbers.Counts["reports"]++
	if a.z < 0 {
		a.z = c.Z.Number - 1
	}
	a.z++
	if c.Z.Number != a.z || c.Z.Series != a.tag {
		a.numbers.find("%s: Z %s %d, %s %d comes next", where, c.Z.Series, c.Z.Number, a.tag, a.z)
		a.z = c.Z.Number
	}
	if p := a.periods[c.Session.ID]; p != nil {
		a.compare(where, c.Session.Name, "period", p, &c.Z.Period)
	} else {
		a.reports.Counts["unknown"]++
	}
	a.periods[c.Session.ID] = newAuditSums()

	told := sumsFrom(&c.Z.Perpetual)
	if a.offset {
		// What stood before the checkpoint is what the first Z has above ours.
		a.perpetual, a.offset = told, false
	} else {
		a.compare(where, c.Session.Name, "perpetual", a.perpetual, &c.Z.Perpetual)
	}
	if l := a.lastZ; l != nil && (told.sales < l.sales || told.refunds < l.refunds || told.receipts < l.receipts ||
		fell(l.salesTotal, told.salesTotal) || fell(told.refundsTotal, l.refundsTotal)) {
		a.reports.find("%s: Z %d of %s: a perpetual total has fallen", where, c.Z.Number, c.Session.Name)
	}
	a.lastZ = told
}

// fell reports whether to is below from.
func fell(from, to wide) bool {
	if from.hi != to.hi {
		return int64(to.hi) < int64(from.hi)
	}
	return to.lo < from.lo
}

func sumsFrom(z *auditZSums) *auditSums {
	s := newAuditSums()
	s.sales, s.refunds, s.receipts = z.Sales, z.Refunds, z.Receipts
	s.salesTotal.add(z.SalesTotal)
	s.refundsTotal.add(z.RefundsTotal)
	s.net.add(z.Net)
	s.rounding.add(z.Rounding)
	s.receiptSum.add(z.ReceiptsSum)
	for _, t := range z.Taxes {
		s.taxes[t.Tax] = s.taxes[t.Tax].plus(func() (w wide) { w.add(t.Amount); return }())
	}
	return s
}

func (a *auditor) compare(where, session, what string, own *auditSums, z *auditZSums) {
	told := sumsFrom(z)
	same := own.sales == told.sales && own.refunds == told.refunds && own.receipts == told.receipts &&
		own.salesTotal == told.salesTotal && own.refundsTotal == told.refundsTotal && own.net == told.net &&
		own.rounding == told.rounding && own.receiptSum == told.receiptSum
	for _, tax := range slices.Sorted(maps.Keys(told.taxes)) {
		same = same && own.taxes[tax] == told.taxes[tax]
	}
	same = same && len(own.taxes) == len(told.taxes)
	if !same {
		a.reports.find("%s: Z of %s: its %s sums are not those of the orders", where, session, what)
	}
}
