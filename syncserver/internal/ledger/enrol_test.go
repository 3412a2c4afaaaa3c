package ledger_test

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
)

func register(t *testing.T, h *journaltest.House, code string) store.Register {
	t.Helper()
	r, err := h.Setup.CreateRegister(t.Context(), staff.Actor{}, "SHOP1", code, code, true)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pairing(t *testing.T, h *journaltest.House, r store.Register) ledger.Pairing {
	t.Helper()
	p, err := h.Ledger.NewPairing(t.Context(), journaltest.Manager, r.PointOfSale, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEnrol(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		ctx := t.Context()
		r := register(t, h, "R1")
		p := pairing(t, h, r)
		if len(p.Code) != 8 || p.Expires.Sub(h.Now()) != 15*time.Minute {
			t.Errorf("pairing = %+v", p)
		}
		typed := ledger.Enrolling{Code: strings.ToLower(p.Code[:4]) + " " + p.Code[4:], Nonce: "n1", Software: "test", Remote: "a"}
		e, err := h.Ledger.Enrol(ctx, typed)
		if err != nil {
			t.Fatal(err)
		}
		if e.Epoch != 1 || e.Base != (entry.Point{}) || e.NewSeries || e.PointOfSale != "SHOP1" || e.Register.ID != r.ID ||
			len(e.ServerKey) != ed25519.PublicKeySize || e.Incarnation == "" || e.Settings.Code != "SHOP1" || e.Company.Currency.Code != "EUR" {
			t.Errorf("enrolment = %+v", e)
		}
		signature, err := h.Ledger.Sign(ctx, []byte("hello"))
		if err != nil || !ed25519.Verify(e.ServerKey, []byte("hello"), signature) {
			t.Errorf("signature does not fit the key: %v", err)
		}
		// The answer was lost: the same again gives a new token.
		again, err := h.Ledger.Enrol(ctx, typed)
		if err != nil || again.Epoch != 1 || again.Token == e.Token {
			t.Errorf("enrolled again = %+v, %v", again, err)
		}
		if _, err := h.Ledger.Authenticate(ctx, e.Token); class(err) != message.Unauthorized {
			t.Errorf("the first token still holds: %v", err)
		}
		if got, err := h.Ledger.Authenticate(ctx, again.Token); err != nil || got.ID != r.ID {
			t.Errorf("authenticate = %+v, %v", got, err)
		}
		// Used by another one.
		typed.Nonce = "n2"
		if _, err := h.Ledger.Enrol(ctx, typed); !isMessage(err, "ledger.pairing_wrong") {
			t.Errorf("a used code: %v", err)
		}
	})
}

func class(err error) message.Class {
	m, ok := err.(*message.Error) //nolint:errorlint // the errors of the ledger come as they are
	if !ok {
		return ""
	}
	return m.Class
}

func TestPairingExpires(t *testing.T) {
	h := house(t)
	p := pairing(t, h, register(t, h, "R1"))
	h.Pass(15 * time.Minute)
	if _, err := h.Ledger.Enrol(t.Context(), ledger.Enrolling{Code: p.Code, Nonce: "n", Remote: "a"}); !isMessage(err, "ledger.pairing_wrong") {
		t.Errorf("an expired code: %v", err)
	}
}

func TestPairingTries(t *testing.T) {
	h := house(t)
	p := pairing(t, h, register(t, h, "R1"))
	wrong := ledger.Enrolling{Code: "22222222", Nonce: "n", Remote: "a"}
	for range 10 {
		if _, err := h.Ledger.Enrol(t.Context(), wrong); !isMessage(err, "ledger.pairing_wrong") {
			t.Fatalf("a wrong code: %v", err)
		}
	}
	right := ledger.Enrolling{Code: p.Code, Nonce: "n", Remote: "a"}
	if _, err := h.Ledger.Enrol(t.Context(), right); !isMessage(err, "ledger.pairing_tries") {
		t.Errorf("after ten wrong codes: %v", err)
	}
	right.Remote = "b"
	if _, err := h.Ledger.Enrol(t.Context(), right); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
}

// TestEnrolAgain: a till whose disk died gets an epoch that stands on what the
// server holds, and a new number series.
func TestEnrolAgain(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		till.Open(10000)
		h.Deliver(till)
		p := pairing(t, h, h.Register(till))
		e, err := h.Ledger.Enrol(t.Context(), ledger.Enrolling{Code: p.Code, Nonce: "new disk", Remote: "a"})
		if err != nil {
			t.Fatal(err)
		}
		if e.Epoch != 2 || e.Base != till.Head || !e.NewSeries {
			t.Errorf("enrolment = %+v, want epoch 2 on %+v", e, till.Head)
		}
	})
}

