package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tillandsia/shared/drawer"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/pos"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/store"
)

// CloseRescue is *close session & post entries*: it closes a rescue by the
// till's own count, by the manager's, or not counted. Its cashier may still
// sell: the next money makes another rescue. It is idempotent like
// [Ledger.Close].
func (l *Ledger) CloseRescue(ctx context.Context, by Actor, pointOfSale, id string, r RescueRequest) (CloseResult, error) {
	if _, err := l.who(ctx); err != nil {
		return CloseResult{}, err
	}
	var result CloseResult
	err := l.store.Update(ctx, func(tx store.Tx) error {
		row, err := tx.Session(ctx, pointOfSale, id)
		if err != nil {
			return notFound(err, "ledger.no_such_session", "session", id)
		}
		if row.Root == "" {
			return message.New(message.Conflict, "ledger.not_a_rescue", "session", row.Name)
		}
		roots, err := tx.LockSessions(ctx, pointOfSale, []string{row.Root})
		if err != nil {
			return fmt.Errorf("lock session %s: %w", row.Root, err)
		}
		// What was booked or closed while the lock was waited for.
		if row, err = tx.Session(ctx, pointOfSale, id); err != nil {
			return fmt.Errorf("read rescue %s: %w", id, err)
		}
		switch root := roots[row.Root]; {
		case row.State == session.Closed:
			result, err = stands(ctx, tx, &row)
			return err
		case root.State != session.Closed:
			return message.New(message.Conflict, "ledger.root_open", "session", root.Name)
		}
		c := closing{
			ledger: l, row: row, by: pos.Person{ID: by.User, Name: by.Name}, reason: r.Reason, kind: closedAsRescue,
			event: session.ForceClose, key: r.Key,
		}
		if c.count, err = l.rescueCount(ctx, tx, &row, r); err != nil {
			return err
		}
		result, err = l.close(ctx, tx, by, &c)
		return err
	})
	return l.closed(ctx, result, err)
}

// rescueCount returns how the lines of a rescue are closed.
func (l *Ledger) rescueCount(ctx context.Context, tx store.Tx, row *store.Session, r RescueRequest) (func(*drawer.Chain, int, *store.DrawerLine) error, error) {
	switch r.Choice {
	case TillCount:
		lines, err := tx.DrawerLines(ctx, row.PointOfSale, []string{row.ID})
		if err != nil {
			return nil, fmt.Errorf("read drawer lines: %w", err)
		}
		for i := range lines {
			if lines[i].Cash && lines[i].Fixed == nil && lines[i].TillCount() == nil {
				return nil, message.New(message.Conflict, "ledger.no_till_count")
			}
		}
		return byTill, nil
	case OwnCount:
		return l.byCounts(ctx, tx, row, r.Counts)
	case NotCounted:
		return func(c *drawer.Chain, line int, _ *store.DrawerLine) error {
			return c.Close(line, drawer.ByNotCounted, 0)
		}, nil
	}
	return nil, message.New(message.Invalid, "ledger.no_choice")
}

// SettleDrawer closes a register's drawer by a count where no session will come
// any more: an adjusting link with a posting of its own. Each count is of a
// cash method of the register.
func (l *Ledger) SettleDrawer(ctx context.Context, by Actor, pointOfSale, register string, r SettleRequest) (CloseResult, error) {
	if r.Reason == "" {
		return CloseResult{}, message.New(message.Invalid, "ledger.no_reason")
	}
	if _, err := l.who(ctx); err != nil {
		return CloseResult{}, err
	}
	var result CloseResult
	err := l.store.Update(ctx, func(tx store.Tx) error {
		var err error
		result, err = l.settle(ctx, tx, by, pointOfSale, register, r)
		return err
	})
	return l.closed(ctx, result, err)
}

