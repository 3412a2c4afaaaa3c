package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"tillandsia/shared/drawer"
	"tillandsia/shared/entry"
	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/store"
)

// DrawerKey are the fields that make the key of a drawer line.
var DrawerKey = []string{"PointOfSale", "Register", "Method", "Stay", "Ordinal", "Session"}

func key(seq uint64) store.JournalKey {
	return store.JournalKey{PointOfSale: "P", Register: "R", Place: entry.Place{Epoch: 1, Seq: seq}}
}

func testNotFound(t *testing.T, s store.Store) {
	ctx := t.Context()
	reads := map[string]func(tx store.Tx) error{
		"Session":         func(tx store.Tx) error { _, err := tx.Session(ctx, "P", "x"); return err },
		"SessionByID":     func(tx store.Tx) error { _, err := tx.SessionByID(ctx, "x"); return err },
		"Posting":         func(tx store.Tx) error { _, err := tx.Posting(ctx, "P", "x"); return err },
		"Close":           func(tx store.Tx) error { _, err := tx.Close(ctx, "P", "x"); return err },
		"Register":        func(tx store.Tx) error { _, err := tx.Register(ctx, "P", "x"); return err },
		"RegisterByToken": func(tx store.Tx) error { _, err := tx.RegisterByToken(ctx, []byte("x")); return err },
		"an empty token":  func(tx store.Tx) error { _, err := tx.RegisterByToken(ctx, nil); return err },
		"JournalRow":      func(tx store.Tx) error { _, err := tx.JournalRow(ctx, key(1)); return err },
		"Pairing":         func(tx store.Tx) error { _, err := tx.Pairing(ctx, []byte("x")); return err },
		"Flag":            func(tx store.Tx) error { _, err := tx.Flag(ctx, "P", "x"); return err },
		"Order":           func(tx store.Tx) error { _, err := tx.Order(ctx, "P", "x"); return err },
		"OrderByNumber":   func(tx store.Tx) error { _, err := tx.OrderByNumber(ctx, "P", "x"); return err },
		"PointOfSale":     func(tx store.Tx) error { _, err := tx.PointOfSale(ctx, "x"); return err },
		"Thing":           func(tx store.Tx) error { _, err := tx.Thing(ctx, "P", "k", "x"); return err },
		"User":            func(tx store.Tx) error { _, err := tx.User(ctx, "x"); return err },
		"UserByLogin":     func(tx store.Tx) error { _, err := tx.UserByLogin(ctx, "x"); return err },
		"Token":           func(tx store.Tx) error { _, err := tx.Token(ctx, []byte("x")); return err },
		"Meta":            func(tx store.Tx) error { _, err := tx.Meta(ctx, "x"); return err },
		"LockRegister":    func(tx store.Tx) error { _, err := tx.LockRegister(ctx, "P", "x"); return err },
		"LockPointOfSale": func(tx store.Tx) error { _, err := tx.LockPointOfSale(ctx, "x"); return err },
		"DeleteToken":     func(tx store.Tx) error { return tx.DeleteToken(ctx, []byte("x")) },
		"SetOutcome":      func(tx store.Tx) error { return tx.SetOutcome(ctx, key(1), store.Applied, "") },
		"ResolveFlag":     func(tx store.Tx) error { return tx.ResolveFlag(ctx, "P", "x", "u", "how", 1) },
	}
	// What is not found does not spoil the transaction.
	update(t, s, func(tx store.Tx) error {
		if err := tx.PutRegister(ctx, store.Register{PointOfSale: "P", ID: "no token"}); err != nil {
			return err
		}
		for name, read := range reads {
			if err := read(tx); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s = %v, want %v", name, err, store.ErrNotFound)
			}
		}
		locked, err := tx.LockSessions(ctx, "P", []string{"x"})
		if err != nil || len(locked) != 0 {
			t.Errorf("LockSessions = %v, %v, want none", locked, err)
		}
		return tx.SetMeta(ctx, "after", []byte("x"))
	})
	view(t, s, func(r store.Reader) error { _, err := r.Meta(ctx, "after"); return err })
}

