package drawer_test

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"

	"tillandsia/shared/drawer"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
)

func TestBalanceBroughtForward(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		play  func(d *till)
		want  money.Amount
		first bool
	}{
		{"a new drawer brings nothing forward", func(*till) {}, 0, true},
		{"moves before the first opening count", func(d *till) { d.moveBetween(3, 50) }, 50, true},
		{"a closed link brings its closing", func(d *till) {
			d.open("S", 1, 100)
			d.take("S", 1, 2, 40)
			d.close("S", 1, drawer.ByCount, 138)
		}, 138, false},
		{"an open link brings what is expected", func(d *till) {
			d.open("S", 1, 100)
			d.take("S", 1, 2, 40)
			d.move("S", 1, 3, -30)
		}, 110, false},
		{"an open link that the till counted brings its count", func(d *till) {
			d.open("S", 1, 100)
			d.take("S", 1, 2, 40)
			d.count("S", 1, 3, 139)
		}, 139, false},
		{"… less what left in the close-out", func(d *till) {
			d.open("S", 1, 100)
			d.take("S", 1, 2, 40)
			d.count("S", 1, 3, 139)
			d.drop("S", 1, 100)
		}, 39, false},
		{"… plus cash and moves after the count", func(d *till) {
			d.open("S", 1, 100)
			d.take("S", 1, 2, 40)
			d.count("S", 1, 3, 139)
			d.take("S", 1, 4, 7)
			d.move("S", 1, 5, -20)
			d.drop("S", 1, 100)
		}, 26, false},
		{"an open link that is not counted brings what is expected less what left", func(d *till) {
			d.open("S", 1, 100)
			d.take("S", 1, 2, 40)
			d.drop("S", 1, 100)
		}, 40, false},
		{"moves between are in it", func(d *till) {
			d.open("S", 1, 100)
			d.close("S", 1, drawer.ByNotCounted, 0)
			d.moveBetween(2, -60)
			d.moveBetween(3, 5)
		}, 45, false},
		{"moves after the opening are not", func(d *till) {
			d.open("S", 1, 100)
			d.close("S", 1, drawer.ByNotCounted, 0)
			d.moveBetween(9, -60)
			d.moveBetween(10, 5)
		}, 40, false},
		{"the last rescue is the link before", func(d *till) {
			d.open("S", 1, 100)
			d.close("S", 1, drawer.ByNotCounted, 0)
			d.rescue("R", 1, 1, 100)
			d.take("R", 1, 2, 20)
			d.close("R", 1, drawer.ByCount, 119)
			d.rescue("R#2", 2, 1, 100)
			d.take("R#2", 1, 3, 1)
		}, 120, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newTill(t)
			tt.play(d)
			got, first := d.Balance(at(10))
			if got != tt.want || first != tt.first {
				t.Errorf("Balance = %d, first %v, want %d, %v", got, first, tt.want, tt.first)
			}
			d.open("next", 10, tt.want)
			d.wantLinked()
			if l := d.line("next", 10); l.OpeningDifference() != 0 || l.Brought != tt.want {
				t.Errorf("opened with it = %+v, want no difference", l)
			}
		})
	}
}

func TestALateCountChangesNoBalance(t *testing.T) {
	t.Parallel()
	d := begun(t, 300)
	_ = d.line("S0", 1).Count(at(2), 298) // refused: see W3
	if got, _ := d.Balance(at(3)); got != 300 {
		t.Errorf("Balance = %d, want 300", got)
	}
}

