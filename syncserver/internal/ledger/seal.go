package ledger

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"tillandsia/syncserver/internal/store"
)

// contentSize is how much of an entry's content hash stands on a close's list.
const contentSize = 8

// ListOf returns the list of a close: the first 8 bytes of the content hash of
// every entry booked in the session, sorted and joined.
func ListOf(booked []store.BookedRow) []byte {
	hashes := make([][]byte, len(booked))
	for i := range booked {
		hashes[i] = booked[i].Content[:contentSize]
	}
	slices.SortFunc(hashes, bytes.Compare)
	return bytes.Join(hashes, nil)
}

// Digest returns the seal of a session in hex: the SHA-256 over what is booked
// in it (register, place, operation id and hash of each entry), its sums, its
// drawer lines as they closed, its moves, and its posting. The order in which
// the rows are given does not matter. What stands outside the seal (flags, late
// counts, what was refunded since, that the next opening took a line over) is
// not in it, so that it comes out the same whenever it is computed.
func Digest(booked []store.BookedRow, sums []store.Sum, lines []store.DrawerLine, moves []store.Move, posting *store.Posting) string {
	h := sha256.New()
	put := func(what string, rows []string) {
		slices.Sort(rows)
		h.Write(fmt.Appendf(nil, "%s %d\n", what, len(rows)))
		for _, r := range rows {
			h.Write(fmt.Appendf(nil, "%d:%s\n", len(r), r))
		}
	}
	rows := make([]string, len(booked))
	for i := range booked {
		b := &booked[i]
		rows[i] = fmt.Sprintf("%q %d %d %q %s", b.Register, b.Epoch, b.Seq, b.Op, b.Hash)
	}
	put("booked", rows)
	rows = rows[:0]
	for i := range sums {
		s := &sums[i]
		if s.Amount != 0 || s.Count != 0 {
			rows = append(rows, fmt.Sprintf("%q %q %q %q %d %d", s.Register, s.Kind, s.Account, s.Detail, s.Amount, s.Count))
		}
	}
	put("sums", rows)
	rows = rows[:0]
	for i := range lines {
		l := &lines[i]
		rows = append(rows, fmt.Sprintf("%q %q %d/%d %d %q brought %d between %d opening %d taken %d moves %d drop %d difference %d closing %d",
			l.Register, l.Method, l.Stay.Epoch, l.Stay.Seq, l.Ordinal, l.Account,
			l.Brought, l.Between, l.Opening, l.Taken, l.Moves, l.Drop, l.Difference(), l.Closing()))
	}
	put("drawer", rows)
	rows = rows[:0]
	for i := range moves {
		m := &moves[i]
		rows = append(rows, fmt.Sprintf("%q %q %d/%d %q %q %q %d", m.ID, m.Register, m.Entry.Epoch, m.Entry.Seq, m.Method, m.CashAccount, m.Account, m.Amount))
	}
	put("moves", rows)
	rows = rows[:0]
	if posting != nil {
		rows = append(rows, fmt.Sprintf("%q %q %s", posting.Number, posting.Date, posting.Hash))
	}
	put("posting", rows)
	return hex.EncodeToString(h.Sum(nil))
}

// methodsOf adds drawer lines up by method.
func methodsOf(lines []store.DrawerLine) []MethodView {
	var list []MethodView
	counted := map[string]bool{}
	for i := range lines {
		l := &lines[i]
		at := slices.IndexFunc(list, func(m MethodView) bool { return m.Method == l.Method })
		if at < 0 {
			at = len(list)
			list = append(list, MethodView{Method: l.Method, Name: l.MethodName})
			counted[l.Method] = true
		}
		m := &list[at]
		m.Taken += l.Taken
		m.Expected += l.Expected()
		m.Difference += l.Difference()
		n := l.CountedNow()
		if n == nil {
			counted[l.Method] = false
			m.Counted = nil
			continue
		}
		if counted[l.Method] {
			sum := *n
			if m.Counted != nil {
				sum += *m.Counted
			}
			m.Counted = &sum
		}
	}
	slices.SortFunc(list, func(a, b MethodView) int { return cmp.Compare(a.Method, b.Method) })
	return list
}
