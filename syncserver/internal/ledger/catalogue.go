package ledger

import (
	"context"
	"fmt"
	"sync"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/store"
)

// pageSize is the number of things on a page of the catalogue; a page holds
// more where one revision changed more, for it ends on a revision.
const pageSize = 500

// Catalogue returns the page of the catalogue of a point of sale that comes
// after a revision. Where the handle is not this server's, or the revision is
// above its own, it is the first page of a snapshot, which replaces all that
// the register holds. The last page bears the checksum over the whole state.
func (l *Ledger) Catalogue(ctx context.Context, pointOfSale, handle string, from uint64) (wire.Catalogue, error) {
	id, err := l.who(ctx)
	if err != nil {
		return wire.Catalogue{}, err
	}
	var page wire.Catalogue
	err = l.store.View(ctx, func(r store.Reader) error {
		revision, err := r.Revision(ctx)
		if err != nil {
			return fmt.Errorf("read revision: %w", err)
		}
		page = wire.Catalogue{Handle: id.handle, From: from, To: revision, Things: []wire.Thing{}}
		if handle != id.handle || from > revision {
			page.From, page.Snapshot = 0, true
		}
		things, err := r.ThingsSince(ctx, pointOfSale, page.From, pageSize)
		if err != nil {
			return fmt.Errorf("read things: %w", err)
		}
		if len(things) >= pageSize && things[len(things)-1].Revision < revision {
			page.To, page.More = things[len(things)-1].Revision, true
		}
		for _, t := range things {
			page.Things = append(page.Things, wire.Thing{Kind: t.Kind, ID: t.ID, Revision: t.Revision, Deleted: t.Deleted, Body: t.Body})
		}
		if page.More {
			return nil
		}
		sum, err := l.sums.at(ctx, r, pointOfSale, revision)
		page.Checksum = sum
		return err
	})
	return page, err
}

// Revision returns the catalogue's handle and revision.
func (l *Ledger) Revision(ctx context.Context) (handle string, revision uint64, err error) {
	id, err := l.who(ctx)
	if err != nil {
		return "", 0, err
	}
	err = l.store.View(ctx, func(r store.Reader) error {
		revision, err = r.Revision(ctx)
		return err
	})
	return id.handle, revision, err
}

// sumCache keeps the checksum of each point of sale, the common part once, and
// brings it forward by what has changed since.
type sumCache struct {
	mu     sync.Mutex
	common part
	parts  map[string]*part
}

// part is the state of the things of one point of sale, "" for the common ones.
type part struct {
	revision uint64
	sum      catalogue.Sum
	live     map[[2]string]uint64 // kind and id to the revision in the sum
}

func (p *part) apply(pointOfSale string, things []store.Thing) {
	if p.live == nil {
		p.live = map[[2]string]uint64{}
	}
	for _, t := range things {
		if t.PointOfSale != pointOfSale {
			continue
		}
		key := [2]string{t.Kind, t.ID}
		if old, ok := p.live[key]; ok {
			p.sum.Toggle(t.Kind, t.ID, old)
			delete(p.live, key)
		}
		if !t.Deleted {
			p.sum.Toggle(t.Kind, t.ID, t.Revision)
			p.live[key] = t.Revision
		}
	}
}

// at returns the checksum at the revision of the reader's snapshot. A cache
// that is ahead of the snapshot does not fit it: the sum is computed afresh.
func (c *sumCache) at(ctx context.Context, r store.Reader, pointOfSale string, revision uint64) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parts == nil {
		c.parts = map[string]*part{}
	}
	own := c.parts[pointOfSale]
	if own == nil {
		own = &part{}
		c.parts[pointOfSale] = own
	}
	common := &c.common
	if own.revision > revision {
		own = &part{}
	}
	if common.revision > revision {
		common = &part{}
	}
	things, err := r.ThingsSince(ctx, pointOfSale, min(own.revision, common.revision), 0)
	if err != nil {
		return "", fmt.Errorf("read things: %w", err)
	}
	own.apply(pointOfSale, things)
	own.revision = revision
	common.apply("", things)
	common.revision = revision
	sum := own.sum
	for i := range sum {
		sum[i] ^= common.sum[i]
	}
	return sum.String(), nil
}
