// Package staff keeps the users of the company: who they are, at which points
// of sale they work, their roles, PINs and passwords, and the bearer tokens
// that they sign in for.
//
// A user flows down to the registers as a thing of each point of sale where
// they work; taken off one, they leave a tombstone there.
package staff

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/message"
	"tillandsia/shared/secret"
	"tillandsia/syncserver/internal/store"
)

// TokenLife is how long a sign-in holds.
const TokenLife = 12 * time.Hour

// Lengths of secrets. A manager's PIN opens more and is therefore longer.
const (
	minPassword   = 10
	maxSecret     = 200
	minPIN        = 4
	minManagerPIN = 6
	maxPIN        = 12
)

// Errors that people are told.
var (
	errSignIn       = message.New(message.Unauthorized, "staff.sign_in_failed")
	errUnauthorized = message.New(message.Unauthorized, "common.unauthorized")
)

// Actor is who does something at the centre.
type Actor struct {
	User   string
	Name   string
	Role   catalogue.Role
	Points []string // points of sale; of an admin every one
	Remote string
}

// MayAt reports whether the actor may act at a point of sale.
func (a Actor) MayAt(pointOfSale string) bool {
	return a.Role == catalogue.RoleAdmin || slices.Contains(a.Points, pointOfSale)
}

// Staff is the service.
type Staff struct {
	store store.Store
	clock func() time.Time
	log   *slog.Logger
	tries *tries
}

// New returns the service over a store.
func New(s store.Store, clock func() time.Time, log *slog.Logger) *Staff {
	return &Staff{store: s, clock: clock, log: log, tries: newTries(clock)}
}

// FirstAdmin makes the user admin with a random password where there is no
// user yet, and returns the password; otherwise it returns "".
func (s *Staff) FirstAdmin(ctx context.Context) (password string, err error) {
	candidate := secret.Code(16)
	verifier := secret.Hash(candidate, secret.PasswordCost)
	err = s.store.Update(ctx, func(tx store.Tx) error {
		password = ""
		users, err := tx.Users(ctx)
		if err != nil || len(users) > 0 {
			return err
		}
		password = candidate
		return s.put(ctx, tx, store.User{
			ID: ulid.Make().String(), Login: "admin", Name: "Admin", Role: string(catalogue.RoleAdmin),
			Password: verifier, Active: true, Created: s.clock().UnixMicro(),
		}, store.User{})
	})
	if err != nil {
		return "", fmt.Errorf("make the first admin: %w", err)
	}
	return password, nil
}

// SignIn checks a login and password and returns a bearer token. Wrong tries
// are slowed down per login and per remote address.
func (s *Staff) SignIn(ctx context.Context, login, password, remote string) (token string, expires time.Time, actor Actor, err error) {
	login = normalizeLogin(login)
	if wait := s.tries.begin(login, remote); wait > 0 {
		return "", time.Time{}, Actor{}, message.New(message.TooMany, "staff.slow_down", "seconds", seconds(wait))
	}
	var user store.User
	err = s.store.View(ctx, func(r store.Reader) error {
		user, err = r.UserByLogin(ctx, login)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.tries.undone(login)
		return "", time.Time{}, Actor{}, fmt.Errorf("read user %q: %w", login, err)
	}
	verifier := user.Password
	if verifier == "" {
		// Whoever asks for a login that is none waits as long as for one that is.
		verifier = nobody
	}
	ok, checkErr := secret.Check(verifier, password)
	if checkErr != nil {
		s.tries.undone(login)
		return "", time.Time{}, Actor{}, fmt.Errorf("check password of %q: %w", login, checkErr)
	}
	if !ok || err != nil || !user.Active || user.Password == "" {
		s.tries.failed(remote)
		return "", time.Time{}, Actor{}, errSignIn
	}
	s.tries.passed(login)

	token, hash := secret.Token("tu_")
	now := s.clock()
	expires = now.Add(TokenLife)
	err = s.store.Update(ctx, func(tx store.Tx) error {
		if err := tx.PutToken(ctx, store.Token{Hash: hash, User: user.ID, Name: "sign-in", Created: now.UnixMicro(), Expires: expires.UnixMicro()}); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, store.AuditRow{ID: ulid.Make().String(), At: now.UnixMicro(), User: user.ID, Remote: remote, Action: "signed_in", Target: user.ID})
	})
	if err != nil {
		return "", time.Time{}, Actor{}, fmt.Errorf("store token: %w", err)
	}
	return token, expires, actorOf(user, remote), nil
}

