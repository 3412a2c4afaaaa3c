package link_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tillandsia/shared/wire"
)

// maxIdle is the most that an idle register may cost the server, heap and
// stacks after a garbage collection, over plain TCP.
const maxIdle = 12 << 10

// raw is a register's end that costs next to nothing: a bare socket, no
// goroutine, no buffer. What it costs is counted with the server's.
type raw struct{ net.Conn }

// connect makes the handshake and says hello. The answers stay in the kernel,
// but for the handshake's.
func connect(address, id string) (raw, error) {
	c, err := (&net.Dialer{Timeout: 10 * time.Second}).Dial("tcp", address)
	if err != nil {
		return raw{}, err
	}
	request := "GET /sync HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " + wire.Subprotocol + "\r\nAuthorization: Bearer " + id + "\r\n\r\n"
	if _, err := io.WriteString(c, request); err != nil {
		return raw{}, err
	}
	answer := make([]byte, 0, 512)
	for !bytes.HasSuffix(answer, []byte("\r\n\r\n")) {
		var b [1]byte
		if _, err := c.Read(b[:]); err != nil {
			return raw{}, err
		}
		answer = append(answer, b[0])
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 101")) {
		return raw{}, fmt.Errorf("answer %q", answer)
	}
	hello, err := wire.Encode(&wire.Hello{Version: 1, PointOfSale: "SHOP1", Register: id, CatalogueHandle: "h", CatalogueRev: 1})
	if err != nil {
		return raw{}, err
	}
	// A masked text frame; a mask of zeros changes nothing.
	frame := []byte{0x81, 0x80 | 126}
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(hello)))
	frame = append(frame, 0, 0, 0, 0)
	_, err = c.Write(append(frame, hello...))
	return raw{c}, err
}

// used returns heap and stacks in use after garbage collections.
func used() (heap, stack uint64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, m.StackInuse
}

func idleCost(t testing.TB, n int) (heap, stack int64) {
	t.Helper()
	s := serve(t, newLedger())
	address, _ := strings.CutSuffix(strings.TrimPrefix(s.url, "ws://"), "/sync")
	conns := make([]raw, n)
	heapBefore, stackBefore := used()
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for i := part; i < n; i += 4 {
				c, err := connect(address, fmt.Sprint("r", i))
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				conns[i] = c
			}
		})
	}
	wg.Wait()
	// All are welcomed, and every worker has gone home.
	for len(s.hub.Connected()) < n && !t.Failed() {
		runtime.Gosched()
	}
	base := runtime.NumGoroutine()
	for range 1000 {
		if now := runtime.NumGoroutine(); now < base || now > n+200 {
			base = now
			time.Sleep(time.Millisecond)
			continue
		}
		break
	}
	heapAfter, stackAfter := used()
	for _, c := range conns {
		if c.Conn != nil {
			_ = c.Close()
		}
	}
	return int64(heapAfter-heapBefore) / int64(n), int64(stackAfter-stackBefore) / int64(n)
}

func TestAnIdleRegisterCostsLittleMemory(t *testing.T) {
	const n = 1000
	heap, stack := idleCost(t, n)
	t.Logf("%d idle registers: heap %d + stacks %d = %d bytes each, both ends", n, heap, stack, heap+stack)
	if raceEnabled {
		return // the race detector's own memory is none of ours
	}
	if heap+stack > maxIdle {
		t.Errorf("an idle register costs %d bytes, at most %d", heap+stack, maxIdle)
	}
}

func BenchmarkIdleRegister(b *testing.B) {
	for b.Loop() {
		heap, stack := idleCost(b, 1000)
		b.ReportMetric(float64(heap+stack), "B/register")
		b.ReportMetric(float64(stack), "stack-B/register")
	}
}
