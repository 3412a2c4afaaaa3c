package setup

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
)

// MaxImport is the largest file of products in bytes.
const MaxImport = 32 << 20

// Import is what an import did, or would do. Where Errors is not empty nothing
// was done: it is all or nothing.
type Import struct {
	New       int        `json:"new"`
	Changed   int        `json:"changed"`
	Unchanged int        `json:"unchanged"`
	Errors    []RowError `json:"errors"`
	Revision  uint64     `json:"revision,omitempty"`
	// Applied says that the catalogue was changed.
	Applied bool `json:"applied"`
}

// RowError is what is wrong with one row; the header is row 1.
type RowError struct {
	Row     int               `json:"row"`
	Key     string            `json:"key"`
	Params  map[string]string `json:"params,omitempty"`
	Message string            `json:"message"`
}

// maxRowErrors bounds what one import reports.
const maxRowErrors = 1000

// columns of the file. Columns may come in any order; those marked must be
// there.
var columns = []struct {
	name string
	must bool
}{{"code", true}, {"name", true}, {"category", false}, {"price", true}, {"taxes", false}, {"barcode", false}, {"unit", false}}

// ImportProducts reads products from CSV (UTF-8, comma or semicolon, header
// row): code, name, category (by name; made where it is missing), price,
// taxes (their codes, separated by blanks), barcode, unit. A product is known
// by its code. With dryRun nothing is changed and the answer says what would be.
func (s *Setup) ImportProducts(ctx context.Context, by staff.Actor, data []byte, dryRun bool) (Import, error) {
	if len(data) > MaxImport {
		return Import{}, message.New(message.Invalid, "setup.import_too_large", "max", strconv.Itoa(MaxImport>>20))
	}
	var result Import
	err := s.store.Update(ctx, func(tx store.Tx) error {
		known, err := readKnown(ctx, tx)
		if err != nil {
			return err
		}
		im := &importer{known: known, result: Import{Errors: []RowError{}}}
		if err := im.read(data); err != nil {
			return err
		}
		result = im.result
		if dryRun || len(result.Errors) > 0 || len(im.things) == 0 {
			return nil
		}
		if result.Revision, err = tx.PutThings(ctx, im.things); err != nil {
			return err
		}
		result.Applied = true
		after, err := encodeOptional(map[string]int{"new": result.New, "changed": result.Changed, "unchanged": result.Unchanged})
		if err != nil {
			return err
		}
		return tx.AppendAudit(ctx, store.AuditRow{ID: ulid.Make().String(), At: s.clock().UnixMicro(), User: by.User, Remote: by.Remote, Action: "products_imported", After: after})
	})
	if err != nil {
		return Import{}, err
	}
	if result.Applied {
		s.store.Poke(ctx)
	}
	return result, nil
}

// known is the catalogue as the import finds it.
type known struct {
	products   map[string]knownProduct // by code
	barcodes   map[string]string       // to product code
	categories map[string]string       // name to id
	taxes      map[string]string       // code to id
}

type knownProduct struct {
	id   string
	body []byte
	p    catalogue.Product
}

func readKnown(ctx context.Context, r store.Reader) (*known, error) {
	k := &known{products: map[string]knownProduct{}, barcodes: map[string]string{}, categories: map[string]string{}, taxes: map[string]string{}}
	for _, kind := range []catalogue.Kind{catalogue.KindProduct, catalogue.KindCategory, catalogue.KindTax} {
		rows, err := r.Things(ctx, "", string(kind), "", 0)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", kind, err)
		}
		for _, row := range rows {
			if err := k.add(kind, row); err != nil {
				return nil, fmt.Errorf("read %s %s: %w", kind, row.ID, err)
			}
		}
	}
	return k, nil
}

func (k *known) add(kind catalogue.Kind, row store.Thing) error {
	switch kind {
	case catalogue.KindProduct:
		var p catalogue.Product
		if err := json.Unmarshal(row.Body, &p); err != nil {
			return err
		}
		k.products[p.Code] = knownProduct{id: row.ID, body: row.Body, p: p}
		for _, b := range p.Barcodes {
			k.barcodes[b] = p.Code
		}
	case catalogue.KindCategory:
		var c catalogue.Category
		if err := json.Unmarshal(row.Body, &c); err != nil {
			return err
		}
		k.categories[c.Name] = row.ID
	case catalogue.KindTax:
		var t catalogue.Tax
		if err := json.Unmarshal(row.Body, &t); err != nil {
			return err
		}
		k.taxes[t.Code] = row.ID
	case catalogue.KindCompany, catalogue.KindSettings, catalogue.KindRegister, catalogue.KindMethod, catalogue.KindReason, catalogue.KindCustomer, catalogue.KindUser:
	}
	return nil
}

type importer struct {
	known  *known
	things []store.Thing
	result Import
	seen   map[string]int // code to row
}

