package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"tillandsia/shared/drawer"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/shared/posting"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/store"
)

func amount(a money.Amount) string { return strconv.FormatInt(int64(a), 10) }

// amountOf is the money that an entry moves, as the register counts what waits.
func amountOf(it *item) money.Amount {
	switch b := it.body.(type) {
	case *pos.Order:
		if it.kind == entry.KindOrder {
			return paid(b.Payments, b.Change)
		}
	case *pos.Receipt:
		return paid(b.Payments, b.Change)
	case *pos.Move:
		return b.Amount
	}
	return 0
}

func paid(payments []pos.Payment, change money.Amount) money.Amount {
	sum := -change
	for i := range payments {
		sum += payments[i].Amount
	}
	return sum
}

// facts returns what the rules need to know of the session of a stamp.
func (w *work) facts(stamp *pos.Stamp) (*root, session.Facts) {
	of, ok := w.stamps[stamp.ID]
	if !ok {
		of = stampOf{root: stamp.ID}
		w.stamps[stamp.ID] = of
	}
	r := w.sessions[of.root]
	if r == nil {
		r = &root{Session: store.Session{PointOfSale: w.point, ID: of.root}}
		w.sessions[of.root] = r
	}
	f := session.Facts{Exists: r.exists, Foreign: of.foreign, Rescue: of.rescue, State: r.State, Recovered: r.Recovered}
	for _, o := range r.rescues {
		if o.State == session.Closed {
			f.ClosedRescues++
		} else {
			f.OpenRescue = o.ID
		}
	}
	return r, f
}

// target returns the session in which the rescue rule books an entry, and makes
// it where it says so.
func (w *work) target(it *item, r *root, d session.Money) (*store.Session, error) {
	switch d.Action {
	case session.CreateBook:
		w.create(r, it.stamp, true)
		return &r.Session, nil
	case session.Book:
		return &r.Session, nil
	case session.BookRescue, session.BookListed:
		if d.Session == r.ID {
			return &r.Session, nil
		}
		for _, o := range r.rescues {
			if o.ID == d.Session {
				return &o.Session, nil
			}
		}
		return nil, notUnderstood(fmt.Errorf("no rescue %s", d.Session))
	case session.CreateRescue:
		return &w.createRescue(it, r, d.Ordinal).Session, nil
	case session.Nothing, session.DoNotCount:
	}
	return nil, notUnderstood(fmt.Errorf("action %s", d.Action))
}

// create makes S from what a stamp tells.
func (w *work) create(r *root, s *pos.Stamp, recovered bool) {
	id := r.ID
	r.Session = store.Session{
		PointOfSale: w.point, ID: id, Name: s.Name, Register: s.Register, State: session.Opened, BusinessDate: s.BusinessDate,
		OpenedBy: s.By, OpenedAt: micro(s.At), Recovered: recovered, CashControl: true, Last: w.now,
	}
	if r.Register == "" || w.stamps[s.ID].foreign {
		r.Register = w.reg.ID
	}
	r.exists, r.dirty = true, true
}

// createRescue makes the next rescue of S, by the user and at the time of its
// first entry.
func (w *work) createRescue(it *item, r *root, ordinal int) *rescue {
	o := &rescue{dirty: true, Session: store.Session{
		PointOfSale: w.point, ID: pos.RescueID(r.ID, ordinal), Name: pos.RescueName(r.Name, ordinal), Register: r.Register,
		State: session.Opened, Root: r.ID, Ordinal: ordinal, BusinessDate: r.BusinessDate, OpenedAt: micro(it.at), OpenHeard: true,
		MaxDifference: r.MaxDifference, CashControl: r.CashControl, Last: w.now,
	}}
	if it.user != nil {
		o.OpenedBy, o.OpenedByName = it.user.ID, it.user.Name
	}
	r.rescues = append(r.rescues, o)
	w.story(o.ID, it, "rescue_made", map[string]string{"session": r.ID, "name": r.Name})
	w.changes.Outbox = append(w.changes.Outbox, outboxRow(w.point, "rescue", o.ID, w.now))
	return o
}

