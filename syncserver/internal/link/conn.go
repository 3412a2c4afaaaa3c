package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"tillandsia/shared/message"
	"tillandsia/shared/peer"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/store"
)

// writeLimit is how long a frame may take to be written: a register that reads
// slower is cut off and comes back.
const writeLimit = 30 * time.Second

// maxPending is the most events that may wait for a connection's worker before
// its reader waits too.
const maxPending = 64

// conn is a connection of a register. Its reader pushes events; whoever pushes
// the first one starts the worker, which steps the machine and does what it
// says until nothing is left. One worker at a time: it alone writes frames.
type conn struct {
	hub      *Hub
	socket   *websocket.Conn
	register store.Register
	ctx      context.Context //nolint:containedctx // the connection's own life: ends with the socket
	cancel   context.CancelFunc

	mu      sync.Mutex
	room    *sync.Cond
	pending []peer.CentreEvent
	working bool
	gone    bool

	machine *peer.Centre // the worker's
	// generation is that of the welcome, under the hub's lock.
	generation uint64
	due        time.Time
	heard      time.Time // when anything last came, under mu
	pinged     time.Time
}

func newConn(h *Hub, socket *websocket.Conn, register store.Register) *conn {
	ctx, cancel := context.WithCancel(context.Background())
	c := &conn{hub: h, socket: socket, register: register, ctx: ctx, cancel: cancel, machine: peer.NewCentre(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))}
	c.room = sync.NewCond(&c.mu)
	c.heard = h.options.Clock()
	c.pinged = c.heard
	socket.SetReadLimit(wire.MaxFrame)
	socket.SetPongHandler(func(string) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.heard = h.options.Clock()
		return nil
	})
	return c
}

// read reads frames until the connection ends.
func (c *conn) read() {
	defer c.close()
	for {
		kind, frame, err := c.socket.NextReader()
		if err != nil {
			return
		}
		data, err := io.ReadAll(frame)
		if err != nil {
			return
		}
		c.mu.Lock()
		c.heard = c.hub.options.Clock()
		c.mu.Unlock()
		event, err := decode(kind, data)
		if err != nil {
			c.push(peer.Refused{Error: wire.Error{Code: wire.CodeProtocol, Key: "sync.protocol"}})
			c.hub.log.Warn("frame refused", "register", c.register.ID, "error", err)
			return
		}
		if !c.push(event) {
			return
		}
	}
}

func decode(kind int, data []byte) (peer.CentreEvent, error) {
	switch kind {
	case websocket.TextMessage:
		m, err := wire.Decode(data)
		return peer.Heard{Message: m}, err
	case websocket.BinaryMessage:
		b, err := wire.DecodeBatch(data)
		return peer.HeardBatch{Batch: b}, err
	}
	return nil, fmt.Errorf("frame of kind %d", kind)
}

// push hands an event to the worker and starts one where there is none. It
// waits while too many are pending, and returns false when the connection is
// over.
func (c *conn) push(e peer.CentreEvent) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, frame := e.(peer.HeardBatch); frame {
		for len(c.pending) >= maxPending && !c.gone {
			c.room.Wait()
		}
	}
	if c.gone {
		return false
	}
	c.pending = append(c.pending, e)
	if !c.working {
		c.working = true
		c.hub.wg.Go(c.work)
	}
	return true
}

func (c *conn) work() {
	for {
		c.mu.Lock()
		if c.gone || len(c.pending) == 0 {
			c.working = false
			c.pending = nil
			c.mu.Unlock()
			return
		}
		events := c.pending
		c.pending = nil
		c.room.Broadcast()
		c.mu.Unlock()
		for i := 0; i < len(events); i++ {
			// Frames that lie ready go to the machine before it applies the
			// first of them, so that it can take them in one go.
			actions := c.machine.Step(events[i], c.hub.options.Clock())
			for len(actions) > 0 {
				if _, slow := actions[0].(peer.Apply); slow && i+1 < len(events) {
					i++
					actions = append(actions, c.machine.Step(events[i], c.hub.options.Clock())...)
					continue
				}
				actions = append(actions[1:], c.do(actions[0])...)
			}
		}
	}
}

