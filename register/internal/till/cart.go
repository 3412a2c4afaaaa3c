package till

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"tillandsia/register/internal/catalogue"
	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// Errors of carts.
var (
	ErrNoCart        = message.New(message.NotFound, "till.no_such_cart")
	ErrCartElsewhere = message.New(message.Conflict, "till.cart_elsewhere")
	ErrCartParked    = message.New(message.Conflict, "till.cart_parked")
	ErrCartTraining  = message.New(message.Conflict, "till.cart_training")
	ErrSold          = message.New(message.Conflict, "till.cart_sold")
	ErrNoLine        = message.New(message.NotFound, "till.no_such_line")
	ErrNoProduct     = message.New(message.NotFound, "till.no_such_product")
	ErrNoCustomer    = message.New(message.NotFound, "till.no_such_customer")
	ErrNoTax         = message.New(message.Conflict, "till.no_such_tax")
	ErrTaxChanged    = message.New(message.Conflict, "till.tax_changed")
	ErrQty           = message.New(message.Invalid, "till.bad_quantity")
	ErrPrice         = message.New(message.Invalid, "till.bad_price")
	ErrDiscount      = message.New(message.Invalid, "till.bad_discount")
	ErrAmount        = message.New(message.Invalid, "till.bad_amount")
	ErrRefundLine    = message.New(message.Conflict, "till.refund_line")
	ErrTooManyLines  = message.New(message.Conflict, "till.too_many_lines")
	ErrRefundTooMuch = message.New(message.Conflict, "till.refund_too_much")
)

// Limits of an order: it must fit into an entry of the journal.
const (
	maxLines    = 250
	maxPayments = 20
	maxAmount   = money.Amount(math.MaxInt64)
)

// Cart is an order that is not paid yet. It survives a power cut, but stands
// outside the chain; its id is the id that the order will have, so that a
// double submit sells once. Every change counts its version up.
type Cart struct {
	ID      string    `json:"id"`
	Version int       `json:"version"`
	Browser string    `json:"browser,omitempty" doc:"Whose it is; empty while it is parked"`
	Touched time.Time `json:"touched"`

	Name     string         `json:"name,omitempty"`
	Note     string         `json:"note,omitempty"`
	User     pos.Person     `json:"user" doc:"Who began it"`
	Training bool           `json:"training,omitempty"`
	Customer *pos.Customer  `json:"customer,omitempty"`
	Lines    []CartLine     `json:"lines"`
	Voided   []CartLine     `json:"voided,omitempty" doc:"Lines taken out again"`
	Discount money.Discount `json:"discount,omitzero"`
	Payments []pos.Payment  `json:"payments"`
	// Approver and Reason are of a return without a receipt.
	Approver  *pos.Person `json:"approver,omitempty"`
	Reason    string      `json:"reason,omitempty"`
	Catalogue uint64      `json:"catalogue" doc:"Revision of the catalogue that it was priced by"`
	Next      int         `json:"next" doc:"Counts the ids of lines and payments"`

	// What follows is computed with every change.
	Net   money.Amount   `json:"net"`
	Taxes []money.TaxSum `json:"taxes"`
	Total money.Amount   `json:"total"`
	// Due is what is still to be paid by anything but cash, DueCash in cash,
	// rounded to the smallest coin. Both are negative where it is given back.
	Due      money.Amount `json:"due"`
	DueCash  money.Amount `json:"due_cash"`
	Change   money.Amount `json:"change"`
	Rounding money.Amount `json:"rounding"`
	Complete bool         `json:"complete" doc:"It can be validated: what is paid fits"`
}

// CartLine is one line of a cart.
type CartLine struct {
	ID       string         `json:"id"`
	Product  string         `json:"product"`
	Code     string         `json:"code,omitempty"`
	Name     string         `json:"name"`
	Category string         `json:"category,omitempty"`
	Qty      money.Qty      `json:"qty"`
	Price    money.Price    `json:"price"`
	Discount money.Discount `json:"discount,omitzero"`
	TaxRates []money.Tax    `json:"tax_rates"`
	Account  string         `json:"account"`
	money.LineSums
	Overridden bool        `json:"overridden,omitempty"`
	Note       string      `json:"note,omitempty"`
	Refund     *RefundLine `json:"refund,omitempty"`
}

