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
	// Row is the row of the handshake table that the last welcome was.
	Row Row
}

// Event is something that happened at the register's end.
type Event interface{ tillEvent() }

// The events of a [Till].
type (
	// Started begins.
	Started struct{}
	// Connected tells that the socket is open. Hello is what the register has
	// to say, Acked what it knows to be acknowledged, by epoch.
	Connected struct {
		Hello wire.Hello
		Acked []entry.Point
	}
	// Disconnected tells that the socket is gone, or could not be opened.
	// RetryAfter is what the server asked for, 0 if nothing.
	Disconnected struct{ RetryAfter time.Duration }
	// Received tells that a control message came (a pointer to its struct).
	// With a welcome Own holds the register's own points at the server's
	// cursors. A server that refuses the dialling counts as one that sent
	// an error.
	Received struct {
		Message any
		Own     []entry.Point
	}
	// Kept answers [Keep]: it is durable. Closes are those beyond the server's
	// cursors, in the journal's order.
	Kept struct{ Closes []wire.RawEntry }
	// Grown tells what the journal holds now. It is a level, no edge: told
	// again, or too seldom, it does no harm.
	Grown struct{ Epochs []wire.EpochHead }
	// Entries answers [Read]; Batch.Entries is empty where there was nothing.
	// Last is the point of the last entry.
	Entries struct {
		Batch wire.Batch
		Last  entry.Point
	}
	// Applied answers [Store]: the page of the catalogue is stored. Failed
	// says that it did not fit and a fresh snapshot is needed.
	Applied struct{ Failed bool }
	// Ticked tells that the time that [Wake] asked for has come.
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
	// Dial opens a socket; the driver answers with Connected or Disconnected.
	Dial struct{}
	// Drop closes the socket, or gives the dialling up; the driver answers
	// with Disconnected.
	Drop struct{ Why string }
	// Send sends a control message.
	Send struct{ Message any }
	// SendBatch sends entries.
	SendBatch struct{ Batch wire.Batch }
	// Keep stores the connection's generation and the server's incarnation;
	// when they are durable, and only then, the driver answers with Kept and
	// the closes beyond the cursors.
	Keep struct {
		Generation  uint64
		Incarnation string
		Cursors     []entry.Point
	}
	// SetAcked takes over the server's cursor of an epoch, forwards or
	// backwards.
	SetAcked struct{ Point entry.Point }
	// SetStable says how far a verified copy holds an epoch, and the retention
	// time of this connection's welcome.
	SetStable struct {
		Point     entry.Point
		Retention time.Duration
	}
	// Look asks what the journal holds now; the driver answers with Grown.
	Look struct{}
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
func (Look) tillAction()           {}
func (Read) tillAction()           {}
func (Store) tillAction()          {}
func (Sessions) tillAction()       {}
func (Tell) tillAction()           {}
func (Answer) tillAction()         {}
func (Wake) tillAction()           {}
func (Report) tillAction()         {}
func (ResetCatalogue) tillAction() {}

// step is where a connection stands.
//
//	waiting ──Ticked──▶ dialing ──Connected──▶ greeting ──welcome──▶ keeping ──Kept──▶ running
//	   ▲                   │                      │                     │                │
//	   └──Disconnected─────┴──────────────────────┴──Drop──▶ dropping ◀─┴────────────────┘
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

// Till is the register's end of the protocol. It lives as long as the
// register's program does, over many connections.
type Till struct {
	random *rand.Rand

	step   step
	status Status
	wait   time.Duration // the last backoff
	retry  time.Duration // what the next wait is to be at least, 0: backoff
	why    string        // message key of what ended the connection
	due    time.Time     // what Wake was asked for

	hello     wire.Hello
	acked     []entry.Point
	epochs    []wire.EpochHead // what the journal holds now
	next      []entry.Point    // per epoch: what was sent or is held by the server
	stable    []entry.Point    // what was told of a verified copy
	window    int
	inFlight  []flight
	reading   bool
	began     time.Time // when entries began to flow
	busy      bool      // entries wait or are in flight
	progress  time.Time // when something was last acknowledged, or began to wait
	useful    bool      // something was acknowledged on this connection
	row       Row
	revoked   bool
	retention time.Duration

	page     *wire.Catalogue // the parts so far
	storing  []bool          // of the pages given to Store: more follow
	misfits  int             // times in a row that the catalogue did not fit
	misfitAt time.Time
	ignoring bool // no catalogue any more on this connection
}

// NewTill returns a register's end that has not begun. random is used for
// waiting times only.
func NewTill(random *rand.Rand) *Till {
	return &Till{random: random, status: Status{Phase: Offline}}
}

// Status returns what the register shows of its connection.
func (t *Till) Status() Status { return t.status }

// Step takes an event and returns what to do, in order. An event that does not
// fit the state, such as what a lost connection left behind, changes nothing.
func (t *Till) Step(e Event, now time.Time) []Action {
	var a tillActions
	switch e := e.(type) {
	case Started:
		t.report(&a, now, Offline, "")
		t.dial(&a, now)
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
		t.applied(&a, e, now)
	case Ticked:
		t.ticked(&a, now)
	}
	return a.list
}

type tillActions struct{ list []Action }

func (a *tillActions) add(actions ...Action) { a.list = append(a.list, actions...) }

func (t *Till) report(a *tillActions, now time.Time, phase Phase, key string) {
	if t.status.Phase == phase && t.status.Key == key && t.status.Row == t.row && !t.status.Since.IsZero() {
		return
	}
	since := now
	if t.status.Phase == phase && !t.status.Since.IsZero() {
		since = t.status.Since
	}
	t.status = Status{Phase: phase, Since: since, Key: key, Row: t.row}
	a.add(Report{Status: t.status})
}

func (t *Till) wake(a *tillActions, at time.Time) {
	t.due = at
	a.add(Wake{At: at})
}

func (t *Till) dial(a *tillActions, now time.Time) {
	t.step = dialing
	a.add(Dial{})
	t.wake(a, now.Add(DialLimit))
}

func (t *Till) connected(a *tillActions, e Connected, now time.Time) {
	if t.step != dialing {
		return
	}
	t.step = greeting
	t.hello, t.acked, t.epochs = e.Hello, e.Acked, e.Hello.Epochs
	t.inFlight, t.reading, t.stable = nil, false, nil
	t.page, t.storing, t.ignoring = nil, nil, false
	t.useful, t.busy = false, false
	hello := e.Hello
	a.add(Send{Message: &hello})
	if t.status.Phase != Stopped {
		t.report(a, now, Greeting, t.status.Key)
	}
	t.wake(a, now.Add(WelcomeLimit))
}

func (t *Till) disconnected(a *tillActions, e Disconnected, now time.Time) {
	if t.step == waiting {
		return
	}
	if t.step == running && now.Sub(t.began) >= steady || t.useful {
		t.wait = 0
	}
	t.step = waiting
	t.useful = false
	if t.status.Phase != Stopped {
		t.report(a, now, Offline, t.why)
	}
	t.why = ""
	wait := t.retry
	t.retry = 0
	if e.RetryAfter > 0 {
		// It comes in whole seconds: those who were told the same come back
		// spread over one.
		asked := min(e.RetryAfter, MaxWait) + time.Duration(t.random.Int64N(int64(time.Second)))
		wait = max(wait, asked)
	}
	if wait == 0 {
		t.wait = backoff(t.random, t.wait)
		wait = t.wait
	}
	t.wake(a, now.Add(wait))
}

func (t *Till) drop(a *tillActions, now time.Time, why string) {
	if t.step == running && now.Sub(t.began) >= steady {
		t.useful = true
	}
	t.step = dropping
	a.add(Drop{Why: why})
	// Whoever does not answer is asked again.
	t.wake(a, now.Add(DialLimit))
}

// stop ends the connection where only a person can help. It tries again from
// time to time: the person may help at the other end.
func (t *Till) stop(a *tillActions, now time.Time, key string) {
	t.report(a, now, Stopped, key)
	t.retry = stoppedRetry + time.Duration(t.random.Int64N(int64(stoppedRetry/4)))
	t.drop(a, now, key)
}

func (t *Till) ticked(a *tillActions, now time.Time) {
	if now.Before(t.due) {
		t.wake(a, t.due)
		return
	}
	switch t.step {
	case waiting:
		t.dial(a, now)
	case dialing:
		t.drop(a, now, "no connection in time")
	case greeting, keeping:
		t.drop(a, now, "no welcome in time")
	case dropping:
		t.drop(a, now, "once more")
	case running:
		t.watch(a, now)
	}
}

// watch is the watchdog: whatever woke the register or did not, entries that
// wait are sent, and a connection on which they do not get on is given up.
func (t *Till) watch(a *tillActions, now time.Time) {
	switch {
	case t.busy && now.Sub(t.progress) >= NoProgress:
		t.drop(a, now, "no progress")
		return
	case t.misfits > 0 && now.Sub(t.misfitAt) >= catalogueRetry:
		t.retry = firstBackoff
		t.drop(a, now, "a fresh catalogue is tried again")
		return
	}
	a.add(Look{})
	t.pump(a, now)
	t.wake(a, now.Add(NoProgress/2))
}

func (t *Till) received(a *tillActions, e Received, now time.Time) {
	switch m := e.Message.(type) {
	case *wire.Welcome:
		t.welcomed(a, m, e.Own, now)
	case *wire.Ack:
		t.acknowledged(a, m, now)
	case *wire.Catalogue:
		t.catalogue(a, m, now)
	case *wire.SessionTold:
		if t.step == running || t.step == keeping {
			a.add(Tell{Told: m})
		}
	case *wire.Found:
		a.add(Answer{Found: m})
	case *wire.Slow:
		if t.connecting() {
			t.why = "sync.slow"
			t.retry = min(MaxWait, max(firstBackoff, time.Duration(m.Milliseconds)*time.Millisecond))
			t.drop(a, now, "the server asks to come back later")
		}
	case *wire.Error:
		if t.connecting() {
			t.refused(a, m, now)
		}
	}
}

// connecting reports whether there is a connection, or one is being made.
func (t *Till) connecting() bool { return t.step != waiting && t.step != dropping }

func (t *Till) refused(a *tillActions, m *wire.Error, now time.Time) {
	switch m.Code {
	case wire.CodeUnknown:
		t.stop(a, now, "sync.unknown_register")
	case wire.CodeVersion:
		t.stop(a, now, "sync.version")
	case wire.CodeLater:
		t.stop(a, now, "sync.later")
	case wire.CodeRevoked:
		t.stop(a, now, "sync.revoked")
	case wire.CodeReplaced:
		t.why = "sync.replaced"
		t.retry = replacedRetry + time.Duration(t.random.Int64N(int64(replacedRetry)))
		t.drop(a, now, "replaced by a newer connection")
	case wire.CodeProtocol, wire.CodeTooLarge, wire.CodeChain, wire.CodeFork, wire.CodeUnavailable:
		t.why = "sync." + string(m.Code)
		t.drop(a, now, string(m.Code))
	default:
		t.drop(a, now, string(m.Code))
	}
}

func (t *Till) welcomed(a *tillActions, w *wire.Welcome, own []entry.Point, now time.Time) {
	if t.step != greeting {
		return
	}
	if _, ok := wire.Negotiate(w.Version); !ok {
		t.stop(a, now, "sync.version")
		return
	}
	t.row = Judge(&t.hello, w, own, t.acked)
	if !t.row.Heals() {
		t.stop(a, now, "sync."+string(t.row))
		return
	}
	t.step = keeping
	t.window = max(w.Window, 1)
	t.revoked = w.Revoked
	t.retention = time.Duration(w.Retention) * 24 * time.Hour
	t.next = make([]entry.Point, 0, len(t.hello.Epochs))
	for _, mine := range t.hello.Epochs {
		cursor := entry.Point{Epoch: mine.Epoch, Hash: mine.Base.Hash}
		c, ok := cursorOf(w, mine.Epoch)
		if ok {
			cursor = c.Cursor
		}
		t.next = append(t.next, cursor)
		// acked := cursor, always: a restored server holds less than it said.
		a.add(SetAcked{Point: cursor})
		t.stands(a, c.Stable)
	}
	a.add(Sessions{List: w.Sessions})
	a.add(Keep{Generation: w.Generation, Incarnation: w.Incarnation, Cursors: append([]entry.Point(nil), t.next...)})
}

// stands tells a stable point once for each time that it moves.
func (t *Till) stands(a *tillActions, p entry.Point) {
	if p.Seq == 0 {
		return
	}
	for i := range t.stable {
		if t.stable[i].Epoch == p.Epoch {
			if t.stable[i] != p {
				t.stable[i] = p
				a.add(SetStable{Point: p, Retention: t.retention})
			}
			return
		}
	}
	t.stable = append(t.stable, p)
	a.add(SetStable{Point: p, Retention: t.retention})
}

func (t *Till) kept(a *tillActions, e Kept, now time.Time) {
	if t.step != keeping {
		return
	}
	t.step = running
	t.began, t.progress = now, now
	for _, m := range wire.SplitCloses(t.hello.Waiting, e.Closes) {
		a.add(Send{Message: m})
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
	if busy := ok || len(t.inFlight) > 0; busy != t.busy {
		t.busy, t.progress = busy, now
	}
	if ok {
		t.report(a, now, Syncing, t.note())
	}
	if !ok || t.reading || len(t.inFlight) >= t.window {
		return
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
	if t.step != running || !t.reading {
		return
	}
	t.reading = false
	from, ok := t.unsent()
	if !ok || len(e.Batch.Entries) == 0 || from != (entry.Place{Epoch: e.Batch.Epoch, Seq: e.Batch.First}) {
		// Nothing there, or read for a connection that is gone: the watchdog
		// looks again, so that nothing turns in circles.
		return
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
			t.why = "sync.chain"
			t.drop(a, now, "acknowledged with another hash")
			return
		}
		t.inFlight = append(t.inFlight[:0], t.inFlight[i+1:]...)
		t.progress, t.useful = now, true
		t.window = max(m.Window, 1)
		a.add(SetAcked{Point: m.Cursor})
		t.stands(a, m.Stable)
		t.pump(a, now)
		t.settle(a, now)
		return
	}
	// An acknowledgement of something that is not in flight, of an older batch
	// that a retry covered, or nonsense. The cursor decides at the next hello.
}

// settle reports that everything is in.
func (t *Till) settle(a *tillActions, now time.Time) {
	if _, more := t.unsent(); t.step == running && !more && len(t.inFlight) == 0 {
		t.report(a, now, Synced, t.note())
	}
}

// note is what there is to say while the connection holds.
func (t *Till) note() string {
	switch {
	case t.revoked:
		return "sync.revoked"
	case t.misfits > 1:
		return "sync.catalogue"
	}
	return ""
}

// catalogue takes a part of a page; the whole page is stored.
func (t *Till) catalogue(a *tillActions, m *wire.Catalogue, now time.Time) {
	if t.step != running && t.step != keeping || t.ignoring {
		return
	}
	page, ok := wire.JoinCatalogue(t.page, m)
	if !ok {
		t.applied(a, Applied{Failed: true}, now)
		return
	}
	t.page = page
	if m.Parts {
		return
	}
	t.page = nil
	t.storing = append(t.storing, page.More)
	a.add(Store{Page: page})
}

// applied starts over with a fresh snapshot where a page does not fit; where
// that one does not fit either, the money goes on without the catalogue.
func (t *Till) applied(a *tillActions, e Applied, now time.Time) {
	more := false
	if len(t.storing) > 0 {
		more, t.storing = t.storing[0], t.storing[1:]
	}
	if !e.Failed {
		if !more && t.misfits > 0 {
			t.misfits = 0
			t.remark(a, now)
		}
		return
	}
	if t.ignoring {
		return // a later page of the one that did not fit
	}
	t.page, t.ignoring = nil, true
	t.misfits++
	t.misfitAt = now
	a.add(ResetCatalogue{})
	if t.misfits == 1 && t.connecting() {
		t.retry = firstBackoff
		t.drop(a, now, "the catalogue does not fit")
		return
	}
	t.remark(a, now)
}

// remark reports another note.
func (t *Till) remark(a *tillActions, now time.Time) {
	if t.step == running {
		t.report(a, now, t.status.Phase, t.note())
	}
}

// Find asks the server for an order, if there is a connection.
func (t *Till) Find(f wire.Find) ([]Action, bool) {
	if t.step != running {
		return nil, false
	}
	return []Action{Send{Message: &f}}, true
}
