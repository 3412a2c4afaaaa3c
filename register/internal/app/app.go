// Package app wires the register together: configuration, commands, start and
// stop. It is the only package that knows all the others.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
	_ "time/tzdata" // a till may run where there is no zone database

	"tillandsia/register/internal/catalogue"
	"tillandsia/register/internal/door"
	"tillandsia/register/internal/journal"
	"tillandsia/register/internal/till"
	"tillandsia/register/internal/uplink"
	"tillandsia/shared/message"
	"tillandsia/shared/peer"
)

// Limits of the API's connections.
const (
	headerLimit   = 5 * time.Second
	requestLimit  = 30 * time.Second
	answerLimit   = 5 * time.Minute // a journal of years is verified in one answer
	idleLimit     = 2 * time.Minute
	shutdownLimit = 10 * time.Second
	maxHeader     = 16 << 10
)

// Run runs the till until ctx ends: journal, catalogue, till, connection and
// API are started from the inside out and stopped in reverse. The connection
// to the server is not needed for anything here.
func Run(ctx context.Context, cfg Config) error {
	e, err := loadEnrolment(cfg.Data)
	if err != nil {
		return err
	}
	if e == nil {
		return message.New(message.Conflict, "door.not_enrolled", "folder", cfg.Data)
	}
	j, err := journal.Open(ctx, journalOptions(cfg, e))
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	if opening := j.Opening(); opening.Copy != "" {
		cfg.Logger.WarnContext(ctx, "the journal is a copy: a new number series begins", "why", opening.Copy, "series", opening.Series)
	}
	return errors.Join(withCatalogue(ctx, cfg, e, j), j.Close())
}

func withCatalogue(ctx context.Context, cfg Config, e *Enrolment, j *journal.Journal) error {
	c, err := catalogue.Open(ctx, catalogueOptions(cfg, e))
	if err != nil {
		return fmt.Errorf("open the catalogue: %w", err)
	}
	return errors.Join(serve(ctx, cfg, e, j, c), c.Close())
}

func serve(ctx context.Context, cfg Config, e *Enrolment, j *journal.Journal, c *catalogue.Catalogue) error {
	token, err := apiToken(cfg.Data)
	if err != nil {
		return err
	}
	backups := filepath.Join(cfg.Data, folderBackups)
	if err := os.MkdirAll(backups, 0o700); err != nil {
		return errFolder(cfg.Data, err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return message.New(message.Unavailable, "door.listen", "address", cfg.Listen).Wrap(err)
	}
	screen := "http://" + address(listener.Addr())
	options := till.Options{Journal: j, Catalogue: c, Clock: time.Now, Logger: cfg.Logger, Idle: cfg.Idle}
	sync := func() door.SyncStatus { return stopped(j, "uplink.ca_unreadable") }
	u, err := newUplink(cfg, e, j, c, screen)
	if err != nil {
		// Selling does not need the server.
		cfg.Logger.ErrorContext(ctx, "no connection to the server", "error", err)
	} else {
		options.Uplink = u
		sync = func() door.SyncStatus { return statusOf(u) }
	}
	t, err := till.New(ctx, options)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := &http.Server{
		Handler: door.New(door.Options{
			Till: t, Journal: j, Catalogue: c, Sync: sync, Enrolment: e.shown(), Version: Version,
			Hosts: hosts(listener.Addr(), cfg.Hosts), Token: token, Backups: backups, Clock: time.Now, Logger: cfg.Logger,
		}),
		ReadHeaderTimeout: headerLimit, ReadTimeout: requestLimit, WriteTimeout: answerLimit, IdleTimeout: idleLimit,
		MaxHeaderBytes: maxHeader, ErrorLog: nil,
	}
	if cfg.Ready != nil {
		cfg.Ready(screen)
	}
	return run(ctx, server, listener, u)
}

// run serves and keeps in sync until ctx ends, then stops: no new requests,
// those that run finish, then the connection.
func run(ctx context.Context, server *http.Server, listener net.Listener, u *uplink.Uplink) error {
	syncing, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	defer hangUp()
	synced := make(chan error, 1)
	if u == nil {
		synced <- nil
	} else {
		go func() { synced <- u.Run(syncing) }()
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	var failed error
	select {
	case <-ctx.Done():
	case failed = <-served:
		served <- http.ErrServerClosed
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownLimit)
	defer cancel()
	stopErr := server.Shutdown(ending)
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		stopErr = errors.Join(stopErr, err)
	}
	hangUp()
	return errors.Join(failed, stopErr, <-synced)
}

func statusOf(u *uplink.Uplink) door.SyncStatus {
	s := u.Status()
	status := door.SyncStatus{Phase: string(s.Phase), Since: s.Since.UTC(), Key: s.Key, Waiting: s.Waiting, WaitingAmount: s.WaitingAmount}
	if status.Phase == "" {
		status.Phase = string(peer.Offline) // it has not begun yet
	}
	if s.Key != "" {
		status.Message = message.Text(message.English, s.Key, nil)
	}
	return status
}

// stopped is the status of a register that cannot try to connect.
func stopped(j *journal.Journal, key string) door.SyncStatus {
	waiting, amount := j.Waiting()
	return door.SyncStatus{
		Phase: string(peer.Stopped), Key: key, Message: message.Text(message.English, key, map[string]string{"file": fileCA}),
		Waiting: waiting, WaitingAmount: amount,
	}
}
