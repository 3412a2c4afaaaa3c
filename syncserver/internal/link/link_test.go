package link_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"tillandsia/shared/message"
	"tillandsia/shared/peer"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/link"
	"tillandsia/syncserver/internal/store"
)

func TestEntriesAreTakenInAndAcknowledged(t *testing.T) {
	l := newLedger()
	s := serve(t, l)
	c := s.greet("r1")
	c.sendBatch(entries(1, 3, 100))
	if ack := must[*wire.Ack](c); ack.Cursor != l.points["r1"] || ack.Cursor.Seq != 3 || ack.Window != 4 {
		t.Errorf("ack %+v", ack)
	}
	// The same again, and more: nothing is there twice.
	c.sendBatch(entries(1, 5, 100))
	if ack := must[*wire.Ack](c); ack.Cursor.Seq != 5 || len(l.held["r1"]) != 5 {
		t.Errorf("ack %+v, %d entries held", ack, len(l.held["r1"]))
	}
	// Another connection goes on from there.
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	again := s.dial("r1")
	if w := again.hello(); w.Epochs[0].Cursor.Seq != 5 || w.Generation != 2 {
		t.Errorf("welcome %+v", w)
	}
	again.send(&wire.Find{Ask: "q", Number: "1"})
	if found := must[*wire.Found](again); found.Ask != "q" {
		t.Errorf("found %+v", found)
	}
	again.send(&wire.Probe{Epoch: 1, Seqs: []uint64{5}})
	if points := must[*wire.Points](again); points.Points[0].Seq != 5 {
		t.Errorf("points %+v", points)
	}
	again.send(&wire.Renew{Nonce: "n"})
	if epoch := must[*wire.Epoch](again); epoch.Epoch != 2 {
		t.Errorf("epoch %+v", epoch)
	}
	again.send(&wire.Fetch{Epoch: 1, From: 2, To: 4})
	if b := must[*wire.Batch](again); b.First != 2 || !slices.EqualFunc(b.Entries, l.held["r1"][1:4], bytes.Equal) {
		t.Errorf("fetched %d entries from %d", len(b.Entries), b.First)
	}
	if got := s.hub.Counts(); got.Entries != 8 || got.Batches != 2 || got.Accepted != 2 {
		t.Errorf("counts %+v", got)
	}
	if !s.hub.Connected()["r1"] {
		t.Error("r1 is not connected")
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	l := newLedger()
	s := serve(t, l)
	tests := []struct {
		name   string
		change func(http.Header)
		status int
		code   wire.Code
		key    string
	}{
		{"with an Origin", func(h http.Header) { h.Set("Origin", "http://127.0.0.1") }, http.StatusForbidden, wire.CodeProtocol, "sync.browser"},
		{"with a cookie", func(h http.Header) { h.Set("Cookie", "a=b") }, http.StatusForbidden, wire.CodeProtocol, "sync.browser"},
		{"without a token", func(h http.Header) { h.Del("Authorization") }, http.StatusUnauthorized, wire.CodeUnknown, "sync.unknown_register"},
		{"with a password", func(h http.Header) { h.Set("Authorization", "Basic YTpi") }, http.StatusUnauthorized, wire.CodeUnknown, "sync.unknown_register"},
		{"with a wrong token", func(h http.Header) { h.Set("Authorization", "Bearer wrong") }, http.StatusUnauthorized, wire.CodeUnknown, "sync.unknown_register"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, res, err := s.request("r1", tt.change)
			if err == nil {
				t.Fatal("accepted")
			}
			refused(t, res, tt.status, tt.code, tt.key)
		})
	}
	t.Run("without a common version", func(t *testing.T) {
		old := *s
		old.dialer.Subprotocols = []string{"tillandsia.sync.v0"}
		_, res, err := old.request("r1")
		if err == nil {
			t.Fatal("accepted")
		}
		refused(t, res, http.StatusBadRequest, wire.CodeVersion, "sync.version")
	})
	t.Run("while the ledger is away", func(t *testing.T) {
		quiet := serve(t, &ledger{authenticate: func() error { return errTrouble }}, func(o *link.Options) { o.Logger = discard() })
		_, res, err := quiet.request("r1")
		if err == nil {
			t.Fatal("accepted")
		}
		refused(t, res, http.StatusServiceUnavailable, wire.CodeUnavailable, "sync.unavailable")
	})
}

