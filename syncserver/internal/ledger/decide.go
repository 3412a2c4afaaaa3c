package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/pos"
	"tillandsia/shared/session"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/store"
)

// clockLimit is how far a register's clock may be off before a person is asked.
const clockLimit = 24 * time.Hour

// again says how an entry that is stored already is decided a second time.
type again struct {
	row store.JournalRow
	// copy is the number of its order where another one bears its id.
	copy int
}

// notUnderstoodError is returned where the effect of an entry cannot be computed.
type notUnderstoodError struct{ cause string }

func (e *notUnderstoodError) Error() string { return "entry not understood: " + e.cause }

func notUnderstood(cause error) error { return &notUnderstoodError{cause: cause.Error()} }

// run decides on the items one by one. Where one cannot be computed it returns
// its place and the cause, and the working set is of no use any more.
func (w *work) run(ctx context.Context, tx store.Tx, poisoned map[entry.Place]string) (at entry.Place, cause string, err error) {
	for i := range w.items {
		it := &w.items[i]
		poison := poisoned[it.place()]
		cause, err = w.guarded(ctx, tx, it, poison)
		if err != nil {
			return entry.Place{}, "", err
		}
		if cause != "" {
			if poison != "" {
				return entry.Place{}, "", fmt.Errorf("store entry %d/%d raw: %s", it.entry.Epoch, it.entry.Seq, cause)
			}
			return it.place(), cause, nil
		}
	}
	return entry.Place{}, "", nil
}

// guarded decides on one entry; a panic is a cause, like an effect that cannot
// be computed.
func (w *work) guarded(ctx context.Context, tx store.Tx, it *item, poison string) (cause string, err error) {
	defer func() {
		if p := recover(); p != nil {
			cause, err = fmt.Sprint("panic: ", p), nil
		}
	}()
	if poison == "" && w.ledger.options.BeforeEntry != nil {
		w.ledger.options.BeforeEntry(it.op)
	}
	err = w.one(ctx, tx, it, poison)
	if lost, ok := errors.AsType[*notUnderstoodError](err); ok {
		return lost.cause, nil
	}
	return "", err
}

// verdict is what came of an entry, while it is being decided.
type verdict struct {
	row   store.JournalRow
	flags []problem
	// counts says that its flags do not keep it out of the books.
	notCounted bool
}

func (v *verdict) flag(code string, pairs ...string) {
	v.flags = append(v.flags, problem{code: code, params: params(pairs)})
}

// one decides on an entry and records its journal row.
func (w *work) one(ctx context.Context, tx store.Tx, it *item, poison string) error {
	v := verdict{row: store.JournalRow{
		JournalKey: it.key(w.point, w.reg.ID), Op: it.op, Kind: it.kind, Hash: it.hash, Content: it.content,
		Raw: it.raw, At: micro(it.at), Received: w.now, Wrapped: it.wrapped,
	}}
	if it.stamp != nil {
		v.row.Stamped = it.stamp.ID
	}
	known := w.known(it)
	switch {
	case known == session.SameContent:
		v.row.Outcome = store.KnownAlready
		return w.record(it, &v)
	case poison != "" || it.body == nil:
		cause := poison
		if cause == "" {
			cause = it.wrong
		}
		v.notCounted = true
		v.flag(FlagNotUnderstood, "cause", bounded(cause), "kind", bounded(string(it.kind)))
		return w.record(it, &v)
	case known == session.OtherContent:
		v.notCounted = true
		v.flag(session.FlagOtherContent, "op", it.op, "kind", string(it.kind))
		return w.record(it, &v)
	}
	w.remark(it, &v)
	if err := w.decide(ctx, tx, it, &v); err != nil {
		return err
	}
	return w.record(it, &v)
}

// known says what the server holds under the entry's operation id.
func (w *work) known(it *item) session.Known {
	if w.again != nil {
		return session.New
	}
	known := session.New
	for _, k := range w.ops[it.op] {
		if k.Content == it.content {
			return session.SameContent
		}
		known = session.OtherContent
	}
	return known
}

// remark flags what is odd about an entry whatever it says.
func (w *work) remark(it *item, v *verdict) {
	if it.entry.Register != w.reg.ID {
		v.flag(FlagOtherRegister, "register", bounded(it.entry.Register))
	}
	if it.entry.PointOfSale != w.point {
		v.flag(FlagOtherPointOfSale, "pos", bounded(it.entry.PointOfSale))
	}
	if !it.kind.MovesMoney() && !sessionKind(it.kind) {
		return
	}
	if w.reg.State == store.RegisterRevoked {
		v.flag(FlagRevoked)
	}
	if off := max(time.Duration(abs(w.reg.ClockSkew))*time.Microsecond, it.at.Sub(timeOf(w.now))); off > clockLimit {
		v.flag(FlagClockOff, "at", it.at.Format(time.RFC3339))
	}
	if it.user != nil {
		if _, gone := w.gone[it.user.ID]; gone {
			v.flag(FlagUnknownUser, "user", it.user.ID, "name", it.user.Name)
		}
	}
}

