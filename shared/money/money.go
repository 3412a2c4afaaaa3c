// Package money holds the arithmetic of a sale: amounts, quantities, prices,
// taxes, discounts, cash rounding, change and refunds.
//
// It is pure: no clock, no input or output, no floating point. The register
// uses it to make an order and the server uses the same code to check it, so
// an order is computed once and means the same at both ends. Products of
// quantities and prices are taken in 128 bits; what does not fit 64 bits in
// the end is [ErrOverflow], never a wrapped number. Rounding is half away
// from zero everywhere.
package money

// Amount is a sum of money in minor units of the company's currency
// (cents for EUR, yen for JPY, fils for KWD). Refunds are negative.
type Amount int64

// Qty is a quantity in thousandths: 1 piece is 1000. Refunds are negative.
type Qty int64

// Price is a unit price in ten-thousandths of a major unit: 13.25 EUR is
// 132500, whatever the digits of the currency.
type Price int64

// Rate is a percentage in parts per million: 20 % is 200000.
type Rate int64

// Currency is an ISO 4217 currency with the digits of its minor unit.
type Currency struct {
	Code   string `json:"code"`
	Digits int    `json:"digits"`
}

// Discount reduces a line or an order, by a rate or by an amount; at most one
// of the two is set. An Amount is positive where it reduces a sale.
type Discount struct {
	Rate   Rate   `json:"rate,omitempty"`
	Amount Amount `json:"amount,omitempty"`
}

// Tax is one percentage tax as it stands on a line. Account is the account
// that its amount is credited to; it is carried by the line so that closing a
// session looks nothing up.
type Tax struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Rate     Rate   `json:"rate"`
	Included bool   `json:"included,omitempty"`
	Account  string `json:"account"`
}

// Rules are the settings of a company and point of sale that bear on sums.
type Rules struct {
	Currency Currency `json:"currency"`
	// TaxPerLine rounds taxes on each line; otherwise once per order.
	TaxPerLine bool `json:"tax_per_line,omitempty"`
	// CashRounding is the smallest coin in minor units (5 for 0.05); 0 or 1
	// means none.
	CashRounding Amount `json:"cash_rounding,omitempty"`
}

// Item is what is asked for on one line, before any sum is made.
type Item struct {
	Qty      Qty
	Price    Price
	Discount Discount
	Taxes    []Tax
}

// TaxSum is the amount of one tax on a line or an order.
type TaxSum struct {
	Tax    string `json:"tax"`
	Amount Amount `json:"amount"`
}

// LineSums are the sums of one line. Total = Net + Σ Taxes.
type LineSums struct {
	// Amount is quantity × price less the line's own discount, rounded once,
	// in terms of the price (with the taxes that the price includes).
	Amount Amount `json:"amount"`
	// OrderDiscount is the line's share of the order's discount; it is
	// positive where it reduces a sale.
	OrderDiscount Amount   `json:"order_discount,omitempty"`
	Net           Amount   `json:"net"`
	Taxes         []TaxSum `json:"taxes,omitempty"`
	Total         Amount   `json:"total"`
}

// Sums are the sums of an order: Total = Σ lines' Total = Net + Σ Taxes.
type Sums struct {
	Lines []LineSums `json:"lines"`
	Net   Amount     `json:"net"`
	Taxes []TaxSum   `json:"taxes,omitempty"`
	Total Amount     `json:"total"`
}

// Tender is one payment as the customer hands it over; a refund's is negative.
type Tender struct {
	Amount Amount
	Cash   bool
}

// Settlement is what a payment leaves: Σ tenders − Change = total + Rounding.
type Settlement struct {
	Rounding Amount
	Change   Amount
}
