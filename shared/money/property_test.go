package money_test

import (
	"errors"
	"math"
	"math/big"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tillandsia/shared/money"
)

// pool holds the taxes of a made-up country; an order draws from it.
var pool = []money.Tax{
	included("V20", 200_000),
	included("V7", 70_000),
	included("V5.5", 55_000),
	included("V20b", 200_000),
	included("V20c", 200_000),
	included("V20d", 200_000),
	included("V0", 0),
	added("GST", 50_000),
	added("QST", 99_750),
	added("NYC", 88_750),
}

var someRules = rapid.Custom(func(t *rapid.T) money.Rules {
	return money.Rules{
		Currency:     money.Currency{Code: "XTS", Digits: rapid.IntRange(0, 4).Draw(t, "digits")},
		TaxPerLine:   rapid.Bool().Draw(t, "per line"),
		CashRounding: rapid.SampledFrom([]money.Amount{0, 1, 5, 10, 20, 50, 100}).Draw(t, "coin"),
	}
})

// someItem draws an item with quantities and prices as they are at a till,
// small ones often: there rounding shows.
func someItem(rules money.Rules, returns bool) *rapid.Generator[money.Item] {
	return rapid.Custom(func(t *rapid.T) money.Item {
		item := money.Item{
			Qty: rapid.OneOf(
				rapid.Map(rapid.Int64Range(1, 12), func(n int64) money.Qty { return money.Qty(n * 1000) }),
				rapid.Map(rapid.Int64Range(0, 5_000_000), func(n int64) money.Qty { return money.Qty(n) }),
			).Draw(t, "qty"),
			Price: rapid.OneOf(
				rapid.Map(rapid.Int64Range(0, 30), func(n int64) money.Price { return money.Price(n * 100) }),
				rapid.Map(rapid.Int64Range(0, 20_000), func(n int64) money.Price { return money.Price(n * 100) }),
				rapid.Map(rapid.Int64Range(0, 1_000_000_000), func(n int64) money.Price { return money.Price(n) }),
			).Draw(t, "price"),
			Taxes: rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 0, 4, func(t money.Tax) string { return t.ID }).Draw(t, "taxes"),
		}
		if returns && rapid.IntRange(0, 3).Draw(t, "return") == 0 {
			item.Qty = -item.Qty
		}
		switch rapid.IntRange(0, 4).Draw(t, "discount") {
		case 0:
			item.Discount.Rate = money.Rate(rapid.Int64Range(0, 1_000_000).Draw(t, "rate"))
		case 1:
			most := amountOf(new(big.Rat).Abs(round(modelAmount(item, rules.Currency))))
			item.Discount.Amount = money.Amount(rapid.Int64Range(0, int64(most)).Draw(t, "amount"))
		}
		return item
	})
}

// order is everything that Compute is asked.
type order struct {
	Items    []money.Item
	Discount money.Discount
	Rules    money.Rules
}

var someOrder = rapid.Custom(func(t *rapid.T) order {
	rules := someRules.Draw(t, "rules")
	o := order{Items: rapid.SliceOfN(someItem(rules, true), 0, 8).Draw(t, "items"), Rules: rules}
	switch rapid.IntRange(0, 3).Draw(t, "order discount") {
	case 0:
		o.Discount.Rate = money.Rate(rapid.Int64Range(0, 1_000_000).Draw(t, "order rate"))
	case 1:
		total := new(big.Rat)
		for _, l := range modelCompute(o.Items, money.Discount{}, rules) {
			total = plus(total, l.amount)
		}
		most := amountOf(total.Abs(total))
		o.Discount.Amount = money.Amount(rapid.Int64Range(0, int64(most)).Draw(t, "order amount"))
	}
	return o
})

func amountOf(r *big.Rat) money.Amount {
	if !r.IsInt() || !r.Num().IsInt64() {
		panic("not an amount: " + r.String())
	}
	return money.Amount(r.Num().Int64())
}

func compute(t *rapid.T, o order) money.Sums {
	sums, err := money.Compute(o.Items, o.Discount, o.Rules)
	if err != nil {
		t.Fatalf("Compute(%+v) = %v", o, err)
	}
	return sums
}

func TestComputeIsTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := someOrder.Draw(t, "order")
		got := compute(t, o)
		want := modelCompute(o.Items, o.Discount, o.Rules)
		for i, w := range want {
			g := got.Lines[i]
			wantLine := line(amountOf(w.amount), amountOf(w.discount), amountOf(w.net), amountOf(w.total))
			for _, tax := range o.Items[i].Taxes {
				wantLine.Taxes = append(wantLine.Taxes, ts(tax.ID, amountOf(w.taxes[tax.ID])))
			}
			if !reflect.DeepEqual(g, wantLine) {
				t.Fatalf("line %d of %+v = %+v, want %+v", i, o, g, wantLine)
			}
		}
	})
}

func TestLinesSumToTheOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := someOrder.Draw(t, "order")
		got := compute(t, o)
		var net, total, amounts, discounts money.Amount
		taxes := map[string]money.Amount{}
		for i, l := range got.Lines {
			lineTotal := l.Net
			gross := l.Net
			for k, tax := range l.Taxes {
				taxes[tax.Tax] += tax.Amount
				lineTotal += tax.Amount
				if o.Items[i].Taxes[k].Included {
					gross += tax.Amount
				}
			}
			if l.Total != lineTotal {
				t.Fatalf("line %d total = %d, want net + taxes %d", i, l.Total, lineTotal)
			}
			if l.Amount-l.OrderDiscount != gross {
				t.Fatalf("line %d amount - discount = %d, want net + included taxes %d", i, l.Amount-l.OrderDiscount, gross)
			}
			if l.OrderDiscount.Abs() > l.Amount.Abs() || l.OrderDiscount != 0 && (l.OrderDiscount < 0) != (l.Amount < 0) {
				t.Fatalf("line %d order discount = %d, want between 0 and %d", i, l.OrderDiscount, l.Amount)
			}
			net, total = net+l.Net, total+l.Total
			amounts, discounts = amounts+l.Amount, discounts+l.OrderDiscount
		}
		all := net
		for _, tax := range got.Taxes {
			if taxes[tax.Tax] != tax.Amount {
				t.Fatalf("tax %s = %d, want Σ lines %d", tax.Tax, tax.Amount, taxes[tax.Tax])
			}
			all += tax.Amount
		}
		if len(got.Taxes) != len(taxes) || got.Net != net || got.Total != total || got.Total != all {
			t.Fatalf("Compute() = %+v, want Σ lines net %d, total %d", got, net, total)
		}
		if o.Discount.Amount != 0 && discounts.Abs() != o.Discount.Amount {
			t.Fatalf("Σ order discounts = %d, want %d", discounts, o.Discount.Amount)
		}
		if o.Discount.Rate != 0 {
			want := amountOf(round(times(whole(int64(amounts)), part(o.Discount.Rate))))
			if discounts != want {
				t.Fatalf("Σ order discounts = %d, want %d", discounts, want)
			}
		}
	})
}

// An order of one tax set per order is what one line of everything would be.
func TestPerOrderIsRoundedOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := someOrder.Draw(t, "order")
		o.Rules.TaxPerLine = false
		taxes := rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 0, 4, func(t money.Tax) string { return t.ID }).Draw(t, "all taxes")
		for i := range o.Items {
			o.Items[i].Taxes = taxes
		}
		got := compute(t, o)
		gross, rates := new(big.Rat), whole(1)
		for _, l := range got.Lines {
			gross = plus(gross, whole(int64(l.Amount-l.OrderDiscount)))
		}
		for _, tax := range taxes {
			if tax.Included {
				rates = plus(rates, part(tax.Rate))
			}
		}
		if want := amountOf(round(over(gross, rates))); got.Net != want {
			t.Fatalf("net = %d, want %d", got.Net, want)
		}
		for i, tax := range got.Taxes {
			if taxes[i].Included {
				continue
			}
			if want := amountOf(round(times(whole(int64(got.Net)), part(taxes[i].Rate)))); tax.Amount != want {
				t.Fatalf("tax %s = %d, want %d", tax.Tax, tax.Amount, want)
			}
		}
	})
}

// No line is more than a unit a tax off what it would be in exact fractions.
func TestSpreadingIsFair(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := someOrder.Draw(t, "order")
		got := compute(t, o)
		for i, l := range got.Lines {
			rates := whole(1)
			count := int64(0)
			for _, tax := range o.Items[i].Taxes {
				if tax.Included {
					rates = plus(rates, part(tax.Rate))
					count++
				}
			}
			net := over(whole(int64(l.Amount-l.OrderDiscount)), rates)
			off := minus(net, whole(int64(l.Net)))
			// Included taxes share what the set was rounded by: half a unit.
			if off.Abs(off).Cmp(plus(whole(count), rat(1, 2))) > 0 {
				t.Fatalf("line %d net = %d, want about %s", i, l.Net, net.FloatString(3))
			}
			for k, tax := range o.Items[i].Taxes {
				if tax.Included {
					continue
				}
				off := minus(times(whole(int64(l.Net)), part(tax.Rate)), whole(int64(l.Taxes[k].Amount)))
				if off.Abs(off).Cmp(whole(1)) >= 0 {
					t.Fatalf("line %d tax %s = %d, off by %s", i, tax.ID, l.Taxes[k].Amount, off.FloatString(3))
				}
			}
		}
	})
}

func TestAReturnIsTheNegativeOfASale(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := someOrder.Draw(t, "order")
		sale := compute(t, o)
		back := order{Discount: o.Discount, Rules: o.Rules, Items: slices.Clone(o.Items)}
		for i := range back.Items {
			back.Items[i].Qty = -back.Items[i].Qty
		}
		if got, want := compute(t, back), negated(sale); !reflect.DeepEqual(got, want) {
			t.Fatalf("Compute(negated) = %+v, want %+v", got, want)
		}
	})
}

func negatedTaxes(taxes []money.TaxSum) []money.TaxSum {
	out := slices.Clone(taxes)
	for i := range out {
		out[i].Amount = -out[i].Amount
	}
	return out
}

func negatedLine(l money.LineSums) money.LineSums {
	return line(-l.Amount, -l.OrderDiscount, -l.Net, -l.Total, negatedTaxes(l.Taxes)...)
}

func negated(s money.Sums) money.Sums {
	out := money.Sums{Lines: make([]money.LineSums, len(s.Lines)), Net: -s.Net, Taxes: negatedTaxes(s.Taxes), Total: -s.Total}
	for i, l := range s.Lines {
		out.Lines[i] = negatedLine(l)
	}
	return out
}

func TestRefundOfEverythingIsTheNegative(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := someOrder.Draw(t, "order")
		sale := compute(t, o)
		var lines []money.LineSums
		want := negated(sale)
		want.Lines = nil
		for i, l := range sale.Lines {
			if o.Items[i].Qty == 0 {
				continue
			}
			back, err := money.Refund(l, o.Items[i].Qty, nil, 0, o.Items[i].Qty)
			if err != nil {
				t.Fatalf("Refund(%+v) = %v", l, err)
			}
			lines = append(lines, back)
			want.Lines = append(want.Lines, negatedLine(l))
		}
		got, err := money.Add(lines)
		if err != nil {
			t.Fatalf("Add() = %v", err)
		}
		if !reflect.DeepEqual(got.Lines, want.Lines) || got.Net != want.Net || got.Total != want.Total {
			t.Fatalf("refund of everything = %+v, want %+v", got, want)
		}
		for _, tax := range want.Taxes {
			i := slices.IndexFunc(got.Taxes, func(g money.TaxSum) bool { return g.Tax == tax.Tax })
			if i < 0 && tax.Amount != 0 || i >= 0 && got.Taxes[i] != tax {
				t.Fatalf("refunded taxes = %+v, want %+v", got.Taxes, want.Taxes)
			}
		}
	})
}

func TestPartialRefundsSumToTheWhole(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := someRules.Draw(t, "rules")
		items := rapid.SliceOfN(someItem(rules, false), 1, 3).Draw(t, "items")
		o := order{Items: items, Rules: rules}
		o.Discount.Rate = money.Rate(rapid.Int64Range(0, 1_000_000).Draw(t, "order rate"))
		at := rapid.IntRange(0, len(items)-1).Draw(t, "line")
		sold, soldQty := compute(t, o).Lines[at], items[at].Qty
		if soldQty == 0 {
			t.Skip("nothing sold")
		}
		var before []money.LineSums
		var taken money.Qty
		for taken < soldQty {
			left := int64(soldQty - taken)
			n := rapid.OneOf(rapid.Int64Range(1, left), rapid.Int64Range(max(1, left/4), left)).Draw(t, "qty")
			if len(before) == 40 {
				n = left
			}
			qty := money.Qty(n)
			got, err := money.Refund(sold, soldQty, before, taken, qty)
			if err != nil {
				t.Fatalf("Refund() = %v", err)
			}
			taken += qty
			before = append(before, got)
			total := got.Net
			for _, tax := range got.Taxes {
				total += tax.Amount
			}
			if got.Total != total {
				t.Fatalf("Refund() total = %d, want net + taxes %d", got.Total, total)
			}
			if got.Amount > 0 || got.Total > 0 {
				t.Fatalf("Refund() = %+v, want nothing that is paid", got)
			}
			// So far it is what the share of a whole would be.
			share := over(times(whole(int64(sold.Total)), whole(int64(taken))), whole(int64(soldQty)))
			if so := summed(before).Total; so != -amountOf(round(share)) {
				t.Fatalf("refunds of %d of %d = %d, want %s", taken, soldQty, so, share.FloatString(3))
			}
		}
		if got, want := summed(before), negatedLine(sold); !reflect.DeepEqual(got, want) {
			t.Fatalf("Σ refunds = %+v, want %+v", got, want)
		}
		if got, err := money.Refund(sold, soldQty, before, taken, 1); !errors.Is(err, money.ErrRefundTooMuch) {
			t.Fatalf("Refund() of one more = %+v, %v, want %v", got, err, money.ErrRefundTooMuch)
		}
	})
}

