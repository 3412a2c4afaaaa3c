package money

import "errors"

// Errors of paying.
var (
	// ErrUnderpaid is returned where the tenders do not cover the total.
	ErrUnderpaid = errors.New("not paid in full")
	// ErrChangeBeyondCash is returned where more would be given back than was
	// handed over in cash.
	ErrChangeBeyondCash = errors.New("overpaid by other means than cash")
)

// Due returns what is still to be paid after some tenders, if the next one is
// in cash (rounded to the smallest coin) or not. It is negative where money is
// to be given back.
func Due(total Amount, paid []Tender, rules Rules, cash bool) (Amount, error) {
	left, err := remainder(total, paid)
	if err != nil {
		return 0, err
	}
	if !cash {
		return left, nil
	}
	return roundCash(left, rules.CashRounding)
}

// Settle returns the rounding and the change of tenders that pay a total:
// Σ tenders − change = total + rounding. Only the remainder that is paid in
// cash is rounded; an order paid exactly by other means is not. Change is never
// more than was tendered in cash. A refund has a negative total and negative
// tenders; its rounding keeps its sign and it has no change.
func Settle(total Amount, tenders []Tender, rules Rules) (Settlement, error) {
	var other, cash []Tender
	for _, t := range tenders {
		if t.Cash {
			cash = append(cash, t)
		} else {
			other = append(other, t)
		}
	}
	left, err := remainder(total, other)
	if err != nil {
		return Settlement{}, err
	}
	var inCash Amount
	for _, t := range cash {
		if inCash, err = CheckedAdd(inCash, t.Amount); err != nil {
			return Settlement{}, err
		}
	}
	if len(cash) == 0 {
		switch {
		case left == 0:
			return Settlement{}, nil
		case (left > 0) == (total > 0):
			return Settlement{}, ErrUnderpaid
		}
		return Settlement{}, ErrChangeBeyondCash
	}
	rounded, err := roundCash(left, rules.CashRounding)
	if err != nil {
		return Settlement{}, err
	}
	change, err := CheckedAdd(inCash, -rounded)
	if err != nil {
		return Settlement{}, err
	}
	switch {
	case total >= 0 && change < 0:
		return Settlement{}, ErrUnderpaid
	case total >= 0 && change > max(inCash, 0):
		return Settlement{}, ErrChangeBeyondCash
	case total < 0 && change > 0:
		return Settlement{}, ErrUnderpaid
	case total < 0 && change < 0:
		return Settlement{}, ErrChangeBeyondCash
	}
	rounding, err := CheckedAdd(rounded, -left)
	return Settlement{Rounding: rounding, Change: change}, err
}

func remainder(total Amount, paid []Tender) (Amount, error) {
	left := total
	for _, t := range paid {
		var err error
		if left, err = CheckedAdd(left, -t.Amount); err != nil {
			return 0, err
		}
	}
	return left, nil
}

// roundCash rounds to a multiple of the smallest coin, half away from zero.
func roundCash(a, coin Amount) (Amount, error) {
	if coin <= 1 {
		return a, nil
	}
	n, err := mulDiv(int64(a), 1, int64(coin))
	if err != nil {
		return 0, err
	}
	product := mul(n, int64(coin))
	rounded, _, err := product.floor(1)
	return Amount(rounded), err
}
