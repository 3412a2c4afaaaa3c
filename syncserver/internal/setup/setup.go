// Package setup keeps what a manager sets up before anything is sold: the
// company with its accounts, points of sale, registers, and the catalogue of
// products, categories, taxes, payment methods, reasons and customers.
//
// Everything that a register needs of it is a thing of the catalogue with a
// revision; the settings of a point of sale are locked while it is in use.
package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
)

// companyID is the id of the only thing of its kind.
const companyID = "company"

// Setup is the service.
type Setup struct {
	store store.Store
	clock func() time.Time
	log   *slog.Logger
}

// New returns the service over a store.
func New(s store.Store, clock func() time.Time, log *slog.Logger) *Setup {
	return &Setup{store: s, clock: clock, log: log}
}

// DefaultCompany is what a new server begins with. Accounts are names that
// plain-text accounting programs take as they are.
func DefaultCompany() catalogue.Company {
	return catalogue.Company{
		Name:     "My company",
		Currency: money.Currency{Code: "EUR", Digits: 2},
		Accounts: catalogue.Accounts{
			Float:      "assets:float",
			Loss:       "expenses:cash differences",
			Gain:       "income:cash differences",
			Rounding:   "expenses:cash rounding",
			Suspense:   "assets:suspense",
			Receivable: "assets:receivable",
			Safe:       "assets:safe",
			Income:     "income:sales",
			Tax:        "liabilities:tax",
		},
	}
}

// Ids of what a new server begins with.
const (
	MethodCash     = "cash"
	MethodCard     = "card"
	MethodPayLater = "pay-later"
	ReasonSafe     = "safe"
	ReasonPetty    = "petty-cash"
	ReasonChange   = "change"
)

// Seed gives a new server its company, payment methods and reasons. It does
// nothing where there is a company.
func (s *Setup) Seed(ctx context.Context) error {
	return s.store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Thing(ctx, "", string(catalogue.KindCompany), companyID); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		company := DefaultCompany()
		seeds := []struct {
			kind catalogue.Kind
			id   string
			body any
		}{
			{catalogue.KindCompany, companyID, company},
			{catalogue.KindMethod, MethodCash, catalogue.Method{Name: "Cash", Kind: pos.MethodCash, Account: "assets:cash", Active: true}},
			{catalogue.KindMethod, MethodCard, catalogue.Method{Name: "Card", Kind: pos.MethodCard, Account: "assets:card", Active: true}},
			{catalogue.KindMethod, MethodPayLater, catalogue.Method{Name: "Pay later", Kind: pos.MethodPayLater, Account: company.Accounts.Receivable, Active: true}},
			{catalogue.KindReason, ReasonSafe, catalogue.Reason{Name: "To the safe", Account: company.Accounts.Safe, Out: true, In: true}},
			{catalogue.KindReason, ReasonPetty, catalogue.Reason{Name: "Petty cash", Account: "expenses:petty cash", Out: true}},
			{catalogue.KindReason, ReasonChange, catalogue.Reason{Name: "Change from the bank", Account: "assets:bank", In: true}},
		}
		var things []store.Thing
		for _, seed := range seeds {
			thing, err := newThing("", seed.kind, seed.id, seed.body)
			if err != nil {
				return err
			}
			things = append(things, thing)
		}
		_, err := tx.PutThings(ctx, things)
		return err
	})
}

func newThing(pointOfSale string, kind catalogue.Kind, id string, body any) (store.Thing, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return store.Thing{}, fmt.Errorf("encode %s %s: %w", kind, id, err)
	}
	return store.Thing{PointOfSale: pointOfSale, Kind: string(kind), ID: id, Body: data}, nil
}

// Company reads the company.
func (s *Setup) Company(ctx context.Context) (c catalogue.Company, err error) {
	err = s.store.View(ctx, func(r store.Reader) error {
		c, err = ReadCompany(ctx, r)
		return err
	})
	return c, err
}