// summed adds refunds of one line up.
func summed(parts []money.LineSums) money.LineSums {
	var out money.LineSums
	for i, p := range parts {
		out.Amount += p.Amount
		out.OrderDiscount += p.OrderDiscount
		out.Net += p.Net
		out.Total += p.Total
		if i == 0 {
			out.Taxes = slices.Clone(p.Taxes)
			continue
		}
		for k, tax := range p.Taxes {
			out.Taxes[k].Amount += tax.Amount
		}
	}
	return out
}

var someTenders = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) money.Tender {
	return money.Tender{
		Amount: money.Amount(rapid.Int64Range(0, 3000).Draw(t, "tender")),
		Cash:   rapid.Bool().Draw(t, "cash"),
	}
}), 0, 4)

func TestSettleIdentity(t *testing.T) {
	t.Parallel()
	settled := 0
	rapid.Check(t, func(t *rapid.T) {
		rules := someRules.Draw(t, "rules")
		total := money.Amount(rapid.Int64Range(0, 4000).Draw(t, "total"))
		tenders := someTenders.Draw(t, "tenders")
		got, err := money.Settle(total, tenders, rules)

		var paid, inCash money.Amount
		anyCash := false
		for _, tender := range tenders {
			paid += tender.Amount
			if tender.Cash {
				inCash += tender.Amount
				anyCash = true
			}
		}
		// What is asked for, from the rules: the remainder, in coins if in cash.
		left := total - (paid - inCash)
		asked := left
		if anyCash && rules.CashRounding > 1 {
			asked = amountOf(round(rat(int64(left), int64(rules.CashRounding)))) * rules.CashRounding
		}
		switch {
		case left < 0:
			if !errors.Is(err, money.ErrChangeBeyondCash) {
				t.Fatalf("Settle() = %+v, %v, want %v", got, err, money.ErrChangeBeyondCash)
			}
			return
		case inCash < asked:
			if !errors.Is(err, money.ErrUnderpaid) {
				t.Fatalf("Settle() = %+v, %v, want %v", got, err, money.ErrUnderpaid)
			}
			return
		case err != nil:
			t.Fatalf("Settle() = %v", err)
		}
		settled++
		if paid-got.Change != total+got.Rounding {
			t.Fatalf("Σ tenders %d - change %d != total %d + rounding %d", paid, got.Change, total, got.Rounding)
		}
		if got.Change < 0 || got.Change > inCash {
			t.Fatalf("change = %d, want at most the cash %d", got.Change, inCash)
		}
		if 2*got.Rounding.Abs() > rules.CashRounding || !anyCash && got.Rounding != 0 {
			t.Fatalf("rounding = %d with a coin of %d", got.Rounding, rules.CashRounding)
		}

		// Giving exactly that back is the mirror of it.
		mirrored := slices.Clone(tenders)
		change := got.Change
		for i := range mirrored {
			if mirrored[i].Cash {
				kept := min(change, mirrored[i].Amount)
				mirrored[i].Amount -= kept
				change -= kept
			}
			mirrored[i].Amount = -mirrored[i].Amount
		}
		back, err := money.Settle(-total, mirrored, rules)
		if want := (money.Settlement{Rounding: -got.Rounding}); err != nil || back != want {
			t.Fatalf("Settle(refund) = %+v, %v, want %+v", back, err, want)
		}
	})
	if settled == 0 {
		t.Error("no drawn order was settled")
	}
}

