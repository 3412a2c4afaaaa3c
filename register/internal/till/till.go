// Package till is the application of the register: who is signed in, the
// session, orders from the first line to the receipt, cash, counts and
// close-outs. Whatever it answers as done is durable in the journal; it waits
// for no server, except in [Till.Refund] where an order is asked for that this
// register does not know.
//
// A command names its [Actor], who is signed in at one browser. It reads and
// writes in one transaction of the journal, so that what it decided on still
// holds when it is written. The package knows no HTTP and no bbolt.
package till

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"tillandsia/register/internal/catalogue"
	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
)

// Journal is what the till calls of the journal.
type Journal interface {
	// Append runs fn in one transaction; what it adds is durable on return.
	Append(ctx context.Context, fn func(tx *journal.Tx) error) (journal.Result, error)
	View(ctx context.Context, fn func(tx *journal.Tx) error) error
	Read(ctx context.Context, from entry.Place, maxEntries, maxBytes int) ([]journal.Raw, error)
	Epochs() []wire.EpochHead
	Identity() journal.Identity
}

// Catalogue is what the till calls of the catalogue cache.
type Catalogue interface {
	View() *catalogue.View
}

// Uplink is what the till calls of the connection to the server.
type Uplink interface {
	// Sessions are those in progress at the point of sale as last told.
	Sessions() []wire.Session
	// Find waits for the server.
	Find(ctx context.Context, order, number string) (*wire.Found, error)
}

// Options say what a till works on.
type Options struct {
	Journal   Journal
	Catalogue Catalogue
	// Uplink may be nil: then nothing is known of other registers.
	Uplink Uplink
	Clock  func() time.Time
	Logger *slog.Logger
	// Idle is how long a screen may stay untouched before it locks; 0 means 30
	// minutes.
	Idle time.Duration
}

// Till is the register's application. All methods may be called concurrently.
type Till struct {
	journal   Journal
	catalogue Catalogue
	uplink    Uplink
	clock     func() time.Time
	log       *slog.Logger
	idle      time.Duration

	clockWatch clockWatch
	archive    archive
	pinTurn    chan struct{} // one PIN is checked at a time
	settings   atomic.Pointer[parsedSettings]

	mu       sync.Mutex // of what follows; nothing else is locked under it
	browsers map[string]*browser
	signIns  map[string]*signIn // by hash of the token
}

// New returns a till over an open journal.
func New(ctx context.Context, o Options) (*Till, error) {
	if o.Idle == 0 {
		o.Idle = defaultIdle
	}
	t := &Till{
		journal: o.Journal, catalogue: o.Catalogue, uplink: o.Uplink, clock: o.Clock, log: o.Logger, idle: o.Idle,
		pinTurn: make(chan struct{}, 1), browsers: map[string]*browser{}, signIns: map[string]*signIn{},
	}
	err := t.journal.View(ctx, func(tx *journal.Tx) error {
		e, _, err := tx.Entry(tx.Head().Place())
		if errors.Is(err, journal.ErrNotFound) || errors.Is(err, journal.ErrPruned) {
			return nil
		}
		t.clockWatch.last = e.At
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the journal's head: %w", err)
	}
	return t, nil
}

const defaultIdle = 30 * time.Minute

// commit runs fn as one transaction and adds what the clock did.
func (t *Till) commit(ctx context.Context, fn func(tx *journal.Tx) error) (journal.Result, error) {
	now := t.clock()
	result, err := t.journal.Append(ctx, func(tx *journal.Tx) error {
		if detail, jumped := t.clockWatch.jump(now); jumped {
			if _, err := tx.Add(entry.KindClockJumped, t.newID(), pos.Event{Detail: detail}); err != nil {
				return err
			}
		}
		return fn(tx)
	})
	if err == nil {
		t.clockWatch.saw(now)
	}
	return result, err
}

// errNothing ends a transaction that found nothing to change.
var errNothing = errors.New("nothing to change")

// newID returns a new ULID; they ascend within a millisecond.
func (t *Till) newID() string {
	return ulid.MustNew(ulid.Timestamp(t.clock()), ulid.DefaultEntropy()).String()
}

// checkID refuses an id that is no ULID as it is written.
func checkID(id string) error {
	u, err := ulid.ParseStrict(id)
	if err != nil || u.String() != id {
		return message.New(message.Invalid, "till.bad_id", "id", id)
	}
	return nil
}

// clockWatch notices when the wall clock is set: it moves by more than the
// time that went by.
type clockWatch struct {
	mu   sync.Mutex
	last time.Time
}

const clockTolerance = time.Minute

// jump reports whether the clock was set since it was last seen, and how.
func (w *clockWatch) jump(now time.Time) (detail string, jumped bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last.IsZero() {
		return "", false
	}
	wall := now.Round(0).Sub(w.last.Round(0))
	// Without a monotonic reading, as after a restart, only a step back shows.
	passed := now.Sub(w.last)
	off := wall - passed
	if off == 0 && wall < 0 {
		off = wall
	}
	if off.Abs() <= clockTolerance {
		return "", false
	}
	return fmt.Sprintf("%s; last seen %s, now %s", off.Round(time.Second), w.last.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)), true
}

func (w *clockWatch) saw(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = now
}
