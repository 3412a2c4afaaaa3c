//go:build !race

package peer_test

// quickSeeds is how many seeds a plain run tries.
const quickSeeds = 500
