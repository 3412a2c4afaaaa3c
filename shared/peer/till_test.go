package peer_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/peer"
	"tillandsia/shared/wire"
)

var start = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

func hash(s string) entry.Hash { return entry.HashOf([]byte(s)) }

// at returns the honest point at a place.
func at(epoch, seq uint64) entry.Point {
	if seq == 0 {
		return entry.Point{Epoch: epoch, Hash: base(epoch).Hash}
	}
	return entry.Point{Epoch: epoch, Seq: seq, Hash: hash(fmt.Sprint(epoch, "/", seq))}
}

// base returns what an epoch stands on: the tenth entry of the one before.
func base(epoch uint64) entry.Point {
	if epoch == 1 {
		return entry.Point{}
	}
	return at(epoch-1, 10)
}

func head(epoch, checkpoint, seq uint64) wire.EpochHead {
	return wire.EpochHead{Epoch: epoch, Nonce: fmt.Sprint("n", epoch), Base: base(epoch), Checkpoint: at(epoch, checkpoint), Head: at(epoch, seq)}
}

func cursor(epoch, seq uint64) wire.EpochCursor {
	return wire.EpochCursor{Epoch: epoch, Nonce: fmt.Sprint("n", epoch), Base: base(epoch), Cursor: at(epoch, seq)}
}

