// Command register is the till: it sells with no connectivity, keeps the
// journal, and hands it in to the server when that can be reached.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"tillandsia/register/internal/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// From the first signal on the next one ends the program at once.
	context.AfterFunc(ctx, stop)
	code, err := app.Main(ctx, os.Args[1:], app.Terminal{Out: os.Stdout, Err: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, "register:", err)
	}
	os.Exit(code)
}
