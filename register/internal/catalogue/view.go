package catalogue

import (
	"cmp"
	"encoding/json"
	"hash/maphash"
	"maps"
	"slices"
	"strings"

	"tillandsia/shared/catalogue"
)

// A thing of a kind with its id.
type (
	// Product is a product with its id.
	Product struct {
		ID string
		catalogue.Product
	}
	// Category is a category with its id.
	Category struct {
		ID string
		catalogue.Category
	}
	// Tax is a tax with its id.
	Tax struct {
		ID string
		catalogue.Tax
	}
	// Method is a payment method with its id.
	Method struct {
		ID string
		catalogue.Method
	}
	// Reason is a reason for a cash move with its id.
	Reason struct {
		ID string
		catalogue.Reason
	}
	// Customer is a customer with its id.
	Customer struct {
		ID string
		catalogue.Customer
	}
	// User is a user with its id; PIN is the verifier in the clear, in memory
	// only.
	User struct {
		ID string
		catalogue.User
	}
)

// thing is a thing decoded; body is a pointer to its type above, nil for a
// kind that is not known here.
type thing struct {
	kind     catalogue.Kind
	id       string
	revision uint64
	deleted  bool
	body     any
}

func (t *thing) decode(body json.RawMessage, pin string) (err error) {
	switch t.kind {
	case catalogue.KindCompany:
		t.body, err = decoded[catalogue.Company](body)
	case catalogue.KindSettings:
		t.body, err = decoded[catalogue.Settings](body)
	case catalogue.KindRegister:
		t.body, err = decoded[catalogue.Register](body)
	case catalogue.KindProduct:
		p := &Product{ID: t.id}
		t.body, err = p, json.Unmarshal(body, &p.Product)
	case catalogue.KindCategory:
		c := &Category{ID: t.id}
		t.body, err = c, json.Unmarshal(body, &c.Category)
	case catalogue.KindTax:
		x := &Tax{ID: t.id}
		t.body, err = x, json.Unmarshal(body, &x.Tax)
	case catalogue.KindMethod:
		m := &Method{ID: t.id}
		t.body, err = m, json.Unmarshal(body, &m.Method)
	case catalogue.KindReason:
		r := &Reason{ID: t.id}
		t.body, err = r, json.Unmarshal(body, &r.Reason)
	case catalogue.KindCustomer:
		c := &Customer{ID: t.id}
		t.body, err = c, json.Unmarshal(body, &c.Customer)
	case catalogue.KindUser:
		u := &User{ID: t.id}
		t.body, err = u, json.Unmarshal(body, &u.User)
		if pin != "" {
			u.PIN = pin
		}
	}
	return err
}

func decoded[T any](body json.RawMessage) (*T, error) {
	v := new(T)
	return v, json.Unmarshal(body, v)
}

// shards of a table: with 100,000 products a change copies 100 entries.
const shards = 1024

var seed = maphash.MakeSeed()

// table is a map that is copied on write, a shard at a time.
type table[V any] struct{ shard [shards]map[string]V }

func shardOf(key string) int { return int(maphash.String(seed, key) % shards) }

func (t *table[V]) get(key string) (V, bool) {
	v, ok := t.shard[shardOf(key)][key]
	return v, ok
}

// change is a copy of a table that is being changed.
type change[V any] struct {
	table[V]
	own [shards]bool
}

func (t *table[V]) change() *change[V] { return &change[V]{table: *t} }

func (c *change[V]) set(key string, v V) { c.mine(key)[key] = v }

func (c *change[V]) remove(key string) { delete(c.mine(key), key) }

func (c *change[V]) mine(key string) map[string]V {
	i := shardOf(key)
	if !c.own[i] {
		c.own[i] = true
		if c.shard[i] = maps.Clone(c.shard[i]); c.shard[i] == nil {
			c.shard[i] = map[string]V{}
		}
	}
	return c.shard[i]
}

// item is an active product as it is searched: in lower case, made once.
type item struct {
	p        *Product
	name     string
	code     string
	haystack string // name, code, barcodes
	marks    marks
}

