package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/pos"
)

// Line is one line of a verification.
type Line struct {
	// Name is the invariant's: I1, I2, I3, I8, I11, I15; or file, projections.
	Name string
	// Counts say what was looked at.
	Counts map[string]int
	// Findings say what is wrong, the first few of Broken.
	Findings []string
	Broken   int
}

// maxFindings is how many findings of one line are kept.
const maxFindings = 20

// OK reports whether nothing was found.
func (l *Line) OK() bool { return l.Broken == 0 }

func (l *Line) find(format string, args ...any) {
	if l.Broken++; len(l.Findings) < maxFindings {
		l.Findings = append(l.Findings, fmt.Sprintf(format, args...))
	}
}

// String returns the line as it is printed.
func (l *Line) String() string {
	var b strings.Builder
	key := "journal.verify.ok"
	if !l.OK() {
		key = "journal.verify.broken"
	}
	fmt.Fprintf(&b, "%-11s %-6s %s", l.Name, message.Text(message.English, key, nil),
		message.Text(message.English, "journal.verify."+strings.ToLower(l.Name), nil))
	for _, name := range slices.Sorted(maps.Keys(l.Counts)) {
		fmt.Fprintf(&b, ", %s %d", name, l.Counts[name])
	}
	if l.Broken > 0 {
		fmt.Fprintf(&b, ", findings %d", l.Broken)
	}
	for _, f := range l.Findings {
		b.WriteString("\n            " + f)
	}
	return b.String()
}

// Report is what a verification found.
type Report struct{ Lines []*Line }

// OK reports whether every line is.
func (r Report) OK() bool {
	return !slices.ContainsFunc(r.Lines, func(l *Line) bool { return !l.OK() })
}

