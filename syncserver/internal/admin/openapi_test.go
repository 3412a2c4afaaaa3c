package admin_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"tillandsia/shared/entry"
	"tillandsia/syncserver/internal/ledger/journaltest"
)

// operation is an operation of the served document.
type operation struct {
	id           string
	method, path string // path as a template, with /api/v1
	item         *openapi3.PathItem
	op           *openapi3.Operation
}

func (o operation) secured() bool { return o.op.Security != nil && len(*o.op.Security) > 0 }

func (o operation) statuses() []int {
	var out []int
	for status := range o.op.Responses.Map() {
		n, err := strconv.Atoi(status)
		if err != nil {
			n = 0 // "default": no status, and therefore never exercised
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// surveyor calls the API, checks requests and answers against the document
// that it serves, and notes what was exercised.
type surveyor struct {
	*world
	doc        *openapi3.T
	operations map[string]operation // by id
	seen       map[string]map[int]bool
	good       map[string]request // the last one of each operation that succeeded
}

func newSurveyor(w *world) *surveyor {
	w.Helper()
	res, raw := w.send(request{method: http.MethodGet, path: "/openapi.json"})
	if res.StatusCode != http.StatusOK {
		w.Fatalf("document: %d", res.StatusCode)
	}
	doc, err := openapi3.NewLoader().LoadFromData(raw)
	if err != nil {
		w.Fatalf("document: %v", err)
	}
	if err := doc.Validate(w.Context()); err != nil {
		w.Fatalf("the document is no OpenAPI: %v", err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		w.Errorf("openapi = %s, want 3.1", doc.OpenAPI)
	}
	doc.Servers = openapi3.Servers{{URL: w.server.URL}}
	s := &surveyor{world: w, doc: doc, operations: map[string]operation{}, seen: map[string]map[int]bool{}, good: map[string]request{}}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			s.operations[op.OperationID] = operation{op.OperationID, method, path, item, op}
			s.seen[op.OperationID] = map[int]bool{}
		}
	}
	return s
}

// params reads the values of a path's parameters.
func (o operation) params(path string) map[string]string {
	path, _, _ = strings.Cut("/api/v1"+path, "?")
	out := map[string]string{}
	values := strings.Split(path, "/")
	for i, part := range strings.Split(o.path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok && i < len(values) {
			out[strings.TrimSuffix(name, "}")] = values[i]
		}
	}
	return out
}

// do makes a request of an operation, requires a status, and checks both
// against the document.
func (s *surveyor) do(id string, status int, r request, out any) {
	s.Helper()
	op, ok := s.operations[id]
	if !ok {
		s.Fatalf("the document has no operation %s", id)
	}
	r.method = op.method
	if r.path == "" {
		r.path = strings.TrimPrefix(op.path, "/api/v1")
	}
	res, data := s.send(r)
	if res.StatusCode != status {
		s.Errorf("%s: %s %s = %d, want %d\n%.500s", id, r.method, r.path, res.StatusCode, status, data)
		return
	}
	s.note(op, r, res, data)
	if out != nil {
		if err := json.Unmarshal(data, out); err != nil {
			s.Fatalf("%s: %v in %s", id, err, data)
		}
	}
}

// malformed are the statuses of requests that the document forbids, too.
var malformed = []int{
	http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusRequestEntityTooLarge,
	http.StatusUnprocessableEntity, http.StatusRequestTimeout,
}

func (s *surveyor) note(op operation, r request, res reply, data []byte) {
	s.Helper()
	if !slices.Contains(op.statuses(), res.StatusCode) {
		s.Errorf("%s answers %d, which the document does not declare: %s", op.id, res.StatusCode, data)
		return
	}
	s.seen[op.id][res.StatusCode] = true
	in := &openapi3filter.RequestValidationInput{
		Request: s.request(r), PathParams: op.params(r.path),
		Route:   &routers.Route{Spec: s.doc, Server: s.doc.Servers[0], Path: op.path, PathItem: op.item, Method: op.method, Operation: op.op},
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if !slices.Contains(malformed, res.StatusCode) {
		if err := openapi3filter.ValidateRequest(s.Context(), in); err != nil {
			s.Errorf("%s: the request does not fit the document: %v", op.id, err)
		}
	}
	if res.StatusCode == http.StatusNoContent && len(data) > 0 {
		s.Errorf("%s: 204 with a body: %s", op.id, data)
	}
	err := openapi3filter.ValidateResponse(s.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header,
		Body: io.NopCloser(bytes.NewReader(data)), Options: in.Options,
	})
	if err != nil {
		s.Errorf("%s: the answer %d does not fit the document: %v\n%.500s", op.id, res.StatusCode, err, data)
	}
	if res.StatusCode >= 400 {
		s.refusal(r, res, data)
	} else {
		s.good[op.id] = r
	}
}

func TestEveryRouteAndStatusFitsTheDocument(t *testing.T) {
	t.Parallel()
	s := newSurveyor(newWorld(t))
	s.users()
	s.setup()
	s.registers()
	s.sessions()
	s.refusals()
	s.failures()
	for _, id := range slices.Sorted(maps.Keys(s.operations)) {
		for _, status := range s.operations[id].statuses() {
			if !s.seen[id][status] {
				t.Errorf("%s: %d was not exercised", id, status)
			}
		}
	}
}

const nonce = "0123456789abcdef"

const (
	ok       = http.StatusOK
	made     = http.StatusCreated
	gone     = http.StatusNoContent
	missing  = http.StatusNotFound
	conflict = http.StatusConflict
	invalid  = http.StatusUnprocessableEntity
)

// as does a request as an admin.
func (s *surveyor) as(id string, status int, path string, body, out any) {
	s.Helper()
	s.do(id, status, request{token: "admin", path: path, body: body}, out)
}

func (s *surveyor) users() {
	s.Helper()
	var in struct{ Token string }
	s.do("sign-in", http.StatusUnauthorized, request{body: object{"login": "cleo", "password": "wrong"}}, nil)
	s.do("sign-in", ok, request{body: object{"login": " Cleo ", "password": password}}, &in)
	s.do("me", ok, request{token: in.Token}, nil)
	s.do("sign-out", gone, request{token: in.Token}, nil)
	s.do("me", http.StatusUnauthorized, request{token: in.Token}, nil)
	s.as("users", ok, "", nil, nil)
	var made1 struct{ ID string }
	s.as("create-user", made, "", object{"login": "zoe", "name": "Zoe", "points_of_sale": []string{"SHOP1"}, "pin": "1234"}, &made1)
	s.as("create-user", conflict, "", object{"login": "ZOE", "name": "Zoe"}, nil)
	s.as("create-user", invalid, "", object{"login": "yve"}, nil)
	s.as("change-user", ok, "/users/"+made1.ID, object{"active": false}, nil)
	s.as("change-user", conflict, "/users/"+made1.ID, object{"login": "cleo"}, nil)
	s.as("change-user", missing, "/users/nobody", object{"active": false}, nil)
	s.as("change-user", invalid, "/users/"+made1.ID, object{"points_of_sale": []string{"NOWHERE"}}, nil)
}

func (s *surveyor) setup() {
	s.Helper()
	company := object{}
	s.as("company", ok, "", nil, &company)
	delete(company, "$schema")
	company["currency"] = object{"code": "EUR", "digits": 7}
	s.as("change-company", ok, "", company, &company)
	if digits := company["currency"].(object)["digits"]; digits != json.Number("2") && fmt.Sprint(digits) != "2" { //nolint:errcheck // the document was checked
		s.Errorf("EUR has %v digits", digits)
	}
	s.as("points-of-sale", ok, "", nil, nil)
	shop := object{
		"code": "SHOP3", "name": "Third", "time_zone": "Europe/Vienna", "cut_off": 0, "methods": []string{"cash", "card"},
		"cash_control": true, "max_difference": 500, "active": true,
	}
	s.as("create-point-of-sale", made, "", shop, nil)
	s.as("create-point-of-sale", conflict, "", shop, nil)
	s.as("point-of-sale", ok, "/points-of-sale/SHOP3", nil, nil)
	s.as("point-of-sale", missing, "/points-of-sale/NONE", nil, nil)
	s.as("change-point-of-sale", ok, "/points-of-sale/SHOP3", shop, nil)
	s.as("change-point-of-sale", missing, "/points-of-sale/NONE", shop, nil)

	var tax, tea struct{ ID string }
	s.as("create-thing", made, "/catalogue/tax", object{"code": "T20", "name": "20 %", "rate": 200_000, "included": true}, &tax)
	s.as("create-thing", invalid, "/catalogue/tax", object{"code": "T20", "name": "20 %", "rate": 2_000_000}, nil)
	s.as("create-thing", made, "/catalogue/product", object{"code": "TEA", "name": "Tea", "price": 25_000, "taxes": []string{tax.ID}, "active": true}, &tea)
	for _, kind := range []string{"product", "category", "tax", "method", "reason", "customer"} {
		s.as("things", ok, "/catalogue/"+kind+"?limit=5", nil, nil)
	}
	s.as("change-thing", ok, "/catalogue/product/"+tea.ID, object{"code": "TEA", "name": "Green tea", "price": 25_000, "active": true}, nil)
	s.as("change-thing", missing, "/catalogue/product/none", object{"code": "TEA", "name": "Green tea", "price": 25_000, "active": true}, nil)
	s.as("delete-thing", gone, "/catalogue/product/"+tea.ID, nil, nil)
	s.as("delete-thing", missing, "/catalogue/product/"+tea.ID, nil, nil)
	s.do("import-products", ok, request{token: "mona", path: "/import/products?dry_run=true", body: "code,name,price\nA,Apple,1.00\n", media: "text/csv"}, nil)
	s.do("import-products", ok, request{token: "mona", body: "code,name,price\nA,Apple,1.00\nB,Bread,x\n", media: "text/csv"}, nil)
	s.do("import-products", ok, request{token: "mona", body: "code,name,price,category\nA,Apple,1.00,Fruit\n", media: "text/csv"}, nil)
	s.do("import-products", invalid, request{token: "mona", body: "code,name\nA,Apple\n", media: "text/csv"}, nil)
}

func (s *surveyor) registers() {
	s.Helper()
	var r struct{ ID string }
	var pairing struct{ Code string }
	s.do("registers", ok, request{token: "cleo", path: "/points-of-sale/SHOP1/registers"}, nil)
	s.do("create-register", made, request{token: "mona", path: "/points-of-sale/SHOP1/registers", body: object{"code": "R7", "drawer": true}}, &r)
	s.do("create-register", conflict, request{token: "mona", path: "/points-of-sale/SHOP1/registers", body: object{"code": "R7", "drawer": true}}, nil)
	s.as("create-register", missing, "/points-of-sale/NONE/registers", object{"code": "R7", "drawer": true}, nil)
	at := "/points-of-sale/SHOP1/registers/" + r.ID
	s.as("pair-register", made, at+"/pairing", nil, &pairing)
	s.as("pair-register", missing, "/points-of-sale/SHOP2/registers/"+r.ID+"/pairing", nil, nil)
	s.do("enrol", made, request{body: object{"code": pairing.Code, "nonce": nonce, "software": "test"}}, nil)
	s.do("enrol", invalid, request{body: object{"code": pairing.Code, "nonce": "", "software": "test"}}, nil)
	for range 10 {
		s.do("enrol", http.StatusForbidden, request{body: object{"code": "WRONGONE", "nonce": nonce, "software": "test"}}, nil)
	}
	s.do("enrol", http.StatusTooManyRequests, request{body: object{"code": pairing.Code, "nonce": nonce, "software": "test"}}, nil)
	s.Pass(time.Hour)
	s.as("revoke-register", gone, at+"/revoke", nil, nil)
	s.as("revoke-register", missing, "/points-of-sale/SHOP1/registers/none/revoke", nil, nil)
}

func (s *surveyor) sessions() {
	s.Helper()
	till := s.Till("SHOP1", "R1")
	root := till.Open(10_000)
	first := till.Sell(1000, journaltest.Cash)
	till.Sell(2000, journaltest.Card)
	till.Refund(first, journaltest.Cash)
	till.Move(-500)
	s.Deliver(till)
	at := "/points-of-sale/SHOP1/sessions/" + root.ID
	lists := func() {
		s.Helper()
		for _, path := range []string{"", "?pos=SHOP1&rescue=true", "?state=opened&rescue=false&name=R1&limit=1"} {
			s.do("sessions", ok, request{token: "cleo", path: "/sessions" + path}, nil)
		}
		s.do("session", ok, request{token: "cleo", path: at}, nil)
		s.do("preview-close", ok, request{token: "mona", path: at + "/close"}, nil)
		s.do("attention", ok, request{token: "mona", path: "/attention?pos=SHOP1"}, nil)
		s.as("attention", ok, "", nil, nil)
	}
	lists()
	var orders struct {
		Items []struct{ ID string }
		Next  string
	}
	s.do("orders", ok, request{token: "cleo", path: "/orders?limit=2&session=" + root.ID}, &orders)
	rest := orders
	rest.Items, rest.Next = nil, ""
	s.do("orders", ok, request{token: "cleo", path: "/orders?limit=2&after=" + orders.Next}, &rest)
	if len(orders.Items) != 2 || len(rest.Items) != 1 || rest.Next != "" {
		s.Errorf("pages = %+v, %+v", orders, rest)
	}
	s.do("orders", invalid, request{token: "cleo", path: "/orders?after=x"}, nil)
	s.do("sessions", invalid, request{token: "cleo", path: "/sessions?after=x"}, nil)
	s.do("order", ok, request{token: "cleo", path: "/points-of-sale/SHOP1/orders/" + first.ID}, nil)
	s.do("order", missing, request{token: "cleo", path: "/points-of-sale/SHOP1/orders/none"}, nil)
	s.do("session", missing, request{token: "dora", path: "/points-of-sale/SHOP2/sessions/" + root.ID}, nil)
	s.do("preview-close", missing, request{token: "mona", path: "/points-of-sale/SHOP1/sessions/none/close"}, nil)
	company := s.good["change-company"].body.(object) //nolint:errcheck // setup sent it
	s.as("change-company", conflict, "", with(company, "currency", object{"code": "JPY", "digits": 0}), nil)
	s.as("change-point-of-sale", conflict, "/points-of-sale/SHOP1", s.good["change-point-of-sale"].body, nil)

	count := []object{{"register": till.Register, "method": "cash", "amount": 100}}
	settle := "/points-of-sale/SHOP1/registers/" + till.Register + "/settle"
	s.do("settle-drawer", conflict, request{token: "mona", path: settle, body: object{"counts": count, "reason": "x"}}, nil)
	s.do("session-posting", missing, request{token: "mona", path: at + "/posting"}, nil)

	closeBody := object{"counted": false, "reason": "night"}
	s.do("close-session", invalid, request{token: "mona", path: at + "/close", body: object{"counted": true, "reason": "night"}}, nil)
	s.do("close-session", missing, request{token: "mona", path: "/points-of-sale/SHOP1/sessions/none/close", body: closeBody}, nil)
	s.do("close-session", ok, request{token: "mona", path: at + "/close", body: closeBody}, nil)
	s.do("close-session", ok, request{token: "mona", path: at + "/close", body: closeBody}, nil)
	s.do("session-posting", ok, request{token: "mona", path: at + "/posting"}, nil)

	// Late sales make a rescue; entries that are not understood make flags.
	till.Sell(700, journaltest.Cash)
	till.Append(entry.KindOrder, object{"total": "much"})
	other := till.Stamp(till.Order(5000, journaltest.Cash))
	other.ID = first.ID
	till.Write(other)
	late := till.Stamp(till.Order(300, journaltest.Cash))
	s.stumble.Store(late.ID)
	till.Write(late)
	s.Deliver(till)
	lists()
	var rescues struct{ Items []struct{ ID string } }
	s.do("sessions", ok, request{token: "mona", path: "/sessions?rescue=true"}, &rescues)
	rescue := "/points-of-sale/SHOP1/sessions/" + rescues.Items[0].ID
	s.do("close-session", conflict, request{token: "mona", path: rescue + "/close", body: closeBody}, nil)
	s.do("session", ok, request{token: "cleo", path: rescue}, nil)
	s.do("preview-close", ok, request{token: "mona", path: rescue + "/close"}, nil)

	flags := map[string]string{}
	for _, f := range s.Flags("SHOP1") {
		switch f.Entry.Seq {
		case till.Head.Seq:
			flags["late"] = f.ID
		case till.Head.Seq - 1:
			flags["other"] = f.ID
		case till.Head.Seq - 2:
			flags["garbage"] = f.ID
		}
	}
	flag := func(id string, status int, what string) {
		s.Helper()
		s.do(id, status, request{token: "mona", path: "/points-of-sale/SHOP1/flags/" + flags[what] + "/" + strings.TrimSuffix(id, "-flag")}, nil)
	}
	flags["none"] = "none"
	flag("retry-flag", missing, "none")
	flag("accept-flag", missing, "none")
	flag("retry-flag", conflict, "late")
	s.stumble.Store("")
	flag("retry-flag", gone, "late")
	flag("retry-flag", conflict, "garbage")
	s.stumble.Store(first.ID)
	flag("accept-flag", conflict, "other")
	s.stumble.Store("")
	flag("accept-flag", gone, "other")
	flag("accept-flag", gone, "garbage")

	rescueBody := object{"choice": "not_counted", "reason": "late"}
	s.do("close-rescue", conflict, request{token: "mona", path: at + "/close-rescue", body: rescueBody}, nil)
	s.do("close-rescue", conflict, request{token: "mona", path: rescue + "/close-rescue", body: object{"choice": "till"}}, nil)
	s.do("close-rescue", missing, request{token: "mona", path: "/points-of-sale/SHOP1/sessions/none/close-rescue", body: rescueBody}, nil)
	s.do("close-rescue", ok, request{token: "mona", path: rescue + "/close-rescue", body: rescueBody}, nil)
	s.do("close-rescue", ok, request{token: "mona", path: rescue + "/close-rescue", body: rescueBody}, nil)
	till.CloseOut(journaltest.Counts(9_000), 0)
	s.Deliver(till)
	s.do("settle-drawer", ok, request{token: "mona", path: settle, body: object{"counts": count, "reason": "the register was stolen"}}, nil)
	s.do("settle-drawer", missing, request{token: "mona", path: "/points-of-sale/SHOP1/registers/none/settle", body: object{"counts": count, "reason": "x"}}, nil)
	lists()
	s.do("postings", ok, request{token: "mona", path: "/postings?from=2026-01-01&to=2026-12-31"}, nil)
	for _, format := range []string{"csv", "json", "ledger"} {
		s.do("export-postings-"+format, ok, request{token: "mona"}, nil)
	}
}

func with(o object, key string, value any) object {
	o = maps.Clone(o)
	o[key] = value
	return o
}

// sample fills a path template with something that fits.
func (o operation) sample() string {
	path := strings.NewReplacer("{pos}", "SHOP1", "{kind}", "product").Replace(strings.TrimPrefix(o.path, "/api/v1"))
	for strings.Contains(path, "{") {
		from, to := strings.Index(path, "{"), strings.Index(path, "}")
		path = path[:from] + "x" + path[to+1:]
	}
	return path
}

// refusals are what every operation refuses in the same way.
func (s *surveyor) refusals() {
	s.Helper()
	for id, op := range s.operations {
		good, found := s.good[id]
		if !found {
			s.Errorf("%s never succeeded", id)
			continue
		}
		r := request{token: "admin", path: op.sample(), body: good.body, media: good.media}
		if op.secured() {
			for _, token := range []string{"", "tu_of_nobody"} {
				none := r
				none.token = token
				s.do(id, http.StatusUnauthorized, none, nil)
			}
		}
		if op.secured() && op.op.Responses.Status(http.StatusForbidden) != nil {
			foreign := r
			foreign.token = "dora"
			if id == "sessions" || id == "orders" {
				foreign.path += "?pos=SHOP1"
			}
			s.do(id, http.StatusForbidden, foreign, nil)
		}
		if op.op.RequestBody != nil {
			s.bodies(op, r)
		}
		if op.op.Responses.Status(http.StatusUnprocessableEntity) != nil && len(op.op.Parameters)+len(op.item.Parameters) > 0 {
			bad := r
			bad.path = strings.NewReplacer("/x", "/"+strings.Repeat("x", 65), "SHOP1", "SHOP11111", "/product", "/nonsense").Replace(r.path)
			if !strings.Contains(op.path, "{") {
				bad.path = r.path + "?limit=0&from=yesterday&pos=SHOP11111&dry_run=perhaps"
			}
			s.do(id, invalid, bad, nil)
		}
	}
	for range 5 {
		res, data := s.send(request{method: http.MethodPost, path: "/sign-in", body: object{"login": "cleo", "password": "wrong"}})
		s.note(s.operations["sign-in"], request{method: http.MethodPost, path: "/sign-in", body: object{"login": "cleo", "password": "wrong"}}, res, data)
	}
	s.do("sign-in", http.StatusTooManyRequests, request{body: object{"login": "cleo", "password": password}}, nil)
	s.Pass(time.Hour)
}

// bodies sends bodies that cannot be read.
func (s *surveyor) bodies(op operation, r request) {
	s.Helper()
	if r.media == "" {
		r.body = "{"
		s.do(op.id, http.StatusBadRequest, r, nil)
		if op.id != "change-thing" { // it looks the thing up first
			r.body = object{"nonsense": true}
			s.do(op.id, invalid, r, nil)
		}
		r.body, r.media = "a=b", "application/x-www-form-urlencoded"
		s.do(op.id, http.StatusUnsupportedMediaType, r, nil)
		r.media = ""
		r.body = strings.Repeat(" ", 1<<20) + "{}"
	} else {
		r.body = ""
		s.do(op.id, http.StatusBadRequest, r, nil)
		r.body = strings.Repeat(" ", 33<<20)
	}
	s.do(op.id, http.StatusRequestEntityTooLarge, r, nil)
	s.stall(op, r)
}

// stall begins a request whose body never comes.
func (s *surveyor) stall(op operation, r request) {
	s.Helper()
	u, err := url.Parse(s.hasty.URL)
	if err != nil {
		s.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(s.Context(), "tcp", u.Host)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // what was read stays read
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		s.Fatal(err)
	}
	r.method, r.body = op.method, "{"
	req := s.request(r)
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\n{",
		op.method, req.URL.RequestURI(), u.Host, req.Header.Get("Authorization"), req.Header.Get("Content-Type"))
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		s.Fatalf("%s: no answer to a body that does not come: %v", op.id, err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	if res.StatusCode != http.StatusRequestTimeout {
		s.Errorf("%s: a body that does not come is answered %d: %s", op.id, res.StatusCode, data)
		return
	}
	s.note(op, r, reply{res.StatusCode, res.Header}, data)
}

// failures repeat what succeeded while the database fails, behind the sign-in
// where there is something behind it.
func (s *surveyor) failures() {
	s.Helper()
	defer s.store.broken.Store(false)
	for id, op := range s.operations {
		r, found := s.good[id]
		if !found {
			continue // said already
		}
		works := int64(0)
		if op.secured() && id != "me" {
			r.token, works = "admin", 1
		}
		s.store.after(works)
		var answer json.RawMessage
		s.do(id, http.StatusInternalServerError, r, &answer)
		if bytes.Contains(answer, []byte(errDisk.Error())) {
			s.Errorf("%s tells a client what failed inside: %s", id, answer)
		}
	}
}
