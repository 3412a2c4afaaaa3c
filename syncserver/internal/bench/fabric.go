package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/setup"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
	"tillandsia/syncserver/internal/store/sqlstore"
)

// fabric is a store that was set up with points of sale and enrolled
// registers, and the journals of those.
type fabric struct {
	tills []*fabricated
}

// fabricated is a register with a journal that was made for the measurement.
type fabricated struct {
	*journaltest.Till
	token string
	// sent is how many entries the store holds already.
	sent    uint64
	session string
}

// setUp fills an empty database: shops points of sale with some registers
// each, every one enrolled, begun and in a session of its own.
func setUp(ctx context.Context, database string, shops, registers int) (_ *fabric, err error) {
	s, err := sqlstore.Open(ctx, sqlstore.Options{Database: database})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	log := slog.New(slog.DiscardHandler)
	books := ledger.New(s, time.Now, log, ledger.Options{})
	settings := setup.New(s, time.Now, log)
	if err := errors.Join(books.Start(ctx), settings.Seed(ctx)); err != nil {
		return nil, err
	}
	admin := staff.Actor{User: "admin", Name: "Admin", Role: catalogue.RoleAdmin}
	f := &fabric{}
	for i := range shops {
		code := fmt.Sprintf("SHOP%d", i+1)
		if err := addShop(ctx, s, settings, admin, code); err != nil {
			return nil, err
		}
		for k := range registers {
			till, err := addTill(ctx, books, settings, admin, code, fmt.Sprintf("R%d", k+1))
			if err != nil {
				return nil, fmt.Errorf("register %d at %s: %w", k+1, code, err)
			}
			f.tills = append(f.tills, till)
		}
	}
	return f, nil
}

func addShop(ctx context.Context, s store.Store, settings *setup.Setup, by staff.Actor, code string) error {
	err := settings.CreatePointOfSale(ctx, by, catalogue.Settings{
		Code: code, Name: code, TimeZone: "Europe/Vienna", CutOff: 240, Methods: []string{journaltest.Cash, journaltest.Card, journaltest.PayLater},
		CashControl: true, MaxDifference: 500, Active: true,
	})
	if err != nil {
		return err
	}
	var things []store.Thing
	for _, t := range []struct {
		kind catalogue.Kind
		id   string
		body any
	}{
		{catalogue.KindUser, "anna", catalogue.User{Name: "Anna", Role: catalogue.RoleCashier, Active: true}},
		{catalogue.KindUser, "max", catalogue.User{Name: "Max", Role: catalogue.RoleManager, Active: true}},
		{catalogue.KindProduct, journaltest.Product, catalogue.Product{Code: "C1", Name: "Coffee", Active: true}},
	} {
		body, err := json.Marshal(t.body)
		if err != nil {
			return err
		}
		point := code
		if t.kind == catalogue.KindProduct {
			point = ""
		}
		things = append(things, store.Thing{PointOfSale: point, Kind: string(t.kind), ID: t.id, Body: body})
	}
	return s.Update(ctx, func(tx store.Tx) error {
		_, err := tx.PutThings(ctx, things)
		return err
	})
}

func addTill(ctx context.Context, books *ledger.Ledger, settings *setup.Setup, by staff.Actor, shop, code string) (*fabricated, error) {
	register, err := settings.CreateRegister(ctx, by, shop, code, code, true)
	if err != nil {
		return nil, err
	}
	actor := ledger.Actor{User: by.User, Name: by.Name, Role: string(by.Role)}
	pairing, err := books.NewPairing(ctx, actor, shop, register.ID)
	if err != nil {
		return nil, err
	}
	t := &fabricated{Till: journaltest.New(shop, register.ID, code)}
	enrolment, err := books.Enrol(ctx, ledger.Enrolling{Code: pairing.Code, Nonce: t.Nonce, Software: "bench", Remote: "bench"})
	if err != nil {
		return nil, err
	}
	t.token = enrolment.Token
	if register, err = books.Authenticate(ctx, t.token); err != nil {
		return nil, err
	}
	welcome, err := books.Hello(ctx, register, t.hello())
	if err != nil {
		return nil, err
	}
	t.session = t.Open(10000).ID
	ack, err := books.Apply(ctx, register, welcome.Generation, t.Epoch, 1, t.Raw)
	if err != nil {
		return nil, err
	}
	t.sent = ack.Cursor.Seq
	return t, nil
}

// hello says what the register holds. The generation is left to the server.
func (t *fabricated) hello() *wire.Hello {
	return &wire.Hello{
		Version: wire.Version, PointOfSale: t.PointOfSale, Register: t.Register, Nonce: t.Nonce,
		Epochs:  []wire.EpochHead{{Epoch: t.Epoch, Nonce: t.Nonce, Base: t.Base, Checkpoint: t.Base, Head: t.Head}},
		Waiting: len(t.Raw) - int(t.sent), Program: "bench", Clock: time.Now(),
	}
}

// sell writes n orders of three lines, paid in cash, into each journal.
func (f *fabric) sell(n int) error {
	for _, t := range f.tills {
		for range n {
			o, err := orderOf(t.Till)
			if err != nil {
				return err
			}
			t.Write(t.Stamp(o))
		}
	}
	return nil
}

// orderOf makes an order of three lines with one payment.
func orderOf(t *journaltest.Till) (pos.Order, error) {
	o := t.Order(1200, journaltest.Cash)
	line := o.Lines[0]
	o.Lines = nil
	items := make([]money.Item, 3)
	for i := range items {
		items[i] = money.Item{Qty: 1000, Price: 40000, Taxes: o.TaxRates}
	}
	sums, err := money.Compute(items, money.Discount{}, o.Rules)
	if err != nil {
		return o, err
	}
	for i := range items {
		l := line
		l.ID, l.Price, l.LineSums = t.ID(), 40000, sums.Lines[i]
		o.Lines = append(o.Lines, l)
	}
	o.Net, o.Taxes, o.Total = sums.Net, sums.Taxes, sums.Total
	o.Payments[0].Amount = o.Total
	return o, nil
}
