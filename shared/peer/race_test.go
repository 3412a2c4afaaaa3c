//go:build race

package peer_test

// quickSeeds is fewer under the race detector, which is slow and has nothing
// to find here: the machines have no goroutines.
const quickSeeds = 100
