package store

import (
	"tillandsia/shared/drawer"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/session"
)

// Times in rows are microseconds since 1970 UTC; 0 means never.

// PointOfSale is a place that sells. Settings is catalogue.Settings as JSON.
type PointOfSale struct {
	Code     string
	Name     string
	Settings []byte
	// Users are the ids of those who may sell there.
	Users   []string
	Created int64
	// Locked is how the settings say that it is in use; it is derived from the
	// sessions and not stored.
}

// RegisterState is the life of a register.
type RegisterState string

// The states of a register.
const (
	RegisterNew      RegisterState = "new"      // made, not enrolled
	RegisterEnrolled RegisterState = "enrolled" // has a token
	RegisterRevoked  RegisterState = "revoked"  // may deliver, gets nothing
)

// Register is a register's row.
type Register struct {
	PointOfSale string
	ID          string
	Code        string
	Name        string
	State       RegisterState
	Drawer      bool
	TokenHash   []byte
	Nonce       string
	Generation  uint64
	// GenerationUsed is the highest generation that a batch came with: a
	// register that says hello with a lower one is a copy.
	GenerationUsed uint64
	Created        int64

	// What it told last.
	LastSeen      int64
	Waiting       int
	WaitingAmount money.Amount
	Screen        string
	Program       string
	ClockSkew     int64 // microseconds, register ahead of server > 0
	Connected     string
	// Recovered says that after a restore all that waited at its hello is in.
	Recovered bool
}

// Epoch is one log of a register: one writer, one nonce, one base, one cursor.
type Epoch struct {
	PointOfSale string
	Register    string
	Epoch       uint64
	Nonce       string
	Base        entry.Point
	Checkpoint  entry.Point
	Cursor      entry.Point
	Stable      entry.Point
}

// Outcome is what came of a journal row; every row has exactly one.
type Outcome int16

// The outcomes.
const (
	Applied        Outcome = 1 // booked or done, nothing to remark
	AppliedFlagged Outcome = 2 // booked as far as it is true, and flagged
	NotCounted     Outcome = 3 // flagged, its money not counted
	KnownAlready   Outcome = 4 // the same content is there already
	Accepted       Outcome = 5 // was NotCounted, a manager accepted it as its own
)

// Counts reports whether rows with the outcome count in the books.
func (o Outcome) Counts() bool { return o == Applied || o == AppliedFlagged || o == Accepted }

// JournalKey is the place of a row.
type JournalKey struct {
	PointOfSale string
	Register    string
	entry.Place
}

// JournalRow is an entry as it came.
type JournalRow struct {
	JournalKey
	Op       string // of the innermost original
	Kind     entry.Kind
	Hash     entry.Hash // of Raw
	Content  entry.Hash // of the innermost original
	Raw      []byte
	At       int64 // the register's clock
	Received int64
	Stamped  string // session it is stamped with, "" without
	Booked   string // session it is booked in, "" where in none
	Outcome  Outcome
	Wrapped  bool
}

// KnownOp is what stands under an operation id.
type KnownOp struct {
	JournalKey
	Op      string
	Content entry.Hash
	Outcome Outcome
	Booked  string
}

// BookedRow names an entry booked in a session.
type BookedRow struct {
	JournalKey
	Op      string
	Hash    entry.Hash
	Content entry.Hash
}

// Session is a session or a rescue.
type Session struct {
	PointOfSale  string
	ID           string
	Name         string
	Register     string // that opened it; of a rescue that of its root
	State        session.State
	Root         string // of a rescue the id of the session it rescues
	Ordinal      int    // of a rescue from 1
	BusinessDate string
	OpenedBy     string // user id
	OpenedByName string
	OpenedAt     int64
	// Recovered says that the server made it from an entry that named it.
	Recovered bool
	// OpenHeard says that its opening entry has been applied.
	OpenHeard bool
	// CountedAt is the place of the owner's last count, zero without.
	CountedAt entry.Place
	// CloseOut says that the owner's close-out entry has been applied while it
	// waits in closing_control.
	CloseOut bool
	// CloseOutApproved says that it bore a manager's PIN.
	CloseOutApproved bool
	MaxDifference    money.Amount
	CashControl      bool

	Orders int // number booked
	Total  money.Amount
	Last   int64 // time of the last entry booked or heard

	ClosedBy     string
	ClosedByName string
	ClosedAt     int64
	CloseReason  string
	CloseKind    string // "close_out", "force", "rescue", ""
	Counted      bool   // closed with a count
	Empty        bool   // nothing to post
	Posting      string // number
	Digest       string
	// Refilling says that a restored server took its close back and its list
	// is not whole yet.
	Refilling bool
}

