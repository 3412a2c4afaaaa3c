package posting_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/posting"
)

var (
	accounts = posting.Accounts{Float: "float", Loss: "loss", Gain: "gain", Suspense: "suspense", Rounding: "rounding"}
	added    = money.Tax{ID: "VAT20", Name: "20 %", Rate: 200000, Account: "tax"}
	included = money.Tax{ID: "INCL20", Name: "20 %", Rate: 200000, Included: true, Account: "tax"}
	anna     = pos.Customer{ID: "anna", Name: "Anna"}
)

// sale is an order of one line with a tax of 20 %. A negative net takes back.
func sale(net, tax money.Amount, payments ...pos.Payment) *pos.Order {
	qty := money.Qty(1000)
	if net < 0 {
		qty = -qty
	}
	return &pos.Order{
		TaxRates: []money.Tax{added},
		Lines: []pos.Line{{
			Qty: qty, TaxIDs: []string{"VAT20"}, Account: "sales",
			LineSums: money.LineSums{Net: net, Taxes: []money.TaxSum{{Tax: "VAT20", Amount: tax}}, Total: net + tax},
		}},
		Net: net, Total: net + tax, Payments: payments,
	}
}

func cash(amount money.Amount) pos.Payment {
	return pos.Payment{Method: "cash", Kind: pos.MethodCash, Account: "cash", Amount: amount}
}

func card(amount money.Amount) pos.Payment {
	return pos.Payment{Method: "card", Kind: pos.MethodCard, Account: "card", Amount: amount}
}

func later(amount money.Amount) pos.Payment {
	return pos.Payment{Method: "later", Kind: pos.MethodPayLater, Account: "receivable", Amount: amount}
}

// w9 are the orders A to F of the worked example.
func w9() []*pos.Order {
	a := sale(1000, 200, cash(2000))
	a.Change, a.ChangeMethod = 800, "cash"
	b := sale(836, 167, cash(1005))
	b.Rounding, b.RoundingAccount = 2, "rounding"
	c := sale(2000, 400, card(2400))
	d := sale(1000, 200, later(1200))
	d.Customer = &anna
	e := sale(-500, -100, cash(-600))
	f := sale(-836, -167, cash(-1005))
	f.Rounding, f.RoundingAccount = -2, "rounding"
	return []*pos.Order{a, b, c, d, e, f}
}

func sumsOf(t *testing.T, orders ...*pos.Order) []posting.Sum {
	t.Helper()
	var sums []posting.Sum
	for _, o := range orders {
		sums = append(sums, posting.OrderSums(o, "R1")...)
	}
	return sums
}

// table prints a posting the way the example does.
func table(p posting.Posting) string {
	var b strings.Builder
	for _, l := range p.Lines {
		fmt.Fprintf(&b, "%s | %s | %d | %d |%s\n", strings.TrimPrefix(l.Label, "posting."), l.Account, l.Debit, l.Credit,
			strings.TrimRight(fmt.Sprintf(" %s %s %s %s", l.Register, l.Method, l.Customer, l.Detail), " "))
	}
	return b.String()
}

func balance(p posting.Posting, account string) money.Amount {
	var sum money.Amount
	for _, l := range p.Lines {
		if l.Account == account {
			sum += l.Debit - l.Credit
		}
	}
	return sum
}

func TestW9OnePosting(t *testing.T) {
	t.Parallel()
	p, err := posting.Make(posting.Facts{
		Sums:     sumsOf(t, w9()...),
		Moves:    []posting.Move{{Register: "R1", Method: "cash", CashAccount: "cash", Account: "safe", Reason: "to the safe", Amount: -5000}},
		Drawers:  []posting.Drawer{{Register: "R1", Method: "cash", Account: "cash", OpeningDifference: -100, Difference: 50}},
		Accounts: accounts,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"payment | card | 2400 | 0 | R1 card",
		"payment | cash | 600 | 0 | R1 cash",
		"receivable | receivable | 1200 | 0 |   anna",
		"sales | sales | 0 | 4836 |    VAT20",
		"tax | tax | 0 | 967 |",
		"sales_refund | sales | 1336 | 0 |    VAT20",
		"tax_refund | tax | 267 | 0 |",
		"move | cash | 0 | 5000 | R1 cash  to the safe",
		"move | safe | 5000 | 0 |    to the safe",
		"opening_difference | cash | 0 | 100 | R1 cash",
		"opening_difference | loss | 100 | 0 |",
		"counting_difference | cash | 50 | 0 | R1 cash",
		"counting_difference | gain | 0 | 50 |",
	}, "\n") + "\n"
	if got := table(p); got != want {
		t.Errorf("posting is\n%swant\n%s", got, want)
	}
	if p.Debit != 10953 {
		t.Errorf("Σ = %d, want 109.53", p.Debit)
	}
	if got := balance(p, "cash"); got != -4450 {
		t.Errorf("cash account = %d, want −44.50", got)
	}
	if got := balance(p, "rounding"); got != 0 {
		t.Errorf("rounding = %d, want none", got)
	}
}

