package money_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"tillandsia/shared/money"
)

func TestFormat(t *testing.T) {
	t.Parallel()
	tests := []struct {
		got, want string
	}{
		{eur.Format(-123450), "-1234.50"},
		{eur.Format(0), "0.00"},
		{eur.Format(5), "0.05"},
		{eur.Format(-5), "-0.05"},
		{eur.Format(100), "1.00"},
		{eur.Format(math.MaxInt64), "92233720368547758.07"},
		{eur.Format(math.MinInt64), "-92233720368547758.08"},
		{jpy.Format(-1234), "-1234"},
		{jpy.Format(0), "0"},
		{kwd.Format(12345), "12.345"},
		{kwd.Format(7), "0.007"},
		{money.Currency{Digits: 4}.Format(1), "0.0001"},
		{money.Currency{Digits: -1}.Format(12), "12"},
		{money.Currency{Digits: 5}.Format(12), "12"},
		{money.Qty(1000).String(), "1"},
		{money.Qty(-1500).String(), "-1.5"},
		{money.Qty(5).String(), "0.005"},
		{money.Qty(0).String(), "0"},
		{money.Qty(1_000_000).String(), "1000"},
		{money.Qty(math.MinInt64).String(), "-9223372036854775.808"},
		{money.Price(132_500).String(), "13.25"},
		{money.Price(1).String(), "0.0001"},
		{money.Price(-132_500).String(), "-13.25"},
		{money.Price(1_500_000).String(), "150"},
		{money.Rate(200_000).String(), "20"},
		{money.Rate(88_750).String(), "8.875"},
		{money.Rate(99_750).String(), "9.975"},
		{money.Rate(1).String(), "0.0001"},
		{money.Rate(0).String(), "0"},
		{eur.FormatPrice(135_000), "13.50"},
		{eur.FormatPrice(825), "0.0825"},
		{eur.FormatPrice(-10_000), "-1.00"},
		{jpy.FormatPrice(1_500_000), "150"},
		{kwd.FormatPrice(12_300), "1.230"},
		{money.Currency{Digits: 9}.FormatPrice(15_000), "1.5"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("Format = %q, want %q", tt.got, tt.want)
		}
	}
}

// parser reads one kind of number as a plain int64.
type parser struct {
	name  string
	parse func(string) (int64, error)
}

func amountsOf(c money.Currency) parser {
	return parser{"ParseAmount " + c.Code, func(s string) (int64, error) { n, err := money.ParseAmount(s, c); return int64(n), err }}
}

var (
	quantities = parser{"ParseQty", func(s string) (int64, error) { n, err := money.ParseQty(s); return int64(n), err }}
	prices     = parser{"ParsePrice", func(s string) (int64, error) { n, err := money.ParsePrice(s); return int64(n), err }}
	rates      = parser{"ParseRate", func(s string) (int64, error) { n, err := money.ParseRate(s); return int64(n), err }}
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		parser parser
		s      string
		want   int64
	}{
		{amountsOf(eur), "-1234.50", -123450},
		{amountsOf(eur), "1234.5", 123450},
		{amountsOf(eur), "12", 1200},
		{amountsOf(eur), "0.05", 5},
		{amountsOf(eur), "-0", 0},
		{amountsOf(eur), "007.10", 710},
		{amountsOf(eur), "92233720368547758.07", math.MaxInt64},
		{amountsOf(eur), "-92233720368547758.07", -math.MaxInt64},
		{amountsOf(jpy), "1234", 1234},
		{amountsOf(kwd), "12.345", 12345},
		{quantities, "1.5", 1500},
		{quantities, "-0.001", -1},
		{prices, "13.25", 132_500},
		{prices, "0.0001", 1},
		{rates, "20", 200_000},
		{rates, "8.875", 88_750},
	}
	for _, tt := range tests {
		if got, err := tt.parser.parse(tt.s); got != tt.want || err != nil {
			t.Errorf("%s(%q) = %d, %v, want %d", tt.parser.name, tt.s, got, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		parser parser
		s      string
		want   error
	}{
		{amountsOf(eur), "1.234", money.ErrFormat},
		{amountsOf(eur), "1.230", money.ErrFormat},
		{amountsOf(jpy), "1.0", money.ErrFormat},
		{amountsOf(kwd), "1.2345", money.ErrFormat},
		{quantities, "1.2345", money.ErrFormat},
		{prices, "1.23456", money.ErrFormat},
		{rates, "8.87512", money.ErrFormat},
		{amountsOf(eur), "92233720368547758.08", money.ErrOverflow},
		{amountsOf(eur), "-92233720368547758.08", money.ErrOverflow},
		{amountsOf(eur), "92233720368547759", money.ErrOverflow},
		{amountsOf(eur), strings.Repeat("9", 400), money.ErrOverflow},
		{amountsOf(money.Currency{Code: "five", Digits: 5}), "1", money.ErrCurrency},
		{amountsOf(money.Currency{Code: "below", Digits: -1}), "1", money.ErrCurrency},
	}
	for _, s := range []string{
		"", "-", "+1", "--1", "-+1", ".5", "5.", ".", "-.5", "1,5", "1.234,5", "1 000", " 1", "1 ", "1e3",
		"0x10", "1_000", "1.-5", "1.+5", "1.2.3", "NaN", "Inf", "１", "٣", "1\x00", "€1",
	} {
		for _, p := range []parser{amountsOf(eur), quantities, prices, rates} {
			tests = append(tests, struct {
				parser parser
				s      string
				want   error
			}{p, s, money.ErrFormat})
		}
	}
	for _, tt := range tests {
		if got, err := tt.parser.parse(tt.s); got != 0 || !errors.Is(err, tt.want) {
			t.Errorf("%s(%q) = %d, %v, want %v", tt.parser.name, tt.s, got, err, tt.want)
		}
	}
}

func TestNumbersPrintThemselves(t *testing.T) {
	t.Parallel()
	if got, want := fmt.Sprint(money.Qty(1500), money.Price(132_500), money.Rate(88_750)), "1.5 13.25 8.875"; got != want {
		t.Errorf("Sprint() = %q, want %q", got, want)
	}
}
