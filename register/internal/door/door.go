// Package door is the till's own door: the JSON API under /api/v1 that screens,
// kiosks and other programs on this machine use, with its OpenAPI 3.1
// document. A handler decodes, calls one method of the till and encodes.
//
// Nobody gets in by another name: the Host of a request must be one that the
// register listens as, and so must its Origin, where it has one, so that no
// page of another site, and no name that was made to point here, can use it.
// What does something needs the token of a user who is signed in. To sign in, a
// program shows the API token of the data folder; a page of the register itself
// needs none.
package door

import (
	"context"
	"crypto/subtle"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"tillandsia/register/internal/journal"
	"tillandsia/register/internal/till"
	"tillandsia/shared/entry"
	"tillandsia/shared/httpapi"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/secret"
)

// Journal is what the door calls of the journal: its condition.
type Journal interface {
	Head() entry.Point
	Acked() []entry.Point
	Opening() journal.Opening
	Waiting() (entries int, amount money.Amount)
	Verify(ctx context.Context, w io.Writer) (journal.Report, error)
	Backup(ctx context.Context, path string) error
}

// Enrolment is whose register this is.
type Enrolment struct {
	Server      string    `json:"server"`
	PointOfSale string    `json:"point_of_sale"`
	RegisterID  string    `json:"register_id"`
	Register    string    `json:"register" doc:"Code of the register"`
	At          time.Time `json:"at"`
}

// SyncStatus is how the connection to the server stands. Nothing waits for it.
type SyncStatus struct {
	Phase         string       `json:"phase" enum:"offline,greeting,syncing,synced,stopped"`
	Since         time.Time    `json:"since"`
	Key           string       `json:"key,omitempty" doc:"Message key of why, where there is something to say"`
	Message       string       `json:"message,omitempty"`
	Waiting       int          `json:"waiting" doc:"Entries that the server has not acknowledged"`
	WaitingAmount money.Amount `json:"waiting_amount"`
}

// Options say what a door opens to.
type Options struct {
	Till    *till.Till
	Journal Journal
	// Catalogue searches products, customers and the like.
	Catalogue till.Catalogue
	Sync      func() SyncStatus
	Enrolment Enrolment
	Version   string
	// Hosts are the names, with port, that the register listens as.
	Hosts []string
	// Token is the API token of the data folder.
	Token string
	// Backups is the folder that backups of the journal go to.
	Backups string
	Clock   func() time.Time
	Logger  *slog.Logger
	// BodyTimeout is how long a request's body may take; 0 means 10 seconds.
	BodyTimeout time.Duration
}

// Door serves the API.
type Door struct {
	Options
	token []byte // hash of the API token
	hosts map[string]bool
	mux   *http.ServeMux
	api   huma.API
}

const description = `The register's own API. It works without the server: what is answered as done is durable in the
register's journal. Amounts are integers in minor units of the company's currency, quantities in thousandths, unit prices
in ten-thousandths of a major unit, rates in parts per million; times are UTC. Orders, refunds, receipts and cash moves
have ids made by the caller, where it likes: sent again, they are done once.`

// maxBody is the largest body of a request.
const maxBody = 256 << 10

const defaultBodyTimeout = 10 * time.Second

// New returns a door; [Door.ServeHTTP] serves it.
func New(o Options) *Door {
	if o.BodyTimeout == 0 {
		o.BodyTimeout = defaultBodyTimeout
	}
	d := &Door{Options: o, token: secret.TokenHash(o.Token), hosts: map[string]bool{}, mux: http.NewServeMux()}
	for _, host := range o.Hosts {
		d.hosts[strings.ToLower(host)] = true
	}
	d.api = humago.New(d.mux, httpapi.Config("Tillandsia register", o.Version, description))
	d.api.UseMiddleware(d.admit)
	d.statusRoutes()
	d.userRoutes()
	d.sessionRoutes()
	d.cartRoutes()
	d.orderRoutes()
	d.cashRoutes()
	d.catalogueRoutes()
	d.withoutFailure("health", "users", "signed-in", "status", "sync", "catalogue", "products", "product", "customers")
	d.mux.HandleFunc("/api/", d.nothing)
	return d
}

// withoutFailure takes the failures of the disk out of the document of
// operations that only read memory.
func (d *Door) withoutFailure(ids ...string) {
	for _, item := range d.api.OpenAPI().Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op != nil && slices.Contains(ids, op.OperationID) {
				delete(op.Responses, strconv.Itoa(http.StatusInternalServerError))
				delete(op.Responses, strconv.Itoa(http.StatusServiceUnavailable))
			}
		}
	}
}

// Document returns the OpenAPI document.
func (d *Door) Document() *huma.OpenAPI { return d.api.OpenAPI() }

// ServeHTTP lets in who comes by the right name.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	if !d.known(r) {
		d.refuse(w, r, message.New(message.Forbidden, "door.foreign"))
		return
	}
	d.mux.ServeHTTP(w, r)
}

