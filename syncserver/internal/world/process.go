// Package world runs the two programs as real processes for the story, the
// demonstration, the end-to-end tests and the benchmarks: it builds and starts
// them, waits until they say that they are ready, cuts and slows the
// connection between them, kills them, and speaks their JSON APIs. It imports
// neither program: what it knows of them stands in their documents.
package world

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Programs are the paths of the two built programs.
type Programs struct {
	Register   string
	Syncserver string
}

// Build builds both programs into dir, with the race detector if asked for.
func Build(ctx context.Context, dir string, race bool) (Programs, error) {
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if race {
		args = append(args, "-race")
	}
	args = append(args, "tillandsia/register/cmd/register", "tillandsia/syncserver/cmd/syncserver")
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	if err != nil {
		return Programs{}, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return In(dir), nil
}

// In returns the programs as they lie in a folder.
func In(dir string) Programs {
	return Programs{Register: filepath.Join(dir, "register"+exe), Syncserver: filepath.Join(dir, "syncserver"+exe)}
}

// readyLimit is how long a program may take to become ready on a busy machine.
const readyLimit = 2 * time.Minute

// Process is a program that runs.
type Process struct {
	Name string
	// URL is where it serves, as it said itself.
	URL string

	cmd   *exec.Cmd
	lines *lines
	log   string
	done  chan struct{}
	err   error
}

// Start starts a program and waits for its line "ready URL". What it prints is
// kept in a file in dir, named after it.
func Start(ctx context.Context, name, dir, program string, args ...string) (*Process, error) {
	log := filepath.Join(dir, name+".log")
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}
	p := &Process{Name: name, log: log, done: make(chan struct{}), lines: newLines()}
	// Not CommandContext: how a program ends is what these tests are about.
	p.cmd = exec.Command(program, args...) //nolint:noctx // ended by Stop, Kill or the parent's death
	p.cmd.Stderr = file
	p.cmd.SysProcAttr = dieWithParent()
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), file.Close())
	}
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), file.Close())
	}
	go p.wait(stdout, file)

	timeout, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	line, err := p.lines.find(timeout, p.done, "ready ")
	if err != nil {
		p.Kill()
		return nil, fmt.Errorf("start %s: %w\n%s", name, err, p.Tail())
	}
	p.URL = strings.Fields(strings.TrimPrefix(line, "ready "))[0]
	return p, nil
}

func (p *Process) wait(stdout io.Reader, log io.WriteCloser) {
	scanner := bufio.NewScanner(stdout)
	for scanner.Scan() {
		p.lines.add(scanner.Text())
		if _, err := fmt.Fprintln(log, scanner.Text()); err != nil {
			p.lines.add("log not written: " + err.Error())
		}
	}
	p.err = errors.Join(p.cmd.Wait(), log.Close())
	close(p.done)
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Line waits for a line of its standard output that begins with prefix.
func (p *Process) Line(ctx context.Context, prefix string) (string, error) {
	return p.lines.find(ctx, p.done, prefix)
}

// Stop ends the program as a service manager would, by SIGTERM, and returns an
// error if it did not end with 0 in time; then it is killed.
func (p *Process) Stop() error {
	select {
	case <-p.done:
		return p.err
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s ended with %w\n%s", p.Name, p.err, p.Tail())
		}
		return nil
	case <-time.After(readyLimit):
		p.Kill()
		return fmt.Errorf("%s did not end on SIGTERM and was killed\n%s", p.Name, p.Tail())
	}
}

// Kill ends the program at once, as a power cut would (SIGKILL), and waits
// until it is gone.
func (p *Process) Kill() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return // it cannot be signalled: there is nothing left to wait for
	}
	<-p.done
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Tail returns the last of what it printed.
func (p *Process) Tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 4096
	if len(data) > most {
		data = data[len(data)-most:]
	}
	return string(data)
}

// Run runs a program to its end and returns what it printed.
func Run(ctx context.Context, program string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// lines collects what a program prints and lets others wait for a line.
type lines struct {
	mu      sync.Mutex
	all     []string
	changed chan struct{}
}

func newLines() *lines { return &lines{changed: make(chan struct{})} }

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *lines) find(ctx context.Context, done <-chan struct{}, prefix string) (string, error) {
	ended := false
	for {
		l.mu.Lock()
		changed := l.changed
		for _, line := range l.all {
			if strings.HasPrefix(line, prefix) {
				l.mu.Unlock()
				return line, nil
			}
		}
		l.mu.Unlock()
		if ended {
			return "", errors.New("it ended before it was ready")
		}
		select {
		case <-changed:
		case <-done:
			ended = true // look once more: the line may have come last
		case <-ctx.Done():
			return "", fmt.Errorf("wait for %q: %w", prefix, ctx.Err())
		}
	}
}
