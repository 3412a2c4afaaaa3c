// Package e2e_test holds the tests of the whole product: faults with real
// processes ([TestRegisterKilled] and the others), and random histories of the
// ledger against a model ([TestModel]).
package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"tillandsia/syncserver/internal/world"
)

// programs are built once for all tests of this package.
var programs world.Programs

// buildLimit bounds the build on a busy machine.
const buildLimit = 5 * time.Minute

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	// A history takes a second on a busy machine: fewer checks than rapid's
	// own hundred, each of more steps, unless the command line asks for others.
	for name, value := range map[string]string{"rapid.checks": "25", "rapid.steps": "60"} {
		if err := flag.Set(name, value); err != nil {
			return 1, err
		}
	}
	flag.Parse()
	dir, err := os.MkdirTemp("", "tillandsia-e2e-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	if programs, err = world.Build(ctx, dir, true); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
