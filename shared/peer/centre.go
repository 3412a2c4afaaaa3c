package peer

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/wire"
)

// CentreEvent is something that happened at the server's end of a connection.
type CentreEvent interface{ centreEvent() }

// The events of a [Centre].
type (
	// Opened tells that the socket is open and the register authenticated.
	Opened struct{}
	// Heard tells that a control message came.
	Heard struct{ Message any }
	// HeardBatch tells that entries came. More says that the next frame lies
	// ready and will be told at once, so that both are applied together.
	HeardBatch struct {
		Batch *wire.Batch
		More  bool
	}
	// Greeted answers [Greet]: the hello is stored; Welcome is the answer.
	// Revoked says that the register may deliver and gets nothing else.
	Greeted struct {
		Welcome *wire.Welcome
		Revoked bool
	}
	// Refused tells that what was asked for cannot be; the connection ends
	// with it.
	Refused struct{ Error wire.Error }
	// Committed answers [Apply]: it is durable.
	Committed struct{ Ack *wire.Ack }
	// Troubled tells that something did not work. Known says that nothing was
	// stored: the register is asked to come back later. Otherwise the outcome
	// is unknown: no answer may be given, the connection ends in silence, and
	// the next hello reads the truth.
	Troubled struct{ Known bool }
	// Told answers [LoadSessions]: what the register has to be told.
	Told struct{ List []wire.SessionTold }
	// Paged answers [LoadCatalogue]: a page of the catalogue.
	Paged struct{ Page *wire.Catalogue }
	// Answered answers [Ask]: a probe, renew or find.
	Answered struct{ Message any }
	// Taken answers [TakeCloses]: the closes handed back are applied.
	Taken struct{}
	// Fetched answers [LoadEntries]: entries to send down.
	Fetched struct{ Batch wire.Batch }
	// SessionsChanged tells that sessions of the point of sale changed.
	SessionsChanged struct{}
	// CatalogueChanged tells that the catalogue has a new revision.
	CatalogueChanged struct{ Revision uint64 }
	// Replaced tells that a newer connection of the register took over.
	Replaced struct{}
	// Pressed sets the largest window that the server can bear; 0 takes the
	// limit away.
	Pressed struct{ Window int }
	// Stopping tells that the server goes down: what is being applied is still
	// answered, then the register is asked to come back.
	Stopping struct{ After time.Duration }
	// CentreTicked tells that the time that [WakeCentre] asked for has come.
	CentreTicked struct{}
)

func (Opened) centreEvent()           {}
func (Heard) centreEvent()            {}
func (HeardBatch) centreEvent()       {}
func (Greeted) centreEvent()          {}
func (Refused) centreEvent()          {}
func (Committed) centreEvent()        {}
func (Troubled) centreEvent()         {}
func (Told) centreEvent()             {}
func (Paged) centreEvent()            {}
func (Answered) centreEvent()         {}
func (Taken) centreEvent()            {}
func (Fetched) centreEvent()          {}
func (SessionsChanged) centreEvent()  {}
func (CatalogueChanged) centreEvent() {}
func (Replaced) centreEvent()         {}
func (Pressed) centreEvent()          {}
func (Stopping) centreEvent()         {}
func (CentreTicked) centreEvent()     {}

// CentreAction is something that the driver of a [Centre] is to do, in order.
type CentreAction interface{ centreAction() }

// The actions of a [Centre].
type (
	// Greet stores the hello; the driver answers with Greeted or Refused.
	Greet struct{ Hello *wire.Hello }
	// Apply applies entries; Committed, Refused or Troubled is the answer.
	Apply struct {
		Generation uint64
		Batch      wire.Batch
	}
	// SendDown sends a control message.
	SendDown struct{ Message any }
	// SendEntries sends entries down.
	SendEntries struct{ Batch wire.Batch }
	// End closes the connection, after Error where it is set.
	End struct{ Error *wire.Error }
	// LoadSessions asks for what the register has to be told: Told.
	LoadSessions struct{}
	// LoadCatalogue asks for the page after a revision: Paged.
	LoadCatalogue struct {
		Handle string
		From   uint64
	}
	// Ask passes a probe, renew or find on: Answered, or Refused.
	Ask struct{ Message any }
	// LoadEntries passes a fetch on: Fetched, or Refused.
	LoadEntries struct{ Fetch *wire.Fetch }
	// TakeCloses passes closes handed back on: Taken, or Refused.
	TakeCloses struct{ Closes *wire.Closes }
	// WakeCentre asks for CentreTicked at a time.
	WakeCentre struct{ At time.Time }
)

