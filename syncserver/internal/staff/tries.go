package staff

import (
	"sync"
	"time"
)

// tries slows wrong sign-ins down: after freeTries of a key each further one
// doubles the wait, up to maxWait. It holds at most maxKeys keys; the oldest
// go first, so that it cannot be filled to exhaustion.
type tries struct {
	clock func() time.Time

	mu   sync.Mutex
	keys map[string]*attempts
}

type attempts struct {
	wrong int
	last  time.Time
	until time.Time
}

const (
	freeTries = 5
	firstWait = 2 * time.Second
	maxWait   = 15 * time.Minute
	forget    = 30 * time.Minute
	maxKeys   = 10_000
)

func newTries(clock func() time.Time) *tries {
	return &tries{clock: clock, keys: map[string]*attempts{}}
}

// wait returns how long the keys must wait before the next try.
func (t *tries) wait(keys ...string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock()
	var longest time.Duration
	for _, key := range keys {
		if a := t.keys[key]; a != nil {
			longest = max(longest, a.until.Sub(now))
		}
	}
	return longest
}

func (t *tries) failed(keys ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock()
	t.sweep(now)
	for _, key := range keys {
		a := t.keys[key]
		if a == nil || now.Sub(a.last) > forget {
			a = &attempts{}
			t.keys[key] = a
		}
		a.wrong++
		a.last = now
		if over := a.wrong - freeTries; over >= 0 {
			a.until = now.Add(min(maxWait, firstWait<<min(over, 16)))
		}
	}
}

func (t *tries) passed(keys ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		delete(t.keys, key)
	}
}

func (t *tries) sweep(now time.Time) {
	if len(t.keys) < maxKeys {
		return
	}
	var oldest string
	for key, a := range t.keys {
		if now.Sub(a.last) > forget {
			delete(t.keys, key)
			continue
		}
		if oldest == "" || a.last.Before(t.keys[oldest].last) {
			oldest = key
		}
	}
	if len(t.keys) >= maxKeys {
		delete(t.keys, oldest)
	}
}