// known reports whether a request is for this register, and of its own pages
// or of no page at all.
func (d *Door) known(r *http.Request) bool {
	if !d.hosts[strings.ToLower(r.Host)] {
		return false
	}
	if origin := r.Header.Get("Origin"); origin != "" && !d.own(origin) {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return true
	}
	return false
}

func (d *Door) own(origin string) bool {
	host, ok := strings.CutPrefix(strings.ToLower(origin), "http://")
	return ok && d.hosts[host]
}

// fromOwnPage reports whether a page of the register itself sent the request.
func (d *Door) fromOwnPage(ctx huma.Context) bool {
	return ctx.Header("Sec-Fetch-Site") == "same-origin" || d.own(ctx.Header("Origin"))
}

func (d *Door) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := httpapi.From(r.Context(), d.Logger, err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(p.Status)
	if r.Method == http.MethodHead {
		return
	}
	if err := d.api.Marshal(w, "application/json", p); err != nil {
		d.Logger.DebugContext(r.Context(), "answer not written", "error", err)
	}
}

func (d *Door) nothing(w http.ResponseWriter, r *http.Request) {
	d.refuse(w, r, message.New(message.NotFound, "door.no_such_route"))
}

// who may call a route.
type who int

const (
	anyone  who = iota
	program     // a page of the register, or the API token
	reader      // the API token, or a user
	user        // a user who is signed in
)

const whoKey = "who"

type actorKey struct{}

// actor returns who makes the request; admit put it there.
func actor(ctx context.Context) (till.Actor, bool) {
	by, ok := ctx.Value(actorKey{}).(till.Actor)
	return by, ok
}

// by is the actor of a route that only users may call.
func by(ctx context.Context) till.Actor {
	a, _ := actor(ctx) // admit lets nobody else in
	return a
}

// admit checks who makes a request.
func (d *Door) admit(ctx huma.Context, next func(huma.Context)) {
	who, _ := ctx.Operation().Metadata[whoKey].(who) // the zero is anyone
	if who == anyone {
		next(ctx)
		return
	}
	token, bearer := strings.CutPrefix(ctx.Header("Authorization"), "Bearer ")
	isProgram := bearer && subtle.ConstantTimeCompare(secret.TokenHash(token), d.token) == 1
	if isProgram && who != user {
		next(ctx)
		return
	}
	if who == program {
		if d.fromOwnPage(ctx) {
			next(ctx)
			return
		}
		d.turnAway(ctx, message.New(message.Unauthorized, "door.api_only"))
		return
	}
	actor, err := d.Till.Who(token)
	if err != nil {
		d.turnAway(ctx, err)
		return
	}
	next(huma.WithValue(ctx, actorKey{}, actor))
}

func (d *Door) turnAway(ctx huma.Context, err error) {
	if err := httpapi.Write(d.api, ctx, httpapi.From(ctx.Context(), d.Logger, err)); err != nil {
		d.Logger.DebugContext(ctx.Context(), "answer not written", "error", err)
	}
}

// route describes an operation.
func (d *Door) route(who who, method, path, id, summary string, statuses ...int) huma.Operation {
	op := huma.Operation{
		OperationID: id, Method: method, Path: "/api/v1" + path, Summary: summary,
		Metadata: map[string]any{whoKey: who},
		// Unavailable is what a full or failing disk is answered with.
		Errors:       append([]int{http.StatusForbidden, http.StatusServiceUnavailable}, statuses...),
		MaxBodyBytes: maxBody, BodyReadTimeout: d.BodyTimeout,
	}
	if who != anyone {
		op.Security = []map[string][]string{{"bearer": {}}}
		op.Errors = append(op.Errors, http.StatusUnauthorized)
	}
	if method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch {
		op.Errors = append(op.Errors, bodyStatuses...)
	}
	return op
}

// bodyStatuses are what a request with a body can be answered with besides.
var bodyStatuses = []int{http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}

func created(op huma.Operation) huma.Operation {
	op.DefaultStatus = http.StatusCreated
	return op
}

// bodyless is an operation that takes no body although its method could.
func bodyless(op huma.Operation) huma.Operation {
	op.Errors = op.Errors[:len(op.Errors)-len(bodyStatuses)]
	return op
}

// add registers a route.
func add[I, O any](d *Door, op huma.Operation, handler func(ctx context.Context, in *I) (*O, error)) {
	httpapi.Register(d.api, d.Logger, op, handler)
}

// body is an answer with a JSON body.
type body[T any] struct{ Body T }

func answer[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, err
	}
	return &body[T]{Body: v}, nil
}

// none is an answer without a body: 204.
type none struct{}

func done(err error) (*none, error) {
	if err != nil {
		return nil, err
	}
	return &none{}, nil
}
