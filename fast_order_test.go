//go:build gc && !race && !msan && !asan && !pooldebug && !poolportable && !poolyield && !go1.28 && !poolunknown && linux && (amd64 || arm64)

package pool

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tables of docs/memory-order.md say which loads and stores the arguments without a lock rest on,
// and what orders them on arm64. This test holds the tables by what the compiler emits for arm64:
//
//   - The function of each row is in the file that the row says, and has the row's instructions. Where
//     the row has an arrow, no path of the function leads past one of the two (see isOrdered).
//   - A function in a row has no other atomic operation than those of its rows.
//   - A function that has an atomic operation in the source is in a row, or below "All others".
func TestFastCodeOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles for arm64")
	}
	rows, others := parseOrders(t)
	output := buildProgram(t, "arm64", codeModes[0], filepath.Join(t.TempDir(), "user"), "./testdata/user")
	code := parseCode(output)

	functions := make(map[string]function)
	for _, f := range parseFunctions(t) {
		functions[f.shortName()] = f
	}
	listed := make(map[string][]string) // the steps of each function, in all its rows
	for _, row := range rows {
		t.Run(row.function, func(t *testing.T) {
			require.Contains(t, functions, row.function)
			assert.Equal(t, functions[row.function].file, row.file)
			checkOrder(t, code, row)
		})
		listed[row.function] = slices.Concat(append(row.sequences, listed[row.function])...)
	}
	require.Greater(t, len(rows), 50)

	for name, steps := range listed {
		f := codeOf(code, name)
		if f == nil || steps == nil {
			continue // checkOrder has said so, or the rows argue about what it calls
		}
		isListed := make(map[int]bool)
		for _, step := range steps {
			for _, i := range f.find(t, step) {
				isListed[i] = true
			}
		}
		for i, in := range f.instructions {
			assert.True(t, in.atomic() == "" || isListed[f.start(i)], "%s: no row has %q", name, in)
		}
	}
	for name, f := range functions {
		if _, ok := listed[name]; f.hasAtomic() {
			assert.True(t, ok != others[name], "%s has an atomic operation: it belongs in a row, or below \"All others\"", name)
		}
		delete(others, name)
	}
	assert.Empty(t, others, "they are below \"All others\", and are no functions")
}

// An accessOrder is a row: what a function does, in this order within each sequence.
type accessOrder struct {
	function, file string
	sequences      [][]string
}

var quoted = regexp.MustCompile("`([^`]*)`")

// parseOrders returns the rows of docs/memory-order.md, and the functions that need none.
func parseOrders(t *testing.T) (rows []accessOrder, others map[string]bool) {
	text, err := os.ReadFile("docs/memory-order.md")
	require.NoError(t, err)
	tables, rest, ok := strings.Cut(string(text), "## All others")
	require.True(t, ok)
	for line := range strings.Lines(tables) {
		cells := strings.Split(line, "|")
		if !strings.HasPrefix(line, "| `") || !strings.Contains(cells[1], ".go") {
			continue
		}
		require.Len(t, cells, 7, line)
		name := quoted.FindStringSubmatch(cells[1])[1]
		row := accessOrder{function: name, file: strings.TrimSpace(cells[1][strings.LastIndex(cells[1], "`")+1:])}
		for part := range strings.SplitSeq(cells[2], ";") {
			var sequence []string
			for _, m := range quoted.FindAllStringSubmatch(part, -1) {
				sequence = append(sequence, m[1])
			}
			if sequence != nil {
				row.sequences = append(row.sequences, sequence)
			}
		}
		rows = append(rows, row)
	}
	others = make(map[string]bool)
	for _, m := range quoted.FindAllStringSubmatch(rest, -1) {
		others[m[1]] = true
	}
	return rows, others
}

// shortName returns the name of f as the tables have it: core.get.
func (f function) shortName() string {
	return strings.NewReplacer(libraryPath+".", "", "(*", "", ")", "").Replace(f.name)
}

// codeOf returns the code of the function with a short name.
func codeOf(code map[string]*compiled, name string) *compiled {
	if of, method, ok := strings.Cut(name, "."); ok && code[name] == nil {
		name = fmt.Sprintf("(*%s).%s", of, method)
	}
	return code[name]
}

// hasAtomic reports whether the source of f has an atomic operation. The names of methods tell.
func (f function) hasAtomic() (found bool) {
	ast.Inspect(f.decl, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if of, ok := method.X.(*ast.Ident); ok && of.Name == "atomic" {
			found = true
		} else if !ok || of.Name != "unsafe" && of.Name != "cmp" {
			found = found || slices.Contains([]string{"Load", "Store", "Swap", "CompareAndSwap", "Add", "And", "Or"}, method.Sel.Name)
		}
		return true
	})
	return found
}

