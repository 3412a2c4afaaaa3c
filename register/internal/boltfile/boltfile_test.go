package boltfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"tillandsia/register/internal/boltfile"
)

// makeFile makes a file with small, nested, inline and large buckets.
func makeFile(t testing.TB, noFreelist bool) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: noFreelist, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		err = db.Update(func(tx *bolt.Tx) error {
			for _, name := range []string{"empty", "inline", "large", "long"} {
				b, err := tx.CreateBucketIfNotExists([]byte(name))
				if err != nil {
					return err
				}
				n, size := map[string]int{"inline": 3, "large": 3000, "long": 5}[name], map[string]int{"long": 20000}[name]
				for i := range n {
					if err := b.Put(fmt.Appendf(nil, "key %06d %d", i, round), bytes.Repeat([]byte("v"), size+i%50)); err != nil {
						return err
					}
				}
				nested, err := b.CreateBucketIfNotExists([]byte("nested"))
				if err != nil {
					return err
				}
				for i := range n {
					if err := nested.Put(fmt.Appendf(nil, "%d", i), []byte("v")); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWholeFilesPass(t *testing.T) {
	for _, noFreelist := range []bool{false, true} {
		path := makeFile(t, noFreelist)
		if err := boltfile.Sign(path); err != nil {
			t.Errorf("Sign = %v", err)
		}
		if err := boltfile.Inspect(t.Context(), path); err != nil {
			t.Errorf("Inspect = %v", err)
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	if err := boltfile.Inspect(t.Context(), path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Inspect of no file = %v", err)
	}
	if err := boltfile.Sign(t.TempDir()); !errors.Is(err, boltfile.ErrForeign) {
		t.Errorf("Sign of a folder = %v, want ErrForeign", err)
	}
	for _, content := range []string{"", "text", string(make([]byte, 1<<16))} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := boltfile.Inspect(t.Context(), path); !errors.Is(err, boltfile.ErrForeign) {
			t.Errorf("Inspect of %d bytes = %v, want ErrForeign", len(content), err)
		}
	}
}

// What passes is safe for bbolt: whatever bits are flipped, a file either is
// refused or can be read from end to end.
func TestWhatPassesIsSafeForBolt(t *testing.T) {
	path := makeFile(t, true)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	const rounds = 150
	for round := range rounds {
		damaged := bytes.Clone(whole)
		page := random.IntN(len(damaged) / 4096)
		for range 1 + random.IntN(3) {
			// Headers and elements more than content.
			at := page*4096 + random.IntN(200)
			damaged[at] ^= 1 << random.IntN(8)
		}
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := boltfile.Inspect(t.Context(), path); err != nil {
			if !errors.Is(err, boltfile.ErrDamaged) && !errors.Is(err, boltfile.ErrForeign) {
				t.Fatalf("round %d: %v", round, err)
			}
			refused++
			continue
		}
		db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true, NoSync: true})
		if err != nil {
			t.Fatalf("round %d: bbolt refuses what passed: %v", round, err)
		}
		err = db.View(func(tx *bolt.Tx) error {
			for err := range tx.Check() {
				return err
			}
			return nil
		})
		if err != nil {
			t.Errorf("round %d: bbolt finds what passed: %v", round, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d refused", refused, rounds)
	if refused < rounds/4 {
		t.Errorf("%d of %d refused, expected more", refused, rounds)
	}
}

// A page that is its own child would make bbolt recurse until the stack ends.
func TestCircleIsRefused(t *testing.T) {
	path := makeFile(t, true)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 2 * 4096; at < len(b); at += 4096 {
		if binary.NativeEndian.Uint16(b[at+8:]) == 1 {
			copy(b[at+16+8:], b[at:at+8])
		}
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := boltfile.Inspect(t.Context(), path); !errors.Is(err, boltfile.ErrDamaged) {
		t.Errorf("Inspect = %v, want ErrDamaged", err)
	}
}

func TestGuardTakesOnlyPanicsOfBolt(t *testing.T) {
	defer func() {
		if p := recover(); p != "mine" {
			t.Errorf("recovered %v, want the caller's own panic", p)
		}
	}()
	err := boltfile.Guard(func() error { panic("mine") })
	t.Errorf("Guard returned %v", err)
}
