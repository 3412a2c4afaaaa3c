package till

import (
	"slices"

	"tillandsia/shared/message"
)

// ErrCardNumber is returned for text that holds what looks like a card number.
var ErrCardNumber = message.New(message.Invalid, "till.card_number")

// The digits of card numbers.
const (
	cardDigitsLeast = 13
	cardDigitsMost  = 19
)

// noCardNumber refuses texts that hold 13 to 19 digits, blanks and hyphens
// between their groups or not, that pass the check of card numbers (Luhn).
func noCardNumber(texts ...string) error {
	if slices.ContainsFunc(texts, holdsCardNumber) {
		return ErrCardNumber
	}
	return nil
}

// holdsCardNumber looks at every sequence of whole groups of digits: a number
// is found with an expiry date beside it, too.
func holdsCardNumber(text string) bool {
	var digits []byte
	var groups []int // where groups of the run begin in digits
	for i := 0; i <= len(text); i++ {
		c := byte('.')
		if i < len(text) {
			c = text[i]
		}
		switch {
		case c >= '0' && c <= '9':
			if len(digits) == 0 || text[i-1] == ' ' || text[i-1] == '-' {
				groups = append(groups, len(digits))
			}
			digits = append(digits, c-'0')
		case c == ' ' || c == '-':
		default:
			if runHolds(digits, groups) {
				return true
			}
			digits, groups = digits[:0], groups[:0]
		}
	}
	return false
}

func runHolds(digits []byte, groups []int) bool {
	for from, start := range groups {
		for to := from + 1; to <= len(groups); to++ {
			end := len(digits)
			if to < len(groups) {
				end = groups[to]
			}
			if n := end - start; n >= cardDigitsLeast && n <= cardDigitsMost && luhn(digits[start:end]) {
				return true
			}
		}
	}
	return false
}

func luhn(digits []byte) bool {
	sum := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i])
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