func (im *importer) read(data []byte) error {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	r := csv.NewReader(bytes.NewReader(data))
	r.FieldsPerRecord = -1
	first, _, _ := bytes.Cut(data, []byte("\n"))
	if bytes.Count(first, []byte(";")) > bytes.Count(first, []byte(",")) {
		r.Comma = ';'
	}
	header, err := r.Read()
	if err != nil {
		return message.New(message.Invalid, "setup.import_unreadable").Wrap(err)
	}
	at := map[string]int{}
	for i, name := range header {
		at[strings.ToLower(strings.TrimSpace(name))] = i
	}
	for _, c := range columns {
		if _, ok := at[c.name]; !ok && c.must {
			return message.New(message.Invalid, "setup.import_no_column", "column", c.name)
		}
	}
	im.seen = map[string]int{}
	for row := 2; ; row++ {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			im.wrong(row, message.New(message.Invalid, "setup.import_unreadable"))
			return nil //nolint:nilerr // it is told by row; what follows a broken quote cannot be trusted
		}
		if !slices.ContainsFunc(record, func(s string) bool { return strings.TrimSpace(s) != "" }) {
			continue // spreadsheets keep rows that were emptied
		}
		if slices.ContainsFunc(record, func(s string) bool { return !utf8.ValidString(s) }) {
			im.wrong(row, message.New(message.Invalid, "setup.import_unreadable"))
			if len(im.result.Errors) >= maxRowErrors {
				return nil
			}
			continue
		}
		has := func(name string) bool {
			_, ok := at[name]
			return ok
		}
		field := func(name string) string {
			i, ok := at[name]
			if !ok || i >= len(record) {
				return ""
			}
			return strings.TrimSpace(record[i])
		}
		if err := im.row(row, has, field); err != nil {
			m, ok := errors.AsType[*message.Error](err)
			if !ok {
				return err
			}
			im.wrong(row, m)
		}
		if len(im.result.Errors) >= maxRowErrors {
			return nil
		}
	}
}

func (im *importer) wrong(row int, m *message.Error) {
	im.result.Errors = append(im.result.Errors, RowError{Row: row, Key: m.Key, Params: m.Params, Message: message.Text(message.English, m.Key, m.Params)})
}

func (im *importer) row(row int, has func(string) bool, field func(string) string) error {
	code := field("code")
	old, exists := im.known.products[code]
	p := old.p // what the file has no column for stays as it is
	p.Code, p.Name, p.Active = code, field("name"), true
	if unit := field("unit"); unit != "" {
		p.Unit = unit
	}
	price, err := money.ParsePrice(field("price"))
	if err != nil {
		return message.New(message.Invalid, "setup.bad_price", "price", field("price"))
	}
	p.Price = price
	if has("taxes") {
		p.Taxes = nil
	}
	for tax := range strings.FieldsSeq(field("taxes")) {
		id, ok := im.known.taxes[tax]
		if !ok {
			return message.New(message.Invalid, "setup.no_such_tax", "tax", tax)
		}
		p.Taxes = append(p.Taxes, id)
	}
	p.Barcodes = slices.Clone(p.Barcodes)
	if barcode := field("barcode"); barcode != "" {
		if owner, taken := im.known.barcodes[barcode]; taken && owner != code {
			return message.New(message.Invalid, "setup.barcode_taken", "barcode", barcode, "code", owner)
		}
		if !slices.Contains(p.Barcodes, barcode) {
			p.Barcodes = append(p.Barcodes, barcode)
		}
	}
	if err := checkProduct(&p); err != nil {
		return err
	}
	if before, twice := im.seen[code]; twice {
		return message.New(message.Invalid, "setup.import_twice", "code", code, "row", strconv.Itoa(before))
	}
	im.seen[code] = row
	for _, b := range p.Barcodes {
		im.known.barcodes[b] = code
	}
	if name := field("category"); name != "" {
		if p.Category, err = im.category(name); err != nil {
			return err
		}
	}
	id := old.id
	if !exists {
		id = ulid.Make().String()
	}
	thing, err := newThing("", catalogue.KindProduct, id, p)
	if err != nil {
		return err
	}
	switch {
	case !exists:
		im.result.New++
	case bytes.Equal(thing.Body, old.body):
		im.result.Unchanged++
		return nil
	default:
		im.result.Changed++
	}
	im.things = append(im.things, thing)
	return nil
}

func (im *importer) category(name string) (string, error) {
	if id, ok := im.known.categories[name]; ok {
		return id, nil
	}
	id := ulid.Make().String()
	thing, err := newThing("", catalogue.KindCategory, id, catalogue.Category{Name: name, Order: len(im.known.categories) + 1})
	if err != nil {
		return "", err
	}
	im.known.categories[name] = id
	im.things = append(im.things, thing)
	return id, nil
}
