// Package ledger is the server's application: it enrols registers, takes their
// journals in, books what moves money by the rescue rule, closes sessions and
// rescues, writes their postings, and says what needs attention.
//
// What the rules are stands in the pure packages session, drawer, posting and
// money; the ledger reads the facts, asks the rules, and writes what they say,
// all in one transaction of the store. It keeps no state of a register in
// memory: any server may take the next batch.
//
// Commands take an [Actor]: whether the actor may do it is decided at the edge,
// the ledger records who did it. Errors that a person can do something about
// are of package message.
package ledger

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"tillandsia/shared/message"
	"tillandsia/syncserver/internal/store"
)

// Actor is who does something at the centre.
type Actor struct {
	User   string // user id
	Name   string
	Role   string
	Remote string // address that the command came from
}

// Options are the ledger's settings. The zero value is usable.
type Options struct {
	// Window is how many batches a register may have in flight; 4 if zero.
	Window int
	// RetentionDays is how long registers keep what is stable; 400 if zero.
	RetentionDays int
	// PairingLife is how long a pairing code holds; 15 minutes if zero.
	PairingLife time.Duration
	// Recovering says that the server was restored and has not heard its
	// registers yet: it closes and posts nothing.
	Recovering bool
	// BeforeEntry, if set, is called before an entry is computed; a test
	// panics in it to prove that one entry cannot block its batch.
	BeforeEntry func(op string)
}

// Ledger is the application. Its methods may be called at the same time.
type Ledger struct {
	store   store.Store
	clock   func() time.Time
	log     *slog.Logger
	options Options

	mu       sync.Mutex
	identity *identity
	tries    tries
	shelf    shelf
	sums     sumCache
	failures failures
}

// New returns a ledger over a store. The clock tells the time that rows are
// marked with; it decides nothing about money or sessions.
func New(s store.Store, clock func() time.Time, logger *slog.Logger, options Options) *Ledger {
	if options.Window == 0 {
		options.Window = 4
	}
	if options.RetentionDays == 0 {
		options.RetentionDays = 400
	}
	if options.PairingLife == 0 {
		options.PairingLife = 15 * time.Minute
	}
	return &Ledger{store: s, clock: clock, log: logger, options: options}
}

// The keys of what the server remembers about itself.
const (
	metaSigningKey  = "signing_key"  // seed of the Ed25519 key
	metaIncarnation = "incarnation"  // ULID of this life of the database
	metaTag         = "posting_tag"  // "" for the first life, then B, C, …
	metaCatalogue   = "catalogue_id" // random part of the catalogue's handle
)

type identity struct {
	key         ed25519.PrivateKey
	incarnation string
	tag         string
	handle      string
}

// Start makes the server's identity where there is none yet and reads it. The
// other methods do it when they need it; a program calls it to fail early.
func (l *Ledger) Start(ctx context.Context) error {
	_, err := l.who(ctx)
	return err
}

func (l *Ledger) who(ctx context.Context) (identity, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.identity != nil {
		return *l.identity, nil
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return identity{}, fmt.Errorf("make signing key: %w", err)
	}
	candidates := []struct {
		key   string
		value []byte
	}{
		{metaSigningKey, key.Seed()},
		{metaIncarnation, []byte(ulid.Make().String())},
		{metaTag, []byte{}},
		{metaCatalogue, []byte(ulid.Make().String()[18:])},
	}
	var stands [4][]byte
	err = l.store.Update(ctx, func(tx store.Tx) error {
		for i, c := range candidates {
			var err error
			if stands[i], err = tx.InitMeta(ctx, c.key, c.value); err != nil {
				return fmt.Errorf("keep %s: %w", c.key, err)
			}
		}
		return nil
	})
	if err != nil {
		return identity{}, err
	}
	if len(stands[0]) != ed25519.SeedSize {
		return identity{}, fmt.Errorf("signing key of %d bytes", len(stands[0]))
	}
	l.identity = &identity{
		key:         ed25519.NewKeyFromSeed(stands[0]),
		incarnation: string(stands[1]),
		tag:         string(stands[2]),
		handle:      string(stands[1]) + "." + string(stands[3]),
	}
	return *l.identity, nil
}

// Incarnation names this life of the database; a restored server has another.
func (l *Ledger) Incarnation(ctx context.Context) (string, error) {
	id, err := l.who(ctx)
	return id.incarnation, err
}

// PublicKey returns the key that registers pin when they are enrolled.
func (l *Ledger) PublicKey(ctx context.Context) (ed25519.PublicKey, error) {
	id, err := l.who(ctx)
	if err != nil {
		return nil, err
	}
	return id.key.Public().(ed25519.PublicKey), nil //nolint:errcheck // an Ed25519 key's public key is one
}

// Sign signs a message with the server's key.
func (l *Ledger) Sign(ctx context.Context, text []byte) ([]byte, error) {
	id, err := l.who(ctx)
	if err != nil {
		return nil, err
	}
	return ed25519.Sign(id.key, text), nil
}

func (l *Ledger) now() int64 { return l.clock().UnixMicro() }

// derived returns an id that follows from its parts, so that a transaction
// that runs again, or at another server, writes the same row.
func derived(parts ...any) string {
	h := sha256.New()
	var n [8]byte
	for _, p := range parts {
		s := fmt.Sprint(p)
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return ulid.ULID(h.Sum(nil)[:16]).String()
}

func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// notFound turns the store's answer into one for people.
func notFound(err error, key string, pairs ...string) error {
	if errors.Is(err, store.ErrNotFound) {
		return message.New(message.NotFound, key, pairs...).Wrap(err)
	}
	return err
}

func (l *Ledger) audit(ctx context.Context, tx store.Tx, by Actor, action, target string, after []byte) error {
	return tx.AppendAudit(ctx, store.AuditRow{
		ID: ulid.Make().String(), At: l.now(), User: by.User, Remote: by.Remote,
		Action: action, Target: target, After: after,
	})
}

func outboxRow(pointOfSale, kind, ref string, at int64) store.OutboxRow {
	return store.OutboxRow{PointOfSale: pointOfSale, ID: ulid.Make().String(), Kind: kind, Ref: ref, At: at}
}
