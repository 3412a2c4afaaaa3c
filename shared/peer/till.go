package peer

import (
	"math/rand/v2"
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/wire"
)

// Phase is what a register's sync is doing.
type Phase string

// The phases.
const (
	Offline  Phase = "offline"  // no connection; trying again
	Greeting Phase = "greeting" // connected, not welcomed yet
	Syncing  Phase = "syncing"  // welcomed, entries are waiting
	Synced   Phase = "synced"   // everything is in
	Stopped  Phase = "stopped"  // a person has to help; selling goes on
)

// Status is what the register shows of its connection.
type Status struct {
	Phase Phase
	Since time.Time
	// Key is a message key that says why, empty where there is nothing to say.
	Key string
	Row Row
}

// Event is something that happened at the register's end.
type Event interface{ tillEvent() }

// The events of a [Till].
type (
	// Started begins.
	Started struct{}
	// Connected: the socket is open; Hello is what the register has to say,
	// Acked what it knows to be acknowledged, by epoch.
	Connected struct {
		Hello wire.Hello
		Acked []entry.Point
	}
	// Disconnected: the socket is gone, or could not be opened. RetryAfter is
	// what the server asked for, 0 if nothing.
	Disconnected struct{ RetryAfter time.Duration }
	// Received: a control message came (a pointer to its struct). With a
	// welcome Own holds the register's own points at the server's cursors.
	Received struct {
		Message any
		Own     []entry.Point
	}
	// Kept: what [Keep] asked for is durable. Closes are those beyond the
	// server's cursors.
	Kept struct{ Closes []wire.RawEntry }
	// Grown: the journal holds more, or another epoch.
	Grown struct{ Epochs []wire.EpochHead }
	// Entries: what [Read] asked for; Batch.Entries is empty where there was
	// nothing. Last is the point of the last entry.
	Entries struct {
		Batch wire.Batch
		Last  entry.Point
	}
	// Applied: a page of the catalogue is stored; Failed says that it did not
	// fit and a fresh snapshot is needed.
	Applied struct{ Failed bool }
	// Ticked: the time that [Wake] asked for has come.
	Ticked struct{}
)

func (Started) tillEvent()      {}
func (Connected) tillEvent()    {}
func (Disconnected) tillEvent() {}
func (Received) tillEvent()     {}
func (Kept) tillEvent()         {}
func (Grown) tillEvent()        {}
func (Entries) tillEvent()      {}
func (Applied) tillEvent()      {}
func (Ticked) tillEvent()       {}

// Action is something that the driver of a [Till] is to do, in order.
type Action interface{ tillAction() }

// The actions of a [Till].
type (
	// Dial opens a socket.
	Dial struct{}
	// Drop closes the socket; the driver answers with Disconnected.
	Drop struct{ Why string }
	// Send sends a control message.
	Send struct{ Message any }
	// SendBatch sends entries.
	SendBatch struct{ Batch wire.Batch }
	// Keep makes the generation and incarnation durable and finds the closes
	// beyond the cursors; the driver answers with Kept.
	Keep struct {
		Generation  uint64
		Incarnation string
		Cursors     []entry.Point
	}
	// SetAcked takes the server's cursor of an epoch over, forwards or back.
	SetAcked struct{ Point entry.Point }
	// SetStable says how far a verified copy holds an epoch, and the retention
	// time of this connection's welcome.
	SetStable struct {
		Point     entry.Point
		Retention time.Duration
	}
	// Read reads entries of an epoch from a sequence on; the driver answers
	// with Entries.
	Read struct{ From entry.Place }
	// Store stores a page of the catalogue; the driver answers with Applied.
	Store struct{ Page *wire.Catalogue }
	// Sessions replaces the list of sessions in progress at the point of sale.
	Sessions struct{ List []wire.Session }
	// Tell tells a session; a close is journalled, once, by its id.
	Tell struct{ Told *wire.SessionTold }
	// Answer is the answer to a find.
	Answer struct{ Found *wire.Found }
	// Wake asks for Ticked at a time; a later Wake replaces an earlier one.
	Wake struct{ At time.Time }
	// Report says that the status changed.
	Report struct{ Status Status }
	// ResetCatalogue forgets the catalogue's handle, so that the next hello
	// asks for a snapshot.
	ResetCatalogue struct{}
)

