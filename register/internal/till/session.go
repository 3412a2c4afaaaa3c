package till

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
)

// Errors of sessions.
var (
	ErrNoSession     = message.New(message.Conflict, "till.no_session")
	ErrInProgress    = message.New(message.Conflict, "till.in_progress")
	ErrScreensOpen   = message.New(message.Conflict, "till.screens_open")
	ErrNoFloat       = message.New(message.Invalid, "till.no_float")
	ErrNegative      = message.New(message.Invalid, "till.negative_amount")
	ErrSheet         = message.New(message.Invalid, "till.sheet_differs")
	ErrNotInProgress = message.New(message.NotFound, "till.no_such_session")
	ErrOwnSession    = message.New(message.Conflict, "till.own_session")
	ErrTrainingOn    = message.New(message.Conflict, "till.training_on")
)

// SessionInfo is a session as its register shows it. What should be in the
// drawer is no part of it.
type SessionInfo struct {
	pos.Stamp
	State       journal.State `json:"state" enum:"selling,counted,closed,left"`
	Own         bool          `json:"own" doc:"Opened here; otherwise joined"`
	User        pos.Person    `json:"user" doc:"Who opened or joined it here"`
	Since       time.Time     `json:"since"`
	Methods     []pos.Method  `json:"methods"`
	Drawer      bool          `json:"drawer"`
	CashControl bool          `json:"cash_control"`
	Float       money.Amount  `json:"float"`
	Orders      int           `json:"orders"`
	Attempts    int           `json:"attempts" doc:"Counts since it was opened or joined"`
}

func infoOf(s *journal.Session) *SessionInfo {
	return &SessionInfo{
		Stamp: s.Stamp, State: s.State, Own: s.Own, User: s.User, Since: s.Since, Methods: s.Methods,
		Drawer: s.Drawer, CashControl: s.CashControl, Float: s.Float, Orders: s.Orders, Attempts: s.Attempts,
	}
}

// State is where the register stands.
type State struct {
	PointOfSale string `json:"point_of_sale"`
	Name        string `json:"name,omitempty"`
	Register    string `json:"register" doc:"Code of the register"`
	Training    bool   `json:"training"`
	// Session is the one that is sold in, or was last; nil before the first.
	Session *SessionInfo `json:"session,omitempty"`
	// InProgress says that Session is open and not closed out.
	InProgress bool `json:"in_progress"`
	// Brought is the balance brought forward, to prefill the float with.
	Brought       money.Amount   `json:"brought"`
	CashControl   bool           `json:"cash_control" doc:"Whether the next session is opened and closed with a count"`
	Drawer        bool           `json:"drawer"`
	Denominations []money.Amount `json:"denominations,omitempty"`
	Currency      money.Currency `json:"currency"`
	// Elsewhere are the sessions in progress at other registers, as last told.
	Elsewhere []wire.Session `json:"elsewhere"`
	// Screens still have the closed session open.
	Screens []Screen `json:"screens"`
	// SuggestDrop says that there is more in the drawer than there should be.
	SuggestDrop bool `json:"suggest_drop"`
}

// State returns where the register stands.
func (t *Till) State(ctx context.Context, by Actor) (State, error) {
	identity := t.journal.Identity()
	s := State{PointOfSale: identity.PointOfSale, Register: identity.Code, Elsewhere: []wire.Session{}, Screens: []Screen{}}
	next, err := termsOf(t.catalogue.View(), t.clock())
	if err != nil && !errors.Is(err, ErrNoCatalogue) {
		return State{}, err
	}
	s.CashControl, s.Drawer = next.cashControl, next.drawer
	s.Currency, s.Denominations = next.settings.Rules.Currency, next.settings.Denominations
	if settings, ok := t.catalogue.View().Settings(); ok {
		s.Name = settings.Name
	}
	if t.uplink != nil {
		for _, other := range t.uplink.Sessions() {
			if other.Register != identity.Register && !other.Rescue {
				s.Elsewhere = append(s.Elsewhere, other)
			}
		}
	}
	err = t.journal.View(ctx, func(tx *journal.Tx) error {
		var err error
		if s.Training, err = tx.Training(); err != nil {
			return err
		}
		session, found, err := tx.Current()
		if err != nil {
			return err
		}
		if found {
			s.Session = infoOf(&session)
			s.InProgress = inProgressNow(&session)
		}
		if found && s.InProgress {
			applied, err := t.applied(tx)
			if err != nil {
				return err
			}
			s.SuggestDrop = suggestDrop(&session, applied)
			return nil
		}
		if next.drawer {
			if s.Brought, _, err = tx.Brought(next.cashID()); err != nil {
				return err
			}
		}
		if found {
			carts, err := t.carts(tx)
			if err != nil {
				return err
			}
			s.Screens = t.screensIn(session.ID, by.Browser, carts)
		}
		return nil
	})
	return s, err
}