// RefundLine is what a line takes back.
type RefundLine struct {
	pos.LineRef
	SoldQty money.Qty      `json:"sold_qty"`
	Sold    money.LineSums `json:"sold"`
	// Elsewhere is how much of it the server knew to be refunded.
	Elsewhere money.Qty `json:"elsewhere,omitempty"`
}

// CartHeader is a cart in a list.
type CartHeader struct {
	ID       string       `json:"id"`
	Version  int          `json:"version"`
	Name     string       `json:"name,omitempty"`
	Browser  string       `json:"browser,omitempty"`
	User     pos.Person   `json:"user"`
	Touched  time.Time    `json:"touched"`
	Lines    int          `json:"lines"`
	Total    money.Amount `json:"total"`
	Customer string       `json:"customer,omitempty"`
	Training bool         `json:"training,omitempty"`
}

func (c *Cart) header() CartHeader {
	h := CartHeader{
		ID: c.ID, Version: c.Version, Name: c.Name, Browser: c.Browser, User: c.User, Touched: c.Touched,
		Lines: len(c.Lines), Total: c.Total, Training: c.Training,
	}
	if c.Customer != nil {
		h.Customer = c.Customer.Name
	}
	return h
}

// nextID returns an id for a line or payment, unique in the cart.
func (c *Cart) nextID() string {
	c.Next++
	return strconv.Itoa(c.Next)
}

// line returns the index of a line.
func (c *Cart) line(id string) (int, error) {
	i := slices.IndexFunc(c.Lines, func(l CartLine) bool { return l.ID == id })
	if i < 0 {
		return 0, ErrNoLine
	}
	return i, nil
}

// park takes the cart from its browser.
func (c *Cart) park(name string) {
	c.Browser = ""
	if c.Name == "" {
		c.Name = name
	}
}

// saveCart stores a cart under its next version.
func saveCart(tx *journal.Tx, c *Cart) error {
	c.Version++
	c.Touched = tx.Now().UTC()
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode cart %s: %w", c.ID, err)
	}
	return tx.SaveCart(journal.Cart{ID: c.ID, Browser: c.Browser, Version: c.Version, Data: data})
}

// compute works the sums of the cart out again: lines that take back lines of
// an order get their share of those, all others are computed together.
func (c *Cart) compute(tx *journal.Tx, settings *Settings) error {
	if err := c.checkTaxes(); err != nil {
		return err
	}
	var items []money.Item
	var at []int
	for i := range c.Lines {
		l := &c.Lines[i]
		if l.Refund != nil {
			if err := l.takeBack(tx); err != nil {
				return err
			}
			continue
		}
		items = append(items, money.Item{Qty: l.Qty, Price: l.Price, Discount: l.Discount, Taxes: l.TaxRates})
		at = append(at, i)
	}
	sums, err := money.Compute(items, c.Discount, settings.Rules)
	if err != nil {
		return moneyError(err)
	}
	for k, i := range at {
		c.Lines[i].LineSums = sums.Lines[k]
	}
	all := make([]money.LineSums, len(c.Lines))
	for i := range c.Lines {
		all[i] = c.Lines[i].LineSums
	}
	if sums, err = money.Add(all); err != nil {
		return moneyError(err)
	}
	c.Net, c.Taxes, c.Total = sums.Net, sums.Taxes, sums.Total
	if c.Taxes == nil {
		c.Taxes = []money.TaxSum{}
	}
	return c.pay(settings)
}

// pay works out what the payments leave.
func (c *Cart) pay(settings *Settings) error {
	tenders := tenders(c.Payments)
	var err error
	if c.Due, err = money.Due(c.Total, tenders, settings.Rules, false); err != nil {
		return moneyError(err)
	}
	if c.DueCash, err = money.Due(c.Total, tenders, settings.Rules, true); err != nil {
		return moneyError(err)
	}
	c.Change, c.Rounding, c.Complete = 0, 0, false
	if s, err := money.Settle(c.Total, tenders, settings.Rules); err == nil && len(c.Lines) > 0 {
		c.Change, c.Rounding, c.Complete = s.Change, s.Rounding, true
	}
	return nil
}

