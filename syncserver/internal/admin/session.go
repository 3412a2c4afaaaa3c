package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	sessions "tillandsia/shared/session"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/store"
)

// Session is a session or rescue in a list. Types that stand embedded in an
// answer are exported: the document leaves others out.
type Session struct {
	ID           string       `json:"id"`
	PointOfSale  string       `json:"point_of_sale"`
	Name         string       `json:"name"`
	State        string       `json:"state" enum:"opening_control,opened,closing_control,closed"`
	Rescue       bool         `json:"rescue"`
	Root         string       `json:"root,omitempty" doc:"Of a rescue: the session that it rescues"`
	Ordinal      int          `json:"ordinal,omitempty"`
	Register     string       `json:"register"`
	RegisterCode string       `json:"register_code"`
	BusinessDate string       `json:"business_date"`
	OpenedBy     string       `json:"opened_by"`
	OpenedByName string       `json:"opened_by_name"`
	OpenedAt     *time.Time   `json:"opened_at,omitempty"`
	Recovered    bool         `json:"recovered,omitempty" doc:"Made from an entry that named it; its opening has not been heard"`
	Orders       int          `json:"orders"`
	Total        money.Amount `json:"total"`
	Difference   money.Amount `json:"difference" doc:"Counted less expected, over its drawers"`
	OpeningDiff  money.Amount `json:"opening_difference"`
	ClosedAt     *time.Time   `json:"closed_at,omitempty"`
	ClosedByName string       `json:"closed_by_name,omitempty"`
	CloseReason  string       `json:"close_reason,omitempty"`
	CloseKind    string       `json:"close_kind,omitempty" doc:"close_out, force or rescue"`
	Counted      bool         `json:"counted"`
	Posting      string       `json:"posting,omitempty" doc:"Number of its posting"`
	Empty        bool         `json:"empty,omitempty" doc:"Closed with nothing to post"`
}

func rowOf(s store.Session) Session {
	return Session{
		ID: s.ID, PointOfSale: s.PointOfSale, Name: s.Name, State: string(s.State), Rescue: s.Root != "", Root: s.Root,
		Ordinal: s.Ordinal, Register: s.Register, BusinessDate: s.BusinessDate, OpenedBy: s.OpenedBy,
		OpenedByName: s.OpenedByName, OpenedAt: optionalTime(s.OpenedAt), Recovered: s.Recovered, Orders: s.Orders, Total: s.Total,
		ClosedAt: optionalTime(s.ClosedAt), ClosedByName: s.ClosedByName, CloseReason: s.CloseReason, CloseKind: s.CloseKind,
		Counted: s.Counted, Posting: s.Posting, Empty: s.Empty,
	}
}

func sessionOf(v ledger.SessionView) Session {
	s := rowOf(v.Session)
	s.RegisterCode, s.Difference, s.OpeningDiff = v.RegisterCode, v.Difference, v.OpeningDifference
	return s
}

type drawerLine struct {
	Register   string        `json:"register"`
	Code       string        `json:"register_code"`
	Method     string        `json:"method"`
	Name       string        `json:"name"`
	Brought    money.Amount  `json:"brought_forward"`
	Opening    money.Amount  `json:"opening"`
	OpeningDif money.Amount  `json:"opening_difference"`
	Taken      money.Amount  `json:"taken" doc:"Payments less change, refunds negative"`
	Moves      money.Amount  `json:"moves"`
	Expected   money.Amount  `json:"expected"`
	Counted    *money.Amount `json:"counted,omitempty"`
	Difference money.Amount  `json:"difference"`
	Drop       money.Amount  `json:"drop" doc:"What left the drawer at the close"`
	Closing    money.Amount  `json:"closing"`
	Suggested  *money.Amount `json:"suggested,omitempty" doc:"The till's own count, to fill the form with"`
	Fixed      bool          `json:"fixed,omitempty" doc:"The next opening has taken it over: no count is asked for"`
}

type method struct {
	Method     string        `json:"method"`
	Name       string        `json:"name"`
	Taken      money.Amount  `json:"taken"`
	Expected   money.Amount  `json:"expected"`
	Counted    *money.Amount `json:"counted,omitempty"`
	Difference money.Amount  `json:"difference"`
}

