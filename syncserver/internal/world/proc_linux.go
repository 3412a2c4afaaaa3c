package world

import "syscall"

const exe = ""

// dieWithParent has the kernel end a program when the one that started it dies,
// however it dies.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