func TestW9AFlaggedOrderStandsInSuspense(t *testing.T) {
	t.Parallel()
	p, err := posting.Make(posting.Facts{Sums: posting.OrderSums(sale(1000, 200, cash(1190)), "R1"), Accounts: accounts})
	if err != nil {
		t.Fatal(err)
	}
	want := "payment | cash | 1190 | 0 | R1 cash\nsales | sales | 0 | 1000 |    VAT20\ntax | tax | 0 | 200 |\nsuspense | suspense | 10 | 0 |\n"
	if got := table(p); got != want {
		t.Errorf("posting is\n%swant\n%s", got, want)
	}
	p, err = posting.Make(posting.Facts{Sums: posting.OrderSums(sale(1000, 200, cash(1210)), "R1"), Accounts: accounts})
	if err != nil || balance(p, "suspense") != -10 {
		t.Errorf("paid too much: %v, suspense %d, want a credit of 0.10", err, balance(p, "suspense"))
	}
}

func TestW2TheRescuesPosting(t *testing.T) {
	t.Parallel()
	p, err := posting.Make(posting.Facts{
		Sums:     posting.OrderSums(sale(4167, 833, cash(5000)), "R1"),
		Drawers:  []posting.Drawer{{Register: "R1", Method: "cash", Account: "cash", Difference: -500}},
		Accounts: accounts,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"payment | cash | 5000 | 0 | R1 cash",
		"sales | sales | 0 | 4167 |    VAT20",
		"tax | tax | 0 | 833 |",
		"counting_difference | cash | 0 | 500 | R1 cash",
		"counting_difference | loss | 500 | 0 |",
	}, "\n") + "\n"
	if got := table(p); got != want || p.Debit != 5500 {
		t.Errorf("posting of %d is\n%swant 5500\n%s", p.Debit, got, want)
	}
}

func TestADebtPaidOffCreditsTheCustomersReceivable(t *testing.T) {
	t.Parallel()
	r := &pos.Receipt{
		Customer: anna, Receivable: "receivable", Amount: 1203, Payments: []pos.Payment{cash(2000)}, Change: 795, ChangeMethod: "cash",
		Rounding: 2, RoundingAccount: "rounding",
	}
	p, err := posting.Make(posting.Facts{Sums: posting.ReceiptSums(r, "R2"), Accounts: accounts})
	if err != nil {
		t.Fatal(err)
	}
	want := "payment | cash | 1205 | 0 | R2 cash\nreceipt | receivable | 0 | 1203 |   anna\nrounding | rounding | 0 | 2 |\n"
	if got := table(p); got != want {
		t.Errorf("posting is\n%swant\n%s", got, want)
	}
	r.Amount = 1200
	if p, err = posting.Make(posting.Facts{Sums: posting.ReceiptSums(r, "R2"), Accounts: accounts}); err != nil || balance(p, "suspense") != -3 {
		t.Errorf("paid 3 too much: %v, suspense %d", err, balance(p, "suspense"))
	}
}

