package door

import (
	"context"
	"net/http"

	"github.com/oklog/ulid/v2"

	"tillandsia/register/internal/till"
	"tillandsia/shared/catalogue"
	"tillandsia/shared/pos"
)

// approval is a second person's PIN.
type approval struct {
	User string `json:"user" maxLength:"64"`
	PIN  string `json:"pin" maxLength:"64"`
}

func (a *approval) of() *till.Approval {
	if a == nil {
		return nil
	}
	return &till.Approval{User: a.User, PIN: a.PIN}
}

type signedIn struct {
	Token   string         `json:"token" doc:"Bearer token of everything that the user does here"`
	Browser string         `json:"browser" doc:"Name of this browser or program: the order in hand belongs to it"`
	User    pos.Person     `json:"user"`
	Role    catalogue.Role `json:"role" enum:"cashier,manager,admin"`
}

type signedInAs struct {
	Browser string         `json:"browser"`
	User    pos.Person     `json:"user"`
	Role    catalogue.Role `json:"role" enum:"cashier,manager,admin"`
}

func (d *Door) userRoutes() {
	add(d, d.route(program, http.MethodGet, "/users", "users", "Users of this point of sale, for the lock screen"),
		func(context.Context, *struct{}) (*body[[]till.UserInfo], error) { return answer(d.Till.Users(), nil) })
	add(d, created(d.route(program, http.MethodPost, "/sign-ins", "sign-in", "Unlock a browser or program with a user's PIN; works offline",
		http.StatusNotFound, http.StatusTooManyRequests)),
		func(ctx context.Context, in *struct {
			Body struct {
				User    string `json:"user" maxLength:"64"`
				PIN     string `json:"pin" maxLength:"64"`
				Browser string `json:"browser,omitempty" maxLength:"64" doc:"As a sign-in before named it; empty for a new one"`
				Device  string `json:"device,omitempty" maxLength:"200" doc:"What it is, for people"`
			}
		},
		) (*body[signedIn], error) {
			browser := in.Body.Browser
			if browser == "" {
				browser = ulid.Make().String()
			}
			s, err := d.Till.SignIn(ctx, till.SignInRequest{Browser: browser, Device: in.Body.Device, User: in.Body.User, PIN: in.Body.PIN})
			return answer(signedIn{Token: s.Token, Browser: s.Browser, User: s.User, Role: s.Role}, err)
		})
	add(d, d.route(user, http.MethodGet, "/sign-in", "signed-in", "Who is signed in with this token"),
		func(ctx context.Context, _ *struct{}) (*body[signedInAs], error) {
			a := by(ctx)
			return answer(signedInAs{Browser: a.Browser, User: a.User, Role: a.Role}, nil)
		})
	add(d, d.route(user, http.MethodDelete, "/sign-in", "lock", "Lock: sign out; the order in hand stays"),
		func(ctx context.Context, _ *struct{}) (*none, error) { return done(d.Till.Lock(ctx, by(ctx))) })
	add(d, d.route(user, http.MethodPut, "/training", "training", "Switch training mode on or off, by a manager; training sales touch no total",
		http.StatusNotFound, http.StatusConflict, http.StatusTooManyRequests),
		func(ctx context.Context, in *struct {
			Body struct {
				On       bool      `json:"on"`
				Approval *approval `json:"approval,omitempty"`
			}
		},
		) (*none, error) {
			return done(d.Till.SetTraining(ctx, by(ctx), in.Body.On, in.Body.Approval.of()))
		})
}
