package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/drawer"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/store"
)

// story adds a line to a session's history.
func (w *work) story(sessionID string, it *item, kind string, detail any) {
	row := store.HistoryRow{
		PointOfSale: w.point, Session: sessionID, Register: w.reg.ID, Entry: it.place(), Kind: kind, At: micro(it.at),
	}
	if it.user != nil {
		row.User, row.UserName = it.user.ID, it.user.Name
	}
	row.Detail = detailOf(detail)
	w.changes.History = append(w.changes.History, row)
}

// detailOf encodes what a history row says besides; what cannot be encoded is
// left out.
func detailOf(detail any) string {
	if detail == nil {
		return ""
	}
	body, err := json.Marshal(detail)
	if err != nil {
		return ""
	}
	return string(body)
}

// entered is what opening and joining have in common.
type entered struct {
	stamp       *pos.Stamp
	user        pos.Person
	methods     []pos.Method
	drawer      bool
	cashControl bool
	cashMethod  string
	float       money.Amount
	joined      bool
	kind        string
}

// opened applies the opening of a session.
func (w *work) opened(it *item, b *pos.Opened, v *verdict) error {
	r, facts := w.facts(it.stamp)
	e := entered{
		stamp: it.stamp, user: b.User, methods: b.Methods, drawer: b.Drawer, cashControl: b.CashControl,
		cashMethod: b.CashMethod, float: b.Float, kind: "opened",
	}
	d := session.DecideEvent(session.Opening, session.EventFacts{
		Facts: facts, OpenHeard: r.OpenHeard, SameFacts: w.sameOpening(r, b), OtherOpen: w.otherOpen(r.ID), Own: r.Register == w.reg.ID,
	})
	w.remarks(d, it, v)
	for _, step := range d.Steps {
		if step == session.Create {
			w.create(r, it.stamp, false)
		}
		if step == session.Create || step == session.FillIn {
			w.fillIn(r, it.stamp, b)
		}
		w.enter(it, r, e, step)
	}
	return nil
}

func (w *work) fillIn(r *root, s *pos.Stamp, b *pos.Opened) {
	r.Name, r.BusinessDate = s.Name, s.BusinessDate
	r.OpenedBy, r.OpenedByName, r.OpenedAt = b.User.ID, b.User.Name, micro(s.At)
	r.MaxDifference, r.CashControl = b.MaxDifference, b.CashControl
	r.Recovered, r.OpenHeard = false, true
	r.dirty = true
}

// sameOpening reports whether an opening says what the one that was heard said.
func (w *work) sameOpening(r *root, b *pos.Opened) bool {
	if !r.OpenHeard || r.OpenedBy != b.User.ID || r.OpenedAt != micro(b.Session.At) || r.Name != b.Session.Name {
		return false
	}
	for _, s := range w.stays[r.ID] {
		if s.Register == w.reg.ID && !s.Joined {
			return s.Float == b.Float
		}
	}
	return true
}

// otherOpen reports whether another session of this register is not closed and
// has no count, and flags it.
func (w *work) otherOpen(id string) bool {
	open := map[string]bool{}
	for i := range w.others {
		s := &w.others[i]
		if s.Root == "" && s.State == session.Opened && s.CountedAt.IsZero() {
			open[s.ID] = true
		}
	}
	for _, r := range w.sessions {
		if !r.exists || r.Register != w.reg.ID {
			continue
		}
		open[r.ID] = r.State == session.Opened && r.CountedAt.IsZero()
	}
	delete(open, id)
	other := false
	for id, is := range open {
		if !is {
			continue
		}
		other = true
		w.changes.Flags = append(w.changes.Flags, store.Flag{
			PointOfSale: w.point, ID: derived("flag", session.FlagTwoSessions, id), Code: session.FlagTwoSessions,
			Register: w.reg.ID, Session: id, Params: []byte("{}"), At: w.now,
		})
	}
	return other
}

// joined applies another register's going on in a session.
func (w *work) joined(it *item, b *pos.Joined, v *verdict) error {
	r, facts := w.facts(it.stamp)
	e := entered{
		stamp: it.stamp, user: b.User, methods: b.Methods, drawer: b.Drawer, cashControl: b.CashControl,
		cashMethod: b.CashMethod, float: b.Float, joined: true, kind: "joined",
	}
	d := session.DecideEvent(session.Joining, session.EventFacts{Facts: facts, OpenHeard: r.OpenHeard, Own: r.Register == w.reg.ID})
	w.remarks(d, it, v)
	for _, step := range d.Steps {
		if step == session.CreateRecov {
			w.create(r, it.stamp, true)
			continue
		}
		w.enter(it, r, e, step)
	}
	return nil
}

