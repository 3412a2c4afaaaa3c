package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	bolt "go.etcd.io/bbolt"

	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// Identity says whose journal it is.
type Identity struct {
	PointOfSale string `json:"pos"`      // code of the point of sale: SHOP1
	Register    string `json:"register"` // id of the register, a ULID
	Code        string `json:"code"`     // code of the register: R1
}

// Options say how a journal is opened.
type Options struct {
	// Dir is the data folder; it holds journal.db.
	Dir string
	// InstanceDir holds nonce and mark and is left out of backups. Empty
	// means Dir/instance.
	InstanceDir string
	// Identity must be that of the journal; empty means whatever it is.
	Identity Identity
	// Clock tells the time. Required.
	Clock func() time.Time
	// LockTimeout is how long Open waits for another process to let go.
	LockTimeout time.Duration
	// Logger may be nil.
	Logger *slog.Logger
	// Software is the program's name and version, for begun entries and Z
	// reports.
	Software string
	// MarkEvery is how often the high-water mark and what was acknowledged
	// are written at most; 0 means once a second.
	MarkEvery time.Duration
	// ReadOnly opens for Verify, Show and Backup only: nothing is written, no
	// copy looked for. It still needs the lock of a running till.
	ReadOnly bool
	// Epoch and Base are those that enrolment was given; Create only. Epoch 0
	// means 1, on no base.
	Epoch uint64
	Base  entry.Point
	// Nonce is the one that enrolment told the server; Create only. Empty
	// means a new one.
	Nonce string
	// Random makes nonces, series tags and operation ids of the journal's own
	// entries; nil means the system's.
	Random io.Reader

	ops ops
}

// Result is what a commit made durable.
type Result struct {
	// Points of the entries added, in order.
	Points []entry.Point
	// Head of the journal after it.
	Head entry.Point
	// Recovered says that the commit reported an error, and that the journal,
	// opened again, was found to hold it durably.
	Recovered bool
}

// Raw is an entry as it travels.
type Raw struct {
	At  entry.Point
	Raw []byte
}

// Grant is an epoch that the server gave.
type Grant struct {
	Epoch uint64
	Nonce string
	Base  entry.Point
	// Why, if set, begins a new number series for this discovery ("fork",
	// "rolled back"). A copy found offline has begun its own already: empty.
	Why string
}

// Opening says what opening the journal found.
type Opening struct {
	// Copy says that the journal is a copy, and why: "nonce missing", "nonce
	// other", "head below mark", "other hash at mark". A new series has begun.
	Copy string
	// Series is the tag that was begun.
	Series string
}

// Journal is an open journal. All methods may be called concurrently; changes
// are made one at a time.
//
// Locks are taken in this order: write, cursor, file, status.
type Journal struct {
	o        Options
	path     string
	log      *slog.Logger
	instance instance
	identity Identity
	opening  Opening

	// write is held by whoever changes the journal, and while it is opened
	// again after an error.
	write  sync.Mutex
	failed error // why the file is not open, guarded by write

	// file guards db: readers share it, opening again takes it alone.
	file sync.RWMutex
	db   *bolt.DB // nil while the file is not open

	// cursor is held by whoever moves acked.
	cursor sync.Mutex

	status sync.Mutex
	known  known
	closed bool

	notify chan struct{}
	keep   chan struct{} // wakes the keeper
	stop   context.CancelFunc
	kept   chan struct{} // closed when the keeper has ended
}

// known is what is known without reading the file.
type known struct {
	head        entry.Point
	epochs      []epochState
	moved       money.Amount
	ackedMoved  money.Amount
	generation  uint64
	incarnation string
	nonce       string
	pending     string
}

// epochState is an epoch in memory.
type epochState struct {
	epoch uint64
	epochRecord
	head, acked entry.Point
}

const dirName = "instance"

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" || o.Clock == nil {
		return o, errors.New("journal: Dir and Clock are required")
	}
	if o.InstanceDir == "" {
		o.InstanceDir = filepath.Join(o.Dir, dirName)
	}
	if o.LockTimeout <= 0 {
		o.LockTimeout = time.Second
	}
	if o.MarkEvery <= 0 {
		o.MarkEvery = time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Random == nil {
		o.Random = systemRandom
	}
	return o, nil
}

