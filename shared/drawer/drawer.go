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
// only. The package is pure.
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
	// balance brought forward and is not asked for.
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

// before reports whether l comes before the place of a stay and ordinal.
func (l Line) before(stay entry.Place, ordinal int) bool {
	return l.Stay.Less(stay) || l.Stay == stay && l.Ordinal < ordinal
}

// Move is cash moved between sessions that no line has posted yet.
type Move struct {
	ID     string       `json:"id"`
	At     entry.Place  `json:"at"`
	Amount money.Amount `json:"amount"`
}

// Chain is the chain of one method of one register, or its tail: then it must
// hold the link before everything that is changed, if there is one.
type Chain struct {
	Lines   []Line `json:"lines"`
	Between []Move `json:"between"`
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
		fixed := brought - line.Between
		c.Lines[prev].Fixed = &fixed
	}
	return c.insert(line), posted
}

// insert puts a line into its place. Where a later opening has been applied
// already, the new line closes at what that opening brought forward.
func (c *Chain) insert(line Line) int {
	at := len(c.Lines)
	for i, l := range c.Lines {
		if !l.before(line.Stay, line.Ordinal) {
			at = i
			break
		}
	}
	if line.Cash && at < len(c.Lines) {
		next := c.Lines[at]
		fixed := next.Brought - next.Between
		line.Fixed = &fixed
	}
	c.Lines = slices.Insert(c.Lines, at, line)
	return at
}

// Rescue makes the line of a rescue of S for the stay. It opens with the
// closing of the link before it in S or its rescues; where the stay has no line
// yet, with the float of the stay's own opening.
func (c *Chain) Rescue(session string, ordinal int, o Opening) (at int, posted []string) {
	prev := c.last(o.Stay, ordinal)
	if prev < 0 || c.Lines[prev].Stay != o.Stay {
		return c.open(o, session, ordinal)
	}
	before := c.Lines[prev]
	return c.insert(Line{
		Session: session, Root: o.Session, Ordinal: ordinal, Stay: o.Stay, Cash: before.Cash, Control: before.Control,
		Brought: before.Closing(), Opening: before.Closing(),
	}), nil
}

// Find returns the index of the line of a session (or rescue) and stay, or -1.
func (c *Chain) Find(session string, stay entry.Place) int {
	return slices.IndexFunc(c.Lines, func(l Line) bool { return l.Session == session && l.Stay == stay })
}

// Take books cash taken, less change, at a place of the register's journal.
func (l *Line) Take(at entry.Place, amount money.Amount) error {
	if l.Closed {
		return ErrClosed
	}
	l.Taken += amount
	l.after(at, amount)
	return nil
}

// Move books a cash move in the session.
func (l *Line) Move(at entry.Place, amount money.Amount) error {
	if l.Closed {
		return ErrClosed
	}
	l.Moves += amount
	l.after(at, amount)
	return nil
}

// after adds cash that came after the count to it.
func (l *Line) after(at entry.Place, amount money.Amount) {
	if l.Counted != nil && l.CountedAt.Less(at) {
		l.AfterCount += amount
	}
}

// Count takes a count at its place; of two the later wins. A line that the next
// opening has taken over takes none.
func (l *Line) Count(at entry.Place, amount money.Amount) error {
	switch {
	case l.Closed:
		return ErrClosed
	case l.Fixed != nil:
		return ErrFixed
	case l.Counted != nil && at.Less(l.CountedAt):
		return nil
	}
	l.Counted, l.CountedAt, l.AfterCount = &amount, at, 0
	return nil
}

// Leave takes what leaves the drawer at the close.
func (l *Line) Leave(amount money.Amount) error {
	if l.Closed {
		return ErrClosed
	}
	l.Drop += amount
	return nil
}

// By says what a line is closed by.
type By int

// The ways to close a line.
const (
	ByTill       By = iota // by the till's count, expected where there is none
	ByCount                // by a count made at the centre
	ByNotCounted           // at what is expected
)

// Close closes the line. A count typed into a line that the next opening has
// taken over is refused with [ErrFixed].
func (l *Line) Close(by By, counted money.Amount) error {
	if l.Closed {
		return ErrClosed
	}
	switch by {
	case ByCount:
		if l.Fixed != nil {
			return ErrFixed
		}
		l.Counted, l.CountedAt, l.AfterCount = &counted, entry.Place{}, 0
	case ByNotCounted:
		l.Counted, l.CountedAt, l.AfterCount = nil, entry.Place{}, 0
	case ByTill:
	}
	l.Closed = true
	return nil
}

// Settle makes an adjusting last link out of a count where no session will
// come: it opens with the balance brought forward and closes with the count.
// at is a place behind every entry that was heard of the register.
func (c *Chain) Settle(session string, at entry.Place, counted money.Amount) (line int, posted []string, err error) {
	last := c.last(at, 0)
	if last < 0 {
		return 0, nil, ErrNoLine
	}
	balance, _ := c.Balance(at)
	line, posted = c.Open(Opening{Session: session, Stay: at, Cash: true, Control: true, Float: balance})
	return line, posted, c.Lines[line].Close(ByCount, counted)
}
