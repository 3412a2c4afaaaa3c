//go:build linux

package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// mount makes a mount for one test. It needs root, as CI has; without it the
// test fails and says so.
func mount(t *testing.T, source, target, fstype string, flags uintptr, data string) {
	t.Helper()
	if err := syscall.Mount(source, target, fstype, flags, data); err != nil {
		t.Fatalf("mount %s on %s: %v; this test needs the right to mount (run it as root)", fstype, target, err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(target, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", target, err)
		}
	})
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=1m")
	o := options(t)
	o.Dir, o.InstanceDir = filepath.Join(dir, "data"), filepath.Join(t.TempDir(), "instance")
	j, err := journal.Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	w := &till{TB: t, Journal: j, o: o}
	s := w.opens(0)
	sold := 0
	sell := func() (string, error) {
		id := newID()
		_, err := w.Append(t.Context(), func(tx *journal.Tx) error {
			o, err := order(tx, s, id, "cash", 1200)
			if err != nil {
				return err
			}
			o.Note = string(make([]byte, 2000))
			_, err = tx.Add(entry.KindOrder, id, o)
			return err
		})
		return id, err
	}
	var id string
	for sold < 10_000 {
		if id, err = sell(); err != nil {
			break
		}
		sold++
	}
	if !errors.Is(err, journal.ErrDiskFull) || !errors.Is(err, journal.ErrNotCommitted) {
		t.Fatalf("sale %d on a full disk = %v, want ErrDiskFull and ErrNotCommitted", sold+1, err)
	}
	if _, found, err := w.Lookup(t.Context(), id); err != nil || found {
		t.Errorf("Lookup = %v, %v, want it not there", found, err)
	}
	if _, err := sell(); !errors.Is(err, journal.ErrDiskFull) {
		t.Errorf("sale on a disk that is still full = %v, want ErrDiskFull", err)
	}
	if got := w.session(s.ID); got.Orders != sold || got.Total != 1200*money.Amount(sold) {
		t.Errorf("orders = %d, want the %d that were confirmed", got.Orders, sold)
	}
	if err := w.Backup(t.Context(), filepath.Join(dir, "backup.db")); !errors.Is(err, journal.ErrDiskFull) {
		t.Errorf("Backup onto a full disk = %v, want ErrDiskFull", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "backup.db*")); err != nil || len(left) != 0 {
		t.Errorf("left of the backup: %v, %v", left, err)
	}
	w.check()
	w.reopen() // opening needs no room
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatalf("make room: %v", err)
	}
	if _, err := sell(); err != nil {
		t.Errorf("sale after room was made = %v", err)
	}
	if got := w.session(s.ID); got.Orders != sold+1 || got.Receipts != sold+1 {
		t.Errorf("orders = %d, receipts %d, want %d without a gap", got.Orders, got.Receipts, sold+1)
	}
	w.check()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestCreateOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=16k")
	o := options(t)
	o.Dir, o.InstanceDir = dir, filepath.Join(t.TempDir(), "instance")
	if _, err := journal.Create(t.Context(), o); !errors.Is(err, journal.ErrDiskFull) {
		t.Errorf("Create = %v, want ErrDiskFull", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Create(t.Context(), o)
	if err != nil {
		t.Fatalf("Create after room was made = %v", err)
	}
	if got := j.Opening(); got.Copy != "" {
		t.Errorf("Opening = %+v", got)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

func TestReadOnlyFolder(t *testing.T) {
	w := create(t)
	s := w.opens(0)
	w.sells(s, "cash", 1200)
	head := w.Head()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	before := mustRead(t, w.file())
	t.Run("the journal's", func(t *testing.T) {
		mount(t, w.o.Dir, w.o.Dir, "", syscall.MS_BIND, "")
		if err := syscall.Mount("", w.o.Dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := journal.Open(t.Context(), w.o); !errors.Is(err, journal.ErrReadOnlyDisk) {
			t.Errorf("Open = %v, want ErrReadOnlyDisk", err)
		}
		o := w.o
		o.ReadOnly = true
		j, err := journal.Open(t.Context(), o)
		if err != nil {
			t.Fatalf("Open to read = %v", err)
		}
		if j.Head() != head {
			t.Errorf("head = %v, want %v", j.Head(), head)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		o.Dir = filepath.Join(w.o.Dir, "new")
		if _, err := journal.Create(t.Context(), o); !errors.Is(err, journal.ErrReadOnlyDisk) {
			t.Errorf("Create = %v, want ErrReadOnlyDisk", err)
		}
		if got := mustRead(t, w.file()); string(got) != string(before) {
			t.Error("the file was changed")
		}
	})
	w.open()
}

func TestCreateLeavesWhatIsThere(t *testing.T) {
	w := create(t)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	before := mustRead(t, w.file())
	if _, err := journal.Create(t.Context(), w.o); !errors.Is(err, journal.ErrExists) {
		t.Errorf("Create over a journal = %v, want ErrExists", err)
	}
	if got := mustRead(t, w.file()); string(got) != string(before) {
		t.Error("the journal was changed")
	}
	foreign := w.o
	foreign.Identity.Register = "another"
	if _, err := journal.Open(t.Context(), foreign); !errors.Is(err, journal.ErrForeign) {
		t.Errorf("Open of another's journal = %v, want ErrForeign", err)
	}
	missing := w.o
	missing.Dir = t.TempDir()
	if _, err := journal.Open(t.Context(), missing); !errors.Is(err, journal.ErrMissing) {
		t.Errorf("Open of no journal = %v, want ErrMissing", err)
	}
	if left, err := os.ReadDir(missing.Dir); err != nil || len(left) != 0 {
		t.Errorf("Open of no journal made %v, %v", left, err)
	}
	w.open()
}

// A crash while the journal is made leaves its temporary name, or all of it.
func TestCrashWhileTheJournalIsMade(t *testing.T) {
	o := options(t)
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(o.Dir, "journal.db.new"), []byte("half a journal"))
	if _, err := journal.Open(t.Context(), o); !errors.Is(err, journal.ErrMissing) {
		t.Errorf("Open = %v, want ErrMissing", err)
	}
	j, err := journal.Create(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	w := &till{TB: t, Journal: j, o: o}
	if got := w.entries(1); len(got) != 1 || got[0].Kind != entry.KindBegun || body[pos.Begun](t, got[0]).Copy {
		t.Errorf("entries = %v", got)
	}
	w.check()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(o.Dir, "*.new")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v", fmt.Sprint(left, err))
	}
}
