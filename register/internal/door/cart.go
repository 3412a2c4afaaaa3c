package door

import (
	"context"
	"net/http"

	"tillandsia/register/internal/till"
	"tillandsia/shared/money"
)

// The types that are embedded in requests are exported, because the document is
// made of exported fields only.

// CartPath names a cart.
type CartPath struct {
	Cart string `path:"cart" maxLength:"64"`
}

// VersionQuery is a version in the address, of a request without a body.
type VersionQuery struct {
	Version int `query:"version" minimum:"0" doc:"That the caller saw; another one is a conflict. 0 does not look"`
}

// Versioned is what every change of a cart names.
type Versioned struct {
	Version int `json:"version,omitempty" minimum:"0" doc:"That the caller saw; another one is a conflict. 0 does not look"`
}

type discountRequest struct {
	Rate   money.Rate   `json:"rate,omitempty" minimum:"0" maximum:"1000000" doc:"Parts per million: 100000 is 10 %"`
	Amount money.Amount `json:"amount,omitempty" minimum:"0"`
}

func (d *discountRequest) of() *money.Discount {
	if d == nil {
		return nil
	}
	return &money.Discount{Rate: d.Rate, Amount: d.Amount}
}

// WithReason is what a manager approves with.
type WithReason struct {
	Reason   string    `json:"reason,omitempty" maxLength:"500" doc:"Why, where a manager's approval is needed"`
	Approval *approval `json:"approval,omitempty" doc:"A second person's PIN; a manager who is signed in needs none"`
}

// LineRequest is something sold.
type LineRequest struct {
	Product  string           `json:"product,omitempty" maxLength:"64" doc:"Id of the product"`
	Code     string           `json:"code,omitempty" maxLength:"64"`
	Barcode  string           `json:"barcode,omitempty" maxLength:"64"`
	Qty      money.Qty        `json:"qty,omitempty" minimum:"-1000000000" maximum:"1000000000" doc:"In thousandths; left out, 1 piece. Below 0 is a return without a receipt"`
	Price    *money.Price     `json:"price,omitempty" minimum:"0" doc:"Another price than the product's, by approval"`
	Discount *discountRequest `json:"discount,omitempty"`
	Note     string           `json:"note,omitempty" maxLength:"200"`
}

func (l LineRequest) of() till.LineRequest {
	r := till.LineRequest{Product: l.Product, Code: l.Code, Barcode: l.Barcode, Qty: l.Qty, Price: l.Price, Note: l.Note}
	if l.Discount != nil {
		r.Discount = *l.Discount.of()
	}
	return r
}

// PaymentRequest is a tender.
type PaymentRequest struct {
	Method    string        `json:"method" maxLength:"64" doc:"Id of a payment method of the session"`
	Amount    *money.Amount `json:"amount,omitempty" doc:"What is handed over; left out, what is due. Below 0 for a refund"`
	Reference string        `json:"reference,omitempty" maxLength:"100" doc:"Of the card terminal; never a card number"`
}

func (p PaymentRequest) of() till.PaymentRequest {
	return till.PaymentRequest{Method: p.Method, Amount: p.Amount, Reference: p.Reference}
}

// LinePath names a line of a cart.
type LinePath struct {
	CartPath
	Line string `path:"line" maxLength:"64"`
}

var changing = []int{http.StatusNotFound, http.StatusConflict}

var approving = append([]int{http.StatusTooManyRequests}, changing...)

