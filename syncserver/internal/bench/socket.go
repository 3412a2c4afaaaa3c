package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"tillandsia/shared/wire"
)

// connection is a fabricated register's connection to the real endpoint.
type connection struct {
	*fabricated
	socket *websocket.Conn
	window int
	acked  uint64
}

// connect connects a register and says hello.
func connect(ctx context.Context, server string, t *fabricated) (*connection, error) {
	dialer := websocket.Dialer{HandshakeTimeout: time.Minute, Subprotocols: wire.Subprotocols(), ReadBufferSize: 1 << 10, WriteBufferSize: 4 << 10}
	header := http.Header{"Authorization": {"Bearer " + t.token}}
	url := "ws" + strings.TrimPrefix(server, "http") + "/sync"
	c := &connection{fabricated: t, acked: t.sent}
	for {
		socket, answer, err := dialer.DialContext(ctx, url, header)
		if answer != nil && err != nil {
			_ = answer.Body.Close() // nothing of it is needed
			if seconds, aerr := strconv.Atoi(answer.Header.Get("Retry-After")); aerr == nil {
				if err := wait(ctx, time.Duration(seconds)*time.Second); err != nil {
					return nil, err
				}
				continue
			}
		}
		if err != nil {
			return nil, fmt.Errorf("connect register %s: %w", t.Register, err)
		}
		c.socket = socket
		break
	}
	if err := c.greet(); err != nil {
		return nil, errors.Join(err, c.socket.Close())
	}
	return c, nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *connection) greet() error {
	data, err := wire.Encode(c.hello())
	if err != nil {
		return err
	}
	if err := c.socket.WriteMessage(websocket.TextMessage, data); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	for {
		m, err := c.read()
		if err != nil {
			return err
		}
		if w, ok := m.(*wire.Welcome); ok {
			c.window = w.Window
			if len(w.Epochs) == 0 || w.Epochs[len(w.Epochs)-1].Cursor.Seq != c.sent {
				return fmt.Errorf("register %s was welcomed with %+v, not at %d", c.Register, w.Epochs, c.sent)
			}
			return nil
		}
	}
}

// read reads a control message.
func (c *connection) read() (any, error) {
	kind, data, err := c.socket.ReadMessage()
	if err != nil {
		return nil, fmt.Errorf("register %s: %w", c.Register, err)
	}
	if kind != websocket.TextMessage {
		return nil, fmt.Errorf("register %s was sent entries", c.Register)
	}
	m, err := wire.Decode(data)
	if err != nil {
		return nil, err
	}
	switch m := m.(type) {
	case *wire.Error:
		return nil, fmt.Errorf("register %s was told %s: %s", c.Register, m.Code, m.Message)
	case *wire.Slow:
		return nil, fmt.Errorf("register %s was told to come back in %d ms", c.Register, m.Milliseconds)
	}
	return m, nil
}

// deliver sends the backlog within the window and returns when all of it is
// acknowledged.
func (c *connection) deliver() error {
	next := c.acked + 1
	var flying []uint64 // the last sequence of each frame
	for c.acked < c.Head.Seq {
		for len(flying) < c.window && next <= c.Head.Seq {
			b := wire.Batch{Epoch: c.Epoch, First: next}
			size := 0
			for _, raw := range c.Since(next, 0) {
				if !wire.Fits(len(b.Entries), size, len(raw)) {
					break
				}
				b.Entries = append(b.Entries, raw)
				size += wire.Size(len(raw))
			}
			data, err := wire.EncodeBatch(&b)
			if err != nil {
				return err
			}
			if err := c.socket.WriteMessage(websocket.BinaryMessage, data); err != nil {
				return fmt.Errorf("register %s: %w", c.Register, err)
			}
			next = b.Last() + 1
			flying = append(flying, b.Last())
		}
		m, err := c.read()
		if err != nil {
			return err
		}
		ack, ok := m.(*wire.Ack)
		if !ok {
			continue
		}
		if len(ack.Flags) > 0 {
			return fmt.Errorf("register %s: entries were flagged: %+v", c.Register, ack.Flags[0])
		}
		c.acked, c.window = ack.Cursor.Seq, max(1, ack.Window)
		for len(flying) > 0 && flying[0] <= c.acked {
			flying = flying[1:]
		}
	}
	return nil
}

// linger answers pings until the connection ends.
func (c *connection) linger() {
	for {
		if _, _, err := c.socket.NextReader(); err != nil {
			return
		}
	}
}
