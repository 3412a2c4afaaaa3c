package till

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"tillandsia/register/internal/catalogue"
	"tillandsia/register/internal/journal"
	shared "tillandsia/shared/catalogue"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/pos"
	"tillandsia/shared/secret"
)

// Errors of signing in and of approvals.
var (
	ErrNotSignedIn = message.New(message.Unauthorized, "till.not_signed_in")
	ErrPIN         = message.New(message.Unauthorized, "till.wrong_pin")
	ErrLockedOut   = message.New(message.TooMany, "till.locked_out")
	ErrNoPIN       = message.New(message.Forbidden, "till.no_pin")
	ErrNoUser      = message.New(message.NotFound, "till.no_such_user")
	ErrApproval    = message.New(message.Forbidden, "till.needs_approval")
	ErrApprover    = message.New(message.Forbidden, "till.approver_role")
	ErrApproverPIN = message.New(message.Forbidden, "till.wrong_approver_pin")
	ErrReason      = message.New(message.Invalid, "till.no_reason")
	ErrManager     = message.New(message.Forbidden, "till.manager_only")
)

// pauses are how long a user is locked out after the n-th wrong PIN in a row;
// from then on it stays at the last.
var pauses = []time.Duration{0, 0, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute}

func pauseAfter(tries int) time.Duration {
	return pauses[min(tries, len(pauses))-1]
}

// UserInfo is a user as the lock screen shows one.
type UserInfo struct {
	ID   string      `json:"id"`
	Name string      `json:"name"`
	Role shared.Role `json:"role" enum:"cashier,manager,admin"`
	// CanUnlock is false for a user without a PIN.
	CanUnlock bool `json:"can_unlock"`
}

// Users returns the users of this point of sale, by name.
func (t *Till) Users() []UserInfo {
	list := []UserInfo{}
	for _, u := range t.catalogue.View().Users() {
		list = append(list, UserInfo{ID: u.ID, Name: u.Name, Role: u.Role, CanUnlock: u.PIN != ""})
	}
	return list
}

// SignInRequest unlocks a browser with a user's PIN.
type SignInRequest struct {
	// Browser names the browser or program; its order stays with it from
	// user to user. Device says for people what it is.
	Browser string
	Device  string
	User    string
	PIN     string
}

// SignedIn is who is signed in, and the token that proves it.
type SignedIn struct {
	Token   string
	Browser string
	User    pos.Person
	Role    shared.Role
}

// SignIn unlocks a browser by PIN. It needs no server. Wrong tries are entries
// of the journal: they slow the user down, then lock them out for a while,
// over restarts too. Who goes on in a session in which another was selling
// continues it, which is an entry as well.
func (t *Till) SignIn(ctx context.Context, in SignInRequest) (SignedIn, error) {
	user, err := t.checkPIN(ctx, in.User, in.PIN)
	if err != nil {
		return SignedIn{}, err
	}
	person := pos.Person{ID: user.ID, Name: user.Name}
	var inSession string
	_, err = t.commit(ctx, func(tx *journal.Tx) error {
		session, selling, err := inProgress(tx)
		if err != nil {
			return err
		}
		event := pos.Event{User: &person, Detail: in.Device}
		if selling {
			event.Session = &session.Stamp
			inSession = session.ID
		}
		if _, err := tx.Add(entry.KindSignedIn, t.newID(), event); err != nil {
			return err
		}
		if !selling || t.lastUser(in.Browser, &session) == person.ID {
			return nil
		}
		_, err = tx.Add(entry.KindContinued, t.newID(), event)
		return err
	})
	if err != nil {
		return SignedIn{}, fmt.Errorf("sign in: %w", err)
	}
	token := t.admit(in, person, user.Role, inSession)
	return SignedIn{Token: token, Browser: in.Browser, User: person, Role: user.Role}, nil
}

// checkPIN returns the user whose PIN it is. PINs are checked one at a time:
// each try sees the wrong ones before it.
func (t *Till) checkPIN(ctx context.Context, id, pin string) (catalogue.User, error) {
	user, ok := t.catalogue.View().User(id)
	switch {
	case !ok || !user.Active:
		return catalogue.User{}, ErrNoUser
	case user.PIN == "":
		return catalogue.User{}, ErrNoPIN
	}
	select {
	case t.pinTurn <- struct{}{}:
		defer func() { <-t.pinTurn }()
	case <-ctx.Done():
		return catalogue.User{}, ctx.Err()
	}
	var tries journal.Tries
	err := t.journal.View(ctx, func(tx *journal.Tx) (err error) {
		tries, err = tx.Tries(id)
		return err
	})
	if err != nil {
		return catalogue.User{}, fmt.Errorf("read wrong tries of %s: %w", id, err)
	}
	if wait := lockedFor(tries, t.clock()); wait > 0 {
		return catalogue.User{}, lockedOut(wait)
	}
	right, err := secret.Check(user.PIN, pin)
	if err != nil {
		return catalogue.User{}, ErrNoPIN.Wrap(fmt.Errorf("PIN of user %s: %w", id, err))
	}
	if right {
		return user, nil
	}
	return catalogue.User{}, t.wrongPIN(ctx, user, tries.Count+1)
}

