package money

import (
	"errors"
	"slices"
)

// Errors of refunds.
var (
	// ErrRefundTooMuch is returned where more would be refunded than was sold.
	ErrRefundTooMuch = errors.New("more refunded than was sold")
	// ErrQuantity is returned for a quantity to refund that is zero or of the
	// other sign than what was sold.
	ErrQuantity = errors.New("not a quantity to refund")
)

// Refund returns the sums (negative) of taking back qty (positive) of a line of
// which soldQty was sold for the sums sold, and beforeQty was taken back before
// for the sums before. A line that was itself a return is given back with every
// sign turned.
//
// Each part takes its share of the running total: after taking back q of n the
// sum of all parts is −(whole × q / n), rounded. So the last takes what is
// left, all parts are together exactly the negative of the whole, however they
// were cut, and on the way their sum is never more than half a unit off its
// share. That holds for the amount, for the amount less the order's discount,
// for each tax and for the total; the net is the total less its taxes.
func Refund(sold LineSums, soldQty Qty, before []LineSums, beforeQty, qty Qty) (LineSums, error) {
	if soldQty == 0 || qty == 0 || (qty < 0) != (soldQty < 0) || beforeQty != 0 && (beforeQty < 0) != (soldQty < 0) {
		return LineSums{}, ErrQuantity
	}
	upTo, err := CheckedAdd(Amount(beforeQty), Amount(qty))
	if err != nil {
		return LineSums{}, err
	}
	if magnitude(int64(upTo)) > magnitude(int64(soldQty)) {
		return LineSums{}, ErrRefundTooMuch
	}
	// Taxes that were refunded but never sold could not sum to the whole.
	for i := range before {
		for _, t := range before[i].Taxes {
			if !slices.ContainsFunc(sold.Taxes, func(s TaxSum) bool { return s.Tax == t.Tax }) {
				return LineSums{}, ErrTax
			}
		}
	}

	// part returns what qty takes of one component of the line.
	part := func(of func(*LineSums) (Amount, error)) (Amount, error) {
		whole, err := of(&sold)
		if err != nil {
			return 0, err
		}
		n, err := mulDiv(int64(whole), int64(upTo), int64(soldQty))
		if err != nil {
			return 0, err
		}
		left := Amount(n)
		for i := range before {
			taken, err := of(&before[i])
			if err != nil {
				return 0, err
			}
			// What was taken before is negative.
			if left, err = CheckedAdd(left, taken); err != nil {
				return 0, err
			}
		}
		return -left, nil
	}
	var out LineSums
	if out.Amount, err = part(func(l *LineSums) (Amount, error) { return l.Amount, nil }); err != nil {
		return LineSums{}, err
	}
	discounted, err := part(func(l *LineSums) (Amount, error) { return checkedSub(l.Amount, l.OrderDiscount) })
	if err != nil {
		return LineSums{}, err
	}
	if out.OrderDiscount, err = checkedSub(out.Amount, discounted); err != nil {
		return LineSums{}, err
	}
	if out.Total, err = part(func(l *LineSums) (Amount, error) { return l.Total, nil }); err != nil {
		return LineSums{}, err
	}
	out.Net = out.Total
	for _, t := range sold.Taxes {
		amount, err := part(func(l *LineSums) (Amount, error) { return taxOf(l, t.Tax), nil })
		if err != nil {
			return LineSums{}, err
		}
		out.Taxes = append(out.Taxes, TaxSum{Tax: t.Tax, Amount: amount})
		if out.Net, err = checkedSub(out.Net, amount); err != nil {
			return LineSums{}, err
		}
	}
	return out, nil
}

func taxOf(l *LineSums, id string) Amount {
	for _, t := range l.Taxes {
		if t.Tax == id {
			return t.Amount
		}
	}
	return 0
}
