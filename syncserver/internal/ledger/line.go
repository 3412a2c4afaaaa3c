package ledger

import (
	"maps"
	"slices"

	"tillandsia/shared/drawer"
	"tillandsia/shared/pos"
	"tillandsia/syncserver/internal/store"
)

// stayAt returns the stay of this register in S that an entry belongs to: the
// last one that began before it, else the first; nil without any.
func (w *work) stayAt(r *root, it *item) *stay {
	var first, last *stay
	for _, s := range w.stays[r.ID] {
		if s.Register != w.reg.ID {
			continue
		}
		if first == nil {
			first = s
		}
		if !it.place().Less(s.At) {
			last = s
		}
	}
	if last != nil {
		return last
	}
	return first
}

// stayFor returns the stay of an entry. Where the register's opening or joining
// was never heard it makes one, whose drawer goes on with the balance brought
// forward.
func (w *work) stayFor(r *root, it *item) *stay {
	if s := w.stayAt(r, it); s != nil {
		return s
	}
	s := &stay{dirty: true, Stay: store.Stay{
		PointOfSale: w.point, Session: r.ID, Register: w.reg.ID, At: it.place(), Joined: r.Register != w.reg.ID,
		Drawer: w.reg.Drawer, Begun: micro(it.at),
	}}
	if it.user != nil {
		s.User, s.UserName = it.user.ID, it.user.Name
	}
	w.stays[r.ID] = append(w.stays[r.ID], s)
	return s
}

// opening is how a stay opens the drawer of a method.
func (s *stay) opening(m pos.Method) drawer.Opening {
	o := drawer.Opening{Session: s.Session, Stay: s.At, Cash: m.Kind == pos.MethodCash}
	if s.CashMethod != "" && m.ID == s.CashMethod {
		o.Control, o.Float = s.Control, s.Float
	}
	return o
}

// line returns the drawer line of a method that an entry's money goes to: in
// session s, which is S or a rescue of it. It is made where there is none. The
// pointer holds until the next line is made.
func (w *work) line(it *item, r *root, s *store.Session, m pos.Method, v *verdict) *drawer.Line {
	st := w.stayFor(r, it)
	if m.Kind == pos.MethodCash && !st.Drawer {
		v.flag(FlagCashWithoutDrawer, "method", m.ID)
	}
	c := w.chainOf(m.ID)
	if i := c.Find(s.ID, st.At); i >= 0 {
		return &c.Lines[i]
	}
	if s.Root != "" {
		w.rescueLines(r, s, st)
		if i := c.Find(s.ID, st.At); i >= 0 {
			return &c.Lines[i]
		}
	}
	return w.openLine(s, st, m)
}

// rescueLines gives a rescue a line of every method that the stay has in S: one
// count at the close-out settles them all.
func (w *work) rescueLines(r *root, s *store.Session, st *stay) {
	for _, method := range slices.Sorted(maps.Keys(w.chains)) {
		c := w.chains[method]
		at := slices.IndexFunc(c.Lines, func(l drawer.Line) bool { return l.Root == r.ID && l.Stay == st.At })
		if at < 0 || c.Find(s.ID, st.At) >= 0 {
			continue
		}
		before := c.Lines[at]
		kind := pos.MethodOther
		if before.Cash {
			kind = pos.MethodCash
		}
		name := c.names[lineKey{before.Session, before.Stay}]
		w.openLine(s, st, pos.Method{ID: method, Name: name.name, Kind: kind, Account: name.account})
	}
}

// openLine makes the line of a stay in a session, with the moves between
// sessions that it takes along.
func (w *work) openLine(s *store.Session, st *stay, m pos.Method) *drawer.Line {
	c := w.chainOf(m.ID)
	var at int
	var posted []string
	if s.Root == "" {
		at, posted = c.Open(st.opening(m))
	} else {
		at, posted = c.Rescue(s.ID, s.Ordinal, st.opening(m))
	}
	c.names[lineKey{s.ID, st.At}] = lineName{m.Name, m.Account}
	for _, id := range posted {
		w.post(id, s.ID)
	}
	return &c.Lines[at]
}

// post books a move between sessions in the session whose line takes it along.
func (w *work) post(id, sessionID string) {
	booked := func(m *store.Move) {
		m.Session = sessionID
		if m.CloseDrop {
			return // its entry is the close-out, which is booked nowhere
		}
		key := store.JournalKey{PointOfSale: w.point, Register: m.Register, Place: m.Entry}
		for i := range w.changes.Journal {
			if w.changes.Journal[i].JournalKey == key {
				w.changes.Journal[i].Booked = sessionID
				return
			}
		}
		w.moved = append(w.moved, outcomeOf{key, 0, sessionID})
	}
	for i := range w.changes.Moves {
		if w.changes.Moves[i].ID == id {
			booked(&w.changes.Moves[i])
			return
		}
	}
	if m, ok := w.between[id]; ok {
		booked(&m)
		w.changes.MovesPut = append(w.changes.MovesPut, m)
		delete(w.between, id)
	}
}

// takesCount reports whether a line of this register in a session still takes a
// count.
func (w *work) takesCount(sessionID string) bool {
	for _, c := range w.chains {
		for i := range c.Lines {
			l := &c.Lines[i]
			if l.Session == sessionID && !l.Closed && l.Fixed == nil {
				return true
			}
		}
	}
	return false
}
