package peer_test

import (
	"bytes"
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/peer"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
)

var (
	seeds = flag.Int("seeds", quickSeeds, "how many seeds the pair of machines is tried with")
	seed  = flag.Uint64("seed", 0, "try this seed only, and tell what happens")
)

// Both machines, with a made-up network, disk, ledger and clock between them.
// Frames are delayed, lost, repeated; connections are cut; both ends crash; the
// server is put back to an earlier state; commits end in an unknown outcome;
// batches of a connection that was given up come through after its successor's
// hello. In the end the server holds exactly what the register sold.
func TestTheServerHoldsEveryEntryOnceWhateverTheNetworkDoes(t *testing.T) {
	faults := map[string]int{}
	try := func(seed uint64, tell bool) {
		w := newWorld(t, seed, tell)
		w.run()
		for name, n := range w.faults {
			faults[name] += n
		}
		if t.Failed() {
			t.Fatalf("replay: go test ./peer -run %s -seed %d -v", t.Name(), seed)
		}
	}
	if *seed > 0 {
		try(*seed, true)
		return
	}
	for n := range uint64(*seeds) {
		try(n+1, false)
	}
	for _, name := range []string{"lost", "repeated", "cut", "till crashed", "server rolled back", "unknown outcome", "known trouble", "stale batch refused", "server stopped"} {
		if *seeds >= 100 && faults[name] == 0 {
			t.Errorf("in %d seeds there was no %q: this proves less than it says", *seeds, name)
		}
	}
	t.Logf("%d seeds, %v", *seeds, faults)
}

// event is something that will happen.
type event struct {
	at time.Time
	n  int
	do func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].n < q[j].n
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { e, _ := x.(event); *q = append(*q, e) }
func (q *events) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// row is an entry as journal and ledger hold it.
type row struct {
	point entry.Point
	raw   []byte
	close bool
}

// log is what one end holds of an epoch.
type log struct {
	epoch wire.EpochHead // of the register
	rows  []row
}

func (l *log) head() entry.Point {
	if len(l.rows) == 0 {
		return entry.Point{Epoch: l.epoch.Epoch, Hash: l.epoch.Base.Hash}
	}
	return l.rows[len(l.rows)-1].point
}

func (l *log) point(seq uint64) entry.Point {
	if seq == 0 {
		return entry.Point{Epoch: l.epoch.Epoch, Hash: l.epoch.Base.Hash}
	}
	return l.rows[seq-1].point
}

type world struct {
	t      *testing.T
	tell   bool
	rng    *rand.Rand
	now    time.Time
	queue  events
	n      int
	calm   bool
	faults map[string]int

	// the register
	journal    []*log
	acked      map[uint64]entry.Point
	generation uint64
	till       *peer.Till
	life       int
	wake       int
	line       *line

	// the server
	ledger    map[uint64]*log
	grown     uint64 // generation
	committed map[entry.Point]bool
	saved     map[uint64]*log
	desks     []*line
}

// line is a connection with both its ends.
type line struct {
	centre   *peer.Centre
	up, down time.Time // when the last frame of each direction arrives
	dead     bool      // nothing arrives any more
	// A stream does not lose a frame out of the middle: once one is lost,
	// nothing of that direction arrives any more, and nobody is told.
	upStalled, downStalled bool
	owed                   map[entry.Point]bool
}

func newWorld(t *testing.T, seed uint64, tell bool) *world {
	w := &world{
		t: t, tell: tell, rng: rand.New(rand.NewPCG(seed, 7)), now: start, faults: map[string]int{},
		acked: map[uint64]entry.Point{}, ledger: map[uint64]*log{}, committed: map[entry.Point]bool{},
	}
	w.begin(1, entry.Point{})
	for range w.rng.IntN(40) {
		w.sell()
	}
	if w.rng.IntN(2) == 0 {
		w.begin(2, w.journal[0].head())
	}
	w.save()
	return w
}

// begin begins an epoch at both ends.
func (w *world) begin(epoch uint64, base entry.Point) {
	h := wire.EpochHead{Epoch: epoch, Nonce: "n", Base: base, Checkpoint: entry.Point{Epoch: epoch, Hash: base.Hash}}
	w.journal = append(w.journal, &log{epoch: h})
	w.ledger[epoch] = &log{epoch: h}
	w.acked[epoch] = h.Checkpoint
}

