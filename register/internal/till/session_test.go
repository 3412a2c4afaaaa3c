package till_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tillandsia/register/internal/journal"
	"tillandsia/register/internal/till"
	"tillandsia/register/internal/till/tilltest"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
)

func TestDayWithoutAServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	s := w.open(anna, 10_000)
	if s.Name != "SHOP1/R1/00001" || s.BusinessDate != "2026-11-24" {
		t.Errorf("session = %s of %s, want SHOP1/R1/00001 of 2026-11-24", s.Name, s.BusinessDate)
	}
	order := w.sells(anna, "coffee", 2000, "cash")
	if order.Number != "SHOP1-R1-00001-0001" || order.Total != 500 || order.Net != 417 {
		t.Errorf("order = %s %d (net %d), want SHOP1-R1-00001-0001 500 (net 417)", order.Number, order.Total, order.Net)
	}
	w.sells(anna, "pizza", 1000, "card")
	r := w.counts(anna, 10_490, 1100)
	if r.Methods[0].Expected != 10_500 || r.Methods[0].Difference != -10 || r.NeedsApproval {
		t.Errorf("count = %+v, want 105.00 expected, 0.10 short, within the limit", r)
	}
	c := w.closes(anna, till.CloseRequest{Drop: 9_490})
	if c.Z.Number != 1 || c.Z.Period.Sales != 2 || c.Z.Period.SalesTotal != 1600 || c.Z.Perpetual.SalesTotal != 1600 {
		t.Errorf("Z = %+v, want number 1 over 2 sales of 16.00", c.Z)
	}
	state := must1(w.State(t.Context(), anna))
	if state.InProgress || state.Brought != 1000 {
		t.Errorf("after the close: in progress %v, brought forward %d, want false and 1000", state.InProgress, state.Brought)
	}
	// The next one takes the balance brought forward where no float is given.
	next, err := w.Open(t.Context(), anna, till.OpenRequest{})
	if err != nil || next.Float != 1000 || next.Name != "SHOP1/R1/00002" {
		t.Errorf("next session = %+v, %v, want 00002 with the float of 10.00", next, err)
	}
}

func TestBusinessDateFollowsZoneAndCutOff(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		zone string
		at   string
		want string
	}{
		{"in the afternoon it is today", "Europe/Berlin", "2026-11-24T13:00:00Z", "2026-11-24"},
		{"after midnight, before the cut-off, it is still yesterday", "Europe/Berlin", "2026-11-25T02:59:00Z", "2026-11-24"},
		{"from the cut-off on it is today", "Europe/Berlin", "2026-11-25T03:00:00Z", "2026-11-25"},
		{"the first of a month is still the last of the month before", "Europe/Berlin", "2026-12-01T00:30:00Z", "2026-11-30"},
		{"far in the east it is tomorrow", "Pacific/Auckland", "2026-11-24T18:00:00Z", "2026-11-25"},
		{"an unknown zone counts as UTC", "Mars/Olympus", "2026-11-24T04:00:00Z", "2026-11-24"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(s *tilltest.Shop) { s.Settings.TimeZone = tt.zone })
			at, err := time.Parse(time.RFC3339, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			w.Clock.Advance(at.Sub(w.Clock.Now()))
			if s := w.open(w.signIn("anna", "b1"), 0); s.BusinessDate != tt.want {
				t.Errorf("business date at %s = %s, want %s", tt.at, s.BusinessDate, tt.want)
			}
		})
	}
}

func TestCountIsBlindUntilItIsJournalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	w.open(anna, 10_000)
	w.sells(anna, "coffee", 4000, "cash")

	_, err := w.Counted(t.Context())
	refused(t, err, till.ErrNotCounted)
	_, err = w.Close(t.Context(), anna, till.CloseRequest{})
	refused(t, err, till.ErrNotCounted)
	x := must1(w.X(t.Context(), anna))
	if !x.Blind || slices.ContainsFunc(x.Z.Methods, func(m pos.ZMethod) bool { return m.Method == "cash" }) {
		t.Errorf("X before the count = %+v, want nothing of cash", x)
	}

	before := w.head()
	r := w.counts(anna, 11_000, 0)
	if got := w.kinds(before); !slices.Equal(got, []entry.Kind{entry.KindCounted}) {
		t.Errorf("entries of the count = %v", got)
	}
	if r.Methods[0].Expected != 11_000 || !r.CanRecount {
		t.Errorf("count = %+v, want 110.00 expected and a recount allowed", r)
	}
	if again := w.counts(anna, 10_999, 0); again.CanRecount || again.Attempt != 2 {
		t.Errorf("recount = %+v, want the last one", again)
	}
	_, err = w.Count(t.Context(), anna, countOf(11_000, 0))
	refused(t, err, till.ErrCountedTwice)

	// What is sold after the count is added to it.
	w.sells(anna, "coffee", 1000, "cash")
	if c := w.closes(anna, till.CloseRequest{}); c.Methods[0].Counted != 11_249 || c.Methods[0].Difference != -1 {
		t.Errorf("close = %+v, want 112.49 counted, 0.01 short", c.Methods[0])
	}
}

func TestCountNamesEveryMethodOnce(t *testing.T) {
	t.Parallel()
	five, minus, pile := money.Amount(500), money.Amount(-1), []pos.Pile{{Value: 200, Count: 2}, {Value: 50, Count: 2}}
	tests := []struct {
		name   string
		counts []till.CountOf
		want   error
	}{
		{"all of them", countOf(500, 0), nil},
		{"by notes and coins", []till.CountOf{{Method: "cash", Sheet: pile}, {Method: "card", Amount: &five}}, nil},
		{"notes and coins that come to the sum", []till.CountOf{{Method: "cash", Amount: &five, Sheet: pile}, {Method: "card", Amount: &five}}, nil},
		{"one lacks", []till.CountOf{{Method: "cash", Amount: &five}}, till.ErrCountLacks},
		{"one without an amount", []till.CountOf{{Method: "cash", Amount: &five}, {Method: "card"}}, till.ErrCountLacks},
		{"one twice", append(countOf(500, 0), till.CountOf{Method: "cash", Amount: &five}), till.ErrCountUnasked},
		{"one that is not counted", append(countOf(500, 0), till.CountOf{Method: "later", Amount: &five}), till.ErrCountUnasked},
		{"below zero", []till.CountOf{{Method: "cash", Amount: &minus}, {Method: "card", Amount: &five}}, till.ErrNegative},
		{"notes and coins that do not come to the sum", []till.CountOf{{Method: "cash", Amount: &five, Sheet: pile[:1]}, {Method: "card", Amount: &five}}, till.ErrSheet},
		{"more notes than there are", []till.CountOf{{Method: "cash", Sheet: []pos.Pile{{Value: 1 << 40, Count: 1 << 40}}}, {Method: "card", Amount: &five}}, till.ErrAmount},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			anna := w.signIn("anna", "b1")
			w.open(anna, 500)
			_, err := w.Count(t.Context(), anna, tt.counts)
			refused(t, err, tt.want)
		})
	}
}

func TestDifferenceAboveTheLimitNeedsAManager(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		user     string
		request  till.CloseRequest
		want     error
		approver string
	}{
		{"a cashier alone", "anna", till.CloseRequest{Reason: "lost a note"}, till.ErrDifference, ""},
		{"with a manager's PIN", "anna", till.CloseRequest{Reason: "lost a note", Approval: &till.Approval{User: "mia", PIN: "9999"}}, nil, "mia"},
		{"with a cashier's PIN", "anna", till.CloseRequest{Reason: "lost a note", Approval: &till.Approval{User: "ben", PIN: "2222"}}, till.ErrApprover, ""},
		{"with a wrong PIN", "anna", till.CloseRequest{Reason: "lost a note", Approval: &till.Approval{User: "mia", PIN: "0000"}}, till.ErrApproverPIN, ""},
		{"without a reason", "anna", till.CloseRequest{Approval: &till.Approval{User: "mia", PIN: "9999"}}, till.ErrReason, ""},
		{"left to the back office", "anna", till.CloseRequest{Unapproved: true}, nil, ""},
		{"a manager who is signed in", "mia", till.CloseRequest{Reason: "lost a note"}, nil, "mia"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			by := w.signIn(tt.user, "b1")
			w.open(by, 10_000)
			if r := w.counts(by, 9_499, 0); !r.NeedsApproval {
				t.Fatalf("count = %+v, want it above the limit", r)
			}
			_, err := w.Close(t.Context(), by, tt.request)
			refused(t, err, tt.want)
			if tt.want != nil {
				return
			}
			body := last[pos.Closed](w, entry.KindClosed)
			if got := personID(body.Approver); got != tt.approver {
				t.Errorf("approver = %q, want %q", got, tt.approver)
			}
		})
	}
}

