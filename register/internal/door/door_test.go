package door_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tillandsia/register/internal/door"
	"tillandsia/register/internal/journal"
	"tillandsia/register/internal/till"
	"tillandsia/register/internal/till/tilltest"
	"tillandsia/shared/entry"
)

const apiToken = "api_of_the_test"

// world is a door over a till under test.
type world struct {
	*tilltest.World
	door   *door.Door
	server *httptest.Server
	broken atomic.Pointer[error]
}

func newWorld(t testing.TB, change ...func(*tilltest.Shop)) *world {
	t.Helper()
	w := &world{World: tilltest.New(t, change...)}
	w.Wrap(func(j till.Journal) till.Journal { return &breakable{Journal: j, broken: &w.broken} })
	w.server = httptest.NewUnstartedServer(nil)
	host := w.server.Listener.Addr().String()
	w.door = door.New(door.Options{
		Till: w.Till, Journal: &breakableDoor{Journal: w.Journal, broken: &w.broken}, Catalogue: w.Catalogue,
		Sync: func() door.SyncStatus {
			return door.SyncStatus{Phase: "offline", Since: w.Clock.Now(), Waiting: 3, WaitingAmount: 1250}
		},
		Enrolment: door.Enrolment{Server: "http://127.0.0.1:1", PointOfSale: "SHOP1", RegisterID: tilltest.Identity.Register, Register: "R1", At: w.Clock.Now()},
		Version:   "test", Hosts: []string{host, "till.local"}, Token: apiToken, Backups: t.TempDir(), Clock: w.Clock.Now,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), BodyTimeout: 100 * time.Millisecond,
	})
	w.server.Config.Handler = w.door
	w.server.Start()
	t.Cleanup(w.server.Close)
	return w
}

var errDisk = errors.New("the disk is on fire")

// breakable is a journal whose disk can be set on fire.
type breakable struct {
	till.Journal
	broken *atomic.Pointer[error]
}

func (b *breakable) Append(ctx context.Context, fn func(tx *journal.Tx) error) (journal.Result, error) {
	if err := b.broken.Load(); err != nil {
		return journal.Result{}, *err
	}
	return b.Journal.Append(ctx, fn)
}

func (b *breakable) View(ctx context.Context, fn func(tx *journal.Tx) error) error {
	if err := b.broken.Load(); err != nil {
		return *err
	}
	return b.Journal.View(ctx, fn)
}

func (b *breakable) Read(ctx context.Context, from entry.Place, n, size int) ([]journal.Raw, error) {
	if err := b.broken.Load(); err != nil {
		return nil, *err
	}
	return b.Journal.Read(ctx, from, n, size)
}

type breakableDoor struct {
	door.Journal
	broken *atomic.Pointer[error]
}

func (b *breakableDoor) Verify(ctx context.Context, w io.Writer) (journal.Report, error) {
	if err := b.broken.Load(); err != nil {
		return journal.Report{}, *err
	}
	return b.Journal.Verify(ctx, w)
}

func (b *breakableDoor) Backup(ctx context.Context, path string) error {
	if err := b.broken.Load(); err != nil {
		return *err
	}
	return b.Journal.Backup(ctx, path)
}

// request is one call of the API.
type request struct {
	method string
	path   string // below /api/v1
	token  string
	body   any // nil, a string as it is, or JSON
	header http.Header
	host   string
}

// reply is an answer.
type reply struct {
	status int
	header http.Header
	data   []byte
}

// send makes a request and returns it, and its answer.
func (w *world) send(r request) (*http.Request, reply) {
	w.Helper()
	var body io.Reader
	switch b := r.body.(type) {
	case nil:
	case string:
		body = strings.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			w.Fatal(err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(w.Context(), r.method, w.server.URL+"/api/v1"+r.path, body)
	if err != nil {
		w.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(req.Header, r.header)
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.host != "" {
		req.Host = r.host
	}
	res, err := w.server.Client().Do(req)
	if err != nil {
		w.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		w.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	return req, reply{status: res.StatusCode, header: res.Header, data: data}
}

// call makes a request, requires a status and decodes the answer.
func (w *world) call(r request, status int, out any) {
	w.Helper()
	_, a := w.send(r)
	if a.status != status {
		w.Fatalf("%s %s = %d, want %d\n%s", r.method, r.path, a.status, status, a.data)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(a.data, out); err != nil {
		w.Fatalf("%s %s: %v in %s", r.method, r.path, err, a.data)
	}
}

// signIn signs a user in and returns the token.
func (w *world) signIn(user string) string {
	w.Helper()
	var s struct{ Token string }
	w.call(request{
		method: http.MethodPost, path: "/sign-ins", token: apiToken,
		body: map[string]any{"user": user, "pin": tilltest.PINs[user], "browser": "browser-" + user, "device": "test"},
	}, http.StatusCreated, &s)
	return s.Token
}

func TestWholeDayThroughTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna")
	post := func(path string, body any, status int, out any) {
		t.Helper()
		w.call(request{method: http.MethodPost, path: path, token: anna, body: body}, status, out)
	}
	post("/session", map[string]any{"float": 10_000}, http.StatusCreated, nil)
	var cart till.Cart
	post("/carts", map[string]any{}, http.StatusCreated, &cart)
	post("/carts/"+cart.ID+"/lines", map[string]any{"version": cart.Version, "code": "tea"}, http.StatusOK, &cart)
	post("/carts/"+cart.ID+"/lines", map[string]any{"version": cart.Version, "barcode": "4006381333931", "qty": 2000}, http.StatusOK, &cart)
	if cart.Total != 800 || cart.DueCash != 800 {
		t.Errorf("total %d, due %d, want 800", cart.Total, cart.DueCash)
	}
	post("/carts/"+cart.ID+"/payments", map[string]any{"version": cart.Version, "method": "cash", "amount": 1000}, http.StatusOK, &cart)
	if !cart.Complete || cart.Change != 200 {
		t.Errorf("cart = %+v, want it complete with 2.00 change", cart)
	}
	var sold, again till.Sold
	post("/carts/"+cart.ID+"/validate", map[string]any{"version": cart.Version}, http.StatusOK, &sold)
	post("/carts/"+cart.ID+"/validate", map[string]any{"version": cart.Version}, http.StatusOK, &again)
	if again.Order.Number != sold.Order.Number || !again.Again || sold.Hash.IsZero() {
		t.Errorf("validated again: %s (again %v), want %s", again.Order.Number, again.Again, sold.Order.Number)
	}
	var result till.CountResult
	post("/session/count", map[string]any{"counts": []map[string]any{{"method": "cash", "amount": 10_800}, {"method": "card", "amount": 0}}}, http.StatusOK, &result)
	if result.Methods[0].Expected != 10_800 {
		t.Errorf("expected = %d, want 10800", result.Methods[0].Expected)
	}
	var closing till.Closing
	post("/session/close", map[string]any{"drop": 800}, http.StatusOK, &closing)
	if closing.Z.Number != 1 || closing.Z.Period.Sales != 1 {
		t.Errorf("Z = %+v", closing.Z)
	}
}
