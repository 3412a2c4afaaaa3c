package uplink

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/peer"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
)

func TestWhatIsSoldArrives(t *testing.T) {
	s := newServer(t, listen(t))
	defer s.stop()
	r := newRegister(t, "http://"+s.listener.Addr().String(), func(o *Options) { o.Screen = "http://10.0.0.7:8070" })
	r.sell(600)
	r.run()
	defer r.stop()
	h := <-s.greeted
	if h.PointOfSale != "SHOP1" || h.Register != registerID || h.Nonce != r.journal.Nonce() || h.Waiting != 601 || h.Screen != "http://10.0.0.7:8070" || h.Program == "" || h.Clock.IsZero() {
		t.Errorf("hello %+v", h)
	}
	r.synced(s)
	if r.journal.Generation() != 1 || r.journal.Incarnation() != "i1" {
		t.Errorf("generation %d, incarnation %q", r.journal.Generation(), r.journal.Incarnation())
	}
	// What is sold from now on goes at once.
	r.sell(3)
	r.synced(s)
}

// The connection breaks again and again, in the middle of a frame, at either
// side of a commit: every entry is there once, in its order.
func TestCutsInMidBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(5, 6))
		connections, commits := 0, 0
		s, r := overPipes(t, func(l net.Listener) net.Listener {
			return brittle{l, func() int {
				connections++
				return 2000 + random.IntN(300_000)
			}}
		})
		defer s.stop()
		s.beforeTake = func() (take, answer bool) {
			commits++
			return commits%5 != 0, commits%3 != 0
		}
		r.sell(1500)
		r.run()
		defer r.stop()
		for range 20 {
			time.Sleep(time.Second)
			r.sell(10)
		}
		s.await(r.journal)
		s.change(func() { s.beforeTake = nil })
		r.synced(s)
		if connections < 5 {
			t.Errorf("only %d connections", connections)
		}
	})
}

func TestTheServerIsGoneForDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := newPipes()
		if err := away.Close(); err != nil {
			t.Fatal(err)
		}
		var address atomic.Pointer[pipes]
		address.Store(away)
		r := newRegister(t, "http://127.0.0.1:1")
		r.dialer.NetDialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
			return address.Load().dial(ctx, network, to)
		}
		r.run()
		defer r.stop()
		r.sell(5)
		time.Sleep(72 * time.Hour)
		if got := r.Status(); got.Phase != peer.Offline || got.Waiting != 6 {
			t.Errorf("status %+v", got)
		}
		if _, err := r.Find(t.Context(), "", "1"); !errors.Is(err, ErrNotConnected) {
			t.Errorf("Find = %v, want %v", err, ErrNotConnected)
		}
		// It comes back under the same address.
		again := newPipes()
		s := newServer(t, again)
		defer s.stop()
		address.Store(again)
		began := time.Now()
		r.synced(s)
		if took := time.Since(began); took > 31*time.Second {
			t.Errorf("back after %s", took)
		}
	})
}

func TestAServerThatAnswersNothingIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := overPipes(t)
		defer s.stop()
		r.run()
		defer r.stop()
		r.synced(s)
		s.change(func() { s.deaf = true })
		began := time.Now()
		r.sell(2000) // does not wait for the server
		if took := time.Since(began); took > 0 {
			t.Errorf("selling took %s of the server's silence", took)
		}
		<-s.greeted
		r.until(peer.Offline, "")
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("given up after %s", took)
		}
		s.cut()
		s.change(func() { s.deaf = false })
		<-s.greeted
		r.synced(s)
	})
}

func TestAQuietConnectionLivesOnPingsAndDiesWithoutThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := overPipes(t)
		defer s.stop()
		r.run()
		defer r.stop()
		<-s.greeted
		r.synced(s)
		// This server pings nobody.
		began := time.Now()
		<-s.greeted
		if took := time.Since(began); took < peer.SilenceLimit || took > peer.SilenceLimit+5*time.Second {
			t.Errorf("said hello again after %s", took)
		}
		r.synced(s)
	})
}

func TestTheServersSlotIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := overPipes(t)
		defer s.stop()
		asked := []time.Time{}
		s.refuse = func(w http.ResponseWriter) bool {
			asked = append(asked, time.Now())
			if len(asked) > 2 {
				return false
			}
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		r.run()
		defer r.stop()
		r.synced(s)
		for i := 1; i < len(asked); i++ {
			if gap := asked[i].Sub(asked[i-1]); gap < 7*time.Second || gap > 9*time.Second {
				t.Errorf("came again after %s, asked for 7 s", gap)
			}
		}
	})
}

func TestAServerThatDoesNotKnowTheRegister(t *testing.T) {
	ours := func(w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(wire.Error{Code: wire.CodeUnknown, Key: "sync.unknown_register"})
		return true
	}
	portal := func(w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "<html>Sign in to the hotel's network</html>")
		return true
	}
	old := func(w http.ResponseWriter) bool {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(wire.Error{Code: wire.CodeVersion})
		return true
	}
	tests := []struct {
		name   string
		refuse func(http.ResponseWriter) bool
		subs   []string
		phase  peer.Phase
		key    string
		tries  int // within ten minutes, at most
	}{
		{"our server says that it does not", ours, wire.Subprotocols(), peer.Stopped, "sync.unknown_register", 6},
		{"our server is of another version", old, wire.Subprotocols(), peer.Stopped, "sync.version", 6},
		{"a server of something else", nil, []string{}, peer.Stopped, "sync.version", 6},
		{"a portal in between says so", portal, wire.Subprotocols(), peer.Offline, "", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := overPipes(t)
				defer s.stop()
				s.subs = tt.subs
				tries := 0
				s.refuse = func(w http.ResponseWriter) bool {
					tries++
					return tt.refuse != nil && tt.refuse(w)
				}
				r.run()
				defer r.stop()
				r.until(tt.phase, tt.key)
				time.Sleep(10 * time.Minute)
				s.change(func() {
					if tries < 3 || tries > tt.tries {
						t.Errorf("%d tries in ten minutes, want 3 to %d", tries, tt.tries)
					}
				})
				r.sell(1) // goes on
				s.change(func() { s.refuse, s.subs = nil, wire.Subprotocols() })
				r.synced(s)
			})
		})
	}
}

// close is a close as the server tells it.
func closeOf(id string) wire.SessionTold {
	record := pos.Close{Session: id, Name: "SHOP1/R2/00007", By: pos.Person{ID: "m", Name: "Mara"}, At: time.Now().UTC(), Digest: "d"}
	return wire.SessionTold{Session: wire.Session{Stamp: pos.Stamp{ID: id, Name: record.Name}, State: "closed"}, Close: &record}
}

func countCloses(t *testing.T, s *server) (n int) {
	t.Helper()
	s.change(func() {
		for _, raw := range s.held {
			if e, err := entry.Decode(raw); err == nil && e.Kind == entry.KindClose {
				n++
			}
		}
	})
	return n
}

func TestACloseIsJournalledOnceAndHandedBackToARestoredServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := overPipes(t)
		defer s.stop()
		s.told = []wire.SessionTold{closeOf("s7")}
		backup := 0
		r.run()
		defer r.stop()
		// It is told on each connection, for this server does not notice that
		// the entry is in.
		for range 3 {
			<-s.greeted
			r.until(peer.Synced, "")
			r.sell(1)
			r.synced(s)
			s.cut()
		}
		<-s.greeted
		r.synced(s)
		if got := countCloses(t, s); got != 1 {
			t.Errorf("the close stands %d times in the journal", got)
		}
		if s.closes != 0 {
			t.Errorf("%d closes handed back to a server that has them", s.closes)
		}
		// The server is put back to before the close.
		s.change(func() { s.held, s.told = s.held[:backup], nil })
		s.cut()
		<-s.greeted
		r.synced(s)
		if got := countCloses(t, s); got != 1 || s.closes != 1 {
			t.Errorf("%d closes as entries, %d handed back, want one each", got, s.closes)
		}
	})
}