func testConflict(t *testing.T, s store.Store) {
	row := store.JournalRow{JournalKey: key(1), Op: "op1", Outcome: store.Applied, Raw: []byte("x")}
	order := store.Order{PointOfSale: "P", ID: "o"}
	line := store.OrderLine{PointOfSale: "P", Order: "o", No: 1}
	payment := store.Payment{PointOfSale: "P", Order: "o", No: 1}
	move := store.Move{PointOfSale: "P", ID: "m"}
	write(t, s, &store.Changes{Journal: []store.JournalRow{row}, Orders: []store.Order{order}, Lines: []store.OrderLine{line}, Payments: []store.Payment{payment}, Moves: []store.Move{move}})
	sameOp := row
	sameOp.JournalKey = key(2)
	changes := map[string]store.Changes{
		"place":        {Journal: []store.JournalRow{{JournalKey: key(1), Op: "op9", Outcome: store.NotCounted, Raw: []byte("x")}}},
		"operation":    {Journal: []store.JournalRow{sameOp}},
		"order":        {Orders: []store.Order{order}},
		"line":         {Lines: []store.OrderLine{line}},
		"payment":      {Payments: []store.Payment{payment}},
		"move":         {Moves: []store.Move{move}},
		"among others": {Orders: manyOrders(100, "o")},
	}
	for name, c := range changes {
		t.Run(name, func(t *testing.T) {
			wantErr(t, s, store.ErrConflict, func(ctx context.Context, tx store.Tx) error { return tx.Write(ctx, &c) })
		})
	}
	// The same operation may stand flagged, known already or accepted.
	for i, o := range []store.Outcome{store.NotCounted, store.KnownAlready, store.Accepted} {
		sameOp.JournalKey, sameOp.Outcome = key(uint64(10+i)), o
		write(t, s, &store.Changes{Journal: []store.JournalRow{sameOp}})
	}
	wantErr(t, s, store.ErrConflict, func(ctx context.Context, tx store.Tx) error {
		return tx.SetOutcome(ctx, key(10), store.Applied, "S")
	})
	wantErr(t, s, store.ErrConflict, func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.PutUser(ctx, store.User{ID: "1", Login: "ann"}), tx.PutUser(ctx, store.User{ID: "2", Login: "ann"}))
	})
	wantErr(t, s, store.ErrConflict, func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.AppendAudit(ctx, store.AuditRow{ID: "1"}), tx.AppendAudit(ctx, store.AuditRow{ID: "1"}))
	})
	view(t, s, func(r store.Reader) error {
		if users, err := r.Users(t.Context()); err != nil || len(users) != 0 {
			t.Errorf("Users = %v, %v after a conflict, want none", users, err)
		}
		return nil
	})
}

// manyOrders returns n orders, one of them with the id given.
func manyOrders(n int, id string) []store.Order {
	list := make([]store.Order, n)
	for i := range list {
		list[i] = store.Order{PointOfSale: "P", ID: fmt.Sprintf("many%04d", i)}
	}
	list[n/2].ID = id
	return list
}

func testOpenRescue(t *testing.T, s store.Store) {
	rescue := func(id string, n int, state session.State) store.Session {
		return store.Session{PointOfSale: "P", ID: id, Root: "S", Ordinal: n, State: state}
	}
	write(t, s, &store.Changes{Sessions: []store.Session{rescue("r1", 1, session.Opened)}})
	wantErr(t, s, store.ErrConflict, func(ctx context.Context, tx store.Tx) error {
		return tx.Write(ctx, &store.Changes{Sessions: []store.Session{rescue("r2", 2, session.Opened)}})
	})
	write(t, s, &store.Changes{Sessions: []store.Session{rescue("r1", 1, session.Closed)}})
	write(t, s, &store.Changes{Sessions: []store.Session{rescue("r2", 2, session.Opened)}})
	// The closing of one and the birth of the next in one unit of work.
	write(t, s, &store.Changes{Sessions: []store.Session{rescue("r2", 2, session.Closed), rescue("r3", 3, session.Opened)}})
	view(t, s, func(r store.Reader) error {
		list, err := r.Rescues(t.Context(), "P", []string{"S", "other"})
		if len(list) != 3 || list[0].ID != "r1" || list[2].ID != "r3" {
			t.Errorf("Rescues = %+v", list)
		}
		return err
	})
}

