package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"tillandsia/syncserver/internal/store"
)

// liteVersion is the oldest SQLite whose WAL is safe to reset.
const liteVersion = 3_051_003

// lite is a connection to a SQLite file. It talks to the driver below
// database/sql, whose locks and conversions cost more than small statements
// do. It is used by one goroutine at a time.
type lite struct {
	dc    liteDriver
	stmts map[string]liteStmt

	args   []driver.NamedValue
	dest   []driver.Value
	fields []any
	chunks map[string]string
}

// liteDriver is what the driver's connections can do.
type liteDriver interface {
	driver.Conn
	driver.ExecerContext
	driver.ConnPrepareContext
}

// liteStmt is what the driver's statements can do.
type liteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// maxStmts bounds the prepared statements of a connection: filters make many.
const maxStmts = 400

// litePragmas are set on every connection. Nothing is acknowledged that a
// power cut can take back: FULL. Pages before a savepoint are kept in memory.
var litePragmas = []string{
	"busy_timeout = 10000",
	"journal_mode = WAL",
	"synchronous = FULL",
	"fullfsync = ON",
	"temp_store = MEMORY",
	"foreign_keys = OFF",
	"trusted_schema = OFF",
	"wal_autocheckpoint = 4000",
}

// dialLite opens a connection.
func dialLite(ctx context.Context, path string, more ...string) (_ *lite, err error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	slash := filepath.ToSlash(abs)
	if !strings.HasPrefix(slash, "/") {
		slash = "/" + slash
	}
	connector, err := sqlite.NewConnector("file://" + (&url.URL{Path: slash}).EscapedPath())
	if err != nil {
		return nil, err
	}
	made, err := connector.Connect(ctx)
	if err != nil {
		return nil, liteError(err)
	}
	dc, ok := made.(liteDriver)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the driver's connections are a %T", made), made.Close())
	}
	c := &lite{dc: dc, stmts: make(map[string]liteStmt), chunks: make(map[string]string)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for _, p := range append(more, litePragmas...) {
		if err := c.script(ctx, "PRAGMA "+p); err != nil {
			return nil, fmt.Errorf("set %s: %w", p, err)
		}
	}
	var mode string
	if err := c.query(ctx, "PRAGMA journal_mode", nil, func() []any { return []any{&mode} }); err != nil {
		return nil, err
	}
	full, err := number(ctx, c, "PRAGMA synchronous")
	if err != nil {
		return nil, err
	}
	if mode != "wal" || full != 2 {
		return nil, fmt.Errorf("the file does not take WAL and synchronous=FULL (it has %s and %d)", mode, full)
	}
	return c, nil
}

func (c *lite) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	c.stmts = nil
	return errors.Join(append(errs, c.dc.Close())...)
}

// script runs statements that are run once.
func (c *lite) script(ctx context.Context, sql string) error {
	_, err := c.dc.ExecContext(ctx, sql, nil)
	return liteError(err)
}

// prepare returns a prepared statement, kept from earlier if it can.
func (c *lite) prepare(ctx context.Context, sql string) (liteStmt, error) {
	if s, ok := c.stmts[sql]; ok {
		return s, nil
	}
	if len(c.stmts) >= maxStmts {
		for k, s := range c.stmts {
			if err := s.Close(); err != nil {
				return nil, err
			}
			delete(c.stmts, k)
		}
	}
	s, err := c.dc.PrepareContext(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", sql, err)
	}
	ls, ok := s.(liteStmt)
	if !ok {
		return nil, fmt.Errorf("the driver's statements are a %T", s)
	}
	c.stmts[sql] = ls
	return ls, nil
}

