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

// Options are the settings of a hub.
type Options struct {
	// Handshakes is how many hellos a second are admitted, Burst how many at
	// once.
	Handshakes float64
	Burst      int
	// Changed tells that something was committed; polling makes a lost poke
	// harmless.
	Changed <-chan struct{}
	// Alarm, if set, is called when connections of a register replace each
	// other again and again: two devices use one identity. It must not block.
	Alarm  func(register store.Register)
	Clock  func() time.Time
	Logger *slog.Logger
}

// Hub holds the connections of all registers.
type Hub struct {
	ledger  Ledger
	options Options
	limiter *rate.Limiter
	upgrade websocket.Upgrader
	log     *slog.Logger
	began   time.Time
	wg      sync.WaitGroup

	// loads bounds how many connections read news of sessions and catalogue at
	// once: a change that concerns all registers must not crowd out entries.
	loads chan struct{}

	mu       sync.Mutex
	conns    map[*conn]struct{}
	byID     map[string]*conn
	replaced map[string][]time.Time // when a register's connection was replaced
	closed   bool
	drained  chan struct{} // closed once closed and without connections

	metrics metrics
}

// Counts is what a hub has done since it began, and how many are connected.
type Counts struct {
	Accepted, Refused, Entries, Batches, Replaced, Alarms, Troubles uint64
	Connected                                                       int
}

type metrics struct {
	mu sync.Mutex
	Counts
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

const (
	// stopLimit is how long registers have to hear that the server stops.
	stopLimit = 5 * time.Second
	// stopWait is when they are asked to come back, once to twice.
	stopWait = time.Second
	// maxLoads is how many connections read news at once.
	maxLoads = 8
	// alarmAfter replacements within alarmWithin are an alarm.
	alarmAfter  = 3
	alarmWithin = time.Minute
)

// New returns a hub. The caller runs [Hub.Run] until it is done.
func New(l Ledger, o Options) *Hub {
	h := &Hub{
		ledger: l, options: o, log: o.Logger, began: o.Clock(),
		limiter: rate.NewLimiter(rate.Limit(o.Handshakes), o.Burst),
		loads:   make(chan struct{}, maxLoads),
		conns:   map[*conn]struct{}{}, byID: map[string]*conn{}, replaced: map[string][]time.Time{}, drained: make(chan struct{}),
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

// age returns how long the hub has been there: unlike the time of day it never
// jumps, so that setting the clock ends no connection.
func (h *Hub) age(now time.Time) time.Duration { return now.Sub(h.began) }

// Route adds the endpoint.
func (h *Hub) Route(engine *gin.Engine) { engine.GET("/sync", h.serve) }

// serve admits a register, cheap checks first.
func (h *Hub) serve(c *gin.Context) {
	r := c.Request
	if r.Header.Get("Origin") != "" || r.Header.Get("Cookie") != "" {
		h.refuse(c, http.StatusForbidden, wire.CodeProtocol, "sync.browser")
		return
	}
	if wire.CommonSubprotocol(websocket.Subprotocols(r)) == "" {
		h.refuse(c, http.StatusBadRequest, wire.CodeVersion, "sync.version")
		return
	}
	if wait := h.admit(); wait > 0 {
		c.Header("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		h.refuse(c, http.StatusServiceUnavailable, wire.CodeUnavailable, "sync.slow")
		return
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		h.refuse(c, http.StatusUnauthorized, wire.CodeUnknown, "sync.unknown_register")
		return
	}
	register, err := h.ledger.Authenticate(r.Context(), token)
	if err != nil {
		if m, known := errors.AsType[*message.Error](err); known && m.Class == message.Unauthorized {
			h.refuse(c, http.StatusUnauthorized, wire.CodeUnknown, "sync.unknown_register")
			return
		}
		h.log.ErrorContext(r.Context(), "register not authenticated", "error", err)
		h.refuse(c, http.StatusServiceUnavailable, wire.CodeUnavailable, "sync.unavailable")
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

func (h *Hub) refuse(c *gin.Context, status int, code wire.Code, key string) {
	h.metrics.add(func(m *Counts) { m.Refused++ })
	c.AbortWithStatusJSON(status, wire.Error{Code: code, Key: key, Message: message.Text(message.English, key, nil)})
}

// start begins a connection: the HTTP handler returns, a reader stays.
func (h *Hub) start(s socket, register store.Register) {
	conn := newConn(h, s, register)
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
	h.metrics.add(func(m *Counts) { m.Accepted++; m.Connected++ })
	conn.push(peer.Opened{})
}

// greeted makes the connection with the highest generation the register's only
// one.
func (h *Hub) greeted(c *conn, generation uint64) {
	id := c.register.ID
	h.mu.Lock()
	c.generation = generation
	loser := h.byID[id]
	if loser != nil && loser.generation > generation {
		loser = c
	} else {
		h.byID[id] = c
	}
	alarm := false
	if loser != nil {
		now := h.options.Clock()
		recent := append(since(h.replaced[id], now.Add(-alarmWithin)), now)
		if alarm = len(recent) >= alarmAfter; alarm {
			recent = nil // the next alarm takes as many again
		}
		h.replaced[id] = recent
	}
	h.mu.Unlock()
	if loser == nil {
		return
	}
	h.metrics.add(func(m *Counts) { m.Replaced++ })
	h.log.Info("a newer connection took over", "register", id, "code", c.register.Code)
	loser.push(peer.Replaced{})
	if !alarm {
		return
	}
	h.metrics.add(func(m *Counts) { m.Alarms++ })
	h.log.Error("connections of a register replace each other: is it running on two devices?", "register", id, "code", c.register.Code, "point_of_sale", c.register.PointOfSale)
	if h.options.Alarm != nil {
		h.options.Alarm(c.register)
	}
}

// since leaves out the times before one.
func since(times []time.Time, begin time.Time) []time.Time {
	for len(times) > 0 && times[0].Before(begin) {
		times = times[1:]
	}
	return times
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
	h.metrics.add(func(m *Counts) { m.Connected-- })
	if h.closed && len(h.conns) == 0 {
		close(h.drained)
	}
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
			now := h.options.Clock()
			h.each(func(c *conn) { c.tick(now) })
			h.forget(now)
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

// forget drops what is too old for an alarm.
func (h *Hub) forget(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, times := range h.replaced {
		if recent := since(times, now.Add(-alarmWithin)); len(recent) > 0 {
			h.replaced[id] = recent
		} else {
			delete(h.replaced, id)
		}
	}
}

// shut lets batches that are being applied come to their answer, asks the
// registers to come back, and ends whoever has not gone by then.
func (h *Hub) shut() {
	h.mu.Lock()
	h.closed = true
	if len(h.conns) == 0 {
		close(h.drained)
	}
	h.mu.Unlock()
	h.each(func(c *conn) { c.push(peer.Stopping{After: stopWait}) })
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-h.drained:
	case <-limit.C:
	}
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

func (m *metrics) add(f func(*Counts)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.Counts)
}

// Counts returns what the hub has done so far.
func (h *Hub) Counts() Counts {
	h.metrics.mu.Lock()
	defer h.metrics.mu.Unlock()
	return h.metrics.Counts
}