func testSessions(t *testing.T, s store.Store) {
	ctx := t.Context()
	var c store.Changes
	for i := range 20 {
		x := store.Session{PointOfSale: "P", ID: fmt.Sprintf("s%02d", i), Name: fmt.Sprintf("P/R1/%05d", i), Register: "R1", OpenedAt: int64(100 + i/2), State: session.Closed}
		if i%2 == 1 {
			x.Register = "R2"
		}
		if i == 3 {
			x.State = session.Opened
		}
		if i == 4 {
			x.Root, x.Ordinal = "s00", 1
		}
		if i == 5 {
			x.Name = "100%_\\"
		}
		if i >= 18 {
			x.PointOfSale = "Q"
		}
		c.Sessions = append(c.Sessions, x)
	}
	rand.Shuffle(len(c.Sessions), func(i, j int) { c.Sessions[i], c.Sessions[j] = c.Sessions[j], c.Sessions[i] })
	write(t, s, &c)
	yes, no := true, false
	tests := []struct {
		name  string
		f     store.SessionFilter
		n     int
		first string
	}{
		{"all", store.SessionFilter{}, 20, "s19"},
		{"of points of sale", store.SessionFilter{PointsOfSale: []string{"P", "X"}}, 18, "s17"},
		{"of no point of sale", store.SessionFilter{PointsOfSale: []string{}}, 0, ""},
		{"of a register", store.SessionFilter{Register: "R1"}, 10, "s18"},
		{"in states", store.SessionFilter{States: []session.State{session.Opened, session.ClosingControl}}, 1, "s03"},
		{"rescues", store.SessionFilter{Rescue: &yes}, 1, "s04"},
		{"no rescues", store.SessionFilter{Rescue: &no}, 19, "s19"},
		{"part of a name, small letters", store.SessionFilter{Name: "p/r1/0001"}, 10, "s19"},
		{"letters with a meaning", store.SessionFilter{Name: "%_\\"}, 1, "s05"},
		{"opened from", store.SessionFilter{OpenedFrom: 109}, 2, "s19"},
		{"opened to", store.SessionFilter{OpenedTo: 101}, 2, "s01"},
		{"several at once", store.SessionFilter{PointsOfSale: []string{"P"}, Register: "R2", OpenedFrom: 102, OpenedTo: 104, Limit: 1}, 1, "s07"},
	}
	view(t, s, func(r store.Reader) error {
		for _, tt := range tests {
			got, err := r.Sessions(ctx, tt.f)
			check(t, err)
			if len(got) != tt.n || tt.n > 0 && got[0].ID != tt.first {
				t.Errorf("%s: %d sessions, first %+v, want %d, first %s", tt.name, len(got), got, tt.n, tt.first)
			}
		}
		f := store.SessionFilter{Limit: 3}
		for i := 20; ; {
			page, err := r.Sessions(ctx, f)
			check(t, err)
			for _, x := range page {
				i--
				if want := fmt.Sprintf("s%02d", i); x.ID != want {
					t.Errorf("paging gives %s, want %s", x.ID, want)
				}
			}
			if len(page) < f.Limit {
				if i != 0 {
					t.Errorf("paging leaves %d", i)
				}
				return nil
			}
			f.AfterAt, f.AfterID = page[2].OpenedAt, page[2].ID
		}
	})
}

