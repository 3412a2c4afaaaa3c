// Package bench is `make bench`: it measures the real programs, and beside
// each figure, in the same run, the limit that this machine sets, so that the
// ratio says something on any machine. shared/spec/limits.md of the project
// says where the limits come from.
//
// A figure that has a limit is measured in rounds, its limit after it in the
// same round; the table shows the medians. What ours writes, its limit writes
// too: the bytes are read back from what ours left.
package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"tillandsia/syncserver/internal/world"
)

// Options say what is measured and with what.
type Options struct {
	// Programs are the built programs.
	Programs world.Programs
	// Self is this program: started as `bench serve …` it is the server.
	Self string
	// Dir is an empty folder on the disk that is measured.
	Dir string
	// Out takes the table, Log what happens on the way.
	Out, Log io.Writer
	// Only are the figures to measure, by name; all if empty.
	Only []string
	// Profile is a folder for CPU profiles of the server while it takes
	// orders in, "" for none.
	Profile string
	// Rounds is how often ours and its limit are measured; 3 if zero.
	Rounds int
	// Orders is how many orders each of the 16 registers delivers; 5,000, the
	// size of the session that is closed then, if zero.
	Orders int
}

// Figure is a line of the table.
type Figure struct {
	Name   string
	Ours   string
	Limit  string
	Ratio  string
	Target string
	Met    bool
	// Note says more, below the table.
	Note string
}

// The names of the figures for Options.Only.
const (
	nameSale     = "sale"
	namePostgres = "postgres"
	nameSQLite   = "sqlite"
	nameIdle     = "idle"
)

// Run measures and prints the table. That a target is missed is no error.
func Run(ctx context.Context, o Options) error {
	o.Rounds = cmp.Or(o.Rounds, 3)
	o.Orders = cmp.Or(o.Orders, 5000)
	b := &bench{Options: o, began: time.Now()}
	measures := []struct {
		name string
		run  func(context.Context) ([]Figure, error)
	}{
		{nameSale, b.sale},
		{namePostgres, b.postgres},
		{nameSQLite, b.sqlite},
		{nameIdle, b.idle},
	}
	for _, name := range o.Only {
		if !slices.ContainsFunc(measures, func(m struct {
			name string
			run  func(context.Context) ([]Figure, error)
		},
		) bool {
			return m.name == name
		}) {
			return fmt.Errorf("there is no figure %q", name)
		}
	}
	var figures []Figure
	for _, m := range measures {
		if len(o.Only) > 0 && !slices.Contains(o.Only, m.name) {
			continue
		}
		list, err := m.run(ctx)
		if err != nil {
			return fmt.Errorf("measure %s: %w", m.name, err)
		}
		figures = append(figures, list...)
	}
	b.logf("measured in %v", time.Since(b.began).Round(time.Second))
	return Print(o.Out, figures)
}

type bench struct {
	Options
	began time.Time
	// entrySize is the size of an order's entry in the backlogs.
	entrySize int
}

func (b *bench) logf(format string, args ...any) {
	fmt.Fprintf(b.Log, "%7.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// folder makes a folder of its own for a measurement.
func (b *bench) folder(name string) (string, error) {
	dir := filepath.Join(b.Dir, name)
	return dir, os.MkdirAll(dir, 0o700)
}

// Print prints the table, the notes and the count of targets met.
func Print(out io.Writer, figures []Figure) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tours\tlimit\tratio\ttarget\tverdict")
	met := 0
	for _, f := range figures {
		verdict := "missed"
		if f.Met {
			verdict = "met"
			met++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.Name, f.Ours, cmp.Or(f.Limit, "-"), cmp.Or(f.Ratio, "-"), f.Target, verdict)
	}
	err := w.Flush()
	for _, f := range figures {
		if f.Note != "" {
			_, werr := fmt.Fprintf(out, "%s: %s\n", f.Name, f.Note)
			err = errors.Join(err, werr)
		}
	}
	_, werr := fmt.Fprintf(out, "targets: %d met, %d missed\n", met, len(figures)-met)
	return errors.Join(err, werr)
}

// median returns the middle value, the lower one of two.
func median[T cmp.Ordered](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// rate is how many orders a second.
func rate(orders int, took time.Duration) float64 { return float64(orders) / took.Seconds() }

// thousands writes a number with separators.
func thousands(v float64) string {
	digits := fmt.Sprintf("%d", int64(math.Round(v)))
	var parts []string
	for len(digits) > 3 {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, parts...), ",")
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }
