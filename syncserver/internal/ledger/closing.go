package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/drawer"
	"tillandsia/shared/entry"
	"tillandsia/shared/pos"
	"tillandsia/shared/posting"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/store"
)

// How a session was closed.
const (
	closedByTill   = "close_out"
	closedByForce  = "force"
	closedAsRescue = "rescue"
	closedToSettle = "settle"
)

// closing closes one session or rescue, whose root is locked: it closes the
// drawer lines, makes the posting and its number, seals the digest, and leaves
// the record that the registers are told. Everybody who closes goes this way.
type closing struct {
	ledger *Ledger
	row    store.Session
	by     pos.Person
	reason string
	kind   string
	event  session.Event
	key    string // the command's idempotency key, for the history

	// by what each line is closed; nil closes at the till's count, and at what
	// is expected where there is none.
	count func(c *drawer.Chain, line int, row *store.DrawerLine) error

	// here is the place of the register's own entry that closes the session:
	// its position.
	here     *entry.Point
	register string
}

// closed is what a closing left.
type closed struct {
	row     store.Session
	lines   []store.DrawerLine
	posting *store.Posting
	record  pos.Close
}

// unpostableError is returned where a session's posting cannot be made; nothing has
// been written then.
type unpostableError struct{ cause error }

func (e *unpostableError) Error() string { return "posting cannot be made: " + e.cause.Error() }
func (e *unpostableError) Unwrap() error { return e.cause }

// sealed are the facts that a session is sealed over.
type sealed struct {
	sums   []store.Sum
	moves  []store.Move
	booked []store.BookedRow
}

func (c *closing) do(ctx context.Context, tx store.Tx) (closed, error) {
	next, err := session.Next(c.row.State, c.event)
	if err != nil {
		return closed{}, &unpostableError{err}
	}
	lines, err := c.closeLines(ctx, tx)
	if err != nil {
		return closed{}, err
	}
	s, err := readSealed(ctx, tx, &c.row)
	if err != nil {
		return closed{}, err
	}
	company, err := companyOf(ctx, tx)
	if err != nil {
		return closed{}, err
	}
	made, err := posting.Make(factsOf(s, lines, company.Accounts))
	if err != nil {
		return closed{}, &unpostableError{err}
	}
	done := closed{row: c.row, lines: lines}
	now := c.ledger.now()
	if !made.Empty() {
		if done.posting, err = c.post(ctx, tx, made, now); err != nil {
			return closed{}, err
		}
	}
	c.seal(&done, next, s, now)
	if done.record, err = c.recordOf(ctx, tx, &done, s); err != nil {
		return closed{}, err
	}
	return done, c.write(ctx, tx, &done, now)
}

// closeLines closes the session's drawer lines.
func (c *closing) closeLines(ctx context.Context, tx store.Tx) ([]store.DrawerLine, error) {
	lines, err := tx.DrawerLines(ctx, c.row.PointOfSale, []string{c.row.ID})
	if err != nil {
		return nil, fmt.Errorf("read drawer lines: %w", err)
	}
	chains, err := chainsFor(ctx, tx, c.row.PointOfSale, lines, c.count != nil)
	if err != nil {
		return nil, err
	}
	for i := range lines {
		row := &lines[i]
		if row.Closed {
			continue
		}
		chain := chains[drawerKey{row.Register, row.Method}]
		at := chain.Find(row.Session, row.Stay)
		if at < 0 {
			return nil, fmt.Errorf("drawer line of %s %s is not in its chain", row.Register, row.Method)
		}
		count := c.count
		if count == nil {
			count = byTill
		}
		if err := count(chain, at, row); err != nil {
			return nil, err
		}
		row.Line = chain.Lines[at].Clone()
	}
	return lines, nil
}

func byTill(c *drawer.Chain, line int, _ *store.DrawerLine) error {
	return c.Close(line, drawer.ByTill, 0)
}

type drawerKey struct{ register, method string }

// chainsFor returns the chains that lines belong to. A count made at the centre
// is of the drawer as it stands: for it the moves between sessions that wait are
// read too, and whether a line is the last.
func chainsFor(ctx context.Context, r store.Reader, pointOfSale string, lines []store.DrawerLine, whole bool) (map[drawerKey]*drawer.Chain, error) {
	chains := map[drawerKey]*drawer.Chain{}
	if !whole {
		for i := range lines {
			key := drawerKey{lines[i].Register, lines[i].Method}
			if chains[key] == nil {
				chains[key] = &drawer.Chain{}
			}
			chains[key].Lines = append(chains[key].Lines, lines[i].Clone())
		}
		return chains, nil
	}
	read := map[string]bool{}
	for i := range lines {
		register := lines[i].Register
		if read[register] {
			continue
		}
		read[register] = true
		tail, err := r.DrawerChain(ctx, pointOfSale, register, []string{lines[i].Session}, tailStays)
		if err != nil {
			return nil, fmt.Errorf("read the drawer's chain: %w", err)
		}
		for j := range tail {
			key := drawerKey{register, tail[j].Method}
			if chains[key] == nil {
				chains[key] = &drawer.Chain{}
			}
			chains[key].Lines = append(chains[key].Lines, tail[j].Clone())
		}
		between, err := r.BetweenMoves(ctx, pointOfSale, register)
		if err != nil {
			return nil, fmt.Errorf("read moves between sessions: %w", err)
		}
		for _, m := range between {
			if c := chains[drawerKey{register, m.Method}]; c != nil {
				c.Between = append(c.Between, drawer.Move{ID: m.ID, At: m.Entry, Amount: m.Amount})
			}
		}
	}
	return chains, nil
}