// Line returns a line by its name, nil without one.
func (r Report) Line(name string) *Line {
	for _, l := range r.Lines {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// Verify checks the whole journal: the pages of its file, the chain and the
// sequence, the projections (made again from the entries in a file of their
// own and compared key by key) and the invariants that a journal can check by
// itself, and writes one line for each to w. It reads one snapshot; selling
// goes on. The error is about the checking; what is wrong is in the report.
func (j *Journal) Verify(ctx context.Context, w io.Writer) (Report, error) {
	var r Report
	err := j.read(func(b *bolt.Tx) error {
		var err error
		r, err = verify(ctx, b, j.identity)
		return err
	})
	if err != nil {
		return r, fmt.Errorf("verify journal: %w", err)
	}
	for _, l := range r.Lines {
		if _, err := fmt.Fprintln(w, l); err != nil {
			return r, fmt.Errorf("write report: %w", err)
		}
	}
	return r, nil
}

func verify(ctx context.Context, b *bolt.Tx, identity Identity) (Report, error) {
	line := func(name string) *Line { return &Line{Name: name, Counts: map[string]int{}} }
	file, once, held, chain, projected := line("file"), line("I1"), line("I2"), line("I3"), line("projections")
	a := newAuditor(line("I8"), line("I11"), line("I15"))
	r := Report{Lines: []*Line{file, once, held, chain, a.sums, a.numbers, a.reports, projected}}

	err := guard(func() error {
		return b.ForEach(func(name []byte, bucket *bolt.Bucket) error {
			file.Counts["buckets"]++
			return walkBucket(bucket)
		})
	})
	if err != nil {
		file.find("%v", err)
		return r, nil // nothing else can be read
	}
	epochs, err := readEpochs(b)
	if err != nil {
		file.find("%v", err)
		return r, nil
	}
	pruned := slices.ContainsFunc(epochs, func(e epochState) bool { return e.Checkpoint.Seq > 0 })
	a.begin(identity, pruned)
	seen := map[string]bool{}
	for _, e := range epochs {
		chain.Counts["epochs"]++
		checkBase(b, chain, e)
		if err := checkEpoch(ctx, b, e, identity, chain, func(e *entry.Entry) {
			once.Counts["operations"]++
			if seen[e.Op] {
				once.find("operation %s stands twice, again at %d/%d", e.Op, e.Epoch, e.Seq)
			}
			seen[e.Op] = true
			a.entry(e)
		}); err != nil {
			return r, err
		}
	}
	if err := checkOps(b, once, seen, pruned); err != nil {
		return r, err
	}
	if err := checkCursors(b, held, epochs); err != nil {
		return r, err
	}
	return r, checkProjections(ctx, b, identity, projected)
}

// checkBase checks that an epoch stands on a point of this journal's chain, or
// on nothing, or on what this journal never held.
func checkBase(b *bolt.Tx, chain *Line, e epochState) {
	if e.Base.Epoch == 0 {
		if !e.Base.Hash.IsZero() || e.Base.Seq != 0 {
			chain.find("epoch %d stands on no epoch, yet on %d, %s", e.epoch, e.Base.Seq, e.Base.Hash.Short())
		}
		return
	}
	hash, err := hashAt(b, e.Base.Place())
	switch {
	case errors.Is(err, ErrPruned):
	case err != nil:
		chain.find("base %d/%d of epoch %d: %v", e.Base.Epoch, e.Base.Seq, e.epoch, err)
	case hash != e.Base.Hash:
		chain.find("base %d/%d of epoch %d is %s, not %s", e.Base.Epoch, e.Base.Seq, e.epoch, hash.Short(), e.Base.Hash.Short())
	}
}

// checkEpoch follows an epoch's chain; after a break it goes on from what is
// there, so that one break is one finding.
func checkEpoch(ctx context.Context, b *bolt.Tx, state epochState, identity Identity, chain *Line, visit func(*entry.Entry)) error {
	entries, err := bucket(b, bucketEntries)
	if err != nil {
		return err
	}
	from := state.Checkpoint
	first := true
	c := entries.Cursor()
	for k, v := c.Seek(epochKey(state.epoch)); k != nil && bytes.HasPrefix(k, epochKey(state.epoch)); k, v = c.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		chain.Counts["entries"]++
		at, err := parsePlace(k)
		if err != nil {
			return err
		}
		point := entry.Point{Epoch: at.Epoch, Seq: at.Seq, Hash: entry.HashOf(v)}
		e, err := entry.Decode(v)
		if err != nil {
			chain.find("entry %d/%d: %v", at.Epoch, at.Seq, err)
			from = point
			continue
		}
		if e.Place() != at {
			chain.find("entry %d/%d says it is %d/%d", at.Epoch, at.Seq, e.Epoch, e.Seq)
		} else if err := entry.Follows(from, &e); err != nil {
			chain.find("%v", err)
		}
		if e.Register != identity.Register || e.PointOfSale != identity.PointOfSale {
			chain.find("entry %d/%d is of %s at %s", at.Epoch, at.Seq, e.Register, e.PointOfSale)
		}
		if first && at.Seq == 1 {
			checkBegun(&e, state, chain)
		}
		first = false
		from = point
		visit(&e)
	}
	return nil
}

// checkBegun checks that an epoch begins with what is kept of it.
func checkBegun(e *entry.Entry, state epochState, chain *Line) {
	body, err := bodyOf(e)
	begun, ok := body.(*pos.Begun)
	switch {
	case err != nil || !ok:
		chain.find("epoch %d begins with a %s entry", e.Epoch, e.Kind)
	case begun.Nonce != state.Nonce || begun.Base != state.Base:
		chain.find("epoch %d begins on %d/%d, kept is %d/%d", e.Epoch, begun.Base.Epoch, begun.Base.Seq, state.Base.Epoch, state.Base.Seq)
	}
}

// checkOps checks that the index of operations has each once, and no other.
func checkOps(b *bolt.Tx, once *Line, seen map[string]bool, pruned bool) error {
	ops, err := bucket(b, bucketOps)
	if err != nil {
		return err
	}
	err = ops.ForEach(func(k, _ []byte) error {
		once.Counts["indexed"]++
		if !seen[string(k)] && !pruned {
			once.find("operation %s is in the index and not in the journal", k)
		}
		delete(seen, string(k))
		return nil
	})
	for op := range seen {
		once.find("operation %s is in the journal and not in the index", op)
	}
	return err
}

// checkCursors checks that what the server acknowledged is what stands there.
func checkCursors(b *bolt.Tx, held *Line, epochs []epochState) error {
	heard, err := bucket(b, bucketSync)
	if err != nil {
		return err
	}
	acked, _, err := get[ackedRecord](heard, keyAcked)
	if err != nil {
		held.find("%v", err)
		return nil
	}
	for _, p := range acked.Points {
		held.Counts["cursors"]++
		hash, err := hashAt(b, p.Place())
		switch {
		case errors.Is(err, ErrPruned):
		case err != nil:
			held.find("acknowledged %d/%d: %v", p.Epoch, p.Seq, err)
		case hash != p.Hash:
			held.find("acknowledged %d/%d is %s here, not %s", p.Epoch, p.Seq, hash.Short(), p.Hash.Short())
		}
	}
	for _, e := range epochs {
		held.Counts["held"] += int(e.head.Seq - e.Checkpoint.Seq)
	}
	return nil
}

// checkProjections makes the projections again and compares them.
func checkProjections(ctx context.Context, b *bolt.Tx, identity Identity, l *Line) (err error) {
	dir, err := os.MkdirTemp("", "journal-verify-")
	if err != nil {
		return diskError(fmt.Errorf("make folder to verify in: %w", err), ErrDisk)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	options := boltOptions(0, false)
	options.NoSync = true // thrown away below
	fresh, err := bolt.Open(filepath.Join(dir, fileName), fileMode, options)
	if err != nil {
		return diskError(fmt.Errorf("make file to verify in: %w", err), ErrDisk)
	}
	defer func() { err = errors.Join(err, fresh.Close()) }()
	if err := project(ctx, b, fresh, identity); err != nil {
		l.find("%v", err)
		return ctx.Err()
	}
	return fresh.View(func(f *bolt.Tx) error {
		for _, name := range projections {
			if err := compare(b.Bucket(name), f.Bucket(name), string(name), l); err != nil {
				return err
			}
		}
		return nil
	})
}

// compare looks for keys of two buckets that differ.
func compare(have, want *bolt.Bucket, name string, l *Line) error {
	if have == nil || want == nil {
		l.find("bucket %s is missing", name)
		return nil
	}
	a, b := have.Cursor(), want.Cursor()
	ka, va := a.First()
	kb, vb := b.First()
	for ka != nil || kb != nil {
		order := bytes.Compare(ka, kb)
		switch {
		case ka == nil:
			order = 1
		case kb == nil:
			order = -1
		}
		l.Counts["keys"]++
		switch {
		case order < 0:
			l.find("%s %q is there and no entry makes it", name, ka)
			ka, va = a.Next()
			continue
		case order > 0:
			l.find("%s %q is missing", name, kb)
			kb, vb = b.Next()
			continue
		case !bytes.Equal(va, vb):
			i := 0
			for i < min(len(va), len(vb)) && va[i] == vb[i] {
				i++
			}
			l.find("%s %q differs from its byte %d on: %q, the entries make %q", name, ka, i, excerpt(va, i), excerpt(vb, i))
		}
		ka, va = a.Next()
		kb, vb = b.Next()
	}
	return nil
}

// excerpt returns the part of a value around a byte of it.
func excerpt(v []byte, at int) []byte {
	const before, after = 20, 40
	return v[max(0, at-before):min(len(v), at+after)]
}

// projectBatch is how many entries are projected in one transaction.
const projectBatch = 2000

// project makes the projections of the entries of a journal in another file,
// beginning with those of what was pruned.
func project(ctx context.Context, from *bolt.Tx, to *bolt.DB, identity Identity) error {
	base, err := bucket(from, bucketBase)
	if err != nil {
		return err
	}
	entries, err := bucket(from, bucketEntries)
	if err != nil {
		return err
	}
	for _, name := range projections {
		if err := copyBucket(ctx, base.Bucket(name), to, name); err != nil {
			return err
		}
	}
	c := entries.Cursor()
	k, v := c.First()
	for k != nil {
		err := to.Update(func(b *bolt.Tx) error {
			p := newProjection(b, identity)
			for n := 0; k != nil && n < projectBatch; n++ {
				if err := ctx.Err(); err != nil {
					return err
				}
				e, err := entry.Decode(v)
				if err != nil {
					return damaged("entry %x: %w", k, err)
				}
				body, err := bodyOf(&e)
				if err != nil {
					return err
				}
				if err := p.apply(&e, body); err != nil {
					return fmt.Errorf("entry %d/%d: %w", e.Epoch, e.Seq, err)
				}
				k, v = c.Next()
			}
			return p.flush()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// copyBucket copies a flat bucket into a new one of another file.
func copyBucket(ctx context.Context, from *bolt.Bucket, to *bolt.DB, name []byte) error {
	var c *bolt.Cursor
	var k, v []byte
	if from != nil {
		c = from.Cursor()
		k, v = c.First()
	}
	for again := true; again; again = k != nil {
		err := to.Update(func(b *bolt.Tx) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, err := b.CreateBucketIfNotExists(name); err != nil {
				return err
			}
			into, err := bucket(b, name)
			if err != nil {
				return err
			}
			for n := 0; k != nil && n < projectBatch; n++ {
				if err := into.Put(k, v); err != nil {
					return err
				}
				k, v = c.Next()
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
