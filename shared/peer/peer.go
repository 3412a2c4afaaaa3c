// Package peer holds both ends of the sync protocol as state machines without
// input or output: [Till] at the register, [Centre] at the server, one of each
// per connection and register.
//
// A machine is told what happened ([Till.Step], [Centre.Step]) and answers
// what to do; sockets, disks, clocks and randomness belong to whoever drives
// it. The same code therefore runs in the programs, with real sockets and
// files, and in a deterministic simulation, with made-up ones. A machine does
// not lock: its driver steps it from one goroutine at a time.
package peer

import (
	"math/rand/v2"
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/wire"
)

// Timings of the protocol.
const (
	// HelloLimit is how long a register may take to say hello, and a server to
	// answer it.
	HelloLimit = 5 * time.Second
	// WelcomeLimit is how long a register waits for the answer: a server
	// under load may take its time to lock the row.
	WelcomeLimit = 30 * time.Second
	// NoProgress is how long a register waits for an acknowledgement before it
	// gives a connection up.
	NoProgress = 60 * time.Second
	// PingEvery is how often the server pings, ± a fifth.
	PingEvery = 20 * time.Second
	// SilenceLimit is how long either end hears nothing before it gives up.
	SilenceLimit = 60 * time.Second
	// DialLimit is how long opening a socket may take, whatever the driver
	// thinks of it.
	DialLimit = 45 * time.Second
	// MaxWait is the longest that a server can make a register wait.
	MaxWait = 5 * time.Minute

	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 30 * time.Second
	// stoppedRetry is how long a register waits where only a person can help.
	stoppedRetry = 2 * time.Minute
	// replacedRetry keeps two tills with one identity from chasing each other.
	replacedRetry = 15 * time.Second
	// steady is how long a connection holds before the next wait is short
	// again even though nothing was acknowledged on it.
	steady = 30 * time.Second
	// catalogueRetry is how long a register goes on without the catalogue,
	// once a fresh snapshot did not fit either.
	catalogueRetry = 10 * time.Minute
	// troubleWait is what a server in trouble asks for, once to twice.
	troubleWait = 3 * time.Second
	// slowApply and fastApply are how long a batch may take before the window
	// becomes smaller, and how fast one has to be for it to grow again.
	slowApply = 2 * time.Second
	fastApply = 500 * time.Millisecond
)

// backoff is decorrelated jitter: each wait is random between the first one
// and three times the one before, so that many registers that were cut at once
// do not come back at once.
func backoff(random *rand.Rand, before time.Duration) time.Duration {
	top := min(maxBackoff, 3*max(before, firstBackoff))
	return firstBackoff + time.Duration(random.Int64N(int64(top-firstBackoff)+1))
}

// Row is a row of the handshake table of the protocol.
type Row string

// The rows. Normal and ServerRolledBack are healed here; the others stop the
// sync with a sentence for people while selling goes on.
const (
	Normal           Row = "normal"
	ServerRolledBack Row = "server_rolled_back"
	Copy             Row = "copy"
	Fork             Row = "fork"
	TillRolledBack   Row = "till_rolled_back"
	Hole             Row = "hole"
	UnknownEpoch     Row = "unknown_epoch"
)

// Heals reports whether the sync goes on after the row.
func (r Row) Heals() bool { return r == Normal || r == ServerRolledBack }

// Judge decides which row of the handshake table it is, from what the register
// said, what the server answered, the register's own hashes at the server's
// cursors (left out where it has none there), and what was acknowledged before.
func Judge(h *wire.Hello, w *wire.Welcome, own, acked []entry.Point) Row {
	if w.Copy {
		return Copy
	}
	row := Normal
	for _, mine := range h.Epochs {
		theirs, known := cursorOf(w, mine.Epoch)
		if !known {
			if mine.Head.Seq == 0 {
				continue
			}
			return UnknownEpoch
		}
		c := theirs.Cursor
		switch {
		case theirs.Base != mine.Base:
			return Fork
		case c.Seq > mine.Head.Seq:
			return TillRolledBack
		case c.Seq < mine.Checkpoint.Seq:
			return Hole
		}
		if p, ok := ownAt(&mine, own, c.Place()); ok && p.Hash != c.Hash {
			return Fork
		}
		if p, ok := pointOf(acked, mine.Epoch); ok && c.Seq < p.Seq {
			row = ServerRolledBack
		}
	}
	for _, theirs := range w.Epochs {
		// Entries of an epoch that the register does not have: its disk was
		// put back to a time before that epoch. An empty one was granted and
		// never begun; those before its first are of the device that it
		// replaced.
		if theirs.Cursor.Seq > 0 && !holds(h, theirs.Epoch) && theirs.Epoch > first(h) {
			return TillRolledBack
		}
	}
	return row
}

// first returns the register's first epoch.
func first(h *wire.Hello) uint64 {
	if len(h.Epochs) == 0 {
		return 0
	}
	return h.Epochs[0].Epoch
}

// ownAt returns the register's own point at a place, from what was read for
// the purpose or from its head, checkpoint or base.
func ownAt(mine *wire.EpochHead, own []entry.Point, at entry.Place) (entry.Point, bool) {
	for _, p := range own {
		if p.Place() == at {
			return p, true
		}
	}
	switch at.Seq {
	case 0:
		return entry.Point{Epoch: mine.Epoch, Hash: mine.Base.Hash}, true
	case mine.Head.Seq:
		return mine.Head, true
	case mine.Checkpoint.Seq:
		return mine.Checkpoint, true
	}
	return entry.Point{}, false
}

func cursorOf(w *wire.Welcome, epoch uint64) (wire.EpochCursor, bool) {
	for _, c := range w.Epochs {
		if c.Epoch == epoch {
			return c, true
		}
	}
	return wire.EpochCursor{}, false
}

func holds(h *wire.Hello, epoch uint64) bool {
	for _, e := range h.Epochs {
		if e.Epoch == epoch {
			return true
		}
	}
	return false
}

func pointOf(points []entry.Point, epoch uint64) (entry.Point, bool) {
	for _, p := range points {
		if p.Epoch == epoch {
			return p, true
		}
	}
	return entry.Point{}, false
}