// Stay is a register's stay in a session, from opening or joining.
type Stay struct {
	PointOfSale string
	Session     string // root
	Register    string
	At          entry.Place
	Joined      bool
	User        string
	UserName    string
	Drawer      bool
	CashMethod  string
	Float       money.Amount
	Begun       int64
	Left        bool
	LeftAt      int64
	// Control says that the drawer is counted.
	Control bool
	// Approved says that its close-out or leaving bore a manager's PIN.
	Approved bool
	// Z is what the register has stamped with the session since its last Z of
	// it, as JSON of the ledger; nil for nothing.
	Z []byte
}

// DrawerLine is a link of a drawer's chain as it is stored.
type DrawerLine struct {
	PointOfSale string
	Register    string
	Method      string
	MethodName  string
	Account     string
	drawer.Line
}

// Sum is a fact of a session, added up over its entries: what the posting is
// made of. The key is all but Amount and Count.
type Sum struct {
	PointOfSale string
	Session     string
	Register    string
	Kind        string
	Account     string
	Detail      string
	Amount      money.Amount
	Count       int
}

// Order is an order's head.
type Order struct {
	PointOfSale string
	ID          string
	// Copy is 0, or n for the n-th order with the same id but other content
	// that a manager accepted as a sale of its own.
	Copy      int
	Register  string
	Entry     entry.Place
	Number    string
	Stamped   string
	Session   string // booked
	User      string
	UserName  string
	Customer  string
	At        int64
	Received  int64
	Lines     int
	Net       money.Amount
	Tax       money.Amount
	Total     money.Amount
	Paid      money.Amount
	Change    money.Amount
	Rounding  money.Amount
	Catalogue uint64
	Late      bool // booked in another session than stamped
}

// OrderLine is a line of an order. Taxes is []money.TaxSum as JSON.
type OrderLine struct {
	PointOfSale string
	Order       string
	Copy        int
	No          int
	ID          string
	Product     string
	Name        string
	Category    string
	Qty         money.Qty
	Price       money.Price
	Net         money.Amount
	Tax         money.Amount
	Total       money.Amount
	Account     string
	Taxes       []byte
	RefundOrder string
	RefundLine  string
}

// Payment is a tender of an order or of a receipt of a debt.
type Payment struct {
	PointOfSale string
	Order       string
	Copy        int
	No          int
	Session     string
	Register    string
	Method      string
	Kind        string
	Account     string
	Amount      money.Amount // net of change
	Reference   string
}

// RefundedLine is what was sold and refunded of one line.
type RefundedLine struct {
	Order    string
	Line     string
	Sold     money.Qty // 0 where the sale has not arrived
	Refunded money.Qty // positive
}

// Move is a cash move; Session is where it is booked, "" while it waits for
// its drawer's next line.
type Move struct {
	PointOfSale string
	ID          string
	Register    string
	Entry       entry.Place
	Stamped     string
	Session     string
	Method      string
	CashAccount string
	Account     string
	Reason      string
	Amount      money.Amount
	User        string
	Note        string
	At          int64
	// CloseDrop says that it left the drawer in a close-out.
	CloseDrop bool
	// Between says that it was made between sessions.
	Between bool
}

// HistoryRow is a line of a session's story.
type HistoryRow struct {
	PointOfSale string
	Session     string
	Register    string
	Entry       entry.Place // zero for what was done at the centre
	No          int64       // orders rows of the centre
	Kind        string
	User        string
	UserName    string
	At          int64
	Detail      string // JSON
}

// CountRow is a count as it was made.
type CountRow struct {
	PointOfSale string
	Session     string
	Register    string
	Entry       entry.Place
	Method      string
	Amount      money.Amount
	Attempt     int
	Late        bool
	By          string
	At          int64
}

// ZRow is a Z report of a register. Body is pos.Z as JSON.
type ZRow struct {
	PointOfSale string
	Register    string
	Series      string
	Number      int
	Session     string
	Entry       entry.Place
	Body        []byte
	// Finding is "" where the server's own sums agree.
	Finding string
}

