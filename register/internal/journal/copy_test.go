package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/pos"
)

// entries returns all entries of an epoch.
func (w *till) entries(epoch uint64) []entry.Entry {
	w.Helper()
	raws, err := w.Read(w.Context(), entry.Place{Epoch: epoch}, 1<<20, 1<<30)
	if err != nil {
		w.Fatalf("Read = %v", err)
	}
	all := make([]entry.Entry, 0, len(raws))
	for _, r := range raws {
		e, err := entry.Decode(r.Raw)
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func body[T any](t testing.TB, e entry.Entry) T {
	t.Helper()
	b, err := entry.Body[T](&e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCopyIsNoticedOffline(t *testing.T) {
	tests := []struct {
		name string
		// change acts on a closed journal of which a backup was made before
		// the last sales.
		change func(t *testing.T, w *till, backup string)
		want   string
	}{
		{"the same journal, opened again", func(*testing.T, *till, string) {}, ""},
		{"a mark that was lost says nothing", func(t *testing.T, w *till, _ string) {
			if err := os.Remove(filepath.Join(w.o.Dir, "instance", "mark")); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"a mark that a power cut left empty says nothing", func(t *testing.T, w *till, _ string) {
			mustWrite(t, filepath.Join(w.o.Dir, "instance", "mark"), nil)
		}, ""},
		{"the nonce is missing: another machine", func(t *testing.T, w *till, _ string) {
			if err := os.RemoveAll(filepath.Join(w.o.Dir, "instance")); err != nil {
				t.Fatal(err)
			}
		}, "nonce missing"},
		{"the nonce file is damaged", func(t *testing.T, w *till, _ string) {
			mustWrite(t, filepath.Join(w.o.Dir, "instance", "nonce"), []byte("{"))
		}, "nonce missing"},
		{"the nonce is another's", func(t *testing.T, w *till, _ string) {
			mustWrite(t, filepath.Join(w.o.Dir, "instance", "nonce"), []byte(`{"nonce":"00"}`))
		}, "nonce other"},
		{"a backup was put back", func(t *testing.T, w *till, backup string) {
			mustWrite(t, w.file(), mustRead(t, backup))
		}, "head below mark"},
		{"a backup was put back and sold on elsewhere", func(t *testing.T, w *till, backup string) {
			dir := t.TempDir()
			mustWrite(t, filepath.Join(dir, "journal.db"), mustRead(t, backup))
			o := w.o
			o.Dir = dir
			mustWrite(t, filepath.Join(dir, "instance-of-it"), nil)
			if err := os.MkdirAll(filepath.Join(dir, "instance"), 0o700); err != nil {
				t.Fatal(err)
			}
			mustWrite(t, filepath.Join(dir, "instance", "nonce"), mustRead(t, filepath.Join(w.o.Dir, "instance", "nonce")))
			j, err := journal.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for range 9 {
				if _, err := j.Append(t.Context(), func(tx *journal.Tx) error {
					_, err := tx.Add(entry.KindDrawerOpened, newID(), pos.Event{})
					return err
				}); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			mustWrite(t, w.file(), mustRead(t, filepath.Join(dir, "journal.db")))
		}, "other hash at mark"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := create(t)
			s := w.opens(0)
			for range 3 {
				w.sells(s, "cash", 1200)
			}
			backup := filepath.Join(t.TempDir(), "backup.db")
			if err := w.Backup(t.Context(), backup); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				w.sells(s, "cash", 1200)
			}
			nonce := w.Nonce()
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			tt.change(t, w, backup)
			w.open()
			got := w.Opening()
			if got.Copy != tt.want {
				t.Fatalf("Opening = %q, want %q", got.Copy, tt.want)
			}
			o := w.sells(s, "cash", 1200)
			if tt.want == "" {
				if w.Nonce() != nonce || o.Number != "SHOP1-R1-00001-0006" {
					t.Errorf("nonce changed or number = %s, want …-0006", o.Number)
				}
				return
			}
			if w.Nonce() == nonce {
				t.Error("a copy kept its nonce")
			}
			if want := fmt.Sprintf("SHOP1-R1.%s-R1.00001-0001", got.Series); o.Number != want {
				t.Errorf("number = %s, want %s", o.Number, want)
			}
			all := w.entries(1)
			var begun pos.Begun
			var series pos.SeriesBegun
			for i, e := range all[1:] {
				if e.Kind == entry.KindBegun {
					begun, series = body[pos.Begun](t, e), body[pos.SeriesBegun](t, all[i+2])
				}
			}
			if !begun.Copy || begun.Nonce != w.Nonce() || series.Tag != got.Series || !strings.Contains(series.Why, tt.want) {
				t.Errorf("entries of the copy: %+v, %+v", begun, series)
			}
			// Once for one discovery.
			w.reopen()
			if got := w.Opening(); got.Copy != "" {
				t.Errorf("found again: %+v", got)
			}
		})
	}
}

// W10: backup at receipt 0100, printed to 0120, restored offline.
func TestNumbersOfARestoredTill(t *testing.T) {
	w := create(t)
	for range 41 {
		w.closes(w.opens(0), 0)
	}
	s := w.opens(0)
	for range 100 {
		w.sells(s, "cash", 1200)
	}
	backup := filepath.Join(t.TempDir(), "backup.db")
	if err := w.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		w.sells(s, "cash", 1200)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, w.file(), mustRead(t, backup))
	w.open()
	tag := w.Opening().Series
	if !regexp.MustCompile(`^[A-Z][A-Z0-9]{2}$`).MatchString(tag) {
		t.Fatalf("tag = %q", tag)
	}
	if got, want := w.sells(s, "cash", 1200).Number, "SHOP1-R1."+tag+"-R1.00042-0001"; got != want {
		t.Errorf("next receipt = %s, want %s", got, want)
	}
	if got, want := w.sells(s, "cash", 1200).Number, "SHOP1-R1."+tag+"-R1.00042-0002"; got != want {
		t.Errorf("receipt after it = %s, want %s", got, want)
	}
	z := w.closes(s, 0)
	if z.Number != 1 || z.Series != tag {
		t.Errorf("Z = %d of series %q, want 1 of %q", z.Number, z.Series, tag)
	}
	if z.Period.Sales != 102 || z.Perpetual.Sales != 2 {
		t.Errorf("Z covers %d sales, the series %d; want 102 and 2", z.Period.Sales, z.Perpetual.Sales)
	}
	next := w.opens(0)
	if want := "SHOP1/R1." + tag + "/00001"; next.Name != want {
		t.Errorf("next session = %s, want %s", next.Name, want)
	}
	if got, want := w.sells(next, "cash", 1200).Number, "SHOP1-R1."+tag+"-00001-0001"; got != want {
		t.Errorf("receipt in it = %s, want %s", got, want)
	}
	for _, e := range w.entries(1) {
		if e.Kind == entry.KindSeries {
			b := body[pos.SeriesBegun](t, e)
			if b.LastReceipt != "SHOP1-R1-00042-0100" || b.LastSession != "SHOP1/R1/00042" || b.LastZ != 41 || b.Old != "" {
				t.Errorf("series entry = %+v, want last known 0100, 00042, Z 41", b)
			}
		}
	}
	// What the handshake adds does not begin the series again.
	w.append(func(tx *journal.Tx) error {
		_, err := tx.Add(entry.KindSeries, newID(), pos.SeriesBegun{Tag: tag, LastReceipt: "SHOP1-R1-00042-0110", Why: "fetched back"})
		return err
	})
	if got, want := w.sells(next, "cash", 1200).Number, "SHOP1-R1."+tag+"-00001-0002"; got != want {
		t.Errorf("receipt after the handshake = %s, want %s", got, want)
	}
	// A second copy replaces the tag.
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(w.o.Dir, "instance")); err != nil {
		t.Fatal(err)
	}
	w.open()
	second := w.Opening().Series
	if second == tag || second == "" {
		t.Errorf("second tag = %q after %q", second, tag)
	}
	if got, want := w.sells(next, "cash", 1200).Number, fmt.Sprintf("SHOP1-R1.%s-R1.%s.00001-0001", second, tag); got != want {
		t.Errorf("receipt of the second series = %s, want %s", got, want)
	}
}

func TestSeriesTagsAreNeverUsedTwice(t *testing.T) {
	used := map[string]bool{}
	// Bytes that would make A00 again and again, and then others.
	random := bytes.NewReader([]byte{0, 26, 26, 0, 26, 26, 255, 254, 25, 35, 36})
	for _, want := range []string{"A00", "Z9A"} {
		tag, err := journal.NewTag(random, func(tag string) bool { return used[tag] })
		if err != nil || tag != want {
			t.Errorf("tag = %q, %v, want %q", tag, err, want)
		}
		used[tag] = true
	}
	if _, err := journal.NewTag(bytes.NewReader(nil), func(string) bool { return false }); err == nil {
		t.Error("a tag was made of nothing")
	}
}

// A crash between the journal and the nonce file: the discovery is repeated,
// and nothing was sold under the series before.
func TestCrashBetweenJournalAndNonceFile(t *testing.T) {
	w := create(t)
	s := w.opens(0)
	w.sells(s, "cash", 1200)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(w.o.Dir, "instance")); err != nil {
		t.Fatal(err)
	}
	crash := errors.New("crash")
	o := w.o
	journal.WithCrash(&o, func() error { return crash })
	if _, err := journal.Open(t.Context(), o); !errors.Is(err, crash) {
		t.Fatalf("Open = %v, want the crash", err)
	}
	w.open()
	if got := w.Opening(); got.Copy != "nonce missing" {
		t.Errorf("Opening = %+v, want it found again", got)
	}
	if got := w.sells(s, "cash", 1200); got.Ordinal != 1 {
		t.Errorf("first number of the series = %s", got.Number)
	}
}

func TestMarkIsWrittenAtStopAndNeverAhead(t *testing.T) {
	w := create(t, func(o *journal.Options) { o.MarkEvery = time.Hour })
	s := w.opens(0)
	for range 5 {
		w.sells(s, "cash", 1200)
	}
	head := w.Head()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var mark entry.Point
	path := filepath.Join(w.o.Dir, "instance", "mark")
	read := func() {
		t.Helper()
		if _, err := fmt.Sscanf(string(mustRead(t, path)), `{"epoch":%d,"seq":%d`, &mark.Epoch, &mark.Seq); err != nil {
			t.Fatal(err)
		}
	}
	read()
	if mark.Seq != head.Seq {
		t.Errorf("mark at stop = %d, want %d", mark.Seq, head.Seq)
	}
	w.open(func(o *journal.Options) { o.MarkEvery = time.Microsecond })
	for range 50 {
		w.sells(s, "cash", 1200)
		head := w.Head()
		if read(); mark.Seq > head.Seq {
			t.Fatalf("mark %d is ahead of the journal at %d", mark.Seq, head.Seq)
		}
	}
}
