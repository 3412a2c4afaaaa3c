package till

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/catalogue"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// Errors of counting and closing.
var (
	ErrNoCashControl = message.New(message.Conflict, "till.no_cash_control")
	ErrCountedTwice  = message.New(message.Conflict, "till.counted_twice")
	ErrCountLacks    = message.New(message.Invalid, "till.count_lacks")
	ErrCountUnasked  = message.New(message.Invalid, "till.count_unasked")
	ErrNotCounted    = message.New(message.Conflict, "till.not_counted")
	ErrDifference    = message.New(message.Forbidden, "till.difference")
	ErrDropTooMuch   = message.New(message.Conflict, "till.drop_too_much")
	ErrClosedOut     = message.New(message.Conflict, "till.closed_out")
)

// maxAttempts is the count and one recount.
const maxAttempts = 2

// CountOf is what was counted of one method, as a sum, by denomination, or
// both.
type CountOf struct {
	Method string
	Amount *money.Amount
	Sheet  []pos.Pile
}

// CountedMethod is what a count says of one method. It exists only after the
// count is in the journal.
type CountedMethod struct {
	Method     string         `json:"method"`
	Name       string         `json:"name"`
	Kind       pos.MethodKind `json:"kind"`
	Opening    money.Amount   `json:"opening"`
	Taken      money.Amount   `json:"taken"`
	Moves      money.Amount   `json:"moves"`
	Expected   money.Amount   `json:"expected"`
	Counted    money.Amount   `json:"counted" doc:"With what was taken and moved after the count"`
	Difference money.Amount   `json:"difference"`
}

// CountResult is what a count reveals.
type CountResult struct {
	Session       string          `json:"session"`
	Attempt       int             `json:"attempt"`
	CanRecount    bool            `json:"can_recount"`
	Methods       []CountedMethod `json:"methods"`
	MaxDifference money.Amount    `json:"max_difference"`
	NeedsApproval bool            `json:"needs_approval" doc:"A difference is above the limit"`
}

// Count journals a blind count of the session in progress. What should be
// there is told afterwards only; one recount is allowed.
func (t *Till) Count(ctx context.Context, by Actor, counts []CountOf) (CountResult, error) {
	var result CountResult
	_, err := t.commit(ctx, func(tx *journal.Tx) error {
		s, err := closing(tx)
		if err != nil {
			return err
		}
		if !s.CashControl {
			return ErrNoCashControl
		}
		if s.Attempts >= maxAttempts {
			return ErrCountedTwice
		}
		list, err := countsOf(&s, counts)
		if err != nil {
			return err
		}
		_, err = tx.Add(entry.KindCounted, t.newID(), pos.Counted{
			Session: s.Stamp, User: by.User, Counts: list, Attempt: s.Attempts + 1, Leaving: !s.Own,
		})
		if err != nil {
			return err
		}
		result, err = t.reveal(tx)
		return err
	})
	if err != nil {
		return CountResult{}, fmt.Errorf("count: %w", err)
	}
	return result, nil
}

// Counted returns what the last count revealed. [ErrNotCounted] before it.
func (t *Till) Counted(ctx context.Context) (CountResult, error) {
	var result CountResult
	err := t.journal.View(ctx, func(tx *journal.Tx) (err error) {
		result, err = t.reveal(tx)
		return err
	})
	if err != nil {
		return CountResult{}, fmt.Errorf("read the count: %w", err)
	}
	return result, nil
}

// closing returns the session that is counted and closed: the one in progress,
// or one that was closed out and is sold in since by a screen that had it open.
func closing(tx *journal.Tx) (journal.Session, error) {
	if err := refuseTraining(tx); err != nil {
		return journal.Session{}, err
	}
	s, found, err := tx.Current()
	switch {
	case err != nil:
		return journal.Session{}, err
	case !found:
		return journal.Session{}, ErrNoSession
	case !inProgressNow(&s) && s.Period.Sales+s.Period.Refunds+s.Period.Receipts == 0:
		return journal.Session{}, message.New(message.Conflict, "till.closed_out", "session", s.Name)
	}
	return s, nil
}

// counts reports whether a session's method is counted here.
func counts(s *journal.Session, m pos.Method) bool {
	return m.Kind.Counted() && (m.Kind != pos.MethodCash || s.Drawer && m.ID == s.CashMethod)
}

// countsOf checks a count: every method that is counted, once, and no other.
func countsOf(s *journal.Session, in []CountOf) ([]pos.Count, error) {
	list := []pos.Count{}
	for _, m := range s.Methods {
		if !counts(s, m) {
			continue
		}
		i := slices.IndexFunc(in, func(c CountOf) bool { return c.Method == m.ID })
		if i < 0 {
			return nil, message.New(message.Invalid, "till.count_lacks", "method", m.Name)
		}
		amount, err := counted(in[i].Amount, in[i].Sheet)
		if errors.Is(err, ErrNoFloat) {
			err = message.New(message.Invalid, "till.count_lacks", "method", m.Name)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, pos.Count{Method: m.ID, Amount: amount, Sheet: in[i].Sheet})
	}
	if len(in) != len(list) {
		return nil, ErrCountUnasked
	}
	return list, nil
}