// touch marks the row of a session that money was booked in.
func (w *work) touch(r *root, s *store.Session, total money.Amount, orders int) {
	s.Orders += orders
	s.Total += total
	s.Last = w.now
	if s.ID == r.ID {
		r.dirty = true
		return
	}
	for _, o := range r.rescues {
		if o.ID == s.ID {
			o.dirty = true
		}
	}
}

// book decides where an entry that moves money belongs.
func (w *work) book(it *item, v *verdict) (*root, *store.Session, error) {
	r, facts := w.facts(it.stamp)
	d := session.DecideMoney(session.New, facts)
	s, err := w.target(it, r, d)
	if err != nil {
		return nil, nil, err
	}
	for _, code := range d.Flags {
		v.flag(code, "session", it.stamp.ID)
	}
	v.row.Booked = s.ID
	return r, s, nil
}

// order books an order.
func (w *work) order(ctx context.Context, tx store.Tx, it *item, o *pos.Order, v *verdict) error {
	problems, err := checkOrder(o)
	if err != nil {
		return notUnderstood(err)
	}
	v.flags = append(v.flags, problems...)
	if o.ID != it.op {
		v.flag(FlagIDDiffers, "id", o.ID)
	}
	r, s, err := w.book(it, v)
	if err != nil {
		return err
	}
	copyNo := 0
	if w.again != nil {
		copyNo = w.again.copy
	}
	sums := posting.OrderSums(o, w.reg.ID)
	if err := w.cash(it, r, s, sums, v); err != nil {
		return err
	}
	w.addSums(s.ID, sums)
	w.touch(r, s, o.Total, 1)
	if err := w.zOrder(r, it, o); err != nil {
		return err
	}
	w.unknownProducts(o, v)
	if err := w.refunds(ctx, tx, it, o, v); err != nil {
		return err
	}
	if err := w.number(ctx, tx, it, o.Number, v); err != nil {
		return err
	}
	return w.rows(it, o, s, copyNo)
}

// cash books what a payment's sums take into the register's drawer lines.
func (w *work) cash(it *item, r *root, s *store.Session, sums []posting.Sum, v *verdict) error {
	for i := range sums {
		if sums[i].Kind != posting.Payments {
			continue
		}
		m := methodOf(it, sums[i].Detail)
		m.Account = sums[i].Account
		if err := w.line(it, r, s, m, v).Take(it.place(), sums[i].Amount); err != nil {
			return notUnderstood(err)
		}
	}
	return nil
}

// methodOf returns a payment method as an entry's payments name it.
func methodOf(it *item, id string) pos.Method {
	var payments []pos.Payment
	switch b := it.body.(type) {
	case *pos.Order:
		payments = b.Payments
	case *pos.Receipt:
		payments = b.Payments
	}
	for i := range payments {
		if payments[i].Method == id {
			return pos.Method{ID: id, Name: payments[i].Name, Kind: payments[i].Kind, Account: payments[i].Account}
		}
	}
	return pos.Method{ID: id, Name: id, Kind: pos.MethodOther}
}

// receipt books a debt that is paid off.
func (w *work) receipt(it *item, b *pos.Receipt, v *verdict) error {
	problems, err := checkReceipt(b)
	if err != nil {
		return notUnderstood(err)
	}
	v.flags = append(v.flags, problems...)
	if b.ID != it.op {
		v.flag(FlagIDDiffers, "id", b.ID)
	}
	r, s, err := w.book(it, v)
	if err != nil {
		return err
	}
	sums := posting.ReceiptSums(b, w.reg.ID)
	if err := w.cash(it, r, s, sums, v); err != nil {
		return err
	}
	w.addSums(s.ID, sums)
	w.touch(r, s, 0, 0)
	if err := w.zReceipt(r, it, b); err != nil {
		return err
	}
	w.payments(it.op, s.ID, b.Payments, b.Change, b.ChangeMethod)
	return nil
}

