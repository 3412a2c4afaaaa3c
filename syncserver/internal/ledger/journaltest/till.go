// Package journaltest fabricates the journals of registers for tests: a [Till]
// opens, sells, counts and closes in memory and makes the raw entries, chained
// as a register makes them. It imposes nothing: it writes what the test asks
// for, sense or nonsense. It is for tests of the server only.
package journaltest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"time"

	"github.com/oklog/ulid/v2"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// Amount is [money.Amount].
type Amount = money.Amount

// Accounts and ids that the fabricated entries carry.
const (
	Cash       = "cash"
	Card       = "card"
	PayLater   = "pay-later"
	CashAcct   = "assets:cash"
	CardAcct   = "assets:card"
	Receivable = "assets:receivable"
	SalesAcct  = "income:sales"
	TaxAcct    = "liabilities:tax"
	SafeAcct   = "assets:safe"
	RoundAcct  = "expenses:cash rounding"
	Product    = "coffee"
	VAT        = "vat20"
)

// Methods are the payment methods of a fabricated session.
var Methods = []pos.Method{
	{ID: Cash, Name: "Cash", Kind: pos.MethodCash, Account: CashAcct},
	{ID: Card, Name: "Card", Kind: pos.MethodCard, Account: CardAcct},
	{ID: PayLater, Name: "Pay later", Kind: pos.MethodPayLater, Account: Receivable},
}

// Tax is the tax of a fabricated order: 20 %, included.
var Tax = money.Tax{ID: VAT, Name: "VAT 20 %", Rate: 200_000, Included: true, Account: TaxAcct}

// Safe is the destination of drops.
var Safe = pos.Reason{ID: "safe", Name: "To the safe", Account: SafeAcct}

// Till is a register's journal in memory.
type Till struct {
	PointOfSale string
	Code        string
	Register    string // id
	Nonce       string
	User        pos.Person
	Drawer      bool
	CashControl bool
	// MaxDifference is the limit that close-outs bear.
	MaxDifference money.Amount
	// At is the till's clock; each entry moves it on by a second.
	At time.Time

	// Epoch is written now, standing on Base; Head is its last entry.
	Epoch uint64
	Base  entry.Point
	Head  entry.Point
	// Raw are the entries of the epoch, the first is number 1.
	Raw [][]byte
	// Session is what the till stamps its sales with, nil between sessions.
	Session *pos.Stamp
	// Float is the last opening or joining float.
	Float money.Amount

	sessions int
	orders   map[string]int
	seed     uint64
	zs       map[string]*pos.Z // by session
	zNumber  int
	zTotal   pos.ZSums
}

// New returns a till that has begun its journal: its first entry is there.
func New(pointOfSale, register, code string) *Till {
	t := &Till{
		PointOfSale: pointOfSale, Code: code, Register: register, Nonce: "nonce-" + register, Drawer: true, CashControl: true,
		MaxDifference: 500, User: pos.Person{ID: "anna", Name: "Anna"},
		At:    time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC),
		Epoch: 1, Head: entry.Point{Epoch: 1}, orders: map[string]int{}, zs: map[string]*pos.Z{},
	}
	t.Append(entry.KindBegun, pos.Begun{Nonce: t.Nonce, Software: "journaltest"})
	return t
}

// Clone returns an independent copy: a fork of the journal.
func (t *Till) Clone() *Till {
	c := *t
	c.Raw = append([][]byte(nil), t.Raw...)
	c.orders, c.zs = map[string]int{}, map[string]*pos.Z{}
	maps.Copy(c.orders, t.orders)
	for k, v := range t.zs {
		z := *v
		c.zs[k] = &z
	}
	c.seed += 1 << 32
	return &c
}