// marks are the pairs of neighbouring bytes that a string holds, hashed into
// 256 bits. What does not have all marks of a word does not hold it: a scan
// over 100,000 products reads one array and few haystacks.
type marks [4]uint64

func marksOf(s string) (m marks) {
	for i := 1; i < len(s); i++ {
		h := uint32(s[i-1])*0x9e3779b1 ^ uint32(s[i])*0x85ebca6b
		h ^= h >> 15
		m[h>>6&3] |= 1 << (h & 63)
	}
	return m
}

func (m *marks) holds(o *marks) bool {
	return m[0]&o[0] == o[0] && m[1]&o[1] == o[1] && m[2]&o[2] == o[2] && m[3]&o[3] == o[3]
}

func newItem(p *Product) *item {
	it := &item{p: p, name: strings.ToLower(p.Name), code: strings.ToLower(p.Code)}
	it.haystack = strings.Join(append([]string{it.name, it.code}, lower(p.Barcodes)...), "\n")
	it.marks = marksOf(it.haystack)
	return it
}

func lower(all []string) []string {
	l := make([]string, 0, len(all))
	for _, s := range all {
		l = append(l, strings.ToLower(s))
	}
	return l
}

func byName(a, b *item) int {
	return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.p.ID, b.p.ID))
}

func byCode(a, b *item) int {
	return cmp.Or(strings.Compare(a.code, b.code), strings.Compare(a.p.ID, b.p.ID))
}

// person is a customer as it is searched.
type person struct {
	c        *Customer
	name     string
	haystack string
}

func newPerson(c *Customer) *person {
	name := strings.ToLower(c.Name)
	return &person{c: c, name: name, haystack: strings.ToLower(strings.Join([]string{c.Name, c.Phone, c.Email, c.TaxID}, "\n"))}
}

func byPerson(a, b *person) int {
	return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.c.ID, b.c.ID))
}

// View is an immutable state of the catalogue, with its indexes. A change
// makes another that shares with it what did not change.
type View struct {
	pointOfSale, register string
	handle                string
	revision              uint64

	company    *catalogue.Company
	settings   map[string]*catalogue.Settings
	registers  map[string]*catalogue.Register
	categories map[string]*Category
	taxes      map[string]*Tax
	methods    map[string]*Method
	reasons    map[string]*Reason
	users      map[string]*User

	products  table[*Product] // all, by id
	codes     table[[]*item]  // active ones, by code in lower case
	barcodes  table[[]*item]
	named     []*item // active ones, by name
	marks     []marks // of named
	coded     []*item // active ones with a code, by code
	inside    map[string][]*item
	customers table[*person]
	people    []*person
}

// manyChanges is how many changes of one kind make a sort cheaper than
// putting each in its place.
const manyChanges = 64

func newView(pointOfSale, register, handle string, revision uint64, things []thing) *View {
	v := &View{pointOfSale: pointOfSale, register: register}
	return v.with(handle, revision, things)
}

// with returns the view after changes.
func (v *View) with(handle string, revision uint64, things []thing) *View {
	n := *v
	n.handle, n.revision = handle, revision
	b := builder{v: &n, own: map[catalogue.Kind]bool{}, in: map[string]*item{}, come: map[string]*person{}}
	for _, t := range things {
		b.take(t)
	}
	b.finish()
	return &n
}

// builder changes a copy of a view.
type builder struct {
	v         *View
	own       map[catalogue.Kind]bool // small maps that were copied
	products  *change[*Product]
	codes     *change[[]*item]
	barcodes  *change[[]*item]
	customers *change[*person]
	out       []*item
	in        map[string]*item // by id
	left      []*person
	come      map[string]*person // by id
}

// put changes one of the small maps, copied at the first change.
func put[V any](b *builder, kind catalogue.Kind, m *map[string]V, t thing) {
	if !b.own[kind] {
		b.own[kind] = true
		if *m = maps.Clone(*m); *m == nil {
			*m = map[string]V{}
		}
	}
	if v, ok := t.body.(V); ok && !t.deleted {
		(*m)[t.id] = v
	} else {
		delete(*m, t.id)
	}
}