// move books cash put in or taken out; without a session it waits for the
// drawer's next line.
func (w *work) move(it *item, b *pos.Move, v *verdict) error {
	if b.ID != it.op {
		v.flag(FlagIDDiffers, "id", b.ID)
	}
	if b.Method == "" || b.CashAccount == "" || b.Reason.Account == "" {
		v.flag(FlagMoveWrong, "reason", b.Reason.Name)
	}
	row := store.Move{
		PointOfSale: w.point, ID: w.copyID(it.op), Register: w.reg.ID, Entry: it.place(), Stamped: v.row.Stamped, Method: b.Method,
		CashAccount: b.CashAccount, Account: b.Reason.Account, Reason: b.Reason.Name,
		Amount: b.Amount, User: b.User.ID, Note: b.Note, At: micro(it.at), Between: it.stamp == nil,
	}
	if it.stamp == nil {
		w.chainOf(b.Method).Between = append(w.chainOf(b.Method).Between, drawer.Move{ID: row.ID, At: row.Entry, Amount: b.Amount})
		w.changes.Moves = append(w.changes.Moves, row)
		return nil
	}
	r, s, err := w.book(it, v)
	if err != nil {
		return err
	}
	line := w.line(it, r, s, pos.Method{ID: b.Method, Name: b.Method, Kind: pos.MethodCash, Account: b.CashAccount}, v)
	if err := line.Move(it.place(), b.Amount); err != nil {
		return notUnderstood(err)
	}
	row.Session = s.ID
	w.changes.Moves = append(w.changes.Moves, row)
	w.touch(r, s, 0, 0)
	return w.zMove(r, it, b)
}

// copyID is the id of a row of an entry; one that was accepted beside another
// with the same id has an id of its own.
func (w *work) copyID(op string) string {
	if w.again == nil || w.again.copy == 0 {
		return op
	}
	return derived("copy", op, w.again.copy)
}

func (w *work) unknownProducts(o *pos.Order, v *verdict) {
	for i := range o.Lines {
		if _, gone := w.gone[o.Lines[i].Product]; gone {
			v.flag(FlagUnknownProduct, "product", o.Lines[i].Product, "name", o.Lines[i].Name)
		}
	}
}

// refunds checks what an order takes back against what was sold, and, where it
// is a sale, what was taken back of it before it came.
func (w *work) refunds(ctx context.Context, tx store.Tx, it *item, o *pos.Order, v *verdict) error {
	for i := range o.Lines {
		line := &o.Lines[i]
		if line.Refund == nil {
			continue
		}
		ref := pos.LineRef{Order: line.Refund.Order, Line: line.Refund.Line}
		sold := w.refundedOf(ref)
		sold.Refunded += -line.Qty
		// Until the sale comes nothing can be said; then it is said of it.
		if sold.Sold != 0 && sold.Refunded > sold.Sold {
			v.flag(FlagRefundTooMuch, "order", ref.Order, "line", ref.Line, "number", line.Refund.Number)
		}
	}
	var late bool
	for i := range o.Lines {
		line := &o.Lines[i]
		if line.Refund != nil {
			continue
		}
		sold := w.refundedOf(pos.LineRef{Order: it.op, Line: line.ID})
		sold.Sold += line.Qty
		late = late || sold.Refunded > 0 && sold.Refunded > sold.Sold
	}
	if !late {
		return nil
	}
	return w.lateRefunds(ctx, tx, it.op)
}

func (w *work) refundedOf(ref pos.LineRef) *store.RefundedLine {
	r := w.refunded[ref]
	if r == nil {
		r = &store.RefundedLine{Order: ref.Order, Line: ref.Line}
		w.refunded[ref] = r
	}
	return r
}

