package door

import (
	"context"
	"net/http"

	"tillandsia/register/internal/till"
	"tillandsia/shared/money"
)

func (d *Door) cashRoutes() {
	add(d, created(d.route(user, http.MethodPost, "/moves", "move-cash", "Put cash into the drawer or take some out, with a reason; between sessions too", changing...)),
		func(ctx context.Context, in *struct {
			Body struct {
				ID     string       `json:"id,omitempty" maxLength:"26" doc:"A ULID: sent again, it moves once"`
				Amount money.Amount `json:"amount" doc:"Above 0 in, below 0 out"`
				Reason string       `json:"reason,omitempty" maxLength:"64" doc:"Id of a reason; a drop goes to the safe without one"`
				Drop   bool         `json:"drop,omitempty"`
				Note   string       `json:"note,omitempty" maxLength:"500"`
			}
		},
		) (*body[till.Moved], error) {
			b := in.Body
			return answer(d.Till.Move(ctx, by(ctx), till.MoveRequest{ID: b.ID, Amount: b.Amount, Reason: b.Reason, Drop: b.Drop, Note: b.Note}))
		})
	add(d, d.route(user, http.MethodPost, "/drawer-openings", "open-drawer", "Open the drawer without a sale, by approval", approving...),
		func(ctx context.Context, in *struct{ Body WithReason }) (*none, error) {
			return done(d.Till.OpenDrawer(ctx, by(ctx), in.Body.Reason, in.Body.Approval.of()))
		})
	add(d, created(d.route(user, http.MethodPost, "/receipts", "receive-debt", "Take money for what a customer was to pay later", changing...)),
		func(ctx context.Context, in *struct {
			Body struct {
				ID       string           `json:"id,omitempty" maxLength:"26" doc:"A ULID: sent again, it is received once"`
				Customer string           `json:"customer" maxLength:"64"`
				Amount   money.Amount     `json:"amount" minimum:"1"`
				Payments []PaymentRequest `json:"payments" minItems:"1" maxItems:"20"`
			}
		},
		) (*body[till.Received], error) {
			r := till.DebtRequest{ID: in.Body.ID, Customer: in.Body.Customer, Amount: in.Body.Amount}
			for _, p := range in.Body.Payments {
				r.Payments = append(r.Payments, p.of())
			}
			return answer(d.Till.ReceiveDebt(ctx, by(ctx), r))
		})
}