func TestAFirstFloatComesFromTheFloatAccount(t *testing.T) {
	t.Parallel()
	p, err := posting.Make(posting.Facts{
		Drawers:  []posting.Drawer{{Register: "R1", Method: "cash", Account: "cash", FirstFloat: 8000}},
		Accounts: accounts,
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := table(p), "first_float | cash | 8000 | 0 | R1 cash\nfirst_float | float | 0 | 8000 |\n"; got != want {
		t.Errorf("posting is\n%swant\n%s", got, want)
	}
}

func TestDifferencesShortAreLossesAndOverAreGains(t *testing.T) {
	t.Parallel()
	p, err := posting.Make(posting.Facts{
		Drawers: []posting.Drawer{
			{Register: "R1", Method: "card", Account: "card", Difference: -7},
			{Register: "R1", Method: "cash", Account: "cash", OpeningDifference: 3, Difference: -2},
			{Register: "R2", Method: "cash", Account: "cash", OpeningDifference: -1, Difference: 4},
		},
		Accounts: accounts,
	})
	if err != nil {
		t.Fatal(err)
	}
	for account, want := range map[string]money.Amount{"card": -7, "cash": 4, "loss": 10, "gain": -7} {
		if got := balance(p, account); got != want {
			t.Errorf("%s = %d, want %d", account, got, want)
		}
	}
	if len(p.Lines) != 10 {
		t.Errorf("%d lines, want a pair for each of 5 differences", len(p.Lines))
	}
}

func TestALineBelowZeroChangesSides(t *testing.T) {
	t.Parallel()
	o := sale(1000, 200, cash(1200))
	o.Lines[0].Net, o.Lines[0].Taxes[0].Amount = -1000, -200 // a discount beyond the price
	o.Payments[0].Amount = -1200
	p, err := posting.Make(posting.Facts{Sums: posting.OrderSums(o, "R1"), Accounts: accounts})
	if err != nil {
		t.Fatal(err)
	}
	want := "payment | cash | 0 | 1200 | R1 cash\nsales | sales | 1000 | 0 |    VAT20\ntax | tax | 200 | 0 |\n"
	if got := table(p); got != want {
		t.Errorf("posting is\n%swant\n%s", got, want)
	}
}

func TestNothingButZerosPostsNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		facts posting.Facts
		empty bool
	}{
		{"no facts", posting.Facts{Accounts: accounts}, true},
		{"lines of zero", posting.Facts{
			Sums:     posting.OrderSums(sale(0, 0, cash(0)), "R1"),
			Drawers:  []posting.Drawer{{Register: "R1", Method: "cash", Account: "cash"}},
			Accounts: accounts,
		}, true},
		{"sums that cancel", posting.Facts{Sums: []posting.Sum{
			{Kind: posting.Rounding, Account: "rounding", Amount: 2}, {Kind: posting.Rounding, Account: "rounding", Amount: -2},
		}, Accounts: accounts}, true},
		{"a sale that was taken back", posting.Facts{
			Sums: append(posting.OrderSums(sale(1000, 200, cash(1200)), "R1"), posting.OrderSums(sale(-1000, -200, cash(-1200)), "R1")...), Accounts: accounts,
		}, false},
		{"an opening difference alone", posting.Facts{
			Drawers: []posting.Drawer{{Register: "R1", Method: "cash", Account: "cash", OpeningDifference: -1}}, Accounts: accounts,
		}, false},
		{"a move alone", posting.Facts{Moves: []posting.Move{{CashAccount: "cash", Account: "safe", Amount: -1}}, Accounts: accounts}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := posting.Make(tt.facts)
			if err != nil || p.Empty() != tt.empty {
				t.Errorf("Make = %v, %v, want empty %v", table(p), err, tt.empty)
			}
		})
	}
}

