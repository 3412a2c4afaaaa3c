package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/pgtest"
	"tillandsia/syncserver/internal/store"
)

// planConn notes the statements that go through it.
type planConn struct {
	conn
	noted func(sql string, args []any) error
}

func (p planConn) query(ctx context.Context, sql string, args []any, dest func() []any) error {
	return errors.Join(p.noted(sql, args), p.conn.query(ctx, sql, args, dest))
}

// hotReads are the reads that a batch, a hello or a page of a session makes:
// none of them may grow with the table.
func hotReads(ctx context.Context, r tx) map[string]error {
	ids := []string{"a", "b"}
	did := make(map[string]error)
	note := func(name string, err error) {
		if !errors.Is(err, store.ErrNotFound) {
			did[name] = err
		}
	}
	_, err := r.LockRegister(ctx, "P", "R")
	note("LockRegister", err)
	_, err = r.RegisterByToken(ctx, []byte("t"))
	note("RegisterByToken", err)
	_, err = r.LockSessions(ctx, "P", ids)
	note("LockSessions", err)
	_, err = r.SessionByID(ctx, "S")
	note("SessionByID", err)
	_, err = r.Sessions(ctx, store.SessionFilter{PointsOfSale: []string{"P"}, Limit: 50, AfterAt: 1, AfterID: "x"})
	note("a page of Sessions", err)
	_, err = r.Sessions(ctx, store.SessionFilter{PointsOfSale: []string{"P"}, Register: "R", States: []session.State{session.Opened}})
	note("open Sessions", err)
	_, err = r.Rescues(ctx, "P", ids)
	note("Rescues", err)
	_, err = r.Stays(ctx, "P", ids)
	note("Stays", err)
	_, err = r.DrawerLines(ctx, "P", ids)
	note("DrawerLines", err)
	_, err = r.DrawerChain(ctx, "P", "R", ids, 2)
	note("DrawerChain", err)
	_, err = r.BetweenMoves(ctx, "P", "R")
	note("BetweenMoves", err)
	_, err = r.Sums(ctx, "P", "S")
	note("Sums", err)
	_, err = r.History(ctx, "P", "S")
	note("History", err)
	_, err = r.Counts(ctx, "P", "S")
	note("Counts", err)
	_, err = r.ZReports(ctx, "P", "S")
	note("ZReports", err)
	_, err = r.ZNumber(ctx, "P", "R", "", 1)
	note("ZNumber", err)
	_, err = r.Booked(ctx, "P", "S")
	note("Booked", err)
	_, err = r.Posting(ctx, "P", "S")
	note("Posting", err)
	_, err = r.Close(ctx, "P", "S")
	note("Close", err)
	_, err = r.ClosesUnheard(ctx, "P", "R", 10)
	note("ClosesUnheard", err)
	_, err = r.Epochs(ctx, "P", "R")
	note("Epochs", err)
	_, err = r.Journal(ctx, "P", "R", 1, 1, 10)
	note("Journal", err)
	_, err = r.KnownOps(ctx, "P", ids)
	note("KnownOps", err)
	_, err = r.Order(ctx, "P", "o")
	note("Order", err)
	_, err = r.OrderByNumber(ctx, "P", "n")
	note("OrderByNumber", err)
	_, err = r.NumbersTaken(ctx, "P", ids)
	note("NumbersTaken", err)
	_, err = r.Orders(ctx, store.OrderFilter{PointsOfSale: []string{"P"}, Session: "S", Limit: 50})
	note("Orders of a session", err)
	_, err = r.Orders(ctx, store.OrderFilter{Session: "S"})
	note("Orders of a session, wherever it is", err)
	_, err = r.OrderLines(ctx, "P", ids)
	note("OrderLines", err)
	_, err = r.OrderPayments(ctx, "P", ids)
	note("OrderPayments", err)
	_, err = r.RefundedLines(ctx, "P", ids)
	note("RefundedLines", err)
	_, err = r.RefundsOf(ctx, "P", "o")
	note("RefundsOf", err)
	_, err = r.Moves(ctx, "P", "S")
	note("Moves", err)
	_, err = r.ThingsSince(ctx, "P", 3, 100)
	note("ThingsSince", err)
	_, err = r.Things(ctx, "P", "product", "x", 100)
	note("Things", err)
	_, err = r.OutboxSince(ctx, 3, 100)
	note("OutboxSince", err)
	_, err = r.Flags(ctx, store.FlagFilter{PointsOfSale: []string{"P"}, Open: true, Limit: 10})
	note("open Flags", err)
	_, err = r.Flags(ctx, store.FlagFilter{Session: "S"})
	note("Flags of a session", err)
	return did
}

func TestSQLiteReadsByIndex(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	c, err := dialLite(ctx, openFile(t, filepath.Join(t.TempDir(), "server.db"), nil).opt.Database)
	if err != nil {
		t.Fatal(err)
	}
	explain := func(sql string, args []any) error {
		type step struct {
			id, parent, unused int64
			detail             string
		}
		steps, err := scan(ctx, c, "EXPLAIN QUERY PLAN "+sql, args, func(s *step) []any { return []any{&s.id, &s.parent, &s.unused, &s.detail} })
		for _, s := range steps {
			// A scan of a list in JSON or of a subquery's rows is short.
			if strings.HasPrefix(s.detail, "SCAN ") && !strings.Contains(s.detail, "json_each") && !strings.HasPrefix(s.detail, "SCAN l") {
				err = errors.Join(err, fmt.Errorf("%s: %s", s.detail, sql))
			}
		}
		return err
	}
	for name, err := range hotReads(ctx, tx{planConn{c, explain}}) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
}

func TestPostgreSQLReadsByIndex(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openURL(t, pgtest.Database(t), nil)
	c, err := s.writers.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	// Tables that are empty are scanned; what remains a scan now has no index.
	if err := simple(ctx, c.Conn(), "SET enable_seqscan = off; BEGIN"); err != nil {
		t.Fatal(err)
	}
	p := &pgTx{c: c.Conn()}
	explain := func(sql string, args []any) error {
		steps, err := scan(ctx, p, "EXPLAIN "+sql, args, func(s *string) []any { return []any{s} })
		for _, s := range steps {
			if strings.Contains(s, "Seq Scan") {
				err = errors.Join(err, fmt.Errorf("%s: %s", s, sql))
			}
		}
		return err
	}
	for name, err := range hotReads(ctx, tx{planConn{p, explain}}) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
