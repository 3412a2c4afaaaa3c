// Package posting makes the accounting entry of a closed session: one balanced
// entry from what its orders, receipts and cash moves carry, with nothing
// looked up.
//
// What orders and receipts carry is added up as [Sum]s while they are booked
// ([OrderSums], [ReceiptSums]); [Make] turns the sums of a session, its cash
// moves and its drawer lines into the entry. It balances because every order
// does (what a flagged one lacks stands in suspense) and every other item is a
// pair. The same facts in any order, added up or not, make the same bytes
// ([Posting.Canonical]), so that a restored server's entry can be held against
// the one that was posted.
//
// The package is pure. It knows no number and no date: the caller gives both.
package posting

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// Errors of making a posting.
var (
	// ErrUnbalanced is returned where debit and credit differ; nothing is
	// posted then.
	ErrUnbalanced = errors.New("posting does not balance")
	// ErrNoAccount is returned for a line without an account.
	ErrNoAccount = errors.New("posting line without an account")
)

// Kind says what a sum adds up.
type Kind string

// The kinds of sums. Amounts are debits where it says so, else credits; either
// may be negative.
const (
	Payments    Kind = "payment"      // debit, by method: net of change and refunds
	Receivable  Kind = "receivable"   // debit, by customer: pay-later
	Receipts    Kind = "receipt"      // credit, by customer: debts paid off
	Sales       Kind = "sales"        // credit, by income account and set of taxes
	SalesRefund Kind = "sales_refund" // credit, negative
	Tax         Kind = "tax"          // credit, by tax account
	TaxRefund   Kind = "tax_refund"   // credit, negative
	Rounding    Kind = "rounding"     // credit
	Suspense    Kind = "suspense"     // credit: what was paid beyond the lines
)

// Sum is a fact of a session added up over its entries. Detail is the method,
// the customer's id or the set of taxes, by kind.
type Sum struct {
	Kind     Kind
	Account  string
	Detail   string
	Register string // whose drawer, for Payments
	Amount   money.Amount
	Count    int
}

func (s Sum) sameKey(t Sum) bool {
	return s.Kind == t.Kind && s.Account == t.Account && s.Detail == t.Detail && s.Register == t.Register
}

// TaxSet names a set of taxes: their ids, sorted, joined by "+".
func TaxSet(ids []string) string {
	return strings.Join(slices.Sorted(slices.Values(ids)), "+")
}

// OrderSums returns what an order adds to the sums of the session in which it
// is booked. Payments and lines count as they are; what they differ by is
// suspense. The order's amounts must add up without overflow, which is checked
// before it is booked.
func OrderSums(o *pos.Order, register string) []Sum {
	var sums adder
	paid := sums.payments(o.Payments, o.Change, o.ChangeMethod, register, o.Customer)
	accounts := make(map[string]string, len(o.TaxRates))
	for _, t := range o.TaxRates {
		accounts[t.ID] = t.Account
	}
	var sold money.Amount
	for i := range o.Lines {
		line := &o.Lines[i]
		sales, tax := Sales, Tax
		if line.Qty < 0 {
			sales, tax = SalesRefund, TaxRefund
		}
		sums.add(Sum{Kind: sales, Account: line.Account, Detail: TaxSet(line.TaxIDs), Amount: line.Net, Count: 1})
		sold += line.Net
		for _, t := range line.Taxes {
			sums.add(Sum{Kind: tax, Account: accounts[t.Tax], Amount: t.Amount, Count: 1})
			sold += t.Amount
		}
	}
	if o.Rounding != 0 {
		sums.add(Sum{Kind: Rounding, Account: o.RoundingAccount, Amount: o.Rounding, Count: 1})
	}
	if gap := paid - sold - o.Rounding; gap != 0 {
		sums.add(Sum{Kind: Suspense, Amount: gap, Count: 1})
	}
	return sums.sums
}

// ReceiptSums returns what a debt paid off adds to the sums.
func ReceiptSums(r *pos.Receipt, register string) []Sum {
	var sums adder
	paid := sums.payments(r.Payments, r.Change, r.ChangeMethod, register, &r.Customer)
	sums.add(Sum{Kind: Receipts, Account: r.Receivable, Detail: r.Customer.ID, Amount: r.Amount, Count: 1})
	if r.Rounding != 0 {
		sums.add(Sum{Kind: Rounding, Account: r.RoundingAccount, Amount: r.Rounding, Count: 1})
	}
	if gap := paid - r.Amount - r.Rounding; gap != 0 {
		sums.add(Sum{Kind: Suspense, Amount: gap, Count: 1})
	}
	return sums.sums
}

type adder struct{ sums []Sum }

func (a *adder) add(s Sum) {
	for i := range a.sums {
		t := &a.sums[i]
		if t.sameKey(s) {
			t.Amount += s.Amount
			t.Count += s.Count
			return
		}
	}
	a.sums = append(a.sums, s)
}

