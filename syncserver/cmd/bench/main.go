// Command bench is `make bench`: it measures the real programs against the
// limits of this machine and prints one table. It exits 0 whether targets are
// met or missed, and 1 where something could not be measured.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"tillandsia/syncserver/internal/app"
	"tillandsia/syncserver/internal/bench"
	"tillandsia/syncserver/internal/world"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		code, err := bench.Serve(ctx, os.Args[1:], app.Terminal{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench server:", err)
		}
		os.Exit(code)
	}
	bin := flag.String("bin", "bin", "`folder` of the built programs")
	only := flag.String("only", "", "measure only these, separated by commas: sale, postgres, sqlite, idle")
	profile := flag.String("profile", "", "`folder` for CPU profiles of the server while it takes orders in")
	rounds := flag.Int("rounds", 0, "`n` rounds of what is measured beside its limit (default 3)")
	orders := flag.Int("orders", 0, "`n` orders that each of 16 registers delivers (default 5000)")
	tmp := flag.String("dir", "", "`folder` on the disk to measure (default the system's temporary one)")
	flag.Parse()
	o := bench.Options{Profile: *profile, Rounds: *rounds, Orders: *orders}
	if *only != "" {
		o.Only = strings.Split(*only, ",")
	}
	if err := run(ctx, o, *bin, *tmp); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o bench.Options, bin, tmp string) (err error) {
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	if o.Self, err = os.Executable(); err != nil {
		return err
	}
	if o.Profile != "" {
		if o.Profile, err = filepath.Abs(o.Profile); err != nil {
			return err
		}
		if err := os.MkdirAll(o.Profile, 0o700); err != nil {
			return err
		}
	}
	if o.Dir, err = os.MkdirTemp(tmp, "tillandsia-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	o.Programs, o.Out, o.Log = world.In(bin), os.Stdout, os.Stderr
	return bench.Run(ctx, o)
}