func testOrders(t *testing.T, s store.Store) {
	ctx := t.Context()
	var c store.Changes
	for i := range 20 {
		c.Orders = append(c.Orders, store.Order{
			PointOfSale: "P", ID: fmt.Sprintf("o%02d", i), Number: fmt.Sprintf("P-R1-%04d", i), Register: fmt.Sprintf("R%d", i%2),
			Session: "S", Stamped: "S", At: int64(100 + i/2),
		})
	}
	c.Orders[1].Session, c.Orders[1].Late = "S+", true
	c.Orders[2].Number = c.Orders[3].Number
	c.Sessions = []store.Session{{PointOfSale: "P", ID: "S"}, {PointOfSale: "P", ID: "S+"}}
	write(t, s, &c)
	yes, no := true, false
	tests := []struct {
		name  string
		f     store.OrderFilter
		n     int
		first string
	}{
		{"all", store.OrderFilter{}, 20, "o19"},
		{"of other points of sale", store.OrderFilter{PointsOfSale: []string{"Q"}}, 0, ""},
		{"booked in", store.OrderFilter{PointsOfSale: []string{"P"}, Session: "S+"}, 1, "o01"},
		{"booked in, wherever it is", store.OrderFilter{Session: "S+"}, 1, "o01"},
		{"stamped", store.OrderFilter{Stamped: "S"}, 20, "o19"},
		{"of a register", store.OrderFilter{Register: "R0"}, 10, "o18"},
		{"part of a number", store.OrderFilter{Number: "r1-001"}, 10, "o19"},
		{"late", store.OrderFilter{Late: &yes}, 1, "o01"},
		{"not late", store.OrderFilter{Late: &no}, 19, "o19"},
		{"from", store.OrderFilter{From: 109}, 2, "o19"},
		{"to", store.OrderFilter{To: 101}, 2, "o01"},
	}
	view(t, s, func(r store.Reader) error {
		for _, tt := range tests {
			got, err := r.Orders(ctx, tt.f)
			check(t, err)
			if len(got) != tt.n || tt.n > 0 && got[0].ID != tt.first {
				t.Errorf("%s: %d orders, want %d, first %s", tt.name, len(got), tt.n, tt.first)
			}
		}
		page, err := r.Orders(ctx, store.OrderFilter{Limit: 2, AfterAt: 105, AfterID: "o11"})
		if len(page) != 2 || page[0].ID != "o10" || page[1].ID != "o09" {
			t.Errorf("page after o11 = %+v", page)
		}
		taken, terr := r.NumbersTaken(ctx, "P", []string{"P-R1-0003", "P-R1-0004", "none"})
		equal(t, "NumbersTaken", taken, map[string][]string{"P-R1-0003": {"o02", "o03"}, "P-R1-0004": {"o04"}})
		return errors.Join(err, terr)
	})
}

func testFlags(t *testing.T, s store.Store) {
	ctx := t.Context()
	write(t, s, &store.Changes{Flags: []store.Flag{
		{PointOfSale: "P", ID: "1", At: 1}, {PointOfSale: "P", ID: "2", At: 2, Session: "S"}, {PointOfSale: "Q", ID: "3", At: 3},
	}})
	update(t, s, func(tx store.Tx) error { return tx.ResolveFlag(ctx, "P", "1", "ann", "accepted", 9) })
	update(t, s, func(tx store.Tx) error { return tx.ResolveFlag(ctx, "P", "1", "bob", "again", 10) })
	view(t, s, func(r store.Reader) error {
		f, err := r.Flag(ctx, "P", "1")
		equal(t, "Flag", f, store.Flag{PointOfSale: "P", ID: "1", At: 1, Resolved: 9, ResolvedBy: "ann", How: "accepted"})
		tests := []struct {
			f    store.FlagFilter
			want string
		}{
			{store.FlagFilter{}, "321"},
			{store.FlagFilter{Open: true}, "32"},
			{store.FlagFilter{PointsOfSale: []string{"P"}}, "21"},
			{store.FlagFilter{Session: "S"}, "2"},
			{store.FlagFilter{Limit: 1}, "3"},
		}
		for _, tt := range tests {
			list, err := r.Flags(ctx, tt.f)
			check(t, err)
			ids := make([]string, len(list))
			for i, f := range list {
				ids[i] = f.ID
			}
			if got := strings.Join(ids, ""); got != tt.want {
				t.Errorf("Flags(%+v) = %v, want %s", tt.f, ids, tt.want)
			}
		}
		return err
	})
}

