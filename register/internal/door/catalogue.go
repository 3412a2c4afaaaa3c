package door

import (
	"context"
	"net/http"
	"strings"

	cache "tillandsia/register/internal/catalogue"
	"tillandsia/register/internal/till"
	"tillandsia/shared/catalogue"
	"tillandsia/shared/money"
)

type productInfo struct {
	ID string `json:"id"`
	catalogue.Product
}

type categoryInfo struct {
	ID string `json:"id"`
	catalogue.Category
}

type customerInfo struct {
	ID string `json:"id"`
	catalogue.Customer
}

type methodInfo struct {
	ID string `json:"id"`
	catalogue.Method
}

type reasonInfo struct {
	ID string `json:"id"`
	catalogue.Reason
}

type taxInfo struct {
	ID string `json:"id"`
	catalogue.Tax
}

type shelf struct {
	Revision   uint64         `json:"revision"`
	Company    string         `json:"company"`
	Currency   money.Currency `json:"currency"`
	Products   int            `json:"products" doc:"Number of products"`
	Categories []categoryInfo `json:"categories"`
	Taxes      []taxInfo      `json:"taxes"`
	Methods    []methodInfo   `json:"methods"`
	Reasons    []reasonInfo   `json:"reasons"`
}

type productsQuery struct {
	Query    string `query:"q" maxLength:"100" doc:"Words of name, code or barcode"`
	Category string `query:"category" maxLength:"64" doc:"Without q: products of this category"`
	Offset   int    `query:"offset" minimum:"0" maximum:"10000000"`
	Limit    int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type customersQuery struct {
	Query string `query:"q" maxLength:"100"`
	Limit int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

func (d *Door) catalogueRoutes() {
	add(d, d.route(reader, http.MethodGet, "/catalogue", "catalogue", "Categories, taxes, payment methods and reasons, as the server sent them last"),
		func(context.Context, *struct{}) (*body[shelf], error) {
			return answer(shelfOf(d.Catalogue.View()), nil)
		})
	add(d, d.route(reader, http.MethodGet, "/products", "products", "Search products, or list those of a category", http.StatusUnprocessableEntity),
		func(_ context.Context, in *productsQuery) (*body[[]productInfo], error) {
			view := d.Catalogue.View()
			found := view.ProductsIn(in.Category, in.Offset, in.Limit)
			if q := strings.TrimSpace(in.Query); q != "" {
				found = view.Search(q, in.Limit)
			}
			list := []productInfo{}
			for _, p := range found {
				list = append(list, productInfo{p.ID, p.Product})
			}
			return answer(list, nil)
		})
	add(d, d.route(reader, http.MethodGet, "/products/{product}", "product", "A product by its id", http.StatusNotFound),
		func(_ context.Context, in *struct {
			Product string `path:"product" maxLength:"64"`
		},
		) (*body[productInfo], error) {
			p, ok := d.Catalogue.View().Product(in.Product)
			if !ok {
				return nil, till.ErrNoProduct
			}
			return answer(productInfo{p.ID, p.Product}, nil)
		})
	add(d, d.route(reader, http.MethodGet, "/customers", "customers", "Search customers", http.StatusUnprocessableEntity),
		func(_ context.Context, in *customersQuery) (*body[[]customerInfo], error) {
			list := []customerInfo{}
			for _, c := range d.Catalogue.View().SearchCustomers(in.Query, in.Limit) {
				list = append(list, customerInfo{c.ID, c.Customer})
			}
			return answer(list, nil)
		})
}

func shelfOf(view *cache.View) shelf {
	_, revision := view.Revision()
	company, _ := view.Company() // empty before the first catalogue
	s := shelf{
		Revision: revision, Company: company.Name, Currency: company.Currency, Products: view.ProductCount(),
		Categories: []categoryInfo{}, Taxes: []taxInfo{}, Methods: []methodInfo{}, Reasons: []reasonInfo{},
	}
	for _, c := range view.Categories() {
		s.Categories = append(s.Categories, categoryInfo{c.ID, c.Category})
	}
	for _, t := range view.Taxes() {
		s.Taxes = append(s.Taxes, taxInfo{t.ID, t.Tax})
	}
	for _, m := range view.Methods() {
		s.Methods = append(s.Methods, methodInfo{m.ID, m.Method})
	}
	for _, r := range view.Reasons() {
		s.Reasons = append(s.Reasons, reasonInfo{r.ID, r.Reason})
	}
	return s
}
