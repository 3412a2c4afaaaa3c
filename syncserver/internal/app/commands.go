package app

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"tillandsia/shared/catalogue"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/syncserver/internal/audit"
	"tillandsia/syncserver/internal/export"
	"tillandsia/syncserver/internal/ledger"
	"tillandsia/syncserver/internal/setup"
	"tillandsia/syncserver/internal/staff"
	"tillandsia/syncserver/internal/store"
)

// operator is who the audit log names for what is done on the command line.
var operator = staff.Actor{User: "operator", Name: "Operator", Role: catalogue.RoleAdmin, Remote: "command line"}

func version(_ context.Context, c *call) (int, error) {
	_, err := fmt.Fprintln(c.Out, "syncserver", Version)
	return exitOK, err
}

func auditCommand(ctx context.Context, c *call) (int, error) {
	if err := c.parse(0); err != nil {
		return exitUsage, err
	}
	report, err := audit.Run(ctx, c.conf.database())
	if err != nil {
		return exitFailed, fmt.Errorf("audit: %w", err)
	}
	if err := report.Write(c.Out); err != nil {
		return exitFailed, err
	}
	if report.Breached() {
		return exitFailed, nil
	}
	return exitOK, nil
}

func companyCommand(ctx context.Context, c *call) (int, error) {
	name := c.flags.String("name", "", "new `name`")
	currency := c.flags.String("currency", "", "new currency `code` (before the first session)")
	return c.with(ctx, 0, func(p *parts) error {
		company, err := p.setup.Company(ctx)
		if err != nil {
			return err
		}
		if *name != "" || *currency != "" {
			if *name != "" {
				company.Name = *name
			}
			if *currency != "" {
				company.Currency = money.Currency{Code: *currency}
			}
			if err := p.setup.PutCompany(ctx, operator, company); err != nil {
				return err
			}
			if company, err = p.setup.Company(ctx); err != nil {
				return err
			}
		}
		return c.print(company)
	})
}

func importCommand(ctx context.Context, c *call) (int, error) {
	dryRun := c.flags.Bool("dry-run", false, "only say what would change")
	return c.with(ctx, 2, func(p *parts) error {
		if c.args[0] != "products" {
			return message.New(message.Invalid, "app.import_what", "what", c.args[0])
		}
		data, err := os.ReadFile(c.args[1])
		if err != nil {
			return message.New(message.Invalid, "app.file", "file", c.args[1]).Wrap(err)
		}
		result, err := p.setup.ImportProducts(ctx, operator, data, *dryRun)
		if err != nil {
			return err
		}
		for _, row := range result.Errors {
			fmt.Fprintf(c.Err, "row %d: %s\n", row.Row, row.Message)
		}
		fmt.Fprintf(c.Out, "%d new, %d changed, %d unchanged, %d rows with errors\n", result.New, result.Changed, result.Unchanged, len(result.Errors))
		if len(result.Errors) > 0 {
			return message.New(message.Invalid, "app.import_refused")
		}
		return nil
	})
}

func addPointOfSale(ctx context.Context, c *call) (int, error) {
	name := c.flags.String("name", "", "`name`")
	zone := c.flags.String("zone", "Europe/Berlin", "IANA time `zone`")
	methods := c.flags.String("methods", setup.MethodCash+","+setup.MethodCard+","+setup.MethodPayLater, "payment `methods`")
	control := c.flags.Bool("cash-control", true, "count the drawer when opening and closing")
	largest := c.flags.String("max-difference", "10.00", "largest difference a cashier may close with")
	rounding := c.flags.String("cash-rounding", "0", "smallest coin, such as 0.05")
	return c.with(ctx, 1, func(p *parts) error {
		company, err := p.setup.Company(ctx)
		if err != nil {
			return err
		}
		difference, err := money.ParseAmount(*largest, company.Currency)
		if err != nil {
			return message.New(message.Invalid, "app.amount", "amount", *largest).Wrap(err)
		}
		coin, err := money.ParseAmount(*rounding, company.Currency)
		if err != nil {
			return message.New(message.Invalid, "app.amount", "amount", *rounding).Wrap(err)
		}
		return p.setup.CreatePointOfSale(ctx, operator, catalogue.Settings{
			Code: c.args[0], Name: *name, TimeZone: *zone, Methods: strings.Split(*methods, ","),
			CashControl: *control, MaxDifference: difference, CashRounding: coin, Active: true,
		})
	})
}

func addRegister(ctx context.Context, c *call) (int, error) {
	name := c.flags.String("name", "", "`name`")
	drawer := c.flags.Bool("drawer", true, "it has a cash drawer of its own")
	return c.with(ctx, 2, func(p *parts) error {
		_, err := p.setup.CreateRegister(ctx, operator, c.args[0], c.args[1], *name, *drawer)
		return err
	})
}

