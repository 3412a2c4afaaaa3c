package ledger

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/syncserver/internal/store"
)

// item is an entry of a batch, decoded once, before the transaction: nothing
// in it is changed afterwards.
type item struct {
	raw     []byte
	hash    entry.Hash
	entry   entry.Entry // as it stands in the journal
	content entry.Hash  // of the innermost original
	wrapped bool

	// What the innermost original says.
	op   string
	kind entry.Kind
	at   time.Time

	body  any        // as the kind carries it, nil where it is not understood
	stamp *pos.Stamp // session that it is stamped with, nil without
	user  *pos.Person
	// wrong is why the body is not understood, "" where it is.
	wrong string
}

func (it *item) place() entry.Place { return it.entry.Place() }

func (it *item) key(pointOfSale, register string) store.JournalKey {
	return store.JournalKey{PointOfSale: pointOfSale, Register: register, Place: it.place()}
}

// decode reads an entry. An error means that the bytes are no entry at all;
// anything else that is wrong stands in the item.
func decode(raw []byte) (item, error) {
	e, err := entry.Decode(clean(raw))
	if err != nil {
		return item{}, err
	}
	it := item{raw: raw, hash: entry.HashOf(raw), entry: e, op: e.Op, kind: e.Kind, at: e.At}
	it.content = it.hash
	inner := &it.entry
	if e.Kind == entry.KindRebased {
		it.wrapped = true
		inner = it.unwrap()
	}
	if inner != nil {
		it.read(inner)
	}
	it.bound()
	return it, nil
}

// nul is how JSON writes the one character that a text in PostgreSQL cannot
// hold. It is read as U+FFFD; the bytes that are stored stay what they are.
var nul = []byte(`\u0000`)

func clean(raw []byte) []byte {
	if !bytes.Contains(raw, nul) {
		return raw
	}
	return bytes.ReplaceAll(raw, nul, []byte(`\ufffd`))
}

// maxKey is the longest text that may become part of a key of a table, in
// bytes; an honest register's are a quarter of it.
const maxKey = 128

// maxAmount is the largest amount that is believed, in minor units: a million
// of them still add up in 64 bits. maxQty is that of a quantity.
const (
	maxAmount = 10_000_000_000_000
	maxQty    = maxAmount
)

// bound refuses to understand texts that are too long for a key and numbers
// that are too large for a column: stored they would stop the whole batch.
func (it *item) bound() {
	if len(it.op) > maxKey {
		it.op = derived("op", it.op)
		it.refuse("the operation id is too long")
	}
	if len(it.kind) > maxKey {
		it.kind = it.kind[:maxKey]
		it.refuse("unknown kind")
	}
	if it.body == nil {
		return
	}
	ok := true
	keys := func(texts ...string) {
		for _, t := range texts {
			ok = ok && len(t) <= maxKey
		}
	}
	amounts := func(list ...money.Amount) {
		for _, a := range list {
			ok = ok && a <= maxAmount && a >= -maxAmount
		}
	}
	if s := it.stamp; s != nil {
		keys(s.ID, s.Name, s.Register, s.By, s.BusinessDate)
	}
	if it.user != nil {
		keys(it.user.ID)
	}
	counts := func(list []pos.Count) {
		for i := range list {
			keys(list[i].Method)
			amounts(list[i].Amount)
		}
	}
	methods := func(list []pos.Method) {
		for i := range list {
			keys(list[i].ID, list[i].Account)
		}
	}
	drop := func(d *pos.Drop) {
		if d != nil {
			keys(d.Method, d.CashAccount, d.Reason.ID, d.Reason.Account)
			amounts(d.Amount)
		}
	}
	payments := func(list []pos.Payment) {
		for i := range list {
			keys(list[i].ID, list[i].Method, list[i].Account, string(list[i].Kind), list[i].Reference)
			amounts(list[i].Amount)
		}
	}
	switch b := it.body.(type) {
	case *pos.Order:
		keys(b.ID, b.Number, b.RoundingAccount, b.ChangeMethod)
		amounts(b.Net, b.Total, b.Change, b.Rounding)
		for _, t := range b.Taxes {
			amounts(t.Amount)
		}
		if b.Customer != nil {
			keys(b.Customer.ID)
		}
		payments(b.Payments)
		for i := range b.TaxRates {
			keys(b.TaxRates[i].ID, b.TaxRates[i].Account)
		}
		for i := range b.Lines {
			line := &b.Lines[i]
			keys(line.ID, line.Product, line.Category, line.Account)
			for _, id := range line.TaxIDs {
				keys(id)
			}
			amounts(line.Amount, line.Net, line.Total, line.OrderDiscount)
			for _, sum := range line.Taxes {
				keys(sum.Tax)
				amounts(sum.Amount)
			}
			ok = ok && line.Qty <= maxQty && line.Qty >= -maxQty
			if line.Refund != nil {
				keys(line.Refund.Order, line.Refund.Line)
			}
		}
		ok = ok && b.Catalogue <= math.MaxInt64
	case *pos.Receipt:
		keys(b.ID, b.Number, b.Receivable, b.Customer.ID, b.RoundingAccount, b.ChangeMethod)
		amounts(b.Amount, b.Change, b.Rounding)
		payments(b.Payments)
	case *pos.Move:
		keys(b.ID, b.Method, b.CashAccount, b.Reason.ID, b.Reason.Account)
		amounts(b.Amount)
	case *pos.Opened:
		keys(b.CashMethod)
		amounts(b.Float)
		methods(b.Methods)
	case *pos.Joined:
		keys(b.CashMethod)
		amounts(b.Float)
		methods(b.Methods)
	case *pos.Counted:
		counts(b.Counts)
		ok = ok && b.Attempt >= 0 && b.Attempt < math.MaxInt32
	case *pos.Closed:
		counts(b.Counts)
		drop(b.Drop)
		keys(b.Z.Series)
		ok = ok && b.Z.Number >= 0 && b.Z.Number < math.MaxInt32
	case *pos.Left:
		counts(b.Counts)
		drop(b.Drop)
		keys(b.Z.Series)
		ok = ok && b.Z.Number >= 0 && b.Z.Number < math.MaxInt32
	case *pos.Close:
		keys(b.Session, b.Root)
	default:
	}
	if !ok {
		it.refuse("a text or number is out of bounds")
	}
}

