// Package catalogue holds what flows down from the server to the registers:
// products, categories, taxes, payment methods, users, customers, reasons and
// the settings of company and point of sale, each a thing with the revision at
// which it was last changed.
//
// There is one revision per server. A delta is everything with a higher
// revision, deletions as tombstones; a checksum over the whole state tells
// whether both ends hold the same.
package catalogue

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// Kind names what a thing is.
type Kind string

// The kinds of things.
const (
	KindCompany  Kind = "company"  // Company, id "company"
	KindSettings Kind = "settings" // Settings of one point of sale, id its code
	KindRegister Kind = "register" // Register, id that of the register
	KindProduct  Kind = "product"
	KindCategory Kind = "category"
	KindTax      Kind = "tax"
	KindMethod   Kind = "method"
	KindReason   Kind = "reason"
	KindCustomer Kind = "customer"
	KindUser     Kind = "user"
)

// Company is the one company of a server.
type Company struct {
	Name       string         `json:"name"`
	Currency   money.Currency `json:"currency"`
	TaxPerLine bool           `json:"tax_per_line"`
	Accounts   Accounts       `json:"accounts"`
}

// Accounts are the company's accounts that no order, move or method carries.
type Accounts struct {
	Float      string `json:"float"`      // where a drawer's first float comes from
	Loss       string `json:"loss"`       // differences short
	Gain       string `json:"gain"`       // differences over
	Rounding   string `json:"rounding"`   // cash rounding
	Suspense   string `json:"suspense"`   // what a flagged order lacks or has too much
	Receivable string `json:"receivable"` // customers' debts
	Safe       string `json:"safe"`       // destination of drops without a reason
	Income     string `json:"income"`     // of products that name none
	Tax        string `json:"tax"`        // of taxes that name none
}

// Settings are those of one point of sale. Prices and products take effect
// between orders; methods, taxes, cash control and rounding when the register
// next opens a session.
type Settings struct {
	Code     string `json:"code"`
	Name     string `json:"name"`
	TimeZone string `json:"time_zone"` // IANA
	// CutOff is when the business day ends, in minutes after midnight.
	CutOff        int            `json:"cut_off"`
	Methods       []string       `json:"methods"` // ids of payment methods, in order
	CashControl   bool           `json:"cash_control"`
	MaxDifference money.Amount   `json:"max_difference"`
	Denominations []money.Amount `json:"denominations,omitempty"`
	CashRounding  money.Amount   `json:"cash_rounding,omitempty"`
	// DropAbove is the amount in the drawer above which a safe drop is
	// suggested; 0 never.
	DropAbove money.Amount `json:"drop_above,omitempty"`
	// MaxDiscount is the largest discount without a manager's approval.
	MaxDiscount money.Rate `json:"max_discount,omitempty"`
	Header      string     `json:"header,omitempty"`
	Footer      string     `json:"footer,omitempty"`
	Active      bool       `json:"active"`
}

// Register is a register as its point of sale knows it.
type Register struct {
	Code    string `json:"code"`
	Name    string `json:"name"`
	Drawer  bool   `json:"drawer"`
	Revoked bool   `json:"revoked,omitempty"`
}

// Product is something sold.
type Product struct {
	Code     string      `json:"code"`
	Name     string      `json:"name"`
	Category string      `json:"category,omitempty"` // id
	Price    money.Price `json:"price"`
	Taxes    []string    `json:"taxes,omitempty"` // ids
	Account  string      `json:"account,omitempty"`
	Barcodes []string    `json:"barcodes,omitempty"`
	Unit     string      `json:"unit,omitempty"`
	Active   bool        `json:"active"`
}

// Category groups products.
type Category struct {
	Name   string `json:"name"`
	Parent string `json:"parent,omitempty"`
	Order  int    `json:"order,omitempty"`
}

// Tax is a percentage tax.
type Tax struct {
	Code     string     `json:"code"`
	Name     string     `json:"name"`
	Rate     money.Rate `json:"rate"`
	Included bool       `json:"included"`
	Account  string     `json:"account,omitempty"`
}

// Method is a payment method.
type Method struct {
	Name    string         `json:"name"`
	Kind    pos.MethodKind `json:"kind"`
	Account string         `json:"account"`
	Active  bool           `json:"active"`
}

// Reason is why cash moves.
type Reason struct {
	Name    string `json:"name"`
	Account string `json:"account"`
	// Out and In say for which direction it is offered.
	Out bool `json:"out"`
	In  bool `json:"in"`
}

// Customer is a customer.
type Customer struct {
	Name  string `json:"name"`
	Email string `json:"email,omitempty"`
	Phone string `json:"phone,omitempty"`
	TaxID string `json:"tax_id,omitempty"`
}

// Role is what a user may do.
type Role string

// The roles, from least to most.
const (
	RoleCashier Role = "cashier"
	RoleManager Role = "manager"
	RoleAdmin   Role = "admin"
)

// AtLeast reports whether r may do what other may.
func (r Role) AtLeast(other Role) bool { return rank(r) >= rank(other) }

func rank(r Role) int {
	switch r {
	case RoleAdmin:
		return 3
	case RoleManager:
		return 2
	case RoleCashier:
		return 1
	}
	return 0
}

// User is a person as a register knows one. PIN is an argon2id verifier in
// PHC string form; empty means that the user cannot unlock a till.
type User struct {
	Name   string `json:"name"`
	Role   Role   `json:"role"`
	PIN    string `json:"pin,omitempty"`
	Active bool   `json:"active"`
}

// Sum is a checksum over a state of the catalogue that does not depend on the
// order in which things are added: a set hash. Adding a thing twice takes it
// out again.
type Sum [sha256.Size]byte

// Toggle adds a thing to the sum, or takes it out if it is in.
func (s *Sum) Toggle(kind, id string, revision uint64) {
	h := sha256.New()
	var n [8]byte
	for _, part := range []string{kind, id} {
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	binary.BigEndian.PutUint64(n[:], revision)
	h.Write(n[:])
	for i, b := range h.Sum(nil) {
		s[i] ^= b
	}
}

// String returns the sum in hex.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }
