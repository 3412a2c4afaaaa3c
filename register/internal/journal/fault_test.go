//go:build linux

package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	bolt "go.etcd.io/bbolt"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/pos"
)

// failing replaces the commits of a journal: the next ones do what faults
// says, in order; afterwards they are bbolt's own.
type failing struct {
	mu     sync.Mutex
	faults []func(*bolt.Tx) error
}

func (f *failing) commit(tx *bolt.Tx) error {
	f.mu.Lock()
	fault := (*bolt.Tx).Commit
	if len(f.faults) > 0 {
		fault = f.faults[0]
		f.faults = f.faults[1:]
	}
	f.mu.Unlock()
	return fault(tx)
}

var errDisk = errors.New("input/output error")

// firstSyncFails is a real commit whose data cannot be synced: bbolt writes
// its pages into the file and the sync of them, on a descriptor that was
// swapped for a pipe, is refused by the kernel.
func firstSyncFails(tx *bolt.Tx) error { return syncFails(tx, false) }

// secondSyncFails is a real commit of which only the last sync, that of the
// meta page, is refused.
func secondSyncFails(tx *bolt.Tx) error { return syncFails(tx, true) }

func syncFails(tx *bolt.Tx, metaOnly bool) (err error) {
	db := tx.DB()
	fd := int(journal.FileOf(db).Fd())
	kept, err := syscall.Dup(fd)
	if err != nil {
		return err
	}
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		return err
	}
	defer func() {
		for _, f := range []int{kept, pipe[0], pipe[1]} {
			err = errors.Join(err, syscall.Close(f))
		}
	}()
	metaPages := int64(2 * os.Getpagesize())
	restore := journal.HookWrites(db, func(real func([]byte, int64) (int, error), b []byte, off int64) (int, error) {
		if err := syscall.Dup3(kept, fd, 0); err != nil {
			return 0, err
		}
		n, err := real(b, off)
		if !metaOnly || off < metaPages {
			err = errors.Join(err, syscall.Dup3(pipe[1], fd, 0))
		}
		return n, err
	})
	defer func() {
		restore()
		err = errors.Join(err, syscall.Dup3(kept, fd, 0))
	}()
	return tx.Commit()
}

// notWritten is a commit that fails before anything is written.
func notWritten(tx *bolt.Tx) error { return errors.Join(errDisk, tx.Rollback()) }

// saysItFailed is a commit that succeeds and reports an error.
func saysItFailed(tx *bolt.Tx) error { return errors.Join(tx.Commit(), errDisk) }

func TestCommitErrorIsSettled(t *testing.T) {
	tests := []struct {
		name   string
		faults []func(*bolt.Tx) error
		want   error // nil: committed, and said so
		held   bool  // whether it is there in the end
	}{
		{"the first sync fails: it was not sold", []func(*bolt.Tx) error{firstSyncFails}, journal.ErrNotCommitted, false},
		{"the second sync fails: it was sold", []func(*bolt.Tx) error{secondSyncFails}, nil, true},
		{"nothing was written: it was not sold", []func(*bolt.Tx) error{notWritten}, journal.ErrNotCommitted, false},
		{"all was written: it was sold", []func(*bolt.Tx) error{saysItFailed}, nil, true},
		{"the second sync fails, and the confirmation too: not known, and there later", []func(*bolt.Tx) error{secondSyncFails, secondSyncFails}, journal.ErrUnknown, true},
		{"the second sync fails, and confirming cannot write", []func(*bolt.Tx) error{secondSyncFails, notWritten, notWritten}, journal.ErrUnknown, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &failing{}
			w := create(t, func(o *journal.Options) { journal.WithCommit(o, f.commit) })
			s := w.opens(0)
			w.sells(s, "cash", 1200)
			head := w.Head()
			id := newID()
			f.faults = slices.Clone(tt.faults)
			r, err := w.Append(t.Context(), func(tx *journal.Tx) error {
				o, err := order(tx, s, id, "cash", 1200)
				if err != nil {
					return err
				}
				_, err = tx.Add(entry.KindOrder, id, o)
				return err
			})
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("Append = %v, want %v", err, tt.want)
			}
			if tt.want == nil && (!r.Recovered || len(r.Points) != 1 || r.Head != w.Head()) {
				t.Errorf("Result = %+v, head %v; want recovered", r, w.Head())
			}
			f.mu.Lock()
			f.faults = nil
			f.mu.Unlock()
			// The till asks again by the operation id, and sells on.
			_, found, err := w.Lookup(t.Context(), id)
			if err != nil || found != tt.held {
				t.Errorf("Lookup = %v, %v, want %v", found, err, tt.held)
			}
			next := w.sells(s, "cash", 1200)
			want := 2
			if tt.held {
				want = 3
			}
			if next.Ordinal != want || w.Head().Seq != head.Seq+uint64(want-1) {
				t.Errorf("next sale is %s at %d, want ordinal %d", next.Number, w.Head().Seq, want)
			}
			w.check()
			w.reopen(func(o *journal.Options) { journal.WithCommit(o, nil) })
			if _, found, err := w.Lookup(t.Context(), id); err != nil || found != tt.held {
				t.Errorf("Lookup after reopening = %v, %v, want %v", found, err, tt.held)
			}
		})
	}
}

func TestJournalThatCannotBeOpenedAgainSaysSo(t *testing.T) {
	f := &failing{}
	w := create(t, func(o *journal.Options) { journal.WithCommit(o, f.commit) })
	s := w.opens(0)
	away := w.file() + ".away"
	f.faults = []func(*bolt.Tx) error{func(tx *bolt.Tx) error {
		return errors.Join(saysItFailed(tx), os.Rename(w.file(), away))
	}}
	sell := func() error {
		_, err := w.Append(t.Context(), func(tx *journal.Tx) error {
			o, err := order(tx, s, newID(), "cash", 1200)
			if err != nil {
				return err
			}
			_, err = tx.Add(entry.KindOrder, o.ID, o)
			return err
		})
		return err
	}
	if err := sell(); !errors.Is(err, journal.ErrUnknown) {
		t.Errorf("Append = %v, want ErrUnknown", err)
	}
	if err := sell(); !errors.Is(err, journal.ErrFailed) {
		t.Errorf("Append while the file is gone = %v, want ErrFailed", err)
	}
	if err := w.View(t.Context(), func(*journal.Tx) error { return nil }); !errors.Is(err, journal.ErrFailed) {
		t.Errorf("View while the file is gone = %v, want ErrFailed", err)
	}
	if err := os.Rename(away, w.file()); err != nil {
		t.Fatal(err)
	}
	if err := sell(); err != nil {
		t.Errorf("Append when the file is back = %v", err)
	}
	if got := w.session(s.ID).Orders; got != 2 {
		t.Errorf("orders = %d, want 2: the one not known of was there", got)
	}
}

func TestPanicOfACallerIsNotTakenForDamage(t *testing.T) {
	w := create(t)
	func() {
		defer func() {
			if p := recover(); p != "mine" {
				t.Errorf("recovered %v, want the caller's own panic", p)
			}
		}()
		_, err := w.Append(t.Context(), func(*journal.Tx) error { panic("mine") })
		t.Errorf("Append returned %v", err)
	}()
	w.opens(0)
}

func TestUseAfterClose(t *testing.T) {
	w := create(t)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
	if _, err := w.Append(t.Context(), func(*journal.Tx) error { return nil }); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Append = %v, want ErrClosed", err)
	}
	if err := w.View(t.Context(), func(*journal.Tx) error { return nil }); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("View = %v, want ErrClosed", err)
	}
	w.Journal = nil
}

