package audit

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"tillandsia/shared/message"
)

// Most is how many breaches of an invariant, and findings of a kind, are told
// in detail.
const Most = 20

// Report is what an audit found.
type Report struct {
	// Database is "sqlite" or "postgres".
	Database string `json:"database"`
	// Invariants are all of them, in order.
	Invariants []*Invariant `json:"invariants"`
	// Findings are what a person should know of and what breaks nothing.
	Findings []*Finding `json:"findings"`
	// Totals are the money that registers took, by register, currency and
	// method.
	Totals []Total `json:"totals"`
	// Balance is the trial balance of the books, by account.
	Balance []Account `json:"balance"`
	Debit   int64     `json:"debit"`
	Credit  int64     `json:"credit"`
}

// Invariant is one line of the report.
type Invariant struct {
	// ID is its name in the specification, I2 to I15.
	ID string `json:"id"`
	// Tested says that tests check it and no database can.
	Tested bool `json:"tested,omitempty"`
	// Checked is how much of what was checked.
	Checked []Count `json:"checked,omitempty"`
	// Breaches is how often it is broken; Details are the first of those.
	Breaches int    `json:"breaches"`
	Details  []Note `json:"details,omitempty"`
}

// Count is a number of things, named by a message key.
type Count struct {
	Key string `json:"key"`
	N   int64  `json:"n"`
}

// Finding is a kind of finding with its number and the first of them.
type Finding struct {
	Key     string `json:"key"`
	N       int    `json:"n"`
	Details []Note `json:"details,omitempty"`
}

// Note is a sentence by its key with its parameters.
type Note struct {
	Key    string            `json:"key"`
	Params map[string]string `json:"params,omitempty"`
}

// Text returns the sentence in English.
func (n Note) Text() string { return message.Text(message.English, n.Key, n.Params) }

// Total is the money of one method that one register took, net of change, and
// what is booked of it.
type Total struct {
	PointOfSale string `json:"pos"`
	Register    string `json:"register"`
	Currency    string `json:"currency"`
	Method      string `json:"method"`
	Journal     int64  `json:"journal"`
	Booked      int64  `json:"booked"`
}

// Account is a line of the trial balance.
type Account struct {
	Account string `json:"account"`
	Debit   int64  `json:"debit"`
	Credit  int64  `json:"credit"`
}

// invariants are the names of all, with those that only tests can check.
var invariants = []struct {
	id     string
	tested bool
}{
	{"I1", true},
	{"I2", false},
	{"I3", false},
	{"I4", false},
	{"I5", false},
	{"I6", false},
	{"I7", false},
	{"I8", false},
	{"I9", false},
	{"I10", false},
	{"I11", false},
	{"I12", false},
	{"I13", true},
	{"I14", false},
	{"I15", false},
}

func newReport(database string) *Report {
	r := &Report{Database: database}
	for _, i := range invariants {
		r.Invariants = append(r.Invariants, &Invariant{ID: i.id, Tested: i.tested})
	}
	return r
}

// Breached reports whether an invariant is broken.
func (r *Report) Breached() bool {
	return slices.ContainsFunc(r.Invariants, func(i *Invariant) bool { return i.Breaches > 0 })
}

// Invariant returns the line of an invariant, nil where there is none.
func (r *Report) Invariant(id string) *Invariant {
	at := slices.IndexFunc(r.Invariants, func(i *Invariant) bool { return i.ID == id })
	if at < 0 {
		return nil
	}
	return r.Invariants[at]
}

// count adds to what was checked of an invariant.
func (r *Report) count(id, what string, n int64) {
	i := r.Invariant(id)
	key := "audit.count." + what
	at := slices.IndexFunc(i.Checked, func(c Count) bool { return c.Key == key })
	if at < 0 {
		i.Checked = append(i.Checked, Count{Key: key})
		at = len(i.Checked) - 1
	}
	i.Checked[at].N += n
}

// breach records that an invariant is broken; pairs are names and values.
func (r *Report) breach(id, what string, pairs ...string) {
	i := r.Invariant(id)
	i.Breaches++
	if len(i.Details) < Most {
		i.Details = append(i.Details, note("breach."+what, pairs))
	}
}

// find records a finding.
func (r *Report) find(what string, pairs ...string) {
	key := "audit.found." + what
	at := slices.IndexFunc(r.Findings, func(f *Finding) bool { return f.Key == key })
	if at < 0 {
		r.Findings = append(r.Findings, &Finding{Key: key})
		at = len(r.Findings) - 1
	}
	f := r.Findings[at]
	f.N++
	if len(f.Details) < Most && len(pairs) > 0 {
		f.Details = append(f.Details, note("detail."+what, pairs))
	}
}

