package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tillandsia/shared/drawer"
	"tillandsia/shared/entry"
	"tillandsia/shared/pos"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/store"
)

// tailStays is how many stays of the register's drawer are read in any case:
// the link before what a new opening changes, and one more.
const tailStays = 2

// load reads what the items need, under the locks that they need: the roots of
// the sessions they name, and that of the last link of the register's drawer
// where they open or join.
func (l *Ledger) load(ctx context.Context, tx store.Tx, row store.Register, e store.Epoch, items []item) (*work, error) {
	w := &work{
		ledger: l, now: l.now(), point: row.PointOfSale, reg: row, epoch: e, items: items,
		sessions: map[string]*root{}, stamps: map[string]stampOf{}, stays: map[string][]*stay{}, chains: map[string]*chain{},
		between: map[string]store.Move{}, refunded: map[pos.LineRef]*store.RefundedLine{}, sums: map[sumKey]int{}, flagged: map[string]bool{},
	}
	need := needs(items)
	last, err := w.lastRoots(ctx, tx, need)
	if err != nil {
		return nil, err
	}
	if err := w.lockSessions(ctx, tx, need, last); err != nil {
		return nil, err
	}
	if err := w.readDrawer(ctx, tx, need); err != nil {
		return nil, err
	}
	if !need.opens && w.lacksStay(need) {
		// Money of a session in which this register was never heard to open
		// or join opens its drawer there: that is rare, and read once more.
		need.opens = true
		w.sessions, w.stays = map[string]*root{}, map[string][]*stay{}
		if last, err = w.lastRoots(ctx, tx, need); err == nil {
			err = w.lockSessions(ctx, tx, need, last)
		}
		if err == nil {
			err = w.readDrawer(ctx, tx, need)
		}
		if err != nil {
			return nil, err
		}
	}
	if w.ops, err = tx.KnownOps(ctx, w.point, need.ops); err != nil {
		return nil, fmt.Errorf("read known operations: %w", err)
	}
	if w.ops == nil {
		w.ops = map[string][]store.KnownOp{}
	}
	if len(need.numbers) > 0 {
		if w.numbers, err = tx.NumbersTaken(ctx, w.point, need.numbers); err != nil {
			return nil, fmt.Errorf("read receipt numbers: %w", err)
		}
	}
	if w.numbers == nil {
		w.numbers = map[string][]string{}
	}
	if len(need.orders) > 0 {
		lines, err := tx.RefundedLines(ctx, w.point, need.orders)
		if err != nil {
			return nil, fmt.Errorf("read refunds: %w", err)
		}
		for i := range lines {
			w.refunded[pos.LineRef{Order: lines[i].Order, Line: lines[i].Line}] = &lines[i]
		}
	}
	if len(need.users)+len(need.products) > 0 {
		if w.gone, err = l.shelf.unknown(ctx, tx, w.now, w.point, need.users, need.products); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// needed are the facts that items ask for.
type needed struct {
	stamps   map[string]*pos.Stamp
	opens    bool // one may change the last link of the drawer
	opened   bool // one opens a session
	ops      []string
	numbers  []string
	orders   []string            // sold or taken back
	taken    map[string]struct{} // orders of other batches that are taken back
	users    map[string]struct{}
	products map[string]struct{}
}

func needs(items []item) needed {
	n := needed{stamps: map[string]*pos.Stamp{}, taken: map[string]struct{}{}, users: map[string]struct{}{}, products: map[string]struct{}{}, ops: make([]string, 0, len(items))}
	for i := range items {
		it := &items[i]
		n.ops = append(n.ops, it.op)
		if it.stamp != nil && (it.kind.MovesMoney() || sessionKind(it.kind)) {
			n.stamps[it.stamp.ID] = it.stamp
		}
		switch b := it.body.(type) {
		case *pos.Order:
			if it.kind != entry.KindOrder {
				continue
			}
			n.users[b.User.ID] = struct{}{}
			if b.Number != "" {
				n.numbers = append(n.numbers, b.Number)
			}
			n.orders = append(n.orders, it.op)
			for j := range b.Lines {
				if b.Lines[j].Product != "" {
					n.products[b.Lines[j].Product] = struct{}{}
				}
				if ref := b.Lines[j].Refund; ref != nil && !slices.Contains(n.orders, ref.Order) {
					n.orders = append(n.orders, ref.Order)
					n.taken[ref.Order] = struct{}{}
				}
			}
		case *pos.Receipt:
			n.users[b.User.ID] = struct{}{}
		case *pos.Move:
			n.users[b.User.ID] = struct{}{}
			n.opens = n.opens || b.Session == nil
		case *pos.Opened:
			n.users[b.User.ID] = struct{}{}
			n.opens, n.opened = true, true
		case *pos.Joined:
			n.users[b.User.ID] = struct{}{}
			n.opens = true
		case *pos.Counted, *pos.Closed, *pos.Left:
			// A count is of what moves between sessions have left; what leaves
			// a drawer that is closed already is such a move.
			n.opens = true
		}
	}
	return n
}

// lastRoots returns the root of the last link of the register's drawer where
// the batch may change that link.
func (w *work) lastRoots(ctx context.Context, tx store.Tx, need needed) ([]string, error) {
	if !need.opens {
		return nil, nil
	}
	lines, err := tx.DrawerChain(ctx, w.point, w.reg.ID, nil, 1)
	if err != nil {
		return nil, fmt.Errorf("read last link of the drawer: %w", err)
	}
	var roots []string
	for i := range lines {
		if !slices.Contains(roots, lines[i].Root) {
			roots = append(roots, lines[i].Root)
		}
	}
	return roots, nil
}

func (w *work) lockSessions(ctx context.Context, tx store.Tx, need needed, last []string) error {
	ids := slices.Clone(last)
	// Two refunds of one sale take turns, so that the second sees the first.
	for id := range need.taken {
		sale, err := tx.Order(ctx, w.point, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read order %s: %w", id, err)
		}
		if !slices.Contains(ids, sale.Stamped) {
			ids = append(ids, sale.Stamped)
		}
	}
	for id := range need.stamps {
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 && !need.opened {
		return nil
	}
	found, err := w.lock(ctx, tx, ids)
	if err != nil {
		return err
	}
	if err := w.lockMissing(ctx, tx, need, found); err != nil {
		return err
	}
	// Stamps that name a rescue, or a session of another point of sale: never
	// made by an honest till.
	var more []string
	for id, stamp := range need.stamps {
		row, ok := found[id]
		switch {
		case ok && row.Root != "":
			w.stamps[id] = stampOf{root: row.Root, rescue: true}
			more = append(more, row.Root)
		case ok:
			w.stamps[id] = stampOf{root: id}
		default:
			foreign, err := w.isForeign(ctx, tx, stamp)
			if err != nil {
				return err
			}
			w.stamps[id] = stampOf{root: id}
			if foreign {
				recovered := pos.RecoveredID(id, w.reg.ID)
				w.stamps[id] = stampOf{root: recovered, foreign: true}
				more = append(more, recovered)
			}
		}
	}
	if len(more) > 0 {
		rows, err := w.lock(ctx, tx, more)
		if err != nil {
			return err
		}
		maps.Copy(found, rows)
	}
	var closed []string
	for id, row := range found {
		if row.Root != "" {
			continue
		}
		w.sessions[id] = &root{Session: row, exists: true}
		if row.State == session.Closed {
			closed = append(closed, id)
		}
	}
	if len(closed) > 0 {
		rescues, err := tx.Rescues(ctx, w.point, closed)
		if err != nil {
			return fmt.Errorf("read rescues: %w", err)
		}
		for _, row := range rescues {
			r := w.sessions[row.Root]
			r.rescues = append(r.rescues, &rescue{Session: row})
		}
	}
	if need.opened {
		w.others, err = tx.Sessions(ctx, store.SessionFilter{PointsOfSale: []string{w.point}, Register: w.reg.ID, States: []session.State{session.Opened}})
		if err != nil {
			return fmt.Errorf("read open sessions of the register: %w", err)
		}
	}
	return nil
}

// lockMissing makes sure that a session that is to be made is made once: two
// registers may name it at the same time, and a row that is not there cannot be
// locked. It locks the point of sale instead, and looks again.
func (w *work) lockMissing(ctx context.Context, tx store.Tx, need needed, found map[string]store.Session) error {
	var missing []string
	for id := range need.stamps {
		if _, ok := found[id]; !ok {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := tx.LockPointOfSale(ctx, w.point); err != nil {
		return fmt.Errorf("lock point of sale: %w", err)
	}
	rows, err := w.lock(ctx, tx, missing)
	if err != nil {
		return err
	}
	maps.Copy(found, rows)
	return nil
}

func (w *work) lock(ctx context.Context, tx store.Tx, ids []string) (map[string]store.Session, error) {
	if len(ids) == 0 {
		return map[string]store.Session{}, nil
	}
	slices.Sort(ids)
	found, err := tx.LockSessions(ctx, w.point, ids)
	if err != nil {
		return nil, fmt.Errorf("lock sessions: %w", err)
	}
	if found == nil {
		found = map[string]store.Session{}
	}
	return found, nil
}

// isForeign reports whether a session that this point of sale does not have
// belongs to another one.
func (w *work) isForeign(ctx context.Context, tx store.Tx, s *pos.Stamp) (bool, error) {
	if code, _, ok := strings.Cut(s.Name, "/"); ok && code != w.point && pos.ValidCode(code) {
		return true, nil
	}
	row, err := tx.SessionByID(ctx, s.ID)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for session %s elsewhere: %w", s.ID, err)
	}
	return row.PointOfSale != w.point, nil
}

func (w *work) readDrawer(ctx context.Context, tx store.Tx, need needed) error {
	if len(w.stamps) == 0 && !need.opens {
		return nil
	}
	ids := make([]string, 0, len(w.sessions))
	for id := range w.sessions {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) > 0 {
		rows, err := tx.Stays(ctx, w.point, ids)
		if err != nil {
			return fmt.Errorf("read stays: %w", err)
		}
		for i := range rows {
			w.stays[rows[i].Session] = append(w.stays[rows[i].Session], &stay{Stay: rows[i]})
		}
	}
	if err := w.readChains(ctx, tx, ids, tailStays); err != nil {
		return err
	}
	if w.lacksLink() {
		if err := w.readChains(ctx, tx, ids, 0); err != nil {
			return err
		}
	}
	if !need.opens {
		return nil
	}
	moves, err := tx.BetweenMoves(ctx, w.point, w.reg.ID)
	if err != nil {
		return fmt.Errorf("read moves between sessions: %w", err)
	}
	for i := range moves {
		w.between[moves[i].ID] = moves[i]
		w.chainOf(moves[i].Method).Between = append(w.chainOf(moves[i].Method).Between,
			drawer.Move{ID: moves[i].ID, At: moves[i].Entry, Amount: moves[i].Amount})
	}
	return nil
}

func (w *work) readChains(ctx context.Context, tx store.Tx, sessions []string, tail int) error {
	lines, err := tx.DrawerChain(ctx, w.point, w.reg.ID, sessions, tail)
	if err != nil {
		return fmt.Errorf("read the drawer's chain: %w", err)
	}
	w.chains = map[string]*chain{}
	for i := range lines {
		w.chainOf(lines[i].Method).put(&lines[i])
	}
	return nil
}

// lacksLink reports whether a stay of this register that a session of the batch
// has lies before everything that was read of the drawer: the link before it
// would be missing.
func (w *work) lacksLink() bool {
	var first entry.Place
	for _, c := range w.chains {
		for i := range c.Lines {
			if first.IsZero() || c.Lines[i].Stay.Less(first) {
				first = c.Lines[i].Stay
			}
		}
	}
	if first.IsZero() {
		return false
	}
	for _, stays := range w.stays {
		for _, s := range stays {
			if s.Register == w.reg.ID && s.At.Less(first) {
				return true
			}
		}
	}
	return false
}

// lacksStay reports whether this register has no stay in a session that the
// batch names.
func (w *work) lacksStay(need needed) bool {
	for id := range need.stamps {
		mine := func(s *stay) bool { return s.Register == w.reg.ID }
		if !slices.ContainsFunc(w.stays[w.stamps[id].root], mine) {
			return true
		}
	}
	return false
}
