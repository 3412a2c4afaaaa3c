package setup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/oklog/ulid/v2"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
)

// Thing is one thing of the catalogue as the office reads and writes it.
type Thing struct {
	ID       string          `json:"id"`
	Revision uint64          `json:"revision"`
	Body     json.RawMessage `json:"body"`
}

// maxRate is the largest tax rate, 100 %.
const maxRate = money.Rate(1_000_000)

// Things lists the live things of a kind after an id, at most limit.
func (s *Setup) Things(ctx context.Context, kind catalogue.Kind, after string, limit int) ([]Thing, error) {
	if !editable(kind) {
		return nil, message.New(message.NotFound, "setup.no_such_kind", "kind", string(kind))
	}
	var out []Thing
	err := s.store.View(ctx, func(r store.Reader) error {
		rows, err := r.Things(ctx, "", string(kind), after, limit)
		if err != nil {
			return err
		}
		for _, row := range rows {
			out = append(out, Thing{ID: row.ID, Revision: row.Revision, Body: row.Body})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind, err)
	}
	return out, nil
}

// PutThing makes (id "") or changes a thing and returns it.
func (s *Setup) PutThing(ctx context.Context, by staff.Actor, kind catalogue.Kind, id string, body json.RawMessage) (Thing, error) {
	if !editable(kind) {
		return Thing{}, message.New(message.NotFound, "setup.no_such_kind", "kind", string(kind))
	}
	exists := id != ""
	if !exists {
		id = ulid.Make().String()
	}
	var out Thing
	err := s.change(ctx, by, string(kind)+"_changed", id, func(tx store.Tx) (before, after any, err error) {
		old, err := tx.Thing(ctx, "", string(kind), id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, nil, err
		}
		if exists && (err != nil || old.Deleted) {
			return nil, nil, message.New(message.NotFound, "setup.no_such_thing", "kind", string(kind), "id", id)
		}
		clean, err := checkThing(ctx, tx, kind, id, body)
		if err != nil {
			return nil, nil, err
		}
		revision, err := tx.PutThings(ctx, []store.Thing{{Kind: string(kind), ID: id, Body: clean}})
		if err != nil {
			return nil, nil, err
		}
		out = Thing{ID: id, Revision: revision, Body: clean}
		if exists {
			before = json.RawMessage(old.Body)
		}
		return before, json.RawMessage(clean), nil
	})
	return out, err
}

// DeleteThing takes a thing off the catalogue; orders keep what they were sold
// with, and registers learn of it by its tombstone.
func (s *Setup) DeleteThing(ctx context.Context, by staff.Actor, kind catalogue.Kind, id string) error {
	if !editable(kind) {
		return message.New(message.NotFound, "setup.no_such_kind", "kind", string(kind))
	}
	return s.change(ctx, by, string(kind)+"_deleted", id, func(tx store.Tx) (before, after any, err error) {
		old, err := tx.Thing(ctx, "", string(kind), id)
		if errors.Is(err, store.ErrNotFound) || err == nil && old.Deleted {
			return nil, nil, message.New(message.NotFound, "setup.no_such_thing", "kind", string(kind), "id", id)
		}
		if err != nil {
			return nil, nil, err
		}
		_, err = tx.PutThings(ctx, []store.Thing{{Kind: string(kind), ID: id, Deleted: true}})
		return json.RawMessage(old.Body), nil, err
	})
}

// editable are the kinds that are kept by [Setup.PutThing]; the others have
// commands of their own.
func editable(kind catalogue.Kind) bool {
	switch kind {
	case catalogue.KindProduct, catalogue.KindCategory, catalogue.KindTax, catalogue.KindMethod, catalogue.KindReason, catalogue.KindCustomer:
		return true
	case catalogue.KindCompany, catalogue.KindSettings, catalogue.KindRegister, catalogue.KindUser:
		return false
	}
	return false
}

// checkThing decodes a thing's body strictly, checks it and what it names, and
// returns it as it is stored.
func checkThing(ctx context.Context, r store.Reader, kind catalogue.Kind, id string, body json.RawMessage) ([]byte, error) {
	exists := func(kind catalogue.Kind, id string) error {
		if id == "" {
			return nil
		}
		thing, err := r.Thing(ctx, "", string(kind), id)
		if errors.Is(err, store.ErrNotFound) || err == nil && thing.Deleted {
			return message.New(message.Invalid, "setup.no_such_thing", "kind", string(kind), "id", id)
		}
		return err
	}
	switch kind {
	case catalogue.KindProduct:
		return checked(body, func(p *catalogue.Product) error {
			if err := checkProduct(p); err != nil {
				return err
			}
			if err := exists(catalogue.KindCategory, p.Category); err != nil {
				return err
			}
			for _, tax := range p.Taxes {
				if err := exists(catalogue.KindTax, tax); err != nil {
					return err
				}
			}
			return nil
		})
	case catalogue.KindCategory:
		return checked(body, func(c *catalogue.Category) error {
			if c.Parent == id {
				return message.New(message.Invalid, "setup.category_loop")
			}
			return errors.Join(checkName(&c.Name), exists(catalogue.KindCategory, c.Parent))
		})
	case catalogue.KindTax:
		return checked(body, func(t *catalogue.Tax) error {
			if t.Rate < 0 || t.Rate > maxRate {
				return message.New(message.Invalid, "setup.bad_rate")
			}
			if t.Code = strings.TrimSpace(t.Code); t.Code == "" || strings.ContainsAny(t.Code, " ,;") {
				return message.New(message.Invalid, "setup.bad_tax_code")
			}
			return errors.Join(checkName(&t.Name), checkOptionalAccount(t.Account))
		})
	case catalogue.KindMethod:
		return checked(body, func(m *catalogue.Method) error {
			switch m.Kind {
			case pos.MethodCash, pos.MethodCard, pos.MethodOther, pos.MethodPayLater:
			default:
				return message.New(message.Invalid, "setup.bad_method_kind", "kind", string(m.Kind))
			}
			return errors.Join(checkName(&m.Name), checkAccount(m.Account))
		})
	case catalogue.KindReason:
		return checked(body, func(reason *catalogue.Reason) error {
			return errors.Join(checkName(&reason.Name), checkAccount(reason.Account))
		})
	case catalogue.KindCustomer:
		return checked(body, func(c *catalogue.Customer) error { return checkName(&c.Name) })
	case catalogue.KindCompany, catalogue.KindSettings, catalogue.KindRegister, catalogue.KindUser:
	}
	return nil, message.New(message.NotFound, "setup.no_such_kind", "kind", string(kind))
}

func checked[T any](body json.RawMessage, check func(*T) error) ([]byte, error) {
	var v T
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return nil, message.New(message.Invalid, "common.invalid").Wrap(err)
	}
	if err := check(&v); err != nil {
		return nil, err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return data, nil
}

func checkProduct(p *catalogue.Product) error {
	p.Code = strings.TrimSpace(p.Code)
	if p.Code == "" {
		return message.New(message.Invalid, "setup.no_product_code")
	}
	if p.Price < 0 {
		return message.New(message.Invalid, "setup.negative_price")
	}
	for _, barcode := range p.Barcodes {
		if !validBarcode(barcode) {
			return message.New(message.Invalid, "setup.bad_barcode", "barcode", barcode)
		}
	}
	return errors.Join(checkName(&p.Name), checkOptionalAccount(p.Account))
}

func checkName(name *string) error {
	if *name = strings.TrimSpace(*name); *name == "" {
		return message.New(message.Invalid, "setup.no_name")
	}
	return nil
}

func checkOptionalAccount(account string) error {
	if account == "" {
		return nil
	}
	return checkAccount(account)
}

// validBarcode accepts what a scanner can read: GTINs (8, 12, 13 or 14 digits)
// must have the right check digit; anything else is taken as Code 128 text.
func validBarcode(s string) bool {
	if s == "" || len(s) > 48 || strings.TrimSpace(s) != s {
		return false
	}
	digits := strings.Trim(s, "0123456789") == ""
	if !digits {
		for _, r := range s {
			if r < ' ' || r > '~' {
				return false
			}
		}
		return true
	}
	switch len(s) {
	case 8, 12, 13, 14:
	default:
		return true
	}
	// GS1 General Specifications 7.9: from the right, weights 3 and 1.
	sum := 0
	for i := range len(s) - 1 {
		weight := 3
		if (len(s)-2-i)%2 == 1 {
			weight = 1
		}
		sum += weight * int(s[i]-'0')
	}
	return (10-sum%10)%10 == int(s[len(s)-1]-'0')
}
