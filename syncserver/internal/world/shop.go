package world

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// The people of a shop made by [OpenShop], and their secrets: for
// demonstrations and tests on loopback only.
const (
	ManagerLogin    = "manager"
	ManagerPassword = "manager-password"
	ManagerPIN      = "654321"
	CashierPIN      = "1111"
	SecondPIN       = "2222"
)

// Server is a syncserver that runs, with a signed-in admin.
type Server struct {
	*Process
	// Admin and Manager are signed in.
	Admin   *Client
	Manager *Client
	// AdminPassword is the one that the first start printed.
	AdminPassword string

	programs Programs
	dir      string
	database string
	listen   string
}

// ServerOptions say how a server is started.
type ServerOptions struct {
	Programs Programs
	// Dir is the folder for its data and log.
	Dir string
	// Database is a postgres:// address, "" for SQLite in Dir.
	Database string
	// Listen is the address, "" for a free loopback port.
	Listen string
}

// StartServer starts a new server and signs the first admin in.
func StartServer(ctx context.Context, o ServerOptions) (*Server, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	s := &Server{programs: o.Programs, dir: o.Dir, database: o.Database, listen: o.Listen}
	process, err := Start(ctx, "syncserver", o.Dir, o.Programs.Syncserver, s.args()...)
	if err != nil {
		return nil, err
	}
	s.Process = process
	// The next start must come back at the same place.
	s.listen = strings.TrimPrefix(strings.TrimPrefix(process.URL, "http://"), "https://")
	line, err := process.Line(ctx, "first start: ")
	if err != nil {
		return nil, errors.Join(err, process.Stop())
	}
	s.AdminPassword = between(line, "password ", " (")
	s.Admin, err = s.signIn(ctx, "admin", s.AdminPassword)
	if err != nil {
		return nil, errors.Join(err, process.Stop())
	}
	return s, nil
}

func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}

func (s *Server) args(extra ...string) []string {
	args := []string{"serve", "-data", filepath.Join(s.dir, "server"), "-listen", s.listen}
	if s.database != "" {
		args = append(args, "-database", s.database)
	}
	return append(args, extra...)
}

// Restart starts the server again, at the same address, after Stop or Kill.
func (s *Server) Restart(ctx context.Context) error {
	process, err := Start(ctx, "syncserver", s.dir, s.programs.Syncserver, s.args()...)
	if err != nil {
		return err
	}
	s.Process = process
	return nil
}

// DatabaseFile returns the SQLite file.
func (s *Server) DatabaseFile() string { return filepath.Join(s.dir, "server", "tillandsia.db") }

// Audit runs `syncserver audit` on the server's database and returns what it
// printed; an error where an invariant is broken.
func (s *Server) Audit(ctx context.Context) (string, error) {
	args := []string{"audit", "-data", filepath.Join(s.dir, "server")}
	if s.database != "" {
		args = append(args, "-database", s.database)
	}
	return Run(ctx, s.programs.Syncserver, args...)
}

// Host returns where the server listens, host:port.
func (s *Server) Host() string {
	u, err := url.Parse(s.URL)
	if err != nil {
		return ""
	}
	return u.Host
}

func (s *Server) signIn(ctx context.Context, login, password string) (*Client, error) {
	client := NewClient(s.URL, "")
	var in struct {
		Token string `json:"token"`
	}
	err := client.Post(ctx, "/sign-in", map[string]string{"login": login, "password": password}, &in)
	if err != nil {
		return nil, fmt.Errorf("sign in as %s: %w", login, err)
	}
	client.Token = in.Token
	return client, nil
}

// Shop is what is to be set up at a new server.
type Shop struct {
	Code, Name string
	Products   []byte // CSV
	// Taxes are the taxes that the products name: code to rate in parts per
	// million; prices include them.
	Taxes map[string]int
	// Registers are the codes of the registers.
	Registers []string
}