// sell makes an entry, now and then that of a close.
func (w *world) sell() {
	l := w.journal[len(w.journal)-1]
	before := l.head()
	kind := entry.KindSignedIn
	if w.rng.IntN(8) == 0 {
		kind = entry.KindClose
	}
	raw, hash, err := entry.Make(entry.Entry{
		PointOfSale: "SHOP1", Register: "r", Epoch: before.Epoch, Seq: before.Seq + 1, Op: fmt.Sprint(before.Epoch, "/", before.Seq+1), Prev: before.Hash, At: w.now, Kind: kind,
	}, pos.Event{Detail: string(bytes.Repeat([]byte{'x'}, w.rng.IntN(400)))})
	if err != nil {
		w.t.Fatal(err)
	}
	l.rows = append(l.rows, row{point: entry.Point{Epoch: before.Epoch, Seq: before.Seq + 1, Hash: hash}, raw: raw, close: kind == entry.KindClose})
}

func (w *world) heads() []wire.EpochHead {
	var heads []wire.EpochHead
	for _, l := range w.journal {
		h := l.epoch
		h.Head = l.head()
		heads = append(heads, h)
	}
	return heads
}

// save keeps a backup of the server.
func (w *world) save() {
	w.saved = map[uint64]*log{}
	for n, l := range w.ledger {
		w.saved[n] = &log{epoch: l.epoch, rows: append([]row(nil), l.rows...)}
	}
}

func (w *world) logf(format string, args ...any) {
	if w.tell {
		w.t.Logf("%10s "+format, append([]any{w.now.Sub(start).Round(time.Millisecond)}, args...)...)
	}
}

func (w *world) after(d time.Duration, do func()) {
	w.n++
	heap.Push(&w.queue, event{at: w.now.Add(d), n: w.n, do: do})
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d) + 1)) }

// hit throws dice for a fault.
func (w *world) hit(name string, oneIn int) bool {
	if w.calm || w.rng.IntN(oneIn) != 0 {
		return false
	}
	w.faults[name]++
	w.logf("fault: %s", name)
	return true
}

// run lets things happen for a while, then without faults until all is quiet.
func (w *world) run() {
	w.boot()
	var trade func()
	trade = func() {
		if w.calm {
			return
		}
		for range 1 + w.rng.IntN(20) {
			w.sell()
		}
		if w.rng.IntN(5) > 0 { // else the wake-up is lost: the watchdog finds it
			w.step(peer.Grown{Epochs: w.heads()})
		}
		w.after(w.upTo(8*time.Second), trade)
	}
	w.after(0, trade)
	var trouble func()
	trouble = func() {
		if w.calm {
			return
		}
		switch w.rng.IntN(12) {
		case 0, 1, 2, 3:
			w.faults["cut"]++
			w.cut(w.line)
		case 4, 5:
			w.faults["till crashed"]++
			w.cut(w.line)
			w.boot()
		case 6:
			w.save()
		case 7:
			w.rollBack()
		case 8:
			w.faults["server stopped"]++
			for _, l := range w.desks {
				w.serve(l, peer.Stopping{After: time.Second})
			}
		}
		w.after(w.upTo(30*time.Second), trouble)
	}
	w.after(w.upTo(10*time.Second), trouble)
	w.until(start.Add(4 * time.Minute))
	w.calm = true
	w.until(start.Add(24 * time.Minute))
	w.check()
}

func (w *world) until(end time.Time) {
	for len(w.queue) > 0 && !w.t.Failed() {
		if w.queue[0].at.After(end) || w.calm && w.quiet() {
			return
		}
		e, _ := heap.Pop(&w.queue).(event)
		w.now = e.at
		e.do()
	}
}

// quiet reports whether the register has heard that everything is in.
func (w *world) quiet() bool {
	for _, l := range w.journal {
		if w.acked[l.epoch.Epoch] != l.head() {
			return false
		}
	}
	// One that has not heard yet that its connection is gone knows nothing.
	return w.line != nil && !w.line.dead && w.till.Status().Phase == peer.Synced
}