func TestPayingWhatIsDueSettles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := someRules.Draw(t, "rules")
		total := money.Amount(rapid.Int64Range(0, 10_000).Draw(t, "total"))
		sign := money.Amount(rapid.SampledFrom([]int64{1, -1}).Draw(t, "sign"))
		var tenders []money.Tender
		// Some tenders that leave something, cash in whole coins, then the rest.
		for range rapid.IntRange(0, 3).Draw(t, "tenders before") {
			inCash := rapid.Bool().Draw(t, "cash before")
			due, err := money.Due(sign*total, tenders, rules, inCash)
			if err != nil {
				t.Fatalf("Due() = %v", err)
			}
			a := money.Amount(rapid.Int64Range(0, int64(due.Abs())).Draw(t, "part"))
			if coin := max(rules.CashRounding, 1); inCash {
				a -= a % coin
			}
			tenders = append(tenders, money.Tender{Amount: sign * a, Cash: inCash})
		}
		inCash := rapid.Bool().Draw(t, "cash")
		due, err := money.Due(sign*total, tenders, rules, inCash)
		if err != nil {
			t.Fatalf("Due() = %v", err)
		}
		if due != 0 && (due < 0) != (sign < 0) {
			t.Skip("paid by rounding")
		}
		got, err := money.Settle(sign*total, append(tenders, money.Tender{Amount: due, Cash: inCash}), rules)
		if err != nil || got.Change != 0 {
			t.Fatalf("Settle() of what is due = %+v, %v, want no change", got, err)
		}
	})
}

func TestAllocateIdentity(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		total := money.Amount(rapid.Int64Range(-100_000, 100_000).Draw(t, "total"))
		weights := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) money.Amount {
			return money.Amount(rapid.OneOf(rapid.Int64Range(0, 5), rapid.Int64Range(-20, 1_000_000)).Draw(t, "weight"))
		}), 0, rapid.SampledFrom([]int{9, 50}).Draw(t, "most weights")).Draw(t, "weights")
		sumOfWeights := money.Amount(0)
		for _, w := range weights {
			sumOfWeights += w
		}
		got, err := money.Allocate(total, weights)
		if sumOfWeights == 0 && total != 0 {
			if !errors.Is(err, money.ErrNoWeight) {
				t.Fatalf("Allocate() = %v, %v, want %v", got, err, money.ErrNoWeight)
			}
			return
		}
		if err != nil {
			t.Fatalf("Allocate() = %v", err)
		}
		shares := make([]*big.Rat, len(weights))
		for i, w := range weights {
			shares[i] = new(big.Rat)
			if sumOfWeights != 0 {
				shares[i] = over(times(whole(int64(total)), whole(int64(w))), whole(int64(sumOfWeights)))
			}
		}
		var parts money.Amount
		for i, want := range modelSpread(whole(int64(total)), shares) {
			parts += got[i]
			if got[i] != amountOf(want) {
				t.Fatalf("Allocate() = %v, want %s at %d", got, want, i)
			}
			off := minus(whole(int64(got[i])), shares[i])
			if off.Abs(off).Cmp(whole(1)) >= 0 {
				t.Fatalf("Allocate() = %v, want within a unit of %s at %d", got, shares[i].FloatString(3), i)
			}
			for k := range i {
				if weights[k] == weights[i] && (got[k] < got[i]) != (got[k] != got[i] && total < 0) {
					t.Fatalf("Allocate() = %v, want the first of equal weights to get the unit", got)
				}
			}
		}
		if parts != total {
			t.Fatalf("Σ Allocate() = %d, want %d", parts, total)
		}
	})
}

func TestTextIsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(-math.MaxInt64, math.MaxInt64).Draw(t, "n")
		c := money.Currency{Digits: rapid.IntRange(0, 4).Draw(t, "digits")}
		if got, err := money.ParseAmount(c.Format(money.Amount(n)), c); err != nil || got != money.Amount(n) {
			t.Fatalf("ParseAmount(%q) = %d, %v, want %d", c.Format(money.Amount(n)), got, err, n)
		}
		if got, err := money.ParseQty(money.Qty(n).String()); err != nil || got != money.Qty(n) {
			t.Fatalf("ParseQty(%q) = %d, %v, want %d", money.Qty(n), got, err, n)
		}
		for _, s := range []string{money.Price(n).String(), c.FormatPrice(money.Price(n))} {
			if got, err := money.ParsePrice(s); err != nil || got != money.Price(n) {
				t.Fatalf("ParsePrice(%q) = %d, %v, want %d", s, got, err, n)
			}
		}
		if got, err := money.ParseRate(money.Rate(n).String()); err != nil || got != money.Rate(n) {
			t.Fatalf("ParseRate(%q) = %d, %v, want %d", money.Rate(n), got, err, n)
		}
	})
}

