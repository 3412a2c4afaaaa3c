package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/store"
)

// table describes how rows of type R stand in a table: its columns, those of
// the primary key first, and for each of them a pointer into a row. The same
// pointers are read from when a row is written and written to when it is read.
// Pointers are of these types only:
//
//	*string *int *int64 *uint64 *int16 *bool *[]byte *[]string *entry.Hash **money.Amount
//
// The last is NULL where it is nil; nothing else is. uint64 stands as its two's complement in BIGINT, so that no number that a
// register sends is refused; []string as a JSON array in TEXT. The byte 0 and
// bytes that are no UTF-8 have no place in PostgreSQL's TEXT: they become
// U+FFFD on both dialects, in rows and in arguments alike.
type table[R any] struct {
	*layout
	fields func(r *R, f []any) []any
}

// layout is what a table is without the type of its rows.
type layout struct {
	name    string
	columns []string
	key     int // so many columns are the primary key
	kinds   []kind

	all       string // the columns, separated by commas
	selectSQL string // SELECT … FROM name t
	copySQL   string
	insertSQL string // with $1 …
	putSQL    string
	keepSQL   string
}

// kind is the type of a column.
type kind byte

const (
	kindText kind = iota
	kindInt
	kindBool
	kindBytes
)

// makeTable describes a table. Columns are separated by white space; a bar
// ends the primary key.
func makeTable[R any](name, columns string, fields func(r *R, f []any) []any) table[R] {
	before, after, ok := strings.Cut(columns, "|")
	if !ok {
		panic("table " + name + " has no primary key")
	}
	l := &layout{name: name, columns: strings.Fields(before)}
	l.key = len(l.columns)
	l.columns = append(l.columns, strings.Fields(after)...)
	var row R
	pointers := fields(&row, nil)
	if len(pointers) != len(l.columns) {
		panic(fmt.Sprintf("table %s has %d columns and %d fields", name, len(l.columns), len(pointers)))
	}
	for _, p := range pointers {
		l.kinds = append(l.kinds, kindOf(p))
	}
	l.all = strings.Join(l.columns, ", ")
	l.selectSQL = "SELECT t." + strings.Join(l.columns, ", t.") + " FROM " + name + " t "
	l.copySQL = "COPY " + name + " (" + l.all + ") FROM STDIN (FORMAT binary)"
	var b strings.Builder
	for i := range l.columns {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	l.insertSQL = "INSERT INTO " + name + " (" + l.all + ") VALUES (" + b.String() + ")"
	l.putSQL = l.insertSQL + l.onConflict()
	l.keepSQL = l.insertSQL + l.onConflictKeep()
	return table[R]{layout: l, fields: fields}
}

// onConflict returns the clause that makes an INSERT replace a known row.
func (l *layout) onConflict() string {
	var b strings.Builder
	fmt.Fprintf(&b, " ON CONFLICT (%s) DO ", strings.Join(l.columns[:l.key], ", "))
	if l.key == len(l.columns) {
		b.WriteString("NOTHING")
		return b.String()
	}
	b.WriteString("UPDATE SET ")
	for i, c := range l.columns[l.key:] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(c + " = excluded." + c)
	}
	return b.String()
}

// onConflictKeep returns the clause that makes an INSERT leave a known row as
// it is.
func (l *layout) onConflictKeep() string {
	return " ON CONFLICT (" + strings.Join(l.columns[:l.key], ", ") + ") DO NOTHING"
}

func kindOf(pointer any) kind {
	switch pointer.(type) {
	case *string, *[]string:
		return kindText
	case *int, *int64, *uint64, *int16, **money.Amount:
		return kindInt
	case *bool:
		return kindBool
	case *[]byte, *entry.Hash:
		return kindBytes
	default:
		panic(fmt.Sprintf("no column is made of a %T", pointer))
	}
}