func TestACountHoldsAtItsPlace(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		play          func(d *till)
		counted, diff money.Amount
	}{
		{"cash that comes later is added", func(d *till) {
			d.count("S", 2, 5, 99)
			d.take("S", 2, 6, 10)
			d.move("S", 2, 7, -5)
		}, 104, -1},
		{"cash of an earlier place that arrives later was counted", func(d *till) {
			d.count("S", 2, 5, 99)
			d.take("S", 2, 4, 10)
		}, 99, -11},
		{"of two counts the later wins", func(d *till) {
			d.count("S", 2, 5, 99)
			d.take("S", 2, 6, 10)
			d.count("S", 2, 7, 110)
			d.take("S", 2, 8, 1)
		}, 111, 0},
		{"an earlier one that arrives later does not", func(d *till) {
			d.count("S", 2, 7, 99)
			d.take("S", 2, 8, 10)
			d.count("S", 2, 5, 40)
		}, 109, -1},
		{"a place of a later epoch is later", func(d *till) {
			d.count("S", 2, 7, 99)
			d.must(d.line("S", 2).Take(entry.Place{Epoch: 2, Seq: 1}, 10))
		}, 109, -1},
		{"a count after a close-out does not hold what left in it", func(d *till) {
			d.count("S", 2, 5, 100)
			d.drop("S", 2, 70)
			d.take("S", 2, 6, 10)
			d.count("S", 2, 7, 40)
			d.drop("S", 2, 30)
		}, 110, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := begun(t, 100)
			d.open("S", 2, 100)
			tt.play(d)
			l := d.line("S", 2)
			if n := l.CountedNow(); n == nil || *n != tt.counted || l.Difference() != tt.diff {
				t.Errorf("counted %v, difference %d, want %d, %d", n, l.Difference(), tt.counted, tt.diff)
			}
			before := *l
			d.close("S", 2, drawer.ByTill, 0)
			if l.Closing() != before.Closing() || l.Difference() != before.Difference() {
				t.Errorf("closed by the till's count = %+v, was %+v", l, before)
			}
			d.wantLinked()
		})
	}
}

func TestATillsCountIsOfTheDrawerWithoutWhatWasMovedBefore(t *testing.T) {
	t.Parallel()
	// Closed out late, dropped, and sold on: the second close-out counts 50.
	d := begun(t, 100)
	d.open("S", 2, 100)
	d.close("S", 2, drawer.ByNotCounted, 0)
	d.moveBetween(3, -80)
	d.rescue("R", 1, 2, 100)
	d.take("R", 2, 4, 30)
	i := d.Find("R", at(2))
	d.must(d.Count(i, at(5), 50))
	d.moveBetween(6, -10)
	if l := d.Lines[i]; l.Closing() != 130 || l.Difference() != 0 {
		t.Errorf("counted = %+v, want 130 before the moves", l)
	}
	if n := d.Suggested(i); n == nil || *n != 40 {
		t.Errorf("Suggested = %v, want the 40 that are there now", n)
	}
	d.drop("R", 2, 15)
	if n := d.Suggested(i); n == nil || *n != 25 {
		t.Errorf("Suggested = %v, want the 25 that are there after the drop", n)
	}
	d.open("S2", 7, 25)
	if got := d.line("S2", 7).OpeningDifference(); got != 0 {
		t.Errorf("opening difference = %d, want 0", got)
	}
	if d.Suggested(d.Find("S2", at(7))) != nil {
		t.Error("a line that was not counted suggests a count")
	}
	d.wantLinked()
}

func TestACountAtTheCentreIsOfTheDrawerAsItStands(t *testing.T) {
	t.Parallel()
	d := begun(t, 100)
	d.open("S", 2, 100)
	d.take("S", 2, 3, 900)
	d.count("S", 2, 4, 999)
	d.drop("S", 2, 800)
	d.moveBetween(5, -150)
	i := d.Find("S", at(2))
	if got := d.Pending(i); got != -150 {
		t.Errorf("Pending = %d, want −150", got)
	}
	d.must(d.Close(i, drawer.ByCount, 48)) // one more is missing
	l := d.line("S", 2)
	if l.Closing() != 198 || l.Difference() != -2 || l.TillCount() != nil {
		t.Errorf("closed = %+v, want 198 before the move, −2, no count of the till", l)
	}
	d.open("S2", 6, 48)
	if got := d.line("S2", 6).OpeningDifference(); got != 0 {
		t.Errorf("opening difference = %d, want 0", got)
	}
	d.moveBetween(7, -20)
	if got := d.Pending(i); got != 0 {
		t.Errorf("Pending of a link that is not the last = %d, want 0", got)
	}
	d.wantLinked()
}

