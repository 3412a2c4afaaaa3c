package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Proxy is a loopback TCP proxy between a register and the server: the cable
// that can be pulled.
type Proxy struct {
	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	delay time.Duration
	chunk int
	conns map[net.Conn]struct{}
}

// NewProxy listens on a free loopback port and forwards to target (host:port).
func NewProxy(ctx context.Context, target string) (*Proxy, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the proxy: %w", err)
	}
	p := &Proxy{target: target, listener: listener, conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr returns where the proxy listens, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut drops every connection without a word and refuses new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		reset(c)
	}
}

// Restore lets connections through again.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
}

// Slow delays every chunk of at most n bytes by d; zeros undo it.
func (p *Proxy) Slow(d time.Duration, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay, p.chunk = d, n
}

// Retarget sends new connections to another address, as a server that came
// back elsewhere would.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Close ends the proxy and waits until all its connections are gone.
func (p *Proxy) Close() {
	p.Cut()
	if err := p.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return // the listener is gone all the same
	}
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(conn) })
	}
}

func (p *Proxy) serve(down net.Conn) {
	if !p.add(down) {
		return
	}
	defer p.remove(down)
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	dialer := net.Dialer{Timeout: 10 * time.Second}
	up, err := dialer.Dial("tcp", target)
	if err != nil {
		return
	}
	if !p.add(up) {
		return
	}
	defer p.remove(up)
	var both sync.WaitGroup
	both.Go(func() { p.pump(up, down) })
	both.Go(func() { p.pump(down, up) })
	both.Wait()
}

func (p *Proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		reset(c)
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) remove(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	reset(c)
}

// pump copies one way; when either side ends, both do.
func (p *Proxy) pump(to, from net.Conn) {
	defer reset(to)
	defer reset(from)
	buf := make([]byte, 32<<10)
	for {
		p.mu.Lock()
		delay, chunk := p.delay, p.chunk
		p.mu.Unlock()
		size := len(buf)
		if chunk > 0 {
			size = min(size, chunk)
		}
		n, err := from.Read(buf[:size])
		if n > 0 {
			if delay > 0 {
				<-time.After(delay)
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// reset closes a connection so that the other side sees it at once.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // best effort: closing is what counts
	}
	_ = c.Close() // it may be closed already
}
