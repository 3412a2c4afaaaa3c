// Package story plays the founding story of the product with real programs
// and real orders, step by step, in words that a shop owner understands: a
// manager closes a session while its cashier still sells, and nothing is lost
// or doubled. Every step reads back what it claims, over the APIs or from the
// database, and the story ends at the first thing that is not so.
package story

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"tillandsia/syncserver/internal/sample"
	"tillandsia/syncserver/internal/world"
)

// Options say how the story is played.
type Options struct {
	Programs world.Programs
	// Dir is an empty folder for data and logs.
	Dir string
	// Database is a postgres:// address, "" for SQLite.
	Database string
	// Out is told the story.
	Out io.Writer
	// Falsify is the number of a step (from 1) whose first fact is read
	// wrongly: the story must fail there. 0 tells the truth.
	Falsify int
}

const shopCode = "SHOP1"

// Floats that the drawers begin with, in cents.
const (
	firstFloat  = 10_000
	secondFloat = 8_000
)

// story is one playing of it.
type story struct {
	Options
	server *world.Server
	r1, r2 *till
	sample []sample.Order

	step  int // the one that plays
	facts int // read in it so far

	first, tomorrow string // session ids
	rescue, rescue2 string
}

// ErrFact is returned where something that the story claims is not so.
var ErrFact = errors.New("the story does not hold")

// Run plays the story.
func Run(ctx context.Context, o Options) (err error) {
	s := &story{Options: o, sample: sample.Orders()}
	defer func() { err = errors.Join(err, s.end()) }()
	for i, step := range steps {
		s.step, s.facts = i+1, 0
		fmt.Fprintf(s.Out, "%2d. %s\n", s.step, step.words)
		if err := step.play(s, ctx); err != nil {
			return fmt.Errorf("step %d (%s): %w", s.step, step.words, err)
		}
		if s.facts == 0 {
			return fmt.Errorf("step %d: %w: it claims nothing", s.step, ErrFact)
		}
	}
	fmt.Fprintln(s.Out, "\nThe story holds: nothing lost, nothing doubled, every drawer right to the cent.")
	return nil
}

// Steps is the number of steps.
func Steps() int { return len(steps) }

// end ends every program that the story started.
func (s *story) end() error {
	var errs []error
	for _, t := range []*till{s.r1, s.r2} {
		if t != nil {
			errs = append(errs, t.End())
		}
	}
	if s.server != nil {
		errs = append(errs, s.server.Stop())
	}
	return errors.Join(errs...)
}

// is checks one fact: what was read back against what has to be.
func is[T comparable](s *story, what string, got, want T) error {
	s.facts++
	if s.Falsify == s.step && s.facts == 1 {
		got = falsified(got)
	}
	if got != want {
		return fmt.Errorf("%w: %s is %v, should be %v", ErrFact, what, got, want)
	}
	fmt.Fprintf(s.Out, "      ✓ %s: %v\n", what, got)
	return nil
}

// falsified returns another value than the one read.
func falsified[T comparable](got T) T {
	switch v := any(&got).(type) {
	case *int:
		*v++
	case *int64:
		*v++
	case *string:
		*v += "?"
	case *bool:
		*v = !*v
	}
	return got
}

// eventually waits until f finds it so.
func (s *story) eventually(ctx context.Context, f func(ctx context.Context) error) error {
	return world.Eventually(ctx, world.Patience, f)
}

// all runs checks in order and stops at the first that fails.
func all(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// apiToken reads the token by which programs reach a register's API.
func apiToken(t *world.Till) (string, error) {
	data, err := os.ReadFile(filepath.Join(t.Data(), "api-token"))
	if err != nil {
		return "", fmt.Errorf("read the register's API token: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// session is a session as the server's API tells it.
type session struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	State        string `json:"state"`
	Rescue       bool   `json:"rescue"`
	Root         string `json:"root"`
	Ordinal      int    `json:"ordinal"`
	Orders       int    `json:"orders"`
	Total        int64  `json:"total"`
	Difference   int64  `json:"difference"`
	OpeningDiff  int64  `json:"opening_difference"`
	Posting      string `json:"posting"`
	OpenedByName string `json:"opened_by_name"`
	Counted      bool   `json:"counted"`
	Drawers      []line `json:"drawers"`
	Rescues      []struct {
		ID string `json:"id"`
	} `json:"rescues"`
	History []struct {
		Kind     string `json:"kind"`
		UserName string `json:"user_name"`
	} `json:"history"`
}

type line struct {
	Register   string `json:"register"`
	Code       string `json:"register_code"`
	Method     string `json:"method"`
	Opening    int64  `json:"opening"`
	Expected   int64  `json:"expected"`
	Counted    *int64 `json:"counted"`
	Suggested  *int64 `json:"suggested"`
	Difference int64  `json:"difference"`
	Closing    int64  `json:"closing"`
	Brought    int64  `json:"brought_forward"`
}

func (s *story) path(session string) string {
	return "/points-of-sale/" + shopCode + "/sessions/" + session
}

func (s *story) session(ctx context.Context, id string) (session, error) {
	var out session
	err := s.server.Manager.Get(ctx, s.path(id), &out)
	return out, err
}

// rescueSessions lists the rescues of the shop.
func (s *story) rescueSessions(ctx context.Context) ([]session, error) {
	var page struct {
		Items []session `json:"items"`
	}
	err := s.server.Manager.Get(ctx, "/sessions?rescue=true&pos="+shopCode, &page)
	return page.Items, err
}

// cashLine returns the cash line of a register in a session.
func cashLine(in session, code string) line {
	for _, l := range in.Drawers {
		if l.Code == code && l.Method == "cash" {
			return l
		}
	}
	return line{}
}

// waitOrders waits until a session holds so many orders.
func (s *story) waitOrders(ctx context.Context, id string, orders int) error {
	return s.eventually(ctx, func(ctx context.Context) error {
		got, err := s.session(ctx, id)
		if err != nil {
			return err
		}
		if got.Orders != orders {
			return fmt.Errorf("%s holds %d orders, not %d yet", got.Name, got.Orders, orders)
		}
		return nil
	})
}
