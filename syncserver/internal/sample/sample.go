// Package sample holds real orders and a real catalogue for the demonstration,
// the story, the bench and tests: three days of a pizza place and the 91
// products that it sells.
//
// The files are embedded and never change at run time; SOURCE.md names where
// they come from and under which licence. Every call returns a fresh copy.
package sample

import (
	"bytes"
	_ "embed" // the two files
	"encoding/csv"
	"fmt"
	"strconv"
	"time"

	"tillandsia/shared/money"
)

// Order is what one customer bought.
type Order struct {
	// ID is the order's number in the source.
	ID string
	// Time is what the clock of the shop showed, in UTC, since the source
	// names no time zone.
	Time  time.Time
	Lines []Line
}

// Line is one product on an order.
type Line struct {
	// ProductCode is the code of a product of [ProductsCSV].
	ProductCode string
	// Qty is in pieces.
	Qty int
	// UnitPrice is the price of one piece on that day, in currency units of
	// two digits.
	UnitPrice money.Price
}

//go:embed orders.csv
var ordersCSV []byte

//go:embed products.csv
var productsCSV []byte

// pricePerMinorUnit is how many units of [money.Price] a cent has.
const pricePerMinorUnit = 100

// Orders returns the orders by time. It panics where the embedded file is
// broken, which the tests of the package exclude.
func Orders() []Order {
	orders, err := parse(ordersCSV)
	if err != nil {
		panic(fmt.Sprintf("read embedded orders: %v", err))
	}
	return orders
}

// ProductsCSV returns the catalogue in the form that the server imports:
// code, name, category, price, taxes, barcode. All products bear the tax
// VAT10.
func ProductsCSV() []byte { return bytes.Clone(productsCSV) }

// parse reads the orders' own form, one row for each line of an order:
//
//	order,time,product,quantity,unit_price
//	1,2015-01-01T11:38:36,hawaiian_m,1,1325
//
// The lines of an order stand together; prices are in minor units.
func parse(file []byte) ([]Order, error) {
	rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil {
		return nil, err
	}
	var orders []Order
	for i, r := range rows[1:] {
		at, err := time.Parse("2006-01-02T15:04:05", r[1])
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+2, err)
		}
		qty, err := strconv.Atoi(r[3])
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+2, err)
		}
		price, err := strconv.ParseInt(r[4], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+2, err)
		}
		if len(orders) == 0 || orders[len(orders)-1].ID != r[0] {
			orders = append(orders, Order{ID: r[0], Time: at})
		}
		o := &orders[len(orders)-1]
		o.Lines = append(o.Lines, Line{ProductCode: r[2], Qty: qty, UnitPrice: money.Price(price * pricePerMinorUnit)})
	}
	return orders, nil
}