func tenders(payments []pos.Payment) []money.Tender {
	list := make([]money.Tender, len(payments))
	for i := range payments {
		list[i] = money.Tender{Amount: payments[i].Amount, Cash: payments[i].Kind == pos.MethodCash}
	}
	return list
}

// takeBack works out the sums of a line that refunds a line of an order.
func (l *CartLine) takeBack(tx *journal.Tx) error {
	refunded, err := tx.Refunded(l.Refund.Order)
	if err != nil {
		return err
	}
	before := max(refunded[l.Refund.Line], l.Refund.Elsewhere)
	var parts []money.LineSums
	if before > 0 {
		// What was taken back before is, however it was cut, the share of the
		// quantity taken back so far.
		part, err := money.Refund(l.Refund.Sold, l.Refund.SoldQty, nil, 0, min(before, l.Refund.SoldQty))
		if err != nil {
			return moneyError(err)
		}
		parts = append(parts, part)
	}
	if l.LineSums, err = money.Refund(l.Refund.Sold, l.Refund.SoldQty, parts, before, -l.Qty); err != nil {
		return moneyError(err)
	}
	return nil
}

// checkTaxes refuses lines that bear one tax with two rates: an order has one
// rate for each.
func (c *Cart) checkTaxes() error {
	_, err := c.taxRates()
	return err
}

// taxRates returns the taxes of all lines.
func (c *Cart) taxRates() ([]money.Tax, error) {
	var rates []money.Tax
	for i := range c.Lines {
		for _, tax := range c.Lines[i].TaxRates {
			k := slices.IndexFunc(rates, func(r money.Tax) bool { return r.ID == tax.ID })
			switch {
			case k < 0:
				rates = append(rates, tax)
			case rates[k] != tax:
				return nil, ErrTaxChanged
			}
		}
	}
	return rates, nil
}

// moneyError tells people what the arithmetic refuses.
func moneyError(err error) error {
	for from, to := range map[error]*message.Error{
		money.ErrDiscount: ErrDiscount, money.ErrOverflow: ErrAmount, money.ErrRefundTooMuch: ErrRefundTooMuch,
		money.ErrQuantity: ErrQty, money.ErrTax: ErrTaxChanged, money.ErrUnderpaid: ErrUnderpaid,
		money.ErrChangeBeyondCash: ErrOverpaid, money.ErrTender: ErrTender,
	} {
		if errors.Is(err, from) {
			return to
		}
	}
	return err
}

// editor is one change of a cart.
type editor struct {
	*Till
	tx       *journal.Tx
	by       Actor
	cart     *Cart
	session  *journal.Session
	settings *Settings
	view     *catalogue.View
}

// editor begins a change, in the session that the actor sells in.
func (t *Till) editor(tx *journal.Tx, by Actor) (*editor, error) {
	session, err := t.selling(tx, by)
	if err != nil {
		return nil, err
	}
	settings, err := t.applied(tx)
	if err != nil {
		return nil, err
	}
	return &editor{Till: t, tx: tx, by: by, session: session, settings: settings, view: t.catalogue.View()}, nil
}

// note journals something that was done to the cart.
func (e *editor) note(kind entry.Kind, event pos.Event) error {
	event.Session, event.User, event.Order = &e.session.Stamp, &e.by.User, e.cart.ID
	_, err := e.tx.Add(kind, e.newID(), event)
	return err
}

// load takes the cart that is changed, at the version that the actor saw.
func (e *editor) load(id string, version int) error {
	stored, found, err := e.tx.Cart(id)
	if err != nil {
		return err
	}
	if !found {
		if _, sold, err := e.tx.Lookup(id); err != nil {
			return err
		} else if sold {
			return ErrSold
		}
		return ErrNoCart
	}
	if version != 0 && stored.Version != version {
		return journal.ErrCartVersion
	}
	cart, err := decodeCart(stored)
	e.cart = &cart
	return err
}

