package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"tillandsia/syncserver/internal/store"
)

// liteStore is a SQLite file: one connection that writes, some that read.
type liteStore struct {
	hub
	opt Options

	jobs     chan *job     // Updates that wait for the writer
	readers  chan *lite    // idle connections, nil where none is open yet
	quit     chan struct{} // closed when the store closes
	done     chan struct{} // closed when the writer has ended
	closing  sync.Once
	closeErr error
	mark     string

	// Of the writer's goroutine alone.
	w *lite // nil after a fault, until it is opened again

	mu        sync.Mutex
	reopening chan struct{} // closed when the file is open again; nil where it is
	broken    error         // why the file could not be opened again
}

var _ store.Store = (*liteStore)(nil)

// A group is what one commit makes durable: at most so many Updates, and no
// further one when it has written so many rows. Larger ones gain nothing and
// let the first wait for the last.
const (
	groupJobs = 64
	groupRows = 8192
)

func openSQLite(ctx context.Context, o Options) (_ *liteStore, err error) {
	// Made with the rights of a file that holds the hashes of PINs; SQLite
	// gives those of the database to its other files.
	f, err := os.OpenFile(o.Database, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	s := &liteStore{
		opt:     o,
		jobs:    make(chan *job),
		readers: make(chan *lite, o.Connections),
		quit:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	if s.w, err = s.dialWriter(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.w.close())
		}
	}()
	version, err := number(ctx, s.w, "SELECT CAST(substr(v, 1, instr(v, '.') - 1) AS INTEGER) * 1000000 + CAST(substr(r, 1, instr(r, '.') - 1) AS INTEGER) * 1000 + CAST(substr(r, instr(r, '.') + 1) AS INTEGER) FROM (SELECT v, substr(v, instr(v, '.') + 1) AS r FROM (SELECT sqlite_version() || '.0' AS v))")
	if err != nil {
		return nil, err
	}
	if version < liteVersion {
		return nil, fmt.Errorf("SQLite of version %d, older than %d, loses commits when it resets its log", version, liteVersion)
	}
	if err := s.prepareFile(ctx); err != nil {
		return nil, err
	}
	for range o.Connections {
		s.readers <- nil
	}
	go s.run(context.WithoutCancel(ctx))
	return s, nil
}

func (s *liteStore) dialWriter(ctx context.Context) (*lite, error) {
	return dialLite(ctx, s.opt.Database, "page_size = 8192", "cache_size = -131072")
}

// prepareFile brings the tables up to date and counts the mark. After an error
// the caller closes the connection, which rolls back.
func (s *liteStore) prepareFile(ctx context.Context) error {
	if err := s.w.script(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := migrate(ctx, s.w, dialectSQLite, s.w.script, s.opt.Clock()); err != nil {
		return err
	}
	mark := s.opt.Database + markSuffix
	word, count, err := countOpening(ctx, s.w, mark)
	if err != nil {
		return err
	}
	if err := s.w.script(ctx, "COMMIT"); err != nil {
		return err
	}
	s.mark = word
	return writeMark(mark, word, count)
}

// Dialect implements [store.Store].
func (s *liteStore) Dialect() string { return dialectSQLite }

// Identity implements [store.Store].
func (s *liteStore) Identity(context.Context) (string, error) { return s.mark, nil }

// Poke implements [store.Store].
func (s *liteStore) Poke(context.Context) { s.wake() }

// job is an Update on its way through the writer. The caller runs f in its own
// goroutine when it is its turn; the writer waits.
type job struct {
	turn   chan *liteTx // the transaction to run in
	ran    chan error   // how f ended
	result chan error   // after the commit, or in place of a turn
}

// liteTx is the writer's connection in the hands of one Update. It is dead
// after it. Statements run without the caller's context: SQLite answers an
// interrupt by rolling back the whole group.
type liteTx struct {
	*lite
	rows   int
	failed error
	over   bool
}

var errOver = errors.New("the transaction is over")

// check refuses statements of a transaction that is over or of a caller that
// has left.
func (t *liteTx) check(ctx context.Context) error {
	if t.over {
		return errOver
	}
	if err := ctx.Err(); err != nil {
		return t.fail(context.Cause(ctx))
	}
	return nil
}

// fail remembers the first error: an Update that goes on after it cannot
// commit, as on PostgreSQL.
func (t *liteTx) fail(err error) error {
	if err != nil && t.failed == nil {
		t.failed = err
	}
	return err
}

func (t *liteTx) query(ctx context.Context, sql string, args []any, dest func() []any) error {
	if err := t.check(ctx); err != nil {
		return err
	}
	return t.fail(t.lite.query(context.WithoutCancel(ctx), sql, args, dest))
}

func (t *liteTx) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	if err := t.check(ctx); err != nil {
		return 0, err
	}
	n, err := t.lite.exec(context.WithoutCancel(ctx), sql, args...)
	t.rows += int(n)
	return n, t.fail(err)
}

