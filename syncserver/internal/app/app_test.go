package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tillandsia/shared/message"
	"tillandsia/syncserver/internal/app"
)

// run runs a command over a data folder.
func run(t *testing.T, folder, in string, args ...string) (code int, out, errs string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if folder != "" {
		args = append(slices.Clone(args), "-data", folder)
	}
	code, err = app.Main(t.Context(), args, app.Terminal{In: strings.NewReader(in), Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String(), err
}

func key(err error) string {
	if m, ok := errors.AsType[*message.Error](err); ok {
		return m.Key
	}
	if err != nil {
		return "other: " + err.Error()
	}
	return ""
}

func TestUsage(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		code int
		key  string
		errs string
	}{
		{"no command", nil, 2, "", "usage: syncserver COMMAND"},
		{"help", []string{"help"}, 0, "", "usage: syncserver COMMAND"},
		{"help of a command", []string{"export", "-h"}, 0, "", "-from"},
		{"an unknown command", []string{"sell"}, 2, "app.no_such_command", "usage: syncserver COMMAND"},
		{"too few operands", []string{"register-add", "SHOP1"}, 2, "app.operands", ""},
		{"too many operands", []string{"export", "csv", "json"}, 2, "app.operands", ""},
		{"a log level that is none", []string{"export", "csv", "-log", "loud"}, 2, "app.log_level", ""},
		{"a database that is none", []string{"export", "csv", "-database", "mysql://x"}, 1, "app.database", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, _, errs, err := run(t, "", "", tt.args...)
			if code != tt.code || key(err) != tt.key || !strings.Contains(errs, tt.errs) {
				t.Errorf("code %d, key %q, %q", code, key(err), errs)
			}
		})
	}
	if code, out, _, err := run(t, "", "", "version"); code != 0 || err != nil || !strings.Contains(out, app.Version) {
		t.Errorf("version: %d, %q, %v", code, out, err)
	}
}