type historyRow struct {
	Kind     string          `json:"kind"`
	Register string          `json:"register,omitempty"`
	User     string          `json:"user"`
	UserName string          `json:"user_name"`
	At       time.Time       `json:"at"`
	Place    *entry.Place    `json:"place,omitempty" doc:"Where it stands in the register's journal; absent for what was done at the centre"`
	Detail   json.RawMessage `json:"detail,omitempty"`
}

type move struct {
	ID       string       `json:"id"`
	Register string       `json:"register"`
	Method   string       `json:"method"`
	Amount   money.Amount `json:"amount"`
	Reason   string       `json:"reason"`
	Account  string       `json:"account"`
	User     string       `json:"user"`
	Note     string       `json:"note,omitempty"`
	At       time.Time    `json:"at"`
	Drop     bool         `json:"close_drop,omitempty" doc:"It left the drawer in a close-out"`
	Between  bool         `json:"between,omitempty" doc:"It was made between sessions"`
}

type count struct {
	Register string       `json:"register"`
	Method   string       `json:"method"`
	Amount   money.Amount `json:"amount"`
	Attempt  int          `json:"attempt"`
	Late     bool         `json:"late"`
	At       time.Time    `json:"at"`
	By       string       `json:"by"`
}

type stay struct {
	Register string       `json:"register"`
	Code     string       `json:"register_code"`
	User     string       `json:"user"`
	UserName string       `json:"user_name"`
	Joined   bool         `json:"joined"`
	Drawer   bool         `json:"drawer"`
	Float    money.Amount `json:"float"`
	Begun    time.Time    `json:"begun"`
	LeftAt   *time.Time   `json:"left_at,omitempty"`
}

type sessionDetail struct {
	Session
	Stays   []stay       `json:"stays" nullable:"false"`
	Drawers []drawerLine `json:"drawers" nullable:"false"`
	Methods []method     `json:"methods" nullable:"false"`
	Rescues []Session    `json:"rescues" nullable:"false"`
	RootOf  *Session     `json:"root_session,omitempty"`
	History []historyRow `json:"history" nullable:"false"`
	Counts  []count      `json:"counts" nullable:"false"`
	Moves   []move       `json:"moves" nullable:"false"`
	Flags   []flag       `json:"flags" nullable:"false"`
	Record  *pos.Close   `json:"close_record,omitempty"`
}

func detailOf(d ledger.SessionDetail) sessionDetail {
	out := sessionDetail{
		Session: sessionOf(d.SessionView), Stays: []stay{}, Drawers: []drawerLine{}, Methods: []method{}, Rescues: []Session{},
		History: []historyRow{}, Counts: []count{}, Moves: []move{}, Flags: []flag{}, Record: d.Close,
	}
	if d.RootSession != nil {
		root := rowOf(*d.RootSession)
		out.RootOf = &root
	}
	for _, s := range d.Stays {
		out.Stays = append(out.Stays, stay{
			Register: s.Register, Code: d.Codes[s.Register], User: s.User, UserName: s.UserName, Joined: s.Joined,
			Drawer: s.Drawer, Float: s.Float, Begun: timeOf(s.Begun), LeftAt: optionalTime(s.LeftAt),
		})
	}
	for _, l := range d.Drawers {
		out.Drawers = append(out.Drawers, drawerLine{
			Register: l.Register, Code: d.Codes[l.Register], Method: l.Method, Name: l.MethodName, Brought: l.Brought,
			Opening: l.Opening, OpeningDif: l.OpeningDifference(), Taken: l.Taken, Moves: l.Moves, Expected: l.Expected(),
			Counted: l.CountedNow(), Difference: l.Difference(), Drop: l.Drop, Closing: l.Closing(), Fixed: l.Fixed != nil,
		})
	}
	for _, m := range d.Methods {
		out.Methods = append(out.Methods, method(m))
	}
	for _, r := range d.Rescues {
		out.Rescues = append(out.Rescues, rowOf(r))
	}
	for _, h := range d.History {
		row := historyRow{Kind: h.Kind, Register: h.Register, User: h.User, UserName: h.UserName, At: timeOf(h.At)}
		if !h.Entry.IsZero() {
			row.Place = &h.Entry
		}
		if h.Detail != "" {
			row.Detail = json.RawMessage(h.Detail)
		}
		out.History = append(out.History, row)
	}
	for _, c := range d.Counts {
		out.Counts = append(out.Counts, count{Register: c.Register, Method: c.Method, Amount: c.Amount, Attempt: c.Attempt, Late: c.Late, At: timeOf(c.At), By: c.By})
	}
	for _, m := range d.Moves {
		out.Moves = append(out.Moves, move{
			ID: m.ID, Register: m.Register, Method: m.Method, Amount: m.Amount, Reason: m.Reason, Account: m.Account,
			User: m.User, Note: m.Note, At: timeOf(m.At), Drop: m.CloseDrop, Between: m.Between,
		})
	}
	for _, f := range d.Flags {
		out.Flags = append(out.Flags, flagOf(f))
	}
	return out
}

