package catalogue

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// keySize is that of AES-256.
const keySize = 32

// sealer seals PIN verifiers, so that a copied cache gives nothing to guess
// PINs with: AES-GCM, bound to the user's id.
type sealer struct {
	aead   cipher.AEAD
	random io.Reader
}

// openSealer reads the key, making one where there is none, or none that can
// be read: what was sealed under the old one is then fetched again.
func openSealer(path string, random io.Reader) (*sealer, error) {
	if random == nil {
		random = rand.Reader
	}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read catalogue key: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(data)))
	if err != nil || len(key) != keySize {
		key = make([]byte, keySize)
		if _, err := io.ReadFull(random, key); err != nil {
			return nil, fmt.Errorf("make catalogue key: %w", err)
		}
		tmp := path + ".new"
		if err := writeSynced(tmp, hex.AppendEncode(nil, key)); err != nil {
			return nil, fmt.Errorf("write catalogue key: %w", err)
		}
		if err := os.Rename(tmp, path); err != nil {
			return nil, fmt.Errorf("write catalogue key: %w", err)
		}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("catalogue key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("catalogue key: %w", err)
	}
	return &sealer{aead: aead, random: random}, nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (s *sealer) seal(user, pin string) ([]byte, error) {
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := io.ReadFull(s.random, nonce); err != nil {
		return nil, fmt.Errorf("seal pin of user %s: %w", user, err)
	}
	return s.aead.Seal(nonce, nonce, []byte(pin), []byte(user)), nil
}

func (s *sealer) open(user string, sealed []byte) (string, error) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return "", errors.New("sealed pin is too short")
	}
	pin, err := s.aead.Open(nil, sealed[:n], sealed[n:], []byte(user))
	if err != nil {
		return "", fmt.Errorf("open pin of user %s: %w", user, err)
	}
	return string(pin), nil
}
