package audit

import "context"

// moveRow is a row of the cash moves.
type moveRow struct {
	spot                         spot
	id, stamped, session, method string
	cashAccount, account, reason string
	amount                       int64
	user, note                   string
	clock                        int64
	closeDrop, between           bool
}

const moveColumns = `SELECT pos, register, entry_epoch, entry_seq, id, stamped, session, method, cash_account, account, reason, amount,
	user_id, note, at, close_drop, between_sessions FROM moves `

func readMove(m *moveRow) []any {
	return []any{
		&m.spot.pos, &m.spot.register, &m.spot.at.Epoch, &m.spot.at.Seq, &m.id, &m.stamped, &m.session, &m.method, &m.cashAccount, &m.account,
		&m.reason, &m.amount, &m.user, &m.note, &m.clock, &m.closeDrop, &m.between,
	}
}

func moveSpot(m *moveRow) spot { return m.spot }

func (w *walk) moveOrphan(m *moveRow) {
	w.r.breach("I4", "move_of_none", "move", m.id, "entry", w.registerOf(m.spot.pos, m.spot.register).String()+" "+m.spot.at.String())
}

// move holds the rows of cash moves at an entry against it: each move that
// counts, and each drop of a close-out, is there once and says what it says.
func (w *walk) move(ctx context.Context, r *row, rec *record, where string) error {
	rows, err := beside(ctx, w.moves, moveSpot, r.spot(), w.moveOrphan)
	if err != nil {
		return err
	}
	want, due := wantedMove(r, rec)
	if !due {
		if len(rows) > 0 {
			w.r.breach("I4", "move_of_none", "move", rows[0].id, "entry", where)
		}
		return nil
	}
	if len(rows) != 1 {
		w.r.breach("I4", "move_rows", "entry", where, "n", number(int64(len(rows))))
		if len(rows) == 0 {
			return nil
		}
	}
	m := &rows[0]
	w.r.count("I4", "move_rows", 1)
	if want.closeDrop {
		// Where it is booked its close-out does not say: in the session's or
		// rescue's line, or between sessions with the next line.
		want.session, want.between = m.session, m.between
	}
	if r.outcome == accepted {
		want.id = m.id // beside another one that bears the operation's id
	}
	if *m != want {
		w.r.breach("I4", "move_differs", "entry", where, "has", number(m.amount), "says", number(want.amount))
	}
	if m.session == "" {
		w.r.find("move_waits", "entry", where, "amount", number(m.amount))
	}
	w.booked(m)
	return nil
}

// wantedMove returns the row that an entry makes, and whether it makes one.
func wantedMove(r *row, rec *record) (moveRow, bool) {
	if !rec.counted {
		return moveRow{}, false
	}
	m := moveRow{spot: r.spot(), id: rec.op, clock: rec.at, stamped: rec.stamped()}
	switch b := rec.body.(type) {
	case *move:
		m.session, m.method, m.cashAccount, m.account, m.reason = r.booked, b.Method, b.CashAccount, b.Reason.Account, b.Reason.Name
		m.amount, m.user, m.note, m.between = b.Amount, b.User.ID, b.Note, rec.stamp == nil
		return m, true
	case *closed:
		if b.Drop == nil || b.Drop.Amount == 0 || rec.kind == kindCounted {
			return moveRow{}, false
		}
		m.method, m.cashAccount, m.account, m.reason = b.Drop.Method, b.Drop.CashAccount, b.Drop.Reason.Account, b.Drop.Reason.Name
		m.amount, m.user, m.closeDrop = -b.Drop.Amount, b.User.ID, true
		return m, true
	}
	return moveRow{}, false
}

// booked keeps a move for the drawers' chains, and adds it to what is booked.
func (w *walk) booked(m *moveRow) {
	w.takenOf(m.spot.pos, m.spot.register, "", movesOf(m.method)).booked.add(m.amount)
	kept := waiting{at: m.spot.at, amount: m.amount, session: m.session}
	switch {
	case m.between:
		key := drawerKey{m.spot.pos, m.spot.register, m.method}
		w.between[key] = append(w.between[key], kept)
	case m.closeDrop:
		key := dropKey{m.spot.pos, m.spot.register, m.method, m.session}
		w.drops[key] = append(w.drops[key], kept)
	}
}