func (Greet) centreAction()         {}
func (Apply) centreAction()         {}
func (SendDown) centreAction()      {}
func (SendEntries) centreAction()   {}
func (End) centreAction()           {}
func (LoadSessions) centreAction()  {}
func (LoadCatalogue) centreAction() {}
func (Ask) centreAction()           {}
func (LoadEntries) centreAction()   {}
func (TakeCloses) centreAction()    {}
func (WakeCentre) centreAction()    {}

// maxMerged is the most entries of frames that lie ready that are applied in
// one go: the fewer commits, the more orders a second.
const maxMerged = 1024

// centreStep is where a connection stands at the server.
//
//	expectHello ──hello──▶ storing ──Greeted──▶ open
//	     └────────────────────┴───────┬───────────┘
//	                                ended
type centreStep int

const (
	expectHello centreStep = iota
	storing                // Greet was given
	open
	ended
)

// Centre is the server's end of one connection. It ends with its connection:
// nothing about a register is known from one to the next but what is stored.
type Centre struct {
	random *rand.Rand

	step       centreStep
	revoked    bool
	generation uint64
	full       int // the window that the welcome gave
	window     int // what the register is told now
	limit      int // what the server can bear, 0: anything
	queue      []*wire.Batch
	applying   bool
	applied    time.Time // when Apply was given
	closes     []*wire.Closes
	taking     bool
	stopping   *Stopping

	handle   string
	revision uint64 // sent
	newest   uint64
	paging   bool
	loading  bool
	reload   bool
	owed     bool                // closes were told that the register has to journal
	told     map[string]toldOnce // by session id
}

// toldOnce is what a register was told of a session.
type toldOnce struct {
	mark    string
	session wire.Session
}

// NewCentre returns the server's end of a new connection. random is used for
// waiting times only.
func NewCentre(random *rand.Rand) *Centre { return &Centre{random: random} }

// Ended reports whether the connection is over.
func (c *Centre) Ended() bool { return c.step == ended }

// Generation returns the generation of the connection, 0 before the welcome.
func (c *Centre) Generation() uint64 { return c.generation }

// Waiting returns how many batches wait to be applied.
func (c *Centre) Waiting() int { return len(c.queue) }

// Step takes an event and returns what to do, in order. Once ended it returns
// nothing more.
func (c *Centre) Step(e CentreEvent, now time.Time) []CentreAction {
	if c.step == ended {
		return nil
	}
	var a centreActions
	switch e := e.(type) {
	case Opened:
		a.add(WakeCentre{At: now.Add(HelloLimit)})
	case CentreTicked:
		if c.step == expectHello {
			c.end(&a, &wire.Error{Code: wire.CodeProtocol, Key: "sync.no_hello"})
		}
	case Heard:
		c.heard(&a, e.Message)
	case HeardBatch:
		c.heardBatch(&a, e, now)
	case Greeted:
		c.greeted(&a, e)
	case Refused:
		c.end(&a, &e.Error)
	case Committed:
		c.committed(&a, e.Ack, now)
	case Troubled:
		c.troubled(&a, e)
	case Told:
		c.tell(&a, e.List)
	case Paged:
		c.page(&a, e.Page)
	case Answered:
		a.add(SendDown(e))
	case Taken:
		c.taking = false
		c.take(&a)
		c.work(&a, now)
	case Fetched:
		a.add(SendEntries(e))
	case SessionsChanged:
		c.loadSessions(&a)
	case CatalogueChanged:
		c.newest = max(c.newest, e.Revision)
		c.loadCatalogue(&a)
	case Replaced:
		c.end(&a, &wire.Error{Code: wire.CodeReplaced, Key: "sync.replaced"})
	case Pressed:
		c.limit = max(0, e.Window)
	case Stopping:
		c.stopping = &e
		c.stop(&a)
	}
	return a.list
}

type centreActions struct{ list []CentreAction }

func (a *centreActions) add(actions ...CentreAction) { a.list = append(a.list, actions...) }

