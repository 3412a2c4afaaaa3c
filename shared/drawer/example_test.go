package drawer_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"tillandsia/shared/drawer"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/posting"
)

// The worked examples of the domain, in cents.

func at(seq uint64) entry.Place { return entry.Place{Epoch: 1, Seq: seq} }

// euro is an amount in whole units, cents its hundredths.
func euro(n int64) money.Amount { return money.Amount(n) * 100 }

// till is one drawer in a test: its chain, and what goes wrong fails the test.
type till struct {
	t *testing.T
	drawer.Chain
	between int
}

func newTill(t *testing.T) *till {
	t.Helper()
	return &till{t: t}
}

// begun is a till whose drawer holds an amount already.
func begun(t *testing.T, float money.Amount) *till {
	t.Helper()
	d := newTill(t)
	d.open("S0", 1, float)
	d.close("S0", 1, drawer.ByNotCounted, 0)
	return d
}

func (d *till) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *till) line(session string, stay uint64) *drawer.Line {
	d.t.Helper()
	i := d.Find(session, at(stay))
	if i < 0 {
		d.t.Fatalf("no line of %s in stay %d", session, stay)
	}
	return &d.Lines[i]
}

func (d *till) open(session string, stay uint64, float money.Amount) {
	d.Open(drawer.Opening{Session: session, Stay: at(stay), Cash: true, Control: true, Float: float})
}

// rescue makes a line of a rescue of S.
func (d *till) rescue(session string, ordinal int, stay uint64, float money.Amount) {
	d.Rescue(session, ordinal, drawer.Opening{Session: "S", Stay: at(stay), Cash: true, Control: true, Float: float})
}

func (d *till) take(session string, stay, place uint64, amount money.Amount) {
	d.t.Helper()
	d.must(d.line(session, stay).Take(at(place), amount))
}

func (d *till) move(session string, stay, place uint64, amount money.Amount) {
	d.t.Helper()
	d.must(d.line(session, stay).Move(at(place), amount))
}

func (d *till) moveBetween(place uint64, amount money.Amount) {
	d.between++
	d.Between = append(d.Between, drawer.Move{ID: fmt.Sprint("M", d.between), At: at(place), Amount: amount})
}

func (d *till) count(session string, stay, place uint64, amount money.Amount) {
	d.t.Helper()
	d.must(d.line(session, stay).Count(at(place), amount))
}

func (d *till) drop(session string, stay uint64, amount money.Amount) {
	d.t.Helper()
	d.must(d.line(session, stay).Leave(amount))
}

func (d *till) close(session string, stay uint64, by drawer.By, counted money.Amount) {
	d.t.Helper()
	d.must(d.line(session, stay).Close(by, counted))
}

// row is a line of the tables of the examples. No counted is -1.
type row struct {
	session                                                              string
	brought, opening, openingDiff, cash, expected, counted, closing, off money.Amount
}

const none = -1

func (d *till) rows() []row {
	var rows []row
	for _, l := range d.Lines {
		if l.Session == "S0" {
			continue
		}
		r := row{l.Session, l.Brought, l.Opening, l.OpeningDifference(), l.Taken + l.Moves, l.Expected(), none, l.Closing(), l.Difference()}
		if n := l.CountedNow(); n != nil {
			r.counted = *n
		}
		rows = append(rows, r)
	}
	return rows
}

func (d *till) want(rows ...row) {
	d.t.Helper()
	got := d.rows()
	table := func(rows []row) string {
		var b strings.Builder
		for _, r := range rows {
			fmt.Fprintf(&b, "%+v\n", r)
		}
		return b.String()
	}
	if table(got) != table(rows) {
		d.t.Errorf("lines are\n%swant\n%s", table(got), table(rows))
	}
	d.wantLinked()
}

// wantLinked checks what holds of every chain of cash.
func (d *till) wantLinked() {
	d.t.Helper()
	for i, l := range d.Lines {
		if got := l.Opening + l.Taken + l.Moves + l.Difference() - l.Drop; got != l.Closing() {
			d.t.Errorf("%s: opening + cash + moves + difference − drop = %d, closing %d", l.Session, got, l.Closing())
		}
		if got := l.Brought + l.OpeningDifference() + l.FirstFloat(); got != l.Opening {
			d.t.Errorf("%s: brought forward + opening difference = %d, opening %d", l.Session, got, l.Opening)
		}
		if i > 0 && l.Cash && l.Brought-l.Between != d.Lines[i-1].Closing() {
			d.t.Errorf("%s takes over %d, the link before closes at %d", l.Session, l.Brought-l.Between, d.Lines[i-1].Closing())
		}
	}
}

