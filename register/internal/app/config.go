package app

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tillandsia/shared/message"
	"tillandsia/shared/secret"
)

// Version is the program's version.
const Version = "0.1.0"

// software names the program in entries and reports.
const software = "register " + Version

// Config is how the till runs.
type Config struct {
	// Data is the data folder.
	Data string
	// Listen is the address of the API, such as 127.0.0.1:8070.
	Listen string
	// Hosts are further names that the register is reached by.
	Hosts []string
	// Idle is how long a screen may stay untouched before it locks.
	Idle   time.Duration
	Logger *slog.Logger
	// Ready, if set, is told the address when the API is open.
	Ready func(url string)
}

// DefaultListen is where the till listens unless it is told otherwise.
const DefaultListen = "127.0.0.1:8070"

// The files of a data folder, beside those of journal and catalogue.
const (
	fileEnrolment = "enrolment.json"
	fileAPIToken  = "api-token"
	fileCA        = "server-ca.pem"
	folderBackups = "backups"
)

func errFolder(folder string, err error) error {
	return message.New(message.Unavailable, "door.folder", "folder", folder).Wrap(err)
}

// apiToken returns the API token of the data folder, made where there is none.
func apiToken(data string) (string, error) {
	path := filepath.Join(data, fileAPIToken)
	raw, err := os.ReadFile(path)
	if token := strings.TrimSpace(string(raw)); err == nil && token != "" {
		return token, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", errFolder(data, err)
	}
	token, _ := secret.Token("api_")
	if err := writeFile(path, []byte(token+"\n")); err != nil {
		return "", errFolder(data, err)
	}
	return token, nil
}

// writeFile writes a file for the owner only, whole or not at all.
func writeFile(path string, data []byte) error {
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// address is where others reach a listener: one that listens on every address
// is reached by the machine's name.
func address(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsUnspecified() {
		return a.String()
	}
	name, err := os.Hostname()
	if err != nil {
		name = "localhost"
	}
	return net.JoinHostPort(name, port)
}

// hosts returns the names, with port, that a listener is reached by: its
// address; localhost where it is this machine only; every address of the
// machine where it listens on all.
func hosts(address net.Addr, more []string) []string {
	host, port, err := net.SplitHostPort(address.String())
	if err != nil {
		return nil
	}
	names := append([]string{host}, more...)
	ip := net.ParseIP(host)
	if ip == nil || ip.IsLoopback() || ip.IsUnspecified() {
		names = append(names, "localhost", "127.0.0.1", "::1")
	}
	if ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			names = append(names, name)
		}
		addresses, _ := net.InterfaceAddrs() // without them it is reached by fewer names
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok {
				names = append(names, n.IP.String())
			}
		}
	}
	list := make([]string, 0, 2*len(names))
	for _, name := range names {
		if _, _, err := net.SplitHostPort(name); err == nil {
			list = append(list, name)
			continue
		}
		list = append(list, net.JoinHostPort(name, port))
		if port == strconv.Itoa(80) {
			list = append(list, name) // browsers leave it out
		}
	}
	return list
}
