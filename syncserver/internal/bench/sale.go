package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"tillandsia/syncserver/internal/sample"
	"tillandsia/syncserver/internal/world"
)

const (
	sales      = 400
	salesWarm  = 30
	saleTarget = 2.0
	saleLines  = 3
)

// sale measures a sale of three lines over the API of a real register: with
// the cable pulled, beside a bare Update of the same keys and bytes, by turns;
// and with the cable in.
func (b *bench) sale(ctx context.Context) (figures []Figure, err error) {
	dir, err := b.folder("sale")
	if err != nil {
		return nil, err
	}
	server, err := world.StartServer(ctx, world.ServerOptions{Programs: b.Programs, Dir: dir})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	const shop, code = "SHOP1", "R1"
	err = server.OpenShop(ctx, world.Shop{
		Code: shop, Name: "Bench", Products: sample.ProductsCSV(), Taxes: map[string]int{"VAT10": 100_000}, Registers: []string{code},
	})
	if err != nil {
		return nil, err
	}
	till, err := server.Enrol(ctx, shop, code, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, till.End()) }()
	user, err := signIn(ctx, till)
	if err != nil {
		return nil, err
	}
	if err := user.Post(ctx, "/session", map[string]any{"float": 10000, "confirm": true}, nil); err != nil {
		return nil, err
	}
	bodies := saleBodies()
	if len(bodies) == 0 {
		return nil, errors.New("the sample has no order to sell")
	}
	next := 0
	sell := func() (time.Duration, error) {
		body := bodies[next%len(bodies)]
		next++
		start := time.Now()
		err := user.Post(ctx, "/sales", body, nil)
		return time.Since(start), err
	}

	online, err := repeat(salesWarm+sales, sell)
	if err != nil {
		return nil, err
	}
	if err := settled(ctx, user, func(s syncState) bool { return s.Waiting == 0 }); err != nil {
		return nil, err
	}
	till.Proxy.Cut()
	if err := settled(ctx, user, func(s syncState) bool { return s.Phase == "offline" }); err != nil {
		return nil, err
	}
	offline, bare, puts, size, err := b.byTurns(filepath.Join(till.Data(), "journal.db"), dir, sell)
	if err != nil {
		return nil, err
	}
	limit := median(bare)
	figure := func(name string, ours []time.Duration, note string) Figure {
		p50 := median(ours)
		ratio := float64(p50) / float64(limit)
		return Figure{
			Name: name, Ours: millis(p50), Limit: millis(limit), Ratio: fmt.Sprintf("%.3f x", ratio),
			Target: fmt.Sprintf("<= %.0f x", saleTarget), Met: ratio <= saleTarget, Note: note,
		}
	}
	return []Figure{
		figure("sale, API call until the durable answer, p50", offline, fmt.Sprintf(
			"cable pulled; limit: a bare bbolt Update of the same %d keys and %d bytes, by turns; with the cable in %s",
			puts, size, millis(median(online[salesWarm:])))),
	}, nil
}

