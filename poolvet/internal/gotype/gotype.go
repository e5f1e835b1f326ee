// Package gotype answers what the analyzers ask of Go types. Its FindPointer is that of the pool
// package, for types of a program that does not run.
package gotype

import (
	"go/types"
	"strings"
)

// PoolPath is the import path of the pool package.
const PoolPath = "github.com/warmpage/pool"

// MaxSlotSize is that of the pool package, in bytes.
const MaxSlotSize = 64 << 20

// FindPointer returns the path and the type of the first part of t that the garbage collector would
// have to follow. If there is none, the type is nil.
func FindPointer(t types.Type, path string) (string, types.Type) {
	switch u := t.Underlying().(type) {
	case *types.Basic:
		if u.Info()&types.IsString == 0 && u.Kind() != types.UnsafePointer {
			return "", nil
		}
	case *types.Array:
		if u.Len() == 0 {
			return "", nil
		}
		return FindPointer(u.Elem(), path+"[]")
	case *types.Struct:
		for f := range u.Fields() {
			if path, culprit := FindPointer(f.Type(), path+"."+f.Name()); culprit != nil {
				return path, culprit
			}
		}
		return "", nil
	}
	return path, t
}

// Name returns t as a program would write it, with the names of packages other than in.
func Name(t types.Type, in *types.Package) string {
	name := types.TypeString(t, func(p *types.Package) string {
		if p == in {
			return ""
		}
		return p.Name()
	})
	return strings.ReplaceAll(name, "interface{}", "any")
}

// IsNamed reports whether t is the named type path.name, or an instance of it.
func IsNamed(t types.Type, path, name string) bool {
	named, ok := types.Unalias(t).(*types.Named)
	if !ok {
		return false
	}
	obj := named.Obj()
	return obj.Name() == name && obj.Pkg() != nil && obj.Pkg().Path() == path
}

// HasTypeParam reports whether t depends on a type parameter, so that neither its size nor its
// pointers are known.
func HasTypeParam(t types.Type) bool { return make(seen).hasTypeParam(t) }

type seen map[types.Type]bool

func (s seen) hasTypeParam(t types.Type) bool {
	if s[t] {
		return false
	}
	s[t] = true
	switch t := types.Unalias(t).(type) {
	case *types.TypeParam:
		return true
	case *types.Named:
		for arg := range t.TypeArgs().Types() {
			if s.hasTypeParam(arg) {
				return true
			}
		}
		return s.hasTypeParam(t.Underlying())
	case *types.Struct:
		for f := range t.Fields() {
			if s.hasTypeParam(f.Type()) {
				return true
			}
		}
	case *types.Map:
		return s.hasTypeParam(t.Key()) || s.hasTypeParam(t.Elem())
	case interface{ Elem() types.Type }:
		return s.hasTypeParam(t.Elem())
	}
	return false
}