// enter does a step of opening or joining. Where the float is only kept, it
// stands in the stay: money makes the line.
func (w *work) enter(it *item, r *root, e entered, step session.Step) {
	if step == session.BeginStay {
		s := &stay{dirty: true, Stay: store.Stay{
			PointOfSale: w.point, Session: r.ID, Register: w.reg.ID, At: it.place(), Joined: e.joined, User: e.user.ID, UserName: e.user.Name,
			Drawer: e.drawer, CashMethod: e.cashMethod, Float: e.float, Begun: micro(it.at), Control: e.cashControl,
		}}
		w.stays[r.ID] = append(w.stays[r.ID], s)
	}
	if step == session.BeginStay || step == session.History {
		w.story(r.ID, it, e.kind, map[string]any{"float": e.float})
	}
	if step == session.OpenLine {
		s := w.stayAt(r, it)
		for _, m := range e.methods {
			if !m.Kind.Counted() || m.Kind == pos.MethodCash && !e.drawer || w.chainOf(m.ID).Find(r.ID, s.At) >= 0 {
				continue
			}
			w.openLine(&r.Session, s, m)
		}
	}
}

func (w *work) remarks(d session.EventDecision, it *item, v *verdict) {
	for _, code := range d.Flags {
		v.flag(code, "session", it.stamp.ID)
	}
}

// left is what a close-out and a leaving have in common.
type leaving struct {
	counts   []pos.Count
	user     pos.Person
	approver *pos.Person
	limit    money.Amount
	drop     *pos.Drop
	z        *pos.Z
	reason   string
	kind     session.EventKind
	attempt  int
}

// counted applies a count.
func (w *work) counted(ctx context.Context, tx store.Tx, it *item, b *pos.Counted, v *verdict) error {
	r, facts := w.facts(it.stamp)
	d := session.DecideEvent(session.Counting, session.EventFacts{
		Facts: facts, OpenHeard: r.OpenHeard, Own: w.owns(r, it), ToLeave: b.Leaving, RescueLine: w.takesCount(facts.OpenRescue),
	})
	w.remarks(d, it, v)
	return w.steps(ctx, tx, it, r, d, leaving{counts: b.Counts, user: b.User, kind: session.Counting, attempt: b.Attempt}, v)
}

// closed applies a close-out.
func (w *work) closed(ctx context.Context, tx store.Tx, it *item, b *pos.Closed, v *verdict) error {
	return w.leave(ctx, tx, it, leaving{
		counts: b.Counts, user: b.User, approver: b.Approver, limit: b.MaxDifference, drop: b.Drop, z: &b.Z, reason: b.Reason, kind: session.Closing,
	}, v)
}

// left applies a joined register's leaving.
func (w *work) left(ctx context.Context, tx store.Tx, it *item, b *pos.Left, v *verdict) error {
	return w.leave(ctx, tx, it, leaving{
		counts: b.Counts, user: b.User, approver: b.Approver, limit: b.MaxDifference, drop: b.Drop, z: &b.Z, reason: b.Reason, kind: session.Leaving,
	}, v)
}

func (w *work) leave(ctx context.Context, tx store.Tx, it *item, l leaving, v *verdict) error {
	r, facts := w.facts(it.stamp)
	own := w.owns(r, it)
	if l.kind == session.Closing && !own {
		// Only the owner closes a session out: the others leave it.
		v.flag(FlagNotOwner, "session", it.stamp.ID)
		l.kind = session.Leaving
	}
	within, err := w.within(ctx, tx, it, r, l)
	if err != nil {
		return err
	}
	d := session.DecideEvent(l.kind, session.EventFacts{
		Facts: facts, OpenHeard: r.OpenHeard, Own: own, OthersJoined: w.othersJoined(r), CloseOut: r.CloseOut, Within: within,
		RescueLine: w.takesCount(facts.OpenRescue), Drop: l.drop != nil && l.drop.Amount != 0,
	})
	w.remarks(d, it, v)
	return w.steps(ctx, tx, it, r, d, l, v)
}

// owns reports whether this register opened S.
func (w *work) owns(r *root, it *item) bool {
	if r.exists {
		return r.Register == w.reg.ID
	}
	return it.stamp.Register == w.reg.ID
}

