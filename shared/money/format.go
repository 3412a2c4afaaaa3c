package money

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrFormat is returned for text that is no number of the kind asked for.
var ErrFormat = errors.New("not a number of this kind")

// Digits of the fixed kinds.
const (
	qtyDigits   = 3
	priceDigits = 4
	rateDigits  = 4 // of a percentage: parts per million
)

// Format returns a as a plain decimal with all of the currency's digits and no
// grouping: -1234.50. Digits that no currency has are taken as none.
func (c Currency) Format(a Amount) string {
	digits := c.Digits
	if !c.valid() {
		digits = 0
	}
	return decimal(int64(a), digits, digits)
}

// FormatPrice returns a unit price as a plain decimal with at least the
// currency's digits and as many more as it needs: 13.50, 0.0825.
func (c Currency) FormatPrice(p Price) string {
	keep := c.Digits
	if !c.valid() {
		keep = 0
	}
	return decimal(int64(p), priceDigits, keep)
}

// ParseAmount reads a plain decimal with at most the currency's digits. Nothing
// is rounded: more decimals are refused, as is everything else that is not a
// minus, digits and a point.
func ParseAmount(s string, c Currency) (Amount, error) {
	if !c.valid() {
		return 0, ErrCurrency
	}
	n, err := parse(s, c.Digits)
	return Amount(n), err
}

// String returns the quantity as a plain decimal without trailing zeros.
func (q Qty) String() string { return decimal(int64(q), qtyDigits, 0) }

// ParseQty reads a quantity with at most three decimals.
func ParseQty(s string) (Qty, error) {
	n, err := parse(s, qtyDigits)
	return Qty(n), err
}

// String returns the price as a plain decimal without trailing zeros; see
// [Currency.FormatPrice] for one that people read.
func (p Price) String() string { return decimal(int64(p), priceDigits, 0) }

// ParsePrice reads a unit price with at most four decimals.
func ParsePrice(s string) (Price, error) {
	n, err := parse(s, priceDigits)
	return Price(n), err
}

// String returns the rate in percent, without trailing zeros and
// without the percent sign: 8.875.
func (r Rate) String() string { return decimal(int64(r), rateDigits, 0) }

// ParseRate reads a percentage with at most four decimals: 8.875.
func ParseRate(s string) (Rate, error) {
	n, err := parse(s, rateDigits)
	return Rate(n), err
}

// decimal writes n / 10^digits with at least keep decimals.
func decimal(n int64, digits, keep int) string {
	sign := ""
	if n < 0 {
		sign = "-"
	}
	s := strconv.FormatUint(magnitude(n), 10)
	if digits == 0 {
		return sign + s
	}
	if len(s) <= digits {
		s = strings.Repeat("0", digits+1-len(s)) + s
	}
	whole, frac := s[:len(s)-digits], s[len(s)-digits:]
	for len(frac) > keep && frac[len(frac)-1] == '0' {
		frac = frac[:len(frac)-1]
	}
	if frac == "" {
		return sign + whole
	}
	return sign + whole + "." + frac
}

// parse reads an optional minus, digits, and a point with at most digits
// decimals behind it.
func parse(s string, digits int) (int64, error) {
	text, negative := strings.CutPrefix(s, "-")
	whole, frac, point := strings.Cut(text, ".")
	if whole == "" || point && frac == "" || !onlyDigits(whole) || !onlyDigits(frac) {
		return 0, fmt.Errorf("%w: %q", ErrFormat, s)
	}
	if len(frac) > digits {
		return 0, fmt.Errorf("%w: %q has more than %d decimals", ErrFormat, s, digits)
	}
	n, err := strconv.ParseInt(whole+frac+strings.Repeat("0", digits-len(frac)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q", ErrOverflow, s)
	}
	if negative {
		n = -n
	}
	return n, nil
}

func onlyDigits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}
