package pooluse

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/types"
	"math"

	"github.com/warmpage/pool/poolvet/internal/gotype"
)

// An option is an argument of New or NewBytes that is a call of a function of the pool package.
type option struct {
	n    *ast.CallExpr
	name string
	isOf types.Type // the type argument of WithInit and WithReset
	last bool       // no option after it can replace it
}

// smallestPage is the size of the smallest page that a pool can have, in bytes.
const smallestPage = 8 << 10

// readOptions finds the options that can be seen.
func (m *maker) readOptions() {
	m.all = !m.n.Ellipsis.IsValid()
	for _, arg := range m.n.Args {
		call, ok := ast.Unparen(arg).(*ast.CallExpr)
		name := ""
		if ok {
			name = poolFunc(m.pass.TypesInfo, call)
		}
		if name == "" {
			m.all = false
			continue
		}
		o := option{n: call, name: name}
		if name == "WithInit" || name == "WithReset" {
			o.isOf = typeArg(m.pass.TypesInfo, call.Fun)
		}
		m.options = append(m.options, o)
	}
	m.markLast()
}

// markLast sets last in those options that count.
func (m *maker) markLast() {
	for i := range m.options {
		o := &m.options[i]
		o.last = !m.n.Ellipsis.IsValid()
		for _, arg := range m.n.Args {
			if arg.Pos() > o.n.Pos() && !m.isOther(arg, o) {
				o.last = false
			}
		}
	}
}

// isOther reports whether an argument is an option of another kind than o.
func (m *maker) isOther(arg ast.Expr, o *option) bool {
	call, ok := ast.Unparen(arg).(*ast.CallExpr)
	if !ok {
		return false
	}
	name := poolFunc(m.pass.TypesInfo, call)
	return name != "" && name != o.name
}

// find returns the option of that name that counts, or nil.
func (m *maker) find(name string) *option {
	for i := range m.options {
		if o := &m.options[i]; o.name == name && o.last {
			return o
		}
	}
	return nil
}

// checkOptions reports options that make New or NewBytes panic.
func (m *maker) checkOptions() {
	for _, arg := range m.n.Args {
		if m.pass.TypesInfo.Types[arg].IsNil() && !m.n.Ellipsis.IsValid() {
			m.pass.Reportf(arg.Pos(), "pool.%s panics: the option is nil: leave it out", m.name)
		}
	}
	for i := range m.options {
		o := &m.options[i]
		if !o.last {
			continue
		}
		reason := m.checkNumber(o)
		if reason == "" && m.name == "New" {
			reason = m.checkForNew(o)
		} else if reason == "" {
			reason = m.checkForBytes(o)
		}
		if reason != "" {
			m.pass.Reportf(o.n.Pos(), "pool.%s panics: %s", m.name, reason)
		}
	}
}

// number returns the argument of an option, if it is a constant number.
func (m *maker) number(o *option) (n int64, ok bool) {
	if len(o.n.Args) != 1 {
		return 0, false
	}
	v := m.pass.TypesInfo.Types[o.n.Args[0]].Value
	if v == nil || v.Kind() != constant.Int {
		return 0, false
	}
	return constant.Int64Val(v)
}

// checkNumber returns what is wrong with the number that an option is given.
func (m *maker) checkNumber(o *option) string {
	n, ok := m.number(o)
	if !ok {
		return ""
	}
	switch o.name {
	case "WithAlign":
		if n < 1 || n > 4096 || n&(n-1) != 0 {
			return fmt.Sprintf("WithAlign(%d): give a power of two from 1 to 4096", n)
		}
		return ""
	case "WithLimit":
		if least := max(smallestPage, m.size); n > 0 && n < least {
			return fmt.Sprintf("WithLimit(%d): a page takes at least %d bytes", n, least)
		}
	case "WithGuardSampling":
		if n > math.MaxInt32 {
			return fmt.Sprintf("WithGuardSampling(%d): give at most %d", n, math.MaxInt32)
		}
	case "WithMaxSlots", "WithWarmPages", "WithWarmSlots", "WithProfile":
	default:
		return ""
	}
	if n < 0 {
		return fmt.Sprintf("%s(%d): the number is negative", o.name, n)
	}
	return ""
}

// checkForNew returns what is wrong with an option of New.
func (m *maker) checkForNew(o *option) string {
	switch {
	case o.name == "WithOffHeap":
		return "WithOffHeap is for NewBytes: leave it out"
	case o.isOf == nil:
		return ""
	case m.elem != nil && !gotype.HasTypeParam(o.isOf) && !types.Identical(o.isOf, m.elem):
		return fmt.Sprintf("%s is given a function for *%s, and the pool is one of %s", o.name,
			gotype.Name(o.isOf, m.pass.Pkg), gotype.Name(m.elem, m.pass.Pkg))
	case len(o.n.Args) == 1 && m.pass.TypesInfo.Types[o.n.Args[0]].IsNil():
		return o.name + "(nil): give a function, or leave it out"
	}
	return ""
}

// checkForBytes returns what is wrong with an option of NewBytes.
func (m *maker) checkForBytes(o *option) string {
	n, isNumber := m.number(o)
	switch o.name {
	case "WithInit", "WithReset", "WithAlign":
		return o.name + " is for pools: leave it out"
	case "WithMaxSlots", "WithWarmSlots":
		if isNumber && n != 0 {
			return o.name + " is for pools: use WithLimit or WithWarmPages"
		}
	case "WithOffHeap":
		if m.find("WithGoHeap") != nil {
			return "WithGoHeap and WithOffHeap exclude each other"
		}
	}
	return ""
}