func refused(t *testing.T, res *http.Response, status int, code wire.Code, key string) {
	t.Helper()
	var e wire.Error
	if err := json.NewDecoder(res.Body).Decode(&e); err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != status || e.Code != code || e.Key != key || e.Message != message.Text(message.English, key, nil) || e.Message == key {
		t.Errorf("answer %d %+v, want %d %s %s", res.StatusCode, e, status, code, key)
	}
}

func TestHandshakesAreAdmittedAtARateBeforeAnythingElse(t *testing.T) {
	l := newLedger()
	asked := 0
	l.authenticate = func() error { asked++; return nil }
	s := serve(t, l, func(o *link.Options) { o.Handshakes, o.Burst = 0.001, 2 })
	s.dial("r1")
	s.dial("r2")
	for range 5 {
		_, res, err := s.request("r3")
		if err == nil {
			t.Fatal("accepted")
		}
		if wait, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || wait < 1 {
			t.Errorf("Retry-After %q", res.Header.Get("Retry-After"))
		}
		refused(t, res, http.StatusServiceUnavailable, wire.CodeUnavailable, "sync.slow")
	}
	if asked != 2 {
		t.Errorf("the ledger was asked %d times for 2 that were admitted", asked)
	}
}

func TestWhatTheLedgerSaysOfABatch(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code wire.Code // "" where nothing may be said
		slow bool
	}{
		{"chain", errChain, wire.CodeChain, false},
		{"fork", errFork, wire.CodeFork, false},
		{"replaced", errReplaced, wire.CodeReplaced, false},
		{"known trouble", errTrouble, "", true},
		{"unknown outcome", errUnknown, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger()
			s := serve(t, l, func(o *link.Options) { o.Logger = discard() })
			c := s.greet("r1")
			l.change(func() { l.beforeApply = func(int) error { return tt.err } })
			c.sendBatch(entries(1, 1, 10))
			if tt.code != "" {
				e := must[*wire.Error](c)
				if e.Code != tt.code || e.Message != message.Text(message.English, "sync."+string(tt.code), nil) {
					t.Errorf("error %+v", e)
				}
			}
			if tt.slow {
				if slow := must[*wire.Slow](c); slow.Milliseconds < 1000 {
					t.Errorf("come back in %d ms", slow.Milliseconds)
				}
			}
			c.ended()
			// Others are served, and so is this one when it comes again.
			l.change(func() { l.beforeApply = nil })
			again := s.greet("r1")
			again.sendBatch(entries(1, 1, 10))
			must[*wire.Ack](again)
		})
	}
}

func TestAPanicEndsAConnectionNotTheServer(t *testing.T) {
	l := newLedger()
	s := serve(t, l, func(o *link.Options) { o.Logger = discard() })
	other := s.greet("r2")
	c := s.greet("r1")
	l.change(func() { l.beforeApply = func(int) error { panic("a bug") } })
	c.sendBatch(entries(1, 1, 10))
	c.ended()
	l.change(func() { l.beforeApply = nil })
	other.sendBatch(entries(1, 1, 10))
	must[*wire.Ack](other)
	if got := s.hub.Counts().Troubles; got != 1 {
		t.Errorf("%d troubles counted", got)
	}
}