// Renew returns the till with a new epoch on its head, whose first entry is
// there; it goes on in the session of the old one.
func (t *Till) Renew(epoch uint64) *Till {
	n := t.Clone()
	n.Epoch, n.Base = epoch, t.Head
	n.Nonce = fmt.Sprintf("%s/%d", t.Nonce, epoch)
	n.Raw, n.Head = nil, entry.Point{Epoch: epoch, Hash: t.Head.Hash}
	n.Append(entry.KindBegun, pos.Begun{Nonce: n.Nonce, Base: n.Base, Software: "journaltest"})
	return n
}

// ID returns the next id of this till, a ULID that is the same in every run.
func (t *Till) ID() string {
	t.seed++
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", t.Register, t.seed))
	id := ulid.ULID(sum[:16])
	if err := id.SetTime(ulid.Timestamp(t.At)); err != nil {
		panic(err)
	}
	return id.String()
}

// Append writes an entry with a new operation id and returns its hash.
func (t *Till) Append(kind entry.Kind, body any) entry.Hash {
	return t.AppendOp(t.ID(), kind, body)
}

// AppendOp writes an entry with the operation id given.
func (t *Till) AppendOp(op string, kind entry.Kind, body any) entry.Hash {
	t.At = t.At.Add(time.Second)
	raw, hash, err := entry.Make(entry.Entry{
		PointOfSale: t.PointOfSale, Register: t.Register, Epoch: t.Epoch, Seq: t.Head.Seq + 1,
		Op: op, Prev: t.Head.Hash, At: t.At, Kind: kind,
	}, body)
	if err != nil {
		panic(fmt.Sprintf("make %s entry: %v", kind, err))
	}
	t.Head = entry.Point{Epoch: t.Epoch, Seq: t.Head.Seq + 1, Hash: hash}
	t.Raw = append(t.Raw, raw)
	return hash
}

// Since returns the entries from sequence first on, at most n (0: all).
func (t *Till) Since(first uint64, n int) [][]byte {
	raw := t.Raw[first-1:]
	if n > 0 && len(raw) > n {
		raw = raw[:n]
	}
	return raw
}

// Place returns the place of the last entry.
func (t *Till) Place() entry.Place { return t.Head.Place() }

// Open opens a session of the till's own.
func (t *Till) Open(float money.Amount) pos.Stamp {
	t.sessions++
	return t.OpenAs(pos.SessionName(t.PointOfSale, t.Code, t.sessions), float)
}

// OpenAs opens a session with a name of its own.
func (t *Till) OpenAs(name string, float money.Amount) pos.Stamp {
	stamp := pos.Stamp{
		ID: t.ID(), Name: name, Register: t.Register, By: t.User.ID, At: t.At.Add(time.Second),
		BusinessDate: t.At.Format(time.DateOnly),
	}
	t.Session, t.Float = &stamp, float
	t.Append(entry.KindOpened, pos.Opened{
		Session: stamp, User: t.User, Methods: Methods, Drawer: t.Drawer, CashControl: t.CashControl,
		CashMethod: Cash, Float: float, MaxDifference: t.MaxDifference,
	})
	return stamp
}

// Join goes on in another register's session.
func (t *Till) Join(s pos.Stamp, float money.Amount) {
	t.Session, t.Float = &s, float
	t.Append(entry.KindJoined, pos.Joined{
		Session: s, User: t.User, Methods: Methods, Drawer: t.Drawer, CashControl: t.CashControl,
		CashMethod: Cash, Float: float,
	})
}

