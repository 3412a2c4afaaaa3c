// Package app wires the server together: configuration, commands, start and
// stop. It is the only package that knows all the others.
package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tillandsia/shared/message"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/setup"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
	"tillandsia/syncserver/internal/store/sqlstore"
)

// Version is the program's version.
const Version = "0.1.0"

// Terminal is where a command reads and writes.
type Terminal struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// command is one of the program's commands. It returns an exit code; an error
// makes it at least 1.
type command struct {
	args  string
	about string
	run   func(ctx context.Context, c *call) (int, error)
}

// call is one run of a command.
type call struct {
	Terminal
	flags *flag.FlagSet
	args  []string
	conf  Config
	log   *slog.Logger
}

// Config is what every command takes.
type Config struct {
	// Data is the data folder; the SQLite database lies in it.
	Data string
	// Database is a postgres:// address, or "" for SQLite.
	Database string
	// LogLevel is debug, info, warn or error.
	LogLevel string
}

// database is the address that the store opens.
func (c Config) database() string {
	if c.Database != "" {
		return c.Database
	}
	return filepath.Join(c.Data, "tillandsia.db")
}

var commands = map[string]command{
	"serve":             {"", "serve registers and managers", serve},
	"audit":             {"", "check the invariants of the books; exits 1 where one is broken", auditCommand},
	"company":           {"[-name N] [-currency EUR]", "show or change the company", companyCommand},
	"import":            {"products FILE", "import products from CSV", importCommand},
	"point-of-sale-add": {"CODE -name N", "make a point of sale", addPointOfSale},
	"register-add":      {"POINT-OF-SALE CODE", "make a register", addRegister},
	"register-pair":     {"POINT-OF-SALE CODE", "print a pairing code for a register", pairRegister},
	"register-revoke":   {"POINT-OF-SALE CODE", "revoke a register; it may still deliver", revokeRegister},
	"tax-add":           {"CODE RATE", "make a tax, such as: tax-add VAT20 20 -included", addTax},
	"user-add":          {"LOGIN -name N -role cashier", "make a user; PIN and password come from -pin, or -secrets to read them from standard input", addUser},
	"export":            {"csv|json|ledger", "write the postings to standard output", exportCommand},
	"version":           {"", "print the version", version},
}

// Main runs the command that args name and returns the exit code.
func Main(ctx context.Context, args []string, t Terminal) (int, error) {
	if err := message.Check(); err != nil {
		return exitFailed, err
	}
	if len(args) == 0 {
		usage(t.Err)
		return exitUsage, nil
	}
	cmd, ok := commands[args[0]]
	if !ok {
		usage(t.Err)
		if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
			return exitOK, nil
		}
		return exitUsage, message.New(message.Invalid, "app.no_such_command", "command", args[0])
	}
	c := &call{Terminal: t, flags: flag.NewFlagSet("syncserver "+args[0], flag.ContinueOnError)}
	c.flags.SetOutput(t.Err)
	c.flags.StringVar(&c.conf.Data, "data", "data", "data `folder`")
	c.flags.StringVar(&c.conf.Database, "database", "", "PostgreSQL `address` (postgres://…); without it SQLite in the data folder")
	c.flags.StringVar(&c.conf.LogLevel, "log", "info", "log `level`: debug, info, warn, error")
	c.args = args[1:]
	code, err := cmd.run(ctx, c)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK, nil
	}
	if err != nil && code == exitOK {
		code = exitFailed
	}
	return code, err
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: syncserver COMMAND [flags]")
	fmt.Fprintln(w)
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		c := commands[name]
		fmt.Fprintf(w, "  %-18s %s\n", name, c.about)
		if c.args != "" {
			fmt.Fprintf(w, "  %-18s   %s %s\n", "", name, c.args)
		}
	}
}

// parse reads the flags, which may stand before, between and behind the
// operands, and checks the number of operands.
func (c *call) parse(operands int) error {
	rest := c.args
	c.args = nil
	for {
		if err := c.flags.Parse(rest); err != nil {
			return err
		}
		rest = c.flags.Args()
		if len(rest) == 0 {
			break
		}
		c.args = append(c.args, rest[0])
		rest = rest[1:]
	}
	if len(c.args) != operands {
		return message.New(message.Invalid, "app.operands", "command", c.flags.Name(), "want", fmt.Sprint(operands), "got", fmt.Sprint(len(c.args)))
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.conf.LogLevel)); err != nil {
		return message.New(message.Invalid, "app.log_level", "level", c.conf.LogLevel)
	}
	c.log = slog.New(slog.NewTextHandler(c.Err, &slog.HandlerOptions{Level: level}))
	return nil
}

// parts are the services over an open store.
type parts struct {
	store  store.Store
	ledger *ledger.Ledger
	setup  *setup.Setup
	staff  *staff.Staff
}

// open opens the store and the services on it; the caller closes the store.
func (c *call) open(ctx context.Context) (*parts, error) {
	if c.conf.Database == "" {
		if err := os.MkdirAll(c.conf.Data, 0o700); err != nil {
			return nil, message.New(message.Unavailable, "app.data_folder", "folder", c.conf.Data).Wrap(err)
		}
	} else if !strings.HasPrefix(c.conf.Database, "postgres://") && !strings.HasPrefix(c.conf.Database, "postgresql://") {
		return nil, message.New(message.Invalid, "app.database", "database", c.conf.Database)
	}
	s, err := sqlstore.Open(ctx, sqlstore.Options{Database: c.conf.database(), Clock: time.Now, Logger: c.log})
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	p := &parts{
		store:  s,
		ledger: ledger.New(s, time.Now, c.log, ledger.Options{}),
		setup:  setup.New(s, time.Now, c.log),
		staff:  staff.New(s, time.Now, c.log),
	}
	if err := errors.Join(p.ledger.Start(ctx), p.setup.Seed(ctx)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return p, nil
}

// with opens the services, runs f and closes them.
func (c *call) with(ctx context.Context, operands int, f func(p *parts) error) (int, error) {
	if err := c.parse(operands); err != nil {
		return exitUsage, err
	}
	p, err := c.open(ctx)
	if err != nil {
		return exitFailed, err
	}
	return exitOK, errors.Join(f(p), p.store.Close())
}
