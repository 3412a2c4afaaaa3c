package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"tillandsia/syncserver/internal/pgtest"
	"tillandsia/syncserver/internal/store/sqlstore"
)

const (
	copyConnections = 4
	copyBatch       = 5000 // orders in a transaction
)

// postgres measures ingest and closing on PostgreSQL with durable commits.
func (b *bench) postgres(ctx context.Context) (figures []Figure, err error) {
	cluster, err := pgtest.Start(ctx, pgtest.Options{Durable: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	if err := cluster.CreateDatabase(ctx, "base"); err != nil {
		return nil, err
	}
	f, err := b.backlog(ctx, cluster.URL("base"))
	if err != nil {
		return nil, err
	}
	before, err := countPostgres(ctx, cluster.URL("base"))
	if err != nil {
		return nil, err
	}
	var rounds []round
	for i := range b.Rounds {
		r, err := b.postgresRound(ctx, cluster, f, before, i+1)
		if err != nil {
			return nil, fmt.Errorf("round %d: %w", i+1, err)
		}
		rounds = append(rounds, r)
	}
	return b.ingestFigures("PostgreSQL", "COPY of the same rows into empty tables with the same indexes, 4 connections, batches of 5,000", rounds), nil
}

func (b *bench) postgresRound(ctx context.Context, cluster *pgtest.Cluster, f *fabric, before map[string]int, i int) (r round, err error) {
	ours, bare := fmt.Sprintf("ours%d", i), fmt.Sprintf("bare%d", i)
	if err := pgExec(ctx, cluster.URL("postgres"), "CREATE DATABASE "+ours+" TEMPLATE base", "CHECKPOINT"); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, cluster.DropDatabase(context.WithoutCancel(ctx), ours)) }()
	dir, err := b.folder(fmt.Sprintf("postgres-%d", i))
	if err != nil {
		return r, err
	}
	if r.ours, r.closes, err = b.ingest(ctx, f, fmt.Sprintf("postgres-%d", i), dir, cluster.URL(ours)); err != nil {
		return r, err
	}
	now, err := countPostgres(ctx, cluster.URL(ours))
	if err != nil {
		return r, err
	}
	list := growth(before, now)
	if err := b.checkGrowth(list); err != nil {
		return r, err
	}
	// The limit writes what every order takes. The few rows of a batch or a
	// close are left out, which only makes it faster.
	list = list[:len(tables)]
	batches, err := readCopies(ctx, cluster.URL(ours), list)
	if err != nil {
		return r, err
	}
	if err := cluster.CreateDatabase(ctx, bare); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, cluster.DropDatabase(context.WithoutCancel(ctx), bare)) }()
	if err := migrate(ctx, cluster.URL(bare)); err != nil {
		return r, err
	}
	if r.limit, err = copyAll(ctx, cluster.URL(bare), batches); err != nil {
		return r, err
	}
	after, err := countPostgres(ctx, cluster.URL(bare))
	if err != nil {
		return r, err
	}
	for _, g := range list {
		if got := after[g.table]; got != g.now-g.before {
			return r, fmt.Errorf("COPY wrote %d rows into %s, want %d", got, g.table, g.now-g.before)
		}
	}
	orders := registers * b.Orders
	b.logf("PostgreSQL round %d: ours %s orders/s, limit %s orders/s", i, thousands(rate(orders, r.ours)), thousands(rate(orders, r.limit)))
	return r, nil
}

func pgExec(ctx context.Context, url string, statements ...string) (err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// countPostgres counts the rows of all tables.
func countPostgres(ctx context.Context, url string) (_ map[string]int, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	rows, err := conn.Query(ctx, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(names))
	for _, name := range names {
		var n int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM "+pgx.Identifier{name}.Sanitize()).Scan(&n); err != nil {
			return nil, err
		}
		counts[name] = n
	}
	return counts, nil
}

