// Command demo is `make run`: a server and two enrolled registers with a
// sample catalogue, on loopback, with their data in an ignored folder. It
// prints one line "ready …" and ends with 0 on SIGINT and SIGTERM.
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

	"tillandsia/syncserver/internal/sample"
	"tillandsia/syncserver/internal/world"
)

func main() {
	bin := flag.String("bin", "bin", "`folder` of the built programs")
	data := flag.String("data", ".run", "`folder` for the data; emptied at the start")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin, *data); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// Where the programs listen, if nothing else does.
const (
	serverAddress = "127.0.0.1:8069"
	firstAddress  = "127.0.0.1:8070"
	secondAddress = "127.0.0.1:8071"
)

const shopCode = "SHOP1"

func run(ctx context.Context, bin, data string) (err error) {
	// A shop is set up anew each time: what was sold in a demonstration is not
	// kept. The folder holds nothing else.
	if err := os.RemoveAll(data); err != nil {
		return fmt.Errorf("empty the data folder: %w", err)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	programs := world.In(bin)
	if programs.Register, err = filepath.Abs(programs.Register); err != nil {
		return err
	}
	if programs.Syncserver, err = filepath.Abs(programs.Syncserver); err != nil {
		return err
	}
	server, err := world.StartServer(ctx, world.ServerOptions{Programs: programs, Dir: data, Listen: world.FreePort(ctx, serverAddress)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	shop := world.Shop{
		Code: shopCode, Name: "Sample pizzeria", Products: sample.ProductsCSV(),
		Taxes: map[string]int{"VAT10": 100_000}, Registers: []string{"R1", "R2"},
	}
	if err := server.OpenShop(ctx, shop); err != nil {
		return err
	}
	var line strings.Builder
	fmt.Fprint(&line, "ready server ", server.URL)
	for i, address := range []string{firstAddress, secondAddress} {
		code := shop.Registers[i]
		till, err := server.Enrol(ctx, shopCode, code, world.FreePort(ctx, address))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, till.End()) }()
		fmt.Fprintf(&line, "  register %s %s", code, till.URL)
	}
	fmt.Printf("%s  admin password %s  manager password %s PIN %s  carla PIN %s  carlos PIN %s\n",
		line.String(), server.AdminPassword, world.ManagerPassword, world.ManagerPIN, world.CashierPIN, world.SecondPIN)
	<-ctx.Done()
	return nil
}