func (it *item) refuse(why string) {
	it.body, it.stamp, it.user, it.wrong = nil, nil, nil, why
}

// unwrap reads the original inside a wrap, nil where it cannot be read.
func (it *item) unwrap() *entry.Entry {
	wrap, err := entry.Body[pos.Rebased](&it.entry)
	if err != nil {
		it.wrong = err.Error()
		return nil
	}
	it.content = entry.HashOf(wrap.Original)
	original, err := entry.Decode(clean(wrap.Original))
	switch {
	case err != nil:
		it.wrong = err.Error()
		return nil
	case original.Kind == entry.KindRebased:
		it.wrong = "a wrap of a wrap"
		return nil
	}
	it.op, it.kind, it.at = original.Op, original.Kind, original.At
	return &original
}

// read decodes the body by its kind. A panic inside counts as not understood.
func (it *item) read(e *entry.Entry) {
	defer func() {
		if p := recover(); p != nil {
			it.refuse(fmt.Sprint(p))
		}
	}()
	var err error
	switch e.Kind {
	case entry.KindOrder, entry.KindTraining:
		err = readBody(it, e, func(b *pos.Order) (*pos.Stamp, *pos.Person) { return &b.Session, &b.User })
	case entry.KindReceipt:
		err = readBody(it, e, func(b *pos.Receipt) (*pos.Stamp, *pos.Person) { return &b.Session, &b.User })
	case entry.KindMove:
		err = readBody(it, e, func(b *pos.Move) (*pos.Stamp, *pos.Person) { return b.Session, &b.User })
	case entry.KindOpened:
		err = readBody(it, e, func(b *pos.Opened) (*pos.Stamp, *pos.Person) { return &b.Session, &b.User })
	case entry.KindJoined:
		err = readBody(it, e, func(b *pos.Joined) (*pos.Stamp, *pos.Person) { return &b.Session, &b.User })
	case entry.KindLeft:
		err = readBody(it, e, func(b *pos.Left) (*pos.Stamp, *pos.Person) { return &b.Session, &b.User })
	case entry.KindCounted:
		err = readBody(it, e, func(b *pos.Counted) (*pos.Stamp, *pos.Person) { return &b.Session, &b.User })
	case entry.KindClosed:
		err = readBody(it, e, func(b *pos.Closed) (*pos.Stamp, *pos.Person) { return &b.Session, &b.User })
	case entry.KindBegun:
		err = readBody[pos.Begun](it, e, nil)
	case entry.KindSeries:
		err = readBody[pos.SeriesBegun](it, e, nil)
	case entry.KindClose:
		err = readBody[pos.Close](it, e, nil)
	case entry.KindSignedIn, entry.KindLocked, entry.KindPINFailed, entry.KindLockedOut, entry.KindContinued,
		entry.KindOfficeSignedIn, entry.KindScreensEnded, entry.KindPriceOverridden, entry.KindDiscounted,
		entry.KindLineVoided, entry.KindCartDiscarded, entry.KindDrawerOpened, entry.KindReprinted,
		entry.KindTrainingOn, entry.KindTrainingOff, entry.KindSettingsApplied, entry.KindClockJumped:
		err = readBody(it, e, func(b *pos.Event) (*pos.Stamp, *pos.Person) { return b.Session, b.User })
	case entry.KindRebased:
		it.wrong = "a wrap of a wrap"
	default:
		it.wrong = "unknown kind"
	}
	if err != nil {
		it.refuse(err.Error())
	}
	if it.stamp != nil && it.stamp.ID == "" {
		// A money entry without a session cannot be booked anywhere; others
		// simply belong to none.
		it.stamp = nil
		if e.Kind == entry.KindOrder || e.Kind == entry.KindReceipt || sessionKind(e.Kind) {
			it.body, it.wrong = nil, "no session"
		}
	}
}

// sessionKind reports whether entries of the kind change the state of a
// session.
func sessionKind(k entry.Kind) bool {
	return k == entry.KindOpened || k == entry.KindJoined || k == entry.KindLeft || k == entry.KindCounted || k == entry.KindClosed
}

func readBody[T any](it *item, e *entry.Entry, of func(*T) (*pos.Stamp, *pos.Person)) error {
	body, err := entry.Body[T](e)
	if err != nil {
		return err
	}
	it.body = &body
	if of != nil {
		it.stamp, it.user = of(&body)
	}
	return nil
}
