package uplink

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/peer"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
)

const registerID = "01J00000000000000000000R01"

// server is the other end: the protocol's machine over real sockets, with a
// ledger in memory.
type server struct {
	testing.TB
	web      *http.Server
	listener net.Listener
	serving  sync.WaitGroup

	mu         sync.Mutex
	held       [][]byte
	generation uint64
	greeted    chan *wire.Hello // each hello
	closes     int              // handed back before entries
	told       []wire.SessionTold
	pages      []wire.Catalogue
	sockets    map[*websocket.Conn]bool
	changed    *sync.Cond // something was taken in

	// What a test wants to happen, if set; called under the lock.
	refuse     func(w http.ResponseWriter) bool
	beforeTake func() (take, answer bool)
	deaf       bool // reads nothing any more
	subs       []string
}

func newServer(t testing.TB, listener net.Listener) *server {
	s := &server{TB: t, listener: listener, greeted: make(chan *wire.Hello, 100), sockets: map[*websocket.Conn]bool{}, subs: wire.Subprotocols()}
	s.changed = sync.NewCond(&s.mu)
	s.web = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	s.serving.Go(func() { _ = s.web.Serve(listener) }) // ends with stop
	return s
}

// stop ends the server and everything in it.
func (s *server) stop() {
	_ = s.web.Close()
	s.cut()
	s.serving.Wait()
}

// cut breaks all connections.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for socket := range s.sockets {
		_ = socket.Close()
	}
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	refused := s.refuse != nil && s.refuse(w)
	s.mu.Unlock()
	if refused {
		return
	}
	if got := r.Header.Get("Authorization"); got != "Bearer token" {
		s.Errorf("Authorization %q", got)
	}
	upgrade := websocket.Upgrader{Subprotocols: s.subs}
	socket, err := upgrade.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.sockets[socket] = true
	s.mu.Unlock()
	s.serving.Go(func() { s.talk(socket) })
}

// talk steps a machine with what comes and does what it says.
func (s *server) talk(socket *websocket.Conn) {
	defer func() {
		_ = socket.Close()
		s.mu.Lock()
		delete(s.sockets, socket)
		s.mu.Unlock()
	}()
	centre := peer.NewCentre(rand.New(rand.NewPCG(1, 1)))
	do := func(e peer.CentreEvent) bool { return s.do(socket, centre, centre.Step(e, time.Now())) }
	if !do(peer.Opened{}) {
		return
	}
	for {
		kind, data, err := socket.ReadMessage()
		if err != nil {
			return
		}
		s.mu.Lock()
		for s.deaf && s.sockets[socket] {
			s.changed.Wait()
		}
		s.mu.Unlock()
		var e peer.CentreEvent
		if kind == websocket.TextMessage {
			m, err := wire.Decode(data)
			if err != nil {
				s.Errorf("register sent %q: %v", data, err)
				return
			}
			e = peer.Heard{Message: m}
		} else {
			b, err := wire.DecodeBatch(data)
			if err != nil {
				s.Errorf("register sent a batch: %v", err)
				return
			}
			e = peer.HeardBatch{Batch: b}
		}
		if !do(e) {
			return
		}
	}
}

func (s *server) do(socket *websocket.Conn, centre *peer.Centre, actions []peer.CentreAction) bool {
	for len(actions) > 0 {
		var e peer.CentreEvent
		switch a := actions[0].(type) {
		case peer.Greet:
			e = s.hello(a.Hello)
		case peer.Apply:
			e = s.take(a)
		case peer.LoadSessions:
			s.mu.Lock()
			e = peer.Told{List: append([]wire.SessionTold(nil), s.told...)}
			s.mu.Unlock()
		case peer.LoadCatalogue:
			s.mu.Lock()
			page := s.pages[0]
			if len(s.pages) > 1 {
				s.pages = s.pages[1:]
			}
			s.mu.Unlock()
			e = peer.Paged{Page: &page}
		case peer.TakeCloses:
			s.mu.Lock()
			s.closes += len(a.Closes.Entries)
			s.mu.Unlock()
			e = peer.Taken{}
		case peer.Ask:
			if find, ok := a.Message.(*wire.Find); ok && find.Number != "lost" {
				e = peer.Answered{Message: &wire.Found{Ask: find.Ask, Raw: []byte(find.Number)}}
			}
		case peer.SendDown:
			data, err := wire.Encode(a.Message)
			if err != nil {
				s.Errorf("encode: %v", err)
				return false
			}
			if socket.WriteMessage(websocket.TextMessage, data) != nil {
				return false
			}
		case peer.End:
			if a.Error != nil {
				if data, err := wire.Encode(a.Error); err == nil {
					_ = socket.WriteMessage(websocket.TextMessage, data)
				}
			}
			return false
		}
		actions = actions[1:]
		if e != nil {
			actions = append(actions, centre.Step(e, time.Now())...)
		}
	}
	return true
}

func (s *server) cursor() entry.Point {
	p := entry.Point{Epoch: 1, Seq: uint64(len(s.held))}
	if len(s.held) > 0 {
		p.Hash = entry.HashOf(s.held[len(s.held)-1])
	}
	return p
}

func (s *server) hello(h *wire.Hello) peer.CentreEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation = 1 + max(s.generation, h.Generation)
	s.greeted <- h
	w := &wire.Welcome{
		Version: 1, Incarnation: "i1", Generation: s.generation, Window: 2, Retention: 400, Sessions: []wire.Session{},
		Epochs: []wire.EpochCursor{{Epoch: 1, Nonce: h.Nonce, Cursor: s.cursor()}},
	}
	if len(s.pages) > 0 {
		w.CatalogueHandle = "h"
	}
	return peer.Greeted{Welcome: w}
}

