// Package pos holds the nouns of the point of sale as they stand in the
// journal and on the wire: orders, cash moves, sessions, counts, Z reports and
// closes, and the bodies of all kinds of entries.
//
// Amounts are in minor units of the company's currency, quantities in
// thousandths, unit prices in ten-thousandths (package money); times are UTC;
// ids are ULIDs made where the thing is made. The JSON of these types is the
// contract of the journal: fields are only added.
package pos

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"time"

	"github.com/oklog/ulid/v2"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
)

var codePattern = regexp.MustCompile(`^[A-Z0-9]{1,8}$`)

// ValidCode reports whether s can be the code of a point of sale or register.
func ValidCode(s string) bool { return codePattern.MatchString(s) }

// RescueID returns the id of the rescue of a root session with the given
// ordinal (1, 2, …): derived, so that two servers deciding at once make the
// same one.
func RescueID(root string, ordinal int) string {
	return derivedID(fmt.Sprintf("%s/%d", root, ordinal))
}

// RecoveredID returns the id of the session that stands for a foreign session
// stamped by a register that has no business in it.
func RecoveredID(session, register string) string {
	return derivedID(session + "/" + register)
}

func derivedID(of string) string {
	sum := sha256.Sum256([]byte(of))
	return ulid.ULID(sum[:16]).String()
}

// RescueName returns the name of a rescue: (RESCUE FOR SHOP1/R1/00042), from
// the second on with its ordinal.
func RescueName(root string, ordinal int) string {
	if ordinal > 1 {
		return fmt.Sprintf("(RESCUE FOR %s) #%d", root, ordinal)
	}
	return fmt.Sprintf("(RESCUE FOR %s)", root)
}

// SessionName returns the name of a register's n-th session; register is its
// code with the tag of its number series, if any (R1.K7M).
func SessionName(pointOfSale, register string, n int) string {
	return fmt.Sprintf("%s/%s/%05d", pointOfSale, register, n)
}

// ReceiptNumber returns the n-th number that a printer (a register's code with
// the tag of its series) prints in a session: SHOP1-R1-00042-0007 where the register sells in its
// own session of the same series, else SHOP1-R2-R1.00042-0003.
func ReceiptNumber(pointOfSale, printer, sessionName string, n int) string {
	owner, number := SplitSessionName(sessionName)
	if owner == printer {
		return fmt.Sprintf("%s-%s-%s-%04d", pointOfSale, printer, number, n)
	}
	return fmt.Sprintf("%s-%s-%s.%s-%04d", pointOfSale, printer, owner, number, n)
}