func TestHello(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till, two := h.Till("SHOP1", "R1"), h.Till("SHOP1", "R2")
		first := h.Connect(till)
		if first.Generation != 1 || first.Copy || len(first.Epochs) != 1 || first.Epochs[0].Cursor.Seq != 0 || first.CatalogueRev == 0 {
			t.Errorf("first welcome = %+v", first)
		}
		s := till.Open(10000)
		h.Deliver(till)
		w := h.Connect(two)
		if len(w.Sessions) != 1 || w.Sessions[0].ID != s.ID || w.Sessions[0].Name != s.Name || w.Sessions[0].RegisterOf != "R1" || w.Sessions[0].ByName != "Anna" || w.Sessions[0].BusinessDate != s.BusinessDate {
			t.Errorf("sessions in progress = %+v", w.Sessions)
		}
		if w := h.Connect(till); w.Generation != 2 || w.Epochs[0].Cursor != till.Head || w.Copy {
			t.Errorf("second welcome = %+v", w)
		}
		r := h.Register(till)
		hello := func(change func(*wire.Hello)) wire.Welcome {
			m := wire.Hello{Nonce: till.Nonce, Generation: 2, Epochs: []wire.EpochHead{{Epoch: 1, Nonce: till.Nonce, Head: till.Head}}, Clock: h.Now().Add(time.Hour), Waiting: 7, WaitingAmount: 700, Screen: "http://x", Program: "p"}
			change(&m)
			w, err := h.Ledger.Hello(t.Context(), r, &m)
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		if w := hello(func(m *wire.Hello) { m.Nonce = "another" }); !w.Copy {
			t.Error("another nonce is no copy")
		}
		if w := hello(func(m *wire.Hello) { m.Generation = 0 }); !w.Copy {
			t.Error("a generation below one that was used is no copy")
		}
		if w := hello(func(m *wire.Hello) { m.Generation = 41 }); w.Copy || w.Generation != 42 {
			t.Errorf("a higher generation: %+v", w)
		}
		rows, err := h.Ledger.Registers(t.Context(), "SHOP1")
		if err != nil || rows[0].Waiting != 7 || rows[0].WaitingAmount != 700 || rows[0].ClockSkew != time.Hour.Microseconds() || rows[0].Screen != "http://x" {
			t.Errorf("registers = %+v, %v", rows, err)
		}
	})
}

// TestServerRolledBack: a server that lacks an epoch takes it up when its base
// is on a chain that it holds, from a hello or from its first entries.
func TestServerRolledBack(t *testing.T) {
	for _, by := range []string{"hello", "entries"} {
		t.Run(by, func(t *testing.T) {
			overStores(t, func(t *testing.T, h *journaltest.House) {
				till := h.Till("SHOP1", "R1")
				s := till.Open(10000)
				h.Deliver(till)
				next := till.Renew(2)
				next.Sell(1000, journaltest.Cash)
				h.Attach(next, h.Register(till))
				if by == "hello" {
					w := h.Connect(next)
					if len(w.Epochs) != 2 || w.Epochs[1].Epoch != 2 || w.Epochs[1].Cursor.Seq != 0 || w.Copy {
						t.Errorf("epochs = %+v", w.Epochs)
					}
				}
				h.Deliver(next)
				booked(t, h, s, 1, 1000)
				stranger := till.Renew(9)
				stranger.Raw, stranger.Head = nil, entry.Point{Epoch: 9}
				stranger.Append(entry.KindBegun, pos.Begun{Nonce: "x", Base: entry.Point{Epoch: 1, Seq: 77}})
				if _, err := h.Apply(t.Context(), next, 1, stranger.Raw); err == nil {
					t.Error("an epoch on nothing that is held is taken")
				}
			})
		})
	}
}

func TestRenew(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till := h.Till("SHOP1", "R1")
		till.Open(10000)
		h.Deliver(till)
		ask := &wire.Renew{Nonce: "n2", Base: till.Head}
		one, err := h.Ledger.Renew(t.Context(), h.Register(till), ask)
		if err != nil || one.Epoch != 2 || one.Base != till.Head {
			t.Fatalf("renew = %+v, %v", one, err)
		}
		if again, err := h.Ledger.Renew(t.Context(), h.Register(till), ask); err != nil || again != one {
			t.Errorf("asked again = %+v, %v", again, err)
		}
		if other, err := h.Ledger.Renew(t.Context(), h.Register(till), &wire.Renew{Nonce: "n3", Base: till.Head}); err != nil || other.Epoch != 3 {
			t.Errorf("another nonce = %+v, %v", other, err)
		}
		p, err := h.Ledger.Points(t.Context(), h.Register(till), &wire.Probe{Epoch: 1, Seqs: []uint64{0, 1, 2, 3}})
		if err != nil || len(p.Points) != 3 || p.Points[2] != till.Head || !p.Points[0].Hash.IsZero() {
			t.Errorf("points = %+v, %v", p, err)
		}
		raw, err := h.Ledger.Fetch(t.Context(), h.Register(till), &wire.Fetch{Epoch: 1, From: 1, To: 9})
		if err != nil || len(raw) != 2 || string(raw[1]) != string(till.Raw[1]) {
			t.Errorf("fetched %d entries, %v", len(raw), err)
		}
	})
}