// Create makes the journal of a newly enrolled register and opens it. The
// file is filled under a temporary name, synced, renamed, the folder synced:
// half a journal cannot exist. [ErrExists] where one stands already.
func Create(ctx context.Context, o Options) (*Journal, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if !pos.ValidCode(o.Identity.PointOfSale) || !pos.ValidCode(o.Identity.Code) || o.Identity.Register == "" {
		return nil, fmt.Errorf("create journal: identity %+v is incomplete", o.Identity)
	}
	if o.Epoch == 0 {
		o.Epoch = 1
	}
	if o.Nonce == "" {
		if o.Nonce, err = newNonce(o.Random); err != nil {
			return nil, err
		}
	}
	for _, dir := range []string{o.Dir, o.InstanceDir} {
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return nil, diskError(fmt.Errorf("make folder: %w", err), ErrDisk)
		}
	}
	path := filepath.Join(o.Dir, fileName)
	if _, err := os.Lstat(path); err == nil {
		return nil, ErrExists.Wrap(fmt.Errorf("%s", path))
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, diskError(err, ErrDisk)
	}
	tmp := path + newSuffix
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, diskError(fmt.Errorf("remove what was left of a journal: %w", err), ErrDisk)
	}
	if err := fill(tmp, o); err != nil {
		return nil, errors.Join(err, removeIfThere(tmp))
	}
	// The nonce stands before the journal does: a crash between them must not
	// look like a copy. A mark of an earlier journal would.
	i := instance{dir: o.InstanceDir}
	if err := errors.Join(i.removeMark(), i.writeNonces(nonces{Nonce: o.Nonce})); err != nil {
		return nil, errors.Join(err, removeIfThere(tmp))
	}
	// A link, unlike a rename, does not replace a journal that another process
	// has made meanwhile.
	if err := os.Link(tmp, path); err != nil {
		if !errors.Is(err, os.ErrExist) {
			err = os.Rename(tmp, path) // a file system without links
		}
		if err != nil {
			return nil, diskError(errors.Join(err, removeIfThere(tmp)), ErrDisk)
		}
	}
	if err := errors.Join(removeIfThere(tmp), syncDir(o.Dir)); err != nil {
		return nil, diskError(err, ErrDisk)
	}
	return Open(ctx, o)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// fill makes a whole journal with its first entry.
func fill(path string, o Options) error {
	db, err := openBolt(path, boltOptions(o.LockTimeout, false), o.ops)
	if err != nil {
		return err
	}
	j := &Journal{o: o, identity: o.Identity}
	err = func() error {
		b, err := db.Begin(true)
		if err != nil {
			return err
		}
		err = layOut(b, o)
		if err == nil {
			tx := j.newTx(b, entry.Point{Epoch: o.Epoch, Hash: o.Base.Hash}, o.now())
			_, err = tx.Add(entry.KindBegun, j.newOp(tx.now), pos.Begun{Nonce: o.Nonce, Base: o.Base, Software: o.Software})
			err = errors.Join(err, tx.finish())
		}
		if err != nil {
			return errors.Join(err, b.Rollback())
		}
		return o.ops.commitTx(b)
	}()
	return diskError(errors.Join(err, closeBolt(db)), ErrDisk)
}

// layOut makes the buckets of a new journal.
func layOut(b *bolt.Tx, o Options) error {
	for _, name := range append(truths, projections...) {
		if _, err := b.CreateBucketIfNotExists(name); err != nil {
			return fmt.Errorf("make bucket %s: %w", name, err)
		}
	}
	base := b.Bucket(bucketBase)
	for _, name := range projections {
		if _, err := base.CreateBucketIfNotExists(name); err != nil {
			return fmt.Errorf("make bucket base/%s: %w", name, err)
		}
	}
	start := entry.Point{Epoch: o.Epoch, Hash: o.Base.Hash}
	return errors.Join(
		put(b.Bucket(bucketFile), keyFormat, formatVersion),
		put(b.Bucket(bucketFile), keyIdentity, o.Identity),
		put(b.Bucket(bucketEpochs), epochKey(o.Epoch), epochRecord{Nonce: o.Nonce, Base: o.Base, Checkpoint: start}),
	)
}

// now is the clock reading for entries: UTC, to the microsecond.
func (o Options) now() time.Time { return o.Clock().UTC().Truncate(time.Microsecond) }

// newOp makes the operation id of an entry of the journal's own.
func (j *Journal) newOp(now time.Time) string {
	return ulid.MustNew(ulid.Timestamp(now), j.o.Random).String()
}

