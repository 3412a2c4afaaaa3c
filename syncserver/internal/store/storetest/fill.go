package storetest

import (
	"fmt"
	"reflect"
	"testing"

	"tillandsia/shared/entry"
)

// filled returns a row with another value in every exported field, whatever
// fields it has: a column that was forgotten loses one. seed makes other
// values; bools are the bits of their place in the row, as many bits on as
// there are in pattern, so that two that were exchanged are found as well.
func filled[R any](seed int, pattern uint) R {
	var r R
	n := seed * 1000
	bools := uint(0)
	fill(reflect.ValueOf(&r).Elem(), &n, &bools, pattern)
	return r
}

var hashType = reflect.TypeFor[entry.Hash]()

func fill(v reflect.Value, n *int, bools *uint, pattern uint) {
	*n++
	switch v.Kind() { //nolint:exhaustive // the others make no column
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n, bools, pattern)
			}
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d ä€😀", *n))
	case reflect.Bool:
		*bools++
		v.SetBool(pattern == 0 || *bools&pattern != 0)
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16:
		v.SetInt(int64(*n))
	case reflect.Uint64, reflect.Uint32:
		v.SetUint(uint64(*n))
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(fmt.Appendf(nil, "bytes \x00\xff %d", *n))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), n, bools, pattern)
		}
	case reflect.Pointer:
		// nil every other time, so that a row is put over both.
		if pattern%2 == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), n, bools, pattern)
		}
	case reflect.Array:
		if v.Type() != hashType {
			panic("no array of this type is known: " + v.Type().String())
		}
		v.Set(reflect.ValueOf(entry.HashOf(fmt.Append(nil, *n))))
	default:
		panic("no value for a " + v.Type().String())
	}
}

// keep copies the named fields of the first row into the other.
func keep[R any](from, to R, names []string) R {
	f, t := reflect.ValueOf(&from).Elem(), reflect.ValueOf(&to).Elem()
	for _, name := range names {
		t.FieldByName(name).Set(f.FieldByName(name))
	}
	return to
}

// equal compares rows field by field.
func equal[R any](t *testing.T, what string, got, want R) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s =\n%+v, want\n%+v", what, got, want)
	}
}
