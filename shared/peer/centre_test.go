package peer_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"tillandsia/shared/peer"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
)

// desk drives a Centre by hand.
type desk struct {
	*testing.T
	centre *peer.Centre
	now    time.Time
	due    time.Time
}

func newDesk(t *testing.T) *desk {
	return &desk{T: t, centre: peer.NewCentre(rand.New(rand.NewPCG(1, 2))), now: start}
}

func (d *desk) expect(e peer.CentreEvent, want ...string) []peer.CentreAction {
	d.Helper()
	var names []string
	var did []peer.CentreAction
	for _, a := range d.centre.Step(e, d.now) {
		name := strings.TrimPrefix(fmt.Sprintf("%T", a), "peer.")
		switch a := a.(type) {
		case peer.WakeCentre:
			d.due = a.At
			continue
		case peer.SendDown:
			kind, _ := wire.TypeOf(a.Message)
			name = "Send " + string(kind)
		case peer.End:
			if a.Error != nil {
				name = "End " + string(a.Error.Code)
			}
		}
		names = append(names, name)
		did = append(did, a)
	}
	if !reflect.DeepEqual(names, want) {
		d.Fatalf("%T: did %v, want %v", e, names, want)
	}
	return did
}

func opened(t *testing.T) *desk {
	t.Helper()
	d := newDesk(t)
	d.expect(peer.Opened{})
	if d.due != start.Add(peer.HelloLimit) {
		t.Errorf("waits for a hello until %s", d.due)
	}
	return d
}

func heard(m any) peer.Heard { return peer.Heard{Message: m} }

// open brings a Centre to where entries flow, everything told.
func open(t *testing.T) *desk {
	t.Helper()
	d := opened(t)
	d.expect(heard(&wire.Hello{Version: 1, CatalogueHandle: "h", CatalogueRev: 9}), "Greet")
	d.expect(peer.Greeted{Welcome: &wire.Welcome{Generation: 3, Window: 4, CatalogueHandle: "h", CatalogueRev: 9}}, "Send welcome", "LoadSessions")
	d.expect(peer.Told{})
	if d.centre.Generation() != 3 {
		t.Errorf("generation %d", d.centre.Generation())
	}
	return d
}

func entries(epoch, first uint64, n int) peer.HeardBatch {
	b := &wire.Batch{Epoch: epoch, First: first}
	for i := range n {
		b.Entries = append(b.Entries, []byte(fmt.Sprint(epoch, "/", first+uint64(i))))
	}
	return peer.HeardBatch{Batch: b}
}

func committed(epoch, seq uint64) peer.Committed {
	return peer.Committed{Ack: &wire.Ack{Cursor: at(epoch, seq)}}
}

func TestCentreAppliesAndAcknowledges(t *testing.T) {
	d := open(t)
	got, _ := d.expect(entries(1, 1, 2), "Apply")[0].(peer.Apply)
	if got.Generation != 3 || got.Batch.First != 1 || len(got.Batch.Entries) != 2 {
		t.Errorf("Apply %+v", got)
	}
	sent, _ := d.expect(committed(1, 2), "Send ack")[0].(peer.SendDown)
	if ack, _ := sent.Message.(*wire.Ack); ack.Cursor != at(1, 2) || ack.Window != 4 {
		t.Errorf("ack %+v", ack)
	}
	// Nothing is acknowledged that was not applied.
	d.expect(committed(1, 3))
}

func TestFramesThatLieReadyAreAppliedTogether(t *testing.T) {
	d := open(t)
	d.expect(entries(1, 1, 2), "Apply")
	for i := range 6 {
		d.expect(entries(1, uint64(3+200*i), 200))
	}
	d.expect(entries(1, 1203, 1))
	d.expect(entries(2, 1, 1))
	d.expect(entries(2, 3, 1))
	if d.centre.Waiting() != 9 {
		t.Errorf("%d batches wait", d.centre.Waiting())
	}
	want := []struct {
		epoch, first uint64
		n            int
	}{
		{1, 3, 1000},   // as many as 1024 entries hold
		{1, 1003, 201}, // the rest of the epoch
		{2, 1, 1},      // another epoch
		{2, 3, 1},      // not the next entry: the ledger will refuse it
	}
	last := committed(1, 2)
	for _, tt := range want {
		got, _ := d.expect(last, "Send ack", "Apply")[1].(peer.Apply)
		if got.Batch.Epoch != tt.epoch || got.Batch.First != tt.first || len(got.Batch.Entries) != tt.n {
			t.Fatalf("Apply %d/%d with %d entries, want %+v", got.Batch.Epoch, got.Batch.First, len(got.Batch.Entries), tt)
		}
		for i, raw := range got.Batch.Entries {
			if want := fmt.Sprint(tt.epoch, "/", tt.first+uint64(i)); string(raw) != want {
				t.Fatalf("entry %s stands where %s is due", raw, want)
			}
		}
		last = committed(tt.epoch, got.Batch.Last())
	}
	d.expect(last, "Send ack")
}