func TestFramesThatMakeNoSense(t *testing.T) {
	tests := []struct {
		name string
		kind int
		data []byte
		code wire.Code
	}{
		{"no JSON", websocket.TextMessage, []byte("hi"), wire.CodeProtocol},
		{"no batch", websocket.BinaryMessage, []byte("hi"), wire.CodeProtocol},
		{"a message of the server's", websocket.TextMessage, []byte(`{"type":"welcome"}`), wire.CodeProtocol},
		{"a small message that is large", websocket.TextMessage, []byte(`{"type":"find","ask":"` + strings.Repeat("x", wire.MaxControl) + `"}`), wire.CodeTooLarge},
		{"a frame above every limit", websocket.BinaryMessage, make([]byte, wire.MaxFrame+1), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, newLedger(), func(o *link.Options) { o.Logger = discard() })
			c := s.greet("r1")
			if err := c.WriteMessage(tt.kind, tt.data); err != nil {
				t.Fatal(err)
			}
			if tt.code != "" {
				if e := must[*wire.Error](c); e.Code != tt.code {
					t.Errorf("error %+v, want %s", e, tt.code)
				}
			}
			c.ended()
		})
	}
}

func TestTheTokenOfAnotherRegister(t *testing.T) {
	s := serve(t, newLedger(), func(o *link.Options) { o.Logger = discard() })
	c := s.dial("r1")
	c.send(&wire.Hello{Version: 1, PointOfSale: "SHOP1", Register: "r2"})
	if e := must[*wire.Error](c); e.Code != wire.CodeUnknown {
		t.Errorf("error %+v", e)
	}
	c.ended()
}

func TestFramesThatCameMeanwhileAreAppliedTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger()
		s := servePipes(t, l)
		defer s.stop()
		c := s.greet("r1")
		release := make(chan struct{})
		l.change(func() { l.beforeApply = func(int) error { <-release; return nil } })
		for i := range 4 {
			c.sendBatch(entries(uint64(1+256*i), 256, 50))
			synctest.Wait()
		}
		close(release)
		if ack := must[*wire.Ack](c); ack.Cursor.Seq != 256 {
			t.Errorf("first ack up to %d", ack.Cursor.Seq)
		}
		if ack := must[*wire.Ack](c); ack.Cursor.Seq != 1024 {
			t.Errorf("second ack up to %d, want all", ack.Cursor.Seq)
		}
		if want := []int{256, 768}; !slices.Equal(l.applied, want) {
			t.Errorf("applied %v entries, want %v", l.applied, want)
		}
		_ = c.Close()
	})
}

func TestNoHelloInFiveSeconds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := servePipes(t, newLedger())
		defer s.stop()
		c := s.dial("r1")
		began := time.Now()
		if e := must[*wire.Error](c); e.Key != "sync.no_hello" {
			t.Errorf("error %+v", e)
		}
		if took := time.Since(began); took < peer.HelloLimit || took > peer.HelloLimit+2*time.Second {
			t.Errorf("cut off after %s", took)
		}
		c.ended()
		_ = c.Close()
	})
}

func TestPingsKeepAConnectionAlive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := servePipes(t, newLedger())
		defer s.stop()
		c := s.greet("r1")
		last := time.Now()
		seen := map[time.Duration]bool{}
		for range 30 {
			<-c.pings
			gap := time.Since(last)
			last = time.Now()
			seen[gap] = true
			if gap < 15*time.Second || gap > 26*time.Second {
				t.Errorf("%s between pings", gap)
			}
		}
		if len(seen) < 3 {
			t.Errorf("pings come like a clock: %v", seen)
		}
		if !s.hub.Connected()["r1"] {
			t.Error("it is not connected any more")
		}
		_ = c.Close()
	})
}

func TestSilenceEndsAConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := servePipes(t, newLedger())
		defer s.stop()
		c := s.greet("r1")
		began := time.Now()
		// It reads, and answers no ping.
		c.mute.Store(true)
		c.ended()
		if took := time.Since(began); took < peer.SilenceLimit || took > peer.SilenceLimit+5*time.Second {
			t.Errorf("cut off after %s", took)
		}
		_ = c.Close()
	})
}

