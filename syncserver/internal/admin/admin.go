// Package admin is the managers' edge of the server: the JSON API under
// /api/v1, its OpenAPI 3.1 document, and health and metrics. A handler decodes,
// calls one method and encodes; what may happen is decided behind it.
//
// Every route names the least role that may call it; a route that names a
// point of sale is open only to those who work there. Both are checked here,
// before the handler, and every refusal says why.
package admin

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/httpapi"
	"tillandsia/shared/message"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/setup"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
)

// Services are what the API calls.
type Services struct {
	Staff  *staff.Staff
	Setup  *setup.Setup
	Ledger *ledger.Ledger
	Store  store.Store
	// BodyTimeout is how long a request's body may take; 0 means 10 seconds. An
	// import may take twelve times as long: it is large, and shops have slow
	// lines.
	BodyTimeout time.Duration
}

const (
	defaultBodyTimeout = 10 * time.Second
	importTimeouts     = 12
)

// API is the managers' API.
type API struct {
	Services
	log  *slog.Logger
	huma huma.API
}

const description = `The centre of a point of sale: sessions of every till, force close, rescues,
postings, catalogue, users and registers. Amounts are integers in minor units of the company's currency,
quantities in thousandths, unit prices in ten-thousandths of a major unit, rates in parts per million; times are UTC.`

// Mount adds the routes to a Gin engine.
func Mount(engine *gin.Engine, s Services, version string, log *slog.Logger) *API {
	if s.BodyTimeout == 0 {
		s.BodyTimeout = defaultBodyTimeout
	}
	a := &API{Services: s, log: log, huma: humagin.New(engine, httpapi.Config("Tillandsia syncserver", version, description))}
	a.huma.UseMiddleware(a.authenticate)
	a.staffRoutes()
	a.setupRoutes()
	a.registerRoutes()
	a.sessionRoutes()
	a.orderRoutes()
	a.postingRoutes()
	a.attentionRoutes()
	return a
}

// Document returns the OpenAPI document.
func (a *API) Document() *huma.OpenAPI { return a.huma.OpenAPI() }

type (
	actorKey  struct{}
	remoteKey struct{}
	tokenKey  struct{}
)

// tokenOf returns the bearer token of the request; the middleware put it there.
func tokenOf(ctx context.Context) string {
	token, _ := ctx.Value(tokenKey{}).(string) // "" is no token
	return token
}

// remoteOf returns the address that the request came from, without its port.
func remoteOf(ctx context.Context) string {
	address, _ := ctx.Value(remoteKey{}).(string) // the middleware put it there
	return address
}

// actor returns who makes the request; the middleware put it there.
func actor(ctx context.Context) staff.Actor {
	by, _ := ctx.Value(actorKey{}).(staff.Actor) // the zero actor may do nothing
	return by
}

const roleKey = "role"

// route describes an operation that needs a role. It is refused (403) where
// the role may be lacking or a point of sale be a foreign one.
func route(method, path, id string, role catalogue.Role, summary string, statuses ...int) huma.Operation {
	op := open(method, path, id, summary, append([]int{http.StatusUnauthorized}, statuses...)...)
	op.Security = []map[string][]string{{"bearer": {}}}
	op.Metadata = map[string]any{roleKey: role}
	if role != catalogue.RoleCashier || strings.Contains(path, "{pos}") {
		op.Errors = append(op.Errors, http.StatusForbidden)
	}
	return op
}

// open describes an operation that anyone may call.
func open(method, path, id, summary string, statuses ...int) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: "/api/v1" + path, Summary: summary, Errors: statuses}
}

// bodyStatuses are what a request with a body can be answered with besides.
var bodyStatuses = []int{http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge}

// add adds a route; of one whose requests have a body it declares how those are
// refused.
func add[I, O any](a *API, op huma.Operation, handler func(ctx context.Context, in *I) (*O, error)) {
	in := reflect.TypeFor[I]()
	_, decoded := in.FieldByName("Body")
	_, raw := in.FieldByName("RawBody")
	if decoded {
		op.Errors = append(op.Errors, http.StatusUnsupportedMediaType)
	}
	if decoded || raw {
		op.Errors = append(op.Errors, bodyStatuses...)
		if op.BodyReadTimeout == 0 {
			op.BodyReadTimeout = a.BodyTimeout
		}
	}
	httpapi.Register(a.huma, a.log, op, handler)
}

func (a *API) authenticate(ctx huma.Context, next func(huma.Context)) {
	ctx = huma.WithValue(ctx, remoteKey{}, remote(ctx.RemoteAddr()))
	role, needed := ctx.Operation().Metadata[roleKey].(catalogue.Role)
	if !needed {
		next(ctx)
		return
	}
	token, ok := strings.CutPrefix(ctx.Header("Authorization"), "Bearer ")
	if !ok {
		a.refuse(ctx, message.New(message.Unauthorized, "common.unauthorized"))
		return
	}
	by, err := a.Staff.Authenticate(ctx.Context(), token, remoteOf(ctx.Context()))
	if err != nil {
		a.refuse(ctx, err)
		return
	}
	if !by.Role.AtLeast(role) {
		a.refuse(ctx, message.New(message.Forbidden, "admin.role", "role", string(role)))
		return
	}
	if code := ctx.Param("pos"); code != "" && !by.MayAt(code) {
		a.refuse(ctx, message.New(message.Forbidden, "admin.point_of_sale", "code", code))
		return
	}
	next(huma.WithValue(huma.WithValue(ctx, tokenKey{}, token), actorKey{}, by))
}

func (a *API) refuse(ctx huma.Context, err error) {
	if err := httpapi.Write(a.huma, ctx, httpapi.From(ctx.Context(), a.log, err)); err != nil {
		a.log.WarnContext(ctx.Context(), "answer not written", "error", err)
	}
}

// remote is the address without its port: what sign-in tries are counted by.
func remote(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

// nowhere is the code of no point of sale: who works at none sees nothing. ""
// would not do, it stands for every one where registers are listed.
const nowhere = "-"

// points returns the points of sale that a list covers: those asked for that
// the actor works at, or all of theirs. nil means every one.
func points(by staff.Actor, asked string) ([]string, error) {
	switch {
	case asked != "" && !by.MayAt(asked):
		return nil, message.New(message.Forbidden, "admin.point_of_sale", "code", asked)
	case asked != "":
		return []string{asked}, nil
	case by.Role == catalogue.RoleAdmin:
		return nil, nil
	case len(by.Points) == 0:
		return []string{nowhere}, nil
	}
	return by.Points, nil
}

// body is an answer with a JSON body.
type body[T any] struct{ Body T }

func answer[T any](v T) *body[T] { return &body[T]{Body: v} }

// none is an answer without a body: 204.
type none struct{}
