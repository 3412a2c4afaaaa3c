package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

const (
	idleShops     = 200
	idleRegisters = 5 // at each, each in a session of its own
	idleTarget    = 12_000
	// settle is how long the server is left alone before its memory is read:
	// what it polls for, it has polled for.
	settle = 5 * time.Second
)

// idle measures what a register that is connected and has nothing to say costs
// the server, which is a process of its own.
func (b *bench) idle(ctx context.Context) (figures []Figure, err error) {
	dir, err := b.folder("idle")
	if err != nil {
		return nil, err
	}
	base, err := b.folder(filepath.Join("idle", "server"))
	if err != nil {
		return nil, err
	}
	f, err := setUp(ctx, filepath.Join(base, databaseFile), idleShops, idleRegisters)
	if err != nil {
		return nil, err
	}
	b.logf("set %d registers up", len(f.tills))
	s, err := b.start(ctx, dir, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	// One comes and goes first, so that what is made once is there.
	first, err := connect(ctx, s.URL, f.tills[0])
	if err != nil {
		return nil, err
	}
	if err := errors.Join(first.socket.Close(), wait(ctx, settle)); err != nil {
		return nil, err
	}
	before, err := s.memory(ctx)
	if err != nil {
		return nil, err
	}
	var conns []*connection
	var lingering sync.WaitGroup
	defer func() {
		for _, c := range conns {
			err = errors.Join(err, c.socket.Close())
		}
		lingering.Wait()
	}()
	for _, t := range f.tills {
		c, err := connect(ctx, s.URL, t)
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
		lingering.Go(c.linger)
	}
	if err := wait(ctx, settle); err != nil {
		return nil, err
	}
	after, err := s.memory(ctx)
	if err != nil {
		return nil, err
	}
	if grown := after.Count - before.Count; grown < len(conns) {
		return nil, fmt.Errorf("%d registers are connected, the server has only %d goroutines more", len(conns), grown)
	}
	each := func(before, after uint64) int64 { return (int64(after) - int64(before)) / int64(len(conns)) }
	heap, stacks := each(before.Live, after.Live), each(before.Stacks, after.Stacks)
	return []Figure{{
		Name: "heap and stacks after GC per idle register, 1,000 connected, plain TCP",
		Ours: fmt.Sprintf("%.1f kB", float64(heap+stacks)/1000), Target: "<= 12 kB", Met: heap+stacks <= idleTarget,
		Note: fmt.Sprintf("live heap %d bytes, stacks %d bytes; spans that hold the heap, with what is free in them, %d bytes; %d goroutines for %d registers at %d points of sale, each in a session",
			heap, stacks, each(before.Heap, after.Heap), after.Count-before.Count, len(conns), idleShops),
	}}, nil
}