// isAtomic has the atomic operations: instructions of arm64, and one function. Where the processor may
// be one without LSE, the compiler emits a loop of LDAXR and STLXR besides.
var isAtomic = map[string]bool{
	"LDAR": true, "STLR": true, "CASAL": true, "SWPAL": true, "LDADDAL": true, "LDORAL": true, "LDCLRAL": true, "StorePointer": true,
}

var (
	atomicOp     = regexp.MustCompile(`^([A-Z]+?)[DWBH]?$`)
	storePointed = "sync/atomic.StorePointer(SB)"
)

// atomic returns which atomic operation of the library in is, or "". Those of mutexes are not the
// library's.
func (in instruction) atomic() string {
	switch m := atomicOp.FindStringSubmatch(in.op); {
	case in.file == "mutex.go":
	case in.op == "CALL" && in.args == storePointed:
		return "StorePointer"
	case m != nil && isAtomic[m[1]]:
		return m[1]
	}
	return ""
}

// checkOrder checks the code of a row's function.
func checkOrder(t *testing.T, code map[string]*compiled, row accessOrder) {
	f := codeOf(code, row.function)
	if len(row.sequences) == 0 {
		return // the row says what the source does
	}
	require.NotNil(t, f, "the listing does not have it")
	flow := flowOf(f)
	for _, sequence := range row.sequences {
		var before []int
		for k, step := range sequence {
			places := f.find(t, step)
			if !assert.NotEmpty(t, places, "its code has no %q", step) {
				break
			}
			if k > 0 {
				assert.True(t, flow.isOrdered(before, places), "%q does not come before %q", sequence[k-1], step)
			}
			before = places
		}
	}
}

// find returns where in f a step is.
func (f *compiled) find(t *testing.T, step string) (places []int) {
	kind, what, _ := strings.Cut(step, " ")
	for i, in := range f.instructions {
		var is bool
		switch {
		case isAtomic[kind]:
			is = in.atomic() == kind && (!strings.Contains(what, ".") || kind == "StorePointer" || f.offsetAt(i) == fieldOf(t, what).Offset)
		case kind == "CALL":
			is = in.op == "CALL" && in.args == what+"(SB)"
		case what == "word": // of a slot
			is = map[string]string{"LDR": "MOVHU", "STR": "MOVH"}[kind] == in.op
		case what == "tableRoot":
			is = strings.Contains(in.args, "tableRoot(SB)")
		case what == "leaf":
			is = in.op == "MOVD" && indexed.MatchString(in.args)
		default:
			is = in.accesses(kind, fieldOf(t, what))
		}
		if is {
			places = append(places, f.start(i))
		}
	}
	return places
}

// start returns where the operation of an instruction begins: with the question whether the processor
// has LSE, if there is another way without it.
func (f *compiled) start(i int) int {
	if k := i - 1; strings.HasSuffix(f.instructions[i].atomic(), "AL") {
		for ; k > max(i-8, 0) && !strings.HasPrefix(f.instructions[k].args, "runtime.arm64HasATOMICS(SB)"); k-- {
		}
		return k
	}
	return i
}

var indexed = regexp.MustCompile(`^\(R\d+\)\(R\d+(<<3)?\), R\d+$`)

// fieldOf returns a field of one of the library's structures, and its offset there.
func fieldOf(t *testing.T, path string) (field reflect.StructField) {
	names := strings.Split(path, ".")
	of, ok := map[string]reflect.Type{
		"alarm": reflect.TypeFor[alarm](), "core": reflect.TypeFor[core](), "page": reflect.TypeFor[page](), "refUnit": reflect.TypeFor[refUnit](),
		"shard": reflect.TypeFor[shard](), "clock": reflect.TypeFor[clock](), "closing": reflect.TypeFor[closing](), "depot": reflect.TypeFor[depot](),
	}[names[0]]
	require.True(t, ok, path)
	offset := uintptr(0)
	for _, name := range names[1:] {
		field, ok = of.FieldByName(name)
		require.True(t, ok, path)
		for k := range field.Index { // through embedded structures
			offset += of.FieldByIndex(field.Index[:k+1]).Offset
		}
		of = field.Type
	}
	field.Offset = offset
	return field
}

