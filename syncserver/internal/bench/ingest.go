package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	// registers is how many deliver their backlogs at once, at one point of
	// sale.
	registers = 16
	// closings is how many of their sessions are closed, one after the other.
	closings = 5

	ingestTarget = 0.4
	closeTarget  = time.Second
)

// round is what one round measured.
type round struct {
	ours, limit time.Duration
	closes      []time.Duration
}

// tables that take a row or more for each order, in the order in which they
// are written.
var tables = []string{"journal", "orders", "order_lines", "payments"}

// grown says how many rows a table held before and how many it holds now.
type grown struct {
	table       string
	before, now int
}

// growth returns the tables that have more rows than before; those of tables
// first.
func growth(before, now map[string]int) []grown {
	var out []grown
	for _, t := range tables {
		out = append(out, grown{t, before[t], now[t]})
	}
	var others []grown
	for t, n := range now {
		if n > before[t] && !slices.Contains(tables, t) {
			others = append(others, grown{t, before[t], n})
		}
	}
	slices.SortFunc(others, func(a, b grown) int { return a.now - a.before - (b.now - b.before) })
	return append(out, others...)
}

// checkGrowth fails where the server has not written what was delivered.
func (b *bench) checkGrowth(list []grown) error {
	orders := registers * b.Orders
	for i, want := range []int{orders, orders, 3 * orders, orders} {
		if g := list[i]; g.now-g.before != want {
			return fmt.Errorf("table %s has %d new rows, want %d", g.table, g.now-g.before, want)
		}
	}
	for _, g := range list {
		if g.table == "flags" {
			return fmt.Errorf("%d entries were flagged", g.now-g.before)
		}
	}
	return nil
}

// ingest starts a server on a database, lets the registers deliver their
// backlogs at once and closes some of the sessions.
func (b *bench) ingest(ctx context.Context, f *fabric, name, dir, database string) (took time.Duration, closes []time.Duration, err error) {
	s, err := b.start(ctx, dir, database)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	conns := make([]*connection, 0, len(f.tills))
	defer func() {
		for _, c := range conns {
			err = errors.Join(err, c.socket.Close())
		}
	}()
	for _, t := range f.tills {
		c, err := connect(ctx, s.URL, t)
		if err != nil {
			return 0, nil, err
		}
		conns = append(conns, c)
	}
	if b.Profile != "" {
		if err := s.profile(ctx, filepath.Join(b.Profile, name+".cpu.pprof")); err != nil {
			return 0, nil, err
		}
	}
	errs := make([]error, len(conns))
	var all sync.WaitGroup
	start := time.Now()
	for i, c := range conns {
		all.Go(func() { errs[i] = c.deliver() })
	}
	all.Wait()
	took = time.Since(start)
	b.logf("%s: %d orders in %v", name, registers*b.Orders, took.Round(time.Millisecond))
	if b.Profile != "" {
		if err := s.profile(ctx, ""); err != nil {
			return 0, nil, err
		}
	}
	if err := errors.Join(errs...); err != nil {
		return 0, nil, err
	}
	for _, c := range conns[:closings] {
		start := time.Now()
		var result struct {
			Session struct {
				State  string `json:"state"`
				Orders int    `json:"orders"`
			} `json:"session"`
			Posting *struct {
				Number string `json:"number"`
			} `json:"posting"`
		}
		body := map[string]any{"counted": false, "reason": "measured"}
		if err := s.Admin.Post(ctx, "/points-of-sale/"+c.PointOfSale+"/sessions/"+c.session+"/close", body, &result); err != nil {
			return 0, nil, err
		}
		closes = append(closes, time.Since(start))
		if result.Session.State != "closed" || result.Session.Orders != b.Orders || result.Posting == nil {
			return 0, nil, fmt.Errorf("session %s was closed as %+v", c.session, result)
		}
	}
	return took, closes, nil
}

// ingestFigures makes the lines of the table of one store.
func (b *bench) ingestFigures(store, limit string, rounds []round) []Figure {
	var ours, limits []float64
	var closes []time.Duration
	orders := registers * b.Orders
	for _, r := range rounds {
		ours = append(ours, rate(orders, r.ours))
		limits = append(limits, rate(orders, r.limit))
		closes = append(closes, r.closes...)
	}
	ratio := median(ours) / median(limits)
	shut := median(closes)
	return []Figure{
		{
			Name: "ingest to commit and ack, " + store + ", 16 registers with a backlog",
			Ours: thousands(median(ours)) + " orders/s", Limit: thousands(median(limits)) + " orders/s",
			Ratio: fmt.Sprintf("%.3f x", ratio), Target: fmt.Sprintf(">= %.1f x", ingestTarget), Met: ratio >= ingestTarget,
			Note: fmt.Sprintf("limit: %s; %d orders a round, entries of %d bytes", limit, orders, b.entrySize),
		},
		{
			Name: fmt.Sprintf("force close with posting, %s, session of %s orders", store, thousands(float64(b.Orders))),
			Ours: millis(shut), Target: "<= 1 s", Met: shut <= closeTarget,
			Note: fmt.Sprintf("p50 of %d closings over the API, the slowest %s", len(closes), millis(slices.Max(closes))),
		},
	}
}

// backlog sets an empty database up and writes the backlogs of its registers.
func (b *bench) backlog(ctx context.Context, database string) (*fabric, error) {
	f, err := setUp(ctx, database, 1, registers)
	if err != nil {
		return nil, err
	}
	if err := f.sell(b.Orders); err != nil {
		return nil, err
	}
	raw := f.tills[0].Raw
	b.entrySize = len(raw[len(raw)-1])
	b.logf("wrote %d journals of %d orders", len(f.tills), b.Orders)
	return f, nil
}
