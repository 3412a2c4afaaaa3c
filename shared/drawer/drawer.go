// Package drawer keeps the cash of a drawer right through sessions, force
// closes and rescues.
//
// The cash of one register is a chain of links in the order of its journal: a
// session S, the rescues of S, the next session, and so on. Each link is a
// [Line]:
//
//	expected   = opening + taken + moves
//	difference = counted − expected
//	closing    = counted − drop, or expected − drop where not counted
//
// An opening is compared with the balance brought forward: the closing of the
// link before (as it stands at that moment, open or closed) plus the moves made
// between sessions. From then on the link before closes at exactly the amount
// brought forward, so that no cash is counted twice and none appears from
// nowhere:
//
//	Σ differences over S and its rescues = last closing − (S's opening + all its cash and moves)
//	closing over a drawer's life = first float + Σ cash and moves + Σ opening differences + Σ differences
//
// Every counted method of a register is such a chain. Cash carries on from
// session to session; the others begin at 0 in S and carry through its rescues
// only.
//
// A count holds at its place in the register's journal: what was taken at
// later places is added to it. It is a count of what was in the drawer before
// the drop that goes with it. A late count changes no balance.
//
// The package is pure. What it cannot know is which entries are the drawer's:
// the caller loads a chain, or its tail, hands it the entries in the order of
// the register's journal and keeps what [Chain.Changed].
package drawer

import (
	"errors"
	"slices"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
)

// Errors of changing a chain.
var (
	// ErrFixed is returned for a count of a line whose closing the next
	// opening has taken over: a count would enter its cash a second time.
	ErrFixed = errors.New("the next opening has taken this drawer line over")
	// ErrClosed is returned for money or a count in a line that is closed.
	ErrClosed = errors.New("drawer line is closed")
	// ErrNoLine is returned where a chain has no such line.
	ErrNoLine = errors.New("no such drawer line")
	// ErrOpen is returned for settling a drawer whose last line is not closed:
	// closing that one settles it.
	ErrOpen = errors.New("last drawer line is not closed")
)

// Line is one link: the money of one method of one register in one stay in a
// session, or in a rescue of it. Amounts are minor units.
type Line struct {
	Session string `json:"session"` // in which it is booked: S, or a rescue of S
	Root    string `json:"root"`    // S
	Ordinal int    `json:"ordinal"` // 0 in S, n in the n-th rescue
	// Stay is the place of the entry that opened or joined S. Links are in
	// order of Stay, then Ordinal.
	Stay entry.Place `json:"stay"`
	// Cash says that the chain carries on from session to session.
	Cash bool `json:"cash"`
	// Control says that the drawer is counted; without it the float is the
	// balance brought forward and is not asked for, and no honest till counts.
	Control bool `json:"control"`
	// First says that it is the drawer's first link: what its float has beyond
	// the balance brought forward is money put in, not a difference.
	First bool `json:"first"`

	Brought money.Amount `json:"brought"` // balance brought forward, Between included
	Between money.Amount `json:"between"` // moves between sessions, posted with this line
	Opening money.Amount `json:"opening"`
	Taken   money.Amount `json:"taken"` // payments less change
	Moves   money.Amount `json:"moves"`

	// Counted is the last count, CountedAt its place in the register's journal
	// (zero for a count made at the centre), AfterCount what was taken and
	// moved at later places.
	Counted    *money.Amount `json:"counted,omitempty"`
	CountedAt  entry.Place   `json:"counted_at,omitzero"`
	AfterCount money.Amount  `json:"after_count"`
	// Drop left the drawer at the close, with a destination.
	Drop money.Amount `json:"drop"`
	// Fixed is the closing that the next opening took over.
	Fixed  *money.Amount `json:"fixed,omitempty"`
	Closed bool          `json:"closed"`
}

// Expected returns what the drawer should hold before anything leaves it.
func (l Line) Expected() money.Amount { return l.Opening + l.Taken + l.Moves }

// CountedNow returns the count with the cash that came after it, nil without.
func (l Line) CountedNow() *money.Amount {
	if l.Counted == nil {
		return nil
	}
	n := *l.Counted + l.AfterCount
	return &n
}

