package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// sumKey is what a sum adds up; see the table sums.
type sumKey struct{ register, kind, account, detail string }

type sumOf struct {
	amount amount
	count  int64
}

// payLater is the kind of a tender that is a customer's debt.
const payLater = "pay_later"

// facts are what the entries booked in a session come to.
type facts struct {
	session *session
	sums    map[sumKey]*sumOf
	orders  int64
	total   amount
	money   map[lineKey]*lineMoney
	lines   []lineOf
	moves   []moveRow
	list    [][]byte // first bytes of the contents
	booked  []string // for the seal
}

// lineKey is a drawer line within its session.
type lineKey struct {
	register, method string
	stay             place
}

// lineMoney is what came into a drawer line and left it.
type lineMoney struct {
	taken, moves, drop amount
	list               []cashAt
}

// cashAt is money at a place, for what comes after a count.
type cashAt struct {
	at place
	n  int64
}

func (f *facts) add(k sumKey, n int64) {
	s := f.sums[k]
	if s == nil {
		s = &sumOf{}
		f.sums[k] = s
	}
	s.amount.add(n)
	s.count++
}

func (f *facts) of(k lineKey) *lineMoney {
	m := f.money[k]
	if m == nil {
		m = &lineMoney{}
		f.money[k] = m
	}
	return m
}

// order adds what an order carries to the facts of its session.
func (f *facts) order(rec *record, o *order, register string) {
	f.orders++
	f.total.add(o.Total)
	gap := f.tenders(rec, register)
	for i := range o.Lines {
		l := &o.Lines[i]
		sales, tax := "sales", "tax"
		if l.Qty < 0 {
			sales, tax = "sales_refund", "tax_refund"
		}
		ids := slices.Clone(l.TaxIDs)
		slices.Sort(ids)
		f.add(sumKey{kind: sales, account: l.Account, detail: strings.Join(ids, "+")}, l.Net)
		gap.sub(l.Net)
		for _, t := range l.Taxes {
			account := ""
			for _, rate := range o.TaxRates {
				if rate.ID == t.Tax {
					account = rate.Account
				}
			}
			f.add(sumKey{kind: tax, account: account}, t.Amount)
			gap.sub(t.Amount)
		}
	}
	f.rest(gap, o.Rounding, o.RoundingAccount)
}

// receipt adds a debt that is paid off.
func (f *facts) receipt(rec *record, b *receipt, register string) {
	gap := f.tenders(rec, register)
	f.add(sumKey{kind: "receipt", account: b.Receivable, detail: b.Customer.ID}, b.Amount)
	gap.sub(b.Amount)
	f.rest(gap, b.Rounding, b.RoundingAccount)
}

func (f *facts) tenders(rec *record, register string) amount {
	var total amount
	for _, p := range rec.paid() {
		total.add(p.net)
		if p.Kind == payLater {
			f.add(sumKey{kind: "receivable", account: p.Account, detail: rec.customer}, p.net)
			continue
		}
		f.add(sumKey{register: register, kind: "payment", account: p.Account, detail: p.Method}, p.net)
	}
	return total
}

func (f *facts) rest(gap amount, rounding int64, account string) {
	if rounding != 0 {
		f.add(sumKey{kind: "rounding", account: account}, rounding)
	}
	gap.sub(rounding)
	if gap.over || gap.n != 0 {
		f.add(sumKey{kind: "suspense"}, gap.n)
	}
}

// bookedIn goes through the sessions beside all that is booked in them.
type bookedIn struct {
	*auditor
	journal  *cursor[row]
	moves    *cursor[moveRow]
	sums     *cursor[sumRow]
	lines    *cursor[lineOf]
	postings *cursor[postingRow]
	entries  *cursor[postingLine]
	closes   *cursor[closeRow]
	rest     []*session
}

type sumRow struct {
	pos, session string
	key          sumKey
	amount       int64
	count        int64
}

type closeRow struct {
	pos, session, root string
	ordinal, clock     int64
	body               []byte
}