// books returns what the postings of all sessions give on an account.
func (d *till) books(account string) money.Amount {
	d.t.Helper()
	var sum money.Amount
	for _, l := range d.Lines {
		p := d.posting(l)
		for _, line := range p.Lines {
			if line.Account == account {
				sum += line.Debit - line.Credit
			}
		}
	}
	return sum
}

func (d *till) posting(l drawer.Line) posting.Posting {
	d.t.Helper()
	p, err := posting.Make(posting.Facts{
		Sums: []posting.Sum{
			{Kind: posting.Payments, Account: "cash", Detail: "cash", Register: "R1", Amount: l.Taken},
			{Kind: posting.Sales, Account: "sales", Amount: l.Taken},
		},
		Moves: []posting.Move{
			{Register: "R1", Method: "cash", CashAccount: "cash", Account: "safe", Amount: l.Moves},
			{Register: "R1", Method: "cash", CashAccount: "cash", Account: "safe", Amount: -l.Drop},
			{Register: "R1", Method: "cash", CashAccount: "cash", Account: "safe", Amount: l.Between},
		},
		Drawers: []posting.Drawer{{
			Register: "R1", Method: "cash", Account: "cash", FirstFloat: l.FirstFloat(),
			OpeningDifference: l.OpeningDifference(), Difference: l.Difference(),
		}},
		Accounts: posting.Accounts{Float: "float", Loss: "loss", Gain: "gain", Suspense: "suspense", Rounding: "rounding"},
	})
	d.must(err)
	return p
}

// wantBooks checks the cash account, and that the wrong rule would show.
func (d *till) wantBooks(want, old money.Amount) {
	d.t.Helper()
	if want == old {
		d.t.Fatalf("books of %d cannot tell the rules apart", want)
	}
	if got := d.books("cash"); got != want {
		d.t.Errorf("books = %d, want %d (wrong rule: %d)", got, want, old)
	}
}

// wantSum checks Σ counting differences of S and its rescues, and that the
// wrong rule would show.
func (d *till) wantSum(want, old money.Amount) {
	d.t.Helper()
	if want == old {
		d.t.Fatalf("Σ of %d cannot tell the rules apart", want)
	}
	var sum money.Amount
	for _, l := range d.Lines {
		if l.Root == "S" {
			sum += l.Difference()
		}
	}
	if sum != want {
		d.t.Errorf("Σ differences = %d, want %d (wrong rule: %d)", sum, want, old)
	}
}

func TestW1CountedForceCloseWithAllHeard(t *testing.T) {
	t.Parallel()
	d := begun(t, euro(100))
	d.open("S", 2, euro(100))
	d.take("S", 2, 3, euro(200))
	d.move("S", 2, 4, -euro(20))
	d.close("S", 2, drawer.ByCount, euro(278))
	d.rescue("R", 1, 2, euro(100))
	d.take("R", 2, 5, euro(50))
	d.count("R", 2, 6, euro(325))

	v, ok := d.Till("S", at(2))
	if !ok || v.Expected != euro(330) || v.Counted == nil || *v.Counted != euro(325) || v.Difference != -euro(5) {
		t.Errorf("the till's own view = %+v, want 330 expected, 325 counted, −5", v)
	}
	if n := d.line("R", 2).TillCount(); n == nil || *n != euro(325) {
		t.Errorf("the form is filled with %v, want the till's 325", n)
	}
	d.close("R", 2, drawer.ByTill, 0)
	d.want(
		row{"S", euro(100), euro(100), 0, euro(180), euro(280), euro(278), euro(278), -euro(2)},
		row{"R", euro(278), euro(278), 0, euro(50), euro(328), euro(325), euro(325), -euro(3)},
	)
	// From S's expected 280 the rescue would lose its 2 a second time.
	d.wantSum(-euro(5), -euro(7))
	d.wantBooks(euro(325), euro(323))
}

