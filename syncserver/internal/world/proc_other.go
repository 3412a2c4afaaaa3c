//go:build !linux

package world

import (
	"runtime"
	"syscall"
)

var exe = map[bool]string{true: ".exe"}[runtime.GOOS == "windows"]

func dieWithParent() *syscall.SysProcAttr { return nil }
