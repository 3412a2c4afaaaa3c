package sqlstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/store"
)

// pgTx is a transaction on PostgreSQL.
type pgTx struct {
	c      *pgx.Conn
	failed error // the first error; the server has given the transaction up
	over   bool
}

func (t *pgTx) check() error {
	if t.over {
		return errOver
	}
	return nil
}

func (t *pgTx) fail(err error) error {
	err = pgError(err)
	if err != nil && t.failed == nil {
		t.failed = err
	}
	return err
}

func (t *pgTx) query(ctx context.Context, sql string, args []any, dest func() []any) error {
	if err := t.check(); err != nil {
		return err
	}
	rows, err := t.c.Query(ctx, sql, pgArgs(args)...)
	if err != nil {
		return t.fail(err)
	}
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues()
		for i, p := range dest() {
			if err := assignPG(p, raw[i], rows.FieldDescriptions()[i]); err != nil {
				return t.fail(err)
			}
		}
	}
	return t.fail(rows.Err())
}

func (t *pgTx) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	tag, err := t.c.Exec(ctx, sql, pgArgs(args)...)
	return tag.RowsAffected(), t.fail(err)
}

// script runs several statements.
func (t *pgTx) script(ctx context.Context, sql string) error {
	_, err := t.c.PgConn().Exec(ctx, sql).ReadAll()
	return t.fail(err)
}

func (t *pgTx) in(column string, n int) string { return fmt.Sprintf("%s = ANY($%d)", column, n) }

// each looks every value up by itself: on tables that were never analysed the
// planner reads a whole point of sale for "= ANY".
func (t *pgTx) each(table, column, cond string) string {
	return "(SELECT DISTINCT x FROM unnest($2::text[]) x) v CROSS JOIN LATERAL (SELECT * FROM " + table +
		" t WHERE t.pos = $1 AND t." + column + " = v.x AND " + cond + " OFFSET 0) t"
}

func (t *pgTx) forUpdate() string { return " FOR UPDATE" }

// pgArgs returns arguments as pgx encodes them without reflection.
func pgArgs(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		switch v := a.(type) {
		case string:
			out[i] = text(v)
		case int:
			out[i] = int64(v)
		case uint64:
			out[i] = int64(v)
		case []string:
			clean := make([]string, len(v))
			for k, s := range v {
				clean[k] = text(s)
			}
			out[i] = clean
		case []byte:
			if v == nil {
				v = []byte{}
			}
			out[i] = v
		default:
			out[i] = a
		}
	}
	return out
}

// The types of columns, by their numbers in PostgreSQL.
const (
	oidBool  = 16
	oidBytea = 17
	oidInt8  = 20
	oidInt4  = 23
	oidText  = 25
)

// assignPG reads a value as it came.
func assignPG(pointer any, raw []byte, f pgconn.FieldDescription) error {
	if raw == nil {
		return assignNull(pointer)
	}
	// Of a text both formats are its bytes.
	if f.Format != pgx.BinaryFormatCode && f.DataTypeOID != oidText {
		return fmt.Errorf("column %s does not come in the binary format", f.Name)
	}
	switch f.DataTypeOID {
	case oidText:
		return assignText(pointer, string(raw))
	case oidInt8:
		return assignInt(pointer, int64(binary.BigEndian.Uint64(raw)))
	case oidInt4:
		return assignInt(pointer, int64(int32(binary.BigEndian.Uint32(raw))))
	case oidBool:
		return assignInt(pointer, int64(raw[0]))
	case oidBytea:
		return assignBytes(pointer, raw, false)
	default:
		return fmt.Errorf("column %s has the type number %d", f.Name, f.DataTypeOID)
	}
}

// copyRows is from how many rows on COPY is worth its round trip.
const copyRows = 8

// write writes new rows by COPY and all others in one pipelined batch.
func (t *pgTx) write(ctx context.Context, sets []rowset) error {
	if err := t.check(); err != nil {
		return err
	}
	var batch pgx.Batch
	var names []string // of the tables, statement by statement
	for _, s := range sets {
		switch {
		case s.mode == modeNew && s.n >= copyRows:
			if err := t.copyIn(ctx, s); err != nil {
				return fmt.Errorf("write %s: %w", s.name, t.fail(err))
			}
		case s.mode == modeAdd:
			batch.Queue(s.unnestSQL(), s.arrays()...)
			names = append(names, s.name)
		default:
			sql := s.insertSQL
			switch s.mode {
			case modePut:
				sql = s.putSQL
			case modeKeep:
				sql = s.keepSQL
			case modeNew, modeAdd:
			}
			for i := range s.n {
				fields := s.row(i, make([]any, 0, len(s.columns)))
				for k, p := range fields {
					fields[k] = value(p)
				}
				batch.Queue(sql, fields...)
				names = append(names, s.name)
			}
		}
	}
	if batch.Len() == 0 {
		return nil
	}
	results := t.c.SendBatch(ctx, &batch)
	for _, name := range names {
		if _, err := results.Exec(); err != nil {
			// The first error is the one that counts.
			_ = results.Close()
			return fmt.Errorf("write %s: %w", name, t.fail(err))
		}
	}
	return t.fail(results.Close())
}

