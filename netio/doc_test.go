package netio

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Every error that this package exports stands in the table of the package's documentation.
func TestEveryErrorIsDocumented(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var doc string
	var names []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if name == "doc.go" {
			doc = file.Doc.Text()
		}
		for name, object := range file.Scope.Objects { //nolint:staticcheck // resolved names are not needed
			if object.Kind == ast.Var && strings.HasPrefix(name, "Err") {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		if !strings.Contains(doc, name) {
			t.Errorf("%s is not in the table of doc.go", name)
		}
	}
	if len(names) < 20 {
		t.Errorf("only %d errors were found", len(names))
	}
}