// nobody is the verifier of a password that no one has.
var nobody = secret.Hash(secret.Code(32), secret.PasswordCost)

// SignOut ends a token.
func (s *Staff) SignOut(ctx context.Context, token string) error {
	return s.store.Update(ctx, func(tx store.Tx) error {
		return tx.DeleteToken(ctx, secret.TokenHash(token))
	})
}

// Authenticate returns who a bearer token stands for.
func (s *Staff) Authenticate(ctx context.Context, token, remote string) (Actor, error) {
	var user store.User
	err := s.store.View(ctx, func(r store.Reader) error {
		t, err := r.Token(ctx, secret.TokenHash(token))
		if err != nil {
			return err
		}
		if t.Expires != 0 && t.Expires <= s.clock().UnixMicro() {
			return store.ErrNotFound
		}
		user, err = r.User(ctx, t.User)
		return err
	})
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && !user.Active:
		return Actor{}, errUnauthorized
	case err != nil:
		return Actor{}, fmt.Errorf("read token: %w", err)
	}
	return actorOf(user, remote), nil
}

// Change is what is set of a user; nil leaves a field as it is.
type Change struct {
	Login    *string
	Name     *string
	Role     *catalogue.Role
	Points   *[]string
	Active   *bool
	Password *string
	PIN      *string
}

// Create makes a user.
func (s *Staff) Create(ctx context.Context, by Actor, c Change) (store.User, error) {
	return s.change(ctx, by, "", c)
}

// Update changes a user.
func (s *Staff) Update(ctx context.Context, by Actor, id string, c Change) (store.User, error) {
	return s.change(ctx, by, id, c)
}

func (s *Staff) change(ctx context.Context, by Actor, id string, c Change) (store.User, error) {
	// Hashing takes its time; it is done before the transaction.
	var password, pin string
	if c.Password != nil && *c.Password != "" {
		if utf8.RuneCountInString(*c.Password) < minPassword || len(*c.Password) > maxSecret {
			return store.User{}, message.New(message.Invalid, "staff.password_length", "min", fmt.Sprint(minPassword))
		}
		password = secret.Hash(*c.Password, secret.PasswordCost)
	}
	if c.PIN != nil && *c.PIN != "" {
		pin = secret.Hash(*c.PIN, secret.PINCost)
	}
	var user store.User
	err := s.store.Update(ctx, func(tx store.Tx) error {
		now := s.clock().UnixMicro()
		var before store.User
		if id == "" {
			user = store.User{ID: ulid.Make().String(), Active: true, Role: string(catalogue.RoleCashier), Created: now}
		} else {
			var err error
			if before, err = tx.User(ctx, id); err != nil {
				return err
			}
			user = before
			user.Points = slices.Clone(before.Points)
		}
		if c.Login != nil {
			user.Login = normalizeLogin(*c.Login)
		}
		if c.Name != nil {
			user.Name = strings.TrimSpace(*c.Name)
		}
		if c.Role != nil {
			user.Role = string(*c.Role)
		}
		if c.Points != nil {
			user.Points = slices.Compact(slices.Sorted(slices.Values(*c.Points)))
		}
		if c.Active != nil {
			user.Active = *c.Active
		}
		if c.Password != nil {
			user.Password = password
		}
		if c.PIN != nil {
			user.PIN = pin
		}
		if before.ID != "" && before.PIN != "" && c.PIN == nil && least(before.Role) < least(user.Role) {
			// The PIN was made by the rules of a lesser role, and how long it is is
			// not known any more.
			return message.New(message.Invalid, "staff.pin_again", "min", fmt.Sprint(minManagerPIN))
		}
		if err := s.check(ctx, tx, user, c); err != nil {
			return err
		}
		if err := s.put(ctx, tx, user, before); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, store.AuditRow{
			ID: ulid.Make().String(), At: now, User: by.User, Remote: by.Remote,
			Action: "user_changed", Target: user.ID, Before: public(before), After: public(user),
		})
	})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return store.User{}, message.New(message.NotFound, "staff.no_such_user")
	case errors.Is(err, store.ErrConflict):
		return store.User{}, message.New(message.Conflict, "staff.login_taken", "login", user.Login)
	case err != nil:
		return store.User{}, err
	}
	s.store.Poke(ctx)
	return user, nil
}

