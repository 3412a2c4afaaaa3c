package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// lineOf is a row of the drawer lines: a link of a drawer's chain.
type lineOf struct {
	pos, register, method string
	stay                  place
	ordinal               int64
	session, root         string
	account               string
	cash, control, first  bool
	brought, between      int64
	opening, taken, moves int64
	counted               sql.NullInt64
	countedAt             place
	after, drop           int64
	fixed                 sql.NullInt64
	closed                bool
}

const drawerColumns = `SELECT pos, register, method, stay_epoch, stay_seq, ordinal, session, root, account, cash, control, is_first, brought, between_moves,
	opening, taken, moves, counted, counted_epoch, counted_seq, after_count, left_drawer, fixed, closed FROM drawer_lines`

func readDrawer(l *lineOf) []any {
	return []any{
		&l.pos, &l.register, &l.method, &l.stay.Epoch, &l.stay.Seq, &l.ordinal, &l.session, &l.root, &l.account, &l.cash, &l.control, &l.first,
		&l.brought, &l.between, &l.opening, &l.taken, &l.moves, &l.counted, &l.countedAt.Epoch, &l.countedAt.Seq, &l.after, &l.drop,
		&l.fixed, &l.closed,
	}
}

// expected is what the drawer should hold before anything leaves it.
func (l *lineOf) expected() amount { return sum(l.opening, l.taken, l.moves) }

// countedNow is the count with what came after it, nil without.
func (l *lineOf) countedNow() *amount {
	if !l.counted.Valid {
		return nil
	}
	n := sum(l.counted.Int64, l.after)
	return &n
}

// closing is what the next link begins with: what it has taken over, else what
// was counted or is expected, less what left at the close.
func (l *lineOf) closing() amount {
	if l.fixed.Valid {
		return sum(l.fixed.Int64)
	}
	n := l.expected()
	if c := l.countedNow(); c != nil {
		n = *c
	}
	n.sub(l.drop)
	return n
}

// difference is what the drawer has more, or less, than expected.
func (l *lineOf) difference() amount {
	d := l.closing()
	d.add(l.drop)
	expected := l.expected()
	d.over = d.over || expected.over
	d.sub(expected.n)
	return d
}

func (l *lineOf) sameDrawer(m *lineOf) bool {
	return l.pos == m.pos && l.register == m.register && l.method == m.method
}

func (a *auditor) lineName(l *lineOf) string {
	return fmt.Sprintf("%s %s %s", a.nameOf(l.pos, l.session), a.registerOf(l.pos, l.register), l.method)
}

// drawers goes through the chains of all drawers: each link begins with what
// the one before it closed with, and the books have of each drawer what its
// last posted link closed with.
func (a *auditor) drawers(ctx context.Context) (err error) {
	c, err := query(ctx, a.s, readDrawer, drawerColumns+" ORDER BY pos/*C*/, register/*C*/, method/*C*/, stay_epoch, stay_seq, ordinal, session/*C*/")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close(ctx)) }()
	var chain []lineOf
	for c.ok {
		if len(chain) > 0 && !chain[0].sameDrawer(&c.row) {
			a.chain(chain)
			chain = chain[:0]
		}
		chain = append(chain, c.row)
		if err := c.next(ctx); err != nil {
			return err
		}
	}
	if len(chain) > 0 {
		a.chain(chain)
	}
	for _, k := range sortedDrawers(a.posted) {
		if !a.posted[k].is(0) {
			a.r.breach("I10", "posted_undrawn", "register", a.registerOf(k.pos, k.register).String(), "method", k.method, "posted", a.posted[k].String())
		}
	}
	return nil
}

// chain checks the links of one method of one drawer, in order.
func (a *auditor) chain(chain []lineOf) {
	a.r.count("I10", "drawers", 1)
	for i := range chain {
		l := &chain[i]
		a.r.count("I10", "links", 1)
		var before *lineOf
		if i > 0 {
			before = &chain[i-1]
		}
		if !l.cash && before != nil && before.stay != l.stay {
			before = nil // each stay begins anew
		}
		a.link(l, before)
		a.counted(chain, i)
		if l.fixed.Valid && !l.closed && i == len(chain)-1 && !a.refills(l) {
			a.r.breach("I10", "fixed", "line", a.lineName(l))
		}
	}
	a.books(chain)
}