func (b *builder) take(t thing) {
	v := b.v
	switch t.kind {
	case catalogue.KindCompany:
		v.company, _ = t.body.(*catalogue.Company)
	case catalogue.KindSettings:
		put(b, t.kind, &v.settings, t)
	case catalogue.KindRegister:
		put(b, t.kind, &v.registers, t)
	case catalogue.KindCategory:
		put(b, t.kind, &v.categories, t)
	case catalogue.KindTax:
		put(b, t.kind, &v.taxes, t)
	case catalogue.KindMethod:
		put(b, t.kind, &v.methods, t)
	case catalogue.KindReason:
		put(b, t.kind, &v.reasons, t)
	case catalogue.KindUser:
		put(b, t.kind, &v.users, t)
	case catalogue.KindProduct:
		b.product(t)
	case catalogue.KindCustomer:
		b.customer(t)
	}
}

func (b *builder) product(t thing) {
	if b.products == nil {
		b.products, b.codes, b.barcodes = b.v.products.change(), b.v.codes.change(), b.v.barcodes.change()
	}
	if old, ok := b.products.get(t.id); ok {
		b.products.remove(t.id)
		if old.Active {
			it := newItem(old)
			if b.in[old.ID] != nil {
				delete(b.in, old.ID) // changed twice on one page
			} else {
				b.out = append(b.out, it)
			}
			unindex(b.codes, []string{it.code}, old.ID)
			unindex(b.barcodes, lower(old.Barcodes), old.ID)
		}
	}
	p, ok := t.body.(*Product)
	if !ok || t.deleted {
		return
	}
	b.products.set(p.ID, p)
	if p.Active {
		it := newItem(p)
		b.in[p.ID] = it
		index(b.codes, []string{it.code}, it)
		index(b.barcodes, lower(p.Barcodes), it)
	}
}

// index adds an item to the lists of its keys, which are short and by id.
func index(c *change[[]*item], keys []string, it *item) {
	for _, key := range keys {
		if key == "" {
			continue
		}
		list, _ := c.get(key)
		list = append(slices.Clone(list), it)
		slices.SortFunc(list, func(a, b *item) int { return strings.Compare(a.p.ID, b.p.ID) })
		c.set(key, list)
	}
}

func unindex(c *change[[]*item], keys []string, id string) {
	for _, key := range keys {
		list, ok := c.get(key)
		if !ok {
			continue
		}
		list = slices.DeleteFunc(slices.Clone(list), func(it *item) bool { return it.p.ID == id })
		if len(list) == 0 {
			c.remove(key)
		} else {
			c.set(key, list)
		}
	}
}

func (b *builder) customer(t thing) {
	if b.customers == nil {
		b.customers = b.v.customers.change()
	}
	if old, ok := b.customers.get(t.id); ok {
		b.customers.remove(t.id)
		if b.come[t.id] != nil {
			delete(b.come, t.id)
		} else {
			b.left = append(b.left, old)
		}
	}
	if c, ok := t.body.(*Customer); ok && !t.deleted {
		p := newPerson(c)
		b.customers.set(c.ID, p)
		b.come[c.ID] = p
	}
}

func (b *builder) finish() {
	v := b.v
	if b.products != nil {
		v.products, v.codes, v.barcodes = b.products.table, b.codes.table, b.barcodes.table
		in := slices.Collect(maps.Values(b.in))
		v.named = resort(v.named, b.out, in, byName)
		v.marks = make([]marks, len(v.named))
		for i, it := range v.named {
			v.marks[i] = it.marks
		}
		withCode := func(all []*item) []*item {
			return slices.DeleteFunc(slices.Clone(all), func(it *item) bool { return it.code == "" })
		}
		v.coded = resort(v.coded, withCode(b.out), withCode(in), byCode)
		if v.inside = maps.Clone(v.inside); v.inside == nil {
			v.inside = map[string][]*item{}
		}
		gone, come := inCategories(b.out), inCategories(in)
		for category, items := range gone {
			v.inside[category] = resort(v.inside[category], items, come[category], byName)
		}
		for category, items := range come {
			if gone[category] == nil {
				v.inside[category] = resort(v.inside[category], nil, items, byName)
			}
		}
	}
	if b.customers != nil {
		v.customers = b.customers.table
		v.people = resort(v.people, b.left, slices.Collect(maps.Values(b.come)), byPerson)
	}
}