func personID(p *pos.Person) string {
	if p == nil {
		return ""
	}
	return p.ID
}

func TestWithoutCashControlNothingIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *tilltest.Shop) { s.Settings.CashControl = false })
	anna := w.signIn("anna", "b1")
	w.open(anna, 12_345) // the float is not asked for: it is the balance brought forward, of nothing
	w.sells(anna, "coffee", 4000, "cash")
	_, err := w.Count(t.Context(), anna, countOf(1000, 0))
	refused(t, err, till.ErrNoCashControl)
	w.closes(anna, till.CloseRequest{Drop: 400})
	if s := must1(w.State(t.Context(), anna)); s.Brought != 600 {
		t.Errorf("brought forward = %d, want 600", s.Brought)
	}
}

func TestRegisterWithoutADrawerTakesNoCash(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *tilltest.Shop) { s.Register.Drawer = false })
	anna := w.signIn("anna", "b1")
	s := w.open(anna, 0)
	if slices.ContainsFunc(s.Methods, func(m pos.Method) bool { return m.Kind == pos.MethodCash }) {
		t.Errorf("methods = %+v, want no cash", s.Methods)
	}
	_, err := w.Sell(t.Context(), anna, till.Sale{Lines: []till.LineRequest{{Product: "tea"}}, Payments: []till.PaymentRequest{{Method: "cash"}}})
	if err == nil {
		t.Error("cash was taken without a drawer")
	}
	_, err = w.Move(t.Context(), anna, till.MoveRequest{Amount: 100, Reason: "change"})
	refused(t, err, till.ErrNoDrawer)
	w.sells(anna, "tea", 1000, "card")
	zero := money.Amount(300)
	must1(w.Count(t.Context(), anna, []till.CountOf{{Method: "card", Amount: &zero}}))
	w.closes(anna, till.CloseRequest{})
}

func TestSettingsTakeEffectAtTheNextOpening(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	w.open(anna, 0)
	w.Shop.Settings.CashRounding = 5
	w.Shop.Settings.Methods = []string{"cash"}
	vat := w.Shop.Taxes["vat"]
	vat.Rate = 100_000
	w.Shop.Taxes["vat"] = vat
	tea := w.Shop.Products["tea"]
	tea.Price = 30_300
	w.Shop.Products["tea"] = tea
	w.Publish()

	if o := w.sells(anna, "tea", 1000, "card"); o.Total != 303 || o.Taxes[0].Amount != 50 {
		t.Errorf("order = %d with tax %d, want the new price 3.03 and the old tax 0.51 − 0.01", o.Total, o.Taxes[0].Amount)
	}
	if o := w.sells(anna, "tea", 1000, "cash"); o.Rounding != 0 {
		t.Errorf("rounding = %d, want the old setting, none", o.Rounding)
	}
	w.counts(anna, 303, 303)
	w.closes(anna, till.CloseRequest{})
	w.open(anna, 303)
	if o := w.sells(anna, "tea", 1000, "cash"); o.Rounding != 2 || o.RoundingAccount != "rounding" || o.Taxes[0].Amount != 28 {
		t.Errorf("rounding = %d to %q, tax %d, want 2 to rounding and tax 28", o.Rounding, o.RoundingAccount, o.Taxes[0].Amount)
	}
	_, err := w.Sell(t.Context(), anna, till.Sale{Lines: []till.LineRequest{{Product: "tea"}}, Payments: []till.PaymentRequest{{Method: "card"}}})
	if err == nil {
		t.Error("a card was taken after the method went")
	}
}

func TestJoiningAnotherRegistersSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	other := wire.Session{
		Stamp: pos.Stamp{
			ID: "01J00000000000000000000S42", Name: "SHOP1/R9/00042", Register: "01J000000000000000000000R9", By: "ben",
			At: w.Clock.Now(), BusinessDate: "2026-11-24",
		},
		State: "opened", RegisterOf: "R9", ByName: "Ben",
	}
	rescue := other
	rescue.ID, rescue.Rescue = "01J00000000000000000000S43", true
	w.Uplink.Tell(other, rescue)
	if s := must1(w.State(t.Context(), anna)); len(s.Elsewhere) != 1 || s.Elsewhere[0].ID != other.ID {
		t.Errorf("elsewhere = %+v, want only the session, never its rescue", s.Elsewhere)
	}
	_, err := w.Open(t.Context(), anna, till.OpenRequest{Session: rescue.ID})
	refused(t, err, till.ErrNotInProgress)

	// Its own comes first.
	w.open(anna, 8000)
	_, err = w.Open(t.Context(), anna, till.OpenRequest{Session: other.ID})
	refused(t, err, till.ErrInProgress)
	w.counts(anna, 8000, 0)
	w.closes(anna, till.CloseRequest{})

	// W12: join with 80, take 50, leave with 130, join again, take 20, leave with 150.
	for i, step := range []struct{ float, takes, counted money.Amount }{{8000, 5000, 13_000}, {13_000, 2000, 15_000}} {
		s, err := w.Open(t.Context(), anna, till.OpenRequest{Session: other.ID, Float: &step.float})
		if err != nil || s.Own || s.Name != other.Name {
			t.Fatalf("join = %+v, %v", s, err)
		}
		order := w.sells(anna, "pizza", money.Qty(step.takes*1000/1100), "cash")
		if i == 0 && order.Number != "SHOP1-R1-R9.00042-0001" || i == 1 && order.Number != "SHOP1-R1-R9.00042-0002" {
			t.Errorf("number of order %d = %s", i, order.Number)
		}
		r := w.counts(anna, step.float+order.Total, 0)
		if r.Methods[0].Difference != 0 {
			t.Errorf("stay %d: difference %d, want 0", i, r.Methods[0].Difference)
		}
		_, err = w.Close(t.Context(), anna, till.CloseRequest{})
		if err == nil {
			t.Error("a joined session was closed by a register that does not own it")
		}
		if c := w.closes(anna, till.CloseRequest{Leave: true}); !c.Left || c.Z.Number != i+2 || c.Z.Period.Sales != 1 {
			t.Errorf("leaving = %+v, want Z %d over one sale", c, i+2)
		}
		w.Uplink.Tell(other)
	}
}