// SplitSessionName returns the register part and the number of a session's
// name.
func SplitSessionName(name string) (register, number string) {
	first, last := -1, -1
	for i := range len(name) {
		if name[i] == '/' {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 || first == last {
		return "", name
	}
	return name[first+1 : last], name[last+1:]
}

// Stamp names the session in which something is done, with all that the server
// needs to make that session where it never heard of it.
type Stamp struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Register     string    `json:"register"` // id of the register that opened it
	By           string    `json:"by"`       // user who opened it
	At           time.Time `json:"at"`
	BusinessDate string    `json:"business_date"` // YYYY-MM-DD in the point of sale's zone and cut-off
}

// Person is a user as an entry names one.
type Person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Customer is a customer as an order names one.
type Customer struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// MethodKind says how a payment method behaves.
type MethodKind string

// The kinds of payment methods.
const (
	MethodCash     MethodKind = "cash"      // counted, gives change, carries on from session to session
	MethodCard     MethodKind = "card"      // counted (vouchers of the terminal), with a reference
	MethodOther    MethodKind = "other"     // counted
	MethodPayLater MethodKind = "pay_later" // a customer's debt, not counted
)

// Counted reports whether money of this kind is counted at the close.
func (k MethodKind) Counted() bool { return k != MethodPayLater }

// Payment is one tender of an order or of a receipt. Amount is what was
// handed over; the change given back stands at the order and is of its cash
// method.
type Payment struct {
	ID        string       `json:"id"`
	Method    string       `json:"method"`
	Name      string       `json:"name"`
	Kind      MethodKind   `json:"kind"`
	Account   string       `json:"account"` // debited; for pay-later the receivable
	Amount    money.Amount `json:"amount"`
	Reference string       `json:"reference,omitempty"` // of a card terminal; never a card number
}

// LineRef names a line of an earlier order.
type LineRef struct {
	Order  string `json:"order"`
	Line   string `json:"line"`
	Number string `json:"number,omitempty"` // receipt number, for people
}

// Line is one line of an order. Quantities and sums of a refund are negative.
type Line struct {
	ID       string         `json:"id"`
	Product  string         `json:"product"`
	Code     string         `json:"code,omitempty"`
	Name     string         `json:"name"`
	Category string         `json:"category,omitempty"`
	Qty      money.Qty      `json:"qty"`
	Price    money.Price    `json:"price"`
	Discount money.Discount `json:"discount,omitzero"`
	// TaxIDs name the taxes of the line in the order's TaxRates.
	TaxIDs  []string `json:"tax_ids,omitempty"`
	Account string   `json:"account"` // income account, credited with Net
	money.LineSums
	Refund     *LineRef `json:"refund,omitempty"`
	Overridden bool     `json:"overridden,omitempty"` // the price was typed by right
	Note       string   `json:"note,omitempty"`
}

// Order is a sale or a refund that is paid. It is immutable.
//
// Σ Payments − Change = Total + Rounding; Total = Net + Σ Taxes = Σ lines.
type Order struct {
	ID        string         `json:"id"` // the entry's operation id
	Session   Stamp          `json:"session"`
	Number    string         `json:"number"`  // receipt number, a label
	Ordinal   int            `json:"ordinal"` // its count of this printer in this session
	Series    string         `json:"series,omitempty"`
	User      Person         `json:"user"`
	Approver  *Person        `json:"approver,omitempty"`
	Customer  *Customer      `json:"customer,omitempty"`
	Rules     money.Rules    `json:"rules"`
	Catalogue uint64         `json:"catalogue"` // revision sold by
	Lines     []Line         `json:"lines"`
	Discount  money.Discount `json:"discount,omitzero"`
	TaxRates  []money.Tax    `json:"tax_rates,omitempty"`
	Net       money.Amount   `json:"net"`
	Taxes     []money.TaxSum `json:"taxes,omitempty"`
	Total     money.Amount   `json:"total"`
	Payments  []Payment      `json:"payments"`
	Change    money.Amount   `json:"change,omitempty"`
	Rounding  money.Amount   `json:"rounding,omitempty"`
	// RoundingAccount and ChangeMethod are set where they are used.
	RoundingAccount string `json:"rounding_account,omitempty"`
	ChangeMethod    string `json:"change_method,omitempty"`
	// Reason is why a return without a receipt was taken.
	Reason string `json:"reason,omitempty"`
	Note   string `json:"note,omitempty"`
}

// Receipt is a customer's debt paid off, in cash or by card: it debits the
// payments' accounts and credits the customer's receivable.
type Receipt struct {
	ID         string       `json:"id"`
	Session    Stamp        `json:"session"`
	Number     string       `json:"number"`
	Ordinal    int          `json:"ordinal"`
	Series     string       `json:"series,omitempty"`
	User       Person       `json:"user"`
	Customer   Customer     `json:"customer"`
	Receivable string       `json:"receivable"` // account credited
	Amount     money.Amount `json:"amount"`     // Σ Payments − Change = Amount + Rounding
	Payments   []Payment    `json:"payments"`
	Change     money.Amount `json:"change,omitempty"`
	Rounding   money.Amount `json:"rounding,omitempty"`

	RoundingAccount string `json:"rounding_account,omitempty"`
	ChangeMethod    string `json:"change_method,omitempty"`
}

// Reason is why cash moves, with the account that it moves against.
type Reason struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Account string `json:"account"`
}

// Move is cash put into (Amount > 0) or taken out of (< 0) a drawer. Without a
// session it was made between sessions and is posted with the drawer's next
// line, before its opening.
type Move struct {
	ID          string       `json:"id"`
	Session     *Stamp       `json:"session,omitempty"`
	User        Person       `json:"user"`
	Approver    *Person      `json:"approver,omitempty"`
	Method      string       `json:"method"`
	CashAccount string       `json:"cash_account"`
	Amount      money.Amount `json:"amount"`
	Reason      Reason       `json:"reason"`
	Drop        bool         `json:"drop,omitempty"` // a safe drop
	Note        string       `json:"note,omitempty"`
}

// Method is a payment method as a session's settings hold it.
type Method struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Kind    MethodKind `json:"kind"`
	Account string     `json:"account"`
}

