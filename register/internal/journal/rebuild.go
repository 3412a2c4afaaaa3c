package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"tillandsia/shared/entry"
	"tillandsia/shared/pos"
)

// compactBytes is how much is copied in one transaction.
const compactBytes = 1 << 20

// Rebuild makes the projections again from the entries, in a new file that
// takes the place of the old one when it is whole; the old one is kept beside
// it as journal.db.before-rebuild. Changes wait meanwhile, and what cannot be
// read is an error that leaves everything as it is.
func (j *Journal) Rebuild(ctx context.Context) error {
	if j.o.ReadOnly {
		return ErrReadOnly
	}
	j.write.Lock()
	defer j.write.Unlock()
	if err := j.ready(ctx); err != nil {
		return err
	}
	tmp := j.path + ".rebuild"
	if err := removeIfThere(tmp); err != nil {
		return diskError(fmt.Errorf("remove what was left of a rebuild: %w", err), ErrDisk)
	}
	err := j.read(func(b *bolt.Tx) error { return j.rebuildInto(ctx, b, tmp) })
	if err != nil {
		return errors.Join(fmt.Errorf("rebuild journal: %w", err), removeIfThere(tmp))
	}
	return j.swap(ctx, tmp)
}

// rebuildInto fills a new file with what is true of this one, and with its
// projections.
func (j *Journal) rebuildInto(ctx context.Context, b *bolt.Tx, path string) (err error) {
	// No sync until all is there: nobody reads it before.
	options := boltOptions(j.o.LockTimeout, false)
	options.NoSync = true
	fresh, err := openBolt(path, options, ops{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBolt(fresh)) }()
	if err := guard(func() error { return bolt.Compact(fresh, j.db, compactBytes) }); err != nil {
		return diskError(fmt.Errorf("copy journal: %w", err), ErrDisk)
	}
	err = fresh.Update(func(f *bolt.Tx) error {
		for _, name := range projections {
			if f.Bucket(name) == nil {
				continue
			}
			if err := f.DeleteBucket(name); err != nil {
				return fmt.Errorf("delete bucket %s: %w", name, err)
			}
		}
		return nil
	})
	if err != nil {
		return diskError(err, ErrDisk)
	}
	if err := project(ctx, b, fresh, j.identity); err != nil {
		return err
	}
	return diskError(fresh.Sync(), ErrDisk)
}

// swap puts a new file in the place of the journal's. There is a whole journal
// under its name at any time.
func (j *Journal) swap(ctx context.Context, tmp string) error {
	j.file.Lock()
	err := func() error {
		defer j.file.Unlock()
		if err := closeBolt(j.db); err != nil {
			return err
		}
		j.db = nil
		old := filepath.Join(j.o.Dir, beforeRebuild)
		if err := removeIfThere(old); err != nil {
			return err
		}
		if err := os.Link(j.path, old); err != nil {
			return fmt.Errorf("keep the journal as it was: %w", err)
		}
		if err := os.Rename(tmp, j.path); err != nil {
			return err
		}
		return syncDir(j.o.Dir)
	}()
	if opened := j.reopen(ctx); opened != nil {
		j.failed = opened
		err = errors.Join(err, opened)
	}
	return diskError(err, ErrDisk)
}

// Backup copies the journal while it is in use: into a temporary file, synced,
// renamed to path, its folder synced. It overwrites nothing
// ([ErrBackupExists]). The instance folder is no part of it.
func (j *Journal) Backup(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return ErrBackupExists.Wrap(fmt.Errorf("%s", path))
	}
	tmp := path + newSuffix
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return diskError(fmt.Errorf("back up journal: %w", err), ErrDisk)
	}
	err = j.read(func(b *bolt.Tx) error {
		_, err := b.WriteTo(f)
		return err
	})
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		// A link replaces nothing that came meanwhile.
		if err = os.Link(tmp, path); errors.Is(err, os.ErrExist) {
			err = ErrBackupExists.Wrap(err)
		} else if err != nil {
			err = os.Rename(tmp, path)
		}
	}
	err = errors.Join(err, removeIfThere(tmp))
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return diskError(fmt.Errorf("back up journal: %w", err), ErrDisk)
	}
	return nil
}

// Show prints the entries from one place to another (inclusive; zero places
// mean the ends): one line each, or, with raw, their bytes, one a line.
func (j *Journal) Show(ctx context.Context, w io.Writer, from, to entry.Place, raw bool) error {
	return j.read(func(b *bolt.Tx) error {
		entries, err := bucket(b, bucketEntries)
		if err != nil {
			return err
		}
		c := entries.Cursor()
		for k, v := c.Seek(placeKey(from)); k != nil; k, v = c.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			at, err := parsePlace(k)
			if err != nil {
				return err
			}
			if !to.IsZero() && to.Less(at) {
				return nil
			}
			if raw {
				_, err = fmt.Fprintf(w, "%s\n", v)
			} else {
				err = showLine(w, at, v)
			}
			if err != nil {
				return fmt.Errorf("show entry: %w", err)
			}
		}
		return nil
	})
}

func showLine(w io.Writer, at entry.Place, raw []byte) error {
	hash := entry.HashOf(raw).Short()
	e, err := entry.Decode(raw)
	if err != nil {
		_, err = fmt.Fprintf(w, "%d/%d\t%s\t%v\n", at.Epoch, at.Seq, hash, err)
		return err
	}
	detail := ""
	body, err := bodyOf(&e)
	if err != nil {
		detail = err.Error()
	}
	switch b := body.(type) {
	case *pos.Order:
		detail = fmt.Sprintf("%s\t%d", b.Number, b.Total)
	case *pos.Receipt:
		detail = fmt.Sprintf("%s\t%d", b.Number, b.Amount)
	case *pos.Move:
		detail = fmt.Sprintf("%s\t%d", b.Reason.Name, b.Amount)
	case *pos.Opened:
		detail = b.Session.Name
	case *pos.Joined:
		detail = b.Session.Name
	case *pos.Counted:
		detail = b.Session.Name
	case *pos.Closed:
		detail = b.Session.Name
	case *pos.Left:
		detail = b.Session.Name
	case *pos.Close:
		detail = b.Name
	case *pos.SeriesBegun:
		detail = b.Tag
	case *pos.Begun:
		detail = b.Nonce
	}
	_, err = fmt.Fprintf(w, "%d/%d\t%s\t%s\t%s\t%s\t%s\n", at.Epoch, at.Seq, hash, e.At.Format(time.RFC3339), e.Kind, e.Op, detail)
	return err
}
