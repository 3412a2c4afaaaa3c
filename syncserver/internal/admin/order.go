package admin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/entry"
	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/store"
)

// Order is an order in a list.
type Order struct {
	ID          string       `json:"id"`
	PointOfSale string       `json:"point_of_sale"`
	Number      string       `json:"number" doc:"Receipt number: a label, not the identity"`
	Register    string       `json:"register"`
	Stamped     string       `json:"stamped" doc:"Session it was made in at the till"`
	Session     string       `json:"session" doc:"Session in which it is booked"`
	Late        bool         `json:"late" doc:"Booked in another session than stamped"`
	User        string       `json:"user"`
	UserName    string       `json:"user_name"`
	At          time.Time    `json:"at" doc:"The till's clock"`
	Received    time.Time    `json:"received" doc:"The server's clock"`
	Lines       int          `json:"lines"`
	Net         money.Amount `json:"net"`
	Tax         money.Amount `json:"tax"`
	Total       money.Amount `json:"total"`
	Rounding    money.Amount `json:"rounding"`
	Copy        int          `json:"copy,omitempty" doc:"n-th order of the same id with other content, accepted as a sale of its own"`
}

func orderOf(o store.Order) Order {
	return Order{
		ID: o.ID, PointOfSale: o.PointOfSale, Number: o.Number, Register: o.Register, Stamped: o.Stamped, Session: o.Session,
		Late: o.Late, User: o.User, UserName: o.UserName, At: timeOf(o.At), Received: timeOf(o.Received), Lines: o.Lines,
		Net: o.Net, Tax: o.Tax, Total: o.Total, Rounding: o.Rounding, Copy: o.Copy,
	}
}

type orderDetail struct {
	Order
	Body     any                  `json:"body" doc:"The order as the till recorded it"`
	Entry    string               `json:"entry" doc:"The journal entry's bytes, base64"`
	Hash     entry.Hash           `json:"hash" doc:"SHA-256 of the entry's bytes"`
	Place    entry.Place          `json:"place" doc:"Where it stands in its register's journal"`
	Refunded map[string]money.Qty `json:"refunded" doc:"Quantity taken back so far, by line id"`
}

// page is a list with the place to go on from.
type page[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"Send it as after= for what follows; absent at the end"`
}

// cursor is where a list goes on: time and id of its last item.
type cursor struct {
	At int64  `json:"t"`
	ID string `json:"i"`
}

func (c cursor) String() string {
	data, err := json.Marshal(c)
	if err != nil {
		return "" // a number and a string always encode
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func parseCursor(s string) (c cursor, err error) {
	if s == "" {
		return c, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		return c, invalid("admin.bad_cursor")
	}
	return c, nil
}

// ListQuery is what every list takes.
type ListQuery struct {
	PointOfSale string `query:"pos" maxLength:"8" doc:"Code of a point of sale; all of the user's without it"`
	After       string `query:"after" maxLength:"200"`
	Limit       int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

func (a *API) orderRoutes() {
	add(a, route(http.MethodGet, "/orders", "orders", catalogue.RoleCashier, "Orders, newest first", http.StatusForbidden),
		func(ctx context.Context, in *struct {
			ListQuery
			Session string `query:"session" maxLength:"64" doc:"Booked in this session"`
			Stamped string `query:"stamped" maxLength:"64"`
			Number  string `query:"number" maxLength:"64" doc:"Part of the receipt number"`
			Late    string `query:"late" enum:"true,false"`
		},
		) (*body[page[Order]], error) {
			codes, err := points(actor(ctx), in.PointOfSale)
			if err != nil {
				return nil, err
			}
			after, err := parseCursor(in.After)
			if err != nil {
				return nil, err
			}
			rows, err := a.Ledger.Orders(ctx, store.OrderFilter{
				PointsOfSale: codes, Session: in.Session, Stamped: in.Stamped, Number: in.Number, Late: optionalBool(in.Late),
				AfterAt: after.At, AfterID: after.ID, Limit: in.Limit,
			})
			if err != nil {
				return nil, err
			}
			out := page[Order]{Items: []Order{}}
			for _, o := range rows {
				out.Items = append(out.Items, orderOf(o))
			}
			if len(rows) == in.Limit {
				last := rows[len(rows)-1]
				out.Next = cursor{At: last.At, ID: last.ID}.String()
			}
			return answer(out), nil
		})
	add(a, route(http.MethodGet, "/points-of-sale/{pos}/orders/{id}", "order", catalogue.RoleCashier, "One order with its journal entry and hash", http.StatusNotFound),
		func(ctx context.Context, in *struct {
			PosPath
			ID string `path:"id" maxLength:"64"`
		},
		) (*body[orderDetail], error) {
			d, err := a.Ledger.Order(ctx, in.PointOfSale, in.ID)
			if err != nil {
				return nil, err
			}
			return answer(orderDetail{
				Order: orderOf(d.Order), Body: d.Body, Entry: base64.StdEncoding.EncodeToString(d.Entry), Hash: d.Hash,
				Place: d.Order.Entry, Refunded: d.Refunded,
			}), nil
		})
}

// optionalBool reads a query that may be left out.
func optionalBool(s string) *bool {
	if s == "" {
		return nil
	}
	v := s == "true"
	return &v
}
