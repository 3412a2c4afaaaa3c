package storetest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"

	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/store"
)

// roundTrip writes rows with all fields filled and reads them back. Rows that
// are put are written a second time with other values under the same key.
func roundTrip[R any](t *testing.T, s store.Store, key []string, write func(tx store.Tx, r R) error, read func(rd store.Reader, r R) (R, error)) {
	t.Helper()
	t.Run(fmt.Sprintf("%T", *new(R)), func(t *testing.T) {
		t.Helper()
		first := filled[R](1, 0)
		for i, pattern := range []uint{0, 1, 2, 4, 8} {
			row := filled[R](i+1, pattern)
			if key != nil {
				row = keep(first, row, key)
			}
			update(t, s, func(tx store.Tx) error { return write(tx, row) })
			view(t, s, func(rd store.Reader) error {
				got, err := read(rd, row)
				if err == nil {
					equal(t, "row read", got, row)
				}
				return err
			})
		}
	})
}

// the returns the single element of a list that fits.
func the[R any](list []R, err error, fits func(r R) bool) (R, error) {
	var none R
	if err != nil {
		return none, err
	}
	list = slices.DeleteFunc(list, func(r R) bool { return !fits(r) })
	if len(list) != 1 {
		return none, fmt.Errorf("%d rows fit, want 1", len(list))
	}
	return list[0], nil
}