// bySession goes through the sessions: what is booked in each gives its sums,
// its drawer lines, its list, its seal and its posting.
func (a *auditor) bySession(ctx context.Context) (err error) {
	b := &bookedIn{auditor: a, rest: a.list}
	const order = " ORDER BY pos/*C*/, session/*C*/"
	if b.journal, err = query(ctx, a.s, journalRow, journalColumns+"WHERE booked <> '' ORDER BY pos/*C*/, booked/*C*/"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.journal.close(ctx)) }()
	if b.moves, err = query(ctx, a.s, readMove, moveColumns+"WHERE session <> ''"+order); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.moves.close(ctx)) }()
	if b.sums, err = query(ctx, a.s, func(s *sumRow) []any {
		return []any{&s.pos, &s.session, &s.key.register, &s.key.kind, &s.key.account, &s.key.detail, &s.amount, &s.count}
	}, "SELECT pos, session, register, kind, account, detail, amount, count FROM sums"+order); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.sums.close(ctx)) }()
	if b.lines, err = query(ctx, a.s, readDrawer, drawerColumns+order+", register/*C*/, method/*C*/, stay_epoch, stay_seq"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.lines.close(ctx)) }()
	if b.postings, err = query(ctx, a.s, readPosting, postingColumns+order); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.postings.close(ctx)) }()
	if b.entries, err = query(ctx, a.s, readPostingLine, `SELECT pos, session, no, account, debit, credit, label, register, method, customer, detail
		FROM posting_lines`+order+", no"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.entries.close(ctx)) }()
	if b.closes, err = query(ctx, a.s, func(c *closeRow) []any { return []any{&c.pos, &c.session, &c.root, &c.ordinal, &c.clock, &c.body} },
		"SELECT pos, session, root, ordinal, at, body FROM closes"+order); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.closes.close(ctx)) }()
	for {
		k, ok := b.next()
		if !ok {
			return nil
		}
		if err := b.one(ctx, k); err != nil {
			return err
		}
	}
}

// next returns the first session that any of the tables stands at.
func (b *bookedIn) next() (k key, ok bool) {
	at := func(on bool, pos, session string) {
		if of := (key{pos, session}); on && (!ok || of.before(k)) {
			k, ok = of, true
		}
	}
	at(b.journal.ok, b.journal.row.pos, b.journal.row.booked)
	at(b.moves.ok, b.moves.row.spot.pos, b.moves.row.session)
	at(b.sums.ok, b.sums.row.pos, b.sums.row.session)
	at(b.lines.ok, b.lines.row.pos, b.lines.row.session)
	at(b.postings.ok, b.postings.row.pos, b.postings.row.session)
	at(b.entries.ok, b.entries.row.pos, b.entries.row.session)
	at(b.closes.ok, b.closes.row.pos, b.closes.row.session)
	if len(b.rest) > 0 {
		at(true, b.rest[0].pos, b.rest[0].id)
		if (key{b.rest[0].pos, b.rest[0].id}) == k {
			b.rest = b.rest[1:]
		}
	}
	return k, ok
}

func (b *bookedIn) one(ctx context.Context, k key) error {
	s := b.sessions[id(k)]
	if s == nil {
		b.r.breach("I4", "no_session", "session", k.pos+" "+k.id)
		s = &session{pos: k.pos, id: k.id, name: k.pos + " " + k.id}
	}
	f := &facts{session: s, sums: map[sumKey]*sumOf{}, money: map[lineKey]*lineMoney{}}
	var err error
	if f.lines, err = same(ctx, b.lines, func(l *lineOf) key { return key{l.pos, l.session} }, k); err != nil {
		return err
	}
	if f.moves, err = same(ctx, b.moves, func(m *moveRow) key { return key{m.spot.pos, m.session} }, k); err != nil {
		return err
	}
	for b.journal.ok && b.journal.row.pos == k.pos && b.journal.row.booked == k.id {
		b.entry(f, &b.journal.row)
		if err := b.journal.next(ctx); err != nil {
			return err
		}
	}
	for i := range f.moves {
		b.drop(f, &f.moves[i])
	}
	sums, err := same(ctx, b.sums, func(s *sumRow) key { return key{s.pos, s.session} }, k)
	if err != nil {
		return err
	}
	postings, err := same(ctx, b.postings, func(p *postingRow) key { return key{p.pos, p.session} }, k)
	if err != nil {
		return err
	}
	entries, err := same(ctx, b.entries, func(l *postingLine) key { return key{l.pos, l.session} }, k)
	if err != nil {
		return err
	}
	closes, err := same(ctx, b.closes, func(c *closeRow) key { return key{c.pos, c.session} }, k)
	if err != nil {
		return err
	}
	b.checkSums(f, sums)
	b.checkLines(f)
	b.posting(f, postings, entries)
	b.close(f, sums, postings, closes)
	return nil
}

