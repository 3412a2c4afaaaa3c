package money_test

import (
	"math/big"
	"slices"

	"tillandsia/shared/money"
)

// The model computes an order with fractions that are exact, from the rules as
// they are written down, and shares no code with the package. It knows no
// overflow: tests keep to amounts that fit, or ask it whether they do.

func rat(n, d int64) *big.Rat { return big.NewRat(n, d) }

func whole(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

func times(a, b *big.Rat) *big.Rat { return new(big.Rat).Mul(a, b) }

func plus(a, b *big.Rat) *big.Rat { return new(big.Rat).Add(a, b) }

func minus(a, b *big.Rat) *big.Rat { return new(big.Rat).Sub(a, b) }

func over(a, b *big.Rat) *big.Rat { return new(big.Rat).Quo(a, b) }

func negative(a *big.Rat) *big.Rat { return new(big.Rat).Neg(a) }

// down returns the largest whole number that is not above a.
func down(a *big.Rat) *big.Rat {
	q, r := new(big.Int).QuoRem(a.Num(), a.Denom(), new(big.Int))
	if r.Sign() < 0 {
		q.Sub(q, big.NewInt(1))
	}
	return new(big.Rat).SetInt(q)
}

// round rounds half away from zero.
func round(a *big.Rat) *big.Rat {
	if a.Sign() < 0 {
		return negative(round(negative(a)))
	}
	return down(plus(a, rat(1, 2)))
}

func sum(list []*big.Rat) *big.Rat {
	total := new(big.Rat)
	for _, a := range list {
		total = plus(total, a)
	}
	return total
}

func each(list []*big.Rat, f func(*big.Rat) *big.Rat) []*big.Rat {
	out := make([]*big.Rat, len(list))
	for i, a := range list {
		out[i] = f(a)
	}
	return out
}

// modelSpread gives whole parts that sum to total: each share is rounded down
// in the direction of total, then the largest fractions get a unit each.
func modelSpread(total *big.Rat, shares []*big.Rat) []*big.Rat {
	direction := total.Sign()
	for _, s := range shares {
		if direction == 0 {
			direction = s.Sign()
		}
	}
	if direction < 0 {
		return each(modelSpread(negative(total), each(shares, negative)), negative)
	}
	parts := each(shares, down)
	left := minus(total, sum(parts))
	for left.Sign() != 0 {
		used := make([]bool, len(shares))
		for range shares {
			// The largest fraction first, the first of equal ones; to take a
			// unit away, the other way round.
			best := -1
			for i, s := range shares {
				if used[i] || s.Sign() == 0 {
					continue
				}
				fraction := minus(s, down(s))
				if best < 0 {
					best = i
					continue
				}
				is := fraction.Cmp(minus(shares[best], down(shares[best])))
				if left.Sign() > 0 && is > 0 || left.Sign() < 0 && is <= 0 {
					best = i
				}
			}
			if best < 0 || left.Sign() == 0 {
				break
			}
			used[best] = true
			unit := whole(int64(left.Sign()))
			parts[best] = plus(parts[best], unit)
			left = minus(left, unit)
		}
	}
	return parts
}

// modelLine is a line in exact fractions.
type modelLine struct {
	amount, discount, net, total *big.Rat
	taxes                        map[string]*big.Rat
}

func part(r money.Rate) *big.Rat { return rat(int64(r), 1_000_000) }

// modelAmount is what an item comes to before it is rounded, in minor units,
// without a discount by amount.
func modelAmount(item money.Item, c money.Currency) *big.Rat {
	a := times(rat(int64(item.Qty), 1000), rat(int64(item.Price), 10_000))
	for range c.Digits {
		a = times(a, whole(10))
	}
	return times(a, minus(whole(1), part(item.Discount.Rate)))
}

func modelCompute(items []money.Item, order money.Discount, rules money.Rules) []modelLine {
	lines := make([]modelLine, len(items))
	amounts := make([]*big.Rat, len(items))
	for i, item := range items {
		a := round(modelAmount(item, rules.Currency))
		off := whole(int64(item.Discount.Amount))
		if a.Sign() < 0 {
			off = negative(off)
		}
		amounts[i] = minus(a, off)
		lines[i] = modelLine{amount: amounts[i], taxes: map[string]*big.Rat{}}
	}

	orderTotal := sum(amounts)
	var discounts []*big.Rat
	if order.Amount == 0 {
		shares := each(amounts, func(a *big.Rat) *big.Rat { return times(a, part(order.Rate)) })
		discounts = modelSpread(round(times(orderTotal, part(order.Rate))), shares)
	} else {
		// Only lines on the side of the total are reduced.
		off := times(whole(int64(order.Amount)), whole(int64(orderTotal.Sign())))
		side := each(amounts, func(a *big.Rat) *big.Rat {
			if a.Sign() != orderTotal.Sign() {
				return new(big.Rat)
			}
			return a
		})
		discounts = modelSpread(off, each(side, func(a *big.Rat) *big.Rat { return over(times(off, a), sum(side)) }))
	}
	gross := make([]*big.Rat, len(items))
	for i := range lines {
		lines[i].discount = discounts[i]
		gross[i] = minus(amounts[i], discounts[i])
		lines[i].net = gross[i]
	}

	together := [][]int{{}}
	if rules.TaxPerLine {
		together = nil
	}
	for i := range items {
		if rules.TaxPerLine {
			together = append(together, []int{i})
		} else {
			together[0] = append(together[0], i)
		}
	}
	for _, at := range together {
		modelTaxes(items, lines, gross, at)
	}
	for i := range lines {
		lines[i].total = lines[i].net
		for _, t := range lines[i].taxes {
			lines[i].total = plus(lines[i].total, t)
		}
	}
	return lines
}

// modelTaxes works out the taxes of the lines at some places.
func modelTaxes(items []money.Item, lines []modelLine, gross []*big.Rat, at []int) {
	ids := func(item money.Item) []string {
		var ids []string
		for _, t := range item.Taxes {
			if t.Included {
				ids = append(ids, t.ID)
			}
		}
		slices.Sort(ids)
		return ids
	}
	done := map[int]bool{}
	for _, first := range at {
		set := ids(items[first])
		if done[first] || len(set) == 0 {
			continue
		}
		var members []int
		for _, i := range at {
			if slices.Equal(ids(items[i]), set) {
				members = append(members, i)
				done[i] = true
			}
		}
		total, rates := new(big.Rat), new(big.Rat)
		for _, i := range members {
			total = plus(total, gross[i])
		}
		var taxes []money.Tax
		for _, t := range items[first].Taxes {
			if t.Included {
				taxes = append(taxes, t)
				rates = plus(rates, part(t.Rate))
			}
		}
		factor := plus(whole(1), rates)
		tax := minus(total, round(over(total, factor)))
		highest := slices.MaxFunc(taxes, func(a, b money.Tax) int { return int(a.Rate - b.Rate) })
		rest := tax
		amounts := map[string]*big.Rat{}
		for _, t := range taxes {
			if t.ID == highest.ID || rates.Sign() == 0 {
				continue
			}
			a := round(over(times(tax, part(t.Rate)), rates))
			if new(big.Rat).Abs(a).Cmp(new(big.Rat).Abs(rest)) > 0 {
				a = rest
			}
			amounts[t.ID], rest = a, minus(rest, a)
		}
		amounts[highest.ID] = rest
		for _, t := range taxes {
			if amounts[t.ID] == nil {
				amounts[t.ID] = new(big.Rat)
			}
			shares := make([]*big.Rat, len(members))
			for k, i := range members {
				shares[k] = over(times(gross[i], part(t.Rate)), factor)
			}
			for k, p := range modelSpread(amounts[t.ID], shares) {
				lines[members[k]].taxes[t.ID] = p
				lines[members[k]].net = minus(lines[members[k]].net, p)
			}
		}
	}

	seen := map[string]bool{}
	for _, first := range at {
		for _, t := range items[first].Taxes {
			if t.Included || seen[t.ID] {
				continue
			}
			seen[t.ID] = true
			var members []int
			var shares []*big.Rat
			base := new(big.Rat)
			for _, i := range at {
				if slices.ContainsFunc(items[i].Taxes, func(other money.Tax) bool { return other.ID == t.ID }) {
					members = append(members, i)
					shares = append(shares, times(lines[i].net, part(t.Rate)))
					base = plus(base, lines[i].net)
				}
			}
			for k, p := range modelSpread(round(times(base, part(t.Rate))), shares) {
				lines[members[k]].taxes[t.ID] = p
			}
		}
	}
}
