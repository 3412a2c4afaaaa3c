package sqlstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// pokes carries pokes between servers by LISTEN and NOTIFY, each on a
// connection of its own: a NOTIFY inside the transaction that it tells of
// would take a lock of the whole database at its commit. Pokes are coalesced,
// and lost ones harmless: who is poked only looks sooner.
type pokes struct {
	config *pgx.ConnConfig
	log    *slog.Logger
	wake   func()
	own    string // our pokes come back to us under this word

	want   chan struct{} // a poke is to be sent
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

const (
	channel = "tillandsia"
	// pokeGap is the shortest time between two of our pokes.
	pokeGap = 20 * time.Millisecond
	// The time between attempts to connect.
	retryFirst = 100 * time.Millisecond
	retryLast  = 5 * time.Second
)

func startPokes(ctx context.Context, config *pgx.ConnConfig, log *slog.Logger, wake func()) *pokes {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &pokes{config: config, log: log, wake: wake, own: rand.Text(), want: make(chan struct{}, 1), cancel: cancel}
	p.wg.Go(func() { p.keep(ctx, "listen for pokes", p.listen) })
	p.wg.Go(func() { p.keep(ctx, "send pokes", p.notify) })
	return p
}

func (p *pokes) stop() {
	p.cancel()
	p.wg.Wait()
}

// send asks for a poke.
func (p *pokes) send() {
	select {
	case p.want <- struct{}{}:
	default:
	}
}

// keep runs work on a connection, and again on a new one when that is lost.
func (p *pokes) keep(ctx context.Context, what string, work func(context.Context, *pgx.Conn, func()) error) {
	wait := retryFirst
	for {
		err := p.once(ctx, work, func() { wait = retryFirst })
		if ctx.Err() != nil {
			return
		}
		p.log.Warn("lost a connection to PostgreSQL", "task", what, "error", err)
		t := time.NewTimer(wait/2 + mrand.N(wait)) //nolint:gosec // no secret
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		wait = min(2*wait, retryLast)
	}
}

func (p *pokes) once(ctx context.Context, work func(context.Context, *pgx.Conn, func()) error, up func()) error {
	c, err := pgx.ConnectConfig(ctx, p.config.Copy())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(ctx) // nothing is lost with it
	}()
	return work(ctx, c, up)
}

func (p *pokes) listen(ctx context.Context, c *pgx.Conn, up func()) error {
	if err := simple(ctx, c, "LISTEN "+channel); err != nil {
		return err
	}
	up()
	// Something may have been missed while nobody listened.
	p.wake()
	for {
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		if n.Payload != p.own {
			p.wake()
		}
	}
}

func (p *pokes) notify(ctx context.Context, c *pgx.Conn, up func()) error {
	up()
	for {
		select {
		case <-p.want:
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, err := c.Exec(ctx, "SELECT pg_notify($1, $2)", channel, p.own); err != nil {
			p.send()
			return err
		}
		t := time.NewTimer(pokeGap)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}
