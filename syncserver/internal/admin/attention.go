package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/entry"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/store"
)

type flag struct {
	ID          string         `json:"id"`
	PointOfSale string         `json:"point_of_sale"`
	Code        string         `json:"code" doc:"What is remarked, as a key that never changes"`
	Register    string         `json:"register,omitempty"`
	Place       *entry.Place   `json:"place,omitempty"`
	Session     string         `json:"session,omitempty"`
	Params      map[string]any `json:"params,omitempty"`
	At          time.Time      `json:"at"`
	ResolvedAt  *time.Time     `json:"resolved_at,omitempty"`
	ResolvedBy  string         `json:"resolved_by,omitempty"`
	How         string         `json:"how,omitempty"`
}

func flagOf(f store.Flag) flag {
	out := flag{
		ID: f.ID, PointOfSale: f.PointOfSale, Code: f.Code, Register: f.Register, Session: f.Session, At: timeOf(f.At),
		ResolvedAt: optionalTime(f.Resolved), ResolvedBy: f.ResolvedBy, How: f.How,
	}
	if !f.Entry.IsZero() {
		out.Place = &f.Entry
	}
	if len(f.Params) > 0 && json.Unmarshal(f.Params, &out.Params) != nil {
		out.Params = nil // they explain; without them the code still does
	}
	return out
}

type attention struct {
	Count   int        `json:"count"`
	More    bool       `json:"more" doc:"A list was cut"`
	Rescues []Session  `json:"rescues" nullable:"false" doc:"Rescue sessions to close"`
	Waiting []waiting  `json:"waiting" nullable:"false" doc:"Sessions that were closed out and wait for a register or a manager"`
	Flags   []flag     `json:"flags" nullable:"false"`
	Silent  []register `json:"silent" nullable:"false" doc:"Registers that may hold sales and are not heard"`
}

type waiting struct {
	Session
	Joined []contact `json:"joined" nullable:"false" doc:"Registers that are still in it"`
}

type contact struct {
	Register string     `json:"register"`
	Code     string     `json:"code"`
	LastSeen *time.Time `json:"last_seen,omitempty"`
}

// contactTime is a time of the ledger, nil where it never was.
func contactTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func attentionOf(a ledger.Attention) attention {
	out := attention{Count: a.Count, More: a.More, Rescues: []Session{}, Waiting: []waiting{}, Flags: []flag{}, Silent: []register{}}
	for _, r := range a.Rescues {
		out.Rescues = append(out.Rescues, sessionOf(r))
	}
	for _, w := range a.Waiting {
		row := waiting{Session: sessionOf(w.SessionView), Joined: []contact{}}
		for _, j := range w.Joined {
			row.Joined = append(row.Joined, contact{Register: j.ID, Code: j.Code, LastSeen: contactTime(j.LastSeen)})
		}
		out.Waiting = append(out.Waiting, row)
	}
	for _, f := range a.Flags {
		out.Flags = append(out.Flags, flagOf(f))
	}
	for _, s := range a.Silent {
		out.Silent = append(out.Silent, registerOf(s.Register))
	}
	return out
}

// FlagPath names a flag.
type FlagPath struct {
	PosPath
	ID string `path:"id" maxLength:"64" doc:"Id of the flag"`
}

func (a *API) attentionRoutes() {
	add(a, route(http.MethodGet, "/attention", "attention", catalogue.RoleManager, "What needs attention: rescues to close, waiting close-outs, flags, silent registers"),
		func(ctx context.Context, in *struct {
			PointOfSale string `query:"pos" maxLength:"8"`
		},
		) (*body[attention], error) {
			codes, err := points(actor(ctx), in.PointOfSale)
			if err != nil {
				return nil, err
			}
			found, err := a.Ledger.Attention(ctx, codes)
			if err != nil {
				return nil, err
			}
			return answer(attentionOf(found)), nil
		})
	add(a, route(http.MethodPost, "/points-of-sale/{pos}/flags/{id}/accept", "accept-flag", catalogue.RoleManager, "Accept what was flagged as it is; an entry that was not counted is booked as a sale of its own", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *FlagPath) (*none, error) {
			return &none{}, a.Ledger.Accept(ctx, ledgerActor(actor(ctx)), in.PointOfSale, in.ID)
		})
	add(a, route(http.MethodPost, "/points-of-sale/{pos}/flags/{id}/retry", "retry-flag", catalogue.RoleManager, "Try an entry that was not booked again, by the rescue rule as it is now", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *FlagPath) (*none, error) {
			return &none{}, a.Ledger.Retry(ctx, ledgerActor(actor(ctx)), in.PointOfSale, in.ID)
		})
	settle := route(http.MethodPost, "/points-of-sale/{pos}/registers/{register}/settle", "settle-drawer", catalogue.RoleManager, "Settle drawer: an adjusting count where no session will come", http.StatusNotFound, http.StatusConflict)
	add(a, settle,
		func(ctx context.Context, in *struct {
			RegisterPath
			Body struct {
				Counts []methodCount `json:"counts" minItems:"1" maxItems:"100"`
				Reason string        `json:"reason" minLength:"1" maxLength:"500"`
				Key    string        `json:"key,omitempty" maxLength:"64"`
			}
		},
		) (*body[closeResult], error) {
			r, err := a.Ledger.SettleDrawer(ctx, ledgerActor(actor(ctx)), in.PointOfSale, in.Register, ledger.SettleRequest{
				Counts: countsOf(in.Body.Counts), Reason: in.Body.Reason, Key: in.Body.Key,
			})
			if err != nil {
				return nil, err
			}
			return answer(closeResultOf(r)), nil
		})
}
