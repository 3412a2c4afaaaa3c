package audit_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tillandsia/syncserver/internal/audit"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/ledger/journaltest"
)

// original is a database with a whole history that tests tamper with, each in a
// transaction that is taken back.
type original struct {
	postgres bool
	url      string
	db       *sql.DB
}

func newOriginal(t *testing.T, dialect int) *original {
	t.Helper()
	o := &original{postgres: dialects[dialect].name == "postgres", url: dialects[dialect].url(t)}
	s := openStore(t, o.url)
	history(t, journaltest.NewHouse(t, s, ledger.Options{}), func(string) {})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	clean(t, o.url)
	o.db = openDB(t, o.url)
	o.db.SetMaxOpenConns(1)
	return o
}

// tamper changes something, audits, and takes the change back. It returns nil
// where the database itself refuses the change.
func (o *original) tamper(tb testing.TB, change func(db dbtx) error) *audit.Report {
	tb.Helper()
	tx, err := o.db.BeginTx(tb.Context(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() {
		if err := tx.Rollback(); err != nil {
			tb.Error(err)
		}
	}()
	if change(tx) != nil {
		return nil
	}
	r, err := audit.Examine(tb.Context(), tx, o.postgres)
	if err != nil {
		tb.Fatalf("audit: %v", err)
	}
	return r
}

// dbtx is a database or a transaction.
type dbtx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func openDB(tb testing.TB, url string) *sql.DB {
	tb.Helper()
	driver := "sqlite"
	if strings.HasPrefix(url, "postgres://") {
		driver = "pgx"
		// Cursors of one name and other columns follow each other on it.
		separator := "?"
		if strings.Contains(url, "?") {
			separator = "&"
		}
		url += separator + "default_query_exec_mode=describe_exec"
	}
	db, err := sql.Open(driver, url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return db
}

func exec(tb testing.TB, db dbtx, text string, args ...any) {
	tb.Helper()
	if n := execN(tb, db, text, args...); n == 0 {
		tb.Fatalf("nothing was changed by: %s", text)
	}
}

func execN(tb testing.TB, db dbtx, text string, args ...any) int64 {
	tb.Helper()
	result, err := db.ExecContext(tb.Context(), text, args...)
	if err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// rewrite changes the bytes of a column of one row.
func rewrite(tb testing.TB, db dbtx, table, column, where string, change func([]byte) []byte) {
	tb.Helper()
	var body []byte
	if err := db.QueryRowContext(tb.Context(), "SELECT "+column+" FROM "+table+" WHERE "+where).Scan(&body); err != nil {
		tb.Fatalf("read %s: %v", table, err)
	}
	changed := change(bytes.Clone(body))
	if bytes.Equal(changed, body) {
		tb.Fatalf("nothing was changed in %s", body)
	}
	exec(tb, db, "UPDATE "+table+" SET "+column+" = $1 WHERE "+where, changed)
}

// TestTampering changes one thing and expects that the invariant named is said
// to be broken.
func TestTampering(t *testing.T) {
	t.Parallel()
	replace := func(old, instead string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(instead), 1) }
	}
	// oneOf picks one row of a table by its key.
	oneOf := func(table, columns, where string) string {
		return fmt.Sprintf("(%s) = (SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT 1)", columns, columns, table, where, columns)
	}
	const place, posSession = "pos, register, epoch, seq", "pos, session"
	aSale := oneOf("journal", place, "kind = 'order' AND outcome = 1 AND booked <> ''")
	sealed := oneOf("sessions", "pos, id", "state = 'closed' AND root = '' AND posting <> ''")
	tests := []struct {
		name   string
		want   string
		change func(tb testing.TB, db dbtx, like string)
	}{
		{"a byte of an entry", "I2", func(tb testing.TB, db dbtx, _ string) {
			rewrite(tb, db, "journal", "raw", aSale, replace(`"total":`, `"total" :`))
		}},
		{"an entry and its hash", "I3", func(tb testing.TB, db dbtx, _ string) {
			rewrite(tb, db, "journal", "raw", aSale, replace(`"name":"Coffee"`, `"name":"Toffee"`))
			var raw []byte
			if err := db.QueryRowContext(tb.Context(), "SELECT raw FROM journal WHERE "+aSale).Scan(&raw); err != nil {
				tb.Fatal(err)
			}
			hash := sha256.Sum256(raw)
			exec(tb, db, "UPDATE journal SET hash = $1, content = $1 WHERE "+aSale, hash[:])
			exec(tb, db, "UPDATE order_lines SET name = 'Toffee' WHERE order_id = (SELECT op FROM journal WHERE "+aSale+")")
		}},
		{"the hash of an entry", "I2", func(tb testing.TB, db dbtx, _ string) {
			rewrite(tb, db, "journal", "hash", aSale, func(b []byte) []byte { b[0]++; return b })
		}},
		{"the content of an entry", "I6", func(tb testing.TB, db dbtx, _ string) {
			rewrite(tb, db, "journal", "content", aSale, func(b []byte) []byte { b[0]++; return b })
		}},
		{"the last entry gone", "I2", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM journal WHERE (register, seq) IN (SELECT register, max(seq) FROM journal GROUP BY register)")
		}},
		{"an entry in the middle gone", "I3", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM journal WHERE "+aSale)
		}},
		{"all entries of a register gone", "I2", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM journal WHERE pos = 'SHOP2'")
		}},
		{"an entry twice", "I3", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, `INSERT INTO journal (pos, register, epoch, seq, op, kind, hash, content, raw, at, received, stamped, booked, outcome, wrapped)
				SELECT pos, register, epoch, seq + 100000, op || 'x', kind, hash, content, raw, at, received, stamped, booked, outcome, wrapped FROM journal WHERE `+aSale)
		}},
		{"the cursor", "I2", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE epochs SET cursor_seq = cursor_seq - 1 WHERE pos = 'SHOP2'")
		}},
		{"the base of an epoch", "I3", func(tb testing.TB, db dbtx, _ string) {
			rewrite(tb, db, "epochs", "base_hash", "pos = 'SHOP2'", func([]byte) []byte { return bytes.Repeat([]byte{1}, 32) })
		}},
		{"an order that counts is said not to", "I14", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE journal SET outcome = 3 WHERE "+aSale)
		}},
		{"an outcome that there is not", "I14", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE journal SET outcome = 7 WHERE "+aSale)
		}},
		{"a duplicate that is said to count", "I14", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE journal SET outcome = 5 WHERE outcome = 3 AND kind = 'order'")
		}},
		{"an order that is said to be known already", "I14", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE journal SET outcome = 4, booked = '' WHERE "+aSale)
		}},
		{"an order that is said to be another one's", "I14", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, `INSERT INTO flags (pos, id, code, register, entry_epoch, entry_seq, session, params, at, resolved, resolved_by, how)
				SELECT pos, 'x', 'other_content', register, epoch, seq, '', raw, 1, 0, '', '' FROM journal WHERE `+aSale)
			exec(tb, db, "UPDATE journal SET outcome = 3, booked = '' WHERE "+aSale)
		}},
		{"an order that counts twice", "I4", func(tb testing.TB, db dbtx, _ string) {
			execN(tb, db, "DROP INDEX journal_op")
			exec(tb, db, "UPDATE journal SET outcome = 1, booked = stamped WHERE outcome = 3 AND kind = 'order'")
		}},
		{"a flag gone", "I14", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM flags WHERE code = 'payments_wrong'")
		}},
		{"an order booked elsewhere", "I6", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE journal SET booked = (SELECT max(id) FROM sessions WHERE root = '') WHERE "+aSale)
		}},
		{"an order booked nowhere", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE journal SET booked = '' WHERE "+aSale)
		}},
		{"an order in another session than its entry", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE orders SET session = (SELECT max(id) FROM sessions) WHERE "+oneOf("orders", "pos, id, copy", "1 = 1"))
		}},
		{"an order gone", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM orders WHERE "+oneOf("orders", "pos, id, copy", "1 = 1"))
		}},
		{"an order more", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, `INSERT INTO orders (pos, id, copy, register, entry_epoch, entry_seq, number, stamped, session, user_id, user_name, customer, at, received,
				lines, net, tax, total, paid, change_given, rounding, catalogue, late) SELECT pos, id, 7, register, entry_epoch, entry_seq, number, stamped, session,
				user_id, user_name, customer, at, received, lines, net, tax, total, paid, change_given, rounding, catalogue, late FROM orders WHERE `+
				oneOf("orders", "pos, id, copy", "1 = 1"))
		}},
		{"an order line gone", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM order_lines WHERE "+oneOf("order_lines", "pos, order_id, copy, no", "1 = 1"))
		}},
		{"an order line of no order", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE order_lines SET order_id = 'ZZZ' WHERE "+oneOf("order_lines", "pos, order_id, copy, no", "1 = 1"))
		}},
		{"a payment gone", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM payments WHERE "+oneOf("payments", "pos, order_id, copy, no", "1 = 1"))
		}},
		{"a payment of a receipt", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE payments SET amount = amount + 1 WHERE order_id NOT IN (SELECT id FROM orders)")
		}},
		{"a payment by another method", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE payments SET method = 'card', account = 'assets:card' WHERE "+oneOf("payments", "pos, order_id, copy, no", "method = 'cash'"))
		}},
		{"a cash move gone", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM moves WHERE "+oneOf("moves", "pos, id", "NOT close_drop"))
		}},
		{"a drop gone", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM moves WHERE "+oneOf("moves", "pos, id", "close_drop"))
		}},
		{"a sum", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE sums SET amount = amount + 1 WHERE "+oneOf("sums", "pos, session, register, kind, account, detail", "1 = 1"))
		}},
		{"a sum gone", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM sums WHERE "+oneOf("sums", "pos, session, register, kind, account, detail", "1 = 1"))
		}},
		{"a session's total", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE sessions SET total = total + 1 WHERE "+sealed)
		}},
		{"a session gone", "I4", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM sessions WHERE "+sealed)
		}},
		{"a session opened again", "I5", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE sessions SET state = 'opened' WHERE "+sealed)
		}},
		{"the seal of a session", "I5", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE sessions SET digest = 'ff' || substr(digest, 3) WHERE "+sealed)
		}},
		{"the record of a close gone", "I5", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM closes WHERE "+oneOf("closes", posSession, "1 = 1"))
		}},
		{"a total in the record of a close", "I5", func(tb testing.TB, db dbtx, _ string) {
			rewrite(tb, db, "closes", "body", oneOf("closes", posSession, "1 = 1"), replace(`"total":`, `"total":1`))
		}},
		{"a drawer line of a sealed session", "I5", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE drawer_lines SET account = 'assets:other' WHERE closed")
		}},
		{"the list of a close", "I6", func(tb testing.TB, db dbtx, _ string) {
			rewrite(tb, db, "closes", "body", oneOf("closes", posSession, "root <> ''"), func(b []byte) []byte {
				at := bytes.Index(b, []byte(`"list":"`)) + len(`"list":"`)
				b[at] = 'A' + (b[at]-'A'+1)%20
				return b
			})
		}},
		{"what a sealed session took in later", "I6", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE journal SET booked = stamped WHERE booked <> stamped AND booked <> '' AND stamped <> ''")
		}},
		{"a rescue whose ordinal jumps", "I6", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE sessions SET ordinal = 3 WHERE ordinal = 2")
		}},
		{"a rescue of a rescue", "I6", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE sessions SET root = (SELECT id FROM sessions WHERE ordinal = 1) WHERE ordinal = 2")
		}},
		{"a rescue of an open session", "I6", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE sessions SET state = 'opened' WHERE id IN (SELECT root FROM sessions)")
		}},
		{"a rescue without money", "I6", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE journal SET booked = stamped WHERE booked = (SELECT id FROM sessions WHERE ordinal = 2)")
		}},
		{"two open rescues", "I7", func(tb testing.TB, db dbtx, _ string) {
			execN(tb, db, "DROP INDEX sessions_open_rescue")
			exec(tb, db, "UPDATE sessions SET state = 'opened' WHERE root <> ''")
		}},
		{"an order that does not add up, its flag gone", "I8", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM flags WHERE code = 'payments_wrong'")
		}},
		{"an order that does not add up, unflagged", "I8", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE journal SET outcome = 1 WHERE outcome = 2 AND kind = 'order'")
		}},
		{"a posting gone", "I9", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM postings WHERE "+oneOf("postings", posSession, "1 = 1"))
		}},
		{"a posting line gone", "I9", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM posting_lines WHERE no = 1")
		}},
		{"a posting line and its counterpart", "I9", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE posting_lines SET debit = debit + 5 WHERE debit > 0 AND no = 1")
			exec(tb, db, "UPDATE posting_lines SET credit = credit + 5 WHERE credit > 0 AND label = 'posting.sales'")
		}},
		{"the account of a posting line", "I9", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE posting_lines SET account = 'expenses:boat' WHERE label = 'posting.sales'")
		}},
		{"a posting of an open session", "I9", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE postings SET session = (SELECT min(id) FROM sessions WHERE state <> 'closed'), pos = 'SHOP2' WHERE "+oneOf("postings", posSession, "1 = 1"))
		}},
		{"a session that is said to have nothing to post", "I9", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE sessions SET is_empty = (1 = 1) WHERE "+sealed)
		}},
		{"a number of a posting", "I9", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE postings SET ordinal = 900, number = '2026-00900' WHERE ordinal = 2")
		}},
		{"the counter of the postings", "I9", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE counters SET value = value + 1 WHERE name = 'posting//2026'")
		}},
		{"what a drawer line took", "I10", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE drawer_lines SET taken = taken + 1 WHERE pos = 'SHOP2' AND cash")
		}},
		{"a float", "I10", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE drawer_lines SET opening = opening + 1 WHERE pos = 'SHOP2' AND cash")
		}},
		{"a count", "I10", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE drawer_lines SET counted = counted + 1 WHERE counted_epoch > 0")
		}},
		{"a balance brought forward", "I10", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE drawer_lines SET brought = brought + 1 WHERE ordinal = 2")
		}},
		{"a drawer line gone", "I10", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM drawer_lines WHERE cash AND ordinal = 1")
		}},
		{"a stay", "I10", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE stays SET float_amount = 1 WHERE joined")
		}},
		{"a count as it was made", "I10", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE counts SET amount = amount + 1")
		}},
		{"a session's name", "I11", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE sessions SET name = 'SHOP1/R1/00099' WHERE "+sealed)
		}},
		{"a refund above what was sold, its flag gone", "I12", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM flags WHERE code = 'refund_too_much'")
		}},
		{"the approver of a return", "I12", func(tb testing.TB, db dbtx, like string) {
			rewrite(tb, db, "journal", "raw", oneOf("journal", place, `kind = 'order' AND `+like+` '%"approver"%'`), replace(`"approver"`, `"approves"`))
		}},
		{"a Z report gone", "I15", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "DELETE FROM z_reports WHERE number = 2")
		}},
		{"a figure of a Z report", "I15", func(tb testing.TB, db dbtx, _ string) {
			rewrite(tb, db, "z_reports", "body", oneOf("z_reports", "pos, register, series, number", "1 = 1"), replace(`"sales":`, `"sales":1`))
		}},
		{"a Z report that was never made", "I15", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE z_reports SET entry_seq = entry_seq - 1 WHERE number = 1")
		}},
		{"a finding of a Z report", "I15", func(tb testing.TB, db dbtx, _ string) {
			exec(tb, db, "UPDATE z_reports SET finding = 'all well' WHERE number = 1")
		}},
	}
	for i, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			o := newOriginal(t, i)
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) {
					r := o.tamper(t, func(db dbtx) error {
						tt.change(t, db, searches[d.name])
						return nil
					})
					text := told(t, r)
					if r.Invariant(tt.want).Breaches == 0 {
						t.Errorf("%s is not said to be broken:\n%s", tt.want, text)
					}
					if strings.Contains(text, "{") && !strings.Contains(text, `{"`) || strings.Contains(text, "audit.") {
						t.Errorf("a sentence lacks something:\n%s", text)
					}
				})
			}
			if r := o.tamper(t, func(dbtx) error { return nil }); r.Breached() {
				t.Errorf("a change was not taken back:\n%s", told(t, r))
			}
		})
	}
}

