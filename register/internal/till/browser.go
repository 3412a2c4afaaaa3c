package till

import (
	"slices"
	"strings"
	"time"

	"tillandsia/register/internal/journal"
	"tillandsia/shared/catalogue"
	"tillandsia/shared/message"
	"tillandsia/shared/pos"
	"tillandsia/shared/secret"
)

// Actor is who gives a command: a user signed in at a browser.
type Actor struct {
	Browser string
	User    pos.Person
	Role    catalogue.Role

	hash string
}

// browser is a screen, or a program, that commands come from. Sign-in and the
// order in hand belong to it; its tabs share them.
type browser struct {
	device  string
	user    pos.Person
	session string // id of the session that it has open
	touched time.Time
	signed  string // hash of the token that is signed in, empty when locked
	// sold is who was last selling, in which session.
	sold, soldIn string
	ended        *message.Error // told at the next touch
}

type signIn struct {
	actor   Actor
	touched time.Time
}

// forgetAfter is how long an untouched browser is remembered.
const forgetAfter = 48 * time.Hour

// admit signs a user in at a browser; who was signed in there is not any more.
func (t *Till) admit(in SignInRequest, user pos.Person, role catalogue.Role, session string) (token string) {
	token, sum := secret.Token("till_")
	hash := string(sum)
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, b := range t.browsers {
		if now.Sub(b.touched) > forgetAfter {
			delete(t.signIns, b.signed)
			delete(t.browsers, id)
		}
	}
	b := t.browsers[in.Browser]
	if b == nil {
		b = &browser{}
		t.browsers[in.Browser] = b
	}
	delete(t.signIns, b.signed)
	b.device, b.user, b.touched, b.signed = in.Device, user, now, hash
	if session != "" {
		b.session, b.sold, b.soldIn = session, user.ID, session
	}
	t.signIns[hash] = &signIn{actor: Actor{Browser: in.Browser, User: user, Role: role, hash: hash}, touched: now}
	return token
}

// Who returns who is signed in with a token and takes it for a touch.
// [ErrNotSignedIn] where nobody is, the screen was idle for too long, or the
// user works here no more.
func (t *Till) Who(token string) (Actor, error) {
	now := t.clock()
	t.mu.Lock()
	defer t.mu.Unlock()
	hash := string(secret.TokenHash(token))
	s := t.signIns[hash]
	if s == nil {
		return Actor{}, ErrNotSignedIn
	}
	user, known := t.catalogue.View().User(s.actor.User.ID)
	idle := now.Sub(s.touched) > t.idle
	if idle || !known || !user.Active {
		delete(t.signIns, hash)
		if b := t.browsers[s.actor.Browser]; b != nil && b.signed == hash {
			b.signed = ""
		}
		if idle {
			return Actor{}, message.New(message.Unauthorized, "till.idle")
		}
		return Actor{}, ErrNotSignedIn
	}
	s.touched = now
	s.actor.Role = user.Role
	if b := t.browsers[s.actor.Browser]; b != nil {
		b.touched = now
	}
	return s.actor, nil
}

func (t *Till) dismiss(by Actor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.signIns, by.hash)
	if b := t.browsers[by.Browser]; b != nil && b.signed == by.hash {
		b.signed = ""
	}
}

// lastUser returns who was selling last at a browser in a session; before
// anybody, who opened or joined it.
func (t *Till) lastUser(browser string, session *journal.Session) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.browsers[browser]; b != nil && b.soldIn == session.ID {
		return b.sold
	}
	return session.User.ID
}

// enter notes that a browser has a session open.
func (t *Till) enter(by Actor, session string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.browsers[by.Browser]; b != nil {
		b.session, b.sold, b.soldIn = session, by.User.ID, session
	}
}

// leave notes that a browser has no session open any more.
func (t *Till) leave(by Actor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.browsers[by.Browser]; b != nil {
		b.session = ""
	}
}

// isIn reports whether a browser still has a session open.
func (t *Till) isIn(browser, session string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.browsers[browser]
	return b != nil && b.session == session
}

// told returns, once, what a browser whose session was ended must be told.
func (t *Till) told(by Actor) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.browsers[by.Browser]
	if b == nil || b.ended == nil {
		return nil
	}
	err := b.ended
	b.ended = nil
	return err
}

// Screen is another screen that still has a session open which this register
// has closed out.
type Screen struct {
	Browser string       `json:"browser"`
	Device  string       `json:"device,omitempty"`
	User    pos.Person   `json:"user"`
	Touched time.Time    `json:"touched"`
	Unpaid  []CartHeader `json:"unpaid" doc:"Its orders that are not paid; they are parked when the next session is opened"`
}

// screensIn returns the other browsers that have a session open.
func (t *Till) screensIn(session, but string, carts []Cart) []Screen {
	list := []Screen{}
	t.mu.Lock()
	for id, b := range t.browsers {
		if id != but && b.session == session {
			list = append(list, Screen{Browser: id, Device: b.device, User: b.user, Touched: b.touched.UTC(), Unpaid: []CartHeader{}})
		}
	}
	t.mu.Unlock()
	slices.SortFunc(list, func(a, b Screen) int { return strings.Compare(a.Browser, b.Browser) })
	for i := range list {
		for _, c := range carts {
			if c.Browser == list[i].Browser && len(c.Lines) > 0 {
				list[i].Unpaid = append(list[i].Unpaid, c.header())
			}
		}
	}
	return list
}

// end tells browsers, at their next touch, that their session has ended.
func (t *Till) end(screens []Screen, opener pos.Person, session string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range screens {
		b := t.browsers[s.Browser]
		if b == nil {
			continue
		}
		b.session = ""
		key := "till.screen_ended"
		if len(s.Unpaid) > 0 {
			key = "till.screen_ended_parked"
		}
		b.ended = message.New(message.Conflict, key, "by", opener.Name, "session", session)
	}
}