// owned refuses a cart that is not in the actor's hands.
func (e *editor) owned() error {
	switch e.cart.Browser {
	case e.by.Browser:
		return nil
	case "":
		return ErrCartParked
	}
	return ErrCartElsewhere
}

// edit changes a cart: loads it, runs fn, works it out again and stores it.
func (t *Till) edit(ctx context.Context, by Actor, id string, version int, fn func(e *editor) error) (Cart, error) {
	if err := t.told(by); err != nil {
		return Cart{}, err
	}
	var cart Cart
	_, err := t.commit(ctx, func(tx *journal.Tx) error {
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
		if err := fn(e); err != nil {
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
	if err != nil {
		return Cart{}, fmt.Errorf("change cart %s: %w", id, err)
	}
	return cart, nil
}

// NewCart begins an order in the actor's browser. Its id may be given; asked
// for again it is the same cart.
func (t *Till) NewCart(ctx context.Context, by Actor, id, name string) (Cart, error) {
	if err := t.told(by); err != nil {
		return Cart{}, err
	}
	if err := noCardNumber(name); err != nil {
		return Cart{}, err
	}
	if id == "" {
		id = t.newID()
	} else if err := checkID(id); err != nil {
		return Cart{}, err
	}
	var cart Cart
	_, err := t.commit(ctx, func(tx *journal.Tx) error {
		e, err := t.editor(tx, by)
		if err != nil {
			return err
		}
		err = e.load(id, 0)
		if err == nil {
			cart = *e.cart
			if err := e.owned(); err != nil {
				return err
			}
			return errNothing
		}
		if !errors.Is(err, ErrNoCart) {
			return err
		}
		if e.cart, err = e.begin(id, name); err != nil {
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
		return Cart{}, fmt.Errorf("begin a cart: %w", err)
	}
	return cart, nil
}

// begin makes an empty cart.
func (e *editor) begin(id, name string) (*Cart, error) {
	training, err := e.tx.Training()
	if err != nil {
		return nil, err
	}
	_, revision := e.view.Revision()
	return &Cart{
		ID: id, Browser: e.by.Browser, Name: name, User: e.by.User, Training: training,
		Lines: []CartLine{}, Payments: []pos.Payment{}, Catalogue: revision,
	}, nil
}

// Carts returns the carts of the actor's browser and the parked ones, oldest
// first.
func (t *Till) Carts(ctx context.Context, by Actor) ([]CartHeader, error) {
	list := []CartHeader{}
	err := t.journal.View(ctx, func(tx *journal.Tx) error {
		carts, err := t.carts(tx)
		for i := range carts {
			if carts[i].Browser == "" || carts[i].Browser == by.Browser {
				list = append(list, carts[i].header())
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list carts: %w", err)
	}
	return list, nil
}

// Cart returns a cart of the actor's browser, or a parked one.
func (t *Till) Cart(ctx context.Context, by Actor, id string) (Cart, error) {
	var cart Cart
	err := t.journal.View(ctx, func(tx *journal.Tx) error {
		e := &editor{Till: t, tx: tx, by: by}
		if err := e.load(id, 0); err != nil {
			return err
		}
		cart = *e.cart
		if err := e.owned(); err != nil && !errors.Is(err, ErrCartParked) {
			return err
		}
		return nil
	})
	if err != nil {
		return Cart{}, fmt.Errorf("read cart %s: %w", id, err)
	}
	return cart, nil
}

// LineRequest is something sold: by product id, code or barcode. A negative
// quantity is a return without a receipt, which a manager approves, as they do
// a price of the cashier's own and a discount above the limit.
type LineRequest struct {
	Product  string
	Code     string
	Barcode  string
	Qty      money.Qty // 0 means 1 piece
	Price    *money.Price
	Discount money.Discount
	Note     string
	Reason   string
	Approval *Approval
}

// AddLine adds a line to a cart. The same product again, as it stands on the
// last line, adds to that line's quantity.
func (t *Till) AddLine(ctx context.Context, by Actor, id string, version int, in LineRequest) (Cart, error) {
	if err := noCardNumber(in.Note, in.Reason); err != nil {
		return Cart{}, err
	}
	g, err := t.grant(ctx, by, in.Approval)
	if err != nil {
		return Cart{}, err
	}
	return t.edit(ctx, by, id, version, func(e *editor) error { return e.add(in, g) })
}

func (e *editor) add(in LineRequest, g grant) error {
	product, err := e.product(in)
	if err != nil {
		return err
	}
	if in.Qty == 0 {
		in.Qty = 1000
	}
	line := CartLine{
		Product: product.ID, Code: product.Code, Name: product.Name, Category: product.Category,
		Qty: in.Qty, Price: product.Price, Account: product.Account, Note: in.Note,
	}
	if line.Account == "" {
		line.Account = e.settings.Accounts.Income
	}
	if line.TaxRates, err = e.taxes(product.Taxes); err != nil {
		return err
	}
	if _, revision := e.view.Revision(); revision > e.cart.Catalogue {
		e.cart.Catalogue = revision
	}
	if last := len(e.cart.Lines) - 1; last >= 0 && in.Price == nil && in.Discount == (money.Discount{}) && e.cart.Lines[last].takes(&line) {
		qty, err := money.CheckedAdd(money.Amount(e.cart.Lines[last].Qty), money.Amount(line.Qty))
		if err != nil {
			return ErrQty
		}
		e.cart.Lines[last].Qty = money.Qty(qty)
		return nil
	}
	if len(e.cart.Lines) >= maxLines {
		return ErrTooManyLines
	}
	line.ID = e.cart.nextID()
	if in.Qty < 0 {
		if err := e.returns(in.Reason, g); err != nil {
			return err
		}
	}
	if in.Price != nil && *in.Price != line.Price {
		if err := e.override(&line, *in.Price, in.Reason, g); err != nil {
			return err
		}
	}
	if err := e.discount(&line, in.Discount, in.Reason, g); err != nil {
		return err
	}
	e.cart.Lines = append(e.cart.Lines, line)
	return nil
}

// takes reports whether a line takes more of the same.
func (l *CartLine) takes(more *CartLine) bool {
	return l.Product == more.Product && l.Price == more.Price && l.Note == more.Note && l.Qty > 0 && more.Qty > 0 &&
		!l.Overridden && l.Refund == nil && l.Discount == (money.Discount{}) && slices.Equal(l.TaxRates, more.TaxRates)
}

func (e *editor) product(in LineRequest) (catalogue.Product, error) {
	var p catalogue.Product
	var ok bool
	switch {
	case in.Product != "":
		p, ok = e.view.Product(in.Product)
	case in.Code != "":
		p, ok = e.view.ProductByCode(in.Code)
	default:
		p, ok = e.view.ProductByBarcode(in.Barcode)
	}
	if !ok || !p.Active {
		return p, message.New(message.NotFound, "till.no_such_product", "product", strings.TrimSpace(in.Product+in.Code+in.Barcode))
	}
	return p, nil
}

// taxes returns the taxes of a product as the session began with them; one
// that came later as it stands now.
func (e *editor) taxes(ids []string) ([]money.Tax, error) {
	rates := make([]money.Tax, 0, len(ids))
	for _, id := range ids {
		if i := slices.IndexFunc(e.settings.Taxes, func(tax money.Tax) bool { return tax.ID == id }); i >= 0 {
			rates = append(rates, e.settings.Taxes[i])
			continue
		}
		tax, ok := e.view.Tax(id)
		if !ok {
			return nil, ErrNoTax
		}
		rates = append(rates, taxOf(tax, e.settings.Accounts))
	}
	return rates, nil
}

// returns notes that something is taken back without a receipt.
func (e *editor) returns(reason string, g grant) error {
	if e.cart.Approver != nil {
		return nil
	}
	approver, err := g.approver(reason)
	if err != nil {
		return err
	}
	e.cart.Approver, e.cart.Reason = approver, reason
	return nil
}

func (e *editor) override(l *CartLine, price money.Price, reason string, g grant) error {
	if price < 0 {
		return ErrPrice
	}
	approver, err := g.approver(reason)
	if err != nil {
		return err
	}
	detail := fmt.Sprintf("%s → %s", l.Price, price)
	l.Price, l.Overridden = price, true
	return e.note(entry.KindPriceOverridden, pos.Event{
		Approver: approver, Line: l.ID, Product: l.Product, Name: l.Name, Qty: l.Qty, Reason: reason, Detail: detail,
	})
}

// discount sets the discount of a line; one above the limit is approved.
func (e *editor) discount(l *CartLine, d money.Discount, reason string, g grant) error {
	l.Discount = d
	if d == (money.Discount{}) {
		return nil
	}
	sums, err := money.Compute([]money.Item{{Qty: l.Qty, Price: l.Price}}, money.Discount{}, e.settings.Rules)
	if err != nil {
		return moneyError(err)
	}
	return e.allowDiscount(d, sums.Total, pos.Event{Line: l.ID, Product: l.Product, Name: l.Name, Qty: l.Qty}, reason, g)
}

func (e *editor) allowDiscount(d money.Discount, of money.Amount, event pos.Event, reason string, g grant) error {
	if d.Rate < 0 || d.Amount < 0 || d.Rate != 0 && d.Amount != 0 {
		return ErrDiscount
	}
	if !above(d, of, e.settings.MaxDiscount) {
		return nil
	}
	approver, err := g.approver(reason)
	if err != nil {
		return err
	}
	event.Approver, event.Reason, event.Amount = approver, reason, d.Amount
	if d.Rate != 0 {
		event.Detail = d.Rate.String() + " %"
	}
	return e.note(entry.KindDiscounted, event)
}

// above reports whether a discount on an amount is above a rate.
func above(d money.Discount, of money.Amount, limit money.Rate) bool {
	if d.Rate != 0 {
		return d.Rate > limit
	}
	// amount / of > limit / 1,000,000, in 128 bits.
	hi, lo := bits.Mul64(uint64(d.Amount), 1_000_000)
	limitHi, limitLo := bits.Mul64(uint64(of.Abs()), uint64(limit))
	return hi > limitHi || hi == limitHi && lo > limitLo
}

// LineChange changes a line; nil leaves something as it is.
type LineChange struct {
	Qty      *money.Qty
	Price    *money.Price
	Discount *money.Discount
	Note     *string
	Reason   string
	Approval *Approval
}

// ChangeLine changes a line of a cart. What is taken off its quantity is an
// entry, as a line taken out is.
func (t *Till) ChangeLine(ctx context.Context, by Actor, id string, version int, line string, in LineChange) (Cart, error) {
	if in.Note != nil {
		if err := noCardNumber(*in.Note); err != nil {
			return Cart{}, err
		}
	}
	if err := noCardNumber(in.Reason); err != nil {
		return Cart{}, err
	}
	g, err := t.grant(ctx, by, in.Approval)
	if err != nil {
		return Cart{}, err
	}
	return t.edit(ctx, by, id, version, func(e *editor) error {
		i, err := e.cart.line(line)
		if err != nil {
			return err
		}
		l := &e.cart.Lines[i]
		if l.Refund != nil && (in.Price != nil || in.Discount != nil) {
			return ErrRefundLine
		}
		if in.Note != nil {
			l.Note = *in.Note
		}
		if in.Qty != nil {
			if err := e.setQty(l, *in.Qty); err != nil {
				return err
			}
		}
		if in.Price != nil && *in.Price != l.Price {
			if err := e.override(l, *in.Price, in.Reason, g); err != nil {
				return err
			}
		}
		if in.Discount != nil {
			return e.discount(l, *in.Discount, in.Reason, g)
		}
		return nil
	})
}

// setQty changes a quantity; it keeps its sign and does not become 0.
func (e *editor) setQty(l *CartLine, qty money.Qty) error {
	if qty == 0 || (qty < 0) != (l.Qty < 0) {
		return ErrQty
	}
	off := l.Qty - qty
	l.Qty = qty
	if (off > 0) != (qty > 0) || off == 0 {
		return nil
	}
	return e.note(entry.KindLineVoided, pos.Event{Line: l.ID, Product: l.Product, Name: l.Name, Qty: off})
}

// VoidLine takes a line out of a cart; that is an entry.
func (t *Till) VoidLine(ctx context.Context, by Actor, id string, version int, line string) (Cart, error) {
	return t.edit(ctx, by, id, version, func(e *editor) error {
		i, err := e.cart.line(line)
		if err != nil {
			return err
		}
		l := e.cart.Lines[i]
		e.cart.Lines = slices.Delete(e.cart.Lines, i, i+1)
		if len(e.cart.Voided) < maxLines {
			e.cart.Voided = append(e.cart.Voided, l)
		}
		return e.note(entry.KindLineVoided, pos.Event{Line: l.ID, Product: l.Product, Name: l.Name, Qty: l.Qty, Amount: l.Total})
	})
}

// CartChange changes what belongs to the whole order; nil leaves something as
// it is.
type CartChange struct {
	Name     *string
	Note     *string
	Customer *string // id; empty takes the customer off
	Discount *money.Discount
	Reason   string
	Approval *Approval
}

// ChangeCart changes name, note, customer or the discount of the whole order.
func (t *Till) ChangeCart(ctx context.Context, by Actor, id string, version int, in CartChange) (Cart, error) {
	for _, text := range []*string{in.Name, in.Note, &in.Reason} {
		if text == nil {
			continue
		}
		if err := noCardNumber(*text); err != nil {
			return Cart{}, err
		}
	}
	g, err := t.grant(ctx, by, in.Approval)
	if err != nil {
		return Cart{}, err
	}
	return t.edit(ctx, by, id, version, func(e *editor) error { return e.change(in, g) })
}

func (e *editor) change(in CartChange, g grant) error {
	c := e.cart
	if in.Name != nil {
		c.Name = *in.Name
	}
	if in.Note != nil {
		c.Note = *in.Note
	}
	if in.Customer != nil {
		c.Customer = nil
		if *in.Customer != "" {
			customer, ok := e.view.Customer(*in.Customer)
			if !ok {
				return ErrNoCustomer
			}
			c.Customer = &pos.Customer{ID: customer.ID, Name: customer.Name}
		}
	}
	if in.Discount == nil {
		return nil
	}
	c.Discount = *in.Discount
	if c.Discount == (money.Discount{}) {
		return nil
	}
	var of money.Amount
	for i := range c.Lines {
		if c.Lines[i].Refund != nil {
			continue
		}
		var err error
		if of, err = money.CheckedAdd(of, c.Lines[i].Amount); err != nil {
			return ErrAmount
		}
	}
	return e.allowDiscount(c.Discount, of, pos.Event{}, in.Reason, g)
}

// Park puts a cart aside, for any screen of this register to take up.
func (t *Till) Park(ctx context.Context, by Actor, id string, version int, name string) (Cart, error) {
	if err := noCardNumber(name); err != nil {
		return Cart{}, err
	}
	return t.edit(ctx, by, id, version, func(e *editor) error {
		if name != "" {
			e.cart.Name = name
		}
		e.cart.park(e.by.User.Name)
		return nil
	})
}

// TakeUp takes a parked cart to the actor's browser. One that is there already
// stays.
func (t *Till) TakeUp(ctx context.Context, by Actor, id string, version int) (Cart, error) {
	if err := t.told(by); err != nil {
		return Cart{}, err
	}
	var cart Cart
	_, err := t.commit(ctx, func(tx *journal.Tx) error {
		e, err := t.editor(tx, by)
		if err != nil {
			return err
		}
		if err := e.load(id, version); err != nil {
			return err
		}
		if training, err := tx.Training(); err != nil {
			return err
		} else if training != e.cart.Training {
			return ErrCartTraining
		}
		if err := e.owned(); err != nil {
			if !errors.Is(err, ErrCartParked) {
				return err
			}
			e.cart.Browser = by.Browser
			if err := e.cart.compute(tx, e.settings); err != nil {
				return err
			}
			if err := saveCart(tx, e.cart); err != nil {
				return err
			}
		}
		cart = *e.cart
		return nil
	})
	if err != nil {
		return Cart{}, fmt.Errorf("take up cart %s: %w", id, err)
	}
	return cart, nil
}

// Discard throws a cart away. One with lines or payments leaves an entry.
func (t *Till) Discard(ctx context.Context, by Actor, id string, version int) error {
	if err := t.told(by); err != nil {
		return err
	}
	_, err := t.commit(ctx, func(tx *journal.Tx) error {
		e := &editor{Till: t, tx: tx, by: by}
		if err := e.load(id, version); err != nil {
			return err
		}
		if err := e.owned(); err != nil && !errors.Is(err, ErrCartParked) {
			return err
		}
		if err := tx.DeleteCart(id); err != nil {
			return err
		}
		if len(e.cart.Lines)+len(e.cart.Voided)+len(e.cart.Payments) == 0 {
			return nil
		}
		event := pos.Event{User: &by.User, Order: id, Name: e.cart.Name, Amount: e.cart.Total, Detail: paidText(e.cart.Payments)}
		if session, found, err := tx.Current(); err != nil {
			return err
		} else if found {
			event.Session = &session.Stamp
		}
		_, err := tx.Add(entry.KindCartDiscarded, t.newID(), event)
		return err
	})
	if err != nil {
		return fmt.Errorf("discard cart %s: %w", id, err)
	}
	return nil
}

// paidText names the payments that were on a cart.
func paidText(payments []pos.Payment) string {
	var parts []string
	for _, p := range payments {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %d %s", p.Name, p.Amount, p.Reference)))
	}
	return strings.Join(parts, "; ")
}

// PaymentRequest is a tender. A nil amount is what is due.
type PaymentRequest struct {
	Method    string
	Amount    *money.Amount
	Reference string
}

// AddPayment adds a tender to a cart.
func (t *Till) AddPayment(ctx context.Context, by Actor, id string, version int, in PaymentRequest) (Cart, error) {
	if err := noCardNumber(in.Reference); err != nil {
		return Cart{}, err
	}
	return t.edit(ctx, by, id, version, func(e *editor) error { return e.tender(in) })
}

func (e *editor) tender(in PaymentRequest) error {
	c := e.cart
	if len(c.Payments) >= maxPayments {
		return ErrTooManyLines
	}
	payment, err := paymentOf(e.session, in)
	if err != nil {
		return err
	}
	if in.Amount == nil {
		payment.Amount = c.Due
		if payment.Kind == pos.MethodCash {
			payment.Amount = c.DueCash
		}
	}
	// Cash of 0 pays a remainder that rounds to 0; nothing else of 0 pays.
	if payment.Amount == 0 && (payment.Kind != pos.MethodCash || c.Due == 0) {
		return ErrAmount
	}
	payment.ID = c.nextID()
	c.Payments = append(c.Payments, payment)
	return nil
}

// paymentOf makes a payment by a method of the session.
func paymentOf(s *journal.Session, in PaymentRequest) (pos.Payment, error) {
	i := slices.IndexFunc(s.Methods, func(m pos.Method) bool { return m.ID == in.Method })
	if i < 0 {
		return pos.Payment{}, message.New(message.NotFound, "till.no_such_method", "method", in.Method)
	}
	m := s.Methods[i]
	if m.Kind == pos.MethodCash && !s.Drawer {
		return pos.Payment{}, ErrNoDrawer
	}
	p := pos.Payment{Method: m.ID, Name: m.Name, Kind: m.Kind, Account: m.Account, Reference: in.Reference}
	if in.Amount != nil {
		p.Amount = *in.Amount
	}
	return p, nil
}

// RemovePayment takes a tender back before the order is validated.
func (t *Till) RemovePayment(ctx context.Context, by Actor, id string, version int, payment string) (Cart, error) {
	return t.edit(ctx, by, id, version, func(e *editor) error {
		c := e.cart
		i := slices.IndexFunc(c.Payments, func(p pos.Payment) bool { return p.ID == payment })
		if i < 0 {
			return message.New(message.NotFound, "till.no_such_payment")
		}
		c.Payments = slices.Delete(c.Payments, i, i+1)
		return nil
	})
}
