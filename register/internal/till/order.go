package till

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// Errors of paying, and of orders.
var (
	ErrEmpty           = message.New(message.Conflict, "till.empty_order")
	ErrUnderpaid       = message.New(message.Conflict, "till.underpaid")
	ErrOverpaid        = message.New(message.Conflict, "till.overpaid")
	ErrTender          = message.New(message.Conflict, "till.wrong_tender")
	ErrNoDrawer        = message.New(message.Conflict, "till.no_drawer")
	ErrCustomerNeeded  = message.New(message.Conflict, "till.customer_needed")
	ErrOrderTooLarge   = message.New(message.Conflict, "till.order_too_large")
	ErrNoOrder         = message.New(message.NotFound, "till.no_such_order")
	ErrNotRefundable   = message.New(message.Conflict, "till.not_refundable")
	ErrNothingToRefund = message.New(message.Conflict, "till.nothing_to_refund")
	ErrPruned          = message.New(message.NotFound, "till.order_pruned")
)

// Sold is an order that is paid, and where it stands in the journal: the hash
// goes on the receipt.
type Sold struct {
	Order pos.Order  `json:"order"`
	At    time.Time  `json:"at"`
	Kind  entry.Kind `json:"kind" enum:"order,training"`
	entry.Point
	// Refunded is what this register took back of each line, by line id.
	Refunded map[string]money.Qty `json:"refunded,omitempty"`
	// Again says that it was sold already when it was asked for.
	Again bool `json:"again,omitempty"`
}

// Validate sells a cart: order, payments, number and projections are one
// commit, and the answer is given only when it is durable. The order bears the
// cart's id; asked for again, by a double tap or after an answer that got
// lost, it is the same order. A version of 0 sells whatever the cart is.
func (t *Till) Validate(ctx context.Context, by Actor, id string, version int) (Sold, error) {
	var sold Sold
	_, err := t.commit(ctx, func(tx *journal.Tx) error {
		var err error
		if sold, err = again(tx, id); err == nil {
			return errNothing
		} else if !errors.Is(err, ErrNoOrder) {
			return err
		}
		if err := t.told(by); err != nil {
			return err
		}
		e, err := t.editor(tx, by)
		if err != nil {
			return err
		}
		if err := e.load(id, version); err != nil {
			return err
		}
		if err := e.owned(); err != nil {
			return err
		}
		if err := e.cart.compute(tx, e.settings); err != nil {
			return err
		}
		sold, err = e.sell()
		return err
	})
	if err != nil && !errors.Is(err, errNothing) {
		return Sold{}, fmt.Errorf("validate %s: %w", id, err)
	}
	return sold, nil
}

// again returns an order that was sold already.
func again(tx *journal.Tx, id string) (Sold, error) {
	sold, err := orderOf(tx, id)
	sold.Again = true
	return sold, err
}

// orderOf returns an order of this journal. [ErrNoOrder].
func orderOf(tx *journal.Tx, id string) (Sold, error) {
	_, e, raw, err := tx.Order(id)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		return Sold{}, ErrNoOrder
	case errors.Is(err, journal.ErrPruned):
		return Sold{}, ErrPruned
	case err != nil:
		return Sold{}, err
	}
	at := entry.Point{Epoch: e.Epoch, Seq: e.Seq, Hash: entry.HashOf(raw)}
	when := e.At
	if e.Kind == entry.KindRebased {
		wrap, err := entry.Body[pos.Rebased](&e)
		if err != nil {
			return Sold{}, err
		}
		if e, err = entry.Decode(wrap.Original); err != nil {
			return Sold{}, err
		}
		at, when = wrap.At, e.At
	}
	if e.Kind == entry.KindReceipt {
		return Sold{}, ErrNoOrder
	}
	order, err := entry.Body[pos.Order](&e)
	if err != nil {
		return Sold{}, err
	}
	refunded, err := tx.Refunded(id)
	return Sold{Order: order, At: when, Kind: e.Kind, Point: at, Refunded: refunded}, err
}

