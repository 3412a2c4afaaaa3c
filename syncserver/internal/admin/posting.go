package admin

import (
	"bytes"
	"context"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/export"
	"tillandsia/syncserver/internal/store"
)

type posting struct {
	Number      string        `json:"number"`
	Date        string        `json:"date"`
	Text        string        `json:"text"`
	PointOfSale string        `json:"point_of_sale"`
	Session     string        `json:"session"`
	Hash        string        `json:"hash" doc:"SHA-256 of the posting in its canonical form"`
	Lines       []postingLine `json:"lines" nullable:"false"`
}

type postingLine struct {
	Account  string       `json:"account"`
	Debit    money.Amount `json:"debit"`
	Credit   money.Amount `json:"credit"`
	Label    string       `json:"label"`
	Register string       `json:"register,omitempty"`
	Method   string       `json:"method,omitempty"`
	Customer string       `json:"customer,omitempty"`
	Detail   string       `json:"detail,omitempty"`
}

func postingOf(p store.Posting) posting {
	out := posting{Number: p.Number, Date: p.Date, Text: p.Text, PointOfSale: p.PointOfSale, Session: p.Session, Hash: p.Hash, Lines: []postingLine{}}
	for _, l := range p.Lines {
		out.Lines = append(out.Lines, postingLine{
			Account: l.Account, Debit: l.Debit, Credit: l.Credit, Label: l.Label,
			Register: l.Register, Method: l.Method, Customer: l.Customer, Detail: l.Detail,
		})
	}
	return out
}

func invalid(key string, pairs ...string) error { return message.New(message.Invalid, key, pairs...) }

// PostingQuery selects postings.
type PostingQuery struct {
	PointOfSale string `query:"pos" maxLength:"8"`
	From        string `query:"from" format:"date" doc:"First date"`
	To          string `query:"to" format:"date" doc:"Last date"`
}

func (q PostingQuery) filter(ctx context.Context) (store.PostingFilter, error) {
	codes, err := points(actor(ctx), q.PointOfSale)
	return store.PostingFilter{PointsOfSale: codes, From: q.From, To: q.To}, err
}

func (a *API) postingRoutes() {
	add(a, route(http.MethodGet, "/postings", "postings", catalogue.RoleManager, "Postings with their lines, by number"),
		func(ctx context.Context, in *struct {
			PostingQuery
			Limit int `query:"limit" minimum:"1" maximum:"1000" default:"100"`
		},
		) (*body[[]posting], error) {
			filter, err := in.filter(ctx)
			if err != nil {
				return nil, err
			}
			filter.Limit = in.Limit
			rows, err := a.Ledger.Postings(ctx, filter)
			if err != nil {
				return nil, err
			}
			out := []posting{}
			for _, p := range rows {
				out = append(out, postingOf(p))
			}
			return answer(out), nil
		})
	add(a, route(http.MethodGet, "/points-of-sale/{pos}/sessions/{id}/posting", "session-posting", catalogue.RoleManager, "The posting of a session", http.StatusNotFound),
		func(ctx context.Context, in *SessionPath) (*body[posting], error) {
			p, err := a.Ledger.Posting(ctx, in.PointOfSale, in.ID)
			if err != nil {
				return nil, err
			}
			return answer(postingOf(p)), nil
		})

	for format, media := range map[string]string{"csv": "text/csv", "json": "application/json", "ledger": "text/plain"} {
		a.exportRoute(format, media)
	}
}

func (a *API) exportRoute(format, media string) {
	op := route(http.MethodGet, "/exports/postings/"+format, "export-postings-"+format, catalogue.RoleManager, "Postings as "+format+", as other programs read them")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The postings by number",
		Content:     map[string]*huma.MediaType{media: {Schema: a.exportSchema(format)}},
	}}
	add(a, op,
		func(ctx context.Context, in *PostingQuery) (*file, error) {
			filter, err := in.filter(ctx)
			if err != nil {
				return nil, err
			}
			postings, err := export.Read(ctx, a.Store, filter)
			if err != nil {
				return nil, err
			}
			var out bytes.Buffer
			if err := export.Formats[format](&out, postings); err != nil {
				return nil, err
			}
			return &file{ContentType: media, Body: out.Bytes()}, nil
		})
}

// exportSchema is what an export is: an array of lines, or a text.
func (a *API) exportSchema(format string) *huma.Schema {
	if format != "json" {
		return &huma.Schema{Type: huma.TypeString}
	}
	line := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[export.Line](), true, "ExportLine")
	return &huma.Schema{Type: huma.TypeArray, Items: line}
}

// file is an answer that is not encoded by the framework.
type file struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}