func TestW2TheNextSessionOpensBeforeTheRescueIsClosed(t *testing.T) {
	t.Parallel()
	prepare := func(t *testing.T, counted bool) *till {
		d := begun(t, euro(100))
		d.open("S", 2, euro(100))
		d.take("S", 2, 3, euro(200))
		d.close("S", 2, drawer.ByNotCounted, 0)
		d.rescue("R", 1, 2, euro(100))
		d.take("R", 2, 4, euro(50))
		if counted {
			d.count("R", 2, 5, euro(345))
		}
		d.open("S2", 6, euro(340))
		return d
	}
	finish := func(d *till) {
		d.take("S2", 6, 7, euro(60))
		d.count("S2", 6, 8, euro(400))
		d.close("S2", 6, drawer.ByTill, 0)
	}
	t.Run("with the till's count", func(t *testing.T) {
		t.Parallel()
		d := prepare(t, true)
		finish(d)
		d.close("R", 2, drawer.ByTill, 0) // last
		d.want(
			row{"S", euro(100), euro(100), 0, euro(200), euro(300), none, euro(300), 0},
			row{"R", euro(300), euro(300), 0, euro(50), euro(350), euro(345), euro(345), -euro(5)},
			row{"S2", euro(345), euro(340), -euro(5), euro(60), euro(400), euro(400), euro(400), 0},
		)
		d.wantBooks(euro(400), euro(445))
	})
	t.Run("W2b without a till's count", func(t *testing.T) {
		t.Parallel()
		d := prepare(t, false)
		finish(d)
		if err := d.line("R", 2).Close(drawer.ByCount, euro(340)); !errors.Is(err, drawer.ErrFixed) {
			t.Errorf("a count typed after S2's opening = %v, want ErrFixed (it would give −20)", err)
		}
		if err := d.line("R", 2).Count(at(5), euro(340)); !errors.Is(err, drawer.ErrFixed) {
			t.Errorf("a till's count after S2's opening = %v, want ErrFixed", err)
		}
		if d.line("R", 2).Closed {
			t.Error("what was refused closed the line")
		}
		d.close("R", 2, drawer.ByNotCounted, 0)
		d.want(
			row{"S", euro(100), euro(100), 0, euro(200), euro(300), none, euro(300), 0},
			row{"R", euro(300), euro(300), 0, euro(50), euro(350), none, euro(350), 0},
			row{"S2", euro(350), euro(340), -euro(10), euro(60), euro(400), euro(400), euro(400), 0},
		)
		d.wantBooks(euro(400), euro(390))
	})
}

func TestW3ALateCountWithoutALateOrder(t *testing.T) {
	t.Parallel()
	d := begun(t, euro(100))
	d.open("S", 2, euro(100))
	d.take("S", 2, 3, euro(200))
	d.close("S", 2, drawer.ByNotCounted, 0)
	if err := d.line("S", 2).Count(at(4), euro(298)); !errors.Is(err, drawer.ErrClosed) {
		t.Errorf("a count of a closed line = %v, want ErrClosed: it is late", err)
	}
	if got := d.line("S", 2).Late(euro(298)); got != -euro(2) {
		t.Errorf("late count differs by %d, want −2", got)
	}
	d.open("S2", 5, euro(297))
	d.take("S2", 5, 6, euro(40))
	d.count("S2", 5, 7, euro(337))
	d.close("S2", 5, drawer.ByTill, 0)
	d.want(
		row{"S", euro(100), euro(100), 0, euro(200), euro(300), none, euro(300), 0},
		row{"S2", euro(300), euro(297), -euro(3), euro(40), euro(337), euro(337), euro(337), 0},
	)
	d.wantBooks(euro(337), euro(339))
}

func TestW4TwoRescues(t *testing.T) {
	t.Parallel()
	play := func(t *testing.T, by drawer.By) *till {
		d := begun(t, euro(100))
		d.open("S", 2, euro(100))
		d.take("S", 2, 3, euro(200))
		d.close("S", 2, drawer.ByNotCounted, 0)
		d.rescue("R", 1, 2, euro(100))
		d.take("R", 2, 4, euro(50))
		d.close("R", 2, by, euro(345))
		d.rescue("R#2", 2, 2, euro(100))
		d.take("R#2", 2, 5, euro(20))
		d.close("R#2", 2, drawer.ByCount, euro(365))
		return d
	}
	t.Run("the second opens with the closing of the first", func(t *testing.T) {
		t.Parallel()
		d := play(t, drawer.ByCount)
		d.want(
			row{"S", euro(100), euro(100), 0, euro(200), euro(300), none, euro(300), 0},
			row{"R", euro(300), euro(300), 0, euro(50), euro(350), euro(345), euro(345), -euro(5)},
			row{"R#2", euro(345), euro(345), 0, euro(20), euro(365), euro(365), euro(365), 0},
		)
		d.wantSum(-euro(5), euro(40))
		d.wantBooks(euro(365), euro(410))
	})
	t.Run("the first closed not counted leaves the difference to the second", func(t *testing.T) {
		t.Parallel()
		d := play(t, drawer.ByNotCounted)
		d.want(
			row{"S", euro(100), euro(100), 0, euro(200), euro(300), none, euro(300), 0},
			row{"R", euro(300), euro(300), 0, euro(50), euro(350), none, euro(350), 0},
			row{"R#2", euro(350), euro(350), 0, euro(20), euro(370), euro(365), euro(365), -euro(5)},
		)
		d.wantSum(-euro(5), euro(45))
		d.wantBooks(euro(365), euro(415))
	})
}