func TestWithoutCashControlTheFloatIsTheBalanceBroughtForward(t *testing.T) {
	t.Parallel()
	d := begun(t, 100)
	d.moveBetween(2, -30)
	i, posted := d.Open(drawer.Opening{Session: "S", Stay: at(3), Cash: true, Float: 9999})
	if l := d.Lines[i]; l.Opening != 70 || l.Brought != 70 || l.OpeningDifference() != 0 || len(posted) != 1 {
		t.Errorf("opened = %+v, posted %v, want 70 brought forward", l, posted)
	}
	d.take("S", 3, 4, 50)
	d.drop("S", 3, 20)
	d.close("S", 3, drawer.ByTill, 0)
	if l := d.line("S", 3); l.Closing() != 100 || l.Difference() != 0 {
		t.Errorf("closed = %+v, want expected − drop", l)
	}
	j, _ := d.Rescue("R", 1, drawer.Opening{Session: "S", Stay: at(3), Cash: true, Float: 9999})
	if l := d.Lines[j]; l.Opening != 100 || l.Control {
		t.Errorf("rescue = %+v, want the closing before it", l)
	}
	d.wantLinked()
	first := newTill(t)
	k, _ := first.Open(drawer.Opening{Session: "S", Stay: at(1), Cash: true, Float: 9999})
	if l := first.Lines[k]; l.Opening != 0 || l.FirstFloat() != 0 {
		t.Errorf("first link = %+v, want 0", l)
	}
}

func TestARescueOfAStayWithoutALineOpensWithTheFloatOfItsOwnOpening(t *testing.T) {
	t.Parallel()
	// R2 joined S unheard; S was closed before its joining came.
	d := begun(t, 100)
	d.moveBetween(2, -40)
	i, posted := d.Rescue("R", 1, drawer.Opening{Session: "S", Stay: at(3), Cash: true, Control: true, Float: 59})
	l := d.Lines[i]
	if l.Brought != 60 || l.Opening != 59 || l.OpeningDifference() != -1 || !slices.Equal(posted, []string{"M1"}) {
		t.Errorf("line = %+v, posted %v, want the float 59 against 60", l, posted)
	}
	if l.Session != "R" || l.Root != "S" || l.Ordinal != 1 || l.Stay != at(3) {
		t.Errorf("line = %+v, want it in R", l)
	}
	d.take("R", 3, 4, 10)
	d.close("R", 3, drawer.ByTill, 0)
	d.rescue("R#2", 2, 3, 59)
	if l := d.line("R#2", 3); l.Opening != 69 {
		t.Errorf("second rescue = %+v, want the closing before it", l)
	}
	d.wantLinked()

	first := newTill(t)
	first.rescue("R", 1, 3, 80)
	if l := first.line("R", 3); l.FirstFloat() != 80 || l.OpeningDifference() != 0 {
		t.Errorf("first link of the drawer = %+v, want 80 put in", l)
	}
}

func TestMovesBetweenWaitForTheNextOpeningAndNotForARescue(t *testing.T) {
	t.Parallel()
	d := begun(t, 100)
	d.open("S", 2, 100)
	d.close("S", 2, drawer.ByNotCounted, 0)
	d.moveBetween(3, -70)
	d.rescue("R", 1, 2, 100)
	d.take("R", 2, 4, 5)
	if l := d.line("R", 2); l.Opening != 100 || l.Between != 0 || len(d.Between) != 1 {
		t.Errorf("rescue = %+v, want it to open with the closing before it", l)
	}
	d.must(d.Close(d.Find("R", at(2)), drawer.ByCount, 35))
	d.open("S2", 5, 35)
	if d.line("R", 2).Difference() != 0 || d.line("S2", 5).OpeningDifference() != 0 || d.line("S2", 5).Between != -70 {
		t.Errorf("R %+v, S2 %+v, want no difference", d.line("R", 2), d.line("S2", 5))
	}
	d.wantLinked()
}

func TestARescueBetweenTwoLinksClosesAtWhatTheLaterOneTookOver(t *testing.T) {
	t.Parallel()
	d := begun(t, 100)
	d.open("S", 2, 100)
	d.close("S", 2, drawer.ByNotCounted, 0)
	d.moveBetween(3, -60)
	d.open("S2", 4, 40)
	d.rescue("R", 1, 2, 100)
	d.take("R", 2, 5, 7)
	l := d.line("R", 2)
	if l.Fixed == nil || *l.Fixed != 100 || l.Closing() != 100 || l.Difference() != -7 {
		t.Errorf("rescue = %+v, want it fixed at 100", l)
	}
	if err := l.Count(at(6), 107); !errors.Is(err, drawer.ErrFixed) {
		t.Errorf("count = %v, want ErrFixed", err)
	}
	if err := d.Count(d.Find("R", at(2)), at(6), 107); !errors.Is(err, drawer.ErrFixed) {
		t.Errorf("count in the chain = %v, want ErrFixed", err)
	}
	d.rescue("R#2", 2, 2, 100)
	d.take("R#2", 2, 6, 3)
	if l := d.line("R#2", 2); l.Opening != 100 || l.Difference() != -3 {
		t.Errorf("second rescue = %+v, want −3", l)
	}
	d.wantLinked()
}

