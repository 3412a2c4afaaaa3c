package sqlstore

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is one step of the schema: a file NNNN_name.sql.
type migration struct {
	version int64
	name    string
	sql     string
}

// migrations returns the steps in order, in the words of a dialect: lines
// after "--DIALECT " count for that dialect alone, and texts marked /*C*/ sort
// by bytes, which SQLite does anyway.
func migrations(dialect string) ([]migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var list []migration
	for _, name := range names {
		b, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		base := strings.TrimSuffix(strings.TrimPrefix(name, "migrations/"), ".sql")
		number, _, _ := strings.Cut(base, "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("migration %s has no number: %w", name, err)
		}
		sql := strings.ReplaceAll("\n"+string(b), "\n--"+dialect+" ", "\n")
		if dialect == dialectPostgres {
			sql = strings.ReplaceAll(sql, "/*C*/", `COLLATE "C"`)
		}
		list = append(list, migration{version: version, name: base, sql: sql})
	}
	return list, nil
}

const (
	dialectSQLite   = "sqlite"
	dialectPostgres = "postgres"
)

// migrate brings a database up to date. It runs in one transaction that no
// other server's migration runs beside; script runs several statements.
func migrate(ctx context.Context, c conn, dialect string, script func(ctx context.Context, sql string) error, now time.Time) error {
	list, err := migrations(dialect)
	if err != nil {
		return err
	}
	if err := script(ctx, `CREATE TABLE IF NOT EXISTS migrations (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied BIGINT NOT NULL)`); err != nil {
		return fmt.Errorf("make table of migrations: %w", err)
	}
	at, err := number(ctx, c, "SELECT coalesce(max(version), 0) FROM migrations")
	if err != nil {
		return fmt.Errorf("read version of the tables: %w", err)
	}
	if last := list[len(list)-1].version; at > last {
		return fmt.Errorf("the database has tables of version %d, written by a newer program; this one knows up to %d", at, last)
	}
	for _, m := range list {
		if m.version <= at {
			continue
		}
		if err := script(ctx, m.sql); err != nil {
			return fmt.Errorf("migration %s: %w", m.name, err)
		}
		if _, err := c.exec(ctx, "INSERT INTO migrations (version, name, applied) VALUES ($1, $2, $3)", m.version, m.name, now.UnixMicro()); err != nil {
			return fmt.Errorf("note migration %s: %w", m.name, err)
		}
	}
	return nil
}
