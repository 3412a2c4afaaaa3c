// Package catalogue is the register's cache of what the server sent down:
// products, categories, taxes, methods, reasons, customers, users and
// settings, in a bbolt file of its own beside the journal. It works with no
// server, from the first snapshot on; no remedy for it can harm the journal,
// which it knows nothing of.
//
// # Files
//
//	<dir>/catalogue.db             the cache
//	<instance>/catalogue.key       seals the PIN verifiers in it; left out of backups
//	<dir>/catalogue.db.damaged-…   a cache that could not be read, set aside
//
// # Buckets of catalogue.db
//
//	meta      cursor: handle, revision and sum of what is held, and which of the
//	          two buckets holds it
//	a, b      kind, 0, id → revision, body, sealed PIN; one is held, in the
//	          other a snapshot is gathered
//
// # The checksum
//
// It is [catalogue.Sum] over (kind, id, revision) of every live thing;
// tombstones are not in it, since the two ends may forget them at different
// times. It is carried along from page to page.
package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"tillandsia/register/internal/boltfile"
	"tillandsia/shared/catalogue"
	"tillandsia/shared/message"
	"tillandsia/shared/wire"
)

// Errors that callers test.
var (
	// ErrChecksum is returned by Apply when the state after the last page is
	// not the server's: that page is not taken, what was held stays in use,
	// and Handle is empty, which asks for a snapshot.
	ErrChecksum = errors.New("catalogue checksum differs")
	// ErrGap is returned by Apply for a page that does not continue what is
	// held or gathered: other handle, or a revision beyond it. Nothing is
	// changed; ask again by Handle, or Reset first.
	ErrGap = errors.New("catalogue page does not continue the cache")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("catalogue closed")
	// ErrLocked is returned when another process has the cache open.
	ErrLocked = message.New(message.Conflict, "journal.locked")
)

// Options say how a cache is opened.
type Options struct {
	// Dir is the data folder; it holds catalogue.db.
	Dir string
	// InstanceDir holds catalogue.key, which seals PIN verifiers and is left
	// out of backups. Empty means Dir/instance.
	InstanceDir string
	// PointOfSale is the code of the register's point of sale, Register its
	// id: they name the settings and register shown.
	PointOfSale string
	Register    string
	// Clock names the files that are set aside. Required.
	Clock       func() time.Time
	LockTimeout time.Duration
	Logger      *slog.Logger // may be nil
	// Random makes the key and the nonces of sealing; nil means the system's.
	Random io.Reader
}

const (
	fileName = "catalogue.db"
	fileMode = 0o600
	dirMode  = 0o700
	// formatVersion is that of the file; a file of another one is fetched anew.
	formatVersion = 1
)

var (
	bucketMeta = []byte("meta")
	keyCursor  = []byte("cursor")
)

// cursor says what is held.
type cursor struct {
	Format   int    `json:"format"`
	Handle   string `json:"handle"`
	Revision uint64 `json:"revision"`
	Sum      []byte `json:"sum"`
	Live     string `json:"live"` // the bucket that is held: a or b
}

// aside is the bucket that is not held.
func (c cursor) aside() []byte {
	if c.Live == "a" {
		return []byte("b")
	}
	return []byte("a")
}

// record is a thing as it is kept.
type record struct {
	Revision uint64          `json:"rev"`
	Body     json.RawMessage `json:"body"`
	PIN      []byte          `json:"pin,omitempty"` // sealed
}

// Catalogue is an open cache. All methods may be called concurrently.
type Catalogue struct {
	o    Options
	path string
	log  *slog.Logger
	seal *sealer

	mu     sync.Mutex // held by whoever changes the cache
	db     *bolt.DB
	cursor cursor
	// gathered is how far a snapshot is gathered aside.
	gathered *cursor

	view atomic.Pointer[View]
}

