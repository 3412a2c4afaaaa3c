package money_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"tillandsia/shared/money"
)

func TestCheckedAdd(t *testing.T) {
	t.Parallel()
	const most, least = math.MaxInt64, math.MinInt64
	tests := []struct {
		name string
		a, b money.Amount
		want money.Amount
		err  error
	}{
		{"two amounts", 12, -20, -8, nil},
		{"up to the largest", most - 1, 1, most, nil},
		{"down to the one above the smallest", -most + 1, -1, -most, nil},
		{"up from the smallest", least, 1, -most, nil},
		{"beyond the largest", most, 1, 0, money.ErrOverflow},
		{"beyond the smallest", least, -1, 0, money.ErrOverflow},
		{"to the smallest", -most, -1, 0, money.ErrOverflow},
		{"twice the smallest", least, least, 0, money.ErrOverflow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := money.CheckedAdd(tt.a, tt.b)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("CheckedAdd(%d, %d) = %d, %v, want %d, %v", tt.a, tt.b, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestSumAmounts(t *testing.T) {
	t.Parallel()
	if got, err := money.SumAmounts(5, -7, 12); got != 10 || err != nil {
		t.Errorf("SumAmounts(5, -7, 12) = %d, %v, want 10", got, err)
	}
	if got, err := money.SumAmounts(); got != 0 || err != nil {
		t.Errorf("SumAmounts() = %d, %v, want 0", got, err)
	}
	if got, err := money.SumAmounts(math.MaxInt64, 1); !errors.Is(err, money.ErrOverflow) {
		t.Errorf("SumAmounts(most, 1) = %d, %v, want %v", got, err, money.ErrOverflow)
	}
}

func TestNegAndAbsNeverWrap(t *testing.T) {
	t.Parallel()
	tests := []struct{ a, neg, abs money.Amount }{
		{0, 0, 0},
		{5, -5, 5},
		{-5, 5, 5},
		{math.MaxInt64, -math.MaxInt64, math.MaxInt64},
		{-math.MaxInt64, math.MaxInt64, math.MaxInt64},
		{math.MinInt64, math.MaxInt64, math.MaxInt64},
	}
	for _, tt := range tests {
		if got := tt.a.Neg(); got != tt.neg {
			t.Errorf("(%d).Neg() = %d, want %d", tt.a, got, tt.neg)
		}
		if got := tt.a.Abs(); got != tt.abs {
			t.Errorf("(%d).Abs() = %d, want %d", tt.a, got, tt.abs)
		}
	}
}

func TestAllocate(t *testing.T) {
	t.Parallel()
	const most, least = math.MaxInt64, math.MinInt64
	tests := []struct {
		name    string
		total   money.Amount
		weights []money.Amount
		want    []money.Amount
	}{
		{"equal weights, the first has the unit left", 100, []money.Amount{1, 1, 1}, []money.Amount{34, 33, 33}},
		{"two units left go to the first two", 101, []money.Amount{1, 1, 1}, []money.Amount{34, 34, 33}},
		{"the largest fraction comes before the first", 10, []money.Amount{10, 14, 10}, []money.Amount{3, 4, 3}},
		{"fractions decide, not sizes", 5, []money.Amount{70, 17, 13}, []money.Amount{3, 1, 1}},
		{"seven seats for 53, 24 and 23 votes (quotas 3.71, 1.68, 1.61)", 7, []money.Amount{53, 24, 23}, []money.Amount{4, 2, 1}},
		{"a negative total is the negative", -100, []money.Amount{1, 1, 1}, []money.Amount{-34, -33, -33}},
		{"negative weights are the same proportion", 100, []money.Amount{-1, -1, -1}, []money.Amount{34, 33, 33}},
		{"both signs negative", -100, []money.Amount{-1, -1, -1}, []money.Amount{-34, -33, -33}},
		{"weights of both signs", 10, []money.Amount{30, -10}, []money.Amount{15, -5}},
		{"weights of both signs with fractions", 1, []money.Amount{3, 3, -4}, []money.Amount{2, 1, -2}},
		{"a weight of zero has nothing", 5, []money.Amount{0, 1, 0, 1}, []money.Amount{0, 3, 0, 2}},
		{"nothing over no weights", 0, nil, []money.Amount{}},
		{"nothing over weights that cancel", 0, []money.Amount{5, -5}, []money.Amount{0, 0}},
		{"the largest total over the largest weights", most, []money.Amount{most - 1, 1}, []money.Amount{most - 1, 1}},
		{"the largest total in halves", most, []money.Amount{1, 1}, []money.Amount{most/2 + 1, most / 2}},
		{"the smallest weight is a weight", 9, []money.Amount{5, least}, []money.Amount{0, 9}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := money.Allocate(tt.total, tt.weights)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("Allocate(%d, %v) = %v, %v, want %v", tt.total, tt.weights, got, err, tt.want)
			}
		})
	}
}

func TestAllocateRefuses(t *testing.T) {
	t.Parallel()
	const most, least = math.MaxInt64, math.MinInt64
	tests := []struct {
		name    string
		total   money.Amount
		weights []money.Amount
		want    error
	}{
		{"something over no weights", 1, nil, money.ErrNoWeight},
		{"something over weights of zero", 1, []money.Amount{0, 0}, money.ErrNoWeight},
		{"something over weights that cancel", 1, []money.Amount{5, -5}, money.ErrNoWeight},
		{"weights whose sum is too large", 1, []money.Amount{most, 1}, money.ErrOverflow},
		{"the smallest total", least, []money.Amount{1}, money.ErrOverflow},
		{"the smallest total in halves", least, []money.Amount{1, 1}, money.ErrOverflow},
		{"a share that is too large", most, []money.Amount{2, -1}, money.ErrOverflow},
		{"a share that is beyond 64 bits", most, []money.Amount{most, -most, 1}, money.ErrOverflow},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := money.Allocate(tt.total, tt.weights)
			if !errors.Is(err, tt.want) {
				t.Errorf("Allocate(%d, %v) = %v, %v, want %v", tt.total, tt.weights, got, err, tt.want)
			}
		})
	}
}
