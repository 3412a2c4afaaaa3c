package door_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
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

	"tillandsia/register/internal/journal"
	"tillandsia/register/internal/till"
	"tillandsia/register/internal/till/tilltest"
	"tillandsia/shared/entry"
	"tillandsia/shared/pos"
	"tillandsia/shared/wire"
)

// operation is an operation of the served document.
type operation struct {
	id           string
	method, path string // path as a template, with /api/v1
	item         *openapi3.PathItem
	op           *openapi3.Operation
}

func (o operation) statuses() []string { return slices.Sorted(maps.Keys(o.op.Responses.Map())) }

func (o operation) hasBody() bool { return o.op.RequestBody != nil }

func (o operation) secured() bool { return o.op.Security != nil && len(*o.op.Security) > 0 }

// params reads the values of a path's parameters.
func (o operation) params(path string) map[string]string {
	path, _, _ = strings.Cut("/api/v1"+path, "?")
	values := strings.Split(path, "/")
	params := map[string]string{}
	for i, part := range strings.Split(o.path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok && i < len(values) {
			params[strings.TrimSuffix(name, "}")] = values[i]
		}
	}
	return params
}

// surveyor calls the API, checks requests and answers against the document
// that it serves, and notes what was exercised.
type surveyor struct {
	*world
	doc        *openapi3.T
	operations map[string]operation // by id
	seen       map[string]map[string]bool
	good       map[string]request // the last one of each operation that succeeded
}

func newSurveyor(w *world) *surveyor {
	w.Helper()
	_, served := w.send(request{method: http.MethodGet, path: "/openapi.json"})
	doc, err := openapi3.NewLoader().LoadFromData(served.data)
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
	s := &surveyor{world: w, doc: doc, operations: map[string]operation{}, seen: map[string]map[string]bool{}, good: map[string]request{}}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			s.operations[op.OperationID] = operation{op.OperationID, method, path, item, op}
			s.seen[op.OperationID] = map[string]bool{}
		}
	}
	return s
}

// do makes a request of an operation, requires a status, and checks both
// against the document. A request that is refused as malformed is not checked
// itself.
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
	req, a := s.send(r)
	if a.status != status {
		s.Errorf("%s %s = %d, want %d\n%s", r.method, r.path, a.status, status, a.data)
		return
	}
	s.note(op, req, r, a)
	if out != nil {
		if err := json.Unmarshal(a.data, out); err != nil {
			s.Fatalf("%s: %v in %s", id, err, a.data)
		}
	}
}

// malformed are the statuses of requests that the document forbids, too.
var malformed = []int{http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusUnauthorized}

func (s *surveyor) note(op operation, req *http.Request, r request, a reply) {
	s.Helper()
	status := strconv.Itoa(a.status)
	if !slices.Contains(op.statuses(), status) {
		s.Errorf("%s %s answers %s, which the document does not declare: %s", op.method, op.path, status, a.data)
		return
	}
	s.seen[op.id][status] = true
	if !slices.Contains(malformed, a.status) {
		if err := openapi3filter.ValidateRequest(s.Context(), s.input(op, req, r)); err != nil {
			s.Errorf("%s: the request does not fit the document: %v", op.id, err)
		}
	}
	if err := s.fits(op, req, r, a); err != nil {
		s.Errorf("%s: the answer %s does not fit the document: %v\n%s", op.id, status, err, a.data)
	}
	if a.status < 300 {
		r.header = nil
		s.good[op.id] = r
	}
}

// input is a request as it is checked.
func (s *surveyor) input(op operation, req *http.Request, r request) *openapi3filter.RequestValidationInput {
	s.Helper()
	check := req.Clone(s.Context())
	if r.body != nil {
		raw, err := json.Marshal(r.body)
		if err != nil {
			s.Fatal(err)
		}
		check.Body = io.NopCloser(bytes.NewReader(raw))
	}
	return &openapi3filter.RequestValidationInput{
		Request: check, PathParams: op.params(r.path),
		Route:   &routers.Route{Spec: s.doc, Server: s.doc.Servers[0], Path: op.path, PathItem: op.item, Method: op.method, Operation: op.op},
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
}

// fits checks an answer against the document.
func (s *surveyor) fits(op operation, req *http.Request, r request, a reply) error {
	s.Helper()
	if a.status == http.StatusNoContent && len(a.data) > 0 {
		return errors.New("204 with a body")
	}
	in := s.input(op, req, r)
	return openapi3filter.ValidateResponse(s.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.status, Header: a.header,
		Body: io.NopCloser(bytes.NewReader(a.data)), Options: in.Options,
	})
}

