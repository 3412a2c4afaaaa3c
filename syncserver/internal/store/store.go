// Package store is the server's memory as an interface of domain operations:
// registers and their epochs, journal rows, sessions with their drawer lines
// and sums, orders, postings, the catalogue and the users.
//
// It has one implementation, package sqlstore, over two dialects: SQLite, the
// embedded default, and PostgreSQL. One conformance suite, package storetest,
// runs over both. Amounts are minor units, times UTC to the microsecond.
//
// Every table of sales starts its keys with the point of sale and uses ids made
// by the register, so that partitioning by point of sale stays open.
package store

import (
	"context"
	"errors"
)

// Errors that callers test for.
var (
	// ErrNotFound is returned where one row was asked for and there is none.
	ErrNotFound = errors.New("not found")
	// ErrConflict is returned where a unique rule refused a row.
	ErrConflict = errors.New("conflict")
	// ErrUnknownOutcome is returned by Update where the commit may or may not
	// have happened. Nothing may be acknowledged or refused on it; the truth
	// is read from the database by the next transaction.
	ErrUnknownOutcome = errors.New("unknown outcome of a commit")
	// ErrClosed is returned by a store that was closed.
	ErrClosed = errors.New("the store is closed")
)

// Store is a database.
type Store interface {
	// Update runs f in one read-write transaction and commits it. On return
	// with nil everything f wrote is durable. f may run more than once (a
	// deadlock, a serialization failure, a unique violation by a concurrent
	// transaction) and must therefore have no effect outside tx. An error of f
	// rolls back and is returned as it is. Concurrent Updates of different
	// registers proceed side by side on PostgreSQL; on SQLite one writer
	// gathers those that wait into one transaction, each in a savepoint of its
	// own. Once a read or a write of tx has failed for another reason than
	// ErrNotFound, the transaction cannot commit, whatever f returns. A panic
	// in f becomes an error. Within f no other Update may be called.
	Update(ctx context.Context, f func(tx Tx) error) error

	// View runs f in one read-only transaction with a stable snapshot. It may
	// run f again where a connection was lost before. Within f no other View
	// may be called.
	View(ctx context.Context, f func(r Reader) error) error

	// Changed returns a channel that receives after something was committed
	// that others wait for (level-triggered, coalesced), on this process and,
	// on PostgreSQL, by NOTIFY outside the writing transaction from others. A
	// lost poke is harmless: readers poll as well. The caller calls cancel.
	Changed() (changed <-chan struct{}, cancel func())

	// Poke tells the others that something changed; called after a commit.
	Poke(ctx context.Context)

	// Identity names the database that this is: of PostgreSQL the system
	// identifier, the timeline and the table's own number, of SQLite the mark
	// in a file beside it. It changes when the database is restored from a
	// backup or copied elsewhere, and may miss that: a hint. The caller keeps
	// it under a key of Meta and compares.
	Identity(ctx context.Context) (string, error)

	// Dialect is "sqlite" or "postgres".
	Dialect() string

	Close() error
}

// Reader reads. Slices come ordered as each method says; a missing single row
// is ErrNotFound.
type Reader interface {
	SessionReader
	RegisterReader
	OrderReader
	CatalogueReader
	AccountReader
	OfficeReader
}