// Open opens the cache, making an empty one where there is none. A damaged
// file is set aside (catalogue.db.damaged-…) and an empty one made: the handle
// is then empty and the server sends a snapshot. Where the key is gone, as in
// a backup that was put back, what is held stays in use without its PINs, and
// the handle is empty too.
func Open(ctx context.Context, o Options) (*Catalogue, error) {
	if o.Dir == "" || o.Clock == nil {
		return nil, errors.New("catalogue: Dir and Clock are required")
	}
	if o.InstanceDir == "" {
		o.InstanceDir = filepath.Join(o.Dir, "instance")
	}
	if o.LockTimeout <= 0 {
		o.LockTimeout = time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	for _, dir := range []string{o.Dir, o.InstanceDir} {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return nil, fmt.Errorf("make folder of catalogue: %w", err)
		}
	}
	seal, err := openSealer(filepath.Join(o.InstanceDir, "catalogue.key"), o.Random)
	if err != nil {
		return nil, err
	}
	c := &Catalogue{o: o, path: filepath.Join(o.Dir, fileName), log: o.Logger, seal: seal}
	err = c.open(ctx)
	if err == nil || errors.Is(err, ErrLocked) || ctx.Err() != nil || !isDamage(err) {
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	away := fmt.Sprintf("%s.damaged-%s", c.path, o.Clock().UTC().Format("20060102T150405.000"))
	c.log.WarnContext(ctx, "catalogue is damaged; it is set aside and fetched again", "aside", away, "error", err)
	if err := os.Rename(c.path, away); err != nil {
		return nil, fmt.Errorf("set damaged catalogue aside: %w", err)
	}
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// isDamage tells what is wrong with the file itself from an error of the disk.
func isDamage(err error) bool {
	return errors.Is(err, errDamaged) || errors.Is(err, boltfile.ErrForeign) || errors.Is(err, berrors.ErrInvalid) ||
		errors.Is(err, berrors.ErrChecksum) || errors.Is(err, berrors.ErrVersionMismatch)
}

// errDamaged is damage found by bbolt's reading or by ours.
var errDamaged = boltfile.ErrDamaged

// open opens the file, making an empty one where there is none, and reads all
// of it. One that exists is looked at first, under its lock: bbolt trusts what
// it maps.
func (c *Catalogue) open(ctx context.Context) error {
	if err := boltfile.Sign(c.path); err == nil {
		held, err := c.openBolt(true)
		if errors.Is(err, ErrLocked) {
			return err
		}
		if found := boltfile.Inspect(ctx, c.path); found != nil {
			err = found
		}
		if held != nil {
			err = errors.Join(err, boltfile.Guard(held.Close))
		}
		if err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("open catalogue: %w", err)
	}
	var err error
	if c.db, err = c.openBolt(false); err != nil {
		return err
	}
	if err := boltfile.Guard(func() error { return c.load(ctx) }); err != nil {
		return errors.Join(err, boltfile.Guard(c.db.Close))
	}
	return nil
}

// openBolt calls bbolt's Open; where that panics the lock is let go of. The
// free list is not synced, as in the journal: what Inspect has seen is all
// that bbolt relies on.
func (c *Catalogue) openBolt(readOnly bool) (*bolt.DB, error) {
	var db *bolt.DB
	var file *os.File
	finished := false
	err := boltfile.Guard(func() error {
		var err error
		db, err = bolt.Open(c.path, fileMode, &bolt.Options{
			Timeout: c.o.LockTimeout, ReadOnly: readOnly, NoFreelistSync: true, FreelistType: bolt.FreelistMapType, NoStatistics: true,
			OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
				f, err := os.OpenFile(name, flag, mode)
				file = f
				return f, err
			},
		})
		finished = true
		return err
	})
	if err == nil {
		return db, nil
	}
	if !finished && file != nil {
		err = errors.Join(err, file.Close())
	}
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, ErrLocked.Wrap(err)
	}
	return nil, fmt.Errorf("open catalogue: %w", err)
}

// load reads what is held, checks its sum and makes the view. A damaged file
// is not written to.
func (c *Catalogue) load(ctx context.Context) error {
	held := cursor{Format: formatVersion, Live: "a", Sum: make([]byte, len(catalogue.Sum{}))}
	var things []thing
	var sum catalogue.Sum
	sealed, tidy := true, false
	err := c.db.View(func(tx *bolt.Tx) error {
		if meta := tx.Bucket(bucketMeta); meta != nil {
			if raw := meta.Get(keyCursor); raw != nil {
				if err := json.Unmarshal(raw, &held); err != nil {
					return fmt.Errorf("%w: cursor: %w", errDamaged, err)
				}
			}
			tidy = tx.Bucket([]byte(held.Live)) != nil && isEmpty(tx.Bucket(held.aside()))
		}
		if held.Format != formatVersion || len(held.Sum) != len(catalogue.Sum{}) {
			return fmt.Errorf("%w: format %d", errDamaged, held.Format)
		}
		b := tx.Bucket([]byte(held.Live))
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			t, ok, err := c.thing(k, v)
			if err != nil {
				return err
			}
			sealed = sealed && ok
			sum.Toggle(string(t.kind), t.id, t.revision)
			things = append(things, t)
			return nil
		})
	})
	if err == nil && string(sum[:]) != string(held.Sum) {
		err = fmt.Errorf("%w: sum differs", errDamaged)
	}
	if err == nil && !tidy {
		err = c.db.Update(func(tx *bolt.Tx) error {
			for _, name := range [][]byte{bucketMeta, []byte(held.Live)} {
				if _, err := tx.CreateBucketIfNotExists(name); err != nil {
					return err
				}
			}
			return emptyBucket(tx, held.aside()) // what was replaced, or a snapshot that was cut off
		})
	}
	if err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	if !sealed {
		c.log.WarnContext(ctx, "the key of the catalogue is not the one it was sealed with: PINs are fetched again")
		held.Handle, held.Revision = "", 0
	}
	c.cursor, c.gathered = held, nil
	c.view.Store(newView(c.o.PointOfSale, c.o.Register, held.Handle, held.Revision, things))
	return nil
}

