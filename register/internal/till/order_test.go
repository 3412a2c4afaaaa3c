package till_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"tillandsia/register/internal/journal"
	"tillandsia/register/internal/till"
	"tillandsia/register/internal/till/tilltest"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
)

// selling is a world with a session and a cart with two teas and a pizza.
func selling(t *testing.T, change ...func(*tilltest.Shop)) (*world, till.Actor, till.Cart) {
	t.Helper()
	w := newWorld(t, change...)
	anna := w.signIn("anna", "b1")
	w.open(anna, 0)
	cart := must1(w.NewCart(t.Context(), anna, "", ""))
	cart = must1(w.AddLine(t.Context(), anna, cart.ID, cart.Version, till.LineRequest{Product: "tea", Qty: 2000}))
	cart = must1(w.AddLine(t.Context(), anna, cart.ID, cart.Version, till.LineRequest{Code: "piz"}))
	return w, anna, cart
}

func TestDoubleValidateSellsOnce(t *testing.T) {
	t.Parallel()
	w, anna, cart := selling(t)
	cart = must1(w.AddPayment(t.Context(), anna, cart.ID, cart.Version, till.PaymentRequest{Method: "cash"}))
	const taps = 8
	var wg sync.WaitGroup
	sold := make([]till.Sold, taps)
	for i := range taps {
		wg.Go(func() {
			var err error
			if sold[i], err = w.Validate(context.WithoutCancel(t.Context()), anna, cart.ID, cart.Version); err != nil {
				t.Errorf("tap %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	first := 0
	for _, s := range sold {
		if !s.Again {
			first++
		}
		if s.Order.Number != "SHOP1-R1-00001-0001" || s.Hash != sold[0].Hash {
			t.Errorf("a tap got %s at %s", s.Order.Number, s.Hash.Short())
		}
	}
	rows, _, err := w.Orders(t.Context(), journal.OrderFilter{})
	if err != nil || len(rows) != 1 || first != 1 {
		t.Errorf("%d orders, %d of %d taps the first, %v; want one of each", len(rows), first, taps, err)
	}
	// The id of the sale sells nothing else.
	_, err = w.AddLine(t.Context(), anna, cart.ID, 0, till.LineRequest{Product: "tea"})
	refused(t, err, till.ErrSold)
	_, err = w.NewCart(t.Context(), anna, cart.ID, "")
	refused(t, err, till.ErrSold)
	again, err := w.Sell(t.Context(), anna, till.Sale{ID: cart.ID, Lines: []till.LineRequest{{Product: "tea"}}})
	if err != nil || !again.Again {
		t.Errorf("Sell under the id of a sale = %+v, %v, want that sale", again, err)
	}
}

func TestPaying(t *testing.T) {
	t.Parallel()
	// The cart is 6.00 + 10.00 + 1.00 levy = 17.00.
	amount := func(a money.Amount) *money.Amount { return &a }
	type pay = till.PaymentRequest
	tests := []struct {
		name     string
		payments []pay
		customer bool
		rounding money.Amount // smallest coin
		want     error
		change   money.Amount
		rounded  money.Amount
	}{
		{"exactly, in cash", []pay{{Method: "cash"}}, false, 0, nil, 0, 0},
		{"with change", []pay{{Method: "cash", Amount: amount(2000)}}, false, 0, nil, 300, 0},
		{"by card and the rest in cash", []pay{{Method: "card", Amount: amount(1000), Reference: "T-1"}, {Method: "cash", Amount: amount(1000)}}, false, 0, nil, 300, 0},
		{"twice by card", []pay{{Method: "card", Amount: amount(1000)}, {Method: "card"}}, false, 0, nil, 0, 0},
		{"not enough", []pay{{Method: "cash", Amount: amount(1699)}}, false, 0, till.ErrUnderpaid, 0, 0},
		{"not at all", nil, false, 0, till.ErrUnderpaid, 0, 0},
		{"too much by card", []pay{{Method: "card", Amount: amount(1701)}}, false, 0, till.ErrOverpaid, 0, 0},
		{"later, without a customer", []pay{{Method: "later"}}, false, 0, till.ErrCustomerNeeded, 0, 0},
		{"later", []pay{{Method: "later"}}, true, 0, nil, 0, 0},
		{"by a coin of 0.50 the sum stays", []pay{{Method: "cash"}}, false, 50, nil, 0, 0},
		{"by a coin of 0.40 it is rounded", []pay{{Method: "cash"}}, false, 40, nil, 0, 20},
		{"by card nothing is rounded", []pay{{Method: "card"}}, false, 40, nil, 0, 0},
		{"money out of the drawer for a sale", []pay{{Method: "cash", Amount: amount(2000)}, {Method: "card", Amount: amount(-300)}}, false, 0, till.ErrTender, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, anna, cart := selling(t, func(s *tilltest.Shop) { s.Settings.CashRounding = tt.rounding })
			for _, p := range tt.payments {
				var err error
				if cart, err = w.AddPayment(t.Context(), anna, cart.ID, cart.Version, p); err != nil {
					t.Fatalf("AddPayment = %v", err)
				}
			}
			if tt.customer {
				zoe := "zoe"
				cart = must1(w.ChangeCart(t.Context(), anna, cart.ID, cart.Version, till.CartChange{Customer: &zoe}))
			}
			sold, err := w.Validate(t.Context(), anna, cart.ID, cart.Version)
			refused(t, err, tt.want)
			if err != nil {
				// It is still there, to be paid rightly.
				if _, err := w.Cart(t.Context(), anna, cart.ID); err != nil {
					t.Errorf("after the refusal: %v", err)
				}
				return
			}
			o := sold.Order
			if o.Total != 1700 || o.Change != tt.change || o.Rounding != tt.rounded {
				t.Errorf("total %d, change %d, rounding %d, want 1700, %d, %d", o.Total, o.Change, o.Rounding, tt.change, tt.rounded)
			}
			if (o.Rounding != 0) != (o.RoundingAccount != "") || (o.Change != 0) != (o.ChangeMethod == "cash") {
				t.Errorf("rounding to %q, change by %q", o.RoundingAccount, o.ChangeMethod)
			}
		})
	}
}

func TestCardNumbersAreNeverKept(t *testing.T) {
	t.Parallel()
	w, anna, cart := selling(t)
	tests := []struct {
		text string
		want error
	}{
		{"T-4711", nil},
		{"4111111111111111", till.ErrCardNumber},
		{"4111 1111 1111 1111", till.ErrCardNumber},
		{"card 4111-1111-1111-1111, exp 12/27", till.ErrCardNumber},
		{"4111 1111 1111 1111 12", till.ErrCardNumber},
		{"378282246310005", till.ErrCardNumber},
		{"4111111111111112", nil},            // fails the check
		{"411111111111", nil},                // 12 digits
		{"41111111111111111111", nil},        // 20 digits
		{"call 0049 30 1234567 ext 99", nil}, // no card
	}
	for _, tt := range tests {
		_, err := w.AddPayment(t.Context(), anna, cart.ID, 0, till.PaymentRequest{Method: "card", Amount: new(money.Amount(1)), Reference: tt.text})
		refused(t, err, tt.want)
		_, err = w.ChangeCart(t.Context(), anna, cart.ID, 0, till.CartChange{Note: &tt.text})
		refused(t, err, tt.want)
	}
}

func TestRightsAndApprovals(t *testing.T) {
	t.Parallel()
	price := money.Price(50_000)
	mias := &till.Approval{User: "mia", PIN: "9999"}
	tests := []struct {
		name string
		user string
		line till.LineRequest
		want error
		kind entry.Kind
	}{
		{"a discount up to the limit", "anna", till.LineRequest{Product: "tea", Discount: money.Discount{Rate: 100_000}}, nil, ""},
		{"a discount above the limit", "anna", till.LineRequest{Product: "tea", Reason: "guest", Discount: money.Discount{Rate: 100_001}}, till.ErrApproval, ""},
		{"an amount up to the limit", "anna", till.LineRequest{Product: "tea", Discount: money.Discount{Amount: 30}}, nil, ""},
		{"an amount above the limit", "anna", till.LineRequest{Product: "tea", Reason: "guest", Discount: money.Discount{Amount: 31}}, till.ErrApproval, ""},
		{"a discount above the limit, approved", "anna", till.LineRequest{Product: "tea", Reason: "guest", Discount: money.Discount{Amount: 31}, Approval: mias}, nil, entry.KindDiscounted},
		{"a discount above the limit, by a manager", "mia", till.LineRequest{Product: "tea", Reason: "guest", Discount: money.Discount{Rate: 500_000}}, nil, entry.KindDiscounted},
		{"a discount above the limit without a reason", "mia", till.LineRequest{Product: "tea", Discount: money.Discount{Rate: 500_000}}, till.ErrReason, ""},
		{"a discount that is two", "mia", till.LineRequest{Product: "tea", Reason: "x", Discount: money.Discount{Rate: 1, Amount: 1}}, till.ErrDiscount, ""},
		{"a discount larger than the price", "mia", till.LineRequest{Product: "tea", Reason: "x", Discount: money.Discount{Amount: 301}}, till.ErrDiscount, ""},
		{"another price", "anna", till.LineRequest{Product: "tea", Price: &price, Reason: "broken"}, till.ErrApproval, ""},
		{"another price, approved", "anna", till.LineRequest{Product: "tea", Price: &price, Reason: "broken", Approval: mias}, nil, entry.KindPriceOverridden},
		{"a return without a receipt", "anna", till.LineRequest{Product: "tea", Qty: -1000, Reason: "cold"}, till.ErrApproval, ""},
		{"a return without a receipt, approved", "anna", till.LineRequest{Product: "tea", Qty: -1000, Reason: "cold", Approval: mias}, nil, ""},
		{"an approval by a cashier", "anna", till.LineRequest{Product: "tea", Qty: -1000, Reason: "cold", Approval: &till.Approval{User: "ben", PIN: "2222"}}, till.ErrApprover, ""},
		{"something that is not sold any more", "anna", till.LineRequest{Product: "old"}, till.ErrNoProduct, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			by := w.signIn(tt.user, "b1")
			w.open(by, 0)
			cart := must1(w.NewCart(t.Context(), by, "", ""))
			before := w.head()
			cart, err := w.AddLine(t.Context(), by, cart.ID, cart.Version, tt.line)
			refused(t, err, tt.want)
			if err != nil {
				return
			}
			if kinds := w.kinds(before); tt.kind == "" && len(kinds) > 0 || tt.kind != "" && !slices.Equal(kinds, []entry.Kind{tt.kind}) {
				t.Errorf("entries = %v, want %v", kinds, tt.kind)
			}
			if tt.kind != "" {
				if e := last[pos.Event](w, tt.kind); personID(e.Approver) != "mia" || e.Reason == "" || e.Order != cart.ID || e.User.ID != tt.user {
					t.Errorf("entry = %+v, want who, who approved, why and the order", e)
				}
			}
			if tt.line.Qty < 0 {
				cart = must1(w.AddPayment(t.Context(), by, cart.ID, cart.Version, till.PaymentRequest{Method: "cash"}))
				sold := must1(w.Validate(t.Context(), by, cart.ID, cart.Version))
				if sold.Order.Total != -300 || personID(sold.Order.Approver) != "mia" || sold.Order.Reason != "cold" {
					t.Errorf("return = %+v", sold.Order)
				}
			}
		})
	}
}

func TestCartsAreVersionedAndOwned(t *testing.T) {
	t.Parallel()
	w, anna, cart := selling(t)
	ben := w.signIn("ben", "b2")
	qty := money.Qty(3000)
	_, err := w.ChangeLine(t.Context(), anna, cart.ID, cart.Version-1, "1", till.LineChange{Qty: &qty})
	refused(t, err, journal.ErrCartVersion)
	_, err = w.AddLine(t.Context(), ben, cart.ID, cart.Version, till.LineRequest{Product: "tea"})
	refused(t, err, till.ErrCartElsewhere)
	_, err = w.TakeUp(t.Context(), ben, cart.ID, cart.Version)
	refused(t, err, till.ErrCartElsewhere)
	parked := must1(w.Park(t.Context(), anna, cart.ID, cart.Version, "Table 4"))
	_, err = w.AddLine(t.Context(), anna, cart.ID, parked.Version, till.LineRequest{Product: "tea"})
	refused(t, err, till.ErrCartParked)

	// A power cut loses nothing that was typed; another screen takes it up.
	w.Restart()
	ben = w.signIn("ben", "b2")
	list := must1(w.Carts(t.Context(), ben))
	if len(list) != 1 || list[0].Name != "Table 4" || list[0].Lines != 2 || list[0].Total != 1700 {
		t.Fatalf("carts = %+v, want the parked one", list)
	}
	up := must1(w.TakeUp(t.Context(), ben, cart.ID, parked.Version))
	up = must1(w.AddPayment(t.Context(), ben, up.ID, up.Version, till.PaymentRequest{Method: "card"}))
	sold := must1(w.Validate(t.Context(), ben, up.ID, up.Version))
	if sold.Order.User.ID != "ben" || sold.Order.ID != cart.ID {
		t.Errorf("sold %s by %s, want %s by ben", sold.Order.ID, sold.Order.User.ID, cart.ID)
	}
}

func TestWhatIsTakenOutIsJournalled(t *testing.T) {
	t.Parallel()
	w, anna, cart := selling(t)
	before := w.head()
	one, three := money.Qty(1000), money.Qty(3000)
	cart = must1(w.ChangeLine(t.Context(), anna, cart.ID, cart.Version, "1", till.LineChange{Qty: &three}))
	cart = must1(w.ChangeLine(t.Context(), anna, cart.ID, cart.Version, "1", till.LineChange{Qty: &one}))
	if e := last[pos.Event](w, entry.KindLineVoided); e.Qty != 2000 || e.Line != "1" {
		t.Errorf("voided = %+v, want 2 of line 1", e)
	}
	cart = must1(w.VoidLine(t.Context(), anna, cart.ID, cart.Version, "2"))
	if e := last[pos.Event](w, entry.KindLineVoided); e.Qty != 1000 || e.Amount != 1100 || e.Name != "Pizza" {
		t.Errorf("voided = %+v, want the pizza of 11.00", e)
	}
	if len(cart.Lines) != 1 || len(cart.Voided) != 1 || cart.Total != 300 {
		t.Errorf("cart = %+v", cart)
	}
	if err := w.Discard(t.Context(), anna, cart.ID, cart.Version); err != nil {
		t.Fatalf("Discard = %v", err)
	}
	empty := must1(w.NewCart(t.Context(), anna, "", ""))
	if err := w.Discard(t.Context(), anna, empty.ID, empty.Version); err != nil {
		t.Fatalf("Discard = %v", err)
	}
	want := []entry.Kind{entry.KindLineVoided, entry.KindLineVoided, entry.KindCartDiscarded}
	if got := w.kinds(before); !slices.Equal(got, want) {
		t.Errorf("entries = %v, want %v", got, want)
	}
	_, err := w.Validate(t.Context(), anna, cart.ID, 0)
	refused(t, err, till.ErrNoCart)
}

func TestRefundsNeverExceedWhatWasSold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *tilltest.Shop) { s.Settings.CashRounding = 5 })
	anna := w.signIn("anna", "b1")
	w.open(anna, 0)
	// Three teas at 3.00 with 10 % off the order: 8.10, incl. tax 1.35.
	sold := must1(w.Sell(t.Context(), anna, till.Sale{
		Lines: []till.LineRequest{{Product: "tea", Qty: 3000}}, Discount: money.Discount{Rate: 100_000}, Payments: []till.PaymentRequest{{Method: "cash"}},
	}))
	var back money.Amount
	var tax money.Amount
	for i := range 3 {
		cart := must1(w.Refund(t.Context(), anna, till.RefundRequest{Order: sold.Order.ID, Lines: []till.RefundQty{{Line: "1", Qty: 1000}}}))
		second := must1(w.Refund(t.Context(), anna, till.RefundRequest{Number: sold.Order.Number}))
		cart = must1(w.AddPayment(t.Context(), anna, cart.ID, cart.Version, till.PaymentRequest{Method: "cash"}))
		r := must1(w.Validate(t.Context(), anna, cart.ID, cart.Version))
		back += r.Order.Total
		tax += r.Order.Taxes[0].Amount
		if r.Order.Number != fmt.Sprintf("SHOP1-R1-00001-%04d", i+2) || r.Order.Lines[0].Refund.Order != sold.Order.ID {
			t.Errorf("refund = %s of %s", r.Order.Number, r.Order.Lines[0].Refund.Order)
		}
		// A refund begun before takes back what is left, or nothing.
		_, err := w.AddPayment(t.Context(), anna, second.ID, second.Version, till.PaymentRequest{Method: "cash"})
		if !errors.Is(err, till.ErrRefundTooMuch) {
			t.Errorf("a refund of more than is left = %v", err)
		}
	}
	if back != -810 || tax != -135 {
		t.Errorf("taken back %d with tax %d, want -810 and -135", back, tax)
	}
	_, err := w.Refund(t.Context(), anna, till.RefundRequest{Order: sold.Order.ID})
	refused(t, err, till.ErrNothingToRefund)
	_, err = w.Refund(t.Context(), anna, till.RefundRequest{Order: sold.Order.ID, Lines: []till.RefundQty{{Line: "1", Qty: 1}}})
	refused(t, err, till.ErrRefundTooMuch)
	_, err = w.Refund(t.Context(), anna, till.RefundRequest{Order: "unknown"})
	if err == nil {
		t.Error("an order that nobody knows was refunded")
	}
}

