package journal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/pos"
)

// The test binary is its own child: with childEnv set it does what the
// variable says, in the folder that dirEnv names.
const (
	childEnv = "JOURNAL_TEST_CHILD"
	dirEnv   = "JOURNAL_TEST_DIR"
)

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "sell":
		if err := childSells(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "open":
		o := childOptions()
		o.LockTimeout = 100 * time.Millisecond
		j, err := journal.Open(context.Background(), o)
		fmt.Println(errors.Is(err, journal.ErrLocked), err)
		if j != nil {
			_ = j.Close() // the parent looks at what was printed
		}
	}
}

func childOptions() journal.Options {
	c := &clock{}
	c.seconds.Store(time.Now().Unix() % 1_000_000)
	return journal.Options{Dir: os.Getenv(dirEnv), Clock: c.now, LockTimeout: 5 * time.Second, MarkEvery: time.Millisecond}
}

// childSells sells until it is killed; what it prints is acknowledged.
func childSells() error {
	ctx := context.Background()
	j, err := journal.Open(ctx, childOptions())
	if err != nil {
		return err
	}
	if o := j.Opening(); o.Copy != "" {
		return fmt.Errorf("taken for a copy: %s", o.Copy)
	}
	// Ids differ from run to run of the child.
	ids.Store(uint64(time.Now().UnixNano()))
	fmt.Println("ready")
	for i := 0; ; i++ {
		var o pos.Order
		r, err := j.Append(ctx, func(tx *journal.Tx) error {
			s, _, err := tx.Current()
			if err != nil {
				return err
			}
			if o, err = order(tx, s.Stamp, newID(), "cash", 1200); err != nil {
				return err
			}
			if err := tx.SaveCart(journal.Cart{ID: "next", Version: i + 1, Data: []byte(`"` + o.ID + `"`)}); err != nil && !errors.Is(err, journal.ErrCartVersion) {
				return err
			}
			_, err = tx.Add(entry.KindOrder, o.ID, o)
			return err
		})
		if err != nil {
			return err
		}
		fmt.Printf("%s %s %d\n", o.ID, o.Number, r.Head.Seq)
		if i%50 == 49 {
			if err := j.SetAcked(ctx, r.Head); err != nil {
				return err
			}
		}
	}
}

// TestKilledTillLosesAndDoublesNothing kills a selling till many times with
// SIGKILL: every acknowledged order is there once, numbers are neither issued
// again nor skipped, and a kill is never taken for a copy. (I1, field A1)
func TestKilledTillLosesAndDoublesNothing(t *testing.T) {
	w := create(t)
	w.opens(10000)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w.Journal = nil
	acked := map[string]string{}
	numbers := map[string]bool{}
	const kills = 40
	for range kills {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"=sell", dirEnv+"="+w.o.Dir)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		left := 1 + rand.IntN(60)
		for lines.Scan() {
			var id, number string
			var seq uint64
			if _, err := fmt.Sscan(lines.Text(), &id, &number, &seq); err == nil {
				if numbers[number] {
					t.Fatalf("number %s is acknowledged twice", number)
				}
				numbers[number], acked[id] = true, number
			}
			if left--; left == 0 {
				if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil || stderr.Len() > 0 {
			t.Fatalf("child ended with %v, %s", err, stderr.String())
		}
	}
	w.open()
	if o := w.Opening(); o.Copy != "" {
		t.Errorf("after the kills the journal is taken for a copy: %s", o.Copy)
	}
	w.view(func(tx *journal.Tx) error {
		rows, _, err := tx.Orders(journal.OrderFilter{})
		if err != nil {
			return err
		}
		found := map[string]int{}
		for i, r := range rows {
			found[r.Op]++
			if want := fmt.Sprintf("SHOP1-R1-00001-%04d", len(rows)-i); r.Number != want {
				t.Errorf("order %s has number %s, want %s", r.Op, r.Number, want)
			}
		}
		for id, number := range acked {
			if found[id] != 1 {
				t.Errorf("acknowledged order %s (%s) is there %d times", id, number, found[id])
			}
		}
		t.Logf("%d kills, %d orders acknowledged, %d in the journal", kills, len(acked), len(rows))
		if len(rows) > len(acked)+kills {
			t.Errorf("%d orders for %d acknowledged and %d kills", len(rows), len(acked), kills)
		}
		return nil
	})
}

func TestSecondProcessIsToldThatTheJournalIsOpen(t *testing.T) {
	w := create(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=open", dirEnv+"="+w.o.Dir)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := string(out); !strings.HasPrefix(got, "true ") || !strings.Contains(got, "Another till program") {
		t.Errorf("second process got %q, want ErrLocked and its sentence", got)
	}
	w.opens(0) // and the first goes on
}
