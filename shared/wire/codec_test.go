package wire_test

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
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
)

var update = flag.Bool("update", false, "write the golden files that are missing")

const golden = "testdata/v1"

var (
	at = time.Date(2026, 11, 24, 14, 2, 3, 456789000, time.UTC)

	stamp = pos.Stamp{
		ID: "01JD000000000000000000S001", Name: "SHOP1/R1/00042", Register: "01JD000000000000000000R001",
		By: "01JD000000000000000000U001", At: at, BusinessDate: "2026-11-24",
	}
	session = wire.Session{Stamp: stamp, State: "opened", RegisterOf: "R1", ByName: "Ann <Müller>"}
)

func hash(s string) entry.Hash { return entry.HashOf([]byte(s)) }

func point(epoch, seq uint64) entry.Point {
	return entry.Point{Epoch: epoch, Seq: seq, Hash: hash(fmt.Sprint(epoch, "/", seq))}
}

// messages are one of each type at least; the file of each is named after it.
func messages() map[string]any {
	counted := session
	counted.State = "closed"
	return map[string]any{
		"hello": &wire.Hello{
			Version: 1, PointOfSale: "SHOP1", Register: stamp.Register, Nonce: "n2", Generation: 7, Incarnation: "01JD000000000000000000I001",
			Epochs: []wire.EpochHead{
				{Epoch: 1, Nonce: "n1", Checkpoint: point(1, 3), Head: point(1, 120)},
				{Epoch: 2, Nonce: "n2", Base: point(1, 120), Checkpoint: entry.Point{Epoch: 2, Hash: point(1, 120).Hash}, Head: point(2, 4)},
			},
			CatalogueHandle: "01JD.a", CatalogueRev: 99, Program: "register 0.1.0", Screen: "http://10.0.0.7:8070", Waiting: 4, WaitingAmount: 1250, Clock: at,
		},
		"hello_bare": &wire.Hello{Version: 1, PointOfSale: "SHOP1", Register: stamp.Register, Nonce: "n1", Program: "register 0.1.0", Clock: at},
		"welcome": &wire.Welcome{
			Version: 1, Incarnation: "01JD000000000000000000I001", Generation: 8, Window: 4, Retention: 400, CatalogueHandle: "01JD.a", CatalogueRev: 101, Time: at,
			Epochs:   []wire.EpochCursor{{Epoch: 1, Nonce: "n1", Cursor: point(1, 118), Stable: point(1, 90)}},
			Sessions: []wire.Session{session},
		},
		"welcome_copy": &wire.Welcome{Version: 1, Incarnation: "i", Generation: 9, Copy: true, Revoked: true, Window: 1, Epochs: []wire.EpochCursor{}, Sessions: []wire.Session{}, Time: at},
		"closes":       &wire.Closes{Waiting: 3, Entries: []wire.RawEntry{{At: point(1, 119), Raw: []byte(`{"kind":"close"}`)}}},
		"probe":        &wire.Probe{Epoch: 1, Seqs: []uint64{1, 2, 4, 8}},
		"points":       &wire.Points{Epoch: 1, Points: []entry.Point{point(1, 1), point(1, 2)}},
		"fetch":        &wire.Fetch{Epoch: 1, From: 5, To: 9},
		"renew":        &wire.Renew{Nonce: "n3", Base: point(2, 4)},
		"epoch":        &wire.Epoch{Epoch: 3, Nonce: "n3", Base: point(2, 4)},
		"find":         &wire.Find{Ask: "q1", Number: "SHOP1-R1-00042-0007"},
		"found":        &wire.Found{Ask: "q1", Raw: []byte(`{"kind":"order"}`)},
		"found_none":   &wire.Found{Ask: "q2"},
		"ack": &wire.Ack{Cursor: point(1, 120), Stable: point(1, 90), Window: 4, Flags: []wire.Flag{
			{Place: entry.Place{Epoch: 1, Seq: 119}, Code: "unknown_product"},
		}},
		"ack_bare": &wire.Ack{Cursor: point(1, 120), Window: 1},
		"catalogue": &wire.Catalogue{Handle: "01JD.a", From: 99, To: 101, Things: []wire.Thing{
			{Kind: "product", ID: "p1", Revision: 100, Body: json.RawMessage(`{"code":"COF","name":"Coffee \u0026 milk","price":25000,"active":true}`)},
			{Kind: "tax", ID: "t1", Revision: 101, Deleted: true},
		}, Checksum: strings.Repeat("ab", 32)},
		"catalogue_snapshot": &wire.Catalogue{Handle: "01JD.a", To: 50, Snapshot: true, Things: []wire.Thing{}, More: true, Parts: true},
		"session":            &wire.SessionTold{Session: session},
		"session_close": &wire.SessionTold{Session: counted, Close: &pos.Close{
			Session: stamp.ID, Name: stamp.Name, By: pos.Person{ID: "m1", Name: "Mara"}, At: at, Reason: "went home", List: []byte("12345678abcdefgh"),
			Positions: []pos.Position{{Register: stamp.Register, Point: point(1, 100)}}, Orders: 2, Total: 4200, Posting: "2026-00057", PostingHash: "cd", Digest: "ef",
		}},
		"slow":  &wire.Slow{Milliseconds: 2500},
		"error": &wire.Error{Code: wire.CodeChain, Key: "sync.chain", Params: map[string]string{"register": "R1"}, Message: "The server holds something else."},
	}
}

