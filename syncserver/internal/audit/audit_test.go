package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/pos"
	"tillandsia/syncserver/internal/audit"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
	"tillandsia/syncserver/internal/pgtest"
	"tillandsia/syncserver/internal/store"
	"tillandsia/syncserver/internal/store/sqlstore"
)

// dialects are what the tests run over.
var dialects = []struct {
	name string
	url  func(tb testing.TB) string
}{
	{"sqlite", func(tb testing.TB) string { return filepath.Join(tb.TempDir(), "server.db") }},
	{"postgres", func(tb testing.TB) string { return pgtest.Database(tb) }},
}

func openStore(tb testing.TB, url string) store.Store {
	tb.Helper()
	s, err := sqlstore.Open(tb.Context(), sqlstore.Options{Database: url, AllowUnsafe: true})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// run audits a database.
func run(tb testing.TB, url string) *audit.Report {
	tb.Helper()
	r, err := audit.Run(tb.Context(), url)
	if err != nil {
		tb.Fatalf("audit: %v", err)
	}
	return r
}

// told is a report as people read it.
func told(tb testing.TB, r *audit.Report) string {
	tb.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

// clean fails where an audit finds a breach.
func clean(tb testing.TB, url string) *audit.Report {
	tb.Helper()
	r := run(tb, url)
	if r.Breached() {
		tb.Fatalf("not clean:\n%s", told(tb, r))
	}
	return r
}

// history plays what a shop lives through, with everything that the audit
// looks at, through the real way in. afterwards is called after each step.
func history(t *testing.T, h *journaltest.House, afterwards func(step string)) {
	one, two := h.Till("SHOP1", "R1"), h.Till("SHOP1", "R2")
	other := h.Till("SHOP2", "R1")
	anna := one.User

	s := one.Open(10000)
	sale := one.SellCash(1234, 2000)
	one.Sell(4515, journaltest.Card)
	one.Sell(990, journaltest.PayLater)
	one.PayOff(500, journaltest.Cash)
	one.PayOff(200, journaltest.Card)
	one.Continued(pos.Person{ID: "bob", Name: "Bob"})
	one.Move(-2000)
	one.Refund(sale, journaltest.Cash)
	one.Sell(-700, journaltest.Cash) // without a receipt, approved
	one.Append(entry.KindTraining, one.Order(5000, journaltest.Cash))
	one.Continued(anna)
	h.Deliver(one)
	afterwards("open session")

	two.Join(s, 8000)
	two.Sell(12000, journaltest.Cash)
	two.CloseOut(journaltest.Counts(20000), 0)
	two.Join(s, 20000)
	two.Sell(300, journaltest.Cash)
	h.Deliver(two)
	afterwards("joined, left and joined again")

	closed := h.Close(s)
	one.Hear(closed.Close)
	two.Hear(closed.Close)
	afterwards("force closed")

	one.Sell(5000, journaltest.Cash)
	one.Sell(800, journaltest.Card)
	two.Sell(600, journaltest.Cash)
	h.Deliver(one)
	h.Deliver(two)
	afterwards("late orders")

	one.Count(journaltest.Counts(12000))
	one.Sell(100, journaltest.Cash)
	one.CloseOut(journaltest.Counts(13000, 5515), 11000)
	two.CloseOut(journaltest.Counts(20900), 0)
	h.Deliver(one)
	h.Deliver(two)
	h.CloseRescue(s, 1, ledger.TillCount)
	afterwards("rescue closed")

	one.Move(500) // between sessions
	s2 := one.Open(2450)
	one.Sell(6000, journaltest.Cash)
	h.Deliver(one)
	old := *one.Session
	one.Session = &s
	one.Sell(700, journaltest.Cash) // late once more: the second rescue
	one.Session = &old
	h.Deliver(one)
	h.CloseRescue(s, 2, ledger.NotCounted)
	afterwards("second rescue")

	one.CloseOut(journaltest.Counts(8450), 8000)
	h.Deliver(one)
	_ = s2
	afterwards("closed out")

	// A session without anything to post, closed out by its till.
	one.Open(450)
	one.CloseOut(journaltest.Counts(450), 0)
	h.Deliver(one)
	afterwards("empty session")

	// Counted centrally; a late count; a drop when no rescue is open.
	s3 := one.Open(450)
	one.Sell(2000, journaltest.Cash)
	h.Deliver(one)
	h.CloseCounted(s3, ledger.MethodCount{Register: one.Register, Method: journaltest.Cash, Amount: 2440})
	one.CloseOut(journaltest.Counts(2430), 2000)
	h.Deliver(one)
	afterwards("late count and drop between sessions")

	// A wrong order, a refund above what was sold, something not understood,
	// and another order with an id that there is.
	s4 := one.Open(430)
	wrong := one.Stamp(one.Order(1200, journaltest.Cash))
	wrong.Payments[0].Amount = 1190
	one.Write(wrong)
	partly := one.Refund(sale, journaltest.Cash)
	_ = partly
	one.Append("from_the_future", map[string]string{"what": "who knows"})
	twin := one.Stamp(one.Order(1100, journaltest.Cash))
	one.Write(twin)
	twin.Note = "another"
	twin.Number = one.Stamp(twin).Number
	one.AppendOp(twin.ID, entry.KindOrder, twin)
	one.AppendOp(twin.ID, entry.KindOrder, twin)
	h.Deliver(one)
	afterwards("flagged")
	for _, f := range h.Flags("SHOP1") {
		if f.Code == "other_content" {
			if err := h.Ledger.Accept(t.Context(), journaltest.Manager, "SHOP1", f.ID); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	afterwards("accepted")
	h.Close(s4)
	afterwards("flagged, closed")

	// Another point of sale, whose session stays open, and its drawer.
	other.Open(5000)
	other.Sell(100, journaltest.Cash)
	other.Move(-100)
	h.Deliver(other)

	// The second register's drawer is settled.
	if _, err := h.Ledger.SettleDrawer(t.Context(), journaltest.Manager, "SHOP1", two.Register, ledger.SettleRequest{
		Counts: []ledger.MethodCount{{Method: journaltest.Cash, Amount: 20800}}, Reason: "put away",
	}); err != nil {
		t.Fatal(err)
	}
	afterwards("settled")
}

// findings are the keys of what a report found.
func findings(r *audit.Report) []string {
	var keys []string
	for _, f := range r.Findings {
		keys = append(keys, strings.TrimPrefix(f.Key, "audit.found."))
	}
	return keys
}

// TestCleanHistory audits a history after each of its steps, while the server
// has the database open.
func TestCleanHistory(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			url := d.url(t)
			s := openStore(t, url)
			history(t, journaltest.NewHouse(t, s, ledger.Options{}), func(step string) {
				r := run(t, url)
				if r.Breached() {
					t.Fatalf("after %s:\n%s", step, told(t, r))
				}
			})
			r := run(t, url)
			want := []string{
				"difference", "flags", "late_count", "number_twice", "opening_difference", "refund_too_much",
			}
			if got := findings(r); !slices.Equal(got, want) {
				t.Errorf("findings = %v, want %v", got, want)
			}
			for _, i := range r.Invariants {
				if !i.Tested && len(i.Checked) == 0 {
					t.Errorf("nothing of %s was checked", i.ID)
				}
			}
			if r.Debit == 0 || r.Debit != r.Credit {
				t.Errorf("the books have debit %d, credit %d", r.Debit, r.Credit)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEmptyDatabase says of every invariant that there is nothing to check, and
// not that all is well with nothing.
func TestEmptyDatabase(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			url := d.url(t)
			if err := openStore(t, url).Close(); err != nil {
				t.Fatal(err)
			}
			text := told(t, clean(t, url))
			if n := strings.Count(text, "nothing to check"); n != 13 {
				t.Errorf("%d invariants with nothing to check, want 13:\n%s", n, text)
			}
		})
	}
}

// TestNoDatabase neither makes a database nor says that all is well.
func TestNoDatabase(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "none.db")
	if r, err := audit.Run(t.Context(), file); err == nil {
		t.Errorf("audited nothing: %+v", r)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}
}

// TestLiveDatabase audits while a register delivers and sessions are closed:
// what is read is one state of the database.
func TestLiveDatabase(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			url := d.url(t)
			s := openStore(t, url)
			h := journaltest.NewHouse(t, s, ledger.Options{})
			till := h.Till("SHOP1", "R1")
			till.Open(10000)
			h.Deliver(till)
			stop, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				for n := 1; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					till.Sell(100, journaltest.Cash)
					if n%20 == 0 {
						till.CloseOut(journaltest.Counts(12000), 2000)
						till.Open(10000)
					}
					h.Deliver(till)
				}
			}()
			for range 6 {
				if r := run(t, url); r.Breached() {
					t.Errorf("not clean:\n%s", told(t, r))
				}
			}
			close(stop)
			<-done
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFork audits a register with two epochs: a copy of its journal sold on its
// own, and hands in what the first one sold as wraps.
func TestFork(t *testing.T) {
	t.Parallel()
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			url := d.url(t)
			s := openStore(t, url)
			h := journaltest.NewHouse(t, s, ledger.Options{})
			till := h.Till("SHOP1", "R1")
			till.Open(10000)
			till.Sell(1000, journaltest.Cash)
			h.Deliver(till)
			next := till.Renew(2)
			till.Sell(2000, journaltest.Cash)
			h.Deliver(till)
			h.Attach(next, h.Register(till))
			next.Wrap(till.Raw[len(till.Raw)-1])
			next.Sell(300, journaltest.Cash)
			next.CloseOut(journaltest.Counts(13300), 0)
			h.Deliver(next)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			r := clean(t, url)
			for _, want := range []string{"epochs", "fork", "number_twice"} {
				if !slices.Contains(findings(r), want) {
					t.Errorf("findings = %v, want %s among them", findings(r), want)
				}
			}
			db := openDB(t, url)
			rewrite(t, db, "epochs", "base_hash", "epoch = 2", func(b []byte) []byte { b[0]++; return b })
			if r := run(t, url); r.Invariant("I3").Breaches == 0 {
				t.Errorf("a base that is no entry of the parent:\n%s", told(t, r))
			}
		})
	}
}