// TillCount returns the till's own count with the cash that came after it, nil
// where there is none: what a form for the count of [Line.Close] is filled with.
func (l Line) TillCount() *money.Amount {
	if l.CountedAt.IsZero() {
		return nil
	}
	return l.CountedNow()
}

// Closing returns what the drawer holds after the close. Of a line that is not
// closed it is what the next opening would be compared with.
func (l Line) Closing() money.Amount {
	if l.Fixed != nil {
		return *l.Fixed
	}
	if n := l.CountedNow(); n != nil {
		return *n - l.Drop
	}
	return l.Expected() - l.Drop
}

// Difference returns counted − expected; where the next opening has taken the
// line over, what that leaves.
func (l Line) Difference() money.Amount { return l.Closing() + l.Drop - l.Expected() }

// Late returns the difference of a late count, made after this last line of the
// stay was closed. It is for people: it changes nothing.
func (l Line) Late(counted money.Amount) money.Amount { return counted - l.Closing() }

// OpeningDifference returns by how much the float was off the balance brought
// forward.
func (l Line) OpeningDifference() money.Amount {
	if l.First {
		return 0
	}
	return l.Opening - l.Brought
}

// FirstFloat returns what was put into the drawer at its first opening.
func (l Line) FirstFloat() money.Amount {
	if !l.First {
		return 0
	}
	return l.Opening - l.Brought
}

// Clone returns a copy that shares no amount with l.
func (l Line) Clone() Line {
	for _, p := range []**money.Amount{&l.Counted, &l.Fixed} {
		if *p != nil {
			n := **p
			*p = &n
		}
	}
	return l
}

// Equal reports whether two lines say the same.
func (l Line) Equal(m Line) bool {
	same := func(a, b *money.Amount) bool {
		return a == nil && b == nil || a != nil && b != nil && *a == *b
	}
	if !same(l.Counted, m.Counted) || !same(l.Fixed, m.Fixed) {
		return false
	}
	l.Counted, l.Fixed, m.Counted, m.Fixed = nil, nil, nil, nil
	return l == m
}

// before reports whether l comes before the place of a stay and ordinal.
func (l Line) before(stay entry.Place, ordinal int) bool {
	return l.Stay.Less(stay) || l.Stay == stay && l.Ordinal < ordinal
}

// fits checks that every amount that a line comes to can be told.
func (l Line) fits() error {
	expected, err := money.SumAmounts(l.Opening, l.Taken, l.Moves)
	if err != nil {
		return err
	}
	closing := expected
	if l.Counted != nil {
		if closing, err = money.CheckedAdd(*l.Counted, l.AfterCount); err != nil {
			return err
		}
	}
	if l.Fixed != nil {
		closing = *l.Fixed
	}
	if closing, err = money.CheckedAdd(closing, l.Drop.Neg()); err != nil {
		return err
	}
	_, err = money.SumAmounts(closing, l.Drop, expected.Neg())
	return err
}

// keep keeps a change of the line, unless its amounts do not fit.
func (l *Line) keep(m Line) error {
	if err := m.fits(); err != nil {
		return err
	}
	*l = m
	return nil
}

// Take books cash taken, less change, at a place of the register's journal.
func (l *Line) Take(at entry.Place, amount money.Amount) error {
	return l.book(at, amount, func(m *Line) *money.Amount { return &m.Taken })
}

// Move books a cash move in the session.
func (l *Line) Move(at entry.Place, amount money.Amount) error {
	return l.book(at, amount, func(m *Line) *money.Amount { return &m.Moves })
}

func (l *Line) book(at entry.Place, amount money.Amount, sum func(*Line) *money.Amount) error {
	if l.Closed {
		return ErrClosed
	}
	m := *l
	var err error
	if *sum(&m), err = money.CheckedAdd(*sum(&m), amount); err != nil {
		return err
	}
	// What came after the till's count is added to it.
	if m.Counted != nil && !m.CountedAt.IsZero() && m.CountedAt.Less(at) {
		if m.AfterCount, err = money.CheckedAdd(m.AfterCount, amount); err != nil {
			return err
		}
	}
	return l.keep(m)
}