// reveal tells what was counted and what should be there, after a count.
func (t *Till) reveal(tx *journal.Tx) (CountResult, error) {
	s, found, err := tx.Current()
	switch {
	case err != nil:
		return CountResult{}, err
	case !found:
		return CountResult{}, ErrNoSession
	case s.State != journal.Counted:
		return CountResult{}, ErrNotCounted
	}
	settings, err := t.applied(tx)
	if err != nil {
		return CountResult{}, err
	}
	return revealed(&s, settings), nil
}

func revealed(s *journal.Session, settings *Settings) CountResult {
	r := CountResult{
		Session: s.Name, Attempt: s.Attempts, CanRecount: s.Attempts < maxAttempts, Methods: []CountedMethod{},
		MaxDifference: settings.MaxDifference,
	}
	for _, m := range s.Sums {
		if m.Counted == nil {
			continue
		}
		line := CountedMethod{
			Method: m.Method, Name: m.Name, Kind: m.Kind, Opening: m.Opening, Taken: m.Taken, Moves: m.Moves,
			Expected: m.Expected(), Counted: m.Balance(), Difference: m.Balance() - m.Expected(),
		}
		r.NeedsApproval = r.NeedsApproval || line.Difference.Abs() > settings.MaxDifference
		r.Methods = append(r.Methods, line)
	}
	return r
}

// CloseRequest closes the session in progress out, or leaves a joined one.
type CloseRequest struct {
	// Leave says that a joined session is left: its own register closes it.
	Leave bool
	// Drop is what leaves the drawer, to the safe or where its reason says.
	Drop       money.Amount
	DropReason string
	// Reason and Approval are for a difference above the limit.
	Reason   string
	Approval *Approval
	// Unapproved closes above the limit without a manager: the session then
	// waits for the back office.
	Unapproved bool
	Note       string
}

// Central is a close of the session by the centre, as this register heard it.
type Central struct {
	By     pos.Person `json:"by"`
	At     time.Time  `json:"at"`
	Reason string     `json:"reason,omitempty"`
	Beyond int        `json:"beyond" doc:"Orders of this register that came after it: they are in a rescue session"`
	// Message says so in a sentence.
	Message string `json:"message"`
}

// Closing is what a close-out says.
type Closing struct {
	Session pos.Stamp       `json:"session"`
	Left    bool            `json:"left,omitempty" doc:"A joined session was left"`
	Methods []CountedMethod `json:"methods"`
	Z       pos.Z           `json:"z"`
	Central *Central        `json:"central,omitempty" doc:"The session had been closed centrally"`
	// Kept are the orders that are not paid; they wait for the next session.
	Kept []CartHeader `json:"kept"`
}

// Close closes out the session in progress with a Z report, or leaves a joined
// one with the Z of its own drawer. It works offline, and never fails because
// the session was closed centrally: then it says so.
func (t *Till) Close(ctx context.Context, by Actor, in CloseRequest) (Closing, error) {
	if err := noCardNumber(in.Reason, in.Note); err != nil {
		return Closing{}, err
	}
	if in.Drop < 0 {
		return Closing{}, ErrNegative
	}
	g, err := t.grant(ctx, by, in.Approval)
	if err != nil {
		return Closing{}, err
	}
	var out Closing
	_, err = t.commit(ctx, func(tx *journal.Tx) error {
		s, err := closing(tx)
		switch {
		case err != nil:
			return err
		case s.Own && in.Leave:
			return message.New(message.Conflict, "till.not_joined", "session", s.Name)
		case !s.Own && !in.Leave:
			return message.New(message.Conflict, "till.not_own", "session", s.Name)
		}
		out, err = t.closeOut(tx, by, &s, in, g)
		return err
	})
	if err != nil {
		return Closing{}, fmt.Errorf("close: %w", err)
	}
	t.leave(by)
	return out, nil
}

