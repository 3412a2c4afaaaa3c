package e2e_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/audit"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/store"
	"tillandsia/syncserver/internal/store/sqlstore"
)

const (
	shop = "SHOP1"
	cash = journaltest.Cash
	card = journaltest.Card
)

// fact is what the model knows of an entry: what it says, in its own words.
type fact struct {
	kind    string // open, join, count, close, leave, order, move, other
	session string // that it is stamped with
	owner   string // register that opened that one
	id      string // of an order or move
	total   money.Amount
}

// booking is a session or a rescue of the model.
type booking struct {
	control, closed bool
	orders          int
	total           money.Amount
}

// root is a session with what decides on its state, and its rescues in order.
type root struct {
	booking
	joined   map[string]bool // registers that are in it beside its owner
	closeOut bool
	rescues  []*booking
}

// model is the centre as the specification has it.
type model struct {
	roots map[string]*root
	// orders and moves say where each was booked: key of a session.
	orders, moves map[string]string
}

// key names a session (0) or the n-th rescue of it.
func key(session string, n int) string { return fmt.Sprintf("%s#%d", session, n) }

// hear is what an entry does when it arrives for the first time.
func (m *model) hear(register string, f fact) {
	if f.kind == "other" {
		return
	}
	s := m.roots[f.session]
	if s == nil {
		s = &root{joined: map[string]bool{}}
		m.roots[f.session] = s
	}
	switch f.kind {
	case "order", "move":
		m.book(s, f)
	case "join":
		s.joined[register] = true
	case "leave":
		delete(s.joined, register)
	case "count":
		s.control = s.control || register == f.owner
	case "close":
		s.control, s.closeOut = true, true
	}
	if s.closeOut && len(s.joined) == 0 {
		s.closed = true
	}
}

// book is the rescue rule: in S if it is not closed when the entry arrives,
// else in the open rescue, else in a new one.
func (m *model) book(s *root, f fact) {
	b, n := &s.booking, 0
	if s.closed {
		if n = len(s.rescues); n == 0 || s.rescues[n-1].closed {
			s.rescues = append(s.rescues, &booking{})
			n++
		}
		b = s.rescues[n-1]
	}
	if f.kind == "move" {
		m.moves[f.id] = key(f.session, n)
		return
	}
	m.orders[f.id] = key(f.session, n)
	b.orders++
	b.total += f.total
}

// register is a till with what lies in its drawer for real.
type register struct {
	*journaltest.Till
	facts  []fact
	sent   int // entries that the till knows to be delivered
	heard  int // entries that the centre has
	online bool
	begun  bool // its drawer was filled once
	cash   money.Amount
	card   money.Amount // taken in this stay
	last   *pos.Stamp
	// muddled says that somebody counted what the centre had not heard of, or
	// sold into a session whose drawer the next one had taken over: there are
	// differences then, which even out.
	muddled bool
}

// property lets the house fail a property's try instead of the whole test.
type property struct {
	testing.TB
	try *rapid.T
}

func (p property) Helper()                   { p.try.Helper() }
func (p property) Context() context.Context  { return p.try.Context() }
func (p property) Cleanup(f func())          { p.try.Cleanup(f) }
func (p property) Error(args ...any)         { p.try.Error(args...) }
func (p property) Errorf(s string, a ...any) { p.try.Errorf(s, a...) }
func (p property) Fatal(args ...any)         { p.try.Fatal(args...) }
func (p property) Fatalf(s string, a ...any) { p.try.Fatalf(s, a...) }

// play is one history.
type play struct {
	*rapid.T
	h         *journaltest.House
	database  string
	model     model
	registers []*register
	stamps    []pos.Stamp
	sold      []pos.Order
}