// sell makes an order of the cart, which is worked out, and journals it.
func (e *editor) sell() (Sold, error) {
	c := e.cart
	if len(c.Lines) == 0 {
		return Sold{}, ErrEmpty
	}
	training, err := e.tx.Training()
	if err != nil {
		return Sold{}, err
	}
	if training != c.Training {
		return Sold{}, ErrCartTraining
	}
	for i := range c.Payments {
		p := &c.Payments[i]
		switch {
		case p.Kind == pos.MethodCash && !e.session.Drawer:
			return Sold{}, ErrNoDrawer
		case p.Kind == pos.MethodPayLater && c.Customer == nil:
			return Sold{}, ErrCustomerNeeded
		}
	}
	settled, err := money.Settle(c.Total, tenders(c.Payments), e.settings.Rules)
	if err != nil {
		return Sold{}, moneyError(err)
	}
	order, err := e.order(settled)
	if err != nil {
		return Sold{}, err
	}
	kind, next := entry.KindOrder, e.tx.NextReceipt
	if c.Training {
		kind, next = entry.KindTraining, e.tx.NextTraining
	}
	if order.Number, order.Ordinal, order.Series, err = next(e.session.ID); err != nil {
		return Sold{}, err
	}
	at, err := e.tx.Add(kind, c.ID, order)
	if errors.Is(err, entry.ErrTooLarge) {
		return Sold{}, ErrOrderTooLarge.Wrap(err)
	}
	if err != nil {
		return Sold{}, err
	}
	return Sold{Order: order, At: e.tx.Now().UTC(), Kind: kind, Point: at}, e.tx.DeleteCart(c.ID)
}

// order makes the order of the cart, without its number.
func (e *editor) order(settled money.Settlement) (pos.Order, error) {
	c := e.cart
	rates, err := c.taxRates()
	if err != nil {
		return pos.Order{}, err
	}
	o := pos.Order{
		ID: c.ID, Session: e.session.Stamp, User: e.by.User, Approver: c.Approver, Customer: c.Customer,
		Rules: e.settings.Rules, Catalogue: c.Catalogue, Lines: make([]pos.Line, len(c.Lines)), Discount: c.Discount,
		TaxRates: rates, Net: c.Net, Taxes: c.Taxes, Total: c.Total, Payments: c.Payments,
		Change: settled.Change, Rounding: settled.Rounding, Reason: c.Reason, Note: c.Note,
	}
	for i := range c.Lines {
		l := &c.Lines[i]
		line := pos.Line{
			ID: l.ID, Product: l.Product, Code: l.Code, Name: l.Name, Category: l.Category, Qty: l.Qty, Price: l.Price,
			Discount: l.Discount, Account: l.Account, LineSums: l.LineSums, Overridden: l.Overridden, Note: l.Note,
		}
		for _, tax := range l.TaxRates {
			line.TaxIDs = append(line.TaxIDs, tax.ID)
		}
		if l.Refund != nil {
			ref := l.Refund.LineRef
			line.Refund = &ref
		}
		o.Lines[i] = line
	}
	o.RoundingAccount, o.ChangeMethod = e.cashSides(settled, c.Payments)
	return o, nil
}

// cashSides returns where rounding goes and which method gives the change.
func (e *editor) cashSides(settled money.Settlement, payments []pos.Payment) (roundingAccount, changeMethod string) {
	if settled.Rounding != 0 {
		roundingAccount = e.settings.Accounts.Rounding
	}
	if settled.Change != 0 {
		i := slices.IndexFunc(payments, func(p pos.Payment) bool { return p.Kind == pos.MethodCash })
		changeMethod = payments[i].Method
	}
	return roundingAccount, changeMethod
}

// Sale is a whole order in one request, as kiosks and other programs send it.
type Sale struct {
	// ID is the order's; sent again it sells once. Empty makes one.
	ID       string
	Lines    []LineRequest
	Payments []PaymentRequest
	Customer string
	Discount money.Discount
	Note     string
	Reason   string
	Approval *Approval
}