func abs(n int64) int64 {
	if n < 0 {
		return -n
	}
	return n
}

// decide does what an entry of a kind that is understood says.
func (w *work) decide(ctx context.Context, tx store.Tx, it *item, v *verdict) error {
	switch b := it.body.(type) {
	case *pos.Order:
		if it.kind == entry.KindTraining {
			return nil
		}
		return w.order(ctx, tx, it, b, v)
	case *pos.Receipt:
		return w.receipt(it, b, v)
	case *pos.Move:
		return w.move(it, b, v)
	case *pos.Opened:
		return w.opened(it, b, v)
	case *pos.Joined:
		return w.joined(it, b, v)
	case *pos.Counted:
		return w.counted(ctx, tx, it, b, v)
	case *pos.Closed:
		return w.closed(ctx, tx, it, b, v)
	case *pos.Left:
		return w.left(ctx, tx, it, b, v)
	case *pos.Close:
		return w.heard(ctx, tx, b, v)
	case *pos.Begun:
		if it.entry.Seq == 1 && !it.wrapped {
			w.epoch.Nonce = b.Nonce
			w.reg.Nonce = b.Nonce
		}
		return nil
	case *pos.Event:
		w.event(it, b)
		return nil
	default:
		return nil
	}
}

// record adds the journal row of an entry with its outcome and flags.
func (w *work) record(it *item, v *verdict) error {
	switch {
	case v.row.Outcome != 0:
	case v.notCounted:
		v.row.Outcome = store.NotCounted
	case len(v.flags) > 0:
		v.row.Outcome = store.AppliedFlagged
	default:
		v.row.Outcome = store.Applied
	}
	at := v.row.JournalKey
	if w.again != nil {
		at = w.again.row.JournalKey
	}
	for _, f := range v.flags {
		if err := w.addFlag(f, at.Place, v.row.Stamped, v.row.Op); err != nil {
			return err
		}
	}
	if w.again != nil {
		outcome := v.row.Outcome
		if w.again.copy > 0 && outcome != store.NotCounted {
			outcome = store.Accepted
		}
		w.moved = append(w.moved, outcomeOf{at, outcome, v.row.Booked})
		return nil
	}
	w.changes.Journal = append(w.changes.Journal, v.row)
	if it.kind.MovesMoney() || v.row.Outcome != store.KnownAlready {
		w.ops[it.op] = append(w.ops[it.op], store.KnownOp{
			JournalKey: v.row.JournalKey, Op: it.op, Content: it.content, Outcome: v.row.Outcome, Booked: v.row.Booked,
		})
	}
	w.reg.Waiting = max(0, w.reg.Waiting-1)
	if w.reg.Waiting == 0 {
		w.reg.WaitingAmount = 0
	} else {
		w.reg.WaitingAmount -= amountOf(it)
	}
	return nil
}

// saidOnce reports whether a flag is raised once for a session, or for good, and
// not by every entry that it fits.
func saidOnce(code string) bool {
	switch code {
	case FlagRevoked, FlagClockOff, FlagUnknownUser, FlagUnknownProduct, session.FlagTwoSessions:
		return true
	default:
		return false
	}
}

// addFlag records a flag. What would be said of every entry of a session (its
// user is gone, the clock is off) is said once.
func (w *work) addFlag(f problem, at entry.Place, stamped, op string) error {
	id := derived("flag", w.reg.ID, at.Epoch, at.Seq, f.code, f.params["order"], f.params["line"])
	switch f.code {
	case FlagRevoked, FlagClockOff:
		id = derived("flag", w.reg.ID, stamped, f.code)
	case FlagUnknownUser:
		id = derived("flag", w.reg.ID, stamped, f.code, f.params["user"])
	case FlagUnknownProduct:
		id = derived("flag", w.reg.ID, stamped, f.code, f.params["product"])
	}
	w.told = append(w.told, wire.Flag{Place: at, Code: f.code})
	if w.flagged[id] {
		return nil
	}
	w.flagged[id] = true
	if f.params == nil {
		f.params = map[string]string{}
	}
	if _, ok := f.params["op"]; !ok && op != "" {
		f.params["op"] = op
	}
	body, err := json.Marshal(f.params)
	if err != nil {
		return fmt.Errorf("encode flag %s: %w", f.code, err)
	}
	w.changes.Flags = append(w.changes.Flags, store.Flag{
		PointOfSale: w.point, ID: id, Code: f.code, Register: w.reg.ID, Entry: at, Session: stamped, Params: body, At: w.now,
	})
	return nil
}

// bounded cuts a text of a stranger to a length that a person can read.
func bounded(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