func (s *Staff) check(ctx context.Context, tx store.Tx, u store.User, c Change) error {
	role := catalogue.Role(u.Role)
	switch {
	case u.Name == "":
		return message.New(message.Invalid, "staff.no_name")
	case u.Login == "":
		return message.New(message.Invalid, "staff.no_login")
	case role != catalogue.RoleCashier && role != catalogue.RoleManager && role != catalogue.RoleAdmin:
		return message.New(message.Invalid, "staff.no_such_role", "role", u.Role)
	}
	if c.PIN != nil && *c.PIN != "" {
		least := least(u.Role)
		if len(*c.PIN) < least || len(*c.PIN) > maxPIN || strings.Trim(*c.PIN, "0123456789") != "" {
			return message.New(message.Invalid, "staff.pin_length", "min", fmt.Sprint(least), "max", fmt.Sprint(maxPIN))
		}
	}
	for _, code := range u.Points {
		if _, err := tx.PointOfSale(ctx, code); err != nil {
			if errors.Is(err, store.ErrNotFound) {
				return message.New(message.Invalid, "staff.no_such_point_of_sale", "code", code)
			}
			return err
		}
	}
	return nil
}

// least is how long the PIN of a role must be.
func least(role string) int {
	if catalogue.Role(role).AtLeast(catalogue.RoleManager) {
		return minManagerPIN
	}
	return minPIN
}

// put stores a user and what the registers must learn of the change.
func (s *Staff) put(ctx context.Context, tx store.Tx, user, before store.User) error {
	if err := tx.PutUser(ctx, user); err != nil {
		return err
	}
	points, err := tx.PointsOfSale(ctx)
	if err != nil {
		return err
	}
	var things []store.Thing
	for _, p := range points {
		had, has := worksAt(before, p.Code), worksAt(user, p.Code)
		if had || has {
			thing, err := thingOf(user, p.Code)
			if err != nil {
				return err
			}
			thing.Deleted = !has
			if thing.Deleted {
				thing.Body = nil
			}
			things = append(things, thing)
		}
	}
	if len(things) == 0 {
		return nil
	}
	_, err = tx.PutThings(ctx, things)
	return err
}

// ThingsAt returns the users of a new point of sale as things: its admins.
func ThingsAt(users []store.User, pointOfSale string) ([]store.Thing, error) {
	var things []store.Thing
	for _, u := range users {
		if !worksAt(u, pointOfSale) {
			continue
		}
		thing, err := thingOf(u, pointOfSale)
		if err != nil {
			return nil, err
		}
		things = append(things, thing)
	}
	return things, nil
}

func worksAt(u store.User, pointOfSale string) bool {
	return u.ID != "" && u.Active && (u.Role == string(catalogue.RoleAdmin) || slices.Contains(u.Points, pointOfSale))
}

func thingOf(u store.User, pointOfSale string) (store.Thing, error) {
	body, err := json.Marshal(catalogue.User{Name: u.Name, Role: catalogue.Role(u.Role), PIN: u.PIN, Active: u.Active})
	if err != nil {
		return store.Thing{}, fmt.Errorf("encode user %s: %w", u.ID, err)
	}
	return store.Thing{PointOfSale: pointOfSale, Kind: string(catalogue.KindUser), ID: u.ID, Body: body}, nil
}

// Users lists all users by name.
func (s *Staff) Users(ctx context.Context) (users []store.User, err error) {
	err = s.store.View(ctx, func(r store.Reader) error {
		users, err = r.Users(ctx)
		return err
	})
	return users, err
}

func actorOf(u store.User, remote string) Actor {
	return Actor{User: u.ID, Name: u.Name, Role: catalogue.Role(u.Role), Points: u.Points, Remote: remote}
}

// public is a user for the audit log: with no secret in it.
func public(u store.User) []byte {
	if u.ID == "" {
		return nil
	}
	data, err := json.Marshal(map[string]any{
		"login": u.Login, "name": u.Name, "role": u.Role, "points": u.Points, "active": u.Active,
		"has_pin": u.PIN != "", "has_password": u.Password != "",
	})
	if err != nil {
		return nil // strings, booleans and slices of strings always encode
	}
	return data
}

func normalizeLogin(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

func seconds(d time.Duration) string { return fmt.Sprint(int((d + time.Second - 1) / time.Second)) }
