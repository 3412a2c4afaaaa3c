package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"tillandsia/shared/money"
	"tillandsia/shared/pos"
	"tillandsia/syncserver/internal/store"
)

// zSums is what a register has stamped with a session in a stay since its last
// Z report of it, wherever it was booked: what the till's own Z has to say. It
// also keeps the stay's last count with the money that came after it, since a
// close-out names that count once more.
type zSums struct {
	Period  pos.ZSums             `json:"period"`
	Methods map[string]*zMethod   `json:"methods,omitempty"`
	Counts  map[string]*lastCount `json:"counts,omitempty"`
}

type zMethod struct {
	Taken money.Amount `json:"taken"`
	Moves money.Amount `json:"moves"`
}

type lastCount struct {
	Amount money.Amount `json:"amount"`
	// After is what came into the drawer since, and left it.
	After money.Amount `json:"after"`
}

// sums returns the stay's sums, for reading and changing.
func (s *stay) sums() (*zSums, error) {
	if s.z == nil {
		s.z = &zSums{}
		if len(s.Z) > 0 {
			if err := json.Unmarshal(s.Z, s.z); err != nil {
				return nil, fmt.Errorf("read sums of a stay of %s: %w", s.Register, err)
			}
		}
	}
	return s.z, nil
}

func (s *stay) encode() error {
	if s.z == nil {
		return nil
	}
	body, err := json.Marshal(s.z)
	if err != nil {
		return fmt.Errorf("encode sums of a stay: %w", err)
	}
	s.Z = body
	return nil
}

// zOf returns the sums of the stay that an entry belongs to, and marks them as
// changed.
func (w *work) zOf(r *root, it *item) (*zSums, error) {
	s := w.stayFor(r, it)
	s.dirty = true
	return s.sums()
}

func (z *zSums) method(id string) *zMethod {
	if z.Methods == nil {
		z.Methods = map[string]*zMethod{}
	}
	m := z.Methods[id]
	if m == nil {
		m = &zMethod{}
		z.Methods[id] = m
	}
	return m
}

// take adds money that came into the drawer, or left it.
func (z *zSums) take(method string, amount money.Amount, move bool) {
	m := z.method(method)
	if move {
		m.Moves += amount
	} else {
		m.Taken += amount
	}
	z.after(method, amount)
}

func (z *zSums) after(method string, amount money.Amount) {
	if c := z.Counts[method]; c != nil {
		c.After += amount
	}
}

func (z *zSums) payments(payments []pos.Payment, change money.Amount, changeMethod string) {
	back := changeOf(payments, change, changeMethod)
	for i := range payments {
		amount := payments[i].Amount
		if i == back {
			amount -= change
		}
		z.take(payments[i].Method, amount, false)
	}
}

func (w *work) zOrder(r *root, it *item, o *pos.Order) error {
	z, err := w.zOf(r, it)
	if err != nil {
		return err
	}
	p := &z.Period
	if o.Total < 0 {
		p.Refunds++
		p.RefundsTotal += o.Total
	} else {
		p.Sales++
		p.SalesTotal += o.Total
	}
	p.Net += o.Net
	p.Rounding += o.Rounding
	for _, t := range o.Taxes {
		p.Taxes = addTax(p.Taxes, t)
	}
	z.payments(o.Payments, o.Change, o.ChangeMethod)
	return nil
}

func addTax(list []money.TaxSum, t money.TaxSum) []money.TaxSum {
	for i := range list {
		if list[i].Tax == t.Tax {
			list[i].Amount += t.Amount
			return list
		}
	}
	return append(list, t)
}

func (w *work) zReceipt(r *root, it *item, b *pos.Receipt) error {
	z, err := w.zOf(r, it)
	if err != nil {
		return err
	}
	z.Period.Receipts++
	z.Period.ReceiptsSum += b.Amount
	z.Period.Rounding += b.Rounding
	z.payments(b.Payments, b.Change, b.ChangeMethod)
	return nil
}

func (w *work) zMove(r *root, it *item, b *pos.Move) error {
	z, err := w.zOf(r, it)
	if err != nil {
		return err
	}
	z.take(b.Method, b.Amount, true)
	return nil
}

