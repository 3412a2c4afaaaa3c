package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// The audit reads the bytes of the journal by types of its own: they name the
// fields that it needs, and nothing of the programs that wrote them.

// place is a place in a register's journal.
type place struct {
	Epoch int64 `json:"epoch"`
	Seq   int64 `json:"seq"`
}

func (p place) less(q place) bool { return p.Epoch < q.Epoch || p.Epoch == q.Epoch && p.Seq < q.Seq }

func (p place) String() string { return fmt.Sprintf("%d/%d", p.Epoch, p.Seq) }

type point struct {
	place
	Hash string `json:"hash"` // hex
}

type envelope struct {
	PointOfSale string          `json:"pos"`
	Register    string          `json:"register"`
	Epoch       int64           `json:"epoch"`
	Seq         int64           `json:"seq"`
	Op          string          `json:"op"`
	Prev        string          `json:"prev"`
	At          time.Time       `json:"at"`
	Kind        string          `json:"kind"`
	Body        json.RawMessage `json:"body"`
}

type stamp struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	Register     string    `json:"register"`
	By           string    `json:"by"`
	At           time.Time `json:"at"`
	BusinessDate string    `json:"business_date"`
}

type person struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type taxSum struct {
	Tax    string `json:"tax"`
	Amount int64  `json:"amount"`
}

type tender struct {
	Method    string `json:"method"`
	Kind      string `json:"kind"`
	Account   string `json:"account"`
	Amount    int64  `json:"amount"`
	Reference string `json:"reference"`
}

type orderLine struct {
	ID       string   `json:"id"`
	Product  string   `json:"product"`
	Name     string   `json:"name"`
	Category string   `json:"category"`
	Qty      int64    `json:"qty"`
	Price    int64    `json:"price"`
	TaxIDs   []string `json:"tax_ids"`
	Account  string   `json:"account"`
	Net      int64    `json:"net"`
	Taxes    []taxSum `json:"taxes"`
	Total    int64    `json:"total"`
	Refund   *struct {
		Order string `json:"order"`
		Line  string `json:"line"`
	} `json:"refund"`
}

type order struct {
	ID       string  `json:"id"`
	Session  stamp   `json:"session"`
	Number   string  `json:"number"`
	User     person  `json:"user"`
	Approver *person `json:"approver"`
	Customer *person `json:"customer"`
	Rules    struct {
		Currency struct {
			Code string `json:"code"`
		} `json:"currency"`
	} `json:"rules"`
	Catalogue int64       `json:"catalogue"`
	Lines     []orderLine `json:"lines"`
	TaxRates  []struct {
		ID      string `json:"id"`
		Account string `json:"account"`
	} `json:"tax_rates"`
	Net             int64    `json:"net"`
	Taxes           []taxSum `json:"taxes"`
	Total           int64    `json:"total"`
	Payments        []tender `json:"payments"`
	Change          int64    `json:"change"`
	Rounding        int64    `json:"rounding"`
	RoundingAccount string   `json:"rounding_account"`
	ChangeMethod    string   `json:"change_method"`
}

type receipt struct {
	ID              string   `json:"id"`
	Session         stamp    `json:"session"`
	Number          string   `json:"number"`
	User            person   `json:"user"`
	Customer        person   `json:"customer"`
	Receivable      string   `json:"receivable"`
	Amount          int64    `json:"amount"`
	Payments        []tender `json:"payments"`
	Change          int64    `json:"change"`
	Rounding        int64    `json:"rounding"`
	RoundingAccount string   `json:"rounding_account"`
	ChangeMethod    string   `json:"change_method"`
}

type reason struct {
	Name    string `json:"name"`
	Account string `json:"account"`
}

type move struct {
	ID          string `json:"id"`
	Session     *stamp `json:"session"`
	User        person `json:"user"`
	Method      string `json:"method"`
	CashAccount string `json:"cash_account"`
	Amount      int64  `json:"amount"`
	Reason      reason `json:"reason"`
	Note        string `json:"note"`
}

// opened is the body of opening and of joining.
type opened struct {
	Session       stamp  `json:"session"`
	User          person `json:"user"`
	Drawer        bool   `json:"drawer"`
	CashControl   bool   `json:"cash_control"`
	CashMethod    string `json:"cash_method"`
	Float         int64  `json:"float"`
	MaxDifference int64  `json:"max_difference"`
	Methods       []struct {
		ID      string `json:"id"`
		Account string `json:"account"`
	} `json:"methods"`
}

type count struct {
	Method string `json:"method"`
	Amount int64  `json:"amount"`
}

// closed is the body of a count, a close-out and a leaving.
type closed struct {
	Session stamp   `json:"session"`
	User    person  `json:"user"`
	Counts  []count `json:"counts"`
	Attempt int64   `json:"attempt"`
	Drop    *struct {
		Amount      int64  `json:"amount"`
		Method      string `json:"method"`
		CashAccount string `json:"cash_account"`
		Reason      reason `json:"reason"`
	} `json:"drop"`
	Z zReport `json:"z"`
}

