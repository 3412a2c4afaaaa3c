package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"
)

// source is a database, read in one transaction that sees one state of it and
// can write nothing.
type source struct {
	tx       *sql.Tx
	postgres bool
	cursors  int
	close    func() error
}

func isPostgres(database string) bool {
	return strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://")
}

// open begins the transaction. What the caller does not read any more is
// released by close.
func open(ctx context.Context, database string) (_ *source, err error) {
	s := &source{postgres: isPostgres(database)}
	driver, address := "pgx", database
	options := &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
	if !s.postgres {
		abs, err := filepath.Abs(database)
		if err != nil {
			return nil, fmt.Errorf("find database %s: %w", database, err)
		}
		slash := filepath.ToSlash(abs)
		if !strings.HasPrefix(slash, "/") {
			slash = "/" + slash
		}
		driver = "sqlite"
		address = "file://" + (&url.URL{Path: slash}).EscapedPath() + "?mode=ro&_pragma=busy_timeout(10000)&_pragma=query_only(1)"
		options = &sql.TxOptions{ReadOnly: true}
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	if s.tx, err = db.BeginTx(ctx, options); err != nil {
		return nil, fmt.Errorf("begin reading: %w", err)
	}
	s.close = func() error {
		err := s.tx.Rollback()
		if errors.Is(err, sql.ErrTxDone) {
			err = nil
		}
		return errors.Join(err, db.Close())
	}
	return s, nil
}

// sql returns a query in the words of the database: what is marked /*C*/ sorts
// by bytes on both.
func (s *source) sql(query string) string {
	if s.postgres {
		return strings.ReplaceAll(query, "/*C*/", ` COLLATE "C"`)
	}
	return query
}

// fetchSize is how many rows a cursor reads ahead on PostgreSQL.
const fetchSize = 200

// cursor reads the rows of a query one after the other. Several may be open at
// a time: that is how tables are held against each other without keeping one
// of them in memory.
type cursor[T any] struct {
	s    *source
	name string // PostgreSQL
	read func(*T) []any

	rows *sql.Rows // SQLite
	buf  []T
	at   int

	// row is the row that the cursor stands on, ok false behind the last.
	row T
	ok  bool
}

// query opens a cursor and stands on its first row. read returns where the
// columns go.
func query[T any](ctx context.Context, s *source, read func(*T) []any, text string, args ...any) (*cursor[T], error) {
	c := &cursor[T]{s: s, read: read}
	text = s.sql(text)
	if s.postgres {
		s.cursors++
		c.name = fmt.Sprintf("audit_%d", s.cursors)
		if len(args) > 0 {
			// A cursor takes no parameters; those of the audit are few and
			// its own.
			for i, a := range args {
				text = strings.ReplaceAll(text, fmt.Sprintf("$%d", i+1), literal(a))
			}
		}
		if _, err := s.tx.ExecContext(ctx, "DECLARE "+c.name+" NO SCROLL CURSOR FOR "+text); err != nil {
			return nil, fmt.Errorf("read %s: %w", text, err)
		}
		return c, c.next(ctx)
	}
	rows, err := s.tx.QueryContext(ctx, text, args...) //nolint:rowserrcheck // next asks, close closes
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", text, err)
	}
	c.rows = rows
	if err := c.next(ctx); err != nil {
		return nil, errors.Join(err, c.close(ctx))
	}
	return c, nil
}

func literal(a any) string {
	if text, ok := a.(string); ok {
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	return fmt.Sprint(a)
}

// next goes to the next row.
func (c *cursor[T]) next(ctx context.Context) error {
	var zero T
	c.row = zero
	if c.rows != nil {
		if c.ok = c.rows.Next(); !c.ok {
			return c.rows.Err()
		}
		return c.rows.Scan(c.read(&c.row)...)
	}
	if c.name == "" {
		c.ok = false
		return nil
	}
	if c.at == len(c.buf) {
		if err := c.fetch(ctx); err != nil {
			return err
		}
	}
	if c.ok = c.at < len(c.buf); c.ok {
		c.row = c.buf[c.at]
		c.at++
	}
	return nil
}

func (c *cursor[T]) fetch(ctx context.Context) (err error) {
	c.buf, c.at = c.buf[:0], 0
	rows, err := c.s.tx.QueryContext(ctx, fmt.Sprintf("FETCH %d FROM %s", fetchSize, c.name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var row T
		if err := rows.Scan(c.read(&row)...); err != nil {
			return err
		}
		c.buf = append(c.buf, row)
	}
	return rows.Err()
}

// close releases the cursor.
func (c *cursor[T]) close(ctx context.Context) error {
	if c.rows != nil {
		return c.rows.Close()
	}
	name := c.name
	if c.name = ""; name == "" {
		return nil
	}
	_, err := c.s.tx.ExecContext(ctx, "CLOSE "+name)
	return err
}

// each calls f for every row of a query.
func each[T any](ctx context.Context, s *source, read func(*T) []any, text string, f func(*T) error, args ...any) error {
	c, err := query(ctx, s, read, text, args...)
	if err != nil {
		return err
	}
	for err == nil && c.ok {
		if err = f(&c.row); err == nil {
			err = c.next(ctx)
		}
	}
	return errors.Join(err, c.close(ctx))
}