// payments adds tenders net of change and returns what they come to.
func (a *adder) payments(tenders []pos.Payment, change money.Amount, changeMethod, register string, customer *pos.Customer) money.Amount {
	var paid money.Amount
	back := changeOf(tenders, change, changeMethod)
	for i, p := range tenders {
		amount := p.Amount
		if i == back {
			amount -= change
		}
		paid += amount
		if p.Kind == pos.MethodPayLater {
			detail := ""
			if customer != nil {
				detail = customer.ID
			}
			a.add(Sum{Kind: Receivable, Account: p.Account, Detail: detail, Amount: amount, Count: 1})
			continue
		}
		a.add(Sum{Kind: Payments, Account: p.Account, Detail: p.Method, Register: register, Amount: amount, Count: 1})
	}
	return paid
}

// changeOf returns the tender that change is given back of, once: the first of
// the method that is named, else of cash, else the first; -1 where there is no
// change, or no tender to give it of.
func changeOf(tenders []pos.Payment, change money.Amount, method string) int {
	if change == 0 {
		return -1
	}
	if i := slices.IndexFunc(tenders, func(p pos.Payment) bool { return p.Method == method }); i >= 0 {
		return i
	}
	if i := slices.IndexFunc(tenders, func(p pos.Payment) bool { return p.Kind == pos.MethodCash }); i >= 0 {
		return i
	}
	return min(len(tenders), 1) - 1
}

// Move is a cash move as it is posted: in the session, in the close-out, or
// between sessions with the drawer's next line.
type Move struct {
	Register    string
	Method      string
	CashAccount string
	Account     string // of the reason
	Reason      string
	Amount      money.Amount // > 0 into the drawer
}

// Drawer is what a drawer line leaves to post.
type Drawer struct {
	Register          string
	Method            string
	Account           string // of the method
	FirstFloat        money.Amount
	OpeningDifference money.Amount
	Difference        money.Amount
}

// Accounts are the company's accounts that nothing carries.
type Accounts struct {
	Float    string
	Loss     string
	Gain     string
	Suspense string
	Rounding string
}

// Facts are all that a session's posting is made of.
type Facts struct {
	Sums     []Sum
	Moves    []Move
	Drawers  []Drawer
	Accounts Accounts
}

// Line is one line of a posting; one of Debit and Credit is 0, the other is
// positive. Label is a message key.
type Line struct {
	Account  string       `json:"account"`
	Debit    money.Amount `json:"debit"`
	Credit   money.Amount `json:"credit"`
	Label    string       `json:"label"`
	Register string       `json:"register,omitempty"`
	Method   string       `json:"method,omitempty"`
	Customer string       `json:"customer,omitempty"`
	Detail   string       `json:"detail,omitempty"`
}

// Posting is a balanced entry. Its number and date are given when it is
// written.
type Posting struct {
	Lines []Line       `json:"lines"`
	Debit money.Amount `json:"debit"` // = Σ credit
}

// Empty reports whether there is nothing to post.
func (p Posting) Empty() bool { return len(p.Lines) == 0 }

// Canonical returns the posting's lines in the form that is hashed: a line of
// text a line, its fields as length:text separated by blanks, in this order:
// account, debit, credit, label, register, method, customer, detail. Amounts
// are in minor units, lengths in bytes.
func (p Posting) Canonical() []byte {
	var b []byte
	for _, l := range p.Lines {
		fields := []string{
			l.Account, strconv.FormatInt(int64(l.Debit), 10), strconv.FormatInt(int64(l.Credit), 10),
			l.Label, l.Register, l.Method, l.Customer, l.Detail,
		}
		for i, f := range fields {
			b = strconv.AppendInt(b, int64(len(f)), 10)
			b = append(b, ':')
			b = append(b, f...)
			if i == len(fields)-1 {
				b = append(b, '\n')
			} else {
				b = append(b, ' ')
			}
		}
	}
	return b
}

// Hash returns the SHA-256 in hex of [Posting.Canonical].
func (p Posting) Hash() string {
	sum := sha256.Sum256(p.Canonical())
	return hex.EncodeToString(sum[:])
}

// kinds are the kinds in the order in which a posting has them, with the side
// of a positive amount.
var kinds = []struct {
	kind  Kind
	debit bool
}{
	{Payments, true},
	{Receivable, true},
	{Receipts, false},
	{Sales, false},
	{Tax, false},
	{SalesRefund, false},
	{TaxRefund, false},
	{Rounding, false},
	{Suspense, false},
}

