// Command syncserver is the centre of the point of sale: it takes the
// registers' journals in, books and posts, and serves the managers' API.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"tillandsia/syncserver/internal/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// From the first signal on the next one ends the program at once.
	context.AfterFunc(ctx, stop)
	code, err := app.Main(ctx, os.Args[1:], app.Terminal{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, "syncserver:", err)
	}
	os.Exit(code)
}