// Open opens a journal. It waits o.LockTimeout for another process, checks
// the shape of the file and the end of the chain, finds out whether the
// journal is a copy, and then begins a new series before it returns (see
// [Journal.Opening]).
func Open(ctx context.Context, o Options) (*Journal, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	j := &Journal{
		o: o, path: filepath.Join(o.Dir, fileName), log: o.Logger, instance: instance{dir: o.InstanceDir},
		notify: make(chan struct{}, 1), keep: make(chan struct{}, 1), kept: make(chan struct{}),
	}
	if j.db, err = openFile(ctx, j.path, o.LockTimeout, o.ReadOnly, o.ops); err != nil {
		return nil, err
	}
	if err := j.begin(ctx); err != nil {
		return nil, errors.Join(err, closeBolt(j.db))
	}
	keeperCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	j.stop = stop
	if o.ReadOnly {
		close(j.kept)
		return j, nil
	}
	go j.keeper(keeperCtx, j.now().acked())
	j.signal()
	return j, nil
}

// begin reads a file that was just opened, and looks for a copy.
func (j *Journal) begin(ctx context.Context) error {
	if err := guard(func() error { return j.load(ctx) }); err != nil {
		return err
	}
	if want := j.o.Identity; want != (Identity{}) && want != j.identity {
		return ErrForeign.Wrap(fmt.Errorf("journal of %+v, not of %+v", j.identity, want))
	}
	if j.o.ReadOnly {
		return nil
	}
	return j.detectCopy(ctx)
}

// tailChecked is how many entries at the end of the chain are checked when
// the journal is opened; Verify checks all.
const tailChecked = 1000

// load reads identity, epochs and counters, and checks the end of the chain.
func (j *Journal) load(ctx context.Context) error {
	b, err := j.db.Begin(false)
	if err != nil {
		return err
	}
	defer func() { _ = b.Rollback() }() // of a read: it cannot fail
	file, err := bucket(b, bucketFile)
	if err != nil {
		return ErrNotJournal.Wrap(err)
	}
	version, _, err := get[int](file, keyFormat)
	if err != nil {
		return err
	}
	if version > formatVersion {
		return ErrNewer.Wrap(fmt.Errorf("format %d, this program knows %d", version, formatVersion))
	}
	identity, found, err := get[Identity](file, keyIdentity)
	if err != nil {
		return err
	}
	if !found {
		return damaged("no identity")
	}
	for _, name := range append(truths, projections...) {
		if _, err := bucket(b, name); err != nil {
			return err
		}
	}
	k, err := readKnown(b)
	if err != nil {
		return err
	}
	if err := checkTail(ctx, b, k.epochs[len(k.epochs)-1], tailChecked); err != nil {
		return err
	}
	j.identity = identity
	j.setKnown(k)
	return nil
}

// checkTail checks the last entries of an epoch: that they are entries of it,
// in order, each with the hash of the one before.
func checkTail(ctx context.Context, b *bolt.Tx, e epochState, limit uint64) error {
	from := e.Checkpoint
	if e.head.Seq > limit && e.head.Seq-limit > from.Seq {
		at := entry.Place{Epoch: e.epoch, Seq: e.head.Seq - limit}
		hash, err := hashAt(b, at)
		if err != nil {
			return damaged("entry %d/%d: %w", at.Epoch, at.Seq, err)
		}
		from = entry.Point{Epoch: at.Epoch, Seq: at.Seq, Hash: hash}
	}
	_, err := followChain(ctx, b, from, func(*entry.Entry, []byte) error { return nil })
	return err
}

// followChain reads the entries of an epoch after a point and checks each.
func followChain(ctx context.Context, b *bolt.Tx, from entry.Point, visit func(*entry.Entry, []byte) error) (entry.Point, error) {
	entries, err := bucket(b, bucketEntries)
	if err != nil {
		return from, err
	}
	c := entries.Cursor()
	for k, v := c.Seek(placeKey(entry.Place{Epoch: from.Epoch, Seq: from.Seq + 1})); k != nil; k, v = c.Next() {
		at, err := parsePlace(k)
		if err != nil {
			return from, err
		}
		if at.Epoch != from.Epoch {
			break
		}
		if err := ctx.Err(); err != nil {
			return from, err
		}
		e, err := entry.Decode(v)
		if err != nil {
			return from, damaged("entry %d/%d: %w", at.Epoch, at.Seq, err)
		}
		if e.Place() != at {
			return from, damaged("entry %d/%d says it is %d/%d", at.Epoch, at.Seq, e.Epoch, e.Seq)
		}
		if err := entry.Follows(from, &e); err != nil {
			return from, damaged("%w", err)
		}
		from = entry.Point{Epoch: at.Epoch, Seq: at.Seq, Hash: entry.HashOf(v)}
		if err := visit(&e, v); err != nil {
			return from, err
		}
	}
	return from, nil
}

