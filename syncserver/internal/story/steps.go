package story

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"

	"tillandsia/syncserver/internal/sample"
	"tillandsia/syncserver/internal/world"
)

// The people of the story, as the shop is set up with them.
const (
	carla  = "Carla Cashier"
	carlos = "Carlos Cashier"
	maria  = "Maria Manager"
)

type step struct {
	words string
	play  func(s *story, ctx context.Context) error
}

// steps are the story, in order.
var steps = []step{
	{"A shop opens: a server, and two registers that are enrolled with a code each.", (*story).opensShop},
	{"Carla opens a session at register 1 with 100.00 in the drawer and sells online.", (*story).sellsOnline},
	{"The connection of register 1 is cut. Carla goes on selling.", (*story).sellsOffline},
	{"Carlos continues selling in her session, at register 2 with his own drawer of 80.00.", (*story).continuesSelling},
	{"From her desk, Maria closes the session, not counted, while both still sell.", (*story).forceCloses},
	{"Nothing changes at the registers: both sell on, now both without a connection.", (*story).sellOn},
	{"Both connections come back at the same moment. The server makes one rescue session and books what was late.", (*story).rescues},
	{"Carla sells on, online. Her orders still bear the closed session and go to the same rescue.", (*story).sellsIntoRescue},
	{"What was delivered is delivered again, over two connections at once. Nothing changes.", (*story).deliversAgain},
	{"No register can see, join or close the rescue.", (*story).cannotClose},
	{"Carlos sells once more on a second screen of register 2, counts his drawer on the first and leaves.", (*story).leaves},
	{"Carla counts her drawer and closes out. She is told what happened, and nothing is refused.", (*story).closesOut},
	{"Carla opens tomorrow's session before anybody has looked at the rescue.", (*story).opensTomorrow},
	{"Maria finds the rescue under Sessions with the till's count, closes it and posts the entries.", (*story).closesRescue},
	{"A customer comes to the second screen, which still has the old session open: a second rescue.", (*story).secondRescue},
	{"Maria counts Carlos's drawer herself and closes the second rescue.", (*story).closesSecond},
	{"Maria closes tomorrow's session too. Carla sells no more and closes out: there is no rescue.", (*story).noRescue},
	{"Both drawers agree with the books to the cent, and every sale is there once.", (*story).agrees},
	{"The audit checks every invariant and the balance of the books.", (*story).audits},
}

func (s *story) opensShop(ctx context.Context) error {
	var err error
	s.server, err = world.StartServer(ctx, world.ServerOptions{Programs: s.Programs, Dir: s.Dir, Database: s.Database})
	if err != nil {
		return err
	}
	shop := world.Shop{
		Code: shopCode, Name: "Corner pizzeria", Products: sample.ProductsCSV(),
		Taxes: map[string]int{"VAT10": 100_000}, Registers: []string{"R1", "R2"},
	}
	if err := s.server.OpenShop(ctx, shop); err != nil {
		return err
	}
	if s.r1, err = s.enrol(ctx, "R1", carla, world.CashierPIN); err != nil {
		return err
	}
	if s.r2, err = s.enrol(ctx, "R2", carlos, world.SecondPIN); err != nil {
		return err
	}
	var registers []struct {
		State string `json:"state"`
	}
	if err := s.server.Manager.Get(ctx, "/points-of-sale/"+shopCode+"/registers", &registers); err != nil {
		return err
	}
	enrolled := 0
	for _, r := range registers {
		if r.State == "enrolled" {
			enrolled++
		}
	}
	return is(s, "registers enrolled", enrolled, 2)
}

func (s *story) sellsOnline(ctx context.Context) error {
	session, err := s.r1.open(ctx, firstFloat)
	if err != nil {
		return err
	}
	s.first = session.ID
	if _, err := s.sell(ctx, s.r1, 5); err != nil {
		return err
	}
	if err := s.waitOrders(ctx, s.first, 5); err != nil {
		return err
	}
	got, err := s.session(ctx, s.first)
	if err != nil {
		return err
	}
	return all(
		func() error { return is(s, "name of the session", got.Name, "SHOP1/R1/00001") },
		func() error { return is(s, "state at the server", got.State, "opened") },
		func() error { return is(s, "orders at the server", got.Orders, 5) },
		func() error { return is(s, "opened by", got.OpenedByName, carla) },
	)
}