// lateRefunds flags the refunds that came before their sale and take back more
// than it sold: those that come later in the order of arrival, first.
func (w *work) lateRefunds(ctx context.Context, tx store.Tx, sale string) error {
	lines, err := tx.RefundsOf(ctx, w.point, sale)
	if err != nil {
		return fmt.Errorf("read refunds of order %s: %w", sale, err)
	}
	// Those of this batch are not stored yet.
	lines = append(lines, linesOf(w.changes.Lines, sale)...)
	over := map[string]money.Qty{}
	for ref, r := range w.refunded {
		if ref.Order == sale && r.Refunded > r.Sold {
			over[ref.Line] = r.Refunded - r.Sold
		}
	}
	for _, line := range slices.Backward(lines) {
		if over[line.RefundLine] <= 0 {
			continue
		}
		over[line.RefundLine] += line.Qty
		order, err := w.storedOrder(ctx, tx, line.Order, line.Copy)
		if err != nil {
			return err
		}
		if err := w.flagStored(ctx, tx, order, problem{FlagRefundTooMuch, params([]string{"order", sale, "line", line.RefundLine})}); err != nil {
			return err
		}
	}
	return nil
}

func linesOf(lines []store.OrderLine, sale string) []store.OrderLine {
	var list []store.OrderLine
	for i := range lines {
		if lines[i].RefundOrder == sale {
			list = append(list, lines[i])
		}
	}
	return list
}

// storedOrder returns an order of this batch or of the store.
func (w *work) storedOrder(ctx context.Context, tx store.Tx, id string, copyNo int) (store.Order, error) {
	for i := range w.changes.Orders {
		if w.changes.Orders[i].ID == id && w.changes.Orders[i].Copy == copyNo {
			return w.changes.Orders[i], nil
		}
	}
	o, err := tx.Order(ctx, w.point, id)
	if err != nil {
		return o, fmt.Errorf("read order %s: %w", id, err)
	}
	return o, nil
}

// flagStored flags an order that was booked before.
func (w *work) flagStored(ctx context.Context, tx store.Tx, o store.Order, p problem) error {
	key := store.JournalKey{PointOfSale: w.point, Register: o.Register, Place: o.Entry}
	body, err := json.Marshal(p.params)
	if err != nil {
		return fmt.Errorf("encode flag %s: %w", p.code, err)
	}
	id := derived("flag", o.Register, o.Entry.Epoch, o.Entry.Seq, p.code, p.params["order"], p.params["line"])
	if w.flagged[id] {
		return nil
	}
	w.flagged[id] = true
	w.changes.Flags = append(w.changes.Flags, store.Flag{
		PointOfSale: w.point, ID: id, Code: p.code, Register: o.Register, Entry: o.Entry, Session: o.Stamped, Params: body, At: w.now,
	})
	for i := range w.changes.Journal {
		if w.changes.Journal[i].JournalKey == key {
			if w.changes.Journal[i].Outcome == store.Applied {
				w.changes.Journal[i].Outcome = store.AppliedFlagged
			}
			return nil
		}
	}
	row, err := tx.JournalRow(ctx, key)
	if err != nil {
		return fmt.Errorf("read entry of order %s: %w", o.ID, err)
	}
	if row.Outcome == store.Applied {
		w.moved = append(w.moved, outcomeOf{key, store.AppliedFlagged, row.Booked})
	}
	return nil
}

// number flags an order whose receipt number another one bears, and that one.
func (w *work) number(ctx context.Context, tx store.Tx, it *item, number string, v *verdict) error {
	if number == "" {
		return nil
	}
	for _, id := range w.numbers[number] {
		if id == it.op {
			continue
		}
		v.flag(FlagNumberTwice, "number", number, "order", id)
		other, err := w.storedOrder(ctx, tx, id, 0)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := w.flagStored(ctx, tx, other, problem{FlagNumberTwice, params([]string{"number", number, "order", it.op})}); err != nil {
			return err
		}
	}
	w.numbers[number] = append(w.numbers[number], it.op)
	return nil
}

