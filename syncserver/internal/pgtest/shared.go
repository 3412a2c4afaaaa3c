package pgtest

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"time"
)

// startLimit bounds how long a test waits for a cluster on a busy machine.
const startLimit = 2 * time.Minute

// shared is the cluster of this test binary. It belongs to no test, so it
// starts under a context of its own and ends with the process.
var shared = sync.OnceValues(func() (*Cluster, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return Start(ctx, Options{})
})

// Shared returns the one cluster of this test binary. The first call starts
// it; it ends with the process. Tests must not stop, kill or restart it, since
// others use it at the same time. It never skips: where PostgreSQL is missing,
// the test fails and says how to install it.
func Shared(tb testing.TB) *Cluster {
	tb.Helper()
	c, err := shared()
	if err != nil {
		tb.Fatalf("start shared PostgreSQL: %v", err)
	}
	return c
}

// Database makes an empty database of its own for the test on the shared
// cluster and returns its URL. The database is dropped when the test ends,
// whoever is still connected to it.
func Database(tb testing.TB) string {
	tb.Helper()
	c := Shared(tb)
	name := "t_" + strings.ToLower(rand.Text())
	if err := c.CreateDatabase(tb.Context(), name); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		// The context of the test is cancelled before its cleanups run.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), startLimit)
		defer cancel()
		if err := c.DropDatabase(ctx, name); err != nil {
			tb.Error(err)
		}
	})
	return c.URL(name)
}