func TestW5TheLinesOfTwoRegistersAreTwoDrawers(t *testing.T) {
	t.Parallel()
	play := func(t *testing.T, float, cash, late, counted money.Amount) *till {
		d := begun(t, float)
		d.open("S", 2, float)
		d.take("S", 2, 3, cash)
		d.close("S", 2, drawer.ByNotCounted, 0)
		d.rescue("R", 1, 2, float)
		d.take("R", 2, 4, late)
		d.count("R", 2, 5, counted)
		d.close("R", 2, drawer.ByTill, 0)
		return d
	}
	r1 := play(t, euro(100), euro(200), euro(50), euro(350))
	r1.want(
		row{"S", euro(100), euro(100), 0, euro(200), euro(300), none, euro(300), 0},
		row{"R", euro(300), euro(300), 0, euro(50), euro(350), euro(350), euro(350), 0},
	)
	// One drawer: 500 expected, 350 counted.
	r1.wantSum(0, -euro(150))
	r2 := play(t, euro(80), euro(120), euro(30), euro(228))
	r2.want(
		row{"S", euro(80), euro(80), 0, euro(120), euro(200), none, euro(200), 0},
		row{"R", euro(200), euro(200), 0, euro(30), euro(230), euro(228), euro(228), -euro(2)},
	)
	r2.wantSum(-euro(2), -euro(150))
}

func TestW6AnEntryForSAppliedAfterTheNextOpening(t *testing.T) {
	t.Parallel()
	d := begun(t, euro(100))
	d.open("S", 2, euro(100))
	d.take("S", 2, 3, euro(200))
	d.close("S", 2, drawer.ByNotCounted, 0)
	d.rescue("R", 1, 2, euro(100))
	d.take("R", 2, 4, euro(50))
	d.count("R", 2, 5, euro(350))
	d.close("R", 2, drawer.ByTill, 0)
	d.open("S2", 6, euro(370))
	d.take("S2", 6, 7, euro(10))
	d.count("S2", 6, 8, euro(380))
	d.close("S2", 6, drawer.ByTill, 0)
	d.rescue("R#2", 2, 2, euro(100))
	d.take("R#2", 2, 9, euro(20))
	d.close("R#2", 2, drawer.ByNotCounted, 0)
	d.want(
		row{"S", euro(100), euro(100), 0, euro(200), euro(300), none, euro(300), 0},
		row{"R", euro(300), euro(300), 0, euro(50), euro(350), euro(350), euro(350), 0},
		row{"R#2", euro(350), euro(350), 0, euro(20), euro(370), none, euro(350), -euro(20)},
		row{"S2", euro(350), euro(370), euro(20), euro(10), euro(380), euro(380), euro(380), 0},
	)
	d.wantBooks(euro(380), euro(400))
}

func TestW7CardCarriesThroughTheRescuesOnly(t *testing.T) {
	t.Parallel()
	d := newTill(t)
	card := drawer.Opening{Session: "S", Stay: at(2)}
	d.Open(card)
	d.take("S", 2, 3, euro(500))
	d.close("S", 2, drawer.ByNotCounted, 0)
	d.Rescue("R", 1, card)
	d.take("R", 2, 4, euro(80))
	d.count("R", 2, 5, euro(580))
	d.close("R", 2, drawer.ByTill, 0)
	d.want(
		row{"S", 0, 0, 0, euro(500), euro(500), none, euro(500), 0},
		row{"R", euro(500), euro(500), 0, euro(80), euro(580), euro(580), euro(580), 0},
	)
	d.wantSum(0, euro(500))
	// The next session begins at 0 and takes nothing over.
	d.Open(drawer.Opening{Session: "S2", Stay: at(6)})
	if l := d.line("S2", 6); l.Opening != 0 || l.OpeningDifference() != 0 || l.FirstFloat() != 0 || d.line("R", 2).Fixed != nil {
		t.Errorf("card of the next session = %+v", l)
	}
	d.Rescue("R#2", 2, card)
	d.take("R#2", 2, 7, euro(5))
	if d.line("S2", 6).Difference() != 0 || d.line("R", 2).Closing() != euro(580) || d.line("R#2", 2).Closing() != euro(585) {
		t.Error("the next session changed the card lines of the rescues")
	}
}