func (s *server) take(a peer.Apply) peer.CentreEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	take, answer := true, true
	if s.beforeTake != nil {
		take, answer = s.beforeTake()
	}
	if !take {
		return peer.Troubled{Known: true}
	}
	if a.Batch.First > uint64(len(s.held))+1 {
		s.Errorf("a batch from %d on %d entries", a.Batch.First, len(s.held))
		return peer.Troubled{}
	}
	for i, raw := range a.Batch.Entries {
		seq := a.Batch.First + uint64(i)
		e, err := entry.Decode(raw)
		if err != nil {
			s.Errorf("entry %d: %v", seq, err)
			return peer.Troubled{}
		}
		if seq <= uint64(len(s.held)) {
			if !slices.Equal(s.held[seq-1], raw) {
				s.Errorf("entry %d came with other bytes", seq)
			}
			continue
		}
		if err := entry.Follows(s.cursor(), &e); err != nil {
			s.Errorf("entry %d: %v", seq, err)
		}
		s.held = append(s.held, raw)
	}
	s.changed.Broadcast()
	if !answer {
		return peer.Troubled{}
	}
	return peer.Committed{Ack: &wire.Ack{Cursor: s.cursor()}}
}

// tell tells a session to who is connected from now on.
func (s *server) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.changed.Broadcast()
}

// await waits until the server holds what the journal does.
func (s *server) await(j *journal.Journal) {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.cursor() != j.Head() {
		s.changed.Wait()
	}
}

// cache is a catalogue cache in memory.
type cache struct {
	mu       sync.Mutex
	handle   string
	revision uint64
	things   int
	resets   int
	bad      bool
}

func (c *cache) Handle() (string, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handle, c.revision
}

func (c *cache) Apply(_ context.Context, page wire.Catalogue) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bad {
		return errors.New("it does not fit")
	}
	c.handle, c.revision, c.things = page.Handle, page.To, c.things+len(page.Things)
	return nil
}

func (c *cache) Reset(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handle, c.revision, c.things = "", 0, 0
	c.resets++
	return nil
}

// register is an uplink over a real journal.
type register struct {
	testing.TB
	*Uplink
	journal *journal.Journal
	cache   *cache
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newJournal(t testing.TB) *journal.Journal {
	t.Helper()
	j, err := journal.Create(t.Context(), journal.Options{
		Dir: filepath.Join(t.TempDir(), "data"), Clock: time.Now, Software: "register test", LockTimeout: time.Second,
		Identity: journal.Identity{PointOfSale: "SHOP1", Register: registerID, Code: "R1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// newRegister makes one; run starts it, stop ends it.
func newRegister(t testing.TB, url string, change ...func(*Options)) *register {
	t.Helper()
	r := &register{TB: t, journal: newJournal(t), cache: &cache{}}
	o := Options{
		Server: url, Token: "token", PointOfSale: "SHOP1", Register: registerID, Program: "register test", Journal: r.journal, Catalogue: r.cache,
		Clock: time.Now, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Random: rand.New(rand.NewPCG(3, 4)),
	}
	for _, f := range change {
		f(&o)
	}
	u, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Uplink = u
	return r
}

func (r *register) run() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.running.Go(func() {
		if err := r.Run(ctx); err != nil {
			r.Errorf("Run = %v", err)
		}
	})
}

func (r *register) stop() {
	r.cancel()
	r.running.Wait()
	if err := r.journal.Close(); err != nil {
		r.Errorf("Close = %v", err)
	}
}

// sell appends n entries, in commits of at most 50.
func (r *register) sell(n int) {
	r.Helper()
	for n > 0 {
		now := min(n, 50)
		n -= now
		_, err := r.journal.Append(r.Context(), func(tx *journal.Tx) error {
			for range now {
				if _, err := tx.Add(entry.KindReprinted, newID(time.Now()), pos.Event{Copy: now}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			r.Fatal(err)
		}
	}
}

// until waits for a status: it polls, for a status is a level.
func (r *register) until(phase peer.Phase, key string) {
	r.Helper()
	for end := time.Now().Add(time.Hour); ; {
		s := r.Status()
		if s.Phase == phase && s.Key == key {
			return
		}
		if time.Now().After(end) {
			r.Fatalf("status %s %q, want %s %q", s.Phase, s.Key, phase, key)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// synced waits until all is in and known to be.
func (r *register) synced(s *server) {
	r.Helper()
	s.await(r.journal)
	r.until(peer.Synced, "")
	if got := r.journal.Acked(); !slices.Equal(got, []entry.Point{r.journal.Head()}) {
		r.Errorf("acknowledged %v, head %v", got, r.journal.Head())
	}
	if got := r.Status(); got.Waiting != 0 {
		r.Errorf("%d entries wait", got.Waiting)
	}
}

// pipes is a listener whose connections are made by dialling it.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

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

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// overPipes starts a server and a register in a bubble. The server's ends of
// connections may be changed.
func overPipes(t *testing.T, change ...func(net.Listener) net.Listener) (*server, *register) {
	t.Helper()
	p := newPipes()
	var l net.Listener = p
	for _, f := range change {
		l = f(l)
	}
	s := newServer(t, l)
	r := newRegister(t, "http://127.0.0.1:1")
	r.dialer.NetDialContext = p.dial
	return s, r
}

// brittle is a listener whose connections break after so many bytes that were
// read from each, in the middle of whatever it is.
type brittle struct {
	net.Listener
	limit func() int
}

func (b brittle) Accept() (net.Conn, error) {
	c, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &brittleConn{Conn: c, left: b.limit()}, nil
}

type brittleConn struct {
	net.Conn
	left int
}

func (c *brittleConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