func TestACloseThatIsTooLargeDoesNotStopTheMoney(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := overPipes(t)
		defer s.stop()
		large := closeOf("s7")
		large.Close.List = make([]byte, entry.MaxCloseSize)
		s.told = []wire.SessionTold{large}
		r.run()
		defer r.stop()
		<-s.greeted
		r.sell(3)
		r.synced(s)
		time.Sleep(10 * time.Second)
		if len(s.greeted) != 0 {
			t.Error("the connection broke")
		}
	})
}

func TestSessionsInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := overPipes(t)
		defer s.stop()
		opened := wire.SessionTold{Session: wire.Session{Stamp: pos.Stamp{ID: "s1"}, State: "opened"}}
		rescue := wire.SessionTold{Session: wire.Session{Stamp: pos.Stamp{ID: "s2"}, State: "opened", Rescue: true}}
		s.told = []wire.SessionTold{opened, rescue}
		r.run()
		defer r.stop()
		<-s.greeted
		r.synced(s)
		synctest.Wait()
		if got := r.Sessions(); len(got) != 1 || got[0].ID != "s1" {
			t.Errorf("sessions %+v, want s1 alone", got)
		}
		// They outlive the connection; the next welcome lists what is true then.
		s.change(func() { s.told = nil })
		s.cut()
		synctest.Wait()
		if got := r.Sessions(); len(got) != 1 {
			t.Errorf("sessions %+v while offline", got)
		}
		<-s.greeted
		r.synced(s)
		synctest.Wait()
		if got := r.Sessions(); len(got) != 0 {
			t.Errorf("sessions %+v, want none", got)
		}
	})
}

func TestFind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := overPipes(t)
		defer s.stop()
		r.run()
		defer r.stop()
		<-s.greeted
		r.synced(s)
		if found, err := r.Find(t.Context(), "", "SHOP1-R1-00042-0007"); err != nil || string(found.Raw) != "SHOP1-R1-00042-0007" {
			t.Errorf("Find = %+v, %v", found, err)
		}
		began := time.Now()
		if _, err := r.Find(t.Context(), "", "lost"); !errors.Is(err, ErrNotConnected) || time.Since(began) != findLimit {
			t.Errorf("Find = %v after %s, want %v after %s", err, time.Since(began), ErrNotConnected, findLimit)
		}
		// Who asks is not kept waiting when the connection breaks.
		time.AfterFunc(time.Second, s.cut)
		began = time.Now()
		if _, err := r.Find(t.Context(), "", "lost"); !errors.Is(err, ErrNotConnected) || time.Since(began) > 2*time.Second {
			t.Errorf("Find = %v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Find(ctx, "", "1"); err == nil {
			t.Error("Find with an ended context = nil")
		}
	})
}

func TestCatalogue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := overPipes(t)
		defer s.stop()
		page := wire.Catalogue{Handle: "h", To: 5, Snapshot: true}
		for range 6 {
			page.Things = append(page.Things, wire.Thing{Kind: "product", ID: "p", Body: []byte(`"` + strings.Repeat("x", 200<<10) + `"`)})
		}
		s.pages = []wire.Catalogue{page}
		r.run()
		defer r.stop()
		<-r.CatalogueArrived()
		if handle, revision := r.cache.Handle(); handle != "h" || revision != 5 || r.cache.things != 6 {
			t.Errorf("catalogue %s %d with %d things, want all of a page of many frames", handle, revision, r.cache.things)
		}
		// One that never fits does not keep the money from going.
		r.cache.mu.Lock()
		r.cache.bad, r.cache.handle = true, "other"
		r.cache.mu.Unlock()
		s.cut()
		r.sell(3)
		s.await(r.journal)
		r.until(peer.Synced, "sync.catalogue")
		r.cache.mu.Lock()
		if r.cache.resets != 2 {
			t.Errorf("%d resets", r.cache.resets)
		}
		r.cache.bad = false
		r.cache.mu.Unlock()
		r.until(peer.Synced, "") // it is tried again by itself
	})
}

