package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"tillandsia/syncserver/internal/store"
)

// pgStore is a PostgreSQL database: a pool of connections that write, one of
// connections that read, and two that carry pokes.
type pgStore struct {
	hub
	opt     Options
	writers *pgxpool.Pool
	readers *pgxpool.Pool
	pokes   *pokes
	closing sync.Once
	closed  chan struct{}
}

var _ store.Store = (*pgStore)(nil)

const (
	// pgVersion is the oldest server that is known to work.
	pgVersion = 130_000
	// commitLimit is how long the answer to a COMMIT or ROLLBACK is waited
	// for, whether the caller is still there or not.
	commitLimit = 30 * time.Second
	// idleLimit ends a transaction whose server fell silent in it, so that it
	// does not hold the lock of a register for ever.
	idleLimit = "60s"
	// maxRuns bounds how often an Update runs after deadlocks and lost
	// connections, maxConflicts after unique violations.
	maxRuns      = 8
	maxConflicts = 3
	// migrationLock is the number of the advisory lock of migrations.
	migrationLock = 0x7111_a4d5
)

func openPostgres(ctx context.Context, o Options) (_ *pgStore, err error) {
	s := &pgStore{opt: o, closed: make(chan struct{})}
	config, err := pgxpool.ParseConfig(o.Database)
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(o.Connections)
	config.ConnConfig.RuntimeParams["application_name"] = "tillandsia"
	config.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = idleLimit
	if o.faults != nil && o.faults.dial != nil {
		config.ConnConfig.DialFunc = o.faults.dial
	}
	// Filters make many statements, ingest few.
	config.ConnConfig.StatementCacheCapacity = maxStmts
	readers := config.Copy()
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error { return checkDurable(ctx, c, o.AllowUnsafe) }
	if s.writers, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.writers.Close()
		}
	}()
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	if s.readers, err = pgxpool.NewWithConfig(ctx, readers); err != nil {
		return nil, err
	}
	s.pokes = startPokes(ctx, readers.ConnConfig, o.Logger, s.wake)
	return s, nil
}

// checkDurable refuses a connection on which a commit that was answered may be
// forgotten.
func checkDurable(ctx context.Context, c *pgx.Conn, allowUnsafe bool) error {
	var commit, fsync, pages string
	var version int
	read := func() error {
		return c.QueryRow(ctx, `SELECT current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes'),
			current_setting('server_version_num')::int`).Scan(&commit, &fsync, &pages, &version)
	}
	if err := read(); err != nil {
		return fmt.Errorf("read the server's settings: %w", err)
	}
	if version < pgVersion {
		return fmt.Errorf("PostgreSQL of version %d is older than %d", version/10_000, pgVersion/10_000)
	}
	safe := func() bool { return commit == "on" || commit == "remote_apply" }
	if !safe() {
		if _, err := c.Exec(ctx, "SET synchronous_commit = on"); err != nil {
			return fmt.Errorf("set synchronous_commit: %w", err)
		}
		if err := read(); err != nil {
			return fmt.Errorf("read the server's settings: %w", err)
		}
	}
	if !safe() {
		return fmt.Errorf("the server keeps synchronous_commit at %s; it must be on", commit)
	}
	if !allowUnsafe && (fsync != "on" || pages != "on") {
		return fmt.Errorf("the server runs with fsync %s and full_page_writes %s; both must be on, or a power cut loses sales that were acknowledged", fsync, pages)
	}
	return nil
}

// migrate brings the tables up to date, one server at a time.
func (s *pgStore) migrate(ctx context.Context) error {
	return pgx.BeginFunc(ctx, s.writers, func(p pgx.Tx) error {
		t := &pgTx{c: p.Conn()}
		if _, err := t.exec(ctx, "SELECT pg_advisory_xact_lock($1)", migrationLock); err != nil {
			return fmt.Errorf("lock migrations: %w", err)
		}
		return migrate(ctx, t, dialectPostgres, t.script, s.opt.Clock())
	})
}

// Dialect implements [store.Store].
func (s *pgStore) Dialect() string { return dialectPostgres }

// Identity implements [store.Store]. A dump restored into another or the same
// database makes the table anew, which gives it another number.
func (s *pgStore) Identity(ctx context.Context) (string, error) {
	var id string
	err := s.readers.QueryRow(ctx, `SELECT system_identifier || '/' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/' || 'meta'::regclass::oid
		FROM pg_control_system()`).Scan(&id)
	if err != nil {
		return "", fmt.Errorf("read identity of the database: %w", err)
	}
	return id, nil
}

// Poke implements [store.Store].
func (s *pgStore) Poke(context.Context) {
	s.wake()
	s.pokes.send()
}

// errUnsent says that a transaction's connection was lost before its COMMIT
// was sent: it did not happen.
var errUnsent = errors.New("the connection was lost before the commit")

