package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

func TestReadGivesTheBytesThatWereMade(t *testing.T) {
	w := create(t)
	s := w.opens(0)
	for range 10 {
		w.sells(s, "cash", 1200)
	}
	before := entry.Point{Epoch: 1}
	raws, err := w.Read(t.Context(), entry.Place{Epoch: 1, Seq: 1}, 100, 1<<20)
	if err != nil || len(raws) != 12 {
		t.Fatalf("Read = %d entries, %v, want 12", len(raws), err)
	}
	for _, r := range raws {
		e, err := entry.Decode(r.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := entry.Follows(before, &e); err != nil {
			t.Error(err)
		}
		if before = r.At; entry.HashOf(r.Raw) != r.At.Hash {
			t.Errorf("hash of %d/%d differs", e.Epoch, e.Seq)
		}
		hash, err := w.HashAt(t.Context(), r.At.Place())
		if err != nil || hash != r.At.Hash {
			t.Errorf("HashAt = %v, %v", hash, err)
		}
	}
	if before != w.Head() {
		t.Errorf("last read is %v, head %v", before, w.Head())
	}
	tests := []struct {
		name         string
		from         entry.Place
		count, bytes int
		want         int
	}{
		{"no more entries than asked for", entry.Place{Epoch: 1, Seq: 2}, 3, 1 << 20, 3},
		{"no more bytes than asked for, but one entry", entry.Place{Epoch: 1, Seq: 2}, 9, 1, 1},
		{"as many as fit", entry.Place{Epoch: 1, Seq: 3}, 9, len(raws[2].Raw) + len(raws[3].Raw), 2},
		{"nothing beyond the head", entry.Place{Epoch: 1, Seq: 13}, 9, 1 << 20, 0},
		{"nothing of an epoch that is not", entry.Place{Epoch: 2, Seq: 1}, 9, 1 << 20, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := w.Read(t.Context(), tt.from, tt.count, tt.bytes)
			if err != nil || len(got) != tt.want {
				t.Errorf("Read = %d, %v, want %d", len(got), err, tt.want)
			}
		})
	}
	if _, err := w.HashAt(t.Context(), entry.Place{Epoch: 1, Seq: 99}); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("HashAt beyond the head = %v, want ErrNotFound", err)
	}
}

func TestWaitingFollowsTheCursor(t *testing.T) {
	w := create(t)
	s := w.opens(0)          // 2
	w.sells(s, "cash", 1200) // 3
	w.sells(s, "card", 500)  // 4
	w.moves(&s, -300)        // 5
	w.sells(s, "cash", -600) // 6
	at := func(seq uint64) entry.Point {
		t.Helper()
		hash, err := w.HashAt(t.Context(), entry.Place{Epoch: 1, Seq: seq})
		if err != nil {
			t.Fatal(err)
		}
		return entry.Point{Epoch: 1, Seq: seq, Hash: hash}
	}
	steps := []struct {
		acked   uint64
		entries int
		amount  money.Amount
	}{{0, 6, 800}, {2, 4, 800}, {3, 3, -400}, {6, 0, 0}, {4, 2, -900}, {0, 6, 800}, {5, 1, -600}}
	for _, step := range steps {
		if err := w.SetAcked(t.Context(), at(step.acked)); err != nil {
			t.Fatal(err)
		}
		if n, amount := w.Waiting(); n != step.entries || amount != step.amount {
			t.Errorf("acknowledged %d: Waiting = %d, %d, want %d, %d", step.acked, n, amount, step.entries, step.amount)
		}
	}
	w.reopen()
	if n, amount := w.Waiting(); n != 1 || amount != -600 {
		t.Errorf("after reopening: Waiting = %d, %d, want 1, -600", n, amount)
	}
	if got := w.Acked(); len(got) != 1 || got[0] != at(5) {
		t.Errorf("Acked = %v, want 5", got)
	}
	for _, p := range []entry.Point{{Epoch: 1, Seq: 5, Hash: entry.Hash{1}}, {Epoch: 1, Seq: 99}, {Epoch: 7, Seq: 1}} {
		if err := w.SetAcked(t.Context(), p); !errors.Is(err, journal.ErrForked) {
			t.Errorf("SetAcked(%d/%d) = %v, want ErrForked", p.Epoch, p.Seq, err)
		}
	}
}