func isEmpty(b *bolt.Bucket) bool {
	if b == nil {
		return false
	}
	k, _ := b.Cursor().First()
	return k == nil
}

// emptyBucket makes a bucket with nothing in it.
func emptyBucket(tx *bolt.Tx, name []byte) error {
	if b := tx.Bucket(name); isEmpty(b) {
		return nil
	} else if b != nil {
		if err := tx.DeleteBucket(name); err != nil {
			return err
		}
	}
	_, err := tx.CreateBucketIfNotExists(name)
	return err
}

// thing decodes what is kept; ok is false where its PIN cannot be opened.
func (c *Catalogue) thing(k, v []byte) (t thing, ok bool, err error) {
	kind, id, found := strings.Cut(string(k), "\x00")
	var r record
	if err := json.Unmarshal(v, &r); err != nil || !found {
		return thing{}, false, fmt.Errorf("%w: thing %q: %w", errDamaged, k, errors.Join(err))
	}
	t = thing{kind: catalogue.Kind(kind), id: id, revision: r.Revision}
	ok = true
	pin := ""
	if len(r.PIN) > 0 {
		if pin, err = c.seal.open(id, r.PIN); err != nil {
			ok, pin = false, ""
		}
	}
	if err := t.decode(r.Body, pin); err != nil {
		return thing{}, false, fmt.Errorf("%w: thing %q: %w", errDamaged, k, err)
	}
	return t, ok, nil
}

// Close closes the cache. It may be called twice.
func (c *Catalogue) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.db == nil {
		return nil
	}
	err := boltfile.Guard(c.db.Close)
	c.db = nil
	if err != nil {
		return fmt.Errorf("close catalogue: %w", err)
	}
	return nil
}

// Handle returns the handle and revision of what is held, for hello and
// delta requests. An empty handle asks for a snapshot.
func (c *Catalogue) Handle() (handle string, revision uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cursor.Handle, c.cursor.Revision
}

// View returns the catalogue as it stands: immutable, never nil.
func (c *Catalogue) View() *View { return c.view.Load() }

// Reset forgets handle and revision, so that the server sends a snapshot. What
// is held stays in use until that is complete.
func (c *Catalogue) Reset(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reset()
}

func (c *Catalogue) reset() error {
	if c.db == nil {
		return ErrClosed
	}
	next := c.cursor
	next.Handle, next.Revision = "", 0
	if err := c.update(func(tx *bolt.Tx) error { return putCursor(tx, next) }); err != nil {
		return fmt.Errorf("reset catalogue: %w", err)
	}
	c.cursor, c.gathered = next, nil
	return nil
}

func (c *Catalogue) update(fn func(tx *bolt.Tx) error) error {
	return boltfile.Guard(func() error { return c.db.Update(fn) })
}

func putCursor(tx *bolt.Tx, c cursor) error {
	raw, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode cursor: %w", err)
	}
	return tx.Bucket(bucketMeta).Put(keyCursor, raw)
}

// Apply takes a page: what it changes and the cursor are stored in one
// transaction, and the View is replaced before it returns. A page with
// Snapshot and From 0 begins a snapshot; its pages are gathered aside and take
// the place of all that is held with the last one. On the last page of either
// the checksum, where there is one, is compared: [ErrChecksum]. [ErrGap] for a
// page that does not continue. A page that is held already changes nothing.
func (c *Catalogue) Apply(ctx context.Context, page wire.Catalogue) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.db == nil {
		return ErrClosed
	}
	var err error
	switch {
	case page.Handle == "":
		err = fmt.Errorf("catalogue page without a handle: %w", ErrGap)
	case page.Snapshot && page.From == 0:
		c.gathered = &cursor{Format: formatVersion, Handle: page.Handle, Live: string(c.cursor.aside()), Sum: make([]byte, len(catalogue.Sum{}))}
		err = c.gather(ctx, page, true)
	case c.gathered != nil && page.Handle == c.gathered.Handle && page.From == c.gathered.Revision:
		err = c.gather(ctx, page, false)
	case page.Handle == c.cursor.Handle && page.From <= c.cursor.Revision:
		err = c.delta(page)
	default:
		err = fmt.Errorf("catalogue page %s %d–%d on %s %d: %w", page.Handle, page.From, page.To, c.cursor.Handle, c.cursor.Revision, ErrGap)
	}
	if errors.Is(err, ErrChecksum) {
		return errors.Join(err, c.reset())
	}
	return err
}