func TestJudge(t *testing.T) {
	other := func(c wire.EpochCursor) wire.EpochCursor { c.Cursor.Hash = hash("other"); return c }
	on := func(c wire.EpochCursor) wire.EpochCursor { c.Base.Hash = hash("other"); return c }
	tests := []struct {
		name   string
		heads  []wire.EpochHead
		theirs []wire.EpochCursor
		own    []entry.Point
		acked  []entry.Point
		copied bool
		want   peer.Row
	}{
		{"nothing sent yet", []wire.EpochHead{head(1, 0, 5)}, []wire.EpochCursor{cursor(1, 0)}, nil, []entry.Point{at(1, 0)}, false, peer.Normal},
		{"some are there", []wire.EpochHead{head(1, 0, 5)}, []wire.EpochCursor{cursor(1, 3)}, []entry.Point{at(1, 3)}, []entry.Point{at(1, 3)}, false, peer.Normal},
		{"more are there than was acknowledged", []wire.EpochHead{head(1, 0, 5)}, []wire.EpochCursor{cursor(1, 4)}, []entry.Point{at(1, 4)}, []entry.Point{at(1, 3)}, false, peer.Normal},
		{"all are there", []wire.EpochHead{head(1, 0, 5)}, []wire.EpochCursor{cursor(1, 5)}, nil, []entry.Point{at(1, 5)}, false, peer.Normal},
		{"the server knows less than it acknowledged", []wire.EpochHead{head(1, 0, 5)}, []wire.EpochCursor{cursor(1, 2)}, []entry.Point{at(1, 2)}, []entry.Point{at(1, 3)}, false, peer.ServerRolledBack},
		{"the server knows less of an older epoch", []wire.EpochHead{head(1, 0, 10), head(2, 0, 5)}, []wire.EpochCursor{cursor(1, 8), cursor(2, 5)}, nil, []entry.Point{at(1, 10), at(2, 5)}, false, peer.ServerRolledBack},
		{"the cursor stands at the checkpoint", []wire.EpochHead{head(1, 4, 9)}, []wire.EpochCursor{cursor(1, 4)}, nil, []entry.Point{at(1, 9)}, false, peer.ServerRolledBack},
		{"the cursor stands below the checkpoint", []wire.EpochHead{head(1, 4, 9)}, []wire.EpochCursor{cursor(1, 3)}, nil, []entry.Point{at(1, 9)}, false, peer.Hole},
		{"the cursor stands beyond the head", []wire.EpochHead{head(1, 0, 5)}, []wire.EpochCursor{cursor(1, 6)}, nil, nil, false, peer.TillRolledBack},
		{"another hash at the cursor", []wire.EpochHead{head(1, 0, 5)}, []wire.EpochCursor{other(cursor(1, 3))}, []entry.Point{at(1, 3)}, nil, false, peer.Fork},
		{"another hash at the head", []wire.EpochHead{head(1, 0, 5)}, []wire.EpochCursor{other(cursor(1, 5))}, nil, nil, false, peer.Fork},
		{"another hash at the checkpoint", []wire.EpochHead{head(1, 3, 5)}, []wire.EpochCursor{other(cursor(1, 3))}, nil, nil, false, peer.Fork},
		{"another base", []wire.EpochHead{head(1, 0, 10), head(2, 0, 5)}, []wire.EpochCursor{cursor(1, 10), on(cursor(2, 9))}, nil, nil, false, peer.Fork},
		{"an epoch unknown to the server", []wire.EpochHead{head(1, 0, 10), head(2, 0, 5)}, []wire.EpochCursor{cursor(1, 10)}, nil, nil, false, peer.UnknownEpoch},
		{"an empty epoch unknown to the server", []wire.EpochHead{head(1, 0, 10), head(2, 0, 0)}, []wire.EpochCursor{cursor(1, 10)}, nil, nil, false, peer.Normal},
		{"an epoch unknown to the register", []wire.EpochHead{head(1, 0, 10)}, []wire.EpochCursor{cursor(1, 10), cursor(2, 3)}, nil, nil, false, peer.TillRolledBack},
		{"an epoch that was granted and never begun", []wire.EpochHead{head(1, 0, 10)}, []wire.EpochCursor{cursor(1, 10), cursor(2, 0)}, nil, nil, false, peer.Normal},
		{"epochs of the device that it replaced", []wire.EpochHead{head(2, 0, 3)}, []wire.EpochCursor{cursor(1, 10), cursor(2, 1)}, []entry.Point{at(2, 1)}, nil, false, peer.Normal},
		{"the server says that it is a copy", []wire.EpochHead{head(1, 0, 5)}, []wire.EpochCursor{cursor(1, 3)}, nil, nil, true, peer.Copy},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := &wire.Hello{Epochs: tt.heads}
			w := &wire.Welcome{Epochs: tt.theirs, Copy: tt.copied}
			got := peer.Judge(h, w, tt.own, tt.acked)
			if got != tt.want {
				t.Errorf("Judge = %s, want %s", got, tt.want)
			}
			if heals := got == peer.Normal || got == peer.ServerRolledBack; got.Heals() != heals {
				t.Errorf("%s.Heals() = %t", got, got.Heals())
			}
			if !got.Heals() && !message.Has("sync."+string(got)) {
				t.Errorf("nothing is said to people about %s", got)
			}
		})
	}
}

// bench drives a Till by hand and keeps what it does.
type bench struct {
	*testing.T
	till *peer.Till
	now  time.Time
	did  []peer.Action
	due  time.Time
}

func newBench(t *testing.T) *bench {
	return &bench{T: t, till: peer.NewTill(rand.New(rand.NewPCG(1, 2))), now: start}
}

// step hands an event over and returns the actions but Wake and Report.
func (b *bench) step(e peer.Event) []peer.Action {
	var rest []peer.Action
	for _, a := range b.till.Step(e, b.now) {
		switch a := a.(type) {
		case peer.Wake:
			b.due = a.At
		case peer.Report:
		default:
			rest = append(rest, a)
		}
	}
	b.did = append(b.did, rest...)
	return rest
}

// expect steps and compares the kinds of the actions.
func (b *bench) expect(e peer.Event, want ...string) []peer.Action {
	b.Helper()
	got := b.step(e)
	var names []string
	for _, a := range got {
		name := strings.TrimPrefix(fmt.Sprintf("%T", a), "peer.")
		if s, ok := a.(peer.Send); ok {
			kind, _ := wire.TypeOf(s.Message)
			name = "Send " + string(kind)
		}
		names = append(names, name)
	}
	if !reflect.DeepEqual(names, want) {
		b.Fatalf("%T: did %v, want %v", e, names, want)
	}
	return got
}