// registerNamed finds a register by the code that people know it by.
func registerNamed(ctx context.Context, p *parts, pointOfSale, code string) (store.Register, error) {
	registers, err := p.ledger.Registers(ctx, pointOfSale)
	if err != nil {
		return store.Register{}, err
	}
	for _, r := range registers {
		if r.Code == code {
			return r, nil
		}
	}
	return store.Register{}, message.New(message.NotFound, "app.no_such_register", "register", code, "pos", pointOfSale)
}

func ledgerActor(by staff.Actor) ledger.Actor {
	return ledger.Actor{User: by.User, Name: by.Name, Role: string(by.Role), Remote: by.Remote}
}

func pairRegister(ctx context.Context, c *call) (int, error) {
	return c.with(ctx, 2, func(p *parts) error {
		r, err := registerNamed(ctx, p, c.args[0], c.args[1])
		if err != nil {
			return err
		}
		pairing, err := p.ledger.NewPairing(ctx, ledgerActor(operator), r.PointOfSale, r.ID)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.Out, "%s valid until %s\n", pairing.Code, pairing.Expires.Format(time.RFC3339))
		return err
	})
}

func revokeRegister(ctx context.Context, c *call) (int, error) {
	return c.with(ctx, 2, func(p *parts) error {
		r, err := registerNamed(ctx, p, c.args[0], c.args[1])
		if err != nil {
			return err
		}
		return p.ledger.Revoke(ctx, ledgerActor(operator), r.PointOfSale, r.ID)
	})
}

func addTax(ctx context.Context, c *call) (int, error) {
	name := c.flags.String("name", "", "`name`; the code if empty")
	included := c.flags.Bool("included", false, "prices include it")
	account := c.flags.String("account", "", "`account`; the company's if empty")
	return c.with(ctx, 2, func(p *parts) error {
		rate, err := money.ParseRate(c.args[1])
		if err != nil {
			return message.New(message.Invalid, "app.rate", "rate", c.args[1]).Wrap(err)
		}
		tax := catalogue.Tax{Code: c.args[0], Name: *name, Rate: rate, Included: *included, Account: *account}
		if tax.Name == "" {
			tax.Name = tax.Code
		}
		body, err := json.Marshal(tax)
		if err != nil {
			return err
		}
		_, err = p.setup.PutThing(ctx, operator, catalogue.KindTax, "", body)
		return err
	})
}

func addUser(ctx context.Context, c *call) (int, error) {
	name := c.flags.String("name", "", "`name`")
	role := c.flags.String("role", string(catalogue.RoleCashier), "cashier, manager or admin")
	points := c.flags.String("pos", "", "codes of points of `sale`, separated by commas")
	pin := c.flags.String("pin", "", "`PIN` for the till (visible to other users of this machine: prefer -secrets)")
	read := c.flags.Bool("secrets", false, "read the PIN and the password, a line each, from standard input")
	return c.with(ctx, 1, func(p *parts) error {
		change := staff.Change{Login: &c.args[0], Name: name, PIN: pin}
		userRole := catalogue.Role(*role)
		change.Role = &userRole
		if *points != "" {
			codes := strings.Split(*points, ",")
			change.Points = &codes
		}
		if *read {
			lines := bufio.NewScanner(c.In)
			for _, into := range []**string{&change.PIN, &change.Password} {
				if !lines.Scan() {
					return errors.Join(message.New(message.Invalid, "app.secrets"), lines.Err())
				}
				line := lines.Text()
				*into = &line
			}
		}
		_, err := p.staff.Create(ctx, operator, change)
		return err
	})
}

func exportCommand(ctx context.Context, c *call) (int, error) {
	from := c.flags.String("from", "", "first `date`, YYYY-MM-DD")
	to := c.flags.String("to", "", "last `date`")
	point := c.flags.String("pos", "", "`code` of a point of sale; all if empty")
	return c.with(ctx, 1, func(p *parts) error {
		write, ok := export.Formats[c.args[0]]
		if !ok {
			return message.New(message.Invalid, "app.export_format", "format", c.args[0])
		}
		filter := store.PostingFilter{From: *from, To: *to}
		if *point != "" {
			filter.PointsOfSale = []string{*point}
		}
		postings, err := export.Read(ctx, p.store, filter)
		if err != nil {
			return err
		}
		return write(c.Out, postings)
	})
}

func (c *call) print(v any) error {
	enc := json.NewEncoder(c.Out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
