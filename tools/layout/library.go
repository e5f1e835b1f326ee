package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
)

// errNoFastPaths says that the library has no fast paths on a platform with a release.
var errNoFastPaths = errors.New("no fast paths")

// libraryLayout returns the offsets that the library in the directory root has if a release builds it for p
// with the tag poolfast. It runs nothing: it selects the files as the go command does, and computes the
// types in them as the compiler does.
func libraryLayout(root, release string, p platform) (found layout, err error) {
	minor, err := minorOf(release)
	if err != nil {
		return found, err
	}
	ctx := build.Default
	ctx.GOOS, ctx.GOARCH, ctx.CgoEnabled = p.goos, p.goarch, false
	ctx.BuildTags, ctx.ToolTags, ctx.ReleaseTags = []string{"poolfast"}, nil, nil
	for i := range minor {
		ctx.ReleaseTags = append(ctx.ReleaseTags, fmt.Sprintf("go1.%d", i+1))
	}
	pkg, err := ctx.ImportDir(root, 0)
	if err != nil {
		return found, err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range pkg.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return found, err
		}
		files = append(files, f)
	}
	sizes := types.SizesFor("gc", p.goarch)
	conf := types.Config{
		IgnoreFuncBodies: true,
		Importer:         noImports{},
		Error:            func(error) {}, // what depends on imports is not needed
		Sizes:            sizes,
	}
	checked, _ := conf.Check("pool", fset, files, nil)
	scope := checked.Scope()

	// offset returns the offset of a field, and whether there is one.
	offset := func(typ, field string) (int64, bool) {
		obj := scope.Lookup(typ)
		if obj == nil {
			return 0, false
		}
		st, ok := obj.Type().Underlying().(*types.Struct)
		if !ok {
			return 0, false
		}
		var fields []*types.Var
		for f := range st.Fields() {
			fields = append(fields, f)
		}
		for i, at := range sizes.Offsetsof(fields) {
			if fields[i].Name() == field {
				return at, true
			}
		}
		return 0, false
	}
	fast, ok := scope.Lookup("fastBuild").(*types.Const)
	if !ok {
		return found, errors.New("no constant fastBuild")
	}
	if !constant.BoolVal(fast.Val()) {
		return found, errNoFastPaths
	}
	where := [len(fields)][2]string{
		{"mLayout", "curg"}, {"mLayout", "p"},
		{"pLayout", "id"}, {"pLayout", "status"}, {"", "pBackToM"},
		{"gLayout", "stackLo"}, {"gLayout", "stackHi"}, {"gLayout", "stackguard0"},
	}
	for i, at := range where {
		ok := false
		if at[0] != "" {
			found[i], ok = offset(at[0], at[1])
		} else if c, isConst := scope.Lookup(at[1]).(*types.Const); isConst {
			found[i], ok = constant.Int64Val(c.Val())
		}
		if !ok {
			return found, fmt.Errorf("no %s in %s", at[1], at[0])
		}
	}
	return found, nil
}

// noImports is an importer for types that need no imports but unsafe.
type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	return nil, errors.New("not imported")
}
