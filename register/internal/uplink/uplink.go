// Package uplink keeps the register in sync with the server: it drives the
// protocol's state machine [peer.Till] with a real socket, the journal and the
// catalogue cache. It never stands in the way of a sale: it reads the journal
// in short transactions of its own and writes only what the server told.
package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/oklog/ulid/v2"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/peer"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
)

// Errors of the uplink.
var (
	// ErrInsecure is returned for a plain ws:// or http:// address that is not
	// loopback.
	ErrInsecure = message.New(message.Invalid, "uplink.insecure")
	// ErrNotConnected is returned by Find while there is no connection.
	ErrNotConnected = message.New(message.Unavailable, "uplink.not_connected")
)

// Journal is what the uplink calls of the journal.
type Journal interface {
	Epochs() []wire.EpochHead
	Nonce() string
	Acked() []entry.Point
	SetAcked(ctx context.Context, p entry.Point) error
	Read(ctx context.Context, from entry.Place, maxEntries, maxBytes int) ([]journal.Raw, error)
	HashAt(ctx context.Context, at entry.Place) (entry.Hash, error)
	Waiting() (entries int, amount money.Amount)
	Notify() <-chan struct{}
	Generation() uint64
	SetGeneration(ctx context.Context, generation uint64) error
	Incarnation() string
	SetIncarnation(ctx context.Context, incarnation string) error
	Closes(ctx context.Context, beyond []entry.Place) ([]wire.RawEntry, error)
	Append(ctx context.Context, fn func(tx *journal.Tx) error) (journal.Result, error)
	Prune(ctx context.Context, p journal.Pruning) (int, error)
}

// Catalogue is what the uplink calls of the catalogue cache.
type Catalogue interface {
	Handle() (handle string, revision uint64)
	Apply(ctx context.Context, page wire.Catalogue) error
	Reset(ctx context.Context) error
}

// Options say whom to connect to and as whom.
type Options struct {
	// Server is the server's address: http(s)://host[:port].
	Server string
	Token  string
	// PointOfSale and Register are what enrolment gave.
	PointOfSale string
	Register    string
	// CA is a file of certificates to trust besides the system's.
	CA string
	// AllowInsecure permits plain ws:// to other hosts than loopback.
	AllowInsecure bool
	Program       string
	// Screen is the address of the register's own screen.
	Screen string

	Journal   Journal
	Catalogue Catalogue
	Clock     func() time.Time
	Logger    *slog.Logger
	// Random is used for waiting times; nil means a seed of its own.
	Random *rand.Rand
}

// Uplink is the register's connection to the server.
type Uplink struct {
	options Options
	address string
	dialer  websocket.Dialer
	log     *slog.Logger
	machine *peer.Till
	events  chan any

	socket  *websocket.Conn // of the loop
	attempt uint64          // tells frames of an older socket apart
	said    string          // the last reason for having no connection
	timer   *time.Timer
	readers sync.WaitGroup

	mu       sync.Mutex
	status   peer.Status
	sessions []wire.Session
	catalog  chan struct{} // closed once a whole catalogue is there
	gotPages bool
	finds    map[string]chan *wire.Found
}

// Time limits of the socket.
const (
	dialLimit  = 20 * time.Second
	writeLimit = 30 * time.Second
	findLimit  = 15 * time.Second
)

// maxRefusal is the most that is read of an answer that refuses to connect.
const maxRefusal = 4 << 10