func TestCommandsSetAShopUp(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "products.csv")
	bad := filepath.Join(folder, "bad.csv")
	for name, text := range map[string]string{file: "code,name,price,taxes\nT,Tea,2.50,V20\n", bad: "code,name,price\nT,Tea,much\nA,Apple,1.00\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	steps := []struct {
		name string
		in   string
		args []string
		code int
		key  string
		out  string // a pattern
		errs string
	}{
		{"the company", "", []string{"company", "-name", "Café", "-currency", "JPY"}, 0, "", `"code": "JPY"`, ""},
		{"back to euro", "", []string{"company", "-currency", "EUR"}, 0, "", `"name": "Café"`, ""},
		{"a currency that is none", "", []string{"company", "-currency", "XYZ"}, 1, "setup.no_such_currency", "", ""},
		{"a point of sale, flags before the operand", "", []string{"point-of-sale-add", "-name", "Shop", "SHOP1"}, 0, "", "", ""},
		{"a point of sale twice", "", []string{"point-of-sale-add", "SHOP1", "-name", "Shop"}, 1, "setup.code_taken", "", ""},
		{"an amount that is none", "", []string{"point-of-sale-add", "SHOP2", "-name", "S", "-max-difference", "much"}, 1, "app.amount", "", ""},
		{"a register, flags between the operands", "", []string{"register-add", "SHOP1", "-name", "Front", "R1"}, 0, "", "", ""},
		{"a register of no shop", "", []string{"register-add", "SHOP9", "R1"}, 1, "setup.no_such_point_of_sale", "", ""},
		{"a pairing code", "", []string{"register-pair", "SHOP1", "R1"}, 0, "", `^[0-9A-Z]{4}-?[0-9A-Z]{4} valid until 20\d\d-`, ""},
		{"a pairing code of no register", "", []string{"register-pair", "SHOP1", "R9"}, 1, "app.no_such_register", "", ""},
		{"a tax", "", []string{"tax-add", "V20", "20", "-included"}, 0, "", "", ""},
		{"a rate that is none", "", []string{"tax-add", "V21", "lots"}, 1, "app.rate", "", ""},
		{"a user by the command line", "", []string{"user-add", "ann", "-name", "Ann", "-pos", "SHOP1", "-pin", "1234"}, 0, "", "", ""},
		{"a user by secrets", "654321\na long password\n", []string{"user-add", "max", "-name", "Max", "-role", "manager", "-secrets"}, 0, "", "", ""},
		{"secrets cut short", "654321\n", []string{"user-add", "moe", "-name", "Moe", "-secrets"}, 1, "app.secrets", "", ""},
		{"a dry run", "", []string{"import", "products", file, "-dry-run"}, 0, "", "^1 new, 0 changed, 0 unchanged, 0 rows with errors\n$", ""},
		{"an import with errors", "", []string{"import", "products", bad}, 1, "app.import_refused", "1 rows with errors", "row 2: "},
		{"an import", "", []string{"import", "products", file}, 0, "", "^1 new", ""},
		{"an import again", "", []string{"import", "products", file}, 0, "", "1 unchanged", ""},
		{"an import of nothing known", "", []string{"import", "orders", file}, 1, "app.import_what", "", ""},
		{"an import of no file", "", []string{"import", "products", file + "x"}, 1, "app.file", "", ""},
		{"an export as CSV", "", []string{"export", "csv"}, 0, "", "^number,date", ""},
		{"an export as JSON", "", []string{"export", "json", "-pos", "SHOP1"}, 0, "", `^\[\]`, ""},
		{"an export for ledger", "", []string{"export", "ledger"}, 0, "", "commodity 1000.00 EUR", ""},
		{"an export of no format", "", []string{"export", "xls"}, 1, "app.export_format", "", ""},
		{"a register revoked", "", []string{"register-revoke", "SHOP1", "R1"}, 0, "", "", ""},
		{"an audit", "", []string{"audit"}, 0, "", "I1", ""},
	}
	for _, tt := range steps {
		code, out, errs, err := run(t, folder, tt.in, tt.args...)
		if code != tt.code || key(err) != tt.key || !regexp.MustCompile(tt.out).MatchString(out) || !strings.Contains(errs, tt.errs) {
			t.Errorf("%s: code %d, key %q\n%s%s", tt.name, code, key(err), out, errs)
		}
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	type end struct {
		code int
		err  error
	}
	done := make(chan end, 1)
	go func() {
		code, err := app.Main(ctx, []string{"serve", "-data", t.TempDir(), "-listen", "127.0.0.1:0"}, app.Terminal{Out: write, Err: t.Output()})
		_ = write.Close() // of a pipe it cannot fail
		done <- end{code, err}
	}()
	lines := bufio.NewScanner(read)
	var url string
	var first strings.Builder
	for url == "" && lines.Scan() {
		if u, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			url = u
		} else {
			first.WriteString(lines.Text())
		}
	}
	if !regexp.MustCompile(`admin with the password \S{16,} `).MatchString(first.String()) || !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Fatalf("first start: %q, %q", first.String(), url)
	}
	tests := []struct {
		name, method, path string
		status             int
		body               string
	}{
		{"health", http.MethodGet, "/healthz", 200, "ok\n"},
		{"readiness", http.MethodGet, "/readyz", 200, "ready\n"},
		{"metrics", http.MethodGet, "/metrics", 200, "tillandsia_sync_connected 0"},
		{"requests are measured", http.MethodGet, "/metrics", 200, `tillandsia_http_request_seconds_count{route="/healthz",status="200"} 1`},
		{"the document", http.MethodGet, "/api/v1/openapi.json", 200, `"openapi":"3.1`},
		{"an address that is none", http.MethodGet, "/api/v1/nothing", 404, "common.not_found"},
		{"a method that is none", http.MethodDelete, "/api/v1/me", 405, "common.method_not_allowed"},
		{"no token", http.MethodGet, "/api/v1/me", 401, "common.unauthorized"},
	}
	for _, tt := range tests {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, url+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != tt.status || !bytes.Contains(data, []byte(tt.body)) {
			t.Errorf("%s = %d, %v, want %d %q\n%.300s", tt.name, res.StatusCode, err, tt.status, tt.body, data)
		}
		if tt.status >= 400 && !json.Valid(data) {
			t.Errorf("%s is refused without JSON: %s", tt.name, data)
		}
		for header, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got := res.Header.Get(header); got != want {
				t.Errorf("%s: %s = %q, want %q", tt.name, header, got, want)
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	if e := <-done; e.code != 0 || e.err != nil {
		t.Errorf("serve ended with %d, %v", e.code, e.err)
	}
}
