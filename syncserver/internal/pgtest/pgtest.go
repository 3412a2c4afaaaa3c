// Package pgtest starts a private PostgreSQL cluster for tests, for the story
// and for the bench.
//
// A cluster has a folder of its own under the system's temporary folder and
// listens on a Unix socket in it, nowhere else. It is gone when [Cluster.Stop]
// returns, and it also ends, folder included, when the process that started
// it dies in any way. PostgreSQL refuses to run as root; where the process is
// root, the server runs as the user postgres or nobody.
//
// Tests use [Database]: one cluster per test binary, a fresh database per
// test. Tests that stop, kill or restart the server start their own with
// [Start]. Nothing here skips: where PostgreSQL's programs are missing, the
// test fails and the message says how to install them.
//
// The package does not install PostgreSQL and knows nothing about the tables
// of the project.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrMissing is returned when PostgreSQL's server programs are not found.
var ErrMissing = errors.New("PostgreSQL's server programs initdb and postgres are neither in PATH nor in /usr/lib/postgresql/*/bin; on Debian, install them with: apt-get install postgresql")

const (
	superuser = "postgres"
	port      = "5432"
	// socketLimit is the longest path that a Unix socket can have.
	socketLimit = 107
	// stopLimit bounds the wait for an orderly end before the server is
	// killed.
	stopLimit = 30 * time.Second
	// leaveLimit bounds the wait for the server's children to leave after
	// the server itself has ended.
	leaveLimit = 15 * time.Second
)

// Options say how a cluster is made. The zero value is right for tests.
type Options struct {
	// Durable makes commits wait for the disk, as in production. Without it
	// a commit survives the death of every process, but not of the machine.
	// Measurements set it.
	Durable bool
	// Settings are further settings of the server, such as
	// "shared_buffers": "512MB". They win over those of this package.
	Settings map[string]string
}

// Cluster is a running or stopped PostgreSQL server with its data. Its
// methods may be called from several goroutines.
type Cluster struct {
	dir    string // sockets and the folder data
	bin    string
	opt    Options
	owner  *owner // nil where the server runs as the user of this process
	keeper *keeper

	mu     sync.Mutex
	server *server // nil while stopped
	gone   bool    // Stop has removed the folder
}

// Start makes a cluster, starts its server and returns when it accepts
// connections. The context bounds the start only; the cluster lives until
// [Cluster.Stop] or the end of the process. It returns [ErrMissing] when
// PostgreSQL is not installed.
func Start(ctx context.Context, opt Options) (_ *Cluster, err error) {
	bin, err := findPrograms(debianPrograms)
	if err != nil {
		return nil, err
	}
	own, err := serverUser()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tillandsia-pg-")
	if err != nil {
		return nil, fmt.Errorf("make folder of cluster: %w", err)
	}
	c := &Cluster{dir: dir, bin: bin, opt: opt, owner: own}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	if n := len(c.socket()); n > socketLimit {
		return nil, fmt.Errorf("socket path %s has %d bytes, more than %d: set TMPDIR to a shorter folder", c.socket(), n, socketLimit)
	}
	if own != nil {
		if err := os.Chown(dir, own.uid, own.gid); err != nil {
			return nil, fmt.Errorf("give folder of cluster to %s: %w", own.name, err)
		}
	}
	if c.keeper, err = startKeeper(ctx, dir); err != nil {
		return nil, err
	}
	if err := c.initialise(ctx); err != nil {
		return nil, err
	}
	if err := c.Restart(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Stop ends the server in an orderly way and removes the cluster with all its
// data. Stopping a stopped cluster does nothing.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return nil
	}
	c.gone = true
	err := c.halt(syscall.SIGINT)
	if rerr := os.RemoveAll(c.dir); rerr != nil {
		err = errors.Join(err, fmt.Errorf("remove folder of cluster: %w", rerr))
	}
	c.keeper.release()
	return err
}

// Kill ends the server by SIGKILL and returns when its last process has left.
// The data stay as they are; [Cluster.Restart] recovers from them as after a
// crash. Killing a stopped server does nothing.
func (c *Cluster) Kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.halt(syscall.SIGKILL)
}

// Restart stops the server in an orderly way where it runs, starts it on the
// same data and socket, and returns when it accepts connections. URLs given
// out before stay valid.
func (c *Cluster) Restart(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return errors.New("restart cluster: it was stopped and removed")
	}
	if err := c.halt(syscall.SIGINT); err != nil {
		return err
	}
	args := []string{"-D", c.data()}
	settings := c.settings()
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	s, err := startServer(c.command(context.WithoutCancel(ctx), "postgres", args...))
	if err != nil {
		return err
	}
	c.server = s
	select {
	case <-s.log.ready:
		return nil
	case <-s.ended:
		c.server = nil
		return fmt.Errorf("start postgres: it ended at once (%w); its log:\n%s", s.err, s.log.tail())
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("start postgres: %w; its log:\n%s", context.Cause(ctx), s.log.tail()), c.halt(syscall.SIGKILL))
	}
}

// URL returns the address of a database of the cluster for pgx and for the
// server's --database. The database need not exist yet.
func (c *Cluster) URL(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/" + database}
	u.RawQuery = url.Values{"host": {c.dir}, "port": {port}, "sslmode": {"disable"}}.Encode()
	return u.String()
}

// CreateDatabase makes an empty database. It fails where one of that name
// exists.
func (c *Cluster) CreateDatabase(ctx context.Context, name string) error {
	if err := c.exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// DropDatabase removes a database, and ends the connections that are open to
// it. A database that does not exist is no error.
func (c *Cluster) DropDatabase(ctx context.Context, name string) error {
	if err := c.exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

// Log returns the end of what the running server has written to its log.
func (c *Cluster) Log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return ""
	}
	return c.server.log.tail()
}