// searches is how each dialect searches the text of an entry's bytes.
var searches = map[string]string{"sqlite": "CAST(raw AS TEXT) LIKE", "postgres": "convert_from(raw, 'UTF8') LIKE"}

// unproved are the columns of the tables of sales that no invariant covers,
// with the reason.
var unproved = map[string]string{
	"journal.received":            "the server's clock, which decides nothing",
	"orders.received":             "the server's clock, which decides nothing",
	"sessions.last_at":            "shown: when something was heard last",
	"sessions.counted_epoch":      "working state of the close-out; the count stands in the drawer line",
	"sessions.counted_seq":        "working state of the close-out; the count stands in the drawer line",
	"sessions.close_out":          "working state of the close-out",
	"sessions.close_out_approved": "working state of the close-out",
	"stays.has_left":              "working state: whether the register is still there",
	"stays.left_at":               "shown",
	"stays.approved":              "working state of the close-out",
	"stays.z":                     "what the next Z is compared with; the audit adds it up itself",
	"drawer_lines.method_name":    "shown",
	"counts.late":                 "shown: a late count changes nothing",
}

// covered are the tables of which every column but those above is proved.
var covered = []string{
	"journal", "epochs", "sessions", "stays", "drawer_lines", "sums", "orders", "order_lines", "payments", "moves", "counts", "z_reports",
	"postings", "posting_lines", "closes",
}

