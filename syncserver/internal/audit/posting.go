package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// postingRow is a row of the postings.
type postingRow struct {
	pos, session, number string
	year                 int64
	tag                  string
	ordinal              int64
	day, label           string
	clock                int64
	hash                 string
}

const postingColumns = "SELECT pos, session, number, year, tag, ordinal, day, label, at, hash FROM postings"

func readPosting(p *postingRow) []any {
	return []any{&p.pos, &p.session, &p.number, &p.year, &p.tag, &p.ordinal, &p.day, &p.label, &p.clock, &p.hash}
}

// postingLine is a row of the posting lines.
type postingLine struct {
	pos, session             string
	no                       int64
	account                  string
	debit, credit            int64
	label, register          string
	method, customer, detail string
}

func readPostingLine(l *postingLine) []any {
	return []any{&l.pos, &l.session, &l.no, &l.account, &l.debit, &l.credit, &l.label, &l.register, &l.method, &l.customer, &l.detail}
}

// posting checks the posting of a session: there is one where there is anything
// to post, it balances, and it says line by line what the facts give.
func (b *bookedIn) posting(f *facts, rows []postingRow, lines []postingLine) {
	s := f.session
	b.addBalance(lines)
	if len(rows) == 0 && len(lines) > 0 {
		b.r.breach("I9", "lines_of_none", "session", s.name, "n", number(int64(len(lines))))
	}
	if !s.sealed() {
		if len(rows) > 0 {
			b.r.breach("I9", "posted_open", "session", s.name)
		}
		return
	}
	want := f.posting()
	if len(rows) == 0 {
		if !s.empty || len(want) > 0 {
			b.r.breach("I9", "no_posting", "session", s.name, "n", number(int64(len(want))))
		}
		b.r.count("I9", "empty", 1)
		return
	}
	p := &rows[0]
	b.r.count("I9", "postings", 1)
	b.r.count("I9", "posting_lines", int64(len(lines)))
	b.head(s, p)
	var debit, credit amount
	for i := range lines {
		l := &lines[i]
		debit.add(l.debit)
		credit.add(l.credit)
		if l.no != int64(i+1) || l.debit < 0 || l.credit < 0 || (l.debit == 0) == (l.credit == 0) || l.account == "" {
			b.r.breach("I9", "line_odd", "posting", p.number, "no", number(l.no))
		}
	}
	if !debit.equals(credit) {
		b.r.breach("I9", "unbalanced", "posting", p.number, "debit", debit.String(), "credit", credit.String())
	}
	b.compare(p, lines, want)
	hash := hashOf(lines)
	if hash != p.hash || s.close == nil || hash != s.close.postingHash {
		b.r.breach("I9", "posting_hash", "posting", p.number, "has", p.hash, "is", hash)
	}
}

// head checks what the row of a posting says besides its lines.
func (b *bookedIn) head(s *session, p *postingRow) {
	wrong := func(what, has, want string) {
		b.r.breach("I9", "posting_head", "posting", p.number, "what", what, "has", has, "want", want)
	}
	if s.empty || s.posting != p.number {
		wrong("session", s.posting, p.number)
	}
	want := fmt.Sprintf("%d-%05d", p.year, p.ordinal)
	if p.tag != "" {
		want = fmt.Sprintf("%d-%s-%05d", p.year, p.tag, p.ordinal)
	}
	if p.number != want {
		wrong("number", p.number, want)
	}
	label := s.name
	if root := b.sessions[id{s.pos, s.root}]; root != nil && root.posting != "" {
		label += " / " + root.posting
	}
	if p.label != label {
		wrong("label", p.label, label)
	}
	if p.clock != s.closedAt {
		wrong("at", number(p.clock), number(s.closedAt))
	}
	day, err := time.Parse(time.DateOnly, p.day)
	if err != nil || int64(day.Year()) != p.year {
		wrong("day", p.day, number(p.year))
	}
	if _, err := time.Parse(time.DateOnly, s.date); err == nil && p.day != s.date {
		b.r.find("other_day", "posting", p.number, "day", p.day, "date", s.date)
	}
}

