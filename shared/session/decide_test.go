package session_test

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tillandsia/shared/session"
)

// closedS are the facts of a session that is closed and has no rescue.
var closedS = session.Facts{Exists: true, State: session.Closed}

func with(f session.Facts, change func(*session.Facts)) session.Facts {
	change(&f)
	return f
}

func TestDecideMoney(t *testing.T) {
	t.Parallel()
	opened := session.Facts{Exists: true, State: session.Opened}
	tests := []struct {
		name  string
		known session.Known
		s     session.Facts
		want  session.Money
	}{
		// Row 1: already applied.
		{"an order that is known is nothing", session.SameContent, opened, session.Money{Action: session.Nothing}},
		{"an order that is known makes no session", session.SameContent, session.Facts{}, session.Money{Action: session.Nothing}},
		{"an order that is known makes no second rescue", session.SameContent, closedS, session.Money{Action: session.Nothing}},
		{
			"an order that is known is nothing beside an open rescue", session.SameContent,
			with(closedS, func(f *session.Facts) { f.OpenRescue = "R" }),
			session.Money{Action: session.Nothing},
		},
		{
			"an order that is known is flagged for nothing else", session.SameContent,
			session.Facts{Foreign: true, Rescue: true},
			session.Money{Action: session.Nothing},
		},
		// Row 2: other content.
		{
			"other content under a known id is not counted", session.OtherContent, opened,
			session.Money{Action: session.DoNotCount, Flags: []string{session.FlagOtherContent}},
		},
		{
			"other content under a known id makes no session", session.OtherContent,
			session.Facts{},
			session.Money{Action: session.DoNotCount, Flags: []string{session.FlagOtherContent}},
		},
		{
			"other content under a known id makes no rescue", session.OtherContent, closedS,
			session.Money{Action: session.DoNotCount, Flags: []string{session.FlagOtherContent}},
		},
		{
			"other content under a known id is not counted in an open rescue", session.OtherContent,
			with(closedS, func(f *session.Facts) { f.OpenRescue = "R" }),
			session.Money{Action: session.DoNotCount, Flags: []string{session.FlagOtherContent}},
		},
		// Row 3: S is a rescue: as for its root, flagged.
		{
			"stamped with a rescue whose root is open it is booked in the root and flagged", session.New,
			session.Facts{Exists: true, Rescue: true, State: session.Opened},
			session.Money{Action: session.Book, Flags: []string{session.FlagStampRescue}},
		},
		{
			"stamped with an open rescue it is booked there and flagged", session.New,
			session.Facts{Exists: true, Rescue: true, State: session.Closed, OpenRescue: "R"},
			session.Money{Action: session.BookRescue, Session: "R", Flags: []string{session.FlagStampRescue}},
		},
		{
			"stamped with a closed rescue it makes the root's next and is flagged", session.New,
			session.Facts{Exists: true, Rescue: true, State: session.Closed, ClosedRescues: 1},
			session.Money{Action: session.CreateRescue, Ordinal: 2, Flags: []string{session.FlagStampRescue}},
		},
		// Row 4: S is of another point of sale.
		{
			"a session of another point of sale is recovered for the register and flagged", session.New,
			session.Facts{Foreign: true},
			session.Money{Action: session.CreateBook, Flags: []string{session.FlagForeignStamp}},
		},
		{
			"the next order for it is booked in the recovered one and flagged", session.New,
			session.Facts{Foreign: true, Exists: true, State: session.Opened, Recovered: true},
			session.Money{Action: session.Book, Flags: []string{session.FlagForeignStamp}},
		},
		{
			"once the recovered one is closed the rows below apply to it", session.New,
			session.Facts{Foreign: true, Exists: true, State: session.Closed, Recovered: true},
			session.Money{Action: session.CreateRescue, Ordinal: 1, Flags: []string{session.FlagForeignStamp}},
		},
		// Row 5: never heard of.
		{"a session never heard of is created and booked in", session.New, session.Facts{}, session.Money{Action: session.CreateBook}},
		// Row 6: not closed.
		{"an open session takes it", session.New, opened, session.Money{Action: session.Book}},
		{
			"a session whose opening is being counted takes it", session.New,
			session.Facts{Exists: true, State: session.OpeningControl},
			session.Money{Action: session.Book},
		},
		{
			"a session in closing_control takes it: the count stays valid at its place", session.New,
			session.Facts{Exists: true, State: session.ClosingControl},
			session.Money{Action: session.Book},
		},
		{
			"a recovered session takes it", session.New,
			session.Facts{Exists: true, State: session.Opened, Recovered: true},
			session.Money{Action: session.Book},
		},
		// Row 7: on the list of a session that is refilled.
		{
			"on the list of S that is refilled it is booked in S", session.New,
			with(closedS, func(f *session.Facts) { f.Listed = "S" }),
			session.Money{Action: session.BookListed, Session: "S"},
		},
		{
			"on the list of a closed rescue that is refilled it is booked there, not in the open one", session.New,
			with(closedS, func(f *session.Facts) { f.Listed, f.ClosedRescues, f.OpenRescue = "R1", 1, "R2" }),
			session.Money{Action: session.BookListed, Session: "R1"},
		},
		{
			"stamped with a rescue and listed it is booked where it is listed and flagged", session.New,
			with(closedS, func(f *session.Facts) { f.Rescue, f.Listed, f.ClosedRescues = true, "R1", 1 }),
			session.Money{Action: session.BookListed, Session: "R1", Flags: []string{session.FlagStampRescue}},
		},
		// Row 8: an open rescue.
		{
			"an open rescue takes what comes for a closed session", session.New,
			with(closedS, func(f *session.Facts) { f.OpenRescue = "R" }),
			session.Money{Action: session.BookRescue, Session: "R"},
		},
		{
			"the open second rescue takes it though the first is closed", session.New,
			with(closedS, func(f *session.Facts) { f.OpenRescue, f.ClosedRescues = "R2", 1 }),
			session.Money{Action: session.BookRescue, Session: "R2"},
		},
		// Row 9: none open.
		{"a late order opens the first rescue", session.New, closedS, session.Money{Action: session.CreateRescue, Ordinal: 1}},
		{
			"after a closed rescue it opens the second", session.New,
			with(closedS, func(f *session.Facts) { f.ClosedRescues = 1 }),
			session.Money{Action: session.CreateRescue, Ordinal: 2},
		},
		{
			"after five it opens the sixth", session.New,
			with(closedS, func(f *session.Facts) { f.ClosedRescues = 5 }),
			session.Money{Action: session.CreateRescue, Ordinal: 6},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := session.DecideMoney(tt.known, tt.s); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("DecideMoney(%v, %+v) = %+v, want %+v", tt.known, tt.s, got, tt.want)
			}
		})
	}
}