// copyBuffers keeps the buffers of COPY: a batch fills about a megabyte.
var copyBuffers sync.Pool

// copyIn writes rows by COPY in its binary format:
//
//	signature, flags, header extension
//	per row: number of fields (int16), per field its length (int32, −1 is NULL) and bytes
//	−1 (int16)
func (t *pgTx) copyIn(ctx context.Context, s rowset) error {
	buf, ok := copyBuffers.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	b := append((*buf)[:0], "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	var fields []any
	for i := range s.n {
		fields = s.row(i, fields[:0])
		b = binary.BigEndian.AppendUint16(b, uint16(len(fields)))
		for _, p := range fields {
			b = appendPG(b, p)
		}
	}
	b = append(b, 0xff, 0xff)
	tag, err := t.c.PgConn().CopyFrom(ctx, bytes.NewReader(b), s.copySQL)
	*buf = b
	copyBuffers.Put(buf)
	if err == nil && tag.RowsAffected() != int64(s.n) {
		err = fmt.Errorf("COPY took %d rows of %d", tag.RowsAffected(), s.n)
	}
	return err
}

// appendPG appends what a pointer into a row points to, length first.
func appendPG(b []byte, pointer any) []byte {
	switch p := pointer.(type) {
	case *string:
		s := text(*p)
		b = appendLength(b, len(s))
		return append(b, s...)
	case *int64:
		return appendInt(b, *p)
	case *int:
		return appendInt(b, int64(*p))
	case *uint64:
		return appendInt(b, int64(*p))
	case *int16:
		return appendInt(b, int64(*p))
	case *bool:
		b = appendLength(b, 1)
		if *p {
			return append(b, 1)
		}
		return append(b, 0)
	case *[]byte:
		b = appendLength(b, len(*p))
		return append(b, *p...)
	case *entry.Hash:
		b = appendLength(b, len(p))
		return append(b, p[:]...)
	case *[]string:
		s := list(*p)
		b = appendLength(b, len(s))
		return append(b, s...)
	case **money.Amount:
		if *p == nil {
			return binary.BigEndian.AppendUint32(b, math.MaxUint32)
		}
		return appendInt(b, int64(**p))
	default:
		panic(fmt.Sprintf("no column is made of a %T", pointer))
	}
}

func appendLength(b []byte, n int) []byte { return binary.BigEndian.AppendUint32(b, uint32(n)) }

func appendInt(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(appendLength(b, 8), uint64(n))
}

// unnestSQL returns the statement that adds rows given as one array a column.
func (s rowset) unnestSQL() string {
	arrays := make([]string, len(s.columns))
	for i, k := range s.kinds {
		arrays[i] = fmt.Sprintf("$%d::%s[]", i+1, map[kind]string{kindText: "text", kindInt: "bigint", kindBool: "boolean", kindBytes: "bytea"}[k])
	}
	return "INSERT INTO " + s.name + " (" + s.all + ") SELECT * FROM unnest(" + strings.Join(arrays, ", ") + ")" + s.onConflictAdd()
}

// arrays returns the rows as one array a column.
func (s rowset) arrays() []any {
	out := make([]any, len(s.columns))
	var fields []any
	for i := range s.n {
		fields = s.row(i, fields[:0])
		for k, p := range fields {
			switch v := value(p).(type) {
			case string:
				a, _ := out[k].([]string)
				out[k] = append(a, v)
			case int64:
				a, _ := out[k].([]int64)
				out[k] = append(a, v)
			default:
				panic(fmt.Sprintf("no array is made of a %T", v))
			}
		}
	}
	return out
}

// What PostgreSQL says in codes.
const (
	codeUnique        = "23505"
	codeSerialization = "40001"
	codeDeadlock      = "40P01"
)

// pgError gives an error of the server the meaning that package store has for
// it.
func pgError(err error) error {
	if err == nil || errors.Is(err, store.ErrConflict) {
		return err
	}
	if pgCode(err) == codeUnique {
		return fmt.Errorf("%w: %w", store.ErrConflict, err)
	}
	return err
}

func pgCode(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}