// OpenShop sets a shop up at a new server through its API: taxes, products, a
// point of sale, a manager and two cashiers.
func (s *Server) OpenShop(ctx context.Context, shop Shop) error {
	a := s.Admin
	for code, rate := range shop.Taxes {
		tax := map[string]any{"code": code, "name": code, "rate": rate, "included": true}
		if err := a.Post(ctx, "/catalogue/tax", tax, nil); err != nil {
			return err
		}
	}
	var imported struct {
		Applied bool  `json:"applied"`
		Errors  []any `json:"errors"`
	}
	if err := a.Do(ctx, "POST", "/import/products", shop.Products, &imported); err != nil {
		return err
	}
	if !imported.Applied {
		return fmt.Errorf("products not imported: %v", imported.Errors)
	}
	settings := map[string]any{
		"code": shop.Code, "name": shop.Name, "time_zone": "Europe/Berlin", "cut_off": 0,
		"methods": []string{"cash", "card", "pay-later"}, "cash_control": true, "max_difference": 1000, "active": true,
		"header": shop.Name, "footer": "Thank you",
	}
	if err := a.Post(ctx, "/points-of-sale", settings, nil); err != nil {
		return err
	}
	users := []map[string]any{
		{"login": ManagerLogin, "name": "Maria Manager", "role": "manager", "points_of_sale": []string{shop.Code}, "password": ManagerPassword, "pin": ManagerPIN},
		{"login": "carla", "name": "Carla Cashier", "role": "cashier", "points_of_sale": []string{shop.Code}, "pin": CashierPIN},
		{"login": "carlos", "name": "Carlos Cashier", "role": "cashier", "points_of_sale": []string{shop.Code}, "pin": SecondPIN},
	}
	for _, user := range users {
		if err := a.Post(ctx, "/users", user, nil); err != nil {
			return err
		}
	}
	for _, code := range shop.Registers {
		body := map[string]any{"code": code, "name": "Register " + code, "drawer": true}
		if err := a.Post(ctx, "/points-of-sale/"+shop.Code+"/registers", body, nil); err != nil {
			return err
		}
	}
	var err error
	s.Manager, err = s.signIn(ctx, ManagerLogin, ManagerPassword)
	return err
}

// Till is a register that runs, behind a proxy: the cable that can be pulled.
type Till struct {
	*Process
	Code  string
	ID    string // of the register
	Proxy *Proxy

	programs Programs
	dir      string
	listen   string
}

// Enrol enrols a register of a shop with a pairing code and starts it. Where
// listen is "" it takes a free loopback port.
func (s *Server) Enrol(ctx context.Context, pointOfSale, code, listen string) (*Till, error) {
	id, err := s.registerID(ctx, pointOfSale, code)
	if err != nil {
		return nil, err
	}
	var pairing struct {
		Code string `json:"code"`
	}
	if err := s.Admin.Post(ctx, "/points-of-sale/"+pointOfSale+"/registers/"+id+"/pairing", nil, &pairing); err != nil {
		return nil, err
	}
	proxy, err := NewProxy(ctx, s.Host())
	if err != nil {
		return nil, err
	}
	t := &Till{Code: code, ID: id, Proxy: proxy, programs: s.programs, dir: s.dir, listen: listen}
	if t.listen == "" {
		t.listen = "127.0.0.1:0"
	}
	_, err = Run(ctx, s.programs.Register, "enrol", "--server", "http://"+proxy.Addr(), "--code", pairing.Code, "--data", t.Data())
	if err != nil {
		proxy.Close()
		return nil, err
	}
	if err := t.Restart(ctx); err != nil {
		proxy.Close()
		return nil, err
	}
	return t, nil
}

func (s *Server) registerID(ctx context.Context, pointOfSale, code string) (string, error) {
	var registers []struct {
		ID   string `json:"id"`
		Code string `json:"code"`
	}
	if err := s.Admin.Get(ctx, "/points-of-sale/"+pointOfSale+"/registers", &registers); err != nil {
		return "", err
	}
	for _, r := range registers {
		if r.Code == code {
			return r.ID, nil
		}
	}
	return "", fmt.Errorf("no register %s at %s", code, pointOfSale)
}

// Data returns the register's data folder.
func (t *Till) Data() string { return filepath.Join(t.dir, "register-"+t.Code) }

// Restart starts the register (again), at the same address.
func (t *Till) Restart(ctx context.Context) error {
	process, err := Start(ctx, "register-"+t.Code, t.dir, t.programs.Register, "serve", "--data", t.Data(), "--listen", t.listen)
	if err != nil {
		return err
	}
	t.Process = process
	t.listen = strings.TrimPrefix(process.URL, "http://")
	return nil
}

// End stops the register and its proxy.
func (t *Till) End() error {
	err := t.Stop()
	t.Proxy.Close()
	return err
}

// FreePort returns preferred (host:port) if nothing listens there, else "" for
// any port.
func FreePort(ctx context.Context, preferred string) string {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", preferred)
	if err != nil {
		host, _, splitErr := net.SplitHostPort(preferred)
		if splitErr != nil {
			return ""
		}
		return net.JoinHostPort(host, "0")
	}
	if err := listener.Close(); err != nil {
		return ""
	}
	return preferred
}

// Patience is how long [Eventually] waits on a busy machine.
const Patience = time.Minute
