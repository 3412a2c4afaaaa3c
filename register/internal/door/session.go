package door

import (
	"context"
	"net/http"

	"tillandsia/register/internal/till"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// Opening is how a session begins at this register.
type Opening struct {
	Float   *money.Amount `json:"float,omitempty" minimum:"0" doc:"What was counted into the drawer; left out, the balance brought forward"`
	Sheet   []pos.Pile    `json:"sheet,omitempty" maxItems:"100" doc:"The same by notes and coins"`
	Note    string        `json:"note,omitempty" maxLength:"500"`
	Confirm bool          `json:"confirm,omitempty" doc:"Park the unpaid orders of screens that are still in the session before"`
}

type countOf struct {
	Method string        `json:"method" maxLength:"64"`
	Amount *money.Amount `json:"amount,omitempty" minimum:"0"`
	Sheet  []pos.Pile    `json:"sheet,omitempty" maxItems:"100"`
}

type closingRequest struct {
	Drop       money.Amount `json:"drop,omitempty" minimum:"0" doc:"What leaves the drawer, to the safe or where its reason says"`
	DropReason string       `json:"drop_reason,omitempty" maxLength:"64" doc:"Id of a reason"`
	Reason     string       `json:"reason,omitempty" maxLength:"500" doc:"Of a difference above the limit"`
	Approval   *approval    `json:"approval,omitempty"`
	Unapproved bool         `json:"unapproved,omitempty" doc:"Close above the limit without a manager: the session then waits for the back office"`
	Note       string       `json:"note,omitempty" maxLength:"500"`
}

func (c closingRequest) of(leave bool) till.CloseRequest {
	return till.CloseRequest{
		Leave: leave, Drop: c.Drop, DropReason: c.DropReason, Reason: c.Reason, Approval: c.Approval.of(),
		Unapproved: c.Unapproved, Note: c.Note,
	}
}

type zPath struct {
	Number int    `path:"number" minimum:"1" maximum:"100000000"`
	Series string `query:"series" maxLength:"8" doc:"Tag of the number series; empty in a register's first"`
}

func (d *Door) sessionRoutes() {
	add(d, d.route(user, http.MethodGet, "/session", "session", "Where the register stands: its session, and what can be opened or joined"),
		func(ctx context.Context, _ *struct{}) (*body[till.State], error) {
			return answer(d.Till.State(ctx, by(ctx)))
		})
	add(d, created(d.route(user, http.MethodPost, "/session", "open-session", "Open a session of this register, offline too", http.StatusConflict)),
		func(ctx context.Context, in *struct{ Body Opening }) (*body[till.SessionInfo], error) {
			return answer(d.Till.Open(ctx, by(ctx), till.OpenRequest{
				Float: in.Body.Float, Sheet: in.Body.Sheet, Note: in.Body.Note, Confirm: in.Body.Confirm,
			}))
		})
	add(d, created(d.route(user, http.MethodPost, "/session/join", "join-session", "Go on in a session of another register, with this one's drawer",
		http.StatusNotFound, http.StatusConflict)),
		func(ctx context.Context, in *struct {
			Body struct {
				Session string `json:"session" minLength:"1" maxLength:"64" doc:"Id of a session in progress elsewhere"`
				Opening
			}
		},
		) (*body[till.SessionInfo], error) {
			return answer(d.Till.Open(ctx, by(ctx), till.OpenRequest{
				Session: in.Body.Session, Float: in.Body.Float, Sheet: in.Body.Sheet, Note: in.Body.Note, Confirm: in.Body.Confirm,
			}))
		})
	add(d, d.route(user, http.MethodPost, "/session/count", "count", "Count blind: the count is journalled, then the expected amounts are told; one recount", http.StatusConflict),
		func(ctx context.Context, in *struct {
			Body struct {
				Counts []countOf `json:"counts" maxItems:"50"`
			}
		},
		) (*body[till.CountResult], error) {
			counts := make([]till.CountOf, len(in.Body.Counts))
			for i, c := range in.Body.Counts {
				counts[i] = till.CountOf{Method: c.Method, Amount: c.Amount, Sheet: c.Sheet}
			}
			return answer(d.Till.Count(ctx, by(ctx), counts))
		})
	add(d, d.route(user, http.MethodGet, "/session/count", "counted", "What the last count revealed", http.StatusConflict),
		func(ctx context.Context, _ *struct{}) (*body[till.CountResult], error) {
			return answer(d.Till.Counted(ctx))
		})
	closing := []int{http.StatusNotFound, http.StatusConflict, http.StatusTooManyRequests}
	add(d, d.route(user, http.MethodPost, "/session/close", "close-session", "Close this register's session out, with its Z report", closing...),
		func(ctx context.Context, in *struct{ Body closingRequest }) (*body[till.Closing], error) {
			return answer(d.Till.Close(ctx, by(ctx), in.Body.of(false)))
		})
	add(d, d.route(user, http.MethodPost, "/session/leave", "leave-session", "Leave a joined session, with the Z report of this register's drawer", closing...),
		func(ctx context.Context, in *struct{ Body closingRequest }) (*body[till.Closing], error) {
			return answer(d.Till.Close(ctx, by(ctx), in.Body.of(true)))
		})
	add(d, d.route(user, http.MethodGet, "/session/x", "x-report", "The report so far; before the count it tells a cashier nothing of what is counted", http.StatusConflict),
		func(ctx context.Context, _ *struct{}) (*body[till.XReport], error) {
			return answer(d.Till.X(ctx, by(ctx)))
		})
	add(d, d.route(user, http.MethodGet, "/z-reports", "z-reports", "The Z reports of this register, newest first"),
		func(ctx context.Context, _ *struct{}) (*body[[]till.ZReport], error) { return answer(d.Till.Zs(ctx)) })
	add(d, d.route(user, http.MethodGet, "/z-reports/{number}", "z-report", "A Z report, to print it again", http.StatusNotFound),
		func(ctx context.Context, in *zPath) (*body[till.ZReport], error) {
			return answer(d.Till.Z(ctx, in.Series, in.Number))
		})
}