func (b *bench) phase(phase peer.Phase, key string) {
	b.Helper()
	if s := b.till.Status(); s.Phase != phase || s.Key != key {
		b.Errorf("status %s %q, want %s %q", s.Phase, s.Key, phase, key)
	}
	if key != "" && !message.Has(key) {
		b.Errorf("%s has no sentence", key)
	}
}

// tick lets the time that Wake asked for come.
func (b *bench) tick(want ...string) {
	b.Helper()
	b.now = b.due
	b.expect(peer.Ticked{}, want...)
}

func hello(heads ...wire.EpochHead) wire.Hello {
	return wire.Hello{Version: 1, Nonce: "n1", Epochs: heads, Waiting: 7}
}

func welcome(cursors ...wire.EpochCursor) *wire.Welcome {
	return &wire.Welcome{Version: 1, Incarnation: "i1", Generation: 5, Window: 2, Retention: 400, Epochs: cursors}
}

// greeted brings a Till with five entries to the welcome.
func greeted(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.expect(peer.Started{}, "Dial")
	b.phase(peer.Offline, "")
	b.expect(peer.Connected{Hello: hello(head(1, 0, 5)), Acked: []entry.Point{at(1, 2)}}, "Send hello")
	b.phase(peer.Greeting, "")
	return b
}

// running brings it to where entries flow; it has asked for the third.
func running(t *testing.T) *bench {
	t.Helper()
	b := greeted(t)
	b.expect(peer.Received{Message: welcome(cursor(1, 2)), Own: []entry.Point{at(1, 2)}}, "SetAcked", "Sessions", "Keep")
	b.expect(peer.Kept{}, "Read")
	b.phase(peer.Syncing, "")
	return b
}

// batch is one of epoch 1.
func batch(from, to uint64) peer.Entries {
	e := peer.Entries{Batch: wire.Batch{Epoch: 1, First: from}, Last: at(1, to)}
	for seq := from; seq <= to; seq++ {
		e.Batch.Entries = append(e.Batch.Entries, []byte(fmt.Sprint("1/", seq)))
	}
	return e
}

func ack(p entry.Point, window int) peer.Received {
	return peer.Received{Message: &wire.Ack{Cursor: p, Window: window}}
}

func TestTillSendsFromTheCursorOn(t *testing.T) {
	b := greeted(t)
	did := b.expect(peer.Received{Message: welcome(cursor(1, 2))}, "SetAcked", "Sessions", "Keep")
	if got := did[0]; got != (peer.SetAcked{Point: at(1, 2)}) {
		t.Errorf("%v, want the cursor", got)
	}
	if got, _ := did[2].(peer.Keep); got.Generation != 5 || got.Incarnation != "i1" || !reflect.DeepEqual(got.Cursors, []entry.Point{at(1, 2)}) {
		t.Errorf("%+v", got)
	}
	if got := b.expect(peer.Kept{}, "Read")[0]; got != (peer.Read{From: entry.Place{Epoch: 1, Seq: 3}}) {
		t.Errorf("%v, want from 3 on", got)
	}
	// Two fit into the window: the second is read at once.
	b.expect(batch(3, 4), "SendBatch", "Read")
	b.expect(batch(5, 5), "SendBatch")
	b.expect(ack(at(1, 4), 2), "SetAcked")
	b.phase(peer.Syncing, "")
	b.expect(ack(at(1, 5), 2), "SetAcked")
	b.phase(peer.Synced, "")
	// What is sold now goes at once.
	b.expect(peer.Grown{Epochs: []wire.EpochHead{head(1, 0, 6)}}, "Read")
	b.phase(peer.Syncing, "")
	b.expect(batch(6, 6), "SendBatch")
	b.expect(ack(at(1, 6), 2), "SetAcked")
	b.phase(peer.Synced, "")
}

