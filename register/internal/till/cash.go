package till

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// Errors of cash moves and debts.
var (
	ErrNoReason   = message.New(message.NotFound, "till.no_such_reason")
	ErrWrongWay   = message.New(message.Conflict, "till.reason_direction")
	ErrDebtByDebt = message.New(message.Conflict, "till.debt_by_debt")
	ErrIDTaken    = message.New(message.Conflict, "till.id_taken")
)

// MoveRequest is cash put in (Amount > 0) or taken out (< 0), with a reason of
// the catalogue. A drop goes to the safe where it names no reason.
type MoveRequest struct {
	ID     string // empty makes one; sent again it moves once
	Amount money.Amount
	Reason string
	Drop   bool
	Note   string
}

// Moved is a cash move in the journal.
type Moved struct {
	Move  pos.Move `json:"move"`
	Again bool     `json:"again,omitempty"`
}

// Move puts cash into the drawer or takes some out. Between sessions it is in
// the balance brought forward.
func (t *Till) Move(ctx context.Context, by Actor, in MoveRequest) (Moved, error) {
	if err := noCardNumber(in.Note); err != nil {
		return Moved{}, err
	}
	if in.Amount == 0 || in.Drop && in.Amount > 0 {
		return Moved{}, ErrAmount
	}
	if in.ID == "" {
		in.ID = t.newID()
	} else if err := checkID(in.ID); err != nil {
		return Moved{}, err
	}
	var moved Moved
	_, err := t.commit(ctx, func(tx *journal.Tx) error {
		if known, err := earlier(tx, in.ID, entry.KindMove, &moved.Move); err != nil {
			return err
		} else if known {
			moved.Again = true
			return errNothing
		}
		if err := refuseTraining(tx); err != nil {
			return err
		}
		move := pos.Move{ID: in.ID, User: by.User, Amount: in.Amount, Drop: in.Drop, Note: in.Note}
		session, selling, err := inProgress(tx)
		if err != nil {
			return err
		}
		cash, err := t.drawer(&session, selling)
		if err != nil {
			return err
		}
		move.Method, move.CashAccount = cash.ID, cash.Account
		if selling {
			stamp := session.Stamp
			move.Session = &stamp
		}
		if move.Reason, err = t.reason(in); err != nil {
			return err
		}
		moved.Move = move
		_, err = tx.Add(entry.KindMove, in.ID, move)
		return err
	})
	if err != nil && !errors.Is(err, errNothing) {
		return Moved{}, fmt.Errorf("move cash: %w", err)
	}
	return moved, nil
}

// earlier reads the body of an operation that is in the journal already.
func earlier[T any](tx *journal.Tx, op string, kind entry.Kind, into *T) (bool, error) {
	at, known, err := tx.Lookup(op)
	if err != nil || !known {
		return false, err
	}
	e, _, err := tx.Entry(at.Place())
	if err != nil {
		return false, err
	}
	if e.Kind != kind {
		return false, ErrIDTaken
	}
	*into, err = entry.Body[T](&e)
	return true, err
}

// drawer returns the cash method of the session in progress, or of the next.
func (t *Till) drawer(s *journal.Session, selling bool) (pos.Method, error) {
	if selling {
		i := slices.IndexFunc(s.Methods, func(m pos.Method) bool { return m.ID == s.CashMethod })
		if !s.Drawer || i < 0 {
			return pos.Method{}, ErrNoDrawer
		}
		return s.Methods[i], nil
	}
	next, err := termsOf(t.catalogue.View(), t.clock())
	if err != nil {
		return pos.Method{}, err
	}
	if !next.drawer {
		return pos.Method{}, ErrNoDrawer
	}
	return *next.cashMethod, nil
}

// reason returns why cash moves.
func (t *Till) reason(in MoveRequest) (pos.Reason, error) {
	view := t.catalogue.View()
	if in.Reason == "" && in.Drop {
		company, ok := view.Company()
		if !ok {
			return pos.Reason{}, ErrNoCatalogue
		}
		return pos.Reason{ID: "safe", Name: message.Text(message.English, "till.safe", nil), Account: company.Accounts.Safe}, nil
	}
	r, ok := view.Reason(in.Reason)
	switch {
	case !ok:
		return pos.Reason{}, ErrNoReason
	case in.Amount < 0 && !r.Out, in.Amount > 0 && !r.In:
		return pos.Reason{}, ErrWrongWay
	}
	return pos.Reason{ID: r.ID, Name: r.Name, Account: r.Account}, nil
}

// OpenDrawer opens the drawer without a sale, which a manager approves.
func (t *Till) OpenDrawer(ctx context.Context, by Actor, reason string, with *Approval) error {
	if err := noCardNumber(reason); err != nil {
		return err
	}
	approver, err := t.approve(ctx, by, with, reason)
	if err != nil {
		return err
	}
	_, err = t.commit(ctx, func(tx *journal.Tx) error {
		if err := refuseTraining(tx); err != nil {
			return err
		}
		session, selling, err := inProgress(tx)
		if err != nil {
			return err
		}
		if _, err := t.drawer(&session, selling); err != nil {
			return err
		}
		event := pos.Event{User: &by.User, Approver: approver, Reason: reason}
		if selling {
			event.Session = &session.Stamp
		}
		_, err = tx.Add(entry.KindDrawerOpened, t.newID(), event)
		return err
	})
	if err != nil {
		return fmt.Errorf("open the drawer: %w", err)
	}
	return nil
}

