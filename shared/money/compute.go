package money

import (
	"errors"
	"slices"
	"strings"
)

// Errors of computing an order.
var (
	// ErrDiscount is returned for a discount that sets both a rate and an
	// amount, is negative, or is larger than what it reduces.
	ErrDiscount = errors.New("discount does not fit")
	// ErrTax is returned for a negative tax rate, or one tax twice on a line.
	ErrTax = errors.New("tax does not fit")
	// ErrCurrency is returned for a currency with digits outside 0 to 4.
	ErrCurrency = errors.New("currency has no such digits")
)

// one is 100 % as a [Rate].
const one = 1_000_000

// scale is the number of thousandths × ten-thousandths in a major unit.
const scale = 1000 * 10_000

func (c Currency) unit() (uint64, error) {
	if c.Digits < 0 || c.Digits > 4 {
		return 0, ErrCurrency
	}
	unit := uint64(1)
	for range c.Digits {
		unit *= 10
	}
	return unit, nil
}

// Compute returns the sums of an order: each line's amount, its share of the
// order's discount, its taxes and its total.
//
// A line's amount is quantity × price less the line's discount, rounded once.
// The order's discount is rounded once and spread over the lines by largest
// remainder in proportion to their amounts. Taxes are rounded per line, or once
// per order and spread over the lines: then included prices by set of taxes
// (net = gross / (1 + Σ rates)), added ones by tax.
func Compute(items []Item, order Discount, rules Rules) (Sums, error) {
	unit, err := rules.Currency.unit()
	if err != nil {
		return Sums{}, err
	}
	lines := make([]LineSums, len(items))
	amounts := make([]Amount, len(items))
	for i, item := range items {
		if err := checkTaxes(item.Taxes); err != nil {
			return Sums{}, err
		}
		if amounts[i], err = lineAmount(item, unit); err != nil {
			return Sums{}, err
		}
		lines[i].Amount = amounts[i]
	}
	shares, err := orderDiscount(amounts, order)
	if err != nil {
		return Sums{}, err
	}
	gross := make([]Amount, len(items))
	for i := range lines {
		lines[i].OrderDiscount = shares[i]
		if gross[i], err = CheckedAdd(amounts[i], -shares[i]); err != nil {
			return Sums{}, err
		}
	}
	if rules.TaxPerLine {
		for i := range items {
			if err := tax(items[i:i+1], gross[i:i+1], lines[i:i+1]); err != nil {
				return Sums{}, err
			}
		}
	} else if err := tax(items, gross, lines); err != nil {
		return Sums{}, err
	}
	return Add(lines)
}

func checkTaxes(taxes []Tax) error {
	for i, t := range taxes {
		if t.Rate < 0 || t.Rate > 100*one {
			return ErrTax
		}
		for _, other := range taxes[:i] {
			if other.ID == t.ID {
				return ErrTax
			}
		}
	}
	return nil
}

func lineAmount(item Item, unit uint64) (Amount, error) {
	product, err := mul(int64(item.Qty), int64(item.Price)).times(unit)
	if err != nil {
		return 0, err
	}
	d := item.Discount
	if err := d.check(); err != nil {
		return 0, err
	}
	if d.Rate != 0 {
		// The discount takes part in the one rounding of the line.
		if product, err = product.times(uint64(one - d.Rate)); err != nil {
			return 0, err
		}
		n, err := product.div(scale * one)
		return Amount(n), err
	}
	n, err := product.div(scale)
	if err != nil {
		return 0, err
	}
	return reduce(Amount(n), d.Amount)
}

func (d Discount) check() error {
	if d.Rate != 0 && d.Amount != 0 || d.Rate < 0 || d.Rate > one || d.Amount < 0 {
		return ErrDiscount
	}
	return nil
}

// reduce takes a discount off an amount, towards zero.
func reduce(a, discount Amount) (Amount, error) {
	if discount > a.Abs() {
		return 0, ErrDiscount
	}
	if a < 0 {
		return a + discount, nil
	}
	return a - discount, nil
}

// orderDiscount returns each line's share of an order's discount.
func orderDiscount(amounts []Amount, d Discount) ([]Amount, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	if d == (Discount{}) {
		return make([]Amount, len(amounts)), nil
	}
	total, err := SumAmounts(amounts...)
	if err != nil {
		return nil, err
	}
	var off Amount
	switch {
	case d.Rate != 0:
		n, err := mulDiv(int64(total), int64(d.Rate), one)
		if err != nil {
			return nil, err
		}
		off = Amount(n)
	case d.Amount > total.Abs():
		return nil, ErrDiscount
	case total < 0:
		off = -d.Amount
	default:
		off = d.Amount
	}
	return Allocate(off, amounts)
}

