package pos_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestNumbersAndNames(t *testing.T) {
	tests := []struct{ name, got, want string }{
		{"a session is counted by the register that opens it", pos.SessionName("SHOP1", "R1", 42), "SHOP1/R1/00042"},
		{"a receipt in its own session names the register once", pos.ReceiptNumber("SHOP1", "R1", "SHOP1/R1/00042", 7), "SHOP1-R1-00042-0007"},
		{"a receipt in another's session names both", pos.ReceiptNumber("SHOP1", "R2", "SHOP1/R1/00042", 3), "SHOP1-R2-R1.00042-0003"},
		{"W10: a new series in a session of the old one", pos.ReceiptNumber("SHOP1", "R1.K7M", "SHOP1/R1/00042", 1), "SHOP1-R1.K7M-R1.00042-0001"},
		{"W10: the next session bears the tag", pos.SessionName("SHOP1", "R1.K7M", 1), "SHOP1/R1.K7M/00001"},
		{"a receipt in a session of its own new series", pos.ReceiptNumber("SHOP1", "R1.K7M", "SHOP1/R1.K7M/00001", 1), "SHOP1-R1.K7M-00001-0001"},
		{"the first rescue", pos.RescueName("SHOP1/R1/00042", 1), "(RESCUE FOR SHOP1/R1/00042)"},
		{"the second rescue", pos.RescueName("SHOP1/R1/00042", 2), "(RESCUE FOR SHOP1/R1/00042) #2"},
		{"numbers above their width are not cut", pos.ReceiptNumber("A", "R", "A/R/123456", 12345), "A-R-123456-12345"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("got %s, want %s", tt.got, tt.want)
			}
		})
	}
}

func TestValidCode(t *testing.T) {
	for code, want := range map[string]bool{
		"R1": true, "SHOP1": true, "A": true, "12345678": true,
		"": false, "r1": false, "R 1": false, "R1.K7M": false, "123456789": false, "Ä": false, "R1\n": false,
	} {
		if got := pos.ValidCode(code); got != want {
			t.Errorf("ValidCode(%q) = %v, want %v", code, got, want)
		}
	}
}

// Derived ids follow from what they name alone, and differ where it differs.
func TestDerivedIDs(t *testing.T) {
	const root = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	ids := map[string]string{}
	for what, id := range map[string]string{
		"first rescue":  pos.RescueID(root, 1),
		"second rescue": pos.RescueID(root, 2),
		"of another":    pos.RescueID("01BX5ZZKBKACTAV9WEVGEMMVRZ", 1),
		"recovered":     pos.RecoveredID(root, "01BX5ZZKBKACTAV9WEVGEMMVRZ"),
	} {
		if len(id) != 26 {
			t.Errorf("id of %s is %q", what, id)
		}
		if other, twice := ids[id]; twice {
			t.Errorf("%s and %s have one id", what, other)
		}
		ids[id] = what
	}
	again := pos.RescueID(root, 1)
	if ids[again] != "first rescue" {
		t.Error("two servers would make two rescues")
	}
}