// detectCopy finds out whether this journal was copied from another instance,
// or put back, and if so begins a new number series before anything is sold:
// the new nonce in the journal first, then the file.
func (j *Journal) detectCopy(ctx context.Context) error {
	if err := os.MkdirAll(j.instance.dir, dirMode); err != nil {
		return diskError(fmt.Errorf("make instance folder: %w", err), ErrDisk)
	}
	files, err := j.instance.readNonces()
	if err != nil {
		return err
	}
	why, err := j.copied(files)
	if err != nil {
		return err
	}
	if why == "" {
		if files.Nonce == j.known.nonce && files.Pending == j.known.pending {
			return nil
		}
		// A crash between an epoch's transaction and the file.
		return j.instance.writeNonces(nonces{Nonce: j.known.nonce, Pending: j.known.pending})
	}
	nonce, err := newNonce(j.o.Random)
	if err != nil {
		return err
	}
	base := j.known.head
	tag := ""
	_, err = j.Append(ctx, func(tx *Tx) error {
		begun := pos.Begun{Nonce: nonce, Base: base, Software: j.o.Software, Copy: true}
		if _, err := tx.Add(entry.KindBegun, j.newOp(tx.now), begun); err != nil {
			return err
		}
		if err := tx.forgetPending(); err != nil {
			return err
		}
		tag, err = tx.newSeries("copy: " + why)
		return err
	})
	if err != nil {
		return fmt.Errorf("begin a new series for a copy (%s): %w", why, err)
	}
	j.status.Lock()
	j.known.nonce, j.known.pending = nonce, ""
	j.status.Unlock()
	if j.o.ops.afterJournal != nil {
		if err := j.o.ops.afterJournal(); err != nil {
			return err
		}
	}
	if err := j.instance.writeNonces(nonces{Nonce: nonce}); err != nil {
		return err
	}
	if err := j.instance.writeMark(j.Head()); err != nil {
		return err
	}
	j.opening = Opening{Copy: why, Series: tag}
	j.log.WarnContext(ctx, "journal is a copy", "why", why, "series", tag)
	return nil
}

// copied returns why the journal is taken for a copy, empty where it is none.
func (j *Journal) copied(files nonces) (string, error) {
	switch {
	case files.Nonce == "" && files.Pending == "":
		return "nonce missing", nil
	case files.Nonce != j.known.nonce && files.Pending != j.known.nonce:
		return "nonce other", nil
	}
	mark, ok, err := j.instance.readMark()
	if err != nil || !ok {
		return "", err
	}
	b, err := j.db.Begin(false)
	if err != nil {
		return "", diskError(err, ErrDisk)
	}
	defer func() { _ = b.Rollback() }() // of a read: it cannot fail
	var hash entry.Hash
	err = guard(func() error {
		var err error
		hash, err = hashAt(b, mark.Place())
		return err
	})
	switch {
	case errors.Is(err, ErrPruned):
		return "", nil
	case errors.Is(err, ErrNotFound):
		return "head below mark", nil
	case err != nil:
		return "", err
	case hash != mark.Hash:
		return "other hash at mark", nil
	}
	return "", nil
}

// newSeries begins a new number series and returns its tag.
func (tx *Tx) newSeries(why string) (string, error) {
	old, err := tx.Series()
	if err != nil {
		return "", err
	}
	used := map[string]bool{old.Tag: true}
	for _, tag := range old.Used {
		used[tag] = true
	}
	tag, err := newTag(tx.j.o.Random, func(tag string) bool { return used[tag] })
	if err != nil {
		return "", err
	}
	_, err = tx.Add(entry.KindSeries, tx.j.newOp(tx.now), pos.SeriesBegun{
		Tag: tag, Old: old.Tag, LastReceipt: old.LastReceipt, LastSession: old.LastSession, LastZ: old.Z, Why: why,
	})
	return tag, err
}