func testPostings(t *testing.T, s store.Store) {
	ctx := t.Context()
	post := func(p, id string, n int, date string) store.Posting {
		return store.Posting{
			PointOfSale: p, Session: id, Number: fmt.Sprintf("2026-%05d", n), Year: 2026, Ordinal: n, Date: date,
			Lines: []store.PostingLine{{No: 1, Account: "a" + id, Debit: 5}, {No: 2, Account: "b" + id, Credit: 5}},
		}
	}
	all := []store.Posting{post("P", "1", 1, "2026-01-31"), post("Q", "1", 2, "2026-02-01"), post("P", "2", 3, "2026-02-02")}
	for _, p := range all {
		update(t, s, func(tx store.Tx) error { return tx.PutPosting(ctx, p) })
	}
	wantErr(t, s, store.ErrConflict, func(ctx context.Context, tx store.Tx) error { return tx.PutPosting(ctx, post("P", "1", 4, "")) })
	wantErr(t, s, store.ErrConflict, func(ctx context.Context, tx store.Tx) error { return tx.PutPosting(ctx, post("P", "3", 3, "")) })
	view(t, s, func(r store.Reader) error {
		for _, tt := range []struct {
			f    store.PostingFilter
			want []store.Posting
		}{
			{store.PostingFilter{}, all},
			{store.PostingFilter{PointsOfSale: []string{"P"}}, []store.Posting{all[0], all[2]}},
			{store.PostingFilter{From: "2026-02-01", To: "2026-02-01"}, all[1:2]},
			{store.PostingFilter{Limit: 1}, all[:1]},
		} {
			got, err := r.Postings(ctx, tt.f)
			check(t, err)
			equal(t, "Postings", got, tt.want)
		}
		return nil
	})
}

func testKnownOps(t *testing.T, s store.Store) {
	ctx := t.Context()
	row := func(seq uint64, op string, o store.Outcome) store.JournalRow {
		return store.JournalRow{JournalKey: key(seq), Op: op, Outcome: o, Booked: "S", Raw: []byte{1}}
	}
	write(t, s, &store.Changes{Journal: []store.JournalRow{
		row(1, "a", store.Applied), row(2, "a", store.KnownAlready), row(3, "a", store.NotCounted), row(4, "a", store.Accepted),
		row(5, "b", store.AppliedFlagged), row(6, "c", store.KnownAlready),
	}})
	update(t, s, func(tx store.Tx) error { return tx.SetOutcome(ctx, key(3), store.Accepted, "T") })
	view(t, s, func(r store.Reader) error {
		known, err := r.KnownOps(ctx, "P", []string{"a", "b", "c", "d", "a"})
		if len(known["a"]) != 3 || len(known["b"]) != 1 || len(known) != 2 {
			t.Errorf("KnownOps = %+v", known)
		}
		for _, k := range known["a"] {
			if k.Seq == 3 && (k.Outcome != store.Accepted || k.Booked != "T") {
				t.Errorf("after SetOutcome: %+v", k)
			}
		}
		none, nerr := r.KnownOps(ctx, "Q", []string{"a"})
		if len(none) != 0 {
			t.Errorf("KnownOps of another point of sale = %+v", none)
		}
		booked, berr := r.Booked(ctx, "P", "S")
		if len(booked) != 5 || booked[0].Seq != 1 || booked[4].Seq != 6 {
			t.Errorf("Booked = %+v", booked)
		}
		empty, eerr := r.Booked(ctx, "P", "")
		if len(empty) != 0 {
			t.Errorf("Booked in no session = %+v", empty)
		}
		return errors.Join(err, nerr, berr, eerr)
	})
}

