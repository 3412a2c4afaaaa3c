package audit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The outcomes of a journal row.
const (
	applied  = 1
	flagged  = 2
	refused  = 3 // flagged and not counted
	known    = 4
	accepted = 5
)

func counts(outcome int64) bool {
	return outcome == applied || outcome == flagged || outcome == accepted
}

// row is a row of the journal.
type row struct {
	pos, register      string
	at                 place
	op, kind           string
	hash, content, raw []byte
	clock              int64
	stamped, booked    string
	outcome            int64
	wrapped            bool
}

func (r *row) spot() spot { return spot{r.pos, r.register, r.at} }

const journalColumns = "SELECT pos, register, epoch, seq, op, kind, hash, content, raw, at, stamped, booked, outcome, wrapped FROM journal "

func journalRow(r *row) []any {
	return []any{
		&r.pos, &r.register, &r.at.Epoch, &r.at.Seq, &r.op, &r.kind, &r.hash, &r.content, &r.raw, &r.clock,
		&r.stamped, &r.booked, &r.outcome, &r.wrapped,
	}
}

// spot is a place in the journal of a register of a point of sale.
type spot struct {
	pos, register string
	at            place
}

func (s spot) compare(t spot) int {
	return cmp.Or(strings.Compare(s.pos, t.pos), strings.Compare(s.register, t.register),
		cmp.Compare(s.at.Epoch, t.at.Epoch), cmp.Compare(s.at.Seq, t.at.Seq))
}

// beside reads the rows of a table that stand at a spot of the journal; rows
// whose spot the journal does not have are handed to orphan.
func beside[T any](ctx context.Context, c *cursor[T], of func(*T) spot, want spot, orphan func(*T)) ([]T, error) {
	var list []T
	for c.ok {
		switch order := of(&c.row).compare(want); {
		case order > 0:
			return list, nil
		case order < 0:
			orphan(&c.row)
		default:
			list = append(list, c.row)
		}
		if err := c.next(ctx); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// flag is a flag of an entry.
type flag struct {
	spot     spot
	code     string
	resolved int64
}

// walk is the way through the journal by place.
type walk struct {
	*auditor
	flags  *cursor[flag]
	moves  *cursor[moveRow]
	zs     *cursor[zRow]
	counts *cursor[countRow]

	reg   *register
	epoch *epoch
	prev  [32]byte // hash of the entry before
	last  place
	till  *tillState
	nums  *numbers
}

// byPlace goes through the journal in the order of its places: the chain, the
// columns, the outcomes; and the tables whose rows stand at places.
func (a *auditor) byPlace(ctx context.Context) (err error) {
	w := &walk{auditor: a}
	if w.flags, err = query(ctx, a.s, func(f *flag) []any {
		return []any{&f.spot.pos, &f.spot.register, &f.spot.at.Epoch, &f.spot.at.Seq, &f.code, &f.resolved}
	}, `SELECT pos, register, entry_epoch, entry_seq, code, resolved FROM flags WHERE entry_epoch > 0
		ORDER BY pos/*C*/, register/*C*/, entry_epoch, entry_seq`); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.flags.close(ctx)) }()
	if w.moves, err = query(ctx, a.s, readMove, moveColumns+"ORDER BY pos/*C*/, register/*C*/, entry_epoch, entry_seq, id/*C*/"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.moves.close(ctx)) }()
	if w.zs, err = query(ctx, a.s, readZ, `SELECT pos, register, entry_epoch, entry_seq, series, number, session, body, finding
		FROM z_reports ORDER BY pos/*C*/, register/*C*/, entry_epoch, entry_seq`); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.zs.close(ctx)) }()
	if w.counts, err = query(ctx, a.s, readCount, `SELECT pos, register, entry_epoch, entry_seq, session, method, amount, late, at, attempt,
		counted_by FROM counts WHERE entry_epoch > 0 ORDER BY pos/*C*/, register/*C*/, entry_epoch, entry_seq, method/*C*/`); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.counts.close(ctx)) }()
	err = each(ctx, a.s, journalRow, journalColumns+"ORDER BY pos/*C*/, register/*C*/, epoch, seq", func(r *row) error {
		return w.entry(ctx, r)
	})
	if err != nil {
		return err
	}
	if err := w.rest(ctx); err != nil {
		return err
	}
	w.endEpoch()
	w.endRegister()
	a.unseen()
	return nil
}

