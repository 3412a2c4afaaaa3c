package secret_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"tillandsia/shared/secret"
)

var cheap = secret.Cost{Time: 1, Memory: 64}

func TestCheck(t *testing.T) {
	verifier := secret.Hash("4711", cheap)
	tests := []struct {
		name     string
		verifier string
		secret   string
		want     bool
		wantErr  error
	}{
		{"the same secret passes", verifier, "4711", true, nil},
		{"another secret does not", verifier, "4712", false, nil},
		{"an empty secret does not", verifier, "", false, nil},
		{"an empty verifier is malformed", "", "4711", false, secret.ErrMalformed},
		{"another algorithm is malformed", strings.Replace(verifier, "argon2id", "argon2i", 1), "4711", false, secret.ErrMalformed},
		{"another version is malformed", strings.Replace(verifier, "v=19", "v=16", 1), "4711", false, secret.ErrMalformed},
		{"a cost beyond reason is refused before it is paid", strings.Replace(verifier, "m=64", "m=4000000000", 1), "4711", false, secret.ErrMalformed},
		{"a truncated key is malformed", verifier[:len(verifier)-4], "4711", false, secret.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := secret.Check(tt.verifier, tt.secret)
			if got != tt.want || !errors.Is(err, tt.wantErr) {
				t.Errorf("Check() = %v, %v, want %v, %v", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func TestHashIsSaltedEachTime(t *testing.T) {
	first, second := secret.Hash("4711", cheap), secret.Hash("4711", cheap)
	if first == second {
		t.Error("two verifiers of one secret are equal")
	}
}

func TestCodeSurvivesHowPeopleTypeIt(t *testing.T) {
	for range 200 {
		code := secret.Code(8)
		if len(code) != 8 {
			t.Fatalf("Code(8) = %q", code)
		}
		typed := " " + strings.ToLower(code[:4]) + "-" + strings.ToLower(code[4:]) + "\n"
		if got := secret.NormalizeCode(typed); got != code {
			t.Fatalf("NormalizeCode(%q) = %q, want %q", typed, got, code)
		}
	}
}

func TestTokenIsStoredByItsHash(t *testing.T) {
	token, hash := secret.Token("tr_")
	if !strings.HasPrefix(token, "tr_") || !bytes.Equal(hash, secret.TokenHash(token)) {
		t.Errorf("Token() = %q, %x", token, hash)
	}
	if other, _ := secret.Token("tr_"); other == token {
		t.Error("two tokens are equal")
	}
}
