package audit

import (
	"context"
	"database/sql"
)

// Examine audits what a transaction sees: what a test has changed in it and
// takes back afterwards.
func Examine(ctx context.Context, tx *sql.Tx, postgres bool) (*Report, error) {
	return examine(ctx, &source{tx: tx, postgres: postgres})
}