func TestOrderSumsKeyWhatThePostingTellsApart(t *testing.T) {
	t.Parallel()
	o := &pos.Order{
		TaxRates: []money.Tax{added, {ID: "ECO", Account: "eco"}},
		Lines: []pos.Line{
			{Qty: 1000, TaxIDs: []string{"VAT20", "ECO"}, Account: "food", LineSums: money.LineSums{Net: 100, Taxes: []money.TaxSum{{Tax: "VAT20", Amount: 20}, {Tax: "ECO", Amount: 1}}}},
			{Qty: 2000, TaxIDs: []string{"ECO", "VAT20"}, Account: "food", LineSums: money.LineSums{Net: 200, Taxes: []money.TaxSum{{Tax: "VAT20", Amount: 40}, {Tax: "ECO", Amount: 2}}}},
			{Qty: 1000, Account: "food", LineSums: money.LineSums{Net: 50}},
			{Qty: 1000, Account: "books", LineSums: money.LineSums{Net: 30}},
			{Qty: -1000, Account: "food", LineSums: money.LineSums{Net: -50}},
		},
		Customer: &anna,
		Payments: []pos.Payment{cash(200), card(100), cash(100), later(93)},
		Change:   100, ChangeMethod: "cash",
	}
	want := []posting.Sum{
		{Kind: posting.Payments, Account: "card", Detail: "card", Register: "R1", Amount: 100, Count: 1},
		{Kind: posting.Payments, Account: "cash", Detail: "cash", Register: "R1", Amount: 200, Count: 2},
		{Kind: posting.Receivable, Account: "receivable", Detail: "anna", Amount: 93, Count: 1},
		{Kind: posting.Sales, Account: "books", Amount: 30, Count: 1},
		{Kind: posting.Sales, Account: "food", Amount: 50, Count: 1},
		{Kind: posting.Sales, Account: "food", Detail: "ECO+VAT20", Amount: 300, Count: 2},
		{Kind: posting.Tax, Account: "eco", Amount: 3, Count: 2},
		{Kind: posting.Tax, Account: "tax", Amount: 60, Count: 2},
		{Kind: posting.SalesRefund, Account: "food", Amount: -50, Count: 1},
	}
	got, err := posting.Add(posting.OrderSums(o, "R1"))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("sums = %v, %+v\nwant %+v", err, got, want)
	}
}

func TestEachDrawerHasItsOwnLine(t *testing.T) {
	t.Parallel()
	p, err := posting.Make(posting.Facts{
		Sums: append(posting.OrderSums(sale(1000, 200, cash(1200)), "R2"), append(
			posting.OrderSums(sale(1000, 200, cash(1200)), "R1"), posting.OrderSums(sale(500, 100, cash(600)), "R2")...)...),
		Accounts: accounts,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "payment | cash | 1200 | 0 | R1 cash\npayment | cash | 1800 | 0 | R2 cash\nsales | sales | 0 | 2500 |    VAT20\ntax | tax | 0 | 500 |\n"
	if got := table(p); got != want {
		t.Errorf("posting is\n%swant\n%s", got, want)
	}
}

func TestChangeIsGivenBackOnceWhateverTheOrderSays(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		payments []pos.Payment
		method   string
		want     map[string]money.Amount
	}{
		{"of the method that is named", []pos.Payment{card(1000), cash(1000)}, "cash", map[string]money.Amount{"cash": 200, "card": 1000}},
		{"once of two tenders of it", []pos.Payment{cash(1000), cash(1000)}, "cash", map[string]money.Amount{"cash": 1200}},
		{"of cash where none is named", []pos.Payment{card(1000), cash(1000)}, "", map[string]money.Amount{"cash": 200, "card": 1000}},
		{"of cash where another was not tendered", []pos.Payment{card(1000), cash(1000)}, "coupon", map[string]money.Amount{"cash": 200, "card": 1000}},
		{"of the first where there is no cash", []pos.Payment{card(1000), later(1000)}, "", map[string]money.Amount{"card": 200, "receivable": 1000}},
		{"of pay-later where that is all", []pos.Payment{later(2000)}, "", map[string]money.Amount{"receivable": 1200}},
		{"of nothing where nothing was tendered", nil, "cash", map[string]money.Amount{"suspense": 1200}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := sale(1000, 200, tt.payments...)
			o.Change, o.ChangeMethod = 800, tt.method
			p, err := posting.Make(posting.Facts{Sums: posting.OrderSums(o, "R1"), Accounts: accounts})
			if err != nil {
				t.Fatal(err)
			}
			for _, account := range []string{"cash", "card", "receivable", "suspense"} {
				if got := balance(p, account); got != tt.want[account] {
					t.Errorf("%s = %d, want %d", account, got, tt.want[account])
				}
			}
		})
	}
}