func testRefunds(t *testing.T, s store.Store) {
	ctx := t.Context()
	write(t, s, &store.Changes{Lines: []store.OrderLine{
		{PointOfSale: "P", Order: "sale", No: 1, ID: "l1", Qty: 3000},
		{PointOfSale: "P", Order: "sale", No: 2, ID: "l2", Qty: 1000},
		{PointOfSale: "P", Order: "sale", Copy: 1, No: 1, ID: "l1", Qty: 9000},
		{PointOfSale: "P", Order: "back1", No: 1, ID: "x", Qty: -1000, RefundOrder: "sale", RefundLine: "l1"},
		{PointOfSale: "P", Order: "back2", No: 1, ID: "x", Qty: -500, RefundOrder: "sale", RefundLine: "l1"},
		{PointOfSale: "P", Order: "back3", No: 1, ID: "x", Qty: -700, RefundOrder: "not here", RefundLine: "l"},
		{PointOfSale: "Q", Order: "back4", No: 1, ID: "x", Qty: -500, RefundOrder: "sale", RefundLine: "l1"},
	}})
	view(t, s, func(r store.Reader) error {
		got, err := r.RefundedLines(ctx, "P", []string{"sale", "not here", "unknown"})
		equal(t, "RefundedLines", got, []store.RefundedLine{
			{Order: "not here", Line: "l", Refunded: 700},
			{Order: "sale", Line: "l1", Sold: 3000, Refunded: 1500},
			{Order: "sale", Line: "l2", Sold: 1000},
		})
		back, berr := r.RefundsOf(ctx, "P", "sale")
		if len(back) != 2 || back[0].Order != "back1" || back[1].Order != "back2" {
			t.Errorf("RefundsOf = %+v", back)
		}
		return errors.Join(err, berr)
	})
}

func testMoves(t *testing.T, s store.Store) {
	ctx := t.Context()
	move := func(id, session string, seq uint64) store.Move {
		return store.Move{PointOfSale: "P", ID: id, Register: "R", Entry: entry.Place{Epoch: 1, Seq: seq}, Session: session, Between: session == ""}
	}
	write(t, s, &store.Changes{Moves: []store.Move{move("c", "", 3), move("a", "S", 1), move("b", "", 2)}})
	ids := func(list []store.Move) string {
		all := make([]string, len(list))
		for i, m := range list {
			all[i] = m.ID
		}
		return strings.Join(all, "")
	}
	want := func(between, booked string) {
		t.Helper()
		view(t, s, func(r store.Reader) error { //nolint:contextcheck // it has the context of the test
			b, err := r.BetweenMoves(ctx, "P", "R")
			m, merr := r.Moves(ctx, "P", "S")
			none, nerr := r.Moves(ctx, "P", "")
			if ids(b) != between || ids(m) != booked || len(none) != 0 {
				t.Errorf("between %s, booked %s, want %s, %s", ids(b), ids(m), between, booked)
			}
			return errors.Join(err, merr, nerr)
		})
	}
	want("bc", "a")
	posted := move("b", "", 2)
	posted.Session = "S"
	write(t, s, &store.Changes{MovesPut: []store.Move{posted}})
	want("c", "ab")
}