func (s *story) sellsOffline(ctx context.Context) error {
	if err := s.cut(ctx, s.r1); err != nil {
		return err
	}
	sales, err := s.sell(ctx, s.r1, 4)
	if err != nil {
		return err
	}
	got, err := s.session(ctx, s.first)
	if err != nil {
		return err
	}
	sync, err := s.r1.sync(ctx)
	if err != nil {
		return err
	}
	return all(
		func() error { return is(s, "number of the last receipt", sales[3].Order.Number, "SHOP1-R1-00001-0009") },
		func() error { return is(s, "orders that the server knows", got.Orders, 5) },
		func() error { return is(s, "entries waiting at the register", sync.Waiting, 4) },
	)
}

func (s *story) continuesSelling(ctx context.Context) error {
	var state struct {
		Elsewhere []struct {
			ID string `json:"id"`
		} `json:"elsewhere"`
	}
	err := s.eventually(ctx, func(ctx context.Context) error {
		if err := s.r2.user.Get(ctx, "/session", &state); err != nil {
			return err
		}
		if len(state.Elsewhere) == 0 {
			return errors.New("register 2 has not heard of the session yet")
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := is(s, "session in progress that register 2 lists", state.Elsewhere[0].ID, s.first); err != nil {
		return err
	}
	if err := s.r2.user.Post(ctx, "/session/join", map[string]any{"session": s.first, "float": secondFloat}, nil); err != nil {
		return err
	}
	s.r2.drawer = secondFloat
	sales, err := s.sell(ctx, s.r2, 3)
	if err != nil {
		return err
	}
	if err := s.waitOrders(ctx, s.first, 8); err != nil {
		return err
	}
	got, err := s.session(ctx, s.first)
	if err != nil {
		return err
	}
	return all(
		func() error {
			return is(s, "number of his first receipt", sales[0].Order.Number, "SHOP1-R2-R1.00001-0001")
		},
		func() error { return is(s, "his drawer's float", cashLine(got, "R2").Opening, int64(secondFloat)) },
		func() error { return is(s, "cash expected in his drawer", cashLine(got, "R2").Expected, s.r2.drawer) },
	)
}

type closed struct {
	Session session `json:"session"`
	Posting *struct {
		Number string `json:"number"`
		Lines  []struct {
			Debit  int64 `json:"debit"`
			Credit int64 `json:"credit"`
		} `json:"lines"`
	} `json:"posting"`
	Already bool `json:"already"`
}

// balance is Σ debit − Σ credit of what was posted.
func (c closed) balance() int64 {
	var sum int64
	if c.Posting != nil {
		for _, l := range c.Posting.Lines {
			sum += l.Debit - l.Credit
		}
	}
	return sum
}

func (s *story) forceClose(ctx context.Context, id string) (closed, error) {
	var out closed
	err := s.server.Manager.Post(ctx, s.path(id)+"/close", map[string]any{"counted": false, "reason": "closing time, cashier not reachable"}, &out)
	return out, err
}

func (s *story) forceCloses(ctx context.Context) error {
	var known struct {
		Unheard bool `json:"unheard"`
	}
	if err := s.server.Manager.Get(ctx, s.path(s.first)+"/close", &known); err != nil {
		return err
	}
	out, err := s.forceClose(ctx, s.first)
	if err != nil {
		return err
	}
	again, err := s.forceClose(ctx, s.first)
	if err != nil {
		return err
	}
	if out.Posting == nil {
		return fmt.Errorf("%w: nothing was posted", ErrFact)
	}
	return all(
		func() error { return is(s, "state", out.Session.State, "closed") },
		func() error { return is(s, "orders in it", out.Session.Orders, 8) },
		func() error { return is(s, "debit less credit of its posting", out.balance(), 0) },
		func() error { return is(s, "asked twice, it says that it was closed", again.Already, true) },
		func() error {
			return is(s, "the same posting", again.Session.Posting, out.Posting.Number)
		},
	)
}

func (s *story) sellOn(ctx context.Context) error {
	if err := s.cut(ctx, s.r2); err != nil {
		return err
	}
	first, err := s.sell(ctx, s.r1, 2)
	if err != nil {
		return err
	}
	second, err := s.sell(ctx, s.r2, 2)
	if err != nil {
		return err
	}
	var state struct {
		Session struct {
			State string `json:"state"`
		} `json:"session"`
	}
	if err := s.r1.user.Get(ctx, "/session", &state); err != nil {
		return err
	}
	return all(
		func() error { return is(s, "session on Carla's receipts", first[1].Order.Session.ID, s.first) },
		func() error { return is(s, "session on Carlos's receipts", second[1].Order.Session.ID, s.first) },
		func() error { return is(s, "what Carla's screen says of it", state.Session.State, "selling") },
	)
}

func (s *story) rescues(ctx context.Context) error {
	group := errgroup.Group{}
	for _, t := range []*till{s.r1, s.r2} {
		group.Go(func() error { t.Proxy.Restore(); return nil })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := s.waitSynced(ctx, s.r1); err != nil {
		return err
	}
	if err := s.waitSynced(ctx, s.r2); err != nil {
		return err
	}
	list, err := s.rescueSessions(ctx)
	if err != nil {
		return err
	}
	if err := is(s, "rescue sessions", len(list), 1); err != nil {
		return err
	}
	s.rescue = list[0].ID
	original, err := s.session(ctx, s.first)
	if err != nil {
		return err
	}
	return all(
		func() error { return is(s, "its name", list[0].Name, "(RESCUE FOR SHOP1/R1/00001)") },
		func() error { return is(s, "orders in it: 4 made before the close, 4 after", list[0].Orders, 8) },
		func() error { return is(s, "orders in the closed session, as before", original.Orders, 8) },
	)
}

func (s *story) sellsIntoRescue(ctx context.Context) error {
	if _, err := s.sell(ctx, s.r1, 1); err != nil {
		return err
	}
	if err := s.waitOrders(ctx, s.rescue, 9); err != nil {
		return err
	}
	list, err := s.rescueSessions(ctx)
	if err != nil {
		return err
	}
	got, err := s.session(ctx, s.rescue)
	if err != nil {
		return err
	}
	return all(
		func() error { return is(s, "rescue sessions", len(list), 1) },
		func() error {
			return is(s, "cash expected in Carla's drawer", cashLine(got, "R1").Expected, s.r1.drawer)
		},
		func() error {
			return is(s, "cash expected in Carlos's drawer", cashLine(got, "R2").Expected, s.r2.drawer)
		},
	)
}

func (s *story) deliversAgain(ctx context.Context) error {
	before, err := s.session(ctx, s.rescue)
	if err != nil {
		return err
	}
	accepted, err := s.resend(ctx, s.r1)
	if err != nil {
		return err
	}
	after, err := s.session(ctx, s.rescue)
	if err != nil {
		return err
	}
	list, err := s.rescueSessions(ctx)
	if err != nil {
		return err
	}
	return all(
		func() error { return is(s, "the server took what it knew already", accepted > 0, true) },
		func() error { return is(s, "orders in the rescue, as before", after.Orders, before.Orders) },
		func() error { return is(s, "their total, as before", after.Total, before.Total) },
		func() error { return is(s, "rescue sessions", len(list), 1) },
	)
}

func (s *story) cannotClose(ctx context.Context) error {
	var state struct {
		Elsewhere []struct {
			ID string `json:"id"`
		} `json:"elsewhere"`
	}
	if err := s.r2.user.Get(ctx, "/session", &state); err != nil {
		return err
	}
	listed := false
	for _, e := range state.Elsewhere {
		listed = listed || e.ID == s.rescue
	}
	joined := s.r2.user.Post(ctx, "/session/join", map[string]any{"session": s.rescue, "float": 0}, nil)
	asSession := s.server.Manager.Post(ctx, s.path(s.rescue)+"/close", map[string]any{"counted": false, "reason": "by mistake"}, nil)
	got, err := s.session(ctx, s.rescue)
	if err != nil {
		return err
	}
	return all(
		func() error { return is(s, "register 2 lists it", listed, false) },
		func() error { return is(s, "joining it is refused", refused(joined), true) },
		func() error { return is(s, "closing it like a session is refused", refused(asSession), true) },
		func() error { return is(s, "its state", got.State, "opened") },
	)
}

func refused(err error) bool {
	r, ok := errors.AsType[*world.Refusal](err)
	return ok && (r.Status == http.StatusNotFound || r.Status == http.StatusConflict)
}

func (s *story) leaves(ctx context.Context) error {
	var err error
	if s.r2.second, err = s.r2.signIn(ctx, carlos, world.SecondPIN, "second screen"); err != nil {
		return err
	}
	if _, err := s.sellAt(ctx, s.r2, s.r2.second, 1); err != nil {
		return err
	}
	difference, err := s.r2.count(ctx)
	if err != nil {
		return err
	}
	out, err := s.r2.leave(ctx)
	if err != nil {
		return err
	}
	return all(
		func() error { return is(s, "difference of his count", difference, 0) },
		func() error { return is(s, "his Z report's number", out.Z.Number, 1) },
		func() error { return is(s, "sales on it", out.Z.Period.Sales, 6) },
	)
}

func (s *story) closesOut(ctx context.Context) error {
	difference, err := s.r1.count(ctx)
	if err != nil {
		return err
	}
	out, err := s.r1.close(ctx)
	if err != nil {
		return err
	}
	if out.Central == nil {
		return fmt.Errorf("%w: she is not told that the session was closed centrally", ErrFact)
	}
	return all(
		func() error { return is(s, "difference of her count", difference, 0) },
		func() error { return is(s, "sales on her Z report", out.Z.Period.Sales, 12) },
		func() error { return is(s, "who closed it, as she is told", out.Central.By.Name, maria) },
		func() error { return is(s, "orders beyond the close, as she is told", out.Central.Beyond, 7) },
	)
}

func (s *story) opensTomorrow(ctx context.Context) error {
	opened, err := s.r1.open(ctx, s.r1.drawer)
	if err != nil {
		return err
	}
	s.tomorrow = opened.ID
	if err := s.waitSynced(ctx, s.r1); err != nil {
		return err
	}
	got, err := s.session(ctx, s.tomorrow)
	if err != nil {
		return err
	}
	rescue, err := s.session(ctx, s.rescue)
	if err != nil {
		return err
	}
	return all(
		func() error { return is(s, "its name", got.Name, "SHOP1/R1/00002") },
		func() error { return is(s, "the rescue is still", rescue.State, "opened") },
		func() error { return is(s, "balance brought forward", cashLine(got, "R1").Brought, s.r1.drawer) },
		func() error { return is(s, "opening difference", got.OpeningDiff, 0) },
	)
}

func (s *story) closeRescue(ctx context.Context, id string) (closed, error) {
	var out closed
	err := s.server.Manager.Post(ctx, s.path(id)+"/close-rescue", map[string]any{"choice": "till", "reason": "late orders checked"}, &out)
	return out, err
}

func (s *story) closesRescue(ctx context.Context) error {
	var attention struct {
		Rescues []struct {
			ID string `json:"id"`
		} `json:"rescues"`
	}
	if err := s.server.Manager.Get(ctx, "/attention?pos="+shopCode, &attention); err != nil {
		return err
	}
	if err := is(s, "rescues that need attention", len(attention.Rescues), 1); err != nil {
		return err
	}
	before, err := s.session(ctx, s.rescue)
	if err != nil {
		return err
	}
	counted := int64(-1)
	if c := cashLine(before, "R1").Counted; c != nil {
		counted = *c
	}
	if err := is(s, "the till's count of Carla's drawer, as Maria finds it", counted, s.r1.drawer); err != nil {
		return err
	}
	out, err := s.closeRescue(ctx, s.rescue)
	if err != nil {
		return err
	}
	after, err := s.session(ctx, s.rescue)
	if err != nil {
		return err
	}
	return all(
		func() error { return is(s, "state", after.State, "closed") },
		func() error { return is(s, "difference", after.Difference, 0) },
		func() error { return is(s, "closing of Carla's drawer", cashLine(after, "R1").Closing, s.r1.drawer) },
		func() error { return is(s, "closing of Carlos's drawer", cashLine(after, "R2").Closing, s.r2.drawer) },
		func() error { return is(s, "debit less credit of its posting", out.balance(), 0) },
		func() error { return is(s, "posting written", out.Posting != nil, true) },
	)
}

func (s *story) secondRescue(ctx context.Context) error {
	if _, err := s.sellAt(ctx, s.r2, s.r2.second, 1); err != nil {
		return err
	}
	if err := s.waitSynced(ctx, s.r2); err != nil {
		return err
	}
	list, err := s.rescueSessions(ctx)
	if err != nil {
		return err
	}
	if err := is(s, "rescue sessions", len(list), 2); err != nil {
		return err
	}
	for _, r := range list {
		if r.Ordinal == 2 {
			s.rescue2 = r.ID
		}
	}
	got, err := s.session(ctx, s.rescue2)
	if err != nil {
		return err
	}
	first, err := s.session(ctx, s.rescue)
	if err != nil {
		return err
	}
	return all(
		func() error { return is(s, "the second one's name", got.Name, "(RESCUE FOR SHOP1/R1/00001) #2") },
		func() error { return is(s, "orders in it", got.Orders, 1) },
		func() error {
			return is(s, "it opens with what the first one closed with", cashLine(got, "R2").Opening, cashLine(first, "R2").Closing)
		},
		func() error { return is(s, "cash expected in his drawer", cashLine(got, "R2").Expected, s.r2.drawer) },
	)
}

func (s *story) closesSecond(ctx context.Context) error {
	var out closed
	count := map[string]any{"register": s.r2.ID, "method": "cash", "amount": s.r2.drawer}
	body := map[string]any{"choice": "own", "counts": []map[string]any{count}, "reason": "counted with Carlos"}
	if err := s.server.Manager.Post(ctx, s.path(s.rescue2)+"/close-rescue", body, &out); err != nil {
		return err
	}
	got, err := s.session(ctx, s.rescue2)
	if err != nil {
		return err
	}
	return all(
		func() error { return is(s, "state", got.State, "closed") },
		func() error { return is(s, "difference", got.Difference, 0) },
		func() error { return is(s, "debit less credit of its posting", out.balance(), 0) },
	)
}

func (s *story) noRescue(ctx context.Context) error {
	if _, err := s.sell(ctx, s.r1, 2); err != nil {
		return err
	}
	if err := s.waitSynced(ctx, s.r1); err != nil {
		return err
	}
	if _, err := s.forceClose(ctx, s.tomorrow); err != nil {
		return err
	}
	difference, err := s.r1.count(ctx)
	if err != nil {
		return err
	}
	if _, err := s.r1.close(ctx); err != nil {
		return err
	}
	if err := s.waitSynced(ctx, s.r1); err != nil {
		return err
	}
	list, err := s.rescueSessions(ctx)
	if err != nil {
		return err
	}
	return all(
		func() error { return is(s, "difference of her count", difference, 0) },
		func() error { return is(s, "rescue sessions, as before", len(list), 2) },
	)
}

func (s *story) agrees(ctx context.Context) error {
	tomorrow, err := s.session(ctx, s.tomorrow)
	if err != nil {
		return err
	}
	last, err := s.session(ctx, s.rescue2)
	if err != nil {
		return err
	}
	var orders int
	var taken int64
	for _, id := range []string{s.first, s.rescue, s.rescue2, s.tomorrow} {
		got, err := s.session(ctx, id)
		if err != nil {
			return err
		}
		orders += got.Orders
		taken += got.Total
	}
	sold := 0
	for _, t := range []*till{s.r1, s.r2} {
		for _, n := range t.sold {
			sold += n
		}
	}
	return all(
		func() error {
			return is(s, "cash in Carla's drawer, in the books", cashLine(tomorrow, "R1").Closing, s.r1.drawer)
		},
		func() error {
			return is(s, "cash in Carlos's drawer, in the books", cashLine(last, "R2").Closing, s.r2.drawer)
		},
		func() error { return is(s, "orders in all sessions", orders, sold) },
		func() error {
			return is(s, "their total", taken, s.r1.drawer+s.r2.drawer-firstFloat-secondFloat)
		},
	)
}

func (s *story) audits(ctx context.Context) error {
	printed, err := s.server.Audit(ctx)
	for line := range strings.Lines(printed) {
		fmt.Fprint(s.Out, "      ", line)
	}
	return is(s, "the audit finds it clean", err == nil, true)
}
