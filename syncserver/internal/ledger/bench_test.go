package ledger_test

import (
	"testing"
	"time"

	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
)

// order is a sale of three lines with one payment.
func order(t *journaltest.Till) pos.Order {
	o := t.Order(1200, journaltest.Cash)
	line := o.Lines[0]
	o.Lines = nil
	items := make([]money.Item, 3)
	for i := range items {
		items[i] = money.Item{Qty: 1000, Price: 40000, Taxes: o.TaxRates}
	}
	sums, err := money.Compute(items, money.Discount{}, o.Rules)
	if err != nil {
		panic(err)
	}
	for i := range items {
		l := line
		l.ID, l.Price, l.LineSums = t.ID(), 40000, sums.Lines[i]
		o.Lines = append(o.Lines, l)
	}
	o.Net, o.Taxes, o.Total = sums.Net, sums.Taxes, sums.Total
	o.Payments[0].Amount = o.Total
	return o
}

// BenchmarkApply takes orders of three lines in, in batches of 256.
func BenchmarkApply(b *testing.B) {
	for _, s := range stores {
		b.Run(s.name, func(b *testing.B) {
			h := journaltest.NewHouse(b, open(b, s.url(b)), ledger.Options{})
			till := h.Till("SHOP1", "R1")
			till.Open(10000)
			h.Deliver(till)
			for range b.N {
				till.Write(till.Stamp(order(till)))
			}
			b.ResetTimer()
			h.DeliverBy(till, 256)
		})
	}
}

// BenchmarkClose closes a session of 5,000 orders, with its posting.
func BenchmarkClose(b *testing.B) {
	for _, s := range stores {
		b.Run(s.name, func(b *testing.B) {
			h := journaltest.NewHouse(b, open(b, s.url(b)), ledger.Options{})
			till := h.Till("SHOP1", "R1")
			var took time.Duration
			for range b.N {
				stamp := till.Open(10000)
				for range 5000 {
					till.Write(till.Stamp(order(till)))
				}
				h.DeliverBy(till, 256)
				start := time.Now()
				h.Close(stamp)
				took += time.Since(start)
				till.CloseOut(nil, 0)
			}
			b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms/close")
		})
	}
}
