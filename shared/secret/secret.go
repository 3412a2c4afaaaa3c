// Package secret makes and checks what people and devices prove themselves
// with: argon2id verifiers of PINs and passwords in PHC string form, and
// random tokens that are stored only as their hash.
package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// ErrMalformed is returned for a verifier that is none.
var ErrMalformed = errors.New("malformed verifier")

// Cost is what one check costs: passes over the memory, and memory in KiB.
type Cost struct {
	Time   uint32
	Memory uint32
}

// The costs of new verifiers. A till checks a PIN while a customer waits (25 ms
// on two small cores), an office a password once a day. A verifier carries its
// own cost, so both may grow later.
var (
	PINCost      = Cost{Time: 3, Memory: 12 << 10}
	PasswordCost = Cost{Time: 3, Memory: 32 << 10}
)

// maxCost bounds what a verifier from elsewhere can make a check cost.
var maxCost = Cost{Time: 16, Memory: 256 << 10}

const (
	saltSize = 16
	keySize  = 32
)

// Hash returns a new verifier of a secret: $argon2id$v=19$m=…,t=…,p=1$salt$key.
func Hash(secret string, cost Cost) string {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails: it ends the program where the system has no randomness
	key := argon2.IDKey([]byte(secret), salt, cost.Time, cost.Memory, 1, keySize)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s",
		argon2.Version, cost.Memory, cost.Time, b64.EncodeToString(salt), b64.EncodeToString(key))
}

// Check reports whether a secret is the one of a verifier, in constant time.
func Check(verifier, secret string) (bool, error) {
	parts := strings.Split(verifier, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return false, ErrMalformed
	}
	var version int
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false, fmt.Errorf("%w: version %q", ErrMalformed, parts[2])
	}
	var cost Cost
	var threads uint8
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &cost.Memory, &cost.Time, &threads); err != nil {
		return false, fmt.Errorf("%w: cost %q", ErrMalformed, parts[3])
	}
	if cost.Time == 0 || cost.Time > maxCost.Time || cost.Memory == 0 || cost.Memory > maxCost.Memory || threads != 1 {
		return false, fmt.Errorf("%w: cost %q out of bounds", ErrMalformed, parts[3])
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false, fmt.Errorf("%w: salt: %w", ErrMalformed, err)
	}
	want, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(want) != keySize {
		return false, fmt.Errorf("%w: key", ErrMalformed)
	}
	got := argon2.IDKey([]byte(secret), salt, cost.Time, cost.Memory, 1, keySize)
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// alphabet of codes that people read and type: no I, L, O, U, 0, 1.
const alphabet = "23456789ABCDEFGHJKMNPQRSTVWXYZ"

// Code returns a random code of n characters that people can type.
func Code(n int) string {
	out := make([]byte, 0, n)
	buf := make([]byte, 2*n)
	for len(out) < n {
		rand.Read(buf)
		for _, b := range buf {
			// 240 is the largest multiple of the 30 letters: no bias.
			if b < 240 && len(out) < n {
				out = append(out, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(out)
}

// NormalizeCode makes what a person typed comparable with what [Code] made.
func NormalizeCode(s string) string {
	s = strings.ToUpper(s)
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(alphabet, r) {
			return r
		}
		return -1
	}, s)
}

// Token returns a random bearer token with the prefix that tells what it is
// for, and the hash to store.
func Token(prefix string) (token string, hash []byte) {
	buf := make([]byte, 32)
	rand.Read(buf)
	token = prefix + base64.RawURLEncoding.EncodeToString(buf)
	return token, TokenHash(token)
}

// TokenHash returns the hash under which a token is stored.
func TokenHash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
