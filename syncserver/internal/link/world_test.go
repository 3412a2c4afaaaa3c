package link_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"

	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/link"
	"tillandsia/syncserver/internal/store"
)

// Errors of the ledger under test, with what may be said about each.
var (
	errReplaced = errors.New("replaced")
	errChain    = errors.New("chain")
	errFork     = errors.New("fork")
	errTrouble  = errors.New("rolled back")
	errUnknown  = errors.New("unknown outcome")
)

// ledger is a ledger in memory: one epoch for each register.
type ledger struct {
	mu         sync.Mutex
	held       map[string][][]byte // by register
	points     map[string]entry.Point
	generation map[string]uint64
	applied    []int // entries of each Apply
	closes     int
	sessions   []wire.SessionTold
	revision   uint64
	mark       uint64
	polls      int
	revoked    bool

	// What a test wants to happen, if set.
	beforeApply  func(n int) error
	authenticate func() error
	page         func(from uint64) wire.Catalogue
}

func newLedger() *ledger {
	return &ledger{held: map[string][][]byte{}, points: map[string]entry.Point{}, generation: map[string]uint64{}, revision: 1, mark: 1}
}

func (l *ledger) Authenticate(_ context.Context, token string) (store.Register, error) {
	if l.authenticate != nil {
		if err := l.authenticate(); err != nil {
			return store.Register{}, err
		}
	}
	if token == "" || token == "wrong" {
		return store.Register{}, message.New(message.Unauthorized, "sync.unknown_register")
	}
	return store.Register{PointOfSale: "SHOP1", ID: token, Code: "R1"}, nil
}

func (l *ledger) Hello(_ context.Context, r store.Register, h *wire.Hello) (wire.Welcome, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.generation[r.ID] = 1 + max(l.generation[r.ID], h.Generation)
	w := wire.Welcome{
		Version: 1, Incarnation: "i1", Generation: l.generation[r.ID], Window: 4, CatalogueHandle: "h", CatalogueRev: l.revision, Revoked: l.revoked, Sessions: []wire.Session{},
		Epochs: []wire.EpochCursor{{Epoch: 1, Nonce: "n1", Cursor: l.cursor(r.ID)}},
	}
	return w, nil
}

func (l *ledger) cursor(id string) entry.Point {
	p := l.points[id]
	p.Epoch = 1
	return p
}

func (l *ledger) Apply(_ context.Context, r store.Register, generation, _, first uint64, raw [][]byte) (wire.Ack, error) {
	l.mu.Lock()
	before := l.beforeApply
	l.mu.Unlock()
	if before != nil {
		if err := before(len(raw)); err != nil {
			return wire.Ack{}, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	cursor := l.cursor(r.ID)
	switch {
	case generation != l.generation[r.ID]:
		return wire.Ack{}, errReplaced
	case first > cursor.Seq+1:
		return wire.Ack{}, errChain
	}
	for i, data := range raw {
		seq := first + uint64(i)
		if seq <= cursor.Seq {
			if string(l.held[r.ID][seq-1]) != string(data) {
				return wire.Ack{}, errFork
			}
			continue
		}
		l.held[r.ID] = append(l.held[r.ID], data)
		cursor = entry.Point{Epoch: 1, Seq: seq, Hash: entry.HashOf(data)}
	}
	l.points[r.ID] = cursor
	l.applied = append(l.applied, len(raw))
	return wire.Ack{Cursor: cursor}, nil
}

func (l *ledger) Closes(context.Context, store.Register, *wire.Closes) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closes++
	return nil
}

func (l *ledger) Sessions(context.Context, store.Register) ([]wire.SessionTold, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]wire.SessionTold(nil), l.sessions...), nil
}

func (l *ledger) Catalogue(_ context.Context, _, _ string, from uint64) (wire.Catalogue, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.page != nil {
		return l.page(from), nil
	}
	return wire.Catalogue{Handle: "h", From: from, To: l.revision, Things: []wire.Thing{}}, nil
}

func (l *ledger) Points(_ context.Context, r store.Register, p *wire.Probe) (wire.Points, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return wire.Points{Epoch: p.Epoch, Points: []entry.Point{l.cursor(r.ID)}}, nil
}

func (l *ledger) Fetch(_ context.Context, r store.Register, f *wire.Fetch) ([][]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[r.ID][f.From-1 : f.To], nil
}

func (l *ledger) Renew(_ context.Context, _ store.Register, r *wire.Renew) (wire.Epoch, error) {
	return wire.Epoch{Epoch: 2, Nonce: r.Nonce, Base: r.Base}, nil
}

func (l *ledger) Find(_ context.Context, _ store.Register, f *wire.Find) (wire.Found, error) {
	return wire.Found{Ask: f.Ask, Raw: []byte("order")}, nil
}

func (l *ledger) Changes(_ context.Context, since uint64) ([]string, uint64, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.polls++
	if since == 0 || since == l.mark {
		return nil, l.revision, l.mark, nil
	}
	return []string{"SHOP1"}, l.revision, l.mark, nil
}

func (l *ledger) Code(err error) (wire.Code, bool) {
	switch {
	case errors.Is(err, errReplaced):
		return wire.CodeReplaced, true
	case errors.Is(err, errChain):
		return wire.CodeChain, true
	case errors.Is(err, errFork):
		return wire.CodeFork, true
	case errors.Is(err, errUnknown), errors.Is(err, context.Canceled):
		return "", false
	}
	return wire.CodeUnavailable, true
}

// change changes something under the lock.
func (l *ledger) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// entries returns n entries of register r from a sequence on, of a size.
func entries(first uint64, n, size int) wire.Batch {
	b := wire.Batch{Epoch: 1, First: first}
	for i := range n {
		raw := make([]byte, size)
		copy(raw, fmt.Sprintf("entry %d", first+uint64(i)))
		b.Entries = append(b.Entries, raw)
	}
	return b
}

