// Command gen makes the sample's orders and products from the published data
// set "Pizza Place Sales" (a gzip-compressed CSV file with one line for each
// line of an order). It is run by hand, in the folder of the package sample:
//
//	go run ./gen PATH-OF-pizza-sales.csv.gz
package main

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The days of the extract, and the tax that all products bear.
const (
	firstDay = "2015-01-01"
	lastDay  = "2015-01-03"
	tax      = "VAT10"
)

var source = []string{"order_id", "date", "time", "line_id", "pizza_id", "name", "size", "category", "quantity", "unit_price"}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen PATH-OF-pizza-sales.csv.gz")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	rows, err := read(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	orders := [][]string{{"order", "time", "product", "quantity", "unit_price"}}
	products := map[string][]string{}
	for _, r := range rows {
		order, day, clock, code, name, size, category, quantity, price := r[0], r[1], r[2], r[4], r[5], r[6], r[7], r[8], r[9]
		minor, err := minorUnits(price)
		if err != nil {
			return fmt.Errorf("order %s: %w", order, err)
		}
		// The source has one price for each product in the whole year.
		product := []string{code, name + " " + size, category, fmt.Sprintf("%d.%02d", minor/100, minor%100), tax, ""}
		if known, ok := products[code]; ok && !slices.Equal(known, product) {
			return fmt.Errorf("product %s is both %v and %v", code, known, product)
		}
		products[code] = product
		if day >= firstDay && day <= lastDay {
			orders = append(orders, []string{order, day + "T" + clock, code, quantity, strconv.FormatInt(minor, 10)})
		}
	}
	catalogue := make([][]string, 0, len(products))
	for _, p := range products {
		catalogue = append(catalogue, p)
	}
	slices.SortFunc(catalogue, slices.Compare)
	for i, p := range catalogue {
		p[5] = barcode(i + 1)
	}
	catalogue = slices.Insert(catalogue, 0, []string{"code", "name", "category", "price", "taxes", "barcode"})
	return errors.Join(write("orders.csv", orders), write("products.csv", catalogue))
}

func read(path string) (_ [][]string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	c := csv.NewReader(z)
	header, err := c.Read()
	if err != nil {
		return nil, err
	}
	if !slices.Equal(header, source) {
		return nil, fmt.Errorf("its columns are %v, want %v", header, source)
	}
	return c.ReadAll()
}

func write(path string, rows [][]string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c := csv.NewWriter(f)
	return c.WriteAll(rows)
}

// minorUnits reads a price such as 16, 18.5 or 20.75 as cents.
func minorUnits(price string) (int64, error) {
	whole, fraction, _ := strings.Cut(price, ".")
	if len(fraction) > 2 {
		return 0, fmt.Errorf("price %s has more than two decimals", price)
	}
	return strconv.ParseInt(whole+fraction+"00"[len(fraction):], 10, 64)
}

// barcode returns an EAN-13 of the range that shops number themselves.
func barcode(n int) string {
	digits := fmt.Sprintf("20%010d", n)
	sum := 0
	for i, d := range digits {
		weight := 1 + 2*(i%2)
		sum += weight * int(d-'0')
	}
	return digits + strconv.Itoa((10-sum%10)%10)
}
