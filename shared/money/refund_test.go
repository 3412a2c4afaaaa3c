package money_test

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"tillandsia/shared/money"
)

func TestRefund(t *testing.T) {
	t.Parallel()
	b := line(1003, 0, 836, 1003, ts("VAT", 167))
	three := line(1000, 0, 833, 1000, ts("VAT", 167))
	tests := []struct {
		name      string
		sold      money.LineSums
		soldQty   money.Qty
		before    []money.LineSums
		beforeQty money.Qty
		qty       money.Qty
		want      money.LineSums
	}{
		{"W9 F: all of B is its negative", b, 1000, nil, 0, 1000, line(-1003, 0, -836, -1003, ts("VAT", -167))},
		{"W9 E: a quarter of C", line(2400, 0, 2000, 2400, ts("VAT", 400)), 4000, nil, 0, 1000, line(-600, 0, -500, -600, ts("VAT", -100))},
		{"a first third takes its share", three, 3000, nil, 0, 1000, line(-333, 0, -277, -333, ts("VAT", -56))},
		{"a second third takes what two have more than one", three, 3000, []money.LineSums{line(-333, 0, -277, -333, ts("VAT", -56))}, 1000, 1000, line(-334, 0, -279, -334, ts("VAT", -55))},
		{"the last takes what is left", three, 3000, []money.LineSums{line(-333, 0, -277, -333, ts("VAT", -56)), line(-334, 0, -279, -334, ts("VAT", -55))}, 2000, 1000, line(-333, 0, -277, -333, ts("VAT", -56))},
		{"the last takes what is left, whatever was taken before", three, 3000, []money.LineSums{line(-100, 0, -90, -100, ts("VAT", -10))}, 1000, 2000, line(-900, 0, -743, -900, ts("VAT", -157))},
		{"the order's discount goes back with the line", line(1000, 101, 899, 1079, ts("VAT", 180)), 2000, nil, 0, 1000, line(-500, -50, -450, -540, ts("VAT", -90))},
		{"a line that was a return is given back", line(-1000, 0, -1000, -1200, ts("VAT", -200)), -2000, nil, 0, -1000, line(500, 0, 500, 600, ts("VAT", 100))},
		{"a line of nothing is refunded with nothing", line(0, 0, 0, 0), 1000, nil, 0, 1000, line(0, 0, 0, 0)},
		{"the largest line is refunded", line(math.MaxInt64, 0, math.MaxInt64, math.MaxInt64), math.MaxInt64, nil, 0, math.MaxInt64, line(-math.MaxInt64, 0, -math.MaxInt64, -math.MaxInt64)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := money.Refund(tt.sold, tt.soldQty, tt.before, tt.beforeQty, tt.qty)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Refund() = %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
}

func TestRefundRefuses(t *testing.T) {
	t.Parallel()
	const most, least = math.MaxInt64, math.MinInt64
	ten := line(1000, 0, 1000, 1000)
	tests := []struct {
		name      string
		sold      money.LineSums
		soldQty   money.Qty
		before    []money.LineSums
		beforeQty money.Qty
		qty       money.Qty
		want      error
	}{
		{"more than was sold", ten, 2000, nil, 0, 2001, money.ErrRefundTooMuch},
		{"more than is left", ten, 2000, []money.LineSums{line(-500, 0, -500, -500)}, 1000, 1001, money.ErrRefundTooMuch},
		{"anything where nothing is left", ten, 2000, []money.LineSums{line(-1000, 0, -1000, -1000)}, 2000, 1, money.ErrRefundTooMuch},
		{"more of a return than was returned", line(-1000, 0, -1000, -1000), -2000, nil, 0, -2001, money.ErrRefundTooMuch},
		{"a quantity of nothing", ten, 2000, nil, 0, 0, money.ErrQuantity},
		{"a quantity below nothing", ten, 2000, nil, 0, -1000, money.ErrQuantity},
		{"a line of no quantity", ten, 0, nil, 0, 1000, money.ErrQuantity},
		{"a quantity before of the other sign", ten, 2000, nil, -1000, 1000, money.ErrQuantity},
		{"a tax before that was not sold", ten, 2000, []money.LineSums{line(-500, 0, -450, -500, ts("A", -50))}, 1000, 1000, money.ErrTax},
		{"quantities whose sum is too large", ten, most, nil, most, 1, money.ErrOverflow},
		{"the smallest total", money.LineSums{Total: least}, 1000, nil, 0, 1000, money.ErrOverflow},
		{"the smallest amount", money.LineSums{Amount: least}, 1000, nil, 0, 1000, money.ErrOverflow},
		{"the smallest discount", money.LineSums{OrderDiscount: least}, 1000, nil, 0, 1000, money.ErrOverflow},
		{"half of the smallest discount", money.LineSums{Amount: 5, OrderDiscount: least}, 2000, nil, 0, 1000, money.ErrOverflow},
		{"the smallest tax", money.LineSums{Taxes: []money.TaxSum{ts("A", least)}}, 1000, nil, 0, 1000, money.ErrOverflow},
		{"sums before that are too large", ten, 2000, []money.LineSums{{Total: -most}, {Total: -most}}, 1000, 1000, money.ErrOverflow},
		{"a net that is too large", money.LineSums{Total: most, Taxes: []money.TaxSum{ts("A", -most)}}, 1000, nil, 0, 1000, money.ErrOverflow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := money.Refund(tt.sold, tt.soldQty, tt.before, tt.beforeQty, tt.qty)
			if !errors.Is(err, tt.want) {
				t.Errorf("Refund() = %+v, %v, want %v", got, err, tt.want)
			}
		})
	}
}
