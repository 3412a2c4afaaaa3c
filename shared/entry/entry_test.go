package entry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

var update = flag.Bool("update", false, "write the golden files that are missing")

const golden = "testdata/v1"

const (
	register = "01JD000000000000000000R001"
	op       = "01JD000000000000000000P001"
)

var at = time.Date(2026, 11, 24, 14, 2, 3, 456789000, time.UTC)

func envelope(kind entry.Kind, seq uint64, prev entry.Hash) entry.Entry {
	return entry.Entry{PointOfSale: "SHOP1", Register: register, Epoch: 1, Seq: seq, Op: op, Prev: prev, At: at, Kind: kind}
}

var (
	stamp  = pos.Stamp{ID: "01JD000000000000000000S001", Name: "SHOP1/R1/00042", Register: register, By: "u1", At: at, BusinessDate: "2026-11-24"}
	ann    = pos.Person{ID: "u1", Name: "Ann <Müller> & Søn"}
	reason = pos.Reason{ID: "safe", Name: "Safe", Account: "1001"}
	count  = money.Amount(5550)
	z      = pos.Z{
		Number: 3, From: at, To: at.Add(time.Hour), Period: pos.ZSums{Sales: 1, SalesTotal: 450, Net: 375}, Perpetual: pos.ZSums{Sales: 9, SalesTotal: 4050, Net: 3375},
		Methods: []pos.ZMethod{{Method: "cash", Name: "Cash", Opening: 5000, Taken: 450, Counted: &count}}, Software: "register 0.1.0",
		First: "SHOP1-R1-00042-0001", Last: "SHOP1-R1-00042-0001",
	}
	order = pos.Order{
		ID: op, Session: stamp, Number: "SHOP1-R1-00042-0001", Ordinal: 1, User: ann, Catalogue: 99,
		Lines:    []pos.Line{{ID: "l1", Product: "p1", Code: "COF", Name: "Coffee", Qty: 1000, Price: 45000, Account: "4000"}},
		Net:      450,
		Total:    450,
		Payments: []pos.Payment{{ID: "y1", Method: "cash", Name: "Cash", Kind: pos.MethodCash, Account: "1000", Amount: 500}},
		Change:   50, ChangeMethod: "cash",
	}
)

// kinds holds a body of every kind of entry, as the kind's doc says.
func kinds() map[entry.Kind]any {
	all := map[entry.Kind]any{
		entry.KindBegun:  &pos.Begun{Nonce: "n1", Software: "register 0.1.0"},
		entry.KindSeries: &pos.SeriesBegun{Tag: "K7M", LastReceipt: "SHOP1-R1-00042-0007", LastSession: "SHOP1/R1/00042", LastZ: 3, Why: "copy"},
		entry.KindOpened: &pos.Opened{
			Session: stamp, User: ann, Methods: []pos.Method{{ID: "cash", Name: "Cash", Kind: pos.MethodCash, Account: "1000"}}, Drawer: true,
			CashControl: true, CashMethod: "cash", Float: 5000, Brought: 5000, MaxDifference: 500, Sheet: []pos.Pile{{Value: 5000, Count: 1}},
		},
		entry.KindJoined:   &pos.Joined{Session: stamp, User: ann, Methods: []pos.Method{}, CashMethod: "cash"},
		entry.KindLeft:     &pos.Left{Session: stamp, User: ann, Counts: []pos.Count{{Method: "cash", Amount: count}}, Z: z},
		entry.KindCounted:  &pos.Counted{Session: stamp, User: ann, Counts: []pos.Count{{Method: "cash", Amount: count}}, Attempt: 1},
		entry.KindClosed:   &pos.Closed{Session: stamp, User: ann, MaxDifference: 500, Drop: &pos.Drop{Amount: 500, Method: "cash", CashAccount: "1000", Reason: reason}, Z: z},
		entry.KindOrder:    &order,
		entry.KindTraining: &order,
		entry.KindReceipt: &pos.Receipt{
			ID: op, Session: stamp, Number: "SHOP1-R1-00042-0002", Ordinal: 2, User: ann, Customer: pos.Customer{ID: "c1", Name: "Acme"}, Receivable: "1200", Amount: 900,
			Payments: []pos.Payment{{ID: "y2", Method: "card", Name: "Card", Kind: pos.MethodCard, Account: "1100", Amount: 900, Reference: "auth 12"}},
		},
		entry.KindMove: &pos.Move{ID: op, Session: &stamp, User: ann, Method: "cash", CashAccount: "1000", Amount: -2000, Reason: reason, Drop: true},
		entry.KindRebased: &pos.Rebased{
			Op: op, At: entry.Point{Epoch: 1, Seq: 7, Hash: entry.HashOf([]byte("x"))}, Original: []byte(`{"kind":"order"}`),
		},
		entry.KindClose: &pos.Close{
			Session: stamp.ID, Name: stamp.Name, By: ann, At: at, List: []byte("12345678"), Orders: 1, Total: 450, Digest: "ef",
			Positions: []pos.Position{{Register: register, Point: entry.Point{Epoch: 1, Seq: 7, Hash: entry.HashOf([]byte("x"))}}},
		},
	}
	for _, k := range []entry.Kind{
		entry.KindSignedIn, entry.KindLocked, entry.KindPINFailed, entry.KindLockedOut, entry.KindContinued, entry.KindOfficeSignedIn, entry.KindScreensEnded,
		entry.KindPriceOverridden, entry.KindDiscounted, entry.KindLineVoided, entry.KindCartDiscarded, entry.KindDrawerOpened, entry.KindReprinted,
		entry.KindTrainingOn, entry.KindTrainingOff, entry.KindSettingsApplied, entry.KindClockJumped,
	} {
		all[k] = &pos.Event{Session: &stamp, User: &ann, Detail: string(k), Tries: 1}
	}
	return all
}