func TestExchangeTakesBackAndSells(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	w.open(anna, 0)
	sold := w.sells(anna, "tea", 2000, "cash")
	cart := must1(w.Refund(t.Context(), anna, till.RefundRequest{Order: sold.ID, Lines: []till.RefundQty{{Line: "1", Qty: 1000}}}))
	_, err := w.ChangeLine(t.Context(), anna, cart.ID, cart.Version, "1", till.LineChange{Discount: &money.Discount{Rate: 1}})
	refused(t, err, till.ErrRefundLine)
	cart = must1(w.AddLine(t.Context(), anna, cart.ID, cart.Version, till.LineRequest{Product: "pizza"}))
	if cart.Total != 800 {
		t.Errorf("total = %d, want 11.00 − 3.00", cart.Total)
	}
	cart = must1(w.AddPayment(t.Context(), anna, cart.ID, cart.Version, till.PaymentRequest{Method: "cash"}))
	must1(w.Validate(t.Context(), anna, cart.ID, cart.Version))
}

func TestOrderOfAnotherRegisterIsRefunded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	w.open(anna, 0)
	other := pos.Order{
		ID: "01J0000000000000000000EVEN", Number: "SHOP1-R2-00007-0003", Total: 300, Net: 250,
		TaxRates: []money.Tax{{ID: "vat", Rate: 200_000, Included: true}},
		Lines: []pos.Line{{
			ID: "1", Product: "tea", Name: "Tea", Qty: 1000, Price: 30_000, TaxIDs: []string{"vat"},
			LineSums: money.LineSums{Amount: 300, Net: 250, Taxes: []money.TaxSum{{Tax: "vat", Amount: 50}}, Total: 300},
		}},
	}
	raw, _, err := entry.Make(entry.Entry{PointOfSale: "SHOP1", Register: "r2", Epoch: 1, Seq: 9, Op: other.ID, Kind: entry.KindOrder}, other)
	if err != nil {
		t.Fatal(err)
	}
	// Nobody answers: it says so, and waits for nothing else.
	_, err = w.Refund(t.Context(), anna, till.RefundRequest{Number: other.Number})
	if err == nil {
		t.Error("refunded without the server")
	}
	// The receipt alone needs a manager.
	given := till.RefundRequest{Order: other.ID, Entry: raw, Reason: "has the receipt"}
	_, err = w.Refund(t.Context(), anna, given)
	refused(t, err, till.ErrApproval)
	given.Approval = &till.Approval{User: "mia", PIN: "9999"}
	if c := must1(w.Refund(t.Context(), anna, given)); c.Total != -300 || personID(c.Approver) != "mia" {
		t.Errorf("cart = %+v", c)
	}
	// The server knows of it, and how much was taken back elsewhere.
	w.Uplink.Know(&wire.Found{Raw: raw, Refunded: map[string]money.Qty{"1": 400}})
	cart := must1(w.Refund(t.Context(), anna, till.RefundRequest{Number: other.Number}))
	if cart.Lines[0].Qty != -600 || cart.Total != -180 {
		t.Errorf("left to refund = %d for %d, want 0.6 for 1.80", cart.Lines[0].Qty, cart.Total)
	}
	w.Uplink.Know(&wire.Found{Raw: raw, Refunded: map[string]money.Qty{"1": 1000}})
	_, err = w.Refund(t.Context(), anna, till.RefundRequest{Number: other.Number})
	refused(t, err, till.ErrNothingToRefund)
	w.Uplink.Know(&wire.Found{})
	_, err = w.Refund(t.Context(), anna, till.RefundRequest{Number: other.Number})
	refused(t, err, till.ErrNoOrder)
}

func TestReprintsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	w.open(anna, 0)
	order := w.sells(anna, "tea", 1000, "cash")
	for want := 1; want <= 2; want++ {
		if r := must1(w.Reprint(t.Context(), anna, order.ID)); r.Copy != want || r.Order.Number != order.Number {
			t.Errorf("copy %d of %s, want %d", r.Copy, r.Order.Number, want)
		}
	}
	w.Restart()
	anna = w.signIn("anna", "b1")
	if r := must1(w.Reprint(t.Context(), anna, order.ID)); r.Copy != 3 {
		t.Errorf("copy after a restart = %d, want 3", r.Copy)
	}
	_, err := w.Reprint(t.Context(), anna, "nothing")
	refused(t, err, till.ErrNoOrder)
}

func TestOneTaxHasOneRateInAnOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	w.open(anna, 0)
	sold := w.sells(anna, "tea", 1000, "card")
	vat := w.Shop.Taxes["vat"]
	vat.Rate = 70_000
	w.Shop.Taxes["vat"] = vat
	w.Publish()
	w.counts(anna, 0, 300)
	w.closes(anna, till.CloseRequest{})
	w.open(anna, 0)
	cart := must1(w.Refund(t.Context(), anna, till.RefundRequest{Order: sold.ID}))
	_, err := w.AddLine(t.Context(), anna, cart.ID, cart.Version, till.LineRequest{Product: "coffee"})
	refused(t, err, till.ErrTaxChanged)
}
