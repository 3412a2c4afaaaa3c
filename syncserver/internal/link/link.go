// Package link is the sync endpoint of the server: GET /sync, a WebSocket for
// each register. It authenticates, admits, and drives the protocol's state
// machine [peer.Centre]; what a message means for the books is the ledger's.
//
// An idle connection costs one goroutine that reads. What it brings is worked
// off by a second one that ends when there is nothing left to do; pings and
// time limits are one goroutine's for all connections.
package link

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"
	"golang.org/x/time/rate"

	"tillandsia/shared/message"
	"tillandsia/shared/peer"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/store"
)

// Ledger is what the link calls of the server's application.
type Ledger interface {
	// Authenticate returns the register of a device token.
	Authenticate(ctx context.Context, token string) (store.Register, error)
	// Hello stores a hello and answers it; from then on older connections of
	// the register are fenced off.
	Hello(ctx context.Context, register store.Register, h *wire.Hello) (wire.Welcome, error)
	// Apply takes entries in; on return with nil they are durable.
	Apply(ctx context.Context, register store.Register, generation, epoch, first uint64, raw [][]byte) (wire.Ack, error)
	// Closes takes closes back.
	Closes(ctx context.Context, register store.Register, c *wire.Closes) error
	// Sessions returns what the register has to be told.
	Sessions(ctx context.Context, register store.Register) ([]wire.SessionTold, error)
	// Catalogue returns the page after a revision.
	Catalogue(ctx context.Context, pointOfSale, handle string, from uint64) (wire.Catalogue, error)
	Points(ctx context.Context, register store.Register, p *wire.Probe) (wire.Points, error)
	Fetch(ctx context.Context, register store.Register, f *wire.Fetch) ([][]byte, error)
	Renew(ctx context.Context, register store.Register, r *wire.Renew) (wire.Epoch, error)
	Find(ctx context.Context, register store.Register, f *wire.Find) (wire.Found, error)
	// Changes returns what changed since a mark, and the next mark: the codes
	// of points of sale whose sessions changed, and the catalogue's revision.
	Changes(ctx context.Context, since uint64) (points []string, revision, mark uint64, err error)
	// Code returns the error code of an error of the calls above; ok is false
	// where nothing may be said about the outcome.
	Code(err error) (code wire.Code, ok bool)
}

// Options are the settings of a hub.
type Options struct {
	// Handshakes is how many hellos a second are admitted, Burst how many at
	// once.
	Handshakes float64
	Burst      int
	// Changed tells that something was committed; polling makes a lost poke
	// harmless.
	Changed <-chan struct{}
	Clock   func() time.Time
	Logger  *slog.Logger
}

// Hub holds the connections of all registers.
type Hub struct {
	ledger  Ledger
	options Options
	limiter *rate.Limiter
	upgrade websocket.Upgrader
	log     *slog.Logger
	wg      sync.WaitGroup

	mu     sync.Mutex
	conns  map[*conn]struct{}
	byID   map[string]*conn
	closed bool

	metrics Metrics
}

// Metrics counts what the hub does.
type Metrics struct {
	mu        sync.Mutex
	Accepted  uint64
	Refused   uint64
	Entries   uint64
	Batches   uint64
	Replaced  uint64
	Troubles  uint64
	Connected int
}

// Buffers of a connection. Frames are larger than the buffers: gorilla reads
// and writes through them piece by piece.
const (
	readBuffer  = 1 << 10
	writeBuffer = 4 << 10
)

// How often the hub looks at all its connections, and polls for changes.
const (
	tick      = time.Second
	pollEvery = 2 * time.Second
)

// New returns a hub. The caller runs [Hub.Run] until it is done.
func New(l Ledger, o Options) *Hub {
	h := &Hub{
		ledger: l, options: o, log: o.Logger,
		limiter: rate.NewLimiter(rate.Limit(o.Handshakes), o.Burst),
		conns:   map[*conn]struct{}{}, byID: map[string]*conn{},
	}
	h.upgrade = websocket.Upgrader{
		HandshakeTimeout: peer.HelloLimit,
		ReadBufferSize:   readBuffer,
		WriteBufferSize:  writeBuffer,
		WriteBufferPool:  &sync.Pool{},
		Subprotocols:     wire.Subprotocols(),
		// Tills are no browsers: a request with an Origin is refused before.
		CheckOrigin: func(*http.Request) bool { return true },
	}
	return h
}

// Route adds the endpoint.
func (h *Hub) Route(engine *gin.Engine) { engine.GET("/sync", h.serve) }

