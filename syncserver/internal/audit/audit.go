// Package audit proves on a live database that nothing was lost and nothing
// doubled. It checks the invariants of the specification one by one, says how
// much it checked of each, and tells breaches (something is wrong) from
// findings (somebody should know).
//
// It shares no code with what it checks. It reads the bytes of the journal,
// the only thing that it trusts once their chain is whole, and works out again
// what every table must say: with its own SQL, its own types for the JSON, its
// own arithmetic, its own rules of the posting, the drawer and the seal. It
// takes one read-only transaction, so that what it reads is one state of the
// database, and keeps nothing in memory that grows with the number of orders:
// it goes through the journal three times, in the order of the tables that it
// holds against it.
//
//	by place    chain, columns, outcomes, moves, Z reports, counts, numbers
//	by id       orders, order lines, payments; what was sold and taken back
//	by session  sums, drawer lines, lists, seals, postings
//
// Tables that no invariant covers, and why:
//
//   - things, users, tokens, pairings, points_of_sale, registers: they move no
//     money; an entry carries all that it was made with, so nothing is looked
//     up in them to book it. Of the registers only the codes are read, and of
//     the things the company's accounts, to tell where they have changed.
//   - history: what is told of a session; each line is made from an entry or
//     from a close, which are checked.
//   - heard_closes: what is sent again; losing a row sends a close once more.
//     What the registers have journalled of closes is held against them (I5).
//   - outbox, audit, meta, migrations, counters: traffic, people's actions and
//     the server's own memory. The counters of the postings are checked (I9).
//   - flags: they are read, not proved: a flag's text says nothing to the
//     books. That whatever is flagged has its flag is checked (I14).
package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Run audits a database: a SQLite file by its path, or a postgres:// URL. The
// error says that it could not be read to the end; what is wrong in it is in
// the report.
func Run(ctx context.Context, database string) (_ *Report, err error) {
	s, err := open(ctx, database)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return examine(ctx, s)
}

// examine audits what a source reads.
func examine(ctx context.Context, s *source) (*Report, error) {
	name := "sqlite"
	if s.postgres {
		name = "postgres"
	}
	a := newAuditor(s, newReport(name))
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"what is known", a.load},
		{"the journal by place", a.byPlace},
		{"entries with one id", a.twins},
		{"the journal by id", a.byID},
		{"refunds", a.refunds},
		{"receipt numbers", a.doubles},
		{"the sessions", a.bySession},
		{"the drawers", a.drawers},
		{"the numbers of postings", a.postingNumbers},
	} {
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("audit %s: %w", step.what, err)
		}
	}
	a.totals()
	a.r.finish(a.taken, a.balance, func(pos, name string) string {
		_, code, _ := strings.Cut(a.registerOf(pos, name).String(), "/")
		return code
	})
	return a.r, nil
}

// id names something of a point of sale.
type id struct{ pos, id string }

// register is what the audit keeps of a register.
type register struct {
	pos, id, code string
	epochs        []*epoch
	// holes says that a part of its journal is gone, forked that it has more
	// than one branch, lost that some entry is not understood: gaps in its
	// numbers are findings then.
	holes, forked, lost bool
}

func (r *register) String() string {
	if r.code == "" {
		return r.pos + "/" + r.id
	}
	return r.pos + "/" + r.code
}

type epoch struct {
	pos, register            string
	n                        int64
	nonce                    string
	base, checkpoint, cursor storedPoint
	stable                   storedPoint
	seen                     bool
}

// storedPoint is a point as columns hold it.
type storedPoint struct {
	place
	hash []byte
}

// session is what the audit keeps of a session.
type session struct {
	pos, id, name, register, state, root string
	ordinal                              int64
	date                                 string
	openedBy, openedByName               string
	openedAt                             int64
	openHeard, recovered                 bool
	maxDifference                        int64
	control                              bool
	orders, total                        int64
	closedBy, closedByName               string
	closedAt                             int64
	counted                              bool
	reason, kind                         string
	empty                                bool
	posting, digest                      string
	refilling                            bool

	close *closeKept
	named bool  // an entry names it so
	money int64 // entries with money that are booked in it
}

func (s *session) closed() bool { return s.state == "closed" }

// sealed reports whether nothing may change in the session any more.
func (s *session) sealed() bool { return s.closed() && !s.refilling }

