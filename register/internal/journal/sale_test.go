package journal_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
)

// A sale is one commit; its p50 is held against a bare bbolt Update of the
// same keys and bytes in the same run, by turns, so that a noisy machine is
// noisy for both.
func TestSaleCostsAtMostTwiceABareCommit(t *testing.T) {
	sale, bare := compareSales(t, 300)
	t.Logf("p50 of a sale %v, of a bare Update %v, ratio %.2f", sale, bare, ratio(sale, bare))
	if sale > 2*bare {
		t.Errorf("p50 of a sale = %v, want at most twice the %v of a bare Update", sale, bare)
	}
}

func BenchmarkSale(b *testing.B) {
	for b.Loop() {
		sale, bare := compareSales(b, 1000)
		b.ReportMetric(float64(sale.Nanoseconds()), "sale-p50-ns")
		b.ReportMetric(float64(bare.Nanoseconds()), "bare-p50-ns")
		b.ReportMetric(ratio(sale, bare), "ratio")
	}
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

func compareSales(t testing.TB, n int) (sale, bare time.Duration) {
	t.Helper()
	w := create(t)
	s := w.opens(10000)
	db, err := bolt.Open(filepath.Join(t.TempDir(), "bare.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	sales, bares := make([]time.Duration, 0, n), make([]time.Duration, 0, n)
	for i := range n {
		cart := newID()
		w.append(func(tx *journal.Tx) error {
			return tx.SaveCart(journal.Cart{ID: cart, Version: 1, Data: json.RawMessage(`{"lines":[]}`)})
		})
		// The till's way: number, order and the cart's end in one commit.
		start := time.Now()
		w.append(func(tx *journal.Tx) error {
			o, err := order(tx, s, newID(), "cash", 1200)
			if err != nil {
				return err
			}
			if _, err = tx.Add(entry.KindOrder, o.ID, o); err != nil {
				return err
			}
			return tx.DeleteCart(cart)
		})
		sales = append(sales, time.Since(start))

		puts := w.written(s.ID)
		start = time.Now()
		err := db.Update(func(tx *bolt.Tx) error {
			for _, p := range puts {
				b, err := tx.CreateBucketIfNotExists([]byte(p.bucket))
				if err != nil {
					return err
				}
				if err := b.Put(p.key, p.value); err != nil {
					return err
				}
			}
			return nil
		})
		bares = append(bares, time.Since(start))
		if err != nil {
			t.Fatalf("bare update %d: %v", i, err)
		}
	}
	slices.Sort(sales)
	slices.Sort(bares)
	return sales[n/2], bares[n/2]
}

type written struct {
	bucket     string
	key, value []byte
}

// written returns the keys and bytes of the last sale.
func (w *till) written(session string) []written {
	w.Helper()
	var puts []written
	head := w.Head()
	at := fmt.Appendf(nil, "%08d%08d", head.Epoch, head.Seq)
	w.view(func(tx *journal.Tx) error {
		e, raw, err := tx.Entry(head.Place())
		if err != nil {
			return err
		}
		s, _, err := tx.Session(session)
		if err != nil {
			return err
		}
		series, err := tx.Series()
		if err != nil {
			return err
		}
		sessionRaw, err := json.Marshal(s)
		if err != nil {
			return err
		}
		seriesRaw, err := json.Marshal(series)
		if err != nil {
			return err
		}
		puts = []written{
			{"entries", at, raw},
			{"ops", []byte(e.Op), at},
			{"orders", append([]byte("t"), at...), make([]byte, 110)},
			{"orders", append([]byte("nSHOP1-R1-00001-0000\x00"), at...), []byte("t")},
			{"sessions", []byte(session), sessionRaw},
			{"state", []byte("series"), seriesRaw},
			{"carts", []byte("cart"), nil},
		}
		return nil
	})
	return puts
}