// extreme draws any 64-bit number, the ends often.
var extreme = rapid.OneOf(
	rapid.SampledFrom([]int64{math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64 / 2, math.MaxInt32}),
	rapid.Int64(),
)

// Whatever comes from the wire, there is a right answer or an error: no panic,
// no wrapped number.
func TestExtremesOverflow(t *testing.T) {
	t.Parallel()
	amount := rapid.Map(extreme, func(n int64) money.Amount { return money.Amount(n) })
	known := []error{money.ErrOverflow, money.ErrDiscount, money.ErrTax, money.ErrNoWeight, money.ErrUnderpaid, money.ErrChangeBeyondCash, money.ErrTender, money.ErrCashRounding, money.ErrQuantity, money.ErrRefundTooMuch}
	expect := func(t *rapid.T, what string, err error) bool {
		if err != nil && !slices.ContainsFunc(known, func(k error) bool { return errors.Is(err, k) }) {
			t.Fatalf("%s = %v, want an error of the package", what, err)
		}
		return err == nil
	}
	rapid.Check(t, func(t *rapid.T) {
		o := order{Rules: someRules.Draw(t, "rules")}
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			o.Items = append(o.Items, money.Item{
				Qty:      money.Qty(extreme.Draw(t, "qty")),
				Price:    money.Price(extreme.Draw(t, "price")),
				Discount: money.Discount{Amount: amount.Draw(t, "discount")},
				Taxes:    rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 0, 3, func(t money.Tax) string { return t.ID }).Draw(t, "taxes"),
			})
			if rapid.Bool().Draw(t, "no discount") {
				o.Items[len(o.Items)-1].Discount = money.Discount{Rate: money.Rate(rapid.Int64Range(0, 1_000_000).Draw(t, "rate"))}
			}
		}
		sums, err := money.Compute(o.Items, o.Discount, o.Rules)
		if expect(t, "Compute()", err) {
			for i, w := range modelCompute(o.Items, o.Discount, o.Rules) {
				if g := sums.Lines[i]; g.Amount != amountOf(w.amount) || g.Net != amountOf(w.net) || g.Total != amountOf(w.total) {
					t.Fatalf("Compute(%+v) = %+v, want the model's", o, g)
				}
			}
		}

		weights := rapid.SliceOfN(amount, 0, 4).Draw(t, "weights")
		total := amount.Draw(t, "total")
		parts, err := money.Allocate(total, weights)
		if expect(t, "Allocate()", err) {
			exact := new(big.Rat)
			for _, p := range parts {
				exact = plus(exact, whole(int64(p)))
			}
			if exact.Cmp(whole(int64(total))) != 0 {
				t.Fatalf("Σ Allocate(%d, %v) = %s", total, weights, exact)
			}
		}

		tenders := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) money.Tender {
			return money.Tender{Amount: amount.Draw(t, "tender"), Cash: rapid.Bool().Draw(t, "cash")}
		}), 0, 3).Draw(t, "tenders")
		o.Rules.CashRounding = amount.Draw(t, "coin")
		settlement, err := money.Settle(total, tenders, o.Rules)
		if expect(t, "Settle()", err) {
			left := minus(whole(int64(-settlement.Change)), plus(whole(int64(total)), whole(int64(settlement.Rounding))))
			for _, tender := range tenders {
				left = plus(left, whole(int64(tender.Amount)))
			}
			if left.Sign() != 0 {
				t.Fatalf("Settle(%d, %v) = %+v, off by %s", total, tenders, settlement, left)
			}
		}
		_, err = money.Due(total, tenders, o.Rules, rapid.Bool().Draw(t, "due in cash"))
		expect(t, "Due()", err)

		sold := line(amount.Draw(t, "amount"), amount.Draw(t, "order discount"), 0, total, ts("A", amount.Draw(t, "tax")))
		before := []money.LineSums{line(amount.Draw(t, "amount before"), 0, 0, amount.Draw(t, "total before"))}
		back, err := money.Refund(sold, money.Qty(extreme.Draw(t, "sold")), before, money.Qty(extreme.Draw(t, "before")), money.Qty(extreme.Draw(t, "back")))
		if expect(t, "Refund()", err) && plus(whole(int64(back.Net)), whole(int64(back.Taxes[0].Amount))).Cmp(whole(int64(back.Total))) != 0 {
			t.Fatalf("Refund() = %+v, want total = net + taxes", back)
		}
	})
}