func readSealed(ctx context.Context, r store.Reader, row *store.Session) (s sealed, err error) {
	if s.sums, err = r.Sums(ctx, row.PointOfSale, row.ID); err != nil {
		return s, fmt.Errorf("read sums: %w", err)
	}
	if s.moves, err = r.Moves(ctx, row.PointOfSale, row.ID); err != nil {
		return s, fmt.Errorf("read moves: %w", err)
	}
	if s.booked, err = r.Booked(ctx, row.PointOfSale, row.ID); err != nil {
		return s, fmt.Errorf("read booked entries: %w", err)
	}
	return s, nil
}

// factsOf are the facts that a session's posting is made of.
func factsOf(s sealed, lines []store.DrawerLine, a catalogue.Accounts) posting.Facts {
	f := posting.Facts{Accounts: posting.Accounts{Float: a.Float, Loss: a.Loss, Gain: a.Gain, Suspense: a.Suspense, Rounding: a.Rounding}}
	for _, sum := range s.sums {
		f.Sums = append(f.Sums, posting.Sum{
			Kind: posting.Kind(sum.Kind), Account: sum.Account, Detail: sum.Detail, Register: sum.Register, Amount: sum.Amount, Count: sum.Count,
		})
	}
	for _, m := range s.moves {
		f.Moves = append(f.Moves, posting.Move{
			Register: m.Register, Method: m.Method, CashAccount: m.CashAccount, Account: m.Account, Reason: m.Reason, Amount: m.Amount,
		})
	}
	for i := range lines {
		l := &lines[i]
		f.Drawers = append(f.Drawers, posting.Drawer{
			Register: l.Register, Method: l.Method, Account: l.Account,
			FirstFloat: l.FirstFloat(), OpeningDifference: l.OpeningDifference(), Difference: l.Difference(),
		})
	}
	return f
}

// post gives a posting its date and number and stores it.
func (c *closing) post(ctx context.Context, tx store.Tx, made posting.Posting, now int64) (*store.Posting, error) {
	id, err := c.ledger.who(ctx)
	if err != nil {
		return nil, err
	}
	p := storedPosting(made, &c.row, now)
	if p.Ordinal, err = tx.NextPosting(ctx, p.Year, id.tag); err != nil {
		return nil, err
	}
	p.Tag = id.tag
	p.Number = fmt.Sprintf("%d-%05d", p.Year, p.Ordinal)
	if p.Tag != "" {
		p.Number = fmt.Sprintf("%d-%s-%05d", p.Year, p.Tag, p.Ordinal)
	}
	if c.row.Root != "" {
		// The entry of a rescue names the one that it completes.
		root, err := tx.Session(ctx, c.row.PointOfSale, c.row.Root)
		if err != nil {
			return nil, fmt.Errorf("read root session: %w", err)
		}
		if root.Posting != "" {
			p.Text += " / " + root.Posting
		}
	}
	if err := tx.PutPosting(ctx, p); err != nil {
		return nil, fmt.Errorf("put posting %s: %w", p.Number, err)
	}
	return &p, nil
}

// storedPosting returns a posting as it is stored, but for its number. It is
// dated on the session's business day.
func storedPosting(made posting.Posting, row *store.Session, now int64) store.Posting {
	day, err := time.Parse(time.DateOnly, row.BusinessDate)
	if err != nil {
		// A stamp without a date that makes sense is dated on the day that it
		// is posted.
		day = timeOf(now)
	}
	p := store.Posting{
		PointOfSale: row.PointOfSale, Session: row.ID, Year: day.Year(), Date: day.Format(time.DateOnly),
		Text: row.Name, At: now, Hash: made.Hash(), Lines: make([]store.PostingLine, len(made.Lines)),
	}
	for i, l := range made.Lines {
		p.Lines[i] = store.PostingLine{
			No: i + 1, Account: l.Account, Debit: l.Debit, Credit: l.Credit, Label: l.Label, Register: l.Register,
			Method: l.Method, Customer: l.Customer, Detail: l.Detail,
		}
	}
	return p
}

