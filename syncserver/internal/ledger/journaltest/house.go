package journaltest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/setup"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
)

// Manager is who closes things in tests.
var Manager = ledger.Actor{User: "max", Name: "Max", Role: string(catalogue.RoleManager)}

// House is a server's ledger over a store with a company, the points of sale
// SHOP1 and SHOP2, users and a product, and the tills that deliver to it.
type House struct {
	Store  store.Store
	Ledger *ledger.Ledger
	Setup  *setup.Setup

	tb    testing.TB
	mu    sync.Mutex
	now   time.Time
	tills map[*Till]*line
}

// line is a till's connection.
type line struct {
	register   store.Register
	generation uint64
	sent       uint64
}

// NewHouse sets a house up over an empty store.
func NewHouse(tb testing.TB, s store.Store, options ledger.Options) *House {
	tb.Helper()
	h := &House{Store: s, tb: tb, now: time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC), tills: map[*Till]*line{}}
	log := slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	h.Ledger = ledger.New(s, h.Now, log, options)
	h.Setup = setup.New(s, h.Now, log)
	ctx := tb.Context()
	h.must(h.Ledger.Start(ctx))
	h.must(h.Setup.Seed(ctx))
	admin := staff.Actor{User: "admin", Name: "Admin", Role: catalogue.RoleAdmin}
	for _, code := range []string{"SHOP1", "SHOP2"} {
		h.must(h.Setup.CreatePointOfSale(ctx, admin, catalogue.Settings{
			Code: code, Name: code, TimeZone: "Europe/Vienna", CutOff: 240, Methods: []string{Cash, Card, PayLater},
			CashControl: true, MaxDifference: 500, Active: true,
		}))
	}
	var things []store.Thing
	put := func(point string, kind catalogue.Kind, id string, body any) {
		data, err := json.Marshal(body)
		h.must(err)
		things = append(things, store.Thing{PointOfSale: point, Kind: string(kind), ID: id, Body: data})
	}
	put("", catalogue.KindProduct, Product, catalogue.Product{Code: "C1", Name: "Coffee", Active: true})
	for _, code := range []string{"SHOP1", "SHOP2"} {
		put(code, catalogue.KindUser, "anna", catalogue.User{Name: "Anna", Role: catalogue.RoleCashier, Active: true})
		put(code, catalogue.KindUser, "bob", catalogue.User{Name: "Bob", Role: catalogue.RoleCashier, Active: true})
		put(code, catalogue.KindUser, "max", catalogue.User{Name: "Max", Role: catalogue.RoleManager, Active: true})
	}
	h.must(s.Update(ctx, func(tx store.Tx) error {
		_, err := tx.PutThings(ctx, things)
		return err
	}))
	return h
}

func (h *House) must(err error) {
	h.tb.Helper()
	if err != nil {
		h.tb.Fatal(err)
	}
}

// Context is that of the test.
func (h *House) Context() context.Context { return h.tb.Context() }

// Now is the house's clock.
func (h *House) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// Pass lets time go by.
func (h *House) Pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// Till makes and enrols a register of a point of sale and returns its till.
func (h *House) Till(pointOfSale, code string) *Till {
	h.tb.Helper()
	ctx := h.tb.Context()
	register, err := h.Setup.CreateRegister(ctx, staff.Actor{User: "admin"}, pointOfSale, code, code, true)
	h.must(err)
	pairing, err := h.Ledger.NewPairing(ctx, Manager, pointOfSale, register.ID)
	h.must(err)
	t := New(pointOfSale, register.ID, code)
	enrolment, err := h.Ledger.Enrol(ctx, ledger.Enrolling{Code: pairing.Code, Nonce: t.Nonce, Software: "journaltest", Remote: "here"})
	h.must(err)
	register, err = h.Ledger.Authenticate(ctx, enrolment.Token)
	h.must(err)
	h.Attach(t, register)
	return t
}

// Attach lets a till deliver as a register; it knows the generation that other
// tills of the register stored.
func (h *House) Attach(t *Till, register store.Register) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := &line{register: register}
	for _, known := range h.tills {
		if known.register.ID == register.ID {
			l.generation = max(l.generation, known.generation)
		}
	}
	h.tills[t] = l
}

func (h *House) line(t *Till) *line {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tills[t]
}

// Register returns the register that a till delivers as.
func (h *House) Register(t *Till) store.Register { return h.line(t).register }