// do does one action and returns the actions that its outcome leads to.
func (c *conn) do(a peer.CentreAction) []peer.CentreAction {
	ctx := c.ctx
	switch a := a.(type) {
	case peer.Greet:
		welcome, err := c.hub.ledger.Hello(ctx, c.register, a.Hello)
		if err != nil {
			return c.failed(err)
		}
		c.hub.greeted(c, welcome.Generation)
		return c.step(peer.Greeted{Welcome: &welcome, Revoked: c.register.State == store.RegisterRevoked})
	case peer.Apply:
		ack, err := c.hub.ledger.Apply(ctx, c.register, a.Generation, a.Batch.Epoch, a.Batch.First, a.Batch.Entries)
		if err != nil {
			return c.failed(err)
		}
		c.hub.metrics.add(func(m *Metrics) { m.Batches++; m.Entries += uint64(len(a.Batch.Entries)) })
		return c.step(peer.Committed{Ack: &ack})
	case peer.LoadSessions:
		list, err := c.hub.ledger.Sessions(ctx, c.register)
		if err != nil {
			return c.failed(err)
		}
		return c.step(peer.Told{List: list})
	case peer.LoadCatalogue:
		page, err := c.hub.ledger.Catalogue(ctx, c.register.PointOfSale, a.Handle, a.From)
		if err != nil {
			return c.failed(err)
		}
		return c.step(peer.Paged{Page: &page})
	case peer.TakeCloses:
		if err := c.hub.ledger.Closes(ctx, c.register, a.Closes); err != nil {
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
		raw, err := c.hub.ledger.Fetch(ctx, c.register, a.Fetch)
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

func (c *conn) step(e peer.CentreEvent) []peer.CentreAction {
	return c.machine.Step(e, c.hub.options.Clock())
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
	if !sayable {
		c.hub.metrics.add(func(m *Metrics) { m.Troubles++ })
		if c.ctx.Err() == nil {
			c.hub.log.Error("sync stopped without an answer", "register", c.register.ID, "error", err)
		}
		return c.step(peer.Troubled{})
	}
	c.hub.log.Warn("sync refused", "register", c.register.ID, "code", code, "error", err)
	return c.step(peer.Refused{Error: wire.Error{Code: code, Key: "sync." + string(code)}})
}

func (c *conn) send(m any) {
	data, err := wire.Encode(m)
	if err != nil {
		c.hub.log.Error("message not sent", "register", c.register.ID, "error", err)
		c.close()
		return
	}
	c.write(websocket.TextMessage, data)
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
	if err := c.socket.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		c.close()
		return
	}
	if err := c.socket.WriteMessage(kind, data); err != nil {
		c.close()
	}
}

// end says why, if there is something to say, and closes.
func (c *conn) end(e *wire.Error) {
	if e != nil {
		e.Message = message.Text(message.English, e.Key, e.Params)
		if data, err := wire.Encode(e); err == nil {
			c.write(websocket.TextMessage, data)
		}
	}
	c.close()
}

// tick pings and keeps the limits of a connection.
func (c *conn) tick(now time.Time) {
	c.mu.Lock()
	silent, ping := now.Sub(c.heard), now.Sub(c.pinged)
	due := c.due
	if !due.IsZero() && !now.Before(due) {
		c.due = time.Time{}
	}
	if ping >= peer.PingEvery {
		// A fifth of jitter, so that connections made at once drift apart.
		c.pinged = now.Add(time.Duration(now.UnixNano()%int64(peer.PingEvery/5)) - peer.PingEvery/10)
	}
	c.mu.Unlock()
	switch {
	case silent >= peer.SilenceLimit:
		c.close()
	case !due.IsZero() && !now.Before(due):
		c.push(peer.CentreTicked{})
	case ping >= peer.PingEvery:
		err := c.socket.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Second))
		if err != nil && !errors.Is(err, websocket.ErrCloseSent) && !isTimeout(err) {
			c.close()
		}
	}
}

func isTimeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
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
