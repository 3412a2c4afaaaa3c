package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"tillandsia/shared/message"
)

const (
	fileName      = "journal.db"
	newSuffix     = ".new"
	beforeRebuild = fileName + ".before-rebuild"
	fileMode      = 0o600
	dirMode       = 0o700

	// readAheadAbove is the size from which the file is read once in order
	// before its pages are walked: 16 s become those of a plain read on a cold
	// disk with a million entries.
	readAheadAbove = 16 << 20
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
func boltOptions(timeout time.Duration, readOnly bool, open func(string, int, os.FileMode) (*os.File, error)) *bolt.Options {
	o := &bolt.Options{
		Timeout:        timeout,
		NoFreelistSync: true,
		FreelistType:   bolt.FreelistMapType,
		ReadOnly:       readOnly,
		OpenFile:       open,
		NoStatistics:   true,
	}
	if runtime.GOOS != "windows" && ^uint(0)>>63 == 1 && !readOnly {
		o.InitialMmapSize = 1 << 30
	}
	return o
}

// openFile opens a bbolt file that exists, after having looked at all of it.
// Whatever is wrong with it is an error with a sentence; nothing is written
// before the file was found whole.
func openFile(ctx context.Context, path string, timeout time.Duration, readOnly bool, o ops) (*bolt.DB, error) {
	if err := inspect(path); err != nil {
		return nil, err
	}
	if timeout <= 0 {
		timeout = time.Second
	}
	db, err := openBolt(path, boltOptions(timeout, true, nil), o)
	if err != nil {
		return nil, err
	}
	err = guard(func() error { return walk(ctx, db) })
	if err != nil || readOnly {
		if err != nil {
			return nil, errors.Join(err, closeBolt(db))
		}
		return db, nil
	}
	if err := closeBolt(db); err != nil {
		return nil, err
	}
	return openBolt(path, boltOptions(timeout, false, nil), o)
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

// The meta page of bbolt, after a page header of 16 bytes, in the machine's
// byte order: magic 4, version 4, page size 4, flags 4, root 16, free list 8,
// pages 8, transaction 8, FNV-64a of what is before.
const (
	boltMagic     = 0xED0CDAED
	pageHeader    = 16
	metaSize      = 64
	smallestPage  = 1 << 10
	largestPage   = 16 << 20
	metaChecksum  = 56
	metaPages     = 40
	metaTxid      = 48
	metaPageSize  = 8
	metaVersion   = 4
	boltFormat    = 2
	readAheadSize = 1 << 20
)

type meta struct {
	magic, valid bool
	pageSize     int64
	pages, txid  uint64
}

func readMeta(f *os.File, at int64) meta {
	var buf [pageHeader + metaSize]byte
	if _, err := f.ReadAt(buf[:], at); err != nil {
		return meta{}
	}
	b := buf[pageHeader:]
	order := binary.NativeEndian
	m := meta{
		magic:    order.Uint32(b) == boltMagic,
		pageSize: int64(order.Uint32(b[metaPageSize:])),
		pages:    order.Uint64(b[metaPages:]),
		txid:     order.Uint64(b[metaTxid:]),
	}
	sum := fnv.New64a()
	sum.Write(b[:metaChecksum])
	m.valid = m.magic && order.Uint32(b[metaVersion:]) == boltFormat && sum.Sum64() == order.Uint64(b[metaChecksum:])
	return m
}

// inspect looks at a file before bbolt does: bbolt would fill an empty one,
// and meets a page beyond the end of a truncated one with a fault. A large
// file is read once in order, see readAheadAbove.
func inspect(path string) (err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return ErrMissing.Wrap(err)
	}
	if err != nil {
		return diskError(err, ErrDisk)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return diskError(err, ErrDisk)
	}
	if !info.Mode().IsRegular() {
		return ErrNotJournal.Wrap(fmt.Errorf("%s is no regular file", path))
	}
	first := readMeta(f, 0)
	second, magic := meta{}, first.magic
	for at := int64(smallestPage); at <= largestPage && at < info.Size(); at *= 2 {
		m := readMeta(f, at)
		magic = magic || m.magic
		if m.valid && m.pageSize == at {
			second = m
			break
		}
	}
	last := first
	if !first.valid || second.valid && second.txid > first.txid {
		last = second
	}
	switch {
	case !magic:
		return ErrNotJournal.Wrap(fmt.Errorf("%s, %d bytes, bears no sign of bbolt", path, info.Size()))
	case !last.valid:
		return ErrDamaged.Wrap(fmt.Errorf("%s: both meta pages are damaged", path))
	case last.pages > uint64(info.Size()/last.pageSize):
		return ErrDamaged.Wrap(fmt.Errorf("%s is truncated: %d bytes, %d pages of %d", path, info.Size(), last.pages, last.pageSize))
	}
	if info.Size() > readAheadAbove {
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, readAheadSize)); err != nil {
			return diskError(fmt.Errorf("read %s: %w", path, err), ErrDisk)
		}
	}
	return nil
}

// walk visits every page in use, in this goroutine: bbolt does so in one of
// its own when it opens the file for writing, where a panic over a damaged
// page would end the program.
func walk(ctx context.Context, db *bolt.DB) error {
	return db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return walkBucket(b)
		})
	})
}

func walkBucket(b *bolt.Bucket) error {
	var last []byte
	return b.ForEach(func(k, v []byte) error {
		if last != nil && string(last) >= string(k) {
			return ErrDamaged.Wrap(fmt.Errorf("keys out of order at %x", k))
		}
		last = append(last[:0], k...)
		if v == nil {
			nested := b.Bucket(k)
			if nested == nil {
				return ErrDamaged.Wrap(fmt.Errorf("bucket %q is none", k))
			}
			return walkBucket(nested)
		}
		return nil
	})
}

// guard runs fn and turns a panic that comes from a damaged file, or a fault
// in the mapped file, into ErrDamaged. Other panics go on.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			if !damage(p) {
				panic(p)
			}
			err = ErrDamaged.Wrap(fmt.Errorf("%v", p))
		}
	}()
	return fn()
}

// damage tells a panic of bbolt, or a fault in its mapping, from one of a
// program that uses it. It is called while the panic is being recovered from.
func damage(p any) bool {
	if fault, ok := p.(interface{ Addr() uintptr }); ok && fault.Addr() != 0 {
		return true
	}
	return strings.Contains(string(debug.Stack()), "go.etcd.io/bbolt")
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