// Order makes an order of one line for the total given, paid by one method; a
// negative total is a refund without a receipt. It is not written yet.
func (t *Till) Order(total money.Amount, method string) pos.Order {
	net := divide(int64(total)*1_000_000, 1_200_000)
	taxes := []money.TaxSum{{Tax: VAT, Amount: total - net}}
	qty := money.Qty(1000)
	price := money.Price(total) * 100
	if total < 0 {
		qty, price = -qty, -price
	}
	m := MethodOf(method)
	o := pos.Order{
		ID: t.ID(), User: t.User, Rules: money.Rules{Currency: money.Currency{Code: "EUR", Digits: 2}},
		Lines: []pos.Line{{
			ID: t.ID(), Product: Product, Name: "Coffee", Qty: qty, Price: price, TaxIDs: []string{VAT}, Account: SalesAcct,
			LineSums: money.LineSums{Amount: total, Net: net, Taxes: taxes, Total: total},
		}},
		TaxRates: []money.Tax{Tax}, Net: net, Taxes: taxes, Total: total,
		Payments: []pos.Payment{{ID: t.ID(), Method: m.ID, Name: m.Name, Kind: m.Kind, Account: m.Account, Amount: total}},
	}
	if total < 0 {
		o.Reason = "returned"
		o.Approver = &pos.Person{ID: "max", Name: "Max"}
	}
	if m.Kind == pos.MethodPayLater {
		o.Customer = &pos.Customer{ID: "c1", Name: "Clara"}
	}
	return o
}

// MethodOf returns a payment method by id.
func MethodOf(id string) pos.Method {
	for _, m := range Methods {
		if m.ID == id {
			return m
		}
	}
	return pos.Method{ID: id, Name: id, Kind: pos.MethodOther, Account: "assets:" + id}
}

func divide(a, b int64) money.Amount {
	half := b / 2
	if a < 0 {
		half = -half
	}
	return money.Amount((a + half) / b)
}

// Stamp gives an order the till's session and the next receipt number.
func (t *Till) Stamp(o pos.Order) pos.Order {
	o.Session = *t.Session
	t.orders[o.Session.ID]++
	o.Ordinal = t.orders[o.Session.ID]
	o.Number = pos.ReceiptNumber(t.PointOfSale, t.Code, o.Session.Name, o.Ordinal)
	return o
}

// Write writes an order as it is.
func (t *Till) Write(o pos.Order) pos.Order {
	t.AppendOp(o.ID, entry.KindOrder, o)
	t.zAdd(o)
	return o
}

// Sell sells for a total, paid by one method, and returns the order.
func (t *Till) Sell(total money.Amount, method string) pos.Order {
	return t.Write(t.Stamp(t.Order(total, method)))
}

// SellCash sells for cash with change.
func (t *Till) SellCash(total, tendered money.Amount) pos.Order {
	o := t.Order(total, Cash)
	o.Payments[0].Amount = tendered
	o.Change = tendered - total
	if o.Change != 0 {
		o.ChangeMethod = Cash
	}
	return t.Write(t.Stamp(o))
}

// Refund takes the whole of an order of one line back.
func (t *Till) Refund(of pos.Order, method string) pos.Order {
	o := t.Order(-of.Total, method)
	o.Reason, o.Approver = "", nil
	o.Lines[0].Refund = &pos.LineRef{Order: of.ID, Line: of.Lines[0].ID, Number: of.Number}
	return t.Write(t.Stamp(o))
}

// PayOff takes a customer's debt in.
func (t *Till) PayOff(amount money.Amount, method string) pos.Receipt {
	m := MethodOf(method)
	t.orders[t.Session.ID]++
	n := t.orders[t.Session.ID]
	r := pos.Receipt{
		ID: t.ID(), Session: *t.Session, Ordinal: n, Number: pos.ReceiptNumber(t.PointOfSale, t.Code, t.Session.Name, n),
		User: t.User, Customer: pos.Customer{ID: "c1", Name: "Clara"}, Receivable: Receivable, Amount: amount,
		Payments: []pos.Payment{{ID: t.ID(), Method: m.ID, Name: m.Name, Kind: m.Kind, Account: m.Account, Amount: amount}},
	}
	t.AppendOp(r.ID, entry.KindReceipt, r)
	z := t.z(r.Session.ID)
	z.Period.Receipts++
	z.Period.ReceiptsSum += amount
	return r
}

// Move puts cash in (> 0) or takes it out (< 0), between sessions where none is
// open.
func (t *Till) Move(amount money.Amount) pos.Move {
	m := pos.Move{
		ID: t.ID(), Session: t.Session, User: t.User, Method: Cash, CashAccount: CashAcct, Amount: amount,
		Reason: Safe, Drop: amount < 0,
	}
	t.AppendOp(m.ID, entry.KindMove, m)
	return m
}