// Count takes the till's count at its place; of two the later wins. A line that
// the next opening has taken over takes none.
//
// A close-out or leaving names the stay's last count once more. It is a count
// at the place of the close-out only together with all that came into the
// drawer and left it since the count, in whichever session that was booked.
func (l *Line) Count(at entry.Place, amount money.Amount) error {
	switch {
	case l.Closed:
		return ErrClosed
	case l.Fixed != nil:
		return ErrFixed
	case l.Counted != nil && at.Less(l.CountedAt):
		return nil
	}
	// What left in a close-out before is not in the drawer any more; a line's
	// count is what there was before anything left.
	counted, err := money.CheckedAdd(amount, l.Drop)
	if err != nil {
		return err
	}
	m := *l
	m.Counted, m.CountedAt, m.AfterCount = &counted, at, 0
	return l.keep(m)
}

// Leave takes what leaves the drawer at the close.
func (l *Line) Leave(amount money.Amount) error {
	if l.Closed {
		return ErrClosed
	}
	m := *l
	var err error
	if m.Drop, err = money.CheckedAdd(m.Drop, amount); err != nil {
		return err
	}
	return l.keep(m)
}

// By says what a line is closed by.
type By int

// The ways to close a line.
const (
	ByTill       By = iota // by the till's count, expected where there is none
	ByCount                // by a count made at the centre
	ByNotCounted           // at what is expected
)

// Close closes the line. A count made at the centre is, like the till's, of
// what there was before the drop of the close-out; [Chain.Close] takes one of
// the drawer as it stands. Typed into a line that the next opening has taken
// over it is refused with [ErrFixed]; such a line closes at what was taken over
// whatever else is said.
func (l *Line) Close(by By, counted money.Amount) error {
	if l.Closed {
		return ErrClosed
	}
	m := *l
	switch by {
	case ByCount:
		if l.Fixed != nil {
			return ErrFixed
		}
		m.Counted, m.CountedAt, m.AfterCount = &counted, entry.Place{}, 0
	case ByNotCounted:
		if l.Fixed == nil {
			m.Counted, m.CountedAt, m.AfterCount = nil, entry.Place{}, 0
		}
	case ByTill:
	}
	m.Closed = true
	return l.keep(m)
}

// Restore gives a line what a close that was handed back to a restored server
// recorded of it. What is booked in it from then on leads to the recorded
// difference; it is closed when all of it is there.
func (l *Line) Restore(counted *money.Amount, closing money.Amount) {
	l.Counted, l.CountedAt, l.AfterCount = nil, entry.Place{}, 0
	if counted != nil {
		n := *counted
		l.Counted = &n
	}
	l.Fixed = &closing
}

// Move is cash moved between sessions that no line has posted yet.
type Move struct {
	ID     string       `json:"id"`
	At     entry.Place  `json:"at"`
	Amount money.Amount `json:"amount"`
}

// Chain is the chain of one method of one register, or its tail: then it must
// hold the link before everything that is changed, if there is one. Its zero
// value is the chain of a drawer that was never opened.
type Chain struct {
	Lines   []Line `json:"lines"`   // in order of Stay, then Ordinal
	Between []Move `json:"between"` // moves that the next opening takes along
}

// Opening is the opening of a drawer in a session: by opening it or joining.
type Opening struct {
	Session string // S
	Stay    entry.Place
	Cash    bool
	Control bool
	Float   money.Amount
}

// Balance returns the balance brought forward to a place: the closing of the
// link before it and the moves made between since. first says that there is no
// link before.
func (c *Chain) Balance(at entry.Place) (balance money.Amount, first bool) {
	prev := c.last(at, 0)
	if prev >= 0 {
		balance = c.Lines[prev].Closing()
	}
	for _, m := range c.Between {
		if m.At.Less(at) {
			balance += m.Amount
		}
	}
	return balance, prev < 0
}

// Pending returns the moves between sessions that were made since a line and
// that no line has posted yet: cash that the drawer has more, or less, than the
// line's closing. Only the last line has any.
func (c *Chain) Pending(line int) money.Amount {
	return c.moved(line, func(entry.Place) bool { return true })
}

