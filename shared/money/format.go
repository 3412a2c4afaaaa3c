package money

import (
	"errors"
	"fmt"
	"math"
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

// Format returns a as a plain decimal with the currency's digits: -1234.50.
func (c Currency) Format(a Amount) string { return decimal(int64(a), c.Digits, c.Digits) }

// ParseAmount reads a plain decimal with at most the currency's digits.
func ParseAmount(s string, c Currency) (Amount, error) {
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

// String returns the price as a plain decimal with at least two decimals.
func (p Price) String() string { return decimal(int64(p), priceDigits, 2) }

// ParsePrice reads a unit price with at most four decimals.
func ParsePrice(s string) (Price, error) {
	n, err := parse(s, priceDigits)
	return Price(n), err
}

// String returns the rate in percent, without trailing zeros or sign: 8.875.
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

// parse reads an optional sign, digits, and a point with at most digits
// decimals behind it. Nothing is rounded: what does not fit is refused.
func parse(s string, digits int) (int64, error) {
	text := s
	negative := strings.HasPrefix(text, "-")
	text = strings.TrimPrefix(strings.TrimPrefix(text, "-"), "+")
	if len(s)-len(text) > 1 {
		return 0, fmt.Errorf("%w: %q", ErrFormat, s)
	}
	whole, frac, point := strings.Cut(text, ".")
	if whole == "" || point && frac == "" || !onlyDigits(whole) || !onlyDigits(frac) {
		return 0, fmt.Errorf("%w: %q", ErrFormat, s)
	}
	if len(frac) > digits {
		if strings.Trim(frac[digits:], "0") != "" {
			return 0, fmt.Errorf("%w: %q has more than %d decimals", ErrFormat, s, digits)
		}
		frac = frac[:digits]
	}
	n, err := strconv.ParseUint(whole+frac+strings.Repeat("0", digits-len(frac)), 10, 64)
	if err != nil || n > math.MaxInt64 {
		return 0, fmt.Errorf("%w: %q", ErrOverflow, s)
	}
	if negative {
		return -int64(n), nil
	}
	return int64(n), nil
}

func onlyDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
