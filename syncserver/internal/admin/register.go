package admin

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/money"
	"tillandsia/shared/wire"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
)

type register struct {
	ID            string       `json:"id"`
	PointOfSale   string       `json:"point_of_sale"`
	Code          string       `json:"code"`
	Name          string       `json:"name"`
	State         string       `json:"state" enum:"new,enrolled,revoked"`
	Drawer        bool         `json:"drawer"`
	LastSeen      *time.Time   `json:"last_seen,omitempty"`
	Waiting       int          `json:"waiting" doc:"Entries that it said were waiting"`
	WaitingAmount money.Amount `json:"waiting_amount"`
	Screen        string       `json:"screen,omitempty" doc:"Address of its own screen"`
	Program       string       `json:"program,omitempty"`
	ClockSkew     int64        `json:"clock_skew_ms" doc:"Its clock ahead of the server's, in milliseconds"`
}

func registerOf(r store.Register) register {
	return register{
		ID: r.ID, PointOfSale: r.PointOfSale, Code: r.Code, Name: r.Name, State: string(r.State), Drawer: r.Drawer,
		LastSeen: optionalTime(r.LastSeen), Waiting: r.Waiting, WaitingAmount: r.WaitingAmount,
		Screen: r.Screen, Program: r.Program, ClockSkew: r.ClockSkew / 1000,
	}
}

// optionalTime is a stored time, nil where it never was.
func optionalTime(micros int64) *time.Time {
	if micros == 0 {
		return nil
	}
	t := timeOf(micros)
	return &t
}

func timeOf(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

func ledgerActor(by staff.Actor) ledger.Actor {
	return ledger.Actor{User: by.User, Name: by.Name, Role: string(by.Role), Remote: by.Remote}
}

// RegisterPath names a register.
type RegisterPath struct {
	PosPath
	Register string `path:"register" maxLength:"64" doc:"Id of the register"`
}

type pairing struct {
	Code    string    `json:"code" doc:"To be typed at the register; used once"`
	Expires time.Time `json:"expires"`
}

func (a *API) registerRoutes() {
	add(a, route(http.MethodGet, "/points-of-sale/{pos}/registers", "registers", catalogue.RoleCashier, "Registers of a point of sale, by code"),
		func(ctx context.Context, in *PosPath) (*body[[]register], error) {
			rows, err := a.Ledger.Registers(ctx, in.PointOfSale)
			if err != nil {
				return nil, err
			}
			out := []register{}
			for _, r := range rows {
				out = append(out, registerOf(r))
			}
			return answer(out), nil
		})
	create := route(http.MethodPost, "/points-of-sale/{pos}/registers", "create-register", catalogue.RoleManager, "Make a register; a pairing code enrols it", http.StatusNotFound, http.StatusConflict)
	create.DefaultStatus = http.StatusCreated
	add(a, create,
		func(ctx context.Context, in *struct {
			PosPath
			Body struct {
				Code   string `json:"code" maxLength:"8"`
				Name   string `json:"name,omitempty" maxLength:"200"`
				Drawer bool   `json:"drawer" doc:"It has a cash drawer of its own; without one it takes no cash"`
			}
		},
		) (*body[register], error) {
			r, err := a.Setup.CreateRegister(ctx, actor(ctx), in.PointOfSale, in.Body.Code, in.Body.Name, in.Body.Drawer)
			if err != nil {
				return nil, err
			}
			return answer(registerOf(r)), nil
		})
	pair := route(http.MethodPost, "/points-of-sale/{pos}/registers/{register}/pairing", "pair-register", catalogue.RoleManager, "A pairing code for a register, valid for a quarter of an hour", http.StatusNotFound)
	pair.DefaultStatus = http.StatusCreated
	add(a, pair,
		func(ctx context.Context, in *RegisterPath) (*body[pairing], error) {
			p, err := a.Ledger.NewPairing(ctx, ledgerActor(actor(ctx)), in.PointOfSale, in.Register)
			if err != nil {
				return nil, err
			}
			return answer(pairing{Code: p.Code, Expires: p.Expires}), nil
		})
	add(a, route(http.MethodPost, "/points-of-sale/{pos}/registers/{register}/revoke", "revoke-register", catalogue.RoleManager, "Revoke a register: it may still deliver, but gets no catalogue and no sessions", http.StatusNotFound),
		func(ctx context.Context, in *RegisterPath) (*none, error) {
			return &none{}, a.Ledger.Revoke(ctx, ledgerActor(actor(ctx)), in.PointOfSale, in.Register)
		})

	enrol := open(http.MethodPost, "/enrol", "enrol", "Enrol a register by its pairing code; the token is told once", http.StatusForbidden, http.StatusTooManyRequests)
	enrol.DefaultStatus = http.StatusCreated
	add(a, enrol,
		func(ctx context.Context, in *struct{ Body wire.EnrolRequest }) (*body[wire.EnrolAnswer], error) {
			e, err := a.Ledger.Enrol(ctx, ledger.Enrolling{Code: in.Body.Code, Nonce: in.Body.Nonce, Software: in.Body.Software, Remote: remoteOf(ctx)})
			if err != nil {
				return nil, err
			}
			return answer(wire.EnrolAnswer{
				Token: e.Token, PointOfSale: e.PointOfSale, RegisterID: e.Register.ID, RegisterCode: e.Register.Code,
				ServerKey: base64.StdEncoding.EncodeToString(e.ServerKey), Incarnation: e.Incarnation, Epoch: e.Epoch, Base: e.Base,
			}), nil
		})
}