// copied is a run of rows of a table, in PostgreSQL's binary form.
type copied struct {
	table string
	data  []byte
}

// readCopies reads the rows that were written since, in the order in which
// they lie, and parts them into the limit's transactions.
func readCopies(ctx context.Context, url string, list []grown) (_ [][]copied, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if _, err := conn.Exec(ctx, "SET synchronize_seqscans = off"); err != nil {
		return nil, err
	}
	orders := list[0].now - list[0].before
	batches := make([][]copied, (orders+copyBatch-1)/copyBatch)
	for _, g := range list {
		var buf bytes.Buffer
		sql := fmt.Sprintf("COPY (SELECT * FROM %s OFFSET %d) TO STDOUT (FORMAT binary)", pgx.Identifier{g.table}.Sanitize(), g.before)
		if _, err := conn.PgConn().CopyTo(ctx, &buf, sql); err != nil {
			return nil, fmt.Errorf("%s: %w", sql, err)
		}
		rows := g.now - g.before
		parts, err := partCopy(buf.Bytes(), (rows+len(batches)-1)/len(batches))
		if err != nil {
			return nil, fmt.Errorf("rows of %s: %w", g.table, err)
		}
		for i, p := range parts {
			batches[i] = append(batches[i], copied{g.table, p})
		}
	}
	return batches, nil
}

// copyHeader is how the binary form of COPY begins: a signature, flags and the
// length of an extension.
const copyHeader = 11 + 4 + 4

// partCopy parts the binary form of a table into such of n rows each.
func partCopy(data []byte, n int) (parts [][]byte, err error) {
	if len(data) < copyHeader {
		return nil, errors.New("no header")
	}
	header, data := data[:copyHeader], data[copyHeader:]
	end := []byte{0xff, 0xff}
	part, rows := bytes.Clone(header), 0
	for {
		if len(data) < 2 {
			return nil, errors.New("no trailer")
		}
		fields := int16(binary.BigEndian.Uint16(data))
		if fields == -1 {
			break
		}
		at := 2
		for range fields {
			if len(data) < at+4 {
				return nil, errors.New("a row ends early")
			}
			size := int32(binary.BigEndian.Uint32(data[at:]))
			at += 4 + max(0, int(size))
		}
		if len(data) < at {
			return nil, errors.New("a row ends early")
		}
		part = append(part, data[:at]...)
		data = data[at:]
		if rows++; rows == n {
			parts = append(parts, append(part, end...))
			part, rows = bytes.Clone(header), 0
		}
	}
	if rows > 0 {
		parts = append(parts, append(part, end...))
	}
	return parts, nil
}

// migrate makes the tables of a new database.
func migrate(ctx context.Context, url string) error {
	s, err := sqlstore.Open(ctx, sqlstore.Options{Database: url})
	if err != nil {
		return err
	}
	return s.Close()
}

// copyAll copies the batches into the empty tables of a new database, each in
// a transaction, over some connections at once.
func copyAll(ctx context.Context, url string, batches [][]copied) (took time.Duration, err error) {
	if err := pgExec(ctx, url, "CHECKPOINT"); err != nil {
		return 0, err
	}
	conns := make([]*pgx.Conn, copyConnections)
	for i := range conns {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
		conns[i] = conn
	}
	queue := make(chan []copied, len(batches))
	for _, batch := range batches {
		queue <- batch
	}
	close(queue)
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for _, conn := range conns {
		group.Go(func() error {
			for batch := range queue {
				if err := copyOne(ctx, conn, batch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}

func copyOne(ctx context.Context, conn *pgx.Conn, batch []copied) error {
	return pgx.BeginFunc(ctx, conn, func(pgx.Tx) error {
		for _, c := range batch {
			sql := "COPY " + pgx.Identifier{c.table}.Sanitize() + " FROM STDIN (FORMAT binary)"
			if _, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(c.data), sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
		return nil
	})
}
