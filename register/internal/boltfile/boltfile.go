// Package boltfile looks at a bbolt file without bbolt, which trusts what it
// maps: a damaged page makes it panic, in a goroutine that nobody can recover
// for, read outside the file, or run in a circle until the stack ends. Inspect
// reads the file by ordinary reads and says in an error what is wrong; bbolt
// is let at it only afterwards.
//
// It knows the format of bbolt 1.5 (data version 2), writes nothing and takes
// no lock: the caller holds bbolt's.
package boltfile

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"runtime/debug"
	"strings"
)

// Errors about what is in a file; others are the file system's.
var (
	// ErrForeign is returned for a file that bears no sign of bbolt.
	ErrForeign = errors.New("no bbolt file")
	// ErrDamaged is returned for a bbolt file that was not written so.
	ErrDamaged = errors.New("bbolt file is damaged")
)

// The format, in the machine's byte order:
//
//	page           id 8, flags 2, count 2, overflow 4, then its elements
//	meta           magic 4, version 4, page size 4, flags 4, root 8, sequence 8,
//	               free list 8, pages 8, transaction 8, FNV-64a of what is before 8
//	branch element offset of key from here 4, its size 4, page 8
//	leaf element   flags 4, offset of key from here 4, its size 4, the value's 4
//	bucket (value) root 8, sequence 8, and with root 0 a page within the value
const (
	magic       = 0xED0CDAED
	version     = 2
	headerSize  = 16
	elementSize = 16
	metaSize    = 64
	bucketSize  = 16

	flagBranch     = 0x01
	flagLeaf       = 0x02
	elementBucket  = 0x01
	smallestPage   = 1 << 10
	largestPage    = 16 << 20
	noFreelist     = ^uint64(0)
	maxDepth       = 64
	readAheadAbove = 16 << 20
	readAheadSize  = 1 << 20
)

var order = binary.NativeEndian

type meta struct {
	magic, valid                    bool
	pageSize                        int64
	root, freelist, pages, revision uint64
}

func readMeta(f io.ReaderAt, at int64) meta {
	var buf [headerSize + metaSize]byte
	if _, err := f.ReadAt(buf[:], at); err != nil {
		return meta{}
	}
	b := buf[headerSize:]
	m := meta{
		magic: order.Uint32(b) == magic, pageSize: int64(order.Uint32(b[8:])),
		root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]), pages: order.Uint64(b[40:]), revision: order.Uint64(b[48:]),
	}
	sum := fnv.New64a()
	sum.Write(b[:metaSize-8])
	m.valid = m.magic && order.Uint32(b[4:]) == version && sum.Sum64() == order.Uint64(b[metaSize-8:])
	return m
}

// metas returns the meta page that counts, and whether either bears the sign
// of bbolt.
func metas(f io.ReaderAt, size int64) (m meta, sign bool) {
	first := readMeta(f, 0)
	m, sign = first, first.magic
	for at := int64(smallestPage); at <= largestPage && at < size; at *= 2 {
		second := readMeta(f, at)
		sign = sign || second.magic
		if second.valid && second.pageSize == at {
			if !first.valid || second.revision > first.revision {
				m = second
			}
			break
		}
	}
	return m, sign
}

// Sign reports by its error whether there is a file at path that may be bbolt's
// ([ErrForeign]). It may be called while another process writes to it.
func Sign(path string) error {
	return with(path, func(f *os.File, size int64) error {
		if _, sign := metas(f, size); !sign {
			return fmt.Errorf("%w: %s, %d bytes", ErrForeign, path, size)
		}
		return nil
	})
}

func with(path string, fn func(f *os.File, size int64) error) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is no regular file", ErrForeign, path)
	}
	return fn(f, info.Size())
}

// Inspect visits every page in use: each is where it says, of a type that
// fits, used once, its elements within it, its keys in order. A large file is
// read once in order first: with a million entries on a cold disk the pages,
// which lie anywhere, then take as long as one plain read and not 16 seconds.
func Inspect(ctx context.Context, path string) error {
	return with(path, func(f *os.File, size int64) error {
		m, sign := metas(f, size)
		switch {
		case !sign:
			return fmt.Errorf("%w: %s, %d bytes", ErrForeign, path, size)
		case !m.valid:
			return fmt.Errorf("%w: no meta page of %s is whole", ErrDamaged, path)
		case m.pageSize < smallestPage || m.pages > uint64(size/m.pageSize):
			return fmt.Errorf("%w: %s is truncated: %d bytes, %d pages of %d", ErrDamaged, path, size, m.pages, m.pageSize)
		}
		if size > readAheadAbove {
			if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, make([]byte, readAheadSize)); err != nil {
				return fmt.Errorf("read %s: %w", path, err)
			}
		}
		i := inspector{ctx: ctx, f: f, meta: m, seen: make([]uint64, m.pages/64+1)}
		if m.freelist != noFreelist {
			if _, err := i.page(m.freelist); err != nil {
				return fmt.Errorf("free list: %w", err)
			}
		}
		return i.tree(m.root, nil, nil, 0)
	})
}