// facts draws facts that can be true together.
func facts() *rapid.Generator[session.Facts] {
	return rapid.Custom(func(t *rapid.T) session.Facts {
		f := session.Facts{Foreign: rapid.Bool().Draw(t, "foreign")}
		if f.Exists = rapid.Bool().Draw(t, "exists"); !f.Exists {
			return f
		}
		f.State = rapid.SampledFrom(session.States).Draw(t, "state")
		f.Recovered = f.Foreign || rapid.Bool().Draw(t, "recovered")
		if f.State != session.Closed {
			return f
		}
		f.Rescue = rapid.Bool().Draw(t, "rescue")
		f.ClosedRescues = rapid.IntRange(0, 3).Draw(t, "closed rescues")
		if rapid.Bool().Draw(t, "open rescue") {
			f.OpenRescue = "R"
		}
		if rapid.IntRange(0, 3).Draw(t, "listed") == 0 {
			f.Listed = "S"
		}
		return f
	})
}

// booked returns the facts after a decision was carried out, with the session
// in which the money is.
func booked(f session.Facts, d session.Money) (after session.Facts, in string) {
	switch d.Action {
	case session.CreateBook:
		f.Exists, f.State, f.Recovered = true, session.Opened, true
		return f, "S"
	case session.Book:
		return f, "S"
	case session.BookListed, session.BookRescue:
		return f, d.Session
	case session.CreateRescue:
		f.OpenRescue = "new"
		return f, "new"
	case session.Nothing, session.DoNotCount:
	}
	return f, ""
}

