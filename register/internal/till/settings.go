package till

import (
	"encoding/json"
	"fmt"
	"time"

	"tillandsia/register/internal/catalogue"
	"tillandsia/register/internal/journal"
	shared "tillandsia/shared/catalogue"
	"tillandsia/shared/entry"
	"tillandsia/shared/message"
	"tillandsia/shared/money"
	"tillandsia/shared/pos"
)

// ErrNoCatalogue is returned while nothing was heard from the server yet.
var ErrNoCatalogue = message.New(message.Conflict, "till.no_catalogue")

// Settings are those that a register sells by, taken when it opens or joins a
// session and kept in the journal: what is changed centrally takes effect at
// the next opening. Prices and products are not among them.
type Settings struct {
	Rules         money.Rules     `json:"rules"`
	Taxes         []money.Tax     `json:"taxes"`
	MaxDifference money.Amount    `json:"max_difference"`
	MaxDiscount   money.Rate      `json:"max_discount"`
	DropAbove     money.Amount    `json:"drop_above,omitempty"`
	Denominations []money.Amount  `json:"denominations,omitempty"`
	Accounts      shared.Accounts `json:"accounts"`
	Catalogue     uint64          `json:"catalogue"`
}

// terms is what an opening or joining begins with.
type terms struct {
	settings    Settings
	methods     []pos.Method
	cashMethod  *pos.Method
	drawer      bool
	cashControl bool
	date        string
}

// termsOf takes the settings as the catalogue holds them now.
func termsOf(view *catalogue.View, now time.Time) (terms, error) {
	company, ok := view.Company()
	if !ok {
		return terms{}, ErrNoCatalogue
	}
	settings, ok := view.Settings()
	if !ok {
		return terms{}, ErrNoCatalogue
	}
	register, ok := view.Register()
	if !ok {
		return terms{}, ErrNoCatalogue
	}
	_, revision := view.Revision()
	t := terms{
		settings: Settings{
			Rules: money.Rules{
				Currency: company.Currency, TaxPerLine: company.TaxPerLine, CashRounding: settings.CashRounding,
			},
			Taxes: []money.Tax{}, MaxDifference: settings.MaxDifference, MaxDiscount: settings.MaxDiscount,
			DropAbove: settings.DropAbove, Denominations: settings.Denominations, Accounts: company.Accounts,
			Catalogue: revision,
		},
		methods: []pos.Method{}, drawer: register.Drawer, cashControl: settings.CashControl,
		date: businessDate(now, settings.TimeZone, settings.CutOff),
	}
	for _, tax := range view.Taxes() {
		t.settings.Taxes = append(t.settings.Taxes, taxOf(tax, company.Accounts))
	}
	for _, m := range view.Methods() {
		if m.Kind == pos.MethodCash && !t.drawer {
			continue
		}
		method := pos.Method{ID: m.ID, Name: m.Name, Kind: m.Kind, Account: m.Account}
		if method.Kind == pos.MethodPayLater && method.Account == "" {
			method.Account = company.Accounts.Receivable
		}
		t.methods = append(t.methods, method)
		if method.Kind == pos.MethodCash && t.cashMethod == nil {
			t.cashMethod = &t.methods[len(t.methods)-1]
		}
	}
	if t.cashMethod == nil {
		t.drawer = false
	} else {
		cash := *t.cashMethod
		t.cashMethod = &cash
	}
	return t, nil
}

func taxOf(tax catalogue.Tax, accounts shared.Accounts) money.Tax {
	account := tax.Account
	if account == "" {
		account = accounts.Tax
	}
	return money.Tax{ID: tax.ID, Name: tax.Name, Rate: tax.Rate, Included: tax.Included, Account: account}
}

// cashID is the id of the cash method, empty without a drawer.
func (t *terms) cashID() string {
	if !t.drawer {
		return ""
	}
	return t.cashMethod.ID
}

// businessDate returns the day that a shop counts a moment to: until the
// cut-off, in minutes after midnight, the day before goes on. An unknown zone
// counts as UTC: opening is never refused for it.
func businessDate(now time.Time, zone string, cutOff int) string {
	local := now.UTC()
	if location, err := time.LoadLocation(zone); err == nil {
		local = now.In(location)
	}
	day := local.Day()
	if local.Hour()*60+local.Minute() < cutOff {
		day--
	}
	return time.Date(local.Year(), local.Month(), day, 12, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

// parsedSettings keeps the last settings decoded, by their text.
type parsedSettings struct {
	text     string
	settings Settings
}

// applied returns the settings that the register sells by.
func (t *Till) applied(tx *journal.Tx) (*Settings, error) {
	event, found, err := tx.Settings()
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	if !found {
		return nil, ErrNoCatalogue
	}
	if p := t.settings.Load(); p != nil && p.text == event.Detail {
		return &p.settings, nil
	}
	p := &parsedSettings{text: event.Detail}
	if err := json.Unmarshal([]byte(event.Detail), &p.settings); err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	t.settings.Store(p)
	return &p.settings, nil
}

// apply journals the settings that an opening or joining took.
func (t *Till) apply(tx *journal.Tx, stamp *pos.Stamp, by pos.Person, s *Settings) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode settings: %w", err)
	}
	_, err = tx.Add(entry.KindSettingsApplied, t.newID(), pos.Event{Session: stamp, User: &by, Detail: string(text)})
	return err
}