// Sell sells in one step: nothing is kept of it unless it is sold.
func (t *Till) Sell(ctx context.Context, by Actor, in Sale) (Sold, error) {
	texts := []string{in.Note, in.Reason}
	for i := range in.Lines {
		texts = append(texts, in.Lines[i].Note, in.Lines[i].Reason)
	}
	for i := range in.Payments {
		texts = append(texts, in.Payments[i].Reference)
	}
	if err := noCardNumber(texts...); err != nil {
		return Sold{}, err
	}
	if in.ID == "" {
		in.ID = t.newID()
	} else if err := checkID(in.ID); err != nil {
		return Sold{}, err
	}
	g, err := t.grant(ctx, by, in.Approval)
	if err != nil {
		return Sold{}, err
	}
	var sold Sold
	_, err = t.commit(ctx, func(tx *journal.Tx) error {
		var err error
		if sold, err = again(tx, in.ID); err == nil {
			return errNothing
		} else if !errors.Is(err, ErrNoOrder) {
			return err
		}
		if err := t.told(by); err != nil {
			return err
		}
		e, err := t.editor(tx, by)
		if err != nil {
			return err
		}
		if e.cart, err = e.begin(in.ID, ""); err != nil {
			return err
		}
		if err := e.fill(in, g); err != nil {
			return err
		}
		sold, err = e.sell()
		return err
	})
	if err != nil && !errors.Is(err, errNothing) {
		return Sold{}, fmt.Errorf("sell %s: %w", in.ID, err)
	}
	return sold, nil
}

func (e *editor) fill(in Sale, g grant) error {
	for _, line := range in.Lines {
		if line.Reason == "" {
			line.Reason = in.Reason
		}
		if err := e.add(line, g); err != nil {
			return err
		}
	}
	change := CartChange{Note: &in.Note, Reason: in.Reason}
	if in.Customer != "" {
		change.Customer = &in.Customer
	}
	if in.Discount != (money.Discount{}) {
		if err := e.cart.compute(e.tx, e.settings); err != nil {
			return err
		}
		change.Discount = &in.Discount
	}
	if err := e.change(change, g); err != nil {
		return err
	}
	if err := e.cart.compute(e.tx, e.settings); err != nil {
		return err
	}
	for _, payment := range in.Payments {
		if err := e.tender(payment); err != nil {
			return err
		}
		if err := e.cart.pay(e.settings); err != nil {
			return err
		}
	}
	return nil
}

// Order returns an order of this register.
func (t *Till) Order(ctx context.Context, id string) (Sold, error) {
	var sold Sold
	err := t.journal.View(ctx, func(tx *journal.Tx) (err error) {
		sold, err = orderOf(tx, id)
		return err
	})
	if err != nil {
		return Sold{}, fmt.Errorf("read order %s: %w", id, err)
	}
	return sold, nil
}

// OrderRow is an order, or a receipt of a debt, in a list.
type OrderRow struct {
	ID       string       `json:"id"`
	Kind     entry.Kind   `json:"kind" enum:"order,receipt,training"`
	At       time.Time    `json:"at"`
	Number   string       `json:"number"`
	Session  string       `json:"session" doc:"Name of the session"`
	User     string       `json:"user"`
	Customer string       `json:"customer,omitempty"`
	Total    money.Amount `json:"total"`
	Lines    int          `json:"lines"`
	Place    entry.Place  `json:"place" doc:"Where it stands in the journal; the last one's place asks for the next page"`
}

