package admin

import (
	"context"
	"encoding/json"
	"net/http"

	"tillandsia/shared/catalogue"
	"tillandsia/syncserver/internal/setup"
)

type pointOfSale struct {
	catalogue.Settings
	InUse []setup.Use `json:"in_use" nullable:"false" doc:"Sessions in progress; while there are any the settings are locked"`
}

// PosPath names a point of sale. Types that stand embedded in a request are
// exported: only those are filled in.
type PosPath struct {
	PointOfSale string `path:"pos" maxLength:"8" doc:"Code of the point of sale"`
}

// KindPath names a kind of things.
type KindPath struct {
	Kind string `path:"kind" enum:"product,category,tax,method,reason,customer"`
}

type thing struct {
	ID       string `json:"id"`
	Revision uint64 `json:"revision"`
	Body     any    `json:"body" doc:"The thing itself; its fields depend on the kind"`
}

func thingOf(t setup.Thing) thing { return thing{ID: t.ID, Revision: t.Revision, Body: t.Body} }

func (a *API) setupRoutes() {
	add(a, route(http.MethodGet, "/company", "company", catalogue.RoleManager, "The company with its currency and accounts"),
		func(ctx context.Context, _ *struct{}) (*body[catalogue.Company], error) {
			c, err := a.Setup.Company(ctx)
			if err != nil {
				return nil, err
			}
			return answer(c), nil
		})
	add(a, route(http.MethodPut, "/company", "change-company", catalogue.RoleAdmin, "Change the company", http.StatusConflict),
		func(ctx context.Context, in *struct{ Body catalogue.Company }) (*body[catalogue.Company], error) {
			if err := a.Setup.PutCompany(ctx, actor(ctx), in.Body); err != nil {
				return nil, err
			}
			// As it stands now: the digits are those of the currency, whatever was sent.
			c, err := a.Setup.Company(ctx)
			if err != nil {
				return nil, err
			}
			return answer(c), nil
		})

	add(a, route(http.MethodGet, "/points-of-sale", "points-of-sale", catalogue.RoleCashier, "The points of sale where the user works"),
		func(ctx context.Context, _ *struct{}) (*body[[]pointOfSale], error) {
			all, err := a.Setup.PointsOfSale(ctx)
			if err != nil {
				return nil, err
			}
			out := []pointOfSale{}
			for _, p := range all {
				if !actor(ctx).MayAt(p.Code) {
					continue
				}
				settings, uses, err := a.Setup.PointOfSale(ctx, p.Code)
				if err != nil {
					return nil, err
				}
				out = append(out, pointOfSale{Settings: settings, InUse: list(uses)})
			}
			return answer(out), nil
		})
	create := route(http.MethodPost, "/points-of-sale", "create-point-of-sale", catalogue.RoleAdmin, "Make a point of sale", http.StatusConflict)
	create.DefaultStatus = http.StatusCreated
	add(a, create,
		func(ctx context.Context, in *struct{ Body catalogue.Settings }) (*body[pointOfSale], error) {
			if err := a.Setup.CreatePointOfSale(ctx, actor(ctx), in.Body); err != nil {
				return nil, err
			}
			return answer(pointOfSale{Settings: in.Body, InUse: []setup.Use{}}), nil
		})
	add(a, route(http.MethodGet, "/points-of-sale/{pos}", "point-of-sale", catalogue.RoleCashier, "One point of sale", http.StatusNotFound),
		func(ctx context.Context, in *PosPath) (*body[pointOfSale], error) {
			settings, uses, err := a.Setup.PointOfSale(ctx, in.PointOfSale)
			if err != nil {
				return nil, err
			}
			return answer(pointOfSale{Settings: settings, InUse: list(uses)}), nil
		})
	add(a, route(http.MethodPut, "/points-of-sale/{pos}", "change-point-of-sale", catalogue.RoleManager, "Change the settings of a point of sale that is not in use", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *struct {
			PosPath
			Body catalogue.Settings
		},
		) (*body[pointOfSale], error) {
			in.Body.Code = in.PointOfSale
			if err := a.Setup.UpdatePointOfSale(ctx, actor(ctx), in.Body); err != nil {
				return nil, err
			}
			return answer(pointOfSale{Settings: in.Body, InUse: []setup.Use{}}), nil
		})

	add(a, route(http.MethodGet, "/catalogue/{kind}", "things", catalogue.RoleCashier, "Things of a kind by id, after an id"),
		func(ctx context.Context, in *struct {
			KindPath
			After string `query:"after" maxLength:"64"`
			Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
		},
		) (*body[[]thing], error) {
			things, err := a.Setup.Things(ctx, catalogue.Kind(in.Kind), in.After, in.Limit)
			if err != nil {
				return nil, err
			}
			out := []thing{}
			for _, t := range things {
				out = append(out, thingOf(t))
			}
			return answer(out), nil
		})
	createThing := route(http.MethodPost, "/catalogue/{kind}", "create-thing", catalogue.RoleManager, "Make a thing")
	createThing.DefaultStatus = http.StatusCreated
	add(a, createThing,
		func(ctx context.Context, in *struct {
			KindPath
			Body json.RawMessage
		},
		) (*body[thing], error) {
			t, err := a.Setup.PutThing(ctx, actor(ctx), catalogue.Kind(in.Kind), "", in.Body)
			if err != nil {
				return nil, err
			}
			return answer(thingOf(t)), nil
		})
	add(a, route(http.MethodPut, "/catalogue/{kind}/{id}", "change-thing", catalogue.RoleManager, "Change a thing", http.StatusNotFound),
		func(ctx context.Context, in *struct {
			KindPath
			ID   string `path:"id" maxLength:"64"`
			Body json.RawMessage
		},
		) (*body[thing], error) {
			t, err := a.Setup.PutThing(ctx, actor(ctx), catalogue.Kind(in.Kind), in.ID, in.Body)
			if err != nil {
				return nil, err
			}
			return answer(thingOf(t)), nil
		})
	add(a, route(http.MethodDelete, "/catalogue/{kind}/{id}", "delete-thing", catalogue.RoleManager, "Take a thing off the catalogue", http.StatusNotFound),
		func(ctx context.Context, in *struct {
			KindPath
			ID string `path:"id" maxLength:"64"`
		},
		) (*none, error) {
			return &none{}, a.Setup.DeleteThing(ctx, actor(ctx), catalogue.Kind(in.Kind), in.ID)
		})
	load := route(http.MethodPost, "/import/products", "import-products", catalogue.RoleManager, "Import products from CSV, all or nothing")
	load.MaxBodyBytes = setup.MaxImport + 1
	load.BodyReadTimeout = importTimeouts * a.BodyTimeout
	load.Description = "Columns: code, name, category, price, taxes, barcode, unit. Rows that do not fit are listed and nothing is changed."
	add(a, load,
		func(ctx context.Context, in *struct {
			DryRun  bool   `query:"dry_run" doc:"Only say what would change"`
			RawBody []byte `contentType:"text/csv"`
		},
		) (*body[setup.Import], error) {
			result, err := a.Setup.ImportProducts(ctx, actor(ctx), in.RawBody, in.DryRun)
			if err != nil {
				return nil, err
			}
			return answer(result), nil
		})
}