// TestClosesAreTold: each close is told until the register has journalled it,
// S before its rescues.
func TestClosesAreTold(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		till, two := h.Till("SHOP1", "R1"), h.Till("SHOP1", "R2")
		s := till.Open(10000)
		h.Deliver(till)
		_, _, mark, err := h.Ledger.Changes(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		h.Close(s)
		till.Sell(1000, journaltest.Cash)
		h.Deliver(till)
		h.CloseRescue(s, 1, ledger.NotCounted)
		if points, _, next, err := h.Ledger.Changes(t.Context(), mark); err != nil || len(points) != 1 || points[0] != "SHOP1" || next <= mark {
			t.Errorf("changes = %v, %d, %v", points, next, err)
		}
		for _, r := range []*journaltest.Till{till, two} {
			list, err := h.Ledger.Sessions(t.Context(), h.Register(r))
			if err != nil || len(list) != 2 || list[0].Close.Session != s.ID || list[1].Close.Root != s.ID || list[1].Close.Before[0] != s.ID {
				t.Fatalf("told %+v, %v", list, err)
			}
			r.Hear(*list[0].Close)
			h.Deliver(r)
			if list, err = h.Ledger.Sessions(t.Context(), h.Register(r)); err != nil || len(list) != 1 || list[0].Close.Root != s.ID {
				t.Errorf("after the first was heard: told %+v, %v", list, err)
			}
		}
		if flags := h.Flags("SHOP1"); len(flags) != 0 {
			t.Errorf("flags %+v", flags)
		}
	})
}

