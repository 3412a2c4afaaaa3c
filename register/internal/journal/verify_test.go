package journal_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/pos"
)

// forge changes the bodies of entries and makes the chain anew, as a program
// with a fault in its sums would have written it.
func forge(kind entry.Kind, change func(body map[string]any)) func(tx *bolt.Tx) error {
	return func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("entries"))
		var prev entry.Hash
		type kv struct{ k, v []byte }
		var puts []kv
		changed := false
		err := b.ForEach(func(k, v []byte) error {
			e, err := entry.Decode(v)
			if err != nil {
				return err
			}
			var body any = e.Body
			if e.Kind == kind {
				var fields map[string]any
				if err := json.Unmarshal(e.Body, &fields); err != nil {
					return err
				}
				before, err := json.Marshal(fields)
				if err != nil {
					return err
				}
				change(fields)
				after, err := json.Marshal(fields)
				if err != nil {
					return err
				}
				changed = changed || string(before) != string(after)
				body = fields
			}
			e.Prev = prev
			raw, hash, err := entry.Make(e, body)
			if err != nil {
				return err
			}
			prev = hash
			puts = append(puts, kv{append([]byte(nil), k...), raw})
			return nil
		})
		if err != nil {
			return err
		}
		if !changed {
			return errors.New("nothing was forged")
		}
		for _, p := range puts {
			if err := b.Put(p.k, p.v); err != nil {
				return err
			}
		}
		return nil
	}
}

func remove(bucket string, which func(k []byte) bool) func(tx *bolt.Tx) error {
	return func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		c := b.Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			if which(k) {
				return b.Delete(append([]byte(nil), k...))
			}
		}
		return errors.New("nothing to remove")
	}
}

func replace(bucket, old, with string) func(tx *bolt.Tx) error {
	return func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucket))
		c := b.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if strings.Contains(string(v), old) {
				return b.Put(append([]byte(nil), k...), []byte(strings.Replace(string(v), old, with, 1)))
			}
		}
		return errors.New("nothing to replace")
	}
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any) // writing to none panics: the test is wrong
	return m
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func TestVerifyFinds(t *testing.T) {
	once := func(change func(body map[string]any)) func(map[string]any) {
		done := false
		return func(body map[string]any) {
			if !done {
				done = true
				change(body)
			}
		}
	}
	nth := func(n int, change func(body map[string]any)) func(map[string]any) {
		return func(body map[string]any) {
			if n--; n == 0 {
				change(body)
			}
		}
	}
	set := func(key string, value any) func(map[string]any) {
		return func(body map[string]any) { body[key] = value }
	}
	inZ := func(part, key string, value any) func(map[string]any) {
		return func(body map[string]any) { object(object(body["z"])[part])[key] = value }
	}
	tests := []struct {
		name   string
		change func(tx *bolt.Tx) error
		lines  string // the lines that are broken, in order
	}{
		{"nothing where nothing is wrong", func(*bolt.Tx) error { return nil }, ""},
		{"an entry that is gone", remove("entries", func(k []byte) bool { return binary.BigEndian.Uint64(k[8:]) == 4 }), "I1 I3 I11 I15 projections"},
		{"an entry whose bytes were changed", replace("entries", `"name":"Anna"`, `"name":"Hanna"`), "I3 projections"},
		{"an operation that is in no index", remove("ops", func([]byte) bool { return true }), "I1 projections"},
		{"a row of the list that is gone", remove("orders", func([]byte) bool { return true }), "projections"},
		{"a cash sum that was changed", replace("sessions", `"taken":`, `"taken":1`), "projections"},
		{"a counter that was changed", replace("state", `"sessions":`, `"sessions":1`), "projections"},
		{"a refund that was forgotten", remove("refunds", func([]byte) bool { return true }), "projections"},
		{"a base that is another", replace("epochs", `"base":{"epoch":0,"seq":0`, `"base":{"epoch":0,"seq":9`), "I3"},
		{"a cursor of another chain", func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("sync")).Put([]byte("acked"), []byte(`{"points":[{"epoch":1,"seq":3,"hash":"`+strings.Repeat("ab", 32)+`"}],"moved":0}`))
		}, "I2"},
		{"payments that are not the total", forge(entry.KindOrder, once(set("change", 499))), "I8 projections"},
		{"a total that is not the sum of its lines", forge(entry.KindOrder, once(func(b map[string]any) { b["total"], b["change"] = 1300, 400 })), "I8 I15 projections"},
		{"a net that is not the sum of its lines", forge(entry.KindOrder, once(set("net", 1))), "I8 I15 projections"},
		{"more change than cash", forge(entry.KindOrder, nth(3, func(b map[string]any) {
			b["change"] = 100
			object(list(b["payments"])[0])["amount"] = 2500
		})), "I8 projections"},
		{"a receipt number that is skipped", forge(entry.KindOrder, nth(2, func(b map[string]any) { b["number"], b["ordinal"] = "SHOP1-R1-00001-0003", 3 })), "I11 projections"},
		{"a receipt number that is issued again", forge(entry.KindOrder, nth(2, func(b map[string]any) { b["number"], b["ordinal"] = "SHOP1-R1-00001-0001", 1 })), "I11 projections"},
		{"a session name that is issued again", forge(entry.KindOpened, nth(2, func(b map[string]any) { object(b["session"])["name"] = "SHOP1/R1/00001" })), "I11 projections"},
		{"a Z number that is skipped", forge(entry.KindClosed, nth(2, func(b map[string]any) { object(b["z"])["number"] = 3 })), "I11 projections"},
		{"a Z that is not the sum of its orders", forge(entry.KindClosed, once(inZ("period", "sales_total", 1))), "I15"},
		{"a Z that lacks a tax", forge(entry.KindClosed, once(inZ("period", "taxes", nil))), "I15"},
		{"a perpetual total that fell", forge(entry.KindClosed, nth(2, inZ("perpetual", "sales", 1))), "I15"},
		{"a perpetual total that is too high", forge(entry.KindClosed, nth(2, inZ("perpetual", "sales_total", 99999))), "I15"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := create(t)
			s := w.opens(0)
			first := w.sells(s, "cash", 1200)
			w.sells(s, "cash", 1200)
			w.sells(s, "card", 2400)
			w.closes(s, 0)
			s2 := w.opens(2400)
			w.append(func(tx *journal.Tx) error {
				o, err := order(tx, s2, newID(), "cash", -600)
				if err != nil {
					return err
				}
				o.Lines[0].Refund = &pos.LineRef{Order: first.ID, Line: first.Lines[0].ID}
				_, err = tx.Add(entry.KindOrder, o.ID, o)
				return err
			})
			w.closes(s2, 0)
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			w.Journal = nil
			if err := journal.Corrupt(w.file(), tt.change); err != nil {
				t.Fatal(err)
			}
			report := verifyFile(t, w)
			var broken []string
			for _, l := range report.Lines {
				if !l.OK() {
					broken = append(broken, l.Name)
				}
			}
			if got := strings.Join(broken, " "); got != tt.lines {
				t.Errorf("broken lines = %q, want %q", got, tt.lines)
			}
		})
	}
}