func (l *Ledger) settle(ctx context.Context, tx store.Tx, by Actor, pointOfSale, register string, r SettleRequest) (CloseResult, error) {
	row, err := tx.LockRegister(ctx, pointOfSale, register)
	if err != nil {
		return CloseResult{}, notFound(err, "ledger.no_such_register", "register", register)
	}
	epochs, err := tx.Epochs(ctx, pointOfSale, register)
	if err != nil {
		return CloseResult{}, fmt.Errorf("read epochs: %w", err)
	}
	var at entry.Place
	for _, e := range epochs {
		if at.Less(e.Cursor.Place()) {
			at = e.Cursor.Place()
		}
	}
	w := &work{
		ledger: l, now: l.now(), point: pointOfSale, reg: row, chains: map[string]*chain{}, between: map[string]store.Move{},
		sessions: map[string]*root{}, stays: map[string][]*stay{}, sums: map[sumKey]int{}, flagged: map[string]bool{},
	}
	need := needed{opens: true}
	last, err := w.lastRoots(ctx, tx, need)
	if err != nil {
		return CloseResult{}, err
	}
	if _, err := w.lock(ctx, tx, last); err != nil {
		return CloseResult{}, err
	}
	if err := w.readDrawer(ctx, tx, need); err != nil {
		return CloseResult{}, err
	}
	settings, err := settingsOf(ctx, tx, pointOfSale)
	if err != nil {
		return CloseResult{}, err
	}
	s := &root{exists: true, dirty: true, Session: store.Session{
		PointOfSale: pointOfSale, ID: derived("settle", register, at.Epoch, at.Seq, w.now), Name: settleName(pointOfSale, row.Code),
		Register: register, State: session.ClosingControl, OpenedBy: by.User, OpenedByName: by.Name, OpenedAt: w.now, OpenHeard: true,
		CashControl: true, Last: w.now, BusinessDate: businessDate(l.clock(), settings.TimeZone, settings.CutOff),
	}}
	w.sessions[s.ID] = s
	for _, c := range r.Counts {
		if err := w.settleLine(s, at, c); err != nil {
			return CloseResult{}, err
		}
	}
	if len(r.Counts) == 0 {
		return CloseResult{}, message.New(message.Invalid, "ledger.drawer_unknown", "register", row.Code)
	}
	if err := w.flush(ctx, tx); err != nil {
		return CloseResult{}, err
	}
	c := closing{
		ledger: l, row: s.Session, by: pos.Person{ID: by.User, Name: by.Name}, reason: r.Reason, kind: closedToSettle,
		event: session.ForceClose, key: r.Key,
	}
	return l.close(ctx, tx, by, &c)
}

func (w *work) settleLine(s *root, at entry.Place, count MethodCount) error {
	c := w.chains[count.Method]
	if c == nil || count.Register != "" && count.Register != w.reg.ID || len(c.Lines) > 0 && !c.Lines[len(c.Lines)-1].Cash {
		return message.New(message.Invalid, "ledger.count_unasked", "register", w.reg.Code, "method", count.Method)
	}
	name, _ := w.methodKnown(count.Method)
	line, posted, err := c.Settle(s.ID, at, count.Amount)
	switch {
	case errors.Is(err, drawer.ErrOpen):
		return message.New(message.Conflict, "ledger.drawer_open", "register", w.reg.Code, "session", c.Lines[len(c.Lines)-1].Session)
	case errors.Is(err, drawer.ErrNoLine):
		return message.New(message.Conflict, "ledger.drawer_unknown", "register", w.reg.Code)
	case err != nil:
		return fmt.Errorf("settle drawer: %w", err)
	}
	c.names[lineKey{s.ID, c.Lines[line].Stay}] = lineName{name.Name, name.Account}
	for _, id := range posted {
		w.post(id, s.ID)
	}
	return nil
}

func settleName(pointOfSale, register string) string {
	return fmt.Sprintf("(DRAWER OF %s/%s SETTLED)", pointOfSale, register)
}

// businessDate returns the business day of a time: days end at the cut-off, in
// minutes after midnight of the point of sale's zone.
func businessDate(now time.Time, zone string, cutOff int) string {
	location, err := time.LoadLocation(zone)
	if err != nil {
		location = time.UTC
	}
	return now.In(location).Add(-time.Duration(cutOff) * time.Minute).Format(time.DateOnly)
}

// Accept deals with a flag as it is. Of an entry that is not counted because
// another one bears its id it makes a sale of its own, booked by the rescue
// rule as it stands now; of all others nothing that is booked changes. Asked
// twice it does nothing more.
func (l *Ledger) Accept(ctx context.Context, by Actor, pointOfSale, flag string) error {
	return l.resolve(ctx, by, pointOfSale, flag, "accepted")
}