// countRow is a row of the counts as they were made.
type countRow struct {
	spot            spot
	session, method string
	amount          int64
	late            bool
	clock, attempt  int64
	by              string
}

func readCount(c *countRow) []any {
	return []any{
		&c.spot.pos, &c.spot.register, &c.spot.at.Epoch, &c.spot.at.Seq, &c.session, &c.method, &c.amount, &c.late, &c.clock, &c.attempt, &c.by,
	}
}

func countSpot(c *countRow) spot { return c.spot }

func (w *walk) countOrphan(c *countRow) {
	w.r.breach("I10", "count_of_none", "entry", w.registerOf(c.spot.pos, c.spot.register).String()+" "+c.spot.at.String())
}

// lastCount is the last count of a stay, and what came after it.
type lastCount struct{ amount, after amount }

// tillState is what a register's journal comes to while it is read.
type tillState struct {
	counts map[string]map[string]*lastCount // by root and method
	zs     map[string]*zPeriod              // by root
	lastZ  map[string]*zSums                // by series, in this epoch
}

func newTillState() *tillState {
	return &tillState{counts: map[string]map[string]*lastCount{}, zs: map[string]*zPeriod{}}
}

// count holds the rows of counts at an entry against it, and works out what
// each comes to: a close-out names the last count of its stay once more, to
// which what came into the drawer since is added.
func (w *walk) count(ctx context.Context, r *row, rec *record, where string) error {
	rows, err := beside(ctx, w.counts, countSpot, r.spot(), w.countOrphan)
	if err != nil {
		return err
	}
	if !rec.counted || rec.stamp == nil {
		if len(rows) > 0 {
			w.r.breach("I10", "count_of_none", "entry", where)
		}
		return nil
	}
	root := w.rootOf(r, rec)
	state := w.till.counts[root]
	if state == nil {
		state = map[string]*lastCount{}
		w.till.counts[root] = state
	}
	switch b := rec.body.(type) {
	case *opened:
		clear(state) // a new stay
	case *closed:
		w.countsOf(r, rec, b, state, rows, where)
	case *move:
		if c := state[b.Method]; c != nil {
			c.after.add(b.Amount)
		}
	default:
		if rec.kind == kindOrder || rec.kind == kindReceipt {
			for _, p := range rec.paid() {
				if c := state[p.Method]; c != nil && p.Kind != payLater {
					c.after.add(p.net)
				}
			}
		}
	}
	return nil
}

func (w *walk) countsOf(r *row, rec *record, b *closed, state map[string]*lastCount, rows []countRow, where string) {
	made := map[string]int64{}
	for _, c := range b.Counts {
		made[c.Method] = c.Amount
	}
	for i := range rows {
		c := &rows[i]
		w.r.count("I10", "counts", 1)
		session := w.sessions[id{r.pos, c.session}]
		n, ok := made[c.method]
		if !ok || n != c.amount || session == nil || session.rootID() != w.rootOf(r, rec) || c.clock != rec.at ||
			c.attempt != max(1, b.Attempt) || c.by != b.User.ID {
			w.r.breach("I10", "count_differs", "entry", where, "method", c.method, "has", number(c.amount), "says", number(n))
		}
		if c.late {
			w.r.find("late_count", "entry", where, "session", w.nameOf(r.pos, c.session), "method", c.method, "amount", number(c.amount))
		}
		delete(made, c.method)
	}
	for method := range made {
		w.r.breach("I10", "count_missing", "entry", where, "method", method)
	}
	for _, c := range b.Counts {
		n := sum(c.Amount)
		last := state[c.Method]
		again := rec.kind != kindCounted && last != nil && last.amount.is(c.Amount)
		if again {
			n = last.amount
			n.plus(last.after)
		} else {
			state[c.Method] = &lastCount{amount: n}
		}
		w.effective[countKey{r.pos, r.register, r.at, c.Method}] = n.value()
	}
}

// rootOf returns the root session that an entry is stamped with, as the server
// has it.
func (w *walk) rootOf(r *row, rec *record) string {
	if rec.stamp == nil {
		return ""
	}
	if s := w.sessions[id{r.pos, rec.stamp.ID}]; s != nil {
		return s.rootID()
	}
	if derived := derivedID(rec.stamp.ID + "/" + r.register); w.sessions[id{r.pos, derived}] != nil {
		return derived
	}
	return rec.stamp.ID
}