func (s *session) rootID() string {
	if s.root != "" {
		return s.root
	}
	return s.id
}

// closeKept is what is kept of the record of a close; its list is not.
type closeKept struct {
	digest, postingHash, posting string
}

type stay struct {
	at         place
	float      int64
	begun      int64
	user, name string
	joined     bool
	drawer     bool
	control    bool
	cashMethod string
}

type stayKey struct{ pos, root, register string }

type drawerKey struct{ pos, register, method string }

type takenKey struct{ pos, register, currency, method string }

// taken is the money of a method as the journal has it and as it is booked.
type taken struct{ journal, booked amount }

type balance struct{ debit, credit amount }

type pointKey struct {
	pos, register string
	place
}

// auditor is an audit on its way.
type auditor struct {
	s *source
	r *Report

	registers map[id]*register
	order     []*register // as they are in the tables
	sessions  map[id]*session
	list      []*session // as they are in the table
	stays     map[stayKey][]stay
	// points are places whose hash something else has kept, and of what.
	points map[pointKey]*witness
	// collapsed are flags that are raised once for a whole session.
	collapsed map[collapsedKey]bool
	// said are the places whose flag says that a number or a refund is wrong.
	said     map[saidKey]bool
	others   []twin            // entries that have their id in common with another
	accounts map[string]string // the company's, by what they are for
	currency string            // the company's
	methods  map[string]string // accounts of payment methods

	// accountsOf are the accounts that entries name for a method of a drawer.
	accountsOf map[drawerKey]map[string]bool
	effective  map[countKey]int64 // what counts come to at their places
	between    map[drawerKey][]waiting
	drops      map[dropKey][]waiting

	taken   map[takenKey]*taken
	posted  map[drawerKey]*amount
	balance map[string]*balance
}

type collapsedKey struct{ pos, register, session string }

type saidKey struct {
	spot spot
	code string
}

type countKey struct {
	pos, register string
	place
	method string
}

// waiting is a move outside of what is expected: between sessions, or out of
// the drawer at the close.
type waiting struct {
	at      place
	amount  int64
	session string
}

type dropKey struct{ pos, register, method, session string }

type witness struct {
	hash [32]byte
	who  []string
	met  bool
	// pruned says that the entry may be gone for good.
	pruned bool
}

func newAuditor(s *source, r *Report) *auditor {
	return &auditor{
		s: s, r: r, registers: map[id]*register{}, sessions: map[id]*session{}, stays: map[stayKey][]stay{}, points: map[pointKey]*witness{},
		collapsed: map[collapsedKey]bool{}, said: map[saidKey]bool{}, accounts: map[string]string{}, methods: map[string]string{}, accountsOf: map[drawerKey]map[string]bool{}, effective: map[countKey]int64{},
		between: map[drawerKey][]waiting{}, drops: map[dropKey][]waiting{},
		taken: map[takenKey]*taken{}, posted: map[drawerKey]*amount{}, balance: map[string]*balance{},
	}
}

// load reads what is few: registers, epochs, sessions, stays, and of the closes
// what they witness.
func (a *auditor) load(ctx context.Context) error {
	for _, read := range []func(context.Context) error{
		a.loadRegisters, a.loadEpochs, a.loadSessions, a.loadStays, a.loadCloses, a.loadFlags, a.loadAccounts,
	} {
		if err := read(ctx); err != nil {
			return err
		}
	}
	a.rescues()
	return nil
}

func (a *auditor) loadRegisters(ctx context.Context) error {
	return each(ctx, a.s, func(r *register) []any { return []any{&r.pos, &r.id, &r.code} },
		"SELECT pos, id, code FROM registers ORDER BY pos, id", func(r *register) error {
			kept := *r
			a.registers[id{r.pos, r.id}] = &kept
			a.order = append(a.order, &kept)
			return nil
		})
}

// registerOf returns a register; one that has no row has its id alone.
func (a *auditor) registerOf(pos, name string) *register {
	r := a.registers[id{pos, name}]
	if r == nil {
		r = &register{pos: pos, id: name}
		a.registers[id{pos, name}] = r
		a.order = append(a.order, r)
		a.r.breach("I2", "no_register", "register", r.String())
	}
	return r
}

