package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"tillandsia/shared/message"
	"tillandsia/shared/peer"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/store"
)

const (
	// writeLimit is how long a frame may take to be written: a register that
	// reads slower is cut off and comes back.
	writeLimit = 30 * time.Second
	// lingerLimit is how long the last word may take to be read. A socket
	// closed at once, with frames unread, would take it back.
	lingerLimit = 3 * time.Second
	// maxPending is the most events that may wait for a connection's worker
	// before its reader waits too.
	maxPending = 64
)

// socket is what is used of a WebSocket; gorilla's connection is one.
type socket interface {
	NextReader() (kind int, frame io.Reader, err error)
	WriteMessage(kind int, data []byte) error
	WriteControl(kind int, data []byte, deadline time.Time) error
	SetReadLimit(limit int64)
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
	SetPongHandler(h func(data string) error)
	Close() error
}

// arrival is what waits for a connection's worker: an event, or a frame as it
// came. The worker decodes it, so that the reader, of which there is always
// one, needs little stack.
type arrival struct {
	event peer.CentreEvent
	kind  int
	data  []byte
}

// conn is a connection of a register. Its reader pushes events; whoever pushes
// the first one starts the worker, which steps the machine and does what it
// says until nothing is left. One worker at a time: it alone writes frames.
type conn struct {
	hub        *Hub
	socket     socket
	register   store.Register
	generation uint64          // under the hub's lock
	ctx        context.Context //nolint:containedctx // the connection's own life: ends with the socket
	cancel     context.CancelFunc
	heard      atomic.Int64 // when anything last came, since the hub began

	mu       sync.Mutex
	room     *sync.Cond
	pending  []arrival
	pingDue  bool
	working  bool
	lingers  bool // the last word is said
	gone     bool
	due      time.Time // when the machine wants to be woken
	nextPing time.Time

	machine *peer.Centre // the worker's
}

func newConn(h *Hub, s socket, register store.Register) *conn {
	ctx, cancel := context.WithCancel(context.Background())
	c := &conn{
		hub: h, socket: s, register: register, ctx: ctx, cancel: cancel,
		machine: peer.NewCentre(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
	}
	c.room = sync.NewCond(&c.mu)
	c.alive()
	c.nextPing = pingAt(h.options.Clock())
	s.SetReadLimit(wire.MaxFrame)
	s.SetPongHandler(func(string) error {
		c.alive()
		return nil
	})
	return c
}

func (c *conn) alive() { c.heard.Store(int64(c.hub.age(c.hub.options.Clock()))) }

// pingAt returns when to ping next: a fifth earlier or later, so that
// connections made at once drift apart.
func pingAt(now time.Time) time.Time {
	const fifth = peer.PingEvery / 5
	return now.Add(peer.PingEvery - fifth + time.Duration(rand.Int64N(int64(2*fifth))))
}

// read reads frames until the connection ends.
func (c *conn) read() {
	defer c.close()
	for {
		kind, frame, err := c.socket.NextReader()
		if err != nil {
			return
		}
		data, err := io.ReadAll(pulse{frame, c.alive})
		if err != nil {
			return
		}
		if !c.arrive(arrival{kind: kind, data: data}) {
			return
		}
	}
}

// pulse reports every piece that is read: a large frame over a slow line is no
// silence.
type pulse struct {
	io.Reader
	beat func()
}

func (p pulse) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.beat()
	return n, err
}

// decode returns the event that an arrival is.
func (c *conn) decode(a arrival) peer.CentreEvent {
	var event peer.CentreEvent
	var err error
	switch {
	case a.event != nil:
		return a.event
	case a.kind == websocket.TextMessage:
		var m any
		m, err = wire.Decode(a.data)
		event = peer.Heard{Message: m}
	case a.kind == websocket.BinaryMessage:
		var b *wire.Batch
		b, err = wire.DecodeBatch(a.data)
		event = peer.HeardBatch{Batch: b}
	}
	if err == nil {
		return event
	}
	c.hub.log.Warn("frame refused", "register", c.register.ID, "error", err)
	code := wire.CodeProtocol
	if errors.Is(err, wire.ErrTooLarge) {
		code = wire.CodeTooLarge
	}
	return peer.Refused{Error: wire.Error{Code: code, Key: "sync." + string(code)}}
}

// push hands an event to the worker.
func (c *conn) push(e peer.CentreEvent) { c.arrive(arrival{event: e}) }

// arrive hands an arrival to the worker and starts one where there is none. The
// reader waits while too many are pending. It returns false when the
// connection is over; what still comes after the last word is dropped.
func (c *conn) arrive(a arrival) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.event == nil {
		for len(c.pending) >= maxPending && !c.gone && !c.lingers {
			c.room.Wait()
		}
	}
	if c.gone || c.lingers {
		return !c.gone
	}
	c.pending = append(c.pending, a)
	c.start()
	return true
}

// start starts the worker, under the lock.
func (c *conn) start() {
	if !c.working {
		c.working = true
		c.hub.wg.Go(c.work)
	}
}