func TestModel(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		p := &play{T: rt, database: filepath.Join(dir, fmt.Sprintf("%d.db", n)), model: model{
			roots: map[string]*root{}, orders: map[string]string{}, moves: map[string]string{},
		}}
		p.h = journaltest.NewHouse(property{t, rt}, p.store(), ledger.Options{})
		rt.Cleanup(func() { p.must(p.h.Store.Close()) })
		for i := range rapid.IntRange(2, 3).Draw(rt, "registers") {
			p.registers = append(p.registers, &register{Till: p.h.Till(shop, fmt.Sprintf("R%d", i+1))})
		}
		for _, r := range p.registers {
			r.MaxDifference = 1 << 30 // whether it waits for a person is not what this test is about
			p.wrote(r, fact{kind: "other"})
			p.connect(r)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"":             func(*rapid.T) { p.check() },
			"begin":        p.action(p.begin),
			"sell":         p.action(p.sell),
			"sell more":    p.action(p.sell),
			"refund":       p.action(p.refund),
			"straggle":     p.action(p.straggle),
			"move":         p.action(p.move),
			"count":        p.action(p.count),
			"close out":    p.action(p.closeOut),
			"cut":          p.action(p.cut),
			"deliver":      p.action(p.deliver),
			"deliver more": p.action(p.deliver),
			"crash":        p.action(p.crash),
			"force close":  func(*rapid.T) { p.forceClose() },
			"close rescue": func(*rapid.T) { p.closeRescue() },
			"restart":      func(*rapid.T) { p.restart() },
		})
		p.finish()
	})
}

// action does something at a register drawn.
func (p *play) action(do func(r *register)) func(*rapid.T) {
	return func(*rapid.T) { do(pick(p, p.registers, "register")) }
}

// pick draws one of a list; what is told of a history is its number.
func pick[T any](p *play, list []T, what string) T {
	return list[rapid.IntRange(0, len(list)-1).Draw(p.T, what)]
}

func (p *play) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *play) chance(percent int, what string) bool {
	return rapid.IntRange(1, 100).Draw(p.T, what) > 100-percent
}

func (p *play) amount(most int, what string) money.Amount {
	return money.Amount(rapid.IntRange(1, most).Draw(p.T, what))
}

func (p *play) store() store.Store {
	s, err := sqlstore.Open(p.Context(), sqlstore.Options{Database: p.database, AllowUnsafe: true})
	p.must(err)
	return s
}

// restart ends the server and starts it again on the same file.
func (p *play) restart() {
	p.must(p.h.Store.Close())
	p.h.Store = p.store()
	p.h.Ledger = ledger.New(p.h.Store, p.h.Now, nil, ledger.Options{})
	p.must(p.h.Ledger.Start(p.Context()))
	for _, r := range p.registers {
		p.connect(r)
	}
}

// wrote tells the model what the entries are that the till has written since.
func (p *play) wrote(r *register, facts ...fact) {
	for i := range facts {
		if s := r.Session; s != nil && facts[i].session == "" {
			facts[i].session, facts[i].owner = s.ID, s.Register
		}
	}
	r.facts = append(r.facts, facts...)
	if len(r.facts) != len(r.Raw) {
		p.Fatalf("%d facts of %d entries", len(r.facts), len(r.Raw))
	}
}

// begin opens a session, or joins one, with what lies in the drawer.
func (p *play) begin(r *register) {
	if r.Session != nil {
		return
	}
	if len(p.stamps) > 0 && p.chance(50, "join") {
		if s := pick(p, p.stamps, "session"); s.Register != r.Register {
			p.fill(r)
			r.Join(s, r.cash)
			r.last = &s
			p.wrote(r, fact{kind: "join"})
			return
		}
	}
	p.opens(r)
}

func (p *play) fill(r *register) {
	if !r.begun {
		r.begun, r.cash = true, p.amount(20_000, "float")
	}
	r.card = 0
}

func (p *play) opens(r *register) {
	p.fill(r)
	s := r.Open(r.cash)
	p.stamps = append(p.stamps, s)
	r.last = &s
	p.wrote(r, fact{kind: "open"})
}