func (t *liteTx) write(ctx context.Context, sets []rowset) error {
	if err := t.check(ctx); err != nil {
		return err
	}
	for _, s := range sets {
		t.rows += s.n
	}
	return t.fail(t.lite.write(context.WithoutCancel(ctx), sets))
}

// errAgain tells an Update whose group was lost, not committed, to run again.
var errAgain = errors.New("the group of the transaction was rolled back")

// maxAgain bounds how often an Update runs again.
const maxAgain = 5

// Update implements [store.Store].
func (s *liteStore) Update(ctx context.Context, f func(store.Tx) error) error {
	for n := 1; ; n++ {
		err := s.update(ctx, f)
		if !errors.Is(err, errAgain) || n == maxAgain {
			return err
		}
	}
}

func (s *liteStore) update(ctx context.Context, f func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	j := &job{turn: make(chan *liteTx), ran: make(chan error, 1), result: make(chan error, 1)}
	select {
	case s.jobs <- j:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.quit:
		return store.ErrClosed
	}
	// From here on the writer counts on us: the context waits.
	select {
	case t := <-j.turn:
		guard(func() error { return f(tx{t}) }, func(err error) {
			t.over = true
			j.ran <- err
		})
	case err := <-j.result:
		return err
	}
	return <-j.result
}

// run is the writer.
func (s *liteStore) run(ctx context.Context) {
	defer close(s.done)
	for {
		select {
		case j := <-s.jobs:
			s.group(ctx, j)
		case <-s.quit:
			return
		}
	}
}

// group runs a job, and after it those that wait meanwhile, in one
// transaction, and answers them when it is committed.
func (s *liteStore) group(ctx context.Context, j *job) {
	if err := s.reopen(ctx); err != nil {
		j.result <- err
		return
	}
	type answer struct {
		job *job
		err error
	}
	var answers []answer
	// lost answers all when the transaction is gone before its commit.
	lost := func(err error) {
		s.opt.Logger.Warn("a group of transactions was rolled back", "error", err, "transactions", len(answers))
		for _, a := range answers {
			if a.err == nil {
				a.err = fmt.Errorf("%w: %w", errAgain, err)
			}
			a.job.result <- a.err
		}
		s.drop()
	}
	rows, kept := 0, false
	for {
		var err error
		switch {
		case len(answers) == 0:
			err = s.do(ctx, "BEGIN IMMEDIATE")
		case kept:
			err = s.do(ctx, "SAVEPOINT one")
		}
		if err != nil && len(answers) == 0 {
			j.result <- fmt.Errorf("begin a transaction: %w", err)
			s.drop()
			return
		}
		if err != nil {
			answers = append(answers, answer{j, nil})
			lost(err)
			return
		}
		t := &liteTx{lite: s.w}
		j.turn <- t
		err = <-j.ran
		if err == nil {
			err = t.failed
		}
		rows += t.rows
		answers = append(answers, answer{j, err})
		switch {
		case err == nil && kept:
			err = s.do(ctx, "RELEASE one")
		case err == nil:
			kept = true
		case kept:
			if err = s.do(ctx, "ROLLBACK TO one"); err == nil {
				err = s.do(ctx, "RELEASE one")
			}
		default:
			// Nothing before it is kept: no savepoint was needed.
			if err = s.do(ctx, "ROLLBACK"); err == nil {
				err = s.do(ctx, "BEGIN IMMEDIATE")
			}
		}
		if err != nil {
			lost(err)
			return
		}
		if len(answers) >= groupJobs || rows >= groupRows {
			break
		}
		select {
		case j = <-s.jobs:
			continue
		default:
		}
		break
	}
	err := s.opt.faults.before()
	if err == nil {
		err = s.do(ctx, "COMMIT")
	}
	if err == nil {
		err = s.opt.faults.after()
	}
	if err != nil {
		s.opt.Logger.Error("unknown outcome of a commit; the file is opened again", "error", err, "transactions", len(answers))
		opened := make(chan struct{})
		s.mu.Lock()
		s.reopening = opened
		s.mu.Unlock()
		defer func() {
			s.reset(ctx)
			close(opened)
		}()
	}
	// Answered before the file is opened again, which waits for all readers:
	// one of them may be who waits for the answer.
	for _, a := range answers {
		if err != nil {
			a.err = fmt.Errorf("%w: %w", store.ErrUnknownOutcome, err)
		}
		a.job.result <- a.err
	}
}