func (w *world) check() {
	if !w.quiet() {
		w.t.Errorf("not everything was acknowledged: %+v, acked %v, heads %v", w.till.Status(), w.acked, w.heads())
	}
	for _, mine := range w.journal {
		theirs := w.ledger[mine.epoch.Epoch]
		if len(theirs.rows) != len(mine.rows) {
			w.t.Errorf("epoch %d: the server holds %d entries, the register %d", mine.epoch.Epoch, len(theirs.rows), len(mine.rows))
			continue
		}
		for i := range mine.rows {
			if !bytes.Equal(mine.rows[i].raw, theirs.rows[i].raw) {
				w.t.Errorf("epoch %d: entry %d differs", mine.epoch.Epoch, i+1)
			}
		}
	}
}

func (w *world) rollBack() {
	w.faults["server rolled back"]++
	w.logf("fault: server rolled back")
	for _, l := range w.desks {
		w.cut(l)
	}
	w.ledger = map[uint64]*log{}
	for n, l := range w.saved {
		w.ledger[n] = &log{epoch: l.epoch, rows: append([]row(nil), l.rows...)}
	}
}

// The register.

func (w *world) boot() {
	w.life++
	w.till = peer.NewTill(rand.New(rand.NewPCG(w.rng.Uint64(), 1)))
	if w.rng.IntN(2) == 0 {
		// What was acknowledged is stored with a delay: some is forgotten.
		for _, l := range w.journal {
			seq := w.acked[l.epoch.Epoch].Seq
			w.acked[l.epoch.Epoch] = l.point(uint64(w.rng.Int64N(int64(seq) + 1)))
		}
	}
	w.step(peer.Started{})
}

func (w *world) step(e peer.Event) {
	w.logf("till: %T", e)
	for _, a := range w.till.Step(e, w.now) {
		w.act(a)
	}
}

// later steps the register's machine after a while, if it still lives.
func (w *world) later(d time.Duration, e func() peer.Event) {
	life := w.life
	w.after(d, func() {
		if w.life == life {
			w.step(e())
		}
	})
}

func (w *world) act(a peer.Action) {
	w.logf("till does %T", a)
	switch a := a.(type) {
	case peer.Dial:
		w.dial()
	case peer.Drop:
		w.cut(w.line)
		w.line = nil
		w.later(0, func() peer.Event { return peer.Disconnected{} })
	case peer.Send:
		data, err := wire.Encode(a.Message)
		if err != nil {
			w.t.Fatal(err)
		}
		w.upward(func() peer.CentreEvent {
			m, err := wire.Decode(data)
			if err != nil {
				w.t.Fatal(err)
			}
			return peer.Heard{Message: m}
		}, false)
	case peer.SendBatch:
		data, err := wire.EncodeBatch(&a.Batch)
		if err != nil {
			w.t.Fatal(err)
		}
		w.upward(func() peer.CentreEvent {
			b, err := wire.DecodeBatch(data)
			if err != nil {
				w.t.Fatal(err)
			}
			return peer.HeardBatch{Batch: b}
		}, true)
	case peer.Keep:
		w.later(w.upTo(50*time.Millisecond), func() peer.Event {
			w.generation = a.Generation
			return peer.Kept{Closes: w.closesBeyond(a.Cursors)}
		})
	case peer.SetAcked:
		l := w.journal[a.Point.Epoch-1]
		if a.Point.Seq > l.head().Seq || a.Point != l.point(a.Point.Seq) {
			w.t.Errorf("acknowledged %v is not in the journal", a.Point)
		}
		if a.Point.Seq > 0 && !w.committed[a.Point] {
			w.t.Errorf("acknowledged %v was never committed", a.Point)
		}
		w.acked[a.Point.Epoch] = a.Point
	case peer.Look:
		w.later(0, func() peer.Event { return peer.Grown{Epochs: w.heads()} })
	case peer.Read:
		w.later(w.upTo(5*time.Millisecond), func() peer.Event { return w.read(a.From) })
	case peer.Wake:
		w.wake++
		wake := w.wake
		w.later(a.At.Sub(w.now), func() peer.Event {
			if wake != w.wake {
				return nil
			}
			return peer.Ticked{}
		})
	}
}