func TestDecidedTwiceOverItsOwnResultMoneyIsNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := facts().Draw(t, "facts")
		first := session.DecideMoney(session.New, f)
		after, in := booked(f, first)
		if in == "" {
			t.Fatalf("new money is booked nowhere: %+v", first)
		}
		again := session.DecideMoney(session.SameContent, after)
		if again.Action != session.Nothing || len(again.Flags) > 0 {
			t.Fatalf("decided again = %+v, want nothing", again)
		}
		// Another entry of the same session goes where the first one went: no
		// second session, no second rescue.
		next := session.DecideMoney(session.New, after)
		if _, to := booked(after, next); to != in {
			t.Fatalf("first in %s, next in %s (%+v)", in, to, next)
		}
		if next.Action == session.CreateBook || next.Action == session.CreateRescue {
			t.Fatalf("next = %+v, want it booked in what is there", next)
		}
	})
}

func TestMoneyIsNeverBookedInAClosedSessionThatIsNotRefilled(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := facts().Draw(t, "facts")
		d := session.DecideMoney(session.New, f)
		if f.Listed != "" {
			if d.Action != session.BookListed || d.Session != f.Listed {
				t.Fatalf("listed: %+v", d)
			}
		} else if f.Exists && f.State == session.Closed {
			if d.Action != session.BookRescue && d.Action != session.CreateRescue {
				t.Fatalf("closed: %+v", d)
			}
			if d.Action == session.CreateRescue && (f.OpenRescue != "" || d.Ordinal != f.ClosedRescues+1) {
				t.Fatalf("rescue made over %+v: %+v", f, d)
			}
		}
		if got := slices.Contains(d.Flags, session.FlagForeignStamp); got != f.Foreign {
			t.Fatalf("foreign %v, flagged %v", f.Foreign, got)
		}
		if got := slices.Contains(d.Flags, session.FlagStampRescue); got != f.Rescue {
			t.Fatalf("stamped rescue %v, flagged %v", f.Rescue, got)
		}
	})
}

