// Package sqlstore is the one implementation of package store, in SQL, over
// two dialects: a SQLite file (pure Go) and PostgreSQL (pgx, its native
// protocol). Queries and migrations are written once; what differs stands in
// sqlite*.go and postgres*.go behind the small interface conn.
//
// On PostgreSQL every Update is a transaction of its own: the lock of the
// register's row is what makes batches of one register follow each other. New
// rows go in by COPY, what is put or added by one pipelined batch. On SQLite a
// single writer lets the waiting Updates run one after the other in one
// transaction, each behind a savepoint, and answers them after its commit.
//
// Nothing is acknowledged before it is durable: synchronous=FULL there,
// synchronous_commit here, both checked.
package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"tillandsia/syncserver/internal/store"
)

// Options say which database is opened and how.
type Options struct {
	// Database is the path of a SQLite file, which is made where it is
	// missing, or the URL of a PostgreSQL database (postgres://…).
	Database string
	// Clock tells the time; nil is [time.Now].
	Clock func() time.Time
	// Logger is told of lost connections and reopened files; nil is silence.
	Logger *slog.Logger
	// Connections is how many writing, and how many reading transactions run
	// side by side on PostgreSQL, and how many readers on SQLite; 0 is 8.
	Connections int
	// AllowUnsafe opens a PostgreSQL server that runs with fsync or
	// full_page_writes off. Tests set it.
	AllowUnsafe bool

	// Seams for tests: a fault before a commit and one after it, in place of
	// its answer, and how PostgreSQL is dialled.
	faults *faults
}

// faults are injected around a commit.
type faults struct {
	beforeCommit func() error
	afterCommit  func() error
	dial         pgconn.DialFunc
}

func (f *faults) before() error {
	if f == nil || f.beforeCommit == nil {
		return nil
	}
	return f.beforeCommit()
}

func (f *faults) after() error {
	if f == nil || f.afterCommit == nil {
		return nil
	}
	return f.afterCommit()
}

const defaultConnections = 8

// Open opens a database and brings its tables up to date. Several servers may
// open one PostgreSQL database at once.
func Open(ctx context.Context, o Options) (store.Store, error) {
	if o.Clock == nil {
		o.Clock = time.Now //nolint:forbidigo // the clock of a program that injects none
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Connections <= 0 {
		o.Connections = defaultConnections
	}
	if IsPostgres(o.Database) {
		s, err := openPostgres(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("open PostgreSQL: %w", err)
		}
		return s, nil
	}
	s, err := openSQLite(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("open SQLite file %s: %w", o.Database, err)
	}
	return s, nil
}

// IsPostgres reports whether a database is named by a URL of PostgreSQL.
func IsPostgres(database string) bool {
	return strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://")
}

var errExit = errors.New("the goroutine ended in a transaction")

// guard runs f and turns a panic into an error. Where the goroutine ends in f
// (a test that gives up), done is told and guard does not return.
func guard(f func() error, done func(err error)) {
	err := errExit
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in a transaction: %v\n%s", r, debug.Stack())
		}
		done(err)
	}()
	err = f()
}

// hub tells everyone who waits that something changed.
type hub struct {
	mu   sync.Mutex
	subs map[chan struct{}]struct{}
}

// Changed implements [store.Store].
func (h *hub) Changed() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = make(map[chan struct{}]struct{})
	}
	h.subs[c] = struct{}{}
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subs, c)
	}
}

// wake pokes all; who has not taken the last poke yet needs no second one.
func (h *hub) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.subs {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}