func TestEveryRouteAndStatusFitsTheDocument(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newSurveyor(w)
	s.scenario()
	s.refusals()
	s.failures()
	for _, id := range slices.Sorted(maps.Keys(s.operations)) {
		op := s.operations[id]
		for _, status := range op.statuses() {
			if !s.seen[id][status] {
				t.Errorf("%s %s: %s was not exercised", op.method, op.path, status)
			}
		}
	}
}

type object = map[string]any

// scenario is a day at the till that uses every operation.
func (s *surveyor) scenario() {
	s.Helper()
	ok, made, gone := http.StatusOK, http.StatusCreated, http.StatusNoContent
	missing, conflict, forbidden, slow := http.StatusNotFound, http.StatusConflict, http.StatusForbidden, http.StatusTooManyRequests
	anna := s.signIn("anna")
	do := func(id string, status int, path string, body any, out any) {
		s.Helper()
		s.do(id, status, request{path: path, token: anna, body: body}, out)
	}

	// Who is there.
	s.do("health", ok, request{}, nil)
	s.do("users", ok, request{token: apiToken}, nil)
	var signed struct{ Token string }
	s.do("sign-in", made, request{token: apiToken, body: object{"user": "mia", "pin": tilltest.PINs["mia"]}}, &signed)
	mia := signed.Token
	s.do("sign-in", missing, request{token: apiToken, body: object{"user": "nobody", "pin": "1"}}, nil)
	s.do("sign-in", forbidden, request{token: apiToken, body: object{"user": "nopin", "pin": "1"}}, nil)
	s.do("sign-in", http.StatusUnauthorized, request{token: apiToken, body: object{"user": "ben", "pin": "0"}}, nil)
	do("signed-in", ok, "", nil, nil)
	for _, id := range []string{"status", "sync", "catalogue", "products", "customers"} {
		s.do(id, ok, request{token: apiToken}, nil)
	}
	do("products", ok, "/products?q=tea&limit=5", nil, nil)
	do("customers", ok, "/customers?q=zoe", nil, nil)
	do("product", ok, "/products/tea", nil, nil)
	do("product", missing, "/products/nothing", nil, nil)
	do("verify-journal", forbidden, "", nil, nil)
	s.do("verify-journal", ok, request{token: mia}, nil)
	s.do("backup-journal", made, request{token: apiToken}, nil)

	// Before a session.
	do("session", ok, "", nil, nil)
	do("x-report", conflict, "", nil, nil)
	do("counted", conflict, "", nil, nil)
	do("count", conflict, "", object{"counts": []object{}}, nil)
	do("close-session", conflict, "", object{}, nil)
	do("leave-session", conflict, "", object{}, nil)
	do("new-cart", conflict, "", object{}, nil)
	do("sell", conflict, "", object{"lines": []object{{"product": "tea"}}, "payments": []object{}}, nil)
	do("join-session", missing, "", object{"session": "nothing"}, nil)
	do("move-cash", made, "", object{"amount": 500, "reason": "change"}, nil)
	do("open-session", made, "", object{"float": 10_000, "sheet": []object{{"value": 5000, "count": 2}}, "note": "morning"}, nil)
	do("open-session", conflict, "", object{}, nil)
	do("session", ok, "", nil, nil)
	do("x-report", ok, "", nil, nil)
	s.do("x-report", ok, request{token: mia}, nil)

	s.orders(anna, mia)

	// Cash.
	do("move-cash", made, "", object{"amount": -500, "reason": "petty", "note": "stamps"}, nil)
	do("move-cash", missing, "", object{"amount": -500, "reason": "nothing"}, nil)
	do("move-cash", conflict, "", object{"amount": 500, "reason": "petty"}, nil)
	do("receive-debt", made, "", object{"customer": "zoe", "amount": 300, "payments": []object{{"method": "cash", "amount": 500}}}, nil)
	do("receive-debt", missing, "", object{"customer": "nobody", "amount": 300, "payments": []object{{"method": "cash"}}}, nil)
	do("receive-debt", conflict, "", object{"customer": "zoe", "amount": 300, "payments": []object{{"method": "card", "amount": 1}}}, nil)
	do("open-drawer", gone, "", object{"reason": "change for a guest", "approval": object{"user": "mia", "pin": "9999"}}, nil)
	do("open-drawer", missing, "", object{"reason": "x", "approval": object{"user": "nobody", "pin": "9999"}}, nil)
	do("training", gone, "", object{"on": true, "approval": object{"user": "mia", "pin": "9999"}}, nil)
	do("open-drawer", conflict, "", object{"reason": "x", "approval": object{"user": "mia", "pin": "9999"}}, nil)
	do("sell", made, "", object{"lines": []object{{"product": "tea"}}, "payments": []object{{"method": "cash"}}}, nil)
	do("orders", ok, "/orders?training=true", nil, nil)
	s.do("training", gone, request{token: mia, body: object{"on": false}}, nil)
	do("training", missing, "", object{"on": true, "approval": object{"user": "nobody", "pin": "1"}}, nil)
	var cart till.Cart
	do("new-cart", made, "", object{}, &cart)
	do("add-line", ok, "/carts/"+cart.ID+"/lines", object{"product": "tea"}, nil)
	s.do("training", conflict, request{token: mia, body: object{"on": true}}, nil)
	do("discard-cart", gone, "/carts/"+cart.ID, nil, nil)

	// The end of the day.
	do("count", ok, "", object{"counts": []object{{"method": "cash", "amount": 11_000}, {"method": "card", "amount": 0}}}, nil)
	do("counted", ok, "", nil, nil)
	do("close-session", missing, "", object{"unapproved": true, "drop": 100, "drop_reason": "nothing"}, nil)
	do("close-session", forbidden, "", object{"reason": "no idea"}, nil)
	do("close-session", ok, "", object{"unapproved": true, "drop": 1000, "note": "evening"}, nil)
	do("z-reports", ok, "", nil, nil)
	do("z-report", ok, "/z-reports/1", nil, nil)
	do("z-report", missing, "/z-reports/99", nil, nil)
	s.elsewhere(anna)

	// Wrong PINs: the third locks out.
	for _, want := range []int{forbidden, forbidden, slow} {
		do("open-drawer", want, "", object{"reason": "x", "approval": object{"user": "mia", "pin": "0000"}}, nil)
	}
	approval := object{"user": "mia", "pin": "9999"}
	s.do("sign-in", slow, request{token: apiToken, body: object{"user": "mia", "pin": "9999"}}, nil)
	do("training", slow, "", object{"on": true, "approval": approval}, nil)
	do("close-session", slow, "", object{"approval": approval}, nil)
	do("leave-session", slow, "", object{"approval": approval}, nil)
	do("change-cart", slow, "/carts/x", object{"approval": approval}, nil)
	do("add-line", slow, "/carts/x/lines", object{"approval": approval}, nil)
	do("change-line", slow, "/carts/x/lines/1", object{"approval": approval}, nil)
	do("sell", slow, "", object{"lines": []object{{"product": "tea"}}, "payments": []object{}, "approval": approval}, nil)
	raw, _, err := entry.Make(entry.Entry{PointOfSale: "SHOP1", Register: "other", Epoch: 1, Seq: 1, Op: "other", Kind: entry.KindOrder}, pos.Order{ID: "other"})
	if err != nil {
		s.Fatal(err)
	}
	do("refund", slow, "", object{"order": "other", "entry": raw, "reason": "x", "approval": approval}, nil)
	s.do("lock", gone, request{token: s.signIn("anna")}, nil)
}