func TestNothingIsSentBeforeTheGenerationIsDurable(t *testing.T) {
	b := greeted(t)
	b.expect(peer.Received{Message: welcome(cursor(1, 2))}, "SetAcked", "Sessions", "Keep")
	b.expect(peer.Grown{Epochs: []wire.EpochHead{head(1, 0, 9)}})
	b.expect(peer.Received{Message: &wire.Ack{Cursor: at(1, 3), Window: 1}})
	b.expect(peer.Kept{}, "Read")
}

func TestClosesGoBeforeEntries(t *testing.T) {
	b := greeted(t)
	b.expect(peer.Received{Message: welcome(cursor(1, 2))}, "SetAcked", "Sessions", "Keep")
	did := b.expect(peer.Kept{Closes: []wire.RawEntry{{At: at(1, 4), Raw: []byte("c")}}}, "Send closes", "Read")
	sent, _ := did[0].(peer.Send)
	if got, _ := sent.Message.(*wire.Closes); got == nil || got.Waiting != 7 || len(got.Entries) != 1 {
		t.Errorf("closes %+v, want the one and 7 waiting", got)
	}
	// More than fit into a message go in several.
	b = greeted(t)
	b.expect(peer.Received{Message: welcome(cursor(1, 2))}, "SetAcked", "Sessions", "Keep")
	large := wire.RawEntry{At: at(1, 4), Raw: make([]byte, entry.MaxWrappedSize)}
	b.expect(peer.Kept{Closes: []wire.RawEntry{large, large}}, "Send closes", "Send closes", "Read")
}

func TestTheWindowBoundsWhatIsInFlight(t *testing.T) {
	b := running(t)
	b.expect(batch(3, 3), "SendBatch", "Read")
	b.expect(batch(4, 4), "SendBatch")
	b.expect(peer.Grown{Epochs: []wire.EpochHead{head(1, 0, 9)}})
	// The server lowers it to one, and one is still in flight.
	b.expect(ack(at(1, 3), 1), "SetAcked")
	b.expect(ack(at(1, 4), 1), "SetAcked", "Read")
	b.expect(batch(5, 5), "SendBatch")
}

func TestOneAcknowledgementCoversSeveralBatches(t *testing.T) {
	b := running(t)
	b.expect(batch(3, 4), "SendBatch", "Read")
	b.expect(batch(5, 5), "SendBatch")
	b.expect(ack(at(1, 5), 2), "SetAcked")
	b.phase(peer.Synced, "")
	// The older one may still come: it changes nothing.
	b.expect(ack(at(1, 4), 2))
}

func TestEpochsGoInOrder(t *testing.T) {
	b := newBench(t)
	b.step(peer.Started{})
	b.step(peer.Connected{Hello: hello(head(1, 0, 10), head(2, 0, 3)), Acked: []entry.Point{at(1, 9), at(2, 0)}})
	b.expect(peer.Received{Message: welcome(cursor(1, 9), cursor(2, 0))}, "SetAcked", "SetAcked", "Sessions", "Keep")
	if got := b.expect(peer.Kept{}, "Read")[0]; got != (peer.Read{From: entry.Place{Epoch: 1, Seq: 10}}) {
		t.Errorf("%v, want the rest of epoch 1", got)
	}
	if got := b.expect(batch(10, 10), "SendBatch", "Read")[1]; got != (peer.Read{From: entry.Place{Epoch: 2, Seq: 1}}) {
		t.Errorf("%v, want epoch 2", got)
	}
}

func TestServerRolledBackIsSentAgain(t *testing.T) {
	b := newBench(t)
	b.step(peer.Started{})
	b.step(peer.Connected{Hello: hello(head(1, 0, 5)), Acked: []entry.Point{at(1, 5)}})
	did := b.expect(peer.Received{Message: welcome(cursor(1, 1)), Own: []entry.Point{at(1, 1)}}, "SetAcked", "Sessions", "Keep")
	if did[0] != (peer.SetAcked{Point: at(1, 1)}) {
		t.Errorf("%v, want acked to fall to the cursor", did[0])
	}
	if got := b.expect(peer.Kept{}, "Read")[0]; got != (peer.Read{From: entry.Place{Epoch: 1, Seq: 2}}) {
		t.Errorf("%v, want from 2 on", got)
	}
	if got := b.till.Status().Row; got != peer.ServerRolledBack {
		t.Errorf("row %s", got)
	}
}