func TestACardRescueBeforeAnotherClosesAtWhatThatOneTookOver(t *testing.T) {
	t.Parallel()
	card := drawer.Opening{Session: "S", Stay: at(1)}
	d := newTill(t)
	d.Open(card)
	d.take("S", 1, 2, 500)
	d.close("S", 1, drawer.ByNotCounted, 0)
	d.Rescue("R#2", 2, card)
	d.take("R#2", 1, 4, 20)
	d.Rescue("R", 1, card) // refilled after a restore
	d.take("R", 1, 3, 80)
	if l := d.line("R", 1); l.Closing() != 500 || l.Difference() != -80 {
		t.Errorf("R = %+v, want 500, −80", l)
	}
	if l := d.line("R#2", 1); l.Opening != 500 || l.Closing() != 520 {
		t.Errorf("R#2 = %+v, want 500 to 520", l)
	}
}

func TestAnOpeningThatArrivesAfterALaterOneFindsItsPlace(t *testing.T) {
	t.Parallel()
	// A copy's old epoch comes in after the new one's opening.
	d := begun(t, 100)
	d.Open(drawer.Opening{Session: "new", Stay: entry.Place{Epoch: 2, Seq: 1}, Cash: true, Control: true, Float: 130})
	d.open("old", 5, 100)
	d.take("old", 5, 6, 30)
	if got := d.Lines[1].Session; got != "old" {
		t.Fatalf("second link is %s, want old", got)
	}
	d.wantLinked()
	if l := d.Lines[2]; l.OpeningDifference() != 30 || l.Closing() != 130 {
		t.Errorf("new = %+v, want what was fixed when it opened", l)
	}
	if l := d.Lines[1]; l.Difference() != -30 {
		t.Errorf("old = %+v, want −30 against it", l)
	}
	d.wantBooks(130, 160)
}

func TestAFixedLineClosesAtWhatWasTakenOverHoweverItIsClosed(t *testing.T) {
	t.Parallel()
	for _, by := range []drawer.By{drawer.ByTill, drawer.ByNotCounted} {
		d := begun(t, 100)
		d.open("S", 2, 100)
		d.take("S", 2, 3, 10)
		d.count("S", 2, 4, 109)
		d.open("S2", 5, 105)
		d.take("S", 2, 3, 1)
		d.close("S", 2, by, 0)
		if l := d.line("S", 2); l.Closing() != 109 || l.Difference() != -2 || l.TillCount() == nil {
			t.Errorf("closed by %d = %+v, want 109 as the till counted", by, l)
		}
		d.wantLinked()
	}
}

func TestNotCountedForgetsTheTillsCount(t *testing.T) {
	t.Parallel()
	d := begun(t, 100)
	d.open("S", 2, 100)
	d.count("S", 2, 3, 90)
	d.close("S", 2, drawer.ByNotCounted, 0)
	if l := d.line("S", 2); l.Closing() != 100 || l.Difference() != 0 || l.CountedNow() != nil {
		t.Errorf("closed = %+v, want 100 expected", l)
	}
}

func TestAClosedLineTakesNothing(t *testing.T) {
	t.Parallel()
	d := begun(t, 100)
	l := d.line("S0", 1)
	was := l.Clone()
	changes := map[string]func() error{
		"take":   func() error { return l.Take(at(9), 1) },
		"move":   func() error { return l.Move(at(9), 1) },
		"count":  func() error { return l.Count(at(9), 1) },
		"counts": func() error { return d.Count(0, at(9), 1) },
		"leave":  func() error { return l.Leave(1) },
		"close":  func() error { return l.Close(drawer.ByCount, 1) },
		"chain":  func() error { return d.Close(0, drawer.ByTill, 0) },
	}
	for name, change := range changes {
		if err := change(); !errors.Is(err, drawer.ErrClosed) {
			t.Errorf("%s = %v, want ErrClosed", name, err)
		}
	}
	if !l.Equal(was) {
		t.Errorf("line = %+v, was %+v", l, was)
	}
}

