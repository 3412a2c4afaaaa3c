package money

import "strings"

// The active currencies of ISO 4217 by the digits of their minor unit, without
// funds, metals and testing codes. Source: ISO 4217 list one (SIX), 2024.
const (
	noDigits    = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
	threeDigits = "BHD IQD JOD KWD LYD OMR TND"
	twoDigits   = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF " +
		"CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR " +
		"IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN " +
		"NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL " +
		"THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW ZWG"
)

// LookupCurrency returns the currency with an ISO 4217 code.
func LookupCurrency(code string) (Currency, bool) {
	if len(code) != 3 || code != strings.ToUpper(code) || strings.ContainsRune(code, ' ') {
		return Currency{}, false
	}
	for digits, codes := range map[int]string{0: noDigits, 2: twoDigits, 3: threeDigits} {
		if strings.Contains(codes, code) && strings.Index(codes, code)%4 == 0 {
			return Currency{Code: code, Digits: digits}, true
		}
	}
	return Currency{}, false
}