// TestEveryColumn changes every column of every table that is covered, in
// several rows, one at a time, and expects a breach.
func TestEveryColumn(t *testing.T) {
	t.Parallel()
	o := newOriginal(t, 0)
	seen := map[string]bool{}
	for _, table := range covered {
		columns, keys := columnsOf(t, o.db, table)
		for i, c := range columns {
			name := table + "." + c.name
			seen[name] = true
			if unproved[name] != "" {
				continue
			}
			t.Run(name, func(t *testing.T) {
				for _, row := range rowsOf(t, o.db, table, i) {
					var changed string
					r := o.tamper(t, func(db dbtx) (err error) {
						changed, err = bump(t, db, table, keys, c, row)
						return err
					})
					// A unique rule of the database may guard it.
					if r != nil && !r.Breached() {
						t.Errorf("row %d: nobody noticed %s", row, changed)
					}
				}
			})
		}
	}
	for name := range unproved {
		if !seen[name] {
			t.Errorf("there is no column %s to excuse", name)
		}
	}
}

type column struct{ name, kind string }

// columnsOf returns the columns of a table, and its key.
func columnsOf(t *testing.T, db dbtx, table string) (list []column, keys string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT name, type, pk FROM pragma_table_info($1)", table)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
	}()
	var key []string
	for rows.Next() {
		var c column
		var pk int
		if err := rows.Scan(&c.name, &c.kind, &pk); err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
		if pk > 0 {
			key = append(key, c.name)
		}
	}
	if err := rows.Err(); err != nil || len(key) == 0 {
		t.Fatalf("columns of %s: %v, %v", table, list, err)
	}
	return list, strings.Join(key, ", ")
}

