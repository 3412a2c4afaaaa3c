// Package session holds the rules of sessions as pure functions over plain
// values: which states follow which, and where an entry belongs that names a
// session: in it, in a rescue of it, or nowhere yet. It reads nothing and
// decides everything; register and server use the same code.
package session

import "fmt"

// State is the state of a session.
type State string

// The states. A rescue is born opened.
const (
	OpeningControl State = "opening_control" // the float is being counted
	Opened         State = "opened"          // selling
	ClosingControl State = "closing_control" // counted, waiting to be closed
	Closed         State = "closed"          // final
)

// States are all states, in their order.
var States = []State{OpeningControl, Opened, ClosingControl, Closed}

// Event is what happens to a session.
type Event string

// The events.
const (
	Open       Event = "open"        // the float is entered
	Count      Event = "count"       // the drawer is counted to close
	Post       Event = "post"        // the close-out is accepted and posted
	ForceClose Event = "force_close" // a manager closes and posts it
)

// Events are all events, in their order.
var Events = []Event{Open, Count, Post, ForceClose}

// transitions is the state machine: what is not here is refused.
var transitions = map[State]map[Event]State{
	OpeningControl: {Open: Opened, ForceClose: Closed},
	Opened:         {Count: ClosingControl, ForceClose: Closed},
	ClosingControl: {Count: ClosingControl, Post: Closed, ForceClose: Closed},
	Closed:         {},
}

// EventError is returned for an event that a state does not allow.
type EventError struct {
	From  State
	Event Event
}

// Error implements error.
func (e *EventError) Error() string {
	return fmt.Sprintf("a session in state %s takes no %s", e.From, e.Event)
}

// Next returns the state after an event.
func Next(from State, event Event) (State, error) {
	to, ok := transitions[from][event]
	if !ok {
		return from, &EventError{From: from, Event: event}
	}
	return to, nil
}

// CanSell reports whether a register may sell in a session in the state.
func (s State) CanSell() bool { return s == Opened }

// InProgress reports whether others may join it and its point of sale's
// settings are locked by it: a session in closing_control is not in progress
// any more, but locks the settings until it is closed.
func (s State) InProgress() bool { return s == OpeningControl || s == Opened }
