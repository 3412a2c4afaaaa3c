// Package export writes postings in forms that other programs read: CSV, JSON
// and plain-text accounting (ledger, hledger). It only formats: what it writes
// was balanced and numbered when the session was closed.
package export

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/setup"
	"tillandsia/syncserver/internal/store"
)

// Postings is what is exported: entries in the order of their numbers.
type Postings struct {
	Company  string
	Currency money.Currency
	Entries  []store.Posting
}

// Line is one line of a posting as CSV and JSON have it. Amounts are decimal
// strings with the currency's digits.
type Line struct {
	Number      string `json:"number"`
	Date        string `json:"date"`
	Text        string `json:"text"`
	PointOfSale string `json:"point_of_sale"`
	Session     string `json:"session"`
	Line        int    `json:"line"`
	Account     string `json:"account"`
	Debit       string `json:"debit"`
	Credit      string `json:"credit"`
	Currency    string `json:"currency"`
	Label       string `json:"label"`
	Register    string `json:"register,omitempty"`
	Method      string `json:"method,omitempty"`
	Customer    string `json:"customer,omitempty"`
	Detail      string `json:"detail,omitempty"`
}

func (p Postings) lines(yield func(Line) error) error {
	for _, e := range p.Entries {
		for _, l := range e.Lines {
			line := Line{
				Number: e.Number, Date: e.Date, Text: e.Text, PointOfSale: e.PointOfSale, Session: e.Session,
				Line: l.No, Account: l.Account, Currency: p.Currency.Code, Label: l.Label,
				Debit: p.Currency.Format(l.Debit), Credit: p.Currency.Format(l.Credit),
				Register: l.Register, Method: l.Method, Customer: l.Customer, Detail: l.Detail,
			}
			if err := yield(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// CSV writes one row a line, with a header.
func CSV(w io.Writer, p Postings) error {
	out := csv.NewWriter(w)
	header := []string{"number", "date", "text", "point_of_sale", "session", "line", "account", "debit", "credit", "currency", "label", "register", "method", "customer", "detail"}
	if err := out.Write(header); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	err := p.lines(func(l Line) error {
		return out.Write([]string{
			l.Number, l.Date, text(l.Text), l.PointOfSale, l.Session, strconv.Itoa(l.Line), text(l.Account),
			l.Debit, l.Credit, l.Currency, text(l.Label), l.Register, text(l.Method), text(l.Customer), text(l.Detail),
		})
	})
	if err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write csv: %w", err)
	}
	return nil
}

// text keeps a spreadsheet from reading a name as a formula: an apostrophe goes
// before it. One that has apostrophes before such a sign gets one more, so that
// the first can be taken off again.
func text(s string) string {
	if bare := strings.TrimLeft(s, "'"); bare != "" && strings.ContainsRune("=+-@\t\r\n", rune(bare[0])) {
		return "'" + s
	}
	return s
}

// JSON writes an array of lines.
func JSON(w io.Writer, p Postings) error {
	lines := []Line{}
	err := p.lines(func(l Line) error {
		lines = append(lines, l)
		return nil
	})
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(lines); err != nil {
		return fmt.Errorf("write json: %w", err)
	}
	return nil
}

// Ledger writes a journal for plain-text accounting. The commodity and every
// account are declared first, so that a strict check passes; amounts always
// carry a decimal point (hledger takes "1000" under a commodity of three
// digits for a thousand thousandths otherwise).
func Ledger(w io.Writer, p Postings) error {
	var b strings.Builder
	fmt.Fprintf(&b, "; %s: postings of the point of sale\n", comment(p.Company))
	fmt.Fprintf(&b, "commodity %s\n\n", p.sample())
	accounts := map[string]bool{}
	for _, e := range p.Entries {
		for _, l := range e.Lines {
			accounts[l.Account] = true
		}
	}
	names := make([]string, 0, len(accounts))
	for name := range accounts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "account %s\n", name)
	}
	for _, e := range p.Entries {
		fmt.Fprintf(&b, "\n%s * (%s) %s  ; session:%s, point_of_sale:%s\n", e.Date, e.Number, comment(e.Text), e.Session, e.PointOfSale)
		for _, l := range e.Lines {
			amount := l.Debit - l.Credit
			fmt.Fprintf(&b, "    %s  %s  ; %s\n", l.Account, p.amount(amount), label(message.Text(message.English, l.Label, nil)))
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

func (p Postings) sample() string {
	if p.Currency.Digits == 0 {
		return "1000. " + p.Currency.Code
	}
	return p.Currency.Format(money.Amount(1000*pow10(p.Currency.Digits))) + " " + p.Currency.Code
}

func (p Postings) amount(a money.Amount) string {
	s := p.Currency.Format(a)
	if p.Currency.Digits == 0 {
		s += "."
	}
	return s + " " + p.Currency.Code
}

func pow10(n int) int64 {
	out := int64(1)
	for range n {
		out *= 10
	}
	return out
}

// comment keeps free text on its line and out of the format's own signs.
func comment(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ';' || r == '|' || unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// label is a comment behind a line, where a word with a colon would be a tag
// and what stands in square brackets a date of its own: "date:…" moves the line
// to another day.
func label(s string) string {
	return strings.NewReplacer(":", " :", "[", "(", "]", ")").Replace(comment(s))
}

// Formats are the forms by name.
var Formats = map[string]func(io.Writer, Postings) error{"csv": CSV, "json": JSON, "ledger": Ledger}

// Read reads the postings of a filter with the company that they are of.
func Read(ctx context.Context, s store.Store, filter store.PostingFilter) (Postings, error) {
	var p Postings
	err := s.View(ctx, func(r store.Reader) error {
		company, err := setup.ReadCompany(ctx, r)
		if err != nil {
			return err
		}
		p.Company, p.Currency = company.Name, company.Currency
		p.Entries, err = r.Postings(ctx, filter)
		return err
	})
	if err != nil {
		return Postings{}, fmt.Errorf("read postings: %w", err)
	}
	return p, nil
}