// Connect says hello for a till and returns the welcome.
func (h *House) Connect(t *Till) wire.Welcome {
	h.tb.Helper()
	l := h.line(t)
	w, err := h.Ledger.Hello(h.tb.Context(), l.register, &wire.Hello{
		Version: wire.Version, PointOfSale: t.PointOfSale, Register: t.Register, Nonce: t.Nonce, Generation: l.generation,
		Epochs:  []wire.EpochHead{{Epoch: t.Epoch, Nonce: t.Nonce, Base: t.Base, Head: t.Head}},
		Waiting: len(t.Raw) - int(l.sent), Program: "journaltest", Clock: h.Now(),
	})
	h.must(err)
	l.generation = w.Generation
	return w
}

// Apply delivers some entries of a till.
func (h *House) Apply(ctx context.Context, t *Till, first uint64, raw [][]byte) (wire.Ack, error) {
	l := h.line(t)
	return h.Ledger.Apply(ctx, l.register, l.generation, t.Epoch, first, raw)
}

// Deliver delivers everything that a till has not delivered yet, in one batch,
// and returns the flags raised.
func (h *House) Deliver(t *Till) []wire.Flag {
	h.tb.Helper()
	return h.DeliverBy(t, len(t.Raw)+1)
}

// DeliverBy delivers in batches of n.
func (h *House) DeliverBy(t *Till, n int) []wire.Flag {
	h.tb.Helper()
	l := h.line(t)
	if l.generation == 0 {
		h.Connect(t)
	}
	var flags []wire.Flag
	for l.sent < uint64(len(t.Raw)) {
		ack, err := h.Apply(h.tb.Context(), t, l.sent+1, t.Since(l.sent+1, n))
		h.must(err)
		if ack.Cursor.Epoch != t.Epoch || ack.Cursor.Seq <= l.sent {
			h.tb.Fatalf("ack %+v after %d", ack.Cursor, l.sent)
		}
		l.sent = ack.Cursor.Seq
		flags = append(flags, ack.Flags...)
	}
	return flags
}

// Sent returns how many entries of a till were delivered.
func (h *House) Sent(t *Till) uint64 { return h.line(t).sent }

// Close closes a session from the centre, not counted.
func (h *House) Close(s pos.Stamp) ledger.CloseResult {
	h.tb.Helper()
	r, err := h.Ledger.Close(h.tb.Context(), Manager, pointOf(s), s.ID, ledger.CloseRequest{Reason: "closed remotely"})
	h.must(err)
	return r
}

// CloseCounted closes a session from the centre by counts of cash, by register.
func (h *House) CloseCounted(s pos.Stamp, counts ...ledger.MethodCount) ledger.CloseResult {
	h.tb.Helper()
	r, err := h.Ledger.Close(h.tb.Context(), Manager, pointOf(s), s.ID, ledger.CloseRequest{Counted: true, Counts: counts, Reason: "counted"})
	h.must(err)
	return r
}

// CloseRescue closes the n-th rescue of a session.
func (h *House) CloseRescue(s pos.Stamp, ordinal int, choice ledger.CountChoice, counts ...ledger.MethodCount) ledger.CloseResult {
	h.tb.Helper()
	r, err := h.Ledger.CloseRescue(h.tb.Context(), Manager, pointOf(s), pos.RescueID(s.ID, ordinal), ledger.RescueRequest{Choice: choice, Counts: counts})
	h.must(err)
	return r
}

// Session reads a session.
func (h *House) Session(pointOfSale, id string) ledger.SessionDetail {
	h.tb.Helper()
	d, err := h.Ledger.Session(h.tb.Context(), pointOfSale, id)
	h.must(err)
	return d
}

// Rescue reads the n-th rescue of a session.
func (h *House) Rescue(s pos.Stamp, ordinal int) ledger.SessionDetail {
	h.tb.Helper()
	return h.Session(pointOf(s), pos.RescueID(s.ID, ordinal))
}

// Flags returns the codes of the flags at a point of sale that nobody has dealt
// with, newest first.
func (h *House) Flags(pointOfSale string) []store.Flag {
	h.tb.Helper()
	var flags []store.Flag
	h.must(h.Store.View(h.tb.Context(), func(r store.Reader) (err error) {
		flags, err = r.Flags(h.tb.Context(), store.FlagFilter{PointsOfSale: []string{pointOfSale}, Open: true})
		return err
	}))
	return flags
}

func pointOf(s pos.Stamp) string {
	for i := range s.Name {
		if s.Name[i] == '/' {
			return s.Name[:i]
		}
	}
	panic(fmt.Sprintf("session name %q", s.Name))
}