func TestWhatNamesNoAccountStandsInSuspense(t *testing.T) {
	t.Parallel()
	o := sale(1000, 200, pos.Payment{Method: "odd", Kind: pos.MethodOther, Amount: 1200})
	o.TaxRates, o.Lines[0].Account = nil, ""
	p, err := posting.Make(posting.Facts{Sums: posting.OrderSums(o, "R1"), Accounts: accounts})
	if err != nil || len(p.Lines) != 3 || balance(p, "suspense") != 0 {
		t.Errorf("Make = %v\n%swant three lines in suspense", err, table(p))
	}
	if _, err := posting.Make(posting.Facts{Sums: posting.OrderSums(o, "R1")}); !errors.Is(err, posting.ErrNoAccount) {
		t.Errorf("without a suspense account Make = %v, want ErrNoAccount", err)
	}
	o = sale(1000, 200, cash(1200))
	o.Rounding, o.Payments[0].Amount = 3, 1203
	if p, err = posting.Make(posting.Facts{Sums: posting.OrderSums(o, "R1"), Accounts: accounts}); err != nil || balance(p, "rounding") != -3 {
		t.Errorf("rounding without an account: %v, %d, want the company's", err, balance(p, "rounding"))
	}
}

func TestWhatDoesNotBalanceIsNotPosted(t *testing.T) {
	t.Parallel()
	sums := posting.OrderSums(sale(1000, 200, cash(1200)), "R1")
	sums[0].Amount++
	if p, err := posting.Make(posting.Facts{Sums: sums, Accounts: accounts}); !errors.Is(err, posting.ErrUnbalanced) || !p.Empty() {
		t.Errorf("Make = %v, %v, want ErrUnbalanced", table(p), err)
	}
	sums[0] = posting.Sum{Kind: "invented", Account: "cash", Amount: 1200}
	if _, err := posting.Make(posting.Facts{Sums: sums, Accounts: accounts}); !errors.Is(err, posting.ErrUnbalanced) {
		t.Errorf("with a kind that nobody knows Make = %v, want ErrUnbalanced", err)
	}
}

func TestSumsThatDoNotFitAreAnError(t *testing.T) {
	t.Parallel()
	big := posting.Sum{Kind: posting.Payments, Account: "cash", Detail: "cash", Amount: math.MaxInt64}
	other := big
	other.Register = "R2"
	sales := posting.Sum{Kind: posting.Sales, Account: "sales", Amount: math.MaxInt64}
	for name, sums := range map[string][]posting.Sum{
		"one sum":      {big, big},
		"the debits":   {big, other, sales},
		"the credits":  {big, sales, {Kind: posting.Tax, Account: "tax", Amount: 1}},
		"the smallest": {{Kind: posting.Payments, Account: "cash", Amount: math.MinInt64}},
	} {
		if _, err := posting.Make(posting.Facts{Sums: sums, Accounts: accounts}); !errors.Is(err, money.ErrOverflow) {
			t.Errorf("%s: Make = %v, want ErrOverflow", name, err)
		}
	}
}

func TestTheCanonicalFormIsStable(t *testing.T) {
	t.Parallel()
	p, err := posting.Make(posting.Facts{
		Sums:     posting.OrderSums(sale(1000, 200, cash(1190)), "R1"),
		Moves:    []posting.Move{{Register: "R1", Method: "cash", CashAccount: "cash", Account: "safe", Reason: "Für den Tresor", Amount: -5}},
		Accounts: accounts,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"4:cash 4:1190 1:0 15:posting.payment 2:R1 4:cash 0: 0:",
		"5:sales 1:0 4:1000 13:posting.sales 0: 0: 0: 5:VAT20",
		"3:tax 1:0 3:200 11:posting.tax 0: 0: 0: 0:",
		"8:suspense 2:10 1:0 16:posting.suspense 0: 0: 0: 0:",
		"4:cash 1:0 1:5 12:posting.move 2:R1 4:cash 0: 15:Für den Tresor",
		"4:safe 1:5 1:0 12:posting.move 0: 0: 0: 15:Für den Tresor",
	}, "\n") + "\n"
	if got := string(p.Canonical()); got != want {
		t.Errorf("canonical form is\n%swant\n%s", got, want)
	}
	if got, want := p.Hash(), "60d6a41709cc934fb95b6038ce6fa87208a611ab23c267465ead65e1b9b789b0"; got != want {
		t.Errorf("Hash = %s, want %s", got, want)
	}
}