func TestAmountsThatDoNotFitAreRefusedAndChangeNothing(t *testing.T) {
	t.Parallel()
	const most = math.MaxInt64
	for name, change := range map[string]func(d *till, l *drawer.Line) error{
		"take":         func(_ *till, l *drawer.Line) error { return l.Take(at(9), 201) },
		"take more":    func(_ *till, l *drawer.Line) error { return l.Take(at(9), most) },
		"move":         func(_ *till, l *drawer.Line) error { return l.Move(at(9), 101) },
		"count":        func(_ *till, l *drawer.Line) error { return l.Count(at(9), -most) },
		"leave":        func(_ *till, l *drawer.Line) error { return l.Leave(math.MinInt64 + 1) },
		"leave lowest": func(_ *till, l *drawer.Line) error { return l.Leave(math.MinInt64) },
		"close":        func(_ *till, l *drawer.Line) error { return l.Close(drawer.ByCount, -most) },
		"chain's count": func(d *till, _ *drawer.Line) error {
			d.moveBetween(8, -most)
			return d.Count(1, at(9), most)
		},
		"chain's close": func(d *till, _ *drawer.Line) error {
			d.moveBetween(8, -most)
			return d.Close(1, drawer.ByCount, most)
		},
	} {
		d := begun(t, 100)
		d.open("S", 2, 100)
		d.take("S", 2, 3, most-200)
		l := d.line("S", 2)
		was := l.Clone()
		if err := change(d, l); !errors.Is(err, money.ErrOverflow) {
			t.Errorf("%s = %v, want ErrOverflow", name, err)
		}
		if !l.Equal(was) {
			t.Errorf("%s left %+v, was %+v", name, l, was)
		}
	}
}

func TestSettleIsAnAdjustingLastLink(t *testing.T) {
	t.Parallel()
	t.Run("it opens with the balance brought forward and closes with the count", func(t *testing.T) {
		t.Parallel()
		d := begun(t, 300)
		d.moveBetween(2, -100)
		i, posted, err := d.Settle("X", at(2), 198)
		d.must(err)
		l := d.Lines[i]
		if l.Brought != 200 || l.Opening != 200 || l.Difference() != -2 || l.Closing() != 198 || !l.Closed || l.OpeningDifference() != 0 {
			t.Errorf("link = %+v, want 200 to 198", l)
		}
		if !slices.Equal(posted, []string{"M1"}) || l.Between != -100 || len(d.Between) > 0 {
			t.Errorf("posted = %v, between %d, left %v", posted, l.Between, d.Between)
		}
		d.wantLinked()
		d.wantBooks(198, 200)
		d.open("next", 3, 198)
		if got := d.line("next", 3).OpeningDifference(); got != 0 {
			t.Errorf("opening after it differs by %d, want 0", got)
		}
		d.wantLinked()
	})
	t.Run("what comes late for S is behind it in time and before it in the chain", func(t *testing.T) {
		t.Parallel()
		// Nothing but the opening was ever heard of S: the places are equal.
		d := begun(t, 100)
		d.open("S", 2, 100)
		d.close("S", 2, drawer.ByNotCounted, 0)
		_, _, err := d.Settle("X", at(2), 130)
		d.must(err)
		d.rescue("R", 1, 2, 100)
		d.take("R", 2, 3, 30)
		var order []string
		for _, l := range d.Lines {
			order = append(order, l.Session)
		}
		if !slices.Equal(order, []string{"S0", "S", "R", "X"}) {
			t.Errorf("chain = %v", order)
		}
		if !slices.IsSortedFunc(d.Lines, func(a, b drawer.Line) int {
			if a.Stay.Less(b.Stay) || a.Stay == b.Stay && a.Ordinal < b.Ordinal {
				return -1
			}
			return 1
		}) {
			t.Error("stay and ordinal do not tell the order")
		}
		d.wantLinked()
		if r, x := d.line("R", 2), d.Lines[3]; r.Difference() != -30 || x.Difference() != 30 {
			t.Errorf("R %d, X %d, want −30 and 30", r.Difference(), x.Difference())
		}
		d.wantBooks(130, 160)
	})
	t.Run("a drawer whose last link is open is settled by closing that", func(t *testing.T) {
		t.Parallel()
		d := newTill(t)
		d.open("S", 1, 100)
		if _, _, err := d.Settle("X", at(2), 100); !errors.Is(err, drawer.ErrOpen) {
			t.Errorf("Settle = %v, want ErrOpen", err)
		}
	})
	t.Run("a drawer of which nothing is known is not settled", func(t *testing.T) {
		t.Parallel()
		d := newTill(t)
		if _, _, err := d.Settle("X", at(2), 100); !errors.Is(err, drawer.ErrNoLine) {
			t.Errorf("Settle = %v, want ErrNoLine", err)
		}
	})
	t.Run("a drawer that has only moves begins with its count", func(t *testing.T) {
		t.Parallel()
		d := newTill(t)
		d.moveBetween(1, -50)
		_, _, err := d.Settle("X", at(1), 30)
		d.must(err)
		if got := [...]money.Amount{d.books("cash"), d.books("float"), d.books("safe"), d.books("gain")}; got != [...]money.Amount{30, -80, 50, 0} {
			t.Errorf("cash, float, safe, gain = %v, want 30, −80, 50, 0", got)
		}
	})
	t.Run("a count that does not fit settles nothing", func(t *testing.T) {
		t.Parallel()
		d := begun(t, 100)
		d.moveBetween(2, -10)
		if _, _, err := d.Settle("X", at(2), -math.MaxInt64); !errors.Is(err, money.ErrOverflow) || len(d.Lines) != 1 || len(d.Between) != 1 {
			t.Errorf("Settle = %v with %d lines", err, len(d.Lines))
		}
	})
}

