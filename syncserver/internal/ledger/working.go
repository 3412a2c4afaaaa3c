package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tillandsia/shared/drawer"
	"tillandsia/shared/entry"
	"tillandsia/shared/pos"
	"tillandsia/shared/posting"
	"tillandsia/shared/session"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/store"
)

// work is the working set of a batch: the facts that its entries need, read in
// a few queries, and what deciding on them changes. Nothing of it is written
// before all entries are decided; where one cannot be computed the whole set is
// thrown away.
type work struct {
	ledger *Ledger
	now    int64
	point  string
	reg    store.Register
	epoch  store.Epoch
	items  []item

	// sessions are the roots by id; stamps lead from the session that an entry
	// names to its root and what is special about it.
	sessions map[string]*root
	stamps   map[string]stampOf
	stays    map[string][]*stay // by root, in the order of this register's journal
	chains   map[string]*chain  // of this register, by method
	others   []store.Session    // other open sessions of this register
	between  map[string]store.Move

	ops      map[string][]store.KnownOp
	numbers  map[string][]string // receipt number to order ids
	refunded map[pos.LineRef]*store.RefundedLine
	gone     map[string]struct{} // users and products that there are not

	sums    map[sumKey]int // index in changes.Sums
	changes store.Changes
	told    []wire.Flag
	moved   []outcomeOf // rows that were stored before and change now
	flagged map[string]bool
	// flushed says that a part has been written already.
	flushed bool

	// again is set where a known entry is decided again (accept, retry).
	again *again
}

// root is a session with its rescues.
type root struct {
	store.Session
	exists  bool
	dirty   bool
	rescues []*rescue
}

type rescue struct {
	store.Session
	dirty bool
}

// open returns the rescue that is not closed, nil without.
func (r *root) open() *rescue {
	for _, o := range r.rescues {
		if o.State != session.Closed {
			return o
		}
	}
	return nil
}

// stampOf is what an entry's session means to this register.
type stampOf struct {
	root    string
	foreign bool
	rescue  bool
}

type stay struct {
	store.Stay
	dirty bool
	z     *zSums
}

// chain is a drawer's chain of one method with what the lines' rows hold
// besides.
type chain struct {
	drawer.Chain
	names map[lineKey]lineName
	old   map[lineKey]drawer.Line
}

type lineKey struct {
	session string
	stay    entry.Place
}

type lineName struct{ name, account string }

type sumKey struct {
	session, register, kind, account, detail string
}

// outcomeOf is a new outcome of a stored row; 0 leaves the one it has.
type outcomeOf struct {
	key     store.JournalKey
	outcome store.Outcome
	booked  string
}

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
	orders   []string // sold or taken back
	users    map[string]struct{}
	products map[string]struct{}
}