func testRoundTrip(t *testing.T, s store.Store) {
	ctx := t.Context()
	change := func(f func(c *store.Changes)) func(tx store.Tx) error {
		return func(tx store.Tx) error {
			var c store.Changes
			f(&c)
			return tx.Write(ctx, &c)
		}
	}
	roundTrip(t, s, []string{"Code"},
		func(tx store.Tx, r store.PointOfSale) error { return tx.PutPointOfSale(ctx, r) },
		func(rd store.Reader, r store.PointOfSale) (store.PointOfSale, error) {
			return rd.PointOfSale(ctx, r.Code)
		})
	roundTrip(t, s, []string{"PointOfSale", "ID"},
		func(tx store.Tx, r store.Register) error { return tx.PutRegister(ctx, r) },
		func(rd store.Reader, r store.Register) (store.Register, error) {
			return rd.RegisterByToken(ctx, r.TokenHash)
		})
	roundTrip(t, s, nil,
		func(tx store.Tx, r store.Register) error {
			r.PointOfSale, r.TokenHash = "changes", nil
			return change(func(c *store.Changes) { c.Register = &r })(tx)
		},
		func(rd store.Reader, r store.Register) (store.Register, error) {
			got, err := rd.Register(ctx, "changes", r.ID)
			got.PointOfSale, got.TokenHash = r.PointOfSale, r.TokenHash
			return got, err
		})
	roundTrip(t, s, []string{"PointOfSale", "Register", "Epoch"},
		func(tx store.Tx, r store.Epoch) error {
			return change(func(c *store.Changes) { c.Epochs = []store.Epoch{r} })(tx)
		},
		func(rd store.Reader, r store.Epoch) (store.Epoch, error) {
			list, err := rd.Epochs(ctx, r.PointOfSale, r.Register)
			all, aerr := rd.AllEpochs(ctx, r.PointOfSale)
			if err == nil && len(all) != len(list) {
				err = fmt.Errorf("AllEpochs has %d, Epochs %d", len(all), len(list))
			}
			return the(list, errors.Join(err, aerr), func(e store.Epoch) bool { return e.Epoch == r.Epoch })
		})
	roundTrip(t, s, nil,
		func(tx store.Tx, r store.JournalRow) error {
			return change(func(c *store.Changes) { c.Journal = []store.JournalRow{r} })(tx)
		},
		func(rd store.Reader, r store.JournalRow) (store.JournalRow, error) {
			one, err := rd.JournalRow(ctx, r.JournalKey)
			equal(t, "JournalRow", one, r)
			booked, berr := rd.Booked(ctx, r.PointOfSale, r.Booked)
			equal(t, "Booked", booked, []store.BookedRow{{JournalKey: r.JournalKey, Op: r.Op, Hash: r.Hash, Content: r.Content}})
			known, kerr := rd.KnownOps(ctx, r.PointOfSale, []string{r.Op})
			equal(t, "KnownOps", known, map[string][]store.KnownOp{r.Op: {{JournalKey: r.JournalKey, Op: r.Op, Content: r.Content, Outcome: r.Outcome, Booked: r.Booked}}})
			list, lerr := rd.Journal(ctx, r.PointOfSale, r.Register, r.Epoch, r.Seq, 1)
			return the(list, errors.Join(err, berr, kerr, lerr), func(store.JournalRow) bool { return true })
		})
	roundTrip(t, s, []string{"PointOfSale", "ID"},
		func(tx store.Tx, r store.Session) error {
			return change(func(c *store.Changes) { c.Sessions = []store.Session{r} })(tx)
		},
		func(rd store.Reader, r store.Session) (store.Session, error) {
			byID, err := rd.SessionByID(ctx, r.ID)
			equal(t, "SessionByID", byID, r)
			rescues, rerr := rd.Rescues(ctx, r.PointOfSale, []string{r.Root})
			equal(t, "Rescues", rescues, []store.Session{r})
			got, gerr := rd.Session(ctx, r.PointOfSale, r.ID)
			return got, errors.Join(err, rerr, gerr)
		})
	roundTrip(t, s, []string{"PointOfSale", "Session", "Register", "At"},
		func(tx store.Tx, r store.Stay) error {
			return change(func(c *store.Changes) { c.Stays = []store.Stay{r} })(tx)
		},
		func(rd store.Reader, r store.Stay) (store.Stay, error) {
			list, err := rd.Stays(ctx, r.PointOfSale, []string{r.Session})
			return the(list, err, func(x store.Stay) bool { return x.At == r.At })
		})
	roundTrip(t, s, DrawerKey,
		func(tx store.Tx, r store.DrawerLine) error {
			return change(func(c *store.Changes) { c.Drawer = []store.DrawerLine{r} })(tx)
		},
		func(rd store.Reader, r store.DrawerLine) (store.DrawerLine, error) {
			list, err := rd.DrawerLines(ctx, r.PointOfSale, []string{r.Session})
			chain, cerr := rd.DrawerChain(ctx, r.PointOfSale, r.Register, nil, 0)
			equal(t, "DrawerChain", chain, list)
			return the(list, errors.Join(err, cerr), func(store.DrawerLine) bool { return true })
		})
	roundTrip(t, s, nil,
		func(tx store.Tx, r store.Sum) error {
			return change(func(c *store.Changes) { c.Sums = []store.Sum{r} })(tx)
		},
		func(rd store.Reader, r store.Sum) (store.Sum, error) {
			list, err := rd.Sums(ctx, r.PointOfSale, r.Session)
			return the(list, err, func(store.Sum) bool { return true })
		})
	roundTrip(t, s, nil,
		func(tx store.Tx, r store.Order) error {
			return change(func(c *store.Changes) { c.Orders = []store.Order{r} })(tx)
		},
		func(rd store.Reader, r store.Order) (store.Order, error) {
			byNumber, err := rd.OrderByNumber(ctx, r.PointOfSale, r.Number)
			equal(t, "OrderByNumber", byNumber, r)
			taken, terr := rd.NumbersTaken(ctx, r.PointOfSale, []string{r.Number, "other"})
			equal(t, "NumbersTaken", taken, map[string][]string{r.Number: {r.ID}})
			got, gerr := rd.Order(ctx, r.PointOfSale, r.ID)
			return got, errors.Join(err, terr, gerr)
		})
	roundTrip(t, s, nil,
		func(tx store.Tx, r store.OrderLine) error {
			return change(func(c *store.Changes) { c.Lines = []store.OrderLine{r} })(tx)
		},
		func(rd store.Reader, r store.OrderLine) (store.OrderLine, error) {
			list, err := rd.OrderLines(ctx, r.PointOfSale, []string{r.Order})
			return the(list, err, func(store.OrderLine) bool { return true })
		})
	roundTrip(t, s, nil,
		func(tx store.Tx, r store.Payment) error {
			return change(func(c *store.Changes) { c.Payments = []store.Payment{r} })(tx)
		},
		func(rd store.Reader, r store.Payment) (store.Payment, error) {
			list, err := rd.OrderPayments(ctx, r.PointOfSale, []string{r.Order})
			return the(list, err, func(store.Payment) bool { return true })
		})
	roundTrip(t, s, nil,
		func(tx store.Tx, r store.Move) error {
			return change(func(c *store.Changes) { c.Moves = []store.Move{r} })(tx)
		},
		func(rd store.Reader, r store.Move) (store.Move, error) {
			list, err := rd.Moves(ctx, r.PointOfSale, r.Session)
			return the(list, err, func(store.Move) bool { return true })
		})
	roundTrip(t, s, []string{"PointOfSale", "ID"},
		func(tx store.Tx, r store.Move) error {
			r.PointOfSale = "put"
			return change(func(c *store.Changes) { c.MovesPut = []store.Move{r} })(tx)
		},
		func(rd store.Reader, r store.Move) (store.Move, error) {
			list, err := rd.Moves(ctx, "put", r.Session)
			got, err := the(list, err, func(store.Move) bool { return true })
			got.PointOfSale = r.PointOfSale
			return got, err
		})
	roundTrip(t, s, []string{"PointOfSale", "Session", "Register", "Entry", "No", "Kind"},
		func(tx store.Tx, r store.HistoryRow) error {
			return change(func(c *store.Changes) { c.History = []store.HistoryRow{r} })(tx)
		},
		func(rd store.Reader, r store.HistoryRow) (store.HistoryRow, error) {
			list, err := rd.History(ctx, r.PointOfSale, r.Session)
			return the(list, err, func(store.HistoryRow) bool { return true })
		})
	roundTrip(t, s, []string{"PointOfSale", "Session", "Register", "Method", "Entry", "At", "Attempt"},
		func(tx store.Tx, r store.CountRow) error {
			return change(func(c *store.Changes) { c.Counts = []store.CountRow{r} })(tx)
		},
		func(rd store.Reader, r store.CountRow) (store.CountRow, error) {
			list, err := rd.Counts(ctx, r.PointOfSale, r.Session)
			return the(list, err, func(store.CountRow) bool { return true })
		})
	roundTrip(t, s, []string{"PointOfSale", "Register", "Series", "Number", "Entry"},
		func(tx store.Tx, r store.ZRow) error {
			return change(func(c *store.Changes) { c.ZReports = []store.ZRow{r} })(tx)
		},
		func(rd store.Reader, r store.ZRow) (store.ZRow, error) {
			list, err := rd.ZReports(ctx, r.PointOfSale, r.Session)
			numbered, nerr := rd.ZNumber(ctx, r.PointOfSale, r.Register, r.Series, r.Number)
			equal(t, "ZNumber", numbered, list)
			return the(list, errors.Join(err, nerr), func(store.ZRow) bool { return true })
		})
	roundTrip(t, s, nil,
		func(tx store.Tx, r store.Posting) error { return tx.PutPosting(ctx, r) },
		func(rd store.Reader, r store.Posting) (store.Posting, error) {
			return rd.Posting(ctx, r.PointOfSale, r.Session)
		})
	roundTrip(t, s, []string{"PointOfSale", "Session"},
		func(tx store.Tx, r store.Close) error { return tx.PutClose(ctx, r) },
		func(rd store.Reader, r store.Close) (store.Close, error) {
			unheard, err := rd.ClosesUnheard(ctx, r.PointOfSale, "any", 0)
			equal(t, "ClosesUnheard", unheard, []store.Close{r})
			got, gerr := rd.Close(ctx, r.PointOfSale, r.Session)
			return got, errors.Join(err, gerr)
		})
	roundTrip(t, s, nil,
		func(tx store.Tx, r store.Flag) error {
			return change(func(c *store.Changes) { c.Flags = []store.Flag{r} })(tx)
		},
		func(rd store.Reader, r store.Flag) (store.Flag, error) { return rd.Flag(ctx, r.PointOfSale, r.ID) })
	testFlagStands(t, s)
	roundTrip(t, s, []string{"PointOfSale", "Kind", "ID", "Revision"},
		func(tx store.Tx, r store.Thing) error {
			_, err := tx.PutThings(ctx, []store.Thing{r})
			return err
		},
		func(rd store.Reader, r store.Thing) (store.Thing, error) {
			got, err := rd.Thing(ctx, r.PointOfSale, r.Kind, r.ID)
			got.Revision = r.Revision
			return got, err
		})
	roundTrip(t, s, []string{"ID"},
		func(tx store.Tx, r store.User) error { return tx.PutUser(ctx, r) },
		func(rd store.Reader, r store.User) (store.User, error) { return rd.UserByLogin(ctx, r.Login) })
	roundTrip(t, s, []string{"Hash"},
		func(tx store.Tx, r store.Token) error { return tx.PutToken(ctx, r) },
		func(rd store.Reader, r store.Token) (store.Token, error) { return rd.Token(ctx, r.Hash) })
	roundTrip(t, s, []string{"CodeHash"},
		func(tx store.Tx, r store.Pairing) error { return tx.PutPairing(ctx, r) },
		func(rd store.Reader, r store.Pairing) (store.Pairing, error) { return rd.Pairing(ctx, r.CodeHash) })
	roundTrip(t, s, []string{"PointOfSale", "ID", "Revision"},
		func(tx store.Tx, r store.OutboxRow) error {
			return change(func(c *store.Changes) { c.Outbox = []store.OutboxRow{r} })(tx)
		},
		func(rd store.Reader, r store.OutboxRow) (store.OutboxRow, error) {
			list, err := rd.OutboxSince(ctx, 0, 0)
			return the(list, err, func(store.OutboxRow) bool { return true })
		})
	roundTrip(t, s, nil,
		func(tx store.Tx, r store.AuditRow) error { return tx.AppendAudit(ctx, r) },
		func(rd store.Reader, r store.AuditRow) (store.AuditRow, error) {
			list, err := rd.Audit(ctx, 0, 0)
			return the(list, err, func(a store.AuditRow) bool { return a.ID == r.ID })
		})
}

