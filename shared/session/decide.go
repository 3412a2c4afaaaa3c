package session

import "slices"

// Flag codes of what the rules remark. Never reused, only added.
const (
	FlagOtherContent = "other_content"   // same id, other content: not counted
	FlagStampRescue  = "stamped_rescue"  // a till never gets a rescue to sell in
	FlagForeignStamp = "foreign_session" // session of another point of sale
	FlagOtherFacts   = "opening_differs" // opened twice with other facts: the first stands
	FlagTwoSessions  = "two_sessions"    // another session of the register is not closed and has no count
)

// Known says what the server holds under an operation or order id.
type Known int

// What it may hold.
const (
	New          Known = iota // nothing
	SameContent               // this very content
	OtherContent              // something else
)

// Facts are what the rules need to know of the session S that an entry is
// stamped with. Where S is a rescue they are those of its root, with Rescue
// set.
type Facts struct {
	// Exists says that the server has S.
	Exists bool
	// Foreign says that S belongs to another point of sale. Once a session was
	// recovered for the register in its stead, the facts are that one's, with
	// Foreign still set.
	Foreign bool
	// Rescue says that the entry named a rescue; the rest is its root's.
	Rescue    bool
	State     State
	Recovered bool
	// Listed is the id of S or of a closed rescue of S that is not sealed
	// again yet after a restore and has the entry's content on its list. Of a
	// close-out or leaving it says where its drop was booked.
	Listed string
	// ClosedRescues is the number of closed rescues of S, OpenRescue the id of
	// the one that is not closed, if any.
	ClosedRescues int
	OpenRescue    string
}

// Action says what to do with an entry that moves money.
type Action string

// The actions.
const (
	Nothing      Action = "nothing"       // it is there already
	DoNotCount   Action = "do_not_count"  // flag it, count nothing
	CreateBook   Action = "create_book"   // create S as recovered and book in it
	Book         Action = "book"          // book in S
	BookListed   Action = "book_listed"   // book in the session whose list has it
	BookRescue   Action = "book_rescue"   // book in the open rescue
	CreateRescue Action = "create_rescue" // create the next rescue and book in it
)

// Money is the decision on an entry that moves money.
type Money struct {
	Action Action
	// Session is the id to book in for BookListed and BookRescue.
	Session string
	// Ordinal is that of the rescue to create.
	Ordinal int
	Flags   []string
}

// DecideMoney is the rescue rule: where an entry that moves money and is
// stamped with S is booked. The first row that fits decides; no clock is asked,
// and no position in a journal. An entry that was flagged and is accepted or
// retried now is [New].
func DecideMoney(known Known, s Facts) Money {
	switch known {
	case SameContent:
		return Money{Action: Nothing}
	case OtherContent:
		return Money{Action: DoNotCount, Flags: []string{FlagOtherContent}}
	case New:
	}
	var flags []string
	if s.Rescue {
		flags = append(flags, FlagStampRescue)
	}
	if s.Foreign {
		flags = append(flags, FlagForeignStamp)
	}
	switch {
	case !s.Exists:
		return Money{Action: CreateBook, Flags: flags}
	case s.State != Closed:
		return Money{Action: Book, Flags: flags}
	case s.Listed != "":
		return Money{Action: BookListed, Session: s.Listed, Flags: flags}
	case s.OpenRescue != "":
		return Money{Action: BookRescue, Session: s.OpenRescue, Flags: flags}
	}
	return Money{Action: CreateRescue, Ordinal: s.ClosedRescues + 1, Flags: flags}
}

// Step is one thing to do with an entry that changes a session's state.
type Step string

// The steps.
const (
	Create       Step = "create"        // create S, opened
	CreateRecov  Step = "create_recov"  // create S as recovered
	FillIn       Step = "fill_in"       // who, when, float: the mark goes
	KeepFloat    Step = "keep_float"    // the float opens this drawer's line in the rescue, when money makes one
	BeginStay    Step = "begin_stay"    // history; the stay begins
	OpenLine     Step = "open_line"     // the drawer line opens with the stay
	History      Step = "history"       // only the story of the session
	CountLine    Step = "count_line"    // the count stands in the drawer line
	ToClosing    Step = "to_closing"    // the session goes to closing_control
	EndStay      Step = "end_stay"      // the stay ends
	CloseSession Step = "close_session" // close and post
	Wait         Step = "wait"          // it stays in closing_control
	CountRescue  Step = "count_rescue"  // count of this drawer's line in the open rescue
	LateCount    Step = "late_count"    // recorded, changes nothing
	DropLine     Step = "drop_line"     // what leaves the drawer, in this line
	DropRescue   Step = "drop_rescue"   // …, in the open rescue's line
	DropListed   Step = "drop_listed"   // …, in the session that a restored server refills: it was booked there
	DropBetween  Step = "drop_between"  // …, as a move between sessions
)

// EventKind is the kind of an entry that changes a session's state.
type EventKind string

// The kinds.
const (
	Opening  EventKind = "opened"
	Joining  EventKind = "joined"
	Counting EventKind = "counted"
	Closing  EventKind = "closed"
	Leaving  EventKind = "left"
)

