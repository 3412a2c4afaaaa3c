package peer

import (
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/wire"
)

// CentreEvent is something that happened at the server's end of a connection.
type CentreEvent interface{ centreEvent() }

// The events of a [Centre].
type (
	// Opened: the socket is open and the register authenticated.
	Opened struct{}
	// Heard: a control message came.
	Heard struct{ Message any }
	// HeardBatch: entries came.
	HeardBatch struct{ Batch *wire.Batch }
	// Greeted: the hello is stored; Welcome is the answer. Revoked says that
	// the register may deliver and gets nothing else.
	Greeted struct {
		Welcome *wire.Welcome
		Revoked bool
	}
	// Refused: what was asked for cannot be; the connection ends with it.
	Refused struct{ Error wire.Error }
	// Committed: a batch is durable.
	Committed struct{ Ack *wire.Ack }
	// Troubled: a batch was not taken and its outcome may be unknown: no
	// answer about it may be given, the connection ends.
	Troubled struct{}
	// Told: the sessions and closes that the register has to be told.
	Told struct{ List []wire.SessionTold }
	// Paged: a page of the catalogue.
	Paged struct{ Page *wire.Catalogue }
	// Answered: the answer to a probe, renew or find.
	Answered struct{ Message any }
	// Taken: the closes handed back are applied.
	Taken struct{}
	// Fetched: entries to send down.
	Fetched struct{ Batch wire.Batch }
	// SessionsChanged: sessions of the point of sale changed.
	SessionsChanged struct{}
	// CatalogueChanged: the catalogue has a new revision.
	CatalogueChanged struct{ Revision uint64 }
	// Replaced: a newer connection of the register took over.
	Replaced struct{}
	// Pressed: the server is under pressure; To is the window from now on.
	Pressed struct{ Window int }
	// CentreTicked: the time that WakeCentre asked for has come.
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

type centreStep int

const (
	expectHello centreStep = iota
	storing                // Greet was given
	open
	ended
)

// Centre is the server's end of one connection.
type Centre struct {
	step       centreStep
	revoked    bool
	generation uint64
	window     int
	queue      []*wire.Batch
	applying   bool
	taking     bool

	handle   string
	revision uint64 // sent
	newest   uint64
	paging   bool
	loading  bool
	reload   bool
	told     map[string]string // session id to what was told of it
}

// NewCentre returns the server's end of a new connection.
func NewCentre() *Centre { return &Centre{} }

// Ended reports whether the connection is over.
func (c *Centre) Ended() bool { return c.step == ended }

// Generation returns the generation of the connection, 0 before the welcome.
func (c *Centre) Generation() uint64 { return c.generation }

// Waiting returns how many batches wait to be applied.
func (c *Centre) Waiting() int { return len(c.queue) }

// Step takes an event and returns what to do, in order.
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
		c.heardBatch(&a, e.Batch)
	case Greeted:
		c.greeted(&a, e)
	case Refused:
		c.end(&a, &e.Error)
	case Committed:
		c.committed(&a, e.Ack)
	case Troubled:
		c.end(&a, nil)
	case Told:
		c.tell(&a, e.List)
	case Paged:
		c.page(&a, e.Page)
	case Answered:
		a.add(SendDown{Message: e.Message})
	case Taken:
		c.taking = false
		c.work(&a)
	case Fetched:
		a.add(SendEntries{Batch: e.Batch})
	case SessionsChanged:
		c.loadSessions(&a)
	case CatalogueChanged:
		c.newest = max(c.newest, e.Revision)
		c.loadCatalogue(&a)
	case Replaced:
		c.end(&a, &wire.Error{Code: wire.CodeReplaced, Key: "sync.replaced"})
	case Pressed:
		c.window = max(1, e.Window)
	}
	return a.list
}

type centreActions struct{ list []CentreAction }

func (a *centreActions) add(actions ...CentreAction) { a.list = append(a.list, actions...) }

func (c *Centre) end(a *centreActions, err *wire.Error) {
	c.step = ended
	c.queue = nil
	a.add(End{Error: err})
}

func (c *Centre) misfit(a *centreActions) {
	c.end(a, &wire.Error{Code: wire.CodeProtocol, Key: "sync.protocol"})
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
		if c.step != open || c.applying || len(c.queue) > 0 {
			c.misfit(a)
			return
		}
		c.taking = true
		a.add(TakeCloses{Closes: m})
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

func (c *Centre) greeted(a *centreActions, e Greeted) {
	if c.step != storing {
		return
	}
	c.step = open
	c.revoked = e.Revoked
	c.generation, c.window = e.Welcome.Generation, e.Welcome.Window
	a.add(SendDown{Message: e.Welcome})
	if c.revoked {
		return // it may deliver, and gets nothing
	}
	c.newest = e.Welcome.CatalogueRev
	if c.handle != e.Welcome.CatalogueHandle {
		c.revision = 0
		c.paging = true
		a.add(LoadCatalogue{Handle: c.handle, From: c.revision})
	} else {
		c.loadCatalogue(a)
	}
	c.loadSessions(a)
}

func (c *Centre) heardBatch(a *centreActions, b *wire.Batch) {
	// A register that sends more than twice its window does not listen.
	if c.step != open || len(c.queue) > 2*max(c.window, 8) {
		c.misfit(a)
		return
	}
	c.queue = append(c.queue, b)
	c.work(a)
}

// work applies what lies ready: one batch of the frames that continue each
// other.
func (c *Centre) work(a *centreActions) {
	if c.applying || c.taking || c.step != open || len(c.queue) == 0 {
		return
	}
	merged := *c.queue[0]
	merged.Entries = append([][]byte(nil), merged.Entries...)
	n := 1
	for n < len(c.queue) {
		next := c.queue[n]
		if next.Epoch != merged.Epoch || next.First != merged.Last()+1 || len(merged.Entries)+len(next.Entries) > maxMerged {
			break
		}
		merged.Entries = append(merged.Entries, next.Entries...)
		n++
	}
	c.queue = append(c.queue[:0], c.queue[n:]...)
	c.applying = true
	a.add(Apply{Generation: c.generation, Batch: merged})
}

func (c *Centre) committed(a *centreActions, ack *wire.Ack) {
	if !c.applying {
		return
	}
	c.applying = false
	ack.Window = c.window
	a.add(SendDown{Message: ack})
	c.work(a)
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

func (c *Centre) tell(a *centreActions, list []wire.SessionTold) {
	c.loading = false
	told := make(map[string]string, len(list))
	for i := range list {
		t := &list[i]
		mark := t.Session.State + "/" + t.Session.ByName
		if t.Close != nil {
			mark = "close/" + t.Close.Digest
		}
		told[t.Session.ID] = mark
		if c.told[t.Session.ID] != mark {
			a.add(SendDown{Message: t})
		}
	}
	c.told = told
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
	c.paging = false
	c.handle, c.revision = p.Handle, p.To
	a.add(SendDown{Message: p})
	if p.More {
		c.newest = max(c.newest, p.To+1)
	}
	c.loadCatalogue(a)
}

// Points returns the cursors of a welcome.
func Points(w *wire.Welcome) []entry.Point {
	points := make([]entry.Point, 0, len(w.Epochs))
	for _, e := range w.Epochs {
		points = append(points, e.Cursor)
	}
	return points
}