// othersJoined reports whether another register than this one and the owner is
// still in the session.
func (w *work) othersJoined(r *root) bool {
	return slices.ContainsFunc(w.stays[r.ID], func(s *stay) bool {
		return !s.Left && s.Register != w.reg.ID && s.Register != r.Register
	})
}

// within reports whether every line of the session is within the limit or bears
// a manager's PIN, with what this entry counts.
func (w *work) within(ctx context.Context, tx store.Tx, it *item, r *root, l leaving) (bool, error) {
	if !r.exists || r.State == session.Closed {
		return true, nil
	}
	mine := w.stayAt(r, it)
	ok := true
	check := func(line drawer.Line, limit money.Amount, approved bool) {
		// A drawer that is counted and has no count waits for somebody who
		// counts it.
		if line.Cash && line.Control && line.Fixed == nil && line.CountedNow() == nil {
			ok = false
		}
		if !approved && line.Difference().Abs() > limit {
			ok = false
		}
	}
	for method, c := range w.chains {
		for i := range c.Lines {
			line := c.Lines[i].Clone()
			if line.Session != r.ID {
				continue
			}
			if mine == nil || line.Stay != mine.At {
				check(line, r.MaxDifference, w.approved(r, w.reg.ID, line.Stay))
				continue
			}
			trial := drawer.Chain{Lines: slices.Clone(c.Lines), Between: c.Between}
			for _, count := range l.counts {
				if count.Method != method {
					continue
				}
				n, err := w.effective(mine, count, l)
				if err != nil {
					return false, err
				}
				// A line that the next opening took over takes no count.
				_ = trial.Count(i, it.place(), n)
			}
			check(trial.Lines[i], l.limit, l.approver != nil)
		}
	}
	others, err := tx.DrawerLines(ctx, w.point, []string{r.ID})
	if err != nil {
		return false, fmt.Errorf("read drawer lines: %w", err)
	}
	for i := range others {
		if others[i].Register != w.reg.ID {
			check(others[i].Line, r.MaxDifference, w.approved(r, others[i].Register, others[i].Stay))
		}
	}
	return ok, nil
}

func (w *work) approved(r *root, register string, at entry.Place) bool {
	return slices.ContainsFunc(w.stays[r.ID], func(s *stay) bool { return s.Register == register && s.At == at && s.Approved })
}

// steps does what was decided on a count, a close-out or a leaving.
func (w *work) steps(ctx context.Context, tx store.Tx, it *item, r *root, d session.EventDecision, l leaving, v *verdict) error {
	for _, step := range d.Steps {
		switch step {
		case session.CreateRecov:
			w.create(r, it.stamp, true)
		case session.History:
			w.story(r.ID, it, string(l.kind), historyOf(l))
		case session.CountLine:
			if err := w.count(ctx, tx, it, r, &r.Session, l, v); err != nil {
				return err
			}
		case session.CountRescue:
			if err := w.count(ctx, tx, it, r, &r.open().Session, l, v); err != nil {
				return err
			}
		case session.LateCount:
			if err := w.lateCount(it, r, l, v); err != nil {
				return err
			}
		case session.ToClosing:
			w.toClosing(it, r, l)
		case session.EndStay:
			if s := w.stayAt(r, it); s != nil {
				s.Left, s.LeftAt, s.Approved, s.dirty = true, micro(it.at), l.approver != nil, true
			}
		case session.DropLine:
			w.drop(it, r, &r.Session, l.drop, v)
		case session.DropRescue:
			w.drop(it, r, &r.open().Session, l.drop, v)
		case session.DropBetween, session.DropListed:
			w.drop(it, r, nil, l.drop, v)
		case session.CloseSession, session.Wait:
			// Below, after the Z report.
		case session.Create, session.FillIn, session.KeepFloat, session.BeginStay, session.OpenLine:
			// Only where a session is opened or joined.
		}
	}
	if l.z != nil {
		if err := w.zReport(ctx, tx, it, r, l.z, v); err != nil {
			return err
		}
	}
	if !d.Has(session.CloseSession) {
		return nil
	}
	return w.closeOut(ctx, tx, it, r, l, v)
}

func historyOf(l leaving) map[string]any {
	detail := map[string]any{}
	if len(l.counts) > 0 {
		detail["counts"] = l.counts
	}
	if l.drop != nil {
		detail["drop"] = l.drop.Amount
	}
	if l.approver != nil {
		detail["approver"] = l.approver.Name
	}
	if l.reason != "" {
		detail["reason"] = l.reason
	}
	return detail
}

