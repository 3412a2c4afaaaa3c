package pgtest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"tillandsia/syncserver/internal/pgtest"
)

// childEnv makes this test binary start a cluster, print its folder and wait
// to be killed; see TestClusterEndsWithItsProcess.
const childEnv = "PGTEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
	}
	os.Exit(m.Run())
}

func child() {
	c, err := pgtest.Start(context.Background(), pgtest.Options{})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Println(c.URL("postgres"))
	select {}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Some of these connections were cut on purpose.
		_ = conn.Close(context.WithoutCancel(t.Context()))
	})
	return conn
}

func query[T any](t *testing.T, conn *pgx.Conn, sql string) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func folder(t *testing.T, rawURL string) string {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("host")
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c, err := pgtest.Start(t.Context(), pgtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := c.CreateDatabase(t.Context(), `odd "name"`); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateDatabase(t.Context(), `odd "name"`); err == nil {
		t.Error("CreateDatabase made the same database twice")
	}
	address := c.URL(`odd "name"`)
	conn := connect(t, address)
	if _, err := conn.Exec(t.Context(), "CREATE TABLE n (n int); INSERT INTO n VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	if got := query[string](t, conn, "SHOW server_encoding"); got != "UTF8" {
		t.Errorf("server_encoding = %s, want UTF8", got)
	}
	if got := query[string](t, conn, "SHOW fsync"); got != "off" {
		t.Errorf("fsync = %s, want off", got)
	}

	// An orderly restart keeps the data and the address.
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("a connection survived the restart")
	}
	conn = connect(t, address)
	if _, err := conn.Exec(t.Context(), "INSERT INTO n VALUES (2)"); err != nil {
		t.Fatal(err)
	}

	// A crash keeps what was committed and nothing else.
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "INSERT INTO n VALUES (3)"); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(); err != nil {
		t.Errorf("Kill of a killed cluster = %v, want nil", err)
	}
	if _, err := pgx.Connect(t.Context(), address); err == nil {
		t.Error("a killed cluster accepts connections")
	}
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("a transaction was committed on a killed cluster")
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(c.Log(), "not properly shut down") {
		t.Errorf("after Kill the server found nothing to recover; its log:\n%s", c.Log())
	}
	if got := query[int](t, connect(t, address), "SELECT sum(n) FROM n"); got != 3 {
		t.Errorf("sum after the crash = %d, want 3", got)
	}

	// Stop leaves nothing.
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder(t, address)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("folder after Stop: %v, want it gone", err)
	}
	if err := c.Stop(); err != nil {
		t.Errorf("second Stop = %v, want nil", err)
	}
	if err := c.Restart(t.Context()); err == nil {
		t.Error("Restart of a removed cluster succeeded")
	}
}

func TestDurableClusterWithSettings(t *testing.T) {
	t.Parallel()
	c, err := pgtest.Start(t.Context(), pgtest.Options{Durable: true, Settings: map[string]string{"work_mem": "5MB"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	conn := connect(t, c.URL("postgres"))
	for setting, want := range map[string]string{
		"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "work_mem": "5MB", "listen_addresses": "",
	} {
		if got := query[string](t, conn, "SHOW "+setting); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
}

func TestDatabase(t *testing.T) {
	t.Parallel()
	var first string
	t.Run("is empty and a test's own", func(t *testing.T) {
		first = pgtest.Database(t)
		second := pgtest.Database(t)
		if first == second {
			t.Fatalf("Database gave %s twice", first)
		}
		if _, err := connect(t, first).Exec(t.Context(), "CREATE TABLE t (n int)"); err != nil {
			t.Fatal(err)
		}
		if n := query[int](t, connect(t, second), "SELECT count(*) FROM pg_class WHERE relname = 't'"); n != 0 {
			t.Error("one test's table is in another's database")
		}
	})
	if _, err := pgx.Connect(t.Context(), first); err == nil {
		t.Error("the database is there after its test")
	}
}

func TestStartThatFailsLeavesNothing(t *testing.T) {
	tests := []struct {
		name   string
		folder string
		cancel bool
		want   string
	}{
		{name: "cancelled", folder: "short", cancel: true, want: "context canceled"},
		{name: "a socket path that is too long", folder: strings.Repeat("long", 25), want: "set TMPDIR to a shorter folder"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// t.TempDir is closed to the user that the server runs as.
			root, err := os.MkdirTemp("", "pgtest-") //nolint:usetesting // see above
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.RemoveAll(root); err != nil {
					t.Error(err)
				}
			})
			temp := filepath.Join(root, tt.folder)
			if err := os.MkdirAll(temp, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("TMPDIR", temp)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.cancel {
				cancel()
			}
			if _, err := pgtest.Start(ctx, pgtest.Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Start = %v, want an error with %q", err, tt.want)
			}
			left, err := os.ReadDir(temp)
			if err != nil || len(left) > 0 {
				t.Errorf("after Start the temporary folder holds %v, %v", left, err)
			}
		})
	}
}

// The process that started a cluster is killed without any chance to tidy up;
// server and folder go with it.
func TestClusterEndsWithItsProcess(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "error ") {
		t.Fatalf("start of cluster in a process of its own: %q, %v", line, err)
	}
	address := strings.TrimSpace(line)
	conn := connect(t, address)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the killed process ended well")
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := conn.WaitForNotification(ctx); err == nil || ctx.Err() != nil {
		t.Fatalf("connection after the death of the process: %v, want it cut", err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(folder(t, address)); errors.Is(err, fs.ErrNotExist) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("folder %s is still there a minute after the death of its process", folder(t, address))
		}
	}
}