// Close writes the mark and closes the file. It may be called twice.
func (j *Journal) Close() error {
	j.write.Lock()
	j.status.Lock()
	j.closed = true
	j.status.Unlock()
	j.write.Unlock()
	// Nothing is appended any more. The keeper stores the last mark; it takes
	// write itself.
	j.stop()
	<-j.kept
	j.write.Lock()
	defer j.write.Unlock()
	j.file.Lock()
	defer j.file.Unlock()
	if j.db == nil {
		return nil
	}
	err := closeBolt(j.db)
	j.db = nil
	return err
}

// Identity returns whose journal it is.
func (j *Journal) Identity() Identity { return j.identity }

// Opening returns what opening the journal found.
func (j *Journal) Opening() Opening { return j.opening }

// Nonce returns the nonce of this instance.
func (j *Journal) Nonce() string { return j.now().nonce }

// now returns what is known; the slice in it is not changed in place.
func (j *Journal) now() known {
	j.status.Lock()
	defer j.status.Unlock()
	return j.known
}

// Append runs fn in one read-write transaction and commits it. What fn adds,
// reads and changes is durable when Append returns without error, and not
// before; nobody is told "paid" sooner. An error of fn is returned as it is
// and nothing is changed. fn runs once; it must not call the journal, only tx.
//
// After an error of the commit the journal closes and opens its file again
// and looks the operation ids up. It then returns the committed result (with
// Recovered set), or an error that is [ErrNotCommitted], or [ErrUnknown]. The
// caller never tries again by itself: an operation that is looked up and not
// there was not done. [ErrUnknown] is also what a change without entries (a
// cart) gets.
func (j *Journal) Append(ctx context.Context, fn func(tx *Tx) error) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	if j.o.ReadOnly {
		return Result{}, ErrReadOnly
	}
	j.write.Lock()
	defer j.write.Unlock()
	if err := j.ready(ctx); err != nil {
		return Result{}, err
	}
	return j.change(ctx, fn)
}

// change does what Append does, with write held and the file open.
func (j *Journal) change(ctx context.Context, fn func(tx *Tx) error) (Result, error) {
	var tx *Tx
	committing := false
	err := guard(func() error {
		b, err := j.db.Begin(true)
		if err != nil {
			return err
		}
		finished := false
		defer func() {
			if !finished {
				_ = b.Rollback() // a panic goes on, or a commit failed and rolled back itself
			}
		}()
		tx = j.newTx(b, j.Head(), j.o.now())
		err = fn(tx)
		if err == nil {
			err = tx.finish()
		}
		if err != nil {
			finished = true
			return errors.Join(err, b.Rollback())
		}
		committing = true
		err = j.o.ops.commitTx(b)
		finished = err == nil
		return err
	})
	if !committing {
		if err != nil {
			return Result{}, unjoin(err)
		}
	}
	if err != nil {
		return j.settle(ctx, tx, err)
	}
	return j.took(tx), nil
}

// unjoin returns the error of a Join of one, so that an error of fn is
// returned as it is.
func unjoin(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		if errs := joined.Unwrap(); len(errs) == 1 {
			return errs[0]
		}
	}
	return err
}

// ready reports whether the journal can be changed; after an error it tries to
// open its file again.
func (j *Journal) ready(ctx context.Context) error {
	j.status.Lock()
	closed := j.closed
	j.status.Unlock()
	if closed {
		return ErrClosed
	}
	if j.failed == nil {
		return nil
	}
	if err := j.reopen(ctx); err != nil {
		return ErrFailed.Wrap(errors.Join(j.failed, err))
	}
	if err := j.confirm(); err != nil {
		return ErrFailed.Wrap(errors.Join(j.failed, err))
	}
	j.failed = nil
	return nil
}

// took makes a commit known.
func (j *Journal) took(tx *Tx) Result {
	j.status.Lock()
	k := &j.known
	if len(tx.points) > 0 {
		epochs := append([]epochState(nil), k.epochs...)
		for _, p := range tx.points {
			if last := &epochs[len(epochs)-1]; last.epoch == p.Epoch {
				last.head = p
			}
		}
		k.epochs = epochs
		k.head = tx.head
		if tx.p.series != nil {
			k.moved = tx.p.series.Moved
		}
	}
	j.status.Unlock()
	if len(tx.points) > 0 {
		j.signal()
	}
	return Result{Points: tx.points, Head: tx.head}
}

