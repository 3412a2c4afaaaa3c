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

// begin returns how long a try must wait. Where it need not, the try is counted
// against the login as a wrong one until [tries.passed] or [tries.undone] says
// otherwise: tries made side by side do not slip through while the first is
// still being checked.
func (t *tries) begin(login, remote string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock()
	var longest time.Duration
	for _, key := range []string{loginKey(login), remoteKey(remote)} {
		if a := t.keys[key]; a != nil {
			longest = max(longest, a.until.Sub(now))
		}
	}
	if longest == 0 {
		t.count(loginKey(login), now)
	}
	return longest
}

// failed counts a wrong try against the address that it came from; against the
// login it is counted already.
func (t *tries) failed(remote string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(remoteKey(remote), t.clock())
}

func (t *tries) count(key string, now time.Time) {
	t.sweep(now)
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

// passed forgets the wrong tries of a login.
func (t *tries) passed(login string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.keys, loginKey(login))
}

// undone takes a try back that was neither right nor wrong.
func (t *tries) undone(login string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.keys[loginKey(login)]; a != nil && a.wrong > 0 {
		a.wrong--
		a.until = time.Time{}
	}
}

func loginKey(login string) string   { return "login:" + login }
func remoteKey(remote string) string { return "remote:" + remote }

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