// Opened is the opening of a session by its register.
type Opened struct {
	Session Stamp    `json:"session"`
	User    Person   `json:"user"`
	Methods []Method `json:"methods"`
	// Drawer says that the register has a drawer; without one it takes no
	// cash and Float is 0.
	Drawer      bool         `json:"drawer"`
	CashControl bool         `json:"cash_control"`
	CashMethod  string       `json:"cash_method,omitempty"`
	Float       money.Amount `json:"float"`
	// Brought is the balance brought forward as the register knows it; the
	// server works out its own.
	Brought       money.Amount `json:"brought"`
	MaxDifference money.Amount `json:"max_difference"`
	Sheet         []Pile       `json:"sheet,omitempty"`
	Note          string       `json:"note,omitempty"`
}

// Joined is another register's going on in a session, with its own drawer.
// Each joining begins a new stay.
type Joined struct {
	Session     Stamp        `json:"session"`
	User        Person       `json:"user"`
	Methods     []Method     `json:"methods"`
	Drawer      bool         `json:"drawer"`
	CashControl bool         `json:"cash_control"`
	CashMethod  string       `json:"cash_method,omitempty"`
	Float       money.Amount `json:"float"`
	Brought     money.Amount `json:"brought"`
	Sheet       []Pile       `json:"sheet,omitempty"`
	Note        string       `json:"note,omitempty"`
}

// Pile is a number of notes or coins of one denomination (minor units).
type Pile struct {
	Value money.Amount `json:"value"`
	Count int          `json:"count"`
}

// Count is what was counted of one method.
type Count struct {
	Method string       `json:"method"`
	Amount money.Amount `json:"amount"`
	Sheet  []Pile       `json:"sheet,omitempty"`
}

// Counted is a blind count of this register's drawer and methods. It is
// journalled before the expected amounts are shown.
type Counted struct {
	Session Stamp   `json:"session"`
	User    Person  `json:"user"`
	Counts  []Count `json:"counts"`
	Attempt int     `json:"attempt"` // 1, or 2 for the recount
	// Leaving says that a joined register counts to leave: the session goes on.
	Leaving bool `json:"leaving,omitempty"`
}

// Drop is what leaves the drawer at the close, with its destination. Amount is
// positive.
type Drop struct {
	Amount      money.Amount `json:"amount"`
	Method      string       `json:"method"`
	CashAccount string       `json:"cash_account"`
	Reason      Reason       `json:"reason"`
}

// Closed is the close-out of a session on its own register.
type Closed struct {
	Session  Stamp   `json:"session"`
	User     Person  `json:"user"`
	Approver *Person `json:"approver,omitempty"` // of a difference above the limit
	Reason   string  `json:"reason,omitempty"`
	// Counts are those of the last count, empty where cash control is off.
	Counts []Count `json:"counts,omitempty"`
	// MaxDifference is the limit that the register closed by.
	MaxDifference money.Amount `json:"max_difference"`
	Drop          *Drop        `json:"drop,omitempty"`
	Z             Z            `json:"z"`
	Note          string       `json:"note,omitempty"`
}

// Left is a joined register's leaving of a session.
type Left struct {
	Session       Stamp        `json:"session"`
	User          Person       `json:"user"`
	Approver      *Person      `json:"approver,omitempty"`
	Reason        string       `json:"reason,omitempty"`
	Counts        []Count      `json:"counts,omitempty"`
	MaxDifference money.Amount `json:"max_difference"`
	Drop          *Drop        `json:"drop,omitempty"`
	Z             Z            `json:"z"`
	Note          string       `json:"note,omitempty"`
}

// ZMethod is a Z report's account of one payment method.
type ZMethod struct {
	Method  string        `json:"method"`
	Name    string        `json:"name"`
	Opening money.Amount  `json:"opening"`
	Taken   money.Amount  `json:"taken"` // payments less change, refunds negative
	Moves   money.Amount  `json:"moves"`
	Counted *money.Amount `json:"counted,omitempty"`
	Drop    money.Amount  `json:"drop,omitempty"`
}

// ZSums are the totals of a period or of a whole series. Sales and refunds are
// kept apart; Refunds are negative.
type ZSums struct {
	Sales        int            `json:"sales"`   // number of orders with Total ≥ 0
	Refunds      int            `json:"refunds"` // number of orders with Total < 0
	Receipts     int            `json:"receipts,omitempty"`
	SalesTotal   money.Amount   `json:"sales_total"`
	RefundsTotal money.Amount   `json:"refunds_total"`
	Net          money.Amount   `json:"net"`
	Taxes        []money.TaxSum `json:"taxes,omitempty"`
	Rounding     money.Amount   `json:"rounding,omitempty"`
	ReceiptsSum  money.Amount   `json:"receipts_sum,omitempty"`
}