// rest reads what the tables beside the journal have behind its end.
func (w *walk) rest(ctx context.Context) error {
	end := spot{pos: "\U0010ffff"}
	_, err := beside(ctx, w.moves, moveSpot, end, w.moveOrphan)
	if err == nil {
		_, err = beside(ctx, w.zs, zSpot, end, w.zOrphan)
	}
	if err == nil {
		_, err = beside(ctx, w.counts, countSpot, end, w.countOrphan)
	}
	return err
}

// entry checks one row of the journal.
func (w *walk) entry(ctx context.Context, r *row) error {
	w.r.count("I2", "entries", 1)
	w.r.count("I3", "entries", 1)
	if w.reg == nil || w.reg.pos != r.pos || w.reg.id != r.register {
		w.endEpoch()
		w.endRegister()
		w.reg = w.registerOf(r.pos, r.register)
		w.till, w.nums = newTillState(), newNumbers(w.reg)
	}
	if w.epoch == nil || w.epoch.n != r.at.Epoch {
		w.endEpoch()
		w.beginEpoch(r)
	}
	where := w.reg.String() + " " + r.at.String()
	rec := w.bytes(r, where)
	flags, err := beside(ctx, w.flags, func(f *flag) spot { return f.spot }, r.spot(), func(*flag) {})
	if err != nil {
		return err
	}
	if rec != nil {
		w.columns(r, rec, flags, where)
	}
	w.outcome(r, flags, where)
	if rec == nil {
		rec = &record{}
	}
	if rec.body == nil && counts(r.outcome) {
		w.r.breach("I14", "counts_unread", "entry", where)
	}
	rec.counted = counts(r.outcome) && rec.body != nil
	if r.outcome == refused {
		w.reg.lost = true
	}
	w.booking(r, rec, where)
	return w.says(ctx, r, rec, flags, where)
}

func (w *walk) beginEpoch(r *row) {
	i := slices.IndexFunc(w.reg.epochs, func(e *epoch) bool { return e.n == r.at.Epoch })
	if i < 0 {
		w.r.breach("I2", "no_epoch", "register", w.reg.String(), "epoch", number(r.at.Epoch))
		w.epoch = &epoch{pos: r.pos, register: r.register, n: r.at.Epoch, cursor: storedPoint{place: place{r.at.Epoch, -1}}}
	} else {
		w.epoch = w.reg.epochs[i]
	}
	w.epoch.seen = true
	w.last = place{w.epoch.n, 0}
	copy(w.prev[:], w.epoch.base.hash)
	if len(w.epoch.base.hash) == 0 {
		w.prev = [32]byte{}
	}
	w.till.lastZ = nil
}

// endEpoch checks that the last entry of an epoch is its cursor.
func (w *walk) endEpoch() {
	e := w.epoch
	if w.epoch = nil; e == nil || e.cursor.Seq < 0 {
		return
	}
	if e.cursor.Seq != w.last.Seq || !bytes.Equal(e.cursor.hash, w.prev[:]) {
		w.r.breach("I2", "cursor", "epoch", fmt.Sprintf("%s %d", w.reg, e.n), "cursor", e.cursor.String(),
			"hash", short(e.cursor.hash), "last", w.last.String(), "is", short(w.prev[:]))
	}
}

func short(hash []byte) string {
	return hex.EncodeToString(hash[:min(4, len(hash))])
}

func unhex(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		return nil
	}
	return b
}