func (a *auditor) loadEpochs(ctx context.Context) error {
	err := each(ctx, a.s, func(e *epoch) []any {
		list := []any{&e.pos, &e.register, &e.n, &e.nonce}
		for _, p := range []*storedPoint{&e.base, &e.checkpoint, &e.cursor, &e.stable} {
			list = append(list, &p.Epoch, &p.Seq, &p.hash)
		}
		return list
	}, `SELECT pos, register, epoch, nonce, base_epoch, base_seq, base_hash, checkpoint_epoch, checkpoint_seq, checkpoint_hash,
		cursor_epoch, cursor_seq, cursor_hash, stable_epoch, stable_seq, stable_hash FROM epochs ORDER BY pos, register, epoch`,
		func(e *epoch) error {
			kept := *e
			r := a.registerOf(e.pos, e.register)
			r.epochs = append(r.epochs, &kept)
			a.r.count("I2", "epochs", 1)
			a.r.count("I3", "epochs", 1)
			return nil
		})
	if err != nil {
		return err
	}
	for _, r := range a.order {
		for _, e := range r.epochs {
			a.epoch(r, e)
		}
	}
	return nil
}

// epoch checks what an epoch's row says of itself and keeps its points.
func (a *auditor) epoch(r *register, e *epoch) {
	where := fmt.Sprintf("%s %d", r, e.n)
	if e.cursor.Epoch != e.n && (e.cursor.Epoch != 0 || e.cursor.Seq != 0) {
		a.r.breach("I2", "cursor_epoch", "epoch", where, "cursor", e.cursor.String())
	}
	if e.stable.Seq > e.cursor.Seq {
		a.r.breach("I2", "stable_beyond", "epoch", where, "stable", e.stable.String(), "cursor", e.cursor.String())
	}
	a.mark(e, e.stable, "stable "+where, where, false)
	a.mark(e, e.checkpoint, "checkpoint "+where, where, true)
	if e.n == 1 || e.base.Epoch == 0 {
		if e.base.Seq != 0 || !zero(e.base.hash) {
			a.r.breach("I3", "first_base", "epoch", where)
		}
		if e.n > 1 && len(r.epochs) > 1 {
			a.r.breach("I3", "no_parent", "epoch", where, "base", e.base.String())
		}
		return
	}
	if e.base.Epoch >= e.n {
		a.r.breach("I3", "no_parent", "epoch", where, "base", e.base.String())
		return
	}
	a.base(r, e, where)
}

// mark keeps a point of an epoch: its beginning, or one of its entries. Of a
// checkpoint the entry may be gone.
func (a *auditor) mark(e *epoch, p storedPoint, who, where string, pruned bool) {
	if p.Epoch == 0 && p.Seq == 0 && zero(p.hash) {
		return
	}
	if p.Epoch != e.n || p.Seq == 0 && !bytes.Equal(p.hash, e.base.hash) {
		a.r.breach("I3", "mark", "who", who, "epoch", where, "is", p.String())
		return
	}
	if p.Seq > 0 {
		a.witness(e.pos, e.register, p.place, p.hash, who)
		if pruned {
			a.points[pointKey{e.pos, e.register, p.place}].pruned = true
		}
	}
}

// base keeps where an epoch stands: on an entry of its parent, or on the base
// of that.
func (a *auditor) base(r *register, e *epoch, where string) {
	for _, p := range r.epochs {
		if p.n != e.base.Epoch {
			continue
		}
		switch e.base.Seq {
		case 0:
			if string(p.base.hash) != string(e.base.hash) {
				a.r.breach("I3", "base_differs", "epoch", where, "base", e.base.String())
			}
		default:
			a.witness(e.pos, e.register, e.base.place, e.base.hash, "base "+where)
		}
		if e.base.Seq < p.cursor.Seq {
			r.forked = true
			a.r.find("fork", "register", r.String(), "base", e.base.String(), "cursor", p.cursor.String())
		}
		return
	}
	a.r.breach("I3", "no_parent", "epoch", where, "base", e.base.String())
}

func zero(hash []byte) bool {
	for _, b := range hash {
		if b != 0 {
			return false
		}
	}
	return true
}

// witness keeps that something else knows the hash of an entry.
func (a *auditor) witness(pos, name string, at place, hash []byte, who string) {
	key := pointKey{pos, name, at}
	var h [32]byte
	copy(h[:], hash)
	w := a.points[key]
	if w == nil {
		a.points[key] = &witness{hash: h, who: []string{who}}
		return
	}
	if w.hash != h {
		a.r.breach("I3", "witnesses_differ", "entry", a.registerOf(pos, name).String()+" "+at.String(), "who", who, "other", w.who[0])
	}
}