func (Dial) tillAction()           {}
func (Drop) tillAction()           {}
func (Send) tillAction()           {}
func (SendBatch) tillAction()      {}
func (Keep) tillAction()           {}
func (SetAcked) tillAction()       {}
func (SetStable) tillAction()      {}
func (Read) tillAction()           {}
func (Store) tillAction()          {}
func (Sessions) tillAction()       {}
func (Tell) tillAction()           {}
func (Answer) tillAction()         {}
func (Wake) tillAction()           {}
func (Report) tillAction()         {}
func (ResetCatalogue) tillAction() {}

// step is where a connection stands.
type step int

const (
	waiting  step = iota // until it is time to dial
	dialing              // Dial was given
	greeting             // hello sent
	keeping              // Keep was given
	running              // entries flow
	dropping             // Drop was given
)

// flight is a batch that is sent and not acknowledged.
type flight struct{ last entry.Point }

// Till is the register's end of the protocol.
type Till struct {
	random *rand.Rand

	step   step
	status Status
	wait   time.Duration // the last backoff
	retry  time.Duration // what the next wait is to be, 0: backoff
	due    time.Time     // what Wake was asked for

	hello     wire.Hello
	acked     []entry.Point
	epochs    []wire.EpochHead // what the journal holds now
	next      []entry.Point    // per epoch: what was sent or is held by the server
	closes    []wire.RawEntry
	window    int
	inFlight  []flight
	reading   bool
	progress  time.Time // when something was last acknowledged
	retention time.Duration
}

// NewTill returns a register's end that has not begun. random is used for
// waiting times only.
func NewTill(random *rand.Rand) *Till {
	return &Till{random: random, status: Status{Phase: Offline}}
}

// Status returns what the register shows of its connection.
func (t *Till) Status() Status { return t.status }

// Step takes an event and returns what to do, in order.
func (t *Till) Step(e Event, now time.Time) []Action {
	var a tillActions
	switch e := e.(type) {
	case Started:
		t.report(&a, now, Offline, "", "")
		t.dial(&a)
	case Connected:
		t.connected(&a, e, now)
	case Disconnected:
		t.disconnected(&a, e, now)
	case Received:
		t.received(&a, e, now)
	case Kept:
		t.kept(&a, e, now)
	case Grown:
		t.epochs = e.Epochs
		t.pump(&a, now)
	case Entries:
		t.send(&a, e, now)
	case Applied:
		if e.Failed {
			a.add(ResetCatalogue{}, Drop{Why: "catalogue does not fit"})
			t.step = dropping
			t.retry = firstBackoff
		}
	case Ticked:
		t.ticked(&a, now)
	}
	return a.list
}

type tillActions struct{ list []Action }

func (a *tillActions) add(actions ...Action) { a.list = append(a.list, actions...) }

func (t *Till) report(a *tillActions, now time.Time, phase Phase, key string, row Row) {
	if t.status.Phase == phase && t.status.Key == key && !t.status.Since.IsZero() {
		return
	}
	t.status = Status{Phase: phase, Since: now, Key: key, Row: row}
	a.add(Report{Status: t.status})
}

func (t *Till) wake(a *tillActions, at time.Time) {
	t.due = at
	a.add(Wake{At: at})
}

func (t *Till) dial(a *tillActions) {
	t.step = dialing
	a.add(Dial{})
}

func (t *Till) connected(a *tillActions, e Connected, now time.Time) {
	if t.step != dialing {
		return
	}
	t.step = greeting
	t.hello, t.acked, t.epochs = e.Hello, e.Acked, e.Hello.Epochs
	a.add(Send{Message: &t.hello})
	if t.status.Phase != Stopped {
		t.report(a, now, Greeting, "", "")
	}
	t.wake(a, now.Add(WelcomeLimit))
}