// bytes checks the bytes of an entry: they hash to what is stored, and continue
// the chain. It returns nil where they are no entry.
func (w *walk) bytes(r *row, where string) *record {
	hash := sha256.Sum256(r.raw)
	if !bytes.Equal(hash[:], r.hash) {
		w.r.breach("I2", "hash", "entry", where, "hash", short(r.hash), "is", short(hash[:]))
	}
	if p := w.points[pointKey{r.pos, r.register, r.at}]; p != nil {
		p.met = true
		if p.hash != hash {
			w.r.breach("I3", "witness", "entry", where, "who", p.who[0], "hash", short(p.hash[:]), "is", short(hash[:]))
		}
	}
	before := w.prev
	expected := w.last.Seq + 1
	if r.at.Seq != expected {
		c := w.epoch.checkpoint
		if c.Seq > w.last.Seq && r.at.Seq == c.Seq+1 {
			// What the till had pruned before it could send it again.
			w.reg.holes = true
			copy(before[:], c.hash)
			w.r.find("hole", "register", w.reg.String(), "from", place{r.at.Epoch, expected}.String(), "to", c.String())
		} else {
			w.r.breach("I3", "sequence", "entry", where, "want", number(expected))
		}
	}
	w.last, w.prev = r.at, hash
	rec, err := decode(r.raw)
	if err != nil {
		w.r.breach("I2", "no_entry", "entry", where)
		return nil
	}
	if !bytes.Equal(unhex(rec.Prev), before[:]) {
		w.r.breach("I3", "chain", "entry", where, "prev", rec.Prev[:min(8, len(rec.Prev))], "is", short(before[:]))
	}
	if rec.Epoch != r.at.Epoch || rec.Seq != r.at.Seq {
		w.r.breach("I3", "place", "entry", where, "says", place{rec.Epoch, rec.Seq}.String())
	}
	if b, ok := rec.body.(*begun); ok && r.at.Seq == 1 && !rec.wrapped {
		w.begun(b, where)
	}
	return rec
}

// begun checks the first entry of an epoch against its row.
func (w *walk) begun(b *begun, where string) {
	e := w.epoch
	if b.Base.place != e.base.place || !bytes.Equal(unhex(b.Base.Hash), e.base.hash) {
		w.r.breach("I3", "begun_base", "entry", where, "says", b.Base.String(), "base", e.base.String())
	}
	if b.Nonce != e.nonce {
		w.r.breach("I3", "begun_nonce", "entry", where)
	}
}

// columns checks that the columns of a row say what its bytes say.
func (w *walk) columns(r *row, rec *record, flags []flag, where string) {
	wrong := func(column, has, says string) {
		w.r.breach("I2", "column", "entry", where, "column", column, "has", has, "says", says)
	}
	const longest = 128 // longer ids and kinds are not kept as they are
	if r.op != rec.op && len(rec.op) <= longest {
		wrong("op", r.op, rec.op)
	}
	if r.kind != rec.kind && len(rec.kind) <= longest {
		wrong("kind", r.kind, rec.kind)
	}
	if !bytes.Equal(r.content, rec.content[:]) {
		wrong("content", short(r.content), short(rec.content[:]))
	}
	if r.clock != rec.at {
		wrong("at", number(r.clock), number(rec.at))
	}
	if r.wrapped != rec.wrapped {
		wrong("wrapped", fmt.Sprint(r.wrapped), fmt.Sprint(rec.wrapped))
	}
	unread := r.stamped == "" && (r.outcome == refused || r.outcome == known || has(flags, "not_understood"))
	if r.stamped != rec.stamped() && !unread {
		wrong("stamped", r.stamped, rec.stamped())
	}
	strange := rec.Register != r.register || rec.PointOfSale != r.pos
	if strange && r.outcome == applied {
		w.r.breach("I2", "strange", "entry", where, "register", rec.PointOfSale+"/"+rec.Register)
	}
}

func has(flags []flag, codes ...string) bool {
	return slices.ContainsFunc(flags, func(f flag) bool { return slices.Contains(codes, f.code) })
}

