package money_test

import (
	"errors"
	"math"
	"testing"

	"tillandsia/shared/money"
)

func cash(a money.Amount) money.Tender { return money.Tender{Amount: a, Cash: true} }

func card(a money.Amount) money.Tender { return money.Tender{Amount: a} }

func TestSettle(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		total    money.Amount
		tenders  []money.Tender
		coin     money.Amount
		rounding money.Amount
		change   money.Amount
	}{
		{"W9 A: 12.00 of 20.00 in cash gives 8.00", 1200, []money.Tender{cash(2000)}, 5, 0, 800},
		{"W9 B: 10.03 in cash is 10.05", 1003, []money.Tender{cash(1005)}, 5, 2, 0},
		{"W9 C: 24.00 by card", 2400, []money.Tender{card(2400)}, 5, 0, 0},
		{"W9 D: 12.00 later", 1200, []money.Tender{card(1200)}, 5, 0, 0},
		{"W9 E: 6.00 refunded in cash", -600, []money.Tender{cash(-600)}, 5, 0, 0},
		{"W9 F: the refund of B keeps the sign of its rounding", -1003, []money.Tender{cash(-1005)}, 5, -2, 0},
		{"Switzerland, SRF Espresso: the post takes 19.30 for 19.32", 1932, []money.Tender{cash(1930)}, 5, -2, 0},
		{"Switzerland, kingbill: milk at 1.09 is 1.10", 109, []money.Tender{cash(200)}, 5, 1, 90},
		{"Canada, Budget 2012: 4.92 in cash is 4.90", 492, []money.Tender{cash(500)}, 5, -2, 10},
		{"Canada, Budget 2012: 4.92 by card is 4.92", 492, []money.Tender{card(492)}, 5, 0, 0},
		{"Canada, GI-131: 202.27 in cash is 202.25", 20227, []money.Tender{cash(20225)}, 5, -2, 0},
		{"Canada, OPC: 5.98 in cash is 6.00", 598, []money.Tender{cash(600)}, 5, 2, 0},
		{"Italy, stol.it: 1.99 in cash is 2.00", 199, []money.Tender{cash(200)}, 5, 1, 0},
		{"Sweden 1992 to 2010: 223.20 in cash is 223.00", 22320, []money.Tender{cash(22300)}, 50, -20, 0},
		{"Sweden 1992 to 2010: 65.40 in cash is 65.50", 6540, []money.Tender{cash(7000)}, 50, 10, 450},
		{"Sweden 1992 to 2010: 324.88 by card is 324.88", 32488, []money.Tender{card(32488)}, 50, 0, 0},
		{"half a coin goes away from zero", 25, []money.Tender{cash(50)}, 50, 25, 0},
		{"half a coin of a refund goes away from zero", -25, []money.Tender{cash(-50)}, 50, -25, 0},
		{"without cash rounding nothing is rounded", 1003, []money.Tender{cash(2000)}, 0, 0, 997},
		{"a coin of one unit rounds nothing", 1003, []money.Tender{cash(2000)}, 1, 0, 997},
		{"the rest in cash is rounded, the card is not", 1003, []money.Tender{card(501), cash(500)}, 5, -2, 0},
		{"the order of tenders does not matter", 1003, []money.Tender{cash(500), card(501)}, 5, -2, 0},
		{"what the card leaves even is not rounded", 1003, []money.Tender{cash(500), card(503)}, 5, 0, 0},
		{"cash that the card made needless is given back", 1003, []money.Tender{card(1003), cash(500)}, 5, 0, 500},
		{"a remainder that rounds to nothing takes a tender of nothing", 1002, []money.Tender{card(1000), cash(0)}, 5, -2, 0},
		{"several notes are one sum", 4000, []money.Tender{cash(2000), cash(2000), cash(2000)}, 5, 0, 2000},
		{"an order of nothing needs no tender", 0, nil, 5, 0, 0},
		{"a refund in two parts rounds the one in cash", -1003, []money.Tender{card(-501), cash(-500)}, 5, 2, 0},
		{"the largest amount is paid exactly", math.MaxInt64, []money.Tender{cash(math.MaxInt64)}, 0, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := money.Settle(tt.total, tt.tenders, money.Rules{Currency: eur, CashRounding: tt.coin})
			want := money.Settlement{Rounding: tt.rounding, Change: tt.change}
			if err != nil || got != want {
				t.Errorf("Settle(%d, %v) = %+v, %v, want %+v", tt.total, tt.tenders, got, err, want)
			}
		})
	}
}