func TestASlowReaderIsCutOffAndKeepsNobodyWaiting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger()
		s := servePipes(t, l)
		defer s.stop()
		quick := s.greet("r2")
		socket, res, err := s.request("r1")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		slow := &client{TB: t, Conn: socket, id: "r1"}
		began := time.Now()
		slow.send(&wire.Hello{Version: 1, PointOfSale: "SHOP1", Register: "r1"})
		// It never reads its welcome; a pipe holds nothing back.
		synctest.Wait()
		quick.sendBatch(entries(1, 1, 10))
		must[*wire.Ack](quick)
		if took := time.Since(began); took > time.Second {
			t.Errorf("another register waited %s", took)
		}
		for s.hub.Connected()["r1"] {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took < 25*time.Second || took > 40*time.Second {
			t.Errorf("cut off after %s", took)
		}
		_ = slow.Close()
		_ = quick.Close()
	})
}

func TestTheNewerConnectionReplacesTheOlder(t *testing.T) {
	l := newLedger()
	var alarms []string
	var mu sync.Mutex
	s := serve(t, l, func(o *link.Options) {
		o.Logger = discard()
		o.Alarm = func(r store.Register) {
			mu.Lock()
			defer mu.Unlock()
			alarms = append(alarms, r.ID)
		}
	})
	c := s.greet("r1")
	for i := range 3 {
		newer := s.greet("r1")
		if e := must[*wire.Error](c); e.Code != wire.CodeReplaced {
			t.Errorf("error %+v", e)
		}
		c.ended()
		newer.sendBatch(entries(uint64(i+1), 1, 10))
		must[*wire.Ack](newer)
		c = newer
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(alarms, []string{"r1"}) {
		t.Errorf("alarms %v, want one after three replacements", alarms)
	}
	if got := s.hub.Counts(); got.Replaced != 3 || got.Alarms != 1 {
		t.Errorf("counts %+v", got)
	}
}

func TestReplacementsFarApartAreNoAlarm(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := servePipes(t, newLedger(), func(o *link.Options) { o.Alarm = func(store.Register) { t.Error("alarm") } })
		defer s.stop()
		c := s.greet("r1")
		for range 5 {
			time.Sleep(31 * time.Second)
			newer := s.greet("r1")
			must[*wire.Error](c)
			_ = c.Close()
			c = newer
		}
		_ = c.Close()
	})
}

func TestChangesAreToldByPokeAndByPoll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger()
		s := servePipes(t, l)
		defer s.stop()
		c := s.greet("r1")
		// The hub knows where it stands before anything changes.
		time.Sleep(5 * time.Second)
		l.change(func() { l.sessions, l.mark = []wire.SessionTold{told("s1")}, 2 })
		began := time.Now()
		s.poke <- struct{}{}
		if got := must[*wire.SessionTold](c); got.Session.ID != "s1" || time.Since(began) > 100*time.Millisecond {
			t.Errorf("told %+v after %s", got, time.Since(began))
		}
		// A lost poke: polling finds it.
		l.change(func() { l.revision, l.mark = 2, 3 })
		began = time.Now()
		if got := must[*wire.Catalogue](c); got.From != 1 || got.To != 2 || time.Since(began) > 3*time.Second {
			t.Errorf("page %+v after %s", got, time.Since(began))
		}
		// Polling alone tells nothing twice.
		var before, after int
		l.change(func() { before = l.polls })
		time.Sleep(20 * time.Second)
		l.change(func() { after = l.polls })
		if polls := after - before; polls < 7 || polls > 14 {
			t.Errorf("%d polls in 20 s", polls)
		}
		if len(c.frames) != 0 {
			t.Errorf("%d messages without news", len(c.frames))
		}
		_ = c.Close()
	})
}