func TestAnotherHashInAnAcknowledgementEndsTheConnection(t *testing.T) {
	b := running(t)
	b.expect(batch(3, 5), "SendBatch")
	b.expect(ack(entry.Point{Epoch: 1, Seq: 5, Hash: hash("other")}, 2), "Drop")
	b.expect(peer.Disconnected{})
	b.phase(peer.Offline, "sync.chain")
	b.tick("Dial")
	b.expect(peer.Connected{Hello: hello(head(1, 0, 5))}, "Send hello")
}

func TestRowsThatOnlyAPersonCanHeal(t *testing.T) {
	forked := cursor(1, 2)
	forked.Cursor.Hash = hash("other")
	tests := []struct {
		name    string
		welcome *wire.Welcome
		key     string
	}{
		{"copy", &wire.Welcome{Version: 1, Copy: true}, "sync.copy"},
		{"fork", welcome(forked), "sync.fork"},
		{"till rolled back", welcome(cursor(1, 9)), "sync.till_rolled_back"},
		{"epoch unknown to the server", welcome(), "sync.unknown_epoch"},
		{"no common version", &wire.Welcome{Version: 0}, "sync.version"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := greeted(t)
			// Nothing is stored and nothing sent.
			b.expect(peer.Received{Message: tt.welcome, Own: []entry.Point{at(1, 2)}}, "Drop")
			b.phase(peer.Stopped, tt.key)
			b.expect(peer.Disconnected{})
			b.phase(peer.Stopped, tt.key)
			if wait := b.due.Sub(b.now); wait < 2*time.Minute || wait > 3*time.Minute {
				t.Errorf("tries again after %s", wait)
			}
			// A person helped meanwhile.
			b.tick("Dial")
			b.phase(peer.Stopped, tt.key)
			b.expect(peer.Connected{Hello: hello(head(1, 0, 5))}, "Send hello")
			b.expect(peer.Received{Message: welcome(cursor(1, 5))}, "SetAcked", "Sessions", "Keep")
			b.expect(peer.Kept{})
			b.phase(peer.Synced, "")
		})
	}
}

func TestErrorsOfTheServer(t *testing.T) {
	tests := []struct {
		code     wire.Code
		phase    peer.Phase
		key      string
		min, max time.Duration
	}{
		{wire.CodeUnknown, peer.Stopped, "sync.unknown_register", 2 * time.Minute, 3 * time.Minute},
		{wire.CodeVersion, peer.Stopped, "sync.version", 2 * time.Minute, 3 * time.Minute},
		{wire.CodeLater, peer.Stopped, "sync.later", 2 * time.Minute, 3 * time.Minute},
		{wire.CodeRevoked, peer.Stopped, "sync.revoked", 2 * time.Minute, 3 * time.Minute},
		{wire.CodeReplaced, peer.Offline, "sync.replaced", 15 * time.Second, 30 * time.Second},
		{wire.CodeChain, peer.Offline, "sync.chain", 1, time.Second},
		{wire.CodeFork, peer.Offline, "sync.fork", 1, time.Second},
		{wire.CodeProtocol, peer.Offline, "sync.protocol", 1, time.Second},
		{wire.CodeTooLarge, peer.Offline, "sync.too_large", 1, time.Second},
		{wire.CodeUnavailable, peer.Offline, "sync.unavailable", 1, time.Second},
		{"of_a_later_version", peer.Offline, "", 1, time.Second},
	}
	for _, tt := range tests {
		t.Run(string(tt.code), func(t *testing.T) {
			b := running(t)
			b.expect(peer.Received{Message: &wire.Error{Code: tt.code}}, "Drop")
			b.expect(peer.Disconnected{})
			b.phase(tt.phase, tt.key)
			if wait := b.due.Sub(b.now); wait < tt.min || wait > tt.max {
				t.Errorf("waits %s, want %s to %s", wait, tt.min, tt.max)
			}
		})
	}
	t.Run("before there is a connection", func(t *testing.T) {
		b := newBench(t)
		b.step(peer.Started{})
		b.expect(peer.Received{Message: &wire.Error{Code: wire.CodeUnknown}}, "Drop")
		b.phase(peer.Stopped, "sync.unknown_register")
	})
}