func (w *work) toClosing(it *item, r *root, l leaving) {
	next, err := session.Next(r.State, session.Count)
	if err != nil {
		return
	}
	r.State, r.dirty, r.Last = next, true, w.now
	if len(l.counts) > 0 || l.kind == session.Counting {
		r.CountedAt = it.place()
	}
	if l.kind == session.Closing {
		r.CloseOut, r.CloseOutApproved = true, l.approver != nil
	}
}

// count puts a count into the lines of a session; what a line does not take any
// more is a late count.
func (w *work) count(ctx context.Context, tx store.Tx, it *item, r *root, s *store.Session, l leaving, v *verdict) error {
	for _, count := range l.counts {
		late := true
		m, ok, err := w.method(ctx, tx, count.Method)
		if err != nil {
			return err
		}
		if ok {
			w.line(it, r, s, m, &verdict{})
			st, c := w.stayFor(r, it), w.chainOf(m.ID)
			n, err := w.effective(st, count, l)
			if err != nil {
				return err
			}
			late = c.Count(c.Find(s.ID, st.At), it.place(), n) != nil
		}
		w.countRow(it, s.ID, count, l, late)
		if late {
			v.flag(FlagLateCount, "session", s.ID, "method", count.Method, "counted", amount(count.Amount))
		}
	}
	return w.remember(r, it, l)
}

// methodKnown returns a method as the register's drawer lines know it.
func (w *work) methodKnown(id string) (pos.Method, bool) {
	c := w.chains[id]
	if c == nil || len(c.Lines) == 0 {
		return pos.Method{}, false
	}
	last := c.Lines[len(c.Lines)-1]
	name := c.names[lineKey{last.Session, last.Stay}]
	m := pos.Method{ID: id, Name: name.name, Account: name.account, Kind: pos.MethodOther}
	if last.Cash {
		m.Kind = pos.MethodCash
	}
	return m, true
}

// method returns a method as the drawer lines know it, else as the catalogue
// does.
func (w *work) method(ctx context.Context, r store.Reader, id string) (pos.Method, bool, error) {
	if m, ok := w.methodKnown(id); ok {
		return m, true, nil
	}
	thing, err := r.Thing(ctx, "", string(catalogue.KindMethod), id)
	if errors.Is(err, store.ErrNotFound) || err == nil && thing.Deleted {
		return pos.Method{}, false, nil
	}
	var m catalogue.Method
	if err == nil {
		err = json.Unmarshal(thing.Body, &m)
	}
	if err != nil {
		return pos.Method{}, false, fmt.Errorf("read method %s: %w", id, err)
	}
	return pos.Method{ID: id, Name: m.Name, Kind: m.Kind, Account: m.Account}, m.Kind.Counted(), nil
}

func (w *work) countRow(it *item, sessionID string, c pos.Count, l leaving, late bool) {
	w.changes.Counts = append(w.changes.Counts, store.CountRow{
		PointOfSale: w.point, Session: sessionID, Register: w.reg.ID, Entry: it.place(), Method: c.Method, Amount: c.Amount,
		Attempt: max(1, l.attempt), Late: late, By: l.user.ID, At: micro(it.at),
	})
}

// lateCount records a count of a session that is closed. It changes nothing:
// its difference comes to the books with the drawer's next opening.
func (w *work) lateCount(it *item, r *root, l leaving, v *verdict) error {
	for _, count := range l.counts {
		w.countRow(it, r.ID, count, l, true)
		closing, ok := w.closingOf(r, it, count.Method)
		if !ok || closing == count.Amount {
			continue
		}
		v.flag(FlagLateCount, "session", r.ID, "method", count.Method, "counted", amount(count.Amount), "expected", amount(closing))
	}
	return w.remember(r, it, l)
}

// closingOf returns what the drawer of the entry's stay closed at, over the
// session and its rescues.
func (w *work) closingOf(r *root, it *item, method string) (money.Amount, bool) {
	s, c := w.stayAt(r, it), w.chains[method]
	if s == nil || c == nil {
		return 0, false
	}
	for _, l := range slices.Backward(c.Lines) {
		if l.Root == r.ID && l.Stay == s.At {
			return l.Closing(), true
		}
	}
	return 0, false
}