// serve admits a register, cheap checks first.
func (h *Hub) serve(c *gin.Context) {
	r := c.Request
	if r.Header.Get("Origin") != "" || r.Header.Get("Cookie") != "" {
		h.refuse(c, http.StatusForbidden, "sync.browser")
		return
	}
	if wire.CommonSubprotocol(websocket.Subprotocols(r)) == "" {
		h.refuse(c, http.StatusBadRequest, "sync.version")
		return
	}
	if wait := h.admit(); wait > 0 {
		c.Header("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		h.refuse(c, http.StatusServiceUnavailable, "sync.slow")
		return
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		h.refuse(c, http.StatusUnauthorized, "sync.unknown_register")
		return
	}
	register, err := h.ledger.Authenticate(r.Context(), token)
	if err != nil {
		if m, known := errors.AsType[*message.Error](err); known && m.Class == message.Unauthorized {
			h.refuse(c, http.StatusUnauthorized, "sync.unknown_register")
			return
		}
		h.log.ErrorContext(r.Context(), "register not authenticated", "error", err)
		h.refuse(c, http.StatusServiceUnavailable, "sync.unavailable")
		return
	}
	socket, err := h.upgrade.Upgrade(c.Writer, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	h.start(socket, register)
}

// admit takes a token of the bucket, or says how long to wait for one.
func (h *Hub) admit() time.Duration {
	reservation := h.limiter.ReserveN(h.options.Clock(), 1)
	wait := reservation.DelayFrom(h.options.Clock())
	if wait == 0 {
		return 0
	}
	reservation.CancelAt(h.options.Clock())
	// A slot of its own for everyone who is sent away, so that they do not
	// come back at once.
	return wait + time.Duration(rand.Int64N(int64(5*time.Second)))
}

func (h *Hub) refuse(c *gin.Context, status int, key string) {
	h.metrics.add(func(m *Metrics) { m.Refused++ })
	c.AbortWithStatusJSON(status, wire.Error{Key: key, Message: message.Text(message.English, key, nil)})
}

// start begins a connection: the HTTP handler returns, a reader stays.
func (h *Hub) start(socket *websocket.Conn, register store.Register) {
	conn := newConn(h, socket, register)
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		conn.close()
		return
	}
	h.conns[conn] = struct{}{}
	// Under the lock, so that Run cannot wait before it is counted.
	h.wg.Go(conn.read)
	h.mu.Unlock()
	h.metrics.add(func(m *Metrics) { m.Accepted++; m.Connected++ })
	conn.push(peer.Opened{})
}

// greeted makes a connection the register's only one. Of two that said hello
// at once the one with the higher generation stays, whichever comes first.
func (h *Hub) greeted(c *conn, generation uint64) {
	h.mu.Lock()
	c.generation = generation
	older := h.byID[c.register.ID]
	if older != nil && older.generation > generation {
		older = c
	} else {
		h.byID[c.register.ID] = c
	}
	h.mu.Unlock()
	if older != nil {
		h.metrics.add(func(m *Metrics) { m.Replaced++ })
		h.log.Info("a newer connection took over", "register", c.register.ID, "code", c.register.Code)
		older.push(peer.Replaced{})
	}
}

func (h *Hub) gone(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.conns[c]; !ok {
		return
	}
	delete(h.conns, c)
	if h.byID[c.register.ID] == c {
		delete(h.byID, c.register.ID)
	}
	h.metrics.add(func(m *Metrics) { m.Connected-- })
}

// Run pings, keeps time limits and tells changes until ctx ends; then it
// closes every connection and waits until all are gone.
func (h *Hub) Run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	poll := time.NewTimer(pollEvery)
	defer poll.Stop()
	var mark, revision uint64
	for {
		select {
		case <-ctx.Done():
			h.shut()
			return nil
		case <-ticker.C:
			h.each(func(c *conn) { c.tick(h.options.Clock()) })
			continue
		case <-h.options.Changed:
		case <-poll.C:
		}
		poll.Reset(pollEvery - pollEvery/4 + time.Duration(rand.Int64N(int64(pollEvery/2))))
		points, newest, next, err := h.ledger.Changes(ctx, mark)
		if err != nil {
			if ctx.Err() == nil {
				h.log.ErrorContext(ctx, "changes not read", "error", err)
			}
			continue
		}
		mark = next
		h.tell(points, newest, newest != revision)
		revision = newest
	}
}

func (h *Hub) tell(points []string, revision uint64, catalogue bool) {
	if len(points) == 0 && !catalogue {
		return
	}
	changed := make(map[string]bool, len(points))
	for _, p := range points {
		changed[p] = true
	}
	h.each(func(c *conn) {
		if changed[c.register.PointOfSale] {
			c.push(peer.SessionsChanged{})
		}
		if catalogue {
			c.push(peer.CatalogueChanged{Revision: revision})
		}
	})
}

func (h *Hub) each(f func(*conn)) {
	h.mu.Lock()
	all := make([]*conn, 0, len(h.conns))
	for c := range h.conns {
		all = append(all, c)
	}
	h.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}

func (h *Hub) shut() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.each(func(c *conn) { c.close() })
	h.wg.Wait()
}

// Connected returns the ids of the registers that are connected.
func (h *Hub) Connected() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	ids := make(map[string]bool, len(h.byID))
	for id := range h.byID {
		ids[id] = true
	}
	return ids
}

func (m *Metrics) add(f func(*Metrics)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m)
}

// Counts is a reading of the metrics.
type Counts struct {
	Accepted, Refused, Entries, Batches, Replaced, Troubles uint64
	Connected                                               int
}

// Counts returns what the hub has done so far.
func (h *Hub) Counts() Counts {
	m := &h.metrics
	m.mu.Lock()
	defer m.mu.Unlock()
	return Counts{
		Accepted: m.Accepted, Refused: m.Refused, Entries: m.Entries, Batches: m.Batches,
		Replaced: m.Replaced, Troubles: m.Troubles, Connected: m.Connected,
	}
}