func (w *world) read(from entry.Place) peer.Event {
	e := peer.Entries{Batch: wire.Batch{Epoch: from.Epoch, First: from.Seq}}
	most := 1 + w.rng.IntN(12)
	for _, r := range w.journal[from.Epoch-1].rows[from.Seq-1:] {
		if len(e.Batch.Entries) == most {
			break
		}
		e.Batch.Entries, e.Last = append(e.Batch.Entries, r.raw), r.point
	}
	return e
}

func (w *world) closesBeyond(cursors []entry.Point) []wire.RawEntry {
	var closes []wire.RawEntry
	for i, l := range w.journal {
		for _, r := range l.rows[cursors[i].Seq:] {
			if r.close {
				closes = append(closes, wire.RawEntry{At: r.point, Raw: r.raw})
			}
		}
	}
	return closes
}

// The network.

func (w *world) dial() {
	life := w.life
	w.after(w.upTo(200*time.Millisecond), func() {
		if w.life != life {
			return
		}
		if w.hit("refused", 6) {
			w.step(peer.Disconnected{RetryAfter: time.Duration(w.rng.IntN(3)) * time.Second})
			return
		}
		if w.hit("dialled in vain", 10) {
			return // nobody answers: the machine gives it up
		}
		w.line = &line{centre: peer.NewCentre(rand.New(rand.NewPCG(w.rng.Uint64(), 2)))}
		w.desks = append(w.desks, w.line)
		w.serve(w.line, peer.Opened{})
		acked := []entry.Point{}
		for _, l := range w.journal {
			acked = append(acked, w.acked[l.epoch.Epoch])
		}
		w.step(peer.Connected{Hello: wire.Hello{Version: 1, Epochs: w.heads(), Generation: w.generation}, Acked: acked})
	})
}

// cut ends a connection: what is on the way is lost, and the register hears of
// it some time later.
func (w *world) cut(l *line) {
	if l == nil || l.dead {
		return
	}
	w.logf("cut")
	l.dead = true
	if l == w.line {
		life := w.life
		w.after(w.upTo(20*time.Second), func() {
			if w.life == life && w.line == l {
				w.line = nil
				w.step(peer.Disconnected{})
			}
		})
	}
	// What the server was doing goes on; it hears of the end only then.
}

// upward sends a frame up; frames of one direction arrive in order.
func (w *world) upward(e func() peer.CentreEvent, repeatable bool) {
	l := w.line
	if l == nil || l.dead {
		return
	}
	l.upStalled = l.upStalled || w.hit("lost", 80)
	if l.upStalled {
		return
	}
	times := 1
	if repeatable && w.hit("repeated", 20) {
		times = 2
	}
	for range times {
		l.up = later(l.up, w.now.Add(w.upTo(300*time.Millisecond)))
		w.after(l.up.Sub(w.now), func() {
			if !l.dead {
				w.serve(l, e())
			}
		})
	}
}

