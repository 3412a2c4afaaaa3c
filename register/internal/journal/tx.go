package journal

import (
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

// Tx is a transaction on the journal: one state to read and, in Append, to
// change. It is valid only inside the function that it is given to; what its
// methods return is a copy and stays valid.
type Tx struct {
	j        *Journal
	b        *bolt.Tx
	p        *projection
	now      time.Time
	head     entry.Point
	writable bool

	points []entry.Point
	ops    []string
	taken  map[string]int // numbers taken and not used yet, by counter
}

// newTx makes a transaction on a bbolt transaction that is open.
func (j *Journal) newTx(b *bolt.Tx, head entry.Point, now time.Time) *Tx {
	return &Tx{
		j: j, b: b, p: newProjection(b, j.identity), now: now, head: head,
		writable: b.Writable(), taken: map[string]int{},
	}
}

// Now is the clock reading that the entries added here bear.
func (tx *Tx) Now() time.Time { return tx.now }

// Add appends an entry: place, previous hash, register and time are the
// journal's; op is a ULID, of an order the order's id. The entry's projections
// are updated at once. [ErrDuplicate] where the journal has the operation,
// or, for a close, one of that session, already; [ErrNumber] where an order,
// receipt, opening or Z does not bear the number taken for it; [ErrNoSession]
// where it names a session that was not opened or joined here.
func (tx *Tx) Add(kind entry.Kind, op string, body any) (entry.Point, error) {
	if !tx.writable {
		return entry.Point{}, ErrReadOnly
	}
	if op == "" {
		return entry.Point{}, fmt.Errorf("add %s entry: no operation id", kind)
	}
	if _, known, err := tx.Lookup(op); err != nil {
		return entry.Point{}, err
	} else if known {
		return entry.Point{}, fmt.Errorf("add %s entry: operation %s: %w", kind, op, ErrDuplicate)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return entry.Point{}, fmt.Errorf("add %s entry: %w", kind, err)
	}
	e := entry.Entry{
		PointOfSale: tx.j.identity.PointOfSale,
		Register:    tx.j.identity.Register,
		Epoch:       tx.head.Epoch,
		Seq:         tx.head.Seq + 1,
		Op:          op,
		Prev:        tx.head.Hash,
		At:          tx.now,
		Kind:        kind,
		Body:        raw,
	}
	data, hash, err := entry.Make(e, e.Body)
	if err != nil {
		return entry.Point{}, fmt.Errorf("add %s entry: %w", kind, err)
	}
	// What is applied is what was encoded, as it will be when the projections
	// are made again.
	decoded, err := bodyOf(&e)
	if err != nil {
		return entry.Point{}, fmt.Errorf("add %s entry: %w", kind, err)
	}
	if err := tx.admit(&e, decoded); err != nil {
		return entry.Point{}, fmt.Errorf("add %s entry: %w", kind, err)
	}
	entries, err := bucket(tx.b, bucketEntries)
	if err != nil {
		return entry.Point{}, err
	}
	if err := entries.Put(placeKey(e.Place()), data); err != nil {
		return entry.Point{}, fmt.Errorf("add %s entry: %w", kind, err)
	}
	if err := tx.p.apply(&e, decoded); err != nil {
		return entry.Point{}, fmt.Errorf("add %s entry: %w", kind, err)
	}
	tx.head = entry.Point{Epoch: e.Epoch, Seq: e.Seq, Hash: hash}
	tx.points = append(tx.points, tx.head)
	tx.ops = append(tx.ops, op)
	return tx.head, nil
}

// admit refuses what must not get into the chain: the numbers are the next
// ones, and the session is one of this journal's.
func (tx *Tx) admit(e *entry.Entry, body any) error {
	switch b := body.(type) {
	case *pos.Order:
		if b.ID != e.Op {
			return fmt.Errorf("order %s under operation %s", b.ID, e.Op)
		}
		counter, next := "receipt/", tx.nextReceipt
		if e.Kind == entry.KindTraining {
			counter, next = "training/", tx.nextTraining
		}
		return tx.admitNumber(counter, next, b.Session.ID, b.Number, b.Ordinal, b.Series)
	case *pos.Receipt:
		return tx.admitNumber("receipt/", tx.nextReceipt, b.Session.ID, b.Number, b.Ordinal, b.Series)
	case *pos.Opened:
		name, err := tx.nextSession(1)
		if err != nil {
			return err
		}
		if b.Session.Name != name {
			return fmt.Errorf("session %s, next is %s: %w", b.Session.Name, name, ErrNumber)
		}
		tx.use("session")
	case *pos.Closed:
		return tx.admitZ(b.Session.ID, b.Z)
	case *pos.Left:
		return tx.admitZ(b.Session.ID, b.Z)
	case *pos.Counted:
		return tx.known(b.Session.ID)
	case *pos.Move:
		if b.Session != nil {
			return tx.known(b.Session.ID)
		}
	case *pos.Close:
		if _, heard, err := tx.closeAt(b.Session); err != nil {
			return err
		} else if heard {
			return fmt.Errorf("close of %s: %w", b.Session, ErrDuplicate)
		}
	}
	return nil
}

func (tx *Tx) known(session string) error {
	s, err := tx.p.session(session)
	if err == nil && s == nil {
		err = fmt.Errorf("session %s: %w", session, ErrNoSession)
	}
	return err
}

func (tx *Tx) admitNumber(counter string, next func(string, int) (string, int, string, error), session, number string, ordinal int, series string) error {
	wantNumber, wantOrdinal, wantSeries, err := next(session, 1)
	if err != nil {
		return err
	}
	if number != wantNumber || ordinal != wantOrdinal || series != wantSeries {
		return fmt.Errorf("number %s, next is %s: %w", number, wantNumber, ErrNumber)
	}
	tx.use(counter + session)
	return nil
}

func (tx *Tx) admitZ(session string, z pos.Z) error {
	if err := tx.known(session); err != nil {
		return err
	}
	series, err := tx.p.theSeries()
	if err != nil {
		return err
	}
	if z.Series != series.Tag || z.Number != series.Z+1 {
		return fmt.Errorf("report Z %s %d, next is %s %d: %w", z.Series, z.Number, series.Tag, series.Z+1, ErrNumber)
	}
	tx.use("z")
	return nil
}

// use takes one number off those that were taken.
func (tx *Tx) use(counter string) {
	if tx.taken[counter] > 1 {
		tx.taken[counter]--
	} else {
		delete(tx.taken, counter)
	}
}

// finish ends what fn began: no number may be left over, since it would be
// issued again.
func (tx *Tx) finish() error {
	if len(tx.taken) > 0 {
		return fmt.Errorf("taken and not used: %s: %w", strings.Join(slices.Sorted(maps.Keys(tx.taken)), ", "), ErrNumber)
	}
	return tx.p.flush()
}

// Lookup returns where an operation stands.
func (tx *Tx) Lookup(op string) (entry.Point, bool, error) {
	at, found, err := lookupOp(tx.b, op)
	if err != nil || !found {
		return entry.Point{}, false, err
	}
	hash, err := hashAt(tx.b, at)
	if errors.Is(err, ErrPruned) {
		err = nil
	}
	return entry.Point{Epoch: at.Epoch, Seq: at.Seq, Hash: hash}, true, err
}

// Entry returns an entry and its bytes. [ErrNotFound], [ErrPruned].
func (tx *Tx) Entry(at entry.Place) (entry.Entry, []byte, error) {
	entries, err := bucket(tx.b, bucketEntries)
	if err != nil {
		return entry.Entry{}, nil, err
	}
	raw := entries.Get(placeKey(at))
	if raw == nil {
		if _, err := hashAt(tx.b, at); err != nil && !errors.Is(err, ErrNotFound) {
			return entry.Entry{}, nil, err
		}
		return entry.Entry{}, nil, fmt.Errorf("entry %d/%d: %w", at.Epoch, at.Seq, ErrNotFound)
	}
	raw = slices.Clone(raw)
	e, err := entry.Decode(raw)
	if err != nil {
		return entry.Entry{}, nil, damaged("entry %d/%d: %w", at.Epoch, at.Seq, err)
	}
	return e, raw, nil
}

// Head returns the last entry.
func (tx *Tx) Head() entry.Point { return tx.head }

// State is where a session stands on this register.
type State string

// The states. A closed or left session is still sold in by screens that have
// it open, until the register opens or joins the next.
const (
	Selling State = "selling"
	Counted State = "counted" // a blind count is in the journal
	Closed  State = "closed"  // closed out by this register
	Left    State = "left"    // joined, and left again
)

// MethodSums are what this register's drawer line, or its other payments of
// one method, come to since the line began or since the last Z of it.
type MethodSums struct {
	Method  string         `json:"method"`
	Name    string         `json:"name"`
	Kind    pos.MethodKind `json:"kind"`
	Opening money.Amount   `json:"opening"`
	Taken   money.Amount   `json:"taken"` // payments less change, refunds negative
	Moves   money.Amount   `json:"moves"`
	// Counted is the last count, nil without one; After is what was taken and
	// moved after it.
	Counted *money.Amount `json:"counted,omitempty"`
	After   money.Amount  `json:"after"`
	// LastDrop is what left the drawer at the last close-out.
	LastDrop money.Amount `json:"last_drop,omitempty"`
}

// Expected returns what should be there.
func (m MethodSums) Expected() money.Amount { return m.Opening + m.Taken + m.Moves }

// Balance returns what is taken to be there: the count plus what came after
// it, else what is expected.
func (m MethodSums) Balance() money.Amount {
	if m.Counted != nil {
		return *m.Counted + m.After
	}
	return m.Expected()
}

// Session is a session as this register's journal knows it: its own, or one
// that it joined.
type Session struct {
	pos.Stamp
	Own bool `json:"own"`
	// State on this register.
	State State `json:"state"`
	// Stay counts the openings and joinings: a rejoined session begins anew.
	Stay          int          `json:"stay"`
	User          pos.Person   `json:"user"` // who opened or joined here
	Since         time.Time    `json:"since"`
	Methods       []pos.Method `json:"methods"`
	Drawer        bool         `json:"drawer"`
	CashControl   bool         `json:"cash_control"`
	CashMethod    string       `json:"cash_method,omitempty"`
	Float         money.Amount `json:"float"`
	Brought       money.Amount `json:"brought"`
	MaxDifference money.Amount `json:"max_difference"`
	// Attempts counts the counts since the line began or since the last Z.
	Attempts int          `json:"attempts"`
	Sums     []MethodSums `json:"sums"`
	// Series, Receipts: the last receipt ordinal printed here in this session,
	// in that series; Training likewise for training sales.
	Series         string `json:"series,omitempty"`
	Receipts       int    `json:"receipts"`
	TrainingSeries string `json:"training_series,omitempty"`
	Training       int    `json:"training"`
	// From, Period, First and Last are the Z period that runs.
	From   time.Time `json:"from"`
	Period pos.ZSums `json:"period"`
	First  string    `json:"first,omitempty"`
	Last   string    `json:"last,omitempty"`
	// Zs is how many Z reports were made of it here.
	Zs int `json:"zs"`
	// Orders and Total are those of the session on this register, all told.
	Orders int          `json:"orders"`
	Total  money.Amount `json:"total"`
}

// Current returns the session that was opened or joined last; its State says
// whether it is still sold in.
func (tx *Tx) Current() (Session, bool, error) {
	id, err := tx.p.currentID()
	if err != nil || id == "" {
		return Session{}, false, err
	}
	return tx.Session(id)
}

// Session returns a session by its id.
func (tx *Tx) Session(id string) (Session, bool, error) {
	s, err := tx.p.session(id)
	if err != nil || s == nil {
		return Session{}, false, err
	}
	return copySession(s), true, nil
}

// Brought returns the balance brought forward of a drawer's method, as the
// till knows it: the balance of the drawer's last line plus the moves made
// between sessions. known is false for a drawer that never held any.
func (tx *Tx) Brought(method string) (amount money.Amount, known bool, err error) {
	return tx.p.brought(method)
}

// X returns the figures of a session's Z period so far, without a number.
func (tx *Tx) X(session string) (pos.Z, error) {
	s, err := tx.p.session(session)
	if err != nil {
		return pos.Z{}, err
	}
	if s == nil {
		return pos.Z{}, fmt.Errorf("session %s: %w", session, ErrNoSession)
	}
	series, err := tx.p.theSeries()
	if err != nil {
		return pos.Z{}, err
	}
	z := pos.Z{
		Series: series.Tag, From: s.From, To: tx.now, Period: s.Period, Perpetual: series.Perpetual,
		Methods: []pos.ZMethod{}, Software: tx.j.o.Software, First: s.First, Last: s.Last,
	}
	z.Period.Taxes = slices.Clone(s.Period.Taxes)
	z.Perpetual.Taxes = slices.Clone(series.Perpetual.Taxes)
	for _, m := range s.Sums {
		line := pos.ZMethod{Method: m.Method, Name: m.Name, Opening: m.Opening, Taken: m.Taken, Moves: m.Moves}
		if m.Counted != nil {
			amount := m.Balance()
			line.Counted = &amount
		}
		z.Methods = append(z.Methods, line)
	}
	return z, nil
}

// NextZ returns the next Z report of a session, its number taken, with what is
// dropped at the close; it goes into a closed or left entry of this
// transaction.
func (tx *Tx) NextZ(session string, drop *pos.Drop) (pos.Z, error) {
	z, err := tx.X(session)
	if err != nil {
		return pos.Z{}, err
	}
	series, err := tx.p.theSeries()
	if err != nil {
		return pos.Z{}, err
	}
	tx.taken["z"]++
	z.Number = series.Z + tx.taken["z"]
	for i := range z.Methods {
		if drop != nil && z.Methods[i].Method == drop.Method {
			z.Methods[i].Drop = drop.Amount
		}
	}
	return z, nil
}

// NextReceipt takes the next receipt number of this register in a session,
// for an order or a receipt added in this transaction.
func (tx *Tx) NextReceipt(session string) (number string, ordinal int, series string, err error) {
	tx.taken["receipt/"+session]++
	return tx.nextReceipt(session, tx.taken["receipt/"+session])
}

// nextReceipt returns the n-th number that comes.
func (tx *Tx) nextReceipt(session string, n int) (number string, ordinal int, series string, err error) {
	s, by, series, err := tx.printing(session)
	if err != nil {
		return "", 0, "", err
	}
	if s.Series == series {
		n += s.Receipts
	}
	return pos.ReceiptNumber(tx.j.identity.PointOfSale, by, s.Name, n), n, series, nil
}

// printing returns a session and who prints in it now.
func (tx *Tx) printing(session string) (s *Session, by, tag string, err error) {
	if err := tx.known(session); err != nil {
		return nil, "", "", err
	}
	if s, err = tx.p.session(session); err != nil {
		return nil, "", "", err
	}
	series, err := tx.p.theSeries()
	if err != nil {
		return nil, "", "", err
	}
	return s, printer(tx.j.identity.Code, series.Tag), series.Tag, nil
}

// NextTraining takes the next number of a training sale.
func (tx *Tx) NextTraining(session string) (number string, ordinal int, series string, err error) {
	tx.taken["training/"+session]++
	return tx.nextTraining(session, tx.taken["training/"+session])
}

func (tx *Tx) nextTraining(session string, n int) (number string, ordinal int, series string, err error) {
	s, by, series, err := tx.printing(session)
	if err != nil {
		return "", 0, "", err
	}
	if s.TrainingSeries == series {
		n += s.Training
	}
	return "T-" + pos.ReceiptNumber(tx.j.identity.PointOfSale, by, s.Name, n), n, series, nil
}

// NextSession takes the name of the next session of this register, for an
// opened entry of this transaction.
func (tx *Tx) NextSession() (name string, err error) {
	tx.taken["session"]++
	return tx.nextSession(tx.taken["session"])
}

func (tx *Tx) nextSession(n int) (string, error) {
	series, err := tx.p.theSeries()
	if err != nil {
		return "", err
	}
	return pos.SessionName(tx.j.identity.PointOfSale, printer(tx.j.identity.Code, series.Tag), series.Sessions+n), nil
}

// Series is the number series that runs.
type Series struct {
	// Tag is empty in the first series of a register.
	Tag string `json:"tag,omitempty"`
	// Used are the tags used before.
	Used        []string     `json:"used,omitempty"`
	Sessions    int          `json:"sessions"`
	Z           int          `json:"z"`
	LastSession string       `json:"last_session,omitempty"`
	LastReceipt string       `json:"last_receipt,omitempty"`
	Perpetual   pos.ZSums    `json:"perpetual"`
	Moved       money.Amount `json:"moved"` // by all entries of the journal
}

// Series returns the number series that runs.
func (tx *Tx) Series() (Series, error) {
	s, err := tx.p.theSeries()
	if err != nil {
		return Series{}, err
	}
	c := *s
	c.Used = slices.Clone(s.Used)
	c.Perpetual.Taxes = slices.Clone(s.Perpetual.Taxes)
	return c, nil
}

// Printer returns the register's code with the tag of its series: R1.K7M.
func (tx *Tx) Printer() (string, error) {
	s, err := tx.p.theSeries()
	if err != nil {
		return "", err
	}
	return printer(tx.j.identity.Code, s.Tag), nil
}

// OrderRow is a line of the list of orders: sales, refunds and receipts of
// debts, or training sales.
type OrderRow struct {
	Place    entry.Place
	Op       string
	Kind     entry.Kind
	At       time.Time
	Number   string
	Session  string // name
	User     string // name
	Customer string // name
	Total    money.Amount
	Lines    int
}

// OrderFilter chooses from the list of orders.
type OrderFilter struct {
	// Before returns only what is older than this place: the last one of the
	// page before. Zero means from the newest.
	Before entry.Place
	// Limit is the size of the page.
	Limit int
	// Query matches number, customer, user (as parts, without case) and the
	// amount as written (12.50 or 1250, by Digits).
	Query  string
	Digits int
	// Session, if set, is the name of the only session wanted.
	Session string
	// Training lists training sales instead.
	Training bool
}

// Orders lists orders, newest first. more says that there are older ones.
func (tx *Tx) Orders(f OrderFilter) (rows []OrderRow, more bool, err error) {
	b, err := bucket(tx.b, bucketOrders)
	if err != nil {
		return nil, false, err
	}
	prefix := byte(orderByPlace)
	if f.Training {
		prefix = trainingByPlace
	}
	query := strings.ToLower(strings.TrimSpace(f.Query))
	amount, isAmount := parseAmount(query, f.Digits)
	end := []byte{prefix + 1}
	if !f.Before.IsZero() {
		end = prefixed(prefix, placeKey(f.Before))
	}
	c := b.Cursor()
	for k, v := before(c, end); k != nil && k[0] == prefix; k, v = c.Prev() {
		row, err := decodeRow(k, v)
		if err != nil {
			return nil, false, err
		}
		if f.Session != "" && row.Session != f.Session || !row.matches(query, amount, isAmount) {
			continue
		}
		if f.Limit > 0 && len(rows) == f.Limit {
			return rows, true, nil
		}
		rows = append(rows, row)
	}
	return rows, false, nil
}

// before moves a cursor to the last key before end.
func before(c *bolt.Cursor, end []byte) (k, v []byte) {
	if k, _ = c.Seek(end); k == nil {
		return c.Last()
	}
	return c.Prev()
}

// Order returns an order's row, and its entry and bytes ([ErrPruned] with the
// row where they are gone). [ErrNotFound].
func (tx *Tx) Order(id string) (OrderRow, entry.Entry, []byte, error) {
	at, found, err := lookupOp(tx.b, id)
	if err != nil {
		return OrderRow{}, entry.Entry{}, nil, err
	}
	if found {
		for _, prefix := range []byte{orderByPlace, trainingByPlace} {
			row, found, err := tx.row(prefix, at)
			if err != nil {
				return OrderRow{}, entry.Entry{}, nil, err
			}
			if found {
				e, raw, err := tx.Entry(at)
				return row, e, raw, err
			}
		}
	}
	return OrderRow{}, entry.Entry{}, nil, fmt.Errorf("order %s: %w", id, ErrNotFound)
}

func (tx *Tx) row(prefix byte, at entry.Place) (OrderRow, bool, error) {
	b, err := bucket(tx.b, bucketOrders)
	if err != nil {
		return OrderRow{}, false, err
	}
	key := prefixed(prefix, placeKey(at))
	v := b.Get(key)
	if v == nil {
		return OrderRow{}, false, nil
	}
	row, err := decodeRow(key, v)
	return row, true, err
}

// OrdersByNumber returns the rows that bear a number: one, or, after a fork,
// several.
func (tx *Tx) OrdersByNumber(number string) ([]OrderRow, error) {
	b, err := bucket(tx.b, bucketOrders)
	if err != nil {
		return nil, err
	}
	var rows []OrderRow
	start := prefixed(orderByNumber, []byte(number), []byte{0})
	c := b.Cursor()
	for k, v := c.Seek(start); k != nil && strings.HasPrefix(string(k), string(start)); k, v = c.Next() {
		at, err := parsePlace(k[len(start):])
		if err != nil {
			return nil, err
		}
		if len(v) != 1 {
			return nil, damaged("number %s", number)
		}
		row, found, err := tx.row(v[0], at)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, damaged("number %s names no order", number)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// Refunded returns what this journal refunded of each line of an order, which
// may be another register's.
func (tx *Tx) Refunded(order string) (map[string]money.Qty, error) {
	b, err := bucket(tx.b, bucketRefunds)
	if err != nil {
		return nil, err
	}
	so, _, err := get[map[string]money.Qty](b, []byte(order))
	return so, err
}

// Tries are a user's wrong PIN tries since the last right one.
type Tries struct {
	Count int       `json:"count"`
	Until time.Time `json:"until,omitzero"` // locked out until
}

// Tries returns a user's wrong PIN tries. They are counted by pin_failed
// entries (Event.User), ended by signed_in ones; a locked_out entry bears the
// end of the lock-out in Event.Detail, as RFC 3339.
func (tx *Tx) Tries(user string) (Tries, error) {
	t, _, err := inState[Tries](tx, prefixTries+user)
	return t, err
}

func inState[T any](tx *Tx, key string) (value T, found bool, err error) {
	b, err := bucket(tx.b, bucketState)
	if err != nil {
		return value, false, err
	}
	return get[T](b, []byte(key))
}

// Spent reports whether a one-time sign-in was used: an office_signed_in
// entry bears it in Event.Detail.
func (tx *Tx) Spent(token string) (bool, error) {
	_, found, err := inState[entry.Place](tx, prefixSpent+token)
	return found, err
}

// Settings returns the last settings_applied entry's body.
func (tx *Tx) Settings() (pos.Event, bool, error) {
	return inState[pos.Event](tx, string(keySettings))
}

// Training reports whether training mode is on, by the last training_on or
// training_off entry.
func (tx *Tx) Training() (bool, error) {
	on, _, err := inState[bool](tx, string(keyTraining))
	return on, err
}

// HeardClose returns the close of a session that this journal holds; where its
// entry was pruned, only its session.
func (tx *Tx) HeardClose(session string) (pos.Close, bool, error) {
	at, heard, err := tx.closeAt(session)
	if err != nil || !heard {
		return pos.Close{}, false, err
	}
	e, _, err := tx.Entry(at)
	if errors.Is(err, ErrPruned) {
		return pos.Close{Session: session}, true, nil
	}
	if err != nil {
		return pos.Close{}, false, err
	}
	if e.Kind == entry.KindRebased {
		wrap, err := entry.Body[pos.Rebased](&e)
		if err != nil {
			return pos.Close{}, false, err
		}
		if e, err = entry.Decode(wrap.Original); err != nil {
			return pos.Close{}, false, err
		}
	}
	c, err := entry.Body[pos.Close](&e)
	return c, err == nil, err
}

func (tx *Tx) closeAt(session string) (entry.Place, bool, error) {
	b, err := bucket(tx.b, bucketCloses)
	if err != nil {
		return entry.Place{}, false, err
	}
	v := b.Get(prefixed(closeBySession, []byte(session)))
	if v == nil {
		return entry.Place{}, false, nil
	}
	at, err := parsePlace(v)
	return at, err == nil, err
}

// Cart is an order that is not paid yet. It is kept outside the chain.
type Cart struct {
	ID string `json:"id"`
	// Browser is the browser it belongs to; empty for a parked one.
	Browser string `json:"browser,omitempty"`
	// Version grows by every change; an older one never replaces a newer one.
	Version int             `json:"version"`
	At      time.Time       `json:"at"`
	Data    json.RawMessage `json:"data"`
}

// Carts returns all carts, by id.
func (tx *Tx) Carts() ([]Cart, error) {
	b, err := bucket(tx.b, bucketCarts)
	if err != nil {
		return nil, err
	}
	var carts []Cart
	err = b.ForEach(func(k, _ []byte) error {
		c, _, err := get[Cart](b, k)
		carts = append(carts, c)
		return err
	})
	return carts, err
}

// Cart returns a cart.
func (tx *Tx) Cart(id string) (Cart, bool, error) {
	b, err := bucket(tx.b, bucketCarts)
	if err != nil {
		return Cart{}, false, err
	}
	return get[Cart](b, []byte(id))
}

// SaveCart stores a cart; At is set to the transaction's time.
// [ErrCartVersion] where the stored one is as new or newer.
func (tx *Tx) SaveCart(c Cart) error {
	if !tx.writable {
		return ErrReadOnly
	}
	old, found, err := tx.Cart(c.ID)
	if err != nil {
		return err
	}
	if found && old.Version >= c.Version {
		return ErrCartVersion.Wrap(fmt.Errorf("cart %s: version %d over %d", c.ID, c.Version, old.Version))
	}
	c.At = tx.now
	b, err := bucket(tx.b, bucketCarts)
	if err != nil {
		return err
	}
	return put(b, []byte(c.ID), c)
}

// DeleteCart removes a cart, if it is there.
func (tx *Tx) DeleteCart(id string) error {
	if !tx.writable {
		return ErrReadOnly
	}
	b, err := bucket(tx.b, bucketCarts)
	if err != nil {
		return err
	}
	return b.Delete([]byte(id))
}