// New checks the options and returns an uplink that does not run yet.
func New(o Options) (*Uplink, error) {
	address, err := endpoint(o.Server, o.AllowInsecure)
	if err != nil {
		return nil, err
	}
	if o.Random == nil {
		o.Random = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	tlsConfig, err := TLS(o.CA)
	if err != nil {
		return nil, err
	}
	return &Uplink{
		options: o, address: address, log: o.Logger, machine: peer.NewTill(o.Random),
		dialer: websocket.Dialer{
			HandshakeTimeout: dialLimit, Subprotocols: wire.Subprotocols(), TLSClientConfig: tlsConfig,
			ReadBufferSize: 4 << 10, WriteBufferSize: 16 << 10,
		},
		events: make(chan any, 64), timer: time.NewTimer(time.Hour),
		catalog: make(chan struct{}), finds: map[string]chan *wire.Found{},
	}, nil
}

// TLS returns a configuration that trusts a file of certificates besides the
// system's; nil, the default, where there is none.
func TLS(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is the default configuration
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, message.New(message.Invalid, "uplink.ca_unreadable", "file", file).Wrap(err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, message.New(message.Invalid, "uplink.ca_unreadable", "file", file)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// CheckServer refuses an address that is none, or that would send money over
// a line that anyone can read.
func CheckServer(server string, allowInsecure bool) error {
	_, err := endpoint(server, allowInsecure)
	return err
}

// endpoint returns the WebSocket address of a server.
func endpoint(server string, allowInsecure bool) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return "", message.New(message.Invalid, "uplink.address", "address", server)
	}
	switch u.Scheme {
	case "https", "wss":
		u.Scheme = "wss"
	case "http", "ws":
		if !allowInsecure && !loopback(u.Hostname()) {
			return "", ErrInsecure
		}
		u.Scheme = "ws"
	default:
		return "", message.New(message.Invalid, "uplink.address", "address", server)
	}
	return u.JoinPath("/sync").String(), nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Status is what the screens show of the connection.
type Status struct {
	peer.Status
	Waiting       int
	WaitingAmount money.Amount
}

// Status returns what the screens show of the connection.
func (u *Uplink) Status() Status {
	u.mu.Lock()
	s := Status{Status: u.status}
	u.mu.Unlock()
	s.Waiting, s.WaitingAmount = u.options.Journal.Waiting()
	return s
}

// Sessions returns the sessions in progress at the point of sale as the server
// told last; they outlive the connection.
func (u *Uplink) Sessions() []wire.Session {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]wire.Session(nil), u.sessions...)
}

// CatalogueArrived is closed once a whole catalogue has come on this run.
func (u *Uplink) CatalogueArrived() <-chan struct{} { return u.catalog }

// The loop's own events; the others are the machine's.
type (
	frame struct {
		attempt uint64
		kind    int
		data    []byte
	}
	lost struct {
		attempt uint64
		err     error
		after   time.Duration
		refusal *wire.Error // what the server said, nil where nothing of ours answered
	}
	dialled struct {
		attempt uint64
		socket  *websocket.Conn
	}
	asked struct{ find wire.Find }
)

// Run keeps in sync until ctx ends.
func (u *Uplink) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer u.readers.Wait()
	defer u.hangUp()
	defer cancel()
	defer u.timer.Stop()
	u.step(ctx, peer.Started{})
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-u.timer.C:
			u.step(ctx, peer.Ticked{})
		case <-u.options.Journal.Notify():
			u.step(ctx, peer.Grown{Epochs: u.options.Journal.Epochs()})
		case e := <-u.events:
			u.handle(ctx, e)
		}
	}
	return nil
}

// post hands an event to the loop; false where the loop has ended.
func (u *Uplink) post(ctx context.Context, e any) bool {
	select {
	case u.events <- e:
		return true
	case <-ctx.Done():
		return false
	}
}

func (u *Uplink) handle(ctx context.Context, e any) {
	switch e := e.(type) {
	case dialled:
		if e.attempt != u.attempt {
			_ = e.socket.Close() // of an attempt that was given up: its reader ends
			return
		}
		u.socket = e.socket
		u.step(ctx, peer.Connected{Hello: u.hello(), Acked: u.options.Journal.Acked()})
	case lost:
		if e.attempt != u.attempt {
			return
		}
		if said := e.err.Error(); said != u.said {
			// Each reason once, not each time: a shop may be offline for days.
			u.said = said
			u.log.InfoContext(ctx, "no connection", "error", e.err)
		}
		if e.refusal != nil {
			u.step(ctx, peer.Received{Message: e.refusal})
			return
		}
		u.hangUp()
		u.step(ctx, peer.Disconnected{RetryAfter: e.after})
	case frame:
		if e.attempt == u.attempt {
			u.receive(ctx, e)
		}
	case asked:
		if actions, ok := u.machine.Find(e.find); ok {
			u.do(ctx, actions)
			return
		}
		u.answer(e.find.Ask, nil)
	}
}

func (u *Uplink) hello() wire.Hello {
	j := u.options.Journal
	handle, revision := u.options.Catalogue.Handle()
	waiting, amount := j.Waiting()
	return wire.Hello{
		Version: wire.Version, PointOfSale: u.options.PointOfSale, Register: u.options.Register, Nonce: j.Nonce(),
		Epochs: j.Epochs(), Generation: j.Generation(), Incarnation: j.Incarnation(),
		CatalogueHandle: handle, CatalogueRev: revision, Program: u.options.Program, Screen: u.options.Screen,
		Waiting: waiting, WaitingAmount: amount, Clock: u.options.Clock().UTC(),
	}
}