// testEdges checks what the dialects would treat differently: bytes that have
// no place in a text, empty lists, the largest and smallest numbers, and many
// rows at once.
func testEdges(t *testing.T, s store.Store) {
	ctx := t.Context()
	line := store.OrderLine{
		PointOfSale: "P", Order: "o\x00x", No: math.MaxInt64, Name: "a\x00b\xffc", Qty: math.MinInt64, Price: math.MaxInt64,
		Net: money.Amount(math.MinInt64), Taxes: make([]byte, 100_000),
	}
	order := store.Order{PointOfSale: "P", ID: "big", At: 1_700_000_000_123_457, Received: -1, Catalogue: math.MaxUint64, Total: math.MinInt64}
	write(t, s, &store.Changes{Lines: []store.OrderLine{line}, Orders: []store.Order{order}})
	line.Order, line.Name = "o\uFFFDx", "a\uFFFDb\uFFFDc"
	user := store.User{ID: "u", Points: []string{"a\"b", "c,d", "ü\x00"}}
	point := store.PointOfSale{Code: "EMPTY"}
	update(t, s, func(tx store.Tx) error {
		return errors.Join(tx.PutUser(ctx, user), tx.PutPointOfSale(ctx, point), tx.SetMeta(ctx, "empty", nil))
	})
	user.Points[2] = "ü\uFFFD"
	view(t, s, func(rd store.Reader) error {
		lines, err := rd.OrderLines(ctx, "P", []string{"o\x00x"})
		equal(t, "OrderLines", lines, []store.OrderLine{line})
		got, oerr := rd.Order(ctx, "P", "big")
		equal(t, "Order", got, order)
		u, uerr := rd.User(ctx, "u")
		equal(t, "User", u, user)
		p, perr := rd.PointOfSale(ctx, "EMPTY")
		equal(t, "PointOfSale", p, point)
		m, merr := rd.Meta(ctx, "empty")
		if len(m) != 0 {
			t.Errorf("Meta = %q, want nothing", m)
		}
		return errors.Join(err, oerr, uerr, perr, merr)
	})
	// As many as make several chunks and a rest, in every list of a batch.
	var c store.Changes
	for i := range 1003 {
		id := fmt.Sprintf("%05d", i)
		c.Journal = append(c.Journal, store.JournalRow{
			JournalKey: store.JournalKey{PointOfSale: "Q", Register: "R", Place: entry.Place{Epoch: 1, Seq: uint64(i) + 1}},
			Op:         id, Kind: entry.KindOrder, Raw: fmt.Appendf(nil, "%d", i), Outcome: store.Applied, Booked: "S",
		})
		c.Orders = append(c.Orders, store.Order{PointOfSale: "Q", ID: id, Session: "S"})
		c.Lines = append(c.Lines, store.OrderLine{PointOfSale: "Q", Order: id})
		c.Payments = append(c.Payments, store.Payment{PointOfSale: "Q", Order: id})
		c.Moves = append(c.Moves, store.Move{PointOfSale: "Q", ID: id, Session: "S"})
		c.History = append(c.History, store.HistoryRow{PointOfSale: "Q", Session: "S", No: int64(i)})
		c.Flags = append(c.Flags, store.Flag{PointOfSale: "Q", ID: id})
		c.Outbox = append(c.Outbox, store.OutboxRow{PointOfSale: "Q", ID: id})
		c.Heard = append(c.Heard, store.HeardClose{PointOfSale: "Q", Session: id, Register: "R"})
		c.Sums = append(c.Sums, store.Sum{PointOfSale: "Q", Session: "S", Detail: strconv.Itoa(i % 500), Amount: 1, Count: 2})
	}
	write(t, s, &c)
	view(t, s, func(rd store.Reader) error {
		rows, err := rd.Journal(ctx, "Q", "R", 1, 1, 0)
		equal(t, "Journal", rows, c.Journal)
		list, oerr := rd.Orders(ctx, store.OrderFilter{PointsOfSale: []string{"Q"}, Session: "S"})
		moves, merr := rd.Moves(ctx, "Q", "S")
		hist, herr := rd.History(ctx, "Q", "S")
		flags, ferr := rd.Flags(ctx, store.FlagFilter{PointsOfSale: []string{"Q"}})
		ids := make([]string, 0, len(list))
		for _, o := range list {
			ids = append(ids, o.ID)
		}
		lines, lerr := rd.OrderLines(ctx, "Q", ids)
		pays, perr := rd.OrderPayments(ctx, "Q", ids)
		for what, n := range map[string]int{"orders": len(list), "moves": len(moves), "history": len(hist), "flags": len(flags), "lines": len(lines), "payments": len(pays)} {
			if n != 1003 {
				t.Errorf("%d %s, want 1003", n, what)
			}
		}
		sums, serr := rd.Sums(ctx, "Q", "S")
		var total money.Amount
		for _, x := range sums {
			total += x.Amount
		}
		if len(sums) != 500 || total != 1003 {
			t.Errorf("%d sums of %d in all, want 500 of 1003", len(sums), total)
		}
		return errors.Join(err, oerr, merr, herr, ferr, lerr, perr, serr)
	})
}

// testFlagStands writes a flag twice: the first one stays.
func testFlagStands(t *testing.T, s store.Store) {
	ctx := t.Context()
	first := filled[store.Flag](77, 0)
	second := keep(first, filled[store.Flag](78, 1), []string{"PointOfSale", "ID"})
	for _, f := range []store.Flag{first, second} {
		update(t, s, func(tx store.Tx) error { return tx.Write(ctx, &store.Changes{Flags: []store.Flag{f}}) })
	}
	view(t, s, func(rd store.Reader) error {
		got, err := rd.Flag(ctx, first.PointOfSale, first.ID)
		if err == nil {
			equal(t, "flag written twice", got, first)
		}
		return err
	})
}