func inCategories(items []*item) map[string][]*item {
	m := map[string][]*item{}
	for _, it := range items {
		m[it.p.Category] = append(m[it.p.Category], it)
	}
	return m
}

// resort returns a sorted list without some and with others.
func resort[T any](list, out, in []T, order func(a, b T) int) []T {
	gone := func(all []T, t T) []T {
		if i, found := slices.BinarySearchFunc(all, t, order); found {
			return slices.Delete(all, i, i+1)
		}
		return all
	}
	list = slices.Clone(list)
	if len(out)+len(in) < manyChanges {
		for _, t := range out {
			list = gone(list, t)
		}
		for _, t := range in {
			i, found := slices.BinarySearchFunc(list, t, order)
			if found {
				list[i] = t
			} else {
				list = slices.Insert(list, i, t)
			}
		}
		return list
	}
	drop := slices.Clone(out)
	slices.SortFunc(drop, order)
	list = slices.DeleteFunc(list, func(t T) bool {
		_, found := slices.BinarySearchFunc(drop, t, order)
		return found
	})
	list = append(list, in...)
	slices.SortFunc(list, order)
	return list
}

// Revision returns the handle and revision of this state.
func (v *View) Revision() (handle string, revision uint64) { return v.handle, v.revision }

// Company returns the company; ok is false before the first snapshot.
func (v *View) Company() (catalogue.Company, bool) { return value(v.company) }

// Settings returns those of the register's point of sale.
func (v *View) Settings() (catalogue.Settings, bool) { return value(v.settings[v.pointOfSale]) }

// Register returns the register as the server knows it.
func (v *View) Register() (catalogue.Register, bool) { return value(v.registers[v.register]) }

func value[T any](p *T) (T, bool) {
	if p == nil {
		var zero T
		return zero, false
	}
	return *p, true
}

// Product returns a product by id, active or not.
func (v *View) Product(id string) (Product, bool) {
	p, _ := v.products.get(id)
	return value(p)
}

// ProductByCode returns the active product with a code, without case; of
// several the one with the lowest id.
func (v *View) ProductByCode(code string) (Product, bool) { return first(&v.codes, code) }

// ProductByBarcode returns the active product with a barcode.
func (v *View) ProductByBarcode(barcode string) (Product, bool) { return first(&v.barcodes, barcode) }

func first(t *table[[]*item], key string) (Product, bool) {
	list, _ := t.get(strings.ToLower(key))
	if len(list) == 0 {
		return Product{}, false
	}
	return *list[0].p, true
}

// ProductsIn returns active products of a category ("" those of none), by
// name, from an offset, at most limit.
func (v *View) ProductsIn(category string, offset, limit int) []Product {
	list := v.inside[category]
	from := min(max(offset, 0), len(list))
	return products(list[from:min(from+max(limit, 0), len(list))])
}

func products(items []*item) []Product {
	all := make([]Product, 0, len(items))
	for _, it := range items {
		all = append(all, *it.p)
	}
	return all
}

// ProductCount returns the number of active products.
func (v *View) ProductCount() int { return len(v.named) }

func sorted[T any](m map[string]*T, order func(a, b *T) int) []T {
	list := slices.SortedFunc(maps.Values(m), order)
	all := make([]T, 0, len(list))
	for _, t := range list {
		all = append(all, *t)
	}
	return all
}

