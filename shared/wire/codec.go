package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"tillandsia/shared/entry"
)

// Limits in bytes. They are checked before anything is allocated.
const (
	// MaxControl is the largest control message but for those below.
	MaxControl = 64 << 10
	// MaxLarge is the largest message that carries entries, closes, things of
	// the catalogue or one item for each entry of a batch: a close with a list
	// of 20,000 entries fits into it. What may be longer is split: [Closes]
	// by [SplitCloses], [Catalogue] by [SplitCatalogue].
	MaxLarge = 512 << 10
	// MaxBatch is the most that a batch of more than one entry holds.
	MaxBatch = 256 << 10
	// MaxBatchEntries is the most entries in a batch.
	MaxBatchEntries = 256
	// MaxFrame is the largest frame of any kind: a single entry may be a wrap.
	MaxFrame = MaxLarge + 4096
)

// Errors of the codec.
var (
	// ErrMalformed is returned for bytes that are no message or batch.
	ErrMalformed = errors.New("malformed message")
	// ErrTooLarge is returned for a message or batch above its limit.
	ErrTooLarge = errors.New("message too large")
)

// Unknown is a control message of a type that this version does not know. It
// is ignored.
type Unknown struct{ Type Type }

// kinds makes an empty message of each type, with its limit.
var kinds = map[Type]struct {
	make  func() any
	limit int
}{
	TypeHello:     {func() any { return new(Hello) }, MaxLarge},
	TypeWelcome:   {func() any { return new(Welcome) }, MaxLarge},
	TypeCloses:    {func() any { return new(Closes) }, MaxLarge},
	TypeProbe:     {func() any { return new(Probe) }, MaxControl},
	TypePoints:    {func() any { return new(Points) }, MaxLarge},
	TypeFetch:     {func() any { return new(Fetch) }, MaxControl},
	TypeRenew:     {func() any { return new(Renew) }, MaxControl},
	TypeEpoch:     {func() any { return new(Epoch) }, MaxControl},
	TypeFind:      {func() any { return new(Find) }, MaxControl},
	TypeFound:     {func() any { return new(Found) }, MaxLarge},
	TypeAck:       {func() any { return new(Ack) }, MaxLarge},
	TypeCatalogue: {func() any { return new(Catalogue) }, MaxLarge},
	TypeSession:   {func() any { return new(SessionTold) }, MaxLarge},
	TypeSlow:      {func() any { return new(Slow) }, MaxControl},
	TypeError:     {func() any { return new(Error) }, MaxControl},
}

// TypeOf returns the type of a control message (a pointer to its struct).
func TypeOf(message any) (Type, bool) {
	switch message.(type) {
	case *Hello:
		return TypeHello, true
	case *Welcome:
		return TypeWelcome, true
	case *Closes:
		return TypeCloses, true
	case *Probe:
		return TypeProbe, true
	case *Points:
		return TypePoints, true
	case *Fetch:
		return TypeFetch, true
	case *Renew:
		return TypeRenew, true
	case *Epoch:
		return TypeEpoch, true
	case *Find:
		return TypeFind, true
	case *Found:
		return TypeFound, true
	case *Ack:
		return TypeAck, true
	case *Catalogue:
		return TypeCatalogue, true
	case *SessionTold:
		return TypeSession, true
	case *Slow:
		return TypeSlow, true
	case *Error:
		return TypeError, true
	}
	return "", false
}

// Encode returns a control message as a text frame: its fields with its type
// before them, in one flat object.
func Encode(message any) ([]byte, error) {
	kind, ok := TypeOf(message)
	if !ok {
		return nil, fmt.Errorf("encode message: %T is none", message)
	}
	body, err := json.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	head := `{"type":"` + string(kind) + `"`
	if len(body) > len(`{}`) {
		head += ","
	}
	data := append([]byte(head), body[1:]...)
	if limit := kinds[kind].limit; len(data) > limit {
		return nil, fmt.Errorf("encode %s: %w: %d bytes, at most %d", kind, ErrTooLarge, len(data), limit)
	}
	return data, nil
}