func TestDecideEvent(t *testing.T) {
	t.Parallel()
	unknown := session.Facts{}
	opened := session.Facts{Exists: true, State: session.Opened}
	counted := session.Facts{Exists: true, State: session.ClosingControl}
	recovered := session.Facts{Exists: true, State: session.Opened, Recovered: true}
	rescued := with(closedS, func(f *session.Facts) { f.OpenRescue = "R" })
	type steps = []session.Step
	tests := []struct {
		name  string
		kind  session.EventKind
		f     session.EventFacts
		want  steps
		in    string
		flags []string
	}{
		// opened, unknown / recovered, not closed.
		{
			"an opening never heard of makes the session", session.Opening,
			session.EventFacts{Facts: unknown},
			steps{session.Create, session.BeginStay, session.OpenLine},
			"", nil,
		},
		{
			"the opening of a recovered session fills it in and takes the mark away", session.Opening,
			session.EventFacts{Facts: recovered},
			steps{session.FillIn, session.BeginStay, session.OpenLine},
			"", nil,
		},
		{
			"the opening of a recovered session that was counted is not refused", session.Opening,
			session.EventFacts{Facts: with(counted, func(f *session.Facts) { f.Recovered = true })},
			steps{session.FillIn, session.BeginStay, session.OpenLine},
			"", nil,
		},
		{
			"an opening beside another open session without a count is not refused but flagged", session.Opening,
			session.EventFacts{Facts: unknown, OtherOpen: true},
			steps{session.Create, session.BeginStay, session.OpenLine},
			"",
			[]string{session.FlagTwoSessions},
		},
		{
			"a recovered session filled in beside another open one is flagged", session.Opening,
			session.EventFacts{Facts: recovered, OtherOpen: true},
			steps{session.FillIn, session.BeginStay, session.OpenLine},
			"",
			[]string{session.FlagTwoSessions},
		},
		{
			"an opening of another point of sale makes the recovered one and is flagged", session.Opening,
			session.EventFacts{Facts: session.Facts{Foreign: true}},
			steps{session.Create, session.BeginStay, session.OpenLine},
			"",
			[]string{session.FlagForeignStamp},
		},
		// opened, recovered, closed.
		{
			"the opening of a recovered session that is closed leaves it, the float waits for money", session.Opening,
			session.EventFacts{Facts: with(closedS, func(f *session.Facts) { f.Recovered = true })},
			steps{session.BeginStay, session.KeepFloat},
			"", nil,
		},
		{
			"… and flags no other session", session.Opening,
			session.EventFacts{Facts: with(closedS, func(f *session.Facts) { f.Recovered = true }), OtherOpen: true},
			steps{session.BeginStay, session.KeepFloat},
			"", nil,
		},
		{
			"… and makes no line in its open rescue before money does", session.Opening,
			session.EventFacts{Facts: with(rescued, func(f *session.Facts) { f.Recovered = true })},
			steps{session.BeginStay, session.KeepFloat},
			"", nil,
		},
		// opened, known.
		{
			"an opening that says what is known is nothing", session.Opening,
			session.EventFacts{Facts: opened, OpenHeard: true, SameFacts: true, OtherOpen: true},
			nil, "", nil,
		},
		{
			"an opening of a closed session that says what is known is nothing", session.Opening,
			session.EventFacts{Facts: closedS, OpenHeard: true, SameFacts: true},
			nil, "", nil,
		},
		{
			"an opening with other facts is flagged, the first stands", session.Opening,
			session.EventFacts{Facts: opened, OpenHeard: true},
			steps{session.History},
			"",
			[]string{session.FlagOtherFacts},
		},
		{
			"an opening of a closed session with other facts is flagged, the first stands", session.Opening,
			session.EventFacts{Facts: closedS, OpenHeard: true},
			steps{session.History},
			"",
			[]string{session.FlagOtherFacts},
		},
		// joined, any.
		{
			"joining a session never heard of makes it as recovered", session.Joining,
			session.EventFacts{Facts: unknown},
			steps{session.CreateRecov, session.BeginStay, session.OpenLine},
			"", nil,
		},
		{
			"joining an open session begins a stay with a drawer line", session.Joining,
			session.EventFacts{Facts: opened, OpenHeard: true},
			steps{session.BeginStay, session.OpenLine},
			"", nil,
		},
		{
			"joining offline a session that is being closed begins a stay too", session.Joining,
			session.EventFacts{Facts: counted, OpenHeard: true},
			steps{session.BeginStay, session.OpenLine},
			"", nil,
		},
		{
			"joining a closed session makes no rescue: the float waits for money", session.Joining,
			session.EventFacts{Facts: closedS, OpenHeard: true},
			steps{session.BeginStay, session.KeepFloat},
			"", nil,
		},
		{
			"joining a closed session with an open rescue makes no line in it", session.Joining,
			session.EventFacts{Facts: rescued, OpenHeard: true},
			steps{session.BeginStay, session.KeepFloat},
			"", nil,
		},
		{
			"joining a rescue is as for its root, flagged", session.Joining,
			session.EventFacts{Facts: with(rescued, func(f *session.Facts) { f.Rescue = true }), OpenHeard: true},
			steps{session.BeginStay, session.KeepFloat},
			"",
			[]string{session.FlagStampRescue},
		},
		// counted, not closed.
		{
			"a count brings the session to closing_control and stands in the line", session.Counting,
			session.EventFacts{Facts: opened, Own: true},
			steps{session.History, session.CountLine, session.ToClosing},
			"", nil,
		},
		{
			"a recount stands in the line", session.Counting,
			session.EventFacts{Facts: counted, Own: true},
			steps{session.History, session.CountLine, session.ToClosing},
			"", nil,
		},
		{
			"a count to leave is that of the line, the session goes on", session.Counting,
			session.EventFacts{Facts: opened, ToLeave: true},
			steps{session.History, session.CountLine},
			"", nil,
		},
		{
			"a count to leave leaves the session open even where it is the owner's", session.Counting,
			session.EventFacts{Facts: opened, Own: true, ToLeave: true},
			steps{session.History, session.CountLine},
			"", nil,
		},
		{
			"a joined register's count never closes another's session", session.Counting,
			session.EventFacts{Facts: opened},
			steps{session.History, session.CountLine},
			"", nil,
		},
		// closed, not closed.
		{
			"a close-out within the limit closes and posts", session.Closing,
			session.EventFacts{Facts: counted, Own: true, Within: true},
			steps{session.History, session.CountLine, session.EndStay, session.ToClosing, session.CloseSession},
			"", nil,
		},
		{
			"a close-out without a count before (no cash control) closes and posts", session.Closing,
			session.EventFacts{Facts: opened, Own: true, Within: true},
			steps{session.History, session.CountLine, session.EndStay, session.ToClosing, session.CloseSession},
			"", nil,
		},
		{
			"what leaves the drawer in a close-out leaves its line before it closes", session.Closing,
			session.EventFacts{Facts: counted, Own: true, Within: true, Drop: true},
			steps{session.History, session.CountLine, session.DropLine, session.EndStay, session.ToClosing, session.CloseSession},
			"", nil,
		},
		{
			"a close-out above the limit waits", session.Closing,
			session.EventFacts{Facts: counted, Own: true},
			steps{session.History, session.CountLine, session.EndStay, session.ToClosing, session.Wait},
			"", nil,
		},
		{
			"a close-out with another register joined waits for it", session.Closing,
			session.EventFacts{Facts: counted, Own: true, Within: true, OthersJoined: true, Drop: true},
			steps{session.History, session.CountLine, session.DropLine, session.EndStay, session.ToClosing, session.Wait},
			"", nil,
		},
		// left, not closed.
		{
			"leaving counts the line, the session goes on", session.Leaving,
			session.EventFacts{Facts: opened, Within: true, Drop: true},
			steps{session.History, session.CountLine, session.DropLine, session.EndStay},
			"", nil,
		},
		{
			"the last to leave a session that was closed out closes it", session.Leaving,
			session.EventFacts{Facts: counted, CloseOut: true, Within: true},
			steps{session.History, session.CountLine, session.EndStay, session.CloseSession},
			"", nil,
		},
		{
			"not the last to leave lets it wait", session.Leaving,
			session.EventFacts{Facts: counted, CloseOut: true, Within: true, OthersJoined: true},
			steps{session.History, session.CountLine, session.EndStay, session.Wait},
			"", nil,
		},
		{
			"the last to leave with a line above the limit lets it wait", session.Leaving,
			session.EventFacts{Facts: counted, CloseOut: true},
			steps{session.History, session.CountLine, session.EndStay, session.Wait},
			"", nil,
		},
		{
			"leaving a session whose owner has counted and not closed out does not close it", session.Leaving,
			session.EventFacts{Facts: counted, Within: true},
			steps{session.History, session.CountLine, session.EndStay},
			"", nil,
		},
		// counted, closed, left; closed; an open rescue has a line of this drawer.
		{
			"a late count is that of the open rescue's line", session.Counting,
			session.EventFacts{Facts: rescued, Own: true, RescueLine: true},
			steps{session.History, session.CountRescue},
			"", nil,
		},
		{
			"a late close-out counts the rescue's line, which stays open for the manager", session.Closing,
			session.EventFacts{Facts: rescued, Own: true, RescueLine: true, Within: true},
			steps{session.History, session.CountRescue, session.EndStay},
			"", nil,
		},
		{
			"what leaves in it leaves the rescue's line", session.Closing,
			session.EventFacts{Facts: rescued, Own: true, RescueLine: true, Within: true, Drop: true},
			steps{session.History, session.CountRescue, session.EndStay, session.DropRescue},
			"", nil,
		},
		{
			"a late leaving counts and drops in the rescue's line", session.Leaving,
			session.EventFacts{Facts: rescued, RescueLine: true, Drop: true},
			steps{session.History, session.CountRescue, session.EndStay, session.DropRescue},
			"", nil,
		},
		// … otherwise.
		{
			"without a rescue a count is late", session.Counting,
			session.EventFacts{Facts: closedS, Own: true},
			steps{session.History, session.LateCount},
			"", nil,
		},
		{
			"a rescue without a line of this drawer takes no count of it", session.Counting,
			session.EventFacts{Facts: rescued, Own: true},
			steps{session.History, session.LateCount},
			"", nil,
		},
		{
			"a late close-out without a rescue leaves a late count and makes no rescue", session.Closing,
			session.EventFacts{Facts: closedS, Own: true, Within: true},
			steps{session.History, session.LateCount, session.EndStay},
			"", nil,
		},
		{
			"what leaves in it is a move between sessions", session.Closing,
			session.EventFacts{Facts: closedS, Own: true, Within: true, Drop: true},
			steps{session.History, session.LateCount, session.EndStay, session.DropBetween},
			"", nil,
		},
		{
			"beside a rescue of other drawers only it is a move between sessions too", session.Leaving,
			session.EventFacts{Facts: rescued, Drop: true},
			steps{session.History, session.LateCount, session.EndStay, session.DropBetween},
			"", nil,
		},
		{
			"a drop on the list of a session that is refilled is booked there", session.Closing,
			session.EventFacts{Facts: with(rescued, func(f *session.Facts) { f.Listed = "S" }), Own: true, RescueLine: true, Drop: true},
			steps{session.History, session.CountRescue, session.EndStay, session.DropListed},
			"S", nil,
		},
		// counted, closed, unknown: create as recovered, then as opened.
		{
			"a count of a session never heard of makes it as recovered and counts", session.Counting,
			session.EventFacts{Facts: unknown, Own: true},
			steps{session.CreateRecov, session.History, session.CountLine, session.ToClosing},
			"", nil,
		},
		{
			"a close-out of a session never heard of makes it as recovered and closes it", session.Closing,
			session.EventFacts{Facts: unknown, Own: true, Within: true},
			steps{session.CreateRecov, session.History, session.CountLine, session.EndStay, session.ToClosing, session.CloseSession},
			"", nil,
		},
		{
			"a leaving of a session never heard of makes it as recovered", session.Leaving,
			session.EventFacts{Facts: unknown, Drop: true},
			steps{session.CreateRecov, session.History, session.CountLine, session.DropLine, session.EndStay},
			"", nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := session.EventDecision{Steps: tt.want, Session: tt.in, Flags: tt.flags}
			if got := session.DecideEvent(tt.kind, tt.f); !reflect.DeepEqual(got, want) {
				t.Errorf("DecideEvent(%s, %+v) = %+v, want %+v", tt.kind, tt.f, got, want)
			}
		})
	}
}

