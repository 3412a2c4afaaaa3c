package bench

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"

	"tillandsia/syncserver/internal/store/sqlstore"
)

const (
	databaseFile = "tillandsia.db"
	handBatch    = 500 // orders in a transaction by hand
	handRows     = 16  // rows in a statement
)

// sqlite measures ingest and closing on SQLite.
func (b *bench) sqlite(ctx context.Context) ([]Figure, error) {
	base, err := b.folder("sqlite-base")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(base, databaseFile)
	f, err := b.backlog(ctx, file)
	if err != nil {
		return nil, err
	}
	before, err := countSQLite(ctx, file)
	if err != nil {
		return nil, err
	}
	var rounds []round
	for i := range b.Rounds {
		r, err := b.sqliteRound(ctx, base, f, before, i+1)
		if err != nil {
			return nil, fmt.Errorf("round %d: %w", i+1, err)
		}
		rounds = append(rounds, r)
	}
	return b.ingestFigures("SQLite", "the same rows in transactions of 500 orders by hand, 16 rows a statement, one connection", rounds), nil
}

func (b *bench) sqliteRound(ctx context.Context, base string, f *fabric, before map[string]int, i int) (r round, err error) {
	name := fmt.Sprintf("sqlite-%d", i)
	dir, err := b.folder(name)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	data := filepath.Join(dir, "server")
	if err := os.CopyFS(data, os.DirFS(base)); err != nil {
		return r, err
	}
	if r.ours, r.closes, err = b.ingest(ctx, f, name, dir, ""); err != nil {
		return r, err
	}
	file := filepath.Join(data, databaseFile)
	now, err := countSQLite(ctx, file)
	if err != nil {
		return r, err
	}
	list := growth(before, now)
	if err := b.checkGrowth(list); err != nil {
		return r, err
	}
	// As on PostgreSQL: what every order takes.
	rows := make([][][]driver.Value, len(tables))
	for k, g := range list[:len(tables)] {
		if rows[k], err = newRows(ctx, file, g, f); err != nil {
			return r, err
		}
	}
	bare := filepath.Join(dir, "bare.db")
	s, err := sqlstore.Open(ctx, sqlstore.Options{Database: bare})
	if err != nil {
		return r, err
	}
	if err := s.Close(); err != nil {
		return r, err
	}
	if r.limit, err = writeByHand(ctx, bare, rows); err != nil {
		return r, err
	}
	after, err := countSQLite(ctx, bare)
	if err != nil {
		return r, err
	}
	for _, g := range list[:len(tables)] {
		if after[g.table] != g.now-g.before {
			return r, fmt.Errorf("by hand %d rows were written into %s, want %d", after[g.table], g.table, g.now-g.before)
		}
	}
	orders := registers * b.Orders
	b.logf("SQLite round %d: ours %s orders/s, limit %s orders/s", i, thousands(rate(orders, r.ours)), thousands(rate(orders, r.limit)))
	return r, nil
}

// lite is a connection to a file, below database/sql, whose locks and
// conversions would slow the limit down.
type lite struct{ driver.Conn }