// ReadCompany reads the company inside a transaction.
func ReadCompany(ctx context.Context, r store.Reader) (catalogue.Company, error) {
	thing, err := r.Thing(ctx, "", string(catalogue.KindCompany), companyID)
	if err != nil {
		return catalogue.Company{}, fmt.Errorf("read company: %w", err)
	}
	var c catalogue.Company
	if err := json.Unmarshal(thing.Body, &c); err != nil {
		return catalogue.Company{}, fmt.Errorf("read company: %w", err)
	}
	return c, nil
}

// PutCompany changes the company. Its currency is fixed once a session exists:
// amounts have no currency of their own.
func (s *Setup) PutCompany(ctx context.Context, by staff.Actor, c catalogue.Company) error {
	known, ok := money.LookupCurrency(c.Currency.Code)
	if !ok {
		return message.New(message.Invalid, "setup.no_such_currency", "code", c.Currency.Code)
	}
	c.Currency = known
	if strings.TrimSpace(c.Name) == "" {
		return message.New(message.Invalid, "setup.no_name")
	}
	for _, account := range []string{c.Accounts.Float, c.Accounts.Loss, c.Accounts.Gain, c.Accounts.Rounding, c.Accounts.Suspense, c.Accounts.Receivable, c.Accounts.Safe, c.Accounts.Income, c.Accounts.Tax} {
		if err := checkAccount(account); err != nil {
			return err
		}
	}
	return s.change(ctx, by, "company_changed", companyID, func(tx store.Tx) (before, after any, err error) {
		old, err := ReadCompany(ctx, tx)
		if err != nil {
			return nil, nil, err
		}
		if old.Currency != c.Currency {
			sessions, err := tx.Sessions(ctx, store.SessionFilter{Limit: 1})
			if err != nil {
				return nil, nil, err
			}
			if len(sessions) > 0 {
				return nil, nil, message.New(message.Conflict, "setup.currency_fixed", "code", old.Currency.Code)
			}
		}
		thing, err := newThing("", catalogue.KindCompany, companyID, c)
		if err != nil {
			return nil, nil, err
		}
		_, err = tx.PutThings(ctx, []store.Thing{thing})
		return old, c, err
	})
}

// change runs f in a transaction and writes the action to the audit log.
func (s *Setup) change(ctx context.Context, by staff.Actor, action, target string, f func(tx store.Tx) (before, after any, err error)) error {
	err := s.store.Update(ctx, func(tx store.Tx) error {
		before, after, err := f(tx)
		if err != nil {
			return err
		}
		row := store.AuditRow{ID: ulid.Make().String(), At: s.clock().UnixMicro(), User: by.User, Remote: by.Remote, Action: action, Target: target}
		if row.Before, err = encodeOptional(before); err != nil {
			return err
		}
		if row.After, err = encodeOptional(after); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, row)
	})
	if err != nil {
		return err
	}
	s.store.Poke(ctx)
	return nil
}

func encodeOptional(v any) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode for the audit log: %w", err)
	}
	return data, nil
}

// checkAccount refuses names that the exports could not carry: two blanks end
// an account's name in plain-text accounting, and some first characters make
// something else of its line, brackets a posting that need not balance.
func checkAccount(account string) error {
	bad := account == "" || account != strings.TrimSpace(account) || !utf8.ValidString(account) ||
		strings.ContainsAny(account, ";\"") || strings.ContainsAny(account[:1], "([*!=~%#@+-")
	blank := false
	for _, r := range account {
		bad = bad || unicode.IsControl(r) || blank && unicode.IsSpace(r)
		blank = unicode.IsSpace(r)
	}
	if bad {
		return message.New(message.Invalid, "setup.bad_account", "account", account)
	}
	return nil
}

// PointsOfSale lists all points of sale by code.
func (s *Setup) PointsOfSale(ctx context.Context) (points []store.PointOfSale, err error) {
	err = s.store.View(ctx, func(r store.Reader) error {
		points, err = r.PointsOfSale(ctx)
		return err
	})
	return points, err
}

// Use is who uses a point of sale, so that its settings are locked.
type Use struct {
	Session string    `json:"session"`
	Name    string    `json:"name"`
	By      string    `json:"by"`
	Since   time.Time `json:"since"`
}