func suggestDrop(s *journal.Session, settings *Settings) bool {
	if settings.DropAbove == 0 || !s.Drawer {
		return false
	}
	for i := range s.Sums {
		if s.Sums[i].Method == s.CashMethod {
			return s.Sums[i].Balance() > settings.DropAbove
		}
	}
	return false
}

// inProgressNow reports whether a session is open and not closed out here.
func inProgressNow(s *journal.Session) bool {
	return s.State == journal.Selling || s.State == journal.Counted
}

// inProgress returns the session that is open here, if any.
func inProgress(tx *journal.Tx) (s journal.Session, ok bool, err error) {
	s, found, err := tx.Current()
	return s, found && err == nil && inProgressNow(&s), err
}

// selling returns the session that a browser sells in: the one in progress, or
// one that another screen closed out and this one still has open.
func (t *Till) selling(tx *journal.Tx, by Actor) (*journal.Session, error) {
	s, found, err := tx.Current()
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, ErrNoSession
	case inProgressNow(&s):
		t.enter(by, s.ID)
	case !t.isIn(by.Browser, s.ID):
		return nil, ErrNoSession
	}
	return &s, nil
}

// OpenRequest opens or joins a session.
type OpenRequest struct {
	// Session is the id of the one to join; empty opens one.
	Session string
	// Float is what was counted into the drawer; nil takes the balance brought
	// forward. It is not asked for with cash control off.
	Float *money.Amount
	Sheet []pos.Pile
	Note  string
	// Confirm parks the unpaid orders of screens that are still in the session
	// before.
	Confirm bool
}

// Open opens a session of this register's own, or joins one of another
// register with this one's drawer. Screens that are still in the session
// before are ended: they are told at their next touch, and their unpaid orders
// are parked, which the opener confirms ([ErrScreensOpen]).
func (t *Till) Open(ctx context.Context, by Actor, in OpenRequest) (SessionInfo, error) {
	if err := noCardNumber(in.Note); err != nil {
		return SessionInfo{}, err
	}
	terms, err := termsOf(t.catalogue.View(), t.clock())
	if err != nil {
		return SessionInfo{}, err
	}
	var joined *wire.Session
	if in.Session != "" {
		if joined, err = t.elsewhere(in.Session); err != nil {
			return SessionInfo{}, err
		}
	}
	var info SessionInfo
	var ended []Screen
	_, err = t.commit(ctx, func(tx *journal.Tx) error {
		if err := refuseTraining(tx); err != nil {
			return err
		}
		old, found, err := tx.Current()
		if err != nil {
			return err
		}
		if found && inProgressNow(&old) {
			return message.New(message.Conflict, "till.in_progress", "session", old.Name)
		}
		float, brought, err := opening(tx, &terms, in)
		if err != nil {
			return err
		}
		var stamp pos.Stamp
		if joined != nil {
			stamp = joined.Stamp
			err = t.join(tx, by, stamp, &terms, in, float, brought)
		} else {
			stamp, err = t.open(tx, by, &terms, in, float, brought)
		}
		if err != nil {
			return err
		}
		if err := t.apply(tx, &stamp, by.User, &terms.settings); err != nil {
			return err
		}
		if found {
			if ended, err = t.endScreens(tx, by, &old, in.Confirm); err != nil {
				return err
			}
		}
		now, _, err := tx.Current()
		info = *infoOf(&now)
		return err
	})
	if err != nil {
		return SessionInfo{}, fmt.Errorf("open a session: %w", err)
	}
	t.end(ended, by.User, info.Name)
	t.enter(by, info.ID)
	return info, nil
}

// opening returns the float and the balance brought forward of an opening.
func opening(tx *journal.Tx, terms *terms, in OpenRequest) (float, brought money.Amount, err error) {
	if !terms.drawer {
		return 0, 0, nil
	}
	if brought, _, err = tx.Brought(terms.cashID()); err != nil {
		return 0, 0, err
	}
	if !terms.cashControl {
		return brought, brought, nil
	}
	float, err = counted(in.Float, in.Sheet)
	switch {
	case errors.Is(err, ErrNoFloat):
		float = brought
	case err != nil:
		return 0, 0, err
	}
	return float, brought, nil
}

// counted returns what was counted, as a sum, by denomination or both.
func counted(amount *money.Amount, sheet []pos.Pile) (money.Amount, error) {
	if len(sheet) == 0 {
		switch {
		case amount == nil:
			return 0, ErrNoFloat
		case *amount < 0:
			return 0, ErrNegative
		}
		return *amount, nil
	}
	var sum money.Amount
	for _, pile := range sheet {
		if pile.Value <= 0 || pile.Count < 0 {
			return 0, ErrNegative
		}
		if int64(pile.Count) > int64(maxAmount/pile.Value) {
			return 0, ErrAmount
		}
		var err error
		if sum, err = money.CheckedAdd(sum, pile.Value*money.Amount(pile.Count)); err != nil {
			return 0, ErrAmount
		}
	}
	if amount != nil && *amount != sum {
		return 0, ErrSheet
	}
	return sum, nil
}

