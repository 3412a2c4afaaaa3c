package ledger

import (
	"slices"

	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// The codes of flags, besides those of package session. They are never reused,
// only added; the sentence of each has the key flag.<code>.
const (
	FlagNotUnderstood     = "not_understood"           // stored raw, nothing booked
	FlagOtherPointOfSale  = "other_point_of_sale"      // the entry names another point of sale
	FlagOtherRegister     = "other_register"           // the entry names another register
	FlagRevoked           = "revoked_register"         // delivered by a revoked register
	FlagUnknownUser       = "unknown_user"             // not, or no more, a user here
	FlagUnknownProduct    = "unknown_product"          // there never was one
	FlagTotalsWrong       = "totals_wrong"             // lines, taxes and total do not add up
	FlagPaymentsWrong     = "payments_wrong"           // Σ payments − change ≠ total + rounding
	FlagChangeWrong       = "change_wrong"             // more change than cash
	FlagSumsDiffer        = "sums_differ"              // computed again it is another order
	FlagSettlementDiffers = "settlement_differs"       // rounding or change computed again differ
	FlagNoCustomer        = "no_customer"              // pay-later without a customer
	FlagNoApprover        = "no_approver"              // return without receipt that nobody approved
	FlagIDDiffers         = "id_differs"               // the body's id is not the operation id
	FlagNumberTwice       = "number_twice"             // receipt number that another order bears
	FlagRefundTooMuch     = "refund_too_much"          // more taken back than was sold
	FlagClockOff          = "clock_off"                // more than 24 h from the server's clock
	FlagLateCount         = "late_count"               // counted after the close
	FlagZDiffers          = "z_differs"                // the till's Z is not the server's sum
	FlagCloseUnknown      = "close_unknown"            // a close that this server did not make
	FlagReceiptWrong      = "receipt_wrong"            // Σ payments − change ≠ amount + rounding
	FlagMoveWrong         = "move_wrong"               // no account, or of no drawer
	FlagCashWithoutDrawer = "cash_without_drawer"      // cash taken by a register without a drawer
	FlagNotOwner          = "close_out_of_another"     // a close-out by a register that does not own the session
	FlagRecovering        = "close_out_while_restored" // close-out while the server is recovering
	FlagNotPosted         = "not_posted"               // closed out, but its posting cannot be made
	FlagZTwice            = "z_twice"                  // number of a Z report that another one bears
)

// Flags are all these codes.
var Flags = []string{
	FlagNotUnderstood,
	FlagOtherPointOfSale,
	FlagOtherRegister,
	FlagRevoked,
	FlagUnknownUser,
	FlagUnknownProduct,
	FlagTotalsWrong,
	FlagPaymentsWrong,
	FlagChangeWrong,
	FlagSumsDiffer,
	FlagSettlementDiffers,
	FlagNoCustomer,
	FlagNoApprover,
	FlagIDDiffers,
	FlagNumberTwice,
	FlagRefundTooMuch,
	FlagClockOff,
	FlagLateCount,
	FlagZDiffers,
	FlagCloseUnknown,
	FlagReceiptWrong,
	FlagMoveWrong,
	FlagCashWithoutDrawer,
	FlagNotOwner,
	FlagRecovering,
	FlagNotPosted,
	FlagZTwice,
}

// problem is something wrong with an entry, with parameters for people.
type problem struct {
	code   string
	params map[string]string
}

// checkOrder compares an order with itself and with what the server computes.
// An error means that its amounts cannot be added up at all.
func checkOrder(o *pos.Order) (problems []problem, err error) {
	flag := func(code string, pairs ...string) {
		problems = append(problems, problem{code: code, params: params(pairs)})
	}
	sums, err := money.Add(lineSums(o.Lines))
	if err != nil {
		return nil, err
	}
	ok, err := addsUp(o, &sums)
	if err != nil {
		return nil, err
	}
	if !ok {
		flag(FlagTotalsWrong, "total", amount(o.Total), "lines", amount(sums.Total))
	}
	gap, err := paymentGap(o.Payments, o.Change, o.Total, o.Rounding)
	if err != nil {
		return nil, err
	}
	if gap != 0 {
		flag(FlagPaymentsWrong, "gap", amount(gap), "total", amount(o.Total))
	}
	if !changeFits(o.Payments, o.Change) {
		flag(FlagChangeWrong, "change", amount(o.Change))
	}
	if ok && gap == 0 {
		if !computesTo(o) {
			flag(FlagSumsDiffer)
		}
		if !settlesTo(o) {
			flag(FlagSettlementDiffers)
		}
	}
	if o.Customer == nil && slices.ContainsFunc(o.Payments, func(p pos.Payment) bool { return p.Kind == pos.MethodPayLater }) {
		flag(FlagNoCustomer)
	}
	if o.Approver == nil && slices.ContainsFunc(o.Lines, func(l pos.Line) bool { return l.Qty < 0 && l.Refund == nil }) {
		flag(FlagNoApprover)
	}
	return problems, nil
}

func lineSums(lines []pos.Line) []money.LineSums {
	sums := make([]money.LineSums, len(lines))
	for i := range lines {
		sums[i] = lines[i].LineSums
	}
	return sums
}

// addsUp reports whether Total = Net + Σ Taxes = Σ lines, for each line too.
func addsUp(o *pos.Order, sums *money.Sums) (bool, error) {
	total := o.Net
	for _, t := range o.Taxes {
		var err error
		if total, err = money.CheckedAdd(total, t.Amount); err != nil {
			return false, err
		}
	}
	ok := total == o.Total && sums.Total == o.Total && sums.Net == o.Net && sameTaxes(sums.Taxes, o.Taxes)
	for i := range o.Lines {
		line := &o.Lines[i]
		total := line.Net
		for _, t := range line.Taxes {
			var err error
			if total, err = money.CheckedAdd(total, t.Amount); err != nil {
				return false, err
			}
		}
		ok = ok && total == line.Total
	}
	return ok, nil
}

// sameTaxes reports whether two lists hold the same amounts, in any order; a
// tax of 0 may be left out.
func sameTaxes(a, b []money.TaxSum) bool {
	return coversTaxes(a, b) && coversTaxes(b, a)
}

func coversTaxes(a, b []money.TaxSum) bool {
	for _, t := range a {
		if t.Amount != taxOf(b, t.Tax) {
			return false
		}
	}
	return true
}

func taxOf(list []money.TaxSum, id string) money.Amount {
	for _, t := range list {
		if t.Tax == id {
			return t.Amount
		}
	}
	return 0
}

// paymentGap returns Σ payments − change − (total + rounding).
func paymentGap(payments []pos.Payment, change, total, rounding money.Amount) (money.Amount, error) {
	gap, err := money.SumAmounts(-change, -total, -rounding)
	for i := range payments {
		if err == nil {
			gap, err = money.CheckedAdd(gap, payments[i].Amount)
		}
	}
	return gap, err
}

func changeFits(payments []pos.Payment, change money.Amount) bool {
	if change == 0 {
		return true
	}
	var cash money.Amount
	for i := range payments {
		if payments[i].Kind == pos.MethodCash {
			cash += payments[i].Amount
		}
	}
	return change > 0 && change <= cash
}

// computesTo reports whether the lines come to what they say when they are
// computed again. Lines that take back lines of another order have their share
// of those, which is checked by quantity when the other order is at hand.
func computesTo(o *pos.Order) bool {
	items := make([]money.Item, len(o.Lines))
	rates := make([]money.Tax, 0, 4)
	for i := range o.Lines {
		line := &o.Lines[i]
		if line.Refund != nil {
			return true
		}
		from := len(rates)
		for _, id := range line.TaxIDs {
			at := slices.IndexFunc(o.TaxRates, func(t money.Tax) bool { return t.ID == id })
			if at < 0 {
				return false
			}
			rates = append(rates, o.TaxRates[at])
		}
		items[i] = money.Item{Qty: line.Qty, Price: line.Price, Discount: line.Discount, Taxes: rates[from:len(rates):len(rates)]}
	}
	sums, err := money.Compute(items, o.Discount, o.Rules)
	if err != nil {
		return false
	}
	for i := range o.Lines {
		line, want := &o.Lines[i], &sums.Lines[i]
		if line.Amount != want.Amount || line.OrderDiscount != want.OrderDiscount || line.Net != want.Net ||
			line.Total != want.Total || !sameTaxes(line.Taxes, want.Taxes) {
			return false
		}
	}
	return true
}

func settlesTo(o *pos.Order) bool {
	s, err := money.Settle(o.Total, tenders(o.Payments), o.Rules)
	return err == nil && s.Rounding == o.Rounding && s.Change == o.Change
}

func tenders(payments []pos.Payment) []money.Tender {
	list := make([]money.Tender, len(payments))
	for i := range payments {
		list[i] = money.Tender{Amount: payments[i].Amount, Cash: payments[i].Kind == pos.MethodCash}
	}
	return list
}

// checkReceipt compares a debt's receipt with itself.
func checkReceipt(r *pos.Receipt) (problems []problem, err error) {
	gap, err := paymentGap(r.Payments, r.Change, r.Amount, r.Rounding)
	if err != nil {
		return nil, err
	}
	if gap != 0 {
		problems = append(problems, problem{FlagReceiptWrong, params([]string{"gap", amount(gap), "amount", amount(r.Amount)})})
	}
	if !changeFits(r.Payments, r.Change) {
		problems = append(problems, problem{FlagChangeWrong, params([]string{"change", amount(r.Change)})})
	}
	return problems, nil
}

func params(pairs []string) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	m := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}
