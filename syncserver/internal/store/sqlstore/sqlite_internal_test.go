package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"

	"tillandsia/syncserver/internal/store"
	"tillandsia/syncserver/internal/store/storetest"
)

func openFile(t *testing.T, path string, f *faults) *liteStore {
	t.Helper()
	s, err := Open(t.Context(), Options{Database: path, faults: f})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	l, ok := s.(*liteStore)
	if !ok {
		t.Fatalf("Open gave a %T", s)
	}
	return l
}

func openTemp(t *testing.T, f *faults) *liteStore {
	t.Helper()
	return openFile(t, filepath.Join(t.TempDir(), "server.db"), f)
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		t.Helper()
		return openTemp(t, nil)
	})
	storetest.RunReopen(t, func(t *testing.T) func(t *testing.T) store.Store {
		t.Helper()
		path := filepath.Join(t.TempDir(), "a folder? with % & #", "server.db")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		return func(t *testing.T) store.Store {
			t.Helper()
			return openFile(t, path, nil)
		}
	})
	storetest.RunUnknown(t, func(t *testing.T) (store.Store, storetest.Fault) {
		t.Helper()
		var f faults
		return openTemp(t, &f), f.once
	})
}

var errDisk = errors.New("input/output error")

// once makes the next commit fail, after it happened or before it.
func (f *faults) once(happened bool) {
	hook := &f.beforeCommit
	if happened {
		hook = &f.afterCommit
	}
	*hook = func() error { *hook = nil; return errDisk }
}