func (t *Till) disconnected(a *tillActions, e Disconnected, now time.Time) {
	if t.step == waiting {
		return
	}
	t.step = waiting
	t.inFlight, t.reading, t.closes = nil, false, nil
	if t.status.Phase != Stopped {
		t.report(a, now, Offline, t.status.Key, t.status.Row)
	}
	wait := max(t.retry, e.RetryAfter)
	if wait == 0 {
		t.wait = backoff(t.random, t.wait)
		wait = t.wait
	}
	t.retry = 0
	t.wake(a, now.Add(wait))
}

func (t *Till) drop(a *tillActions, why string) {
	t.step = dropping
	a.add(Drop{Why: why})
}

// stop ends the connection where only a person can help. It tries again from
// time to time: the person may help at the other end.
func (t *Till) stop(a *tillActions, now time.Time, key string, row Row) {
	t.report(a, now, Stopped, key, row)
	t.retry = stoppedRetry
	t.drop(a, key)
}

func (t *Till) ticked(a *tillActions, now time.Time) {
	switch {
	case now.Before(t.due):
		t.wake(a, t.due)
	case t.step == waiting:
		t.dial(a)
	case t.step == greeting || t.step == keeping:
		t.drop(a, "no welcome in time")
	case t.step == running:
		if len(t.inFlight) > 0 && now.Sub(t.progress) >= NoProgress {
			t.drop(a, "no progress")
			return
		}
		// The watchdog: whatever woke us or did not, entries that wait are sent.
		t.pump(a, now)
		t.wake(a, now.Add(NoProgress/2))
	case t.step == dialing, t.step == dropping:
		t.wake(a, now.Add(NoProgress/2))
	}
}

func (t *Till) received(a *tillActions, e Received, now time.Time) {
	switch m := e.Message.(type) {
	case *wire.Welcome:
		t.welcomed(a, m, e.Own, now)
	case *wire.Ack:
		t.acknowledged(a, m, now)
	case *wire.Catalogue:
		a.add(Store{Page: m})
	case *wire.SessionTold:
		a.add(Tell{Told: m})
	case *wire.Found:
		a.add(Answer{Found: m})
	case *wire.Slow:
		t.retry = max(firstBackoff, time.Duration(m.Milliseconds)*time.Millisecond)
		t.drop(a, "server asks to come back later")
	case *wire.Error:
		t.refused(a, m, now)
	}
}

func (t *Till) refused(a *tillActions, m *wire.Error, now time.Time) {
	switch m.Code {
	case wire.CodeUnknown:
		t.stop(a, now, "sync.unknown_register", "")
	case wire.CodeVersion:
		t.stop(a, now, "sync.version", "")
	case wire.CodeReplaced:
		t.retry = replacedRetry
		t.drop(a, "replaced by a newer connection")
	case wire.CodeLater:
		t.stop(a, now, "sync.later", "")
	case wire.CodeRevoked, wire.CodeProtocol, wire.CodeTooLarge, wire.CodeChain, wire.CodeFork, wire.CodeUnavailable:
		t.drop(a, string(m.Code))
	default:
		t.drop(a, string(m.Code))
	}
}

func (t *Till) welcomed(a *tillActions, w *wire.Welcome, own []entry.Point, now time.Time) {
	if t.step != greeting {
		return
	}
	if _, ok := wire.Negotiate(w.Version); !ok {
		t.stop(a, now, "sync.version", "")
		return
	}
	row := Judge(&t.hello, w, own, t.acked)
	if !row.Heals() {
		t.stop(a, now, "sync."+string(row), row)
		return
	}
	t.step = keeping
	t.wait = 0
	t.window = max(w.Window, 1)
	t.retention = time.Duration(w.Retention) * 24 * time.Hour
	t.next = t.next[:0]
	for _, mine := range t.hello.Epochs {
		cursor := entry.Point{Epoch: mine.Epoch, Hash: mine.Base.Hash}
		if c, ok := cursorOf(w, mine.Epoch); ok {
			cursor = c.Cursor
			a.add(SetStable{Point: c.Stable, Retention: t.retention})
		}
		t.next = append(t.next, cursor)
		// acked := cursor, always: a restored server holds less than it said.
		a.add(SetAcked{Point: cursor})
	}
	a.add(Sessions{List: w.Sessions})
	a.add(Keep{Generation: w.Generation, Incarnation: w.Incarnation, Cursors: append([]entry.Point(nil), t.next...)})
}