func needs(items []item) needed {
	n := needed{stamps: map[string]*pos.Stamp{}, users: map[string]struct{}{}, products: map[string]struct{}{}, ops: make([]string, 0, len(items))}
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
		for id, row := range rows {
			found[id] = row
		}
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

func (w *work) chainOf(method string) *chain {
	c := w.chains[method]
	if c == nil {
		c = &chain{names: map[lineKey]lineName{}, old: map[lineKey]drawer.Line{}}
		w.chains[method] = c
	}
	return c
}

func (c *chain) put(row *store.DrawerLine) {
	key := lineKey{row.Session, row.Stay}
	c.Lines = append(c.Lines, row.Line)
	c.names[key] = lineName{row.MethodName, row.Account}
	c.old[key] = row.Line
}

// addSums adds the facts of an entry to those of the session it is booked in.
func (w *work) addSums(sessionID string, sums []posting.Sum) {
	for _, s := range sums {
		key := sumKey{sessionID, s.Register, string(s.Kind), s.Account, s.Detail}
		i, ok := w.sums[key]
		if !ok {
			i = len(w.changes.Sums)
			w.sums[key] = i
			w.changes.Sums = append(w.changes.Sums, store.Sum{
				PointOfSale: w.point, Session: sessionID, Register: s.Register, Kind: string(s.Kind), Account: s.Account, Detail: s.Detail,
			})
		}
		w.changes.Sums[i].Amount += s.Amount
		w.changes.Sums[i].Count += s.Count
	}
}

// collect gathers what has changed in the working set into the changes.
func (w *work) collect() error {
	for _, r := range w.sessions {
		if r.dirty {
			w.changes.Sessions = append(w.changes.Sessions, r.Session)
			w.poked(r.ID)
			r.dirty = false
		}
		for _, o := range r.rescues {
			if o.dirty {
				w.changes.Sessions = append(w.changes.Sessions, o.Session)
				w.poked(o.ID)
				o.dirty = false
			}
		}
	}
	// Roots before rescues, and always in the same order: rows are locked in
	// it.
	slices.SortFunc(w.changes.Sessions, func(a, b store.Session) int { return strings.Compare(a.ID, b.ID) })
	for _, list := range w.stays {
		for _, s := range list {
			if !s.dirty {
				continue
			}
			if err := s.encode(); err != nil {
				return err
			}
			w.changes.Stays = append(w.changes.Stays, s.Stay)
			s.dirty = false
		}
	}
	for method, c := range w.chains {
		for i := range c.Lines {
			line := &c.Lines[i]
			key := lineKey{line.Session, line.Stay}
			if old, ok := c.old[key]; ok && old.Equal(*line) {
				continue
			}
			name := c.names[key]
			w.changes.Drawer = append(w.changes.Drawer, store.DrawerLine{
				PointOfSale: w.point, Register: w.reg.ID, Method: method, MethodName: name.name, Account: name.account, Line: line.Clone(),
			})
			c.old[key] = line.Clone()
		}
	}
	slices.SortFunc(w.changes.Drawer, func(a, b store.DrawerLine) int {
		if a.Stay != b.Stay {
			if a.Stay.Less(b.Stay) {
				return -1
			}
			return 1
		}
		if a.Ordinal != b.Ordinal {
			return a.Ordinal - b.Ordinal
		}
		return strings.Compare(a.Method, b.Method)
	})
	return nil
}

func (w *work) poked(sessionID string) {
	w.changes.Outbox = append(w.changes.Outbox, outboxRow(w.point, "session", sessionID, w.now))
}

// flush writes what was decided so far, so that closing a session in the middle
// of a batch reads it from the store.
func (w *work) flush(ctx context.Context, tx store.Tx) error {
	if err := w.collect(); err != nil {
		return err
	}
	w.flushed = true
	if err := w.dropKnownFlags(ctx, tx); err != nil {
		return err
	}
	if err := tx.Write(ctx, &w.changes); err != nil {
		return fmt.Errorf("write batch: %w", err)
	}
	for _, o := range w.moved {
		if o.outcome == 0 {
			row, err := tx.JournalRow(ctx, o.key)
			if err != nil {
				return fmt.Errorf("read entry: %w", err)
			}
			o.outcome = row.Outcome
		}
		if err := tx.SetOutcome(ctx, o.key, o.outcome, o.booked); err != nil {
			return fmt.Errorf("set outcome: %w", err)
		}
	}
	w.changes, w.moved = store.Changes{}, nil
	clear(w.sums)
	return nil
}

// write writes the rest of the batch, with the cursor.
func (w *work) write(ctx context.Context, tx store.Tx, generation uint64) error {
	last := &w.items[len(w.items)-1]
	w.epoch.Cursor = entry.Point{Epoch: w.epoch.Epoch, Seq: last.entry.Seq, Hash: last.hash}
	w.reg.GenerationUsed = max(w.reg.GenerationUsed, generation)
	w.reg.LastSeen = w.now
	w.changes.Epochs = append(w.changes.Epochs, w.epoch)
	w.changes.Register = &w.reg
	if len(w.changes.Flags) > 0 {
		w.changes.Outbox = append(w.changes.Outbox, outboxRow(w.point, "flag", w.reg.ID, w.now))
	}
	return w.flush(ctx, tx)
}

// dropKnownFlags leaves out what has been flagged before and is said once: a
// person may have dealt with it since.
func (w *work) dropKnownFlags(ctx context.Context, tx store.Tx) error {
	kept := w.changes.Flags[:0]
	for _, f := range w.changes.Flags {
		if saidOnce(f.Code) {
			_, err := tx.Flag(ctx, w.point, f.ID)
			if err == nil {
				continue
			}
			if !errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("read flag %s: %w", f.ID, err)
			}
		}
		kept = append(kept, f)
	}
	w.changes.Flags = kept
	return nil
}