// InUse returns the sessions by which a point of sale is in use; rescues do
// not count.
func InUse(ctx context.Context, r store.Reader, code string) ([]Use, error) {
	no := false
	sessions, err := r.Sessions(ctx, store.SessionFilter{
		PointsOfSale: []string{code}, Rescue: &no,
		States: []session.State{session.OpeningControl, session.Opened, session.ClosingControl},
	})
	if err != nil {
		return nil, fmt.Errorf("read sessions in progress of %s: %w", code, err)
	}
	var uses []Use
	for _, open := range sessions {
		uses = append(uses, Use{Session: open.ID, Name: open.Name, By: open.OpenedByName, Since: time.UnixMicro(open.OpenedAt).UTC()})
	}
	return uses, nil
}

// PointOfSale reads a point of sale with its settings and by what it is in use.
func (s *Setup) PointOfSale(ctx context.Context, code string) (settings catalogue.Settings, uses []Use, err error) {
	err = s.store.View(ctx, func(r store.Reader) error {
		if settings, err = ReadSettings(ctx, r, code); err != nil {
			return err
		}
		uses, err = InUse(ctx, r, code)
		return err
	})
	return settings, uses, err
}

// ReadSettings reads the settings of a point of sale inside a transaction.
func ReadSettings(ctx context.Context, r store.Reader, code string) (catalogue.Settings, error) {
	p, err := r.PointOfSale(ctx, code)
	if errors.Is(err, store.ErrNotFound) {
		return catalogue.Settings{}, message.New(message.NotFound, "setup.no_such_point_of_sale", "code", code)
	}
	if err != nil {
		return catalogue.Settings{}, fmt.Errorf("read point of sale %s: %w", code, err)
	}
	var settings catalogue.Settings
	if err := json.Unmarshal(p.Settings, &settings); err != nil {
		return catalogue.Settings{}, fmt.Errorf("read settings of %s: %w", code, err)
	}
	return settings, nil
}

// CreatePointOfSale makes a point of sale.
func (s *Setup) CreatePointOfSale(ctx context.Context, by staff.Actor, settings catalogue.Settings) error {
	if !pos.ValidCode(settings.Code) {
		return message.New(message.Invalid, "setup.bad_code", "code", settings.Code)
	}
	return s.change(ctx, by, "point_of_sale_created", settings.Code, func(tx store.Tx) (before, after any, err error) {
		_, err = tx.PointOfSale(ctx, settings.Code)
		if err == nil {
			return nil, nil, message.New(message.Conflict, "setup.code_taken", "code", settings.Code)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return nil, nil, err
		}
		if err := s.putSettings(ctx, tx, settings, s.clock().UnixMicro()); err != nil {
			return nil, nil, err
		}
		users, err := tx.Users(ctx)
		if err != nil {
			return nil, nil, err
		}
		things, err := staff.ThingsAt(users, settings.Code)
		if err != nil {
			return nil, nil, err
		}
		if len(things) > 0 {
			if _, err := tx.PutThings(ctx, things); err != nil {
				return nil, nil, err
			}
		}
		return nil, settings, nil
	})
}

// UpdatePointOfSale changes the settings of a point of sale that is not in use.
func (s *Setup) UpdatePointOfSale(ctx context.Context, by staff.Actor, settings catalogue.Settings) error {
	return s.change(ctx, by, "point_of_sale_changed", settings.Code, func(tx store.Tx) (before, after any, err error) {
		row, err := tx.LockPointOfSale(ctx, settings.Code)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil, message.New(message.NotFound, "setup.no_such_point_of_sale", "code", settings.Code)
		}
		if err != nil {
			return nil, nil, err
		}
		uses, err := InUse(ctx, tx, settings.Code)
		if err != nil {
			return nil, nil, err
		}
		if len(uses) > 0 {
			return nil, nil, message.New(message.Conflict, "setup.in_use", "session", uses[0].Name, "by", uses[0].By, "since", uses[0].Since.Format("2006-01-02 15:04 UTC"))
		}
		old, err := ReadSettings(ctx, tx, settings.Code)
		if err != nil {
			return nil, nil, err
		}
		return old, settings, s.putSettings(ctx, tx, settings, row.Created)
	})
}

