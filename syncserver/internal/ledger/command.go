package ledger

import (
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/syncserver/internal/store"
)

// MethodCount is what was counted of one method in one register's drawer.
type MethodCount struct {
	Register string // id
	Method   string
	Amount   money.Amount
}

// CloseRequest is a manager's close of a session.
type CloseRequest struct {
	// Counted says that Counts holds a count of every drawer; otherwise the
	// session is closed not counted: at what is expected, or, where the till
	// has counted already (it waits in closing_control, or a joined register
	// has left), at the till's count.
	Counted bool
	Counts  []MethodCount
	Reason  string
	// Key is the caller's idempotency key. A session is closed once whatever
	// it is; the key is kept in the history.
	Key string
}

// CountChoice says what a rescue is closed by.
type CountChoice string

// The choices.
const (
	TillCount  CountChoice = "till"        // the till's own late count
	OwnCount   CountChoice = "own"         // counted by the manager
	NotCounted CountChoice = "not_counted" // at what is expected
)

// RescueRequest is *close session & post entries* of a rescue.
type RescueRequest struct {
	Choice CountChoice
	Counts []MethodCount // of OwnCount
	Reason string
	Key    string
}

// SettleRequest is an adjusting count of a drawer that no session will settle.
type SettleRequest struct {
	Counts []MethodCount
	Reason string
	Key    string
}

// CloseResult is what a close did.
type CloseResult struct {
	Session store.Session
	Close   pos.Close
	Posting *store.Posting // nil where there was nothing to post
	// Already says that the session had been closed before: this request has
	// changed nothing.
	Already bool
}

// RegisterState is what the server knows of a register when a session is about
// to be closed.
type RegisterState struct {
	RegisterContact
	// Heard is how far each of its epochs is in.
	Heard []entry.Point
	// Waiting and WaitingAmount are what it said was waiting, less what has
	// come in since.
	Waiting       int
	WaitingAmount money.Amount
	// InSession says that it is or was in the session; Left that it has left
	// or closed out.
	InSession bool
	Left      bool
}

// LineView is a drawer line with what it comes to.
type LineView struct {
	Register   string
	Code       string // of the register
	Method     string
	Name       string
	Opening    money.Amount
	Cash       money.Amount
	Moves      money.Amount
	Expected   money.Amount
	Counted    *money.Amount
	Difference money.Amount
	Closing    money.Amount
	// Suggested is the count that the form is filled with: the till's own.
	Suggested *money.Amount
	// Fixed says that the next opening has taken the line over: a count is not
	// asked for and not accepted any more.
	Fixed bool
}

// ClosePreview is what the server knows before a session is closed.
type ClosePreview struct {
	Session   store.Session
	Registers []RegisterState
	Lines     []LineView
	// Posting is the entry as it would be written now, not counted; nil where
	// there is nothing to post.
	Posting *store.Posting
	// Unheard says that entries wait or contact is lost: a count now will show
	// their cash as a gain here and as a loss in the rescue.
	Unheard bool
	// TillCounted says that every drawer has the till's own count.
	TillCounted bool
	AsOf        time.Time
}