// Z is the report of a close-out. It covers what this register's journal
// stamped with the session since its last Z of it.
type Z struct {
	Number    int       `json:"number"` // per register and series, from 1
	Series    string    `json:"series,omitempty"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Period    ZSums     `json:"period"`
	Perpetual ZSums     `json:"perpetual"` // of the series
	Methods   []ZMethod `json:"methods"`
	Software  string    `json:"software"`
	// First and Last are the receipt numbers covered, empty without any.
	First string `json:"first,omitempty"`
	Last  string `json:"last,omitempty"`
}

// Begun opens a journal or a new epoch of it: the nonce of this instance, also
// kept outside every backup, and the base that the epoch stands on.
type Begun struct {
	Nonce    string      `json:"nonce"`
	Base     entry.Point `json:"base"`
	Software string      `json:"software"`
	// Copy says that the journal was found to be a copy of another.
	Copy bool `json:"copy,omitempty"`
}

// SeriesBegun begins a new number series after a copy, fork or roll-back.
type SeriesBegun struct {
	Tag string `json:"tag"`
	Old string `json:"old,omitempty"`
	// LastReceipt, LastSession and LastZ are the last numbers known of the old
	// series.
	LastReceipt string `json:"last_receipt,omitempty"`
	LastSession string `json:"last_session,omitempty"`
	LastZ       int    `json:"last_z,omitempty"`
	Why         string `json:"why"`
}

// Rebased wraps an entry of a branch, its bytes unchanged. A wrap is never
// wrapped again.
type Rebased struct {
	Op       string      `json:"op"` // operation id of the original
	At       entry.Point `json:"at"` // where the original stood
	Original []byte      `json:"original"`
}

// Event is the body of the kinds that move no money and no state; fields that
// a kind does not need are left out.
type Event struct {
	Session  *Stamp       `json:"session,omitempty"`
	User     *Person      `json:"user,omitempty"`
	Approver *Person      `json:"approver,omitempty"`
	Order    string       `json:"order,omitempty"`
	Line     string       `json:"line,omitempty"`
	Product  string       `json:"product,omitempty"`
	Name     string       `json:"name,omitempty"`
	Qty      money.Qty    `json:"qty,omitempty"`
	Amount   money.Amount `json:"amount,omitempty"`
	Reason   string       `json:"reason,omitempty"`
	Copy     int          `json:"copy,omitempty"`
	Tries    int          `json:"tries,omitempty"`
	Detail   string       `json:"detail,omitempty"`
}

// Position is how far a register's epoch had been heard when a session was
// closed. What lies beyond is late by definition.
type Position struct {
	Register string `json:"register"`
	entry.Point
}

// MethodTotal is the total of one drawer line at a close.
type MethodTotal struct {
	Register   string        `json:"register"`
	Method     string        `json:"method"`
	Expected   money.Amount  `json:"expected"`
	Counted    *money.Amount `json:"counted,omitempty"`
	Difference money.Amount  `json:"difference"`
	Closing    money.Amount  `json:"closing"`
}

// Close is the record of a close, by whomever: told to every register of the
// point of sale and journalled by each that hears it, so that a restored
// server can close again from it.
type Close struct {
	Session  string    `json:"session"`
	Name     string    `json:"name"`
	Root     string    `json:"root,omitempty"` // of a rescue
	Ordinal  int       `json:"ordinal,omitempty"`
	By       Person    `json:"by"`
	At       time.Time `json:"at"`
	Reason   string    `json:"reason,omitempty"`
	CloseOut bool      `json:"close_out,omitempty"` // closed by its own register's entry
	// List holds the first 8 bytes of the content hash of every entry booked
	// in the session, sorted, joined.
	List        []byte        `json:"list,omitempty"`
	Positions   []Position    `json:"positions,omitempty"`
	Orders      int           `json:"orders"`
	Total       money.Amount  `json:"total"`
	Methods     []MethodTotal `json:"methods,omitempty"`
	Posting     string        `json:"posting,omitempty"` // number; empty where nothing was posted
	PostingHash string        `json:"posting_hash,omitempty"`
	Digest      string        `json:"digest"`
	// Before are the ids of the closes that this one stands on: of a rescue,
	// those of its root and of the rescues before it.
	Before []string `json:"before,omitempty"`
}