func (t *Till) closeOut(tx *journal.Tx, by Actor, s *journal.Session, in CloseRequest, g grant) (Closing, error) {
	settings, err := t.applied(tx)
	if err != nil {
		return Closing{}, err
	}
	needsCount := s.CashControl && slices.ContainsFunc(s.Methods, func(m pos.Method) bool { return counts(s, m) })
	if needsCount && s.State != journal.Counted {
		return Closing{}, ErrNotCounted
	}
	out := Closing{Session: s.Stamp, Left: !s.Own, Methods: []CountedMethod{}, Kept: []CartHeader{}}
	body := pos.Closed{Session: s.Stamp, User: by.User, Reason: in.Reason, MaxDifference: settings.MaxDifference, Note: in.Note}
	if s.State == journal.Counted {
		r := revealed(s, settings)
		out.Methods = r.Methods
		for i := range s.Sums {
			if n := s.Sums[i].Counted; n != nil {
				body.Counts = append(body.Counts, pos.Count{Method: s.Sums[i].Method, Amount: *n})
			}
		}
		if r.NeedsApproval && !in.Unapproved {
			approver, err := g.approver(in.Reason)
			if errors.Is(err, ErrApproval) {
				err = ErrDifference
			}
			if err != nil {
				return Closing{}, err
			}
			body.Approver = approver
		}
	}
	if body.Drop, err = t.dropOf(s, in); err != nil {
		return Closing{}, err
	}
	if out.Central, err = t.central(tx, s); err != nil {
		return Closing{}, err
	}
	if body.Z, err = tx.NextZ(s.ID, body.Drop); err != nil {
		return Closing{}, err
	}
	out.Z = body.Z
	if s.Own {
		_, err = tx.Add(entry.KindClosed, t.newID(), body)
	} else {
		_, err = tx.Add(entry.KindLeft, t.newID(), pos.Left(body))
	}
	if err != nil {
		return Closing{}, err
	}
	carts, err := t.carts(tx)
	for i := range carts {
		if len(carts[i].Lines) > 0 {
			out.Kept = append(out.Kept, carts[i].header())
		}
	}
	return out, err
}

// dropOf returns what leaves the drawer at a close.
func (t *Till) dropOf(s *journal.Session, in CloseRequest) (*pos.Drop, error) {
	if in.Drop == 0 {
		return nil, nil //nolint:nilnil // nothing leaves the drawer
	}
	cash, err := t.drawer(s, true)
	if err != nil {
		return nil, err
	}
	for i := range s.Sums {
		if s.Sums[i].Method == cash.ID && in.Drop > s.Sums[i].Balance() {
			return nil, ErrDropTooMuch
		}
	}
	reason, err := t.reason(MoveRequest{Amount: -in.Drop, Reason: in.DropReason, Drop: true})
	if err != nil {
		return nil, err
	}
	return &pos.Drop{Amount: in.Drop, Method: cash.ID, CashAccount: cash.Account, Reason: reason}, nil
}

// central returns what this register heard of a close by the centre.
func (t *Till) central(tx *journal.Tx, s *journal.Session) (*Central, error) {
	heard, closed, err := tx.HeardClose(s.ID)
	if err != nil || !closed || heard.CloseOut {
		return nil, err
	}
	rows, _, err := tx.Orders(journal.OrderFilter{Session: s.Name})
	if err != nil {
		return nil, err
	}
	c := &Central{By: heard.By, At: heard.At, Reason: heard.Reason}
	register := t.journal.Identity().Register
	for _, r := range rows {
		if beyond(heard.Positions, register, r.Place) {
			c.Beyond++
		}
	}
	zone := time.UTC
	if settings, ok := t.catalogue.View().Settings(); ok {
		if z, err := time.LoadLocation(settings.TimeZone); err == nil {
			zone = z
		}
	}
	key := "till.closed_centrally"
	if c.Beyond > 0 {
		key = "till.closed_centrally_beyond"
	}
	c.Message = message.Text(message.English, key, map[string]string{
		"at": heard.At.In(zone).Format("15:04"), "by": heard.By.Name, "n": strconv.Itoa(c.Beyond),
	})
	return c, nil
}

// beyond reports whether a place of a register's journal had not been heard at
// a close; an epoch without a position had not been heard at all.
func beyond(heard []pos.Position, register string, at entry.Place) bool {
	for _, p := range heard {
		if p.Register == register && p.Epoch == at.Epoch {
			return at.Seq > p.Seq
		}
	}
	return true
}

// XReport is the report of the session so far.
type XReport struct {
	Session string `json:"session"`
	Z       pos.Z  `json:"x" doc:"As a Z report, without a number"`
	// Blind says that what should be in the drawer is left out: it is told
	// after the count.
	Blind bool `json:"blind"`
}

// X returns the report of the session so far. Until the count is journalled,
// a cashier is not told what has gone through the methods that are counted.
func (t *Till) X(ctx context.Context, by Actor) (XReport, error) {
	var x XReport
	err := t.journal.View(ctx, func(tx *journal.Tx) error {
		s, found, err := tx.Current()
		switch {
		case err != nil:
			return err
		case !found:
			return ErrNoSession
		}
		x.Session = s.Name
		if x.Z, err = tx.X(s.ID); err != nil {
			return err
		}
		x.Blind = s.CashControl && s.State == journal.Selling && !by.Role.AtLeast(catalogue.RoleManager)
		if x.Blind {
			x.Z.Methods = slices.DeleteFunc(x.Z.Methods, func(m pos.ZMethod) bool {
				i := slices.IndexFunc(s.Methods, func(k pos.Method) bool { return k.ID == m.Method })
				return i < 0 || s.Methods[i].Kind.Counted()
			})
		}
		return nil
	})
	if err != nil {
		return XReport{}, fmt.Errorf("make an X report: %w", err)
	}
	return x, nil
}
