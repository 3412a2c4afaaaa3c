package money

import (
	"errors"
	"math"
)

// Errors of paying.
var (
	// ErrUnderpaid is returned where the tenders do not cover the total.
	ErrUnderpaid = errors.New("not paid in full")
	// ErrChangeBeyondCash is returned where more would be given back than was
	// handed over in cash. A refund that pays out too much is the same.
	ErrChangeBeyondCash = errors.New("overpaid by other means than cash")
	// ErrTender is returned for a payment out in a sale, and for a payment in
	// in a refund.
	ErrTender = errors.New("payment has the wrong sign")
	// ErrCashRounding is returned for a smallest coin below zero.
	ErrCashRounding = errors.New("cash rounding is negative")
)

// Due returns what is still to be paid after some tenders, if the next one is
// in cash (rounded to the smallest coin) or not. It is negative where a sale
// has change to give, or where a refund is still to be paid out.
//
// A tender of what is due settles the order with [Settle], provided that cash
// was tendered in multiples of the smallest coin.
func Due(total Amount, paid []Tender, rules Rules, cash bool) (Amount, error) {
	inCash, other, err := tendered(paid)
	if err != nil {
		return 0, err
	}
	left, err := checkedSub(total, other)
	if err != nil {
		return 0, err
	}
	if cash {
		if left, err = roundCash(left, rules.CashRounding); err != nil {
			return 0, err
		}
	}
	return checkedSub(left, inCash)
}

// Settle returns the rounding and the change of tenders that pay a total:
// Σ tenders − change = total + rounding. What other tenders leave is paid in
// cash, and only that is rounded, half a coin away from zero; an order without
// a cash tender is not rounded. (A cash tender of 0 pays a remainder that
// rounds to 0.) Change is never more than was tendered in cash.
//
// A refund has a negative total and negative tenders. Its rounding is the
// negative of the same sale's, and it has no change: what is paid out is what
// is due.
func Settle(total Amount, tenders []Tender, rules Rules) (Settlement, error) {
	refund := total < 0
	anyCash := false
	for _, t := range tenders {
		if t.Amount != 0 && (t.Amount < 0) != refund {
			return Settlement{}, ErrTender
		}
		anyCash = anyCash || t.Cash
	}
	inCash, other, err := tendered(tenders)
	if err != nil {
		return Settlement{}, err
	}
	left, err := checkedSub(total, other)
	if err != nil {
		return Settlement{}, err
	}
	if left != 0 && (left < 0) != refund {
		return Settlement{}, ErrChangeBeyondCash
	}
	rounded := left
	if anyCash {
		if rounded, err = roundCash(left, rules.CashRounding); err != nil {
			return Settlement{}, err
		}
	}
	change, err := checkedSub(inCash, rounded)
	if err != nil {
		return Settlement{}, err
	}
	switch {
	case change != 0 && (change < 0) != refund:
		return Settlement{}, ErrUnderpaid
	case change < 0:
		return Settlement{}, ErrChangeBeyondCash
	}
	return Settlement{Rounding: rounded - left, Change: change}, nil
}

// tendered returns the sums of the tenders in cash and of the others.
func tendered(tenders []Tender) (cash, other Amount, err error) {
	for _, t := range tenders {
		if t.Cash {
			cash, err = CheckedAdd(cash, t.Amount)
		} else {
			other, err = CheckedAdd(other, t.Amount)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return cash, other, nil
}

// roundCash rounds to a multiple of the smallest coin, half away from zero.
func roundCash(a, coin Amount) (Amount, error) {
	if coin < 0 {
		return 0, ErrCashRounding
	}
	if coin <= 1 {
		return a, nil
	}
	coins, err := mulDiv(int64(a), 1, int64(coin))
	if err != nil {
		return 0, err
	}
	// At most half a coin more than a, so it fits without its sign.
	if magnitude(coins)*uint64(coin) > math.MaxInt64 {
		return 0, ErrOverflow
	}
	return Amount(coins) * coin, nil
}
