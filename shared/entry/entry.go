// Package entry is the codec of a register's journal: one record of it, the
// bytes it travels and is kept as, and the hash chain that links them.
//
// An entry is one JSON object. Its bytes are made once, by [Make], and never
// again: what the register hashes is what it stores, what it sends and what
// the server keeps. The hash of an entry is the SHA-256 of its bytes; every
// entry carries the hash of the one before it, the first of an epoch that of
// its base. The package is pure: it reads no clock and does no input or output.
package entry

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// SchemaVersion is the version of the bodies that this program writes. Every
// version ever written is read for ever; it only grows.
//
//   - 1: 2026-11: the first.
const SchemaVersion = 1

// The largest entries in bytes: what a register makes itself, a close told by
// the server (its list grows with the session: 20,000 entries are 214 KiB),
// and a wrap, which holds any other entry in base64.
const (
	MaxSize        = 160 << 10
	MaxCloseSize   = 256 << 10
	MaxWrappedSize = 352 << 10
)

// Errors of decoding and of checking a chain.
var (
	// ErrMalformed is returned for bytes that are no entry.
	ErrMalformed = errors.New("malformed entry")
	// ErrTooLarge is returned for an entry above the size limits.
	ErrTooLarge = errors.New("entry too large")
	// ErrChain is returned where an entry does not continue the one before it.
	ErrChain = errors.New("broken chain")
)

// Hash is the SHA-256 of an entry's bytes. Its text form is lower-case hex;
// the zero hash, base of a register's first epoch, is 64 zeros.
type Hash [sha256.Size]byte

// HashOf returns the hash of an entry's bytes.
func HashOf(raw []byte) Hash { return sha256.Sum256(raw) }

// String returns the hash in lower-case hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Short returns the first 8 hex digits, as printed on receipts.
func (h Hash) Short() string { return hex.EncodeToString(h[:4]) }

// IsZero reports whether h is the base of a register's first epoch.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) {
	return hex.AppendEncode(make([]byte, 0, 2*len(h)), h[:]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("%w: a hash has %d hex digits, not %d", ErrMalformed, hex.EncodedLen(len(h)), len(text))
	}
	if _, err := hex.Decode(h[:], text); err != nil {
		return fmt.Errorf("%w: hash: %w", ErrMalformed, err)
	}
	return nil
}

// Kind names what an entry records. Kinds are never reused, only added.
type Kind string

// The kinds of entries, with the body in package pos that each carries.
const (
	KindBegun    Kind = "begun"    // pos.Begun: a journal, or an epoch of it, begins
	KindSeries   Kind = "series"   // pos.SeriesBegun: a new number series
	KindOpened   Kind = "opened"   // pos.Opened
	KindJoined   Kind = "joined"   // pos.Joined
	KindLeft     Kind = "left"     // pos.Left
	KindCounted  Kind = "counted"  // pos.Counted
	KindClosed   Kind = "closed"   // pos.Closed
	KindOrder    Kind = "order"    // pos.Order: a sale or a refund
	KindReceipt  Kind = "receipt"  // pos.Receipt: a debt is paid off
	KindMove     Kind = "move"     // pos.Move: cash put in or taken out
	KindRebased  Kind = "rebased"  // pos.Rebased: an entry of a branch, wrapped
	KindClose    Kind = "close"    // pos.Close: a close told by the server
	KindTraining Kind = "training" // pos.Order: a training sale, in no total

	// What moves no money and no state: pos.Event.
	KindSignedIn        Kind = "signed_in"
	KindLocked          Kind = "locked"
	KindPINFailed       Kind = "pin_failed"
	KindLockedOut       Kind = "locked_out"
	KindContinued       Kind = "continued"
	KindOfficeSignedIn  Kind = "office_signed_in"
	KindScreensEnded    Kind = "screens_ended"
	KindPriceOverridden Kind = "price_overridden"
	KindDiscounted      Kind = "discounted"
	KindLineVoided      Kind = "line_voided"
	KindCartDiscarded   Kind = "cart_discarded"
	KindDrawerOpened    Kind = "drawer_opened"
	KindReprinted       Kind = "reprinted"
	KindTrainingOn      Kind = "training_on"
	KindTrainingOff     Kind = "training_off"
	KindSettingsApplied Kind = "settings_applied"
	KindClockJumped     Kind = "clock_jumped"
)

// MovesMoney reports whether entries of the kind move money by themselves and
// are therefore booked by the rescue rule.
func (k Kind) MovesMoney() bool {
	return k == KindOrder || k == KindReceipt || k == KindMove
}

