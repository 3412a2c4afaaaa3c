package door

import (
	"context"
	"net/http"

	"tillandsia/register/internal/journal"
	"tillandsia/register/internal/till"
	"tillandsia/shared/entry"
)

type orderPath struct {
	Order string `path:"order" maxLength:"64" doc:"Id of the order"`
}

type orderList struct {
	Orders []till.OrderRow `json:"orders"`
	More   bool            `json:"more" doc:"There are older ones: ask again from the last one's place"`
}

type ordersQuery struct {
	Query       string `query:"q" maxLength:"100" doc:"Part of a number, customer or user, or an amount"`
	Session     string `query:"session" maxLength:"64" doc:"Name of a session"`
	Training    bool   `query:"training" doc:"Training sales instead"`
	BeforeEpoch uint64 `query:"before_epoch" maximum:"9007199254740991"`
	BeforeSeq   uint64 `query:"before_seq" maximum:"9007199254740991"`
	Limit       int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type sale struct {
	ID       string           `json:"id,omitempty" maxLength:"26" doc:"A ULID: sent again, it sells once"`
	Lines    []saleLine       `json:"lines" minItems:"1" maxItems:"250"`
	Payments []PaymentRequest `json:"payments" maxItems:"20"`
	Customer string           `json:"customer,omitempty" maxLength:"64"`
	Discount *discountRequest `json:"discount,omitempty"`
	Note     string           `json:"note,omitempty" maxLength:"500"`
	WithReason
}

type saleLine struct {
	LineRequest
	Reason string `json:"reason,omitempty" maxLength:"500"`
}

func (s sale) of() till.Sale {
	out := till.Sale{ID: s.ID, Customer: s.Customer, Note: s.Note, Reason: s.Reason, Approval: s.Approval.of()}
	if s.Discount != nil {
		out.Discount = *s.Discount.of()
	}
	for _, l := range s.Lines {
		r := l.of()
		r.Reason = l.Reason
		out.Lines = append(out.Lines, r)
	}
	for _, p := range s.Payments {
		out.Payments = append(out.Payments, p.of())
	}
	return out
}

type refund struct {
	ID     string           `json:"id,omitempty" maxLength:"26" doc:"Of the cart that takes back"`
	Order  string           `json:"order,omitempty" maxLength:"64" doc:"Id of the order, or its number"`
	Number string           `json:"number,omitempty" maxLength:"64"`
	Lines  []till.RefundQty `json:"lines,omitempty" maxItems:"250" doc:"Left out, all that is left"`
	Entry  []byte           `json:"entry,omitempty" doc:"The journal entry of another register's order, where it is known nowhere else; by approval"`
	WithReason
}

func (d *Door) orderRoutes() {
	add(d, created(d.route(user, http.MethodPost, "/sales", "sell", "A whole sale in one request: answered when it is durable", approving...)),
		func(ctx context.Context, in *struct{ Body sale }) (*body[till.Sold], error) {
			return answer(d.Till.Sell(ctx, by(ctx), in.Body.of()))
		})
	add(d, d.route(user, http.MethodGet, "/orders", "orders", "Orders of this register, newest first", http.StatusUnprocessableEntity),
		func(ctx context.Context, in *ordersQuery) (*body[orderList], error) {
			rows, more, err := d.Till.Orders(ctx, journal.OrderFilter{
				Before: entry.Place{Epoch: in.BeforeEpoch, Seq: in.BeforeSeq}, Limit: in.Limit, Query: in.Query,
				Session: in.Session, Training: in.Training,
			})
			return answer(orderList{Orders: rows, More: more}, err)
		})
	add(d, d.route(user, http.MethodGet, "/orders/{order}", "order", "An order of this register", http.StatusNotFound),
		func(ctx context.Context, in *orderPath) (*body[till.Sold], error) {
			return answer(d.Till.Order(ctx, in.Order))
		})
	add(d, bodyless(d.route(user, http.MethodPost, "/orders/{order}/reprint", "reprint", "Print its receipt again: COPY n, an entry of the journal", http.StatusNotFound)),
		func(ctx context.Context, in *orderPath) (*body[till.Reprint], error) {
			return answer(d.Till.Reprint(ctx, by(ctx), in.Order))
		})
	add(d, created(d.route(user, http.MethodPost, "/refunds", "refund", "A cart that takes back lines of an order, never more than was sold; other registers' orders are asked of the server", approving...)),
		func(ctx context.Context, in *struct{ Body refund }) (*body[till.Cart], error) {
			b := in.Body
			return answer(d.Till.Refund(ctx, by(ctx), till.RefundRequest{
				ID: b.ID, Order: b.Order, Number: b.Number, Lines: b.Lines, Entry: b.Entry, Reason: b.Reason, Approval: b.Approval.of(),
			}))
		})
}