func openLite(ctx context.Context, file string) (_ *lite, err error) {
	connector, err := sqlite.NewConnector("file://" + file)
	if err != nil {
		return nil, err
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &lite{conn}
	// As sqlstore has them.
	for _, pragma := range []string{"cache_size = -131072", "journal_mode = WAL", "synchronous = FULL", "temp_store = MEMORY", "wal_autocheckpoint = 4000"} {
		if err := c.exec(ctx, "PRAGMA "+pragma); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return c, nil
}

func (c *lite) exec(ctx context.Context, sql string) error {
	e, ok := c.Conn.(driver.ExecerContext)
	if !ok {
		return fmt.Errorf("a %T does not execute", c.Conn)
	}
	if _, err := e.ExecContext(ctx, sql, nil); err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return nil
}

// query reads all rows.
func (c *lite) query(ctx context.Context, sql string, row func([]driver.Value)) (err error) {
	q, ok := c.Conn.(driver.QueryerContext)
	if !ok {
		return fmt.Errorf("a %T does not query", c.Conn)
	}
	rows, err := q.QueryContext(ctx, sql, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		values := make([]driver.Value, len(rows.Columns()))
		switch err := rows.Next(values); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", sql, err)
		}
		row(values)
	}
}

func countSQLite(ctx context.Context, file string) (_ map[string]int, err error) {
	c, err := openLite(ctx, file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	var names []string
	err = c.query(ctx, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'", func(v []driver.Value) {
		names = append(names, fmt.Sprint(v[0]))
	})
	counts := make(map[string]int, len(names))
	for _, name := range names {
		err = errors.Join(err, c.query(ctx, "SELECT count(*) FROM "+name, func(v []driver.Value) {
			n, _ := v[0].(int64) // count(*) is an integer
			counts[name] = int(n)
		}))
	}
	return counts, err
}

// newRows reads the rows of a table that were written since. The lines and
// payments of an order lie by its id, so they are read by the order of the
// orders, as they were written.
func newRows(ctx context.Context, file string, g grown, f *fabric) (rows [][]driver.Value, err error) {
	c, err := openLite(ctx, file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	sql := fmt.Sprintf("SELECT t.* FROM %s t", g.table)
	switch g.table {
	case "journal":
		// The entries of the set-up were delivered before.
		sql += fmt.Sprintf(" WHERE t.seq > %d ORDER BY t.rowid", f.tills[0].sent)
	case "orders":
		sql += " ORDER BY t.rowid"
	default:
		sql = fmt.Sprintf("SELECT t.* FROM orders o CROSS JOIN %s t ON t.pos = o.pos AND t.order_id = o.id AND t.copy = o.copy ORDER BY o.rowid, t.no", g.table)
	}
	err = c.query(ctx, sql, func(v []driver.Value) {
		for i := range v {
			// The driver reads an empty blob as nil.
			if b, ok := v[i].([]byte); v[i] == nil || ok && b == nil {
				v[i] = []byte{}
			}
		}
		rows = append(rows, v)
	})
	return rows, err
}

// writeByHand writes the rows of all orders, 500 orders in a transaction.
func writeByHand(ctx context.Context, file string, rows [][][]driver.Value) (took time.Duration, err error) {
	c, err := openLite(ctx, file)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	writers := make([]*writer, len(tables))
	for k, table := range tables {
		if writers[k], err = newWriter(ctx, c, table, len(rows[k][0])); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, writers[k].close()) }()
	}
	orders := len(rows[1])
	start := time.Now()
	for from := 0; from < orders; from += handBatch {
		to := min(from+handBatch, orders)
		if err := c.exec(ctx, "BEGIN IMMEDIATE"); err != nil {
			return 0, err
		}
		for k := range tables {
			each := len(rows[k]) / orders
			if err := writers[k].write(ctx, rows[k][from*each:to*each]); err != nil {
				return 0, fmt.Errorf("write %s: %w", tables[k], err)
			}
		}
		if err := c.exec(ctx, "COMMIT"); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// writer writes rows of one table by prepared statements.
type writer struct {
	many, one driver.StmtExecContext
	args      []driver.NamedValue
}

func newWriter(ctx context.Context, c *lite, table string, columns int) (*writer, error) {
	prepare := func(n int) (driver.StmtExecContext, error) {
		row := "(?" + strings.Repeat(", ?", columns-1) + ")"
		p, ok := c.Conn.(driver.ConnPrepareContext)
		if !ok {
			return nil, fmt.Errorf("a %T does not prepare", c.Conn)
		}
		s, err := p.PrepareContext(ctx, "INSERT INTO "+table+" VALUES "+row+strings.Repeat(", "+row, n-1))
		if err != nil {
			return nil, err
		}
		e, ok := s.(driver.StmtExecContext)
		if !ok {
			return nil, errors.Join(fmt.Errorf("a %T does not execute", s), s.Close())
		}
		return e, nil
	}
	many, err := prepare(handRows)
	if err != nil {
		return nil, err
	}
	one, err := prepare(1)
	return &writer{many: many, one: one}, err
}

func (w *writer) write(ctx context.Context, rows [][]driver.Value) error {
	for len(rows) > 0 {
		n, s := handRows, w.many
		if len(rows) < n {
			n, s = 1, w.one
		}
		w.args = w.args[:0]
		for _, row := range rows[:n] {
			for _, v := range row {
				w.args = append(w.args, driver.NamedValue{Ordinal: len(w.args) + 1, Value: v})
			}
		}
		if _, err := s.ExecContext(ctx, w.args); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func (w *writer) close() error {
	var errs []error
	for _, s := range []driver.StmtExecContext{w.many, w.one} {
		if c, ok := s.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