func TestNoHelloInTime(t *testing.T) {
	d := opened(t)
	d.now = d.due
	d.expect(peer.CentreTicked{}, "End protocol")
	if !d.centre.Ended() {
		t.Error("it has not ended")
	}
	// A hello that came stops the clock.
	d = opened(t)
	d.expect(heard(&wire.Hello{Version: 1}), "Greet")
	d.expect(peer.CentreTicked{})
}

func TestMessagesThatDoNotFit(t *testing.T) {
	hello := heard(&wire.Hello{Version: 1})
	tests := []struct {
		name  string
		begin func(*testing.T) *desk
		event peer.CentreEvent
		want  []string
	}{
		{"entries before a hello", opened, entries(1, 1, 1), []string{"End protocol"}},
		{"a question before a hello", opened, heard(&wire.Probe{}), []string{"End protocol"}},
		{"a fetch before a hello", opened, heard(&wire.Fetch{}), []string{"End protocol"}},
		{"closes before a hello", opened, heard(&wire.Closes{}), []string{"End protocol"}},
		{"a version that nobody speaks any more", opened, heard(&wire.Hello{Version: 0}), []string{"End version"}},
		{"a version to come", opened, heard(&wire.Hello{Version: 99}), []string{"Greet"}},
		{"a second hello", open, hello, []string{"End protocol"}},
		{"a message of the server's own", open, heard(&wire.Ack{}), []string{"End protocol"}},
		{"an unknown message", open, heard(wire.Unknown{Type: "greet"}), nil},
		{"an unknown message before a hello", opened, heard(wire.Unknown{Type: "greet"}), nil},
		{"a probe", open, heard(&wire.Probe{}), []string{"Ask"}},
		{"a renew", open, heard(&wire.Renew{}), []string{"Ask"}},
		{"a find", open, heard(&wire.Find{}), []string{"Ask"}},
		{"a fetch", open, heard(&wire.Fetch{}), []string{"LoadEntries"}},
		{"an answer", open, peer.Answered{Message: &wire.Found{}}, []string{"Send found"}},
		{"entries to send down", open, peer.Fetched{}, []string{"SendEntries"}},
		{"a newer connection", open, peer.Replaced{}, []string{"End replaced"}},
		{"the ledger refuses", open, peer.Refused{Error: wire.Error{Code: wire.CodeChain}}, []string{"End chain"}},
		{"an unknown outcome", open, peer.Troubled{}, []string{"End"}},
		{"a known trouble", open, peer.Troubled{Known: true}, []string{"Send slow", "End"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.begin(t).expect(tt.event, tt.want...) })
	}
}

func TestNothingHappensAfterTheEnd(t *testing.T) {
	d := open(t)
	d.expect(entries(1, 1, 1), "Apply")
	d.expect(entries(1, 2, 1))
	d.expect(peer.Troubled{}, "End")
	for _, e := range []peer.CentreEvent{
		committed(1, 1), entries(1, 2, 1), peer.Told{}, peer.Paged{Page: &wire.Catalogue{}}, peer.Replaced{}, peer.CentreTicked{}, peer.Stopping{}, peer.SessionsChanged{},
	} {
		d.expect(e)
	}
}

func TestARegisterThatDoesNotListenIsCutOff(t *testing.T) {
	d := open(t)
	d.expect(entries(1, 1, 1), "Apply")
	for i := range 100 {
		if actions := d.centre.Step(entries(1, uint64(2+i), 1), d.now); len(actions) > 0 {
			if i < 8 {
				t.Errorf("cut off after %d frames", i)
			}
			return
		}
	}
	t.Error("a hundred frames wait")
}

