package money_test

import (
	"testing"

	"tillandsia/shared/money"
)

func TestLookupCurrency(t *testing.T) {
	t.Parallel()
	digits := map[int][]string{
		0: {"JPY", "KRW", "VND", "CLP", "ISK", "XOF", "XAF", "XPF", "PYG", "UGX", "RWF", "BIF", "DJF", "GNF", "KMF", "VUV", "UYI"},
		2: {"EUR", "USD", "GBP", "CHF", "SEK", "CAD", "INR", "HUF", "IDR", "MRU", "MGA", "AED", "ZWG", "XCG", "SLE", "VED", "VES", "XAD", "COU", "CHW", "TWD", "KPW"},
		3: {"KWD", "BHD", "OMR", "JOD", "TND", "IQD", "LYD"},
		4: {"CLF", "UYW"},
	}
	for want, codes := range digits {
		for _, code := range codes {
			got, ok := money.LookupCurrency(code)
			if !ok || got != (money.Currency{Code: code, Digits: want}) {
				t.Errorf("LookupCurrency(%q) = %+v, %t, want %d digits", code, got, ok, want)
			}
		}
	}
	for _, code := range []string{
		"", "E", "EU", "EURO", "eur", "Eur", " EU", "UR ", "R A", "EUR USD", "ÄU", "ZZZ",
		"XXX", "XTS", "XAU", "XDR", // without a minor unit
		"DEM", "HRK", "BGN", "ANG", "ZWL", "SLL", "CUC", // withdrawn
	} {
		if got, ok := money.LookupCurrency(code); ok {
			t.Errorf("LookupCurrency(%q) = %+v, want none", code, got)
		}
	}
}

func TestISO4217IsWhole(t *testing.T) {
	t.Parallel()
	// List one of 2026-01-01 has 178 codes, of which 13 have no minor unit.
	known := map[int]int{}
	total := 0
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			for c := 'A'; c <= 'Z'; c++ {
				if got, ok := money.LookupCurrency(string([]rune{a, b, c})); ok {
					known[got.Digits]++
					total++
				}
			}
		}
	}
	if total != 165 || known[0] != 17 || known[3] != 7 || known[4] != 2 {
		t.Errorf("%d currencies, by digits %v, want 165 with 17, 7 and 2 of 0, 3 and 4 digits", total, known)
	}
}