// bodies are one of each kind's body with every part of it in use.
func bodies() map[entry.Kind]any {
	at := time.Date(2026, 11, 24, 9, 30, 0, 123456789, time.UTC)
	stamp := pos.Stamp{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Name: "SHOP1/R1/00042", Register: "01ARZ3NDEKTSV4RRFFQ69G5FAA", By: "u1", At: at, BusinessDate: "2026-11-24"}
	carla, maria := pos.Person{ID: "u1", Name: "Carla"}, pos.Person{ID: "u2", Name: "Maria"}
	eur := money.Currency{Code: "EUR", Digits: 2}
	order := pos.Order{
		ID: "01ARZ3NDEKTSV4RRFFQ69G5FB0", Session: stamp, Number: "SHOP1-R1-00042-0007", Ordinal: 7, User: carla, Approver: &maria,
		Customer: &pos.Customer{ID: "c1", Name: "Ada"}, Rules: money.Rules{Currency: eur, CashRounding: 5}, Catalogue: 12,
		Lines: []pos.Line{{
			ID: "1", Product: "p1", Code: "water", Name: "Water", Qty: 2000, Price: 50_000, Discount: money.Discount{Rate: 100_000},
			TaxIDs: []string{"t20"}, Account: "income:sales", Overridden: true, Note: "cold",
			LineSums: money.LineSums{Amount: 900, Net: 750, Taxes: []money.TaxSum{{Tax: "t20", Amount: 150}}, Total: 900},
			Refund:   &pos.LineRef{Order: "o0", Line: "1", Number: "SHOP1-R1-00041-0001"},
		}},
		Discount: money.Discount{Amount: 1}, TaxRates: []money.Tax{{ID: "t20", Name: "VAT 20", Rate: 200_000, Included: true, Account: "liabilities:tax"}},
		Net: 750, Taxes: []money.TaxSum{{Tax: "t20", Amount: 150}}, Total: 900,
		Payments: []pos.Payment{{ID: "1", Method: "cash", Name: "Cash", Kind: pos.MethodCash, Account: "assets:cash", Amount: 1000, Reference: "r"}},
		Change:   100, Rounding: 0, RoundingAccount: "expenses:rounding", ChangeMethod: "cash", Reason: "no receipt", Note: "table 4",
	}
	methods := []pos.Method{{ID: "cash", Name: "Cash", Kind: pos.MethodCash, Account: "assets:cash"}}
	counts := []pos.Count{{Method: "cash", Amount: 900, Sheet: []pos.Pile{{Value: 100, Count: 9}}}}
	counted := money.Amount(900)
	z := pos.Z{
		Number: 3, From: at, To: at, Software: "register 0.1.0", First: "SHOP1-R1-00042-0001", Last: "SHOP1-R1-00042-0007",
		Period:    pos.ZSums{Sales: 7, Refunds: 1, SalesTotal: 900, RefundsTotal: -10, Net: 740, Taxes: []money.TaxSum{{Tax: "t20", Amount: 150}}, Receipts: 1, ReceiptsSum: 5, Rounding: 1},
		Perpetual: pos.ZSums{Sales: 70, SalesTotal: 9000},
		Methods:   []pos.ZMethod{{Method: "cash", Name: "Cash", Opening: 100, Taken: 890, Moves: -5, Counted: &counted, Drop: 800}},
	}
	drop := &pos.Drop{Amount: 800, Method: "cash", CashAccount: "assets:cash", Reason: pos.Reason{ID: "safe", Name: "To the safe", Account: "assets:safe"}}
	point := entry.Point{Epoch: 1, Seq: 9, Hash: entry.HashOf([]byte("x"))}
	event := pos.Event{Session: &stamp, User: &carla, Approver: &maria, Order: "o1", Line: "1", Product: "p1", Name: "Water", Qty: 1000, Amount: 5, Reason: "why", Copy: 1, Tries: 2, Detail: "d"}
	all := map[entry.Kind]any{
		entry.KindBegun:    &pos.Begun{Nonce: "n", Base: point, Software: "register 0.1.0", Copy: true},
		entry.KindSeries:   &pos.SeriesBegun{Tag: "K7M", Old: "A1B", LastReceipt: "SHOP1-R1-00042-0100", LastSession: "SHOP1/R1/00042", LastZ: 3, Why: "copy"},
		entry.KindOpened:   &pos.Opened{Session: stamp, User: carla, Methods: methods, Drawer: true, CashControl: true, CashMethod: "cash", Float: 100, Brought: 100, MaxDifference: 10, Sheet: counts[0].Sheet, Note: "n"},
		entry.KindJoined:   &pos.Joined{Session: stamp, User: carla, Methods: methods, Drawer: true, CashControl: true, CashMethod: "cash", Float: 80, Brought: 80, Sheet: counts[0].Sheet, Note: "n"},
		entry.KindLeft:     &pos.Left{Session: stamp, User: carla, Approver: &maria, Reason: "r", Counts: counts, MaxDifference: 10, Drop: drop, Z: z, Note: "n"},
		entry.KindCounted:  &pos.Counted{Session: stamp, User: carla, Counts: counts, Attempt: 2, Leaving: true},
		entry.KindClosed:   &pos.Closed{Session: stamp, User: carla, Approver: &maria, Reason: "r", Counts: counts, MaxDifference: 10, Drop: drop, Z: z, Note: "n"},
		entry.KindOrder:    &order,
		entry.KindTraining: &order,
		entry.KindReceipt: &pos.Receipt{
			ID: "r1", Session: stamp, Number: "SHOP1-R1-00042-0008", Ordinal: 8, Series: "K7M", User: carla, Customer: pos.Customer{ID: "c1", Name: "Ada"},
			Receivable: "assets:receivable", Amount: 500, Payments: order.Payments, Change: 500, Rounding: 1, RoundingAccount: "a", ChangeMethod: "cash",
		},
		entry.KindMove:    &pos.Move{ID: "m1", Session: &stamp, User: carla, Approver: &maria, Method: "cash", CashAccount: "assets:cash", Amount: -5000, Reason: drop.Reason, Drop: true, Note: "n"},
		entry.KindRebased: &pos.Rebased{Op: "o1", At: point, Original: []byte(`{"x":1}`)},
		entry.KindClose: &pos.Close{
			Session: stamp.ID, Name: stamp.Name, Root: "root", Ordinal: 1, By: maria, At: at, Reason: "r", CloseOut: true, List: []byte("12345678"),
			Positions: []pos.Position{{Register: "r1", Point: point}}, Orders: 7, Total: 900,
			Methods: []pos.MethodTotal{{Register: "r1", Method: "cash", Expected: 900, Counted: &counted, Difference: 0, Closing: 900}},
			Posting: "2026-00057", PostingHash: "h", Digest: "d", Before: []string{"b"},
		},
	}
	for _, kind := range []entry.Kind{
		entry.KindSignedIn, entry.KindLocked, entry.KindPINFailed, entry.KindLockedOut, entry.KindContinued, entry.KindOfficeSignedIn,
		entry.KindScreensEnded, entry.KindPriceOverridden, entry.KindDiscounted, entry.KindLineVoided, entry.KindCartDiscarded,
		entry.KindDrawerOpened, entry.KindReprinted, entry.KindTrainingOn, entry.KindTrainingOff, entry.KindSettingsApplied, entry.KindClockJumped,
	} {
		all[kind] = &event
	}
	return all
}

// The files in testdata/v1 freeze the journal's format: what was ever written
// is read for ever, and read again gives the same bytes.
func TestBodiesAreFrozen(t *testing.T) {
	for kind, body := range bodies() {
		t.Run(string(kind), func(t *testing.T) {
			file := filepath.Join("testdata", "v1", string(kind)+".json")
			data, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, append(data, '\n'), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden = bytes.TrimSuffix(golden, []byte("\n"))
			if !bytes.Equal(data, golden) {
				t.Errorf("encoded\n%s\nfrozen\n%s", data, golden)
			}
			if err := json.Unmarshal(golden, body); err != nil {
				t.Fatal(err)
			}
			again, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, golden) {
				t.Errorf("read and written again\n%s\nfrozen\n%s", again, golden)
			}
		})
	}
}
