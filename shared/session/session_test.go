package session_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tillandsia/shared/session"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestTransitionsAreTheGoldenMatrix(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	fmt.Fprintf(&b, "%-16s", "")
	for _, event := range session.Events {
		fmt.Fprintf(&b, " %-16s", event)
	}
	b.WriteByte('\n')
	for _, from := range session.States {
		fmt.Fprintf(&b, "%-16s", from)
		for _, event := range session.Events {
			to, err := session.Next(from, event)
			cell := string(to)
			if err != nil {
				cell = "-"
			}
			fmt.Fprintf(&b, " %-16s", cell)
		}
		b.WriteByte('\n')
	}
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	got := strings.Join(lines, "\n")

	path := filepath.Join("testdata", "transitions.golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("transitions =\n%swant\n%s", got, want)
	}
}

func TestRefusedEventIsATypedErrorAndLeavesTheState(t *testing.T) {
	t.Parallel()
	refused := 0
	for _, from := range append([]session.State{"", "unheard"}, session.States...) {
		for _, event := range append([]session.Event{"", "reopen"}, session.Events...) {
			to, err := session.Next(from, event)
			if err == nil {
				continue
			}
			refused++
			var typed *session.EventError
			if !errors.As(err, &typed) || typed.From != from || typed.Event != event {
				t.Errorf("Next(%q, %q) = %v, want an EventError of both", from, event, err)
			}
			if to != from {
				t.Errorf("Next(%q, %q) refused = %q, want the state as it was", from, event, to)
			}
			if !strings.Contains(err.Error(), string(from)) || !strings.Contains(err.Error(), string(event)) {
				t.Errorf("Next(%q, %q) says %q, which names not both", from, event, err)
			}
		}
	}
	if refused == 0 {
		t.Error("no event was refused")
	}
}

func TestClosedIsFinal(t *testing.T) {
	t.Parallel()
	for _, event := range session.Events {
		if to, err := session.Next(session.Closed, event); err == nil {
			t.Errorf("Next(closed, %s) = %s, want an error", event, to)
		}
	}
}

func TestAManagerClosesWhateverIsNotClosed(t *testing.T) {
	t.Parallel()
	for _, from := range session.States {
		if from == session.Closed {
			continue
		}
		if to, err := session.Next(from, session.ForceClose); err != nil || to != session.Closed {
			t.Errorf("Next(%s, force_close) = %s, %v, want closed", from, to, err)
		}
	}
}

func TestOnlyAnOpenedSessionSellsAndClosingControlIsNotInProgress(t *testing.T) {
	t.Parallel()
	tests := []struct {
		state          session.State
		sells, ongoing bool
	}{
		{session.OpeningControl, false, true},
		{session.Opened, true, true},
		{session.ClosingControl, false, false},
		{session.Closed, false, false},
	}
	for _, tt := range tests {
		if got := tt.state.CanSell(); got != tt.sells {
			t.Errorf("%s.CanSell() = %v, want %v", tt.state, got, tt.sells)
		}
		if got := tt.state.InProgress(); got != tt.ongoing {
			t.Errorf("%s.InProgress() = %v, want %v", tt.state, got, tt.ongoing)
		}
	}
}