// Tx reads and writes in one transaction.
type Tx interface {
	Reader

	// LockRegister reads a register's row and locks it until the end of the
	// transaction. Every batch, hello and enrolment takes it first.
	LockRegister(ctx context.Context, pointOfSale, id string) (Register, error)
	// LockSessions reads and locks the rows of the sessions with these ids in
	// order of id; of a rescue the caller names the root. Ids that do not
	// exist are left out of the answer. Two transactions that would both
	// create such a session serialize on the unique key.
	LockSessions(ctx context.Context, pointOfSale string, ids []string) (map[string]Session, error)
	// LockPointOfSale reads and locks the row of a point of sale.
	LockPointOfSale(ctx context.Context, code string) (PointOfSale, error)

	// Write writes a unit of work of the ledger. The rows of Journal, Orders,
	// Lines, Payments and Moves are new (a known one is ErrConflict); Sums are
	// added to those stored; of Flags those that are there already are left as
	// they are; all others are put as they stand.
	Write(ctx context.Context, c *Changes) error

	// SetOutcome changes the outcome of a journal row: accept and retry.
	SetOutcome(ctx context.Context, key JournalKey, outcome Outcome, booked string) error
	// ResolveFlag marks a flag as dealt with.
	ResolveFlag(ctx context.Context, pointOfSale, id, by, how string, at int64) error

	// PutRegister inserts or replaces a register's row.
	PutRegister(ctx context.Context, r Register) error
	// PutPointOfSale inserts or replaces a point of sale.
	PutPointOfSale(ctx context.Context, p PointOfSale) error
	// PutThings writes things of the catalogue at the next revision, which it
	// takes from one locked row and returns; Revision of the things given is
	// ignored. Deleted things stay as tombstones.
	PutThings(ctx context.Context, things []Thing) (revision uint64, err error)

	PutUser(ctx context.Context, u User) error
	PutToken(ctx context.Context, t Token) error
	DeleteToken(ctx context.Context, hash []byte) error
	PutPairing(ctx context.Context, p Pairing) error

	// NextPosting takes the next number of a year and incarnation tag,
	// gap-free: it is given back if the transaction rolls back.
	NextPosting(ctx context.Context, year int, tag string) (int, error)
	// PutPosting writes the posting of a session; a second one, or a number
	// twice, is ErrConflict.
	PutPosting(ctx context.Context, p Posting) error
	PutClose(ctx context.Context, c Close) error

	// NumberOutbox gives every outbox row that has none the next revision,
	// from one locked row, in a transaction of its own outside ingest.
	NumberOutbox(ctx context.Context) (last uint64, err error)

	AppendAudit(ctx context.Context, a AuditRow) error
	SetMeta(ctx context.Context, key string, value []byte) error
	// InitMeta sets a key where it was never set and returns what stands under
	// it then: two servers that start at once end with the same value.
	InitMeta(ctx context.Context, key string, value []byte) (stands []byte, err error)
}

// SessionReader reads sessions and what belongs to them.
type SessionReader interface {
	Session(ctx context.Context, pointOfSale, id string) (Session, error)
	// SessionByID finds a session whatever its point of sale.
	SessionByID(ctx context.Context, id string) (Session, error)
	// Sessions lists by filter, newest opening first.
	Sessions(ctx context.Context, f SessionFilter) ([]Session, error)
	// Rescues returns the rescues of the roots, by root and ordinal.
	Rescues(ctx context.Context, pointOfSale string, roots []string) ([]Session, error)
	// Stays returns the stays of the sessions (roots), or of a register from a
	// place on, in the order of the register's journal.
	Stays(ctx context.Context, pointOfSale string, sessions []string) ([]Stay, error)
	// DrawerLines returns all lines of the sessions (rescues by their own id),
	// by register, method, stay and ordinal.
	DrawerLines(ctx context.Context, pointOfSale string, sessions []string) ([]DrawerLine, error)
	// DrawerChain returns the lines of one register, all methods, in chain
	// order (stay, ordinal), from the last `tail` stays on and in any case
	// from the stay of the earliest of the sessions given; tail 0 means all.
	DrawerChain(ctx context.Context, pointOfSale, register string, sessions []string, tail int) ([]DrawerLine, error)
	// BetweenMoves returns the moves between sessions of a register that no
	// line has posted yet, in journal order.
	BetweenMoves(ctx context.Context, pointOfSale, register string) ([]Move, error)
	Sums(ctx context.Context, pointOfSale, session string) ([]Sum, error)
	History(ctx context.Context, pointOfSale, session string) ([]HistoryRow, error)
	Counts(ctx context.Context, pointOfSale, session string) ([]CountRow, error)
	ZReports(ctx context.Context, pointOfSale, session string) ([]ZRow, error)
	// ZNumber returns the Z reports of a register that bear a number of a
	// series: more than one only from the branches of a fork.
	ZNumber(ctx context.Context, pointOfSale, register, series string, number int) ([]ZRow, error)
	// Booked returns place, op and hashes of every entry booked in a session,
	// by register, epoch and sequence.
	Booked(ctx context.Context, pointOfSale, session string) ([]BookedRow, error)
	Posting(ctx context.Context, pointOfSale, session string) (Posting, error)
	Postings(ctx context.Context, f PostingFilter) ([]Posting, error)
	Close(ctx context.Context, pointOfSale, session string) (Close, error)
	// ClosesUnheard returns the closes of a point of sale, roots before their
	// rescues and older first, that a register has not journalled yet, at most
	// limit.
	ClosesUnheard(ctx context.Context, pointOfSale, register string, limit int) ([]Close, error)
}