func (c *Chain) moved(line int, made func(entry.Place) bool) money.Amount {
	if line != len(c.Lines)-1 {
		return 0
	}
	var sum money.Amount
	for _, m := range c.Between {
		if made(m.At) {
			sum += m.Amount
		}
	}
	return sum
}

// last returns the index of the last link before a stay and ordinal, or -1.
func (c *Chain) last(stay entry.Place, ordinal int) int {
	for i, l := range slices.Backward(c.Lines) {
		if l.before(stay, ordinal) {
			return i
		}
	}
	return -1
}

// Open makes the line of an opening in S. It fixes the link before at the
// amount brought forward and takes the moves between with it; the ids of those
// are returned, to be posted with the line.
func (c *Chain) Open(o Opening) (at int, posted []string) {
	return c.open(o, o.Session, 0)
}

func (c *Chain) open(o Opening, session string, ordinal int) (at int, posted []string) {
	line := Line{Session: session, Root: o.Session, Ordinal: ordinal, Stay: o.Stay, Cash: o.Cash, Control: o.Control}
	if !o.Cash {
		return c.insert(line), nil
	}
	brought, first := c.Balance(o.Stay)
	line.Brought, line.First, line.Opening = brought, first, o.Float
	if !o.Control {
		line.Opening = brought
	}
	var rest []Move
	for _, m := range c.Between {
		if m.At.Less(o.Stay) {
			line.Between += m.Amount
			posted = append(posted, m.ID)
		} else {
			rest = append(rest, m)
		}
	}
	c.Between = rest
	if prev := c.last(o.Stay, 0); prev >= 0 {
		c.Lines[prev].fix(brought - line.Between)
	}
	return c.insert(line), posted
}

// fix makes a line close at an amount that was taken over from it.
func (l *Line) fix(closing money.Amount) { l.Fixed = &closing }

// insert puts a line into its place. Where a later link was made already, the
// new line closes at what that one took over.
func (c *Chain) insert(line Line) int {
	at := len(c.Lines)
	for i, l := range c.Lines {
		if !l.before(line.Stay, line.Ordinal) {
			at = i
			break
		}
	}
	if at < len(c.Lines) {
		if next := c.Lines[at]; line.Cash || next.Stay == line.Stay {
			line.fix(next.Brought - next.Between)
		}
	}
	c.Lines = slices.Insert(c.Lines, at, line)
	return at
}

// Rescue makes the line of a rescue of S for the stay. It opens with the
// closing of the link before it in S or its rescues; where the stay has no line
// yet, with the float of the stay's own opening. Moves made between sessions
// still wait for the next opening. A link before that is not closed (a session
// that a restored server refills) closes from then on at what was taken over.
func (c *Chain) Rescue(session string, ordinal int, o Opening) (at int, posted []string) {
	prev := c.last(o.Stay, ordinal)
	if prev < 0 || c.Lines[prev].Stay != o.Stay {
		return c.open(o, session, ordinal)
	}
	before := &c.Lines[prev]
	closing := before.Closing()
	if !before.Closed {
		before.fix(closing)
	}
	return c.insert(Line{
		Session: session, Root: o.Session, Ordinal: ordinal, Stay: o.Stay, Cash: before.Cash, Control: before.Control,
		Brought: closing, Opening: closing,
	}), nil
}

// Find returns the index of the line of a session (or rescue) and stay, or -1.
func (c *Chain) Find(session string, stay entry.Place) int {
	return slices.IndexFunc(c.Lines, func(l Line) bool { return l.Session == session && l.Stay == stay })
}

// Count takes the till's count of a line like [Line.Count]. What was moved
// between sessions before the count's place is no part of the line and not in
// the drawer any more: it is added back. The chain must hold all moves that
// wait.
func (c *Chain) Count(line int, at entry.Place, amount money.Amount) error {
	counted, err := money.CheckedAdd(amount, c.moved(line, func(m entry.Place) bool { return m.Less(at) }).Neg())
	if err != nil {
		return err
	}
	return c.Lines[line].Count(at, counted)
}

