package pgtest

import "syscall"

// processAttr makes the kernel end the server by an immediate shutdown when
// this process dies, whatever it dies of. A process group of its own keeps
// the terminal's interrupt away from it: this process decides.
func processAttr(own *owner) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: credential(own), Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}