func (w *world) downward(l *line, m any) {
	data, err := wire.Encode(m)
	if err != nil {
		w.t.Fatal(err)
	}
	if l.dead {
		return
	}
	l.downStalled = l.downStalled || w.hit("lost", 80)
	if l.downStalled {
		return
	}
	times := 1
	if _, ok := m.(*wire.Ack); ok && w.hit("repeated", 20) {
		times = 2
	}
	for range times {
		l.down = later(l.down, w.now.Add(w.upTo(300*time.Millisecond)))
		w.after(l.down.Sub(w.now), func() {
			if l.dead || w.line != l {
				return
			}
			m, err := wire.Decode(data)
			if err != nil {
				w.t.Fatal(err)
			}
			e := peer.Received{Message: m}
			if welcome, ok := m.(*wire.Welcome); ok {
				for _, c := range welcome.Epochs {
					if mine := w.journal[c.Epoch-1]; c.Cursor.Seq <= mine.head().Seq {
						e.Own = append(e.Own, mine.point(c.Cursor.Seq))
					}
				}
			}
			w.step(e)
		})
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// The server.

func (w *world) serve(l *line, e peer.CentreEvent) {
	w.logf("centre: %T", e)
	for _, a := range l.centre.Step(e, w.now) {
		w.perform(l, a)
	}
}

func (w *world) perform(l *line, a peer.CentreAction) {
	w.logf("centre does %T", a)
	switch a := a.(type) {
	case peer.Greet:
		w.after(w.upTo(100*time.Millisecond), func() { w.serve(l, w.hello(l, a.Hello)) })
	case peer.Apply:
		if len(l.owed) > 0 {
			w.t.Errorf("entries come before %d closes beyond the cursors", len(l.owed))
		}
		// Sometimes longer than the register waits: it comes through after the
		// hello of the connection that follows.
		took := w.upTo(100 * time.Millisecond)
		if w.rng.IntN(30) == 0 && !w.calm {
			took = w.upTo(90 * time.Second)
		}
		w.after(took, func() { w.serve(l, w.apply(a)) })
	case peer.TakeCloses:
		w.after(w.upTo(50*time.Millisecond), func() {
			for _, c := range a.Closes.Entries {
				delete(l.owed, c.At)
			}
			w.serve(l, peer.Taken{})
		})
	case peer.SendDown:
		w.downward(l, a.Message)
	case peer.LoadSessions:
		w.after(w.upTo(20*time.Millisecond), func() { w.serve(l, peer.Told{}) })
	case peer.End:
		if a.Error != nil {
			w.downward(l, a.Error)
		}
		// The end of the stream comes behind what was sent.
		w.after(later(l.down, w.now).Sub(w.now), func() { w.cut(l) })
	case peer.WakeCentre:
		w.after(a.At.Sub(w.now), func() { w.serve(l, peer.CentreTicked{}) })
	}
}

func (w *world) hello(l *line, h *wire.Hello) peer.CentreEvent {
	w.grown = 1 + max(w.grown, h.Generation)
	for _, other := range w.desks {
		if other != l && w.rng.IntN(2) == 0 { // else it is of another server
			w.serve(other, peer.Replaced{})
		}
	}
	welcome := &wire.Welcome{Version: 1, Incarnation: "i", Generation: w.grown, Window: 1 + w.rng.IntN(4)}
	l.owed = map[entry.Point]bool{}
	for n := range uint64(len(w.journal)) {
		held := w.ledger[n+1]
		welcome.Epochs = append(welcome.Epochs, wire.EpochCursor{Epoch: n + 1, Base: held.epoch.Base, Cursor: held.head()})
		for _, r := range w.journal[n].rows[held.head().Seq:h.Epochs[n].Head.Seq] {
			if r.close {
				l.owed[r.point] = true
			}
		}
	}
	return peer.Greeted{Welcome: welcome}
}

func (w *world) apply(a peer.Apply) peer.CentreEvent {
	if w.hit("known trouble", 60) {
		return peer.Troubled{Known: true}
	}
	if a.Generation != w.grown {
		w.faults["stale batch refused"]++
		return peer.Refused{Error: wire.Error{Code: wire.CodeReplaced, Key: "sync.replaced"}}
	}
	held := w.ledger[a.Batch.Epoch]
	if a.Batch.First > held.head().Seq+1 {
		return peer.Refused{Error: wire.Error{Code: wire.CodeChain, Key: "sync.chain"}}
	}
	var last entry.Point
	for i, raw := range a.Batch.Entries {
		e, err := entry.Decode(raw)
		if err != nil {
			w.t.Fatal(err)
		}
		last = entry.Point{Epoch: e.Epoch, Seq: e.Seq, Hash: entry.HashOf(raw)}
		if seq := a.Batch.First + uint64(i); seq <= held.head().Seq {
			if !bytes.Equal(held.rows[seq-1].raw, raw) {
				w.t.Errorf("entry %d/%d came with other bytes", a.Batch.Epoch, seq)
			}
			continue
		}
		if err := entry.Follows(held.head(), &e); err != nil {
			w.t.Errorf("batch from %d/%d: %v", a.Batch.Epoch, a.Batch.First, err)
			return peer.Troubled{}
		}
		held.rows = append(held.rows, row{point: last, raw: raw, close: e.Kind == entry.KindClose})
		w.committed[last] = true
	}
	if w.hit("unknown outcome", 60) {
		return peer.Troubled{}
	}
	return peer.Committed{Ack: &wire.Ack{Cursor: last}}
}
