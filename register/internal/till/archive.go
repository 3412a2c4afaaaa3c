package till

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/pos"
)

// ErrNoZ is returned for a Z report that this register did not make.
var ErrNoZ = message.New(message.NotFound, "till.no_such_z")

// ZReport is a Z report as it was made.
type ZReport struct {
	Session string     `json:"session" doc:"Name of the session"`
	Left    bool       `json:"left,omitempty" doc:"Made when a joined session was left"`
	By      pos.Person `json:"by"`
	At      time.Time  `json:"at"`
	Z       pos.Z      `json:"z"`
}

// archive finds what the projections of the journal do not list: Z reports and
// the copies printed of an order. It reads the journal once, when it is first
// asked, and from then on what came since; the journal stays the only truth.
type archive struct {
	mu     sync.Mutex
	read   map[uint64]uint64 // up to which sequence, by epoch
	zs     []ZReport
	copies map[string]int // by order id
}

// The marks of the entries that are looked at, as their bytes hold them.
var archived = [][]byte{[]byte(`"kind":"closed"`), []byte(`"kind":"left"`), []byte(`"kind":"reprinted"`)}

const archivePage = 1 << 20

// catchUp reads what came since the last time; the caller holds the lock.
func (a *archive) catchUp(ctx context.Context, j Journal) error {
	if a.read == nil {
		a.read, a.copies = map[uint64]uint64{}, map[string]int{}
	}
	for _, epoch := range j.Epochs() {
		from := max(a.read[epoch.Epoch], epoch.Checkpoint.Seq) + 1
		for from <= epoch.Head.Seq {
			raws, err := j.Read(ctx, entry.Place{Epoch: epoch.Epoch, Seq: from}, archivePage, archivePage)
			if errors.Is(err, journal.ErrPruned) {
				break // pruned meanwhile: the rest is found the next time
			}
			if err != nil {
				return fmt.Errorf("read entries from %d/%d: %w", epoch.Epoch, from, err)
			}
			if len(raws) == 0 {
				break
			}
			for _, raw := range raws {
				if err := a.take(raw.Raw); err != nil {
					return err
				}
			}
			from = raws[len(raws)-1].At.Seq + 1
			a.read[epoch.Epoch] = from - 1
		}
	}
	return nil
}

func (a *archive) take(raw []byte) error {
	if !slices.ContainsFunc(archived, func(mark []byte) bool { return bytes.Contains(raw, mark) }) {
		return nil
	}
	e, err := entry.Decode(raw)
	if err != nil {
		return err
	}
	switch e.Kind { //nolint:exhaustive // the others are not kept here
	case entry.KindClosed:
		b, err := entry.Body[pos.Closed](&e)
		if err != nil {
			return err
		}
		a.zs = append(a.zs, ZReport{Session: b.Session.Name, By: b.User, At: e.At, Z: b.Z})
	case entry.KindLeft:
		b, err := entry.Body[pos.Left](&e)
		if err != nil {
			return err
		}
		a.zs = append(a.zs, ZReport{Session: b.Session.Name, Left: true, By: b.User, At: e.At, Z: b.Z})
	case entry.KindReprinted:
		b, err := entry.Body[pos.Event](&e)
		if err != nil {
			return err
		}
		a.copies[b.Order] = max(a.copies[b.Order], b.Copy)
	}
	return nil
}

// Zs returns the Z reports of this register that are in its journal, newest
// first.
func (t *Till) Zs(ctx context.Context) ([]ZReport, error) {
	t.archive.mu.Lock()
	defer t.archive.mu.Unlock()
	if err := t.archive.catchUp(ctx, t.journal); err != nil {
		return nil, fmt.Errorf("list Z reports: %w", err)
	}
	list := slices.Clone(t.archive.zs)
	slices.Reverse(list)
	if list == nil {
		list = []ZReport{}
	}
	return list, nil
}

// Z returns a Z report by its number; series is empty in a register's first.
func (t *Till) Z(ctx context.Context, series string, number int) (ZReport, error) {
	list, err := t.Zs(ctx)
	if err != nil {
		return ZReport{}, err
	}
	for _, z := range list {
		if z.Z.Number == number && z.Z.Series == series {
			return z, nil
		}
	}
	return ZReport{}, ErrNoZ
}

// reprint runs fn with the copies made of an order so far, one at a time.
func (t *Till) reprint(ctx context.Context, fn func(copies int) (journal.Result, error), order string) (journal.Result, error) {
	t.archive.mu.Lock()
	defer t.archive.mu.Unlock()
	if err := t.archive.catchUp(ctx, t.journal); err != nil {
		return journal.Result{}, err
	}
	return fn(t.archive.copies[order])
}
