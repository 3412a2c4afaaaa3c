package sqlstore

import (
	"fmt"
	"strings"
)

// where collects the conditions of a filter, with their arguments.
type where struct {
	c     conn
	conds []string
	args  []any
}

// arg adds an argument and returns its placeholder.
func (w *where) arg(v any) string {
	w.args = append(w.args, v)
	return fmt.Sprintf("$%d", len(w.args))
}

// is adds a condition; % stands for the placeholder of v.
func (w *where) is(cond string, v any) {
	w.conds = append(w.conds, strings.ReplaceAll(cond, "%", w.arg(v)))
}

// in adds a condition that column is one of list; nil is no condition.
func (w *where) in(column string, list []string) {
	if list == nil {
		return
	}
	w.arg(list)
	w.conds = append(w.conds, w.c.in(column, len(w.args)))
}

// part adds a condition that column contains s, capital or small letters of
// ASCII alike; "" is no condition.
func (w *where) part(column, s string) {
	if s == "" {
		return
	}
	s = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s)
	w.conds = append(w.conds, "lower("+column+") LIKE lower("+w.arg("%"+s+"%")+`) ESCAPE '\'`)
}

// after goes on behind a row in descending order; id "" is no condition.
func (w *where) after(columns string, at int64, id string) {
	if id == "" {
		return
	}
	w.conds = append(w.conds, "("+columns+") < ("+w.arg(at)+", "+w.arg(id)+")")
}

// rest returns the end of a SELECT.
func (w *where) rest(order string, limit int) string {
	var b strings.Builder
	for i, c := range w.conds {
		if i == 0 {
			b.WriteString("WHERE ")
		} else {
			b.WriteString(" AND ")
		}
		b.WriteString(c)
	}
	b.WriteString(" ORDER BY " + order)
	b.WriteString(w.limit(limit))
	return b.String()
}

// limit returns a LIMIT clause; 0 is none.
func (w *where) limit(n int) string {
	if n <= 0 {
		return ""
	}
	return " LIMIT " + w.arg(n)
}