// DebtRequest pays off what a customer owes.
type DebtRequest struct {
	ID       string // empty makes one; sent again it is received once
	Customer string
	Amount   money.Amount
	Payments []PaymentRequest
}

// Received is a receipt of a debt in the journal.
type Received struct {
	Receipt pos.Receipt `json:"receipt"`
	Again   bool        `json:"again,omitempty"`
}

// ReceiveDebt takes money for sales that were to be paid later.
func (t *Till) ReceiveDebt(ctx context.Context, by Actor, in DebtRequest) (Received, error) {
	for i := range in.Payments {
		if err := noCardNumber(in.Payments[i].Reference); err != nil {
			return Received{}, err
		}
	}
	if in.Amount <= 0 {
		return Received{}, ErrAmount
	}
	if in.ID == "" {
		in.ID = t.newID()
	} else if err := checkID(in.ID); err != nil {
		return Received{}, err
	}
	if err := t.told(by); err != nil {
		return Received{}, err
	}
	var received Received
	_, err := t.commit(ctx, func(tx *journal.Tx) error {
		if known, err := earlier(tx, in.ID, entry.KindReceipt, &received.Receipt); err != nil {
			return err
		} else if known {
			received.Again = true
			return errNothing
		}
		if err := refuseTraining(tx); err != nil {
			return err
		}
		e, err := t.editor(tx, by)
		if err != nil {
			return err
		}
		received.Receipt, err = e.receive(in)
		return err
	})
	if err != nil && !errors.Is(err, errNothing) {
		return Received{}, fmt.Errorf("receive a debt: %w", err)
	}
	return received, nil
}

func (e *editor) receive(in DebtRequest) (pos.Receipt, error) {
	customer, ok := e.view.Customer(in.Customer)
	if !ok {
		return pos.Receipt{}, ErrNoCustomer
	}
	r := pos.Receipt{
		ID: in.ID, Session: e.session.Stamp, User: e.by.User, Customer: pos.Customer{ID: customer.ID, Name: customer.Name},
		Receivable: e.receivable(), Amount: in.Amount, Payments: []pos.Payment{},
	}
	for i, p := range in.Payments {
		payment, err := paymentOf(e.session, p)
		if err != nil {
			return pos.Receipt{}, err
		}
		if payment.Kind == pos.MethodPayLater {
			return pos.Receipt{}, ErrDebtByDebt
		}
		if p.Amount == nil {
			if payment.Amount, err = money.Due(in.Amount, tenders(r.Payments), e.settings.Rules, payment.Kind == pos.MethodCash); err != nil {
				return pos.Receipt{}, moneyError(err)
			}
		}
		payment.ID = fmt.Sprint(i + 1)
		r.Payments = append(r.Payments, payment)
	}
	settled, err := money.Settle(in.Amount, tenders(r.Payments), e.settings.Rules)
	if err != nil {
		return pos.Receipt{}, moneyError(err)
	}
	r.Change, r.Rounding = settled.Change, settled.Rounding
	r.RoundingAccount, r.ChangeMethod = e.cashSides(settled, r.Payments)
	if r.Number, r.Ordinal, r.Series, err = e.tx.NextReceipt(e.session.ID); err != nil {
		return pos.Receipt{}, err
	}
	_, err = e.tx.Add(entry.KindReceipt, in.ID, r)
	return r, err
}

// receivable is the account that pay-later sales were debited to.
func (e *editor) receivable() string {
	for _, m := range e.session.Methods {
		if m.Kind == pos.MethodPayLater {
			return m.Account
		}
	}
	return e.settings.Accounts.Receivable
}

// SetTraining turns training mode on or off, which a manager does. It is
// refused while an order is open on a screen.
func (t *Till) SetTraining(ctx context.Context, by Actor, on bool, with *Approval) error {
	g, err := t.grant(ctx, by, with)
	if err != nil {
		return err
	}
	if g.person == nil {
		return ErrManager
	}
	_, err = t.commit(ctx, func(tx *journal.Tx) error {
		was, err := tx.Training()
		if err != nil {
			return err
		}
		if was == on {
			return errNothing
		}
		carts, err := t.carts(tx)
		if err != nil {
			return err
		}
		for i := range carts {
			if carts[i].Browser != "" && len(carts[i].Lines) > 0 {
				return message.New(message.Conflict, "till.training_open_order", "name", carts[i].User.Name)
			}
		}
		event := pos.Event{User: &by.User, Approver: g.person}
		if session, selling, err := inProgress(tx); err != nil {
			return err
		} else if selling {
			event.Session = &session.Stamp
		}
		kind := entry.KindTrainingOff
		if on {
			kind = entry.KindTrainingOn
		}
		_, err = tx.Add(kind, t.newID(), event)
		return err
	})
	if err != nil && !errors.Is(err, errNothing) {
		return fmt.Errorf("switch training: %w", err)
	}
	return nil
}
