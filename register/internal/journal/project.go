package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// projection is what the till reads, made from the entries by apply: the one
// function that Append, Rebuild and Verify share. What changes often is held
// decoded until flush, so that a transaction of several entries encodes it
// once.
type projection struct {
	in       root
	identity Identity

	series   *Series
	current  *string
	sessions map[string]*Session
	drawers  map[string]*drawer
	dirty    map[any]bool // pointers of what flush writes
}

// drawer is the cash of one method in this register's drawer, as the till
// knows it.
type drawer struct {
	// Line is the session whose sums are the last line of the drawer; empty
	// before the first, and where that line was taken over into Balance.
	Line string `json:"line,omitempty"`
	// Balance is what stood there before, where Line is empty.
	Balance money.Amount `json:"balance"`
	// Between is what was moved between sessions since.
	Between money.Amount `json:"between"`
}

func newProjection(in root, identity Identity) *projection {
	return &projection{
		in: in, identity: identity,
		sessions: map[string]*Session{}, drawers: map[string]*drawer{}, dirty: map[any]bool{},
	}
}

// bodyOf decodes the body of an entry by its kind; nil for a kind that is not
// known here.
func bodyOf(e *entry.Entry) (any, error) {
	switch e.Kind {
	case entry.KindBegun:
		return decoded[pos.Begun](e)
	case entry.KindSeries:
		return decoded[pos.SeriesBegun](e)
	case entry.KindOpened:
		return decoded[pos.Opened](e)
	case entry.KindJoined:
		return decoded[pos.Joined](e)
	case entry.KindLeft:
		return decoded[pos.Left](e)
	case entry.KindCounted:
		return decoded[pos.Counted](e)
	case entry.KindClosed:
		return decoded[pos.Closed](e)
	case entry.KindOrder, entry.KindTraining:
		return decoded[pos.Order](e)
	case entry.KindReceipt:
		return decoded[pos.Receipt](e)
	case entry.KindMove:
		return decoded[pos.Move](e)
	case entry.KindRebased:
		return decoded[pos.Rebased](e)
	case entry.KindClose:
		return decoded[pos.Close](e)
	case entry.KindSignedIn, entry.KindLocked, entry.KindPINFailed, entry.KindLockedOut, entry.KindContinued,
		entry.KindOfficeSignedIn, entry.KindScreensEnded, entry.KindPriceOverridden, entry.KindDiscounted,
		entry.KindLineVoided, entry.KindCartDiscarded, entry.KindDrawerOpened, entry.KindReprinted,
		entry.KindTrainingOn, entry.KindTrainingOff, entry.KindSettingsApplied, entry.KindClockJumped:
		return decoded[pos.Event](e)
	}
	return nil, nil
}

func decoded[T any](e *entry.Entry) (any, error) {
	body, err := entry.Body[T](e)
	if err != nil {
		return nil, err
	}
	return &body, nil
}

// apply takes an entry into the projections. body is what bodyOf returned.
func (p *projection) apply(e *entry.Entry, body any) error {
	if err := p.indexOp(e.Op, e.Place()); err != nil {
		return err
	}
	switch b := body.(type) {
	case *pos.Begun:
		return p.putState(keyNonce, b.Nonce)
	case *pos.SeriesBegun:
		return p.beginSeries(b)
	case *pos.Opened:
		return p.open(e, b)
	case *pos.Joined:
		return p.join(e, b)
	case *pos.Counted:
		return p.count(b)
	case *pos.Closed:
		return p.endLine(e, b.Session, Closed, b.Counts, b.Drop, b.Z)
	case *pos.Left:
		return p.endLine(e, b.Session, Left, b.Counts, b.Drop, b.Z)
	case *pos.Order:
		if e.Kind == entry.KindTraining {
			return p.train(e, b)
		}
		return p.sell(e, b)
	case *pos.Receipt:
		return p.receive(e, b)
	case *pos.Move:
		return p.move(b)
	case *pos.Close:
		return p.hear(e.Place(), b.Session)
	case *pos.Rebased:
		return p.rewrap(e, b)
	case *pos.Event:
		return p.note(e, b)
	}
	return nil
}

// putIn writes a value into a bucket of the projections.
func (p *projection) putIn(name, key []byte, value any) error {
	b, err := bucket(p.in, name)
	if err != nil {
		return err
	}
	return put(b, key, value)
}

func (p *projection) putState(key []byte, value any) error { return p.putIn(bucketState, key, value) }

