// Command story is `make story`: the founding story of the product, played
// with real programs in a temporary folder.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"tillandsia/syncserver/internal/pgtest"
	"tillandsia/syncserver/internal/story"
	"tillandsia/syncserver/internal/world"
)

func main() {
	store := flag.String("store", "sqlite", "sqlite or postgres")
	bin := flag.String("bin", "bin", "`folder` of the built programs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *store, *bin); err != nil {
		fmt.Fprintln(os.Stderr, "story:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, store, bin string) (err error) {
	bin, err = filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tillandsia-story-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o := story.Options{Programs: world.In(bin), Dir: dir, Out: os.Stdout}
	if store == "postgres" {
		cluster, err := pgtest.Start(ctx, pgtest.Options{Durable: true})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, cluster.Stop()) }()
		if err := cluster.CreateDatabase(ctx, "story"); err != nil {
			return err
		}
		o.Database = cluster.URL("story")
	} else if store != "sqlite" {
		return fmt.Errorf("there is no store %q: use sqlite or postgres", store)
	}
	return story.Run(ctx, o)
}