func (p *play) order(r *register, o pos.Order) {
	if o.Payments[0].Method == cash {
		r.cash += o.Total
	} else {
		r.card += o.Total
	}
	p.wrote(r, fact{kind: "order", session: o.Session.ID, owner: o.Session.Register, id: o.ID, total: o.Total})
}

func (p *play) sell(r *register) {
	for range rapid.IntRange(1, 4).Draw(p.T, "orders") {
		switch {
		case r.Session == nil:
			return
		case p.chance(30, "card"):
			p.sale(r, r.Sell(p.amount(5000, "total"), card))
		default:
			total := p.amount(5000, "total")
			p.sale(r, r.SellCash(total, total+p.amount(500, "change")-1))
		}
	}
}

func (p *play) sale(r *register, o pos.Order) {
	p.sold = append(p.sold, o)
	p.order(r, o)
}

// refund takes an order back, whichever register sold it.
func (p *play) refund(r *register) {
	if r.Session == nil || len(p.sold) == 0 {
		return
	}
	at := rapid.IntRange(0, len(p.sold)-1).Draw(p.T, "order")
	method := card
	if p.sold[at].Total <= r.cash {
		method = cash
	}
	p.order(r, r.Refund(p.sold[at], method))
	p.sold = slices.Delete(p.sold, at, at+1)
}

// straggle sells on a second screen that still has the last session open.
func (p *play) straggle(r *register) {
	if r.last == nil || !p.chance(40, "straggler") {
		return
	}
	now := r.Session
	if now != nil && now.ID != r.last.ID {
		p.Fatalf("%s: stamp %s, last %s", r.Code, now.ID, r.last.ID)
	}
	if now != nil {
		old := slices.DeleteFunc(slices.Clone(p.stamps), func(s pos.Stamp) bool { return s.Register != r.Register || s.ID == now.ID })
		if len(old) == 0 {
			return
		}
		r.Session = &old[len(old)-1]
		r.muddled = true
	} else {
		r.Session = r.last
	}
	o := r.Sell(p.amount(5000, "total"), cash)
	p.order(r, o)
	r.Session = now
}

// move puts cash in or takes it out, in a session or between sessions.
func (p *play) move(r *register) {
	if !r.begun {
		return
	}
	amount := p.amount(2000, "amount")
	if amount <= r.cash && p.chance(50, "out") {
		amount = -amount
	}
	m := r.Move(amount)
	r.cash += amount
	if r.Session == nil {
		p.wrote(r, fact{kind: "other"})
		return
	}
	p.wrote(r, fact{kind: "move", id: m.ID})
}

func (p *play) count(r *register) {
	if r.Session != nil {
		r.Count(journaltest.Counts(r.cash, r.card))
		p.wrote(r, fact{kind: "count"})
	}
}

// closeOut closes the till's session, or leaves the one that it joined.
func (p *play) closeOut(r *register) {
	if r.Session == nil {
		return
	}
	drop := money.Amount(0)
	if p.chance(40, "drop") {
		drop = money.Amount(rapid.Int64Range(0, int64(max(0, r.cash))).Draw(p.T, "amount"))
	}
	f := fact{kind: "close", session: r.Session.ID, owner: r.Session.Register}
	if f.owner != r.Register {
		f.kind = "leave"
	}
	r.CloseOut(journaltest.Counts(r.cash, r.card), drop)
	r.cash -= drop
	p.wrote(r, fact{kind: "count", session: f.session, owner: f.owner}, f)
}

func (p *play) cut(r *register) { r.online = false }

// connect says hello: the till learns what the centre has.
func (p *play) connect(r *register) {
	welcome := p.h.Connect(r.Till)
	r.sent, r.online = 0, true
	for _, e := range welcome.Epochs {
		if e.Epoch == r.Epoch {
			r.sent = int(e.Cursor.Seq)
		}
	}
	if r.sent != r.heard {
		p.Fatalf("%s: the centre says that it has %d entries; it has acknowledged %d", r.Code, r.sent, r.heard)
	}
}