// accesses reports whether in is a plain load or store of a field, alone or in a pair.
func (in instruction) accesses(kind string, field reflect.StructField) bool {
	if field.Type.Kind() == reflect.Array {
		return in.op == "ADD" && strings.HasPrefix(in.args, fmt.Sprintf("$%d, ", field.Offset))
	}
	size := field.Type.Size()
	if field.Type.Kind() == reflect.Slice {
		size = 8 // its pointer
	}
	suffix := map[uintptr]string{1: "B", 2: "H", 4: "W", 8: "D"}[size]
	m := map[string]*regexp.Regexp{"LDR": plainLoad, "STR": plainStore}[kind].FindStringSubmatch(in.op + " " + in.args)
	if m == nil || m[2] != suffix && (m[2] != "" || suffix != "D") {
		return false
	}
	at, _ := strconv.Atoi(m[3])
	return uintptr(at) == field.Offset || strings.HasSuffix(m[1], "P") && uintptr(at)+size == field.Offset
}

var (
	plainLoad  = regexp.MustCompile(`^(MOV|LDP)(D|W|H|B|)U? (-?\d+)?\(R\d+\), `)
	plainStore = regexp.MustCompile(`^(MOV|STP)(D|W|H|B|) (?:R\d+|ZR|\(R\d+, R\d+\)|\(ZR, ZR\)), (-?\d+)?\(R\d+\)$`)
)

var (
	atomicAddress = regexp.MustCompile(`\(R(\d+)\)`)
	destination   = regexp.MustCompile(`(?:^|, )R(\d+)$`)
	addition      = regexp.MustCompile(`^\$(\d+), R\d+, R\d+$`)
)

// offsetAt returns the offset in the address of an atomic operation: these have no operand for it, and
// so an addition comes before them.
func (f *compiled) offsetAt(i int) uintptr {
	address := atomicAddress.FindStringSubmatch(f.instructions[i].args)
	for k := i - 1; k >= 0 && address != nil; k-- {
		in := f.instructions[k]
		if m := destination.FindStringSubmatch(in.args); m == nil || m[1] != address[1] || strings.HasPrefix(in.op, "CMP") || strings.HasPrefix(in.op, "ST") {
			continue
		}
		if m := addition.FindStringSubmatch(in.args); in.op == "ADD" && m != nil {
			offset, _ := strconv.Atoi(m[1])
			return uintptr(offset)
		}
		break
	}
	return 0
}

// A flow says which instructions may come after each one of a function. The function returns behind
// the last one.
type flow [][]int

func flowOf(f *compiled) flow {
	index := make(map[int]int)
	for i, in := range slices.Backward(f.instructions) {
		index[in.pc] = i // the first one, for marks have no size
	}
	next := make(flow, len(f.instructions)+1)
	end := len(f.instructions)
	for i, in := range f.instructions {
		target, jumps := end, in.op == "JMP" || in.op == "B"
		to := in.args[strings.LastIndexByte(in.args, ' ')+1:]
		if pc, err := strconv.Atoi(to); err == nil && (jumps || branch.MatchString(in.op)) {
			target = index[pc]
		}
		switch {
		case in.op == "RET" || jumps:
			next[i] = []int{target}
		case in.op == "CALL" && strings.HasPrefix(in.args, "runtime.panic"), in.op == "CALL" && strings.HasPrefix(in.args, "runtime.gopanic"):
		case branch.MatchString(in.op):
			next[i] = []int{i + 1, target}
		default:
			next[i] = []int{i + 1}
		}
	}
	return next
}

var branch = regexp.MustCompile(`^(B(EQ|NE|L[OSET]|H[IS]|G[ET]|MI|PL|V[CS]|CC|CS)|CBN?ZW?|TBN?Z)$`)

// reach returns what may come after some places, without coming to those to avoid.
func (next flow) reach(from, avoid []int) map[int]bool {
	reached := make(map[int]bool)
	from = slices.Clone(from)
	for len(from) > 0 {
		i := from[len(from)-1]
		from = from[:len(from)-1]
		for _, k := range next[i] {
			if !reached[k] && !slices.Contains(avoid, k) {
				reached[k] = true
				from = append(from, k)
			}
		}
	}
	return reached
}

// isOrdered reports whether an instruction of before comes before one of after: either nobody comes to
// the latter who has not come by one of before, as with a load that acquires; or nobody returns who
// has come by the former, and has not come by one of after, as with a store that releases.
func (next flow) isOrdered(before, after []int) bool {
	end := len(next) - 1
	behind := next.reach(before, nil)
	past := next.reach([]int{0}, before)
	if slices.Contains(before, 0) {
		past = nil
	}
	for _, i := range after {
		if behind[i] && !past[i] {
			return true
		}
	}
	for _, i := range before {
		behind := next.reach([]int{i}, nil)
		if !next.reach([]int{i}, after)[end] && slices.ContainsFunc(after, func(k int) bool { return behind[k] }) {
			return true
		}
	}
	return false
}