// TestHole audits a journal of which the register had pruned what the server
// lost: that is told, and breaks nothing.
func TestHole(t *testing.T) {
	t.Parallel()
	url := dialects[0].url(t)
	s := openStore(t, url)
	h := journaltest.NewHouse(t, s, ledger.Options{})
	till := h.Till("SHOP1", "R1")
	till.Open(10000)
	till.Continued(pos.Person{ID: "bob", Name: "Bob"})
	till.Sell(1000, journaltest.Cash)
	h.Deliver(till)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	db := openDB(t, url)
	exec(t, db, "UPDATE epochs SET checkpoint_seq = 3, checkpoint_hash = (SELECT hash FROM journal WHERE seq = 3)")
	clean(t, url)
	exec(t, db, "DELETE FROM journal WHERE seq = 3")
	if r := clean(t, url); !slices.Contains(findings(r), "hole") {
		t.Errorf("findings = %v, want the hole", findings(r))
	}
	rewrite(t, db, "epochs", "checkpoint_hash", "epoch = 1", func(b []byte) []byte { b[0]++; return b })
	if r := run(t, url); r.Invariant("I3").Breaches == 0 {
		t.Errorf("a checkpoint on which the next entry does not stand:\n%s", told(t, r))
	}
}

// TestEarlierLife tells gaps in the numbers of an earlier life of the server,
// which lost its last postings with it, from gaps in those of this one.
func TestEarlierLife(t *testing.T) {
	t.Parallel()
	o := newOriginal(t, 0)
	url, db := o.url, o.db
	exec(t, db, "UPDATE postings SET ordinal = 99 WHERE ordinal = (SELECT max(ordinal) FROM postings)")
	gap := func(r *audit.Report) bool {
		return slices.ContainsFunc(r.Invariant("I9").Details, func(n audit.Note) bool { return n.Key == "audit.breach.number_gap" })
	}
	if r := run(t, url); !gap(r) {
		t.Errorf("a gap in this life's numbers:\n%s", told(t, r))
	}
	exec(t, db, "UPDATE meta SET value = 'B' WHERE name = 'posting_tag'")
	if r := run(t, url); gap(r) || !slices.Contains(findings(r), "number_gap") {
		t.Errorf("a gap in an earlier life's numbers:\n%s", told(t, r))
	}
}

