package audit

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// numbers are the counters of a register: session names, receipt numbers of
// each session, Z reports, each by its series.
type numbers struct {
	reg      *register
	sessions map[string]*counter // by the name up to the number
	receipts map[string]*counter
	zs       map[string]*counter // by series
	byName   map[string]string   // session names to ids
}

func newNumbers(reg *register) *numbers {
	return &numbers{reg: reg, sessions: map[string]*counter{}, receipts: map[string]*counter{}, zs: map[string]*counter{}, byName: map[string]string{}}
}

// counter is what is seen of the numbers of a series: all up to the top but
// those that are missing.
type counter struct {
	top     int64
	missing map[int64]bool
	n       int64
}

// mostMissing bounds what a counter remembers of a gap.
const mostMissing = 10_000

// see takes a number in; it reports whether it was there already.
func (c *counter) see(n int64) (twice bool) {
	c.n++
	if n <= c.top {
		if c.missing[n] {
			delete(c.missing, n)
			return false
		}
		return true
	}
	for gap := c.top + 1; gap < n && len(c.missing) < mostMissing; gap++ {
		if c.missing == nil {
			c.missing = map[int64]bool{}
		}
		c.missing[gap] = true
	}
	c.top = n
	return false
}

func counterOf(m map[string]*counter, key string) *counter {
	if m[key] == nil {
		m[key] = &counter{}
	}
	return m[key]
}

// numbered splits a label at the number that it ends in.
func numbered(label, separator string) (prefix string, n int64, ok bool) {
	at := strings.LastIndex(label, separator)
	if at < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(label[at+len(separator):], 10, 64)
	return label[:at], n, err == nil && n > 0
}

// entry takes the numbers in that an entry bears.
func (s *numbers) entry(w *walk, r *row, rec *record, flags []flag, where string) {
	if rec.body == nil || r.outcome == known {
		return
	}
	switch b := rec.body.(type) {
	case *order:
		if rec.kind == kindTraining {
			s.training(b.Number)
		} else {
			// Of two orders with one number both are flagged, where both are
			// booked; one that a manager has accepted was looked at.
			flagDue := r.outcome == applied || r.outcome == flagged
			s.receipt(w, b.Number, flagDue && !has(flags, "number_twice"), where)
		}
	case *receipt:
		s.receipt(w, b.Number, false, where)
	case *opened:
		if rec.kind == kindOpened {
			s.session(w, b, where)
		}
	case *closed:
		if rec.kind != kindCounted {
			s.z(w, &b.Z, flags, where)
		}
	}
}

// training takes the number of a training sale in. They have a counter of their
// own, which is nobody's business, unless a till counts them among the others.
func (s *numbers) training(label string) {
	if prefix, n, ok := numbered(label, "-"); ok && s.receipts[prefix] != nil {
		s.receipts[prefix].see(n)
	}
}

func (s *numbers) receipt(w *walk, label string, silent bool, where string) {
	if label == "" {
		w.r.find("no_number", "entry", where)
		return
	}
	prefix, n, ok := numbered(label, "-")
	if !ok {
		w.r.find("odd_number", "entry", where, "number", label)
		return
	}
	w.r.count("I11", "receipts", 1)
	if !counterOf(s.receipts, prefix).see(n) {
		return
	}
	w.r.find("number_twice", "entry", where, "number", label)
	if silent {
		w.r.breach("I11", "number_twice", "entry", where, "number", label)
	}
}

func (s *numbers) session(w *walk, b *opened, where string) {
	name := b.Session.Name
	prefix, n, ok := numbered(name, "/")
	if !ok {
		w.r.find("odd_number", "entry", where, "number", name)
		return
	}
	was, twice := s.byName[name]
	if twice && was == b.Session.ID {
		return // the same session once more
	}
	w.r.count("I11", "sessions", 1)
	s.byName[name] = b.Session.ID
	if !counterOf(s.sessions, prefix).see(n) {
		return
	}
	w.r.find("number_twice", "entry", where, "number", name)
	if !s.reg.forked {
		w.r.breach("I11", "number_twice", "entry", where, "number", name)
	}
}

func (s *numbers) z(w *walk, z *zReport, flags []flag, where string) {
	if z.Number < 1 {
		w.r.find("no_number", "entry", where)
		return
	}
	w.r.count("I11", "zs", 1)
	if !counterOf(s.zs, z.Series).see(z.Number) {
		return
	}
	label := "Z " + z.Series + " " + number(z.Number)
	w.r.find("number_twice", "entry", where, "number", label)
	if !has(flags, "z_twice") && !s.reg.forked {
		w.r.breach("I11", "number_twice", "entry", where, "number", label)
	}
}

// end looks for gaps when the register's journal is read.
func (s *numbers) end(w *walk) {
	for _, m := range []map[string]*counter{s.sessions, s.receipts, s.zs} {
		for _, prefix := range slices.Sorted(maps.Keys(m)) {
			c := m[prefix]
			w.r.count("I11", "series", 1)
			if len(c.missing) == 0 {
				continue
			}
			missing := slices.Sorted(maps.Keys(c.missing))
			pairs := []string{
				"register", s.reg.String(), "series", cmp.Or(prefix, "Z"), "first", number(missing[0]), "n", number(int64(len(missing))),
				"top", number(c.top),
			}
			if s.reg.holes || s.reg.forked || s.reg.lost {
				w.r.find("gap", pairs...)
				continue
			}
			w.r.breach("I11", "numbers_missing", pairs...)
		}
	}
}

// doubles checks that orders that bear the same receipt number are flagged,
// whichever registers they come from.
func (a *auditor) doubles(ctx context.Context) (err error) {
	type bearer struct {
		pos, number, id, register string
		at                        place
	}
	c, err := query(ctx, a.s, func(b *bearer) []any {
		return []any{&b.pos, &b.number, &b.id, &b.register, &b.at.Epoch, &b.at.Seq}
	}, `SELECT o.pos, o.number, o.id, o.register, o.entry_epoch, o.entry_seq FROM orders o JOIN (SELECT pos, number FROM orders WHERE number <> '' GROUP BY pos, number HAVING count(DISTINCT id) > 1) d
		ON d.pos = o.pos AND d.number = o.number ORDER BY o.pos, o.number, o.id`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close(ctx)) }()
	for c.ok {
		b := c.row
		if !a.said[saidKey{spot{b.pos, b.register, b.at}, "number_twice"}] {
			a.r.breach("I11", "number_twice", "entry", a.registerOf(b.pos, b.register).String()+" "+b.at.String(), "number", b.number)
		}
		if err := c.next(ctx); err != nil {
			return err
		}
	}
	return nil
}