func eventFacts() *rapid.Generator[session.EventFacts] {
	return rapid.Custom(func(t *rapid.T) session.EventFacts {
		draw := func(name string) bool { return rapid.Bool().Draw(t, name) }
		f := session.EventFacts{Facts: facts().Draw(t, "facts"), OtherOpen: draw("other open"), Own: draw("own"), Drop: draw("drop")}
		f.ToLeave = !f.Own && draw("to leave")
		f.OthersJoined, f.Within = draw("others joined"), draw("within")
		if f.Exists {
			f.OpenHeard = !f.Recovered
			f.SameFacts = f.OpenHeard && draw("same facts")
			f.CloseOut = f.State == session.ClosingControl && draw("close-out")
		}
		f.RescueLine = f.OpenRescue != "" && draw("rescue line")
		return f
	})
}

var kinds = []session.EventKind{session.Opening, session.Joining, session.Counting, session.Closing, session.Leaving}

func TestEventsKeepTheRulesWhateverTheFacts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := eventFacts().Draw(t, "facts")
		kind := rapid.SampledFrom(kinds).Draw(t, "kind")
		d := session.DecideEvent(kind, f)
		closed := f.Exists && f.State == session.Closed

		if d.Has(session.CloseSession) && (closed || !f.Within || f.OthersJoined || kind != session.Closing && !f.CloseOut) {
			t.Fatalf("closes: %+v", d)
		}
		if closed {
			for _, step := range []session.Step{session.FillIn, session.OpenLine, session.CountLine, session.DropLine, session.ToClosing} {
				if d.Has(step) {
					t.Fatalf("%s changes a closed session: %+v", kind, d)
				}
			}
		}
		if made := d.Has(session.Create) || d.Has(session.CreateRecov); made == f.Exists {
			t.Fatalf("S exists: %v, made: %v", f.Exists, made)
		}
		drops := 0
		for _, step := range []session.Step{session.DropLine, session.DropRescue, session.DropListed, session.DropBetween} {
			if d.Has(step) {
				drops++
			}
		}
		want := 0
		if f.Drop && (kind == session.Closing || kind == session.Leaving) {
			want = 1
		}
		if drops != want {
			t.Fatalf("what leaves the drawer is booked %d times, want %d: %+v", drops, want, d)
		}
		if d.Has(session.CountRescue) && !f.RescueLine || d.Has(session.DropRescue) && !f.RescueLine {
			t.Fatalf("counts or drops in a line that is not there: %+v", d)
		}
		nothing := kind == session.Opening && f.OpenHeard && f.SameFacts
		if len(d.Steps) == 0 != nothing {
			t.Fatalf("%s does nothing: %v, want %v", kind, len(d.Steps) == 0, nothing)
		}
	})
}

func TestDecidedTwiceOverItsOwnResultAnOpeningIsNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := eventFacts().Draw(t, "facts")
		d := session.DecideEvent(session.Opening, f)
		if d.Has(session.Create) || d.Has(session.FillIn) {
			if !f.Exists {
				f.Exists, f.State = true, session.Opened
			}
			f.Recovered, f.OpenHeard, f.SameFacts = false, true, true
		} else {
			return // the first stands, or the session is closed: nothing is changed
		}
		if again := session.DecideEvent(session.Opening, f); len(again.Steps) > 0 || slices.Contains(again.Flags, session.FlagOtherFacts) {
			t.Fatalf("decided again = %+v, want nothing", again)
		}
	})
}

func TestACloseOutDecidedTwiceClosesOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := eventFacts().Draw(t, "facts")
		kind := rapid.SampledFrom([]session.EventKind{session.Closing, session.Leaving}).Draw(t, "kind")
		if !session.DecideEvent(kind, f).Has(session.CloseSession) {
			return
		}
		f.Exists, f.State = true, session.Closed
		if again := session.DecideEvent(kind, f); again.Has(session.CloseSession) || again.Has(session.Wait) {
			t.Fatalf("decided again = %+v, want a late count", again)
		}
	})
}
