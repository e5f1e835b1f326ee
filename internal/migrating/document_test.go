package migrating

import (
	"testing"

	"github.com/warmpage/pool/internal/document"
)

// ReadDocument returns the code of docs/migrating.md, and the outputs that it shows, in order.
func ReadDocument(t *testing.T) (code, outputs []string) { return document.Read(t, "migrating.md") }

// The code of the document is what runs here.
func TestDocumentIsWhatRuns(t *testing.T) {
	code, _ := ReadDocument(t)
	document.RequireIn(t, code, "before_test.go", "after_test.go")
}