func repeat(n int, f func() (time.Duration, error)) ([]time.Duration, error) {
	times := make([]time.Duration, n)
	for i := range times {
		var err error
		if times[i], err = f(); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// saleBodies are the orders of the sample that have three lines.
func saleBodies() []map[string]any {
	var bodies []map[string]any
	for _, o := range sample.Orders() {
		if len(o.Lines) != saleLines {
			continue
		}
		var lines []map[string]any
		for _, l := range o.Lines {
			lines = append(lines, map[string]any{"code": l.ProductCode, "qty": l.Qty * 1000})
		}
		bodies = append(bodies, map[string]any{"lines": lines, "payments": []map[string]any{{"method": "cash"}}})
	}
	return bodies
}

// signIn unlocks a register with a cashier's PIN.
func signIn(ctx context.Context, t *world.Till) (*world.Client, error) {
	raw, err := os.ReadFile(filepath.Join(t.Data(), "api-token"))
	if err != nil {
		return nil, err
	}
	program := world.NewClient(t.URL, strings.TrimSpace(string(raw)))
	var user *world.Client
	err = world.Eventually(ctx, world.Patience, func(ctx context.Context) error {
		var users []struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		}
		if err := program.Get(ctx, "/users", &users); err != nil {
			return err
		}
		for _, u := range users {
			if !strings.HasPrefix(u.Name, "Carla") {
				continue
			}
			var in struct {
				Token string `json:"token"`
			}
			if err := program.Post(ctx, "/sign-ins", map[string]string{"user": u.ID, "pin": world.CashierPIN, "browser": "bench", "device": "bench"}, &in); err != nil {
				return err
			}
			user = world.NewClient(t.URL, in.Token)
			return nil
		}
		return errors.New("the cashier has not come down yet")
	})
	return user, err
}

type syncState struct {
	Phase   string `json:"phase"`
	Waiting int    `json:"waiting"`
}

func settled(ctx context.Context, user *world.Client, ok func(syncState) bool) error {
	return world.Eventually(ctx, world.Patience, func(ctx context.Context) error {
		var s syncState
		if err := user.Get(ctx, "/sync", &s); err != nil {
			return err
		}
		if !ok(s) {
			return fmt.Errorf("the register is %s with %d entries waiting", s.Phase, s.Waiting)
		}
		return nil
	})
}

// byTurns sells at a register that is offline and does nothing else, compares
// its journal with what it was before, and writes what the sale wrote into a
// copy of the journal by a bare Update.
func (b *bench) byTurns(journal, dir string, sell func() (time.Duration, error)) (ours, bare []time.Duration, puts, size int, err error) {
	// Where memory serves as a folder, reading the journal leaves the disk
	// alone.
	mirror := filepath.Join(dir, "mirror.db")
	if info, serr := os.Stat("/dev/shm"); serr == nil && info.IsDir() {
		shm, merr := os.MkdirTemp("/dev/shm", "tillandsia-bench-")
		if merr == nil {
			mirror = filepath.Join(shm, "mirror.db")
			defer func() { err = errors.Join(err, os.RemoveAll(shm)) }()
		}
	}
	before, err := snapshot(journal, mirror)
	if err != nil {
		return nil, nil, 0, 0, err
	}
	copied := filepath.Join(dir, "bare.db")
	raw, err := os.ReadFile(journal)
	if err != nil {
		return nil, nil, 0, 0, err
	}
	if err := os.WriteFile(copied, raw, 0o600); err != nil {
		return nil, nil, 0, 0, err
	}
	// The journal's own choice: NoFreelistSync makes a commit cheaper.
	db, err := bolt.Open(copied, 0o600, &bolt.Options{NoFreelistSync: true})
	if err != nil {
		return nil, nil, 0, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for i := range salesWarm + sales {
		took, err := sell()
		if err != nil {
			return nil, nil, 0, 0, err
		}
		after, err := snapshot(journal, mirror)
		if err != nil {
			return nil, nil, 0, 0, err
		}
		changes := diff(before, after)
		before = after
		if len(changes) == 0 {
			return nil, nil, 0, 0, errors.New("a sale left the journal as it was")
		}
		start := time.Now()
		if err := db.Update(func(tx *bolt.Tx) error { return write(tx, changes) }); err != nil {
			return nil, nil, 0, 0, fmt.Errorf("bare Update: %w", err)
		}
		spent := time.Since(start)
		if i < salesWarm {
			continue
		}
		ours, bare = append(ours, took), append(bare, spent)
		puts, size = len(changes), 0
		for _, c := range changes {
			size += len(c.key) + len(c.value)
		}
	}
	return ours, bare, puts, size, nil
}

// change is a key that a sale wrote, or deleted.
type change struct {
	path       [][]byte // buckets, outermost first
	key, value []byte
	deleted    bool
}

// at is where a key is: the names of its buckets and itself, each with its
// length before it.
func at(path [][]byte, key []byte) string {
	var b []byte
	for _, p := range append(slices.Clip(path), key) {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	return string(b)
}

// snapshot reads all keys of a file that nobody writes to now; it is copied
// first, because the register holds its lock.
func snapshot(file, mirror string) (_ map[string]change, err error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(mirror, raw, 0o600); err != nil {
		return nil, err
	}
	db, err := bolt.Open(mirror, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	all := map[string]change{}
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bolt.Bucket) error {
			return walk(bucket, [][]byte{bytes.Clone(name)}, all)
		})
	})
	return all, err
}

func walk(bucket *bolt.Bucket, path [][]byte, all map[string]change) error {
	return bucket.ForEach(func(k, v []byte) error {
		if v == nil {
			return walk(bucket.Bucket(k), append(slices.Clip(path), bytes.Clone(k)), all)
		}
		all[at(path, k)] = change{path: path, key: bytes.Clone(k), value: bytes.Clone(v)}
		return nil
	})
}

// diff returns what was written and deleted between two snapshots.
func diff(before, after map[string]change) []change {
	var changes []change
	for k, c := range after {
		if old, ok := before[k]; !ok || !bytes.Equal(old.value, c.value) {
			changes = append(changes, c)
		}
	}
	for k, c := range before {
		if _, ok := after[k]; !ok {
			c.deleted = true
			changes = append(changes, c)
		}
	}
	return changes
}

// write writes changes as a program would that does nothing else.
func write(tx *bolt.Tx, changes []change) error {
	for _, c := range changes {
		bucket, err := tx.CreateBucketIfNotExists(c.path[0])
		if err != nil {
			return err
		}
		for _, name := range c.path[1:] {
			if bucket, err = bucket.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		if c.deleted {
			err = bucket.Delete(c.key)
		} else {
			err = bucket.Put(c.key, c.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
