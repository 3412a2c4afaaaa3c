package till_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"tillandsia/register/internal/till"
	"tillandsia/register/internal/till/tilltest"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// world is a till under test with a small language for what a shop does.
type world struct{ *tilltest.World }

func newWorld(t *testing.T, change ...func(*tilltest.Shop)) *world {
	t.Helper()
	return &world{tilltest.New(t, change...)}
}

// signIn unlocks a browser.
func (w *world) signIn(user, browser string) till.Actor {
	w.Helper()
	s, err := w.SignIn(w.Context(), till.SignInRequest{Browser: browser, Device: "browser " + browser, User: user, PIN: tilltest.PINs[user]})
	if err != nil {
		w.Fatalf("SignIn(%s) = %v", user, err)
	}
	by, err := w.Who(s.Token)
	if err != nil {
		w.Fatalf("Who = %v", err)
	}
	return by
}

func (w *world) open(by till.Actor, float money.Amount) till.SessionInfo {
	w.Helper()
	s, err := w.Open(w.Context(), by, till.OpenRequest{Float: &float})
	if err != nil {
		w.Fatalf("Open = %v", err)
	}
	return s
}

// sells sells some of a product, paid exactly by one method.
func (w *world) sells(by till.Actor, product string, qty money.Qty, method string) pos.Order {
	w.Helper()
	sold, err := w.Sell(w.Context(), by, till.Sale{
		Lines: []till.LineRequest{{Product: product, Qty: qty}}, Payments: []till.PaymentRequest{{Method: method}}, Customer: customerFor(method),
	})
	if err != nil {
		w.Fatalf("Sell = %v", err)
	}
	return sold.Order
}

func customerFor(method string) string {
	if method == "later" {
		return "zoe"
	}
	return ""
}

func (w *world) counts(by till.Actor, cash, card money.Amount) till.CountResult {
	w.Helper()
	r, err := w.Count(w.Context(), by, countOf(cash, card))
	if err != nil {
		w.Fatalf("Count = %v", err)
	}
	return r
}

func countOf(cash, card money.Amount) []till.CountOf {
	return []till.CountOf{{Method: "cash", Amount: &cash}, {Method: "card", Amount: &card}}
}

func (w *world) closes(by till.Actor, in till.CloseRequest) till.Closing {
	w.Helper()
	c, err := w.Close(w.Context(), by, in)
	if err != nil {
		w.Fatalf("Close = %v", err)
	}
	return c
}

// must1 ends the test where something went wrong that should not.
func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// refused fails the test where something was not refused as it should be.
func refused(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error = %v, want %v", err, want)
	}
}

// kinds returns the kinds of the entries beyond the first ones.
func (w *world) kinds(after uint64) []entry.Kind {
	w.Helper()
	var list []entry.Kind
	for _, e := range w.entries(after) {
		list = append(list, e.Kind)
	}
	return list
}

func (w *world) entries(after uint64) []entry.Entry {
	w.Helper()
	head := w.Journal.Head()
	raws, err := w.Journal.Read(w.Context(), entry.Place{Epoch: head.Epoch, Seq: after + 1}, 10_000, 1<<30)
	if err != nil {
		w.Fatalf("Read = %v", err)
	}
	var list []entry.Entry
	for _, raw := range raws {
		list = append(list, must1(entry.Decode(raw.Raw)))
	}
	return list
}

// last returns the last entry of a kind, decoded.
func last[T any](w *world, kind entry.Kind) T {
	w.Helper()
	for _, e := range slices.Backward(w.entries(0)) {
		if e.Kind == kind {
			var body T
			if err := json.Unmarshal(e.Body, &body); err != nil {
				w.Fatalf("body of %s: %v", kind, err)
			}
			return body
		}
	}
	w.Fatalf("there is no %s entry", kind)
	panic("unreachable")
}

func (w *world) head() uint64 { return w.Journal.Head().Seq }