// TestReport is the report as machines read it.
func TestReport(t *testing.T) {
	t.Parallel()
	r := clean(t, newOriginal(t, 0).url)
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back audit.Report
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Invariants) != 15 || back.Database != "sqlite" || back.Debit != r.Debit || told(t, &back) != told(t, r) {
		t.Errorf("read back:\n%s", told(t, &back))
	}
	lines := strings.Split(told(t, r), "\n")
	for i, id := range back.Invariants {
		if !strings.HasPrefix(lines[i], id.ID+" ") {
			t.Errorf("line %d is not of %s: %s", i, id.ID, lines[i])
		}
	}
	if (&audit.Report{}).Write(failing{}) == nil {
		t.Error("a report that cannot be written is no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestSharesNoCode keeps the audit apart from what it checks.
func TestSharesNoCode(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	allowed := []string{"tillandsia/shared/message", "github.com/jackc/pgx/v5/stdlib", "modernc.org/sqlite"}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			if strings.Contains(path, "/") && strings.ContainsAny(strings.SplitN(path, "/", 2)[0], ".") || strings.HasPrefix(path, "tillandsia/") {
				if !slices.Contains(allowed, path) {
					t.Errorf("%s imports %s", file, path)
				}
			}
		}
	}
}

// TestSentences looks for the sentence of everything that the audit can say.
func TestSentences(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`\.(breach|count|find)\((?:"I\d+", )?"([a-z]\w*)"`)
	whole := regexp.MustCompile(`"(audit\.[\w.]*\w)"`)
	used := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(source), -1) {
			kind := map[string]string{"breach": "breach", "count": "count", "find": "found"}[m[1]]
			used["audit."+kind+"."+m[2]] = true
		}
		for _, m := range whole.FindAllStringSubmatch(string(source), -1) {
			used[m[1]] = true
		}
	}
	if len(used) < 100 {
		t.Fatalf("only %d sentences found", len(used))
	}
	for key := range used {
		if !message.Has(key) {
			t.Errorf("no sentence %s", key)
		}
	}
	for i := 1; i <= 15; i++ {
		if key := fmt.Sprintf("audit.title.I%d", i); !message.Has(key) {
			t.Errorf("no sentence %s", key)
		}
	}
	for _, key := range message.Keys(message.English) {
		kind, what, ok := strings.Cut(strings.TrimPrefix(key, "audit."), ".")
		if !strings.HasPrefix(key, "audit.") || !ok || kind == "title" {
			continue
		}
		if kind == "detail" {
			key = "audit.found." + what
		}
		if kind == "count" && (what == "orders" || what == "receipts" || what == "moves") {
			continue // by kind of entry
		}
		if !used[key] {
			t.Errorf("nothing says %s", key)
		}
	}
}