// verifyFile verifies a journal in the way of `register journal verify`. What
// Open refuses as damaged is looked at all the same.
func verifyFile(t *testing.T, w *till) journal.Report {
	t.Helper()
	var out strings.Builder
	o := w.o
	o.ReadOnly = true
	report, err := journal.VerifyUnopened(t.Context(), o, &out)
	if err != nil {
		t.Fatalf("Verify = %v", err)
	}
	t.Log("\n" + out.String())
	return report
}

func TestRebuildMendsTheProjections(t *testing.T) {
	damages := map[string]func(tx *bolt.Tx) error{
		"a sum changed": replace("sessions", `"taken":`, `"taken":1`),
		"an index emptied": func(tx *bolt.Tx) error {
			if err := tx.DeleteBucket([]byte("orders")); err != nil {
				return err
			}
			_, err := tx.CreateBucket([]byte("orders"))
			return err
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			w := create(t)
			s := w.opens(0)
			for range 5 {
				w.sells(s, "cash", 1200)
			}
			w.append(func(tx *journal.Tx) error { return tx.SaveCart(journal.Cart{ID: "c", Version: 1, Data: []byte("{}")}) })
			want, head := w.session(s.ID), w.Head()
			if err := w.SetAcked(t.Context(), head); err != nil {
				t.Fatal(err)
			}
			if err := w.SetGeneration(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if err := journal.Corrupt(w.file(), damage); err != nil {
				t.Fatal(err)
			}
			before := mustRead(t, w.file())
			w.open()
			if err := w.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.check()
			got := w.session(s.ID)
			if got.Sums[0].Taken != want.Sums[0].Taken || w.Head() != head || w.Generation() != 3 || w.Acked()[0] != head {
				t.Errorf("after rebuilding: %+v, head %v", got, w.Head())
			}
			w.view(func(tx *journal.Tx) error {
				_, found, err := tx.Cart("c")
				if !found {
					t.Error("the cart is gone")
				}
				return err
			})
			if kept := mustRead(t, w.file()+".before-rebuild"); len(kept) != len(before) {
				t.Errorf("the old file is not kept: %d bytes, had %d", len(kept), len(before))
			}
			w.sells(s, "cash", 1200)
			w.reopen()
			if o := w.Opening(); o.Copy != "" {
				t.Errorf("taken for a copy after rebuilding: %+v", o)
			}
		})
	}
}