// tax works out net, taxes and total of lines that are rounded together.
func tax(items []Item, gross []Amount, lines []LineSums) error {
	for i := range lines {
		lines[i].Net = gross[i]
		if len(items[i].Taxes) > 0 {
			lines[i].Taxes = make([]TaxSum, len(items[i].Taxes))
			for j, t := range items[i].Taxes {
				lines[i].Taxes[j].Tax = t.ID
			}
		}
	}
	if err := taxIncluded(items, gross, lines); err != nil {
		return err
	}
	if err := taxAdded(items, lines); err != nil {
		return err
	}
	for i := range lines {
		total := lines[i].Net
		for _, t := range lines[i].Taxes {
			var err error
			if total, err = CheckedAdd(total, t.Amount); err != nil {
				return err
			}
		}
		lines[i].Total = total
	}
	return nil
}

// taxIncluded takes the included taxes out of the lines, by set of taxes.
func taxIncluded(items []Item, gross []Amount, lines []LineSums) error {
	var sets []string
	members := map[string][]int{}
	for i, item := range items {
		key := includedSet(item.Taxes)
		if key == "" {
			continue
		}
		if members[key] == nil {
			sets = append(sets, key)
		}
		members[key] = append(members[key], i)
	}
	for _, key := range sets {
		at := members[key]
		weights := pick(gross, at)
		total, err := SumAmounts(weights...)
		if err != nil {
			return err
		}
		included, rates := includedOf(items[at[0]].Taxes)
		n, err := mulDiv(int64(total), one, one+int64(rates))
		if err != nil {
			return err
		}
		taxes := total - Amount(n)
		perTax, err := shareByRate(taxes, included, rates)
		if err != nil {
			return err
		}
		for j, t := range included {
			parts, err := Allocate(perTax[j], weights)
			if err != nil {
				return err
			}
			for k, i := range at {
				setTax(&lines[i], t.ID, parts[k])
				if lines[i].Net, err = CheckedAdd(lines[i].Net, -parts[k]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// taxAdded adds the taxes that prices do not include, by tax, on the net.
func taxAdded(items []Item, lines []LineSums) error {
	var taxes []Tax
	members := map[string][]int{}
	for i, item := range items {
		for _, t := range item.Taxes {
			if t.Included {
				continue
			}
			if members[t.ID] == nil {
				taxes = append(taxes, t)
			}
			members[t.ID] = append(members[t.ID], i)
		}
	}
	for _, t := range taxes {
		at := members[t.ID]
		weights := make([]Amount, len(at))
		for k, i := range at {
			weights[k] = lines[i].Net
		}
		base, err := SumAmounts(weights...)
		if err != nil {
			return err
		}
		n, err := mulDiv(int64(base), int64(t.Rate), one)
		if err != nil {
			return err
		}
		parts, err := Allocate(Amount(n), weights)
		if err != nil {
			return err
		}
		for k, i := range at {
			setTax(&lines[i], t.ID, parts[k])
		}
	}
	return nil
}

// shareByRate shares the taxes taken out of a set of included prices by rate;
// what rounding leaves goes to the highest rate, the first of equal ones.
func shareByRate(total Amount, taxes []Tax, rates Rate) ([]Amount, error) {
	parts := make([]Amount, len(taxes))
	if rates == 0 {
		return parts, nil
	}
	highest, left := 0, total
	for i, t := range taxes {
		n, err := mulDiv(int64(total), int64(t.Rate), int64(rates))
		if err != nil {
			return nil, err
		}
		parts[i] = Amount(n)
		left -= parts[i]
		if t.Rate > taxes[highest].Rate {
			highest = i
		}
	}
	parts[highest] += left
	return parts, nil
}

func includedOf(taxes []Tax) (included []Tax, rates Rate) {
	for _, t := range taxes {
		if t.Included {
			included = append(included, t)
			rates += t.Rate
		}
	}
	return included, rates
}

func includedSet(taxes []Tax) string {
	var ids []string
	for _, t := range taxes {
		if t.Included {
			ids = append(ids, t.ID)
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, "\x00")
}

func pick(from []Amount, at []int) []Amount {
	out := make([]Amount, len(at))
	for k, i := range at {
		out[k] = from[i]
	}
	return out
}

func setTax(line *LineSums, id string, amount Amount) {
	for j := range line.Taxes {
		if line.Taxes[j].Tax == id {
			line.Taxes[j].Amount = amount
		}
	}
}

// Add returns the sums of lines that are computed already, taxes in the order
// of their first appearance.
func Add(lines []LineSums) (Sums, error) {
	sums := Sums{Lines: lines}
	at := map[string]int{}
	for _, line := range lines {
		var err error
		if sums.Net, err = CheckedAdd(sums.Net, line.Net); err != nil {
			return Sums{}, err
		}
		if sums.Total, err = CheckedAdd(sums.Total, line.Total); err != nil {
			return Sums{}, err
		}
		for _, t := range line.Taxes {
			i, ok := at[t.Tax]
			if !ok {
				i = len(sums.Taxes)
				at[t.Tax] = i
				sums.Taxes = append(sums.Taxes, TaxSum{Tax: t.Tax})
			}
			if sums.Taxes[i].Amount, err = CheckedAdd(sums.Taxes[i].Amount, t.Amount); err != nil {
				return Sums{}, err
			}
		}
	}
	return sums, nil
}