// indexOp notes where an operation stands; of two entries with one, as a fork
// can leave them, the first.
func (p *projection) indexOp(op string, at entry.Place) error {
	b, err := bucket(p.in, bucketOps)
	if err != nil {
		return err
	}
	if b.Get([]byte(op)) != nil {
		return nil
	}
	return b.Put([]byte(op), placeKey(at))
}

// theSeries returns the number series that runs, to be changed.
func (p *projection) theSeries() (*Series, error) {
	if p.series == nil {
		b, err := bucket(p.in, bucketState)
		if err != nil {
			return nil, err
		}
		s, _, err := get[Series](b, keySeries)
		if err != nil {
			return nil, err
		}
		p.series = &s
	}
	return p.series, nil
}

func (p *projection) changeSeries() (*Series, error) {
	s, err := p.theSeries()
	if err == nil {
		p.dirty[s] = true
	}
	return s, err
}

// session returns a session, nil where the journal knows none.
func (p *projection) session(id string) (*Session, error) {
	if s, ok := p.sessions[id]; ok {
		return s, nil
	}
	b, err := bucket(p.in, bucketSessions)
	if err != nil {
		return nil, err
	}
	s, found, err := get[Session](b, []byte(id))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, nil
	}
	p.sessions[id] = &s
	return &s, nil
}

// stamped returns the session of a stamp, to be changed. One that the journal
// never opened or joined, as a fetched entry can name it, is made as ended.
func (p *projection) stamped(stamp pos.Stamp, at time.Time) (*Session, error) {
	s, err := p.session(stamp.ID)
	if err != nil {
		return nil, err
	}
	if s == nil {
		s = &Session{Stamp: stamp, Own: stamp.Register == p.identity.Register, State: Left, From: at}
		p.sessions[stamp.ID] = s
	}
	p.dirty[s] = true
	return s, nil
}

func (p *projection) currentID() (string, error) {
	if p.current == nil {
		b, err := bucket(p.in, bucketState)
		if err != nil {
			return "", err
		}
		id, _, err := get[string](b, keyCurrent)
		if err != nil {
			return "", err
		}
		p.current = &id
	}
	return *p.current, nil
}

// drawer returns a method's drawer; nil where it never held anything.
func (p *projection) drawer(method string) (*drawer, error) {
	if d, ok := p.drawers[method]; ok {
		return d, nil
	}
	b, err := bucket(p.in, bucketState)
	if err != nil {
		return nil, err
	}
	d, found, err := get[drawer](b, []byte(prefixDrawer+method))
	if err != nil || !found {
		return nil, err
	}
	p.drawers[method] = &d
	return &d, nil
}

func (p *projection) changeDrawer(method string) (*drawer, error) {
	d, err := p.drawer(method)
	if err != nil {
		return nil, err
	}
	if d == nil {
		d = &drawer{}
		p.drawers[method] = d
	}
	p.dirty[d] = true
	return d, nil
}

// brought is the balance brought forward of a drawer.
func (p *projection) brought(method string) (money.Amount, bool, error) {
	d, err := p.drawer(method)
	if err != nil || d == nil {
		return 0, false, err
	}
	balance := d.Balance
	if d.Line != "" {
		s, err := p.session(d.Line)
		if err != nil {
			return 0, false, err
		}
		if s == nil {
			return 0, false, damaged("drawer of %s: session %s is missing", method, d.Line)
		}
		balance = 0
		if m := s.sums(method); m != nil {
			balance = m.Balance()
		}
	}
	balance, err = add(balance, d.Between)
	return balance, true, err
}