// deliver sends a batch, perhaps from before, and perhaps does not hear the
// answer: then it will send it again.
func (p *play) deliver(r *register) {
	if !r.online {
		p.connect(r)
	}
	n := rapid.IntRange(1, 12).Draw(p.T, "batch")
	back := min(r.sent, rapid.IntRange(0, 5).Draw(p.T, "repeated"))
	first := r.sent - back
	r.sent = p.send(r, first, min(first+n, len(r.Raw)))
	if p.chance(20, "answer lost") {
		r.sent = max(first, r.sent-n)
	}
}

// send delivers entries from to to (exclusive) and returns the cursor.
func (p *play) send(r *register, from, to int) int {
	if from >= to {
		return r.sent
	}
	ack, err := p.h.Apply(p.Context(), r.Till, uint64(from+1), r.Raw[from:to])
	p.must(err)
	for ; r.heard < to; r.heard++ {
		p.model.hear(r.Register, r.facts[r.heard])
	}
	if ack.Cursor.Seq != uint64(to) {
		p.Fatalf("%s: %d is acknowledged, the batch ended with %d", r.Code, ack.Cursor.Seq, to)
	}
	return max(r.sent, to)
}

// crash closes and opens the journal: what counts is what is on the disk.
func (p *play) crash(r *register) {
	copied := r.Clone()
	p.h.Attach(copied, p.h.Register(r.Till))
	r.Till = copied
	var prev entry.Hash
	for i, raw := range r.Raw {
		e, err := entry.Decode(raw)
		p.must(err)
		if e.Seq != uint64(i+1) || i > 0 && e.Prev != prev {
			p.Fatalf("%s: entry %d is number %d and does not follow the one before it", r.Code, i+1, e.Seq)
		}
		prev = entry.HashOf(raw)
	}
	p.connect(r)
}