type zSums struct {
	Sales        int64    `json:"sales"`
	Refunds      int64    `json:"refunds"`
	Receipts     int64    `json:"receipts"`
	SalesTotal   int64    `json:"sales_total"`
	RefundsTotal int64    `json:"refunds_total"`
	Net          int64    `json:"net"`
	Taxes        []taxSum `json:"taxes"`
	Rounding     int64    `json:"rounding"`
	ReceiptsSum  int64    `json:"receipts_sum"`
}

type zReport struct {
	Number    int64     `json:"number"`
	Series    string    `json:"series"`
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Period    zSums     `json:"period"`
	Perpetual zSums     `json:"perpetual"`
	Methods   []struct {
		Method  string `json:"method"`
		Name    string `json:"name"`
		Opening int64  `json:"opening"`
		Taken   int64  `json:"taken"`
		Moves   int64  `json:"moves"`
		Counted *int64 `json:"counted"`
		Drop    int64  `json:"drop"`
	} `json:"methods"`
	Software string `json:"software"`
	First    string `json:"first"`
	Last     string `json:"last"`
}

type begun struct {
	Nonce string `json:"nonce"`
	Base  point  `json:"base"`
}

// closeRecord is the record of a close, as the server keeps it and as the
// registers journal it.
type closeRecord struct {
	Session   string    `json:"session"`
	Name      string    `json:"name"`
	Root      string    `json:"root"`
	Ordinal   int64     `json:"ordinal"`
	By        person    `json:"by"`
	At        time.Time `json:"at"`
	Reason    string    `json:"reason"`
	CloseOut  bool      `json:"close_out"`
	List      []byte    `json:"list"`
	Positions []struct {
		Register string `json:"register"`
		point
	} `json:"positions"`
	Orders  int64 `json:"orders"`
	Total   int64 `json:"total"`
	Methods []struct {
		Register   string `json:"register"`
		Method     string `json:"method"`
		Expected   int64  `json:"expected"`
		Counted    *int64 `json:"counted"`
		Difference int64  `json:"difference"`
		Closing    int64  `json:"closing"`
	} `json:"methods"`
	Posting     string   `json:"posting"`
	PostingHash string   `json:"posting_hash"`
	Digest      string   `json:"digest"`
	Before      []string `json:"before"`
}

// event is the body of what moves no money and no state.
type event struct {
	Session *stamp  `json:"session"`
	User    *person `json:"user"`
}

// The kinds of entries that the audit knows by name.
const (
	kindBegun    = "begun"
	kindOpened   = "opened"
	kindJoined   = "joined"
	kindLeft     = "left"
	kindCounted  = "counted"
	kindClosed   = "closed"
	kindOrder    = "order"
	kindReceipt  = "receipt"
	kindMove     = "move"
	kindRebased  = "rebased"
	kindClose    = "close"
	kindTraining = "training"
)

// record is an entry as its bytes say.
type record struct {
	envelope          // as it stands in the journal
	content  [32]byte // hash of the innermost original
	wrapped  bool     //
	op       string   // of the innermost original, as are the next
	kind     string   //
	at       int64    // microseconds
	body     any      // nil where it is not understood
	stamp    *stamp   // nil without
	counted  bool     // its money or its doing counts: set from the outcome
	counts   []count  // of a count, a close-out or a leaving
	tenders  []tender // of an order or a receipt
	change   int64    //
	back     string   // method of the change
	customer string   // of an order or a receipt
}

var (
	errNoEntry    = errors.New("no entry")
	errWrapInWrap = errors.New("a wrap of a wrap")
)

// nul is how JSON writes the one character that PostgreSQL's texts cannot
// hold: columns have U+FFFD in its place.
var nul, instead = []byte(`\u0000`), []byte(`\ufffd`)

// decode reads an entry. An error means that the bytes are no entry at all.
func decode(raw []byte) (*record, error) {
	r := &record{content: sha256.Sum256(raw)}
	if err := json.Unmarshal(bytes.ReplaceAll(raw, nul, instead), &r.envelope); err != nil {
		return nil, err
	}
	if r.Op == "" || r.Kind == "" {
		return nil, errNoEntry
	}
	r.op, r.kind, r.at = r.Op, r.Kind, micro(r.At)
	inner := &r.envelope
	if r.Kind == kindRebased {
		var err error
		if inner, err = r.unwrap(); err != nil {
			return r, nil //nolint:nilerr // not understood; the outcome has to say so
		}
	}
	r.read(inner)
	return r, nil
}

