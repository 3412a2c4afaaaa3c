package audit_test

import (
	"runtime"
	"testing"
	"time"
	"os"
	"strconv"

	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/audit"
)

func TestPerf(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("N"))
	if n == 0 { t.Skip("N") }
	for _, d := range dialects {
		url := d.url(t)
		s := openStore(t, url)
		h := journaltest.NewHouse(t, s, ledger.Options{})
		till := h.Till("SHOP1", "R1")
		for range n / 1000 {
			till.Open(10000)
			for range 1000 { till.Sell(1234, journaltest.Cash) }
			till.CloseOut(journaltest.Counts(10000+1234*1000), 1234*1000)
			h.DeliverBy(till, 200)
		}
		var peak uint64
		stop := make(chan bool)
		go func() { for { select { case <-stop: return; case <-time.After(20*time.Millisecond): var m runtime.MemStats; runtime.ReadMemStats(&m); peak = max(peak, m.HeapInuse) } } }()
		till.Raw = nil
		runtime.GC()
		var m runtime.MemStats; runtime.ReadMemStats(&m)
		begin := time.Now()
		r, err := audit.Run(t.Context(), url)
		took := time.Since(begin)
		stop <- true
		if err != nil || r.Breached() { t.Fatal(err, told(t, r)) }
		t.Log(d.name, n, took, "heap before", m.HeapInuse>>20, "peak", peak>>20, "MB")
		s.Close()
	}
}
