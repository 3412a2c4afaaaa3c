// Package wire holds the messages of the sync protocol between a register and
// the server, their limits and their codec.
//
// Control messages travel as JSON text frames of the form
// {"type":"hello", …}; entries travel in binary frames as length-prefixed raw
// bytes, so that they are never re-encoded. Every size is checked before
// anything is allocated for it. Unknown types and fields are ignored where
// they are optional, so that the two ends may be of different versions.
package wire

import (
	"encoding/json"
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// Version is the version of the protocol that this program speaks; it grows.
// A server speaks the current and the previous one for everything, and takes
// uploads of every version ever released.
//
//   - 1: 2026-11: the first.
const Version = 1

// Oldest is the oldest version that is still spoken in full.
const Oldest = 1

// Subprotocol is the WebSocket subprotocol of version 1.
const Subprotocol = "tillandsia.sync.v1"

// Type names a control message.
type Type string

// The control messages.
const (
	TypeHello     Type = "hello"     // register: who I am and what I hold
	TypeWelcome   Type = "welcome"   // server: what I hold of you
	TypeCloses    Type = "closes"    // register: closes beyond the cursors
	TypeProbe     Type = "probe"     // register: which hashes do you hold there
	TypePoints    Type = "points"    // server: these
	TypeFetch     Type = "fetch"     // register: send me entries back
	TypeRenew     Type = "renew"     // register: give me a new epoch
	TypeEpoch     Type = "epoch"     // server: it is this one
	TypeFind      Type = "find"      // register: one order by id or number
	TypeFound     Type = "found"     // server: it
	TypeAck       Type = "ack"       // server: committed up to there
	TypeCatalogue Type = "catalogue" // server: a page of the catalogue
	TypeSession   Type = "session"   // server: a session of the point of sale
	TypeSlow      Type = "slow"      // server: come back later
	TypeError     Type = "error"     // server: then it closes
)

// Code is the code of an error message; never reused, only added.
type Code string

// The codes of error messages.
const (
	CodeUnknown     Code = "unknown_register" // no such register: it must be enrolled again
	CodeRevoked     Code = "revoked"          // told once everything is delivered
	CodeVersion     Code = "version"          // no common version
	CodeReplaced    Code = "replaced"         // a newer connection of this register took over
	CodeProtocol    Code = "protocol"         // a message that does not fit
	CodeTooLarge    Code = "too_large"
	CodeChain       Code = "chain" // entries do not continue the cursor: say hello again
	CodeFork        Code = "fork"  // entries at or below the cursor differ from those stored
	CodeUnavailable Code = "unavailable"
	CodeLater       Code = "later" // a handshake row that this version detects but does not heal
)

// EpochHead is what a register holds of one epoch.
type EpochHead struct {
	Epoch uint64 `json:"epoch"`
	// Nonce is that of the instance that writes or wrote the epoch.
	Nonce string      `json:"nonce"`
	Base  entry.Point `json:"base"`
	// Checkpoint is where pruning stopped, (epoch, 0, base hash) without any.
	Checkpoint entry.Point `json:"checkpoint"`
	Head       entry.Point `json:"head"`
}

// Hello is the register's first message.
type Hello struct {
	Version     int         `json:"version"`
	PointOfSale string      `json:"pos"`
	Register    string      `json:"register"`
	Nonce       string      `json:"nonce"`
	Epochs      []EpochHead `json:"epochs"`
	// Generation is the last connection generation that this register stored.
	Generation uint64 `json:"generation"`
	// Incarnation is that of the server last seen.
	Incarnation     string `json:"incarnation,omitempty"`
	CatalogueHandle string `json:"catalogue_handle,omitempty"`
	CatalogueRev    uint64 `json:"catalogue_rev,omitempty"`
	Program         string `json:"program"`
	Screen          string `json:"screen,omitempty"` // address of its screen
	// Waiting and WaitingAmount are what the register knows to be unsent:
	// entries, and the money of those that move some.
	Waiting       int          `json:"waiting"`
	WaitingAmount money.Amount `json:"waiting_amount"`
	Clock         time.Time    `json:"clock"`
}

// EpochCursor is what the server holds of one epoch.
type EpochCursor struct {
	Epoch  uint64      `json:"epoch"`
	Nonce  string      `json:"nonce"`
	Base   entry.Point `json:"base"`
	Cursor entry.Point `json:"cursor"`
	// Stable is how far a verified copy off the machine holds the epoch.
	Stable entry.Point `json:"stable"`
}

// Session is a session of the point of sale as the server knows it.
type Session struct {
	pos.Stamp
	State      string `json:"state"`
	RegisterOf string `json:"register_code"`
	ByName     string `json:"by_name"`
	Rescue     bool   `json:"rescue,omitempty"`
}

// Welcome answers a hello.
type Welcome struct {
	Version         int           `json:"version"`
	Incarnation     string        `json:"incarnation"`
	Generation      uint64        `json:"generation"`
	Epochs          []EpochCursor `json:"epochs"`
	Copy            bool          `json:"copy,omitempty"`
	Window          int           `json:"window"` // batches in flight
	Retention       int           `json:"retention_days"`
	Sessions        []Session     `json:"sessions"` // in progress at the point of sale, no rescues
	CatalogueHandle string        `json:"catalogue_handle"`
	CatalogueRev    uint64        `json:"catalogue_rev"`
	Time            time.Time     `json:"time"`
	Revoked         bool          `json:"revoked,omitempty"`
}

// Closes hands closes back that the server may have lost.
type Closes struct {
	// Waiting is the number of entries that wait, these closes included.
	Waiting int        `json:"waiting"`
	Entries []RawEntry `json:"entries,omitempty"`
}

// RawEntry is an entry's bytes inside a control message.
type RawEntry struct {
	At  entry.Point `json:"at"`
	Raw []byte      `json:"raw"`
}

// Probe asks for the hashes that the server holds.
type Probe struct {
	Epoch uint64   `json:"epoch"`
	Seqs  []uint64 `json:"seqs"`
}

// Points answers a probe with those that it holds.
type Points struct {
	Epoch  uint64        `json:"epoch"`
	Points []entry.Point `json:"points"`
}

// Fetch asks for entries From to To (inclusive) of an epoch; they come as
// binary frames.
type Fetch struct {
	Epoch uint64 `json:"epoch"`
	From  uint64 `json:"from"`
	To    uint64 `json:"to"`
}

// Renew asks for a new epoch on a base.
type Renew struct {
	Nonce string      `json:"nonce"`
	Base  entry.Point `json:"base"`
}

// Epoch grants one; its row is committed.
type Epoch struct {
	Epoch uint64      `json:"epoch"`
	Nonce string      `json:"nonce"`
	Base  entry.Point `json:"base"`
}

// Find asks for one order by id or receipt number.
type Find struct {
	Ask    string `json:"ask"` // id of the question
	Order  string `json:"order,omitempty"`
	Number string `json:"number,omitempty"`
}

// Found answers a find; Raw is empty where the server has none.
type Found struct {
	Ask string `json:"ask"`
	Raw []byte `json:"raw,omitempty"` // the order's entry
	// Refunded is what was refunded of each line so far, by line id.
	Refunded map[string]money.Qty `json:"refunded,omitempty"`
}

// Flag names an entry that was flagged.
type Flag struct {
	entry.Place
	Code string `json:"code"`
}

// Ack says that everything up to Cursor is committed.
type Ack struct {
	Cursor entry.Point `json:"cursor"`
	Stable entry.Point `json:"stable"`
	Window int         `json:"window"`
	Flags  []Flag      `json:"flags,omitempty"`
}

// Thing is one thing of the catalogue; Body is left out where it is deleted.
type Thing struct {
	Kind     string          `json:"kind"`
	ID       string          `json:"id"`
	Revision uint64          `json:"rev"`
	Deleted  bool            `json:"deleted,omitempty"`
	Body     json.RawMessage `json:"body,omitempty"`
}

// Catalogue is a page of the catalogue: everything with a revision above From
// up to To. Snapshot says that the first page replaces all that is held.
type Catalogue struct {
	Handle   string  `json:"handle"`
	From     uint64  `json:"from"`
	To       uint64  `json:"to"`
	Snapshot bool    `json:"snapshot,omitempty"`
	Things   []Thing `json:"things"`
	More     bool    `json:"more,omitempty"`
	// Parts says that more of this very page follows: a revision that changed
	// much does not fit into one message.
	Parts bool `json:"parts,omitempty"`
	// Checksum covers the whole state at To; it stands on the last page.
	Checksum string `json:"checksum,omitempty"`
}

// SessionTold tells a session of the point of sale, or its close.
type SessionTold struct {
	Session Session    `json:"session"`
	Close   *pos.Close `json:"close,omitempty"`
}

// Slow asks the register to come back in so many milliseconds.
type Slow struct {
	Milliseconds int `json:"ms"`
}

// Error ends a connection.
type Error struct {
	Code    Code              `json:"code"`
	Key     string            `json:"key"` // message key of the sentence
	Params  map[string]string `json:"params,omitempty"`
	Message string            `json:"message"` // the sentence in English
}