func TestW7MovesAndRefundLate(t *testing.T) {
	t.Parallel()
	d := begun(t, euro(100))
	d.open("S", 2, euro(100))
	d.take("S", 2, 3, euro(400))
	d.close("S", 2, drawer.ByNotCounted, 0)
	d.rescue("R", 1, 2, euro(100))
	d.take("R", 2, 4, euro(60))
	d.take("R", 2, 5, -euro(25))
	d.move("R", 2, 6, -euro(200))
	d.count("R", 2, 7, euro(333))
	d.close("R", 2, drawer.ByTill, 0)
	d.want(
		row{"S", euro(100), euro(100), 0, euro(400), euro(500), none, euro(500), 0},
		row{"R", euro(500), euro(500), 0, -euro(165), euro(335), euro(333), euro(333), -euro(2)},
	)
	d.wantBooks(euro(333), euro(335))
}

func TestW7ADropIsNoDifferenceOfTheNextOpening(t *testing.T) {
	t.Parallel()
	d := begun(t, euro(200))
	d.open("S", 2, euro(200))
	d.take("S", 2, 3, euro(1000))
	d.count("S", 2, 4, euro(1200))
	d.drop("S", 2, euro(1100))
	d.close("S", 2, drawer.ByTill, 0)
	d.open("S2", 5, euro(100))
	d.want(
		row{"S", euro(200), euro(200), 0, euro(1000), euro(1200), euro(1200), euro(100), 0},
		row{"S2", euro(100), euro(100), 0, 0, euro(100), none, euro(100), 0}, // wrong: −1,100
	)
	d.wantBooks(euro(100), -euro(1000))
	if got := d.books("safe"); got != euro(1100) {
		t.Errorf("safe = %d, want 1,100", got)
	}
}

func TestW7AFirstFloatIsMoneyPutIn(t *testing.T) {
	t.Parallel()
	d := newTill(t)
	d.open("S", 1, euro(80))
	l := d.line("S", 1)
	if !l.First || l.FirstFloat() != euro(80) || l.OpeningDifference() != 0 {
		t.Errorf("first link = %+v, want 80 put in and no difference", l)
	}
	if got := [...]money.Amount{d.books("cash"), d.books("float"), d.books("gain")}; got != [...]money.Amount{euro(80), -euro(80), 0} {
		t.Errorf("cash, float, gain = %v, want 80, −80, 0", got)
	}
	d.close("S", 1, drawer.ByNotCounted, 0)
	d.open("S2", 2, euro(81))
	if l := d.line("S2", 2); l.First || l.FirstFloat() != 0 || l.OpeningDifference() != euro(1) {
		t.Errorf("second link = %+v, want a difference of 1", l)
	}
}

func TestW7TwoRegistersOpeningOfflineAreIndependent(t *testing.T) {
	t.Parallel()
	r1, r2 := begun(t, euro(345)), newTill(t)
	r2.open("SHOP1/R2/00002", 1, euro(80)) // either may arrive first
	r1.open("SHOP1/R1/00043", 2, euro(345))
	r1.want(row{"SHOP1/R1/00043", euro(345), euro(345), 0, 0, euro(345), none, euro(345), 0})
	r2.want(row{"SHOP1/R2/00002", 0, euro(80), 0, 0, euro(80), none, euro(80), 0})
}

