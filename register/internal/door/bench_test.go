package door_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"tillandsia/register/internal/till"
	"tillandsia/register/internal/till/tilltest"
	"tillandsia/shared/entry"
)

// BenchmarkSale measures a sale from the API call to the durable answer, and
// beside it, taking turns on the same disk, a bare bbolt update that writes
// keys and bytes of the same sizes into the same buckets.
func BenchmarkSale(b *testing.B) {
	w := benchWorld(b)
	anna := w.signIn("anna")
	w.call(request{method: http.MethodPost, path: "/session", token: anna, body: object{"float": 0}}, http.StatusCreated, nil)
	body, err := json.Marshal(object{
		"lines":    []object{{"product": "tea"}, {"product": "coffee", "qty": 2000}, {"product": "pizza"}},
		"payments": []object{{"method": "cash", "amount": 5000}},
	})
	if err != nil {
		b.Fatal(err)
	}
	sell := func() []byte {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, w.server.URL+"/api/v1/sales", bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+anna)
		req.Header.Set("Content-Type", "application/json")
		res, err := w.server.Client().Do(req)
		if err != nil {
			b.Fatal(err)
		}
		defer res.Body.Close()
		data, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusCreated {
			b.Fatalf("%d %v %s", res.StatusCode, err, data)
		}
		return data
	}
	bare := newBare(b, w, sell())
	var ours, floor []time.Duration
	for b.Loop() {
		began := time.Now()
		sell()
		ours = append(ours, time.Since(began))
		began = time.Now()
		bare.update()
		floor = append(floor, time.Since(began))
	}
	a, f := median(ours), median(floor)
	b.ReportMetric(float64(a.Microseconds()), "µs/sale-p50")
	b.ReportMetric(float64(f.Microseconds()), "µs/bbolt-p50")
	b.ReportMetric(float64(a)/float64(f), "ratio")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// bare writes what a sale writes, and nothing else.
type bare struct {
	testing.TB
	db   *bolt.DB
	n    uint64
	raw  []byte
	sess []byte
}

func newBare(b *testing.B, w *world, answer []byte) *bare {
	b.Helper()
	db, err := bolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{"entries", "ops", "orders", "sessions", "state", "carts"} {
			bucket, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			bucket.FillPercent = 1
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	var s till.Sold
	if err := json.Unmarshal(answer, &s); err != nil {
		b.Fatal(err)
	}
	head := w.Journal.Head()
	raws, err := w.Journal.Read(b.Context(), entry.Place{Epoch: head.Epoch, Seq: head.Seq}, 1, 1<<20)
	if err != nil {
		b.Fatal(err)
	}
	state, err := w.State(b.Context(), till.Actor{})
	if err != nil {
		b.Fatal(err)
	}
	sess, err := json.Marshal(state.Session)
	if err != nil {
		b.Fatal(err)
	}
	return &bare{TB: b, db: db, raw: raws[0].Raw, sess: append(sess, sess[:min(len(sess), 400)]...)}
}

func (b *bare) update() {
	b.Helper()
	b.n++
	key := binary.BigEndian.AppendUint64(make([]byte, 8), b.n)
	err := b.db.Update(func(tx *bolt.Tx) error {
		for _, p := range []struct {
			bucket string
			key    []byte
			size   int
		}{
			{"entries", key, len(b.raw)},
			{"ops", append([]byte("01J0000000"), key...), 16},
			{"orders", append([]byte("t"), key...), 120},
			{"orders", append([]byte("nSHOP1-R1-00001-"), key...), 1},
			{"sessions", []byte("01J00000000000000000000000"), len(b.sess)},
			{"state", []byte("series"), 400},
		} {
			bucket := tx.Bucket([]byte(p.bucket))
			bucket.FillPercent = 1
			if err := bucket.Put(p.key, b.raw[:min(p.size, len(b.raw))]); err != nil {
				return err
			}
		}
		return tx.Bucket([]byte("carts")).Delete(key)
	})
	if err != nil {
		b.Fatal(err)
	}
}

func benchWorld(b *testing.B) *world {
	b.Helper()
	return newWorld(b, func(s *tilltest.Shop) { s.Settings.CashRounding = 5 })
}