// gather takes a page of a snapshot.
func (c *Catalogue) gather(ctx context.Context, page wire.Catalogue, first bool) error {
	next := *c.gathered
	err := c.update(func(tx *bolt.Tx) error {
		if first {
			if err := emptyBucket(tx, []byte(next.Live)); err != nil {
				return err
			}
		}
		if _, err := c.take(tx, &next, page); err != nil {
			return err
		}
		if page.More {
			return nil
		}
		return putCursor(tx, next)
	})
	if err != nil {
		c.gathered = nil
		return fmt.Errorf("gather catalogue: %w", err)
	}
	if page.More {
		c.gathered = &next
		return nil
	}
	// The whole view is made again, from the file as it is now held.
	return boltfile.Guard(func() error { return c.load(context.WithoutCancel(ctx)) })
}

// delta takes a page of changes.
func (c *Catalogue) delta(page wire.Catalogue) error {
	// An empty last page at the held revision still compares the checksum.
	if page.To <= c.cursor.Revision && (page.More || page.To < c.cursor.Revision) {
		return nil
	}
	next := c.cursor
	var changed []thing
	err := c.update(func(tx *bolt.Tx) error {
		var err error
		if changed, err = c.take(tx, &next, page); err != nil {
			return err
		}
		return putCursor(tx, next)
	})
	if err != nil {
		return fmt.Errorf("change catalogue: %w", err)
	}
	c.cursor, c.gathered = next, nil
	c.view.Store(c.View().with(next.Handle, next.Revision, changed))
	return nil
}

// take writes a page's things into the bucket of a cursor and moves it on; it
// returns what changed.
func (c *Catalogue) take(tx *bolt.Tx, next *cursor, page wire.Catalogue) ([]thing, error) {
	b := tx.Bucket([]byte(next.Live))
	if b == nil {
		return nil, fmt.Errorf("%w: bucket %s is missing", errDamaged, next.Live)
	}
	sum := catalogue.Sum(next.Sum)
	changed := make([]thing, 0, len(page.Things))
	for _, w := range page.Things {
		key := []byte(w.Kind + "\x00" + w.ID)
		if raw := b.Get(key); raw != nil {
			var old record
			if err := json.Unmarshal(raw, &old); err != nil {
				return nil, fmt.Errorf("%w: thing %q: %w", errDamaged, key, err)
			}
			if old.Revision >= w.Revision {
				continue // held already
			}
			sum.Toggle(w.Kind, w.ID, old.Revision)
		}
		t := thing{kind: catalogue.Kind(w.Kind), id: w.ID, revision: w.Revision, deleted: w.Deleted}
		if w.Deleted {
			if err := b.Delete(key); err != nil {
				return nil, err
			}
			changed = append(changed, t)
			continue
		}
		r, pin, err := c.record(w)
		if err != nil {
			return nil, err
		}
		if err := t.decode(r.Body, pin); err != nil {
			return nil, fmt.Errorf("thing %q: %w", key, err)
		}
		raw, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("encode thing %q: %w", key, err)
		}
		if err := b.Put(key, raw); err != nil {
			return nil, err
		}
		sum.Toggle(w.Kind, w.ID, w.Revision)
		changed = append(changed, t)
	}
	if !page.More && page.Checksum != "" && page.Checksum != sum.String() {
		return nil, fmt.Errorf("at %s %d: %w", page.Handle, page.To, ErrChecksum)
	}
	next.Revision, next.Sum = max(next.Revision, page.To), sum[:]
	return changed, nil
}

// record makes what is kept of a thing; the PIN verifier of a user is taken
// out of its body and sealed.
func (c *Catalogue) record(w wire.Thing) (r record, pin string, err error) {
	r = record{Revision: w.Revision, Body: w.Body}
	if catalogue.Kind(w.Kind) != catalogue.KindUser {
		return r, "", nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(w.Body, &fields); err != nil {
		return r, "", fmt.Errorf("user %s: %w", w.ID, err)
	}
	raw, ok := fields["pin"]
	if !ok {
		return r, "", nil
	}
	if err := json.Unmarshal(raw, &pin); err != nil {
		return r, "", fmt.Errorf("pin of user %s: %w", w.ID, err)
	}
	delete(fields, "pin")
	if r.Body, err = json.Marshal(fields); err != nil {
		return r, "", fmt.Errorf("user %s: %w", w.ID, err)
	}
	if pin != "" {
		r.PIN, err = c.seal.seal(w.ID, pin)
	}
	return r, pin, err
}