func TestScreensLeftInTheOldSessionAreEndedByTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	s1 := w.open(anna, 0)
	ben := w.signIn("ben", "b2")
	cart := must1(w.NewCart(t.Context(), ben, "", ""))
	cart = must1(w.AddLine(t.Context(), ben, cart.ID, cart.Version, till.LineRequest{Product: "tea"}))
	idle := w.signIn("mia", "b3")
	must1(w.NewCart(t.Context(), idle, "", ""))

	w.counts(anna, 0, 0)
	w.closes(anna, till.CloseRequest{})
	// The closer is out, the others sell on, stamped with the old session.
	_, err := w.NewCart(t.Context(), anna, "", "")
	refused(t, err, till.ErrNoSession)
	if o := w.sells(ben, "coffee", 1000, "card"); o.Session.ID != s1.ID {
		t.Errorf("a screen left in the session sold in %s, want %s", o.Session.Name, s1.Name)
	}

	state := must1(w.State(t.Context(), anna))
	if len(state.Screens) != 2 || len(state.Screens[0].Unpaid) != 1 || state.Screens[0].User.ID != "ben" {
		t.Errorf("screens = %+v, want Ben's with an unpaid order and Mia's", state.Screens)
	}
	zero := money.Amount(0)
	_, err = w.Open(t.Context(), anna, till.OpenRequest{Float: &zero})
	refused(t, err, till.ErrScreensOpen)
	before := w.head()
	s2, err := w.Open(t.Context(), anna, till.OpenRequest{Float: &zero, Confirm: true})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	if got := w.kinds(before); !slices.Equal(got, []entry.Kind{entry.KindOpened, entry.KindSettingsApplied, entry.KindScreensEnded, entry.KindScreensEnded}) {
		t.Errorf("entries = %v", got)
	}

	// An ended screen is told once, then goes on in the new session.
	_, err = w.AddLine(t.Context(), ben, cart.ID, cart.Version, till.LineRequest{Product: "tea"})
	if err == nil || !strings.Contains(err.Error(), "parked") || !strings.Contains(err.Error(), "Anna") {
		t.Errorf("first touch = %v, want who opened and where the order is", err)
	}
	up, err := w.TakeUp(t.Context(), ben, cart.ID, 0)
	if err != nil || len(up.Lines) != 1 {
		t.Fatalf("TakeUp = %+v, %v", up, err)
	}
	must1(w.AddPayment(t.Context(), ben, cart.ID, up.Version, till.PaymentRequest{Method: "cash"}))
	sold, err := w.Validate(t.Context(), ben, cart.ID, 0)
	if err != nil || sold.Order.Session.ID != s2.ID {
		t.Errorf("sold in %s, %v, want %s", sold.Order.Session.Name, err, s2.Name)
	}
}

func TestWhatIsSoldAfterACloseOutGetsAZOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	w.open(anna, 1000)
	ben := w.signIn("ben", "b2")
	w.counts(anna, 1000, 0)
	w.closes(anna, till.CloseRequest{})
	_, err := w.Count(t.Context(), ben, countOf(1000, 0))
	refused(t, err, till.ErrClosedOut)
	w.sells(ben, "tea", 1000, "cash")
	if r := w.counts(ben, 1300, 0); r.Methods[0].Difference != 0 {
		t.Errorf("count = %+v, want no difference", r.Methods[0])
	}
	if c := w.closes(ben, till.CloseRequest{}); c.Z.Number != 2 || c.Z.Period.Sales != 1 || c.Z.Perpetual.SalesTotal != 300 {
		t.Errorf("Z = %+v, want number 2 over the one sale", c.Z)
	}
	if s := must1(w.State(t.Context(), anna)); s.Brought != 1300 {
		t.Errorf("brought forward = %d, want 1300", s.Brought)
	}
}

func TestCartThatCannotBeReadStandsInNobodysWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	_, err := w.Journal.Append(t.Context(), func(tx *journal.Tx) error {
		return tx.SaveCart(journal.Cart{ID: "01J00000000000000000000BAD", Version: 1, Data: []byte(`{"lines":"of another version"}`)})
	})
	if err != nil {
		t.Fatal(err)
	}
	w.open(anna, 0)
	w.counts(anna, 0, 0)
	w.closes(anna, till.CloseRequest{})
	if list := must1(w.Carts(t.Context(), anna)); len(list) != 0 {
		t.Errorf("carts = %+v", list)
	}
}

