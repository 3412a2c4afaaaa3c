package money

import (
	"cmp"
	"errors"
	"math"
	"math/bits"
	"slices"
)

var (
	// ErrOverflow is returned for a sum or product that does not fit 64 bits.
	// The smallest 64-bit number counts as not fitting, since its negative
	// does not: no amount that this package returns lacks a negative.
	ErrOverflow = errors.New("amount out of range")
	// ErrNoWeight is returned where an amount has nothing to be spread over.
	ErrNoWeight = errors.New("nothing to spread an amount over")
)

// Neg returns -a. The smallest Amount, which no function of this package
// returns, has no negative; it becomes the largest.
func (a Amount) Neg() Amount {
	if a == math.MinInt64 {
		return math.MaxInt64
	}
	return -a
}

// Abs returns a without its sign; see [Amount.Neg] for the smallest Amount.
func (a Amount) Abs() Amount {
	if a < 0 {
		return a.Neg()
	}
	return a
}

// CheckedAdd returns a + b, or [ErrOverflow].
func CheckedAdd(a, b Amount) (Amount, error) {
	sum := a + b
	if (b > 0 && sum < a) || (b < 0 && sum > a) || sum == math.MinInt64 {
		return 0, ErrOverflow
	}
	return sum, nil
}

// checkedSub returns a - b, or [ErrOverflow].
func checkedSub(a, b Amount) (Amount, error) {
	if b == math.MinInt64 {
		return 0, ErrOverflow
	}
	return CheckedAdd(a, -b)
}

// SumAmounts returns the sum of amounts, or [ErrOverflow] where it, or what
// stands on the way to it, does not fit.
func SumAmounts(amounts ...Amount) (Amount, error) {
	var sum Amount
	for _, a := range amounts {
		var err error
		if sum, err = CheckedAdd(sum, a); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// Allocate splits total over weights in proportion, by largest remainder: the
// units that whole shares leave go to the largest fractions, the first of
// equal ones first. The parts sum to total exactly, and splitting -total gives
// the negative of each part. Weights may be of either sign; where they sum to
// zero only a total of zero can be split. A weight of zero gets nothing.
func Allocate(total Amount, weights []Amount) ([]Amount, error) {
	if total == 0 {
		return make([]Amount, len(weights)), nil
	}
	sum, err := SumAmounts(weights...)
	if err != nil {
		return nil, err
	}
	switch {
	case total == math.MinInt64:
		return nil, ErrOverflow
	case sum == 0:
		return nil, ErrNoWeight
	case sum > 0:
		return spread(total, weights, int64(total), uint64(sum))
	default:
		return spread(total, weights, -int64(total), magnitude(int64(sum)))
	}
}

// spread splits total into parts that are as near to weight × num / den as
// whole units allow, by largest remainder. total is the sum of these exact
// shares, rounded; where it is more than a unit off, the order of the fractions
// is gone through again.
//
// The shares are taken as they are, not scaled to total. Where sales and
// returns stand in one order their sum may be a cent while each is a hundred,
// and scaling would blow the rounding of that cent up to any size.
func spread(total Amount, weights []Amount, num int64, den uint64) ([]Amount, error) {
	type fraction struct {
		at  int
		rem uint64
	}
	parts := make([]Amount, len(weights))
	fractions := make([]fraction, 0, len(weights))
	// Shares are counted in the direction of the total, so that a refund is
	// split like its sale.
	flip := total < 0
	left := total.Abs()
	for i, w := range weights {
		if w == 0 {
			continue
		}
		product := mul(int64(w), num)
		if total == 0 && len(fractions) == 0 {
			flip = product.negative
		}
		product.negative = product.negative != flip
		part, rem, err := product.floor(den)
		if err != nil {
			return nil, err
		}
		parts[i] = Amount(part)
		fractions = append(fractions, fraction{at: i, rem: rem})
		if left, err = checkedSub(left, parts[i]); err != nil {
			return nil, err
		}
	}
	if left != 0 && len(fractions) == 0 {
		return nil, ErrNoWeight
	}
	slices.SortStableFunc(fractions, func(a, b fraction) int { return cmp.Compare(b.rem, a.rem) })
	step := Amount(1)
	if left < 0 {
		step = -1
		slices.Reverse(fractions)
	}
	for i := 0; left != 0; i++ {
		parts[fractions[i%len(fractions)].at] += step
		left -= step
	}
	if flip {
		for i := range parts {
			parts[i] = -parts[i]
		}
	}
	return parts, nil
}

// wide is a signed number of 128 bits and a sign.
type wide struct {
	hi, lo   uint64
	negative bool
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// mul returns a × b; 128 bits hold every product of two 64-bit numbers.
func mul(a, b int64) wide {
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	return wide{hi: hi, lo: lo, negative: (a < 0) != (b < 0)}
}

// times returns w × n, or [ErrOverflow] beyond 128 bits.
func (w wide) times(n uint64) (wide, error) {
	over, hi := bits.Mul64(w.hi, n)
	carry, lo := bits.Mul64(w.lo, n)
	hi, c := bits.Add64(hi, carry, 0)
	if over != 0 || c != 0 {
		return wide{}, ErrOverflow
	}
	return wide{hi: hi, lo: lo, negative: w.negative}, nil
}

// div returns w / n rounded half away from zero, or [ErrOverflow].
func (w wide) div(n uint64) (int64, error) {
	if w.hi >= n {
		return 0, ErrOverflow
	}
	quo, rem := bits.Div64(w.hi, w.lo, n)
	if rem >= n-rem && quo < math.MaxUint64 {
		quo++
	}
	return w.signed(quo)
}

// floor returns w / n rounded down, and the remainder, which is in [0, n).
func (w wide) floor(n uint64) (quo int64, rem uint64, err error) {
	if w.hi >= n {
		return 0, 0, ErrOverflow
	}
	q, rem := bits.Div64(w.hi, w.lo, n)
	if w.negative && rem != 0 && q < math.MaxUint64 {
		q++
		rem = n - rem
	}
	quo, err = w.signed(q)
	return quo, rem, err
}

func (w wide) signed(quo uint64) (int64, error) {
	if quo > math.MaxInt64 {
		return 0, ErrOverflow
	}
	if w.negative {
		return -int64(quo), nil
	}
	return int64(quo), nil
}

// mulDiv returns a × b / c rounded half away from zero; c is not zero.
func mulDiv(a, b, c int64) (int64, error) {
	product := mul(a, b)
	product.negative = product.negative != (c < 0)
	return product.div(magnitude(c))
}
