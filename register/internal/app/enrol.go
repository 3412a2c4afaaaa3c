package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"tillandsia/register/internal/catalogue"
	"tillandsia/register/internal/door"
	"tillandsia/register/internal/journal"
	"tillandsia/register/internal/uplink"
	"tillandsia/shared/httpapi"
	"tillandsia/shared/message"
	"tillandsia/shared/wire"
)

// Enrolment is what a register was given when it was enrolled. It is a secret:
// it holds the token that the register shows to the server.
type Enrolment struct {
	Server        string `json:"server"`
	AllowInsecure bool   `json:"allow_insecure,omitempty"`
	// CA says that the data folder holds the certificates to trust.
	CA    bool      `json:"ca,omitempty"`
	Nonce string    `json:"nonce"`
	At    time.Time `json:"at"`
	wire.EnrolAnswer
}

// shown is what may be known of an enrolment.
func (e *Enrolment) shown() door.Enrolment {
	return door.Enrolment{Server: e.Server, PointOfSale: e.PointOfSale, RegisterID: e.RegisterID, Register: e.RegisterCode, At: e.At}
}

func (e *Enrolment) identity() journal.Identity {
	return journal.Identity{PointOfSale: e.PointOfSale, Register: e.RegisterID, Code: e.RegisterCode}
}

// ca is the file of certificates to trust, empty for the system's.
func (e *Enrolment) ca(data string) string {
	if !e.CA {
		return ""
	}
	return filepath.Join(data, fileCA)
}

// Save writes the enrolment into a data folder.
func (e *Enrolment) Save(data string) error {
	raw, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("encode enrolment: %w", err)
	}
	if err := writeFile(filepath.Join(data, fileEnrolment), raw); err != nil {
		return errFolder(data, err)
	}
	return nil
}

// loadEnrolment reads the enrolment of a data folder; nil where there is none.
func loadEnrolment(data string) (*Enrolment, error) {
	raw, err := os.ReadFile(filepath.Join(data, fileEnrolment))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // not enrolled
	}
	if err != nil {
		return nil, errFolder(data, err)
	}
	var e Enrolment
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, errFolder(data, fmt.Errorf("read %s: %w", fileEnrolment, err))
	}
	return &e, nil
}

// EnrolRequest enrols a register.
type EnrolRequest struct {
	Server        string
	Code          string
	CA            string // file of certificates to trust
	AllowInsecure bool
	// Wait is how long the first catalogue may take.
	Wait time.Duration
}

// Enrol makes a data folder the register that a pairing code stands for, and
// fetches the first catalogue, so that it sells from its first start on without
// the server. Broken off after the code was spent, it is taken up where it was.
func Enrol(ctx context.Context, cfg Config, in EnrolRequest) (*Enrolment, error) {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, errFolder(cfg.Data, err)
	}
	e, err := loadEnrolment(cfg.Data)
	if err != nil {
		return nil, err
	}
	if e == nil {
		if e, err = pair(ctx, cfg, in); err != nil {
			return nil, err
		}
	}
	if _, err := apiToken(cfg.Data); err != nil {
		return nil, err
	}
	j, err := journal.Create(ctx, journalOptions(cfg, e))
	if errors.Is(err, journal.ErrExists) {
		return nil, message.New(message.Conflict, "door.already_enrolled", "register", e.PointOfSale+"/"+e.RegisterCode)
	}
	if err != nil {
		return nil, fmt.Errorf("make the journal: %w", err)
	}
	return e, errors.Join(firstCatalogue(ctx, cfg, e, j, in.Wait), j.Close())
}