// do runs a statement of the writer's own.
func (s *liteStore) do(ctx context.Context, sql string) error {
	_, err := s.w.exec(ctx, sql)
	return err
}

// drop closes the writer's connection, which rolls back what it has open.
func (s *liteStore) drop() {
	if s.w == nil {
		return
	}
	if err := s.w.close(); err != nil {
		s.opt.Logger.Warn("close the writing connection", "error", err)
	}
	s.w = nil
}

// reset closes all connections after an unknown outcome, readers too: nobody
// begins to read what a failed sync may have left in the log before the file
// is opened again, and the last one that closes moves the log into the file,
// with a sync that counts.
func (s *liteStore) reset(ctx context.Context) {
	s.drop()
	for range cap(s.readers) {
		if c := <-s.readers; c != nil {
			if err := c.close(); err != nil {
				s.opt.Logger.Warn("close a reading connection", "error", err)
			}
		}
	}
	if err := s.reopen(ctx); err != nil {
		s.opt.Logger.Error("open the file again", "error", err)
	}
	for range cap(s.readers) {
		s.readers <- nil
	}
	s.mu.Lock()
	s.reopening = nil
	s.mu.Unlock()
}

// reopen opens the writer's connection where it is closed.
func (s *liteStore) reopen(ctx context.Context) error {
	if s.w != nil {
		return nil
	}
	w, err := s.dialWriter(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.broken = fmt.Errorf("open the file again: %w", err)
		return s.broken
	}
	s.w, s.broken = w, nil
	return nil
}

// liteView is a reading connection in the hands of one View. It is dead after
// it.
type liteView struct {
	*lite
	over bool
}

func (v *liteView) query(ctx context.Context, sql string, args []any, dest func() []any) error {
	if v.over {
		return errOver
	}
	return v.lite.query(ctx, sql, args, dest)
}

// View implements [store.Store].
func (s *liteStore) View(ctx context.Context, f func(store.Reader) error) (err error) {
	c, err := s.reader(ctx)
	if err != nil {
		return err
	}
	defer func() { s.readers <- c }()
	if c == nil {
		if c, err = dialLite(ctx, s.opt.Database, "query_only = ON", "cache_size = -16384"); err != nil {
			return err
		}
	}
	// Begun and ended whether the caller is still there or not: the driver
	// does not say whether a statement that was interrupted has run.
	do := func(sql string) error {
		_, err := c.exec(context.WithoutCancel(ctx), sql)
		if err != nil {
			err = errors.Join(err, c.close())
			c = nil
		}
		return err
	}
	if err := do("BEGIN"); err != nil {
		return err
	}
	v := &liteView{lite: c}
	guard(func() error { return f(tx{v}) }, func(ferr error) {
		v.over = true
		err = ferr
		if rerr := do("ROLLBACK"); rerr != nil {
			s.opt.Logger.Warn("end a reading transaction", "error", rerr)
		}
	})
	return err
}

// reader takes a reading connection, nil where one is to be opened; while the
// file is being opened again it waits.
func (s *liteStore) reader(ctx context.Context) (*lite, error) {
	for {
		s.mu.Lock()
		reopening, broken := s.reopening, s.broken
		s.mu.Unlock()
		idle := s.readers
		switch {
		case reopening != nil:
			idle = nil
		case broken != nil:
			return nil, broken
		}
		select {
		case <-s.quit:
			return nil, store.ErrClosed
		default:
		}
		select {
		case <-reopening:
		case c := <-idle:
			s.mu.Lock()
			reopening = s.reopening
			s.mu.Unlock()
			if reopening == nil {
				return c, nil
			}
			s.readers <- c
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-s.quit:
			return nil, store.ErrClosed
		}
	}
}

// Close implements [store.Store].
func (s *liteStore) Close() error {
	s.closing.Do(func() {
		close(s.quit)
		<-s.done
		var errs []error
		for range cap(s.readers) {
			if c := <-s.readers; c != nil {
				errs = append(errs, c.close())
			}
		}
		if s.w != nil {
			errs = append(errs, s.w.close())
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}