// rows adds the rows of an order.
func (w *work) rows(it *item, o *pos.Order, s *store.Session, copyNo int) error {
	row := store.Order{
		PointOfSale: w.point, ID: it.op, Copy: copyNo, Register: w.reg.ID, Entry: it.place(), Number: o.Number,
		Stamped: o.Session.ID, Session: s.ID, User: o.User.ID, UserName: o.User.Name, At: micro(it.at), Received: w.now,
		Lines: len(o.Lines), Net: o.Net, Total: o.Total, Change: o.Change, Rounding: o.Rounding, Catalogue: o.Catalogue,
		Late: s.Root != "",
	}
	if o.Customer != nil {
		row.Customer = o.Customer.ID
	}
	for _, t := range o.Taxes {
		row.Tax += t.Amount
	}
	for i := range o.Payments {
		row.Paid += o.Payments[i].Amount
	}
	w.changes.Orders = append(w.changes.Orders, row)
	for i := range o.Lines {
		line := &o.Lines[i]
		r := store.OrderLine{
			PointOfSale: w.point, Order: it.op, Copy: copyNo, No: i + 1, ID: line.ID, Product: line.Product, Name: line.Name,
			Category: line.Category, Qty: line.Qty, Price: line.Price, Net: line.Net, Total: line.Total, Account: line.Account,
		}
		for _, t := range line.Taxes {
			r.Tax += t.Amount
		}
		if len(line.Taxes) > 0 {
			r.Taxes = encodeTaxes(line.Taxes)
		}
		if line.Refund != nil {
			r.RefundOrder, r.RefundLine = line.Refund.Order, line.Refund.Line
		}
		w.changes.Lines = append(w.changes.Lines, r)
	}
	w.payments(it.op, s.ID, o.Payments, o.Change, o.ChangeMethod)
	return nil
}

// encodeTaxes writes tax sums as JSON; it is on the path of every line.
func encodeTaxes(taxes []money.TaxSum) []byte {
	b := make([]byte, 0, 48*len(taxes))
	b = append(b, '[')
	for i, t := range taxes {
		if i > 0 {
			b = append(b, ',')
		}
		id, err := json.Marshal(t.Tax)
		if err != nil {
			id = []byte(`""`)
		}
		b = append(b, `{"tax":`...)
		b = append(b, id...)
		b = append(b, `,"amount":`...)
		b = strconv.AppendInt(b, int64(t.Amount), 10)
		b = append(b, '}')
	}
	return append(b, ']')
}

// payments adds the tenders of an order or receipt, net of change.
func (w *work) payments(id, sessionID string, payments []pos.Payment, change money.Amount, changeMethod string) {
	copyNo := 0
	if w.again != nil {
		copyNo = w.again.copy
	}
	back := changeOf(payments, change, changeMethod)
	for i := range payments {
		p := &payments[i]
		net := p.Amount
		if i == back {
			net -= change
		}
		w.changes.Payments = append(w.changes.Payments, store.Payment{
			PointOfSale: w.point, Order: id, Copy: copyNo, No: i + 1, Session: sessionID, Register: w.reg.ID,
			Method: p.Method, Kind: string(p.Kind), Account: p.Account, Amount: net, Reference: p.Reference,
		})
	}
}

// changeOf returns the tender that change is given back of, as package posting
// takes it: the first of the method that is named, else of cash, else the
// first; -1 where there is none.
func changeOf(payments []pos.Payment, change money.Amount, method string) int {
	if change == 0 {
		return -1
	}
	if i := slices.IndexFunc(payments, func(p pos.Payment) bool { return p.Method == method }); i >= 0 {
		return i
	}
	if i := slices.IndexFunc(payments, func(p pos.Payment) bool { return p.Kind == pos.MethodCash }); i >= 0 {
		return i
	}
	return min(len(payments), 1) - 1
}