func testDrawer(t *testing.T, s store.Store) {
	ctx := t.Context()
	line := func(session string, seq uint64, n int, method string) store.DrawerLine {
		return store.DrawerLine{PointOfSale: "P", Register: "R", Method: method, Line: drawer.Line{Session: session, Stay: entry.Place{Epoch: 1, Seq: seq}, Ordinal: n}}
	}
	chain := []store.DrawerLine{
		line("S1", 1, 0, "card"), line("S1", 1, 0, "cash"), line("S1-1", 1, 1, "cash"),
		line("S2", 5, 0, "cash"), line("S3", 9, 0, "cash"), line("S3-1", 9, 1, "cash"),
	}
	other := line("S2", 2, 0, "cash")
	other.Register = "R2"
	var c store.Changes
	for _, i := range rand.Perm(len(chain)) {
		c.Drawer = append(c.Drawer, chain[i])
	}
	c.Drawer = append(c.Drawer, other)
	write(t, s, &c)
	view(t, s, func(r store.Reader) error {
		for _, tt := range []struct {
			sessions []string
			tail     int
			from     int
		}{{nil, 0, 0}, {nil, 9, 0}, {nil, 1, 4}, {nil, 2, 3}, {[]string{"S2", "S3"}, 1, 3}, {[]string{"S1-1"}, 1, 0}, {[]string{"S3"}, 2, 3}, {[]string{"none"}, 1, 4}} {
			got, err := r.DrawerChain(ctx, "P", "R", tt.sessions, tt.tail)
			check(t, err)
			equal(t, fmt.Sprintf("DrawerChain(%v, %d)", tt.sessions, tt.tail), got, chain[tt.from:])
		}
		got, err := r.DrawerLines(ctx, "P", []string{"S1", "S1-1", "S2"})
		equal(t, "DrawerLines", got, []store.DrawerLine{chain[0], chain[1], chain[2], chain[3], other})
		return err
	})
}

func testCloses(t *testing.T, s store.Store) {
	ctx := t.Context()
	closes := []store.Close{
		{PointOfSale: "P", Session: "S1", At: 10},
		{PointOfSale: "P", Session: "S1-1", Root: "S1", Ordinal: 1, At: 50},
		{PointOfSale: "P", Session: "S1-2", Root: "S1", Ordinal: 2, At: 5},
		{PointOfSale: "P", Session: "S2", At: 20},
	}
	update(t, s, func(tx store.Tx) error {
		for _, i := range rand.Perm(len(closes)) {
			if err := tx.PutClose(ctx, closes[i]); err != nil {
				return err
			}
		}
		return tx.PutClose(ctx, store.Close{PointOfSale: "Q", Session: "X", At: 1})
	})
	want := func(register string, limit int, want ...store.Close) {
		t.Helper()
		view(t, s, func(r store.Reader) error { //nolint:contextcheck // it has the context of the test
			got, err := r.ClosesUnheard(ctx, "P", register, limit)
			equal(t, "ClosesUnheard", got, append([]store.Close(nil), want...))
			return err
		})
	}
	want("R1", 0, closes...)
	want("R1", 2, closes[:2]...)
	write(t, s, &store.Changes{Heard: []store.HeardClose{{PointOfSale: "P", Session: "S1", Register: "R1"}, {PointOfSale: "P", Session: "S2", Register: "R1"}}})
	write(t, s, &store.Changes{Heard: []store.HeardClose{{PointOfSale: "P", Session: "S1", Register: "R1"}}})
	want("R1", 0, closes[1:3]...)
	want("R2", 0, closes...)
}