func (d *Door) cartRoutes() {
	add(d, d.route(user, http.MethodGet, "/carts", "carts", "Orders that are not paid: this browser's, and the parked ones"),
		func(ctx context.Context, _ *struct{}) (*body[[]till.CartHeader], error) {
			return answer(d.Till.Carts(ctx, by(ctx)))
		})
	add(d, created(d.route(user, http.MethodPost, "/carts", "new-cart", "Begin an order; its id is fixed here and sells once", http.StatusConflict)),
		func(ctx context.Context, in *struct {
			Body struct {
				ID   string `json:"id,omitempty" maxLength:"26" doc:"A ULID; left out, the register makes one"`
				Name string `json:"name,omitempty" maxLength:"100"`
			}
		},
		) (*body[till.Cart], error) {
			return answer(d.Till.NewCart(ctx, by(ctx), in.Body.ID, in.Body.Name))
		})
	add(d, d.route(user, http.MethodGet, "/carts/{cart}", "cart", "An order that is not paid", changing...),
		func(ctx context.Context, in *CartPath) (*body[till.Cart], error) {
			return answer(d.Till.Cart(ctx, by(ctx), in.Cart))
		})
	add(d, d.route(user, http.MethodPatch, "/carts/{cart}", "change-cart", "Name, note, customer or discount of the whole order", approving...),
		func(ctx context.Context, in *struct {
			CartPath
			Body struct {
				Versioned
				Name     *string          `json:"name,omitempty" maxLength:"100"`
				Note     *string          `json:"note,omitempty" maxLength:"500"`
				Customer *string          `json:"customer,omitempty" maxLength:"64" doc:"Id of a customer; empty takes the customer off"`
				Discount *discountRequest `json:"discount,omitempty"`
				WithReason
			}
		},
		) (*body[till.Cart], error) {
			b := in.Body
			return answer(d.Till.ChangeCart(ctx, by(ctx), in.Cart, b.Version, till.CartChange{
				Name: b.Name, Note: b.Note, Customer: b.Customer, Discount: b.Discount.of(), Reason: b.Reason, Approval: b.Approval.of(),
			}))
		})
	add(d, d.route(user, http.MethodDelete, "/carts/{cart}", "discard-cart", "Throw an order away; that is an entry of the journal", changing...),
		func(ctx context.Context, in *struct {
			CartPath
			VersionQuery
		},
		) (*none, error) {
			return done(d.Till.Discard(ctx, by(ctx), in.Cart, in.Version))
		})
	d.lineRoutes()
	add(d, d.route(user, http.MethodPost, "/carts/{cart}/park", "park", "Put an order aside, for any screen of this register", changing...),
		func(ctx context.Context, in *struct {
			CartPath
			Body struct {
				Versioned
				Name string `json:"name,omitempty" maxLength:"100"`
			}
		},
		) (*body[till.Cart], error) {
			return answer(d.Till.Park(ctx, by(ctx), in.Cart, in.Body.Version, in.Body.Name))
		})
	add(d, d.route(user, http.MethodPost, "/carts/{cart}/take-up", "take-up", "Take a parked order up", changing...),
		func(ctx context.Context, in *struct {
			CartPath
			Body Versioned
		},
		) (*body[till.Cart], error) {
			return answer(d.Till.TakeUp(ctx, by(ctx), in.Cart, in.Body.Version))
		})
	add(d, d.route(user, http.MethodPost, "/carts/{cart}/payments", "add-payment", "Add a tender", changing...),
		func(ctx context.Context, in *struct {
			CartPath
			Body struct {
				Versioned
				PaymentRequest
			}
		},
		) (*body[till.Cart], error) {
			return answer(d.Till.AddPayment(ctx, by(ctx), in.Cart, in.Body.Version, in.Body.of()))
		})
	add(d, d.route(user, http.MethodDelete, "/carts/{cart}/payments/{payment}", "remove-payment", "Take a tender back before the order is validated", changing...),
		func(ctx context.Context, in *struct {
			CartPath
			Payment string `path:"payment" maxLength:"64"`
			VersionQuery
		},
		) (*body[till.Cart], error) {
			return answer(d.Till.RemovePayment(ctx, by(ctx), in.Cart, in.Version, in.Payment))
		})
	add(d, d.route(user, http.MethodPost, "/carts/{cart}/validate", "validate", "Sell it: answered when the order is durable; asked again, it is the same order", changing...),
		func(ctx context.Context, in *struct {
			CartPath
			Body Versioned
		},
		) (*body[till.Sold], error) {
			return answer(d.Till.Validate(ctx, by(ctx), in.Cart, in.Body.Version))
		})
}

func (d *Door) lineRoutes() {
	add(d, d.route(user, http.MethodPost, "/carts/{cart}/lines", "add-line", "Add a product, by id, code or barcode", approving...),
		func(ctx context.Context, in *struct {
			CartPath
			Body struct {
				Versioned
				LineRequest
				WithReason
			}
		},
		) (*body[till.Cart], error) {
			r := in.Body.of()
			r.Reason, r.Approval = in.Body.Reason, in.Body.Approval.of()
			return answer(d.Till.AddLine(ctx, by(ctx), in.Cart, in.Body.Version, r))
		})
	add(d, d.route(user, http.MethodPatch, "/carts/{cart}/lines/{line}", "change-line", "Quantity, price, discount or note of a line", approving...),
		func(ctx context.Context, in *struct {
			LinePath
			Body struct {
				Versioned
				Qty      *money.Qty       `json:"qty,omitempty" minimum:"-1000000000" maximum:"1000000000"`
				Price    *money.Price     `json:"price,omitempty" minimum:"0"`
				Discount *discountRequest `json:"discount,omitempty"`
				Note     *string          `json:"note,omitempty" maxLength:"200"`
				WithReason
			}
		},
		) (*body[till.Cart], error) {
			b := in.Body
			return answer(d.Till.ChangeLine(ctx, by(ctx), in.Cart, b.Version, in.Line, till.LineChange{
				Qty: b.Qty, Price: b.Price, Discount: b.Discount.of(), Note: b.Note, Reason: b.Reason, Approval: b.Approval.of(),
			}))
		})
	add(d, d.route(user, http.MethodDelete, "/carts/{cart}/lines/{line}", "void-line", "Take a line out; that is an entry of the journal", changing...),
		func(ctx context.Context, in *struct {
			LinePath
			VersionQuery
		},
		) (*body[till.Cart], error) {
			return answer(d.Till.VoidLine(ctx, by(ctx), in.Cart, in.Version, in.Line))
		})
}