func TestSettleRefuses(t *testing.T) {
	t.Parallel()
	const most, least = math.MaxInt64, math.MinInt64
	tests := []struct {
		name    string
		total   money.Amount
		tenders []money.Tender
		coin    money.Amount
		want    error
	}{
		{"no tender", 1200, nil, 5, money.ErrUnderpaid},
		{"a remainder below half a coin without a cash tender", 1002, []money.Tender{card(1000)}, 5, money.ErrUnderpaid},
		{"less cash than the total", 1200, []money.Tender{cash(1199)}, 0, money.ErrUnderpaid},
		{"the unrounded total in cash", 1003, []money.Tender{cash(1003)}, 5, money.ErrUnderpaid},
		{"less by card than the total", 1200, []money.Tender{card(1199)}, 5, money.ErrUnderpaid},
		{"less refunded than is due", -1003, []money.Tender{cash(-1000)}, 5, money.ErrUnderpaid},
		{"nothing refunded", -1003, nil, 5, money.ErrUnderpaid},
		{"more by card than the total", 1200, []money.Tender{card(1201)}, 5, money.ErrChangeBeyondCash},
		{"more by card than the total, with some cash", 1200, []money.Tender{card(1300), cash(50)}, 5, money.ErrChangeBeyondCash},
		{"more by card than the total, hidden by rounding", 1000, []money.Tender{card(1002), cash(5)}, 5, money.ErrChangeBeyondCash},
		{"more refunded by card than is due", -1200, []money.Tender{card(-1201)}, 5, money.ErrChangeBeyondCash},
		{"more refunded in cash than is due", -1003, []money.Tender{cash(-1010)}, 5, money.ErrChangeBeyondCash},
		{"a card for an order of nothing", 0, []money.Tender{card(1)}, 5, money.ErrChangeBeyondCash},
		{"cash out of a sale", 1000, []money.Tender{card(1200), cash(-200)}, 5, money.ErrTender},
		{"a payment in a refund", -1000, []money.Tender{cash(-1200), card(200)}, 5, money.ErrTender},
		{"a smallest coin below zero", 1000, []money.Tender{cash(1000)}, -5, money.ErrCashRounding},
		{"tenders whose sum is too large", 1000, []money.Tender{cash(most), cash(most)}, 5, money.ErrOverflow},
		{"a total that rounds beyond the largest amount", most, []money.Tender{cash(most)}, 10, money.ErrOverflow},
		{"the smallest total", least, []money.Tender{cash(least)}, 0, money.ErrOverflow},
		{"the smallest tender", -1, []money.Tender{card(least)}, 0, money.ErrOverflow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := money.Settle(tt.total, tt.tenders, money.Rules{Currency: eur, CashRounding: tt.coin})
			if !errors.Is(err, tt.want) {
				t.Errorf("Settle(%d, %v) = %+v, %v, want %v", tt.total, tt.tenders, got, err, tt.want)
			}
		})
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		total money.Amount
		paid  []money.Tender
		cash  bool
		want  money.Amount
	}{
		{"all of it by card is exact", 1003, nil, false, 1003},
		{"all of it in cash is rounded", 1003, nil, true, 1005},
		{"what the card leaves is rounded", 1003, []money.Tender{card(501)}, true, 500},
		{"what cash leaves is exact by card", 1003, []money.Tender{cash(500)}, false, 503},
		{"what cash leaves is the rest of the rounded total", 1003, []money.Tender{cash(500)}, true, 505},
		{"odd coins count in full", 1003, []money.Tender{cash(501)}, true, 504},
		{"too much cash leaves change", 1003, []money.Tender{cash(2000)}, true, -995},
		{"a refund in cash is rounded", -1003, nil, true, -1005},
		{"a refund by card is exact", -1003, nil, false, -1003},
		{"what is left of a refund is rounded", -1003, []money.Tender{card(-501)}, true, -500},
		{"a remainder below half a coin is nothing in cash", 1002, []money.Tender{card(1000)}, true, 0},
		{"a remainder below half a coin is due by card", 1002, []money.Tender{card(1000)}, false, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := money.Due(tt.total, tt.paid, money.Rules{Currency: eur, CashRounding: 5}, tt.cash)
			if err != nil || got != tt.want {
				t.Errorf("Due(%d, %v, %t) = %d, %v, want %d", tt.total, tt.paid, tt.cash, got, err, tt.want)
			}
		})
	}
	for _, total := range []money.Amount{math.MaxInt64, math.MinInt64, math.MinInt64 + 1} {
		if got, err := money.Due(total, nil, money.Rules{CashRounding: 10}, true); !errors.Is(err, money.ErrOverflow) {
			t.Errorf("Due(%d) = %d, %v, want %v", total, got, err, money.ErrOverflow)
		}
	}
	if got, err := money.Due(1, []money.Tender{card(math.MinInt64)}, money.Rules{}, false); !errors.Is(err, money.ErrOverflow) {
		t.Errorf("Due(1, smallest) = %d, %v, want %v", got, err, money.ErrOverflow)
	}
}