func TestServerAddresses(t *testing.T) {
	tests := []struct {
		server   string
		insecure bool
		want     string
		err      error
	}{
		{"https://pos.example.com", false, "wss://pos.example.com/sync", nil},
		{"https://pos.example.com/tills/", false, "wss://pos.example.com/tills/sync", nil},
		{"wss://pos.example.com:8443", false, "wss://pos.example.com:8443/sync", nil},
		{"http://127.0.0.1:8069", false, "ws://127.0.0.1:8069/sync", nil},
		{"http://[::1]:8069", false, "ws://[::1]:8069/sync", nil},
		{"http://localhost:8069", false, "ws://localhost:8069/sync", nil},
		{"http://pos.example.com", false, "", ErrInsecure},
		{"ws://192.168.1.5", false, "", ErrInsecure},
		{"http://localhost.example.com", false, "", ErrInsecure},
		{"http://127.0.0.1.example.com", false, "", ErrInsecure},
		{"http://pos.example.com", true, "ws://pos.example.com/sync", nil},
		{"ftp://pos.example.com", true, "", message.New(message.Invalid, "uplink.address")},
		{"pos.example.com", true, "", message.New(message.Invalid, "uplink.address")},
		{"", true, "", message.New(message.Invalid, "uplink.address")},
		{"https://", true, "", message.New(message.Invalid, "uplink.address")},
	}
	for _, tt := range tests {
		got, err := endpoint(tt.server, tt.insecure)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("endpoint(%q, %t) = %q, %v, want %q, %v", tt.server, tt.insecure, got, err, tt.want, tt.err)
		}
		if err := CheckServer(tt.server, tt.insecure); !errors.Is(err, tt.err) {
			t.Errorf("CheckServer(%q, %t) = %v, want %v", tt.server, tt.insecure, err, tt.err)
		}
	}
}

func TestCertificates(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	end := newServer(t, listen(t))
	defer end.stop()
	web.Config.Handler = http.HandlerFunc(end.serve)
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	web.StartTLS()
	defer web.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := newRegister(t, web.URL, func(o *Options) { o.CA = file })
	trusting.run()
	trusting.synced(end)
	trusting.stop()

	<-end.greeted
	doubting := newRegister(t, web.URL)
	doubting.run()
	doubting.until(peer.Offline, "")
	doubting.stop()
	if len(end.greeted) != 0 {
		t.Error("it said hello to a server that it cannot trust")
	}

	for name, content := range map[string]string{"no PEM": "hello", "empty": ""} {
		bad := filepath.Join(t.TempDir(), "bad.pem")
		if err := os.WriteFile(bad, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := TLS(bad); !errors.Is(err, message.New(message.Invalid, "uplink.ca_unreadable")) {
			t.Errorf("%s: TLS = %v", name, err)
		}
	}
	if _, err := TLS(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there is taken")
	}
	if c, err := TLS(""); c != nil || err != nil {
		t.Errorf("TLS without a file = %v, %v", c, err)
	}
}

func TestStoppingInTheMiddleLeavesNothing(t *testing.T) {
	for _, after := range []time.Duration{0, time.Nanosecond, time.Millisecond, 300 * time.Millisecond, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s, r := overPipes(t)
			defer s.stop()
			r.sell(300)
			r.run()
			time.Sleep(after)
			r.stop()
		})
	}
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		header string
		want   time.Duration
	}{{"", 0}, {"7", 7 * time.Second}, {"-1", 0}, {"soon", 0}, {"999999", maxRetryAfter}}
	for _, tt := range tests {
		res := &http.Response{Header: http.Header{"Retry-After": {tt.header}}}
		if got := retryAfter(res); got != tt.want {
			t.Errorf("retryAfter(%q) = %s, want %s", tt.header, got, tt.want)
		}
	}
	if got := retryAfter(nil); got != 0 {
		t.Errorf("retryAfter without an answer = %s", got)
	}
}
