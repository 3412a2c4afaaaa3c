package story_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"tillandsia/syncserver/internal/pgtest"
	"tillandsia/syncserver/internal/story"
	"tillandsia/syncserver/internal/world"
)

// programs are built once for all tests of this package.
var programs world.Programs

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	// A playing mostly waits: more of them at once than there are processors.
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	flag.Parse()
	dir, err := os.MkdirTemp("", "tillandsia-story-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if programs, err = world.Build(ctx, dir, true); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// playLimit bounds one playing on a busy machine.
const playLimit = 3 * time.Minute

// play plays the story in a folder of its own and returns what it told.
func play(t *testing.T, database string, falsify int) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), playLimit)
	defer cancel()
	var out bytes.Buffer
	err := story.Run(ctx, story.Options{
		Programs: programs, Dir: t.TempDir(), Database: database, Out: &out, Falsify: falsify,
	})
	return out.String(), err
}

var numbered = regexp.MustCompile(`(?m)^ *(\d+)\. `)

// played returns the number of the last step that a telling began.
func played(t *testing.T, told string) int {
	t.Helper()
	all := numbered.FindAllStringSubmatch(told, -1)
	if len(all) == 0 {
		return 0
	}
	n, err := strconv.Atoi(all[len(all)-1][1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// postgres makes a database of a cluster of its own: the server refuses the
// shared one, which does not wait for the disk.
func postgres(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), playLimit)
	defer cancel()
	cluster, err := pgtest.Start(ctx, pgtest.Options{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := cluster.CreateDatabase(ctx, "story"); err != nil {
		t.Fatal(err)
	}
	return cluster.URL("story")
}

func TestStory(t *testing.T) {
	stores := []struct {
		name     string
		database func(t *testing.T) string
	}{
		{"SQLite", func(*testing.T) string { return "" }},
		{"PostgreSQL", postgres},
	}
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			t.Parallel()
			told, err := play(t, store.database(t), 0)
			if err != nil {
				t.Fatalf("%v\n%s", err, told)
			}
			if got := played(t, told); got != story.Steps() {
				t.Errorf("the last step told is %d of %d\n%s", got, story.Steps(), told)
			}
			if !strings.Contains(told, "The story holds") {
				t.Errorf("it does not end well:\n%s", told)
			}
		})
	}
}

// A story whose steps read nothing back would always hold: one fact of one
// step is read wrongly at a time, and the story must fail right there.
func TestFalsifiedStory(t *testing.T) {
	for step := 1; step <= story.Steps(); step++ {
		t.Run(fmt.Sprintf("step %d", step), func(t *testing.T) {
			t.Parallel()
			told, err := play(t, "", step)
			if !errors.Is(err, story.ErrFact) {
				t.Fatalf("falsified at step %d, it ends with %v, want %v\n%s", step, err, story.ErrFact, told)
			}
			if !strings.HasPrefix(err.Error(), fmt.Sprintf("step %d (", step)) {
				t.Errorf("falsified at step %d, it fails elsewhere: %v", step, err)
			}
			if got := played(t, told); got != step {
				t.Errorf("falsified at step %d, it went on to step %d\n%s", step, got, told)
			}
		})
	}
}