// receive decodes a frame and steps the machine.
func (u *Uplink) receive(ctx context.Context, f frame) {
	if f.kind != websocket.TextMessage {
		u.log.WarnContext(ctx, "unexpected entries from the server")
		return // fetched entries belong to rows that this version only detects
	}
	m, err := wire.Decode(f.data)
	if err != nil {
		u.log.WarnContext(ctx, "message not understood", "error", err)
		u.lose(ctx, err)
		return
	}
	event := peer.Received{Message: m}
	switch m := m.(type) {
	case wire.Unknown:
		return
	case *wire.Welcome:
		if event.Own, err = u.own(ctx, m); err != nil {
			u.lose(ctx, err)
			return
		}
	}
	u.step(ctx, event)
}

// own returns the register's own points at the server's cursors.
func (u *Uplink) own(ctx context.Context, w *wire.Welcome) ([]entry.Point, error) {
	var own []entry.Point
	for _, e := range w.Epochs {
		hash, err := u.options.Journal.HashAt(ctx, e.Cursor.Place())
		switch {
		case errors.Is(err, journal.ErrNotFound), errors.Is(err, journal.ErrPruned):
		case err != nil:
			return nil, fmt.Errorf("read hash at the server's cursor: %w", err)
		default:
			own = append(own, entry.Point{Epoch: e.Cursor.Epoch, Seq: e.Cursor.Seq, Hash: hash})
		}
	}
	return own, nil
}

// lose gives the connection up.
func (u *Uplink) lose(ctx context.Context, err error) {
	u.log.WarnContext(ctx, "connection given up", "error", err)
	u.hangUp()
	u.step(ctx, peer.Disconnected{})
}

// hangUp closes the socket; frames of it that are on the way are dropped, and
// who waits for an answer is told that none comes.
func (u *Uplink) hangUp() {
	u.attempt++
	if u.socket != nil {
		_ = u.socket.Close() // it may be broken already
		u.socket = nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, waiting := range u.finds {
		select {
		case waiting <- nil:
		default: // answered already
		}
	}
}

func (u *Uplink) step(ctx context.Context, e peer.Event) {
	u.do(ctx, u.machine.Step(e, u.options.Clock()))
}

// do does what the machine says, in order; outcomes step it again.
func (u *Uplink) do(ctx context.Context, actions []peer.Action) {
	for len(actions) > 0 {
		event, err := u.act(ctx, actions[0])
		actions = actions[1:]
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			u.log.WarnContext(ctx, "sync interrupted", "error", err)
			u.hangUp()
			// What was still to be done belonged to the connection.
			actions = u.machine.Step(peer.Disconnected{}, u.options.Clock())
		case event != nil:
			actions = append(actions, u.machine.Step(event, u.options.Clock())...)
		}
	}
}

func (u *Uplink) act(ctx context.Context, a peer.Action) (peer.Event, error) {
	j := u.options.Journal
	switch a := a.(type) {
	case peer.Dial:
		u.attempt++
		attempt := u.attempt
		u.readers.Go(func() { u.dial(ctx, attempt) })
	case peer.Drop:
		u.log.InfoContext(ctx, "connection dropped", "why", a.Why)
		u.hangUp()
		return peer.Disconnected{}, nil
	case peer.Send:
		data, err := wire.Encode(a.Message)
		if err != nil {
			return nil, err
		}
		return nil, u.write(websocket.TextMessage, data)
	case peer.SendBatch:
		data, err := wire.EncodeBatch(&a.Batch)
		if err != nil {
			return nil, err
		}
		return nil, u.write(websocket.BinaryMessage, data)
	case peer.Keep:
		return u.keep(ctx, a)
	case peer.SetAcked:
		return nil, j.SetAcked(ctx, a.Point)
	case peer.SetStable:
		u.prune(ctx, a)
	case peer.Look:
		return peer.Grown{Epochs: j.Epochs()}, nil
	case peer.Read:
		return u.readJournal(ctx, a.From)
	case peer.Store:
		return u.store(ctx, a.Page)
	case peer.Sessions:
		u.mu.Lock()
		u.sessions = a.List
		u.mu.Unlock()
	case peer.Tell:
		return nil, u.told(ctx, a.Told)
	case peer.Answer:
		u.answer(a.Found.Ask, a.Found)
	case peer.Wake:
		u.timer.Reset(max(0, a.At.Sub(u.options.Clock())))
	case peer.Report:
		u.mu.Lock()
		u.status = a.Status
		u.mu.Unlock()
		u.log.InfoContext(ctx, "connection", "phase", a.Status.Phase, "key", a.Status.Key)
	case peer.ResetCatalogue:
		return nil, u.options.Catalogue.Reset(ctx)
	}
	return nil, nil //nolint:nilnil // most actions have no outcome to tell
}