func TestTheServersSlotIsKept(t *testing.T) {
	b := running(t)
	b.expect(peer.Received{Message: &wire.Slow{Milliseconds: 4321}}, "Drop")
	b.expect(peer.Disconnected{})
	b.phase(peer.Offline, "sync.slow")
	if wait := b.due.Sub(b.now); wait != 4321*time.Millisecond {
		t.Errorf("waits %s", wait)
	}
	b.tick("Dial")
	b.expect(peer.Disconnected{RetryAfter: 7 * time.Second})
	if wait := b.due.Sub(b.now); wait < 7*time.Second || wait > 8*time.Second {
		t.Errorf("waits %s, want 7 s and a part of one", wait)
	}
	b.tick("Dial")
	b.expect(peer.Disconnected{RetryAfter: 24 * time.Hour})
	if wait := b.due.Sub(b.now); wait > peer.MaxWait+time.Second {
		t.Errorf("waits %s: nothing may switch a register off", wait)
	}
}

func TestWaitsGrowWithJitterUntilAConnectionIsOfUse(t *testing.T) {
	b := newBench(t)
	b.step(peer.Started{})
	longest := time.Duration(0)
	seen := map[time.Duration]bool{}
	for range 60 {
		b.expect(peer.Disconnected{})
		wait := b.due.Sub(b.now)
		if wait < 250*time.Millisecond || wait > 30*time.Second {
			t.Fatalf("waits %s", wait)
		}
		longest = max(longest, wait)
		seen[wait] = true
		b.tick("Dial")
	}
	if longest < 10*time.Second || len(seen) < 40 {
		t.Errorf("longest wait %s, %d different ones", longest, len(seen))
	}
	// A welcome alone is no use: a server that ends every connection after it
	// must not be stormed.
	grown := 0
	for range 20 {
		b.step(peer.Connected{Hello: hello(head(1, 0, 5))})
		b.step(peer.Received{Message: welcome(cursor(1, 2))})
		b.step(peer.Kept{})
		b.step(peer.Disconnected{})
		if b.due.Sub(b.now) > time.Second {
			grown++
		}
		b.tick("Dial")
	}
	if grown == 0 {
		t.Error("no wait grew although nothing was acknowledged")
	}
	// An acknowledgement is.
	b.step(peer.Connected{Hello: hello(head(1, 0, 5))})
	b.step(peer.Received{Message: welcome(cursor(1, 2))})
	b.step(peer.Kept{})
	b.step(batch(3, 5))
	b.step(ack(at(1, 5), 1))
	b.step(peer.Disconnected{})
	if wait := b.due.Sub(b.now); wait > 750*time.Millisecond {
		t.Errorf("waits %s after a useful connection", wait)
	}
}

