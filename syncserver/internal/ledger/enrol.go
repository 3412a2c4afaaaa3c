package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/secret"
	"tillandsia/syncserver/internal/store"
)

// pairingLength is the number of characters of a pairing code: 39 bits, which
// the limits on tries make far more than enough for a quarter of an hour.
const pairingLength = 8

// Limits of wrong pairing codes within the life of a code.
const (
	triesPerRemote = 10
	triesInAll     = 300
	triesPerCode   = 5
)

// Errors of enrolment.
var (
	errPairing   = message.New(message.Forbidden, "ledger.pairing_wrong")
	errTries     = message.New(message.TooMany, "ledger.pairing_tries")
	errUnknown   = message.New(message.Unauthorized, "ledger.register_unknown")
	errNonceLack = message.New(message.Invalid, "ledger.nonce_missing")
)

// Pairing is a code that enrols one register once.
type Pairing struct {
	Code        string
	PointOfSale string
	Register    string
	Expires     time.Time
}

// Enrolment is what a register learns when it is enrolled. It is told once:
// the token is stored only by its hash.
type Enrolment struct {
	Token       string
	PointOfSale string
	Register    store.Register
	ServerKey   []byte // Ed25519 public key
	Incarnation string
	// Settings and Company hold until the catalogue comes.
	Settings catalogue.Settings
	Company  catalogue.Company
	// Epoch is the one that this journal writes, standing on Base: 1 on
	// nothing for a new register.
	Epoch uint64
	Base  entry.Point
	// NewSeries says that this register's code has sold before: its numbers
	// begin a new series.
	NewSeries bool
}

// Enrolling is what a register says when it is enrolled.
type Enrolling struct {
	Code     string
	Nonce    string
	Software string
	Remote   string // address that the request came from
}

// NewPairing makes a pairing code for a register. Older codes of it stay valid
// until they expire.
func (l *Ledger) NewPairing(ctx context.Context, by Actor, pointOfSale, register string) (Pairing, error) {
	p := Pairing{
		Code: secret.Code(pairingLength), PointOfSale: pointOfSale, Register: register,
		Expires: l.clock().Add(l.options.PairingLife).UTC().Truncate(time.Microsecond),
	}
	err := l.store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.LockRegister(ctx, pointOfSale, register); err != nil {
			return notFound(err, "ledger.no_such_register", "register", register)
		}
		err := tx.PutPairing(ctx, store.Pairing{
			CodeHash: secret.TokenHash(p.Code), PointOfSale: pointOfSale, Register: register,
			Expires: micro(p.Expires),
		})
		if err != nil {
			return fmt.Errorf("put pairing: %w", err)
		}
		return l.audit(ctx, tx, by, "pairing_made", register, nil)
	})
	if err != nil {
		return Pairing{}, err
	}
	return p, nil
}

// Enrol redeems a pairing code. Its register gets a new token, the tokens
// before it are void. Asked again with the same code and nonce while nothing
// has been sent, it answers anew, so that a lost answer costs nothing.
func (l *Ledger) Enrol(ctx context.Context, e Enrolling) (Enrolment, error) {
	if e.Nonce == "" {
		return Enrolment{}, errNonceLack
	}
	id, err := l.who(ctx)
	if err != nil {
		return Enrolment{}, err
	}
	if !l.tries.may(l.clock(), l.options.PairingLife, e.Remote) {
		return Enrolment{}, errTries
	}
	hash := secret.TokenHash(secret.NormalizeCode(e.Code))
	token, tokenHash := secret.Token("tr_")
	var answer Enrolment
	var refused error
	err = l.store.Update(ctx, func(tx store.Tx) error {
		refused = nil
		answer = Enrolment{Token: token, ServerKey: id.key.Public().(ed25519.PublicKey), Incarnation: id.incarnation} //nolint:errcheck // an Ed25519 key's public key is one
		refused, err = l.redeem(ctx, tx, hash, tokenHash, e, &answer)
		return err
	})
	switch {
	case err != nil:
		return Enrolment{}, fmt.Errorf("enrol register: %w", err)
	case refused != nil:
		l.tries.failed(l.clock(), e.Remote)
		return Enrolment{}, refused
	}
	l.store.Poke(ctx)
	return answer, nil
}