// files returns the golden files; a folder without any is an error.
func files(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(golden, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Fatalf("%s holds no file", golden)
	}
	all := map[string][]byte{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(name), ".json")] = data
	}
	return all
}

// The bytes of an entry are its identity: what is made today is what was made
// when the golden files were written, and their hashes are the chain's.
func TestMakeWritesTheBytesOfTheGoldenFiles(t *testing.T) {
	for kind, body := range kinds() {
		raw, hash, err := entry.Make(envelope(kind, 7, entry.HashOf([]byte("before"))), body)
		if err != nil {
			t.Fatalf("Make(%s) = %v", kind, err)
		}
		if hash != entry.HashOf(raw) {
			t.Errorf("Make(%s) names another hash than that of its bytes", kind)
		}
		file := filepath.Join(golden, string(kind)+".json")
		if _, err := os.Stat(file); *update && errors.Is(err, os.ErrNotExist) {
			if err := os.WriteFile(file, raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(raw, want) {
			t.Errorf("Make(%s):\n%s\nwant\n%s", kind, raw, want)
		}
	}
}

func TestGoldenEntriesDecode(t *testing.T) {
	bodies := kinds()
	for name, raw := range files(t) {
		e, err := entry.Decode(raw)
		if err != nil {
			t.Errorf("Decode(%s) = %v", name, err)
			continue
		}
		if string(e.Kind) != name || e.Version != 1 || e.Place() != (entry.Place{Epoch: 1, Seq: 7}) || !e.At.Equal(at) {
			t.Errorf("Decode(%s) = %+v", name, e)
		}
		want, known := bodies[e.Kind]
		if !known {
			t.Errorf("%s is of a kind that no test knows: kinds are never taken away", name)
			continue
		}
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface()
		if err := json.Unmarshal(e.Body, got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("body of %s = %+v, %v, want %+v", name, got, err, want)
		}
	}
}

func TestMakeSetsTheVersionAndTheTimeInUTC(t *testing.T) {
	e := envelope(entry.KindSignedIn, 1, entry.Hash{})
	e.At = at.In(time.FixedZone("CET", 3600))
	e.Version = 99
	raw, _, err := entry.Make(e, pos.Event{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := entry.Decode(raw)
	if err != nil || got.Version != entry.SchemaVersion || got.At.Location() != time.UTC || !got.At.Equal(at) {
		t.Errorf("Decode(Make) = %+v, %v, want version %d and UTC", got, err, entry.SchemaVersion)
	}
}

func TestSizeLimitsOfWhatARegisterMakes(t *testing.T) {
	tests := []struct {
		kind  entry.Kind
		limit int
	}{
		{entry.KindOrder, entry.MaxSize},
		{entry.KindSignedIn, entry.MaxSize},
		{entry.KindClose, entry.MaxCloseSize},
		{entry.KindRebased, entry.MaxWrappedSize},
	}
	for _, tt := range tests {
		empty, _, err := entry.Make(envelope(tt.kind, 1, entry.Hash{}), "")
		if err != nil {
			t.Fatal(err)
		}
		full := strings.Repeat("x", tt.limit-len(empty))
		if raw, _, err := entry.Make(envelope(tt.kind, 1, entry.Hash{}), full); err != nil || len(raw) != tt.limit {
			t.Errorf("Make of a %s entry at its limit = %d bytes, %v, want %d", tt.kind, len(raw), err, tt.limit)
		}
		if _, _, err := entry.Make(envelope(tt.kind, 1, entry.Hash{}), full+"x"); !errors.Is(err, entry.ErrTooLarge) {
			t.Errorf("Make of a %s entry above its limit = %v, want %v", tt.kind, err, entry.ErrTooLarge)
		}
	}
}

// A register must always be able to wrap what it holds, whatever it is.
func TestAnyEntryFitsIntoAWrap(t *testing.T) {
	for _, size := range []int{entry.MaxSize, entry.MaxCloseSize} {
		wrap := pos.Rebased{Op: op, At: entry.Point{Epoch: 1<<64 - 1, Seq: 1<<64 - 1}, Original: make([]byte, size)}
		if _, _, err := entry.Make(envelope(entry.KindRebased, 1, entry.Hash{}), wrap); err != nil {
			t.Errorf("wrap of an entry of %d bytes = %v", size, err)
		}
	}
}

// A close with the list of a session of 20,000 entries fits into an entry.
func TestACloseOfTwentyThousandEntriesFits(t *testing.T) {
	record := pos.Close{Session: stamp.ID, Name: stamp.Name, By: ann, At: at, List: make([]byte, 8*20_000)}
	for range 40 {
		record.Positions = append(record.Positions, pos.Position{Register: register})
		record.Methods = append(record.Methods, pos.MethodTotal{Register: register, Method: op})
	}
	if _, _, err := entry.Make(envelope(entry.KindClose, 1, entry.Hash{}), record); err != nil {
		t.Errorf("Make = %v", err)
	}
}

func TestDecodeAcceptsWhatIsNewer(t *testing.T) {
	raw := `{"pos":"SHOP1","register":"r","epoch":1,"seq":1,"op":"o","prev":"` + entry.Hash{}.String() +
		`","at":"2026-11-24T10:00:00Z","kind":"dance","v":7,"body":{"steps":3},"mood":"good"}`
	e, err := entry.Decode([]byte(raw))
	if err != nil || e.Kind != "dance" || e.Version != 7 || string(e.Body) != `{"steps":3}` {
		t.Errorf("Decode = %+v, %v", e, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := map[string]string{
		"pos": `"SHOP1"`, "register": `"r"`, "epoch": "1", "seq": "1", "op": `"o"`, "kind": `"order"`, "prev": `"` + entry.Hash{}.String() + `"`,
	}
	build := func(change, to string) []byte {
		var fields []string
		for k, v := range good {
			if k == change {
				v = to
			}
			if v != "" {
				fields = append(fields, fmt.Sprintf("%q:%s", k, v))
			}
		}
		return []byte("{" + strings.Join(fields, ",") + "}")
	}
	if _, err := entry.Decode(build("", "")); err != nil {
		t.Fatalf("Decode of a good one = %v", err)
	}
	tests := []struct{ name, field, to string }{
		{"no point of sale", "pos", ""},
		{"no register", "register", ""},
		{"no epoch", "epoch", ""},
		{"epoch 0", "epoch", "0"},
		{"sequence 0", "seq", "0"},
		{"a sequence below 0", "seq", "-1"},
		{"a sequence with a fraction", "seq", "1.5"},
		{"no operation id", "op", ""},
		{"no kind", "kind", `""`},
		{"a short hash", "prev", `"00"`},
		{"a hash of other letters", "prev", `"` + strings.Repeat("zz", 32) + `"`},
	}
	for _, tt := range tests {
		if _, err := entry.Decode(build(tt.field, tt.to)); !errors.Is(err, entry.ErrMalformed) {
			t.Errorf("Decode with %s = %v, want %v", tt.name, err, entry.ErrMalformed)
		}
	}
	for _, raw := range []string{"", "{", "[]", "null", `"x"`, "{} {}"} {
		if _, err := entry.Decode([]byte(raw)); !errors.Is(err, entry.ErrMalformed) {
			t.Errorf("Decode(%q) = %v, want %v", raw, err, entry.ErrMalformed)
		}
	}
	if _, err := entry.Decode(make([]byte, entry.MaxWrappedSize+1)); !errors.Is(err, entry.ErrTooLarge) {
		t.Errorf("Decode of too many bytes = %v, want %v", err, entry.ErrTooLarge)
	}
}

func TestBodyOfAnotherShape(t *testing.T) {
	e := envelope(entry.KindOrder, 3, entry.Hash{})
	e.Body = json.RawMessage(`{"lines":7}`)
	if _, err := entry.Body[pos.Order](&e); !errors.Is(err, entry.ErrMalformed) {
		t.Errorf("Body = %v, want %v", err, entry.ErrMalformed)
	}
}

// chain makes n entries of an epoch on a base.
func chain(t testing.TB, epoch uint64, base entry.Hash, n int) (points []entry.Point, raws [][]byte) {
	t.Helper()
	before := entry.Point{Epoch: epoch, Hash: base}
	for range n {
		e := envelope(entry.KindSignedIn, before.Seq+1, before.Hash)
		e.Epoch = epoch
		raw, hash, err := entry.Make(e, pos.Event{Tries: int(before.Seq)})
		if err != nil {
			t.Fatal(err)
		}
		before = entry.Point{Epoch: epoch, Seq: before.Seq + 1, Hash: hash}
		points, raws = append(points, before), append(raws, raw)
	}
	return points, raws
}

func TestFollows(t *testing.T) {
	points, raws := chain(t, 1, entry.Hash{}, 3)
	next, nextRaws := chain(t, 2, points[2].Hash, 1)
	decode := func(raw []byte) *entry.Entry {
		e, err := entry.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		return &e
	}
	tests := []struct {
		name   string
		before entry.Point
		e      *entry.Entry
		err    error
	}{
		{"the first of a register stands on the zero hash", entry.Point{Epoch: 1}, decode(raws[0]), nil},
		{"the next one", points[0], decode(raws[1]), nil},
		{"the first of an epoch stands on its base", entry.Point{Epoch: 2, Hash: points[2].Hash}, decode(nextRaws[0]), nil},
		{"one is left out", points[0], decode(raws[2]), entry.ErrChain},
		{"the same again", points[1], decode(raws[1]), entry.ErrChain},
		{"of another epoch", points[2], decode(nextRaws[0]), entry.ErrChain},
		{"on another hash", entry.Point{Epoch: 1, Seq: 1, Hash: next[0].Hash}, decode(raws[1]), entry.ErrChain},
		{"an epoch on another base", entry.Point{Epoch: 2, Hash: points[1].Hash}, decode(nextRaws[0]), entry.ErrChain},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := entry.Follows(tt.before, tt.e); !errors.Is(err, tt.err) {
				t.Errorf("Follows = %v, want %v", err, tt.err)
			}
		})
	}
}

// Whatever byte of a chain is changed, the chain breaks at it, at the one
// after it, or at the head's hash.
func TestAChangedByteBreaksTheChain(t *testing.T) {
	points, raws := chain(t, 1, entry.Hash{}, 3)
	check := func() error {
		before := entry.Point{Epoch: 1}
		for _, raw := range raws {
			e, err := entry.Decode(raw)
			if err != nil {
				return err
			}
			if err := entry.Follows(before, &e); err != nil {
				return err
			}
			before = entry.Point{Epoch: e.Epoch, Seq: e.Seq, Hash: entry.HashOf(raw)}
		}
		if before != points[2] {
			return fmt.Errorf("%w: another head", entry.ErrChain)
		}
		return nil
	}
	if err := check(); err != nil {
		t.Fatalf("the chain as it was made: %v", err)
	}
	for i := range raws {
		for b := range raws[i] {
			raws[i][b] ^= 1
			if check() == nil {
				t.Errorf("byte %d of entry %d changed, and nothing breaks", b, i+1)
			}
			raws[i][b] ^= 1
		}
	}
}

func TestPlacesAreOrdered(t *testing.T) {
	ordered := []entry.Place{{}, {Epoch: 1, Seq: 1}, {Epoch: 1, Seq: 9}, {Epoch: 2}, {Epoch: 2, Seq: 1}}
	for i, p := range ordered {
		for k, q := range ordered {
			if got := p.Less(q); got != (i < k) {
				t.Errorf("%v.Less(%v) = %t", p, q, got)
			}
		}
		if p.IsZero() != (i == 0) {
			t.Errorf("%v.IsZero() = %t", p, p.IsZero())
		}
	}
}

func TestHashText(t *testing.T) {
	if got := (entry.Hash{}).String(); got != strings.Repeat("0", 64) || !(entry.Hash{}).IsZero() {
		t.Errorf("the zero hash = %q", got)
	}
	h := entry.HashOf([]byte("abc"))
	if h.Short() != "ba7816bf" {
		t.Errorf("Short = %q, want the first 8 digits of SHA-256", h.Short())
	}
	var again entry.Hash
	text, err := h.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if err := again.UnmarshalText(text); err != nil || again != h {
		t.Errorf("UnmarshalText(%s) = %v, %v", text, again, err)
	}
}

// FuzzDecode: no panic; what decodes has a place, and names the hash before it.
func FuzzDecode(f *testing.F) {
	for _, raw := range files(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := entry.Decode(raw)
		if err != nil {
			if !errors.Is(err, entry.ErrMalformed) && !errors.Is(err, entry.ErrTooLarge) {
				t.Fatalf("Decode = %v, want an error of this package", err)
			}
			return
		}
		before := entry.Point{Epoch: e.Epoch, Seq: e.Seq - 1, Hash: e.Prev}
		if err := entry.Follows(before, &e); err != nil {
			t.Fatalf("Follows the point that it names: %v", err)
		}
		_, _ = entry.Body[pos.Order](&e) // any answer but a panic
		if again, _, err := entry.Make(e, e.Body); err == nil {
			if _, err := entry.Decode(again); err != nil {
				t.Fatalf("Decode(Make(Decode(%q))) = %v", raw, err)
			}
		}
	})
}
