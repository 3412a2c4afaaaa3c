package sqlstore

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"tillandsia/syncserver/internal/pgtest"
	"tillandsia/syncserver/internal/store"
	"tillandsia/syncserver/internal/store/storetest"
)

func openURL(t *testing.T, url string, f *faults) *pgStore {
	t.Helper()
	s, err := Open(t.Context(), Options{Database: url, AllowUnsafe: true, Connections: 4, faults: f})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	p, ok := s.(*pgStore)
	if !ok {
		t.Fatalf("Open gave a %T", s)
	}
	return p
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return openURL(t, pgtest.Database(t), nil) })
	storetest.RunReopen(t, func(t *testing.T) func(t *testing.T) store.Store {
		url := pgtest.Database(t)
		return func(t *testing.T) store.Store { return openURL(t, url, nil) }
	})
	storetest.RunUnknown(t, func(t *testing.T) (store.Store, storetest.Fault) {
		var cut cutter
		s := openURL(t, pgtest.Database(t), &faults{dial: cut.dial})
		return s, cut.arm
	})
}

// cutter cuts a connection at its next COMMIT: instead of passing it on, or
// after the server has answered it.
type cutter struct {
	mu       sync.Mutex
	armed    bool
	happened bool
}

func (c *cutter) arm(happened bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed, c.happened = true, happened
}

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return &cutConn{Conn: conn, cutter: c}, err
}

type cutConn struct {
	net.Conn
	cutter *cutter
}

func (c *cutConn) Write(b []byte) (int, error) {
	c.cutter.mu.Lock()
	cut, happened := c.cutter.armed && bytes.Contains(b, []byte("commit\x00")), c.cutter.happened
	if cut {
		c.cutter.armed = false
	}
	c.cutter.mu.Unlock()
	if !cut {
		return c.Conn.Write(b)
	}
	if happened {
		if _, err := c.Conn.Write(b); err != nil {
			return 0, err
		}
		if _, err := c.Read(make([]byte, 100)); err != nil {
			return 0, err
		}
	}
	return len(b), c.Close()
}

func TestPostgreSQLRefusesUnsafeServers(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	_, err := Open(t.Context(), Options{Database: url})
	if err == nil || !strings.Contains(err.Error(), "fsync off") {
		t.Errorf("Open = %v on a server without fsync, want a refusal", err)
	}
	// A database that would forget commits is told not to.
	admin(t, url, "ALTER DATABASE "+pgx.Identifier{databaseName(url)}.Sanitize()+" SET synchronous_commit = off")
	s := openURL(t, url, nil)
	c, err := s.writers.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	var commit string
	if err := c.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&commit); err != nil || commit != "on" {
		t.Errorf("synchronous_commit = %s, %v, want on", commit, err)
	}
}

func databaseName(url string) string {
	_, path, _ := strings.Cut(url, "@/")
	name, _, _ := strings.Cut(path, "?")
	return name
}

// admin runs a statement on a connection of its own.
func admin(t *testing.T, url, sql string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if _, err := c.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestPostgreSQLSeveralServersStartAtOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := Open(t.Context(), Options{Database: url, AllowUnsafe: true})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestPostgreSQLLostConnections(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := pgtest.Database(t)
	s := openURL(t, url, nil)
	set := func() error {
		return s.Update(ctx, func(tx store.Tx) error { return tx.SetMeta(ctx, "k", []byte("v")) })
	}
	get := func() error {
		return s.View(ctx, func(r store.Reader) error { _, err := r.Meta(ctx, "k"); return err })
	}
	const end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
	// Several idle connections in each pool, all of which the server ends.
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			if err := errors.Join(s.Update(ctx, func(store.Tx) error { <-gate; return nil }), s.View(ctx, func(store.Reader) error { <-gate; return nil })); err != nil {
				t.Error(err)
			}
		})
	}
	close(gate)
	wg.Wait()
	if err := set(); err != nil {
		t.Fatal(err)
	}
	admin(t, url, end)
	if err := errors.Join(set(), get()); err != nil {
		t.Errorf("after the server ended all connections: %v", err)
	}
	// One that is ended in the middle of a transaction runs again.
	runs := 0
	err := s.Update(ctx, func(tx store.Tx) error {
		if runs++; runs == 1 {
			admin(t, url, end) //nolint:contextcheck // it has the context of the test
		}
		return tx.SetMeta(ctx, "k", []byte("w"))
	})
	if err != nil || runs != 2 {
		t.Errorf("Update = %v after %d runs, want 2", err, runs)
	}
}

func TestPostgreSQLPokesOtherServers(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	one, two := openURL(t, url, nil), openURL(t, url, nil)
	changed, cancel := two.Changed()
	defer cancel()
	// Begun anew now that someone waits: the first poke says that it listens.
	two.pokes.stop()
	two.pokes = startPokes(t.Context(), two.pokes.config, two.pokes.log, two.wake)
	<-changed
	one.Poke(t.Context())
	<-changed
}

func TestPostgreSQLIdentity(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := pgtest.Database(t)
	s := openURL(t, url, nil)
	first, err := s.Identity(ctx)
	if err != nil {
		t.Fatal(err)
	}
	other, err := openURL(t, pgtest.Database(t), nil).Identity(ctx)
	if err != nil || other == first {
		t.Errorf("Identity = %s, %v of another database of the cluster", other, err)
	}
	// A dump that is restored makes the tables anew.
	admin(t, url, "ALTER TABLE meta RENAME TO old; CREATE TABLE meta (LIKE old)")
	again, err := s.Identity(ctx)
	if err != nil || again == first {
		t.Errorf("Identity = %s, %v after the tables were made anew", again, err)
	}
}

func TestPostgreSQLUserWithoutRights(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	role := "r_" + databaseName(url)
	admin(t, url, "CREATE ROLE "+role+" LOGIN; GRANT CREATE ON SCHEMA public TO "+role)
	t.Cleanup(func() {
		c, err := pgx.Connect(context.WithoutCancel(t.Context()), url)
		if err == nil {
			_, err = c.Exec(context.WithoutCancel(t.Context()), "DROP OWNED BY "+role+"; DROP ROLE "+role)
			err = errors.Join(err, c.Close(context.WithoutCancel(t.Context())))
		}
		if err != nil {
			t.Error(err)
		}
	})
	s := openURL(t, strings.Replace(url, "postgres@", role+"@", 1), nil)
	if id, err := s.Identity(t.Context()); err != nil || id == "" {
		t.Errorf("Identity = %q, %v for a plain user", id, err)
	}
}
