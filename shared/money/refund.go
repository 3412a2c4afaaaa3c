package money

import "errors"

// ErrRefundTooMuch is returned where more would be refunded than was sold.
var ErrRefundTooMuch = errors.New("more refunded than was sold")

// Refund returns the sums (of opposite sign) of taking back qty of a line of
// which soldQty was sold for the sums sold, and beforeQty was taken back before
// for the sums before. Quantities to take back are positive where the line was
// a sale. Each part takes its share, rounded; the last takes what is left, so
// that all parts together are exactly the negative of the whole.
//
// Shares are of the running total: after taking back q of n the sum of all
// parts is −round(whole × q / n), so that parts taken in any sizes differ from
// each other by no more than a unit.
func Refund(sold LineSums, soldQty Qty, before []LineSums, beforeQty, qty Qty) (LineSums, error) {
	if soldQty == 0 || qty == 0 || (qty > 0) != (soldQty > 0) {
		return LineSums{}, ErrRefundTooMuch
	}
	sum, err := CheckedAdd(Amount(beforeQty), Amount(qty))
	if err != nil {
		return LineSums{}, err
	}
	upTo := Qty(sum)
	if Amount(upTo).Abs() > Amount(soldQty).Abs() || (beforeQty != 0 && (beforeQty > 0) != (soldQty > 0)) {
		return LineSums{}, ErrRefundTooMuch
	}
	part := func(whole Amount, taken func(LineSums) Amount) (Amount, error) {
		share, err := mulDivSigned(int64(whole), int64(upTo), int64(soldQty))
		if err != nil {
			return 0, err
		}
		amount := -Amount(share)
		for _, b := range before {
			if amount, err = CheckedAdd(amount, -taken(b)); err != nil {
				return 0, err
			}
		}
		return amount, nil
	}
	var out LineSums
	if out.Amount, err = part(sold.Amount, func(l LineSums) Amount { return l.Amount }); err != nil {
		return LineSums{}, err
	}
	if out.OrderDiscount, err = part(sold.OrderDiscount, func(l LineSums) Amount { return l.OrderDiscount }); err != nil {
		return LineSums{}, err
	}
	if out.Total, err = part(sold.Total, func(l LineSums) Amount { return l.Total }); err != nil {
		return LineSums{}, err
	}
	// Total and taxes take their shares; the net is what is between them, so
	// that the customer gets back what was paid and the line still adds up.
	out.Net = out.Total
	for _, t := range sold.Taxes {
		amount, err := part(t.Amount, func(l LineSums) Amount { return taxOf(l, t.Tax) })
		if err != nil {
			return LineSums{}, err
		}
		out.Taxes = append(out.Taxes, TaxSum{Tax: t.Tax, Amount: amount})
		if out.Net, err = CheckedAdd(out.Net, -amount); err != nil {
			return LineSums{}, err
		}
	}
	return out, nil
}

func taxOf(l LineSums, id string) Amount {
	for _, t := range l.Taxes {
		if t.Tax == id {
			return t.Amount
		}
	}
	return 0
}

// mulDivSigned is mulDiv for a divisor of either sign.
func mulDivSigned(a, b, c int64) (int64, error) {
	product := mul(a, b)
	product.negative = product.negative != (c < 0)
	return product.div(magnitude(c))
}
