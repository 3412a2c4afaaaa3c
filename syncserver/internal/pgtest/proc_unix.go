//go:build unix

package pgtest

import "syscall"

func keeperAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func credential(own *owner) *syscall.Credential {
	if own == nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(own.uid), Gid: uint32(own.gid)}
}