// exec runs one statement on a connection of its own to the maintenance
// database.
func (c *Cluster) exec(ctx context.Context, sql string) (err error) {
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	_, err = conn.Exec(ctx, sql)
	return err
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

func (c *Cluster) socket() string { return filepath.Join(c.dir, ".s.PGSQL."+port) }

// settings returns the server's settings for this cluster.
func (c *Cluster) settings() map[string]string {
	s := map[string]string{
		"listen_addresses":        "",
		"unix_socket_directories": c.dir,
		"port":                    port,
		"max_connections":         "200",
		"timezone":                "UTC",
		"log_timezone":            "UTC",
	}
	if !c.opt.Durable {
		s["fsync"] = "off"
		s["full_page_writes"] = "off"
	}
	maps.Copy(s, c.opt.Settings)
	return s
}

// initialise runs initdb.
func (c *Cluster) initialise(ctx context.Context) error {
	args := []string{"-D", c.data(), "-U", superuser, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"}
	if !c.opt.Durable {
		args = append(args, "--no-sync")
	}
	if out, err := c.command(ctx, "initdb", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb in %s: %w; it said:\n%s", c.dir, err, out)
	}
	return nil
}

// command prepares one of PostgreSQL's programs: as the server's user, in the
// cluster's folder, and deaf to PG variables of the caller's environment.
func (c *Cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC"}
	cmd.SysProcAttr = processAttr(c.owner)
	cmd.WaitDelay = leaveLimit
	return cmd
}

// halt signals the running server, if there is one, and waits for its end. An
// orderly stop that takes too long becomes a kill and an error.
func (c *Cluster) halt(sig syscall.Signal) error {
	s := c.server
	if s == nil {
		return nil
	}
	c.server = nil
	// A server that has ended already is no error: it is what was asked for.
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal postgres: %w", err)
	}
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-s.ended:
		return nil
	case <-limit.C:
		err := s.cmd.Process.Kill()
		<-s.ended
		return errors.Join(fmt.Errorf("stop postgres: not ended after %v; its log:\n%s", stopLimit, s.log.tail()), err)
	}
}

// server is one run of the program postgres.
type server struct {
	cmd   *exec.Cmd
	log   *serverLog
	ended chan struct{} // closed when it and its children have left
	err   error         // how it ended; valid after ended
}

// startServer starts the program and a goroutine that waits for its end.
//
// The kernel sends the death signal when the thread that started the child
// ends. The goroutine therefore keeps its thread until the child has ended.
// The log is a pipe that all children of the server hold, so its end tells
// that the last of them has left.
func startServer(cmd *exec.Cmd) (*server, error) {
	s := &server{cmd: cmd, log: &serverLog{ready: make(chan struct{})}, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = s.log, s.log
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		s.err = cmd.Wait()
		if s.err == nil {
			s.err = errors.New("exit status 0")
		}
		close(s.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start postgres: %w", err)
	}
	return s, nil
}

// serverLog keeps the end of the server's log and tells when the server
// accepts connections.
type serverLog struct {
	ready chan struct{}

	mu   sync.Mutex
	text []byte
	told bool
}

const (
	logLimit  = 64 << 10
	readyLine = "database system is ready to accept connections"
)

// Write implements [io.Writer].
func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if !l.told && strings.Contains(string(l.text), readyLine) {
		l.told = true
		close(l.ready)
	}
	if over := len(l.text) - logLimit; over > 0 {
		l.text = slices.Delete(l.text, 0, over)
	}
	return len(p), nil
}

func (l *serverLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(string(l.text))
}

// keeper is a small process that outlives this one: when its standard input
// ends, it ends a server that is left in the folder and removes the folder.
type keeper struct {
	cmd   *exec.Cmd
	input io.Closer
}

// keeperScript waits for the end of its input. Where the folder still exists
// then, the process that made it has died without Stop. SIGQUIT is
// PostgreSQL's immediate shutdown; it removes postmaster.pid at its end.
const keeperScript = `
cat >/dev/null
[ -d "$1" ] || exit 0
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do
  [ -e "$1/data/postmaster.pid" ] || break
  sleep 1
done
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
`

func startKeeper(ctx context.Context, dir string) (*keeper, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "sh", "-c", keeperScript, "sh", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = keeperAttr()
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start keeper of cluster: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start keeper of cluster: %w", err)
	}
	return &keeper{cmd: cmd, input: input}, nil
}

// release ends the keeper after the folder is gone. Its exit code says
// nothing that Stop has not found out itself.
func (k *keeper) release() {
	if k == nil {
		return
	}
	_ = k.input.Close()
	_ = k.cmd.Wait()
}

// owner is the user that the server runs as.
type owner struct {
	name     string
	uid, gid int
}

// serverUser returns the user to run the server as, or nil where this process
// may run it itself.
func serverUser() (*owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			return nil, fmt.Errorf("read id of user %s: %w", name, err)
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			return nil, fmt.Errorf("read group of user %s: %w", name, err)
		}
		return &owner{name: name, uid: uid, gid: gid}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody to run it as")
}

// debianPrograms is where Debian puts the programs of each version.
const debianPrograms = "/usr/lib/postgresql/*/bin/initdb"

// findPrograms returns the folder of initdb and postgres: the one in PATH, or
// the one of the newest version that the pattern finds.
func findPrograms(pattern string) (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", fmt.Errorf("look for PostgreSQL: %w", err)
	}
	best, bestVersion := "", -1
	for _, path := range found {
		bin := filepath.Dir(path)
		version, err := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
		if err == nil && version > bestVersion {
			best, bestVersion = bin, version
		}
	}
	if best == "" {
		return "", ErrMissing
	}
	return best, nil
}
