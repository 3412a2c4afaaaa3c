package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/sample"
	"tillandsia/syncserver/internal/world"
)

// till is a register with the person who sells at it, and what lies in its
// drawer for real: the story keeps that itself, by what customers hand over.
type till struct {
	*world.Till
	user   *world.Client
	second *world.Client // another screen of the register, if there is one
	drawer int64
	// sold counts the orders of each session, by id.
	sold  map[string]int
	token string
}

// enrol makes a register of the shop and signs a user in at it.
func (s *story) enrol(ctx context.Context, code, user, pin string) (*till, error) {
	t, err := s.server.Enrol(ctx, shopCode, code, "")
	if err != nil {
		return nil, err
	}
	out := &till{Till: t, sold: map[string]int{}}
	data, err := os.ReadFile(filepath.Join(t.Data(), "enrolment.json"))
	if err == nil {
		var e struct {
			Token string `json:"token"`
		}
		err = json.Unmarshal(data, &e)
		out.token = e.Token
	}
	if err != nil {
		return out, fmt.Errorf("read the register's enrolment: %w", err)
	}
	out.user, err = out.signIn(ctx, user, pin, "first screen")
	return out, err
}

// signIn unlocks a screen of the register with a person's PIN.
func (t *till) signIn(ctx context.Context, name, pin, screen string) (*world.Client, error) {
	token, err := apiToken(t.Till)
	if err != nil {
		return nil, err
	}
	program := world.NewClient(t.URL, token)
	var users []struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	if err := program.Get(ctx, "/users", &users); err != nil {
		return nil, err
	}
	for _, u := range users {
		if u.Name != name {
			continue
		}
		var in struct {
			Token string `json:"token"`
		}
		if err := program.Post(ctx, "/sign-ins", map[string]string{"user": u.ID, "pin": pin, "browser": screen, "device": screen}, &in); err != nil {
			return nil, err
		}
		return world.NewClient(t.URL, in.Token), nil
	}
	return nil, fmt.Errorf("%s is not among the users of register %s", name, t.Code)
}

type opened struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// open opens a session with what lies in the drawer.
func (t *till) open(ctx context.Context, float int64) (opened, error) {
	var out opened
	err := t.user.Post(ctx, "/session", map[string]any{"float": float, "confirm": true}, &out)
	t.drawer = float
	return out, err
}

// sale is what a sale at the till answers.
type sale struct {
	Order struct {
		ID      string `json:"id"`
		Number  string `json:"number"`
		Total   int64  `json:"total"`
		Change  int64  `json:"change"`
		Session struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"session"`
	} `json:"order"`
}

// note is what customers pay with: fives.
const note = 500

// sell sells the next n orders of the sample, paid in cash with change.
func (s *story) sell(ctx context.Context, t *till, n int) ([]sale, error) {
	return s.sellAt(ctx, t, t.user, n)
}

// sellAt sells at one of a register's screens.
func (s *story) sellAt(ctx context.Context, t *till, screen *world.Client, n int) ([]sale, error) {
	var sales []sale
	for range n {
		if len(s.sample) == 0 {
			return nil, errors.New("the sample has no more orders")
		}
		order := s.sample[0]
		s.sample = s.sample[1:]
		sold, err := t.sell(ctx, screen, order)
		if err != nil {
			return nil, err
		}
		sales = append(sales, sold)
	}
	return sales, nil
}

func (t *till) sell(ctx context.Context, screen *world.Client, o sample.Order) (sale, error) {
	var total int64
	var lines []map[string]any
	for _, l := range o.Lines {
		lines = append(lines, map[string]any{"code": l.ProductCode, "qty": l.Qty * 1000})
		total += int64(l.Qty) * int64(l.UnitPrice) / int64(pricePerCent)
	}
	tendered := (total + note - 1) / note * note
	var out sale
	body := map[string]any{"lines": lines, "payments": []map[string]any{{"method": "cash", "amount": tendered}}}
	if err := screen.Post(ctx, "/sales", body, &out); err != nil {
		return sale{}, err
	}
	if out.Order.Total != total || out.Order.Change != tendered-total {
		return sale{}, fmt.Errorf("%w: order %s came to %d with %d change, should be %d with %d", ErrFact, o.ID, out.Order.Total, out.Order.Change, total, tendered-total)
	}
	t.drawer += total
	t.sold[out.Order.Session.ID]++
	return out, nil
}

// pricePerCent is how many units of a price a cent has.
const pricePerCent = money.Price(100)

// count counts the drawer blindly and returns the difference that is revealed
// then.
func (t *till) count(ctx context.Context) (difference int64, err error) {
	var out struct {
		Methods []struct {
			Method     string `json:"method"`
			Difference int64  `json:"difference"`
		} `json:"methods"`
	}
	counts := []map[string]any{{"method": "cash", "amount": t.drawer}, {"method": "card", "amount": 0}}
	if err := t.user.Post(ctx, "/session/count", map[string]any{"counts": counts}, &out); err != nil {
		return 0, err
	}
	for _, m := range out.Methods {
		difference += m.Difference
	}
	return difference, nil
}

// closing is what a close-out answers.
type closing struct {
	Z struct {
		Number int `json:"number"`
		Period struct {
			Sales      int   `json:"sales"`
			SalesTotal int64 `json:"sales_total"`
		} `json:"period"`
	} `json:"z"`
	Central *struct {
		Beyond  int    `json:"beyond"`
		Message string `json:"message"`
		By      struct {
			Name string `json:"name"`
		} `json:"by"`
	} `json:"central"`
}

func (t *till) close(ctx context.Context) (closing, error) {
	var out closing
	err := t.user.Post(ctx, "/session/close", map[string]any{}, &out)
	return out, err
}

func (t *till) leave(ctx context.Context) (closing, error) {
	var out closing
	err := t.user.Post(ctx, "/session/leave", map[string]any{}, &out)
	return out, err
}

// sync is how a register's connection stands.
type sync struct {
	Phase   string `json:"phase"`
	Waiting int    `json:"waiting"`
}

func (t *till) sync(ctx context.Context) (sync, error) {
	var out sync
	err := t.user.Get(ctx, "/sync", &out)
	return out, err
}

// waitSynced waits until a register has delivered everything.
func (s *story) waitSynced(ctx context.Context, t *till) error {
	return s.eventually(ctx, func(ctx context.Context) error {
		got, err := t.sync(ctx)
		if err != nil {
			return err
		}
		if got.Waiting != 0 {
			return fmt.Errorf("register %s: %d entries wait, %s", t.Code, got.Waiting, got.Phase)
		}
		return nil
	})
}

// cut pulls the cable and waits until the register has noticed.
func (s *story) cut(ctx context.Context, t *till) error {
	t.Proxy.Cut()
	return s.eventually(ctx, func(ctx context.Context) error {
		got, err := t.sync(ctx)
		if err == nil && got.Phase != "offline" {
			err = fmt.Errorf("register %s has not noticed yet: %s", t.Code, got.Phase)
		}
		return err
	})
}
