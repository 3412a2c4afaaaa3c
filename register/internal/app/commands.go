package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Terminal is where a command writes.
type Terminal struct {
	Out io.Writer
	Err io.Writer
}

// call is one run of a command.
type call struct {
	Terminal
	flags    *flag.FlagSet
	conf     Config
	logLevel string
	args     []string
}

// command is one of the program's commands. It returns an exit code; an error
// makes it at least 1.
type command struct {
	args  string
	about string
	run   func(ctx context.Context, c *call) (int, error)
}

var commands = map[string]command{
	"serve":           {"", "run the till", serveCommand},
	"enrol":           {"--server URL --code CODE", "make this data folder a register of a server", enrolCommand},
	"journal verify":  {"", "check the journal; exits 1 where something is wrong", verifyCommand},
	"journal rebuild": {"", "make what the till reads again from the entries", rebuildCommand},
	"journal show":    {"[--from E/S] [--to E/S] [--raw]", "print entries", showCommand},
	"journal backup":  {"FILE", "copy the journal", backupCommand},
	"version":         {"", "print the version", versionCommand},
}

// Main runs the command that args name and returns the exit code.
func Main(ctx context.Context, args []string, t Terminal) (int, error) {
	if err := message.Check(); err != nil {
		return exitFailed, err
	}
	name, rest := "", args
	if len(args) > 0 {
		name, rest = args[0], args[1:]
		if name == "journal" && len(rest) > 0 {
			name, rest = name+" "+rest[0], rest[1:]
		}
	}
	cmd, ok := commands[name]
	if !ok {
		usage(t.Err)
		switch name {
		case "help", "-h", "--help":
			return exitOK, nil
		case "":
			return exitUsage, nil
		}
		return exitUsage, message.New(message.Invalid, "door.usage", "command", name)
	}
	c := &call{Terminal: t, flags: flag.NewFlagSet("register "+name, flag.ContinueOnError), args: rest}
	c.flags.SetOutput(t.Err)
	c.flags.StringVar(&c.conf.Data, "data", "data", "data `folder`")
	c.flags.StringVar(&c.logLevel, "log", "info", "log `level`: debug, info, warn, error")
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
	fmt.Fprintln(w, "usage: register COMMAND [flags]")
	fmt.Fprintln(w)
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		c := commands[name]
		fmt.Fprintf(w, "  %-17s%s\n", name, c.about)
		if c.args != "" {
			fmt.Fprintf(w, "  %-17s  %s\n", "", c.args)
		}
	}
}

// errUsage is returned where the command line does not fit; the flag package
// or the command has said why.
var errUsage = errors.New("see: register help")

// parse reads flags and operands, in any order, and checks their number.
func (c *call) parse(operands int) error {
	rest := c.args
	c.args = nil
	for {
		if err := c.flags.Parse(rest); err != nil {
			return err
		}
		if rest = c.flags.Args(); len(rest) == 0 {
			break
		}
		c.args, rest = append(c.args, rest[0]), rest[1:]
	}
	if len(c.args) != operands {
		return errUsage
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.logLevel)); err != nil {
		return errUsage
	}
	c.conf.Logger = slog.New(slog.NewTextHandler(c.Err, &slog.HandlerOptions{Level: level}))
	return nil
}

func serveCommand(ctx context.Context, c *call) (int, error) {
	c.flags.StringVar(&c.conf.Listen, "listen", DefaultListen, "`address` of the API; this machine only unless said otherwise")
	c.flags.DurationVar(&c.conf.Idle, "idle", 30*time.Minute, "lock a screen that was not touched for this `time`")
	names := c.flags.String("hosts", "", "further `names` that the register is reached by, separated by commas")
	if err := c.parse(0); err != nil {
		return exitUsage, err
	}
	if *names != "" {
		c.conf.Hosts = strings.Split(*names, ",")
	}
	c.conf.Ready = func(url string) { fmt.Fprintln(c.Out, "ready", url) }
	return exitOK, Run(ctx, c.conf)
}

func enrolCommand(ctx context.Context, c *call) (int, error) {
	var in EnrolRequest
	c.flags.StringVar(&in.Server, "server", "", "`address` of the server")
	c.flags.StringVar(&in.Code, "code", "", "pairing `code`")
	c.flags.StringVar(&in.CA, "ca", "", "`file` of certificates to trust, in PEM")
	c.flags.BoolVar(&in.AllowInsecure, "allow-insecure", false, "allow a server without TLS on another machine")
	c.flags.DurationVar(&in.Wait, "wait", time.Minute, "how long the first catalogue may take")
	if err := c.parse(0); err != nil {
		return exitUsage, err
	}
	e, err := Enrol(ctx, c.conf, in)
	if e != nil {
		fmt.Fprintf(c.Out, "enrolled %s/%s %s\n", e.PointOfSale, e.RegisterCode, e.RegisterID)
	}
	return exitOK, err
}

func versionCommand(_ context.Context, c *call) (int, error) {
	_, err := fmt.Fprintln(c.Out, software)
	return exitOK, err
}

// withJournal opens the journal of a data folder that no till has open.
func (c *call) withJournal(ctx context.Context, operands int, readOnly bool, f func(j *journal.Journal) error) (int, error) {
	if err := c.parse(operands); err != nil {
		return exitUsage, err
	}
	j, err := journal.Open(ctx, journal.Options{
		Dir: c.conf.Data, Clock: time.Now, LockTimeout: lockTimeout, Logger: c.conf.Logger, Software: software, ReadOnly: readOnly,
	})
	if err != nil {
		return exitFailed, err
	}
	return exitOK, errors.Join(f(j), j.Close())
}

func verifyCommand(ctx context.Context, c *call) (int, error) {
	broken := false
	code, err := c.withJournal(ctx, 0, true, func(j *journal.Journal) error {
		report, err := j.Verify(ctx, c.Out)
		broken = !report.OK()
		return err
	})
	if broken && code == exitOK {
		code = exitFailed
	}
	return code, err
}

func rebuildCommand(ctx context.Context, c *call) (int, error) {
	return c.withJournal(ctx, 0, false, func(j *journal.Journal) error { return j.Rebuild(ctx) })
}

func showCommand(ctx context.Context, c *call) (int, error) {
	var from, to entry.Place
	c.flags.Func("from", "first `place`, epoch/sequence", func(s string) error { return place(s, &from) })
	c.flags.Func("to", "last `place`, epoch/sequence", func(s string) error { return place(s, &to) })
	raw := c.flags.Bool("raw", false, "print the entries' bytes")
	return c.withJournal(ctx, 0, true, func(j *journal.Journal) error { return j.Show(ctx, c.Out, from, to, *raw) })
}

// place reads epoch/sequence.
func place(s string, p *entry.Place) error {
	epoch, seq, _ := strings.Cut(s, "/")
	var errs [2]error
	p.Epoch, errs[0] = strconv.ParseUint(epoch, 10, 64)
	p.Seq, errs[1] = strconv.ParseUint(seq, 10, 64)
	return errors.Join(errs[:]...)
}

func backupCommand(ctx context.Context, c *call) (int, error) {
	return c.withJournal(ctx, 1, true, func(j *journal.Journal) error { return j.Backup(ctx, c.args[0]) })
}
