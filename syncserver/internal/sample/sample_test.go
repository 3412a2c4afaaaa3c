package sample_test

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/sample"
)

// The figures are those of the published table, computed without this code.
func TestOrdersAreThoseOfTheSource(t *testing.T) {
	t.Parallel()
	type day struct {
		orders, lines, pieces int
		cents                 int64
	}
	want := map[string]day{
		"2015-01-01": {orders: 69, lines: 161, pieces: 162, cents: 271385},
		"2015-01-02": {orders: 67, lines: 160, pieces: 165, cents: 273190},
		"2015-01-03": {orders: 66, lines: 154, pieces: 158, cents: 266240},
	}

	got := map[string]day{}
	ids := map[string]bool{}
	var last time.Time
	for _, o := range sample.Orders() {
		if ids[o.ID] {
			t.Errorf("order %s is there twice", o.ID)
		}
		ids[o.ID] = true
		if o.Time.Before(last) {
			t.Errorf("order %s at %v comes after one at %v", o.ID, o.Time, last)
		}
		last = o.Time
		d := got[o.Time.Format(time.DateOnly)]
		d.orders++
		d.lines += len(o.Lines)
		for _, l := range o.Lines {
			d.pieces += l.Qty
			d.cents += int64(l.Qty) * int64(l.UnitPrice) / 100
		}
		got[o.Time.Format(time.DateOnly)] = d
	}
	if len(got) != len(want) {
		t.Errorf("the sample has %d days, want %d", len(got), len(want))
	}
	for date, w := range want {
		if got[date] != w {
			t.Errorf("%s has %+v, want %+v", date, got[date], w)
		}
	}

	first := sample.Orders()[0]
	if first.ID != "1" || first.Time != time.Date(2015, 1, 1, 11, 38, 36, 0, time.UTC) ||
		!slices.Equal(first.Lines, []sample.Line{{ProductCode: "hawaiian_m", Qty: 1, UnitPrice: 132500}}) {
		t.Errorf("first order = %+v, want a medium Hawaiian for 13.25 at 11:38:36", first)
	}
}

func TestCatalogueIsThatOfTheSource(t *testing.T) {
	t.Parallel()
	rows, err := csv.NewReader(bytes.NewReader(sample.ProductsCSV())).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(rows[0], ","), "code,name,category,price,taxes,barcode"; got != want {
		t.Fatalf("header = %s, want %s", got, want)
	}
	prices := map[string]money.Price{}
	names := map[string]bool{}
	var sum money.Price
	categories := map[string]int{}
	for _, r := range rows[1:] {
		code, name, category, price, taxes, barcode := r[0], r[1], r[2], r[3], r[4], r[5]
		whole, cents, ok := strings.Cut(price, ".")
		n, err := strconv.ParseInt(whole+cents, 10, 64)
		if !ok || len(cents) != 2 || err != nil {
			t.Fatalf("price of %s = %s, want two decimals", code, price)
		}
		if _, ok := prices[code]; ok || names[name] {
			t.Errorf("product %s, %s is there twice", code, name)
		}
		names[name] = true
		prices[code] = money.Price(n * 100)
		sum += prices[code]
		categories[category]++
		if taxes != "VAT10" {
			t.Errorf("taxes of %s = %s, want VAT10", code, taxes)
		}
		if !isEAN13(barcode) {
			t.Errorf("bar code of %s = %s, want a valid EAN-13", code, barcode)
		}
	}
	if len(prices) != 91 || sum != 15_020_500 {
		t.Errorf("the catalogue has %d products with prices of %d in all, want 91 with 15020500", len(prices), sum)
	}
	for category, want := range map[string]int{"Chicken": 18, "Classic": 24, "Supreme": 25, "Veggie": 24} {
		if categories[category] != want {
			t.Errorf("category %s has %d products, want %d", category, categories[category], want)
		}
	}

	for _, o := range sample.Orders() {
		for _, l := range o.Lines {
			if price, ok := prices[l.ProductCode]; !ok || price != l.UnitPrice {
				t.Errorf("order %s sells %s at %d; the catalogue has %d, %t", o.ID, l.ProductCode, l.UnitPrice, price, ok)
			}
		}
	}
}

// isEAN13 weighs the digits from the right, as the standard states it.
func isEAN13(code string) bool {
	if len(code) != 13 {
		return false
	}
	sum := 0
	for i := range 13 {
		d := int(code[12-i] - '0')
		if d < 0 || d > 9 {
			return false
		}
		if i%2 == 1 {
			d *= 3
		}
		sum += d
	}
	return sum%10 == 0
}

func TestCallersMayChangeWhatTheyGet(t *testing.T) {
	t.Parallel()
	sample.Orders()[0].Lines[0].Qty = 99
	if got := sample.Orders()[0].Lines[0].Qty; got != 1 {
		t.Errorf("quantity after a caller changed its copy = %d, want 1", got)
	}
	sample.ProductsCSV()[0] = 'X'
	if got := sample.ProductsCSV()[0]; got != 'c' {
		t.Errorf("catalogue after a caller changed its copy begins with %q, want 'c'", got)
	}
}