func TestWatchdog(t *testing.T) {
	t.Run("a lost wake-up", func(t *testing.T) {
		b := running(t)
		b.step(batch(3, 5))
		b.step(ack(at(1, 5), 2))
		b.tick("Look")
		b.expect(peer.Grown{Epochs: []wire.EpochHead{head(1, 0, 6)}}, "Read")
	})
	t.Run("no acknowledgement", func(t *testing.T) {
		b := running(t)
		b.expect(batch(3, 5), "SendBatch")
		began := b.now
		b.tick("Look")
		b.tick("Drop")
		if took := b.now.Sub(began); took != peer.NoProgress {
			t.Errorf("gave up after %s", took)
		}
	})
	t.Run("time counts from when entries begin to wait", func(t *testing.T) {
		b := running(t)
		b.step(batch(3, 5))
		b.step(ack(at(1, 5), 2))
		for range 10 {
			b.tick("Look")
		}
		b.now = b.now.Add(29 * time.Second)
		began := b.now
		b.expect(peer.Grown{Epochs: []wire.EpochHead{head(1, 0, 6)}}, "Read")
		b.expect(batch(6, 6), "SendBatch")
		for gone := false; !gone; {
			b.now = b.due
			did := b.step(peer.Ticked{})
			gone = len(did) == 1 && did[0] == (peer.Drop{Why: "no progress"})
		}
		if took := b.now.Sub(began); took < peer.NoProgress || took > 2*peer.NoProgress {
			t.Errorf("gave up after %s", took)
		}
	})
	t.Run("a journal that does not answer", func(t *testing.T) {
		b := running(t)
		b.tick("Look")
		b.tick("Drop")
	})
	t.Run("no welcome", func(t *testing.T) {
		b := greeted(t)
		b.tick("Drop")
	})
	t.Run("no answer to dialling", func(t *testing.T) {
		b := newBench(t)
		b.step(peer.Started{})
		b.tick("Drop")
		b.tick("Drop")
		b.expect(peer.Disconnected{})
		b.tick("Dial")
	})
	t.Run("a timer that fires early", func(t *testing.T) {
		b := greeted(t)
		due := b.due
		b.expect(peer.Ticked{})
		if b.due != due {
			t.Errorf("asked for %s, want %s again", b.due, due)
		}
	})
}

func TestWhatALostConnectionLeftBehindChangesNothing(t *testing.T) {
	b := running(t)
	b.expect(peer.Disconnected{})
	for _, e := range []peer.Event{
		batch(3, 5), ack(at(1, 5), 2),
		peer.Kept{},
		peer.Connected{},
		peer.Disconnected{},
		peer.Received{Message: welcome(cursor(1, 2))},
		peer.Received{Message: &wire.Slow{Milliseconds: 1}},
		peer.Received{Message: &wire.Error{Code: wire.CodeUnknown}},
		peer.Received{Message: &wire.Catalogue{Handle: "h"}},
		peer.Received{Message: &wire.SessionTold{}},
		peer.Received{Message: wire.Unknown{Type: "x"}},
	} {
		b.expect(e)
	}
	b.phase(peer.Offline, "")
	b.tick("Dial")
	b.expect(peer.Connected{Hello: hello(head(1, 0, 5))}, "Send hello")
	b.expect(peer.Received{Message: welcome(cursor(1, 3))}, "SetAcked", "Sessions", "Keep")
	b.expect(peer.Kept{}, "Read")
	// Read for the connection before: it is not what is due.
	b.expect(batch(3, 5))
}

func TestStableIsToldOnceEachTimeItMoves(t *testing.T) {
	b := greeted(t)
	c := cursor(1, 2)
	c.Stable = at(1, 1)
	did := b.expect(peer.Received{Message: welcome(c)}, "SetAcked", "SetStable", "Sessions", "Keep")
	if did[1] != (peer.SetStable{Point: at(1, 1), Retention: 400 * 24 * time.Hour}) {
		t.Errorf("%+v", did[1])
	}
	b.expect(peer.Kept{}, "Read")
	b.expect(batch(3, 3), "SendBatch", "Read")
	b.expect(batch(4, 4), "SendBatch")
	b.expect(peer.Received{Message: &wire.Ack{Cursor: at(1, 3), Stable: at(1, 1), Window: 2}}, "SetAcked", "Read")
	b.expect(peer.Received{Message: &wire.Ack{Cursor: at(1, 4), Stable: at(1, 2), Window: 2}}, "SetAcked", "SetStable")
}