// The company's accounts, which no entry carries: as a line is worked out they
// are named by what they are for.
const (
	forFloat    = "\x00float"
	forLoss     = "\x00loss"
	forGain     = "\x00gain"
	forSuspense = "\x00suspense"
	forRounding = "\x00rounding"
)

// posting works out what the posting of the session must say, in any order.
func (f *facts) posting() []postingLine {
	var lines []postingLine
	put := func(l postingLine, n int64) {
		if n == 0 {
			return
		}
		if l.account == "" {
			l.account = forSuspense
		}
		if n > 0 {
			l.debit = n
		} else {
			l.credit = -n
		}
		lines = append(lines, l)
	}
	for k, s := range f.sums {
		l := postingLine{account: k.account, label: "posting." + k.kind, register: k.register}
		side := int64(-1) // a credit
		switch k.kind {
		case "payment":
			l.method, side = k.detail, 1
		case "receivable":
			l.customer, side = k.detail, 1
		case "receipt":
			l.customer = k.detail
		case "sales", "sales_refund":
			l.detail = k.detail
		case "rounding":
			if l.account == "" {
				l.account = forRounding
			}
		case "suspense":
			l.account = forSuspense
		}
		put(l, side*s.amount.value())
	}
	pair := func(label string, n int64, drawer, other, register, method, detail string) {
		put(postingLine{account: drawer, label: label, register: register, method: method, detail: detail}, n)
		put(postingLine{account: other, label: label, detail: detail}, -n)
	}
	for i := range f.moves {
		m := &f.moves[i]
		pair("posting.move", m.amount, m.cashAccount, m.account, m.spot.register, m.method, m.reason)
	}
	for i := range f.lines {
		l := &f.lines[i]
		off := sum(l.opening)
		off.sub(l.brought)
		if l.first {
			pair("posting.first_float", off.value(), l.account, forFloat, l.register, l.method, "")
		} else {
			pair("posting.opening_difference", off.value(), l.account, gainOrLoss(off.value()), l.register, l.method, "")
		}
		d := l.difference().value()
		pair("posting.counting_difference", d, l.account, gainOrLoss(d), l.register, l.method, "")
	}
	return lines
}

func gainOrLoss(n int64) string {
	if n < 0 {
		return forLoss
	}
	return forGain
}

// compare holds the lines of a posting against those worked out. Where the
// company's account is meant it may be any, the same in all lines: another one
// than the company has now is a finding.
func (b *bookedIn) compare(p *postingRow, lines, want []postingLine) {
	left := map[postingLine]int{}
	for _, l := range lines {
		l.pos, l.session, l.no = "", "", 0
		left[l]++
	}
	gone := func(l postingLine) bool {
		if left[l] == 0 {
			return false
		}
		left[l]--
		return true
	}
	var missing, company []postingLine
	for _, l := range want {
		switch {
		case strings.HasPrefix(l.account, "\x00"):
			company = append(company, l)
		case !gone(l):
			missing = append(missing, l)
		}
	}
	accounts := map[string]string{}
	for _, l := range company {
		use := l.account
		l.account = accounts[use]
		if l.account == "" {
			l.account = b.accounts[use[1:]]
		}
		if !gone(l) && (accounts[use] != "" || !other(left, &l)) {
			missing = append(missing, l)
			continue
		}
		accounts[use] = l.account
		if l.account != b.accounts[use[1:]] {
			b.r.find("other_account", "posting", p.number, "account", l.account, "now", b.accounts[use[1:]])
		}
	}
	for _, l := range missing {
		b.r.breach("I9", "line_missing", "posting", p.number, "line", l.String())
	}
	for l, n := range left {
		if n > 0 {
			b.r.breach("I9", "line_more", "posting", p.number, "line", l.String())
		}
	}
}