// pair spends the pairing code and keeps the answer.
func pair(ctx context.Context, cfg Config, in EnrolRequest) (*Enrolment, error) {
	if err := uplink.CheckServer(in.Server, in.AllowInsecure); err != nil {
		return nil, err
	}
	address, err := url.Parse(in.Server)
	if err != nil {
		return nil, fmt.Errorf("read the server's address: %w", err)
	}
	tls, err := uplink.TLS(in.CA)
	if err != nil {
		return nil, err
	}
	e := &Enrolment{Server: in.Server, AllowInsecure: in.AllowInsecure, CA: in.CA != "", Nonce: newNonce()}
	if e.CA {
		pem, err := os.ReadFile(in.CA)
		if err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
		if err := writeFile(filepath.Join(cfg.Data, fileCA), pem); err != nil {
			return nil, errFolder(cfg.Data, err)
		}
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: tls, Proxy: http.ProxyFromEnvironment}}
	defer client.CloseIdleConnections()
	request := wire.EnrolRequest{Code: in.Code, Nonce: e.Nonce, Software: software}
	if err := post(ctx, client, address.JoinPath("/api/v1/enrol").String(), request, &e.EnrolAnswer); err != nil {
		return nil, err
	}
	e.At = time.Now().UTC()
	return e, e.Save(cfg.Data)
}

func newNonce() string {
	nonce := make([]byte, 16)
	rand.Read(nonce) // never fails
	return hex.EncodeToString(nonce)
}

// maxAnswer bounds what an answer of the server may hold.
const maxAnswer = 64 << 10

func post(ctx context.Context, client *http.Client, address string, in, out any) error {
	data, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return message.New(message.Unavailable, "door.enrol_unreachable", "server", address).Wrap(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return message.New(message.Unavailable, "door.enrol_unreachable", "server", address).Wrap(err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		problem := httpapi.Problem{}
		if json.Unmarshal(answer, &problem) != nil || problem.Message == "" {
			problem.Message = res.Status
		}
		return message.New(message.Forbidden, "door.enrol_refused", "reason", problem.Message)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("read the answer of %s: %w", address, err)
	}
	return nil
}

// firstCatalogue connects once and waits until a whole catalogue is there.
func firstCatalogue(ctx context.Context, cfg Config, e *Enrolment, j *journal.Journal, wait time.Duration) error {
	c, err := catalogue.Open(ctx, catalogueOptions(cfg, e))
	if err != nil {
		return fmt.Errorf("open the catalogue: %w", err)
	}
	u, err := newUplink(cfg, e, j, c, "")
	if err != nil {
		return errors.Join(err, c.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- u.Run(ctx) }()
	missing := error(message.New(message.Unavailable, "door.enrol_no_catalogue"))
	select {
	case <-u.CatalogueArrived():
		missing = nil
	case <-ctx.Done():
	}
	cancel()
	return errors.Join(missing, <-ran, c.Close())
}

func journalOptions(cfg Config, e *Enrolment) journal.Options {
	return journal.Options{
		Dir: cfg.Data, Identity: e.identity(), Clock: time.Now, LockTimeout: lockTimeout, Logger: cfg.Logger,
		Software: software, Epoch: e.Epoch, Base: e.Base, Nonce: e.Nonce,
	}
}

func catalogueOptions(cfg Config, e *Enrolment) catalogue.Options {
	return catalogue.Options{
		Dir: cfg.Data, PointOfSale: e.PointOfSale, Register: e.RegisterID, Clock: time.Now,
		LockTimeout: lockTimeout, Logger: cfg.Logger,
	}
}

// lockTimeout is how long another program may take to let go of the files.
const lockTimeout = 3 * time.Second

func newUplink(cfg Config, e *Enrolment, j *journal.Journal, c *catalogue.Catalogue, screen string) (*uplink.Uplink, error) {
	u, err := uplink.New(uplink.Options{
		Server: e.Server, Token: e.Token, PointOfSale: e.PointOfSale, Register: e.RegisterID, CA: e.ca(cfg.Data),
		AllowInsecure: e.AllowInsecure, Program: software, Screen: screen, Journal: j, Catalogue: c,
		Clock: time.Now, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("prepare the connection: %w", err)
	}
	return u, nil
}