func (s *Setup) putSettings(ctx context.Context, tx store.Tx, settings catalogue.Settings, created int64) error {
	if err := checkSettings(ctx, tx, settings); err != nil {
		return err
	}
	thing, err := newThing(settings.Code, catalogue.KindSettings, settings.Code, settings)
	if err != nil {
		return err
	}
	if err := tx.PutPointOfSale(ctx, store.PointOfSale{Code: settings.Code, Name: settings.Name, Settings: thing.Body, Created: created}); err != nil {
		return err
	}
	_, err = tx.PutThings(ctx, []store.Thing{thing})
	return err
}

// checkSettings refuses settings that would stop a session later: what is
// wrong is said when it is set, not when a session closes.
func checkSettings(ctx context.Context, r store.Reader, settings catalogue.Settings) error {
	if strings.TrimSpace(settings.Name) == "" {
		return message.New(message.Invalid, "setup.no_name")
	}
	if _, err := time.LoadLocation(settings.TimeZone); err != nil || settings.TimeZone == "" || settings.TimeZone == "Local" {
		return message.New(message.Invalid, "setup.no_such_time_zone", "zone", settings.TimeZone)
	}
	if settings.CutOff < 0 || settings.CutOff >= 24*60 {
		return message.New(message.Invalid, "setup.bad_cut_off")
	}
	if settings.MaxDifference < 0 || settings.CashRounding < 0 || settings.DropAbove < 0 {
		return message.New(message.Invalid, "setup.negative_amount")
	}
	if len(settings.Methods) == 0 {
		return message.New(message.Invalid, "setup.no_method")
	}
	cash := 0
	for _, id := range settings.Methods {
		thing, err := r.Thing(ctx, "", string(catalogue.KindMethod), id)
		if errors.Is(err, store.ErrNotFound) || err == nil && thing.Deleted {
			return message.New(message.Invalid, "setup.no_such_method", "method", id)
		}
		if err != nil {
			return err
		}
		var m catalogue.Method
		if err := json.Unmarshal(thing.Body, &m); err != nil {
			return fmt.Errorf("read method %s: %w", id, err)
		}
		if err := checkAccount(m.Account); err != nil {
			return err
		}
		if m.Kind == pos.MethodCash {
			cash++
		}
	}
	if cash > 1 {
		return message.New(message.Invalid, "setup.two_cash_methods")
	}
	return nil
}

// CreateRegister makes a register of a point of sale; it is enrolled by a
// pairing code afterwards.
func (s *Setup) CreateRegister(ctx context.Context, by staff.Actor, pointOfSale, code, name string, drawer bool) (store.Register, error) {
	if !pos.ValidCode(code) {
		return store.Register{}, message.New(message.Invalid, "setup.bad_code", "code", code)
	}
	register := store.Register{
		PointOfSale: pointOfSale, ID: ulid.Make().String(), Code: code, Name: name,
		State: store.RegisterNew, Drawer: drawer, Created: s.clock().UnixMicro(),
	}
	err := s.change(ctx, by, "register_created", register.ID, func(tx store.Tx) (before, after any, err error) {
		if _, err := tx.LockPointOfSale(ctx, pointOfSale); err != nil {
			if errors.Is(err, store.ErrNotFound) {
				return nil, nil, message.New(message.NotFound, "setup.no_such_point_of_sale", "code", pointOfSale)
			}
			return nil, nil, err
		}
		others, err := tx.Registers(ctx, pointOfSale)
		if err != nil {
			return nil, nil, err
		}
		for _, other := range others {
			if other.Code == code {
				return nil, nil, message.New(message.Conflict, "setup.code_taken", "code", code)
			}
		}
		if err := tx.PutRegister(ctx, register); err != nil {
			return nil, nil, err
		}
		thing, err := newThing(pointOfSale, catalogue.KindRegister, register.ID, catalogue.Register{Code: code, Name: name, Drawer: drawer})
		if err != nil {
			return nil, nil, err
		}
		if _, err := tx.PutThings(ctx, []store.Thing{thing}); err != nil {
			return nil, nil, err
		}
		return nil, map[string]any{"point_of_sale": pointOfSale, "code": code, "name": name, "drawer": drawer}, nil
	})
	if err != nil {
		return store.Register{}, err
	}
	return register, nil
}
