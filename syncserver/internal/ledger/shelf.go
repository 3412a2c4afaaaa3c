package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"tillandsia/shared/catalogue"
	"tillandsia/syncserver/internal/store"
)

// shelfAge is how long, in microseconds, the shelf is believed without asking
// whether the catalogue has changed.
const shelfAge = 2_000_000

// shelf knows which products and users there are, so that an order that names
// one that there is not can be flagged without a query. It holds only what was
// committed; being a little late only means a flag less or more.
type shelf struct {
	mu       sync.Mutex
	checked  int64
	revision uint64
	products map[string]struct{} // every product there ever was
	points   map[string]*staffOf
}

// staffOf says who sells at a point of sale: false for those who did.
type staffOf struct {
	revision uint64
	users    map[string]bool
}

// unknown returns those of the users and products that there are not.
func (s *shelf) unknown(ctx context.Context, r store.Reader, now int64, pointOfSale string, users, products map[string]struct{}) (gone map[string]struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.products == nil {
		s.products, s.points = map[string]struct{}{}, map[string]*staffOf{}
	}
	if s.points[pointOfSale] == nil {
		s.points[pointOfSale] = &staffOf{users: map[string]bool{}}
	}
	gone = s.missing(pointOfSale, users, products)
	if len(gone) == 0 && now-s.checked < shelfAge && now >= s.checked {
		return gone, nil
	}
	revision, err := r.Revision(ctx)
	if err != nil {
		return nil, fmt.Errorf("read revision: %w", err)
	}
	s.checked = now
	own := s.points[pointOfSale]
	if revision == s.revision && revision == own.revision {
		return gone, nil
	}
	things, err := r.ThingsSince(ctx, pointOfSale, min(s.revision, own.revision), 0)
	if err != nil {
		return nil, fmt.Errorf("read things: %w", err)
	}
	for _, t := range things {
		if t.Kind == string(catalogue.KindProduct) {
			s.products[t.ID] = struct{}{}
		}
		if t.Kind == string(catalogue.KindUser) {
			var u catalogue.User
			if !t.Deleted {
				if err := json.Unmarshal(t.Body, &u); err != nil {
					return nil, fmt.Errorf("read user %s: %w", t.ID, err)
				}
			}
			own.users[t.ID] = u.Active
		}
	}
	s.revision, own.revision = revision, revision
	return s.missing(pointOfSale, users, products), nil
}

func (s *shelf) missing(pointOfSale string, users, products map[string]struct{}) map[string]struct{} {
	var gone map[string]struct{}
	miss := func(id string) {
		if gone == nil {
			gone = map[string]struct{}{}
		}
		gone[id] = struct{}{}
	}
	for id := range users {
		if !s.points[pointOfSale].users[id] {
			miss(id)
		}
	}
	for id := range products {
		if _, ok := s.products[id]; !ok {
			miss(id)
		}
	}
	return gone
}