func TestNotifyIsLevelTriggered(t *testing.T) {
	w := create(t)
	<-w.Notify() // after opening: there may be something
	for range 3 {
		w.append(func(tx *journal.Tx) error { _, err := tx.Add(entry.KindDrawerOpened, newID(), pos.Event{}); return err })
	}
	<-w.Notify()
	select {
	case <-w.Notify():
		t.Error("three entries left two tokens")
	default:
	}
	w.append(func(tx *journal.Tx) error { return tx.SaveCart(journal.Cart{ID: "c", Version: 1, Data: []byte("{}")}) })
	select {
	case <-w.Notify():
		t.Error("a cart woke the uploader")
	default:
	}
}

func TestGenerationAndIncarnationAreDurable(t *testing.T) {
	w := create(t)
	if err := w.SetGeneration(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	if err := w.SetIncarnation(t.Context(), "B"); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	if w.Generation() != 7 || w.Incarnation() != "B" {
		t.Errorf("generation %d, incarnation %q; want 7, B", w.Generation(), w.Incarnation())
	}
}

func TestEpochIsBegunInOneTransaction(t *testing.T) {
	tests := []struct {
		name     string
		why      string
		crash    bool
		sellPast bool // sold between renew and epoch
	}{
		{"on the head", "", false, false},
		{"with a new series", "fork", false, false},
		{"a crash before the nonce file is no copy", "", true, false},
		{"what was sold meanwhile stays in its old epoch", "", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := create(t)
			s := w.opens(0)
			w.sells(s, "cash", 1200)
			nonce, err := w.PendingNonce(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			w.reopen() // a crash before the grant asks again with the same nonce
			if again, err := w.PendingNonce(t.Context()); err != nil || again != nonce || w.Opening().Copy != "" {
				t.Errorf("PendingNonce = %s, %v, want %s; opening %+v", again, err, nonce, w.Opening())
			}
			base := w.Head()
			if tt.sellPast {
				w.sells(s, "cash", 1200)
			}
			crash := errors.New("crash")
			if tt.crash {
				w.reopen(func(o *journal.Options) { journal.WithCrash(o, func() error { return crash }) })
			}
			grant := journal.Grant{Epoch: 3, Nonce: nonce, Base: base, Why: tt.why}
			if err := w.BeginEpoch(t.Context(), grant); err != nil && !errors.Is(err, crash) {
				t.Fatal(err)
			}
			w.reopen(func(o *journal.Options) { journal.WithCrash(o, nil) })
			if got := w.Opening(); got.Copy != "" {
				t.Errorf("taken for a copy: %+v", got)
			}
			if err := w.BeginEpoch(t.Context(), grant); err != nil {
				t.Errorf("the same grant again = %v", err)
			}
			if w.Nonce() != nonce {
				t.Errorf("nonce = %s, want %s", w.Nonce(), nonce)
			}
			heads := w.Epochs()
			if len(heads) != 2 || heads[1].Epoch != 3 || heads[1].Base != base || heads[1].Nonce != nonce || heads[1].Head != w.Head() {
				t.Errorf("Epochs = %+v", heads)
			}
			all := w.entries(3)
			if all[0].Kind != entry.KindBegun || all[0].Prev != base.Hash || body[pos.Begun](t, all[0]).Base != base {
				t.Errorf("first entry of the epoch = %+v", all[0])
			}
			o := w.sells(s, "cash", 1200)
			if tagged := strings.Contains(o.Number, "R1."); tagged != (tt.why != "") && !strings.HasPrefix(o.Number, "SHOP1-R1-") {
				t.Errorf("number = %s", o.Number)
			}
			if n, amount := w.Waiting(); tt.sellPast && (n != 6 || amount != 3600) {
				t.Errorf("Waiting = %d, %d, want 6, 3600 over both epochs", n, amount)
			}
			if next, err := w.PendingNonce(t.Context()); err != nil || next == nonce {
				t.Errorf("next pending nonce = %s, %v", next, err)
			}
			for _, g := range []journal.Grant{{Epoch: 3, Nonce: "x", Base: w.Head()}, {Epoch: 2, Nonce: "x", Base: w.Head()}, {Epoch: 9, Nonce: "x", Base: entry.Point{Epoch: 1, Seq: 2, Hash: entry.Hash{1}}}, {Epoch: 9, Base: w.Head()}} {
				if err := w.BeginEpoch(t.Context(), g); !errors.Is(err, journal.ErrEpoch) {
					t.Errorf("BeginEpoch(%+v) = %v, want ErrEpoch", g, err)
				}
			}
		})
	}
}

func TestClosesAreHandedBack(t *testing.T) {
	w := create(t)
	for i := range 3 {
		w.append(func(tx *journal.Tx) error {
			_, err := tx.Add(entry.KindClose, newID(), pos.Close{Session: fmt.Sprintf("01S%d", i), Name: "n", Orders: i})
			return err
		})
	}
	for beyond, want := range map[uint64]int{0: 3, 2: 2, 3: 1, 4: 0} {
		raws, err := w.Closes(t.Context(), []entry.Place{{Epoch: 1, Seq: beyond}})
		if err != nil || len(raws) != want {
			t.Errorf("Closes beyond %d = %d, %v, want %d", beyond, len(raws), err, want)
		}
	}
	w.reopen()
	w.view(func(tx *journal.Tx) error {
		c, heard, err := tx.HeardClose("01S2")
		if err != nil || !heard || c.Orders != 2 {
			t.Errorf("HeardClose = %+v, %v, %v", c, heard, err)
		}
		_, heard, err = tx.HeardClose("01S9")
		if heard {
			t.Error("a close that was never told is heard")
		}
		return err
	})
}

func TestPruningKeepsWhatTheTillReads(t *testing.T) {
	w := create(t)
	s := w.opens(10000)
	first := w.sells(s, "cash", 1200)
	for range 20 {
		w.sells(s, "cash", 1200)
	}
	w.closes(s, 0)
	s2 := w.opens(35200)
	for range 5 {
		w.sells(s2, "cash", 1200)
	}
	w.append(func(tx *journal.Tx) error { // a refund of an order that will be pruned
		o, err := order(tx, s2, newID(), "cash", -1200)
		if err != nil {
			return err
		}
		o.Lines[0].Qty, o.Lines[0].Refund = -1000, &pos.LineRef{Order: first.ID, Line: first.Lines[0].ID}
		_, err = tx.Add(entry.KindOrder, o.ID, o)
		return err
	})
	head := w.Head()
	old := w.o.Clock()
	stable := func(seq uint64) entry.Point {
		hash, err := w.HashAt(t.Context(), entry.Place{Epoch: 1, Seq: seq})
		if err != nil {
			t.Fatal(err)
		}
		return entry.Point{Epoch: 1, Seq: seq, Hash: hash}
	}
	prune := func(name string, p journal.Pruning, want int, wantErr error) {
		t.Helper()
		n, err := w.Prune(t.Context(), p)
		if n != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: Prune = %d, %v, want %d, %v", name, n, err, want, wantErr)
		}
		w.check()
	}
	later := old.Add(time.Hour)
	prune("nothing is stable", journal.Pruning{Before: later}, 0, nil)
	prune("not acknowledged", journal.Pruning{Stable: []entry.Point{stable(10)}, Before: later}, 0, nil)
	if err := w.SetAcked(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	prune("another hash", journal.Pruning{Stable: []entry.Point{{Epoch: 1, Seq: 10, Hash: entry.Hash{1}}}, Before: later}, 0, journal.ErrForked)
	prune("not old enough", journal.Pruning{Stable: []entry.Point{stable(10)}, Before: old.Add(-24 * time.Hour)}, 0, nil)
	prune("up to the stable point", journal.Pruning{Stable: []entry.Point{stable(10)}, Before: later}, 10, nil)
	prune("the same again", journal.Pruning{Stable: []entry.Point{stable(10)}, Before: later}, 0, nil)
	prune("further", journal.Pruning{Stable: []entry.Point{stable(26)}, Before: later}, 16, nil)
	for range 2 {
		if got := w.session(s2.ID); got.Orders != 6 || got.Sums[0].Expected() != 40000 {
			t.Errorf("session = %+v", got)
		}
		w.view(func(tx *journal.Tx) error {
			row, _, _, err := tx.Order(first.ID)
			if row.Number != first.Number || !errors.Is(err, journal.ErrPruned) {
				t.Errorf("Order of a pruned one = %+v, %v, want its row and ErrPruned", row, err)
			}
			if so, err := tx.Refunded(first.ID); err != nil || so[first.Lines[0].ID] != 1000 {
				t.Errorf("Refunded = %v, %v", so, err)
			}
			return nil
		})
		if _, err := w.Read(t.Context(), entry.Place{Epoch: 1, Seq: 5}, 9, 1<<20); !errors.Is(err, journal.ErrPruned) {
			t.Errorf("Read of what is pruned = %v, want ErrPruned", err)
		}
		if got := w.Epochs()[0]; got.Checkpoint.Seq != 26 || got.Head != head {
			t.Errorf("Epochs = %+v, want checkpoint 26", got)
		}
		if raws, err := w.Read(t.Context(), entry.Place{Epoch: 1, Seq: 27}, 9, 1<<20); err != nil || raws[0].At.Seq != 27 {
			t.Errorf("Read from the checkpoint = %v, %v", raws, err)
		}
		if err := w.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.check()
		w.reopen()
	}
	z := w.closes(s2, 0)
	if z.Number != 2 || z.Perpetual.Sales != 26 || z.Perpetual.Refunds != 1 {
		t.Errorf("Z after pruning = %+v", z)
	}
	if n, _ := w.Waiting(); n != 1 {
		t.Errorf("Waiting = %d, want 1", n)
	}
}

func TestBackupIsWholeWhileSelling(t *testing.T) {
	w := create(t)
	s := w.opens(0)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				w.sells(s, "cash", 1200)
			}
		}
	})
	dir := t.TempDir()
	for i := range 5 {
		path := filepath.Join(dir, fmt.Sprintf("b%d.db", i))
		if err := w.Backup(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if err := w.Backup(t.Context(), path); !errors.Is(err, journal.ErrBackupExists) {
			t.Errorf("Backup over a file = %v, want ErrBackupExists", err)
		}
		where := t.TempDir()
		mustWrite(t, filepath.Join(where, "journal.db"), mustRead(t, path))
		o := w.o
		o.Dir, o.ReadOnly = where, true
		j, err := journal.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if report, err := j.Verify(t.Context(), &out); err != nil || !report.OK() {
			t.Errorf("backup: %v\n%s", err, out.String())
		}
		if _, err := j.Append(t.Context(), func(*journal.Tx) error { return nil }); !errors.Is(err, journal.ErrReadOnly) {
			t.Errorf("Append to a journal opened read-only = %v, want ErrReadOnly", err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestShow(t *testing.T) {
	w := create(t)
	s := w.opens(0)
	w.sells(s, "cash", 1200)
	w.sells(s, "cash", 1300)
	var lines, raw bytes.Buffer
	if err := w.Show(t.Context(), &lines, entry.Place{}, entry.Place{}, false); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(lines.String(), "\n"); got != 4 || !strings.Contains(lines.String(), "SHOP1-R1-00001-0002\t1300") {
		t.Errorf("Show = %d lines:\n%s", got, lines.String())
	}
	if err := w.Show(t.Context(), &raw, entry.Place{Epoch: 1, Seq: 3}, entry.Place{Epoch: 1, Seq: 3}, true); err != nil {
		t.Fatal(err)
	}
	if got := entry.HashOf(bytes.TrimSuffix(raw.Bytes(), []byte("\n"))); got.String() == "" || strings.Count(raw.String(), "\n") != 1 {
		t.Errorf("Show of one entry = %s", raw.String())
	} else if hash, err := w.HashAt(t.Context(), entry.Place{Epoch: 1, Seq: 3}); err != nil || hash != got {
		t.Errorf("bytes shown hash to %v, want %v, %v", got, hash, err)
	}
}

// Readers, sellers, the uploader and the keeper at once; for the race
// detector.
func TestAllAtOnce(t *testing.T) {
	w := create(t, func(o *journal.Options) { o.MarkEvery = time.Microsecond })
	s := w.opens(0)
	const sellers, each = 4, 25
	var wg sync.WaitGroup
	for range sellers {
		wg.Go(func() {
			for range each {
				w.sells(s, "cash", 1200)
			}
		})
	}
	wg.Go(func() {
		for n := -1; n < sellers*each+2; {
			<-w.Notify()
			for head := w.Head(); n < int(head.Seq); head = w.Head() {
				if err := w.SetAcked(t.Context(), head); err != nil {
					t.Error(err)
					return
				}
				n = int(head.Seq)
				w.Waiting()
				w.Epochs()
			}
		}
	})
	wg.Go(func() {
		for range 50 {
			w.view(func(tx *journal.Tx) error { _, _, err := tx.Orders(journal.OrderFilter{Limit: 10}); return err })
			if _, err := w.Read(t.Context(), entry.Place{Epoch: 1, Seq: 1}, 10, 1<<20); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() { w.check() })
	wg.Wait()
	if got := w.session(s.ID); got.Orders != sellers*each || got.Receipts != sellers*each {
		t.Errorf("orders %d, receipts %d, want %d", got.Orders, got.Receipts, sellers*each)
	}
	if n, amount := w.Waiting(); n != 0 || amount != 0 {
		t.Errorf("Waiting = %d, %d, want none", n, amount)
	}
}