func (c *closing) seal(done *closed, next session.State, s sealed, now int64) {
	row := &done.row
	row.State = next
	row.ClosedBy, row.ClosedByName, row.ClosedAt = c.by.ID, c.by.Name, now
	row.CloseReason, row.CloseKind = c.reason, c.kind
	row.Counted = isCounted(done.lines)
	row.Empty = done.posting == nil
	if done.posting != nil {
		row.Posting = done.posting.Number
	}
	row.Digest = Digest(s.booked, s.sums, done.lines, s.moves, done.posting)
}

// isCounted reports whether every drawer that is counted has a count.
func isCounted(lines []store.DrawerLine) bool {
	any := false
	for i := range lines {
		l := &lines[i]
		if !l.Cash {
			continue
		}
		if l.CountedNow() == nil {
			return false
		}
		any = true
	}
	return any
}

// recordOf makes the record of a close, with the positions of every epoch of
// every register of the point of sale.
func (c *closing) recordOf(ctx context.Context, tx store.Tx, done *closed, s sealed) (pos.Close, error) {
	row := &done.row
	record := pos.Close{
		Session: row.ID, Name: row.Name, Root: row.Root, Ordinal: row.Ordinal, By: c.by, At: timeOf(row.ClosedAt), Reason: c.reason,
		CloseOut: c.kind == closedByTill, List: ListOf(s.booked), Orders: row.Orders, Total: row.Total, Digest: row.Digest,
	}
	epochs, err := tx.AllEpochs(ctx, row.PointOfSale)
	if err != nil {
		return pos.Close{}, fmt.Errorf("read positions: %w", err)
	}
	for _, e := range epochs {
		p := pos.Position{Register: e.Register, Point: e.Cursor}
		if c.here != nil && e.Register == c.register && e.Epoch == c.here.Epoch {
			p.Point = *c.here
		}
		record.Positions = append(record.Positions, p)
	}
	for i := range done.lines {
		l := &done.lines[i]
		record.Methods = append(record.Methods, pos.MethodTotal{
			Register: l.Register, Method: l.Method, Expected: l.Expected(), Counted: l.CountedNow(),
			Difference: l.Difference(), Closing: l.Closing(),
		})
	}
	if done.posting != nil {
		record.Posting, record.PostingHash = done.posting.Number, done.posting.Hash
	}
	if row.Root != "" {
		record.Before = []string{row.Root}
		rescues, err := tx.Rescues(ctx, row.PointOfSale, []string{row.Root})
		if err != nil {
			return pos.Close{}, fmt.Errorf("read rescues: %w", err)
		}
		for _, r := range rescues {
			if r.Ordinal < row.Ordinal {
				record.Before = append(record.Before, r.ID)
			}
		}
	}
	return record, nil
}

func (c *closing) write(ctx context.Context, tx store.Tx, done *closed, now int64) error {
	row := &done.row
	body, err := json.Marshal(&done.record)
	if err != nil {
		return fmt.Errorf("encode close of %s: %w", row.ID, err)
	}
	detail := map[string]any{"kind": c.kind, "posting": row.Posting, "counted": row.Counted}
	if c.reason != "" {
		detail["reason"] = c.reason
	}
	if c.key != "" {
		detail["key"] = c.key
	}
	changes := store.Changes{
		Sessions: []store.Session{*row},
		Drawer:   done.lines,
		History: []store.HistoryRow{{
			PointOfSale: row.PointOfSale, Session: row.ID, No: now, Kind: "posted", User: c.by.ID, UserName: c.by.Name, At: now, Detail: detailOf(detail),
		}},
		Outbox: []store.OutboxRow{
			outboxRow(row.PointOfSale, "session", row.ID, now), outboxRow(row.PointOfSale, "close", row.ID, now),
		},
	}
	if err := tx.Write(ctx, &changes); err != nil {
		return fmt.Errorf("write close of %s: %w", row.ID, err)
	}
	err = tx.PutClose(ctx, store.Close{PointOfSale: row.PointOfSale, Session: row.ID, Root: row.Root, Ordinal: row.Ordinal, At: now, Body: body})
	if err != nil {
		return fmt.Errorf("put close of %s: %w", row.ID, err)
	}
	return nil
}

// stands returns what the close of a session left that was closed before.
func stands(ctx context.Context, r store.Reader, row *store.Session) (CloseResult, error) {
	result := CloseResult{Session: *row, Already: true}
	c, err := r.Close(ctx, row.PointOfSale, row.ID)
	if err != nil {
		return CloseResult{}, fmt.Errorf("read close of %s: %w", row.ID, err)
	}
	record, err := decodeClose(c)
	if err != nil {
		return CloseResult{}, err
	}
	result.Close = *record
	p, err := r.Posting(ctx, row.PointOfSale, row.ID)
	switch {
	case err == nil:
		result.Posting = &p
	case !errors.Is(err, store.ErrNotFound):
		return CloseResult{}, fmt.Errorf("read posting of %s: %w", row.ID, err)
	}
	return result, nil
}