// flush writes what was held decoded, in an order that is always the same.
func (p *projection) flush() error {
	if p.series != nil && p.dirty[p.series] {
		if err := p.putState(keySeries, p.series); err != nil {
			return err
		}
	}
	for _, method := range slices.Sorted(maps.Keys(p.drawers)) {
		if d := p.drawers[method]; p.dirty[d] {
			if err := p.putState([]byte(prefixDrawer+method), d); err != nil {
				return err
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.sessions)) {
		if s := p.sessions[id]; p.dirty[s] {
			if err := p.putIn(bucketSessions, []byte(id), s); err != nil {
				return err
			}
		}
	}
	clear(p.dirty)
	return nil
}

// printer is the register's code with the tag of its series.
func printer(code, tag string) string {
	if tag == "" {
		return code
	}
	return code + "." + tag
}

func (p *projection) beginSeries(b *pos.SeriesBegun) error {
	s, err := p.changeSeries()
	if err != nil {
		return err
	}
	if b.Tag == s.Tag {
		return nil // more was found out about the old series
	}
	used := s.Used
	if s.Tag != "" {
		used = append(used, s.Tag)
	}
	*s = Series{Tag: b.Tag, Used: used, Moved: s.Moved}
	return nil
}

func (p *projection) open(e *entry.Entry, b *pos.Opened) error {
	series, err := p.changeSeries()
	if err != nil {
		return err
	}
	owner, number := pos.SplitSessionName(b.Session.Name)
	if owner == printer(p.identity.Code, series.Tag) {
		var n int
		if _, err := fmt.Sscanf(number, "%d", &n); err == nil && n > series.Sessions {
			series.Sessions, series.LastSession = n, b.Session.Name
		}
	}
	return p.beginLine(Session{
		Stamp: b.Session, Own: true, User: b.User, Since: e.At, Methods: b.Methods,
		Drawer: b.Drawer, CashControl: b.CashControl, CashMethod: b.CashMethod,
		Float: b.Float, Brought: b.Brought, MaxDifference: b.MaxDifference, From: e.At,
	})
}

func (p *projection) join(e *entry.Entry, b *pos.Joined) error {
	return p.beginLine(Session{
		Stamp: b.Session, User: b.User, Since: e.At, Methods: b.Methods,
		Drawer: b.Drawer, CashControl: b.CashControl, CashMethod: b.CashMethod,
		Float: b.Float, Brought: b.Brought, From: e.At,
	})
}

// beginLine makes s the current session and begins its drawer's line. Where
// the session was joined before, its numbers go on and its sums begin anew.
func (p *projection) beginLine(s Session) error {
	old, err := p.session(s.ID)
	if err != nil {
		return err
	}
	if old != nil {
		// What the drawer's last line holds is taken over before its sums go.
		for _, m := range old.Sums {
			d, err := p.drawer(m.Method)
			if err != nil {
				return err
			}
			if d == nil || d.Line != s.ID {
				continue
			}
			balance, _, err := p.brought(m.Method)
			if err != nil {
				return err
			}
			*d = drawer{Balance: balance}
			p.dirty[d] = true
		}
	}
	s.State, s.Stay = Selling, 1
	if old != nil {
		s.Own = old.Own || s.Own
		s.Stay = old.Stay + 1
		s.Series, s.Receipts = old.Series, old.Receipts
		s.TrainingSeries, s.Training = old.TrainingSeries, old.Training
		s.Zs, s.Orders, s.Total = old.Zs, old.Orders, old.Total
		if old.Period.Sales+old.Period.Refunds+old.Period.Receipts > 0 {
			// Sold after the last Z of the stay before: it goes into the next.
			s.From, s.Period, s.First, s.Last = old.From, old.Period, old.First, old.Last
		}
	}
	s.Sums = make([]MethodSums, 0, len(s.Methods))
	for _, m := range s.Methods {
		sums := MethodSums{Method: m.ID, Name: m.Name, Kind: m.Kind}
		if s.Drawer && m.ID == s.CashMethod {
			sums.Opening = s.Float
		}
		s.Sums = append(s.Sums, sums)
	}
	if s.Drawer && s.CashMethod != "" {
		d, err := p.changeDrawer(s.CashMethod)
		if err != nil {
			return err
		}
		*d = drawer{Line: s.ID}
	}
	p.sessions[s.ID] = &s
	p.dirty[&s] = true
	p.current = &s.ID
	return p.putState(keyCurrent, s.ID)
}

// sums returns those of a method, nil without any.
func (s *Session) sums(method string) *MethodSums {
	for i := range s.Sums {
		if s.Sums[i].Method == method {
			return &s.Sums[i]
		}
	}
	return nil
}

// sumsFor returns those of a method to be changed; one that the session did
// not open with is added.
func (s *Session) sumsFor(method, name string, kind pos.MethodKind) *MethodSums {
	if m := s.sums(method); m != nil {
		return m
	}
	s.Sums = append(s.Sums, MethodSums{Method: method, Name: name, Kind: kind})
	return &s.Sums[len(s.Sums)-1]
}

func (p *projection) count(b *pos.Counted) error {
	s, err := p.stamped(b.Session, time.Time{})
	if err != nil {
		return err
	}
	s.setCounts(b.Counts)
	s.Attempts++
	s.State = Counted
	return nil
}

func (s *Session) setCounts(counts []pos.Count) {
	for _, c := range counts {
		m := s.sumsFor(c.Method, "", "")
		amount := c.Amount
		m.Counted, m.After = &amount, 0
	}
}

// endLine closes a drawer's line: what stays is what a sale after it, or the
// next session, begins with.
func (p *projection) endLine(e *entry.Entry, stamp pos.Stamp, state State, counts []pos.Count, drop *pos.Drop, z pos.Z) error {
	s, err := p.stamped(stamp, e.At)
	if err != nil {
		return err
	}
	// The counts are those of the last count; where none was journalled they
	// are one.
	for _, c := range counts {
		if m := s.sums(c.Method); m == nil || m.Counted == nil {
			s.setCounts([]pos.Count{c})
		}
	}
	for i := range s.Sums {
		m := &s.Sums[i]
		closing := m.Balance()
		m.LastDrop = 0
		if drop != nil && drop.Method == m.Method {
			if closing, err = add(closing, -drop.Amount); err != nil {
				return err
			}
			m.LastDrop = drop.Amount
		}
		if m.Kind == pos.MethodPayLater {
			closing = 0
		}
		m.Opening, m.Taken, m.Moves, m.After, m.Counted = closing, 0, 0, 0, nil
	}
	s.State, s.Attempts = state, 0
	s.From, s.Period, s.First, s.Last = e.At, pos.ZSums{}, "", ""
	s.Zs++
	series, err := p.changeSeries()
	if err != nil {
		return err
	}
	if z.Series == series.Tag && z.Number > series.Z {
		series.Z = z.Number
	}
	return nil
}

// sell takes an order into the money of its session and into the lists.
func (p *projection) sell(e *entry.Entry, o *pos.Order) error {
	s, err := p.stamped(o.Session, e.At)
	if err != nil {
		return err
	}
	series, err := p.changeSeries()
	if err != nil {
		return err
	}
	moved, err := s.pay(o.Payments, o.Change, o.ChangeMethod)
	if err != nil {
		return err
	}
	if err := addOrder(&s.Period, o); err != nil {
		return err
	}
	if err := addOrder(&series.Perpetual, o); err != nil {
		return err
	}
	if series.Moved, err = add(series.Moved, moved); err != nil {
		return err
	}
	if s.Total, err = add(s.Total, o.Total); err != nil {
		return err
	}
	s.Orders++
	s.number(series, o.Series, o.Ordinal, o.Number)
	if err := p.refund(o); err != nil {
		return err
	}
	return p.list(orderByPlace, orderRow(e, o))
}

func orderRow(e *entry.Entry, o *pos.Order) OrderRow {
	row := OrderRow{
		Place: e.Place(), Op: e.Op, Kind: e.Kind, At: e.At, Number: o.Number,
		Session: o.Session.Name, User: o.User.Name, Total: o.Total, Lines: len(o.Lines),
	}
	if o.Customer != nil {
		row.Customer = o.Customer.Name
	}
	return row
}

func (p *projection) receive(e *entry.Entry, r *pos.Receipt) error {
	s, err := p.stamped(r.Session, e.At)
	if err != nil {
		return err
	}
	series, err := p.changeSeries()
	if err != nil {
		return err
	}
	moved, err := s.pay(r.Payments, r.Change, r.ChangeMethod)
	if err != nil {
		return err
	}
	for _, sums := range []*pos.ZSums{&s.Period, &series.Perpetual} {
		sums.Receipts++
		if sums.ReceiptsSum, err = add(sums.ReceiptsSum, r.Amount); err != nil {
			return err
		}
		if sums.Rounding, err = add(sums.Rounding, r.Rounding); err != nil {
			return err
		}
	}
	if series.Moved, err = add(series.Moved, moved); err != nil {
		return err
	}
	s.number(series, r.Series, r.Ordinal, r.Number)
	return p.list(orderByPlace, OrderRow{
		Place: e.Place(), Op: e.Op, Kind: e.Kind, At: e.At, Number: r.Number,
		Session: r.Session.Name, User: r.User.Name, Customer: r.Customer.Name, Total: r.Amount,
	})
}

func (p *projection) train(e *entry.Entry, o *pos.Order) error {
	s, err := p.stamped(o.Session, e.At)
	if err != nil {
		return err
	}
	if s.TrainingSeries != o.Series || o.Ordinal > s.Training {
		s.TrainingSeries, s.Training = o.Series, o.Ordinal
	}
	return p.list(trainingByPlace, orderRow(e, o))
}

// number notes the last number printed.
func (s *Session) number(series *Series, tag string, ordinal int, number string) {
	if tag == series.Tag {
		if s.Series != tag {
			s.Series, s.Receipts = tag, 0
		}
		s.Receipts = max(s.Receipts, ordinal)
		series.LastReceipt = number
	}
	if s.First == "" {
		s.First = number
	}
	s.Last = number
}

// pay adds payments and change to the sums of their methods and returns what
// they come to.
func (s *Session) pay(payments []pos.Payment, change money.Amount, changeMethod string) (money.Amount, error) {
	var total money.Amount
	var err error
	take := func(m *MethodSums, amount money.Amount) error {
		if total, err = add(total, amount); err != nil {
			return err
		}
		if m.Taken, err = add(m.Taken, amount); err != nil {
			return err
		}
		if m.Counted != nil {
			m.After, err = add(m.After, amount)
		}
		return err
	}
	for _, pay := range payments {
		if err := take(s.sumsFor(pay.Method, pay.Name, pay.Kind), pay.Amount); err != nil {
			return 0, err
		}
		if changeMethod == "" && pay.Kind == pos.MethodCash {
			changeMethod = pay.Method
		}
	}
	if change != 0 {
		if err := take(s.sumsFor(changeMethod, "", pos.MethodCash), -change); err != nil {
			return 0, err
		}
	}
	return total, nil
}

func (p *projection) move(b *pos.Move) error {
	series, err := p.changeSeries()
	if err != nil {
		return err
	}
	if series.Moved, err = add(series.Moved, b.Amount); err != nil {
		return err
	}
	if b.Session == nil {
		d, err := p.changeDrawer(b.Method)
		if err != nil {
			return err
		}
		d.Between, err = add(d.Between, b.Amount)
		return err
	}
	s, err := p.stamped(*b.Session, time.Time{})
	if err != nil {
		return err
	}
	m := s.sumsFor(b.Method, "", pos.MethodCash)
	if m.Moves, err = add(m.Moves, b.Amount); err != nil {
		return err
	}
	if m.Counted != nil {
		m.After, err = add(m.After, b.Amount)
	}
	return err
}

// refund notes what an order takes back of earlier ones.
func (p *projection) refund(o *pos.Order) error {
	b, err := bucket(p.in, bucketRefunds)
	if err != nil {
		return err
	}
	for _, line := range o.Lines {
		if line.Refund == nil {
			continue
		}
		key := []byte(line.Refund.Order)
		so, _, err := get[map[string]money.Qty](b, key)
		if err != nil {
			return err
		}
		if so == nil {
			so = map[string]money.Qty{}
		}
		sum, err := add(money.Amount(so[line.Refund.Line]), -money.Amount(line.Qty))
		if err != nil {
			return err
		}
		so[line.Refund.Line] = money.Qty(sum)
		if err := put(b, key, so); err != nil {
			return err
		}
	}
	return nil
}

func (p *projection) list(prefix byte, row OrderRow) error {
	b, err := bucket(p.in, bucketOrders)
	if err != nil {
		return err
	}
	at := placeKey(row.Place)
	if err := b.Put(prefixed(prefix, at), encodeRow(row)); err != nil {
		return err
	}
	if row.Number == "" {
		return nil
	}
	return b.Put(prefixed(orderByNumber, []byte(row.Number), []byte{0}, at), []byte{prefix})
}

// hear notes a close, once by the session that it closes.
func (p *projection) hear(at entry.Place, session string) error {
	b, err := bucket(p.in, bucketCloses)
	if err != nil {
		return err
	}
	key := prefixed(closeBySession, []byte(session))
	if b.Get(key) != nil {
		return nil
	}
	if err := b.Put(key, placeKey(at)); err != nil {
		return err
	}
	return b.Put(prefixed(closeByPlace, placeKey(at)), []byte(session))
}

// rewrap takes a wrapped entry of a branch into the lists: it is found,
// reprinted and refunded. Its money is not taken in by this version, which
// makes no wraps.
func (p *projection) rewrap(e *entry.Entry, b *pos.Rebased) error {
	if err := p.indexOp(b.Op, e.Place()); err != nil {
		return err
	}
	original, err := entry.Decode(b.Original)
	if err != nil {
		return err
	}
	body, err := bodyOf(&original)
	if err != nil {
		return err
	}
	original.Epoch, original.Seq = e.Epoch, e.Seq
	switch o := body.(type) {
	case *pos.Order:
		if original.Kind != entry.KindOrder {
			return nil
		}
		if err := p.refund(o); err != nil {
			return err
		}
		return p.list(orderByPlace, orderRow(&original, o))
	case *pos.Close:
		return p.hear(e.Place(), o.Session)
	}
	return nil
}

// note takes an event into what the till reads of events: most say nothing
// that it reads.
func (p *projection) note(e *entry.Entry, b *pos.Event) error {
	is := func(kinds ...entry.Kind) bool { return slices.Contains(kinds, e.Kind) }
	switch {
	case is(entry.KindPINFailed, entry.KindLockedOut, entry.KindSignedIn) && b.User != nil:
		return p.tries(e, b)
	case is(entry.KindOfficeSignedIn) && b.Detail != "":
		return p.putState([]byte(prefixSpent+b.Detail), e.Place())
	case is(entry.KindSettingsApplied):
		return p.putState(keySettings, b)
	case is(entry.KindTrainingOn, entry.KindTrainingOff):
		return p.putState(keyTraining, e.Kind == entry.KindTrainingOn)
	}
	return nil
}

func (p *projection) tries(e *entry.Entry, b *pos.Event) error {
	state, err := bucket(p.in, bucketState)
	if err != nil {
		return err
	}
	key := []byte(prefixTries + b.User.ID)
	if e.Kind == entry.KindSignedIn {
		if state.Get(key) == nil {
			return nil
		}
		return state.Delete(key)
	}
	t, _, err := get[Tries](state, key)
	if err != nil {
		return err
	}
	if e.Kind == entry.KindPINFailed {
		t.Count++
	} else if until, err := time.Parse(time.RFC3339Nano, b.Detail); err == nil {
		t.Until = until.UTC()
	}
	return put(state, key, t)
}

// add adds amounts; a sum that leaves 64 bits is an error.
func add(a, b money.Amount) (money.Amount, error) {
	sum := a + b
	if (sum > a) != (b > 0) && b != 0 {
		return 0, ErrOverflow
	}
	return sum, nil
}

// addOrder adds an order to the sums of a period or series.
func addOrder(z *pos.ZSums, o *pos.Order) error {
	total := &z.SalesTotal
	if o.Total < 0 {
		total = &z.RefundsTotal
		z.Refunds++
	} else {
		z.Sales++
	}
	var errs []error
	sum := func(to *money.Amount, amount money.Amount) {
		s, err := add(*to, amount)
		*to = s
		errs = append(errs, err)
	}
	sum(total, o.Total)
	sum(&z.Net, o.Net)
	sum(&z.Rounding, o.Rounding)
	for _, tax := range o.Taxes {
		i, found := slices.BinarySearchFunc(z.Taxes, tax.Tax, func(t money.TaxSum, id string) int { return strings.Compare(t.Tax, id) })
		if !found {
			z.Taxes = slices.Insert(z.Taxes, i, money.TaxSum{Tax: tax.Tax})
		}
		sum(&z.Taxes[i].Amount, tax.Amount)
	}
	return errors.Join(errs...)
}

// moneyOf returns what an entry moves, from its bytes.
func moneyOf(raw []byte) (money.Amount, error) {
	if !bytes.Contains(raw, []byte(`"kind":"order"`)) && !bytes.Contains(raw, []byte(`"kind":"receipt"`)) &&
		!bytes.Contains(raw, []byte(`"kind":"move"`)) {
		return 0, nil
	}
	var e struct {
		Kind entry.Kind `json:"kind"`
		Body struct {
			Payments []struct {
				Amount money.Amount `json:"amount"`
			} `json:"payments"`
			Change money.Amount `json:"change"`
			Amount money.Amount `json:"amount"`
		} `json:"body"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return 0, fmt.Errorf("%w: %w", entry.ErrMalformed, err)
	}
	if e.Kind == entry.KindMove {
		return e.Body.Amount, nil
	}
	if !e.Kind.MovesMoney() {
		return 0, nil
	}
	sum := -e.Body.Change
	for _, pay := range e.Body.Payments {
		var err error
		if sum, err = add(sum, pay.Amount); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// copySession returns a session that shares nothing with s.
func copySession(s *Session) Session {
	c := *s
	c.Methods = slices.Clone(s.Methods)
	c.Sums = slices.Clone(s.Sums)
	for i := range c.Sums {
		if n := c.Sums[i].Counted; n != nil {
			amount := *n
			c.Sums[i].Counted = &amount
		}
	}
	c.Period.Taxes = slices.Clone(s.Period.Taxes)
	return c
}

var _ root = (*bolt.Tx)(nil)
