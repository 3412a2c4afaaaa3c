//go:build !windows

package journal

import (
	"errors"
	"fmt"
	"os"
)

// syncDir makes a rename in a folder durable.
func syncDir(dir string) (err error) {
	f, err := os.Open(dir)
	if err != nil {
		return diskError(err, ErrDisk)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Sync(); err != nil {
		return diskError(fmt.Errorf("sync folder %s: %w", dir, err), ErrDisk)
	}
	return nil
}
