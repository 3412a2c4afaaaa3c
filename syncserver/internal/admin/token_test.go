package admin_test

import (
	"net/http"
	"testing"
	"time"

	"tillandsia/syncserver/internal/staff"
)

func TestTokensEnd(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		end  func(w *world, token string)
		want int
	}{
		{"not before their time", func(w *world, _ string) { w.Pass(staff.TokenLife - time.Second) }, http.StatusOK},
		{"when their time is over", func(w *world, _ string) { w.Pass(staff.TokenLife) }, http.StatusUnauthorized},
		{"at sign-out", func(w *world, token string) {
			res, _ := w.send(request{method: http.MethodPost, path: "/sign-out", token: token})
			if res.StatusCode != http.StatusNoContent {
				w.Errorf("sign-out = %d", res.StatusCode)
			}
		}, http.StatusUnauthorized},
		{"not when another one is signed out", func(w *world, _ string) {
			w.send(request{method: http.MethodPost, path: "/sign-out", token: w.signIn("cleo", password)})
		}, http.StatusOK},
		{"when their user is made inactive", func(w *world, _ string) {
			users, err := w.staff.Users(w.Context())
			if err != nil {
				w.Fatal(err)
			}
			off := false
			for _, u := range users {
				if u.Login == "cleo" {
					if _, err := w.staff.Update(w.Context(), staff.Actor{}, u.ID, staff.Change{Active: &off}); err != nil {
						w.Fatal(err)
					}
				}
			}
		}, http.StatusUnauthorized},
	}
	w := newWorld(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token := w.signIn("cleo", password)
			tt.end(w, token)
			r := request{method: http.MethodGet, path: "/me", token: token}
			res, data := w.send(r)
			if res.StatusCode != tt.want {
				t.Fatalf("me = %d, want %d: %s", res.StatusCode, tt.want, data)
			}
			if tt.want != http.StatusOK {
				w.refusal(r, res, data)
			}
		})
	}
}

func TestWrongSignInsAreSlowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	try := func(login, secret string) (int, string) {
		t.Helper()
		r := request{method: http.MethodPost, path: "/sign-in", body: object{"login": login, "password": secret}}
		res, data := w.send(r)
		if res.StatusCode == http.StatusOK {
			return res.StatusCode, ""
		}
		return res.StatusCode, w.refusal(r, res, data)
	}
	// Whether there is such a login is not told.
	for i := range 5 {
		login := []string{"cleo", "nobody"}[i%2]
		if status, code := try(login, "wrong"); status != http.StatusUnauthorized || code != "staff.sign_in_failed" {
			t.Fatalf("try %d of %s = %d %s", i, login, status, code)
		}
	}
	if status, code := try("mona", password); status != http.StatusTooManyRequests || code != "staff.slow_down" {
		t.Errorf("the sixth try from this address = %d %s", status, code)
	}
	w.Pass(2 * time.Second)
	if status, _ := try("mona", password); status != http.StatusOK {
		t.Errorf("after the wait = %d", status)
	}
}