// open lists what is open at the centre: sessions or rescues.
func (p *play) open(rescue bool) []ledger.SessionView {
	rows, err := p.h.Ledger.ListSessions(p.Context(), store.SessionFilter{
		PointsOfSale: []string{shop}, Rescue: &rescue, States: []session.State{session.Opened, session.ClosingControl},
	})
	p.must(err)
	// Ids are not the same in every run.
	slices.SortFunc(rows, func(a, b ledger.SessionView) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	return rows
}

// counts are those of a manager who looks into every drawer that is asked for.
func (p *play) counts(id string) []ledger.MethodCount {
	preview, err := p.h.Ledger.PreviewClose(p.Context(), shop, id)
	p.must(err)
	var counts []ledger.MethodCount
	for _, l := range preview.Lines {
		known := slices.ContainsFunc(counts, func(c ledger.MethodCount) bool { return c.Register == l.Register && c.Method == l.Method })
		if known || l.Fixed {
			continue
		}
		amount := l.Expected
		if l.Method == cash {
			for _, r := range p.registers {
				if r.Register == l.Register {
					amount = r.cash
					r.muddled = r.muddled || r.heard < len(r.Raw)
				}
			}
		}
		counts = append(counts, ledger.MethodCount{Register: l.Register, Method: l.Method, Amount: amount})
	}
	return counts
}

func (p *play) forceClose() {
	if rows := p.open(false); len(rows) > 0 {
		p.force(pick(p, rows, "session").ID, p.chance(40, "counted"))
	}
}

func (p *play) force(id string, counted bool) {
	request := ledger.CloseRequest{Counted: counted, Reason: "closing time"}
	if counted {
		request.Counts = p.counts(id)
	}
	for _, already := range []bool{false, true} {
		done, err := p.h.Ledger.Close(p.Context(), journaltest.Manager, shop, id, request)
		p.must(err)
		if done.Already != already {
			p.Fatalf("close of %s: already %v, should be %v", id, done.Already, already)
		}
	}
	if p.model.roots[id] == nil {
		p.Fatalf("session %s should not be there", id)
	}
	p.model.roots[id].closed = true
}

func (p *play) closeRescue() {
	if rows := p.open(true); len(rows) > 0 {
		choice := rapid.SampledFrom([]ledger.CountChoice{ledger.OwnCount, ledger.NotCounted, ledger.TillCount}).Draw(p.T, "choice")
		p.closeTheRescue(pick(p, rows, "rescue").Session, choice)
	}
}

func (p *play) closeTheRescue(s store.Session, choice ledger.CountChoice) {
	request := ledger.RescueRequest{Choice: choice, Reason: "looked at"}
	if choice == ledger.OwnCount {
		request.Counts = p.counts(s.ID)
	}
	_, err := p.h.Ledger.CloseRescue(p.Context(), journaltest.Manager, shop, s.ID, request)
	if m, ok := errors.AsType[*message.Error](err); ok && m.Key == "ledger.no_till_count" {
		return // the till has not counted
	}
	p.must(err)
	root := p.model.roots[s.Root]
	if root == nil || s.Ordinal > len(root.rescues) {
		p.Fatalf("%s should not be there", s.Name)
	}
	root.rescues[s.Ordinal-1].closed = true
}

// check holds the centre against the model.
func (p *play) check() {
	p.Helper()
	orders, err := p.h.Ledger.Orders(p.Context(), store.OrderFilter{PointsOfSale: []string{shop}, Limit: 100_000})
	p.must(err)
	rows, err := p.h.Ledger.ListSessions(p.Context(), store.SessionFilter{PointsOfSale: []string{shop}, Limit: 100_000})
	p.must(err)
	keys := map[string]string{}
	open := map[string]int{}
	var total money.Amount
	for _, row := range rows {
		id := row.ID
		if row.Root != "" {
			id = row.Root
		}
		keys[row.ID] = key(id, row.Ordinal)
		total += row.Total
		if row.Root != "" && row.State != session.Closed {
			open[row.Root]++
		}
		p.session(row.Session, id)
	}
	for id, n := range open {
		if n > 1 {
			p.Errorf("%d open rescues of %s", n, id)
		}
	}
	want := 0
	for id, s := range p.model.roots {
		for n := range 1 + len(s.rescues) {
			want++
			if !slices.ContainsFunc(rows, func(row ledger.SessionView) bool { return keys[row.ID] == key(id, n) }) {
				p.Errorf("the centre lacks rescue %d of %s", n, id)
			}
		}
	}
	if len(rows) != want {
		p.Errorf("%d sessions and rescues, should be %d", len(rows), want)
	}
	booked := map[string]bool{}
	var sum money.Amount
	for _, o := range orders {
		if booked[o.ID] {
			p.Errorf("order %s is there twice", o.Number)
		}
		booked[o.ID] = true
		sum += o.Total
		if keys[o.Session] != p.model.orders[o.ID] {
			p.Errorf("order %s is booked in %s, should be in %s", o.Number, keys[o.Session], p.model.orders[o.ID])
		}
	}
	if len(orders) != len(p.model.orders) {
		p.Errorf("%d orders, should be %d", len(orders), len(p.model.orders))
	}
	if sum != total {
		p.Errorf("Σ orders %d, Σ sessions %d", sum, total)
	}
	for _, r := range p.registers {
		if r.heard == len(r.Raw) && !r.muddled {
			p.drawer(r)
		}
	}
}

// session holds a session or rescue against the model.
func (p *play) session(row store.Session, id string) {
	p.Helper()
	s := p.model.roots[id]
	if s == nil || row.Ordinal > len(s.rescues) {
		p.Errorf("%s should not be there", row.Name)
		return
	}
	b := &s.booking
	if row.Ordinal > 0 {
		b = s.rescues[row.Ordinal-1]
	}
	state := session.Opened
	switch {
	case b.closed:
		state = session.Closed
	case b.control:
		state = session.ClosingControl
	}
	if row.State != state || row.Orders != b.orders || row.Total != b.total {
		p.Errorf("%s is %s with %d orders of %d, should be %s with %d of %d", row.Name, row.State, row.Orders, row.Total, state, b.orders, b.total)
	}
}

// drawer holds the books of a drawer, all of which is heard, against what lies
// in it.
func (p *play) drawer(r *register) {
	p.Helper()
	p.must(p.h.Store.View(p.Context(), func(reader store.Reader) error {
		lines, err := reader.DrawerChain(p.Context(), shop, r.Register, nil, 0)
		if err != nil {
			return err
		}
		lines = slices.DeleteFunc(lines, func(l store.DrawerLine) bool { return l.Method != cash })
		moves, err := reader.BetweenMoves(p.Context(), shop, r.Register)
		if err != nil || len(lines) == 0 {
			return err
		}
		books := lines[len(lines)-1].Closing()
		for _, m := range moves {
			books += m.Amount
		}
		if books != r.cash {
			p.Errorf("%s: the books say %d, in the drawer are %d\n%s", r.Code, books, r.cash, chain(lines))
		}
		var off money.Amount
		for _, l := range lines {
			off += l.Difference() + l.OpeningDifference()
			if !r.muddled && (l.Difference() != 0 || l.OpeningDifference() != 0) {
				p.Errorf("%s: difference %d, opening difference %d in rescue %d of %s", r.Code, l.Difference(), l.OpeningDifference(), l.Ordinal, l.Root)
			}
		}
		if off != 0 {
			p.Errorf("%s: all differences of an honest drawer come to %d\n%s", r.Code, off, chain(lines))
		}
		return nil
	}))
}

// chain tells the lines of a drawer.
func chain(lines []store.DrawerLine) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "stay %d rescue %d of %s: brought %d (between %d), opening %d, taken %d, moves %d, drop %d, closing %d, first %v, fixed %v\n",
			l.Stay.Seq, l.Ordinal, l.Root, l.Brought, l.Between, l.Opening, l.Taken, l.Moves, l.Drop, l.Closing(), l.First, l.Fixed != nil)
	}
	return b.String()
}

