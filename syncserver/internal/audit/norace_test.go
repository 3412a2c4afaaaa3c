//go:build !race

package audit_test

// raceDetector says that the tests run with it.
const raceDetector = false