func TestClosesAreTakenOneByOneBeforeEntries(t *testing.T) {
	d := open(t)
	d.expect(heard(&wire.Closes{Waiting: 1}), "TakeCloses")
	d.expect(heard(&wire.Closes{Waiting: 2}))
	d.expect(entries(1, 1, 1))
	got, _ := d.expect(peer.Taken{}, "TakeCloses")[0].(peer.TakeCloses)
	if got.Closes.Waiting != 2 {
		t.Errorf("%+v", got.Closes)
	}
	d.expect(peer.Taken{}, "Apply")
	// Behind entries they are a breach.
	d.expect(heard(&wire.Closes{}), "End protocol")
}

func TestTheWindowFollowsTheServersPace(t *testing.T) {
	d := open(t)
	seq := uint64(0)
	next := func(took time.Duration) int {
		t.Helper()
		seq++
		d.expect(entries(1, seq, 1), "Apply")
		d.now = d.now.Add(took)
		sent, _ := d.expect(committed(1, seq), "Send ack")[0].(peer.SendDown)
		ack, _ := sent.Message.(*wire.Ack)
		return ack.Window
	}
	steps := []struct {
		took time.Duration
		want int
	}{
		{0, 4}, {3 * time.Second, 2}, {3 * time.Second, 1}, {9 * time.Second, 1}, {time.Second, 1}, {0, 2}, {0, 3}, {0, 4}, {0, 4},
	}
	for i, tt := range steps {
		if got := next(tt.took); got != tt.want {
			t.Errorf("step %d: window %d, want %d", i, got, tt.want)
		}
	}
	d.expect(peer.Pressed{Window: 1})
	if got := next(0); got != 1 {
		t.Errorf("window %d under pressure", got)
	}
	d.expect(peer.Pressed{})
	if got := next(0); got != 2 {
		t.Errorf("window %d after it", got)
	}
}

func TestStoppingAnswersWhatIsBeingApplied(t *testing.T) {
	d := open(t)
	d.expect(entries(1, 1, 1), "Apply")
	d.expect(entries(1, 2, 1))
	d.expect(peer.Stopping{After: time.Second})
	did := d.expect(committed(1, 1), "Send ack", "Send slow", "End")
	sent, _ := did[1].(peer.SendDown)
	if slow, _ := sent.Message.(*wire.Slow); slow.Milliseconds < 1000 || slow.Milliseconds > 2000 {
		t.Errorf("come back in %d ms", slow.Milliseconds)
	}
	open(t).expect(peer.Stopping{After: time.Second}, "Send slow", "End")
	opened(t).expect(peer.Stopping{After: time.Second}, "Send slow", "End")
	d = open(t)
	d.expect(heard(&wire.Closes{}), "TakeCloses")
	d.expect(peer.Stopping{After: time.Second})
	d.expect(peer.Taken{}, "Send slow", "End")
}

func told(id, state, close string) wire.SessionTold {
	s := wire.SessionTold{Session: wire.Session{Stamp: pos.Stamp{ID: id}, State: state}}
	if close != "" {
		s.Close = &pos.Close{Session: id, Digest: close}
	}
	return s
}

func TestSessionsAreToldOnceUntilTheyChange(t *testing.T) {
	d := opened(t)
	d.expect(heard(&wire.Hello{Version: 1, CatalogueHandle: "h"}), "Greet")
	listed := told("s1", "opened", "")
	d.expect(peer.Greeted{Welcome: &wire.Welcome{Window: 1, CatalogueHandle: "h", Sessions: []wire.Session{listed.Session}}}, "Send welcome", "LoadSessions")
	// What the welcome lists is told; changes meanwhile are read once more.
	d.expect(peer.SessionsChanged{})
	d.expect(peer.SessionsChanged{})
	d.expect(peer.Told{List: []wire.SessionTold{listed, told("s2", "opened", "")}}, "Send session", "LoadSessions")
	d.expect(peer.Told{List: []wire.SessionTold{listed, told("s2", "opened", "")}})
	// A close is told, until the register's entry of it is in.
	d.expect(peer.SessionsChanged{}, "LoadSessions")
	d.expect(peer.Told{List: []wire.SessionTold{told("s2", "opened", ""), told("s1", "closed", "d1")}}, "Send session")
	d.expect(entries(1, 1, 1), "Apply")
	d.expect(committed(1, 1), "Send ack", "LoadSessions")
	d.expect(peer.Told{List: []wire.SessionTold{told("s2", "opened", "")}})
	d.expect(entries(1, 2, 1), "Apply")
	d.expect(committed(1, 2), "Send ack")
	// One that is in progress no more is told as such.
	d.expect(peer.SessionsChanged{}, "LoadSessions")
	did := d.expect(peer.Told{}, "Send session")
	sent, _ := did[0].(peer.SendDown)
	if got, _ := sent.Message.(*wire.SessionTold); got.Session.ID != "s2" || got.Session.State != "closing_control" || got.Close != nil {
		t.Errorf("%+v", got)
	}
}

