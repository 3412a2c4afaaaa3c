//go:build !unix

package pgtest

import "syscall"

// On other systems [Start] finds no PostgreSQL in the known places; these
// stand here so that the package compiles.

func processAttr(*owner) *syscall.SysProcAttr { return nil }

func keeperAttr() *syscall.SysProcAttr { return nil }