func (t *Till) open(tx *journal.Tx, by Actor, terms *terms, in OpenRequest, float, brought money.Amount) (pos.Stamp, error) {
	name, err := tx.NextSession()
	if err != nil {
		return pos.Stamp{}, err
	}
	stamp := pos.Stamp{
		ID: t.newID(), Name: name, Register: t.journal.Identity().Register,
		By: by.User.ID, At: tx.Now().UTC(), BusinessDate: terms.date,
	}
	_, err = tx.Add(entry.KindOpened, t.newID(), pos.Opened{
		Session: stamp, User: by.User, Methods: terms.methods, Drawer: terms.drawer, CashControl: terms.cashControl,
		CashMethod: terms.cashID(), Float: float, Brought: brought, MaxDifference: terms.settings.MaxDifference,
		Sheet: in.Sheet, Note: in.Note,
	})
	return stamp, err
}

func (t *Till) join(tx *journal.Tx, by Actor, stamp pos.Stamp, terms *terms, in OpenRequest, float, brought money.Amount) error {
	_, err := tx.Add(entry.KindJoined, t.newID(), pos.Joined{
		Session: stamp, User: by.User, Methods: terms.methods, Drawer: terms.drawer, CashControl: terms.cashControl,
		CashMethod: terms.cashID(), Float: float, Brought: brought, Sheet: in.Sheet, Note: in.Note,
	})
	return err
}

// elsewhere returns a session in progress at another register, as last told.
func (t *Till) elsewhere(id string) (*wire.Session, error) {
	if t.uplink == nil {
		return nil, ErrNotInProgress
	}
	for _, s := range t.uplink.Sessions() {
		if s.ID != id || s.Rescue {
			continue
		}
		if s.Register == t.journal.Identity().Register {
			return nil, ErrOwnSession
		}
		return &s, nil
	}
	return nil, ErrNotInProgress
}

// endScreens parks the unpaid orders of the screens that are still in the old
// session and journals that they were ended.
func (t *Till) endScreens(tx *journal.Tx, by Actor, old *journal.Session, confirmed bool) ([]Screen, error) {
	carts, err := t.carts(tx)
	if err != nil {
		return nil, err
	}
	screens := t.screensIn(old.ID, by.Browser, carts)
	for _, s := range screens {
		if len(s.Unpaid) > 0 && !confirmed {
			return nil, message.New(message.Conflict, "till.screens_open", "names", namesOf(screens))
		}
	}
	for _, s := range screens {
		event := pos.Event{Session: &old.Stamp, User: &by.User, Name: s.User.Name, Detail: s.Device}
		for _, header := range s.Unpaid {
			event.Order = header.ID
			for i := range carts {
				if carts[i].ID != header.ID {
					continue
				}
				carts[i].park(s.User.Name)
				if err := saveCart(tx, &carts[i]); err != nil {
					return nil, err
				}
			}
		}
		if _, err := tx.Add(entry.KindScreensEnded, t.newID(), event); err != nil {
			return nil, err
		}
	}
	return screens, nil
}

// namesOf are the users of screens with an order that is not paid.
func namesOf(screens []Screen) string {
	var names []string
	for _, s := range screens {
		if len(s.Unpaid) > 0 {
			names = append(names, s.User.Name)
		}
	}
	return strings.Join(names, ", ")
}

// carts returns all carts, decoded. One that cannot be read, as a later
// version could have left it, is kept and passed over: it must not stand in the
// way of opening and closing.
func (t *Till) carts(tx *journal.Tx) ([]Cart, error) {
	stored, err := tx.Carts()
	if err != nil {
		return nil, err
	}
	list := make([]Cart, 0, len(stored))
	for _, s := range stored {
		c, err := decodeCart(s)
		if err != nil {
			t.log.Warn("cart cannot be read", "cart", s.ID, "error", err)
			continue
		}
		list = append(list, c)
	}
	return list, nil
}

func decodeCart(s journal.Cart) (Cart, error) {
	var c Cart
	if err := json.Unmarshal(s.Data, &c); err != nil {
		return Cart{}, fmt.Errorf("read cart %s: %w", s.ID, err)
	}
	c.ID, c.Version, c.Browser, c.Touched = s.ID, s.Version, s.Browser, s.At.UTC()
	return c, nil
}

func refuseTraining(tx *journal.Tx) error {
	on, err := tx.Training()
	if err == nil && on {
		err = ErrTrainingOn
	}
	return err
}