// orders is everything that happens to carts and orders.
func (s *surveyor) orders(anna, mia string) {
	s.Helper()
	ok, made, gone := http.StatusOK, http.StatusCreated, http.StatusNoContent
	missing, conflict := http.StatusNotFound, http.StatusConflict
	do := func(id string, status int, path string, body any, out any) {
		s.Helper()
		s.do(id, status, request{path: path, token: anna, body: body}, out)
	}
	var cart till.Cart
	do("new-cart", made, "", object{"name": "Table 4"}, &cart)
	at := "/carts/" + cart.ID
	do("carts", ok, "", nil, nil)
	do("cart", ok, at, nil, nil)
	do("cart", missing, "/carts/nothing", nil, nil)
	s.do("cart", conflict, request{path: at, token: mia}, nil)
	do("add-line", ok, at+"/lines", object{"code": "tea", "qty": 2000, "note": "hot"}, &cart)
	do("add-line", ok, at+"/lines", object{"product": "pizza", "discount": object{"rate": 50_000}}, &cart)
	do("add-line", missing, at+"/lines", object{"code": "nothing"}, nil)
	do("add-line", conflict, at+"/lines", object{"code": "tea", "version": 99}, nil)
	do("change-line", ok, at+"/lines/2", object{"price": 90_000, "reason": "burnt", "approval": object{"user": "mia", "pin": "9999"}}, nil)
	do("change-line", missing, at+"/lines/9", object{"qty": 1000}, nil)
	do("change-line", conflict, at+"/lines/1", object{"version": 99, "qty": 1000}, nil)
	do("change-cart", ok, at, object{"customer": "zoe", "note": "by the window", "discount": object{"amount": 10}}, nil)
	do("change-cart", missing, at, object{"customer": "nobody"}, nil)
	do("change-cart", conflict, at, object{"version": 99}, nil)
	do("void-line", missing, at+"/lines/9", nil, nil)
	do("void-line", conflict, at+"/lines/2?version=99", nil, nil)
	do("void-line", ok, at+"/lines/2", nil, nil)
	do("park", missing, "/carts/nothing/park", object{}, nil)
	do("park", conflict, at+"/park", object{"version": 99}, nil)
	do("park", ok, at+"/park", object{}, nil)
	do("take-up", missing, "/carts/nothing/take-up", object{}, nil)
	do("take-up", conflict, at+"/take-up", object{"version": 99}, nil)
	do("take-up", ok, at+"/take-up", object{}, nil)
	do("add-payment", missing, at+"/payments", object{"method": "shells"}, nil)
	do("add-payment", conflict, at+"/payments", object{"method": "cash", "version": 99}, nil)
	do("add-payment", ok, at+"/payments", object{"method": "card", "amount": 100, "reference": "T-77"}, &cart)
	do("validate", conflict, at+"/validate", object{}, nil)
	do("validate", missing, "/carts/nothing/validate", object{}, nil)
	payment := at + "/payments/" + cart.Payments[0].ID
	do("remove-payment", conflict, payment+"?version=99", nil, nil)
	do("remove-payment", ok, payment, nil, nil)
	do("remove-payment", missing, payment, nil, nil)
	do("add-payment", ok, at+"/payments", object{"method": "cash", "amount": 1000}, nil)
	var sold till.Sold
	do("validate", ok, at+"/validate", object{}, &sold)
	do("validate", ok, at+"/validate", object{}, nil)

	do("new-cart", made, "", object{}, &cart)
	do("add-line", ok, "/carts/"+cart.ID+"/lines", object{"product": "tea"}, nil)
	do("discard-cart", conflict, "/carts/"+cart.ID+"?version=99", nil, nil)
	do("discard-cart", gone, "/carts/"+cart.ID, nil, nil)
	do("discard-cart", missing, "/carts/"+cart.ID, nil, nil)

	do("sell", made, "", object{"lines": []object{{"product": "coffee"}}, "payments": []object{{"method": "later"}}, "customer": "zoe"}, nil)
	do("sell", missing, "", object{"lines": []object{{"product": "nothing"}}, "payments": []object{}}, nil)
	do("orders", ok, "/orders?q=zoe&session=SHOP1/R1/00001&limit=1", nil, nil)
	do("orders", ok, "", nil, nil)
	do("order", ok, "/orders/"+sold.Order.ID, nil, nil)
	do("order", missing, "/orders/nothing", nil, nil)
	do("reprint", ok, "/orders/"+sold.Order.ID+"/reprint", nil, nil)
	do("reprint", missing, "/orders/nothing/reprint", nil, nil)
	do("refund", http.StatusServiceUnavailable, "", object{"order": "elsewhere"}, nil)
	s.Uplink.Know(&wire.Found{})
	do("refund", missing, "", object{"order": "elsewhere"}, nil)
	do("refund", conflict, "", object{"order": sold.Order.ID, "lines": []object{{"line": "1", "qty": 9000}}}, nil)
	do("refund", made, "", object{"number": sold.Order.Number}, &cart)
	do("discard-cart", gone, "/carts/"+cart.ID, nil, nil)
}