func (r *record) unwrap() (*envelope, error) {
	r.wrapped = true
	var wrap struct {
		Original []byte `json:"original"`
	}
	if err := json.Unmarshal(r.Body, &wrap); err != nil {
		return nil, err
	}
	r.content = sha256.Sum256(wrap.Original)
	var inner envelope
	if err := json.Unmarshal(bytes.ReplaceAll(wrap.Original, nul, instead), &inner); err != nil {
		return nil, err
	}
	if inner.Kind == kindRebased {
		return nil, errWrapInWrap
	}
	r.op, r.kind, r.at = inner.Op, inner.Kind, micro(inner.At)
	return &inner, nil
}

func (r *record) read(e *envelope) {
	switch e.Kind {
	case kindOrder, kindTraining:
		if b := into[order](r, e); b != nil {
			r.stamp, r.tenders, r.change, r.back = &b.Session, b.Payments, b.Change, b.ChangeMethod
			if b.Customer != nil {
				r.customer = b.Customer.ID
			}
		}
	case kindReceipt:
		if b := into[receipt](r, e); b != nil {
			r.stamp, r.tenders, r.change, r.back, r.customer = &b.Session, b.Payments, b.Change, b.ChangeMethod, b.Customer.ID
		}
	case kindMove:
		if b := into[move](r, e); b != nil {
			r.stamp = b.Session
		}
	case kindOpened, kindJoined:
		if b := into[opened](r, e); b != nil {
			r.stamp = &b.Session
		}
	case kindCounted, kindClosed, kindLeft:
		if b := into[closed](r, e); b != nil {
			r.stamp, r.counts = &b.Session, b.Counts
		}
	case kindBegun:
		into[begun](r, e)
	case kindClose:
		into[closeRecord](r, e)
	default:
		if b := into[event](r, e); b != nil {
			r.stamp = b.Session
		}
	}
	if r.stamp != nil && r.stamp.ID == "" {
		r.stamp = nil
	}
}

func into[T any](r *record, e *envelope) *T {
	var body T
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return nil
	}
	r.body = &body
	return &body
}

// movesMoney reports whether the entry is booked somewhere by itself.
func (r *record) movesMoney() bool {
	return r.kind == kindOrder || r.kind == kindReceipt || r.kind == kindMove
}

// stamped returns the id of the session that the entry names, "" without.
func (r *record) stamped() string {
	if r.stamp == nil {
		return ""
	}
	return r.stamp.ID
}

// paid is a tender net of the change that was given back of it.
type paid struct {
	tender
	net int64
}

// paid returns the tenders of an order or receipt net of change. Change comes
// back of the first tender of the method that is named for it, else of the
// first that is cash, else of the first.
func (r *record) paid() []paid {
	list := make([]paid, len(r.tenders))
	back := -1
	for i, t := range r.tenders {
		list[i] = paid{t, t.Amount}
		if back < 0 && t.Method == r.back {
			back = i
		}
	}
	for i, t := range r.tenders {
		if back < 0 && t.Kind == "cash" {
			back = i
		}
	}
	if back < 0 && len(list) > 0 {
		back = 0
	}
	if back >= 0 && r.change != 0 {
		net := amount{n: list[back].net}
		net.add(-r.change)
		list[back].net = net.value()
	}
	return list
}

func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// crockford is how ids are written.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// derivedID is the id that follows from a text: the first 16 bytes of its
// SHA-256, written as a ULID, 130 bits of which the first two are 0.
func derivedID(text string) string {
	sum := sha256.Sum256([]byte(text))
	// base32 writes from the front: 26 digits are 130 bits.
	var shifted [17]byte
	for i := range 17 {
		if i < 16 {
			shifted[i] |= sum[i] >> 2
		}
		if i > 0 {
			shifted[i] |= sum[i-1] << 6
		}
	}
	return crockford.EncodeToString(shifted[:])[:26]
}

// amount is a sum that knows when it does not fit any more; it equals nothing
// then.
type amount struct {
	n    int64
	over bool
}

func (a *amount) add(n int64) {
	s := a.n + n
	if (n > 0 && s < a.n) || (n < 0 && s > a.n) {
		a.over = true
		return
	}
	a.n = s
}

func (a *amount) sub(n int64) {
	if n == math.MinInt64 {
		a.over = true
		return
	}
	a.add(-n)
}

func (a *amount) plus(b amount) {
	a.add(b.n)
	a.over = a.over || b.over
}

// is reports whether the sum is n.
func (a amount) is(n int64) bool { return !a.over && a.n == n }

// equals reports whether two sums are the same.
func (a amount) equals(b amount) bool { return !a.over && !b.over && a.n == b.n }

// value returns the sum, as far as it goes.
func (a amount) value() int64 { return a.n }

func (a amount) String() string {
	if a.over {
		return "∞"
	}
	return number(a.n)
}

// sum adds up amounts.
func sum(ns ...int64) amount {
	var a amount
	for _, n := range ns {
		a.add(n)
	}
	return a
}
