package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tillandsia/shared/drawer"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/pos"
	"tillandsia/shared/posting"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/store"
)

// Close closes a session from the centre and posts its entries. Not counted it
// closes at what is expected, or at the till's own count where there is one. It
// is one idempotent command: asked twice it closes once and answers the same.
// What arrives later for the session goes to a rescue.
func (l *Ledger) Close(ctx context.Context, by Actor, pointOfSale, id string, r CloseRequest) (CloseResult, error) {
	if r.Reason == "" {
		return CloseResult{}, message.New(message.Invalid, "ledger.no_reason")
	}
	if _, err := l.who(ctx); err != nil {
		return CloseResult{}, err
	}
	var result CloseResult
	err := l.store.Update(ctx, func(tx store.Tx) error {
		rows, err := tx.LockSessions(ctx, pointOfSale, []string{id})
		if err != nil {
			return fmt.Errorf("lock session %s: %w", id, err)
		}
		row, ok := rows[id]
		switch {
		case !ok:
			return message.New(message.NotFound, "ledger.no_such_session", "session", id)
		case row.Root != "":
			return message.New(message.Conflict, "ledger.rescue_of_session", "session", row.Name)
		case row.State == session.Closed:
			result, err = stands(ctx, tx, &row)
			return err
		}
		c := closing{
			ledger: l, row: row, by: pos.Person{ID: by.User, Name: by.Name}, reason: r.Reason, kind: closedByForce,
			event: session.ForceClose, key: r.Key,
		}
		if r.Counted {
			if c.count, err = l.byCounts(ctx, tx, &row, r.Counts); err != nil {
				return err
			}
		}
		result, err = l.close(ctx, tx, by, &c)
		return err
	})
	return l.closed(ctx, result, err)
}

// close does a manager's closing.
func (l *Ledger) close(ctx context.Context, tx store.Tx, by Actor, c *closing) (CloseResult, error) {
	if err := l.refusedWhileRecovering(); err != nil {
		return CloseResult{}, err
	}
	done, err := c.do(ctx, tx)
	if err != nil {
		return CloseResult{}, err
	}
	err = l.audit(ctx, tx, by, "session_closed", c.row.ID, []byte(detailOf(map[string]string{
		"name": c.row.Name, "kind": c.kind, "reason": c.reason, "posting": done.row.Posting,
	})))
	return CloseResult{Session: done.row, Close: done.record, Posting: done.posting}, err
}

func (l *Ledger) closed(ctx context.Context, result CloseResult, err error) (CloseResult, error) {
	if refused, ok := errors.AsType[*unpostableError](err); ok {
		return CloseResult{}, message.New(message.Conflict, "ledger.cannot_post", "cause", refused.cause.Error()).Wrap(err)
	}
	if err != nil {
		return CloseResult{}, err
	}
	l.store.Poke(ctx)
	return result, nil
}

// byCounts checks a manager's counts against the lines of a session, and
// returns how each line is closed by them: every drawer that is counted must be
// among them, other methods may be.
func (l *Ledger) byCounts(ctx context.Context, tx store.Tx, row *store.Session, counts []MethodCount) (func(*drawer.Chain, int, *store.DrawerLine) error, error) {
	lines, err := tx.DrawerLines(ctx, row.PointOfSale, []string{row.ID})
	if err != nil {
		return nil, fmt.Errorf("read drawer lines: %w", err)
	}
	registers, err := tx.Registers(ctx, row.PointOfSale)
	if err != nil {
		return nil, fmt.Errorf("read registers: %w", err)
	}
	codes := codesOf(registers)
	// A register that left and came back has several lines: a count made now
	// is of the last one.
	last := map[drawerKey]*store.DrawerLine{}
	for i := range lines {
		key := drawerKey{lines[i].Register, lines[i].Method}
		if last[key] == nil || last[key].Stay.Less(lines[i].Stay) {
			last[key] = &lines[i]
		}
	}
	for _, c := range counts {
		line := last[drawerKey{c.Register, c.Method}]
		if line == nil {
			return nil, message.New(message.Invalid, "ledger.count_unasked", "register", orID(codes, c.Register), "method", c.Method)
		}
		if line.Fixed != nil {
			return nil, message.New(message.Conflict, "ledger.count_fixed", "register", orID(codes, c.Register), "method", c.Method)
		}
	}
	countOf := func(key drawerKey) *MethodCount {
		i := slices.IndexFunc(counts, func(c MethodCount) bool { return c.Register == key.register && c.Method == key.method })
		if i < 0 {
			return nil
		}
		return &counts[i]
	}
	for key, line := range last {
		if line.Cash && line.Fixed == nil && countOf(key) == nil {
			return nil, message.New(message.Invalid, "ledger.count_lacks", "register", orID(codes, key.register), "method", line.MethodName)
		}
	}
	return func(c *drawer.Chain, line int, row *store.DrawerLine) error {
		key := drawerKey{row.Register, row.Method}
		count := countOf(key)
		if count == nil || last[key].Stay != row.Stay {
			return byTill(c, line, row)
		}
		err := c.Close(line, drawer.ByCount, count.Amount)
		if errors.Is(err, drawer.ErrFixed) {
			return message.New(message.Conflict, "ledger.count_fixed", "register", orID(codes, row.Register), "method", row.Method)
		}
		return err
	}, nil
}