type inspector struct {
	ctx  context.Context //nolint:containedctx // of one call, through a recursion
	f    io.ReaderAt
	meta meta
	seen []uint64 // a bit for each page
}

func broken(id uint64, format string, args ...any) error {
	return fmt.Errorf("%w: page %d: %s", ErrDamaged, id, fmt.Sprintf(format, args...))
}

// page reads a page with its overflow and marks it as used.
func (i *inspector) page(id uint64) ([]byte, error) {
	if err := i.ctx.Err(); err != nil {
		return nil, err
	}
	if id < 2 || id >= i.meta.pages {
		return nil, broken(id, "beyond the %d pages", i.meta.pages)
	}
	at := int64(id) * i.meta.pageSize
	b := make([]byte, i.meta.pageSize)
	if _, err := i.f.ReadAt(b, at); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	if own := order.Uint64(b); own != id {
		return nil, broken(id, "says it is %d", own)
	}
	overflow := uint64(order.Uint32(b[12:]))
	if overflow >= i.meta.pages-id {
		return nil, broken(id, "runs over the end")
	}
	for p := id; p <= id+overflow; p++ {
		if i.seen[p/64]&(1<<(p%64)) != 0 {
			return nil, broken(p, "is used twice")
		}
		i.seen[p/64] |= 1 << (p % 64)
	}
	if overflow > 0 {
		rest := make([]byte, int64(overflow)*i.meta.pageSize)
		if _, err := i.f.ReadAt(rest, at+i.meta.pageSize); err != nil {
			return nil, fmt.Errorf("read page %d: %w", id, err)
		}
		b = append(b, rest...)
	}
	return b, nil
}

// tree visits the pages of a bucket from its root on. Its keys are at or above
// low and below high, where these are given.
func (i *inspector) tree(id uint64, low, high []byte, depth int) error {
	if depth > maxDepth {
		return broken(id, "too deep")
	}
	b, err := i.page(id)
	if err != nil {
		return err
	}
	return i.elements(id, b, low, high, depth)
}

// elements visits those of a page, or of one within a bucket's value.
func (i *inspector) elements(id uint64, b []byte, low, high []byte, depth int) error {
	flags, count := order.Uint16(b[8:]), int(order.Uint16(b[10:]))
	if flags != flagBranch && flags != flagLeaf {
		return broken(id, "of type %#x", flags)
	}
	if headerSize+count*elementSize > len(b) || flags == flagBranch && count == 0 {
		return broken(id, "has %d elements", count)
	}
	type child struct {
		id  uint64
		key []byte
	}
	var children []child
	last := low
	for n := range count {
		at := headerSize + n*elementSize
		e := b[at:]
		leaf := flags == flagLeaf
		var offset, keySize, valueSize int64
		if leaf {
			offset, keySize, valueSize = int64(order.Uint32(e[4:])), int64(order.Uint32(e[8:])), int64(order.Uint32(e[12:]))
		} else {
			offset, keySize = int64(order.Uint32(e)), int64(order.Uint32(e[4:]))
		}
		start := int64(at) + offset
		if start < int64(headerSize+count*elementSize) || start+keySize+valueSize > int64(len(b)) {
			return broken(id, "element %d lies outside of it", n)
		}
		key, value := b[start:start+keySize], b[start+keySize:start+keySize+valueSize]
		switch order := bytes.Compare(key, last); {
		case last != nil && (order < 0 || order == 0 && n > 0), high != nil && bytes.Compare(key, high) >= 0:
			return broken(id, "key %d is out of order", n)
		}
		last = key
		switch {
		case !leaf:
			children = append(children, child{order.Uint64(e[8:]), key})
		case order.Uint32(e) == elementBucket:
			if err := i.bucket(id, value, depth); err != nil {
				return err
			}
		case order.Uint32(e) != 0:
			return broken(id, "element %d has flags %#x", n, order.Uint32(e))
		}
	}
	for n, c := range children {
		upper := high
		if n+1 < len(children) {
			upper = children[n+1].key
		}
		if err := i.tree(c.id, c.key, upper, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// bucket visits a nested bucket.
func (i *inspector) bucket(id uint64, value []byte, depth int) error {
	if len(value) < bucketSize {
		return broken(id, "holds a bucket of %d bytes", len(value))
	}
	if root := order.Uint64(value); root != 0 {
		return i.tree(root, nil, nil, depth+1)
	}
	inline := value[bucketSize:]
	if depth > maxDepth || len(inline) < headerSize || order.Uint16(inline[8:]) != flagLeaf {
		return broken(id, "holds a bucket that is none")
	}
	return i.elements(id, inline, nil, nil, depth+1)
}

// Guard runs fn and turns a panic of bbolt, or a fault in its mapping, into
// [ErrDamaged]: what happens to a file that is damaged while it is open. Other
// panics go on.
func Guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			fault, ok := p.(interface{ Addr() uintptr })
			if (!ok || fault.Addr() == 0) && !strings.Contains(string(debug.Stack()), "go.etcd.io/bbolt") {
				panic(p)
			}
			err = fmt.Errorf("%w: %v", ErrDamaged, p)
		}
	}()
	return fn()
}
