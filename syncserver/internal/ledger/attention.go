package ledger

import (
	"context"
	"fmt"
	"time"

	"tillandsia/shared/session"
	"tillandsia/syncserver/internal/store"
)

// silentAfter is how long a register may be silent, while one of its sessions
// is in progress or it said that entries wait, before it is listed.
const silentAfter = 10 * time.Minute

// maxAttention bounds each list of [Attention]; More says that there are more.
const maxAttention = 500

// Attention is what a manager has to look at.
type Attention struct {
	// Rescues are those to close.
	Rescues []SessionView
	// Waiting are the sessions in closing_control: closed out at the till and
	// waiting for a joined register or for a manager.
	Waiting []WaitingSession
	// Flags are entries and findings that nobody has dealt with.
	Flags []store.Flag
	// Silent are registers that were not heard for a while and may hold sales.
	Silent []SilentRegister
	// Count is how many there are in all; More says that a list was cut.
	Count int
	More  bool
}

// WaitingSession is a session in closing_control, with the registers that are
// still in it.
type WaitingSession struct {
	SessionView
	Joined []RegisterContact
}

// RegisterContact is what the server knows of a register's last contact.
type RegisterContact struct {
	ID       string
	Code     string
	LastSeen time.Time // zero if never
}

// SilentRegister is a register that may hold sales and is not heard.
type SilentRegister struct {
	store.Register
	// Session is its session in progress, "" where only entries wait.
	Session string
}

// Attention lists what needs attention at points of sale, at all where points
// is nil.
func (l *Ledger) Attention(ctx context.Context, points []string) (Attention, error) {
	var a Attention
	err := l.store.View(ctx, func(r store.Reader) error {
		a = Attention{}
		return a.read(ctx, r, points, l.clock())
	})
	return a, err
}

func (a *Attention) read(ctx context.Context, r store.Reader, points []string, now time.Time) error {
	yes, no := true, false
	rescues, err := r.Sessions(ctx, store.SessionFilter{PointsOfSale: points, Rescue: &yes, States: openStates, Limit: maxAttention + 1})
	if err != nil {
		return fmt.Errorf("read rescues: %w", err)
	}
	if a.Rescues, err = views(ctx, r, cut(a, rescues)); err != nil {
		return err
	}
	open, err := r.Sessions(ctx, store.SessionFilter{PointsOfSale: points, Rescue: &no, States: openStates, Limit: maxAttention + 1})
	if err != nil {
		return fmt.Errorf("read sessions in progress: %w", err)
	}
	if a.Flags, err = r.Flags(ctx, store.FlagFilter{PointsOfSale: points, Open: true, Limit: maxAttention + 1}); err != nil {
		return fmt.Errorf("read flags: %w", err)
	}
	a.Flags = cut(a, a.Flags)
	registers, err := registersOf(ctx, r, points)
	if err != nil {
		return err
	}
	if err := a.readWaiting(ctx, r, open, registers); err != nil {
		return err
	}
	a.readSilent(open, registers, now)
	a.Count = len(a.Rescues) + len(a.Waiting) + len(a.Flags) + len(a.Silent)
	return nil
}

func (a *Attention) readWaiting(ctx context.Context, r store.Reader, open []store.Session, registers []store.Register) error {
	byID := map[string]store.Register{}
	for _, row := range registers {
		byID[row.ID] = row
	}
	var waiting []store.Session
	for _, s := range open {
		if s.State == session.ClosingControl {
			waiting = append(waiting, s)
		}
	}
	list, err := views(ctx, r, waiting)
	if err != nil {
		return err
	}
	for _, v := range list {
		w := WaitingSession{SessionView: v}
		stays, err := r.Stays(ctx, v.PointOfSale, []string{v.ID})
		if err != nil {
			return fmt.Errorf("read stays of %s: %w", v.ID, err)
		}
		for _, stay := range stays {
			if stay.Register != v.Register && !stay.Left {
				row := byID[stay.Register]
				w.Joined = append(w.Joined, contact(row))
			}
		}
		a.Waiting = append(a.Waiting, w)
	}
	return nil
}

func (a *Attention) readSilent(open []store.Session, registers []store.Register, now time.Time) {
	selling := map[string]string{}
	for _, s := range open {
		if s.State == session.Opened {
			selling[s.Register] = s.ID
		}
	}
	for _, row := range registers {
		id, sells := selling[row.ID]
		if (sells || row.Waiting > 0) && now.UnixMicro()-row.LastSeen > silentAfter.Microseconds() {
			a.Silent = append(a.Silent, SilentRegister{Register: row, Session: id})
		}
	}
}

func contact(row store.Register) RegisterContact {
	c := RegisterContact{ID: row.ID, Code: row.Code}
	if row.LastSeen != 0 {
		c.LastSeen = timeOf(row.LastSeen)
	}
	return c
}

func registersOf(ctx context.Context, r store.Reader, points []string) ([]store.Register, error) {
	if points == nil {
		points = []string{""}
	}
	var all []store.Register
	for _, p := range points {
		rows, err := r.Registers(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("read registers: %w", err)
		}
		all = append(all, rows...)
	}
	return all, nil
}

func cut[T any](a *Attention, list []T) []T {
	if len(list) > maxAttention {
		a.More = true
		return list[:maxAttention]
	}
	return list
}
