package export_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/export"
	"tillandsia/syncserver/internal/store"
)

// postings are two entries with names that are hard to carry.
func postings(code string) export.Postings {
	currency, _ := money.LookupCurrency(code) // the test looks at the digits
	return export.Postings{Company: "Süß; & Co\n| KG", Currency: currency, Entries: []store.Posting{
		{
			Number: "2026-00001", Date: "2026-11-24", Text: "SHOP1/R1/00001 | not; counted\nat all", PointOfSale: "SHOP1", Session: "S1",
			Lines: []store.PostingLine{
				{No: 1, Account: "assets:cash", Debit: 123_456_789, Label: "Cash date:2026-99-99 [2026-99-99]", Register: "R1", Method: "=1+1"},
				{No: 2, Account: "income:sales", Credit: 123_456_000, Label: "Sales; a: b"},
				{No: 3, Account: "liabilities:tax", Credit: 788, Label: "+49 VAT", Detail: "-1"},
				{No: 4, Account: "expenses:cash rounding", Credit: 1, Label: "'quoted' \"twice\"", Customer: "'=HYPERLINK(\"x\")"},
			},
		},
		{
			Number: "2026-00002", Date: "2026-11-25", Text: "(RESCUE FOR SHOP1/R1/00001)", PointOfSale: "SHOP1", Session: "S2",
			Lines: []store.PostingLine{
				{No: 1, Account: "assets:cash", Credit: 1000, Label: "@refund"},
				{No: 2, Account: "income:sales", Debit: 1000, Label: "'t Hof"},
			},
		},
	}}
}

func hledger(t *testing.T, file string, args ...string) []byte {
	t.Helper()
	program, err := exec.LookPath("hledger")
	if err != nil {
		t.Fatal("hledger is not installed; install it with: apt-get install hledger")
	}
	cmd := exec.CommandContext(t.Context(), program, append([]string{"-f", file}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("hledger %v: %v\n%s", args, err, stderr.Bytes())
	}
	return out
}

func TestHledgerComesToTheSameBalances(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"EUR", "JPY", "KWD"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			p := postings(code)
			var out bytes.Buffer
			if err := export.Ledger(&out, p); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "postings.journal")
			if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			hledger(t, file, "check", "-s")
			want := map[string]money.Amount{}
			for _, e := range p.Entries {
				for _, l := range e.Lines {
					want[l.Account] += l.Debit - l.Credit
				}
			}
			rows, err := csv.NewReader(bytes.NewReader(hledger(t, file, "bal", "-N", "-O", "csv"))).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]money.Amount{}
			for _, row := range rows[1:] {
				number, commodity, _ := strings.Cut(row[1], " ")
				if commodity != code {
					t.Errorf("%s is in %q", row[0], commodity)
				}
				if got[row[0]], err = money.ParseAmount(strings.TrimSuffix(number, "."), p.Currency); err != nil {
					t.Errorf("%s: %v", row[0], err)
				}
			}
			if !maps.Equal(got, want) {
				t.Errorf("hledger's balances %v, ours %v\n%s", got, want, out.Bytes())
			}
			// Each entry is one transaction on its own day, with its number.
			dates := string(hledger(t, file, "register", "-O", "csv", "code:2026-00002"))
			if strings.Count(dates, "2026-11-25") != 2 {
				t.Errorf("the second entry is\n%s", dates)
			}
		})
	}
}

func TestNothingToExport(t *testing.T) {
	t.Parallel()
	p := postings("EUR")
	p.Entries = nil
	want := map[string]string{"json": "[]\n", "csv": "number,date,text,point_of_sale,session,line,account,debit,credit,currency,label,register,method,customer,detail\n"}
	for format, write := range export.Formats {
		var out bytes.Buffer
		if err := write(&out, p); err != nil {
			t.Fatal(err)
		}
		if w, ok := want[format]; ok && out.String() != w {
			t.Errorf("%s = %q, want %q", format, out.String(), w)
		}
		if format == "ledger" {
			file := filepath.Join(t.TempDir(), "empty.journal")
			if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			hledger(t, file, "check", "-s")
		}
	}
}

// plain takes off what keeps a spreadsheet from calculating.
func plain(s string) string {
	if bare := strings.TrimLeft(s, "'"); bare != s && bare != "" && strings.ContainsRune("=+-@\t\r\n", rune(bare[0])) {
		return s[1:]
	}
	return s
}

func TestCSVComesBackAsItWas(t *testing.T) {
	t.Parallel()
	p := postings("EUR")
	var out bytes.Buffer
	if err := export.CSV(&out, p); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := func(row []string, column string) string { return row[slices.Index(rows[0], column)] }
	n := 1
	for _, e := range p.Entries {
		for _, l := range e.Lines {
			row := rows[n]
			n++
			texts := map[string]string{"text": e.Text, "account": l.Account, "label": l.Label, "method": l.Method, "customer": l.Customer, "detail": l.Detail}
			for column, want := range texts {
				raw := at(row, column)
				if got := plain(raw); got != want {
					t.Errorf("%s = %q, want %q", column, got, want)
				}
				if raw != "" && strings.ContainsRune("=+-@", rune(raw[0])) {
					t.Errorf("%s is a formula: %q", column, raw)
				}
			}
			debit, err := money.ParseAmount(at(row, "debit"), p.Currency)
			if err != nil || debit != l.Debit {
				t.Errorf("debit = %d, %v, want %d", debit, err, l.Debit)
			}
			credit, err := money.ParseAmount(at(row, "credit"), p.Currency)
			if err != nil || credit != l.Credit {
				t.Errorf("credit = %d, %v, want %d", credit, err, l.Credit)
			}
			if at(row, "number") != e.Number || at(row, "date") != e.Date || at(row, "currency") != "EUR" || at(row, "session") != e.Session {
				t.Errorf("row = %v", row)
			}
		}
	}
	if n != len(rows) {
		t.Errorf("%d rows, want %d", len(rows), n)
	}
}

func TestJSONHoldsTheLines(t *testing.T) {
	t.Parallel()
	tests := []struct{ code, debit string }{{"EUR", "1234567.89"}, {"JPY", "123456789"}, {"KWD", "123456.789"}}
	for _, tt := range tests {
		var out bytes.Buffer
		if err := export.JSON(&out, postings(tt.code)); err != nil {
			t.Fatal(err)
		}
		var lines []export.Line
		if err := json.Unmarshal(out.Bytes(), &lines); err != nil {
			t.Fatal(err)
		}
		if len(lines) != 6 || lines[0].Debit != tt.debit || lines[0].Method != "=1+1" || lines[3].Line != 4 || lines[5].Number != "2026-00002" {
			t.Errorf("%s: %+v", tt.code, lines)
		}
	}
}