func (u *Uplink) keep(ctx context.Context, a peer.Keep) (peer.Event, error) {
	j := u.options.Journal
	if err := j.SetGeneration(ctx, a.Generation); err != nil {
		return nil, fmt.Errorf("store generation: %w", err)
	}
	if a.Incarnation != j.Incarnation() {
		if err := j.SetIncarnation(ctx, a.Incarnation); err != nil {
			return nil, fmt.Errorf("store incarnation: %w", err)
		}
	}
	beyond := make([]entry.Place, 0, len(a.Cursors))
	for _, c := range a.Cursors {
		beyond = append(beyond, c.Place())
	}
	closes, err := j.Closes(ctx, beyond)
	if err != nil {
		return nil, fmt.Errorf("read closes beyond the cursors: %w", err)
	}
	return peer.Kept{Closes: closes}, nil
}

func (u *Uplink) readJournal(ctx context.Context, from entry.Place) (peer.Event, error) {
	raws, err := u.options.Journal.Read(ctx, from, wire.MaxBatchEntries, wire.MaxBatch)
	if err != nil {
		return nil, fmt.Errorf("read entries to send: %w", err)
	}
	event := peer.Entries{Batch: wire.Batch{Epoch: from.Epoch, First: from.Seq}}
	size := 0
	for _, r := range raws {
		if r.At.Epoch != from.Epoch || !wire.Fits(len(event.Batch.Entries), size, len(r.Raw)) {
			break
		}
		size += wire.Size(len(r.Raw))
		event.Batch.Entries = append(event.Batch.Entries, r.Raw)
		event.Last = r.At
	}
	return event, nil
}

func (u *Uplink) store(ctx context.Context, page *wire.Catalogue) (peer.Event, error) {
	if err := u.options.Catalogue.Apply(ctx, *page); err != nil {
		u.log.WarnContext(ctx, "catalogue page does not fit: a fresh one is fetched", "error", err)
		return peer.Applied{Failed: true}, nil
	}
	if !page.More {
		u.mu.Lock()
		if !u.gotPages {
			u.gotPages = true
			close(u.catalog)
		}
		u.mu.Unlock()
	}
	return peer.Applied{}, nil
}

// told keeps a session's news; a close is journalled once, by its session.
func (u *Uplink) told(ctx context.Context, t *wire.SessionTold) error {
	u.mu.Lock()
	var rest []wire.Session
	for _, s := range u.sessions {
		if s.ID != t.Session.ID {
			rest = append(rest, s)
		}
	}
	if t.Close == nil && !t.Session.Rescue && inProgress(t.Session.State) {
		rest = append(rest, t.Session)
	}
	u.sessions = rest
	u.mu.Unlock()
	if t.Close == nil {
		return nil
	}
	return u.journalClose(ctx, *t.Close)
}

func inProgress(state string) bool { return state == "opened" || state == "opening_control" }

func (u *Uplink) journalClose(ctx context.Context, c pos.Close) error {
	_, err := u.options.Journal.Append(ctx, func(tx *journal.Tx) error {
		_, heard, err := tx.HeardClose(c.Session)
		if err != nil || heard {
			return err
		}
		_, err = tx.Add(entry.KindClose, newID(u.options.Clock()), c)
		return err
	})
	switch {
	case errors.Is(err, entry.ErrTooLarge):
		// It cannot be kept here; that must not keep the money from going.
		u.log.ErrorContext(ctx, "a close is too large to be journalled", "session", c.Session, "name", c.Name, "error", err)
		return nil
	case err != nil:
		return fmt.Errorf("journal the close of %s: %w", c.Name, err)
	}
	return nil
}

func newID(now time.Time) string {
	return ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String()
}

func (u *Uplink) prune(ctx context.Context, a peer.SetStable) {
	if a.Point.Seq == 0 || a.Retention == 0 {
		return
	}
	_, err := u.options.Journal.Prune(ctx, journal.Pruning{
		Stable: []entry.Point{a.Point}, Before: u.options.Clock().Add(-a.Retention),
	})
	if err != nil {
		// What is not pruned now is pruned later; the sync goes on.
		u.log.WarnContext(ctx, "journal not pruned", "error", err)
	}
}