// Place is the place of an entry in its register's journal. Places of one
// register are ordered by epoch, then sequence.
type Place struct {
	Epoch uint64 `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

// Less reports whether p comes before q in the journal.
func (p Place) Less(q Place) bool {
	return p.Epoch < q.Epoch || p.Epoch == q.Epoch && p.Seq < q.Seq
}

// IsZero reports whether p is no place.
func (p Place) IsZero() bool { return p == Place{} }

// Point is a place with the hash of the entry there: a cursor, a base, a
// checkpoint, a head. Sequence 0 of an epoch stands for its base.
type Point struct {
	Epoch uint64 `json:"epoch"`
	Seq   uint64 `json:"seq"`
	Hash  Hash   `json:"hash"`
}

// Place returns the point's place.
func (p Point) Place() Place { return Place{Epoch: p.Epoch, Seq: p.Seq} }

// Entry is one record of a register's journal.
type Entry struct {
	PointOfSale string          `json:"pos"`      // code of the point of sale
	Register    string          `json:"register"` // id of the register
	Epoch       uint64          `json:"epoch"`
	Seq         uint64          `json:"seq"`
	Op          string          `json:"op"` // operation id, ULID; an order's is the order id
	Prev        Hash            `json:"prev"`
	At          time.Time       `json:"at"` // the register's wall clock, UTC
	Kind        Kind            `json:"kind"`
	Version     int             `json:"v"`
	Body        json.RawMessage `json:"body"`
}

// Place returns where the entry stands in its register's journal.
func (e *Entry) Place() Place { return Place{Epoch: e.Epoch, Seq: e.Seq} }

// Make encodes an entry with the given body. It is the only maker of entry
// bytes; the caller keeps and sends exactly these.
func Make(e Entry, body any) ([]byte, Hash, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, Hash{}, fmt.Errorf("encode body of %s entry: %w", e.Kind, err)
	}
	e.Body = raw
	e.At = e.At.UTC()
	e.Version = SchemaVersion
	data, err := json.Marshal(&e)
	if err != nil {
		return nil, Hash{}, fmt.Errorf("encode %s entry: %w", e.Kind, err)
	}
	limit := MaxSize
	switch e.Kind { //nolint:exhaustive // all others share the one limit
	case KindClose:
		limit = MaxCloseSize
	case KindRebased:
		limit = MaxWrappedSize
	}
	if len(data) > limit {
		return nil, Hash{}, fmt.Errorf("%w: %s entry of %d bytes, at most %d", ErrTooLarge, e.Kind, len(data), limit)
	}
	return data, HashOf(data), nil
}

// Decode reads the envelope of an entry. The body stays raw; [Body] reads it.
// Unknown fields and unknown kinds are accepted: a newer register's entries
// are kept and acknowledged even where they are not understood.
func Decode(raw []byte) (Entry, error) {
	if len(raw) > MaxWrappedSize {
		return Entry{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(raw), MaxWrappedSize)
	}
	var e Entry
	if err := json.Unmarshal(raw, &e); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case e.Register == "", e.PointOfSale == "":
		return Entry{}, fmt.Errorf("%w: no register", ErrMalformed)
	case e.Epoch == 0, e.Seq == 0:
		return Entry{}, fmt.Errorf("%w: no place in the journal", ErrMalformed)
	case e.Op == "":
		return Entry{}, fmt.Errorf("%w: no operation id", ErrMalformed)
	case e.Kind == "":
		return Entry{}, fmt.Errorf("%w: no kind", ErrMalformed)
	}
	return e, nil
}

// Body decodes the body of an entry into the type that its kind carries.
func Body[T any](e *Entry) (T, error) {
	var body T
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return body, fmt.Errorf("%w: body of %s entry %d/%d: %w", ErrMalformed, e.Kind, e.Epoch, e.Seq, err)
	}
	return body, nil
}

// Follows checks that e, an entry of the register and epoch of the point
// before it, continues it: next sequence, and its hash. For the first entry of
// an epoch the point is (epoch, 0, hash of the base).
func Follows(before Point, e *Entry) error {
	switch {
	case e.Epoch != before.Epoch:
		return fmt.Errorf("%w: entry of epoch %d after epoch %d", ErrChain, e.Epoch, before.Epoch)
	case e.Seq != before.Seq+1:
		return fmt.Errorf("%w: epoch %d has entry %d after %d", ErrChain, e.Epoch, e.Seq, before.Seq)
	case e.Prev != before.Hash:
		return fmt.Errorf("%w: entry %d/%d names %s as the one before, not %s", ErrChain, e.Epoch, e.Seq, e.Prev.Short(), before.Hash.Short())
	}
	return nil
}