func TestACatalogueLargerThanAFrameArrives(t *testing.T) {
	l := newLedger()
	body, err := json.Marshal(strings.Repeat("x", 200))
	if err != nil {
		t.Fatal(err)
	}
	l.page = func(from uint64) wire.Catalogue {
		page := wire.Catalogue{Handle: "h", From: from, To: 1, Snapshot: true, Checksum: "c"}
		for i := range 10_000 {
			page.Things = append(page.Things, wire.Thing{Kind: "product", ID: fmt.Sprint("p", i), Revision: 1, Body: body})
		}
		return page
	}
	s := serve(t, l)
	c := s.dial("r1")
	c.send(&wire.Hello{Version: 1, PointOfSale: "SHOP1", Register: "r1"})
	must[*wire.Welcome](c)
	var whole *wire.Catalogue
	for more := true; more; {
		part := must[*wire.Catalogue](c)
		more = part.Parts
		whole, _ = wire.JoinCatalogue(whole, part)
	}
	if len(whole.Things) != 10_000 || whole.Checksum != "c" {
		t.Errorf("%d things", len(whole.Things))
	}
}

func TestNewsThatNoFrameHoldsDoesNotStopTheMoney(t *testing.T) {
	l := newLedger()
	large := told("s1")
	large.Session.ByName = strings.Repeat("x", wire.MaxLarge)
	l.sessions = []wire.SessionTold{large, told("s2")}
	s := serve(t, l, func(o *link.Options) { o.Logger = discard() })
	c := s.greet("r1")
	if got := must[*wire.SessionTold](c); got.Session.ID != "s2" {
		t.Errorf("told %+v", got)
	}
	c.sendBatch(entries(1, 1, 10))
	must[*wire.Ack](c)
}

func TestStoppingAnswersWhatIsBeingApplied(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger()
		s := servePipes(t, l)
		busy, idle, silent := s.greet("r1"), s.greet("r2"), s.dial("r3")
		release := make(chan struct{})
		l.change(func() { l.beforeApply = func(int) error { <-release; return nil } })
		busy.sendBatch(entries(1, 5, 10))
		synctest.Wait()
		began := time.Now()
		stopped := make(chan struct{})
		go func() { defer close(stopped); s.stop() }()
		for _, c := range []*client{idle, silent} {
			must[*wire.Slow](c)
			c.ended()
			_ = c.Close()
		}
		time.Sleep(time.Second)
		close(release)
		if ack := must[*wire.Ack](busy); ack.Cursor.Seq != 5 {
			t.Errorf("ack %+v", ack)
		}
		must[*wire.Slow](busy)
		busy.ended()
		_ = busy.Close()
		<-stopped
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("stopping took %s", took)
		}
	})
}

func TestStoppingDoesNotWaitForEver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		l := newLedger()
		s := servePipes(t, l)
		c := s.greet("r1")
		release := make(chan struct{})
		l.change(func() { l.beforeApply = func(int) error { <-release; return errTrouble } })
		c.sendBatch(entries(1, 5, 10))
		synctest.Wait()
		time.AfterFunc(7*time.Second, func() { close(release) }) // the ledger's own limit
		began := time.Now()
		s.stop()
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("stopping took %s", took)
		}
		c.ended()
		_ = c.Close()
	})
}

func TestARevokedRegisterDelivers(t *testing.T) {
	l := newLedger()
	l.revoked = true
	l.sessions = []wire.SessionTold{told("s1")}
	s := serve(t, l)
	c := s.dial("r1")
	c.send(&wire.Hello{Version: 1, PointOfSale: "SHOP1", Register: "r1"})
	if w := must[*wire.Welcome](c); !w.Revoked {
		t.Errorf("welcome %+v", w)
	}
	c.sendBatch(entries(1, 1, 10))
	must[*wire.Ack](c)
}

func TestClosesComeBeforeEntries(t *testing.T) {
	l := newLedger()
	s := serve(t, l)
	c := s.greet("r1")
	c.send(&wire.Closes{Waiting: 1})
	c.send(&wire.Closes{Waiting: 1})
	c.sendBatch(entries(1, 1, 10))
	must[*wire.Ack](c)
	if l.closes != 2 {
		t.Errorf("closes taken %d times", l.closes)
	}
}
