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
	// ErrTax is returned for a tax without an id, with a rate below 0 or above
	// 10,000 %, twice on a line, or with two rates in one order.
	ErrTax = errors.New("tax does not fit")
	// ErrCurrency is returned for a currency with digits outside 0 to 4.
	ErrCurrency = errors.New("currency has no such digits")
)

// one is 100 % as a [Rate].
const one = 1_000_000

// scale is the number of thousandths × ten-thousandths in a major unit.
const scale = 1000 * 10_000

// maxDigits is the most that ISO 4217 knows, and what a [Price] can hold.
const maxDigits = 4

func (c Currency) valid() bool { return c.Digits >= 0 && c.Digits <= maxDigits }

// unit returns how many minor units a major one has.
func (c Currency) unit() (uint64, error) {
	if !c.valid() {
		return 0, ErrCurrency
	}
	unit := uint64(1)
	for range c.Digits {
		unit *= 10
	}
	return unit, nil
}

// Compute returns the sums of an order: each line's amount, its share of the
// order's discount, its taxes and its total. The sums of an order with every
// quantity negated are the negative of its sums.
//
// A line's amount is quantity × price less the line's discount, rounded once.
// The order's discount is rounded once and spread over the lines by largest
// remainder. A discount by rate takes its share of each line. One by amount is
// spread in proportion to the lines that make up the total: where a sale takes
// back something too, what is taken back is not reduced. A discount by amount
// is positive, also where everything is taken back: it then reduces what is
// given back.
//
// Taxes are rounded per line, or once per order and spread over the lines by
// largest remainder: included prices by the set of taxes that they include
// (net = gross / (1 + Σ rates)), added ones by tax, on the net.
func Compute(items []Item, order Discount, rules Rules) (Sums, error) {
	unit, err := rules.Currency.unit()
	if err != nil {
		return Sums{}, err
	}
	if err := checkTaxes(items); err != nil {
		return Sums{}, err
	}
	lines := make([]LineSums, len(items))
	amounts := make([]Amount, len(items))
	for i := range items {
		if amounts[i], err = lineAmount(&items[i], unit); err != nil {
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
		if gross[i], err = checkedSub(amounts[i], shares[i]); err != nil {
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

// checkTaxes refuses taxes that cannot be computed or told apart.
func checkTaxes(items []Item) error {
	known := map[string]Tax{}
	for i := range items {
		taxes := items[i].Taxes
		for j, t := range taxes {
			if t.ID == "" || t.Rate < 0 || t.Rate > 100*one {
				return ErrTax
			}
			if slices.ContainsFunc(taxes[:j], func(other Tax) bool { return other.ID == t.ID }) {
				return ErrTax
			}
			if k, ok := known[t.ID]; ok && (k.Rate != t.Rate || k.Included != t.Included) {
				return ErrTax
			}
			known[t.ID] = t
		}
	}
	return nil
}

func lineAmount(item *Item, unit uint64) (Amount, error) {
	d := item.Discount
	if err := d.check(); err != nil {
		return 0, err
	}
	product, err := mul(int64(item.Qty), int64(item.Price)).times(unit)
	if err != nil {
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
	a := Amount(n)
	switch {
	case err != nil:
		return 0, err
	case d.Amount > a.Abs():
		return 0, ErrDiscount
	case a < 0:
		return a + d.Amount, nil
	default:
		return a - d.Amount, nil
	}
}

func (d Discount) check() error {
	if d.Rate != 0 && d.Amount != 0 || d.Rate < 0 || d.Rate > one || d.Amount < 0 {
		return ErrDiscount
	}
	return nil
}

// orderDiscount returns each line's share of an order's discount.
func orderDiscount(amounts []Amount, d Discount) ([]Amount, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	total, err := SumAmounts(amounts...)
	if err != nil {
		return nil, err
	}
	if d.Rate != 0 {
		off, err := mulDiv(int64(total), int64(d.Rate), one)
		if err != nil {
			return nil, err
		}
		return spread(Amount(off), amounts, int64(d.Rate), one)
	}
	if d.Amount > total.Abs() {
		return nil, ErrDiscount
	}
	off := d.Amount
	if total < 0 {
		off = -off
	}
	reduced := make([]Amount, len(amounts))
	for i, a := range amounts {
		if (a < 0) == (total < 0) {
			reduced[i] = a
		}
	}
	return Allocate(off, reduced)
}

// tax works out net, taxes and total of lines that are rounded together.
func tax(items []Item, gross []Amount, lines []LineSums) error {
	for i := range lines {
		lines[i].Net = gross[i]
		for _, t := range items[i].Taxes {
			lines[i].Taxes = append(lines[i].Taxes, TaxSum{Tax: t.ID})
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
	for i := range items {
		key := includedSet(items[i].Taxes)
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
		weights := make([]Amount, len(at))
		for k, i := range at {
			weights[k] = gross[i]
		}
		total, err := SumAmounts(weights...)
		if err != nil {
			return err
		}
		included, rates := includedOf(items[at[0]].Taxes)
		net, err := mulDiv(int64(total), one, one+int64(rates))
		if err != nil {
			return err
		}
		perTax, err := shareByRate(total-Amount(net), included, rates)
		if err != nil {
			return err
		}
		for j, t := range included {
			parts, err := spread(perTax[j], weights, int64(t.Rate), uint64(one+rates))
			if err != nil {
				return err
			}
			for k, i := range at {
				setTax(&lines[i], t.ID, parts[k])
				if lines[i].Net, err = checkedSub(lines[i].Net, parts[k]); err != nil {
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
	for i := range items {
		for _, t := range items[i].Taxes {
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
		amount, err := mulDiv(int64(base), int64(t.Rate), one)
		if err != nil {
			return err
		}
		parts, err := spread(Amount(amount), weights, int64(t.Rate), one)
		if err != nil {
			return err
		}
		for k, i := range at {
			setTax(&lines[i], t.ID, parts[k])
		}
	}
	return nil
}

// shareByRate shares the taxes that prices include by their rates, rounded;
// what that leaves goes to the highest rate, the first of equal ones. No share
// goes beyond what the ones before it left, so that all have the total's sign.
func shareByRate(total Amount, taxes []Tax, rates Rate) ([]Amount, error) {
	parts := make([]Amount, len(taxes))
	if rates == 0 {
		return parts, nil
	}
	highest := 0
	for i, t := range taxes {
		if t.Rate > taxes[highest].Rate {
			highest = i
		}
	}
	left := total
	for i, t := range taxes {
		if i == highest {
			continue
		}
		n, err := mulDiv(int64(total), int64(t.Rate), int64(rates))
		if err != nil {
			return nil, err
		}
		parts[i] = Amount(n)
		if parts[i].Abs() > left.Abs() {
			parts[i] = left
		}
		left -= parts[i]
	}
	parts[highest] = left
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

// includedSet names the set of taxes that a price includes, in whatever order
// they stand on the line; it is empty where there are none.
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

func setTax(line *LineSums, id string, amount Amount) {
	for j := range line.Taxes {
		if line.Taxes[j].Tax == id {
			line.Taxes[j].Amount = amount
		}
	}
}

// Add returns the sums of lines that are computed already, with the taxes in
// the order of their first appearance. The result shares lines. It adds up and
// does not check: whether a line is right is for the caller to ask.
func Add(lines []LineSums) (Sums, error) {
	sums := Sums{Lines: lines}
	at := map[string]int{}
	for i := range lines {
		line := &lines[i]
		var err error
		if sums.Net, err = CheckedAdd(sums.Net, line.Net); err != nil {
			return Sums{}, err
		}
		if sums.Total, err = CheckedAdd(sums.Total, line.Total); err != nil {
			return Sums{}, err
		}
		for _, t := range line.Taxes {
			k, ok := at[t.Tax]
			if !ok {
				k = len(sums.Taxes)
				at[t.Tax] = k
				sums.Taxes = append(sums.Taxes, TaxSum{Tax: t.Tax})
			}
			if sums.Taxes[k].Amount, err = CheckedAdd(sums.Taxes[k].Amount, t.Amount); err != nil {
				return Sums{}, err
			}
		}
	}
	return sums, nil
}
