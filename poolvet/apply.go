package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/format"
	"os"
	"slices"

	"golang.org/x/tools/go/analysis"
)

// applyFixes rewrites the files of all fixes. Each package has one fix at most, so edits do not
// overlap. Nothing is written if the result of one is no Go file.
func (r *result) applyFixes() error {
	texts := make(map[string][]byte)
	for _, f := range r.fixes {
		if err := f.apply(texts); err != nil {
			return err
		}
	}
	for name, text := range texts {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(name, text, info.Mode().Perm()); err != nil {
			return err
		}
	}
	for _, p := range r.Pools {
		if p.Fix {
			r.fixed++
		}
	}
	return nil
}

// apply adds to texts what the files of one fix become.
func (f *fix) apply(texts map[string][]byte) error {
	edits := make(map[string][]analysis.TextEdit)
	for _, e := range f.TextEdits {
		name := f.pkg.Fset.File(e.Pos).Name()
		edits[name] = append(edits[name], e)
	}
	for name, edits := range edits {
		old, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if texts[name], err = formatLike(old, f.edit(old, edits)); err != nil {
			return fmt.Errorf("the fix of %s is no Go file (nothing was written): %w", name, err)
		}
	}
	return nil
}

// formatLike returns text in the format of gofmt, if old is. Otherwise it leaves lines alone that
// the fix does not change.
func formatLike(old, text []byte) ([]byte, error) {
	formatted, err := format.Source(text)
	if err != nil {
		return nil, err
	}
	if was, err := format.Source(old); err != nil || !bytes.Equal(was, old) {
		return text, nil
	}
	return formatted, nil
}

// edit returns old with the edits.
func (f *fix) edit(old []byte, edits []analysis.TextEdit) (text []byte) {
	slices.SortStableFunc(edits, func(a, b analysis.TextEdit) int { return cmp.Compare(a.Pos, b.Pos) })
	done := 0
	for _, e := range edits {
		file := f.pkg.Fset.File(e.Pos)
		text = append(text, old[done:file.Offset(e.Pos)]...)
		text = append(text, e.NewText...)
		done = file.Offset(e.End)
	}
	return append(text, old[done:]...)
}