// entry adds an entry that is booked in a session to its facts.
func (b *bookedIn) entry(f *facts, r *row) {
	f.list = append(f.list, slices.Clone(r.content[:min(8, len(r.content))]))
	f.booked = append(f.booked, fmt.Sprintf("%q %d %d %q %x", r.register, r.at.Epoch, r.at.Seq, r.op, r.hash))
	rec, err := decode(r.raw)
	if err != nil || rec.body == nil || !counts(r.outcome) {
		return // said by place
	}
	switch body := rec.body.(type) {
	case *order:
		if rec.kind == kindOrder {
			f.order(rec, body, r.register)
		}
	case *receipt:
		f.receipt(rec, body, r.register)
	case *move:
		if rec.stamp != nil {
			b.cash(f, r, body.Method, body.Amount, true)
		}
		return
	default:
		return
	}
	for _, p := range rec.paid() {
		if p.Kind != payLater {
			b.cash(f, r, p.Method, p.net, false)
		}
	}
}

// cash adds money to the drawer line that it belongs to.
func (b *bookedIn) cash(f *facts, r *row, method string, n int64, moved bool) {
	m := f.of(lineKey{r.register, method, b.stayOf(f.session, r.register, r.at)})
	if moved {
		m.moves.add(n)
	} else {
		m.taken.add(n)
	}
	m.list = append(m.list, cashAt{r.at, n})
}

// drop adds what left the drawer in a close-out to its line.
func (b *bookedIn) drop(f *facts, m *moveRow) {
	if m.closeDrop && !m.between {
		f.of(lineKey{m.spot.register, m.method, b.stayOf(f.session, m.spot.register, m.spot.at)}).drop.sub(m.amount)
	}
}

// stayOf returns the stay of a register in a session that a place belongs to:
// the last that began before it, else the first.
func (a *auditor) stayOf(s *session, register string, at place) place {
	list := a.stays[stayKey{s.pos, s.rootID(), register}]
	if len(list) == 0 {
		return place{}
	}
	found := list[0].at
	for i := range list {
		if !at.less(list[i].at) {
			found = list[i].at
		}
	}
	return found
}

// loose reports whether it cannot be told for sure which stay of a register in
// a session an entry was booked in: where an older epoch came in later, the stay
// may have begun when the entry was booked already.
func (a *auditor) loose(s *session, register string) bool {
	return len(a.registerOf(s.pos, register).epochs) > 1 && len(a.stays[stayKey{s.pos, s.rootID(), register}]) > 1
}

// checkSums holds the sums of a session, and its row, against its facts.
func (b *bookedIn) checkSums(f *facts, rows []sumRow) {
	name := f.session.name
	for i := range rows {
		r := &rows[i]
		b.r.count("I4", "sums", 1)
		want := f.sums[r.key]
		if want == nil {
			if r.amount != 0 || r.count != 0 {
				b.r.breach("I4", "sum", "session", name, "kind", r.key.kind, "account", r.key.account, "has", number(r.amount), "want", "0")
			}
			continue
		}
		if !want.amount.is(r.amount) || want.count != r.count {
			b.r.breach("I4", "sum", "session", name, "kind", r.key.kind, "account", r.key.account, "has", number(r.amount), "want", want.amount.String())
		}
		want.count = -1
	}
	for k, s := range f.sums {
		if s.count >= 0 {
			b.r.breach("I4", "sum", "session", name, "kind", k.kind, "account", k.account, "has", "–", "want", s.amount.String())
		}
	}
	if f.orders != f.session.orders || !f.total.is(f.session.total) {
		b.r.breach("I4", "session_total", "session", name, "has", number(f.session.total), "want", f.total.String())
	}
	if f.session.root != "" && f.session.money == 0 {
		b.r.breach("I6", "rescue_empty", "session", name)
	}
}