// rowsOf returns the numbers of the rows to change: the first, one in the
// middle, the last; with the race detector, which makes SQLite slow and has
// nothing to find here, one of them.
func rowsOf(t *testing.T, db dbtx, table string, column int) []int {
	t.Helper()
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil || n == 0 {
		t.Fatalf("%d rows of %s: %v", n, table, err)
	}
	rows := slices.Compact([]int{0, n / 2, n - 1})
	if raceDetector {
		return rows[column%len(rows):][:1]
	}
	return rows
}

// bump changes one column of one row a little.
func bump(t *testing.T, db dbtx, table, keys string, c column, row int) (string, error) {
	t.Helper()
	where := fmt.Sprintf("(%s) = (SELECT %s FROM %s ORDER BY %s LIMIT 1 OFFSET %d)", keys, keys, table, keys, row)
	change := map[string]string{
		"BIGINT": "coalesce(%[1]s, 0) + 1", "TEXT": "%[1]s || 'x'", "BOOLEAN": "1 - %[1]s",
	}[c.kind]
	if change != "" {
		_, err := db.ExecContext(t.Context(), fmt.Sprintf("UPDATE %s SET %s = %s WHERE %s", table, c.name, fmt.Sprintf(change, c.name), where))
		return table + "." + c.name, err
	}
	var body []byte
	if err := db.QueryRowContext(t.Context(), fmt.Sprintf("SELECT %s FROM %s WHERE %s", c.name, table, where)).Scan(&body); err != nil {
		t.Fatal(err)
	}
	at := len(body) / 2
	for i := range body {
		// In JSON the value of a number, where there is one.
		if body[i] == ':' && i+1 < len(body) && body[i+1] > '0' && body[i+1] < '9' {
			at = i + 1
			break
		}
	}
	if len(body) == 0 {
		body = []byte{1}
	} else {
		body[at]++
	}
	_, err := db.ExecContext(t.Context(), fmt.Sprintf("UPDATE %s SET %s = $1 WHERE %s", table, c.name, where), body)
	return fmt.Sprintf("%s.%s: %.80q", table, c.name, body), err
}
