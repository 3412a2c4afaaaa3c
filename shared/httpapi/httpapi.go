// Package httpapi is what the JSON APIs of both programs share: the OpenAPI
// 3.1 document made from the routes themselves, and one table from errors to
// answers. An error that is no [message.Error] becomes "internal" with a code
// for support; its text goes to the log and never to a client.
package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/oklog/ulid/v2"

	"tillandsia/shared/message"
)

// Problem is the body of every answer that is not a success.
type Problem struct { //nolint:errname // it is the answer's body first, and its name stands in the documents
	Status  int               `json:"status" doc:"HTTP status"`
	Code    string            `json:"code" doc:"What went wrong, as a key that never changes"`
	Message string            `json:"message" doc:"The same as a sentence that says what to do"`
	Params  map[string]string `json:"params,omitempty" doc:"Values of the sentence's placeholders"`
	Fields  []Field           `json:"fields,omitempty" doc:"Which fields do not fit"`
}

// Field is one field that does not fit.
type Field struct {
	Field   string `json:"field" doc:"Where it stands, such as body.lines[0].qty"`
	Message string `json:"message"`
}

// Error implements error.
func (p *Problem) Error() string { return p.Message }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType makes problems plain JSON, as everything else is.
func (p *Problem) ContentType(string) string { return "application/json" }

// statuses is the one table from classes of errors to HTTP statuses.
var statuses = map[message.Class]int{
	message.Invalid:      http.StatusUnprocessableEntity,
	message.Unauthorized: http.StatusUnauthorized,
	message.Forbidden:    http.StatusForbidden,
	message.NotFound:     http.StatusNotFound,
	message.Conflict:     http.StatusConflict,
	message.TooMany:      http.StatusTooManyRequests,
	message.Unavailable:  http.StatusServiceUnavailable,
	message.Internal:     http.StatusInternalServerError,
}

// keys are the message keys of what the framework itself refuses.
var keys = map[int]string{
	http.StatusBadRequest:            "common.bad_request",
	http.StatusUnauthorized:          "common.unauthorized",
	http.StatusForbidden:             "common.forbidden",
	http.StatusNotFound:              "common.not_found",
	http.StatusMethodNotAllowed:      "common.method_not_allowed",
	http.StatusNotAcceptable:         "common.not_acceptable",
	http.StatusRequestTimeout:        "common.timeout",
	http.StatusRequestEntityTooLarge: "common.too_large",
	http.StatusUnsupportedMediaType:  "common.media_type",
	http.StatusUnprocessableEntity:   "common.invalid",
}

var install sync.Once

// Config returns the configuration of an API: its document is served at
// /api/v1/openapi.json and .yaml.
func Config(title, version, description string) huma.Config {
	install.Do(func() { huma.NewError = newError })
	c := huma.DefaultConfig(title, version)
	c.Info.Description = description
	c.OpenAPIPath = "/api/v1/openapi"
	c.DocsPath = ""
	c.SchemasPath = ""
	c.CreateHooks = nil
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer"},
	}
	return c
}

// schemaName names a type in the document. Types of the shared packages bear
// their package's name: an API has types of its own of the same name.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Name() == "" || !strings.Contains(t.PkgPath(), "/shared/") {
		return name
	}
	pkg := path.Base(t.PkgPath())
	return strings.ToUpper(pkg[:1]) + pkg[1:] + name
}

func newError(status int, _ string, errs ...error) huma.StatusError {
	for _, err := range errs {
		if p, ok := errors.AsType[*Problem](err); ok {
			return p
		}
		if m, ok := errors.AsType[*message.Error](err); ok {
			return problem(m)
		}
	}
	p := Refusal(status)
	for _, err := range errs {
		if d, ok := errors.AsType[*huma.ErrorDetail](err); ok {
			p.Fields = append(p.Fields, Field{Field: d.Location, Message: d.Message})
		}
	}
	return p
}

// Refusal returns the answer of a status that the framework refuses by. What
// has no sentence of its own is internal; its code for support is the status.
func Refusal(status int) *Problem {
	key, ok := keys[status]
	if !ok {
		params := map[string]string{"code": strconv.Itoa(status)}
		return &Problem{Status: status, Code: "common.internal", Message: message.Text(message.English, "common.internal", params), Params: params}
	}
	return &Problem{Status: status, Code: key, Message: message.Text(message.English, key, nil)}
}

func problem(m *message.Error) *Problem {
	status, ok := statuses[m.Class]
	if !ok {
		status = http.StatusInternalServerError
	}
	return &Problem{Status: status, Code: m.Key, Message: message.Text(message.English, m.Key, m.Params), Params: m.Params}
}

// From turns any error into the answer for a client. What it does not know is
// logged under a code and answered as "internal" with that code.
func From(ctx context.Context, log *slog.Logger, err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if m, ok := errors.AsType[*message.Error](err); ok && m.Class != message.Internal {
		return problem(m)
	}
	code := ulid.Make().String()[16:]
	log.ErrorContext(ctx, "request failed", "code", code, "error", err)
	return problem(message.New(message.Internal, "common.internal", "code", code))
}

// Register adds a route. Every error of the handler goes through [From]; the
// operation names the statuses that it can answer with in op.Errors.
func Register[I, O any](api huma.API, log *slog.Logger, op huma.Operation, handler func(ctx context.Context, in *I) (*O, error)) {
	huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(ctx, in)
		if err != nil {
			return nil, From(ctx, log, err)
		}
		return out, nil
	})
}

// Write answers a problem outside the framework, from a middleware.
func Write(api huma.API, ctx huma.Context, p *Problem) error {
	ctx.SetHeader("Content-Type", "application/json")
	ctx.SetStatus(p.Status)
	if err := api.Marshal(ctx.BodyWriter(), "application/json", p); err != nil {
		return err
	}
	return nil
}
