package admin

import (
	"context"
	"net/http"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
)

type signIn struct {
	Body struct {
		Login    string `json:"login" maxLength:"100"`
		Password string `json:"password" maxLength:"200"`
	}
}

type signedIn struct {
	Token   string    `json:"token" doc:"Send it as Authorization: Bearer"`
	Expires time.Time `json:"expires"`
	User    me        `json:"user"`
}

type me struct {
	ID     string         `json:"id"`
	Name   string         `json:"name"`
	Role   catalogue.Role `json:"role" enum:"cashier,manager,admin"`
	Points []string       `json:"points_of_sale" nullable:"false" doc:"Codes; an admin works at all"`
}

func meOf(by staff.Actor) me {
	return me{ID: by.User, Name: by.Name, Role: by.Role, Points: list(by.Points)}
}

// list turns nil into an empty list: JSON has [] then, not null.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

type user struct {
	ID          string         `json:"id"`
	Login       string         `json:"login"`
	Name        string         `json:"name"`
	Role        catalogue.Role `json:"role" enum:"cashier,manager,admin"`
	Points      []string       `json:"points_of_sale" nullable:"false"`
	Active      bool           `json:"active"`
	HasPIN      bool           `json:"has_pin"`
	HasPassword bool           `json:"has_password"`
}

func userOf(u store.User) user {
	return user{
		ID: u.ID, Login: u.Login, Name: u.Name, Role: catalogue.Role(u.Role), Points: list(u.Points),
		Active: u.Active, HasPIN: u.PIN != "", HasPassword: u.Password != "",
	}
}

type userChange struct {
	Login    *string         `json:"login,omitempty" maxLength:"100"`
	Name     *string         `json:"name,omitempty" maxLength:"200"`
	Role     *catalogue.Role `json:"role,omitempty" enum:"cashier,manager,admin"`
	Points   *[]string       `json:"points_of_sale,omitempty" maxItems:"10000"`
	Active   *bool           `json:"active,omitempty"`
	Password *string         `json:"password,omitempty" maxLength:"200" doc:"For the back office; empty takes it away"`
	PIN      *string         `json:"pin,omitempty" maxLength:"12" doc:"For the till; empty takes it away"`
}

func (c userChange) change() staff.Change {
	return staff.Change{Login: c.Login, Name: c.Name, Role: c.Role, Points: c.Points, Active: c.Active, Password: c.Password, PIN: c.PIN}
}

func (a *API) staffRoutes() {
	add(a, open(http.MethodPost, "/sign-in", "sign-in", "Sign in with name and password", http.StatusUnauthorized, http.StatusTooManyRequests),
		func(ctx context.Context, in *signIn) (*body[signedIn], error) {
			token, expires, by, err := a.Staff.SignIn(ctx, in.Body.Login, in.Body.Password, remoteOf(ctx))
			if err != nil {
				return nil, err
			}
			return answer(signedIn{Token: token, Expires: expires, User: meOf(by)}), nil
		})
	add(a, route(http.MethodPost, "/sign-out", "sign-out", catalogue.RoleCashier, "End this sign-in"),
		func(ctx context.Context, _ *struct{}) (*none, error) {
			return &none{}, a.Staff.SignOut(ctx, tokenOf(ctx))
		})
	add(a, route(http.MethodGet, "/me", "me", catalogue.RoleCashier, "Who is signed in"),
		func(ctx context.Context, _ *struct{}) (*body[me], error) { return answer(meOf(actor(ctx))), nil })

	add(a, route(http.MethodGet, "/users", "users", catalogue.RoleAdmin, "All users, by name"),
		func(ctx context.Context, _ *struct{}) (*body[[]user], error) {
			users, err := a.Staff.Users(ctx)
			if err != nil {
				return nil, err
			}
			out := []user{}
			for _, u := range users {
				out = append(out, userOf(u))
			}
			return answer(out), nil
		})
	create := route(http.MethodPost, "/users", "create-user", catalogue.RoleAdmin, "Make a user", http.StatusConflict)
	create.DefaultStatus = http.StatusCreated
	add(a, create,
		func(ctx context.Context, in *struct{ Body userChange }) (*body[user], error) {
			u, err := a.Staff.Create(ctx, actor(ctx), in.Body.change())
			if err != nil {
				return nil, err
			}
			return answer(userOf(u)), nil
		})
	add(a, route(http.MethodPatch, "/users/{id}", "change-user", catalogue.RoleAdmin, "Change a user; fields left out stay as they are", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *struct {
			ID   string `path:"id" maxLength:"64"`
			Body userChange
		},
		) (*body[user], error) {
			u, err := a.Staff.Update(ctx, actor(ctx), in.ID, in.Body.change())
			if err != nil {
				return nil, err
			}
			return answer(userOf(u)), nil
		})
}
