package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"tillandsia/register/internal/app"
	"tillandsia/register/internal/till/tilltest"
	"tillandsia/shared/httpapi"
	"tillandsia/shared/message"
	"tillandsia/shared/wire"
)

// server is a server that enrols, and sends a catalogue to who connects.
type server struct {
	testing.TB
	*httptest.Server
	silent bool // it enrols, and is gone then
	asked  wire.EnrolRequest
}

const code = "ABCD2345"

func newServer(t *testing.T, silent bool) *server {
	t.Helper()
	s := &server{TB: t, silent: silent}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/enrol", s.enrol)
	mux.HandleFunc("GET /sync", s.sync)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *server) enrol(w http.ResponseWriter, r *http.Request) {
	if err := json.NewDecoder(r.Body).Decode(&s.asked); err != nil {
		s.Errorf("request: %v", err)
	}
	var answer any = wire.EnrolAnswer{
		Token: "reg_secret", PointOfSale: tilltest.Identity.PointOfSale, RegisterID: tilltest.Identity.Register,
		RegisterCode: tilltest.Identity.Code, Incarnation: "a", Epoch: 1,
	}
	status := http.StatusCreated
	if s.asked.Code != code {
		status = http.StatusForbidden
		answer = httpapi.Problem{Status: status, Code: "ledger.pairing_wrong", Message: "This pairing code is not valid."}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		s.Errorf("answer: %v", err)
	}
}

func (s *server) sync(w http.ResponseWriter, r *http.Request) {
	if s.silent || r.Header.Get("Authorization") != "Bearer reg_secret" {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	up := websocket.Upgrader{Subprotocols: wire.Subprotocols()}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		s.Errorf("upgrade: %v", err)
		return
	}
	defer func() { _ = conn.Close() }() // the register may have closed it
	_, data, err := conn.ReadMessage()
	if err != nil {
		return
	}
	m, err := wire.Decode(data)
	hello, ok := m.(*wire.Hello)
	if err != nil || !ok {
		s.Errorf("first message = %T, %v, want a hello", m, err)
		return
	}
	cursor := hello.Epochs[0].Base
	cursor.Epoch = 1
	page := tilltest.NewShop().Page(1)
	for _, m := range []any{
		&wire.Welcome{
			Version: wire.Version, Incarnation: "a", Generation: 1, Window: 4, Time: time.Now(),
			Epochs: []wire.EpochCursor{{Epoch: 1, Nonce: hello.Nonce, Base: hello.Epochs[0].Base, Cursor: cursor}},
		},
		&page,
	} {
		out, err := wire.Encode(m)
		if err != nil {
			s.Errorf("encode: %v", err)
			return
		}
		if err := conn.WriteMessage(websocket.TextMessage, out); err != nil {
			return
		}
	}
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			return
		}
	}
}

func run(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out strings.Builder
	exit, err := app.Main(t.Context(), args, app.Terminal{Out: &out, Err: &out})
	if err != nil {
		out.WriteString(err.Error())
	}
	return exit, out.String()
}

func TestEnrolledRegisterSellsOfflineFromItsFirstStart(t *testing.T) {
	t.Parallel()
	s := newServer(t, false)
	dir := filepath.Join(t.TempDir(), "data")
	exit, out := run(t, "enrol", "--server", s.URL, "--code", code, "--data", dir)
	if exit != 0 || !strings.Contains(out, "enrolled SHOP1/R1") {
		t.Fatalf("enrol = %d\n%s", exit, out)
	}
	if len(s.asked.Nonce) != 32 || s.asked.Software == "" {
		t.Errorf("request = %+v", s.asked)
	}
	s.Close() // the server is never seen again
	for _, file := range []string{"enrolment.json", "api-token", "journal.db"} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v %v, want it for the owner only", file, info.Mode(), err)
		}
	}
	exit, out = run(t, "enrol", "--server", s.URL, "--code", code, "--data", dir)
	if exit != 1 || !strings.Contains(out, "belongs to register SHOP1/R1 already") {
		t.Errorf("enrolled again = %d\n%s", exit, out)
	}

	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, app.Config{Data: dir, Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler), Ready: func(url string) { ready <- url }})
	}()
	p := &process{TB: t}
	select {
	case p.url = <-ready:
	case err := <-ended:
		t.Fatalf("Run = %v", err)
	}
	token, err := os.ReadFile(filepath.Join(dir, "api-token"))
	if err != nil {
		t.Fatal(err)
	}
	p.api = strings.TrimSpace(string(token))
	p.signIn("anna", "b1")
	p.must(http.MethodPost, "/session", object{"float": 5000}, nil)
	var s1 sold
	p.must(http.MethodPost, "/sales", teaPaidInCash(""), &s1)
	if s1.Order.Number != "SHOP1-R1-00001-0001" {
		t.Errorf("number = %s", s1.Order.Number)
	}
	var status struct {
		Sync struct {
			Phase   string
			Waiting int
		}
		Catalogue uint64
	}
	p.token = p.api
	p.must(http.MethodGet, "/status", nil, &status)
	if status.Sync.Phase == "synced" || status.Sync.Waiting == 0 || status.Catalogue == 0 {
		t.Errorf("status = %+v, want entries waiting for a server", status)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want it to end without an error", err)
	}
	for _, args := range [][]string{{"journal", "verify"}, {"journal", "show", "--from", "1/1"}, {"journal", "rebuild"}, {"journal", "verify"}, {"journal", "backup", filepath.Join(t.TempDir(), "copy.db")}} {
		if exit, out := run(t, append(args, "--data", dir)...); exit != 0 || args[1] == "show" && !strings.Contains(out, "opened") {
			t.Errorf("%s = %d\n%s", strings.Join(args, " "), exit, out)
		}
	}
}

