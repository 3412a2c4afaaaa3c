package sqlstore

import (
	"errors"
	"path/filepath"
	"testing"

	"tillandsia/syncserver/internal/store"
	"tillandsia/syncserver/internal/store/storetest"
)

func openFile(t *testing.T, path string, f *faults) store.Store {
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
	return s
}

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return openFile(t, filepath.Join(t.TempDir(), "server.db"), nil)
	})
	storetest.RunReopen(t, func(t *testing.T) func(t *testing.T) store.Store {
		path := filepath.Join(t.TempDir(), "a folder? with % & #", "server.db")
		makeFolder(t, filepath.Dir(path))
		return func(t *testing.T) store.Store { return openFile(t, path, nil) }
	})
	storetest.RunUnknown(t, func(t *testing.T) (store.Store, storetest.Fault) {
		var f faults
		s := openFile(t, filepath.Join(t.TempDir(), "server.db"), &f)
		return s, func(happened bool) {
			once := func(hook *func() error) {
				*hook = func() error { *hook = nil; return errors.New("input/output error") }
			}
			if happened {
				once(&f.afterCommit)
			} else {
				once(&f.beforeCommit)
			}
		}
	})
}