// Orders lists this register's orders, newest first, and whether there are
// older ones.
func (t *Till) Orders(ctx context.Context, f journal.OrderFilter) ([]OrderRow, bool, error) {
	list := []OrderRow{}
	if company, ok := t.catalogue.View().Company(); ok {
		f.Digits = company.Currency.Digits
	}
	var more bool
	err := t.journal.View(ctx, func(tx *journal.Tx) error {
		rows, m, err := tx.Orders(f)
		more = m
		for _, r := range rows {
			list = append(list, OrderRow{
				ID: r.Op, Kind: r.Kind, At: r.At, Number: r.Number, Session: r.Session, User: r.User,
				Customer: r.Customer, Total: r.Total, Lines: r.Lines, Place: r.Place,
			})
		}
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("list orders: %w", err)
	}
	return list, more, nil
}

// RefundRequest asks for a refund of an order's lines, by the order's id or
// receipt number. Without lines it takes back all that is left.
type RefundRequest struct {
	ID     string // of the refund; empty makes one
	Order  string
	Number string
	Lines  []RefundQty
	// Entry is the journal entry of an order of another register, given where
	// neither this one nor the server has it. Nothing here proves it: it needs
	// a manager's approval.
	Entry    []byte
	Reason   string
	Approval *Approval
}

// RefundQty is how much is taken back of a line.
type RefundQty struct {
	Line string    `json:"line"`
	Qty  money.Qty `json:"qty" minimum:"1" doc:"In thousandths"`
}

// source is an order that is refunded.
type source struct {
	order     pos.Order
	elsewhere map[string]money.Qty // refunded as the server knows it
	training  bool
	approver  *pos.Person
}

// Refund makes a cart that takes back lines of an order: of this register, or
// of another one as the server finds it. It is paid and validated like any
// other; what was taken back meanwhile is seen when it is validated.
func (t *Till) Refund(ctx context.Context, by Actor, in RefundRequest) (Cart, error) {
	if err := noCardNumber(in.Reason); err != nil {
		return Cart{}, err
	}
	if in.ID == "" {
		in.ID = t.newID()
	} else if err := checkID(in.ID); err != nil {
		return Cart{}, err
	}
	if err := t.told(by); err != nil {
		return Cart{}, err
	}
	src, err := t.source(ctx, by, in)
	if err != nil {
		return Cart{}, fmt.Errorf("refund: %w", err)
	}
	var cart Cart
	_, err = t.commit(ctx, func(tx *journal.Tx) error {
		e, err := t.editor(tx, by)
		if err != nil {
			return err
		}
		if err = e.load(in.ID, 0); err == nil {
			cart = *e.cart
			return errNothing
		} else if !errors.Is(err, ErrNoCart) {
			return err
		}
		if e.cart, err = e.begin(in.ID, ""); err != nil {
			return err
		}
		if e.cart.Training != src.training {
			return ErrCartTraining
		}
		e.cart.Customer, e.cart.Approver, e.cart.Reason = src.order.Customer, src.approver, in.Reason
		if err := e.takeBack(src, in.Lines); err != nil {
			return err
		}
		if err := e.cart.compute(tx, e.settings); err != nil {
			return err
		}
		if err := saveCart(tx, e.cart); err != nil {
			return err
		}
		cart = *e.cart
		return nil
	})
	if err != nil && !errors.Is(err, errNothing) {
		return Cart{}, fmt.Errorf("refund order %s: %w", src.order.ID, err)
	}
	return cart, nil
}

// source finds the order to refund: here, in what was given, at the server.
func (t *Till) source(ctx context.Context, by Actor, in RefundRequest) (source, error) {
	here, err := t.findHere(ctx, in.Order, in.Number)
	if err == nil {
		return source{order: here.Order, training: here.Kind == entry.KindTraining}, nil
	}
	if !errors.Is(err, ErrNoOrder) {
		return source{}, err
	}
	if len(in.Entry) > 0 {
		approver, err := t.approve(ctx, by, in.Approval, in.Reason)
		if err != nil {
			return source{}, err
		}
		order, err := decodeOrder(in.Entry)
		if err != nil || in.Order != "" && order.ID != in.Order {
			return source{}, ErrNotRefundable.Wrap(err)
		}
		return source{order: order, approver: approver}, nil
	}
	if t.uplink == nil {
		return source{}, ErrNoOrder
	}
	found, err := t.uplink.Find(ctx, in.Order, in.Number)
	if err != nil {
		return source{}, err
	}
	if len(found.Raw) == 0 {
		return source{}, ErrNoOrder
	}
	order, err := decodeOrder(found.Raw)
	if err != nil {
		return source{}, err
	}
	return source{order: order, elsewhere: found.Refunded}, nil
}

func (t *Till) findHere(ctx context.Context, id, number string) (Sold, error) {
	var sold Sold
	err := t.journal.View(ctx, func(tx *journal.Tx) error {
		if id == "" {
			rows, err := tx.OrdersByNumber(number)
			if err != nil {
				return err
			}
			if len(rows) != 1 {
				return ErrNoOrder // of two with one number the id must say which
			}
			id = rows[0].Op
		}
		var err error
		sold, err = orderOf(tx, id)
		return err
	})
	return sold, err
}

func decodeOrder(raw []byte) (pos.Order, error) {
	e, err := entry.Decode(raw)
	if err != nil {
		return pos.Order{}, err
	}
	if e.Kind != entry.KindOrder {
		return pos.Order{}, ErrNotRefundable
	}
	return entry.Body[pos.Order](&e)
}

// takeBack adds lines that refund an order.
func (e *editor) takeBack(src source, wanted []RefundQty) error {
	refunded, err := e.tx.Refunded(src.order.ID)
	if err != nil {
		return err
	}
	for _, l := range src.order.Lines {
		if l.Qty <= 0 || l.Refund != nil {
			continue
		}
		left := l.Qty - max(refunded[l.ID], src.elsewhere[l.ID])
		qty := left
		if len(wanted) > 0 {
			i := slices.IndexFunc(wanted, func(w RefundQty) bool { return w.Line == l.ID })
			if i < 0 {
				continue
			}
			qty = wanted[i].Qty
			if qty <= 0 {
				return ErrQty
			}
		}
		switch {
		case qty <= 0:
			continue
		case qty > left:
			return ErrRefundTooMuch
		}
		line := CartLine{
			ID: e.cart.nextID(), Product: l.Product, Code: l.Code, Name: l.Name, Category: l.Category, Qty: -qty,
			Price: l.Price, Discount: l.Discount, TaxRates: []money.Tax{}, Account: l.Account,
			Refund: &RefundLine{
				LineRef: pos.LineRef{Order: src.order.ID, Line: l.ID, Number: src.order.Number},
				SoldQty: l.Qty, Sold: l.LineSums, Elsewhere: src.elsewhere[l.ID],
			},
		}
		for _, id := range l.TaxIDs {
			i := slices.IndexFunc(src.order.TaxRates, func(tax money.Tax) bool { return tax.ID == id })
			if i < 0 {
				return ErrNotRefundable
			}
			line.TaxRates = append(line.TaxRates, src.order.TaxRates[i])
		}
		e.cart.Lines = append(e.cart.Lines, line)
	}
	for _, w := range wanted {
		if !slices.ContainsFunc(e.cart.Lines, func(l CartLine) bool { return l.Refund.Line == w.Line }) {
			return ErrNoLine
		}
	}
	if len(e.cart.Lines) == 0 {
		return ErrNothingToRefund
	}
	return nil
}

// Reprint is a copy of a receipt.
type Reprint struct {
	Sold
	Copy int `json:"copy" doc:"Printed on it: COPY 1, COPY 2, …"`
}

// Reprint journals that an order's receipt is printed again and returns the
// order as it stands in the journal.
func (t *Till) Reprint(ctx context.Context, by Actor, id string) (Reprint, error) {
	var r Reprint
	_, err := t.reprint(ctx, func(copies int) (journal.Result, error) {
		return t.commit(ctx, func(tx *journal.Tx) error {
			var err error
			if r.Sold, err = orderOf(tx, id); err != nil {
				return err
			}
			r.Copy = copies + 1
			event := pos.Event{User: &by.User, Order: id, Name: r.Order.Number, Copy: r.Copy}
			if session, selling, err := inProgress(tx); err != nil {
				return err
			} else if selling {
				event.Session = &session.Stamp
			}
			_, err = tx.Add(entry.KindReprinted, t.newID(), event)
			return err
		})
	}, id)
	if err != nil {
		return Reprint{}, fmt.Errorf("reprint order %s: %w", id, err)
	}
	return r, nil
}
