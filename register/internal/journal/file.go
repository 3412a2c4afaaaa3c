package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	bolt "go.etcd.io/bbolt"

	"tillandsia/register/internal/boltfile"
	"tillandsia/shared/message"
)

const (
	fileName      = "journal.db"
	newSuffix     = ".new"
	beforeRebuild = fileName + ".before-rebuild"
	fileMode      = 0o600
	dirMode       = 0o700
)

// ops are the seams for tests; nil fields mean the real thing.
type ops struct {
	commit   func(*bolt.Tx) error
	openFile func(name string, flag int, mode os.FileMode) (*os.File, error)
	// afterJournal runs between a change of the journal and that of the nonce
	// file: where a crash leaves them apart.
	afterJournal func() error
}

func (o ops) commitTx(tx *bolt.Tx) error {
	if o.commit != nil {
		return o.commit(tx)
	}
	return tx.Commit()
}

// boltOptions are chosen by the figures in limits.md.
//
//   - NoSync and NoGrowSync stay off: what is not synced was not sold.
//   - NoFreelistSync: a commit in a file with 180,000 free pages (after
//     pruning) takes 0.6 ms instead of 1.9 and one page less is written by
//     every other; no damaged free list can make bbolt write over pages in
//     use. The price is a walk over all pages when the file is opened, which
//     also finds damage before anything is written.
//   - FreelistMapType: the list is used in memory only, where the map is the
//     faster one with many free pages.
//   - InitialMmapSize: below it a commit never waits for a reader (Verify,
//     Backup) to let go of the mapping. It takes address space only; not on
//     Windows, where it takes disk space, and not with 32 bits.
func boltOptions(timeout time.Duration, readOnly bool) *bolt.Options {
	o := &bolt.Options{
		Timeout:        timeout,
		NoFreelistSync: true,
		FreelistType:   bolt.FreelistMapType,
		ReadOnly:       readOnly,
		NoStatistics:   true,
	}
	if runtime.GOOS != "windows" && ^uint(0)>>63 == 1 && !readOnly {
		o.InitialMmapSize = 1 << 30
	}
	return o
}

// openFile opens a bbolt file that exists, after having looked at all of it
// under its lock. Whatever is wrong with it is an error with a sentence;
// nothing is written before the file was found whole.
func openFile(ctx context.Context, path string, timeout time.Duration, readOnly bool, o ops) (*bolt.DB, error) {
	if err := boltfile.Sign(path); errors.Is(err, os.ErrNotExist) {
		return nil, ErrMissing.Wrap(err)
	} else if err != nil {
		return nil, diskError(err, ErrDisk)
	}
	if timeout <= 0 {
		timeout = time.Second
	}
	db, err := openBolt(path, boltOptions(timeout, true), o)
	if errors.Is(err, ErrLocked) {
		return nil, err
	}
	// Where bbolt refuses the file, what Inspect finds says more.
	if found := boltfile.Inspect(ctx, path); found != nil {
		err = diskError(found, ErrDisk)
	}
	if err != nil {
		if db != nil {
			err = errors.Join(err, closeBolt(db))
		}
		return nil, err
	}
	if readOnly {
		return db, nil
	}
	if err := closeBolt(db); err != nil {
		return nil, err
	}
	return openBolt(path, boltOptions(timeout, false), o)
}

// openBolt calls bbolt's Open; where that panics on a damaged file the lock is
// let go of.
func openBolt(path string, options *bolt.Options, o ops) (*bolt.DB, error) {
	open := o.openFile
	if open == nil {
		open = os.OpenFile
	}
	var file *os.File
	options.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := open(name, flag, mode)
		file = f
		return f, err
	}
	var db *bolt.DB
	finished := false
	err := guard(func() error {
		var err error
		db, err = bolt.Open(path, fileMode, options)
		finished = true
		return err
	})
	if err != nil {
		if !finished && file != nil {
			err = errors.Join(err, file.Close())
		}
		return nil, diskError(fmt.Errorf("open %s: %w", path, err), ErrDisk)
	}
	return db, nil
}

func closeBolt(db *bolt.DB) error {
	if err := guard(db.Close); err != nil {
		return diskError(fmt.Errorf("close journal: %w", err), ErrDisk)
	}
	return nil
}

// walkBucket visits every key of a bucket and of those in it.
func walkBucket(b *bolt.Bucket) error {
	var last []byte
	return b.ForEach(func(k, v []byte) error {
		if last != nil && string(last) >= string(k) {
			return damaged("keys out of order at %x", k)
		}
		last = append(last[:0], k...)
		if v != nil {
			return nil
		}
		nested := b.Bucket(k)
		if nested == nil {
			return damaged("bucket %q is none", k)
		}
		return walkBucket(nested)
	})
}

// guard runs fn and turns a panic that comes from a damaged file, or a fault
// in the mapped file, into ErrDamaged. Other panics go on.
func guard(fn func() error) error {
	err := boltfile.Guard(fn)
	if errors.Is(err, boltfile.ErrDamaged) && !errors.Is(err, ErrDamaged) {
		return ErrDamaged.Wrap(err)
	}
	return err
}

// replaceFile writes a small file so that there is always an old or a new one.
// durable also syncs it and its folder.
func replaceFile(path string, data []byte, durable bool) (err error) {
	tmp := path + newSuffix
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return diskError(err, ErrDisk)
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return diskError(err, ErrDisk)
	}
	if err := os.Rename(tmp, path); err != nil {
		return diskError(err, ErrDisk)
	}
	if durable {
		return syncDir(filepath.Dir(path))
	}
	return nil
}

// damaged is a finding of ours in a file that bbolt reads.
func damaged(format string, args ...any) *message.Error {
	return ErrDamaged.Wrap(fmt.Errorf(format, args...))
}