// dial opens the socket, posts what came of it, and reads on from there.
func (u *Uplink) dial(ctx context.Context, attempt uint64) {
	header := http.Header{"Authorization": {"Bearer " + u.options.Token}}
	socket, res, err := u.dialer.DialContext(ctx, u.address, header)
	if res != nil {
		defer res.Body.Close() // what the handshake answered; the socket stays
	}
	if err != nil {
		u.post(ctx, lost{attempt: attempt, err: err, after: retryAfter(res), refusal: refusal(res)})
		return
	}
	defer func() { _ = socket.Close() }() // the loop may have closed it already
	if wire.CommonSubprotocol([]string{socket.Subprotocol()}) == "" {
		u.post(ctx, lost{attempt: attempt, err: errors.New("the server speaks another protocol"), refusal: &wire.Error{Code: wire.CodeVersion}})
		return
	}
	socket.SetReadLimit(wire.MaxFrame)
	if u.post(ctx, dialled{attempt: attempt, socket: socket}) {
		u.read(ctx, attempt, socket)
	}
}

// refusal returns what our server said, if it was one, and if waiting alone
// does not help.
func refusal(res *http.Response) *wire.Error {
	if res == nil {
		return nil
	}
	var e wire.Error
	if err := json.NewDecoder(io.LimitReader(res.Body, maxRefusal)).Decode(&e); err != nil {
		return nil // a proxy, a portal, anything: it is tried again
	}
	if e.Code == wire.CodeUnknown || e.Code == wire.CodeVersion {
		return &e
	}
	return nil
}

// maxRetryAfter bounds what a server, or something that answers in its place,
// can make a register wait.
const maxRetryAfter = 5 * time.Minute

func retryAfter(res *http.Response) time.Duration {
	if res == nil {
		return 0
	}
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(maxRetryAfter, time.Duration(seconds)*time.Second)
}

// read posts frames until the socket ends. The server pings: silence means
// that it is gone.
func (u *Uplink) read(ctx context.Context, attempt uint64, socket *websocket.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = socket.Close() }) // it may be broken already
	defer stop()
	alive := func() error { return socket.SetReadDeadline(realNow().Add(peer.SilenceLimit)) }
	socket.SetPingHandler(func(data string) error {
		if err := alive(); err != nil {
			return err
		}
		err := socket.WriteControl(websocket.PongMessage, []byte(data), realNow().Add(writeLimit))
		if errors.Is(err, websocket.ErrCloseSent) {
			return nil
		}
		return err
	})
	for {
		kind, data, err := readFrame(socket, alive)
		if err != nil {
			u.post(ctx, lost{attempt: attempt, err: err})
			return
		}
		if !u.post(ctx, frame{attempt: attempt, kind: kind, data: data}) {
			return
		}
	}
}

// readFrame reads a frame. Every piece of it is a sign of life: a large frame
// over a slow line is no silence.
func readFrame(socket *websocket.Conn, alive func() error) (kind int, data []byte, err error) {
	if err := alive(); err != nil {
		return 0, nil, err
	}
	kind, reader, err := socket.NextReader()
	if err != nil {
		return 0, nil, err
	}
	data, err = io.ReadAll(pulse{reader, alive})
	return kind, data, err
}

// pulse calls beat for every piece that is read.
type pulse struct {
	io.Reader
	beat func() error
}

func (p pulse) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if err == nil {
		err = p.beat()
	}
	return n, err
}

// realNow is the clock of sockets: their deadlines are the system's, whatever
// clock the register runs by.
func realNow() time.Time {
	return time.Now() //nolint:forbidigo // socket deadlines are in the system's time
}

func (u *Uplink) write(kind int, data []byte) error {
	if u.socket == nil {
		return errors.New("no connection")
	}
	if err := u.socket.SetWriteDeadline(realNow().Add(writeLimit)); err != nil {
		return fmt.Errorf("write to the server: %w", err)
	}
	if err := u.socket.WriteMessage(kind, data); err != nil {
		return fmt.Errorf("write to the server: %w", err)
	}
	return nil
}

// Find asks the server for an order by id or receipt number. It is the only
// call that waits for the server, and only where somebody asks for it.
func (u *Uplink) Find(ctx context.Context, order, number string) (*wire.Found, error) {
	ask := newID(u.options.Clock())
	answer := make(chan *wire.Found, 1)
	u.mu.Lock()
	u.finds[ask] = answer
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		delete(u.finds, ask)
		u.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, findLimit)
	defer cancel()
	u.post(ctx, asked{find: wire.Find{Ask: ask, Order: order, Number: number}})
	select {
	case found := <-answer:
		if found == nil {
			return nil, ErrNotConnected
		}
		return found, nil
	case <-ctx.Done():
		return nil, ErrNotConnected.Wrap(ctx.Err())
	}
}

// answer hands what was found to who asked, nil where no answer comes.
func (u *Uplink) answer(ask string, found *wire.Found) {
	u.mu.Lock()
	defer u.mu.Unlock()
	waiting := u.finds[ask]
	if waiting == nil {
		return
	}
	select {
	case waiting <- found:
	default: // answered already
	}
}
