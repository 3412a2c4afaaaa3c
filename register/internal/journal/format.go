package journal

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
)

// formatVersion is the version of the file's layout; it only grows. A newer
// file is refused, an older one is read.
const formatVersion = 1

// The buckets of journal.db; doc.go says what they hold.
var (
	bucketFile    = []byte("file") // format version and identity
	bucketEntries = []byte("entries")
	bucketEpochs  = []byte("epochs")
	bucketBase    = []byte("base")
	bucketBranch  = []byte("branch")
	bucketCarts   = []byte("carts")
	bucketSync    = []byte("sync")

	bucketOps      = []byte("ops")
	bucketOrders   = []byte("orders")
	bucketRefunds  = []byte("refunds")
	bucketCloses   = []byte("closes")
	bucketSessions = []byte("sessions")
	bucketState    = []byte("state")

	// projections are the buckets that apply fills.
	projections = [][]byte{bucketOps, bucketOrders, bucketRefunds, bucketCloses, bucketSessions, bucketState}
	// truths are all others.
	truths = [][]byte{bucketFile, bucketEntries, bucketEpochs, bucketBase, bucketBranch, bucketCarts, bucketSync}

	keyFormat   = []byte("format")
	keyIdentity = []byte("identity")

	keyAcked       = []byte("acked")
	keyGeneration  = []byte("generation")
	keyIncarnation = []byte("incarnation")
	keyPending     = []byte("pending")

	keySeries   = []byte("series")
	keyCurrent  = []byte("current")
	keyNonce    = []byte("nonce")
	keySettings = []byte("settings")
	keyTraining = []byte("training")

	prefixDrawer = "drawer/"
	prefixTries  = "tries/"
	prefixSpent  = "spent/"
)

// Leading bytes of keys in the buckets that hold two indexes.
const (
	orderByPlace    = 't'
	trainingByPlace = 'u'
	orderByNumber   = 'n'
	closeByPlace    = 'p'
	closeBySession  = 's'
)

// appendFill is how full pages of the buckets that grow at their end are made:
// it halves the file.
const appendFill = 1.0

// root is what buckets stand in: the file, or a bucket of base.
type root interface {
	Bucket(name []byte) *bolt.Bucket
	CreateBucketIfNotExists(name []byte) (*bolt.Bucket, error)
}

// bucket returns a bucket that every journal has.
func bucket(r root, name []byte) (*bolt.Bucket, error) {
	b := r.Bucket(name)
	if b == nil {
		return nil, damaged("bucket %s is missing", name)
	}
	switch string(name) {
	case "entries", "ops", "orders", "sessions":
		b.FillPercent = appendFill
	}
	return b, nil
}

// epochRecord is what is kept of an epoch beside its entries.
type epochRecord struct {
	Nonce      string      `json:"nonce"`
	Base       entry.Point `json:"base"`
	Checkpoint entry.Point `json:"checkpoint"`
}

// ackedRecord is the server's cursor of each epoch, and the money moved by the
// entries at or below them.
type ackedRecord struct {
	Points []entry.Point `json:"points"`
	Moved  money.Amount  `json:"moved"`
}

const placeSize = 16

func placeKey(p entry.Place) []byte {
	k := make([]byte, 0, placeSize)
	k = binary.BigEndian.AppendUint64(k, p.Epoch)
	return binary.BigEndian.AppendUint64(k, p.Seq)
}

func parsePlace(k []byte) (entry.Place, error) {
	if len(k) != placeSize {
		return entry.Place{}, damaged("place of %d bytes", len(k))
	}
	return entry.Place{Epoch: binary.BigEndian.Uint64(k), Seq: binary.BigEndian.Uint64(k[8:])}, nil
}

func epochKey(epoch uint64) []byte { return binary.BigEndian.AppendUint64(nil, epoch) }

func prefixed(prefix byte, rest ...[]byte) []byte {
	k := []byte{prefix}
	for _, r := range rest {
		k = append(k, r...)
	}
	return k
}

// get decodes a JSON value; found is false where there is none.
func get[T any](b *bolt.Bucket, key []byte) (value T, found bool, err error) {
	raw := b.Get(key)
	if raw == nil {
		return value, false, nil
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return value, false, damaged("value of %q: %w", key, err)
	}
	return value, true, nil
}

func put(b *bolt.Bucket, key []byte, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %q: %w", key, err)
	}
	return b.Put(key, raw)
}

// rowVersion begins a row of the list of orders:
//
//	version 1 · kind 1 · Unix milliseconds 8 · total 8 · lines uvarint ·
//	op, number, session, user, customer: length uvarint, bytes
const rowVersion = 1

var rowKinds = []entry.Kind{entry.KindOrder, entry.KindReceipt, entry.KindTraining}

func encodeRow(r OrderRow) []byte {
	b := make([]byte, 0, 160)
	b = append(b, rowVersion)
	for i, kind := range rowKinds {
		if kind == r.Kind {
			b = append(b, byte(i))
		}
	}
	b = binary.BigEndian.AppendUint64(b, uint64(r.At.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Total))
	b = binary.AppendUvarint(b, uint64(r.Lines))
	for _, s := range [...]string{r.Op, r.Number, r.Session, r.User, r.Customer} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func decodeRow(key, b []byte) (OrderRow, error) {
	const fixed = 18
	if len(key) != 1+placeSize || len(b) < fixed || b[0] != rowVersion || int(b[1]) >= len(rowKinds) {
		return OrderRow{}, damaged("row of order at %x", key)
	}
	place, err := parsePlace(key[1:])
	if err != nil {
		return OrderRow{}, err
	}
	r := OrderRow{
		Place: place,
		Kind:  rowKinds[b[1]],
		At:    time.UnixMilli(int64(binary.BigEndian.Uint64(b[2:]))).UTC(),
		Total: money.Amount(binary.BigEndian.Uint64(b[10:])),
	}
	b = b[fixed:]
	lines, n := binary.Uvarint(b)
	if n <= 0 {
		return OrderRow{}, damaged("row of order at %x", key)
	}
	r.Lines = int(lines)
	b = b[n:]
	for _, s := range [...]*string{&r.Op, &r.Number, &r.Session, &r.User, &r.Customer} {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return OrderRow{}, damaged("row of order at %x", key)
		}
		*s = string(b[n : n+int(size)])
		b = b[n+int(size):]
	}
	return r, nil
}

// matches reports whether a row is what a person looks for; q is in lower
// case, amount the amount that q reads as.
func (r OrderRow) matches(q string, amount money.Amount, isAmount bool) bool {
	if q == "" || isAmount && (r.Total == amount || r.Total == -amount) {
		return true
	}
	for _, s := range [...]string{r.Number, r.Customer, r.User} {
		if strings.Contains(strings.ToLower(s), q) {
			return true
		}
	}
	return false
}

// parseAmount reads what a person types for an amount: 12.50, 12,50, 1250
// minor units only where the currency has none.
func parseAmount(q string, digits int) (money.Amount, bool) {
	whole, part, _ := strings.Cut(strings.ReplaceAll(q, ",", "."), ".")
	if whole == "" || len(whole) > 15 || len(part) > digits {
		return 0, false
	}
	var n money.Amount
	for _, c := range whole + part + strings.Repeat("0", digits-len(part)) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + money.Amount(c-'0')
	}
	return n, true
}
