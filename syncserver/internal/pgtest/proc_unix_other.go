//go:build unix && !linux

package pgtest

import "syscall"

// processAttr keeps the terminal's interrupt away from the server. Systems
// without a death signal leave its end to the keeper.
func processAttr(own *owner) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: credential(own), Setpgid: true}
}