// redeem does the work of Enrol. What it refuses it returns as refused, so that
// the count of tries is kept.
func (l *Ledger) redeem(ctx context.Context, tx store.Tx, hash, tokenHash []byte, e Enrolling, answer *Enrolment) (refused, err error) {
	pairing, err := tx.Pairing(ctx, hash)
	if errors.Is(err, store.ErrNotFound) {
		return errPairing, nil
	}
	if err != nil {
		return nil, err
	}
	register, err := tx.LockRegister(ctx, pairing.PointOfSale, pairing.Register)
	if err != nil {
		return nil, err
	}
	// Another use of the code may have been committed while the lock was
	// waited for.
	if pairing, err = tx.Pairing(ctx, hash); err != nil {
		return nil, err
	}
	epochs, err := tx.Epochs(ctx, register.PointOfSale, register.ID)
	if err != nil {
		return nil, err
	}
	var last store.Epoch
	if len(epochs) > 0 {
		last = epochs[len(epochs)-1]
	}
	again := last.Nonce == e.Nonce && last.Cursor.Seq == 0
	if pairing.Expires <= l.now() || pairing.Tries >= triesPerCode || pairing.Used != 0 && !again {
		pairing.Tries++
		return errPairing, tx.PutPairing(ctx, pairing)
	}
	if pairing.Used == 0 {
		pairing.Used = l.now()
		if err := tx.PutPairing(ctx, pairing); err != nil {
			return nil, err
		}
	}
	answer.NewSeries = len(epochs) > 1 || last.Cursor.Seq > 0
	if !again {
		last = store.Epoch{
			PointOfSale: register.PointOfSale, Register: register.ID, Epoch: last.Epoch + 1, Nonce: e.Nonce,
			Base: last.Cursor,
		}
		last.Cursor = entry.Point{Epoch: last.Epoch, Hash: last.Base.Hash}
		last.Checkpoint = last.Cursor
		last.Stable = last.Cursor
		if err := tx.Write(ctx, &store.Changes{Epochs: []store.Epoch{last}}); err != nil {
			return nil, fmt.Errorf("put epoch: %w", err)
		}
	}
	register.State = store.RegisterEnrolled
	register.TokenHash = tokenHash
	register.Nonce = e.Nonce
	register.Program = e.Software
	if err := tx.PutRegister(ctx, register); err != nil {
		return nil, fmt.Errorf("put register: %w", err)
	}
	if err := l.putRegisterThing(ctx, tx, register); err != nil {
		return nil, err
	}
	if answer.Settings, err = settingsOf(ctx, tx, register.PointOfSale); err != nil {
		return nil, err
	}
	if answer.Company, err = companyOf(ctx, tx); err != nil {
		return nil, err
	}
	answer.PointOfSale, answer.Register = register.PointOfSale, register
	answer.Epoch, answer.Base = last.Epoch, last.Base
	return nil, l.audit(ctx, tx, Actor{Remote: e.Remote}, "register_enrolled", register.ID, nil)
}

// Revoke takes a register's rights away: what it still holds is taken in and
// flagged, but it gets no catalogue and no sessions any more.
func (l *Ledger) Revoke(ctx context.Context, by Actor, pointOfSale, id string) error {
	err := l.store.Update(ctx, func(tx store.Tx) error {
		register, err := tx.LockRegister(ctx, pointOfSale, id)
		if err != nil {
			return notFound(err, "ledger.no_such_register", "register", id)
		}
		if register.State == store.RegisterRevoked {
			return nil
		}
		register.State = store.RegisterRevoked
		if err := tx.PutRegister(ctx, register); err != nil {
			return fmt.Errorf("put register: %w", err)
		}
		if err := l.putRegisterThing(ctx, tx, register); err != nil {
			return err
		}
		return l.audit(ctx, tx, by, "register_revoked", id, nil)
	})
	if err == nil {
		l.store.Poke(ctx)
	}
	return err
}

func (l *Ledger) putRegisterThing(ctx context.Context, tx store.Tx, r store.Register) error {
	body, err := json.Marshal(catalogue.Register{Code: r.Code, Name: r.Name, Drawer: r.Drawer, Revoked: r.State == store.RegisterRevoked})
	if err != nil {
		return fmt.Errorf("encode register %s: %w", r.ID, err)
	}
	old, err := tx.Thing(ctx, r.PointOfSale, string(catalogue.KindRegister), r.ID)
	if err == nil && bytes.Equal(old.Body, body) {
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("read thing of register %s: %w", r.ID, err)
	}
	_, err = tx.PutThings(ctx, []store.Thing{{PointOfSale: r.PointOfSale, Kind: string(catalogue.KindRegister), ID: r.ID, Body: body}})
	if err != nil {
		return fmt.Errorf("put thing of register %s: %w", r.ID, err)
	}
	return nil
}

// Registers lists the registers of a point of sale by code, of all where it
// is "".
func (l *Ledger) Registers(ctx context.Context, pointOfSale string) (registers []store.Register, err error) {
	err = l.store.View(ctx, func(r store.Reader) error {
		registers, err = r.Registers(ctx, pointOfSale)
		return err
	})
	return registers, err
}

// Authenticate returns the register that a device token belongs to, revoked
// ones too: they may still deliver. Where there is none the error is of class
// Unauthorized.
func (l *Ledger) Authenticate(ctx context.Context, token string) (register store.Register, err error) {
	hash := secret.TokenHash(token)
	err = l.store.View(ctx, func(r store.Reader) error {
		register, err = r.RegisterByToken(ctx, hash)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return store.Register{}, errUnknown
	}
	return register, err
}

func companyOf(ctx context.Context, r store.Reader) (c catalogue.Company, err error) {
	thing, err := r.Thing(ctx, "", string(catalogue.KindCompany), "company")
	if errors.Is(err, store.ErrNotFound) {
		return c, message.New(message.Conflict, "ledger.no_company")
	}
	if err == nil {
		err = json.Unmarshal(thing.Body, &c)
	}
	if err != nil {
		return c, fmt.Errorf("read company: %w", err)
	}
	return c, nil
}

func settingsOf(ctx context.Context, r store.Reader, pointOfSale string) (s catalogue.Settings, err error) {
	p, err := r.PointOfSale(ctx, pointOfSale)
	if err == nil {
		err = json.Unmarshal(p.Settings, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read settings of %s: %w", pointOfSale, err)
	}
	return s, nil
}

// tries counts wrong pairing codes, per remote address and in all.
type tries struct {
	mu    sync.Mutex
	since time.Time
	all   int
	by    map[string]int
}

func (t *tries) may(now time.Time, life time.Duration, remote string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil || now.Sub(t.since) >= life || now.Before(t.since) {
		t.since, t.all, t.by = now, 0, map[string]int{}
	}
	return t.all < triesInAll && t.by[remote] < triesPerRemote
}

func (t *tries) failed(now time.Time, remote string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.since, t.by = now, map[string]int{}
	}
	t.all++
	t.by[remote]++
}