// text returns s as it may stand in a TEXT of both dialects.
func text(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

// list encodes a list of strings as a JSON array.
func list(in []string) string {
	if len(in) == 0 {
		return "[]"
	}
	clean := make([]string, len(in))
	for i, s := range in {
		clean[i] = text(s)
	}
	b, err := json.Marshal(clean)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(b)
}

// value returns what a pointer into a row points to, in a type that both
// drivers take: string, int64, bool, []byte or nil.
func value(pointer any) any {
	switch p := pointer.(type) {
	case *string:
		return text(*p)
	case *int:
		return int64(*p)
	case *int64:
		return *p
	case *uint64:
		return int64(*p)
	case *int16:
		return int64(*p)
	case *bool:
		return *p
	case *[]byte:
		if *p == nil {
			return []byte{}
		}
		return *p
	case *[]string:
		return list(*p)
	case *entry.Hash:
		return p[:]
	case **money.Amount:
		if *p == nil {
			return nil
		}
		return int64(**p)
	default:
		panic(fmt.Sprintf("no column is made of a %T", pointer))
	}
}

// assignText, assignInt and assignBytes put what was read into what a pointer
// points to.
func assignText(pointer any, s string) error {
	switch p := pointer.(type) {
	case *string:
		*p = s
		return nil
	case *[]string:
		*p = nil
		if s == "[]" {
			return nil
		}
		return json.Unmarshal([]byte(s), p)
	default:
		return fmt.Errorf("read text into a %T", pointer)
	}
}

func assignInt(pointer any, n int64) error {
	switch p := pointer.(type) {
	case *int64:
		*p = n
	case *uint64:
		*p = uint64(n)
	case *int:
		*p = int(n)
	case *int16:
		*p = int16(n)
	case *bool:
		*p = n != 0
	case **money.Amount:
		a := money.Amount(n)
		*p = &a
	default:
		return fmt.Errorf("read a number into a %T", pointer)
	}
	return nil
}

func assignNull(pointer any) error {
	switch p := pointer.(type) {
	case **money.Amount:
		*p = nil
		return nil
	default:
		return fmt.Errorf("read NULL into a %T", pointer)
	}
}

// assignBytes takes a copy of b where the pointer is a slice's, unless owned
// says that nobody else holds b.
func assignBytes(pointer any, b []byte, owned bool) error {
	switch p := pointer.(type) {
	case *[]byte:
		switch {
		case len(b) == 0:
			*p = nil
		case owned:
			*p = b
		default:
			*p = append([]byte(nil), b...)
		}
		return nil
	case *entry.Hash:
		if len(b) != len(p) {
			return fmt.Errorf("read %d bytes as a hash", len(b))
		}
		copy(p[:], b)
		return nil
	default:
		return fmt.Errorf("read bytes into a %T", pointer)
	}
}

// conn is a transaction of one of the two dialects. SQL is written with $1 …;
// arguments are string, int, int64, uint64, bool, []byte and []string, the
// last only where an in list stands. Errors are those of package store where
// one fits.
type conn interface {
	// query runs a SELECT or a statement with RETURNING. For each row it asks
	// dest for the pointers to read into.
	query(ctx context.Context, sql string, args []any, dest func() []any) error
	// exec runs a statement and returns the number of rows it touched.
	exec(ctx context.Context, sql string, args ...any) (int64, error)
	// write writes rows of several tables in as few round trips as it can.
	write(ctx context.Context, sets []rowset) error
	// in returns a condition that the column is one of the list in $n.
	in(column string, n int) string
	// each returns what stands behind FROM to find the rows t of a table with
	// pos = $1 and a column that is one of the list in $2, and that meet cond.
	// Each one is looked up by the index, whatever the statistics say.
	each(table, column, cond string) string
	// forUpdate is the clause that locks what a SELECT returns.
	forUpdate() string
}

// rowset is rows of one table to be written.
type rowset struct {
	*layout
	mode mode
	n    int
	row  func(i int, f []any) []any // pointers of the i-th row's fields
}

// mode says what happens to a row whose key is known.
type mode byte

const (
	modeNew  mode = iota // store.ErrConflict
	modePut              // it is replaced
	modeAdd              // columns after the key are added to those stored
	modeKeep             // it is left as it is
)

func rowsOf[R any](t table[R], m mode, rows []R) rowset {
	return rowset{layout: t.layout, mode: m, n: len(rows), row: func(i int, f []any) []any { return t.fields(&rows[i], f) }}
}

// put writes one row, whether its key is known or not.
func put[R any](ctx context.Context, c conn, t table[R], r *R) error {
	return c.write(ctx, []rowset{{layout: t.layout, mode: modePut, n: 1, row: func(_ int, f []any) []any { return t.fields(r, f) }}})
}

// insert writes one new row.
func insert[R any](ctx context.Context, c conn, t table[R], r *R) error {
	return c.write(ctx, []rowset{{layout: t.layout, mode: modeNew, n: 1, row: func(_ int, f []any) []any { return t.fields(r, f) }}})
}

// find reads rows; the rest of the statement follows SELECT … FROM table t.
func find[R any](ctx context.Context, c conn, t table[R], rest string, args ...any) ([]R, error) {
	var rows []R
	var f []any
	err := c.query(ctx, t.selectSQL+rest, args, func() []any {
		var r R
		rows = append(rows, r)
		f = t.fields(&rows[len(rows)-1], f[:0])
		return f
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.name, err)
	}
	return rows, nil
}

// one reads a single row.
func one[R any](ctx context.Context, c conn, t table[R], rest string, args ...any) (R, error) {
	rows, err := find(ctx, c, t, rest, args...)
	if err != nil || len(rows) == 0 {
		var none R
		if err == nil {
			err = fmt.Errorf("read %s: %w", t.name, store.ErrNotFound)
		}
		return none, err
	}
	return rows[0], nil
}

// scan reads rows that are no table's; each is asked for by dest.
func scan[R any](ctx context.Context, c conn, sql string, args []any, fields func(r *R) []any) ([]R, error) {
	var rows []R
	err := c.query(ctx, sql, args, func() []any {
		var r R
		rows = append(rows, r)
		return fields(&rows[len(rows)-1])
	})
	return rows, err
}

// number reads one number; 0 where there is no row.
func number(ctx context.Context, c conn, sql string, args ...any) (int64, error) {
	var n int64
	err := c.query(ctx, sql, args, func() []any { return []any{&n} })
	return n, err
}

// onConflictAdd returns the clause that makes an INSERT add to a known row.
func (l *layout) onConflictAdd() string {
	var b strings.Builder
	fmt.Fprintf(&b, " ON CONFLICT (%s) DO UPDATE SET ", strings.Join(l.columns[:l.key], ", "))
	for i, c := range l.columns[l.key:] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s = %s.%s + excluded.%s", c, l.name, c, c)
	}
	return b.String()
}
