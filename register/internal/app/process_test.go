package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"tillandsia/register/internal/app"
	"tillandsia/register/internal/till/tilltest"
	"tillandsia/shared/wire"
)

// program builds the register once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "register-test-*")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "register")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	out, err := exec.CommandContext(context.Background(), "go", "build", "-race", "-o", path, "tillandsia/register/cmd/register").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the register: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // left in the temporary folder, it harms nobody
	}
	os.Exit(code)
}

// prepare makes the data folder of an enrolled register whose server is out of
// reach.
func prepare(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	tilltest.Prepare(t, dir)
	e := app.Enrolment{Server: "http://127.0.0.1:1", At: time.Now(), EnrolAnswer: wire.EnrolAnswer{
		Token: "reg_test", PointOfSale: tilltest.Identity.PointOfSale, RegisterID: tilltest.Identity.Register,
		RegisterCode: tilltest.Identity.Code, Epoch: 1,
	}}
	if err := e.Save(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// process is a register that runs as a program of its own.
type process struct {
	testing.TB
	cmd   *exec.Cmd
	url   string
	api   string
	token string
	log   *bytes.Buffer
}

// start runs register serve and waits until it is ready.
func start(t *testing.T, dir string) *process {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{TB: t, log: &bytes.Buffer{}}
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), path, "serve", "--data", dir, "--listen", "127.0.0.1:0")
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill() // it may have ended meanwhile
			_ = p.cmd.Wait()
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		_ = p.cmd.Wait() // so that its log is whole
		t.Fatalf("first line %q, %v; log:\n%s", line, err, p.log)
	}
	p.url = url
	raw, err := os.ReadFile(filepath.Join(dir, "api-token"))
	if err != nil {
		t.Fatal(err)
	}
	p.api = strings.TrimSpace(string(raw))
	return p
}

// call makes a request and returns the status, 0 where there was no answer.
func (p *process) call(ctx context.Context, method, path, token string, body, out any) (int, error) {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, p.url+"/api/v1"+path, reader)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	if out != nil && res.StatusCode < 300 {
		err = json.Unmarshal(data, out)
	} else if res.StatusCode >= 300 {
		err = fmt.Errorf("%d: %s", res.StatusCode, data)
	}
	return res.StatusCode, err
}

func (p *process) must(method, path string, body, out any) {
	p.Helper()
	if _, err := p.call(p.Context(), method, path, p.token, body, out); err != nil {
		p.Fatalf("%s %s: %v", method, path, err)
	}
}

func (p *process) signIn(user, browser string) {
	p.Helper()
	var s struct{ Token string }
	p.token = p.api
	p.must(http.MethodPost, "/sign-ins", object{"user": user, "pin": tilltest.PINs[user], "browser": browser}, &s)
	p.token = s.Token
}

type object = map[string]any

type order struct {
	ID     string `json:"id"`
	Number string `json:"number"`
}

type sold struct {
	Order order `json:"order"`
	Again bool  `json:"again"`
}

func teaPaidInCash(id string) object {
	return object{"id": id, "lines": []object{{"product": "tea"}}, "payments": []object{{"method": "cash"}}}
}

func TestKilledInMidSaleEveryAnsweredOrderIsThereOnce(t *testing.T) {
	t.Parallel()
	dir := prepare(t)
	answered := map[string]string{} // id → number
	var asked []string
	for round := range 4 {
		p := start(t, dir)
		p.signIn("anna", "b1")
		if round == 0 {
			p.must(http.MethodPost, "/session", object{"float": 0}, nil)
		}
		// What was answered before the kill is there, under its number; what
		// was not is sold now, or was sold then: once, either way.
		for id, number := range answered {
			var s sold
			p.must(http.MethodGet, "/orders/"+id, nil, &s)
			if s.Order.Number != number {
				t.Errorf("order %s has number %s, was answered %s", id, s.Order.Number, number)
			}
		}
		for _, id := range asked {
			if _, ok := answered[id]; ok {
				continue
			}
			var s sold
			p.must(http.MethodPost, "/sales", teaPaidInCash(id), &s)
			answered[id] = s.Order.Number
		}
		if round == 3 {
			finish(t, p, dir, answered)
			return
		}
		ids, got := sellUntilKilled(p, 15*(round+1))
		asked = append(asked, ids...)
		maps.Copy(answered, got)
	}
}

// sellUntilKilled sells from four programs at once and kills the register
// after some answers. It returns the ids asked for and the numbers answered.
func sellUntilKilled(p *process, after int) (asked []string, answered map[string]string) {
	p.Helper()
	var mu sync.Mutex
	answered = map[string]string{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				id := ulid.Make().String()
				mu.Lock()
				asked = append(asked, id)
				mu.Unlock()
				var s sold
				if status, err := p.call(p.Context(), http.MethodPost, "/sales", p.token, teaPaidInCash(id), &s); err != nil {
					if status != 0 {
						p.Errorf("sale refused: %v", err)
					}
					return
				}
				mu.Lock()
				answered[id] = s.Order.Number
				kill := len(answered) == after
				mu.Unlock()
				if kill {
					if err := p.cmd.Process.Kill(); err != nil {
						p.Errorf("kill: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := p.cmd.Wait(); err == nil {
		p.Error("the register ended by itself")
	}
	return asked, answered
}

// finish counts the orders, stops the register and verifies its journal.
func finish(t *testing.T, p *process, dir string, answered map[string]string) {
	t.Helper()
	var list struct {
		Orders []order `json:"orders"`
		More   bool    `json:"more"`
	}
	p.must(http.MethodGet, "/orders?limit=500", nil, &list)
	if list.More || len(list.Orders) != len(answered) {
		t.Errorf("%d orders (more: %v), want the %d that were asked for", len(list.Orders), list.More, len(answered))
	}
	numbers := map[string]bool{}
	for _, o := range list.Orders {
		if numbers[o.Number] || answered[o.ID] != o.Number {
			t.Errorf("order %s has number %s, was answered %q", o.ID, o.Number, answered[o.ID])
		}
		numbers[o.Number] = true
	}
	for n := range len(list.Orders) {
		if want := fmt.Sprintf("SHOP1-R1-00001-%04d", n+1); !numbers[want] {
			t.Errorf("number %s is missing", want)
		}
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("SIGINT: %v\n%s", err, p.log)
	}
	var out strings.Builder
	code, err := app.Main(t.Context(), []string{"journal", "verify", "--data", dir}, app.Terminal{Out: &out, Err: &out})
	if code != 0 || err != nil {
		t.Errorf("journal verify = %d, %v\n%s", code, err, out.String())
	}
}

func TestSecondProgramOnOneFolderIsRefusedClearly(t *testing.T) {
	t.Parallel()
	dir := prepare(t)
	start(t, dir)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, "serve", "--data", dir, "--listen", "127.0.0.1:0").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "Another till program has this journal open.") {
		t.Errorf("second program: %v\n%s", err, out)
	}
}