// drop books what leaves the drawer in a close-out: in the line of a session,
// or, where no link of the drawer is open, as a move between sessions.
func (w *work) drop(it *item, r *root, s *store.Session, d *pos.Drop, v *verdict) {
	row := store.Move{
		PointOfSale: w.point, ID: w.copyID(it.op), Register: w.reg.ID, Entry: it.place(), Stamped: it.stamp.ID, Method: d.Method,
		CashAccount: d.CashAccount, Account: d.Reason.Account, Reason: d.Reason.Name, Amount: -d.Amount,
		At: micro(it.at), CloseDrop: true,
	}
	if it.user != nil {
		row.User = it.user.ID
	}
	if d.Method == "" || d.CashAccount == "" || d.Reason.Account == "" || d.Amount < 0 {
		v.flag(FlagMoveWrong, "reason", d.Reason.Name)
	}
	if s != nil {
		line := w.line(it, r, s, pos.Method{ID: d.Method, Name: d.Method, Kind: pos.MethodCash, Account: d.CashAccount}, v)
		if line.Fixed == nil && line.Leave(d.Amount) == nil {
			row.Session = s.ID
			w.changes.Moves = append(w.changes.Moves, row)
			return
		}
	}
	row.Between = true
	w.chainOf(d.Method).Between = append(w.chainOf(d.Method).Between, drawer.Move{ID: row.ID, At: row.Entry, Amount: row.Amount})
	w.changes.Moves = append(w.changes.Moves, row)
}

// closeOut closes and posts a session by its till's own close-out.
func (w *work) closeOut(ctx context.Context, tx store.Tx, it *item, r *root, l leaving, v *verdict) error {
	if w.ledger.options.Recovering {
		v.flag(FlagRecovering, "session", r.ID)
		return nil
	}
	if err := w.flush(ctx, tx); err != nil {
		return err
	}
	c := closing{
		ledger: w.ledger, row: r.Session, by: l.user, reason: l.reason, kind: closedByTill, event: session.Post,
		here: &entry.Point{Epoch: it.entry.Epoch, Seq: it.entry.Seq, Hash: it.hash}, register: w.reg.ID,
	}
	if w.again != nil {
		c.here = nil
	}
	done, err := c.do(ctx, tx)
	if refused, ok := errors.AsType[*unpostableError](err); ok {
		// A session that cannot be posted waits for a manager; the entry is in.
		v.flag(FlagNotPosted, "session", r.ID, "cause", bounded(refused.Error()))
		return nil
	}
	if err != nil {
		return err
	}
	r.Session = done.row
	for i := range done.lines {
		row := &done.lines[i]
		if row.Register != w.reg.ID {
			continue
		}
		ch := w.chainOf(row.Method)
		if at := ch.Find(row.Session, row.Stay); at >= 0 {
			ch.Lines[at] = row.Line
			ch.old[lineKey{row.Session, row.Stay}] = row.Line
		}
	}
	return nil
}

// heard notes that the register has journalled a close.
func (w *work) heard(ctx context.Context, tx store.Tx, b *pos.Close, v *verdict) error {
	row, err := tx.Close(ctx, w.point, b.Session)
	if errors.Is(err, store.ErrNotFound) {
		v.flag(FlagCloseUnknown, "session", b.Session, "name", b.Name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("read close of %s: %w", b.Session, err)
	}
	known, err := decodeClose(row)
	if err != nil {
		return err
	}
	if known.Digest != b.Digest {
		v.flag(FlagCloseUnknown, "session", b.Session, "name", b.Name)
	}
	w.changes.Heard = append(w.changes.Heard, store.HeardClose{PointOfSale: w.point, Session: b.Session, Register: w.reg.ID})
	return nil
}

// event tells a session's story.
func (w *work) event(it *item, b *pos.Event) {
	if b.Session == nil || b.Session.ID == "" {
		return
	}
	if slices.Contains(storied, it.kind) {
		w.story(b.Session.ID, it, string(it.kind), map[string]string{"reason": b.Reason, "detail": b.Detail})
	}
}

// storied are the kinds of events that stand in a session's history; the others
// are in the journal only.
var storied = []entry.Kind{
	entry.KindContinued, entry.KindLocked, entry.KindSignedIn, entry.KindOfficeSignedIn, entry.KindScreensEnded, entry.KindLockedOut,
	entry.KindDrawerOpened, entry.KindTrainingOn, entry.KindTrainingOff, entry.KindSettingsApplied,
}