// Counts makes a count of cash, and of card where it is given.
func Counts(cash money.Amount, card ...money.Amount) []pos.Count {
	c := []pos.Count{{Method: Cash, Amount: cash}}
	for _, amount := range card {
		c = append(c, pos.Count{Method: Card, Amount: amount})
	}
	return c
}

// Count journals a count.
func (t *Till) Count(counts []pos.Count) {
	t.Append(entry.KindCounted, pos.Counted{
		Session: *t.Session, User: t.User, Counts: counts, Attempt: 1, Leaving: t.Session.Register != t.Register,
	})
}

// CloseOut counts and closes the till's session, or leaves the one it joined,
// with a drop to the safe.
func (t *Till) CloseOut(counts []pos.Count, drop money.Amount) {
	if counts != nil {
		t.Count(counts)
	}
	t.Finish(counts, drop, nil)
}

// Finish closes or leaves without counting first.
func (t *Till) Finish(counts []pos.Count, drop money.Amount, approver *pos.Person) {
	var d *pos.Drop
	if drop != 0 {
		d = &pos.Drop{Amount: drop, Method: Cash, CashAccount: CashAcct, Reason: Safe}
	}
	s := *t.Session
	z := t.takeZ(s.ID)
	if s.Register == t.Register {
		t.Append(entry.KindClosed, pos.Closed{
			Session: s, User: t.User, Approver: approver, Counts: counts, MaxDifference: t.MaxDifference, Drop: d, Z: z,
		})
	} else {
		t.Append(entry.KindLeft, pos.Left{
			Session: s, User: t.User, Approver: approver, Counts: counts, MaxDifference: t.MaxDifference, Drop: d, Z: z,
		})
	}
	t.Session = nil
}

// Continued journals that another user goes on in the session.
func (t *Till) Continued(user pos.Person) {
	t.User = user
	t.Append(entry.KindContinued, pos.Event{Session: t.Session, User: &user})
}

// Hear journals a close that the server told.
func (t *Till) Hear(c pos.Close) { t.Append(entry.KindClose, c) }

// Wrap journals the entry of a branch, unchanged inside.
func (t *Till) Wrap(raw []byte) {
	e, err := entry.Decode(raw)
	if err != nil {
		panic(err)
	}
	t.Append(entry.KindRebased, pos.Rebased{Op: e.Op, At: entry.Point{Epoch: e.Epoch, Seq: e.Seq, Hash: entry.HashOf(raw)}, Original: raw})
}

func (t *Till) z(session string) *pos.Z {
	if t.zs[session] == nil {
		t.zs[session] = &pos.Z{}
	}
	return t.zs[session]
}

func (t *Till) zAdd(o pos.Order) {
	z := t.z(o.Session.ID)
	if o.Total < 0 {
		z.Period.Refunds++
		z.Period.RefundsTotal += o.Total
	} else {
		z.Period.Sales++
		z.Period.SalesTotal += o.Total
	}
	z.Period.Net += o.Net
	z.Period.Rounding += o.Rounding
	for _, tax := range o.Taxes {
		z.Period.Taxes = addTax(z.Period.Taxes, tax)
	}
}

func addTax(list []money.TaxSum, tax money.TaxSum) []money.TaxSum {
	for i := range list {
		if list[i].Tax == tax.Tax {
			list[i].Amount += tax.Amount
			return list
		}
	}
	return append(list, tax)
}

// takeZ returns the Z of a session and begins the next one.
func (t *Till) takeZ(session string) pos.Z {
	z := *t.z(session)
	t.zNumber++
	z.Number = t.zNumber
	z.To = t.At
	z.Software = "journaltest"
	t.zTotal.Sales += z.Period.Sales
	t.zTotal.SalesTotal += z.Period.SalesTotal
	z.Perpetual = t.zTotal
	delete(t.zs, session)
	return z
}