// checkLines holds the drawer lines of a session against the money that is
// booked in it.
func (b *bookedIn) checkLines(f *facts) {
	s := f.session
	loose := map[drawerKey]bool{} // whose stays cannot be told apart for sure
	between := map[drawerKey]*amount{}
	has, want := map[drawerKey]*lineMoney{}, map[drawerKey]*lineMoney{}
	at := func(m map[drawerKey]*lineMoney, k drawerKey) *lineMoney {
		if m[k] == nil {
			m[k] = &lineMoney{}
		}
		return m[k]
	}
	for i := range f.lines {
		l := &f.lines[i]
		k := drawerKey{s.pos, l.register, l.method}
		if between[k] == nil {
			between[k] = &amount{}
		}
		between[k].add(l.between)
		sumUp := at(has, k)
		sumUp.taken.add(l.taken)
		sumUp.moves.add(l.moves)
		sumUp.drop.add(l.drop)
		loose[k] = b.loose(s, l.register)
	}
	for lk, m := range f.money {
		sumUp := at(want, drawerKey{s.pos, lk.register, lk.method})
		sumUp.taken.plus(m.taken)
		sumUp.moves.plus(m.moves)
		sumUp.drop.plus(m.drop)
	}
	for i := range f.lines {
		b.checkLine(f, &f.lines[i], loose[drawerKey{s.pos, f.lines[i].register, f.lines[i].method}])
	}
	for i := range f.moves {
		if m := &f.moves[i]; m.between {
			k := drawerKey{s.pos, m.spot.register, m.method}
			if between[k] == nil {
				between[k] = &amount{}
			}
			between[k].sub(m.amount)
		}
	}
	for _, k := range sortedDrawers(between) {
		if !between[k].is(0) {
			b.r.breach("I10", "between", "session", s.name, "register", b.registerOf(k.pos, k.register).String(), "method", k.method, "gap", between[k].String())
		}
	}
	for _, k := range sortedDrawers(want) {
		h, w := at(has, k), want[k]
		if !h.taken.equals(w.taken) || !h.moves.equals(w.moves) || !h.drop.equals(w.drop) {
			b.r.breach("I10", "lines", "session", s.name, "register", b.registerOf(k.pos, k.register).String(), "method", k.method,
				"has", h.taken.String()+" "+h.moves.String()+" "+h.drop.String(), "want", w.taken.String()+" "+w.moves.String()+" "+w.drop.String())
		}
	}
}

func sortedDrawers[V any](m map[drawerKey]V) []drawerKey {
	keys := make([]drawerKey, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y drawerKey) int {
		return cmp.Or(strings.Compare(x.register, y.register), strings.Compare(x.method, y.method), strings.Compare(x.pos, y.pos))
	})
	return keys
}

func (b *bookedIn) checkLine(f *facts, l *lineOf, loose bool) {
	b.r.count("I10", "drawer_lines", 1)
	m := f.money[lineKey{l.register, l.method, l.stay}]
	if m == nil {
		m = &lineMoney{}
	}
	if !loose && (!m.taken.is(l.taken) || !m.moves.is(l.moves) || !m.drop.is(l.drop)) {
		b.r.breach("I10", "line", "line", b.lineName(l), "has", fmt.Sprintf("%d %d %d", l.taken, l.moves, l.drop),
			"want", m.taken.String()+" "+m.moves.String()+" "+m.drop.String())
	}
	var after amount
	if l.counted.Valid && l.countedAt != (place{}) {
		for _, c := range m.list {
			if l.countedAt.less(c.at) {
				after.add(c.n)
			}
		}
	}
	if !loose && !after.is(l.after) {
		b.r.breach("I10", "after_count", "line", b.lineName(l), "has", number(l.after), "want", after.String())
	}
	if l.closed != f.session.closed() || f.session.refilling && l.closed {
		b.r.breach("I10", "line_state", "line", b.lineName(l))
	}
	ordinal := l.ordinal == f.session.ordinal || f.session.kind == "settle" && l.ordinal >= settling
	if l.root != f.session.rootID() || !ordinal {
		b.r.breach("I10", "line_root", "line", b.lineName(l))
	}
}

