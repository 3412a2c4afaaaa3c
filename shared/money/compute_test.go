package money_test

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"tillandsia/shared/money"
)

var (
	eur = money.Currency{Code: "EUR", Digits: 2}
	jpy = money.Currency{Code: "JPY", Digits: 0}
	kwd = money.Currency{Code: "KWD", Digits: 3}
)

func included(id string, rate money.Rate) money.Tax {
	return money.Tax{ID: id, Rate: rate, Included: true}
}

func added(id string, rate money.Rate) money.Tax { return money.Tax{ID: id, Rate: rate} }

// piece is one piece at a price in ten-thousandths.
func piece(price money.Price, taxes ...money.Tax) money.Item {
	return money.Item{Qty: 1000, Price: price, Taxes: taxes}
}

func less(item money.Item, d money.Discount) money.Item {
	item.Discount = d
	return item
}

// line is what a test expects of a line: amount, share of the order's
// discount, net, the taxes in order, total.
func line(amount, orderDiscount, net, total money.Amount, taxes ...money.TaxSum) money.LineSums {
	return money.LineSums{Amount: amount, OrderDiscount: orderDiscount, Net: net, Taxes: taxes, Total: total}
}

func ts(tax string, amount money.Amount) money.TaxSum {
	return money.TaxSum{Tax: tax, Amount: amount}
}