// remember keeps the counts of an entry as the stay's last ones.
func (w *work) remember(r *root, it *item, l leaving) error {
	if len(l.counts) == 0 {
		return nil
	}
	z, err := w.zOf(r, it)
	if err != nil {
		return err
	}
	for _, c := range l.counts {
		if known := z.Counts[c.Method]; known != nil && known.Amount == c.Amount && l.z != nil {
			continue // the close-out names the last count once more
		}
		if z.Counts == nil {
			z.Counts = map[string]*lastCount{}
		}
		z.Counts[c.Method] = &lastCount{Amount: c.Amount}
	}
	return nil
}

// effective is what a count comes to at the place of the entry that names it: a
// close-out names the stay's last count, to which what came after it is added.
func (w *work) effective(s *stay, c pos.Count, l leaving) (money.Amount, error) {
	if l.z == nil {
		return c.Amount, nil
	}
	z, err := s.sums()
	if err != nil {
		return 0, err
	}
	if last := z.Counts[c.Method]; last != nil && last.Amount == c.Amount {
		return money.CheckedAdd(last.Amount, last.After)
	}
	return c.Amount, nil
}

// zReport compares a till's Z report with the server's own sums, keeps it, and
// begins the next one. A difference is a finding, never mended.
func (w *work) zReport(ctx context.Context, tx store.Tx, it *item, r *root, z *pos.Z, v *verdict) error {
	body, err := json.Marshal(z)
	if err != nil {
		return fmt.Errorf("encode Z report: %w", err)
	}
	own := &zSums{}
	s := w.stayAt(r, it)
	if s != nil {
		if own, err = s.sums(); err != nil {
			return err
		}
	}
	row := store.ZRow{
		PointOfSale: w.point, Register: w.reg.ID, Series: z.Series, Number: z.Number, Session: r.ID, Entry: it.place(), Body: body,
	}
	if finding := zDiffers(own, z); len(finding) > 0 {
		row.Finding = detailOf(finding)
		v.flag(FlagZDiffers, "session", r.ID, "number", strconv.Itoa(z.Number), "differences", row.Finding)
	}
	others, err := tx.ZNumber(ctx, w.point, w.reg.ID, z.Series, z.Number)
	if err != nil {
		return fmt.Errorf("read Z reports: %w", err)
	}
	for _, o := range append(others, w.changes.ZReports...) {
		if o.Entry != row.Entry && o.Series == row.Series && o.Number == row.Number {
			v.flag(FlagZTwice, "number", strconv.Itoa(z.Number), "series", z.Series)
			break
		}
	}
	w.changes.ZReports = append(w.changes.ZReports, row)
	if s != nil {
		s.z, s.dirty = &zSums{Counts: own.Counts}, true
	}
	return nil
}

// zDiffers returns what the server and the till make of each figure in which
// they differ.
func zDiffers(own *zSums, z *pos.Z) map[string][2]money.Amount {
	d := map[string][2]money.Amount{}
	compare := func(name string, ours, theirs money.Amount) {
		if ours != theirs {
			d[name] = [2]money.Amount{ours, theirs}
		}
	}
	a, b := &own.Period, &z.Period
	compare("sales", money.Amount(a.Sales), money.Amount(b.Sales))
	compare("refunds", money.Amount(a.Refunds), money.Amount(b.Refunds))
	compare("receipts", money.Amount(a.Receipts), money.Amount(b.Receipts))
	compare("sales_total", a.SalesTotal, b.SalesTotal)
	compare("refunds_total", a.RefundsTotal, b.RefundsTotal)
	compare("net", a.Net, b.Net)
	compare("rounding", a.Rounding, b.Rounding)
	compare("receipts_sum", a.ReceiptsSum, b.ReceiptsSum)
	for _, t := range a.Taxes {
		compare("tax "+t.Tax, t.Amount, taxOf(b.Taxes, t.Tax))
	}
	for _, t := range b.Taxes {
		compare("tax "+t.Tax, taxOf(a.Taxes, t.Tax), t.Amount)
	}
	for i := range z.Methods {
		m := &z.Methods[i]
		var ours zMethod
		if own.Methods[m.Method] != nil {
			ours = *own.Methods[m.Method]
		}
		compare("taken "+m.Method, ours.Taken, m.Taken)
		compare("moves "+m.Method, ours.Moves, m.Moves)
	}
	return d
}