// settling is the ordinal of a link that settles a drawer behind the rescues of
// its last stay.
const settling = 1 << 30

// close holds the record of a close, the list and the seal against what is
// booked.
func (b *bookedIn) close(f *facts, sums []sumRow, postings []postingRow, closes []closeRow) {
	s := f.session
	if !s.closed() {
		if len(closes) > 0 || s.digest != "" || s.posting != "" || s.closedBy != "" || s.closedByName != "" || s.closedAt != 0 ||
			s.reason != "" || s.kind != "" || s.counted || s.empty || s.refilling {
			b.r.breach("I5", "not_closed", "session", s.name)
		}
		return
	}
	if s.refilling {
		b.r.find("refilling", "session", s.name)
		return
	}
	b.r.count("I5", "sealed", 1)
	b.r.count("I6", "lists", 1)
	if len(closes) == 0 {
		b.r.breach("I5", "no_close", "session", s.name)
		return
	}
	var c closeRecord
	if json.Unmarshal(closes[0].body, &c) != nil {
		return // said before
	}
	b.record(f, &closes[0], &c)
	b.checkList(f, c.List)
	if digest := seal(f, sums, postings); digest != s.digest || digest != c.Digest {
		b.r.breach("I5", "digest", "session", s.name, "row", shown(s.digest), "close", c.Digest, "is", digest)
	}
}

// record holds the record of a close against the session's row and its lines.
func (b *bookedIn) record(f *facts, r *closeRow, c *closeRecord) {
	s := f.session
	wrong := func(what string) { b.r.breach("I5", "record", "session", s.name, "what", what) }
	if c.Session != s.id || c.Name != s.name || c.Root != s.root || c.Ordinal != s.ordinal || r.root != s.root || r.ordinal != s.ordinal {
		wrong("session")
	}
	if c.By.ID != s.closedBy || c.By.Name != s.closedByName || micro(c.At) != s.closedAt || r.clock != s.closedAt || c.Reason != s.reason || c.CloseOut != (s.kind == "close_out") {
		wrong("by")
	}
	if c.Orders != f.orders || !f.total.is(c.Total) {
		wrong("total")
	}
	if c.Posting != s.posting {
		wrong("posting")
	}
	counted, drawers := true, false
	for i := range f.lines {
		if l := &f.lines[i]; l.cash {
			counted, drawers = counted && l.counted.Valid, true
		}
	}
	if s.counted != (counted && drawers) {
		wrong("counted")
	}
	want := []string{}
	for i := range f.lines {
		l := &f.lines[i]
		want = append(want, fmt.Sprint(l.register, l.method, l.expected(), show(l.countedNow()), l.difference(), l.closing()))
	}
	got := []string{}
	for _, m := range c.Methods {
		var counted *amount
		if m.Counted != nil {
			counted = &amount{n: *m.Counted}
		}
		got = append(got, fmt.Sprint(m.Register, m.Method, amount{n: m.Expected}, show(counted), amount{n: m.Difference}, amount{n: m.Closing}))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		wrong("methods")
	}
}

func show(a *amount) string {
	if a == nil {
		return "–"
	}
	return a.String()
}

// checkList holds the list of a close against what is booked: nothing was added
// afterwards, nothing taken away.
func (b *bookedIn) checkList(f *facts, list []byte) {
	slices.SortFunc(f.list, func(x, y []byte) int { return strings.Compare(string(x), string(y)) })
	var booked []byte
	for _, c := range f.list {
		booked = append(booked, c...)
	}
	b.r.count("I6", "listed", int64(len(f.list)))
	if string(booked) != string(list) {
		b.r.breach("I6", "list", "session", f.session.name, "n", number(int64(len(f.list))), "listed", number(int64(len(list)/8)))
	}
}