// Posting is a balanced accounting entry.
type Posting struct {
	PointOfSale string
	Session     string
	Number      string
	Year        int
	Tag         string
	Ordinal     int
	Date        string // YYYY-MM-DD
	Text        string
	At          int64
	Hash        string
	Lines       []PostingLine
}

// PostingLine is one line of it.
type PostingLine struct {
	No       int
	Account  string
	Debit    money.Amount
	Credit   money.Amount
	Label    string
	Register string
	Method   string
	Customer string
	Detail   string
}

// Close is the record of a close. Body is pos.Close as JSON.
type Close struct {
	PointOfSale string
	Session     string
	Root        string
	Ordinal     int
	At          int64
	Body        []byte
}

// Flag is something that a person should look at: of an entry, a session or a
// register. Params is JSON.
type Flag struct {
	PointOfSale string
	ID          string
	Code        string
	Register    string
	Entry       entry.Place
	Session     string
	Params      []byte
	At          int64
	Resolved    int64
	ResolvedBy  string
	How         string
}

// Thing is a thing of the catalogue at its revision. PointOfSale is "" where
// it is common to all.
type Thing struct {
	PointOfSale string
	Kind        string
	ID          string
	Revision    uint64
	Deleted     bool
	Body        []byte
	Changed     int64
}

// User is a person. PIN and Password are argon2id in PHC form.
type User struct {
	ID       string
	Login    string
	Name     string
	Role     string
	PIN      string
	Password string
	Active   bool
	Points   []string // codes of points of sale; of an admin all
	Created  int64
}

// Token is a bearer token, stored by its hash.
type Token struct {
	Hash    []byte
	User    string
	Name    string
	Created int64
	Expires int64
}

// Pairing is a pairing code, stored by its hash: short-lived, used once.
type Pairing struct {
	CodeHash    []byte
	PointOfSale string
	Register    string
	Expires     int64
	Used        int64
	Tries       int
}

// OutboxRow says that something changed; Revision is 0 until it is numbered.
type OutboxRow struct {
	PointOfSale string
	ID          string
	Kind        string // "session", "close", "register", "catalogue", "flag"
	Ref         string
	Revision    uint64
	At          int64
}

// AuditRow is an action of a person at the centre. Before and After are JSON.
type AuditRow struct {
	ID     string
	At     int64
	User   string
	Remote string
	Action string
	Target string
	Before []byte
	After  []byte
}

// Changes is a unit of work.
type Changes struct {
	Epochs   []Epoch   // put
	Register *Register // put
	Journal  []JournalRow
	Sessions []Session    // put
	Stays    []Stay       // put
	Drawer   []DrawerLine // put
	Sums     []Sum        // added
	Orders   []Order
	Lines    []OrderLine
	Payments []Payment
	Moves    []Move // new
	// MovesPut are moves between sessions that a line has posted now.
	MovesPut []Move
	History  []HistoryRow
	Counts   []CountRow
	ZReports []ZRow
	Heard    []HeardClose
	Flags    []Flag
	Outbox   []OutboxRow
}

// HeardClose says that a register has journalled a close.
type HeardClose struct {
	PointOfSale string
	Session     string
	Register    string
}

// SessionFilter selects sessions. The zero value is all.
type SessionFilter struct {
	PointsOfSale []string // nil: all
	Register     string
	States       []session.State
	Rescue       *bool
	Name         string // part of the name
	OpenedFrom   int64
	OpenedTo     int64
	// After is the place to go on from: opening time and id of the last one.
	AfterAt int64
	AfterID string
	Limit   int
}

// OrderFilter selects orders. The zero value is all.
type OrderFilter struct {
	PointsOfSale []string
	Session      string // booked in
	Stamped      string
	Register     string
	Number       string // part of it
	Late         *bool
	From, To     int64
	AfterAt      int64
	AfterID      string
	Limit        int
}

// PostingFilter selects postings, by number.
type PostingFilter struct {
	PointsOfSale []string
	From, To     string // dates
	Limit        int
}

// FlagFilter selects flags, newest first.
type FlagFilter struct {
	PointsOfSale []string
	Open         bool
	Session      string
	Limit        int
}