// signal wakes the uploader and the keeper of the mark.
func (j *Journal) signal() {
	for _, c := range []chan struct{}{j.notify, j.keep} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// settle finds out what a commit that reported an error has left. bbolt writes
// and syncs the data, then the meta page; when that last sync fails, Update
// reports an error and the record is visible, and durable with the next
// commit. So the file is opened again, the operations are looked up, and
// where they are there a commit of nothing makes them durable before anyone
// is told. Where they are not there, they never will be: what the next commit
// writes stands on a state without them.
func (j *Journal) settle(ctx context.Context, tx *Tx, cause error) (Result, error) {
	ctx = context.WithoutCancel(ctx) // whoever waited: it must be known
	j.failed = cause
	j.log.ErrorContext(ctx, "commit of the journal failed", "error", cause)
	unknown := func(err error) (Result, error) {
		return Result{}, ErrUnknown.Wrap(errors.Join(cause, err))
	}
	if err := j.reopen(ctx); err != nil {
		return unknown(err)
	}
	held, err := j.holds(tx.ops)
	if err != nil {
		return unknown(err)
	}
	if !held && len(tx.ops) > 0 {
		j.failed = nil
		return Result{}, notCommitted(cause)
	}
	if err := j.confirm(); err != nil {
		return unknown(err)
	}
	j.failed = nil
	if !held {
		return unknown(nil)
	}
	j.signal()
	return Result{Points: tx.points, Head: j.now().head, Recovered: true}, nil
}

// notCommitted is the error of a change that did not come about: with the
// sentence of its cause where that says what to do.
func notCommitted(cause error) error {
	cause = diskError(cause, ErrNotCommitted)
	var told *message.Error
	if errors.As(cause, &told) && !errors.Is(told, ErrNotCommitted) {
		return told.Wrap(errors.Join(ErrNotCommitted, cause))
	}
	return cause
}

// reopen closes the file and opens it again, with write held.
func (j *Journal) reopen(ctx context.Context) error {
	j.file.Lock()
	defer j.file.Unlock()
	if j.db != nil {
		if err := closeBolt(j.db); err != nil {
			j.log.ErrorContext(ctx, "close of the failed journal", "error", err)
		}
		j.db = nil
	}
	db, err := openFile(ctx, j.path, j.o.LockTimeout, false, j.o.ops)
	if err != nil {
		return err
	}
	j.db = db
	if err := guard(func() error { return j.load(ctx) }); err != nil {
		err = errors.Join(err, closeBolt(db))
		j.db = nil
		return err
	}
	return nil
}

// holds reports whether the file has all of these operations; a transaction
// has all of its own or none.
func (j *Journal) holds(ops []string) (held bool, err error) {
	if len(ops) == 0 {
		return false, nil
	}
	err = guard(func() error {
		b, err := j.db.Begin(false)
		if err != nil {
			return err
		}
		defer func() { _ = b.Rollback() }() // of a read: it cannot fail
		for _, op := range ops {
			_, found, err := lookupOp(b, op)
			if err != nil {
				return err
			}
			if !found {
				return nil
			}
		}
		held = true
		return nil
	})
	return held, err
}

// confirm commits nothing: its meta page makes what the last one stood for
// durable.
func (j *Journal) confirm() error {
	return guard(func() error {
		b, err := j.db.Begin(true)
		if err != nil {
			return err
		}
		if err := j.o.ops.commitTx(b); err != nil {
			return diskError(errors.Join(err, ignoreClosed(b.Rollback())), ErrDisk)
		}
		return nil
	})
}

// View runs fn in a read-only transaction: one consistent state. fn must not
// call the journal, only tx.
func (j *Journal) View(ctx context.Context, fn func(tx *Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return j.read(func(b *bolt.Tx) error {
		head, err := headOf(b)
		if err != nil {
			return err
		}
		return fn(j.newTx(b, head, j.o.now()))
	})
}

// read runs fn on a read-only transaction of the file.
func (j *Journal) read(fn func(b *bolt.Tx) error) error {
	j.file.RLock()
	defer j.file.RUnlock()
	if j.db == nil {
		j.status.Lock()
		defer j.status.Unlock()
		if j.closed {
			return ErrClosed
		}
		return ErrFailed
	}
	return guard(func() error {
		b, err := j.db.Begin(false)
		if err != nil {
			return diskError(err, ErrDisk)
		}
		defer func() { _ = b.Rollback() }() // of a read: it cannot fail
		return fn(b)
	})
}