// outcome checks that a row has one outcome and the flags that go with it.
func (w *walk) outcome(r *row, flags []flag, where string) {
	w.r.count("I14", "entries", 1)
	switch r.outcome {
	case applied:
		w.r.count("I14", "applied", 1)
		if slices.ContainsFunc(flags, func(f flag) bool { return f.resolved == 0 }) {
			w.r.breach("I14", "flag_unsaid", "entry", where, "code", flags[0].code)
		}
	case flagged:
		w.r.count("I14", "flagged", 1)
		w.needsFlag(r, flags, where)
	case refused:
		w.r.count("I14", "refused", 1)
		switch {
		case has(flags, "not_understood"):
		case has(flags, "other_content"):
			w.others = append(w.others, r.twin())
		default:
			w.r.breach("I14", "no_flag", "entry", where, "outcome", number(r.outcome))
		}
	case known:
		w.r.count("I14", "known", 1)
	case accepted:
		w.r.count("I14", "accepted", 1)
		if !slices.ContainsFunc(flags, func(f flag) bool { return f.code == "other_content" && f.resolved != 0 }) {
			w.r.breach("I14", "not_accepted", "entry", where)
		}
		w.others = append(w.others, r.twin())
	default:
		w.r.breach("I14", "outcome", "entry", where, "outcome", number(r.outcome))
	}
}

func (w *walk) needsFlag(r *row, flags []flag, where string) {
	if len(flags) == 0 && !w.collapsed[collapsedKey{r.pos, r.register, r.stamped}] {
		w.r.breach("I14", "no_flag", "entry", where, "outcome", number(r.outcome))
	}
}

// booking checks that what counts and moves money is booked in one session, in
// that which it is stamped with or a rescue of it, and nothing else is.
func (w *walk) booking(r *row, rec *record, where string) {
	if !rec.counted || !rec.movesMoney() {
		if r.booked != "" {
			w.r.breach("I4", "booked_nothing", "entry", where, "session", w.nameOf(r.pos, r.booked))
		}
		if rec.kind == kindTraining {
			w.r.count("I4", "trainings", 1)
		}
		return
	}
	what := map[string]string{kindOrder: "orders", kindReceipt: "receipts", kindMove: "moves"}[rec.kind]
	w.r.count("I4", what, 1)
	if r.booked == "" {
		if rec.kind != kindMove || rec.stamp != nil {
			w.r.breach("I4", "not_booked", "entry", where)
		}
		return
	}
	s := w.sessions[id{r.pos, r.booked}]
	if s == nil {
		w.r.breach("I4", "booked_nowhere", "entry", where, "session", r.booked)
		return
	}
	s.money++
	if rec.stamp == nil {
		return
	}
	w.r.count("I6", "stamped", 1)
	root := rec.stamp.ID
	if of := w.sessions[id{r.pos, root}]; of != nil {
		root = of.rootID()
	}
	if s.rootID() != root && s.rootID() != derivedID(rec.stamp.ID+"/"+r.register) {
		w.r.breach("I6", "booked_elsewhere", "entry", where, "stamped", w.nameOf(r.pos, rec.stamp.ID), "session", s.name)
	}
}

// twin is an entry that is said to have the operation id of another one.
type twin struct {
	spot    spot
	op      string
	content []byte
}

func (r *row) twin() twin { return twin{r.spot(), r.op, r.content} }

func (a *auditor) twinOf(t *twin) string {
	return a.registerOf(t.spot.pos, t.spot.register).String() + " " + t.spot.at.String()
}