// Decode reads a control message and returns a pointer to its struct, or
// [Unknown]. Unknown fields are ignored.
func Decode(data []byte) (any, error) {
	if len(data) > MaxLarge {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(data))
	}
	var head struct {
		Type Type `json:"type"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if head.Type == "" {
		return nil, fmt.Errorf("%w: no type", ErrMalformed)
	}
	kind, ok := kinds[head.Type]
	if !ok {
		return Unknown{Type: head.Type}, nil
	}
	if len(data) > kind.limit {
		return nil, fmt.Errorf("%w: %s of %d bytes, at most %d", ErrTooLarge, head.Type, len(data), kind.limit)
	}
	message := kind.make()
	if err := json.Unmarshal(data, message); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, head.Type, err)
	}
	return message, nil
}

// Batch is a run of entries of one epoch, from sequence First on, as raw bytes.
type Batch struct {
	Epoch   uint64
	First   uint64
	Entries [][]byte
}

// Last returns the sequence of the batch's last entry.
func (b *Batch) Last() uint64 { return b.First + uint64(len(b.Entries)) - 1 }

// A binary frame:
//
//	offset  size  field
//	0       1     frame version, 1
//	1       1     flags, 0 (bit 0 is kept for compression)
//	2       8     epoch, big-endian
//	10      8     sequence of the first entry
//	18      4     number of entries, 1 … 256
//	22            per entry: 4 bytes length, then its bytes
const (
	frameVersion = 1
	frameHeader  = 22
	lengthPrefix = 4
)

// Size returns the bytes that an entry of n bytes takes in a batch.
func Size(n int) int { return lengthPrefix + n }

// Fits reports whether an entry of n bytes may join a batch that has count
// entries of size bytes already: a larger one travels alone.
func Fits(count, size, n int) bool {
	return count == 0 || count < MaxBatchEntries && size+Size(n) <= MaxBatch
}

// EncodeBatch returns a batch as a binary frame.
func EncodeBatch(b *Batch) ([]byte, error) {
	if len(b.Entries) == 0 || len(b.Entries) > MaxBatchEntries {
		return nil, fmt.Errorf("encode batch: %w: %d entries", ErrMalformed, len(b.Entries))
	}
	size := frameHeader
	for _, raw := range b.Entries {
		if len(raw) == 0 || len(raw) > entry.MaxWrappedSize {
			return nil, fmt.Errorf("encode batch: %w: entry of %d bytes", ErrTooLarge, len(raw))
		}
		size += Size(len(raw))
	}
	if size > MaxFrame || len(b.Entries) > 1 && size > frameHeader+MaxBatch {
		return nil, fmt.Errorf("encode batch: %w: %d bytes", ErrTooLarge, size)
	}
	out := make([]byte, 0, size)
	out = append(out, frameVersion, 0)
	out = binary.BigEndian.AppendUint64(out, b.Epoch)
	out = binary.BigEndian.AppendUint64(out, b.First)
	out = binary.BigEndian.AppendUint32(out, uint32(len(b.Entries)))
	for _, raw := range b.Entries {
		out = binary.BigEndian.AppendUint32(out, uint32(len(raw)))
		out = append(out, raw...)
	}
	return out, nil
}

// DecodeBatch reads a binary frame. The entries are slices of data.
func DecodeBatch(data []byte) (*Batch, error) {
	switch {
	case len(data) > MaxFrame:
		return nil, fmt.Errorf("%w: frame of %d bytes", ErrTooLarge, len(data))
	case len(data) < frameHeader:
		return nil, fmt.Errorf("%w: frame of %d bytes", ErrMalformed, len(data))
	case data[0] != frameVersion:
		return nil, fmt.Errorf("%w: frame version %d", ErrMalformed, data[0])
	case data[1] != 0:
		return nil, fmt.Errorf("%w: frame flags %#x", ErrMalformed, data[1])
	}
	b := &Batch{Epoch: binary.BigEndian.Uint64(data[2:]), First: binary.BigEndian.Uint64(data[10:])}
	count := binary.BigEndian.Uint32(data[18:])
	if count == 0 || count > MaxBatchEntries || b.Epoch == 0 || b.First == 0 || b.First+uint64(count) < b.First {
		return nil, fmt.Errorf("%w: %d entries of epoch %d from %d", ErrMalformed, count, b.Epoch, b.First)
	}
	if count > 1 && len(data) > frameHeader+MaxBatch {
		return nil, fmt.Errorf("%w: batch of %d bytes", ErrTooLarge, len(data))
	}
	b.Entries = make([][]byte, 0, count)
	rest := data[frameHeader:]
	for range count {
		if len(rest) < lengthPrefix {
			return nil, fmt.Errorf("%w: batch ends within an entry", ErrMalformed)
		}
		n := binary.BigEndian.Uint32(rest)
		rest = rest[lengthPrefix:]
		if n == 0 || n > entry.MaxWrappedSize {
			return nil, fmt.Errorf("%w: entry of %d bytes", ErrTooLarge, n)
		}
		if uint64(n) > uint64(len(rest)) {
			return nil, fmt.Errorf("%w: batch ends within an entry", ErrMalformed)
		}
		b.Entries = append(b.Entries, rest[:n:n])
		rest = rest[n:]
	}
	if len(rest) != 0 {
		return nil, fmt.Errorf("%w: %d bytes behind the last entry", ErrMalformed, len(rest))
	}
	return b, nil
}

// room is what a split message leaves for its own fields.
const room = 4 << 10

// SplitCloses returns messages that each fit into a frame and together hand
// back all entries, in their order. Each bears the number that waits.
func SplitCloses(waiting int, entries []RawEntry) []*Closes {
	var all []*Closes
	size := MaxLarge
	for _, e := range entries {
		// Base64 makes four bytes of three.
		n := (len(e.Raw)+2)/3*4 + 256
		if size+n > MaxLarge-room {
			all = append(all, &Closes{Waiting: waiting})
			size = 0
		}
		last := all[len(all)-1]
		last.Entries = append(last.Entries, e)
		size += n
	}
	return all
}

// SplitCatalogue returns a page as messages that each fit into a frame; all
// but the last bear Parts. [JoinCatalogue] makes them one page again.
func SplitCatalogue(page *Catalogue) []*Catalogue {
	parts := []*Catalogue{{Handle: page.Handle, From: page.From, To: page.To, Snapshot: page.Snapshot, More: page.More, Checksum: page.Checksum, Things: []Thing{}}}
	size := 0
	for _, t := range page.Things {
		// What HTML-escapes grows sixfold at worst; few bodies hold any.
		n := escapedLen(t.Body) + len(t.Kind) + 6*len(t.ID) + 96
		if size+n > MaxLarge-room && size > 0 {
			last := *parts[len(parts)-1]
			parts[len(parts)-1].Parts = true
			last.Things, size = []Thing{}, 0
			parts = append(parts, &last)
		}
		last := parts[len(parts)-1]
		last.Things = append(last.Things, t)
		size += n
	}
	return parts
}

// escapedLen returns the length of JSON at most, once it is encoded again.
func escapedLen(raw []byte) int {
	n := len(raw)
	for _, c := range raw {
		switch c {
		case '<', '>', '&':
			n += len(`\u003c`) - 1
		case 0xe2: // U+2028 and U+2029 are escaped too
			n += len(`\u2028`) - 1
		}
	}
	return n
}

// JoinCatalogue adds a part to the page that the parts before it make, nil at
// the beginning. It reports false for a part that does not belong to it, and
// for a page above [MaxPage].
func JoinCatalogue(page, part *Catalogue) (*Catalogue, bool) {
	if page == nil {
		whole := *part
		whole.Parts = false
		return &whole, true
	}
	if part.Handle != page.Handle || part.From != page.From || part.To != page.To ||
		part.Snapshot != page.Snapshot || len(page.Things)+len(part.Things) > MaxPage {
		return nil, false
	}
	page.Things = append(page.Things, part.Things...)
	return page, true
}

// MaxPage is the most things on a page of the catalogue, over all its parts.
const MaxPage = 500_000

// Negotiate returns the highest version that both ends speak, given the
// other's; false where there is none.
func Negotiate(other int) (int, bool) {
	version := min(other, Version)
	return version, version >= Oldest
}

// Subprotocols are the WebSocket subprotocols that this program speaks, the
// highest version first.
func Subprotocols() []string { return []string{Subprotocol} }

// CommonSubprotocol returns the highest subprotocol that is among those
// offered, "" where there is none.
func CommonSubprotocol(offered []string) string {
	for _, own := range Subprotocols() {
		if slices.Contains(offered, own) {
			return own
		}
	}
	return ""
}