func TestEveryFieldOfALineIsInTheHash(t *testing.T) {
	t.Parallel()
	base := posting.Posting{Lines: []posting.Line{{Account: "a", Debit: 1, Label: "l", Register: "r", Method: "m", Customer: "c", Detail: "d"}}, Debit: 1}
	seen := map[string]string{base.Hash(): "base", posting.Posting{}.Hash(): "empty"}
	for name, change := range map[string]func(*posting.Line){
		"account": func(l *posting.Line) { l.Account = "x" }, "debit": func(l *posting.Line) { l.Debit = 2 },
		"credit": func(l *posting.Line) { l.Credit = 2 }, "label": func(l *posting.Line) { l.Label = "x" },
		"register": func(l *posting.Line) { l.Register = "x" }, "method": func(l *posting.Line) { l.Method = "x" },
		"customer": func(l *posting.Line) { l.Customer = "x" }, "detail": func(l *posting.Line) { l.Detail = "x" },
		// What runs together without lengths.
		"shifted": func(l *posting.Line) { l.Customer, l.Detail = "c 1:d", "" },
	} {
		p := posting.Posting{Lines: slices.Clone(base.Lines)}
		change(&p.Lines[0])
		if was, ok := seen[p.Hash()]; ok {
			t.Errorf("%s hashes as %s", name, was)
		}
		seen[p.Hash()] = name
	}
}

// orders draws an order that a register could have made.
func orders(rules money.Rules) *rapid.Generator[*pos.Order] {
	eco := money.Tax{ID: "ECO", Name: "3.5 %", Rate: 35000, Account: "eco"}
	sets := [][]money.Tax{nil, {added}, {included}, {added, eco}}
	return rapid.Custom(func(t *rapid.T) *pos.Order {
		o := &pos.Order{Rules: rules, TaxRates: []money.Tax{added, included, eco}}
		refund := rapid.IntRange(0, 3).Draw(t, "refund") == 0
		var items []money.Item
		for range rapid.IntRange(1, 4).Draw(t, "lines") {
			item := money.Item{
				Qty: money.Qty(rapid.Int64Range(1, 5000).Draw(t, "qty")), Price: money.Price(rapid.Int64Range(0, 900000).Draw(t, "price")),
				Taxes: rapid.SampledFrom(sets).Draw(t, "taxes"),
			}
			if refund {
				item.Qty = -item.Qty
			}
			items = append(items, item)
		}
		sums, err := money.Compute(items, money.Discount{}, rules)
		if err != nil {
			t.Fatal(err)
		}
		for i, item := range items {
			line := pos.Line{Qty: item.Qty, Price: item.Price, Account: rapid.SampledFrom([]string{"food", "books"}).Draw(t, "account"), LineSums: sums.Lines[i]}
			for _, tax := range item.Taxes {
				line.TaxIDs = append(line.TaxIDs, tax.ID)
			}
			o.Lines = append(o.Lines, line)
		}
		o.Net, o.Taxes, o.Total = sums.Net, sums.Taxes, sums.Total

		part := o.Total * money.Amount(rapid.Int64Range(0, 100).Draw(t, "part")) / 100
		switch rapid.IntRange(0, 2).Draw(t, "how") {
		case 0:
			o.Payments = append(o.Payments, card(part))
		case 1:
			o.Payments, o.Customer = append(o.Payments, later(part)), &anna
		case 2:
			part = 0
		}
		due, err := money.Due(o.Total, []money.Tender{{Amount: part}}, rules, true)
		if err != nil {
			t.Fatal(err)
		}
		if !refund {
			due += max(1, rules.CashRounding) * money.Amount(rapid.Int64Range(0, 500).Draw(t, "over"))
		}
		o.Payments = append(o.Payments, cash(due))
		s, err := money.Settle(o.Total, []money.Tender{{Amount: part}, {Amount: due, Cash: true}}, rules)
		if err != nil {
			t.Fatal(err)
		}
		o.Rounding, o.Change = s.Rounding, s.Change
		if o.Rounding != 0 {
			o.RoundingAccount = "rounding"
		}
		if o.Change != 0 {
			o.ChangeMethod = "cash"
		}
		return o
	})
}

