package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tillandsia/syncserver/internal/world"
)

// dice returns a source of chance and says how to have the same again.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// pause lets a time go by while programs work.
func (f *shopfloor) pause(d time.Duration) {
	f.Helper()
	select {
	case <-time.After(d):
	case <-f.ctx.Done():
		f.Fatal(f.ctx.Err())
	}
}

// crowd is several customers at once at a till.
type crowd struct {
	t    *till
	wg   sync.WaitGroup
	stop chan struct{}

	mu sync.Mutex
	// open are sales that were not answered: they will be asked for again.
	open []pending
	errs []error
}

type pending struct {
	sale  sale
	total int64
}

// crowd begins to sell to n customers at once, until it is ended or the
// register dies.
func (t *till) crowd(n int) *crowd {
	c := &crowd{t: t, stop: make(chan struct{})}
	for range n {
		c.wg.Go(c.queue)
	}
	return c
}

func (c *crowd) queue() {
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		s, total := c.t.sale()
		err := c.t.ask(s, total)
		if err == nil {
			continue
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open = append(c.open, pending{s, total})
		if refused(err) {
			c.errs = append(c.errs, err)
		}
		return
	}
}

// end waits until the last customer is served, or the register has died.
func (c *crowd) end() []pending {
	c.t.floor.Helper()
	close(c.stop)
	c.wg.Wait()
	c.t.floor.must(errors.Join(c.errs...))
	return c.open
}

// served waits until a till has sold so many orders.
func (t *till) served(n int) {
	t.floor.Helper()
	t.floor.must(world.Eventually(t.floor.ctx, world.Patience, func(context.Context) error {
		if sold := t.sold(); sold < n {
			return fmt.Errorf("register %s has sold %d orders, not %d yet", t.Code, sold, n)
		}
		return nil
	}))
}