func TestDamagedFile(t *testing.T) {
	page := os.Getpagesize()
	tests := []struct {
		name    string
		corrupt func(b []byte) []byte
		want    error
	}{
		{"an empty file is none", func([]byte) []byte { return nil }, journal.ErrNotJournal},
		{"a text is none", func([]byte) []byte { return []byte(strings.Repeat("not a journal ", 1000)) }, journal.ErrNotJournal},
		{"zeros are none", func(b []byte) []byte { return make([]byte, len(b)) }, journal.ErrNotJournal},
		{"both meta pages damaged", func(b []byte) []byte { b[40] ^= 1; b[page+40] ^= 1; return b }, journal.ErrDamaged},
		{"truncated to its meta pages", func(b []byte) []byte { return b[:2*page] }, journal.ErrDamaged},
		{"truncated by the last pages in use", func(b []byte) []byte { return b[:len(b)/2/page*page] }, journal.ErrDamaged},
		{"the head's bytes changed", func(b []byte) []byte {
			return []byte(strings.ReplaceAll(string(b), `"kind":"drawer_opened"`, `"kind":"drawer_OPENED"`))
		}, nil},
		{"an entry within the last thousand changed", func(b []byte) []byte {
			return []byte(strings.ReplaceAll(string(b), `"name":"Coffee"`, `"name":"Toffee"`))
		}, journal.ErrDamaged},
		{"a projection that is no JSON", func(b []byte) []byte {
			return []byte(strings.ReplaceAll(string(b), `{"sessions":`, `("sessions":`))
		}, journal.ErrDamaged},
		{"page numbers shifted in the tree", func(b []byte) []byte {
			for at := 2 * page; at+16 < len(b); at += page {
				b[at] ^= 0x40
			}
			return b
		}, journal.ErrDamaged},
		{"page types flipped", func(b []byte) []byte {
			for at := 2 * page; at+16 < len(b); at += page {
				b[at+8] ^= 0x0f
			}
			return b
		}, journal.ErrDamaged},
		{"element offsets beyond the file", func(b []byte) []byte {
			for at := 2 * page; at+40 < len(b); at += page {
				for i := 20; i < 32; i++ {
					b[at+i] = 0xff
				}
			}
			return b
		}, journal.ErrDamaged},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := create(t)
			s := w.opens(0)
			for range 40 {
				w.sells(s, "cash", 1200)
			}
			w.append(func(tx *journal.Tx) error { _, err := tx.Add(entry.KindDrawerOpened, newID(), pos.Event{}); return err })
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			w.Journal = nil
			damaged := tt.corrupt(used(t, w.file()))
			mustWrite(t, w.file(), damaged)
			j, err := journal.Open(t.Context(), w.o)
			if tt.want == nil {
				// Changed within its sentence: the mark remembers the hash.
				if err != nil {
					t.Fatalf("Open = %v", err)
				}
				if got := j.Opening().Copy; got != "other hash at mark" {
					t.Errorf("Opening = %q, want other hash at mark", got)
				}
				if err := j.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("Open = %v, want %v", err, tt.want)
			}
			if j != nil {
				t.Error("Open returned a journal")
			}
			if got := mustRead(t, w.file()); string(got) != string(damaged) {
				t.Error("a damaged file was written to")
			}
		})
	}
}

// used returns a journal file without what bbolt allocated beyond its pages.
func used(t *testing.T, path string) []byte {
	t.Helper()
	data := mustRead(t, path)
	end := len(data)
	for end > 0 && data[end-1] == 0 {
		end--
	}
	page := os.Getpagesize()
	return data[:min((end+page-1)/page*page, len(data))]
}

// A flip of any single bit is either found when the file is opened, or by
// Verify, or was in a page that is not in use.
func TestFlippedBitsAreFoundOrHarmless(t *testing.T) {
	w := create(t)
	s := w.opens(0)
	for range 12 {
		w.sells(s, "cash", 1200)
	}
	head := w.Head()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w.Journal = nil
	whole := used(t, w.file())
	found, harmless := 0, 0
	for at := 0; at < len(whole); at += 97 {
		damaged := slices.Clone(whole)
		damaged[at] ^= 1 << (at % 8)
		dir := t.TempDir()
		mustWrite(t, filepath.Join(dir, "journal.db"), damaged)
		o := w.o
		o.Dir, o.InstanceDir, o.ReadOnly = dir, w.o.Dir+"/instance", true
		j, err := journal.Open(t.Context(), o)
		if err != nil {
			if !errors.Is(err, journal.ErrDamaged) && !errors.Is(err, journal.ErrForeign) && !errors.Is(err, journal.ErrNotJournal) && !errors.Is(err, journal.ErrNewer) {
				t.Fatalf("flip at %d: Open = %v, which is no sentence about damage", at, err)
			}
			found++
			continue
		}
		report, err := j.Verify(t.Context(), &strings.Builder{})
		switch {
		case err != nil || !report.OK():
			found++
		case j.Head() != head:
			found++ // an older meta page: the mark notices
		default:
			harmless++
		}
		if err := j.Close(); err != nil {
			t.Errorf("flip at %d: Close = %v", at, err)
		}
	}
	t.Logf("%d flips found, %d in bytes not in use", found, harmless)
	if found == 0 {
		t.Error("no flip was found")
	}
}