func (t *Till) kept(a *tillActions, e Kept, now time.Time) {
	if t.step != keeping {
		return
	}
	t.step = running
	t.progress = now
	if len(e.Closes) > 0 {
		a.add(Send{Message: &wire.Closes{Waiting: t.hello.Waiting, Entries: e.Closes}})
	}
	t.pump(a, now)
	t.settle(a, now)
	t.wake(a, now.Add(NoProgress/2))
}

// pump reads on while there is room in the window; the epochs go in order.
func (t *Till) pump(a *tillActions, now time.Time) {
	if t.step != running {
		return
	}
	from, ok := t.unsent()
	if ok {
		t.report(a, now, Syncing, "", "")
	}
	if !ok || t.reading || len(t.inFlight) >= t.window {
		return
	}
	if len(t.inFlight) == 0 {
		t.progress = now
	}
	t.reading = true
	a.add(Read{From: from})
}

// unsent returns the place of the first entry that was not sent.
func (t *Till) unsent() (entry.Place, bool) {
	for _, e := range t.epochs {
		sent, ok := pointOf(t.next, e.Epoch)
		if !ok {
			// An epoch begun on this connection: the server learns of it at
			// the next hello.
			continue
		}
		if e.Head.Seq > sent.Seq {
			return entry.Place{Epoch: e.Epoch, Seq: sent.Seq + 1}, true
		}
	}
	return entry.Place{}, false
}

func (t *Till) send(a *tillActions, e Entries, now time.Time) {
	t.reading = false
	if t.step != running || len(e.Batch.Entries) == 0 {
		return
	}
	from, ok := t.unsent()
	if !ok || from != (entry.Place{Epoch: e.Batch.Epoch, Seq: e.Batch.First}) {
		return // read for a connection that is gone
	}
	for i := range t.next {
		if t.next[i].Epoch == e.Batch.Epoch {
			t.next[i] = e.Last
		}
	}
	t.inFlight = append(t.inFlight, flight{last: e.Last})
	a.add(SendBatch{Batch: e.Batch})
	t.pump(a, now)
}

func (t *Till) acknowledged(a *tillActions, m *wire.Ack, now time.Time) {
	if t.step != running {
		return
	}
	for i, f := range t.inFlight {
		if f.last.Place() != m.Cursor.Place() {
			continue
		}
		if f.last.Hash != m.Cursor.Hash {
			t.drop(a, "acknowledged with another hash")
			return
		}
		t.inFlight = append(t.inFlight[:0], t.inFlight[i+1:]...)
		t.progress = now
		t.window = max(m.Window, 1)
		a.add(SetAcked{Point: m.Cursor})
		if m.Stable.Seq > 0 {
			a.add(SetStable{Point: m.Stable, Retention: t.retention})
		}
		t.pump(a, now)
		t.settle(a, now)
		return
	}
	// An acknowledgement of something that is not in flight: of an older batch
	// that a retry covered, or nonsense. The cursor decides at the next hello.
}

// settle reports that everything is in.
func (t *Till) settle(a *tillActions, now time.Time) {
	if _, more := t.unsent(); t.step == running && !more && len(t.inFlight) == 0 {
		t.report(a, now, Synced, "", "")
	}
}

// Find asks the server for an order, if there is a connection.
func (t *Till) Find(f wire.Find) ([]Action, bool) {
	if t.step != running {
		return nil, false
	}
	return []Action{Send{Message: &f}}, true
}
