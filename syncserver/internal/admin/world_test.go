package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/secret"
	"tillandsia/syncserver/internal/admin"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
	"tillandsia/syncserver/internal/store/sqlstore"
)

type object = map[string]any

// errDisk is what a broken store answers; no client may read it.
var errDisk = errors.New("the disk of the database burns")

// flaky is a store that can be broken: after a number of transactions that
// still work, all fail.
type flaky struct {
	store.Store
	broken atomic.Bool
	left   atomic.Int64
}

func (f *flaky) fails() bool { return f.broken.Load() && f.left.Add(-1) < 0 }

func (f *flaky) after(transactions int64) {
	f.left.Store(transactions)
	f.broken.Store(true)
}

// View implements [store.Store].
func (f *flaky) View(ctx context.Context, do func(store.Reader) error) error {
	if f.fails() {
		return errDisk
	}
	return f.Store.View(ctx, do)
}

// Update implements [store.Store].
func (f *flaky) Update(ctx context.Context, do func(store.Tx) error) error {
	if f.fails() {
		return errDisk
	}
	return f.Store.Update(ctx, do)
}

// world is the API over a real store, with a user of each role.
type world struct {
	*testing.T
	*journaltest.House
	store  *flaky
	staff  *staff.Staff
	server *httptest.Server
	hasty  *httptest.Server // the same, but does not wait for bodies
	// tokens by login: admin, mona (manager) and cleo (cashier) at SHOP1, milo
	// (manager) and dora (cashier) at SHOP2, nora (manager) nowhere.
	tokens map[string]string
	// stumble makes the ledger panic at the entry with this operation id.
	stumble atomic.Value
}

const password = "a long password"

var people = map[string]struct {
	role   catalogue.Role
	points []string
}{
	"mona": {catalogue.RoleManager, []string{"SHOP1"}},
	"cleo": {catalogue.RoleCashier, []string{"SHOP1"}},
	"milo": {catalogue.RoleManager, []string{"SHOP2"}},
	"dora": {catalogue.RoleCashier, []string{"SHOP2"}},
	"nora": {catalogue.RoleManager, []string{}},
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Options{Database: filepath.Join(t.TempDir(), "server.db"), AllowUnsafe: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{T: t, store: &flaky{Store: s}, tokens: map[string]string{}}
	w.stumble.Store("")
	w.House = journaltest.NewHouse(t, w.store, ledger.Options{BeforeEntry: func(op string) {
		if op != "" && op == w.stumble.Load() {
			panic("a planted panic")
		}
	}})
	log := slog.New(slog.DiscardHandler)
	w.staff = staff.New(w.store, w.Now, log)
	gin.SetMode(gin.ReleaseMode)
	serve := func(timeout time.Duration) *httptest.Server {
		engine := gin.New()
		admin.Mount(engine, admin.Services{Staff: w.staff, Setup: w.Setup, Ledger: w.Ledger, Store: w.store, BodyTimeout: timeout}, "test", log)
		server := httptest.NewServer(engine)
		t.Cleanup(server.Close)
		return server
	}
	w.server, w.hasty = serve(0), serve(20*time.Millisecond)

	w.user("admin", catalogue.RoleAdmin, nil)
	for login, p := range people {
		w.user(login, p.role, p.points)
	}
	return w
}

// verifier is that of the password; it is cheap, so that the tests are.
var verifier = secret.Hash(password, secret.Cost{Time: 1, Memory: 64})

// user puts a user who is signed in.
func (w *world) user(login string, role catalogue.Role, points []string) {
	w.Helper()
	token, hash := secret.Token("tu_")
	w.tokens[login] = token
	err := w.store.Update(w.Context(), func(tx store.Tx) error {
		return errors.Join(
			tx.PutUser(w.Context(), store.User{ID: "user-" + login, Login: login, Name: login, Role: string(role), Points: points, Password: verifier, Active: true}),
			tx.PutToken(w.Context(), store.Token{Hash: hash, User: "user-" + login, Expires: w.Now().Add(staff.TokenLife).UnixMicro()}),
		)
	})
	if err != nil {
		w.Fatal(err)
	}
}

// Context is that of the test.
func (w *world) Context() context.Context { return w.T.Context() }

func (w *world) signIn(login, word string) string {
	w.Helper()
	token, _, _, err := w.staff.SignIn(w.Context(), login, word, "test")
	if err != nil {
		w.Fatalf("sign %s in: %v", login, err)
	}
	return token
}

// request is a request below /api/v1. A body that is a string is sent as it
// is, any other as JSON.
type request struct {
	method, path string
	token        string // of a login in world.tokens, or as it is
	body         any
	media        string // "" for JSON
}

func (w *world) encode(r request) []byte {
	w.Helper()
	switch body := r.body.(type) {
	case nil:
		return nil
	case string:
		return []byte(body)
	default:
		data, err := json.Marshal(body)
		if err != nil {
			w.Fatal(err)
		}
		return data
	}
}

func (w *world) request(r request) *http.Request {
	w.Helper()
	var body io.Reader
	if data := w.encode(r); data != nil {
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(w.Context(), r.method, w.server.URL+"/api/v1"+r.path, body)
	if err != nil {
		w.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		if r.media != "" {
			req.Header.Set("Content-Type", r.media)
		}
	}
	if token, ok := w.tokens[r.token]; ok {
		req.Header.Set("Authorization", "Bearer "+token)
	} else if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	return req
}

// reply is an answer whose body was read.
type reply struct {
	StatusCode int
	Header     http.Header
}

func (w *world) send(r request) (reply, []byte) {
	w.Helper()
	res, err := w.server.Client().Do(w.request(r))
	if err != nil {
		w.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatal(err)
	}
	return reply{res.StatusCode, res.Header}, data
}

// problem is what every refusal says.
type problem struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// refusal checks that an answer is a refusal as it must be, and returns its
// code.
func (w *world) refusal(r request, res reply, data []byte) string {
	w.Helper()
	var p problem
	if err := json.Unmarshal(data, &p); err != nil || !strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		w.Errorf("%s %s: %d is no JSON: %s", r.method, r.path, res.StatusCode, data)
		return ""
	}
	if p.Status != res.StatusCode || p.Code == "" || p.Message == p.Code || !strings.Contains(p.Message, " ") || strings.Contains(p.Message, "{") {
		w.Errorf("%s %s: refused by %s", r.method, r.path, data)
	}
	return p.Code
}
