package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"

	"tillandsia/shared/entry"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/world"
)

// journal reads the entries of a register that is stopped, as it keeps them.
func (t *till) journal() (epoch uint64, raw [][]byte) {
	f := t.floor
	f.Helper()
	out, err := world.Run(f.ctx, programs.Register, "journal", "show", "--raw", "--log", "error", "--data", t.Data())
	f.must(err)
	for line := range bytes.Lines([]byte(out)) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		e, err := entry.Decode(line)
		f.must(err)
		if e.Seq != uint64(len(raw)+1) {
			f.Fatalf("entry %d/%d stands at %d", e.Epoch, e.Seq, len(raw)+1)
		}
		epoch, raw = e.Epoch, append(raw, line)
	}
	return epoch, raw
}

// courier delivers a journal as a register that is out of its mind would: any
// part of it, in any order, again and again.
type courier struct {
	t     *till
	rnd   *rand.Rand
	epoch uint64
	raw   [][]byte
	acked int // batches
}

// courierLimit bounds one connection.
const courierLimit = 30 * time.Second

// errAgain is returned where a connection ended as it may: by a batch out of
// order, or by another connection.
var errAgain = errors.New("say hello again")

// run connects until the server has everything, and then once more.
func (c *courier) run(ctx context.Context) error {
	for whole := 0; whole < 2; {
		cursor, err := c.connection(ctx)
		if err != nil && !errors.Is(err, errAgain) {
			return err
		}
		if cursor == len(c.raw) {
			whole++
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("the server has %d of %d entries: %w", cursor, len(c.raw), err)
		}
	}
	return nil
}

// connection says hello, delivers a few batches and returns how many entries
// the server said that it had.
func (c *courier) connection(ctx context.Context) (cursor int, err error) {
	dialer := websocket.Dialer{Subprotocols: wire.Subprotocols(), HandshakeTimeout: courierLimit}
	socket, res, err := dialer.DialContext(ctx, "ws://"+c.t.floor.server.Host()+"/sync", http.Header{"Authorization": {"Bearer " + c.t.token}})
	if res != nil {
		defer res.Body.Close()
	}
	if err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = socket.Close() }() // the server may have closed it
	deadline := time.Now().Add(courierLimit)
	if err := errors.Join(socket.SetReadDeadline(deadline), socket.SetWriteDeadline(deadline)); err != nil {
		return 0, err
	}
	hello, err := wire.Encode(&wire.Hello{Version: wire.Version, PointOfSale: pointOfSale, Register: c.t.ID, Program: "e2e", Clock: time.Now().UTC()})
	if err != nil {
		return 0, err
	}
	if socket.WriteMessage(websocket.TextMessage, hello) != nil {
		return 0, errAgain
	}
	for left := 1 + c.rnd.IntN(6); left > 0; {
		kind, data, err := socket.ReadMessage()
		if err != nil {
			return cursor, errAgain
		}
		if kind != websocket.TextMessage {
			continue
		}
		message, err := wire.Decode(data)
		if err != nil {
			return cursor, err
		}
		switch m := message.(type) {
		case *wire.Welcome:
			for _, e := range m.Epochs {
				if e.Epoch == c.epoch {
					cursor = int(e.Cursor.Seq)
				}
			}
		case *wire.Ack:
			c.acked++
			left--
			cursor = max(cursor, int(m.Cursor.Seq))
		case *wire.Error:
			if m.Code != wire.CodeReplaced && m.Code != wire.CodeChain {
				return cursor, fmt.Errorf("deliver: %s %s", m.Code, m.Message)
			}
			return cursor, errAgain
		default:
			continue
		}
		if err := c.batch(socket, cursor); err != nil {
			return cursor, errAgain
		}
	}
	return cursor, nil
}

// batch sends some part of the journal: what comes next, or any other.
func (c *courier) batch(socket *websocket.Conn, cursor int) error {
	from := min(cursor, len(c.raw)-1)
	if c.rnd.IntN(2) == 0 {
		from = c.rnd.IntN(len(c.raw))
	}
	to := min(len(c.raw), from+1+c.rnd.IntN(12))
	frame, err := wire.EncodeBatch(&wire.Batch{Epoch: c.epoch, First: uint64(from + 1), Entries: c.raw[from:to]})
	if err != nil {
		return err
	}
	return socket.WriteMessage(websocket.BinaryMessage, frame)
}

// bring has two couriers deliver what a register holds, which is stopped.
func (t *till) bring(rnd *rand.Rand) {
	f := t.floor
	f.Helper()
	epoch, raw := t.journal()
	group, ctx := errgroup.WithContext(f.ctx)
	couriers := make([]*courier, 2)
	for i := range couriers {
		c := &courier{t: t, rnd: rand.New(rand.NewPCG(rnd.Uint64(), 0)), epoch: epoch, raw: raw}
		couriers[i] = c
		group.Go(func() error { return c.run(ctx) })
	}
	f.must(group.Wait())
	if couriers[0].acked+couriers[1].acked == 0 {
		f.Error("nothing was acknowledged")
	}
	f.compare()
}

// What a register holds is delivered in any order, again and again, over two
// connections at once: first what the server has already, after which the
// register goes on as if nothing had been; then what it has not, some of which
// belongs into a rescue. Every order is there once.
func TestDeliveredInAnyOrder(t *testing.T) {
	for _, s := range stores {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			rnd := dice(t)
			f := openShop(t, s.database(t), "R1")
			r := f.tills[0]
			r.sell(20)
			r.synced()
			f.must(r.Stop())
			r.bring(rnd)
			r.restart()
			r.sell(2)
			r.synced()

			f.forceClose(r)
			f.backlog(40)
			r.closeOut()
			f.must(r.Stop())
			r.bring(rnd)
			if rescues := f.rescues(); rescues != 1 {
				t.Errorf("%d rescues, should be 1", rescues)
			}
			f.audit()
		})
	}
}

// rescues counts them.
func (f *shopfloor) rescues() int {
	f.Helper()
	var page struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	f.must(f.server.Manager.Get(f.ctx, "/sessions?rescue=true&pos="+pointOfSale, &page))
	return len(page.Items)
}