func batches() map[string]*wire.Batch {
	return map[string]*wire.Batch{
		"batch_one":  {Epoch: 1, First: 1, Entries: [][]byte{[]byte(`{"seq":1}`)}},
		"batch_many": {Epoch: 3, First: 1 << 40, Entries: [][]byte{[]byte("a"), []byte("bc"), {0, 255}}},
	}
}

// files returns the golden files of an extension; a folder without any is an
// error, for a test over nothing proves nothing.
func files(t testing.TB, extension string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(golden, "*."+extension))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Fatalf("%s holds no *.%s", golden, extension)
	}
	all := map[string][]byte{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(name), "."+extension)] = data
	}
	return all
}

// write adds golden files that are missing. One that is there is a contract
// and is never written again.
func write(t *testing.T, file string, data []byte) {
	t.Helper()
	file = filepath.Join(golden, file)
	if _, err := os.Stat(file); !*update || err == nil {
		return
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMessagesAreWhatTheGoldenFilesSay(t *testing.T) {
	types := map[wire.Type]bool{}
	for name, m := range messages() {
		data, err := wire.Encode(m)
		if err != nil {
			t.Fatalf("Encode(%s) = %v", name, err)
		}
		write(t, name+".json", data)
		kind, _ := wire.TypeOf(m)
		types[kind] = true
		want, err := os.ReadFile(filepath.Join(golden, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, want) {
			t.Errorf("Encode(%s):\n%s\nwant\n%s", name, data, want)
		}
	}
	for _, kind := range []wire.Type{
		wire.TypeHello, wire.TypeWelcome, wire.TypeCloses, wire.TypeProbe, wire.TypePoints, wire.TypeFetch, wire.TypeRenew, wire.TypeEpoch,
		wire.TypeFind, wire.TypeFound, wire.TypeAck, wire.TypeCatalogue, wire.TypeSession, wire.TypeSlow, wire.TypeError,
	} {
		if !types[kind] {
			t.Errorf("no golden file of a %s", kind)
		}
	}
}

func TestGoldenMessagesDecodeAndEncodeToTheSameBytes(t *testing.T) {
	known := messages()
	for name, data := range files(t, "json") {
		m, err := wire.Decode(data)
		if err != nil {
			t.Errorf("Decode(%s) = %v", name, err)
			continue
		}
		again, err := wire.Encode(m)
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("Encode(Decode(%s)) = %s, %v, want\n%s", name, again, err, data)
		}
		if want, ok := known[name]; ok && reflect.TypeOf(want) != reflect.TypeOf(m) {
			t.Errorf("Decode(%s) is a %T, want %T", name, m, want)
		}
	}
}

func TestGoldenBatchesDecodeAndEncodeToTheSameBytes(t *testing.T) {
	for name, b := range batches() {
		data, err := wire.EncodeBatch(b)
		if err != nil {
			t.Fatalf("EncodeBatch(%s) = %v", name, err)
		}
		write(t, name+".bin", data)
	}
	known := batches()
	for name, data := range files(t, "bin") {
		b, err := wire.DecodeBatch(data)
		if err != nil {
			t.Errorf("DecodeBatch(%s) = %v", name, err)
			continue
		}
		if !reflect.DeepEqual(b, known[name]) {
			t.Errorf("DecodeBatch(%s) = %+v, want %+v", name, b, known[name])
		}
		again, err := wire.EncodeBatch(b)
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("EncodeBatch(DecodeBatch(%s)) = %x, %v, want %x", name, again, err, data)
		}
	}
}

func TestDecode(t *testing.T) {
	padded := func(kind string, size int) string {
		s := `{"type":"` + kind + `","x":"`
		return s + strings.Repeat("a", size-len(s)-2) + `"}`
	}
	tests := []struct {
		name, data string
		want       any
		err        error
	}{
		{"unknown fields are ignored", `{"type":"slow","ms":5,"later":{"a":[1]}}`, &wire.Slow{Milliseconds: 5}, nil},
		{"the type may stand anywhere", `{"ms":5,"type":"slow"}`, &wire.Slow{Milliseconds: 5}, nil},
		{"an unknown type is told apart", `{"type":"greet","x":1}`, wire.Unknown{Type: "greet"}, nil},
		{"no type", `{"ms":5}`, nil, wire.ErrMalformed},
		{"no object", `[]`, nil, wire.ErrMalformed},
		{"no JSON", `{"type":`, nil, wire.ErrMalformed},
		{"nothing", ``, nil, wire.ErrMalformed},
		{"something behind it", `{"type":"slow"} {}`, nil, wire.ErrMalformed},
		{"a field of another kind", `{"type":"slow","ms":"5"}`, nil, wire.ErrMalformed},
		{"a hash of another length", `{"type":"renew","base":{"hash":"00"}}`, nil, wire.ErrMalformed},
		{"a small message at its limit", padded("slow", wire.MaxControl), &wire.Slow{}, nil},
		{"a small message above its limit", padded("slow", wire.MaxControl+1), nil, wire.ErrTooLarge},
		{"a large message at its limit", padded("closes", wire.MaxLarge), &wire.Closes{}, nil},
		{"a large message above its limit", padded("closes", wire.MaxLarge+1), nil, wire.ErrTooLarge},
		{"an unknown message above every limit", padded("greet", wire.MaxLarge+1), nil, wire.ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wire.Decode([]byte(tt.data))
			if !errors.Is(err, tt.err) {
				t.Fatalf("Decode = %v, want %v", err, tt.err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Decode = %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestEncodeRefusesWhatIsNoMessageOrTooLarge(t *testing.T) {
	if data, err := wire.Encode(wire.Slow{}); err == nil {
		t.Errorf("Encode of a struct = %s, want an error: messages are pointers", data)
	}
	if _, err := wire.Encode(&wire.Error{Message: strings.Repeat("x", wire.MaxControl)}); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("Encode of a large error = %v, want %v", err, wire.ErrTooLarge)
	}
}

func entries(n, size int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = bytes.Repeat([]byte{byte(i)}, size)
	}
	return all
}

func TestBatchLimits(t *testing.T) {
	tests := []struct {
		name  string
		batch wire.Batch
		err   error
	}{
		{"nothing", wire.Batch{Epoch: 1, First: 1}, wire.ErrMalformed},
		{"256 entries", wire.Batch{Epoch: 1, First: 1, Entries: entries(256, 10)}, nil},
		{"257 entries", wire.Batch{Epoch: 1, First: 1, Entries: entries(257, 10)}, wire.ErrMalformed},
		{"an empty entry", wire.Batch{Epoch: 1, First: 1, Entries: [][]byte{{}}}, wire.ErrTooLarge},
		{"256 KiB", wire.Batch{Epoch: 1, First: 1, Entries: entries(2, 128<<10-4)}, nil},
		{"a byte more", wire.Batch{Epoch: 1, First: 1, Entries: append(entries(1, 128<<10-4), bytes.Repeat([]byte{1}, 128<<10-3))}, wire.ErrTooLarge},
		{"the largest wrap travels alone", wire.Batch{Epoch: 1, First: 1, Entries: entries(1, entry.MaxWrappedSize)}, nil},
		{"a larger one does not travel", wire.Batch{Epoch: 1, First: 1, Entries: entries(1, entry.MaxWrappedSize+1)}, wire.ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, err := wire.EncodeBatch(&tt.batch)
			if !errors.Is(err, tt.err) {
				t.Fatalf("EncodeBatch = %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if len(data) > wire.MaxFrame {
				t.Errorf("a frame of %d bytes, at most %d", len(data), wire.MaxFrame)
			}
			b, err := wire.DecodeBatch(data)
			if err != nil || b.Last() != tt.batch.Last() || len(b.Entries) != len(tt.batch.Entries) {
				t.Errorf("DecodeBatch = %v, want what was encoded", err)
			}
		})
	}
}

func TestFitsAgreesWithTheEncoder(t *testing.T) {
	for _, size := range []int{1, 100, 1020, 1023, 2000, 128<<10 - 4, 128<<10 - 3, 200 << 10, entry.MaxWrappedSize} {
		b := wire.Batch{Epoch: 1, First: 1}
		total := 0
		for wire.Fits(len(b.Entries), total, size) {
			b.Entries = append(b.Entries, make([]byte, size))
			total += wire.Size(size)
		}
		if _, err := wire.EncodeBatch(&b); err != nil {
			t.Errorf("%d entries of %d bytes fit, EncodeBatch = %v", len(b.Entries), size, err)
		}
		b.Entries = append(b.Entries, make([]byte, size))
		if _, err := wire.EncodeBatch(&b); err == nil {
			t.Errorf("%d entries of %d bytes do not fit, but are encoded", len(b.Entries), size)
		}
	}
}

func TestDecodeBatchRefuses(t *testing.T) {
	good, err := wire.EncodeBatch(&wire.Batch{Epoch: 1, First: 5, Entries: [][]byte{[]byte("abc"), []byte("de")}})
	if err != nil {
		t.Fatal(err)
	}
	change := func(at int, with ...byte) []byte {
		data := bytes.Clone(good)
		copy(data[at:], with)
		return data
	}
	tests := []struct {
		name string
		data []byte
		err  error
	}{
		{"another version", change(0, 2), wire.ErrMalformed},
		{"compression, kept for later", change(1, 1), wire.ErrMalformed},
		{"epoch 0", change(2, 0, 0, 0, 0, 0, 0, 0, 0), wire.ErrMalformed},
		{"sequence 0", change(10, 0, 0, 0, 0, 0, 0, 0, 0), wire.ErrMalformed},
		{"sequences that overflow", change(10, 255, 255, 255, 255, 255, 255, 255, 255), wire.ErrMalformed},
		{"no entry", change(18, 0, 0, 0, 0), wire.ErrMalformed},
		{"fewer entries than there are", change(18, 0, 0, 0, 1), wire.ErrMalformed},
		{"more entries than there are", change(18, 0, 0, 0, 3), wire.ErrMalformed},
		{"four billion entries", change(18, 255, 255, 255, 255), wire.ErrMalformed},
		{"a length beyond the frame", change(22, 0, 0, 0, 200), wire.ErrMalformed},
		{"a length beyond every limit", change(22, 255, 255, 255, 255), wire.ErrTooLarge},
		{"an empty entry", change(22, 0, 0, 0, 0), wire.ErrTooLarge},
		{"half a header", good[:20], wire.ErrMalformed},
		{"nothing", nil, wire.ErrMalformed},
		{"a frame beyond every limit", make([]byte, wire.MaxFrame+1), wire.ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if b, err := wire.DecodeBatch(tt.data); !errors.Is(err, tt.err) {
				t.Errorf("DecodeBatch = %v, %v, want %v", b, err, tt.err)
			}
		})
	}
	for n := range good {
		if _, err := wire.DecodeBatch(good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken", n, len(good))
		}
	}
}

func TestClosesAreSplit(t *testing.T) {
	if got := wire.SplitCloses(7, nil); len(got) != 0 {
		t.Errorf("SplitCloses of none = %v", got)
	}
	var all []wire.RawEntry
	for i, size := range []int{100, entry.MaxWrappedSize, entry.MaxWrappedSize, 10, entry.MaxCloseSize, 100 << 10, 100 << 10, 20} {
		all = append(all, wire.RawEntry{At: point(1, uint64(i+1)), Raw: bytes.Repeat([]byte{byte(i)}, size)})
	}
	var joined []wire.RawEntry
	for _, m := range wire.SplitCloses(7, all) {
		if _, err := wire.Encode(m); err != nil {
			t.Errorf("Encode of a part = %v", err)
		}
		if m.Waiting != 7 {
			t.Errorf("a part says that %d wait, want 7", m.Waiting)
		}
		joined = append(joined, m.Entries...)
	}
	if !reflect.DeepEqual(all, joined) {
		t.Error("the parts do not make the whole")
	}
}

func TestCatalogueIsSplitAndJoined(t *testing.T) {
	page := &wire.Catalogue{Handle: "h", From: 3, To: 4, Snapshot: true, Checksum: "c"}
	body, err := json.Marshal(map[string]string{"name": "<Käse & Brot>", "text": strings.Repeat("&", 300)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		page.Things = append(page.Things, wire.Thing{Kind: "product", ID: fmt.Sprint("p<", i), Revision: 4, Body: body})
	}
	parts := wire.SplitCatalogue(page)
	if len(parts) < 5 {
		t.Errorf("%d parts of some megabytes", len(parts))
	}
	var whole *wire.Catalogue
	for i, part := range parts {
		if part.Parts != (i < len(parts)-1) {
			t.Errorf("part %d of %d says parts=%t", i+1, len(parts), part.Parts)
		}
		data, err := wire.Encode(part)
		if err != nil {
			t.Fatalf("Encode of part %d = %v", i+1, err)
		}
		m, err := wire.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := m.(*wire.Catalogue)
		var ok bool
		if whole, ok = wire.JoinCatalogue(whole, got); !ok {
			t.Fatalf("part %d does not belong", i+1)
		}
	}
	if !reflect.DeepEqual(page, whole) {
		t.Errorf("the parts make another page: %d things, want %d", len(whole.Things), len(page.Things))
	}
	if _, ok := wire.JoinCatalogue(whole, &wire.Catalogue{Handle: "h", From: 4, To: 5}); ok {
		t.Error("a part of another page is taken")
	}
	small := &wire.Catalogue{Handle: "h", To: 1, Things: []wire.Thing{{Kind: "tax", ID: "t", Revision: 1}}}
	if got := wire.SplitCatalogue(small); len(got) != 1 || !reflect.DeepEqual(got[0], small) {
		t.Errorf("SplitCatalogue of a small page = %v, want it as it is", got)
	}
}

func TestNegotiate(t *testing.T) {
	tests := []struct {
		other, want int
		ok          bool
	}{{wire.Version, wire.Version, true}, {wire.Version + 5, wire.Version, true}, {wire.Oldest - 1, wire.Oldest - 1, false}, {0, 0, false}, {-1, -1, false}}
	for _, tt := range tests {
		if got, ok := wire.Negotiate(tt.other); got != tt.want || ok != tt.ok {
			t.Errorf("Negotiate(%d) = %d, %t, want %d, %t", tt.other, got, ok, tt.want, tt.ok)
		}
	}
	protocols := []struct {
		offered []string
		want    string
	}{
		{[]string{"tillandsia.sync.v9", "tillandsia.sync.v1"}, "tillandsia.sync.v1"},
		{[]string{"chat"}, ""},
		{nil, ""},
	}
	for _, tt := range protocols {
		if got := wire.CommonSubprotocol(tt.offered); got != tt.want {
			t.Errorf("CommonSubprotocol(%v) = %q, want %q", tt.offered, got, tt.want)
		}
	}
}

// FuzzDecode: no panic, and what decodes encodes, to bytes that decode to the
// same again.
func FuzzDecode(f *testing.F) {
	for _, data := range files(f, "json") {
		f.Add(data)
	}
	f.Add([]byte(`{"type":"greet"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := wire.Decode(data)
		if err != nil {
			return
		}
		if _, ok := m.(wire.Unknown); ok {
			return
		}
		first, err := wire.Encode(m)
		if errors.Is(err, wire.ErrTooLarge) {
			return // escapes may make it longer
		}
		if err != nil {
			t.Fatalf("Encode(Decode(%q)) = %v", data, err)
		}
		again, err := wire.Decode(first)
		if err != nil {
			t.Fatalf("Decode(%q) = %v", first, err)
		}
		second, err := wire.Encode(again)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("encoded again: %q, %v, want %q", second, err, first)
		}
	})
}

// FuzzDecodeBatch: no panic, and what decodes encodes to the same bytes.
func FuzzDecodeBatch(f *testing.F) {
	for _, data := range files(f, "bin") {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := wire.DecodeBatch(data)
		if err != nil {
			return
		}
		again, err := wire.EncodeBatch(b)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("EncodeBatch(DecodeBatch(%x)) = %x, %v", data, again, err)
		}
	})
}