func TestCompute(t *testing.T) {
	t.Parallel()
	vat20 := included("VAT", 200_000)
	net20 := added("VAT", 200_000)
	tests := []struct {
		name  string
		items []money.Item
		order money.Discount
		rules money.Rules
		want  money.Sums
	}{
		{
			name:  "W9 A: 10.00 net and 20 % are 12.00",
			items: []money.Item{piece(100_000, net20)},
			rules: money.Rules{Currency: eur},
			want:  money.Sums{Lines: []money.LineSums{line(1000, 0, 1000, 1200, ts("VAT", 200))}, Net: 1000, Taxes: []money.TaxSum{ts("VAT", 200)}, Total: 1200},
		},
		{
			name:  "W9 B: 10.03 with 20 % in it is 8.36 and 1.67",
			items: []money.Item{piece(100_300, vat20)},
			rules: money.Rules{Currency: eur},
			want:  money.Sums{Lines: []money.LineSums{line(1003, 0, 836, 1003, ts("VAT", 167))}, Net: 836, Taxes: []money.TaxSum{ts("VAT", 167)}, Total: 1003},
		},
		{
			name:  "W9 C: 24.00 with 20 % in it is 20.00 and 4.00",
			items: []money.Item{piece(240_000, vat20)},
			rules: money.Rules{Currency: eur, TaxPerLine: true},
			want:  money.Sums{Lines: []money.LineSums{line(2400, 0, 2000, 2400, ts("VAT", 400))}, Net: 2000, Taxes: []money.TaxSum{ts("VAT", 400)}, Total: 2400},
		},
		{
			name:  "W9 D: 12.00 with 20 % in it is 10.00 and 2.00",
			items: []money.Item{piece(120_000, vat20)},
			rules: money.Rules{Currency: eur},
			want:  money.Sums{Lines: []money.LineSums{line(1200, 0, 1000, 1200, ts("VAT", 200))}, Net: 1000, Taxes: []money.TaxSum{ts("VAT", 200)}, Total: 1200},
		},
		{
			name:  "W11: 45.15 with 20 % in it is 37.63 and 7.52, the half cent goes away from zero",
			items: []money.Item{piece(451_500, vat20)},
			rules: money.Rules{Currency: eur},
			want:  money.Sums{Lines: []money.LineSums{line(4515, 0, 3763, 4515, ts("VAT", 752))}, Net: 3763, Taxes: []money.TaxSum{ts("VAT", 752)}, Total: 4515},
		},
		{
			name:  "W11 returned without a receipt is its negative",
			items: []money.Item{{Qty: -1000, Price: 451_500, Taxes: []money.Tax{vat20}}},
			rules: money.Rules{Currency: eur},
			want:  money.Sums{Lines: []money.LineSums{line(-4515, 0, -3763, -4515, ts("VAT", -752))}, Net: -3763, Taxes: []money.TaxSum{ts("VAT", -752)}, Total: -4515},
		},
		{
			name:  "HMRC, Calculating VAT: 100.00 without VAT is 120.00 at 20 %",
			items: []money.Item{piece(1_000_000, net20)},
			rules: money.Rules{Currency: money.Currency{Code: "GBP", Digits: 2}},
			want:  money.Sums{Lines: []money.LineSums{line(10000, 0, 10000, 12000, ts("VAT", 2000))}, Net: 10000, Taxes: []money.TaxSum{ts("VAT", 2000)}, Total: 12000},
		},
		{
			name:  "HMRC VAT fraction: a sixth of 235.00 at 20 % is 39.17",
			items: []money.Item{piece(2_350_000, vat20)},
			rules: money.Rules{Currency: money.Currency{Code: "GBP", Digits: 2}},
			want:  money.Sums{Lines: []money.LineSums{line(23500, 0, 19583, 23500, ts("VAT", 3917))}, Net: 19583, Taxes: []money.TaxSum{ts("VAT", 3917)}, Total: 23500},
		},
		{
			name:  "HMRC VAT fraction: 105.00 at 5 % has 5.00, a 21st, in it",
			items: []money.Item{piece(1_050_000, included("VAT5", 50_000))},
			rules: money.Rules{Currency: money.Currency{Code: "GBP", Digits: 2}},
			want:  money.Sums{Lines: []money.LineSums{line(10500, 0, 10000, 10500, ts("VAT5", 500))}, Net: 10000, Taxes: []money.TaxSum{ts("VAT5", 500)}, Total: 10500},
		},
		{
			name:  "Revenu Québec: 100.00 with GST and QST is 114.98",
			items: []money.Item{piece(1_000_000, added("GST", 50_000), added("QST", 99_750))},
			rules: money.Rules{Currency: money.Currency{Code: "CAD", Digits: 2}},
			want: money.Sums{
				Lines: []money.LineSums{line(10000, 0, 10000, 11498, ts("GST", 500), ts("QST", 998))},
				Net:   10000, Taxes: []money.TaxSum{ts("GST", 500), ts("QST", 998)}, Total: 11498,
			},
		},
		{
			name:  "Revenu Québec backwards: 114.98 has the same GST and QST in it",
			items: []money.Item{piece(1_149_800, included("GST", 50_000), included("QST", 99_750))},
			rules: money.Rules{Currency: money.Currency{Code: "CAD", Digits: 2}},
			want: money.Sums{
				Lines: []money.LineSums{line(11498, 0, 10000, 11498, ts("GST", 500), ts("QST", 998))},
				Net:   10000, Taxes: []money.TaxSum{ts("GST", 500), ts("QST", 998)}, Total: 11498,
			},
		},
		{
			name:  "Canada, Budget 2012: a 1.83 coffee and a 2.86 sandwich are 4.92 with 5 % GST",
			items: []money.Item{piece(18_300, added("GST", 50_000)), piece(28_600, added("GST", 50_000))},
			rules: money.Rules{Currency: money.Currency{Code: "CAD", Digits: 2}},
			want: money.Sums{
				// 4.69 × 5 % = 0.2345; the shares are 0.0915 and 0.143.
				Lines: []money.LineSums{line(183, 0, 183, 192, ts("GST", 9)), line(286, 0, 286, 300, ts("GST", 14))},
				Net:   469, Taxes: []money.TaxSum{ts("GST", 23)}, Total: 492,
			},
		},
		{
			name:  "Canada Revenue Agency GI-131: 100 screws at 1.79 with 13 % HST are 202.27",
			items: []money.Item{{Qty: 100_000, Price: 17_900, Taxes: []money.Tax{added("HST", 130_000)}}},
			rules: money.Rules{Currency: money.Currency{Code: "CAD", Digits: 2}},
			want:  money.Sums{Lines: []money.LineSums{line(17900, 0, 17900, 20227, ts("HST", 2327))}, Net: 17900, Taxes: []money.TaxSum{ts("HST", 2327)}, Total: 20227},
		},
		{
			name:  "New York City: 8.875 % of 100.00 is 8.88",
			items: []money.Item{piece(1_000_000, added("NYC", 88_750))},
			rules: money.Rules{Currency: money.Currency{Code: "USD", Digits: 2}},
			want:  money.Sums{Lines: []money.LineSums{line(10000, 0, 10000, 10888, ts("NYC", 888))}, Net: 10000, Taxes: []money.TaxSum{ts("NYC", 888)}, Total: 10888},
		},
		{
			name:  "New York City: state 4, city 4.5 and district 0.375 % of 19.99 are rounded each",
			items: []money.Item{piece(199_900, added("NY", 40_000), added("NYC", 45_000), added("MCTD", 3_750))},
			rules: money.Rules{Currency: money.Currency{Code: "USD", Digits: 2}},
			want: money.Sums{
				Lines: []money.LineSums{line(1999, 0, 1999, 2176, ts("NY", 80), ts("NYC", 90), ts("MCTD", 7))},
				Net:   1999, Taxes: []money.TaxSum{ts("NY", 80), ts("NYC", 90), ts("MCTD", 7)}, Total: 2176,
			},
		},
		{
			name:  "EN 16931 totals: lines 1300.00, charge 50.00, allowance 25.00, VAT 25 % are 1656.25",
			items: []money.Item{piece(13_000_000, added("S", 250_000)), piece(500_000, added("S", 250_000))},
			order: money.Discount{Amount: 2500},
			rules: money.Rules{Currency: eur},
			want: money.Sums{
				// 25.00 × 1300 / 1350 = 24.074; 1275.93 × 25 % = 318.9825.
				Lines: []money.LineSums{line(130_000, 2407, 127_593, 159_491, ts("S", 31_898)), line(5000, 93, 4907, 6134, ts("S", 1227))},
				Net:   132_500, Taxes: []money.TaxSum{ts("S", 33_125)}, Total: 165_625,
			},
		},
		{
			name:  "EN 16931 BR-CO-17: the VAT of a category is its taxable amount times the rate, once",
			items: []money.Item{piece(300, added("S", 210_000)), piece(300, added("S", 210_000)), piece(300, added("S", 210_000))},
			rules: money.Rules{Currency: eur},
			want: money.Sums{
				// 0.09 × 21 % = 0.0189; each line alone would be 0.0063.
				Lines: []money.LineSums{line(3, 0, 3, 4, ts("S", 1)), line(3, 0, 3, 4, ts("S", 1)), line(3, 0, 3, 3, ts("S", 0))},
				Net:   9, Taxes: []money.TaxSum{ts("S", 2)}, Total: 11,
			},
		},
		{
			name:  "the same lines rounded per line have half as much again",
			items: []money.Item{piece(300, added("S", 210_000)), piece(300, added("S", 210_000)), piece(300, added("S", 210_000))},
			rules: money.Rules{Currency: eur, TaxPerLine: true},
			want: money.Sums{
				Lines: []money.LineSums{line(3, 0, 3, 4, ts("S", 1)), line(3, 0, 3, 4, ts("S", 1)), line(3, 0, 3, 4, ts("S", 1))},
				Net:   9, Taxes: []money.TaxSum{ts("S", 3)}, Total: 12,
			},
		},
		{
			name:  "Switzerland: 1000.00 with 8 % in it is 925.93 and 74.07",
			items: []money.Item{piece(10_000_000, included("MWST", 80_000))},
			rules: money.Rules{Currency: money.Currency{Code: "CHF", Digits: 2}},
			want:  money.Sums{Lines: []money.LineSums{line(100_000, 0, 92_593, 100_000, ts("MWST", 7407))}, Net: 92_593, Taxes: []money.TaxSum{ts("MWST", 7407)}, Total: 100_000},
		},
		{
			name: "Japan's invoice rule: rounded once per order and rate, in whole yen",
			items: []money.Item{
				piece(1_480_000, added("8", 80_000)),
				piece(990_000, added("10", 100_000)),
				piece(1_080_000, added("8", 80_000)),
			},
			rules: money.Rules{Currency: jpy},
			want: money.Sums{
				// 256 × 8 % = 20.48: 11.84 and 8.64; 99 × 10 % = 9.9.
				Lines: []money.LineSums{line(148, 0, 148, 160, ts("8", 12)), line(99, 0, 99, 109, ts("10", 10)), line(108, 0, 108, 116, ts("8", 8))},
				Net:   355, Taxes: []money.TaxSum{ts("8", 20), ts("10", 10)}, Total: 385,
			},
		},
		{
			name:  "a Kuwaiti price has three digits",
			items: []money.Item{piece(12_345, included("VAT", 50_000))},
			rules: money.Rules{Currency: kwd},
			// 1.2345 is 1235 fils; / 1.05 = 1176.19.
			want: money.Sums{Lines: []money.LineSums{line(1235, 0, 1176, 1235, ts("VAT", 59))}, Net: 1176, Taxes: []money.TaxSum{ts("VAT", 59)}, Total: 1235},
		},
		{
			name:  "weight and price with four decimals are rounded once",
			items: []money.Item{{Qty: 1_505, Price: 13_333}},
			rules: money.Rules{Currency: eur},
			// 1.505 × 1.3333 = 2.0066165
			want: money.Sums{Lines: []money.LineSums{line(201, 0, 201, 201)}, Net: 201, Total: 201},
		},
		{
			name:  "a line's rate takes part in its one rounding",
			items: []money.Item{less(piece(1_450), money.Discount{Rate: 100_000})},
			rules: money.Rules{Currency: eur},
			// 0.145 × 0.9 = 0.1305; 0.15 × 0.9 = 0.135 would be 0.14.
			want: money.Sums{Lines: []money.LineSums{line(13, 0, 13, 13)}, Net: 13, Total: 13},
		},
		{
			name:  "a line's discount by amount is taken off",
			items: []money.Item{less(piece(100_000, vat20), money.Discount{Amount: 250})},
			rules: money.Rules{Currency: eur},
			want:  money.Sums{Lines: []money.LineSums{line(750, 0, 625, 750, ts("VAT", 125))}, Net: 625, Taxes: []money.TaxSum{ts("VAT", 125)}, Total: 750},
		},
		{
			name:  "a line's discount reduces what a return gives back",
			items: []money.Item{less(money.Item{Qty: -1000, Price: 100_000}, money.Discount{Amount: 250}), less(money.Item{Qty: -1000, Price: 100_000}, money.Discount{Rate: 100_000})},
			rules: money.Rules{Currency: eur},
			want:  money.Sums{Lines: []money.LineSums{line(-750, 0, -750, -750), line(-900, 0, -900, -900)}, Net: -1650, Total: -1650},
		},
		{
			name:  "a discount may be the whole line",
			items: []money.Item{less(piece(10_000, vat20), money.Discount{Amount: 100}), less(piece(10_000, vat20), money.Discount{Rate: 1_000_000})},
			rules: money.Rules{Currency: eur},
			want: money.Sums{
				Lines: []money.LineSums{line(0, 0, 0, 0, ts("VAT", 0)), line(0, 0, 0, 0, ts("VAT", 0))},
				Taxes: []money.TaxSum{ts("VAT", 0)},
			},
		},
		{
			name:  "an order's discount goes by largest remainder, of equal ones to the first line",
			items: []money.Item{piece(100_000), piece(100_000), piece(100_000)},
			order: money.Discount{Amount: 100},
			rules: money.Rules{Currency: eur},
			want: money.Sums{
				Lines: []money.LineSums{line(1000, 34, 966, 966), line(1000, 33, 967, 967), line(1000, 33, 967, 967)},
				Net:   2900, Total: 2900,
			},
		},
		{
			name:  "an order's rate is rounded once",
			items: []money.Item{piece(500), piece(500), piece(500)},
			order: money.Discount{Rate: 100_000},
			rules: money.Rules{Currency: eur},
			// 0.15 × 10 % = 0.015, away from zero.
			want: money.Sums{Lines: []money.LineSums{line(5, 1, 4, 4), line(5, 1, 4, 4), line(5, 0, 5, 5)}, Net: 13, Total: 13},
		},
		{
			name:  "a discount of the order by amount leaves alone what the order takes back",
			items: []money.Item{piece(1_000_000), {Qty: -1000, Price: 999_500}},
			order: money.Discount{Amount: 3},
			rules: money.Rules{Currency: eur},
			want:  money.Sums{Lines: []money.LineSums{line(10000, 3, 9997, 9997), line(-9995, 0, -9995, -9995)}, Net: 2, Total: 2},
		},
		{
			name:  "a discount of the order by rate is each line's rate, also where the order is near zero",
			items: []money.Item{piece(1_000_000), {Qty: -1000, Price: 999_500}},
			order: money.Discount{Rate: 100_000},
			rules: money.Rules{Currency: eur},
			// 0.05 × 10 % = 0.005 is 0.01; the shares 10.00 and -9.995.
			want: money.Sums{Lines: []money.LineSums{line(10000, 1000, 9000, 9000), line(-9995, -999, -8996, -8996)}, Net: 4, Total: 4},
		},
		{
			name:  "an exchange at nearly the same price keeps the tax of both lines",
			items: []money.Item{piece(1_200_000, vat20), {Qty: -1000, Price: 1_199_900, Taxes: []money.Tax{vat20}}},
			rules: money.Rules{Currency: eur},
			want: money.Sums{
				Lines: []money.LineSums{line(12000, 0, 10000, 12000, ts("VAT", 2000)), line(-11999, 0, -9999, -11999, ts("VAT", -2000))},
				Net:   1, Taxes: []money.TaxSum{ts("VAT", 0)}, Total: 1,
			},
		},
		{
			name:  "an even exchange keeps the tax of both lines",
			items: []money.Item{piece(1_000_000, net20), {Qty: -1000, Price: 1_000_000, Taxes: []money.Tax{net20}}},
			rules: money.Rules{Currency: eur},
			want: money.Sums{
				Lines: []money.LineSums{line(10000, 0, 10000, 12000, ts("VAT", 2000)), line(-10000, 0, -10000, -12000, ts("VAT", -2000))},
				Taxes: []money.TaxSum{ts("VAT", 0)},
			},
		},
		{
			name:  "included prices are rounded once per order and spread",
			items: []money.Item{piece(200, vat20), piece(200, vat20), piece(200, vat20)},
			rules: money.Rules{Currency: eur},
			// 0.06 / 1.2 = 0.05
			want: money.Sums{
				Lines: []money.LineSums{line(2, 0, 1, 2, ts("VAT", 1)), line(2, 0, 2, 2, ts("VAT", 0)), line(2, 0, 2, 2, ts("VAT", 0))},
				Net:   5, Taxes: []money.TaxSum{ts("VAT", 1)}, Total: 6,
			},
		},
		{
			name:  "included prices that are rounded per line are rounded each",
			items: []money.Item{piece(200, vat20), piece(200, vat20), piece(200, vat20)},
			rules: money.Rules{Currency: eur, TaxPerLine: true},
			// 0.02 / 1.2 = 0.0167
			want: money.Sums{
				Lines: []money.LineSums{line(2, 0, 2, 2, ts("VAT", 0)), line(2, 0, 2, 2, ts("VAT", 0)), line(2, 0, 2, 2, ts("VAT", 0))},
				Net:   6, Taxes: []money.TaxSum{ts("VAT", 0)}, Total: 6,
			},
		},
		{
			name:  "included prices are grouped by tax set, whatever the order on the line",
			items: []money.Item{piece(10_000, included("A", 100_000), included("B", 50_000)), piece(10_000, included("A", 100_000)), piece(10_000, included("B", 50_000), included("A", 100_000))},
			rules: money.Rules{Currency: eur},
			// {A, B}: 2.00 / 1.15 = 1.739 is 1.74; 0.26 is 0.17 and 0.09.
			// {A}: 1.00 / 1.1 = 0.909.
			want: money.Sums{
				Lines: []money.LineSums{
					line(100, 0, 86, 100, ts("A", 9), ts("B", 5)),
					line(100, 0, 91, 100, ts("A", 9)),
					line(100, 0, 88, 100, ts("B", 4), ts("A", 8)),
				},
				Net: 265, Taxes: []money.TaxSum{ts("A", 26), ts("B", 9)}, Total: 300,
			},
		},
		{
			name:  "a tax is added to the net of an included one",
			items: []money.Item{piece(120_000, vat20, added("ECO", 10_000))},
			rules: money.Rules{Currency: eur},
			want: money.Sums{
				Lines: []money.LineSums{line(1200, 0, 1000, 1210, ts("VAT", 200), ts("ECO", 10))},
				Net:   1000, Taxes: []money.TaxSum{ts("VAT", 200), ts("ECO", 10)}, Total: 1210,
			},
		},
		{
			name:  "what sharing by rate leaves goes to the highest rate",
			items: []money.Item{piece(100_000, included("A", 10_000), included("B", 70_000), included("C", 10_000))},
			rules: money.Rules{Currency: eur},
			// 10.00 / 1.09 = 9.174: 0.83, of which 0.0922 twice; 0.65 is left
			// (0.6456 alone).
			want: money.Sums{
				Lines: []money.LineSums{line(1000, 0, 917, 1000, ts("A", 9), ts("B", 65), ts("C", 9))},
				Net:   917, Taxes: []money.TaxSum{ts("A", 9), ts("B", 65), ts("C", 9)}, Total: 1000,
			},
		},
		{
			name:  "of equal highest rates the first has what is left",
			items: []money.Item{piece(500, included("A", 200_000), included("B", 200_000))},
			rules: money.Rules{Currency: eur},
			// 0.05 / 1.4 = 0.0357: 0.01, of which half is away from zero 0.01.
			want: money.Sums{
				Lines: []money.LineSums{line(5, 0, 4, 5, ts("A", 0), ts("B", 1))},
				Net:   4, Taxes: []money.TaxSum{ts("A", 0), ts("B", 1)}, Total: 5,
			},
		},
		{
			name:  "sharing by rate gives none the other sign",
			items: []money.Item{piece(500, included("A", 150_000), included("B", 150_000), included("C", 150_000), included("D", 150_000))},
			rules: money.Rules{Currency: eur},
			// 0.05 / 1.6 = 0.03125: 0.02 for four equal halves.
			want: money.Sums{
				Lines: []money.LineSums{line(5, 0, 3, 5, ts("A", 0), ts("B", 1), ts("C", 1), ts("D", 0))},
				Net:   3, Taxes: []money.TaxSum{ts("A", 0), ts("B", 1), ts("C", 1), ts("D", 0)}, Total: 5,
			},
		},
		{
			name: "what sharing by rate takes back is taken from the smallest fraction",
			items: []money.Item{
				piece(1200, included("A", 150_000), included("B", 150_000), included("C", 150_000), included("D", 150_000)),
				piece(400, included("A", 150_000), included("B", 150_000), included("C", 150_000), included("D", 150_000)),
				piece(0, included("A", 150_000), included("B", 150_000), included("C", 150_000), included("D", 150_000)),
			},
			rules: money.Rules{Currency: eur},
			// 0.16 / 1.6 = 0.10: 0.06 for four equal shares of 0.015, so that A
			// has nothing left; the lines' shares of each are 0.01125 and 0.00375.
			want: money.Sums{
				Lines: []money.LineSums{
					line(12, 0, 9, 12, ts("A", 0), ts("B", 1), ts("C", 1), ts("D", 1)),
					line(4, 0, 1, 4, ts("A", 0), ts("B", 1), ts("C", 1), ts("D", 1)),
					line(0, 0, 0, 0, ts("A", 0), ts("B", 0), ts("C", 0), ts("D", 0)),
				},
				Net: 10, Taxes: []money.TaxSum{ts("A", 0), ts("B", 2), ts("C", 2), ts("D", 2)}, Total: 16,
			},
		},
		{
			name:  "an even exchange at half a cent of tax",
			items: []money.Item{piece(500, added("A", 100_000)), {Qty: -1000, Price: 500, Taxes: []money.Tax{added("A", 100_000)}}},
			rules: money.Rules{Currency: eur},
			want: money.Sums{
				Lines: []money.LineSums{line(5, 0, 5, 6, ts("A", 1)), line(-5, 0, -5, -6, ts("A", -1))},
				Taxes: []money.TaxSum{ts("A", 0)},
			},
		},
		{
			name:  "the same the other way round is its negative",
			items: []money.Item{{Qty: -1000, Price: 500, Taxes: []money.Tax{added("A", 100_000)}}, piece(500, added("A", 100_000))},
			rules: money.Rules{Currency: eur},
			want: money.Sums{
				Lines: []money.LineSums{line(-5, 0, -5, -6, ts("A", -1)), line(5, 0, 5, 6, ts("A", 1))},
				Taxes: []money.TaxSum{ts("A", 0)},
			},
		},
		{
			name:  "two taxes of 0 % in a price are nothing",
			items: []money.Item{piece(10_000, included("A", 0), included("B", 0))},
			rules: money.Rules{Currency: eur},
			want: money.Sums{
				Lines: []money.LineSums{line(100, 0, 100, 100, ts("A", 0), ts("B", 0))},
				Net:   100, Taxes: []money.TaxSum{ts("A", 0), ts("B", 0)}, Total: 100,
			},
		},
		{
			name:  "taxes stand in the order of their first appearance",
			items: []money.Item{piece(100_000, added("Z", 10_000)), piece(100_000, added("B", 10_000), added("Z", 10_000)), piece(100_000, added("A", 10_000))},
			rules: money.Rules{Currency: eur},
			want: money.Sums{
				Lines: []money.LineSums{line(1000, 0, 1000, 1010, ts("Z", 10)), line(1000, 0, 1000, 1020, ts("B", 10), ts("Z", 10)), line(1000, 0, 1000, 1010, ts("A", 10))},
				Net:   3000, Taxes: []money.TaxSum{ts("Z", 20), ts("B", 10), ts("A", 10)}, Total: 3040,
			},
		},
		{
			name:  "an empty order is nothing",
			rules: money.Rules{Currency: eur},
			want:  money.Sums{Lines: []money.LineSums{}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := money.Compute(tt.items, tt.order, tt.rules)
			if err != nil {
				t.Fatalf("Compute() = %v", err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Compute() =\n%+v, want\n%+v", got, tt.want)
			}
		})
	}
}

func TestComputeRefuses(t *testing.T) {
	t.Parallel()
	const most, least = math.MaxInt64, math.MinInt64
	euros := money.Rules{Currency: eur}
	ten := piece(100_000)
	tests := []struct {
		name  string
		items []money.Item
		order money.Discount
		rules money.Rules
		want  error
	}{
		{"a line's discount above the line", []money.Item{less(ten, money.Discount{Amount: 1001})}, money.Discount{}, euros, money.ErrDiscount},
		{"a discount above what a return gives back", []money.Item{less(money.Item{Qty: -1000, Price: 100_000}, money.Discount{Amount: 1001})}, money.Discount{}, euros, money.ErrDiscount},
		{"a line's discount above 100 %", []money.Item{less(ten, money.Discount{Rate: 1_000_001})}, money.Discount{}, euros, money.ErrDiscount},
		{"a line's discount below 0", []money.Item{less(ten, money.Discount{Amount: -1})}, money.Discount{}, euros, money.ErrDiscount},
		{"a line's discount rate below 0", []money.Item{less(ten, money.Discount{Rate: -1})}, money.Discount{}, euros, money.ErrDiscount},
		{"both kinds of discount on a line", []money.Item{less(ten, money.Discount{Rate: 1, Amount: 1})}, money.Discount{}, euros, money.ErrDiscount},
		{"the order's discount above the order", []money.Item{ten}, money.Discount{Amount: 1001}, euros, money.ErrDiscount},
		{"the order's discount above what an exchange comes to", []money.Item{ten, {Qty: -1000, Price: 50_000}}, money.Discount{Amount: 501}, euros, money.ErrDiscount},
		{"the order's discount above 100 %", []money.Item{ten}, money.Discount{Rate: 1_000_001}, euros, money.ErrDiscount},
		{"the order's discount below 0", []money.Item{ten}, money.Discount{Amount: -1}, euros, money.ErrDiscount},
		{"both kinds of discount on the order", []money.Item{ten}, money.Discount{Rate: 1, Amount: 1}, euros, money.ErrDiscount},
		{"a discount on an empty order", nil, money.Discount{Amount: 1}, euros, money.ErrDiscount},
		{"a tax rate below 0", []money.Item{piece(1, added("A", -1))}, money.Discount{}, euros, money.ErrTax},
		{"a tax rate above 10,000 %", []money.Item{piece(1, added("A", 100_000_001))}, money.Discount{}, euros, money.ErrTax},
		{"a tax without an id", []money.Item{piece(1, included("", 200_000))}, money.Discount{}, euros, money.ErrTax},
		{"a tax twice on a line", []money.Item{piece(1, added("A", 1), added("A", 1))}, money.Discount{}, euros, money.ErrTax},
		{"one tax with two rates", []money.Item{piece(1, added("A", 1)), piece(1, added("A", 2))}, money.Discount{}, euros, money.ErrTax},
		{"one tax included and added", []money.Item{piece(1, added("A", 1)), piece(1, included("A", 1))}, money.Discount{}, euros, money.ErrTax},
		{"digits below 0", []money.Item{ten}, money.Discount{}, money.Rules{Currency: money.Currency{Digits: -1}}, money.ErrCurrency},
		{"digits above 4", []money.Item{ten}, money.Discount{}, money.Rules{Currency: money.Currency{Digits: 5}}, money.ErrCurrency},
		{"the largest quantity at the largest price", []money.Item{{Qty: most, Price: most}}, money.Discount{}, euros, money.ErrOverflow},
		{"the smallest quantity at the smallest price", []money.Item{{Qty: least, Price: least}}, money.Discount{}, euros, money.ErrOverflow},
		{"the same less a discount", []money.Item{less(money.Item{Qty: least, Price: most}, money.Discount{Rate: 1})}, money.Discount{}, euros, money.ErrOverflow},
		{"lines whose sum is too large", []money.Item{{Qty: most, Price: 100_000}, {Qty: most, Price: 100_000}}, money.Discount{}, euros, money.ErrOverflow},
		{"a line that comes to 2^64 by rounding", []money.Item{{Qty: 20000017, Price: 9223364196995208362}}, money.Discount{}, money.Rules{}, money.ErrOverflow},
		{"a line of tenths that is just above 128 bits", []money.Item{{Qty: most, Price: 3689348814741910324}}, money.Discount{}, money.Rules{Currency: money.Currency{Digits: 1}}, money.ErrOverflow},
		{"a line that comes to the smallest amount", []money.Item{{Qty: least, Price: 10_000_000}}, money.Discount{}, money.Rules{}, money.ErrOverflow},
		{"a tax that makes the total too large", []money.Item{{Qty: most, Price: 100_000, Taxes: []money.Tax{added("A", 1_000_000)}}}, money.Discount{}, euros, money.ErrOverflow},
		{"a tax that is too large", []money.Item{{Qty: most, Price: 100_000, Taxes: []money.Tax{added("A", 100_000_000)}}}, money.Discount{}, euros, money.ErrOverflow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := money.Compute(tt.items, tt.order, tt.rules)
			if !errors.Is(err, tt.want) {
				t.Errorf("Compute() = %+v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

func TestComputeHoldsTheLargestAmount(t *testing.T) {
	t.Parallel()
	const most = math.MaxInt64
	tax := included("VAT", 200_000)
	for _, qty := range []money.Qty{most, -most} {
		got, err := money.Compute([]money.Item{{Qty: qty, Price: 10_000_000, Taxes: []money.Tax{tax}}}, money.Discount{}, money.Rules{})
		if err != nil {
			t.Fatalf("Compute(%d) = %v", qty, err)
		}
		if got.Total != money.Amount(qty) || got.Net+got.Taxes[0].Amount != got.Total {
			t.Errorf("Compute(%d) = %+v, want a total of the same", qty, got)
		}
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	lines := []money.LineSums{
		line(-1000, 0, -1000, -1200, ts("B", -200)),
		line(-500, -50, -450, -500, ts("A", -20), ts("B", -30)),
	}
	got, err := money.Add(lines)
	if err != nil {
		t.Fatalf("Add() = %v", err)
	}
	want := money.Sums{Lines: lines, Net: -1450, Taxes: []money.TaxSum{ts("B", -230), ts("A", -20)}, Total: -1700}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("Add() = %+v, want %+v", got, want)
	}
	for _, l := range []money.LineSums{{Net: math.MaxInt64}, {Total: math.MinInt64 + 1}, {Taxes: []money.TaxSum{ts("A", math.MaxInt64)}}} {
		if got, err := money.Add([]money.LineSums{l, l}); !errors.Is(err, money.ErrOverflow) {
			t.Errorf("Add(%+v twice) = %+v, %v, want %v", l, got, err, money.ErrOverflow)
		}
	}
}
