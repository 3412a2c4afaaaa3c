package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// seal works out the digest of a closed session. Its form, to the byte: for
// each of booked, sums, drawer, moves and posting a line with the word and the
// number of rows, then the rows, sorted as texts, each as length:text and a line
// feed. It says what is booked (register, place, operation and hash of every
// entry), the sums that are not 0, the drawer lines as they closed, the moves,
// and number, day and hash of the posting.
func seal(f *facts, sums []sumRow, postings []postingRow) string {
	var text strings.Builder
	part := func(word string, rows []string) {
		slices.Sort(rows)
		fmt.Fprintf(&text, "%s %d\n", word, len(rows))
		for _, r := range rows {
			fmt.Fprintf(&text, "%d:%s\n", len(r), r)
		}
	}
	part("booked", f.booked)
	var rows []string
	for i := range sums {
		if s := &sums[i]; s.amount != 0 || s.count != 0 {
			rows = append(rows, fmt.Sprintf("%q %q %q %q %d %d", s.key.register, s.key.kind, s.key.account, s.key.detail, s.amount, s.count))
		}
	}
	part("sums", rows)
	rows = nil
	for i := range f.lines {
		l := &f.lines[i]
		rows = append(rows, fmt.Sprintf("%q %q %d/%d %d %q brought %d between %d opening %d taken %d moves %d drop %d difference %s closing %s",
			l.register, l.method, l.stay.Epoch, l.stay.Seq, l.ordinal, l.account,
			l.brought, l.between, l.opening, l.taken, l.moves, l.drop, l.difference(), l.closing()))
	}
	part("drawer", rows)
	rows = nil
	for i := range f.moves {
		m := &f.moves[i]
		rows = append(rows, fmt.Sprintf("%q %q %d/%d %q %q %q %d", m.id, m.spot.register, m.spot.at.Epoch, m.spot.at.Seq,
			m.method, m.cashAccount, m.account, m.amount))
	}
	part("moves", rows)
	rows = nil
	for i := range postings {
		p := &postings[i]
		rows = append(rows, fmt.Sprintf("%q %q %s", p.number, p.day, p.hash))
	}
	part("posting", rows)
	sum := sha256.Sum256([]byte(text.String()))
	return hex.EncodeToString(sum[:])
}