func (a *auditor) loadSessions(ctx context.Context) error {
	return each(ctx, a.s, func(s *session) []any {
		return []any{
			&s.pos, &s.id, &s.name, &s.register, &s.state, &s.root, &s.ordinal, &s.date, &s.openedBy, &s.openedByName,
			&s.openedAt, &s.openHeard, &s.recovered, &s.maxDifference, &s.control, &s.orders, &s.total, &s.closedBy, &s.closedByName,
			&s.closedAt, &s.counted, &s.reason, &s.kind, &s.empty, &s.posting, &s.digest, &s.refilling,
		}
	}, `SELECT pos, id, name, register, state, root, ordinal, business_date, opened_by, opened_by_name, opened_at, open_heard,
		recovered, max_difference, cash_control, orders, total, closed_by, closed_by_name, closed_at, counted, close_reason, close_kind, is_empty, posting, digest, refilling FROM sessions ORDER BY pos, id`,
		func(s *session) error {
			kept := *s
			a.sessions[id{s.pos, s.id}] = &kept
			a.list = append(a.list, &kept)
			if !slices.Contains([]string{"opening_control", "opened", "closing_control", "closed"}, s.state) {
				a.r.breach("I5", "state", "session", s.name, "state", s.state)
			}
			if kinds := []string{"close_out", "force", "settle"}; s.closed() && (s.root == "" && !slices.Contains(kinds, s.kind) || s.root != "" && s.kind != "rescue") {
				a.r.breach("I5", "kind", "session", s.name, "kind", s.kind)
			}
			return nil
		})
}

func (a *auditor) loadStays(ctx context.Context) error {
	type row struct {
		key stayKey
		stay
	}
	return each(ctx, a.s, func(r *row) []any {
		return []any{
			&r.key.pos, &r.key.root, &r.key.register, &r.at.Epoch, &r.at.Seq, &r.float, &r.begun, &r.user, &r.name, &r.joined, &r.drawer,
			&r.control, &r.cashMethod,
		}
	}, `SELECT pos, session, register, at_epoch, at_seq, float_amount, begun, user_id, user_name, joined, drawer, control, cash_method
		FROM stays ORDER BY pos, session, register, at_epoch, at_seq`, func(r *row) error {
		a.stays[r.key] = append(a.stays[r.key], r.stay)
		return nil
	})
}

// loadCloses reads the records of closes for what they witness: positions of
// the journal. Their lists are read again, session by session.
func (a *auditor) loadCloses(ctx context.Context) error {
	type row struct {
		pos, session string
		body         []byte
	}
	return each(ctx, a.s, func(r *row) []any { return []any{&r.pos, &r.session, &r.body} },
		"SELECT pos, session, body FROM closes ORDER BY pos, session", func(r *row) error {
			var c closeRecord
			if readable := json.Unmarshal(r.body, &c) == nil; !readable {
				a.r.breach("I5", "close_unreadable", "session", a.nameOf(r.pos, r.session))
				return nil
			}
			s := a.sessions[id{r.pos, r.session}]
			if s == nil {
				a.r.breach("I5", "close_of_none", "session", r.pos+" "+r.session)
				return nil
			}
			s.close = &closeKept{digest: c.Digest, postingHash: c.PostingHash, posting: c.Posting}
			for _, p := range c.Positions {
				if p.Seq == 0 {
					continue
				}
				a.r.count("I3", "positions", 1)
				a.witness(r.pos, p.Register, p.place, unhex(p.Hash), "close of "+a.nameOf(r.pos, r.session))
			}
			return nil
		})
}

