package door_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"tillandsia/register/internal/till/tilltest"
)

func TestOnlyTheRegistersOwnNamesAndPagesGetIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := strings.TrimPrefix(w.server.URL, "http://")
	tests := []struct {
		name   string
		host   string
		header http.Header
		want   int
	}{
		{"by its address", "", nil, http.StatusOK},
		{"by its name, in whatever case", "TILL.local", nil, http.StatusOK},
		{"by a name that points here", "evil.example", nil, http.StatusForbidden},
		{"by its address at another port", "127.0.0.1:1", nil, http.StatusForbidden},
		{"from its own page", "", http.Header{"Origin": {"http://" + own}}, http.StatusOK},
		{"from its own page by another of its names", "", http.Header{"Origin": {"http://till.local"}}, http.StatusOK},
		{"from another page", "", http.Header{"Origin": {"http://evil.example"}}, http.StatusForbidden},
		{"from a page that hides where it is from", "", http.Header{"Origin": {"null"}}, http.StatusForbidden},
		{"from a page over another protocol", "", http.Header{"Origin": {"https://" + own}}, http.StatusForbidden},
		{"from another site, as the browser says", "", http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.StatusForbidden},
		{"from another site of the same domain", "", http.Header{"Sec-Fetch-Site": {"same-site"}}, http.StatusForbidden},
		{"typed into the browser", "", http.Header{"Sec-Fetch-Site": {"none"}}, http.StatusOK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range []string{"/health", "/openapi.json"} {
				_, a := w.send(request{method: http.MethodGet, path: path, host: tt.host, header: tt.header})
				if a.status != tt.want {
					t.Errorf("%s = %d, want %d: %s", path, a.status, tt.want, a.data)
				}
			}
		})
	}
}

func TestWhoMaySignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := map[string]any{"user": "anna", "pin": tilltest.PINs["anna"]}
	anna := w.signIn("anna")
	tests := []struct {
		name   string
		token  string
		header http.Header
		want   int
	}{
		{"a program with the token", apiToken, nil, http.StatusCreated},
		{"a program with a wrong token", "api_of_somebody", nil, http.StatusUnauthorized},
		{"a program with the token of a user", anna, nil, http.StatusUnauthorized},
		{"a program without a token", "", nil, http.StatusUnauthorized},
		{"a page of the register", "", http.Header{"Origin": {w.server.URL}, "Content-Type": {"application/json"}}, http.StatusCreated},
		{"another page", "", http.Header{"Origin": {"http://evil.example"}, "Content-Type": {"application/json"}}, http.StatusForbidden},
		{"a form of any page", "", http.Header{"Origin": {w.server.URL}, "Content-Type": {"text/plain"}}, http.StatusUnsupportedMediaType},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, a := w.send(request{method: http.MethodPost, path: "/sign-ins", token: tt.token, header: tt.header, body: body})
			if a.status != tt.want {
				t.Errorf("sign in = %d, want %d: %s", a.status, tt.want, a.data)
			}
		})
	}
	// The token of the folder signs in; it does nothing in a user's name.
	for _, path := range []string{"/session", "/carts", "/orders"} {
		if _, a := w.send(request{method: http.MethodGet, path: path, token: apiToken}); a.status != http.StatusUnauthorized {
			t.Errorf("%s with the API token = %d, want 401", path, a.status)
		}
	}
}

func TestNothingTellsASecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mia := w.signIn("mia")
	for _, path := range []string{"/users", "/status", "/catalogue", "/session", "/nothing", "/openapi.json"} {
		token := mia
		if path == "/users" {
			token = apiToken
		}
		_, a := w.send(request{method: http.MethodGet, path: path, token: token})
		for _, secret := range []string{"argon2", apiToken, mia} {
			if bytes.Contains(a.data, []byte(secret)) {
				t.Errorf("%s tells %q", path, secret)
			}
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s = %q, want %q", path, name, got, want)
			}
		}
		if got := a.header.Get("Content-Type"); !strings.Contains(got, "json") {
			t.Errorf("%s is %s, want JSON", path, got)
		}
	}
}

func TestBlindCountThroughTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	anna := w.signIn("anna")
	do := func(method, path string, body any) string {
		t.Helper()
		_, a := w.send(request{method: method, path: path, token: anna, body: body})
		return string(a.data)
	}
	// Of 117.31 in the drawer 17.31 are sales: neither is told before the count.
	do(http.MethodPost, "/session", map[string]any{"float": 10_000})
	do(http.MethodPost, "/sales", map[string]any{"lines": []map[string]any{{"product": "coffee", "qty": 6924}}, "payments": []map[string]any{{"method": "cash"}}})
	do(http.MethodPost, "/sales", map[string]any{"lines": []map[string]any{{"product": "tea"}}, "payments": []map[string]any{{"method": "card"}}})
	for _, path := range []string{"/session", "/session/x", "/session/count", "/status", "/carts", "/z-reports", "/catalogue"} {
		if answer := do(http.MethodGet, path, nil); strings.Contains(answer, "11731") || strings.Contains(answer, "1731") {
			t.Errorf("%s tells what is in the drawer before the count: %s", path, answer)
		}
	}
	count := map[string]any{"counts": []map[string]any{{"method": "cash", "amount": 11_700}, {"method": "card", "amount": 300}}}
	if answer := do(http.MethodPost, "/session/count", count); !strings.Contains(answer, `"expected":11731`) {
		t.Errorf("the count tells %s, want the expected 117.31", answer)
	}
	if answer := do(http.MethodGet, "/session/x", nil); !strings.Contains(answer, "1731") {
		t.Errorf("X after the count = %s, want the cash in it", answer)
	}
}

func TestTheDocumentsValidatorSeesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	s := newSurveyor(newWorld(t))
	answer := func(id, body string) bool {
		op := s.operations[id]
		path := strings.TrimPrefix(op.path, "/api/v1")
		req := httptest.NewRequestWithContext(t.Context(), op.method, op.path, nil)
		a := reply{status: http.StatusOK, header: http.Header{"Content-Type": {"application/json"}}, data: []byte(body)}
		return s.fits(op, req, request{path: path}, a) == nil
	}
	tests := []struct {
		name, id, body string
		want           bool
	}{
		{"what fits", "health", `{"status":"ok","version":"1"}`, true},
		{"a value that is not listed", "health", `{"status":"nope","version":"1"}`, false},
		{"a field that is missing", "health", `{"status":"ok"}`, false},
		{"a field that is not described", "health", `{"status":"ok","version":"1","more":1}`, false},
		{"a number for a string", "health", `{"status":"ok","version":1}`, false},
		{"null for a list, as Go may send", "products", `null`, true},
		{"a string for a list", "products", `"none"`, false},
	}
	for _, tt := range tests {
		if got := answer(tt.id, tt.body); got != tt.want {
			t.Errorf("%s: fits = %v, want %v", tt.name, got, tt.want)
		}
	}
}