// SessionPath names a session.
type SessionPath struct {
	PosPath
	ID string `path:"id" maxLength:"64" doc:"Id of the session"`
}

type methodCount struct {
	Register string       `json:"register" maxLength:"64" doc:"Id of the register whose drawer was counted"`
	Method   string       `json:"method" maxLength:"64"`
	Amount   money.Amount `json:"amount"`
}

func countsOf(in []methodCount) []ledger.MethodCount {
	var out []ledger.MethodCount
	for _, c := range in {
		out = append(out, ledger.MethodCount(c))
	}
	return out
}

type closeResult struct {
	Session Session  `json:"session"`
	Posting *posting `json:"posting,omitempty" doc:"Absent where there was nothing to post"`
	Already bool     `json:"already" doc:"It had been closed before; this request has changed nothing"`
}

func closeResultOf(r ledger.CloseResult) closeResult {
	out := closeResult{Session: rowOf(r.Session), Already: r.Already}
	if r.Posting != nil {
		p := postingOf(*r.Posting)
		out.Posting = &p
	}
	return out
}

type preview struct {
	Session     Session         `json:"session"`
	Registers   []registerState `json:"registers" nullable:"false"`
	Lines       []drawerLine    `json:"lines" nullable:"false"`
	Posting     *posting        `json:"posting,omitempty" doc:"As it would be written now, not counted"`
	Unheard     bool            `json:"unheard" doc:"Entries wait or contact is lost: a count now shows their cash as a gain here and a loss in the rescue"`
	TillCounted bool            `json:"till_counted"`
	AsOf        time.Time       `json:"as_of"`
}

type registerState struct {
	Register      string        `json:"register"`
	Code          string        `json:"code"`
	LastSeen      *time.Time    `json:"last_seen,omitempty"`
	Heard         []entry.Point `json:"heard" nullable:"false" doc:"How far each epoch is in"`
	Waiting       int           `json:"waiting"`
	WaitingAmount money.Amount  `json:"waiting_amount"`
	InSession     bool          `json:"in_session"`
	Left          bool          `json:"left"`
}

func previewOf(p ledger.ClosePreview) preview {
	out := preview{
		Session: rowOf(p.Session), Registers: []registerState{}, Lines: []drawerLine{},
		Unheard: p.Unheard, TillCounted: p.TillCounted, AsOf: p.AsOf,
	}
	for _, r := range p.Registers {
		out.Registers = append(out.Registers, registerState{
			Register: r.ID, Code: r.Code, LastSeen: contactTime(r.LastSeen), Heard: list(r.Heard), Waiting: r.Waiting,
			WaitingAmount: r.WaitingAmount, InSession: r.InSession, Left: r.Left,
		})
	}
	for _, l := range p.Lines {
		out.Lines = append(out.Lines, drawerLine{
			Register: l.Register, Code: l.Code, Method: l.Method, Name: l.Name, Opening: l.Opening, Taken: l.Cash, Moves: l.Moves,
			Expected: l.Expected, Counted: l.Counted, Difference: l.Difference, Closing: l.Closing, Suggested: l.Suggested, Fixed: l.Fixed,
		})
	}
	if p.Posting != nil {
		post := postingOf(*p.Posting)
		out.Posting = &post
	}
	return out
}