func TestAnySetOfOrdersMovesAndDrawersBalancesAccountByAccount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := money.Rules{
			Currency:     money.Currency{Code: "EUR", Digits: 2},
			TaxPerLine:   rapid.Bool().Draw(t, "tax per line"),
			CashRounding: rapid.SampledFrom([]money.Amount{0, 5}).Draw(t, "rounding"),
		}
		amounts := rapid.Int64Range(-9999, 9999)
		f := posting.Facts{Accounts: accounts}
		want := map[string]money.Amount{} // what each account must come to
		for range rapid.IntRange(0, 8).Draw(t, "orders") {
			o := orders(rules).Draw(t, "order")
			if rapid.IntRange(0, 5).Draw(t, "flagged") == 0 {
				gap := money.Amount(amounts.Draw(t, "gap"))
				o.Payments[0].Amount += gap
				want["suspense"] -= gap
			}
			f.Sums = append(f.Sums, posting.OrderSums(o, rapid.SampledFrom([]string{"R1", "R2"}).Draw(t, "register"))...)
			for _, p := range o.Payments {
				want[p.Account] += p.Amount
			}
			want["cash"] -= o.Change
			want["rounding"] -= o.Rounding
			for _, l := range o.Lines {
				want[l.Account] -= l.Net
			}
			for _, tax := range o.Taxes {
				want[map[string]string{"VAT20": "tax", "INCL20": "tax", "ECO": "eco"}[tax.Tax]] -= tax.Amount
			}
		}
		for range rapid.IntRange(0, 3).Draw(t, "moves") {
			n := money.Amount(amounts.Draw(t, "move"))
			f.Moves = append(f.Moves, posting.Move{Register: "R1", Method: "cash", CashAccount: "cash", Account: "safe", Amount: n})
			want["cash"] += n
			want["safe"] -= n
		}
		for range rapid.IntRange(0, 3).Draw(t, "drawers") {
			d := posting.Drawer{
				Register: "R1", Method: "cash", Account: "cash", FirstFloat: money.Amount(amounts.Draw(t, "first")),
				OpeningDifference: money.Amount(amounts.Draw(t, "opening")), Difference: money.Amount(amounts.Draw(t, "counting")),
			}
			f.Drawers = append(f.Drawers, d)
			want["cash"] += d.FirstFloat + d.OpeningDifference + d.Difference
			want["float"] -= d.FirstFloat
			for _, n := range []money.Amount{d.OpeningDifference, d.Difference} {
				want["loss"] -= min(n, 0)
				want["gain"] -= max(n, 0)
			}
		}
		p, err := posting.Make(f)
		if err != nil {
			t.Fatal(err)
		}
		var debit, credit money.Amount
		for _, l := range p.Lines {
			debit, credit = debit+l.Debit, credit+l.Credit
			if l.Debit < 0 || l.Credit < 0 || (l.Debit == 0) == (l.Credit == 0) {
				t.Fatalf("line %+v has not one side", l)
			}
		}
		if debit != credit || debit != p.Debit {
			t.Fatalf("debit %d, credit %d, Σ %d", debit, credit, p.Debit)
		}
		for _, l := range p.Lines {
			want[l.Account] += 0 // no account but these
		}
		for account, n := range want {
			if got := balance(p, account); got != n {
				t.Fatalf("%s = %d, want %d\n%s", account, got, n, table(p))
			}
		}

		// The same facts in another order, and added up, are the same bytes.
		g := f
		if g.Sums, err = posting.Add(rapid.Permutation(f.Sums).Draw(t, "sums")); err != nil {
			t.Fatal(err)
		}
		g.Moves = rapid.Permutation(f.Moves).Draw(t, "moves again")
		g.Drawers = rapid.Permutation(f.Drawers).Draw(t, "drawers again")
		q, err := posting.Make(g)
		if err != nil || q.Hash() != p.Hash() {
			t.Fatalf("in another order: %v\n%swas\n%s", err, table(q), table(p))
		}
	})
}
