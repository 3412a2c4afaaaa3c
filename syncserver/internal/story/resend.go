package story

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/errgroup"

	"tillandsia/shared/entry"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/world"
)

// resend stops a register, delivers its last order again, twice on a
// connection and over two connections at once, and starts it again. It
// returns how many deliveries the server acknowledged.
func (s *story) resend(ctx context.Context, t *till) (int, error) {
	raw, place, err := s.lastEntry(ctx, t)
	if err != nil {
		return 0, err
	}
	if err := t.Stop(); err != nil {
		return 0, err
	}
	var acked [2]int
	var group errgroup.Group
	for i := range acked {
		group.Go(func() error {
			var err error
			acked[i], err = s.deliver(ctx, t, raw, place)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	if err := t.Restart(ctx); err != nil {
		return 0, err
	}
	if t.user, err = t.signIn(ctx, carla, world.CashierPIN, "first screen"); err != nil {
		return 0, err
	}
	return acked[0] + acked[1], nil
}

// lastEntry reads the newest order of a register back from the server.
func (s *story) lastEntry(ctx context.Context, t *till) ([]byte, entry.Place, error) {
	var page struct {
		Items []struct {
			ID       string `json:"id"`
			Register string `json:"register"`
		} `json:"items"`
	}
	if err := s.server.Manager.Get(ctx, "/orders?pos="+shopCode+"&session="+s.rescue, &page); err != nil {
		return nil, entry.Place{}, err
	}
	for _, o := range page.Items {
		if o.Register != t.ID {
			continue
		}
		var order struct {
			Entry string      `json:"entry"`
			Place entry.Place `json:"place"`
		}
		if err := s.server.Manager.Get(ctx, "/points-of-sale/"+shopCode+"/orders/"+o.ID, &order); err != nil {
			return nil, entry.Place{}, err
		}
		raw, err := base64.StdEncoding.DecodeString(order.Entry)
		return raw, order.Place, err
	}
	return nil, entry.Place{}, fmt.Errorf("the server has no order of register %s in the rescue", t.Code)
}

// deliverLimit bounds one connection of deliver.
const deliverLimit = 30 * time.Second

// deliver connects as a register and sends an entry twice. A connection that
// the other one replaces ends without an answer, which is right.
func (s *story) deliver(ctx context.Context, t *till, raw []byte, place entry.Place) (acked int, err error) {
	dialer := websocket.Dialer{Subprotocols: wire.Subprotocols(), HandshakeTimeout: deliverLimit}
	socket, res, err := dialer.DialContext(ctx, "ws://"+s.server.Host()+"/sync", http.Header{"Authorization": {"Bearer " + t.token}})
	if res != nil {
		defer res.Body.Close()
	}
	if err != nil {
		return 0, fmt.Errorf("connect as register %s: %w", t.Code, err)
	}
	defer func() { _ = socket.Close() }() // the server may have closed it
	deadline := time.Now().Add(deliverLimit)
	if err := socket.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	if err := socket.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	hello, err := wire.Encode(&wire.Hello{Version: wire.Version, PointOfSale: shopCode, Register: t.ID, Program: "story", Clock: time.Now().UTC()})
	if err != nil {
		return 0, err
	}
	if err := socket.WriteMessage(websocket.TextMessage, hello); err != nil {
		return 0, fmt.Errorf("say hello: %w", err)
	}
	frame, err := wire.EncodeBatch(&wire.Batch{Epoch: place.Epoch, First: place.Seq, Entries: [][]byte{raw}})
	if err != nil {
		return 0, err
	}
	for acked < 2 {
		kind, data, err := socket.ReadMessage()
		if err != nil || kind != websocket.TextMessage {
			return acked, nil // replaced by the other connection
		}
		message, err := wire.Decode(data)
		if err != nil {
			return acked, err
		}
		switch m := message.(type) {
		case *wire.Welcome:
			for range 2 {
				if err := socket.WriteMessage(websocket.BinaryMessage, frame); err != nil {
					return acked, nil // replaced by the other connection
				}
			}
		case *wire.Ack:
			acked++
		case *wire.Error:
			if m.Code != wire.CodeReplaced {
				return acked, fmt.Errorf("deliver again: %s %s", m.Code, m.Message)
			}
			return acked, nil
		}
	}
	return acked, nil
}