func (a *API) sessionRoutes() {
	add(a, route(http.MethodGet, "/sessions", "sessions", catalogue.RoleCashier, "Sessions and rescues, newest opening first", http.StatusForbidden),
		func(ctx context.Context, in *struct {
			ListQuery
			State  string `query:"state" enum:"opening_control,opened,closing_control,closed"`
			Rescue string `query:"rescue" enum:"true,false" doc:"Only rescues, or none"`
			Name   string `query:"name" maxLength:"64" doc:"Part of the name"`
		},
		) (*body[page[Session]], error) {
			codes, err := points(actor(ctx), in.PointOfSale)
			if err != nil {
				return nil, err
			}
			after, err := parseCursor(in.After)
			if err != nil {
				return nil, err
			}
			filter := store.SessionFilter{
				PointsOfSale: codes, Rescue: optionalBool(in.Rescue), Name: in.Name,
				AfterAt: after.At, AfterID: after.ID, Limit: in.Limit,
			}
			if in.State != "" {
				filter.States = []sessions.State{sessions.State(in.State)}
			}
			views, err := a.Ledger.ListSessions(ctx, filter)
			if err != nil {
				return nil, err
			}
			out := page[Session]{Items: []Session{}}
			for _, v := range views {
				out.Items = append(out.Items, sessionOf(v))
			}
			if len(views) == in.Limit {
				last := views[len(views)-1]
				out.Next = cursor{At: last.OpenedAt, ID: last.ID}.String()
			}
			return answer(out), nil
		})
	add(a, route(http.MethodGet, "/points-of-sale/{pos}/sessions/{id}", "session", catalogue.RoleCashier, "One session with drawers, totals by method, history, moves and rescues", http.StatusNotFound),
		func(ctx context.Context, in *SessionPath) (*body[sessionDetail], error) {
			d, err := a.Ledger.Session(ctx, in.PointOfSale, in.ID)
			if err != nil {
				return nil, err
			}
			return answer(detailOf(d)), nil
		})
	add(a, route(http.MethodGet, "/points-of-sale/{pos}/sessions/{id}/close", "preview-close", catalogue.RoleManager, "What the server knows before a session or rescue is closed, and the posting as it would be", http.StatusNotFound),
		func(ctx context.Context, in *SessionPath) (*body[preview], error) {
			p, err := a.Ledger.PreviewClose(ctx, in.PointOfSale, in.ID)
			if err != nil {
				return nil, err
			}
			return answer(previewOf(p)), nil
		})
	force := route(http.MethodPost, "/points-of-sale/{pos}/sessions/{id}/close", "close-session", catalogue.RoleManager, "Close a session from the centre and post its entries", http.StatusNotFound, http.StatusConflict)
	force.Description = "Nothing changes on the cashier's screen. What arrives later for this session is booked in a rescue session. Asked twice, it closes once."
	add(a, force,
		func(ctx context.Context, in *struct {
			SessionPath
			Body struct {
				Counted bool          `json:"counted" doc:"False: closed at what is expected, not counted"`
				Counts  []methodCount `json:"counts,omitempty" maxItems:"1000"`
				Reason  string        `json:"reason" minLength:"1" maxLength:"500"`
				Key     string        `json:"key,omitempty" maxLength:"64" doc:"Idempotency key"`
			}
		},
		) (*body[closeResult], error) {
			r, err := a.Ledger.Close(ctx, ledgerActor(actor(ctx)), in.PointOfSale, in.ID, ledger.CloseRequest{
				Counted: in.Body.Counted, Counts: countsOf(in.Body.Counts), Reason: in.Body.Reason, Key: in.Body.Key,
			})
			if err != nil {
				return nil, err
			}
			return answer(closeResultOf(r)), nil
		})
	add(a, route(http.MethodPost, "/points-of-sale/{pos}/sessions/{id}/close-rescue", "close-rescue", catalogue.RoleManager, "Close session & post entries: the closing of a rescue", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *struct {
			SessionPath
			Body struct {
				Choice ledger.CountChoice `json:"choice" enum:"till,own,not_counted" doc:"The till's own count, a count made here, or none"`
				Counts []methodCount      `json:"counts,omitempty" maxItems:"1000"`
				Reason string             `json:"reason,omitempty" maxLength:"500"`
				Key    string             `json:"key,omitempty" maxLength:"64"`
			}
		},
		) (*body[closeResult], error) {
			r, err := a.Ledger.CloseRescue(ctx, ledgerActor(actor(ctx)), in.PointOfSale, in.ID, ledger.RescueRequest{
				Choice: in.Body.Choice, Counts: countsOf(in.Body.Counts), Reason: in.Body.Reason, Key: in.Body.Key,
			})
			if err != nil {
				return nil, err
			}
			return answer(closeResultOf(r)), nil
		})
}