func TestEnrolmentThatDoesNotSucceedSaysWhy(t *testing.T) {
	t.Parallel()
	silent, good := newServer(t, true), newServer(t, false)
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"a wrong code", []string{"--server", good.URL, "--code", "WRONG"}, "This pairing code is not valid."},
		{"a server that is not there", []string{"--server", "http://127.0.0.1:1", "--code", code}, "cannot be reached"},
		{"an open line to another machine", []string{"--server", "http://pos.example.com", "--code", code}, "not encrypted"},
		{"an address that is none", []string{"--server", "pos", "--code", code}, "not the address of a server"},
		{"a server that is gone before the catalogue", []string{"--server", silent.URL, "--code", code, "--wait", "100ms"}, "its catalogue has not come yet"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			exit, out := run(t, append([]string{"enrol", "--data", filepath.Join(t.TempDir(), "data")}, tt.args...)...)
			if exit != 1 || !strings.Contains(out, tt.want) {
				t.Errorf("enrol = %d, want 1 and %q\n%s", exit, tt.want, out)
			}
		})
	}
}

func TestEnrolmentBrokenOffIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t, false)
	dir := t.TempDir()
	// The code is spent, the answer is kept, the journal is not made yet.
	e := app.Enrolment{Server: s.URL, Nonce: strings.Repeat("ab", 16), At: time.Now(), EnrolAnswer: wire.EnrolAnswer{
		Token: "reg_secret", PointOfSale: tilltest.Identity.PointOfSale, RegisterID: tilltest.Identity.Register,
		RegisterCode: tilltest.Identity.Code, Epoch: 1,
	}}
	if err := e.Save(dir); err != nil {
		t.Fatal(err)
	}
	if exit, out := run(t, "enrol", "--data", dir); exit != 0 {
		t.Errorf("enrol = %d\n%s", exit, out)
	}
	if s.asked.Code != "" {
		t.Errorf("a second code was asked for: %+v", s.asked)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	tests := []struct {
		args []string
		exit int
		want string
	}{
		{[]string{"version"}, 0, "register "},
		{[]string{"help"}, 0, "usage: register"},
		{nil, 2, "usage: register"},
		{[]string{"sell"}, 2, "There is no command"},
		{[]string{"journal"}, 2, "There is no command"},
		{[]string{"serve", "extra"}, 2, "register help"},
		{[]string{"serve", "--log", "loud"}, 2, "register help"},
		{[]string{"serve", "--nonsense"}, 2, "nonsense"},
		{[]string{"serve", "-h"}, 0, "-listen"},
		{[]string{"serve", "--data", empty}, 1, "not enrolled"},
		{[]string{"journal", "verify", "--data", empty}, 1, "no journal here"},
		{[]string{"journal", "show", "--data", empty, "--from", "x"}, 2, "from"},
	}
	for _, tt := range tests {
		exit, out := run(t, tt.args...)
		if exit != tt.exit || !strings.Contains(out, tt.want) {
			t.Errorf("register %s = %d, want %d and %q\n%s", strings.Join(tt.args, " "), exit, tt.exit, tt.want, out)
		}
	}
}

func TestAddressInUseIsSaidClearly(t *testing.T) {
	t.Parallel()
	s := newServer(t, true)
	err := app.Run(t.Context(), app.Config{Data: prepare(t), Listen: strings.TrimPrefix(s.URL, "http://"), Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, message.New(message.Unavailable, "door.listen")) {
		t.Errorf("Run = %v, want door.listen", err)
	}
}

func TestAddressThatOthersReachItBy(t *testing.T) {
	t.Parallel()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for listen, want := range map[string]string{"127.0.0.1:0": "http://127.0.0.1:", "0.0.0.0:0": "http://" + name + ":"} {
		ctx, cancel := context.WithCancel(t.Context())
		ready := make(chan string, 1)
		ended := make(chan error, 1)
		dir := prepare(t)
		go func() {
			ended <- app.Run(ctx, app.Config{Data: dir, Listen: listen, Logger: slog.New(slog.DiscardHandler), Ready: func(url string) { ready <- url }})
		}()
		select {
		case url := <-ready:
			if !strings.HasPrefix(url, want) {
				t.Errorf("listening on %s it says %s, want %s…", listen, url, want)
			}
			_, port, _ := strings.Cut(strings.TrimPrefix(url, "http://"), ":")
			p := &process{TB: t, url: "http://127.0.0.1:" + port}
			if status, err := p.call(t.Context(), http.MethodGet, "/health", "", nil, nil); status != http.StatusOK {
				t.Errorf("health = %d, %v", status, err)
			}
		case err := <-ended:
			t.Errorf("Run(%s) = %v", listen, err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run(%s) = %v", listen, err)
		}
	}
}