func TestW7bADropInALateCloseOutWithoutARescue(t *testing.T) {
	t.Parallel()
	d := begun(t, euro(100))
	d.open("S", 2, euro(100))
	d.take("S", 2, 3, euro(1100))
	d.close("S", 2, drawer.ByNotCounted, 0)
	// Close-out: count 1,200, drop 1,100. No link of the drawer is open.
	if err := d.line("S", 2).Leave(euro(1100)); !errors.Is(err, drawer.ErrClosed) {
		t.Errorf("a drop of a closed line = %v, want ErrClosed", err)
	}
	d.moveBetween(5, -euro(1100))
	at6, posted := d.Open(drawer.Opening{Session: "S2", Stay: at(6), Cash: true, Control: true, Float: euro(100)})
	if len(posted) != 1 || posted[0] != "M1" || d.Lines[at6].Between != -euro(1100) || len(d.Between) != 0 {
		t.Errorf("posted with S2 = %v, between %d, left %v", posted, d.Lines[at6].Between, d.Between)
	}
	d.want(
		row{"S", euro(100), euro(100), 0, euro(1100), euro(1200), none, euro(1200), 0},
		row{"S2", euro(100), euro(100), 0, 0, euro(100), none, euro(100), 0},
	)
	d.close("S2", 6, drawer.ByNotCounted, 0)
	d.wantBooks(euro(100), euro(1200))
	if got := d.books("safe"); got != euro(1100) {
		t.Errorf("safe = %d, want 1,100", got)
	}
	if got := d.books("loss"); got != 0 {
		t.Errorf("loss = %d, want none (wrong rules: 1,100)", got)
	}
}

func TestW7cADropWithTheRescueStillOpen(t *testing.T) {
	t.Parallel()
	d := begun(t, euro(100))
	d.open("S", 2, euro(100))
	d.take("S", 2, 3, euro(1000))
	d.close("S", 2, drawer.ByNotCounted, 0)
	d.rescue("R", 1, 2, euro(100))
	d.take("R", 2, 4, euro(100))
	d.count("R", 2, 5, euro(1200))
	d.drop("R", 2, euro(1100))
	d.open("S2", 6, euro(100))
	d.want(
		row{"S", euro(100), euro(100), 0, euro(1000), euro(1100), none, euro(1100), 0},
		row{"R", euro(1100), euro(1100), 0, euro(100), euro(1200), euro(1200), euro(100), 0},
		row{"S2", euro(100), euro(100), 0, 0, euro(100), none, euro(100), 0}, // wrong: −1,100
	)
	d.close("R", 2, drawer.ByNotCounted, 0)
	d.close("S2", 6, drawer.ByNotCounted, 0)
	d.wantBooks(euro(100), -euro(1000))
	if got := d.books("safe"); got != euro(1100) {
		t.Errorf("safe = %d, want 1,100", got)
	}
}

func TestW8CountedCentrallyWithCashUnheard(t *testing.T) {
	t.Parallel()
	d := begun(t, euro(100))
	d.open("S", 2, euro(100))
	d.take("S", 2, 3, euro(200))
	d.close("S", 2, drawer.ByCount, euro(330)) // 30 on the way
	d.rescue("R", 1, 2, euro(100))
	d.take("R", 2, 4, euro(30))
	d.take("R", 2, 5, euro(20))
	d.count("R", 2, 6, euro(350))
	d.close("R", 2, drawer.ByTill, 0)
	d.want(
		row{"S", euro(100), euro(100), 0, euro(200), euro(300), euro(330), euro(330), euro(30)},
		row{"R", euro(330), euro(330), 0, euro(50), euro(380), euro(350), euro(350), -euro(30)},
	)
	d.wantSum(0, euro(30))
	d.wantBooks(euro(350), euro(380))
}

func TestW12LeavingAndJoiningAgain(t *testing.T) {
	t.Parallel()
	d := begun(t, euro(80))
	d.open("S", 2, euro(80))
	d.take("S", 2, 3, euro(50))
	d.count("S", 2, 4, euro(130))
	d.open("own", 5, euro(130))
	d.count("own", 5, 6, euro(130))
	d.close("own", 5, drawer.ByTill, 0)
	d.open("S", 7, euro(130))
	d.take("S", 7, 8, euro(20))
	d.count("S", 7, 9, euro(150))
	d.close("S", 2, drawer.ByTill, 0)
	d.close("S", 7, drawer.ByTill, 0)
	d.want(
		row{"S", euro(80), euro(80), 0, euro(50), euro(130), euro(130), euro(130), 0},
		row{"own", euro(130), euro(130), 0, 0, euro(130), euro(130), euro(130), 0},
		row{"S", euro(130), euro(130), 0, euro(20), euro(150), euro(150), euro(150), 0},
	)
	// One line of S would open at 80, take 70 and count 150 beside the own
	// session's 130.
	d.wantBooks(euro(150), euro(280))
}
