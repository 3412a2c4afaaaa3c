package pgtest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFindPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	root := t.TempDir()
	pattern := filepath.Join(root, "*", "bin", "initdb")

	if _, err := findPrograms(pattern); !errors.Is(err, ErrMissing) {
		t.Errorf("findPrograms without PostgreSQL = %v, want ErrMissing", err)
	}
	for _, version := range []string{"9", "15", "13", "old"} {
		bin := filepath.Join(root, version, "bin")
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(bin, "initdb"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got, err := findPrograms(pattern)
	if want := filepath.Join(root, "15", "bin"); err != nil || got != want {
		t.Errorf("findPrograms = %s, %v, want the newest version %s", got, err, want)
	}

	t.Setenv("PATH", filepath.Join(root, "13", "bin"))
	got, err = findPrograms(pattern)
	if want := filepath.Join(root, "13", "bin"); err != nil || got != want {
		t.Errorf("findPrograms = %s, %v, want the one in PATH %s", got, err, want)
	}
}