// twins checks that what is said to be there already is there, and that what is
// not counted for its operation id has it in common with another entry.
func (a *auditor) twins(ctx context.Context) error {
	read := func(t *twin) []any {
		return []any{&t.spot.pos, &t.spot.register, &t.spot.at.Epoch, &t.spot.at.Seq, &t.op, &t.content}
	}
	err := each(ctx, a.s, read, `SELECT pos, register, epoch, seq, op, content FROM journal j WHERE outcome = 4 AND NOT EXISTS (SELECT 1 FROM journal k
			WHERE k.pos = j.pos AND k.op = j.op AND k.content = j.content AND k.outcome < 3)
		AND NOT EXISTS (SELECT 1 FROM journal k WHERE k.pos = j.pos AND k.op = j.op AND k.content = j.content AND k.outcome >= 3 AND k.outcome <> 4)
		ORDER BY pos, register/*C*/, epoch, seq`, func(t *twin) error {
		a.r.breach("I14", "not_known", "entry", a.twinOf(t))
		return nil
	})
	if err != nil {
		return err
	}
	for i := range a.others {
		t, found := &a.others[i], false
		err := each(ctx, a.s, read, "SELECT pos, register, epoch, seq, op, content FROM journal WHERE pos = $1 AND op = $2 AND outcome <> 4",
			func(k *twin) error {
				found = found || !bytes.Equal(k.content, t.content)
				return nil
			}, t.spot.pos, t.op)
		if err != nil {
			return err
		}
		if !found {
			a.r.breach("I14", "no_other", "entry", a.twinOf(t))
		}
	}
	return nil
}

// says checks what an entry says against what was made of it.
func (w *walk) says(ctx context.Context, r *row, rec *record, flags []flag, where string) error {
	if s := rec.stamp; s != nil && r.outcome != refused {
		w.stampOf(r, rec)
	}
	w.accountsIn(r, rec)
	if rec.counted {
		w.money(r, rec, flags, where)
	}
	w.nums.entry(w, r, rec, flags, where)
	if err := w.move(ctx, r, rec, where); err != nil {
		return err
	}
	if err := w.count(ctx, r, rec, where); err != nil {
		return err
	}
	if err := w.z(ctx, r, rec, flags, where); err != nil {
		return err
	}
	w.stayAt(r, rec, where)
	if c, ok := rec.body.(*closeRecord); ok && rec.counted {
		w.journalled(r, c, flags, where)
	}
	return nil
}

// accountsIn keeps the accounts that an entry names for the methods of its
// register's drawer.
func (w *walk) accountsIn(r *row, rec *record) {
	keep := func(method, account string) {
		k := drawerKey{r.pos, r.register, method}
		if w.accountsOf[k] == nil {
			w.accountsOf[k] = map[string]bool{}
		}
		w.accountsOf[k][account] = true
	}
	switch b := rec.body.(type) {
	case *opened:
		for _, m := range b.Methods {
			keep(m.ID, m.Account)
		}
	case *move:
		keep(b.Method, b.CashAccount)
	case *closed:
		if b.Drop != nil {
			keep(b.Drop.Method, b.Drop.CashAccount)
		}
	}
	for _, t := range rec.tenders {
		keep(t.Method, t.Account)
	}
}

// stampOf notes that an entry names the session in which it is booked as the
// session is named, and checks an opening's session.
func (w *walk) stampOf(r *row, rec *record) {
	for _, name := range []string{rec.stamp.ID, derivedID(rec.stamp.ID + "/" + r.register)} {
		s := w.sessions[id{r.pos, name}]
		if s == nil {
			continue
		}
		foreign := name != rec.stamp.ID
		s.named = s.named || s.name == rec.stamp.Name && s.date == rec.stamp.BusinessDate && (foreign || s.register == rec.stamp.Register)
		if b, ok := rec.body.(*opened); ok && rec.kind == kindOpened && r.outcome == applied && s.root == "" {
			w.openedAs(s, b)
		}
		return
	}
}

// openedAs checks the row of a session against its opening, unless that came
// when the session was closed already.
func (w *walk) openedAs(s *session, b *opened) {
	if !s.openHeard {
		if !s.closed() || !s.recovered {
			w.r.breach("I11", "session_opened", "session", s.name, "by", s.openedBy, "says", b.User.ID)
		}
		return
	}
	if s.openedBy != b.User.ID || s.openedByName != b.User.Name || s.openedAt != micro(b.Session.At) || s.recovered ||
		s.maxDifference != b.MaxDifference || s.control != b.CashControl {
		w.r.breach("I11", "session_opened", "session", s.name, "by", s.openedBy, "says", b.User.ID)
	}
}