func testThings(t *testing.T, s store.Store) {
	ctx := t.Context()
	thing := func(pos, id string) store.Thing {
		return store.Thing{PointOfSale: pos, Kind: "product", ID: id, Body: []byte(id)}
	}
	puts := [][]store.Thing{
		{thing("", "c"), thing("", "a"), thing("P", "p")}, {thing("", "b")}, {thing("Q", "q")}, {thing("", "d"), thing("", "e")},
	}
	for i, list := range puts {
		update(t, s, func(tx store.Tx) error {
			n, err := tx.PutThings(ctx, list)
			if n != uint64(i)+1 {
				t.Errorf("PutThings = %d, want %d", n, i+1)
			}
			return err
		})
	}
	gone := thing("", "a")
	gone.Deleted = true
	update(t, s, func(tx store.Tx) error { _, err := tx.PutThings(ctx, []store.Thing{gone}); return err })
	ids := func(list []store.Thing, err error) string {
		check(t, err)
		all := make([]string, len(list))
		for i, x := range list {
			all[i] = x.ID
		}
		return strings.Join(all, "")
	}
	view(t, s, func(r store.Reader) error {
		for want, got := range map[string]string{
			"cpbdea": ids(r.ThingsSince(ctx, "P", 0, 0)),
			"cp":     ids(r.ThingsSince(ctx, "P", 0, 1)),
			"cpb":    ids(r.ThingsSince(ctx, "P", 0, 3)),
			"de":     ids(r.ThingsSince(ctx, "P", 2, 1)),
			"a":      ids(r.ThingsSince(ctx, "P", 4, 5)),
			"":       ids(r.ThingsSince(ctx, "P", 5, 5)),
			"cbqdea": ids(r.ThingsSince(ctx, "Q", 0, 100)),
		} {
			if got != want {
				t.Errorf("ThingsSince = %s, want %s", got, want)
			}
		}
		if got := ids(r.Things(ctx, "", "product", "", 0)); got != "bcde" {
			t.Errorf("Things = %s, want bcde", got)
		}
		if got := ids(r.Things(ctx, "", "product", "b", 2)); got != "cd" {
			t.Errorf("Things after b = %s, want cd", got)
		}
		n, err := r.Revision(ctx)
		if n != 5 {
			t.Errorf("Revision = %d, want 5", n)
		}
		return err
	})
}

func testOffice(t *testing.T, s store.Store) {
	ctx := t.Context()
	update(t, s, func(tx store.Tx) error {
		var errs []error
		for i := range 5 {
			errs = append(errs, tx.AppendAudit(ctx, store.AuditRow{ID: strconv.Itoa(i), At: int64(10 + i)}))
		}
		return errors.Join(append(errs,
			tx.PutToken(ctx, store.Token{Hash: []byte("h"), User: "u"}),
			tx.PutUser(ctx, store.User{ID: "b"}), tx.PutUser(ctx, store.User{ID: "a"}),
			tx.PutPointOfSale(ctx, store.PointOfSale{Code: "Q"}), tx.PutPointOfSale(ctx, store.PointOfSale{Code: "P"}),
			tx.PutRegister(ctx, store.Register{PointOfSale: "P", ID: "1", Code: "R2"}), tx.PutRegister(ctx, store.Register{PointOfSale: "P", ID: "2", Code: "R1"}),
			tx.PutRegister(ctx, store.Register{PointOfSale: "A", ID: "3", Code: "R9"}),
			tx.SetMeta(ctx, "k", []byte("1")), tx.SetMeta(ctx, "k", []byte("2")))...)
	})
	update(t, s, func(tx store.Tx) error { return tx.DeleteToken(ctx, []byte("h")) })
	view(t, s, func(r store.Reader) error {
		list, err := r.Audit(ctx, 14, 2)
		if len(list) != 2 || list[0].ID != "3" || list[1].ID != "2" {
			t.Errorf("Audit = %+v", list)
		}
		users, uerr := r.Users(ctx)
		points, perr := r.PointsOfSale(ctx)
		if len(users) != 2 || users[0].ID != "a" || len(points) != 2 || points[0].Code != "P" {
			t.Errorf("Users = %+v, PointsOfSale = %+v", users, points)
		}
		regs, rerr := r.Registers(ctx, "P")
		all, aerr := r.Registers(ctx, "")
		if len(regs) != 2 || regs[0].Code != "R1" || len(all) != 3 || all[0].Code != "R9" {
			t.Errorf("Registers = %+v, of all %+v", regs, all)
		}
		m, merr := r.Meta(ctx, "k")
		if string(m) != "2" {
			t.Errorf("Meta = %s", m)
		}
		if _, err := r.Token(ctx, []byte("h")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Token = %v after it was deleted", err)
		}
		return errors.Join(err, uerr, perr, rerr, aerr, merr)
	})
}