// finish ends everything, opens and closes every drawer once more, and looks
// at what is left.
func (p *play) finish() {
	p.settle()
	for _, r := range p.registers {
		p.opens(r)
	}
	p.settle()
	p.check()
	for id, s := range p.model.roots {
		if !s.closed || slices.ContainsFunc(s.rescues, func(b *booking) bool { return !b.closed }) {
			p.Errorf("%s is not closed", id)
		}
	}
	for _, r := range p.registers {
		p.drawer(r)
	}
	p.moved()
	report, err := audit.Run(p.Context(), p.database)
	p.must(err)
	if report.Breached() {
		var told bytes.Buffer
		p.must(report.Write(&told))
		p.Errorf("the audit finds it broken:\n%s", told.String())
	}
}

// settle has every till close out and deliver, and closes what is open then.
func (p *play) settle() {
	for _, r := range p.registers {
		p.closeOut(r)
		p.connect(r)
		r.sent = p.send(r, r.sent, len(r.Raw))
	}
	for _, row := range p.open(false) {
		p.force(row.ID, false)
	}
	for _, row := range p.open(true) {
		p.closeTheRescue(row.Session, ledger.NotCounted)
	}
}

// moved holds where the moves are booked against the model.
func (p *play) moved() {
	found := 0
	for id, s := range p.model.roots {
		for n := range 1 + len(s.rescues) {
			at := id
			if n > 0 {
				at = pos.RescueID(id, n)
			}
			for _, m := range p.h.Session(shop, at).Moves {
				if m.CloseDrop || m.Between {
					continue
				}
				found++
				if want := p.model.moves[m.ID]; want != key(id, n) {
					p.Errorf("move %s is booked in %s, should be in %s", m.ID, key(id, n), want)
				}
			}
		}
	}
	if found != len(p.model.moves) {
		p.Errorf("%d moves, should be %d", found, len(p.model.moves))
	}
}