// server is a hub behind an HTTP server, over TCP or, in a bubble, over pipes.
type server struct {
	testing.TB
	hub    *link.Hub
	ledger *ledger
	dialer websocket.Dialer
	url    string
	poke   chan struct{}
	stop   func()
}

// pipes is a listener whose connections are made by dialling it.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func serve(t testing.TB, l *ledger, change ...func(*link.Options)) *server {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return start(t, l, listener, websocket.Dialer{}, change...)
}

// servePipes is for a bubble: what it starts ends when stop is called.
func servePipes(t testing.TB, l *ledger, change ...func(*link.Options)) *server {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	dialer := websocket.Dialer{NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		near, far := net.Pipe()
		select {
		case p.conns <- far:
			return near, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
	return start(t, l, p, dialer, change...)
}

func start(t testing.TB, l *ledger, listener net.Listener, dialer websocket.Dialer, change ...func(*link.Options)) *server {
	gin.SetMode(gin.ReleaseMode)
	s := &server{TB: t, ledger: l, dialer: dialer, url: "ws://" + listener.Addr().String() + "/sync", poke: make(chan struct{}, 1)}
	if listener.Addr().Network() != "tcp" {
		s.url = "ws://server/sync"
	}
	s.dialer.Subprotocols = wire.Subprotocols()
	o := link.Options{
		Handshakes: 10_000, Burst: 10_000, Changed: s.poke, Clock: time.Now,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	}
	for _, f := range change {
		f(&o)
	}
	s.hub = link.New(l, o)
	engine := gin.New()
	s.hub.Route(engine)
	web := &http.Server{Handler: engine, ReadHeaderTimeout: 5 * time.Second}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.hub.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	running.Go(func() { _ = web.Serve(listener) }) // ends with Close
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			cancel()
			if err := web.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			running.Wait()
		})
	}
	t.Cleanup(s.stop)
	return s
}

// client is a register's end, by hand.
type client struct {
	testing.TB
	*websocket.Conn
	id     string
	frames chan any // messages, batches; closed at the end
	pings  chan struct{}
	mute   atomic.Bool // answers no ping any more
}

func (s *server) request(id string, change ...func(http.Header)) (*websocket.Conn, *http.Response, error) {
	header := http.Header{"Authorization": {"Bearer " + id}}
	for _, f := range change {
		f(header)
	}
	return s.dialer.DialContext(s.Context(), s.url, header)
}

// dial connects and reads on from then.
func (s *server) dial(id string) *client {
	s.Helper()
	socket, res, err := s.request(id)
	if err != nil {
		s.Fatalf("dial = %v", err)
	}
	if err := res.Body.Close(); err != nil {
		s.Fatal(err)
	}
	c := &client{TB: s.TB, Conn: socket, id: id, frames: make(chan any, 1024), pings: make(chan struct{}, 1024)}
	pong := socket.PingHandler()
	socket.SetPingHandler(func(data string) error {
		c.pings <- struct{}{}
		if c.mute.Load() {
			return nil
		}
		return pong(data)
	})
	go c.read()
	s.Cleanup(func() { _ = c.Close() })
	return c
}

func (c *client) read() {
	defer close(c.frames)
	for {
		kind, data, err := c.ReadMessage()
		if err != nil {
			return
		}
		var m any
		if kind == websocket.TextMessage {
			m, err = wire.Decode(data)
		} else {
			m, err = wire.DecodeBatch(data)
		}
		if err != nil {
			c.Errorf("server sent %q: %v", data, err)
			return
		}
		c.frames <- m
	}
}

func (c *client) send(m any) {
	c.Helper()
	data, err := wire.Encode(m)
	if err != nil {
		c.Fatal(err)
	}
	if err := c.WriteMessage(websocket.TextMessage, data); err != nil {
		c.Fatalf("write = %v", err)
	}
}

func (c *client) sendBatch(b wire.Batch) {
	c.Helper()
	data, err := wire.EncodeBatch(&b)
	if err != nil {
		c.Fatal(err)
	}
	if err := c.WriteMessage(websocket.BinaryMessage, data); err != nil {
		c.Fatalf("write = %v", err)
	}
}

// next returns what comes next, of a kind; io.EOF at the end of the connection.
func next[T any](c *client) (T, error) {
	c.Helper()
	m, ok := <-c.frames
	if !ok {
		var none T
		return none, io.EOF
	}
	got, ok := m.(T)
	if !ok {
		if e, is := m.(*wire.Error); is {
			c.Fatalf("got error %s, want a %T", e.Code, got)
		}
		c.Fatalf("got %T, want a %T", m, got)
	}
	return got, nil
}

func must[T any](c *client) T {
	c.Helper()
	m, err := next[T](c)
	if err != nil {
		c.Fatalf("the connection ended, want a %T", m)
	}
	return m
}

// ended requires that nothing more comes.
func (c *client) ended() {
	c.Helper()
	if m, err := next[any](c); err == nil {
		c.Fatalf("got %T, want the end", m)
	}
}

func (c *client) hello() *wire.Welcome {
	c.Helper()
	c.send(&wire.Hello{Version: 1, PointOfSale: "SHOP1", Register: c.id, CatalogueHandle: "h", CatalogueRev: 1})
	return must[*wire.Welcome](c)
}

// greet connects and says hello.
func (s *server) greet(id string) *client {
	s.Helper()
	c := s.dial(id)
	c.hello()
	return c
}

// bubble runs f in virtual time, where nothing that it started may be left.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func told(id string) wire.SessionTold {
	return wire.SessionTold{Session: wire.Session{Stamp: pos.Stamp{ID: id}, State: "opened"}}
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