// Update implements [store.Store].
func (s *pgStore) Update(ctx context.Context, f func(store.Tx) error) error {
	conflicts := 0
	for run := 1; ; run++ {
		err, spoilt := s.update(ctx, f)
		switch {
		case err == nil, ctx.Err() != nil, run == maxRuns, errors.Is(err, store.ErrUnknownOutcome):
			return err
		case errors.Is(spoilt, store.ErrConflict):
			// Another transaction may have written the row since f looked.
			if conflicts++; conflicts == maxConflicts {
				return err
			}
		case pgCode(spoilt) == codeDeadlock, pgCode(spoilt) == codeSerialization, errors.Is(spoilt, errUnsent):
		default:
			return err
		}
		wait := time.NewTimer(rand.N(time.Millisecond << run)) //nolint:gosec // no secret
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return err
		}
	}
}

// update runs f in a transaction once. spoilt is what made the transaction
// impossible, whatever f made of it.
func (s *pgStore) update(ctx context.Context, f func(store.Tx) error) (err, spoilt error) {
	c, err := s.acquire(ctx, s.writers)
	if err != nil {
		return err, nil
	}
	defer c.Release() // which closes a connection that is not idle
	if err := simple(ctx, c.Conn(), "begin isolation level read committed"); err != nil {
		if c.Conn().IsClosed() {
			// The server was restarted: the others in the pool are lost too.
			s.writers.Reset()
			return err, fmt.Errorf("%w: %w", errUnsent, err)
		}
		return err, err
	}
	t := &pgTx{c: c.Conn()}
	guard(func() error { return f(tx{t}) }, func(ferr error) {
		err = ferr
		t.over = true
		if err == nil {
			err = t.failed
		}
		if err != nil {
			rollback(ctx, t.c)
		}
	})
	if err != nil {
		spoilt = t.failed
		if spoilt != nil && t.c.IsClosed() && ctx.Err() == nil {
			spoilt = fmt.Errorf("%w: %w", errUnsent, spoilt)
		}
		return err, spoilt
	}
	return s.commit(ctx, t.c)
}

// commit commits. The caller may leave, but not with the answer.
func (s *pgStore) commit(ctx context.Context, c *pgx.Conn) (err, spoilt error) {
	if err := s.opt.faults.before(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, errors.Join(err, c.Close(ctx))), nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitLimit)
	defer cancel()
	results, err := c.PgConn().Exec(ctx, "commit").ReadAll()
	if err == nil {
		err = s.opt.faults.after()
	}
	if err == nil {
		if tag := results[0].CommandTag.String(); tag != "COMMIT" {
			err := fmt.Errorf("commit was answered by %s", tag)
			return err, err
		}
		return nil, nil
	}
	// The server answers a commit that it refuses by these classes; whatever
	// else comes leaves it open.
	if code := pgCode(err); len(code) == 5 && (code[:2] == "23" || code[:2] == "40") && !c.IsClosed() {
		err = pgError(err)
		return err, err
	}
	s.opt.Logger.Error("unknown outcome of a commit", "error", err)
	// Closed, so that the server ends the transaction if it is still open.
	return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, errors.Join(err, c.Close(ctx))), nil
}

// simple runs a statement by the simple protocol.
func simple(ctx context.Context, c *pgx.Conn, sql string) error {
	_, err := c.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

// rollback ends a transaction. Where it cannot, the connection is closed,
// which does the same.
func rollback(ctx context.Context, c *pgx.Conn) {
	if c.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitLimit)
	defer cancel()
	if err := simple(ctx, c, "rollback"); err != nil {
		_ = c.Close(ctx) // it is of no use either way
	}
}

func (s *pgStore) acquire(ctx context.Context, p *pgxpool.Pool) (*pgxpool.Conn, error) {
	select {
	case <-s.closed:
		return nil, store.ErrClosed
	default:
	}
	c, err := p.Acquire(ctx)
	if err == nil {
		return c, nil
	}
	select {
	case <-s.closed:
		return nil, store.ErrClosed
	default:
		return nil, fmt.Errorf("reach PostgreSQL: %w", err)
	}
}

// View implements [store.Store].
func (s *pgStore) View(ctx context.Context, f func(store.Reader) error) error {
	for run := 1; ; run++ {
		err, lost := s.view(ctx, f)
		if !lost || run == maxConflicts || ctx.Err() != nil {
			return err
		}
	}
}

// view runs f once; lost says that the connection had been lost before f ran.
func (s *pgStore) view(ctx context.Context, f func(store.Reader) error) (err error, lost bool) {
	c, err := s.acquire(ctx, s.readers)
	if err != nil {
		return err, false
	}
	defer c.Release()
	if err := simple(ctx, c.Conn(), "begin isolation level repeatable read read only"); err != nil {
		if c.Conn().IsClosed() {
			s.readers.Reset()
			return err, true
		}
		return err, false
	}
	t := &pgTx{c: c.Conn()}
	guard(func() error { return f(tx{t}) }, func(ferr error) {
		err = ferr
		t.over = true
		rollback(ctx, t.c)
	})
	return err, false
}

// Close implements [store.Store]. It waits for transactions to end.
func (s *pgStore) Close() error {
	s.closing.Do(func() {
		close(s.closed)
		s.pokes.stop()
		s.writers.Close()
		s.readers.Close()
	})
	return nil
}
