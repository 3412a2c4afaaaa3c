package till_test

import (
	"slices"
	"testing"
	"time"

	"tillandsia/register/internal/till"
	"tillandsia/register/internal/till/tilltest"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

var errBadID = message.New(message.Invalid, "till.bad_id")

func TestWrongPINsLockOutOverARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	try := func(pin string) error {
		_, err := w.SignIn(t.Context(), till.SignInRequest{Browser: "b1", User: "anna", PIN: pin})
		return err
	}
	refused(t, try("0000"), till.ErrPIN)
	refused(t, try("0001"), till.ErrPIN)
	refused(t, try("0002"), till.ErrLockedOut)
	w.Restart()
	// The right PIN does not help now, nor is it counted as a try.
	refused(t, try("1111"), till.ErrLockedOut)
	w.Clock.Advance(5*time.Second + time.Millisecond)
	refused(t, try("0003"), till.ErrLockedOut)
	w.Clock.Advance(14 * time.Second)
	refused(t, try("1111"), till.ErrLockedOut)
	// Somebody else is not locked out.
	w.signIn("ben", "b2")
	w.Clock.Advance(2 * time.Second)
	refused(t, try("1111"), nil)
	// The right PIN ended the row of wrong ones.
	refused(t, try("0004"), till.ErrPIN)

	var counted []int
	for _, e := range w.entries(0) {
		if e.Kind == entry.KindPINFailed {
			body, err := entry.Body[pos.Event](&e)
			if err != nil {
				t.Fatal(err)
			}
			counted = append(counted, body.Tries)
		}
	}
	if !slices.Equal(counted, []int{1, 2, 3, 4, 1}) {
		t.Errorf("tries in the journal = %v, want 1 2 3 4 and 1 again", counted)
	}
}

func TestLockOutsGrow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Seconds after each wrong try in a row.
	for i, want := range []time.Duration{0, 0, 5, 15, 60, 300, 900, 900} {
		if _, err := w.SignIn(t.Context(), till.SignInRequest{Browser: "b1", User: "anna", PIN: "0000"}); err == nil {
			t.Fatal("a wrong PIN was taken")
		}
		if want == 0 {
			continue
		}
		until, err := time.Parse(time.RFC3339Nano, last[pos.Event](w, entry.KindLockedOut).Detail)
		if got := until.Sub(w.Clock.Now()); err != nil || got != want*time.Second {
			t.Errorf("after try %d: locked out for %s (%v), want %s", i+1, got, err, want*time.Second)
		}
		w.Clock.Advance(want * time.Second)
	}
	w.signIn("anna", "b1")
}

func TestLockOutDoesNotOutliveAClockSetBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 3 {
		if _, err := w.SignIn(t.Context(), till.SignInRequest{Browser: "b1", User: "anna", PIN: "0000"}); err == nil {
			t.Fatal("a wrong PIN was taken")
		}
	}
	w.Clock.Advance(-24 * time.Hour)
	w.signIn("anna", "b1")
}

func TestWhoCannotSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *tilltest.Shop) {
		gone := s.Users["ben"]
		gone.Active = false
		s.Users["ben"] = gone
	})
	tests := []struct {
		name, user, pin string
		want            error
	}{
		{"nobody of this name", "nobody", "1111", till.ErrNoUser},
		{"who works here no more", "ben", "2222", till.ErrNoUser},
		{"who has no PIN", "nopin", "", till.ErrNoPIN},
		{"with another's PIN", "anna", "9999", till.ErrPIN},
		{"with no PIN", "anna", "", till.ErrPIN},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.SignIn(t.Context(), till.SignInRequest{Browser: "b1", User: tt.user, PIN: tt.pin})
			refused(t, err, tt.want)
		})
	}
	for _, u := range w.Users() {
		if u.ID == "ben" || u.CanUnlock == (u.ID == "nopin") {
			t.Errorf("lock screen shows %+v", u)
		}
	}
}

func TestScreensLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := must1(w.SignIn(t.Context(), till.SignInRequest{Browser: "b1", User: "anna", PIN: "1111"}))
	w.Clock.Advance(30 * time.Minute)
	must1(w.Who(s.Token)) // a touch
	w.Clock.Advance(30*time.Minute + time.Second)
	_, err := w.Who(s.Token)
	if err == nil || err.Error() != "The screen was locked because nobody used it. Sign in again; the order is still there." {
		t.Errorf("after 30 idle minutes: %v", err)
	}
	_, err = w.Who(s.Token)
	refused(t, err, till.ErrNotSignedIn)

	// Who signs in after another on one browser takes the place.
	first := must1(w.SignIn(t.Context(), till.SignInRequest{Browser: "b1", User: "anna", PIN: "1111"}))
	second := must1(w.SignIn(t.Context(), till.SignInRequest{Browser: "b1", User: "ben", PIN: "2222"}))
	_, err = w.Who(first.Token)
	refused(t, err, till.ErrNotSignedIn)
	by := must1(w.Who(second.Token))
	if err := w.Lock(t.Context(), by); err != nil {
		t.Fatal(err)
	}
	_, err = w.Who(second.Token)
	refused(t, err, till.ErrNotSignedIn)

	// Who is taken out of the catalogue is out.
	third := must1(w.SignIn(t.Context(), till.SignInRequest{Browser: "b1", User: "ben", PIN: "2222"}))
	ben := w.Shop.Users["ben"]
	ben.Active = false
	w.Shop.Users["ben"] = ben
	w.Publish()
	_, err = w.Who(third.Token)
	refused(t, err, till.ErrNotSignedIn)
}

func TestContinuingAnothersSessionIsJournalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	w.open(anna, 0)
	cart := must1(w.NewCart(t.Context(), anna, "", ""))
	must1(w.AddLine(t.Context(), anna, cart.ID, cart.Version, till.LineRequest{Product: "tea"}))
	steps := []struct {
		user, browser string
		continues     bool
	}{
		{"anna", "b1", false},
		{"ben", "b1", true},
		{"ben", "b1", false},
		{"anna", "b1", true},
		{"anna", "b2", false}, // she opened it
		{"ben", "b2", true},
	}
	for i, step := range steps {
		before := w.head()
		by := w.signIn(step.user, step.browser)
		if got := slices.Contains(w.kinds(before), entry.KindContinued); got != step.continues {
			t.Errorf("step %d: %s on %s: continued = %v, want %v", i, step.user, step.browser, got, step.continues)
		}
		if i == 1 {
			// The order in hand stays with the browser, the next bears the new name.
			must1(w.AddLine(t.Context(), by, cart.ID, 0, till.LineRequest{Product: "tea"}))
			if o := w.sells(by, "tea", 1000, "cash"); o.User.ID != "ben" {
				t.Errorf("sold by %s, want ben", o.User.ID)
			}
		}
	}
}

func TestMovesAndDrops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *tilltest.Shop) { s.Settings.DropAbove = 20_000 })
	anna := w.signIn("anna", "b1")
	between := must1(w.Move(t.Context(), anna, till.MoveRequest{Amount: 5000, Reason: "change"}))
	if between.Move.Session != nil || between.Move.CashAccount != "cash" || between.Move.Reason.Account != "bank" {
		t.Errorf("move between sessions = %+v", between.Move)
	}
	if s := must1(w.State(t.Context(), anna)); s.Brought != 5000 {
		t.Errorf("brought forward = %d, want 5000", s.Brought)
	}
	w.open(anna, 5000)
	tests := []struct {
		name string
		in   till.MoveRequest
		want error
	}{
		{"in", till.MoveRequest{Amount: 1000, Reason: "change"}, nil},
		{"out", till.MoveRequest{Amount: -300, Reason: "petty", Note: "stamps"}, nil},
		{"to the safe", till.MoveRequest{Amount: -200, Drop: true}, nil},
		{"nothing", till.MoveRequest{Reason: "change"}, till.ErrAmount},
		{"a drop into the drawer", till.MoveRequest{Amount: 100, Drop: true}, till.ErrAmount},
		{"without a reason", till.MoveRequest{Amount: 100}, till.ErrNoReason},
		{"in, by a reason for out", till.MoveRequest{Amount: 100, Reason: "petty"}, till.ErrWrongWay},
		{"out, by a reason for in", till.MoveRequest{Amount: -100, Reason: "change"}, till.ErrWrongWay},
		{"under an id that is none", till.MoveRequest{ID: "x", Amount: 100, Reason: "change"}, errBadID},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.Move(t.Context(), anna, tt.in)
			refused(t, err, tt.want)
		})
	}
	id := "01J0000000000000000000M0VE"
	once := must1(w.Move(t.Context(), anna, till.MoveRequest{ID: id, Amount: 100, Reason: "change"}))
	again := must1(w.Move(t.Context(), anna, till.MoveRequest{ID: id, Amount: 100, Reason: "change"}))
	if once.Again || !again.Again {
		t.Errorf("a move sent twice: again = %v, %v", once.Again, again.Again)
	}
	if s := must1(w.State(t.Context(), anna)); s.SuggestDrop {
		t.Error("a drop is suggested below the limit")
	}
	w.sells(anna, "pizza", 20_000, "cash")
	if s := must1(w.State(t.Context(), anna)); !s.SuggestDrop {
		t.Error("no drop is suggested above the limit")
	}
	r := w.counts(anna, 27_600, 0)
	if m := r.Methods[0]; m.Moves != 600 || m.Taken != 22_000 || m.Difference != 0 {
		t.Errorf("count = %+v, want moves of 6.00 and no difference", m)
	}
}

func TestDebtsArePaidOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *tilltest.Shop) { s.Settings.CashRounding = 5 })
	anna := w.signIn("anna", "b1")
	w.open(anna, 0)
	w.sells(anna, "tea", 1000, "later")
	id := "01J00000000000000000000DEB"
	two := money.Amount(500)
	in := till.DebtRequest{ID: id, Customer: "zoe", Amount: 303, Payments: []till.PaymentRequest{{Method: "cash", Amount: &two}}}
	r := must1(w.ReceiveDebt(t.Context(), anna, in))
	if r.Receipt.Change != 195 || r.Receipt.Rounding != 2 || r.Receipt.Receivable != "receivable" || r.Receipt.Number != "SHOP1-R1-00001-0002" {
		t.Errorf("receipt = %+v", r.Receipt)
	}
	if again := must1(w.ReceiveDebt(t.Context(), anna, in)); !again.Again || again.Receipt.Number != r.Receipt.Number {
		t.Errorf("received again: %+v", again)
	}
	in.ID = ""
	in.Payments[0].Method = "later"
	_, err := w.ReceiveDebt(t.Context(), anna, in)
	refused(t, err, till.ErrDebtByDebt)
	in.Payments = []till.PaymentRequest{{Method: "card"}}
	if r := must1(w.ReceiveDebt(t.Context(), anna, in)); r.Receipt.Payments[0].Amount != 303 {
		t.Errorf("what is due by card = %d, want 303", r.Receipt.Payments[0].Amount)
	}
	x := must1(w.X(t.Context(), w.signIn("mia", "b2")))
	if x.Z.Period.Receipts != 2 || x.Z.Period.ReceiptsSum != 606 || x.Blind {
		t.Errorf("X = %+v", x.Z.Period)
	}
}

func TestTrainingTouchesNoTotal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna, mia := w.signIn("anna", "b1"), w.signIn("mia", "b2")
	w.open(anna, 1000)
	w.sells(anna, "tea", 1000, "cash")
	refused(t, w.SetTraining(t.Context(), anna, true, nil), till.ErrManager)
	cart := must1(w.NewCart(t.Context(), anna, "", ""))
	cart = must1(w.AddLine(t.Context(), anna, cart.ID, cart.Version, till.LineRequest{Product: "tea"}))
	if err := w.SetTraining(t.Context(), mia, true, nil); err == nil {
		t.Error("switched with an order open")
	}
	must1(w.Park(t.Context(), anna, cart.ID, cart.Version, ""))
	refused(t, w.SetTraining(t.Context(), mia, true, nil), nil)

	sold := must1(w.Sell(t.Context(), anna, till.Sale{Lines: []till.LineRequest{{Product: "pizza"}}, Payments: []till.PaymentRequest{{Method: "cash"}}}))
	if sold.Kind != entry.KindTraining || sold.Order.Number != "T-SHOP1-R1-00001-0001" {
		t.Errorf("training sale = %s %s", sold.Kind, sold.Order.Number)
	}
	_, err := w.TakeUp(t.Context(), anna, cart.ID, 0)
	refused(t, err, till.ErrCartTraining)
	_, err = w.Move(t.Context(), anna, till.MoveRequest{Amount: 100, Reason: "change"})
	refused(t, err, till.ErrTrainingOn)
	_, err = w.Count(t.Context(), anna, countOf(0, 0))
	refused(t, err, till.ErrTrainingOn)
	refund := must1(w.Refund(t.Context(), anna, till.RefundRequest{Order: sold.Order.ID}))
	if !refund.Training {
		t.Error("a refund of a training sale is no training")
	}
	if err := w.Discard(t.Context(), anna, refund.ID, 0); err != nil {
		t.Fatal(err)
	}
	refused(t, w.SetTraining(t.Context(), mia, false, nil), nil)
	_, err = w.Refund(t.Context(), anna, till.RefundRequest{Order: sold.Order.ID})
	refused(t, err, till.ErrCartTraining)
	if r := w.counts(anna, 1300, 0); r.Methods[0].Difference != 0 {
		t.Errorf("difference = %d, want 0: training moved nothing", r.Methods[0].Difference)
	}
	if c := w.closes(anna, till.CloseRequest{}); c.Z.Period.Sales != 1 || len(c.Kept) != 1 {
		t.Errorf("Z = %+v, kept %+v, want one sale and the parked order", c.Z.Period, c.Kept)
	}
}

func TestDrawerOpensByApprovalOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	w.open(anna, 0)
	refused(t, w.OpenDrawer(t.Context(), anna, "change", nil), till.ErrApproval)
	refused(t, w.OpenDrawer(t.Context(), anna, "", &till.Approval{User: "mia", PIN: "9999"}), till.ErrReason)
	refused(t, w.OpenDrawer(t.Context(), anna, "change", &till.Approval{User: "mia", PIN: "1111"}), till.ErrApproverPIN)
	refused(t, w.OpenDrawer(t.Context(), anna, "change", &till.Approval{User: "mia", PIN: "9999"}), nil)
	if e := last[pos.Event](w, entry.KindDrawerOpened); personID(e.Approver) != "mia" || personID(e.User) != "anna" || e.Reason != "change" {
		t.Errorf("entry = %+v", e)
	}
	// The right PIN of an approval ends the wrong tries before it.
	refused(t, w.OpenDrawer(t.Context(), anna, "change", &till.Approval{User: "mia", PIN: "1111"}), till.ErrApproverPIN)
	refused(t, w.OpenDrawer(t.Context(), anna, "change", &till.Approval{User: "mia", PIN: "1112"}), till.ErrApproverPIN)
}