func (c *conn) work() {
	for {
		c.mu.Lock()
		ping := c.pingDue
		c.pingDue = false
		if c.gone || len(c.pending) == 0 && !ping {
			c.working = false
			c.pending = nil
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		if ping {
			if err := c.socket.WriteControl(websocket.PingMessage, nil, realNow().Add(writeLimit)); err != nil {
				c.close()
			}
		}
		c.handle()
	}
}

// handle steps the machine with what is pending and does what it says. A panic
// ends the connection, not the server; nothing is acknowledged.
func (c *conn) handle() {
	defer func() {
		if p := recover(); p != nil {
			c.hub.metrics.add(func(m *Counts) { m.Troubles++ })
			c.hub.log.Error("sync panicked", "register", c.register.ID, "panic", p, "stack", string(debug.Stack()))
			c.close()
		}
	}()
	actions := c.feed()
	for len(actions) > 0 {
		next := actions[0]
		actions = append(actions[1:], c.do(next)...)
	}
}

// feed steps the machine with all that is pending. Frames that lie ready go to
// it together, so that it can have them applied in one go.
func (c *conn) feed() []peer.CentreAction {
	c.mu.Lock()
	arrived := c.pending
	c.pending = nil
	c.room.Broadcast()
	c.mu.Unlock()
	events := make([]peer.CentreEvent, len(arrived))
	for i := range arrived {
		events[i] = c.decode(arrived[i])
	}
	var actions []peer.CentreAction
	for i, e := range events {
		if frame, ok := e.(peer.HeardBatch); ok && i+1 < len(events) {
			_, frame.More = events[i+1].(peer.HeardBatch)
			e = frame
		}
		actions = append(actions, c.step(e)...)
	}
	return actions
}

func (c *conn) step(e peer.CentreEvent) []peer.CentreAction {
	return c.machine.Step(e, c.hub.options.Clock())
}

// do does one action and returns the actions that its outcome leads to.
func (c *conn) do(a peer.CentreAction) []peer.CentreAction {
	ctx, ledger := c.ctx, c.hub.ledger
	switch a := a.(type) {
	case peer.Greet:
		return c.greet(a.Hello)
	case peer.Apply:
		ack, err := ledger.Apply(ctx, c.register, a.Generation, a.Batch.Epoch, a.Batch.First, a.Batch.Entries)
		if err != nil {
			return c.failed(err)
		}
		c.hub.metrics.add(func(m *Counts) { m.Batches++; m.Entries += uint64(len(a.Batch.Entries)) })
		// What came meanwhile is applied next, together.
		actions := c.feed()
		return append(actions, c.step(peer.Committed{Ack: &ack})...)
	case peer.LoadSessions:
		return c.load(func() ([]peer.CentreAction, error) {
			list, err := ledger.Sessions(ctx, c.register)
			if err != nil {
				return nil, err
			}
			return c.step(peer.Told{List: list}), nil
		})
	case peer.LoadCatalogue:
		return c.load(func() ([]peer.CentreAction, error) {
			page, err := ledger.Catalogue(ctx, c.register.PointOfSale, a.Handle, a.From)
			if err != nil {
				return nil, err
			}
			return c.step(peer.Paged{Page: &page}), nil
		})
	case peer.TakeCloses:
		if err := ledger.Closes(ctx, c.register, a.Closes); err != nil {
			return c.failed(err)
		}
		return c.step(peer.Taken{})
	case peer.Ask:
		answer, err := c.ask(a.Message)
		if err != nil {
			return c.failed(err)
		}
		return c.step(peer.Answered{Message: answer})
	case peer.LoadEntries:
		raw, err := ledger.Fetch(ctx, c.register, a.Fetch)
		if err != nil {
			return c.failed(err)
		}
		return c.step(peer.Fetched{Batch: wire.Batch{Epoch: a.Fetch.Epoch, First: a.Fetch.From, Entries: raw}})
	case peer.SendDown:
		c.send(a.Message)
	case peer.SendEntries:
		c.sendEntries(a.Batch)
	case peer.End:
		c.end(a.Error)
	case peer.WakeCentre:
		c.mu.Lock()
		c.due = a.At
		c.mu.Unlock()
	}
	return nil
}

func (c *conn) greet(h *wire.Hello) []peer.CentreAction {
	if h.Register != c.register.ID || h.PointOfSale != c.register.PointOfSale {
		// The token of one register with the journal of another.
		c.hub.log.Warn("a register says hello with the token of another", "register", c.register.ID, "says", h.Register)
		return c.step(peer.Refused{Error: wire.Error{Code: wire.CodeUnknown, Key: "sync.unknown_register"}})
	}
	welcome, err := c.hub.ledger.Hello(c.ctx, c.register, h)
	if err != nil {
		return c.failed(err)
	}
	c.hub.greeted(c, welcome.Generation)
	return c.step(peer.Greeted{Welcome: &welcome, Revoked: welcome.Revoked})
}

// load reads news, when it is this connection's turn.
func (c *conn) load(f func() ([]peer.CentreAction, error)) []peer.CentreAction {
	select {
	case c.hub.loads <- struct{}{}:
	case <-c.ctx.Done():
		return nil
	}
	defer func() { <-c.hub.loads }()
	actions, err := f()
	if err != nil {
		return c.failed(err)
	}
	return actions
}

func (c *conn) ask(question any) (any, error) {
	switch q := question.(type) {
	case *wire.Probe:
		points, err := c.hub.ledger.Points(c.ctx, c.register, q)
		return &points, err
	case *wire.Renew:
		epoch, err := c.hub.ledger.Renew(c.ctx, c.register, q)
		return &epoch, err
	case *wire.Find:
		found, err := c.hub.ledger.Find(c.ctx, c.register, q)
		return &found, err
	}
	return nil, fmt.Errorf("no question: %T", question)
}

// failed turns an error of the ledger into an event: with a code where
// something may be said, in silence where the outcome is unknown.
func (c *conn) failed(err error) []peer.CentreAction {
	code, sayable := c.hub.ledger.Code(err)
	switch {
	case c.ctx.Err() != nil:
		// The connection is gone: whatever it was, the next hello finds out.
		return c.step(peer.Troubled{})
	case !sayable, code == wire.CodeUnavailable:
		c.hub.metrics.add(func(m *Counts) { m.Troubles++ })
		c.hub.log.Error("sync in trouble", "register", c.register.ID, "outcome_known", sayable, "error", err)
		return c.step(peer.Troubled{Known: sayable})
	}
	c.hub.log.Warn("sync refused", "register", c.register.ID, "code", code, "error", err)
	return c.step(peer.Refused{Error: wire.Error{Code: code, Key: "sync." + string(code)}})
}

func (c *conn) send(m any) {
	data, err := wire.Encode(m)
	if err == nil {
		c.write(websocket.TextMessage, data)
		return
	}
	c.hub.log.Error("message not sent", "register", c.register.ID, "error", err)
	switch m.(type) {
	case *wire.SessionTold, *wire.Catalogue, *wire.Found:
		// News that no message can hold must not keep the money from coming.
	default:
		c.close()
	}
}

func (c *conn) sendEntries(b wire.Batch) {
	for len(b.Entries) > 0 {
		n, size := 0, 0
		for n < len(b.Entries) && wire.Fits(n, size, len(b.Entries[n])) {
			size += wire.Size(len(b.Entries[n]))
			n++
		}
		data, err := wire.EncodeBatch(&wire.Batch{Epoch: b.Epoch, First: b.First, Entries: b.Entries[:n]})
		if err != nil {
			c.hub.log.Error("entries not sent", "register", c.register.ID, "error", err)
			c.close()
			return
		}
		c.write(websocket.BinaryMessage, data)
		b.First += uint64(n)
		b.Entries = b.Entries[n:]
	}
}

func (c *conn) write(kind int, data []byte) {
	if err := c.socket.SetWriteDeadline(realNow().Add(writeLimit)); err != nil {
		c.close()
		return
	}
	if err := c.socket.WriteMessage(kind, data); err != nil {
		c.close()
	}
}

// end says why, if there is something to say, and leaves the register time to
// hear it and to hang up.
func (c *conn) end(e *wire.Error) {
	if e != nil {
		e.Message = message.Text(message.English, e.Key, e.Params)
		c.send(e)
	}
	deadline := realNow().Add(lingerLimit)
	c.mu.Lock()
	c.lingers = true
	c.pending = nil
	c.room.Broadcast()
	c.mu.Unlock()
	err := errors.Join(
		c.socket.SetReadDeadline(deadline),
		c.socket.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline),
	)
	if err != nil {
		c.close()
	}
}

// tick keeps the limits of a connection and has it pinged. It does not block.
func (c *conn) tick(now time.Time) {
	if c.hub.age(now)-time.Duration(c.heard.Load()) >= peer.SilenceLimit {
		c.hub.wg.Go(c.close) // TLS says goodbye, to nobody, for seconds
		return
	}
	c.mu.Lock()
	woken := !c.due.IsZero() && !now.Before(c.due)
	if woken {
		c.due = time.Time{}
	}
	if !now.Before(c.nextPing) && !c.gone && !c.lingers {
		c.nextPing = pingAt(now)
		c.pingDue = true
		c.start()
	}
	c.mu.Unlock()
	if woken {
		c.push(peer.CentreTicked{})
	}
}

// close ends the connection; it may be called often and from anywhere.
func (c *conn) close() {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return
	}
	c.gone = true
	c.room.Broadcast()
	c.mu.Unlock()
	c.cancel()
	_ = c.socket.Close() // it may be broken already
	c.hub.gone(c)
}

// realNow is the clock of sockets: their deadlines are the system's, whatever
// clock the server runs by.
func realNow() time.Time {
	return time.Now() //nolint:forbidigo // socket deadlines are in the system's time
}