// backlog has the tills sell n orders each without a connection.
func (f *shopfloor) backlog(n int) {
	f.Helper()
	var group sync.WaitGroup
	for _, t := range f.tills {
		t.cut()
	}
	for _, t := range f.tills {
		group.Go(func() {
			for range n {
				if err := t.ask(t.sale()); err != nil {
					f.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if f.Failed() {
		f.FailNow()
	}
}

// A register that dies in the middle of sales has every order whose call was
// answered, once, and goes on with the next number. A sale whose answer was
// lost is asked for again by its id, and sells once.
func TestRegisterKilled(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	f := openShop(t, "", "R1")
	r := f.tills[0]
	lost := 0
	for round := range 4 {
		if round == 1 || round == 2 {
			r.cut() // the same without a connection
		} else {
			r.Proxy.Restore()
		}
		sold := r.sold()
		c := r.crowd(6)
		r.served(sold + 5 + rnd.IntN(20))
		f.pause(time.Duration(rnd.IntN(20)) * time.Millisecond)
		r.Kill()
		again := c.end()
		lost += len(again)
		if told, err := world.Run(f.ctx, programs.Register, "journal", "verify", "--data", r.Data()); err != nil {
			t.Fatalf("%v\n%s", err, told)
		}
		r.restart()
		for _, p := range again {
			f.must(r.ask(p.sale, p.total))
			f.must(r.ask(p.sale, p.total)) // sent twice it sells once
		}
		r.sell(1)
	}
	if lost == 0 {
		t.Error("no sale was under way at any kill")
	}
	r.Proxy.Restore()
	f.check()
}

// middle lets a backlog go and waits for a moment in the middle of its ingest.
func (f *shopfloor) middle(rnd *rand.Rand) {
	f.Helper()
	for _, t := range f.tills {
		t.Proxy.Slow(time.Duration(rnd.IntN(4))*time.Millisecond, 512+rnd.IntN(4096))
		t.Proxy.Restore()
	}
	t := f.tills[rnd.IntN(len(f.tills))]
	t.wait(func(s status) error {
		if s.Phase == "offline" || s.Phase == "greeting" {
			return fmt.Errorf("register %s is %s", t.Code, s.Phase)
		}
		return nil
	})
	f.pause(time.Duration(rnd.IntN(150)) * time.Millisecond)
}

// midway counts the tills that have not delivered everything.
func (f *shopfloor) midway() int {
	f.Helper()
	n := 0
	for _, t := range f.tills {
		var s status
		f.must(t.user.Get(f.ctx, "/sync", &s))
		if s.Waiting > 0 {
			n++
		}
	}
	return n
}

// whole gives the tills a whole connection again.
func (f *shopfloor) whole() {
	for _, t := range f.tills {
		t.Proxy.Slow(0, 0)
		t.Proxy.Restore()
	}
}

// A server that dies in the middle of ingest has lost nothing that it had
// acknowledged, and doubles nothing that it had not.
func TestServerKilled(t *testing.T) {
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			rnd := dice(t)
			f := openShop(t, s.database(t), "R1", "R2")
			midway := 0
			for range 4 {
				f.backlog(40)
				f.middle(rnd)
				f.server.Kill()
				midway += f.midway()
				f.must(f.server.Restart(f.ctx))
			}
			if midway == 0 {
				t.Error("no kill came in the middle of ingest")
			}
			f.whole()
			f.check()
		})
	}
}

// PostgreSQL dies in the middle of ingest and comes back; the server goes on
// by itself.
func TestPostgreSQLKilled(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	pg, database := cluster(t)
	f := openShop(t, database, "R1", "R2")
	midway := 0
	for range 4 {
		f.backlog(40)
		f.middle(rnd)
		f.must(pg.Kill())
		midway += f.midway()
		for _, r := range f.tills {
			r.sell(2) // nobody at a till notices
		}
		f.must(pg.Restart(f.ctx))
	}
	if midway == 0 {
		t.Error("no kill came in the middle of ingest")
	}
	f.whole()
	f.check()
}

// The connection is cut, slowed down to small pieces and comes back at random
// while both tills sell, and somebody closes a session from the centre.
func TestConnectionFaults(t *testing.T) {
	t.Parallel()
	rnd := dice(t)
	f := openShop(t, "", "R1", "R2")
	closeAt := 10 + rnd.IntN(20)
	for i := range 50 {
		r := f.tills[rnd.IntN(len(f.tills))]
		switch rnd.IntN(6) {
		case 0:
			r.Proxy.Cut()
		case 1:
			r.Proxy.Restore()
		case 2:
			r.Proxy.Slow(time.Duration(rnd.IntN(5))*time.Millisecond, 1+rnd.IntN(700))
		case 3:
			r.Proxy.Cut()
			r.Proxy.Restore()
		default:
			r.sell(1 + rnd.IntN(4))
		}
		if i == closeAt {
			f.forceClose(r)
		}
		f.pause(time.Duration(rnd.IntN(40)) * time.Millisecond)
	}
	f.whole()
	for _, r := range f.tills {
		r.sell(1)
	}
	f.check()
}

// forceClose closes a till's session from the centre, where the centre knows
// of it.
func (f *shopfloor) forceClose(r *till) {
	f.Helper()
	var page struct {
		Items []struct {
			ID       string `json:"id"`
			Register string `json:"register"`
		} `json:"items"`
	}
	f.must(f.server.Manager.Get(f.ctx, "/sessions?rescue=false&pos="+pointOfSale, &page))
	for _, s := range page.Items {
		if s.Register == r.ID {
			f.must(f.server.Manager.Post(f.ctx, "/points-of-sale/"+pointOfSale+"/sessions/"+s.ID+"/close",
				map[string]any{"counted": false, "reason": "closing time"}, nil))
		}
	}
}

// files copies the files of a SQLite database, whose server is stopped.
func (f *shopfloor) files(from, to string) {
	f.Helper()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		data, err := os.ReadFile(from + suffix)
		if errors.Is(err, os.ErrNotExist) {
			err = os.Remove(to + suffix)
			if errors.Is(err, os.ErrNotExist) {
				err = nil
			}
			f.must(err)
			continue
		}
		f.must(err)
		f.must(os.WriteFile(to+suffix, data, 0o600))
	}
}

// An old copy of the server's database is put back under live tills: they send
// again what it has lost, and nothing is doubled.
func TestOldCopyPutBack(t *testing.T) {
	tests := []struct {
		name string
		// between is what happens that the copy knows nothing of.
		between func(f *shopfloor)
	}{
		{"orders lost", func(f *shopfloor) {
			for _, r := range f.tills {
				r.sell(12)
				r.synced()
			}
		}},
		// What closed a session is handed back with later work: until then the
		// late orders are booked in the session that is open again.
		{"a close and its rescue lost", func(f *shopfloor) {
			f.tills[0].sell(4)
			f.tills[0].synced()
			f.forceClose(f.tills[0])
			for _, r := range f.tills {
				r.sell(4)
				r.synced()
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := openShop(t, "", "R1", "R2")
			for _, r := range f.tills {
				r.sell(8)
				r.synced()
			}
			database, old := f.server.DatabaseFile(), filepath.Join(t.TempDir(), "old.db")
			f.must(f.server.Stop())
			f.files(database, old)
			f.must(f.server.Restart(f.ctx))
			tt.between(f)

			f.must(f.server.Stop())
			f.files(old, database)
			f.must(f.server.Restart(f.ctx))
			for _, r := range f.tills {
				r.sell(3)
			}
			f.check()
		})
	}
}