// bind returns the arguments as the driver wants them.
func (c *lite) bind(args []any) []driver.NamedValue {
	c.args = c.args[:0]
	for i, a := range args {
		switch v := a.(type) {
		case string:
			a = text(v)
		case int:
			a = int64(v)
		case uint64:
			a = int64(v)
		case []string:
			a = list(v)
		case []byte:
			if v == nil {
				a = []byte{}
			}
		}
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return c.args
}

func (c *lite) query(ctx context.Context, sql string, args []any, dest func() []any) (err error) {
	s, err := c.prepare(ctx, sql)
	if err != nil {
		return liteError(err)
	}
	rows, err := s.QueryContext(ctx, c.bind(args))
	if err != nil {
		return liteError(err)
	}
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = liteError(cerr)
		}
	}()
	n := len(rows.Columns())
	for len(c.dest) < n {
		c.dest = append(c.dest, nil)
	}
	for {
		if err := rows.Next(c.dest[:n]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return liteError(err)
		}
		for i, p := range dest() {
			if err := assignLite(p, c.dest[i]); err != nil {
				return err
			}
		}
	}
}

func assignLite(pointer any, v driver.Value) error {
	switch v := v.(type) {
	case string:
		return assignText(pointer, v)
	case int64:
		return assignInt(pointer, v)
	case []byte:
		return assignBytes(pointer, v, true)
	case nil:
		return assignNull(pointer)
	default:
		return fmt.Errorf("read a %T", v)
	}
}

func (c *lite) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	s, err := c.prepare(ctx, sql)
	if err != nil {
		return 0, liteError(err)
	}
	r, err := s.ExecContext(ctx, c.bind(args))
	if err != nil {
		return 0, liteError(err)
	}
	return r.RowsAffected()
}

// chunkSize is how many rows one INSERT holds.
const chunkSize = 16

func (c *lite) write(ctx context.Context, sets []rowset) error {
	for _, s := range sets {
		for i := 0; i < s.n; {
			n := chunkSize
			if s.n-i < n {
				n = 1
			}
			if err := c.insert(ctx, s, i, n); err != nil {
				return fmt.Errorf("write %s: %w", s.name, err)
			}
			i += n
		}
	}
	return nil
}

// insert writes n rows of a set from the i-th on.
func (c *lite) insert(ctx context.Context, s rowset, i, n int) error {
	stmt, err := c.prepare(ctx, c.chunk(s, n))
	if err != nil {
		return liteError(err)
	}
	c.args = c.args[:0]
	for k := range n {
		c.fields = s.row(i+k, c.fields[:0])
		for _, p := range c.fields {
			c.args = append(c.args, driver.NamedValue{Ordinal: len(c.args) + 1, Value: value(p)})
		}
	}
	_, err = stmt.ExecContext(ctx, c.args)
	return liteError(err)
}

// chunk returns the INSERT of n rows. Its placeholders are bare: the driver
// looks up the names of others one by one.
func (c *lite) chunk(s rowset, n int) string {
	key := fmt.Sprint(s.name, s.mode, n)
	if sql, ok := c.chunks[key]; ok {
		return sql
	}
	row := "(?" + strings.Repeat(", ?", len(s.columns)-1) + ")"
	sql := "INSERT INTO " + s.name + " (" + s.all + ") VALUES " + row + strings.Repeat(", "+row, n-1)
	switch s.mode {
	case modeNew:
	case modePut:
		sql += s.onConflict()
	case modeAdd:
		sql += s.onConflictAdd()
	case modeKeep:
		sql += s.onConflictKeep()
	}
	c.chunks[key] = sql
	return sql
}

func (c *lite) in(column string, n int) string {
	return fmt.Sprintf("%s IN (SELECT value FROM json_each($%d))", column, n)
}

func (c *lite) each(table, column, cond string) string {
	return table + " t WHERE t.pos = $1 AND " + c.in("t."+column, 2) + " AND " + cond
}

// forUpdate: there is one writer.
func (c *lite) forUpdate() string { return "" }

// liteError gives an error of the driver the meaning that package store has
// for it.
func liteError(err error) error {
	var e *sqlite.Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return fmt.Errorf("%w: %w", store.ErrConflict, err)
	default:
		return err
	}
}