// Retry computes an entry again that was not understood, and books it by the
// rescue rule as it stands now. Where it is still not understood it stays in
// the list and the error says why. Asked twice it books once.
func (l *Ledger) Retry(ctx context.Context, by Actor, pointOfSale, flag string) error {
	return l.resolve(ctx, by, pointOfSale, flag, "retried")
}

func (l *Ledger) resolve(ctx context.Context, by Actor, pointOfSale, id, how string) error {
	if _, err := l.who(ctx); err != nil {
		return err
	}
	err := l.store.Update(ctx, func(tx store.Tx) error {
		f, err := tx.Flag(ctx, pointOfSale, id)
		if err != nil {
			return notFound(err, "ledger.no_such_flag")
		}
		if f.Resolved != 0 {
			return nil
		}
		books := f.Code == session.FlagOtherContent && how == "accepted" || f.Code == FlagNotUnderstood && how == "retried"
		if how == "retried" && !books {
			return message.New(message.Conflict, "ledger.cannot_retry")
		}
		if books {
			if err := l.decideAgain(ctx, tx, &f); err != nil {
				return err
			}
		}
		if err := tx.ResolveFlag(ctx, pointOfSale, id, by.User, how, l.now()); err != nil {
			return fmt.Errorf("resolve flag %s: %w", id, err)
		}
		if err := tx.Write(ctx, &store.Changes{Outbox: []store.OutboxRow{outboxRow(pointOfSale, "flag", id, l.now())}}); err != nil {
			return fmt.Errorf("write outbox: %w", err)
		}
		return l.audit(ctx, tx, by, "flag_"+how, id, f.Params)
	})
	if err != nil {
		return err
	}
	l.store.Poke(ctx)
	return nil
}

// decideAgain books an entry that was not counted.
func (l *Ledger) decideAgain(ctx context.Context, tx store.Tx, f *store.Flag) error {
	register, err := tx.LockRegister(ctx, f.PointOfSale, f.Register)
	if err != nil {
		return fmt.Errorf("lock register: %w", err)
	}
	// Somebody else may have dealt with it while the lock was waited for.
	now, err := tx.Flag(ctx, f.PointOfSale, f.ID)
	if err != nil {
		return fmt.Errorf("read flag: %w", err)
	}
	row, err := tx.JournalRow(ctx, store.JournalKey{PointOfSale: f.PointOfSale, Register: f.Register, Place: f.Entry})
	if err != nil {
		return fmt.Errorf("read entry: %w", err)
	}
	if now.Resolved != 0 || row.Outcome != store.NotCounted {
		return nil
	}
	it, err := decode(row.Raw)
	if err != nil {
		return message.New(message.Conflict, "ledger.retry_failed", "cause", err.Error())
	}
	if it.body == nil {
		return message.New(message.Conflict, "ledger.retry_failed", "cause", bounded(it.wrong))
	}
	w, err := l.load(ctx, tx, register, store.Epoch{}, []item{it})
	if err != nil {
		return err
	}
	w.again = &again{row: row}
	for _, known := range w.ops[it.op] {
		if known.JournalKey != row.JournalKey && known.Outcome.Counts() {
			w.again.copy++
		}
	}
	if w.again.copy > 0 && f.Code == FlagNotUnderstood {
		for _, known := range w.ops[it.op] {
			if known.Content == it.content && known.Outcome.Counts() {
				// The same has come in and was understood meanwhile.
				return tx.SetOutcome(ctx, row.JournalKey, store.KnownAlready, "")
			}
		}
		return message.New(message.Conflict, "ledger.retry_failed", "cause", "its id is taken by another entry: accept it")
	}
	if f.Code == session.FlagOtherContent && !it.kind.MovesMoney() {
		return nil // there is no money to count
	}
	cause, err := w.guarded(ctx, tx, &w.items[0], "")
	if err != nil {
		return err
	}
	if cause != "" {
		return message.New(message.Conflict, "ledger.retry_failed", "cause", bounded(cause))
	}
	return w.flush(ctx, tx)
}
