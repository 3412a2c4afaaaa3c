package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"tillandsia/syncserver/internal/app"
	"tillandsia/syncserver/internal/world"
)

// Memory is what a server's heap and stacks take right after a collection.
type Memory struct {
	Live   uint64 `json:"live"`   // bytes of objects on the heap
	Heap   uint64 `json:"heap"`   // bytes of spans with objects in them
	Stacks uint64 `json:"stacks"` // bytes of stack spans in use
	Count  int    `json:"goroutines"`
}

// Serve is the real server, in a process of its own, with a door of the
// bench's beside it: its memory, and profiles of its CPU.
func Serve(ctx context.Context, args []string, t app.Terminal) (code int, err error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 1, err
	}
	web := &http.Server{Handler: controls(), ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() {
		if serr := web.Serve(listener); !errors.Is(serr, http.ErrServerClosed) {
			fmt.Fprintln(t.Err, "controls:", serr)
		}
	})
	defer func() {
		err = errors.Join(err, web.Close())
		serving.Wait()
	}()
	if _, err := fmt.Fprintf(t.Out, "controls http://%s\n", listener.Addr()); err != nil {
		return 1, err
	}
	return app.Main(ctx, args, t)
}

func controls() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /memory", func(w http.ResponseWriter, _ *http.Request) {
		// Twice, so that pools and finalizers are empty; then what was freed
		// goes back.
		runtime.GC()
		runtime.GC()
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		err := json.NewEncoder(w).Encode(Memory{Live: m.HeapAlloc, Heap: m.HeapInuse, Stacks: m.StackInuse, Count: runtime.NumGoroutine()})
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	mux.HandleFunc("GET /heap", func(w http.ResponseWriter, _ *http.Request) {
		if err := pprof.Lookup("heap").WriteTo(w, 0); err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	var file *os.File
	mux.HandleFunc("POST /profile", func(w http.ResponseWriter, r *http.Request) {
		var err error
		if path := r.URL.Query().Get("file"); path != "" {
			if file, err = os.Create(path); err == nil {
				err = pprof.StartCPUProfile(file)
			}
		} else if file != nil {
			pprof.StopCPUProfile()
			err, file = file.Close(), nil
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return mux
}

// server is a running server with its controls.
type server struct {
	*world.Server
	controls string
}

// start starts the real server with the bench's door.
func (b *bench) start(ctx context.Context, dir, database string) (*server, error) {
	s, err := world.StartServer(ctx, world.ServerOptions{
		Programs: world.Programs{Register: b.Programs.Register, Syncserver: b.Self}, Dir: dir, Database: database,
	})
	if err != nil {
		return nil, err
	}
	line, err := s.Line(ctx, "controls ")
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return &server{Server: s, controls: strings.TrimPrefix(line, "controls ")}, nil
}

func (s *server) do(ctx context.Context, method, path string, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, s.controls+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, res.Status)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(out)
}

func (s *server) memory(ctx context.Context) (m Memory, err error) {
	return m, s.do(ctx, http.MethodGet, "/memory", &m)
}

// profile writes a CPU profile to a file until it is called with "".
func (s *server) profile(ctx context.Context, file string) error {
	return s.do(ctx, http.MethodPost, "/profile?file="+file, nil)
}