func TestCloseOutOfASessionClosedCentrallySaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	s := w.open(anna, 10_000)
	w.sells(anna, "tea", 1000, "cash")
	heard := w.Journal.Head()
	w.sells(anna, "tea", 1000, "cash")
	_, err := w.Journal.Append(t.Context(), func(tx *journal.Tx) error {
		_, err := tx.Add(entry.KindClose, "01J000000000000000000CLOSE", pos.Close{
			Session: s.ID, Name: s.Name, By: pos.Person{ID: "boss", Name: "Boss"}, At: time.Date(2026, 11, 24, 13, 2, 0, 0, time.UTC),
			Positions: []pos.Position{{Register: tilltest.Identity.Register, Point: heard}},
		})
		return err
	})
	if err != nil {
		t.Fatalf("Append = %v", err)
	}
	// Nothing changes on the screen.
	w.sells(anna, "tea", 1000, "cash")
	if got := must1(w.State(t.Context(), anna)); !got.InProgress || got.Session.State != journal.Selling {
		t.Errorf("state = %+v, want the session as it was", got.Session)
	}
	w.counts(anna, 10_900, 0)
	c := w.closes(anna, till.CloseRequest{})
	if c.Central == nil || c.Central.Beyond != 2 || c.Central.Message != "Closed centrally at 14:02 by Boss; orders beyond it: 2. They are in a rescue session." {
		t.Errorf("close = %+v", c.Central)
	}
	w.open(anna, 10_900)
}

func TestZReportsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	for n := range 3 {
		w.open(anna, 0)
		w.sells(anna, "tea", 1000, "card")
		w.counts(anna, 0, 300)
		if c := w.closes(anna, till.CloseRequest{}); c.Z.Number != n+1 || c.Z.Perpetual.Sales != n+1 {
			t.Errorf("Z %d = %+v", n+1, c.Z)
		}
	}
	w.Restart()
	list := must1(w.Zs(t.Context()))
	if len(list) != 3 || list[0].Z.Number != 3 || list[2].Session != "SHOP1/R1/00001" {
		t.Errorf("Zs = %+v", list)
	}
	z, err := w.Z(t.Context(), "", 2)
	if err != nil || z.Z.Period.SalesTotal != 300 {
		t.Errorf("Z 2 = %+v, %v", z, err)
	}
	_, err = w.Z(t.Context(), "", 4)
	refused(t, err, till.ErrNoZ)
}

func TestNumbersOfACopyBeginASeries(t *testing.T) {
	t.Parallel()
	// W10: the journal of the morning is put back; the instance's files are not.
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	w.open(anna, 0)
	w.sells(anna, "tea", 1000, "card")
	copied := t.TempDir()
	if err := w.Journal.Backup(t.Context(), copied+"/journal.db"); err != nil {
		t.Fatalf("Backup = %v", err)
	}
	w.sells(anna, "tea", 1000, "card")

	restored := openCopy(t, w, copied)
	ben := restored.signIn("ben", "b1")
	order := restored.sells(ben, "tea", 1000, "card")
	tag := order.Series
	if tag == "" || order.Number != "SHOP1-R1."+tag+"-R1.00001-0001" {
		t.Errorf("first number of the copy = %s (series %q), want the old session under a tag", order.Number, tag)
	}
	restored.counts(ben, 0, 600)
	if c := restored.closes(ben, till.CloseRequest{}); c.Z.Number != 1 || c.Z.Series != tag {
		t.Errorf("Z of the copy = %d of %q, want 1 of %q", c.Z.Number, c.Z.Series, tag)
	}
	if s := restored.open(ben, 0); s.Name != "SHOP1/R1."+tag+"/00001" {
		t.Errorf("next session = %s", s.Name)
	}
}

func openCopy(t *testing.T, w *world, dir string) *world {
	t.Helper()
	return &world{tilltest.OpenIn(t, dir, w.Clock)}
}

func TestClockJumpsAreJournalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna", "b1")
	w.open(anna, 0)
	w.Clock.Advance(-2 * time.Hour)
	before := w.head()
	w.sells(anna, "tea", 1000, "card")
	if got := w.kinds(before); !slices.Equal(got, []entry.Kind{entry.KindClockJumped, entry.KindOrder}) {
		t.Errorf("entries after the clock was set back = %v", got)
	}
	before = w.head()
	w.sells(anna, "tea", 1000, "card")
	if got := w.kinds(before); !slices.Equal(got, []entry.Kind{entry.KindOrder}) {
		t.Errorf("entries afterwards = %v", got)
	}
}