func TestCatalogue(t *testing.T) {
	page := func(from, to uint64) *wire.Catalogue {
		return &wire.Catalogue{Handle: "h", From: from, To: to, Things: []wire.Thing{{Kind: "tax", ID: strconv.FormatUint(to, 10), Revision: to}}}
	}
	t.Run("parts are stored as one page", func(t *testing.T) {
		b := running(t)
		part := page(0, 3)
		part.Parts = true
		b.expect(peer.Received{Message: part})
		did := b.expect(peer.Received{Message: page(0, 3)}, "Store")
		if got, _ := did[0].(peer.Store); len(got.Page.Things) != 2 || got.Page.Parts {
			t.Errorf("%+v", got.Page)
		}
		b.expect(peer.Applied{})
	})
	t.Run("what does not fit is fetched afresh, then done without", func(t *testing.T) {
		b := running(t)
		b.expect(peer.Received{Message: page(0, 3)}, "Store")
		b.expect(peer.Applied{Failed: true}, "ResetCatalogue", "Drop")
		b.expect(peer.Received{Message: page(3, 4)})
		again := func() {
			b.Helper()
			b.expect(peer.Disconnected{})
			b.tick("Dial")
			b.expect(peer.Connected{Hello: hello(head(1, 0, 5))}, "Send hello")
			b.expect(peer.Received{Message: welcome(cursor(1, 2))}, "SetAcked", "Sessions", "Keep")
			// A page may come before the generation is stored.
			first := page(0, 3)
			first.More = true
			b.expect(peer.Received{Message: first}, "Store")
			b.expect(peer.Kept{}, "Read")
			b.expect(peer.Applied{})
			b.expect(peer.Received{Message: page(3, 4)}, "Store")
		}
		again()
		b.expect(peer.Applied{Failed: true}, "ResetCatalogue")
		b.phase(peer.Syncing, "sync.catalogue")
		b.expect(peer.Received{Message: page(4, 5)})
		// The money goes on.
		b.expect(batch(3, 5), "SendBatch")
		b.expect(ack(at(1, 5), 2), "SetAcked")
		b.phase(peer.Synced, "sync.catalogue")
		// Once in a while it is tried again.
		for {
			b.now = b.due
			if did := b.step(peer.Ticked{}); len(did) == 1 {
				if _, dropped := did[0].(peer.Drop); dropped {
					break
				}
			}
			if b.now.Sub(start) > time.Hour {
				t.Fatal("never tried again")
			}
		}
		again()
		b.expect(peer.Applied{})
		b.phase(peer.Syncing, "")
	})
	t.Run("a part of another page does not fit", func(t *testing.T) {
		b := running(t)
		part := page(0, 3)
		part.Parts = true
		b.expect(peer.Received{Message: part})
		b.expect(peer.Received{Message: page(3, 4)}, "ResetCatalogue", "Drop")
	})
}

func TestRevokedDeliversAndSaysSo(t *testing.T) {
	b := greeted(t)
	w := welcome(cursor(1, 2))
	w.Revoked = true
	b.expect(peer.Received{Message: w}, "SetAcked", "Sessions", "Keep")
	b.expect(peer.Kept{}, "Read")
	b.expect(batch(3, 5), "SendBatch")
	b.expect(ack(at(1, 5), 2), "SetAcked")
	b.phase(peer.Synced, "sync.revoked")
}

func TestSessionsAndOrders(t *testing.T) {
	b := running(t)
	b.expect(peer.Received{Message: &wire.SessionTold{}}, "Tell")
	b.expect(peer.Received{Message: &wire.Found{Ask: "q"}}, "Answer")
	if did, ok := b.till.Find(wire.Find{Ask: "q"}); !ok || len(did) != 1 {
		t.Errorf("Find = %v, %t", did, ok)
	}
	b.step(peer.Disconnected{})
	if _, ok := b.till.Find(wire.Find{Ask: "q"}); ok {
		t.Error("Find is sent without a connection")
	}
}
