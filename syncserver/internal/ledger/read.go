package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/store"
)

// SessionView is a session in a list.
type SessionView struct {
	store.Session
	RegisterCode string
	// Difference is Σ (counted − expected) over its drawer lines.
	Difference money.Amount
	// OpeningDifference is what the floats were off.
	OpeningDifference money.Amount
}

// ListSessions lists sessions and rescues by filter, newest opening first.
func (l *Ledger) ListSessions(ctx context.Context, f store.SessionFilter) ([]SessionView, error) {
	var list []SessionView
	err := l.store.View(ctx, func(r store.Reader) error {
		rows, err := r.Sessions(ctx, f)
		if err != nil {
			return fmt.Errorf("list sessions: %w", err)
		}
		list, err = views(ctx, r, rows)
		return err
	})
	return list, err
}

func views(ctx context.Context, r store.Reader, rows []store.Session) ([]SessionView, error) {
	list := make([]SessionView, len(rows))
	byPoint := map[string][]string{}
	at := map[string]int{}
	for i, s := range rows {
		list[i].Session = s
		at[s.ID] = i
		byPoint[s.PointOfSale] = append(byPoint[s.PointOfSale], s.ID)
	}
	for point, ids := range byPoint {
		registers, err := r.Registers(ctx, point)
		if err != nil {
			return nil, fmt.Errorf("read registers: %w", err)
		}
		codes := codesOf(registers)
		for _, id := range ids {
			list[at[id]].RegisterCode = codes[list[at[id]].Register]
		}
		lines, err := r.DrawerLines(ctx, point, ids)
		if err != nil {
			return nil, fmt.Errorf("read drawer lines: %w", err)
		}
		for i := range lines {
			v := &list[at[lines[i].Session]]
			v.Difference += lines[i].Difference()
			v.OpeningDifference += lines[i].OpeningDifference()
		}
	}
	return list, nil
}

// SessionDetail is all that stands of a session.
type SessionDetail struct {
	SessionView
	// RootSession is the session that a rescue rescues; Rescues are those of a
	// root.
	RootSession *store.Session
	Rescues     []store.Session
	Stays       []store.Stay
	Drawers     []store.DrawerLine
	Methods     []MethodView
	Sums        []store.Sum
	History     []store.HistoryRow
	Counts      []store.CountRow
	Moves       []store.Move
	Zs          []store.ZRow
	Flags       []store.Flag
	Posting     *store.Posting
	Close       *pos.Close
	// Codes are the registers of the point of sale: id to code.
	Codes map[string]string
}

// MethodView is a payment method of a session over all its drawers.
type MethodView struct {
	Method     string
	Name       string
	Taken      money.Amount // payments less change, refunds negative
	Expected   money.Amount
	Counted    *money.Amount // nil where not every drawer was counted
	Difference money.Amount
}

// Session returns a session or rescue with everything about it.
func (l *Ledger) Session(ctx context.Context, pointOfSale, id string) (SessionDetail, error) {
	var d SessionDetail
	err := l.store.View(ctx, func(r store.Reader) error {
		d = SessionDetail{}
		s, err := r.Session(ctx, pointOfSale, id)
		if err != nil {
			return notFound(err, "ledger.no_such_session", "session", id)
		}
		list, err := views(ctx, r, []store.Session{s})
		if err != nil {
			return err
		}
		d.SessionView = list[0]
		return d.read(ctx, r)
	})
	return d, err
}