// Make returns the posting of a session. Lines of 0 are left out, a line below
// zero changes sides. The order of the facts does not matter.
func Make(f Facts) (Posting, error) {
	sums, err := Add(f.Sums)
	if err != nil {
		return Posting{}, err
	}
	m := maker{suspense: f.Accounts.Suspense}
	for _, k := range kinds {
		for _, s := range sums {
			if s.Kind == k.kind {
				m.sum(s, k.debit, f.Accounts)
			}
		}
	}
	moves := slices.SortedFunc(slices.Values(f.Moves), func(a, b Move) int {
		return cmp.Or(cmp.Compare(a.Register, b.Register), cmp.Compare(a.Method, b.Method), cmp.Compare(a.CashAccount, b.CashAccount),
			cmp.Compare(a.Account, b.Account), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Amount, b.Amount))
	})
	for _, move := range moves {
		m.pair("posting.move", move.Amount, move.CashAccount, move.Account, move.Register, move.Method, move.Reason)
	}
	drawers := slices.SortedFunc(slices.Values(f.Drawers), func(a, b Drawer) int {
		return cmp.Or(cmp.Compare(a.Register, b.Register), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Account, b.Account),
			cmp.Compare(a.FirstFloat, b.FirstFloat), cmp.Compare(a.OpeningDifference, b.OpeningDifference),
			cmp.Compare(a.Difference, b.Difference))
	})
	for _, d := range drawers {
		m.pair("posting.first_float", d.FirstFloat, d.Account, f.Accounts.Float, d.Register, d.Method, "")
		m.difference("posting.opening_difference", d.OpeningDifference, d, f.Accounts)
		m.difference("posting.counting_difference", d.Difference, d, f.Accounts)
	}
	return m.posting()
}

// Add returns the sums with one for each kind, account, detail and register, in
// the order of a posting.
func Add(lists ...[]Sum) ([]Sum, error) {
	sums := slices.SortedFunc(slices.Values(slices.Concat(lists...)), func(a, b Sum) int {
		return cmp.Or(cmp.Compare(rank(a.Kind), rank(b.Kind)), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Account, b.Account),
			cmp.Compare(a.Detail, b.Detail), cmp.Compare(a.Register, b.Register))
	})
	added := sums[:0]
	for _, s := range sums {
		n := len(added) - 1
		if n < 0 || !added[n].sameKey(s) {
			added = append(added, Sum{Kind: s.Kind, Account: s.Account, Detail: s.Detail, Register: s.Register})
			n++
		}
		var err error
		if added[n].Amount, err = money.CheckedAdd(added[n].Amount, s.Amount); err != nil {
			return nil, fmt.Errorf("add %s sums: %w", s.Kind, err)
		}
		added[n].Count += s.Count
	}
	return added, nil
}

func rank(k Kind) int {
	for i, known := range kinds {
		if known.kind == k {
			return i
		}
	}
	return len(kinds)
}

type maker struct {
	suspense string
	lines    []Line
}

// put adds an amount to an account; negative amounts change sides. What a
// flagged entry names no account for stands in suspense: an account that is
// missing is seen there and never keeps a session from closing.
func (m *maker) put(l Line, debit bool, amount money.Amount) {
	if amount == 0 {
		return
	}
	if l.Account == "" {
		l.Account = m.suspense
	}
	if (amount > 0) == debit {
		l.Debit = amount.Abs()
	} else {
		l.Credit = amount.Abs()
	}
	m.lines = append(m.lines, l)
}

func (m *maker) sum(s Sum, debit bool, accounts Accounts) {
	l := Line{Account: s.Account, Label: "posting." + string(s.Kind), Register: s.Register}
	switch s.Kind {
	case Payments:
		l.Method = s.Detail
	case Receivable, Receipts:
		l.Customer = s.Detail
	case Sales, SalesRefund:
		l.Detail = s.Detail
	case Rounding:
		if l.Account == "" {
			l.Account = accounts.Rounding
		}
	case Tax, TaxRefund, Suspense:
		// They name nothing; suspense has the company's account.
	}
	m.put(l, debit, s.Amount)
}

// pair moves an amount into a drawer from an account; a negative one goes the
// other way.
func (m *maker) pair(label string, amount money.Amount, drawer, other, register, method, detail string) {
	m.put(Line{Account: drawer, Label: label, Register: register, Method: method, Detail: detail}, true, amount)
	m.put(Line{Account: other, Label: label, Detail: detail}, false, amount)
}

// difference posts what a count is off: over is a gain, short a loss.
func (m *maker) difference(label string, amount money.Amount, d Drawer, accounts Accounts) {
	other := accounts.Gain
	if amount < 0 {
		other = accounts.Loss
	}
	m.pair(label, amount, d.Account, other, d.Register, d.Method, "")
}

func (m *maker) posting() (Posting, error) {
	p := Posting{Lines: m.lines}
	var credit money.Amount
	for _, l := range m.lines {
		if l.Account == "" {
			return Posting{}, fmt.Errorf("%w: %s", ErrNoAccount, l.Label)
		}
		var err error
		if p.Debit, err = money.CheckedAdd(p.Debit, l.Debit); err != nil {
			return Posting{}, err
		}
		if credit, err = money.CheckedAdd(credit, l.Credit); err != nil {
			return Posting{}, err
		}
	}
	if p.Debit != credit {
		return Posting{}, fmt.Errorf("%w: debit %d, credit %d", ErrUnbalanced, p.Debit, credit)
	}
	return p, nil
}