// wrongPIN journals a wrong try before anybody learns that it was wrong.
func (t *Till) wrongPIN(ctx context.Context, user catalogue.User, tries int) error {
	person := pos.Person{ID: user.ID, Name: user.Name}
	pause := pauseAfter(tries)
	_, err := t.commit(ctx, func(tx *journal.Tx) error {
		if _, err := tx.Add(entry.KindPINFailed, t.newID(), pos.Event{User: &person, Tries: tries}); err != nil {
			return err
		}
		if pause == 0 {
			return nil
		}
		until := tx.Now().Add(pause).UTC().Format(time.RFC3339Nano)
		_, err := tx.Add(entry.KindLockedOut, t.newID(), pos.Event{User: &person, Tries: tries, Detail: until})
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("count a wrong PIN: %w", err)
	case pause > 0:
		return lockedOut(pause)
	}
	return ErrPIN
}

// lockedFor returns how long a user is still locked out. A lock-out further
// ahead than the longest there is was written before the clock was set back.
func lockedFor(tries journal.Tries, now time.Time) time.Duration {
	wait := tries.Until.Sub(now)
	if wait > pauses[len(pauses)-1] {
		return 0
	}
	return max(0, wait)
}

func lockedOut(wait time.Duration) error {
	seconds := (wait + time.Second - 1) / time.Second
	return message.New(message.TooMany, "till.locked_out", "seconds", strconv.FormatInt(int64(seconds), 10))
}

// Lock signs a browser's user out. The order on it stays with the browser.
func (t *Till) Lock(ctx context.Context, by Actor) error {
	_, err := t.commit(ctx, func(tx *journal.Tx) error {
		event := pos.Event{User: &by.User}
		if session, selling, err := inProgress(tx); err != nil {
			return err
		} else if selling {
			event.Session = &session.Stamp
		}
		_, err := tx.Add(entry.KindLocked, t.newID(), event)
		return err
	})
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	t.dismiss(by)
	return nil
}

// Approval is a second person's PIN.
type Approval struct {
	User string
	PIN  string
}

// grant is what an actor may do beyond a cashier's right, found out before the
// transaction, because a PIN takes its time.
type grant struct {
	person *pos.Person
}

// approver returns who approves; everything that needs it needs a reason.
func (g grant) approver(reason string) (*pos.Person, error) {
	switch {
	case g.person == nil:
		return nil, ErrApproval
	case reason == "":
		return nil, ErrReason
	}
	return g.person, nil
}

// grant returns what the actor may do: by their own role, or by the manager
// whose PIN was given.
func (t *Till) grant(ctx context.Context, by Actor, with *Approval) (grant, error) {
	if with == nil {
		if by.Role.AtLeast(shared.RoleManager) {
			return grant{person: &by.User}, nil
		}
		return grant{}, nil
	}
	user, err := t.checkPIN(ctx, with.User, with.PIN)
	if err != nil {
		// 401 would say that the actor is not signed in.
		if errors.Is(err, ErrPIN) {
			return grant{}, ErrApproverPIN
		}
		return grant{}, err
	}
	if !user.Role.AtLeast(shared.RoleManager) {
		return grant{}, ErrApprover
	}
	person := pos.Person{ID: user.ID, Name: user.Name}
	if err := t.forgetTries(ctx, person); err != nil {
		return grant{}, err
	}
	return grant{person: &person}, nil
}

// approve asks for an approval in any case.
func (t *Till) approve(ctx context.Context, by Actor, with *Approval, reason string) (*pos.Person, error) {
	g, err := t.grant(ctx, by, with)
	if err != nil {
		return nil, err
	}
	return g.approver(reason)
}

// forgetTries ends the wrong tries of a user who has given the right PIN for
// an approval.
func (t *Till) forgetTries(ctx context.Context, person pos.Person) error {
	_, err := t.commit(ctx, func(tx *journal.Tx) error {
		tries, err := tx.Tries(person.ID)
		if err != nil {
			return err
		}
		if tries.Count == 0 {
			return errNothing
		}
		_, err = tx.Add(entry.KindSignedIn, t.newID(), pos.Event{User: &person, Detail: "approval"})
		return err
	})
	if err != nil && !errors.Is(err, errNothing) {
		return fmt.Errorf("note an approval: %w", err)
	}
	return nil
}
