package bench_test

import (
	"strings"
	"testing"

	"tillandsia/syncserver/internal/bench"
)

func TestPrint(t *testing.T) {
	var out strings.Builder
	err := bench.Print(&out, []bench.Figure{
		{Name: "a", Ours: "1 ms", Limit: "2 ms", Ratio: "0.50 x", Target: "<= 2 x", Met: true, Note: "why"},
		{Name: "b", Ours: "9 kB", Target: "<= 1 kB"},
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if got, want := lines[len(lines)-1], "targets: 1 met, 1 missed"; got != want {
		t.Errorf("last line = %q, want %q", got, want)
	}
	for i, want := range []string{"verdict", "met", "missed", "a: why"} {
		if !strings.HasSuffix(strings.TrimSpace(lines[i]), want) {
			t.Errorf("line %d = %q, want it to end with %q", i, lines[i], want)
		}
	}
}