func TestCataloguePagesFollowEachOther(t *testing.T) {
	page := func(from, to uint64, more bool) peer.Paged {
		return peer.Paged{Page: &wire.Catalogue{Handle: "h", From: from, To: to, More: more}}
	}
	d := opened(t)
	d.expect(heard(&wire.Hello{Version: 1, CatalogueHandle: "other", CatalogueRev: 50}), "Greet")
	did := d.expect(peer.Greeted{Welcome: &wire.Welcome{Window: 1, CatalogueHandle: "h", CatalogueRev: 9}}, "Send welcome", "LoadCatalogue", "LoadSessions")
	if did[1] != (peer.LoadCatalogue{Handle: "other", From: 50}) {
		t.Errorf("%+v: the ledger decides that it is a snapshot", did[1])
	}
	did = d.expect(page(0, 4, true), "Send catalogue", "LoadCatalogue")
	if did[1] != (peer.LoadCatalogue{Handle: "h", From: 4}) {
		t.Errorf("%+v", did[1])
	}
	d.expect(peer.CatalogueChanged{Revision: 10})
	d.expect(page(4, 9, false), "Send catalogue", "LoadCatalogue")
	d.expect(page(9, 10, false), "Send catalogue")
	d.expect(peer.CatalogueChanged{Revision: 10})
	d.expect(peer.CatalogueChanged{Revision: 11}, "LoadCatalogue")
	// A page that does not move on is not asked for again and again.
	d.expect(page(10, 10, true), "Send catalogue")

	t.Run("a revision that the server has not seen", func(t *testing.T) {
		d := opened(t)
		d.expect(heard(&wire.Hello{Version: 1, CatalogueHandle: "h", CatalogueRev: 50}), "Greet")
		d.expect(peer.Greeted{Welcome: &wire.Welcome{Window: 1, CatalogueHandle: "h", CatalogueRev: 9}}, "Send welcome", "LoadCatalogue", "LoadSessions")
	})
	t.Run("a page too large for a message goes in parts", func(t *testing.T) {
		d := open(t)
		d.expect(peer.CatalogueChanged{Revision: 10}, "LoadCatalogue")
		large := &wire.Catalogue{Handle: "h", From: 9, To: 10}
		for i := range 3 {
			large.Things = append(large.Things, wire.Thing{Kind: "product", ID: strconv.Itoa(i), Body: []byte(`"` + strings.Repeat("x", 300<<10) + `"`)})
		}
		d.expect(peer.Paged{Page: large}, "Send catalogue", "Send catalogue", "Send catalogue")
	})
}

func TestARevokedRegisterDeliversAndIsToldNothing(t *testing.T) {
	d := opened(t)
	d.expect(heard(&wire.Hello{Version: 1}), "Greet")
	d.expect(peer.Greeted{Welcome: &wire.Welcome{Generation: 1, Window: 1, CatalogueHandle: "h", CatalogueRev: 9}, Revoked: true}, "Send welcome")
	d.expect(peer.SessionsChanged{})
	d.expect(peer.CatalogueChanged{Revision: 10})
	d.expect(entries(1, 1, 1), "Apply")
	d.expect(committed(1, 1), "Send ack")
}

func TestPointsOfAWelcome(t *testing.T) {
	w := welcome(cursor(1, 10), cursor(2, 3))
	if got := peer.Points(w); len(got) != 2 || got[0] != at(1, 10) || got[1] != at(2, 3) {
		t.Errorf("Points = %v", got)
	}
}