func TestARestoredLineEndsAtWhatItsCloseRecorded(t *testing.T) {
	t.Parallel()
	d := begun(t, 100)
	d.open("S", 2, 100)
	d.line("S", 2).Restore(new(money.Amount(330)), 330)
	d.take("S", 2, 3, 150)
	d.rescue("R", 1, 2, 100)
	d.take("R", 2, 5, 50)
	d.take("S", 2, 4, 50) // the rest of its list
	d.close("S", 2, drawer.ByTill, 0)
	d.want(
		row{"S", 100, 100, 0, 200, 300, 330, 330, 30},
		row{"R", 330, 330, 0, 50, 380, none, 380, 0},
	)
	e := begun(t, 100)
	e.open("S", 2, 100)
	e.line("S", 2).Restore(nil, 300)
	e.take("S", 2, 3, 200)
	e.close("S", 2, drawer.ByTill, 0)
	e.want(row{"S", 100, 100, 0, 200, 300, none, 300, 0})
}

func TestARescueBesideASessionThatIsStillRefilledKeepsTheChain(t *testing.T) {
	t.Parallel()
	d := begun(t, 100)
	d.open("S", 2, 100)
	d.take("S", 2, 3, 200)
	d.rescue("R", 1, 2, 100) // S is closed, its line not yet
	d.take("S", 2, 4, 7)
	d.close("S", 2, drawer.ByTill, 0)
	d.want(
		row{"S", 100, 100, 0, 207, 307, none, 300, -7},
		row{"R", 300, 300, 0, 0, 300, none, 300, 0},
	)
}

