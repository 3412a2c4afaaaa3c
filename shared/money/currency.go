package money

import "strings"

// isoCodes are the active currencies and funds of ISO 4217 by the digits of
// their minor unit, as published on 2026-01-01 (list one, SIX). Codes for which
// the list has no minor unit (metals, units of account, testing) are left out:
// nothing is sold in them.
var isoCodes = [...]struct {
	digits int
	codes  string
}{
	{0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"},
	{2, "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW " +
		"CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS " +
		"INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN " +
		"NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC " +
		"SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG"},
	{3, "BHD IQD JOD KWD LYD OMR TND"},
	{4, "CLF UYW"},
}

// LookupCurrency returns the active currency with an ISO 4217 code, which is in
// capitals.
func LookupCurrency(code string) (Currency, bool) {
	if len(code) != 3 || strings.Contains(code, " ") {
		return Currency{}, false
	}
	for _, list := range isoCodes {
		if strings.Contains(list.codes, code) {
			return Currency{Code: code, Digits: list.digits}, true
		}
	}
	return Currency{}, false
}