// other takes a line out that differs in its account alone, and tells which.
func other(left map[postingLine]int, l *postingLine) bool {
	for has, n := range left {
		same := *l
		same.account = has.account
		if n > 0 && same == has {
			left[has]--
			*l = has
			return true
		}
	}
	return false
}

func (l postingLine) String() string {
	return fmt.Sprintf("%s %s %d %d %s %s %s", l.account, l.label, l.debit, l.credit, l.method, l.customer, l.detail)
}

// hashOf works out the hash of a posting: of its lines in order, each a line of
// text of its fields as length:text with blanks between.
func hashOf(lines []postingLine) string {
	h := sha256.New()
	for i := range lines {
		l := &lines[i]
		fields := []string{l.account, number(l.debit), number(l.credit), l.label, l.register, l.method, l.customer, l.detail}
		for i, f := range fields {
			fields[i] = fmt.Sprintf("%d:%s", len(f), f)
		}
		fmt.Fprintln(h, strings.Join(fields, " "))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// addBalance adds the lines of a posting to the trial balance, and what it
// posts of each drawer to that.
func (b *bookedIn) addBalance(lines []postingLine) {
	for i := range lines {
		l := &lines[i]
		at := b.balance[l.account]
		if at == nil {
			at = &balance{}
			b.balance[l.account] = at
		}
		at.debit.add(l.debit)
		at.credit.add(l.credit)
		if l.method == "" || l.register == "" {
			continue
		}
		k := drawerKey{l.pos, l.register, l.method}
		if b.posted[k] == nil {
			b.posted[k] = &amount{}
		}
		b.posted[k].add(l.debit)
		b.posted[k].sub(l.credit)
	}
}

// postingNumbers checks that the numbers of postings are without gap by year
// and incarnation. A gap in the tail of an earlier incarnation is a finding:
// what was posted there after the backup went with it.
func (a *auditor) postingNumbers(ctx context.Context) error {
	var tag []byte
	err := each(ctx, a.s, func(v *[]byte) []any { return []any{v} }, "SELECT value FROM meta WHERE name = 'posting_tag'", func(v *[]byte) error {
		tag = slices.Clone(*v)
		return nil
	})
	if err != nil {
		return err
	}
	type group struct {
		tag  string
		year int64
	}
	type seen struct{ top, n int64 }
	groups := map[group]*seen{}
	var order []group
	err = each(ctx, a.s, readPosting, postingColumns+" ORDER BY tag/*C*/, year, ordinal", func(p *postingRow) error {
		g := group{p.tag, p.year}
		if groups[g] == nil {
			groups[g] = &seen{}
			order = append(order, g)
		}
		s := groups[g]
		s.n++
		if p.ordinal != s.top+1 {
			pairs := []string{"number", p.number, "after", number(s.top)}
			if p.tag == string(tag) {
				a.r.breach("I9", "number_gap", pairs...)
			} else {
				a.r.find("number_gap", pairs...)
			}
		}
		s.top = p.ordinal
		return nil
	})
	if err != nil {
		return err
	}
	counters := map[string]int64{}
	type counterRow struct {
		name  string
		value int64
	}
	err = each(ctx, a.s, func(c *counterRow) []any { return []any{&c.name, &c.value} }, "SELECT name, value FROM counters WHERE name LIKE 'posting/%'",
		func(c *counterRow) error {
			counters[c.name] = c.value
			return nil
		})
	if err != nil {
		return err
	}
	for _, g := range order {
		a.r.count("I9", "numbers", groups[g].n)
		name := fmt.Sprintf("posting/%s/%d", g.tag, g.year)
		if g.tag == string(tag) && counters[name] != groups[g].top {
			a.r.breach("I9", "counter", "name", name, "has", number(counters[name]), "want", number(groups[g].top))
		}
	}
	return nil
}