func TestTheTillsOwnViewKnowsNoForceClose(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		play func(d *till)
		want drawer.TillView
	}{
		{"not counted", func(d *till) {
			d.take("S", 2, 3, 50)
			d.close("S", 2, drawer.ByCount, 149)
			d.rescue("R", 1, 2, 100)
			d.move("R", 2, 5, -20)
		}, drawer.TillView{Opening: 100, Taken: 50, Moves: -20, Expected: 130}},
		{"counted in S, sold on in two rescues", func(d *till) {
			d.take("S", 2, 3, 50)
			d.count("S", 2, 4, 149)
			d.close("S", 2, drawer.ByTill, 0)
			d.rescue("R", 1, 2, 100)
			d.take("R", 2, 5, 7)
			d.close("R", 2, drawer.ByNotCounted, 0)
			d.rescue("R#2", 2, 2, 100)
			d.take("R#2", 2, 6, 3)
		}, drawer.TillView{Opening: 100, Taken: 60, Expected: 160, Counted: new(money.Amount(159)), Difference: -1}},
		{"dropped in S, counted in a rescue", func(d *till) {
			d.take("S", 2, 3, 50)
			d.drop("S", 2, 100)
			d.close("S", 2, drawer.ByTill, 0)
			d.rescue("R", 1, 2, 100)
			d.take("R", 2, 5, 7)
			d.count("R", 2, 6, 58)
			d.drop("R", 2, 8)
		}, drawer.TillView{Opening: 100, Taken: 57, Drop: 108, Expected: 157, Counted: new(money.Amount(158)), Difference: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := begun(t, 100)
			d.open("S", 2, 100)
			tt.play(d)
			d.open("S2", 9, 100)
			got, ok := d.Till("S", at(2))
			counted, want := got.Counted, tt.want.Counted
			got.Counted, tt.want.Counted = nil, nil
			if !ok || got != tt.want || (counted == nil) != (want == nil) || counted != nil && *counted != *want {
				t.Errorf("Till = %+v counted %v, want %+v counted %v", got, counted, tt.want, want)
			}
		})
	}
	d := newTill(t)
	if _, ok := d.Till("S", at(2)); ok {
		t.Error("a stay without a line has a view")
	}
}

func TestChangedFindsWhatIsNewOrDiffers(t *testing.T) {
	t.Parallel()
	d := begun(t, 100)
	d.open("S", 2, 100)
	d.count("S", 2, 3, 100)
	d.open("T", 4, 100)
	var before []drawer.Line
	for _, l := range d.Lines {
		before = append(before, l.Clone())
	}
	if got := d.Changed(before); len(got) > 0 {
		t.Errorf("nothing done: Changed = %v", got)
	}
	d.close("S", 2, drawer.ByTill, 0)
	d.rescue("R", 1, 2, 100)
	d.take("T", 4, 5, 1)
	if got := d.Changed(before); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("Changed = %v, want S, R and T", got)
	}
	if got := d.Changed(nil); len(got) != len(d.Lines) {
		t.Errorf("of nothing Changed = %v, want all", got)
	}
}

func TestEqualSeesEveryField(t *testing.T) {
	t.Parallel()
	base := drawer.Line{Session: "S", Counted: new(money.Amount(1)), Fixed: new(money.Amount(2))}
	if !base.Equal(base.Clone()) {
		t.Error("a clone is not equal")
	}
	for name, change := range map[string]func(*drawer.Line){
		"counted":    func(l *drawer.Line) { l.Counted = new(money.Amount(3)) },
		"no count":   func(l *drawer.Line) { l.Counted = nil },
		"fixed":      func(l *drawer.Line) { *l.Fixed = 3 },
		"not fixed":  func(l *drawer.Line) { l.Fixed = nil },
		"closed":     func(l *drawer.Line) { l.Closed = true },
		"taken":      func(l *drawer.Line) { l.Taken = 1 },
		"counted at": func(l *drawer.Line) { l.CountedAt = at(1) },
	} {
		other := base.Clone()
		change(&other)
		if base.Equal(other) || other.Equal(base) {
			t.Errorf("%s makes no difference", name)
		}
	}
	if *base.Fixed != 2 || *base.Counted != 1 {
		t.Error("a clone shares its amounts")
	}
}

func TestALineSurvivesJSON(t *testing.T) {
	t.Parallel()
	d := begun(t, 100)
	d.moveBetween(2, 5)
	d.open("S", 3, 104)
	d.take("S", 3, 4, 7)
	d.count("S", 3, 5, 111)
	d.take("S", 3, 6, 1)
	d.drop("S", 3, 50)
	d.open("S2", 7, 62)
	raw, err := json.Marshal(d.Chain)
	d.must(err)
	var back drawer.Chain
	d.must(json.Unmarshal(raw, &back))
	if got := back.Changed(d.Lines); len(got) > 0 || len(back.Lines) != 3 {
		t.Errorf("read back, lines %v differ:\n%s", got, raw)
	}
}