func note(what string, pairs []string) Note {
	n := Note{Key: "audit." + what}
	if len(pairs) > 0 {
		n.Params = make(map[string]string, len(pairs)/2)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		n.Params[pairs[i]] = shown(pairs[i+1])
	}
	return n
}

// shown cuts a text of a stranger to what a line can hold.
func shown(s string) string {
	const most = 120
	s = strings.Map(func(c rune) rune {
		if c < ' ' {
			return '�'
		}
		return c
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// Write writes the report for people: a line for every invariant, then the
// breaches, the findings, what was taken, and the balance of the books.
func (r *Report) Write(w io.Writer) error {
	p := printer{w: w}
	for _, i := range r.Invariants {
		p.invariant(i)
	}
	for _, i := range r.Invariants {
		for _, d := range i.Details {
			p.line("%s: %s", i.ID, d.Text())
		}
		if more := i.Breaches - len(i.Details); more > 0 {
			p.line("%s: %s", i.ID, text("audit.more", "n", number(int64(more))))
		}
	}
	p.line("")
	if len(r.Findings) == 0 {
		p.line("%s", text("audit.no_findings"))
	}
	for _, f := range r.Findings {
		p.line("%s", text("audit.finding", "n", number(int64(f.N)), "what", text(f.Key)))
		for _, d := range f.Details {
			p.line("  %s", d.Text())
		}
		if more := f.N - len(f.Details); more > 0 && len(f.Details) > 0 {
			p.line("  %s", text("audit.more", "n", number(int64(more))))
		}
	}
	p.totals(r.Totals)
	p.balance(r)
	p.line("")
	if r.Breached() {
		p.line("%s", text("audit.broken"))
	} else {
		p.line("%s", text("audit.clean"))
	}
	return p.err
}

type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) invariant(i *Invariant) {
	title := text("audit.title." + i.ID)
	if i.Tested {
		p.line("%-4s%-8s%s", i.ID, text("audit.state_tests"), title)
		return
	}
	state := text("audit.state_ok")
	if i.Breaches > 0 {
		state = text("audit.state_broken")
	}
	var counts []string
	for _, c := range i.Checked {
		if c.N > 0 {
			counts = append(counts, text(c.Key)+" "+number(c.N))
		}
	}
	checked := strings.Join(counts, ", ")
	if checked == "" {
		checked = text("audit.nothing")
	}
	if i.Breaches > 0 {
		checked = text("audit.breaches", "n", number(int64(i.Breaches))) + "; " + checked
	}
	p.line("%-4s%-8s%s: %s", i.ID, state, title, checked)
}

func (p *printer) totals(totals []Total) {
	p.line("")
	p.line("%s", text("audit.totals"))
	if len(totals) == 0 {
		p.line("  %s", text("audit.nothing_taken"))
	}
	for _, t := range totals {
		p.line("  %-20s %-4s %-20s %15d %15d", t.PointOfSale+"/"+t.Register, t.Currency, t.Method, t.Journal, t.Booked)
	}
}

func (p *printer) balance(r *Report) {
	p.line("")
	p.line("%s", text("audit.balance"))
	if len(r.Balance) == 0 {
		p.line("  %s", text("audit.nothing_posted"))
		return
	}
	for _, a := range r.Balance {
		p.line("  %-46s %15d %15d", a.Account, a.Debit, a.Credit)
	}
	p.line("  %-46s %15d %15d  %s", "Σ", r.Debit, r.Credit, text("audit.difference", "n", number(r.Debit-r.Credit)))
}

func text(key string, pairs ...string) string {
	params := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		params[pairs[i]] = pairs[i+1]
	}
	return message.Text(message.English, key, params)
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

// finish puts the report in an order that does not depend on chance.
func (r *Report) finish(taken map[takenKey]*taken, balance map[string]*balance, code func(pos, register string) string) {
	slices.SortFunc(r.Findings, func(a, b *Finding) int { return cmp.Compare(a.Key, b.Key) })
	for k, t := range taken {
		r.Totals = append(r.Totals, Total{
			PointOfSale: k.pos, Register: code(k.pos, k.register), Currency: k.currency, Method: k.method, Journal: t.journal.value(), Booked: t.booked.value(),
		})
	}
	slices.SortFunc(r.Totals, func(a, b Total) int {
		return cmp.Or(cmp.Compare(a.PointOfSale, b.PointOfSale), cmp.Compare(a.Register, b.Register),
			cmp.Compare(a.Currency, b.Currency), cmp.Compare(a.Method, b.Method))
	})
	var debit, credit amount
	for _, name := range slices.Sorted(maps.Keys(balance)) {
		b := balance[name]
		r.Balance = append(r.Balance, Account{Account: name, Debit: b.debit.value(), Credit: b.credit.value()})
		debit.plus(b.debit)
		credit.plus(b.credit)
	}
	r.Debit, r.Credit = debit.value(), credit.value()
}