func (d *SessionDetail) read(ctx context.Context, r store.Reader) error {
	point, id, root := d.PointOfSale, d.ID, d.ID
	if d.Root != "" {
		root = d.Root
		s, err := r.Session(ctx, point, root)
		if err != nil {
			return fmt.Errorf("read root session: %w", err)
		}
		d.RootSession = &s
	}
	registers, err := r.Registers(ctx, point)
	if err != nil {
		return fmt.Errorf("read registers: %w", err)
	}
	d.Codes = codesOf(registers)
	reads := []struct {
		what string
		read func() error
	}{
		{"rescues", func() (err error) {
			if d.RootSession == nil {
				d.Rescues, err = r.Rescues(ctx, point, []string{id})
			}
			return err
		}},
		{"stays", func() (err error) { d.Stays, err = r.Stays(ctx, point, []string{root}); return err }},
		{"drawer lines", func() (err error) { d.Drawers, err = r.DrawerLines(ctx, point, []string{id}); return err }},
		{"sums", func() (err error) { d.Sums, err = r.Sums(ctx, point, id); return err }},
		{"history", func() (err error) { d.History, err = r.History(ctx, point, id); return err }},
		{"counts", func() (err error) { d.Counts, err = r.Counts(ctx, point, id); return err }},
		{"moves", func() (err error) { d.Moves, err = r.Moves(ctx, point, id); return err }},
		{"Z reports", func() (err error) { d.Zs, err = r.ZReports(ctx, point, id); return err }},
		{"flags", func() (err error) {
			d.Flags, err = r.Flags(ctx, store.FlagFilter{PointsOfSale: []string{point}, Session: id})
			return err
		}},
		{"posting", func() error {
			p, err := r.Posting(ctx, point, id)
			if err == nil {
				d.Posting = &p
			}
			return ignoreNotFound(err)
		}},
		{"close", func() error {
			c, err := r.Close(ctx, point, id)
			if err == nil {
				d.Close, err = decodeClose(c)
			}
			return ignoreNotFound(err)
		}},
	}
	for _, it := range reads {
		if err := it.read(); err != nil {
			return fmt.Errorf("read %s of session %s: %w", it.what, id, err)
		}
	}
	d.Methods = methodsOf(d.Drawers)
	return nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

func decodeClose(c store.Close) (*pos.Close, error) {
	var record pos.Close
	if err := json.Unmarshal(c.Body, &record); err != nil {
		return nil, fmt.Errorf("read close of %s: %w", c.Session, err)
	}
	return &record, nil
}

// OrderDetail is an order with its lines, payments and journal entry.
type OrderDetail struct {
	store.Order
	Lines    []store.OrderLine
	Payments []store.Payment
	Entry    []byte // the journal entry's bytes
	Hash     entry.Hash
	// Body is the order as the till recorded it.
	Body    pos.Order
	Stamped *store.Session
	Booked  *store.Session
	// Refunded is what was taken back so far, by line id.
	Refunded map[string]money.Qty
}

// Orders lists orders by filter, newest first.
func (l *Ledger) Orders(ctx context.Context, f store.OrderFilter) (orders []store.Order, err error) {
	err = l.store.View(ctx, func(r store.Reader) error {
		orders, err = r.Orders(ctx, f)
		return err
	})
	return orders, err
}

// Order returns an order by id.
func (l *Ledger) Order(ctx context.Context, pointOfSale, id string) (OrderDetail, error) {
	var d OrderDetail
	err := l.store.View(ctx, func(r store.Reader) error {
		d = OrderDetail{}
		o, err := r.Order(ctx, pointOfSale, id)
		if err != nil {
			return notFound(err, "ledger.no_such_order", "order", id)
		}
		d.Order = o
		if d.Lines, err = r.OrderLines(ctx, pointOfSale, []string{id}); err != nil {
			return fmt.Errorf("read lines of order %s: %w", id, err)
		}
		if d.Payments, err = r.OrderPayments(ctx, pointOfSale, []string{id}); err != nil {
			return fmt.Errorf("read payments of order %s: %w", id, err)
		}
		row, err := r.JournalRow(ctx, store.JournalKey{PointOfSale: pointOfSale, Register: o.Register, Place: o.Entry})
		if err != nil {
			return fmt.Errorf("read entry of order %s: %w", id, err)
		}
		d.Entry, d.Hash = row.Raw, row.Hash
		it, err := decode(row.Raw)
		if err != nil {
			return fmt.Errorf("read entry of order %s: %w", id, err)
		}
		if body, ok := it.body.(*pos.Order); ok {
			d.Body = *body
		}
		if d.Stamped, err = optionalSession(ctx, r, pointOfSale, o.Stamped); err != nil {
			return err
		}
		if d.Booked, err = optionalSession(ctx, r, pointOfSale, o.Session); err != nil {
			return err
		}
		refunds, err := r.RefundedLines(ctx, pointOfSale, []string{id})
		if err != nil {
			return fmt.Errorf("read refunds of order %s: %w", id, err)
		}
		d.Refunded = map[string]money.Qty{}
		for _, line := range refunds {
			d.Refunded[line.Line] = line.Refunded
		}
		return nil
	})
	return d, err
}

func optionalSession(ctx context.Context, r store.Reader, pointOfSale, id string) (*store.Session, error) {
	s, err := r.Session(ctx, pointOfSale, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // no session is an answer here, not an error
	}
	if err != nil {
		return nil, fmt.Errorf("read session %s: %w", id, err)
	}
	return &s, nil
}

// Postings lists postings by filter, by number.
func (l *Ledger) Postings(ctx context.Context, f store.PostingFilter) (list []store.Posting, err error) {
	err = l.store.View(ctx, func(r store.Reader) error {
		list, err = r.Postings(ctx, f)
		return err
	})
	return list, err
}

// Posting returns the posting of a session.
func (l *Ledger) Posting(ctx context.Context, pointOfSale, id string) (p store.Posting, err error) {
	err = l.store.View(ctx, func(r store.Reader) error {
		p, err = r.Posting(ctx, pointOfSale, id)
		return notFound(err, "ledger.no_posting", "session", id)
	})
	return p, err
}

// openStates are the states of sessions that are not closed.
var openStates = []session.State{session.OpeningControl, session.Opened, session.ClosingControl}