func TestCatalogue(t *testing.T) {
	overStores(t, func(t *testing.T, h *journaltest.House) {
		ctx := t.Context()
		put := func(point, kind, id string, deleted bool) {
			err := h.Store.Update(ctx, func(tx store.Tx) error {
				_, err := tx.PutThings(ctx, []store.Thing{{PointOfSale: point, Kind: kind, ID: id, Deleted: deleted, Body: []byte(`{"name":"x"}`)}})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for i := range 700 {
			put("", "product", "p"+string(rune('a'+i%26))+time.Duration(i).String(), false)
		}
		put("SHOP2", "user", "carl", false)
		held := map[[2]string]uint64{}
		pages := 0
		sync := func(handle string, from uint64) (string, uint64) {
			for {
				page, err := h.Ledger.Catalogue(ctx, "SHOP1", handle, from)
				if err != nil {
					t.Fatal(err)
				}
				if page.Snapshot {
					clear(held)
				}
				for _, thing := range page.Things {
					if thing.Deleted {
						delete(held, [2]string{thing.Kind, thing.ID})
					} else {
						held[[2]string{thing.Kind, thing.ID}] = thing.Revision
					}
				}
				handle, from = page.Handle, page.To
				pages++
				if !page.More {
					var sum catalogue.Sum
					for key, revision := range held {
						sum.Toggle(key[0], key[1], revision)
					}
					if sum.String() != page.Checksum {
						t.Errorf("checksum differs at revision %d", from)
					}
					return handle, from
				}
			}
		}
		handle, revision := sync("", 0)
		if pages < 2 || held[[2]string{"user", "carl"}] != 0 || held[[2]string{"user", "anna"}] == 0 {
			t.Errorf("%d pages, held %d things", pages, len(held))
		}
		put("", "product", "new", false)
		put("", "product", "paa0s", true)
		put("SHOP1", "user", "anna", true)
		if handle, revision = sync(handle, revision); held[[2]string{"user", "anna"}] != 0 || held[[2]string{"product", "new"}] == 0 {
			t.Error("the delta did not arrive")
		}
		for _, bad := range []struct {
			handle string
			from   uint64
		}{{"another", revision}, {handle, revision + 5}} {
			page, err := h.Ledger.Catalogue(ctx, "SHOP1", bad.handle, bad.from)
			if err != nil || !page.Snapshot || page.From != 0 {
				t.Errorf("handle %q at %d: %+v, %v", bad.handle, bad.from, page.Snapshot, err)
			}
		}
		before := len(held)
		sync("another", 3)
		if len(held) != before {
			t.Errorf("a snapshot holds %d things, the delta %d", len(held), before)
		}
	})
}

// TestAttention lists what a manager has to look at.
func TestAttention(t *testing.T) {
	h := house(t)
	till, two := h.Till("SHOP1", "R1"), h.Till("SHOP1", "R2")
	s := till.Open(10000)
	till.Sell(1000, journaltest.Card)
	h.Deliver(till)
	two.Open(5000)
	h.Deliver(two)
	p, err := h.Ledger.PreviewClose(t.Context(), "SHOP1", s.ID)
	if err != nil || p.Unheard || p.Posting == nil || len(p.Lines) != 2 || len(p.Registers) != 2 || p.TillCounted {
		t.Errorf("preview = %+v, %v", p, err)
	}
	h.Close(s)
	till.Sell(1000, journaltest.Cash)
	till.CloseOut(journaltest.Counts(11000), 0)
	h.Deliver(till)
	if p, err = h.Ledger.PreviewClose(t.Context(), "SHOP1", pos.RescueID(s.ID, 1)); err != nil || !p.TillCounted {
		t.Fatalf("preview of the rescue = %+v, %v", p, err)
	}
	for _, l := range p.Lines {
		if l.Method == journaltest.Cash && (l.Suggested == nil || *l.Suggested != 11000 || l.Expected != 11000) {
			t.Errorf("cash in the preview = %+v", l)
		}
	}
	h.Pass(time.Hour)
	a, err := h.Ledger.Attention(t.Context(), []string{"SHOP1"})
	if err != nil || len(a.Rescues) != 1 || len(a.Silent) != 1 || a.Silent[0].Code != "R2" || a.Count != 2 {
		t.Errorf("attention = %+v, %v", a, err)
	}
	if all, err := h.Ledger.Attention(t.Context(), nil); err != nil || all.Count != a.Count {
		t.Errorf("attention everywhere = %+v, %v", all, err)
	}
}

// TestCommandsRefuse: what cannot be done is refused with a sentence.
func TestCommandsRefuse(t *testing.T) {
	h := house(t)
	ctx := t.Context()
	till := h.Till("SHOP1", "R1")
	s := till.Open(10000)
	h.Deliver(till)
	closing := func(id string, r ledger.CloseRequest) error {
		_, err := h.Ledger.Close(ctx, journaltest.Manager, "SHOP1", id, r)
		return err
	}
	rescue := func(id string, r ledger.RescueRequest) error {
		_, err := h.Ledger.CloseRescue(ctx, journaltest.Manager, "SHOP1", id, r)
		return err
	}
	counted := func(c ...ledger.MethodCount) ledger.CloseRequest {
		return ledger.CloseRequest{Counted: true, Counts: c, Reason: "r"}
	}
	for _, tt := range []struct {
		err error
		key string
	}{
		{closing("nothing", ledger.CloseRequest{Reason: "r"}), "ledger.no_such_session"},
		{closing(s.ID, ledger.CloseRequest{}), "ledger.no_reason"},
		{closing(s.ID, counted()), "ledger.count_lacks"},
		{closing(s.ID, counted(count(till, 1), ledger.MethodCount{Register: till.Register, Method: "gold"})), "ledger.count_unasked"},
		{rescue(s.ID, ledger.RescueRequest{Choice: ledger.NotCounted}), "ledger.not_a_rescue"},
	} {
		if !isMessage(tt.err, tt.key) {
			t.Errorf("%v, want %s", tt.err, tt.key)
		}
		if !message.Has(tt.key) {
			t.Errorf("%s has no sentence", tt.key)
		}
	}
	h.Close(s)
	till.Sell(1000, journaltest.Cash)
	h.Deliver(till)
	id := pos.RescueID(s.ID, 1)
	for _, tt := range []struct {
		err error
		key string
	}{
		{closing(id, ledger.CloseRequest{Reason: "r"}), "ledger.rescue_of_session"},
		{rescue(id, ledger.RescueRequest{}), "ledger.no_choice"},
		{rescue(id, ledger.RescueRequest{Choice: ledger.TillCount}), "ledger.no_till_count"},
		{rescue(id, ledger.RescueRequest{Choice: ledger.OwnCount}), "ledger.count_lacks"},
	} {
		if !isMessage(tt.err, tt.key) {
			t.Errorf("%v, want %s", tt.err, tt.key)
		}
	}
	if d := h.Session("SHOP1", id); d.State != "opened" {
		t.Errorf("the rescue is %s", d.State)
	}
}