// stayAt checks a stay against the entry that began it.
func (w *walk) stayAt(r *row, rec *record, where string) {
	b, ok := rec.body.(*opened)
	if !ok || !rec.counted {
		return
	}
	root := b.Session.ID
	if s := w.sessions[id{r.pos, root}]; s == nil {
		root = derivedID(root + "/" + r.register)
	} else {
		root = s.rootID()
	}
	for _, s := range w.stays[stayKey{r.pos, root, r.register}] {
		if s.at != r.at {
			continue
		}
		w.r.count("I10", "stays", 1)
		if s.float != b.Float || s.drawer != b.Drawer || s.control != b.CashControl || s.cashMethod != b.CashMethod ||
			s.joined != (rec.kind == kindJoined) || s.begun != rec.at || s.user != b.User.ID || s.name != b.User.Name {
			w.r.breach("I10", "stay", "entry", where, "has", number(s.float), "says", number(b.Float))
		}
		return
	}
	if rec.kind == kindJoined || r.outcome == applied && !w.hasStay(r, root) {
		w.r.breach("I10", "no_stay", "entry", where)
	}
}

// hasStay reports whether the register has a stay in a session at all: an
// opening that is told twice begins none.
func (w *walk) hasStay(r *row, root string) bool {
	return len(w.stays[stayKey{r.pos, root, r.register}]) > 0
}

// journalled holds a close that a register has journalled against the server's
// record: the register's chain is a witness that nobody at the server can
// change.
func (w *walk) journalled(r *row, c *closeRecord, flags []flag, where string) {
	if has(flags, "close_unknown") {
		return
	}
	w.r.count("I5", "journalled", 1)
	s := w.sessions[id{r.pos, c.Session}]
	if s == nil || s.close == nil {
		w.r.breach("I5", "journalled_unknown", "entry", where, "session", c.Name)
		return
	}
	if s.close.digest != c.Digest || s.close.postingHash != c.PostingHash || s.close.posting != c.Posting {
		w.r.breach("I5", "journalled", "entry", where, "session", s.name)
	}
}

func (w *walk) endRegister() {
	if w.reg == nil {
		return
	}
	w.nums.end(w)
	if len(w.reg.epochs) > 1 {
		w.r.find("epochs", "register", w.reg.String(), "n", number(int64(len(w.reg.epochs))))
	}
	w.reg = nil
}

// unseen checks what the way through the journal has not met: epochs without
// entries, places that something else has kept, sessions that no entry names.
func (a *auditor) unseen() {
	for _, r := range a.order {
		for _, e := range r.epochs {
			if e.seen {
				continue
			}
			empty := e.cursor.Seq == 0 && (bytes.Equal(e.cursor.hash, e.base.hash) || zero(e.cursor.hash) && zero(e.base.hash))
			pruned := e.cursor.Seq > 0 && e.cursor.Seq == e.checkpoint.Seq && bytes.Equal(e.cursor.hash, e.checkpoint.hash)
			if !empty && !pruned {
				a.r.breach("I2", "missing", "epoch", fmt.Sprintf("%s %d", r, e.n), "cursor", e.cursor.String())
			}
		}
	}
	keys := slices.SortedFunc(maps.Keys(a.points), func(x, y pointKey) int {
		return spot{x.pos, x.register, x.place}.compare(spot{y.pos, y.register, y.place})
	})
	for _, key := range keys {
		w := a.points[key]
		if w.met || w.pruned {
			continue
		}
		r := a.registerOf(key.pos, key.register)
		if r.holes {
			a.r.find("in_hole", "entry", r.String()+" "+key.String(), "who", w.who[0])
			continue
		}
		a.r.breach("I3", "witness_missing", "entry", r.String()+" "+key.String(), "who", w.who[0])
	}
	for _, s := range a.list {
		if s.root == "" && s.kind != "settle" && !s.named {
			a.r.breach("I11", "session_unnamed", "session", s.name)
		}
	}
}
