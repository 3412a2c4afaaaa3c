package app_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tillandsia/shared/message"
)

// built are the beginnings of keys that are put together at run time, with
// where.
var built = map[string]string{
	"audit.":          "syncserver/internal/audit names counts and findings by their codes",
	"flag.":           "the codes of flags, which the API tells",
	"journal.verify.": "register/internal/journal names what it verified",
	"posting.":        "shared/posting names lines by their kind",
	"sync.":           "shared/peer names a stop by the protocol's code",
}

// unsaid are sentences of the ledger that nothing says yet.
var unsaid = []string{"ledger.already_resolved", "ledger.cannot_accept", "ledger.not_countable"}

var keyLike = regexp.MustCompile(`^[a-z]+\.[a-z0-9_.]+$`)

// uses are the strings of the programs' source that look like keys; told are
// those that stand where a key must.
func uses(t *testing.T) (all map[string]bool, told map[string]string) {
	t.Helper()
	all, told = map[string]bool{}, map[string]string{}
	root := filepath.Join("..", "..", "..")
	files := 0
	text := func(e ast.Expr) (string, bool) {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(lit.Value)
		return s, err == nil
	}
	for _, module := range []string{"register", "shared", "syncserver"} {
		err := filepath.WalkDir(filepath.Join(root, module), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files++
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.BasicLit:
					if s, ok := text(n); ok && keyLike.MatchString(s) {
						all[s] = true
					}
				case *ast.CallExpr:
					f, ok := n.Fun.(*ast.SelectorExpr)
					if !ok || len(n.Args) < 2 {
						break
					}
					if pkg, ok := f.X.(*ast.Ident); !ok || pkg.Name != "message" || f.Sel.Name != "New" && f.Sel.Name != "Text" {
						break
					}
					if s, ok := text(n.Args[1]); ok {
						told[s] = set.Position(n.Pos()).String()
					}
				case *ast.KeyValueExpr:
					if name, ok := n.Key.(*ast.Ident); ok && name.Name == "Key" {
						if s, ok := text(n.Value); ok && keyLike.MatchString(s) {
							told[s] = set.Position(n.Pos()).String()
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 50 || len(told) < 50 {
		t.Fatalf("%d files with %d keys: the source is not where it was", files, len(told))
	}
	return all, told
}

func TestEveryKeyHasASentence(t *testing.T) {
	t.Parallel()
	_, told := uses(t)
	for key, where := range told {
		if !message.Has(key) {
			t.Errorf("%s: there is no sentence for %q", where, key)
		}
	}
}

func TestEverySentenceIsUsed(t *testing.T) {
	t.Parallel()
	all, _ := uses(t)
	used := map[string]bool{}
	for _, key := range message.Keys(message.English) {
		if slices.Contains(unsaid, key) && all[key] {
			t.Errorf("%q is said now: take it off the list", key)
		}
		if all[key] || slices.Contains(unsaid, key) {
			continue
		}
		found := false
		for prefix := range built {
			if strings.HasPrefix(key, prefix) {
				found, used[prefix] = true, true
			}
		}
		if !found {
			t.Errorf("nothing says %q", key)
		}
	}
	for prefix, where := range built {
		if !used[prefix] {
			t.Errorf("%q (%s) is listed and not needed", prefix, where)
		}
	}
}