func orID(codes map[string]string, id string) string {
	if code := codes[id]; code != "" {
		return code
	}
	return id
}

// PreviewClose says what the server knows before a session or rescue is closed,
// and the posting as it would be written now, not counted.
func (l *Ledger) PreviewClose(ctx context.Context, pointOfSale, id string) (ClosePreview, error) {
	var p ClosePreview
	err := l.store.View(ctx, func(r store.Reader) error {
		p = ClosePreview{AsOf: l.clock().UTC()}
		row, err := r.Session(ctx, pointOfSale, id)
		if err != nil {
			return notFound(err, "ledger.no_such_session", "session", id)
		}
		p.Session = row
		if err := p.readRegisters(ctx, r, l.clock().UnixMicro()); err != nil {
			return err
		}
		return p.readLines(ctx, r)
	})
	return p, err
}

func (p *ClosePreview) readRegisters(ctx context.Context, r store.Reader, now int64) error {
	registers, err := r.Registers(ctx, p.Session.PointOfSale)
	if err != nil {
		return fmt.Errorf("read registers: %w", err)
	}
	epochs, err := r.AllEpochs(ctx, p.Session.PointOfSale)
	if err != nil {
		return fmt.Errorf("read positions: %w", err)
	}
	root := p.Session.ID
	if p.Session.Root != "" {
		root = p.Session.Root
	}
	stays, err := r.Stays(ctx, p.Session.PointOfSale, []string{root})
	if err != nil {
		return fmt.Errorf("read stays: %w", err)
	}
	for _, row := range registers {
		state := RegisterState{RegisterContact: contact(row), Waiting: row.Waiting, WaitingAmount: row.WaitingAmount, Heard: []entry.Point{}}
		for _, e := range epochs {
			if e.Register == row.ID {
				state.Heard = append(state.Heard, e.Cursor)
			}
		}
		for _, s := range stays {
			if s.Register == row.ID {
				state.InSession, state.Left = true, s.Left
			}
		}
		if state.InSession && !state.Left && (row.Waiting > 0 || now-row.LastSeen > contactLost) {
			p.Unheard = true
		}
		p.Registers = append(p.Registers, state)
	}
	return nil
}

// contactLost is how long, in microseconds, a register may be silent before
// contact is said to be lost; pings come every 20 seconds.
const contactLost = 60_000_000

func (p *ClosePreview) readLines(ctx context.Context, r store.Reader) error {
	lines, err := r.DrawerLines(ctx, p.Session.PointOfSale, []string{p.Session.ID})
	if err != nil {
		return fmt.Errorf("read drawer lines: %w", err)
	}
	chains, err := chainsFor(ctx, r, p.Session.PointOfSale, lines, true)
	if err != nil {
		return err
	}
	codes := map[string]string{}
	for _, s := range p.Registers {
		codes[s.ID] = s.Code
	}
	p.TillCounted = len(lines) > 0
	for i := range lines {
		line := &lines[i]
		chain := chains[drawerKey{line.Register, line.Method}]
		view := LineView{
			Register: line.Register, Code: codes[line.Register], Method: line.Method, Name: line.MethodName, Opening: line.Opening,
			Cash: line.Taken, Moves: line.Moves, Expected: line.Expected(), Counted: line.CountedNow(), Difference: line.Difference(),
			Closing: line.Closing(), Fixed: line.Fixed != nil,
		}
		if at := chain.Find(line.Session, line.Stay); at >= 0 {
			view.Suggested = chain.Suggested(at)
		}
		if line.Cash && line.Fixed == nil && view.Suggested == nil {
			p.TillCounted = false
		}
		p.Lines = append(p.Lines, view)
	}
	if p.Session.State == session.Closed {
		row, err := stands(ctx, r, &p.Session)
		p.Posting = row.Posting
		return err
	}
	return p.readPosting(ctx, r, lines)
}

// readPosting makes the posting as it would be, without writing anything.
func (p *ClosePreview) readPosting(ctx context.Context, r store.Reader, lines []store.DrawerLine) error {
	for i := range lines {
		by := drawer.ByTill
		if p.Session.Root != "" {
			by = drawer.ByNotCounted
		}
		if lines[i].Closed {
			continue
		}
		if err := lines[i].Close(by, 0); err != nil {
			return fmt.Errorf("close drawer line: %w", err)
		}
	}
	s, err := readSealed(ctx, r, &p.Session)
	if err != nil {
		return err
	}
	company, err := companyOf(ctx, r)
	if err != nil {
		return err
	}
	made, err := posting.Make(factsOf(s, lines, company.Accounts))
	if err != nil || made.Empty() {
		// What cannot be posted is said when it is tried.
		return nil //nolint:nilerr // see above
	}
	stored := storedPosting(made, &p.Session, p.AsOf.UnixMicro())
	p.Posting = &stored
	return nil
}
