package money

import (
	"errors"
	"math"
	"math/bits"
	"slices"
)

// ErrOverflow is returned for a sum or product that does not fit 64 bits.
var ErrOverflow = errors.New("amount out of range")

// Neg returns -a. The smallest Amount has no negative; it cannot come from a
// checked sum of this package.
func (a Amount) Neg() Amount { return -a }

// Abs returns a without its sign.
func (a Amount) Abs() Amount {
	if a < 0 {
		return -a
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

// SumAmounts returns the sum of amounts, or [ErrOverflow].
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

// wide is the magnitude of a signed 128-bit number.
type wide struct {
	hi, lo   uint64
	negative bool
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return uint64(-(n + 1)) + 1
	}
	return uint64(n)
}

// mul returns a × b; 128 bits hold every product of two 64-bit numbers.
func mul(a, b int64) wide {
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	return wide{hi: hi, lo: lo, negative: (a < 0) != (b < 0)}
}

// times returns w × n for a small positive n, or [ErrOverflow].
func (w wide) times(n uint64) (wide, error) {
	carry, lo := bits.Mul64(w.lo, n)
	over, hi := bits.Mul64(w.hi, n)
	hi, c := bits.Add64(hi, carry, 0)
	if over != 0 || c != 0 {
		return wide{}, ErrOverflow
	}
	return wide{hi: hi, lo: lo, negative: w.negative}, nil
}

// div returns w / n rounded half away from zero, or [ErrOverflow].
func (w wide) div(n uint64) (int64, error) {
	if n == 0 || w.hi >= n {
		return 0, ErrOverflow
	}
	quo, rem := bits.Div64(w.hi, w.lo, n)
	if rem >= n-rem {
		if quo == math.MaxUint64 {
			return 0, ErrOverflow
		}
		quo++
	}
	return w.signed(quo)
}

// floor returns the magnitude of w / n rounded towards zero, and the rest.
func (w wide) floor(n uint64) (quo int64, rem uint64, err error) {
	if n == 0 || w.hi >= n {
		return 0, 0, ErrOverflow
	}
	q, rem := bits.Div64(w.hi, w.lo, n)
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

// mulDiv returns a × b / c rounded half away from zero; c is positive.
func mulDiv(a, b, c int64) (int64, error) { return mul(a, b).div(uint64(c)) }

// ErrNoWeight is returned where an amount has nothing to be spread over.
var ErrNoWeight = errors.New("nothing to spread an amount over")

// Allocate splits total over weights in proportion, by largest remainder: each
// part is first rounded towards zero, then the units left go to the largest
// remainders, the first of equal ones first. The parts sum to total exactly.
// Weights may be of either sign but must not sum to zero unless total is zero.
func Allocate(total Amount, weights []Amount) ([]Amount, error) {
	parts := make([]Amount, len(weights))
	if total == 0 {
		return parts, nil
	}
	sum, err := SumAmounts(weights...)
	if err != nil {
		return nil, err
	}
	if sum == 0 {
		return nil, ErrNoWeight
	}
	if sum < 0 {
		// total × w / sum = total × −w / −sum: the divisor stays positive.
		flipped := make([]Amount, len(weights))
		for i, w := range weights {
			flipped[i] = -w
		}
		weights, sum = flipped, -sum
	}
	type share struct {
		at       int
		rem      uint64
		negative bool
	}
	shares := make([]share, len(weights))
	left := total
	for i, w := range weights {
		product := mul(int64(total), int64(w))
		quo, rem, err := product.floor(uint64(sum))
		if err != nil {
			return nil, err
		}
		parts[i] = Amount(quo)
		if left, err = CheckedAdd(left, -parts[i]); err != nil {
			return nil, err
		}
		shares[i] = share{at: i, rem: rem, negative: product.negative}
	}
	// What is left has the sign of those parts that were rounded towards zero
	// on that side: it goes to them, one unit each.
	step := Amount(1)
	if left < 0 {
		step = -1
	}
	shares = slices.DeleteFunc(shares, func(s share) bool { return s.rem == 0 || s.negative != (step < 0) })
	slices.SortStableFunc(shares, func(a, b share) int {
		switch {
		case a.rem > b.rem:
			return -1
		case a.rem < b.rem:
			return 1
		}
		return 0
	})
	for i := 0; left != 0; i++ {
		if i == len(shares) {
			return nil, ErrNoWeight
		}
		parts[shares[i].at] += step
		left -= step
	}
	return parts, nil
}