// TestSQLiteGroups lets Updates wait while one runs: they share a commit, and
// one that fails takes nothing of the others with it.
func TestSQLiteGroups(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		commits := 0
		f := faults{beforeCommit: func() error { commits++; return nil }}
		s := openTemp(t, &f)
		gate := make(chan struct{})
		results := make([]error, 1+10)
		for i := range results {
			go func() {
				results[i] = s.Update(ctx, func(tx store.Tx) error {
					if i == 0 {
						<-gate
					}
					if err := tx.SetMeta(ctx, strconv.Itoa(i), nil); err != nil {
						return err
					}
					if i%3 == 0 {
						return errDisk
					}
					return nil
				})
			}()
			synctest.Wait()
		}
		close(gate)
		synctest.Wait()
		if commits != 1 {
			t.Errorf("%d commits, want one of the whole group", commits)
		}
		err := s.View(ctx, func(r store.Reader) error {
			for i, result := range results {
				_, err := r.Meta(ctx, strconv.Itoa(i))
				if failed := i%3 == 0; failed != (err != nil) || failed != errors.Is(result, errDisk) {
					t.Errorf("transaction %d = %v, its row: %v", i, result, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestSQLiteGroupsAreBounded lets more wait than fit a group.
func TestSQLiteGroupsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		commits := 0
		f := faults{beforeCommit: func() error { commits++; return nil }}
		s := openTemp(t, &f)
		gate := make(chan struct{})
		for i := range 2 * groupJobs {
			go func() {
				if err := s.Update(ctx, func(tx store.Tx) error { <-gate; return tx.SetMeta(ctx, strconv.Itoa(i), nil) }); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		close(gate)
		synctest.Wait()
		if commits != 2 {
			t.Errorf("%d commits of %d transactions, want 2", commits, 2*groupJobs)
		}
	})
}

// TestSQLiteLostGroup ends the transaction of a group from within, as SQLite
// does by itself when the disk is full: all of it runs again.
func TestSQLiteLostGroup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		s := openTemp(t, nil)
		gate := make(chan struct{})
		runs := make([]int, 4)
		for i := range runs {
			go func() {
				err := s.Update(ctx, func(u store.Tx) error {
					if i == 0 && runs[0] == 0 {
						<-gate
					}
					runs[i]++
					if err := u.SetMeta(ctx, strconv.Itoa(i), nil); err != nil {
						return err
					}
					if i == 2 && runs[i] == 1 {
						_, err := u.(tx).c.(*liteTx).lite.exec(ctx, "ROLLBACK") //nolint:errcheck // it is one
						return err
					}
					return nil
				})
				if err != nil {
					t.Errorf("transaction %d: %v", i, err)
				}
			}()
			synctest.Wait()
		}
		close(gate)
		synctest.Wait()
		if fmt.Sprint(runs) != "[2 2 2 1]" {
			t.Errorf("the transactions ran %v times, want [2 2 2 1]", runs)
		}
		err := s.View(ctx, func(r store.Reader) error {
			for i := range runs {
				if _, err := r.Meta(ctx, strconv.Itoa(i)); err != nil {
					t.Errorf("row of transaction %d: %v", i, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestSQLiteReopens checks that after an unknown outcome new readers wait for
// those that read, whose answer is not waited for.
func TestSQLiteReopens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var f faults
		s := openTemp(t, &f)
		set := func() error {
			return s.Update(ctx, func(tx store.Tx) error { return tx.SetMeta(ctx, "k", nil) })
		}
		f.once(true)
		seen := false
		err := s.View(ctx, func(r store.Reader) error {
			if _, err := r.Meta(ctx, "k"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Meta = %v before", err)
			}
			if err := set(); !errors.Is(err, store.ErrUnknownOutcome) {
				t.Errorf("Update = %v, want %v", err, store.ErrUnknownOutcome)
			}
			go func() {
				if err := s.View(ctx, func(store.Reader) error { seen = true; return nil }); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
			if seen {
				t.Error("a new reader did not wait until the file was opened again")
			}
			if _, err := r.Meta(ctx, "k"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Meta = %v in the old snapshot", err)
			}
			return nil
		})
		synctest.Wait()
		if err != nil || !seen {
			t.Errorf("View = %v; the one after it ran: %v", err, seen)
		}
		if err := set(); err != nil {
			t.Error(err)
		}
	})
}

// TestSQLiteCannotReopen loses the file with the commit.
func TestSQLiteCannotReopen(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var f faults
	s := openTemp(t, &f)
	path := s.opt.Database
	set := func() error {
		return s.Update(ctx, func(tx store.Tx) error { return tx.SetMeta(ctx, "k", nil) })
	}
	get := func() error {
		return s.View(ctx, func(r store.Reader) error { _, err := r.Meta(ctx, "k"); return err })
	}
	f.once(true)
	s.opt.Database = filepath.Join(path, "gone", "server.db")
	if err := set(); !errors.Is(err, store.ErrUnknownOutcome) {
		t.Errorf("Update = %v, want %v", err, store.ErrUnknownOutcome)
	}
	if err := set(); err == nil || errors.Is(err, store.ErrUnknownOutcome) {
		t.Errorf("Update = %v without a file", err)
	}
	if err := get(); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("View = %v without a file", err)
	}
	s.opt.Database = path
	if err := errors.Join(set(), get()); err != nil {
		t.Errorf("when the file is back: %v", err)
	}
}

func TestSQLiteMark(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "server.db")
	identity := func(path string) string {
		t.Helper()
		s, err := Open(t.Context(), Options{Database: path})
		if err != nil {
			t.Fatal(err)
		}
		id, err := s.Identity(t.Context())
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := identity(path)
	copyFile(t, path, filepath.Join(dir, "backup.db"))
	if again := identity(path); again != first {
		t.Error("the identity changed without a reason")
	}
	if other := identity(filepath.Join(dir, "backup.db")); other == first {
		t.Error("a copy elsewhere has the same identity")
	}
	copyFile(t, filepath.Join(dir, "backup.db"), filepath.Join(dir, "older.db"))
	for range 3 {
		identity(path)
	}
	copyFile(t, filepath.Join(dir, "older.db"), path)
	restored := identity(path)
	if restored == first {
		t.Error("an older copy put back has the same identity")
	}
	if again := identity(path); again != restored {
		t.Error("the identity changed after the restore was noticed")
	}
	if err := os.WriteFile(path+markSuffix, []byte("half a ma"), 0o600); err != nil {
		t.Fatal(err)
	}
	if id := identity(path); id == restored || id == "" {
		t.Errorf("identity %q of half a mark", id)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, in.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestSQLiteOfANewerProgram(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "server.db")
	s := openFile(t, path, nil)
	if _, err := s.w.exec(context.Background(), "INSERT INTO migrations (version, name, applied) VALUES (9999, 'later', 0)"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Database: path}); err == nil {
		t.Error("Open = nil of tables that a newer program has made")
	}
	for _, path := range []string{filepath.Join(path, "x"), t.TempDir()} {
		if _, err := Open(t.Context(), Options{Database: path}); err == nil {
			t.Errorf("Open(%s) = nil", path)
		}
	}
	junk := filepath.Join(t.TempDir(), "junk.db")
	if err := os.WriteFile(junk, make([]byte, 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Database: junk}); err == nil {
		t.Error("Open = nil of a file that is no database")
	}
}

// TestMigrations checks that they are numbered without a gap.
func TestMigrations(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{dialectSQLite, dialectPostgres} {
		list, err := migrations(dialect)
		if err != nil || len(list) == 0 {
			t.Fatalf("migrations(%s) = %d, %v", dialect, len(list), err)
		}
		for i, m := range list {
			if m.version != int64(i)+1 {
				t.Errorf("migration %s is number %d", m.name, i+1)
			}
		}
	}
}