// Close closes a line like [Line.Close], by a count of the drawer as it stands:
// what left it in the close-out and was moved between sessions since is added
// back. The chain must hold all moves that wait.
func (c *Chain) Close(line int, by By, counted money.Amount) error {
	l := &c.Lines[line]
	if by == ByCount {
		var err error
		if counted, err = money.SumAmounts(counted, l.Drop, c.Pending(line).Neg()); err != nil {
			return err
		}
	}
	return l.Close(by, counted)
}

// Suggested returns what the drawer holds now by the till's own count, nil
// without one: what a form for the count of [Chain.Close] is filled with.
func (c *Chain) Suggested(line int) *money.Amount {
	l := c.Lines[line]
	n := l.TillCount()
	if n == nil {
		return nil
	}
	stands := *n - l.Drop + c.Pending(line)
	return &stands
}

// behind is the ordinal of a settling link whose place is that of the stay
// before it: behind every rescue.
const behind = 1 << 30

// Settle makes an adjusting last link out of a count where no session will
// come: it opens with the balance brought forward and closes with the count. at
// is the place of the last entry that was heard of the register; the moves made
// between sessions are posted with the link. A drawer that has no link but such
// moves begins with its count as first float.
func (c *Chain) Settle(session string, at entry.Place, counted money.Amount) (line int, posted []string, err error) {
	o := Line{Session: session, Root: session, Stay: at, Cash: true, Control: true}
	if last := len(c.Lines) - 1; last >= 0 {
		before := &c.Lines[last]
		if !before.Closed {
			return 0, nil, ErrOpen
		}
		o.Brought = before.Closing()
		if !before.Stay.Less(at) {
			o.Stay, o.Ordinal = before.Stay, max(behind, before.Ordinal+1)
		}
	} else if len(c.Between) == 0 {
		return 0, nil, ErrNoLine
	}
	for _, m := range c.Between {
		o.Between += m.Amount
		posted = append(posted, m.ID)
	}
	o.Brought += o.Between
	o.Opening = o.Brought
	if len(c.Lines) == 0 {
		o.First, o.Opening = true, counted
	}
	if err := o.Close(ByCount, counted); err != nil {
		return 0, nil, err
	}
	c.Between = nil
	c.Lines = append(c.Lines, o)
	return len(c.Lines) - 1, posted, nil
}

// Changed returns the indexes of the lines that are new or not what they were
// before.
func (c *Chain) Changed(before []Line) []int {
	type key struct {
		session string
		stay    entry.Place
	}
	old := make(map[key]*Line, len(before))
	for i := range before {
		old[key{before[i].Session, before[i].Stay}] = &before[i]
	}
	var changed []int
	for i, l := range c.Lines {
		if was := old[key{l.Session, l.Stay}]; was == nil || !was.Equal(l) {
			changed = append(changed, i)
		}
	}
	return changed
}

// TillView is what a till itself says of its drawer over a whole stay: it knows
// of no force close, so S and its rescues are one.
type TillView struct {
	Opening money.Amount `json:"opening"`
	Taken   money.Amount `json:"taken"`
	Moves   money.Amount `json:"moves"`
	Drop    money.Amount `json:"drop"` // what left in close-outs
	// Expected is Opening + Taken + Moves, before anything left.
	Expected money.Amount `json:"expected"`
	// Counted is the till's last count in these terms, nil without one.
	Counted    *money.Amount `json:"counted,omitempty"`
	Difference money.Amount  `json:"difference"` // 0 without a count
}

// Till returns the till's own view of a stay in S and the rescues of S. ok is
// false where the stay has no line.
func (c *Chain) Till(root string, stay entry.Place) (v TillView, ok bool) {
	for _, l := range c.Lines {
		if l.Root != root || l.Stay != stay {
			continue
		}
		if !ok {
			v.Opening, ok = l.Opening, true
		}
		if v.Counted != nil {
			n := *v.Counted + l.Taken + l.Moves
			v.Counted = &n
		}
		if n := l.TillCount(); n != nil {
			counted := *n + v.Drop
			v.Counted = &counted
		}
		v.Taken += l.Taken
		v.Moves += l.Moves
		v.Drop += l.Drop
	}
	v.Expected = v.Opening + v.Taken + v.Moves
	if v.Counted != nil {
		v.Difference = *v.Counted - v.Expected
	}
	return v, ok
}
