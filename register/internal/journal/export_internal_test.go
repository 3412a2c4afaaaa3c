package journal

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"unsafe"

	bolt "go.etcd.io/bbolt"
)

// WithCommit replaces the commit of bbolt transactions.
func WithCommit(o *Options, commit func(*bolt.Tx) error) { o.ops.commit = commit }

// WithCrash is what happens between a change of the journal and that of the
// nonce file.
func WithCrash(o *Options, crash func() error) { o.ops.afterJournal = crash }

// Corrupt changes the file of a closed journal by a bbolt transaction.
func Corrupt(path string, change func(tx *bolt.Tx) error) error {
	db, err := bolt.Open(path, fileMode, boltOptions(0, false))
	if err != nil {
		return err
	}
	if err := db.Update(change); err != nil {
		return err
	}
	return db.Close()
}

// HookWrites lets before and after run around every write of a bbolt file.
func HookWrites(db *bolt.DB, write func(real func([]byte, int64) (int, error), b []byte, off int64) (int, error)) (restore func()) {
	field := reflect.ValueOf(db).Elem().FieldByName("ops").FieldByName("writeAt")
	at := (*func([]byte, int64) (int, error))(unsafe.Pointer(field.UnsafeAddr()))
	real := *at
	*at = func(b []byte, off int64) (int, error) { return write(real, b, off) }
	return func() { *at = real }
}

// FileOf returns the open file of a bbolt file.
func FileOf(db *bolt.DB) *os.File {
	field := reflect.ValueOf(db).Elem().FieldByName("file")
	return *(**os.File)(unsafe.Pointer(field.UnsafeAddr()))
}

// NewTag is newTag.
func NewTag(random io.Reader, used func(string) bool) (string, error) { return newTag(random, used) }

// VerifyUnopened verifies a file whose chain Open would refuse.
func VerifyUnopened(ctx context.Context, o Options, w io.Writer) (Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Report{}, err
	}
	j := &Journal{o: o, path: filepath.Join(o.Dir, fileName), log: o.Logger, identity: o.Identity}
	if j.db, err = openFile(ctx, j.path, o.LockTimeout, true, ops{}); err != nil {
		return Report{}, err
	}
	r, err := j.Verify(ctx, w)
	return r, errors.Join(err, closeBolt(j.db))
}