func (c *Centre) end(a *centreActions, err *wire.Error) {
	c.step = ended
	c.queue, c.closes, c.told = nil, nil, nil
	a.add(End{Error: err})
}

func (c *Centre) misfit(a *centreActions) {
	c.end(a, &wire.Error{Code: wire.CodeProtocol, Key: "sync.protocol"})
}

// troubled ends the connection; the register keeps what was not acknowledged.
func (c *Centre) troubled(a *centreActions, e Troubled) {
	if e.Known {
		c.comeBack(a, troubleWait)
	}
	c.end(a, nil)
}

// comeBack asks the register to come back after a while, once to twice as
// long, so that all who are asked do not come at once.
func (c *Centre) comeBack(a *centreActions, after time.Duration) {
	after += time.Duration(c.random.Int64N(int64(after) + 1))
	a.add(SendDown{Message: &wire.Slow{Milliseconds: int(after.Milliseconds())}})
}

// stop ends the connection once nothing is being applied: what is durable is
// acknowledged first.
func (c *Centre) stop(a *centreActions) {
	if c.stopping == nil || c.applying || c.taking {
		return
	}
	c.comeBack(a, c.stopping.After)
	c.end(a, nil)
}

func (c *Centre) heard(a *centreActions, message any) {
	switch m := message.(type) {
	case *wire.Hello:
		if c.step != expectHello {
			c.misfit(a)
			return
		}
		if _, ok := wire.Negotiate(m.Version); !ok {
			c.end(a, &wire.Error{Code: wire.CodeVersion, Key: "sync.version"})
			return
		}
		c.step = storing
		c.handle, c.revision = m.CatalogueHandle, m.CatalogueRev
		a.add(Greet{Hello: m})
	case wire.Unknown:
		// Optional by definition: ignored.
	case *wire.Closes:
		// They come before entries, so that what is late is known when they do.
		if c.step != open || c.applying || len(c.queue) > 0 {
			c.misfit(a)
			return
		}
		c.closes = append(c.closes, m)
		c.take(a)
	case *wire.Probe, *wire.Renew, *wire.Find:
		if c.step != open {
			c.misfit(a)
			return
		}
		a.add(Ask{Message: m})
	case *wire.Fetch:
		if c.step != open {
			c.misfit(a)
			return
		}
		a.add(LoadEntries{Fetch: m})
	default:
		c.misfit(a)
	}
}

// take passes on the closes handed back, one message after the other.
func (c *Centre) take(a *centreActions) {
	if c.stopping != nil {
		c.stop(a)
		return
	}
	if c.taking || len(c.closes) == 0 {
		return
	}
	next := c.closes[0]
	c.closes = c.closes[1:]
	c.taking = true
	a.add(TakeCloses{Closes: next})
}

func (c *Centre) greeted(a *centreActions, e Greeted) {
	if c.step != storing {
		return
	}
	c.step = open
	c.revoked = e.Revoked
	c.generation, c.full = e.Welcome.Generation, max(1, e.Welcome.Window)
	c.window = c.full
	a.add(SendDown{Message: e.Welcome})
	if c.revoked {
		return // it may deliver, and gets nothing
	}
	// What the welcome lists is told.
	c.told = make(map[string]toldOnce, len(e.Welcome.Sessions))
	for _, s := range e.Welcome.Sessions {
		c.told[s.ID] = toldOnce{mark: markOf(&wire.SessionTold{Session: s}), session: s}
	}
	c.newest = e.Welcome.CatalogueRev
	if c.handle != e.Welcome.CatalogueHandle || c.revision > c.newest {
		// Of another server, or of a time that this one has not seen: the
		// answer is a snapshot.
		c.paging = true
		a.add(LoadCatalogue{Handle: c.handle, From: c.revision})
	} else {
		c.loadCatalogue(a)
	}
	c.loadSessions(a)
}

func (c *Centre) heardBatch(a *centreActions, e HeardBatch, now time.Time) {
	// A register that sends more than twice its window does not listen.
	if c.step != open || len(c.queue) > 2*max(c.full, 8) {
		c.misfit(a)
		return
	}
	c.queue = append(c.queue, e.Batch)
	if !e.More {
		c.work(a, now)
	}
}

