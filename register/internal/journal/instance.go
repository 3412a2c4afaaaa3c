package journal

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"tillandsia/shared/entry"
)

// instance is the folder that no backup holds: nonce and high-water mark.
type instance struct{ dir string }

func (i instance) noncePath() string { return filepath.Join(i.dir, "nonce") }
func (i instance) markPath() string  { return filepath.Join(i.dir, "mark") }

// nonces are the content of the nonce file. Pending is the one that a new
// epoch was asked for with: a crash between the transaction that begins the
// epoch and the file must not look like a copy.
type nonces struct {
	Nonce   string `json:"nonce"`
	Pending string `json:"pending,omitempty"`
}

// readNonces returns zero nonces where there is no file, or none that can be
// read: both mean that this instance is not known.
func (i instance) readNonces() (nonces, error) {
	data, err := os.ReadFile(i.noncePath())
	if errors.Is(err, os.ErrNotExist) {
		return nonces{}, nil
	}
	if err != nil {
		return nonces{}, diskError(fmt.Errorf("read nonce: %w", err), ErrDisk)
	}
	var n nonces
	if err := json.Unmarshal(data, &n); err == nil {
		return n, nil
	}
	return nonces{}, nil
}

func (i instance) writeNonces(n nonces) error {
	data, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encode nonce: %w", err)
	}
	return replaceFile(i.noncePath(), append(data, '\n'), true)
}

// readMark returns the mark; ok is false where there is none that can be read.
// It is written without a sync, so a power cut may leave an empty one: that
// says nothing, and is no sign of a copy.
func (i instance) readMark() (mark entry.Point, ok bool, err error) {
	data, err := os.ReadFile(i.markPath())
	if errors.Is(err, os.ErrNotExist) {
		return entry.Point{}, false, nil
	}
	if err != nil {
		return entry.Point{}, false, diskError(fmt.Errorf("read mark: %w", err), ErrDisk)
	}
	if err := json.Unmarshal(data, &mark); err == nil && mark.Epoch != 0 {
		return mark, true, nil
	}
	return entry.Point{}, false, nil
}

func (i instance) writeMark(p entry.Point) error {
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode mark: %w", err)
	}
	return replaceFile(i.markPath(), append(data, '\n'), false)
}

func (i instance) removeMark() error {
	if err := os.Remove(i.markPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return diskError(fmt.Errorf("remove mark: %w", err), ErrDisk)
	}
	return nil
}

const nonceBytes = 16

func newNonce(random io.Reader) (string, error) {
	var b [nonceBytes]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("make nonce: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// newTag makes the tag of a number series: three letters or digits that begin
// with a letter and were never used by this register.
func newTag(random io.Reader, used func(string) bool) (string, error) {
	const letters, all = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	pick := func(from string) (byte, error) {
		var b [1]byte
		for {
			if _, err := io.ReadFull(random, b[:]); err != nil {
				return 0, fmt.Errorf("make series tag: %w", err)
			}
			// Above the largest multiple the choice would not be even.
			if n := 256 / len(from) * len(from); int(b[0]) < n {
				return from[int(b[0])%len(from)], nil
			}
		}
	}
	for {
		var tag [3]byte
		for i, from := range []string{letters, all, all} {
			c, err := pick(from)
			if err != nil {
				return "", err
			}
			tag[i] = c
		}
		if !used(string(tag[:])) {
			return string(tag[:]), nil
		}
	}
}

var systemRandom io.Reader = rand.Reader