// Categories returns all categories, by order and name.
func (v *View) Categories() []Category {
	return sorted(v.categories, func(a, b *Category) int {
		return cmp.Or(cmp.Compare(a.Order, b.Order), strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
}

// Category returns a category.
func (v *View) Category(id string) (Category, bool) { return value(v.categories[id]) }

// Tax returns a tax.
func (v *View) Tax(id string) (Tax, bool) { return value(v.taxes[id]) }

// Taxes returns all taxes, by code.
func (v *View) Taxes() []Tax {
	return sorted(v.taxes, func(a, b *Tax) int {
		return cmp.Or(strings.Compare(a.Code, b.Code), strings.Compare(a.ID, b.ID))
	})
}

// Method returns a payment method, active or not.
func (v *View) Method(id string) (Method, bool) { return value(v.methods[id]) }

// Methods returns the active methods of the point of sale, in its order.
func (v *View) Methods() []Method {
	s, ok := v.Settings()
	if !ok {
		return nil
	}
	all := make([]Method, 0, len(s.Methods))
	for _, id := range s.Methods {
		if m := v.methods[id]; m != nil && m.Active {
			all = append(all, *m)
		}
	}
	return all
}

// Reason returns a reason.
func (v *View) Reason(id string) (Reason, bool) { return value(v.reasons[id]) }

// Reasons returns all reasons, by name.
func (v *View) Reasons() []Reason {
	return sorted(v.reasons, func(a, b *Reason) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
}

// Customer returns a customer.
func (v *View) Customer(id string) (Customer, bool) {
	p, ok := v.customers.get(id)
	if !ok {
		return Customer{}, false
	}
	return *p.c, true
}

// SearchCustomers returns customers whose name, phone, e-mail or tax id hold
// every word of q, without case, at most limit, by name.
func (v *View) SearchCustomers(q string, limit int) []Customer {
	words := strings.Fields(strings.ToLower(q))
	var found []Customer
	for _, p := range v.people {
		if len(found) >= limit {
			break
		}
		if holdsAll(p.haystack, words) {
			found = append(found, *p.c)
		}
	}
	return found
}

// User returns a user, active or not.
func (v *View) User(id string) (User, bool) { return value(v.users[id]) }

// Users returns the active users, by name.
func (v *View) Users() []User {
	all := sorted(v.users, func(a, b *User) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return slices.DeleteFunc(all, func(u User) bool { return !u.Active })
}

// Search returns active products for what a cashier types: all words must
// occur in name, code or barcode, without case. Products whose code or barcode
// is q come first, then those whose code begins with it, then those whose name
// does, then the others by name. At most limit; the first three come from
// indexes, the last by a scan that looks into few and ends when there are
// enough.
func (v *View) Search(q string, limit int) []Product {
	q = strings.ToLower(strings.TrimSpace(q))
	words := strings.Fields(q)
	var found []*item
	seen := map[*Product]bool{}
	take := func(it *item) (more bool) {
		if !seen[it.p] && len(found) < limit {
			seen[it.p] = true
			found = append(found, it)
		}
		return len(found) < limit
	}
	if q != "" {
		for _, t := range []*table[[]*item]{&v.codes, &v.barcodes} {
			list, _ := t.get(q)
			for _, it := range list {
				take(it)
			}
		}
		begins(v.coded, q, func(it *item) string { return it.code }, take)
		begins(v.named, q, func(it *item) string { return it.name }, take)
	}
	var want marks
	for _, w := range words {
		for i, bits := range marksOf(w) {
			want[i] |= bits
		}
	}
	for i := range v.marks {
		if len(found) >= limit {
			break
		}
		if v.marks[i].holds(&want) && holdsAll(v.named[i].haystack, words) {
			take(v.named[i])
		}
	}
	return products(found)
}

// begins visits the items whose key begins with q, in a list sorted by key.
func begins(list []*item, q string, key func(*item) string, visit func(*item) bool) {
	i, _ := slices.BinarySearchFunc(list, q, func(it *item, q string) int { return strings.Compare(key(it), q) })
	for ; i < len(list) && strings.HasPrefix(key(list[i]), q); i++ {
		if !visit(list[i]) {
			return
		}
	}
}

func holdsAll(haystack string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(haystack, w) {
			return false
		}
	}
	return true
}