// work applies what lies ready: one batch of the frames that continue each
// other.
func (c *Centre) work(a *centreActions, now time.Time) {
	if c.applying || c.taking || c.stopping != nil || c.step != open || len(c.queue) == 0 {
		return
	}
	merged := *c.queue[0]
	n, total := 1, len(merged.Entries)
	for n < len(c.queue) {
		next := c.queue[n]
		total += len(next.Entries)
		if next.Epoch != merged.Epoch || next.First != c.queue[n-1].Last()+1 || total > maxMerged {
			break
		}
		n++
	}
	if n > 1 {
		merged.Entries = make([][]byte, 0, total)
		for _, b := range c.queue[:n] {
			merged.Entries = append(merged.Entries, b.Entries...)
		}
	}
	rest := copy(c.queue, c.queue[n:])
	clear(c.queue[rest:]) // the frames are large
	c.queue = c.queue[:rest]
	c.applying, c.applied = true, now
	a.add(Apply{Generation: c.generation, Batch: merged})
}

func (c *Centre) committed(a *centreActions, ack *wire.Ack, now time.Time) {
	if !c.applying {
		return
	}
	c.applying = false
	c.adapt(now.Sub(c.applied))
	answer := *ack
	answer.Window = c.window
	a.add(SendDown{Message: &answer})
	if c.stopping != nil {
		c.stop(a)
		return
	}
	c.work(a, now)
	if c.owed && !c.applying {
		// The register's entries of the closes may be in: the next ones are due.
		c.loadSessions(a)
	}
}

// adapt makes the window smaller where batches take long, and larger again
// where they do not.
func (c *Centre) adapt(took time.Duration) {
	switch {
	case took >= slowApply:
		c.window = max(1, c.window/2)
	case took <= fastApply:
		c.window = min(c.full, c.window+1)
	}
	if c.limit > 0 {
		c.window = min(c.window, c.limit)
	}
}

func (c *Centre) loadSessions(a *centreActions) {
	if c.step != open || c.revoked {
		return
	}
	if c.loading {
		c.reload = true
		return
	}
	c.loading = true
	a.add(LoadSessions{})
}

func markOf(t *wire.SessionTold) string {
	if t.Close != nil {
		return "close/" + t.Close.Digest
	}
	return t.Session.State + "/" + t.Session.ByName
}

// tell sends what is news to the register.
func (c *Centre) tell(a *centreActions, list []wire.SessionTold) {
	c.loading, c.owed = false, false
	now := make(map[string]toldOnce, len(list))
	for i := range list {
		t := &list[i]
		mark := markOf(t)
		if t.Close != nil {
			c.owed = true
		}
		now[t.Session.ID] = toldOnce{mark: mark, session: t.Session}
		if c.told[t.Session.ID].mark != mark {
			a.add(SendDown{Message: t})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.told)) {
		before := c.told[id]
		if _, still := now[id]; still || strings.HasPrefix(before.mark, "close/") {
			continue
		}
		// No longer in progress, and its close, if there is one, is known or
		// comes: nobody may join it any more.
		gone := before.session
		gone.State = "closing_control"
		a.add(SendDown{Message: &wire.SessionTold{Session: gone}})
	}
	c.told = now
	if c.reload {
		c.reload = false
		c.loadSessions(a)
	}
}

func (c *Centre) loadCatalogue(a *centreActions) {
	if c.step != open || c.revoked || c.paging || c.revision >= c.newest {
		return
	}
	c.paging = true
	a.add(LoadCatalogue{Handle: c.handle, From: c.revision})
}

func (c *Centre) page(a *centreActions, p *wire.Catalogue) {
	if !c.paging {
		return
	}
	c.paging = false
	moved := p.To > c.revision || p.Handle != c.handle || p.Snapshot
	c.handle, c.revision = p.Handle, p.To
	for _, part := range wire.SplitCatalogue(p) {
		a.add(SendDown{Message: part})
	}
	switch {
	case p.More && moved:
		c.paging = true
		a.add(LoadCatalogue{Handle: c.handle, From: c.revision})
	case moved:
		c.loadCatalogue(a)
	}
}

// Points returns the cursors of a welcome.
func Points(w *wire.Welcome) []entry.Point {
	points := make([]entry.Point, 0, len(w.Epochs))
	for _, e := range w.Epochs {
		points = append(points, e.Cursor)
	}
	return points
}