// link checks what a line begins with.
func (a *auditor) link(l, before *lineOf) {
	name := a.lineName(l)
	brought := sum(l.between)
	if before != nil {
		brought.plus(before.closing())
	}
	if !brought.is(l.brought) {
		a.r.breach("I10", "brought", "line", name, "has", number(l.brought), "want", brought.String())
	}
	named := a.accountsOf[drawerKey{l.pos, l.register, l.method}]
	if !named[l.account] && len(named) > 0 && l.account != a.methods[l.method] {
		a.r.breach("I10", "account", "line", name, "account", l.account)
	}
	goesOn := before != nil && before.stay == l.stay && l.ordinal < settling
	settles := a.settles(l)
	switch {
	case settles:
		if !l.first && l.opening != l.brought {
			a.r.breach("I10", "opening", "line", name, "has", number(l.opening), "want", number(l.brought))
		}
	case goesOn:
		if l.opening != l.brought || l.between != 0 || l.first {
			a.r.breach("I10", "rescue_opening", "line", name, "has", number(l.opening), "want", number(l.brought))
		}
	default:
		a.opening(l, name)
	}
	if l.cash && (before == nil && !l.first || before != nil && l.first && l.brought != l.between) || !l.cash && l.first {
		a.r.breach("I10", "first", "line", name)
	}
	if !l.counted.Valid && (l.after != 0 || l.countedAt != place{}) {
		a.r.breach("I10", "after_count", "line", name, "has", number(l.after), "want", "0")
	}
	if l.cash && l.control && l.closed {
		if d := l.difference(); !d.is(0) {
			a.r.find("difference", "line", name, "n", d.String())
		}
	}
	if opening := sum(l.opening); l.cash && !l.first {
		opening.sub(l.brought)
		if !opening.is(0) {
			a.r.find("opening_difference", "line", name, "n", opening.String())
		}
	}
}

func (a *auditor) refills(l *lineOf) bool {
	s := a.sessions[id{l.pos, l.session}]
	return s != nil && s.refilling
}

func (a *auditor) settles(l *lineOf) bool {
	s := a.sessions[id{l.pos, l.session}]
	return s != nil && s.kind == "settle"
}

// opening checks the first line of a stay against what its register told when
// it opened or joined.
func (a *auditor) opening(l *lineOf, name string) {
	want, control, found := l.brought, false, false
	for _, s := range a.stays[stayKey{l.pos, l.root, l.register}] {
		if s.at != l.stay {
			continue
		}
		found = true
		if l.method == s.cashMethod && s.cashMethod != "" {
			control = s.control
			if control && l.cash {
				want = s.float
			}
		}
	}
	if !found {
		a.r.breach("I10", "line_stay", "line", name, "stay", l.stay.String())
		return
	}
	if !l.cash {
		want = 0
	}
	if l.opening != want || l.control != control {
		a.r.breach("I10", "opening", "line", name, "has", number(l.opening), "want", number(want))
	}
}

// counted checks the till's count of a line against the entry that it comes
// from: what was counted, with what had left in a close-out before it and less
// what was moved between sessions and had no line yet.
func (a *auditor) counted(chain []lineOf, i int) {
	l := &chain[i]
	if !l.counted.Valid {
		return
	}
	name := a.lineName(l)
	if l.countedAt == (place{}) {
		if s := a.sessions[id{l.pos, l.session}]; !l.closed && (s == nil || !s.refilling) {
			a.r.breach("I10", "count_nowhere", "line", name)
		}
		return
	}
	n, ok := a.effective[countKey{l.pos, l.register, l.countedAt, l.method}]
	if !ok {
		a.r.breach("I10", "count_nowhere", "line", name)
		return
	}
	want := sum(n)
	s := a.sessions[id{l.pos, l.session}]
	if s == nil || a.loose(s, l.register) {
		return
	}
	for _, d := range a.drops[dropKey{l.pos, l.register, l.method, l.session}] {
		if d.at.less(l.countedAt) && a.stayOf(s, l.register, d.at) == l.stay {
			want.sub(d.amount)
		}
	}
	between := a.between[drawerKey{l.pos, l.register, l.method}]
	if len(between) > 0 && !l.cash {
		return // no line ever takes those along
	}
	for _, m := range between {
		if m.at.less(l.countedAt) && pending(chain, i, &m) {
			want.sub(m.amount)
		}
	}
	if !want.is(l.counted.Int64) {
		a.r.breach("I10", "counted", "line", name, "has", number(l.counted.Int64), "want", want.String())
	}
}

// pending reports whether a move between sessions waited for a later line when
// line i was counted.
func pending(chain []lineOf, i int, m *waiting) bool {
	if m.session == "" {
		return true
	}
	posted := -1
	for k := range chain {
		if chain[k].session == m.session && (posted < 0 || !m.at.less(chain[posted].stay)) {
			posted = k
		}
	}
	return posted > i
}

// books holds what is posted of a drawer against its chain: the closing of the
// last posted link, where no link before it is open. The chains of methods that
// begin anew in every stay are added up.
func (a *auditor) books(chain []lineOf) {
	k := drawerKey{chain[0].pos, chain[0].register, chain[0].method}
	posted := amount{}
	if p := a.posted[k]; p != nil {
		posted = *p
	}
	delete(a.posted, k)
	var want, last amount
	open := false
	for i := range chain {
		l := &chain[i]
		if i > 0 && chain[i-1].stay != l.stay && !l.cash {
			want.plus(last)
			last, open = amount{}, false
		}
		if s := a.sessions[id{l.pos, l.session}]; s == nil || !s.sealed() {
			open = true
			continue
		}
		if open {
			a.r.find("open_before", "line", a.lineName(l))
			return
		}
		last = l.closing()
	}
	want.plus(last)
	a.r.count("I10", "books", 1)
	if !want.equals(posted) {
		a.r.breach("I10", "books", "register", a.registerOf(k.pos, k.register).String(), "method", k.method, "posted", posted.String(), "closing", want.String())
	}
}