// RegisterReader reads registers, epochs and journal rows.
type RegisterReader interface {
	Register(ctx context.Context, pointOfSale, id string) (Register, error)
	RegisterByToken(ctx context.Context, tokenHash []byte) (Register, error)
	// Registers lists those of a point of sale by code; of all where it is "".
	Registers(ctx context.Context, pointOfSale string) ([]Register, error)
	// Epochs returns a register's epochs in order.
	Epochs(ctx context.Context, pointOfSale, register string) ([]Epoch, error)
	// AllEpochs returns those of all registers of a point of sale: the
	// positions of a close.
	AllEpochs(ctx context.Context, pointOfSale string) ([]Epoch, error)
	JournalRow(ctx context.Context, key JournalKey) (JournalRow, error)
	// Journal returns raw rows of an epoch from seq on, at most limit.
	Journal(ctx context.Context, pointOfSale, register string, epoch, from uint64, limit int) ([]JournalRow, error)
	// KnownOps returns what is counted or flagged under these operation ids.
	KnownOps(ctx context.Context, pointOfSale string, ops []string) (map[string][]KnownOp, error)
	Pairing(ctx context.Context, codeHash []byte) (Pairing, error)
	Flags(ctx context.Context, f FlagFilter) ([]Flag, error)
	// Flag returns one flag, resolved or not.
	Flag(ctx context.Context, pointOfSale, id string) (Flag, error)
}

// OrderReader reads orders.
type OrderReader interface {
	Order(ctx context.Context, pointOfSale, id string) (Order, error)
	OrderByNumber(ctx context.Context, pointOfSale, number string) (Order, error)
	// NumbersTaken returns the ids of the orders that bear these receipt
	// numbers, by number; numbers that none bears are left out.
	NumbersTaken(ctx context.Context, pointOfSale string, numbers []string) (map[string][]string, error)
	// Orders lists by filter, newest first.
	Orders(ctx context.Context, f OrderFilter) ([]Order, error)
	OrderLines(ctx context.Context, pointOfSale string, orders []string) ([]OrderLine, error)
	OrderPayments(ctx context.Context, pointOfSale string, orders []string) ([]Payment, error)
	// RefundedLines returns, per line of the orders, what was sold of it and
	// what refunds booked so far took back.
	RefundedLines(ctx context.Context, pointOfSale string, orders []string) ([]RefundedLine, error)
	// RefundsOf returns the lines that take back lines of an order, by order.
	RefundsOf(ctx context.Context, pointOfSale, order string) ([]OrderLine, error)
	Moves(ctx context.Context, pointOfSale, session string) ([]Move, error)
}

// CatalogueReader reads the catalogue.
type CatalogueReader interface {
	PointOfSale(ctx context.Context, code string) (PointOfSale, error)
	PointsOfSale(ctx context.Context) ([]PointOfSale, error)
	Revision(ctx context.Context) (uint64, error)
	// Thing reads one thing of a kind; pointOfSale "" is common to all.
	Thing(ctx context.Context, pointOfSale, kind, id string) (Thing, error)
	// Things lists live things of a kind by id, after the id given, at most
	// limit (0: all).
	Things(ctx context.Context, pointOfSale, kind, after string, limit int) ([]Thing, error)
	// ThingsSince returns the things common to all and those of the point of
	// sale with a revision above from, by revision, kind and id; at least
	// limit of them if there are (limit 0: all), and always whole revisions.
	ThingsSince(ctx context.Context, pointOfSale string, from uint64, limit int) ([]Thing, error)
}

// AccountReader reads users and tokens.
type AccountReader interface {
	User(ctx context.Context, id string) (User, error)
	UserByLogin(ctx context.Context, login string) (User, error)
	Users(ctx context.Context) ([]User, error)
	Token(ctx context.Context, hash []byte) (Token, error)
}

// OfficeReader reads what stands around the sales.
type OfficeReader interface {
	// OutboxSince returns numbered rows above a revision, in order.
	OutboxSince(ctx context.Context, from uint64, limit int) ([]OutboxRow, error)
	Audit(ctx context.Context, before int64, limit int) ([]AuditRow, error)
	// Meta returns ErrNotFound where the key was never set.
	Meta(ctx context.Context, key string) ([]byte, error)
}