// loadFlags reads which flags are raised once for a session, whatever entry
// they are of, and how many nobody has dealt with.
func (a *auditor) loadFlags(ctx context.Context) error {
	err := each(ctx, a.s, func(k *collapsedKey) []any { return []any{&k.pos, &k.register, &k.session} },
		`SELECT DISTINCT pos, register, session FROM flags WHERE code IN ('revoked_register', 'clock_off', 'unknown_user', 'unknown_product')`,
		func(k *collapsedKey) error {
			a.collapsed[*k] = true
			return nil
		})
	if err != nil {
		return err
	}
	err = each(ctx, a.s, func(k *saidKey) []any {
		return []any{&k.spot.pos, &k.spot.register, &k.spot.at.Epoch, &k.spot.at.Seq, &k.code}
	}, "SELECT pos, register, entry_epoch, entry_seq, code FROM flags WHERE code IN ('number_twice', 'refund_too_much')", func(k *saidKey) error {
		a.said[*k] = true
		return nil
	})
	if err != nil {
		return err
	}
	type openFlags struct {
		pos, code string
		n         int64
	}
	return each(ctx, a.s, func(f *openFlags) []any { return []any{&f.pos, &f.code, &f.n} },
		"SELECT pos, code, count(*) FROM flags WHERE resolved = 0 GROUP BY pos, code ORDER BY pos, code", func(f *openFlags) error {
			a.r.find("flags", "pos", f.pos, "code", text("flag."+f.code), "n", number(f.n))
			return nil
		})
}

// loadAccounts reads the company's accounts and those of the payment methods
// as they are now.
func (a *auditor) loadAccounts(ctx context.Context) error {
	type method struct {
		id   string
		body []byte
	}
	err := each(ctx, a.s, func(m *method) []any { return []any{&m.id, &m.body} }, "SELECT id, body FROM things WHERE kind = 'method'",
		func(m *method) error {
			var body struct {
				Account string `json:"account"`
			}
			if json.Unmarshal(m.body, &body) == nil {
				a.methods[m.id] = body.Account
			}
			return nil
		})
	if err != nil {
		return err
	}
	return each(ctx, a.s, func(body *[]byte) []any { return []any{body} },
		"SELECT body FROM things WHERE pos = '' AND kind = 'company' AND NOT deleted", func(body *[]byte) error {
			var company struct {
				Accounts map[string]string `json:"accounts"`
				Currency struct {
					Code string `json:"code"`
				} `json:"currency"`
			}
			if json.Unmarshal(*body, &company) == nil {
				a.accounts, a.currency = company.Accounts, company.Currency.Code
			}
			return nil
		})
}

// nameOf returns how people know a session.
func (a *auditor) nameOf(pos, name string) string {
	if s := a.sessions[id{pos, name}]; s != nil {
		return s.name
	}
	return pos + " " + name
}

// rescues checks the rows of rescues: I6 and I7.
func (a *auditor) rescues() {
	type group struct {
		root             id
		open, top, count int64
	}
	var groups []*group
	byRoot := map[id]*group{}
	for _, s := range a.list {
		if s.root == "" {
			if s.ordinal != 0 {
				a.r.breach("I6", "ordinal", "session", s.name, "ordinal", number(s.ordinal))
			}
			continue
		}
		a.r.count("I6", "rescues", 1)
		a.r.count("I7", "rescues", 1)
		g := byRoot[id{s.pos, s.root}]
		if g == nil {
			g = &group{root: id{s.pos, s.root}}
			byRoot[g.root] = g
			groups = append(groups, g)
		}
		if !s.closed() {
			g.open++
		}
		g.top = max(g.top, s.ordinal)
		g.count++
		root := a.sessions[g.root]
		switch {
		case root == nil:
			a.r.breach("I6", "root_missing", "session", s.name)
		case root.root != "":
			a.r.breach("I6", "root_rescue", "session", s.name)
		case !root.closed():
			a.r.breach("I6", "root_open", "session", s.name)
		default:
			want := "(RESCUE FOR " + root.name + ")"
			if s.ordinal > 1 {
				want += " #" + number(s.ordinal)
			}
			if s.name != want || s.register != root.register || s.date != root.date || s.control != root.control || s.maxDifference != root.maxDifference {
				a.r.breach("I6", "rescue_name", "session", s.name, "want", want)
			}
		}
		if s.ordinal < 1 || s.id != derivedID(fmt.Sprintf("%s/%d", s.root, s.ordinal)) {
			a.r.breach("I6", "ordinal", "session", s.name, "ordinal", number(s.ordinal))
		}
	}
	for _, g := range groups {
		name := a.nameOf(g.root.pos, g.root.id)
		if g.count != g.top {
			a.r.breach("I6", "ordinals", "session", name, "n", number(g.count), "top", number(g.top))
		}
		if g.open > 1 {
			a.r.breach("I7", "two_rescues", "session", name, "n", number(g.open))
		}
		if g.open > 0 {
			a.r.find("rescue_open", "session", name)
		}
	}
}