// elsewhere joins a session of another register, between two of its own.
func (s *surveyor) elsewhere(anna string) {
	s.Helper()
	other := wire.Session{
		Stamp: pos.Stamp{ID: "01J00000000000000000000S42", Name: "SHOP1/R9/00042", Register: "r9", By: "ben", At: s.Clock.Now(), BusinessDate: "2026-11-24"},
		State: "opened", RegisterOf: "R9", ByName: "Ben",
	}
	s.Uplink.Tell(other)
	do := func(id string, status int, body any) {
		s.Helper()
		s.do(id, status, request{token: anna, body: body}, nil)
	}
	do("session", http.StatusOK, nil)
	do("join-session", http.StatusCreated, object{"session": other.ID, "float": 8000})
	do("join-session", http.StatusConflict, object{"session": other.ID, "float": 8000})
	do("count", http.StatusOK, object{"counts": []object{{"method": "cash", "amount": 8000}, {"method": "card", "amount": 0}}})
	do("leave-session", http.StatusNotFound, object{"drop": 100, "drop_reason": "nothing"})
	do("leave-session", http.StatusOK, object{})
	do("open-session", http.StatusCreated, object{"float": 8000})
}

// sample fills a path template with something that fits.
func sample(op operation) string {
	path := strings.TrimPrefix(op.path, "/api/v1")
	path = strings.ReplaceAll(path, "{number}", "1")
	for strings.Contains(path, "{") {
		from, to := strings.Index(path, "{"), strings.Index(path, "}")
		path = path[:from] + "x" + path[to+1:]
	}
	return path
}