// EventFacts are what the second table needs to know besides.
type EventFacts struct {
	Facts
	// SameFacts says that an opening of S known already says the same.
	SameFacts bool
	// OpenHeard says that the opening of S has been applied.
	OpenHeard bool
	// OtherOpen says that another session of this register is not closed and
	// has no count.
	OtherOpen bool
	// Own says that the entry's register is the owner of S.
	Own bool
	// ToLeave says that a count is that of a joined register that leaves.
	ToLeave bool
	// OthersJoined says that another register is still joined.
	OthersJoined bool
	// CloseOut says that the owner's close-out was applied already; of the
	// last `left` it decides whether the session closes now.
	CloseOut bool
	// Within says that every line of every register in S is within the limit
	// or bears a manager's PIN, this entry's count included.
	Within bool
	// RescueLine says that the open rescue has a line of this drawer that
	// still takes a count.
	RescueLine bool
	// Drop says that something leaves the drawer in the close-out.
	Drop bool
}

// EventDecision is what to do, in this order. Without steps there is nothing to
// do.
type EventDecision struct {
	Steps []Step
	// Session is the id of the session of DropListed.
	Session string
	Flags   []string
}

// Has reports whether the decision has a step.
func (d EventDecision) Has(step Step) bool {
	return slices.Contains(d.Steps, step)
}

// DecideEvent decides on an entry that moves no money but changes a session.
// None of them is ever refused and none makes a rescue.
func DecideEvent(kind EventKind, f EventFacts) EventDecision {
	var d EventDecision
	if f.Foreign {
		d.Flags = append(d.Flags, FlagForeignStamp)
	}
	if f.Rescue {
		d.Flags = append(d.Flags, FlagStampRescue)
	}
	switch kind {
	case Opening:
		d.opened(f)
	case Joining:
		d.joined(f)
	case Counting:
		d.counted(f)
	case Closing:
		d.closed(f)
	case Leaving:
		d.left(f)
	}
	return d
}

func (d *EventDecision) add(steps ...Step) { d.Steps = append(d.Steps, steps...) }

func (d *EventDecision) opened(f EventFacts) {
	switch {
	case !f.Exists:
		d.add(Create, BeginStay, OpenLine)
	case f.OpenHeard && f.SameFacts:
		return
	case f.OpenHeard:
		d.Flags = append(d.Flags, FlagOtherFacts)
		d.add(History)
		return
	case f.State != Closed:
		d.add(FillIn, BeginStay, OpenLine)
	default:
		d.add(BeginStay, KeepFloat)
	}
	if f.OtherOpen && (!f.Exists || f.State != Closed) {
		d.Flags = append(d.Flags, FlagTwoSessions)
	}
}

func (d *EventDecision) joined(f EventFacts) {
	switch {
	case !f.Exists:
		d.add(CreateRecov, BeginStay, OpenLine)
	case f.State != Closed:
		d.add(BeginStay, OpenLine)
	default:
		d.add(BeginStay, KeepFloat)
	}
}

func (d *EventDecision) counted(f EventFacts) {
	switch {
	case !f.Exists:
		d.add(CreateRecov)
		fallthrough
	case f.State != Closed:
		d.add(History, CountLine)
		if f.Own && !f.ToLeave {
			d.add(ToClosing)
		}
	default:
		d.late(f)
	}
}

func (d *EventDecision) closed(f EventFacts) {
	switch {
	case !f.Exists:
		d.add(CreateRecov)
		fallthrough
	case f.State != Closed:
		d.add(History, CountLine)
		if f.Drop {
			d.add(DropLine)
		}
		d.add(EndStay, ToClosing)
		d.end(f)
	default:
		d.late(f)
		d.add(EndStay)
		d.drop(f)
	}
}

func (d *EventDecision) left(f EventFacts) {
	switch {
	case !f.Exists:
		d.add(CreateRecov)
		fallthrough
	case f.State != Closed:
		d.add(History, CountLine)
		if f.Drop {
			d.add(DropLine)
		}
		d.add(EndStay)
		if f.State == ClosingControl && f.CloseOut {
			d.end(f)
		}
	default:
		d.late(f)
		d.add(EndStay)
		d.drop(f)
	}
}

// end closes a session whose close-out is in, unless somebody has to look.
func (d *EventDecision) end(f EventFacts) {
	if f.Within && !f.OthersJoined {
		d.add(CloseSession)
		return
	}
	d.add(Wait)
}

func (d *EventDecision) late(f EventFacts) {
	if f.OpenRescue != "" && f.RescueLine {
		d.add(History, CountRescue)
		return
	}
	d.add(History, LateCount)
}

func (d *EventDecision) drop(f EventFacts) {
	switch {
	case !f.Drop:
	case f.Listed != "":
		d.Session = f.Listed
		d.add(DropListed)
	case f.OpenRescue != "" && f.RescueLine:
		d.add(DropRescue)
	default:
		d.add(DropBetween)
	}
}