// refusals are what every operation refuses in the same way.
func (s *surveyor) refusals() {
	s.Helper()
	ben := s.signIn("ben")
	for id, op := range s.operations {
		path := sample(op)
		var body any
		if op.hasBody() {
			body = s.good[id].body
		}
		s.do(id, http.StatusForbidden, request{path: path, token: ben, body: body, host: "evil.example"}, nil)
		s.do(id, http.StatusForbidden, request{path: path, token: ben, body: body, header: http.Header{"Origin": {"https://evil.example"}}}, nil)
		s.do(id, http.StatusForbidden, request{path: path, token: ben, body: body, header: http.Header{"Sec-Fetch-Site": {"cross-site"}}}, nil)
		if op.secured() {
			s.do(id, http.StatusUnauthorized, request{path: path, body: body}, nil)
			s.do(id, http.StatusUnauthorized, request{path: path, body: body, token: "till_of_nobody"}, nil)
		}
		token := ben
		if id == "users" || id == "sign-in" {
			token = apiToken
		}
		if op.hasBody() {
			s.do(id, http.StatusBadRequest, request{path: path, token: token, body: "{"}, nil)
			s.do(id, http.StatusUnprocessableEntity, request{path: path, token: token, body: object{"nonsense": true}}, nil)
			s.do(id, http.StatusUnsupportedMediaType, request{path: path, token: token, body: "a=b", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}, nil)
			s.do(id, http.StatusRequestEntityTooLarge, request{path: path, token: token, body: strings.Repeat(" ", 300<<10) + "{}"}, nil)
			s.stall(op, path, token)
		}
		if strings.Contains(op.path, "{") {
			long := strings.ReplaceAll(path, "/x", "/"+strings.Repeat("x", 65))
			long = strings.ReplaceAll(long, "z-reports/1", "z-reports/one")
			s.do(id, http.StatusUnprocessableEntity, request{path: long, token: token, body: body}, nil)
		}
		if op.op.Parameters.GetByInAndName(openapi3.ParameterInQuery, "limit") != nil {
			s.do(id, http.StatusUnprocessableEntity, request{path: path + "?limit=0", token: token}, nil)
		}
	}
}

// stall begins a request whose body never comes.
func (s *surveyor) stall(op operation, path, token string) {
	s.Helper()
	u, err := url.Parse(s.server.URL)
	if err != nil {
		s.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(s.Context(), "tcp", u.Host)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the register may have closed it
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		s.Fatal(err)
	}
	fmt.Fprintf(conn, "%s /api/v1%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", op.method, path, u.Host, token)
	req, err := http.NewRequestWithContext(s.Context(), op.method, s.server.URL+"/api/v1"+path, nil)
	if err != nil {
		s.Fatal(err)
	}
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
	s.seen[op.id]["408"] = true
	req.Header.Set("Content-Type", "application/json")
	if err := s.fits(op, req, request{path: path}, reply{status: res.StatusCode, header: res.Header, data: data}); err != nil {
		s.Errorf("%s: the answer 408 does not fit the document: %v", op.id, err)
	}
}

// failures repeat what succeeded while the disk fails, in a way that the till
// knows and in one that it does not.
func (s *surveyor) failures() {
	s.Helper()
	s.Clock.Advance(20 * time.Minute) // the lock-out is over
	mia := s.signIn("mia")
	defer s.broken.Store(nil)
	for status, failure := range map[int]error{http.StatusInternalServerError: errDisk, http.StatusServiceUnavailable: journal.ErrUnknown} {
		s.broken.Store(&failure)
		for id, op := range s.operations {
			if !slices.Contains(op.statuses(), fmt.Sprint(status)) {
				continue
			}
			r, ok := s.good[id]
			if !ok {
				s.Errorf("%s never succeeded", id)
				continue
			}
			if r.token != apiToken {
				r.token = mia
			}
			var answer json.RawMessage
			s.do(id, status, r, &answer)
			if bytes.Contains(answer, []byte(errDisk.Error())) {
				s.Errorf("%s tells a client what failed inside: %s", id, answer)
			}
		}
	}
}
