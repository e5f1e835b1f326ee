//go:build gc && !race && !msan && !asan && !pooldebug && !poolportable && !poolyield && !go1.28 && !poolunknown && linux && (amd64 || arm64)

package pool

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// These tests hold rules 1 to 4 of own_nosplit.go by the compiled code of core.get and core.put, as
// the compiler prints it with -S. They build the library, and a program that uses it
// (testdata/user), in the ways in which a user may.

const (
	libraryPath = "github.com/warmpage/pool"
	userPath    = libraryPath + "/testdata/user"
)

// A codeMode is a way to build the library.
type codeMode struct {
	name     string
	compiler string         // flags for the compiler, for the library only
	build    []string       // flags for go build
	hot      []string       // with a profile in which the calls in these functions are hot; "": in all
	test     bool           // the program is a test
	noInline bool           // nothing is inlined: helpers are called
	tooBig   bool           // so much is added to Get and Put of a Pool that they are not inlined
	calls    *regexp.Regexp // what more the compiler may call, or nil
	always   bool           // also without -allcode
}

var codeModes = []codeMode{
	{name: "optimised", always: true},
	{name: "-N -l", compiler: "-N -l", noInline: true, always: true},
	{name: "-l", compiler: "-l", noInline: true},
	{name: "-N", compiler: "-N"},
	{name: "checkptr", compiler: "-d=checkptr"},
	{name: "-cover", build: covered("set"), tooBig: true},
	{name: "-covermode=atomic", build: covered("atomic"), tooBig: true},
	{name: "-covermode=atomic -N -l", build: covered("atomic"), compiler: "-N -l", noInline: true},
	{name: "hot", hot: []string{""}},
	// Only with a part of the calls hot are tryGet and putSlow small enough to be inlined.
	{name: "hot around the fast paths", hot: []string{
		"(*core).get", "(*core).mustGet", "(*core).put", "(*core).putSlow", "(*core).putOne", "(*core).putEntering", "(*shard).putAt",
	}},
	// In tests that fuzz, the fast paths are off: see TestFastCodeFuzzing. Only such tests have
	// these functions.
	{
		name: "libfuzzer", compiler: "-d=libfuzzer", test: true,
		calls: regexp.MustCompile(`^runtime\.libfuzzerTrace(Const)?Cmp[1248]$`),
	},
}

// covered returns the flags for a build that counts coverage.
func covered(how string) []string {
	return []string{"-cover", "-covermode=" + how, "-coverpkg=" + libraryPath}
}

// runtimeCalls are the functions of the runtime that the fast paths and their helpers may call in
// every mode. None of them is a point of preemption: isAsyncSafePoint in runtime/preempt.go refuses
// whatever belongs to the runtime by its name, and these have no stack check.
var runtimeCalls = regexp.MustCompile(`^runtime\.(getm|gcWriteBarrier[1-8]` +
	// Checks that the compiler has not proved to be needless. They are not called: the indexes are
	// in range.
	`|panicIndexU?|panicBounds)$`)

// exits are where the fast paths go when they have let the shard go.
var exits = map[string][]string{
	"(*core).get":        {"(*core).mustGet"},
	"(*core).put":        {"(*core).putSlow", "(*core).putTidied"},
	"(*core).putClaimed": {"(*core).putClaimedSlow"},
}

var allCode = flag.Bool("allcode", false, "whether TestFastCode looks at all ways to compile, for a minute or two")

func TestFastCode(t *testing.T) {
	t.Parallel()
	for _, arch := range []string{"amd64", "arm64"} {
		for _, mode := range codeModes {
			if !*allCode && (!mode.always || testing.Short() && (arch != "amd64" || mode.compiler != "")) {
				continue
			}
			t.Run(arch+"/"+mode.name, func(t *testing.T) { checkCode(t, arch, mode) })
		}
	}
}

func checkCode(t *testing.T, arch string, mode codeMode) {
	if arch == "arm64" && mode.name == "-covermode=atomic -N -l" {
		t.Skip("the frame of put is 24 bytes larger than the linker allows, for this mode only")
	}
	program := filepath.Join(t.TempDir(), "user")
	// This links the program, which fails if functions that are nosplit and call each other have
	// too much on the stack.
	output := buildProgram(t, arch, mode, program, "./testdata/user")
	code := parseCode(output)

	for fast, exits := range exits {
		seen := make(map[string]map[string]int)
		seen[fast] = checkExclusive(t, code, fast, mode)
		for _, caller := range slices.Sorted(maps.Keys(seen)) {
			t.Logf("%s calls %v", caller, seen[caller])
		}
		assert.Equal(t, 1, seen[fast]["runtime.getm"], "%s finds its P once", fast)
		for _, exit := range exits {
			assert.Positive(t, seen[fast][exit], "%s is not inlined into %s", exit, fast)
		}
	}
	switch { // otherwise the profile has no effect, and the mode shows nothing
	case mode.hot == nil:
	case mode.hot[0] == "":
		assert.NotContains(t, code["(*core).tryGet"].calls(), "(*shard).get")
	default:
		assert.NotContains(t, code["(*core).mustGet"].calls(), "(*core).tryGet")
		assert.NotContains(t, code["(*core).putOne"].calls(), "(*core).putEntering")
	}
	if !mode.noInline && !mode.tooBig && !mode.test {
		checkUser(t, code, string(output))
	}

	if arch == runtime.GOARCH && !mode.test {
		run := exec.Command(program)
		run.Env = append(os.Environ(), "POOL_FASTPATH=", "GOCOVERDIR="+t.TempDir())
		stdout, err := run.Output()
		require.NoError(t, err)
		assert.Equal(t, accessNosplit, strings.TrimSpace(string(stdout)))
	}
}

// buildProgram builds a program with the library in a mode, and returns what the compiler prints.
func buildProgram(t *testing.T, arch string, mode codeMode, program string, args ...string) []byte {
	compiler := "-S " + mode.compiler
	if mode.hot != nil {
		file := filepath.Join(t.TempDir(), "hot.pprof")
		writeHotProfile(t, file, mode.hot)
		compiler += " -pgoprofile=" + file // -pgo would have the standard library compiled anew
	}
	command := []string{"build"}
	if mode.test {
		command = []string{"test", "-c"}
	}
	command = append(command, "-o", program, "-gcflags="+libraryPath+"="+compiler, "-gcflags="+userPath+"=-S -m")
	return goCommand(t, arch, slices.Concat(command, mode.build, args)...)
}

// checkUser looks at what calls of Get, GetNoZero and Put are in a user's package: they are inlined,
// and the fast path itself is called.
func checkUser(t *testing.T, code map[string]*compiled, output string) {
	for caller, want := range map[string]struct{ method, core string }{
		"main.get":       {"Get", "(*core).get"},
		"main.getNoZero": {"GetNoZero", "(*core).get"},
		"main.put":       {"Put", "(*core).put"},
	} {
		inlined := regexp.MustCompile(`testdata/user/main\.go:\d+:\d+: inlining call to pool\.\(\*Pool\[[^\n]*\]\)\.` + want.method + "\n")
		assert.True(t, inlined.MatchString(output), "%s is inlined", want.method)
		require.NotNil(t, code[caller], caller)
		calls := code[caller].calls()
		delete(calls, "runtime.morestack_noctxt")
		assert.Equal(t, map[string]int{want.core: 1}, calls, caller)
	}
}

// checkExclusive checks a fast path, and returns what it calls: nothing of the library but its exit,
// in no mode. A nosplit function that it called could be preempted in its prologue.
func checkExclusive(t *testing.T, code map[string]*compiled, name string, mode codeMode) map[string]int {
	f := code[name]
	require.NotNil(t, f, "the listing does not have %s", name)
	calls := f.calls()

	assert.Contains(t, f.text, "NOSPLIT", "%s: its text line", name)
	// From the mark on, the runtime does not preempt. It comes after the instructions that make the
	// frame, and is never taken back.
	const unsafePoint = "$0, $-2" // PCDATA_UnsafePoint, UnsafePointUnsafe in internal/abi
	var marks []string
	for _, in := range f.instructions {
		if in.op == "PCDATA" && strings.HasPrefix(in.args, "$0,") {
			marks = append(marks, in.args)
		}
	}
	// (A large frame takes several instructions, which have a mark of their own.)
	if len(marks) == 3 {
		assert.Equal(t, []string{unsafePoint, "$0, $-1"}, marks[:2], "%s: marks for its frame", name)
		marks = marks[2:]
	}
	assert.Equal(t, []string{unsafePoint}, marks, "%s: its marks for unsafe points", name)
	for _, in := range f.prologue() {
		assert.True(t, in.makesFrame(), "%s: %q comes before the mark", name, in)
	}

	for callee := range calls {
		switch {
		case runtimeCalls.MatchString(callee):
		case mode.calls != nil && mode.calls.MatchString(callee):
		case slices.Contains(exits[name], callee):
		default:
			assert.Fail(t, "a call that is not on the list", "%s calls %s", name, callee)
		}
	}
	return calls
}

// The runtime itself says that it preempts nowhere in the fast paths but in their prologues, when
// they have not begun.
func TestFastCodeAsksRuntime(t *testing.T) {
	t.Parallel()
	for _, mode := range codeModes {
		if mode.name != "optimised" && (!*allCode || mode.name != "-covermode=atomic") {
			continue
		}
		t.Run(mode.name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "safepoints")
			buildProgram(t, runtime.GOARCH, mode, program, "-ldflags=-checklinkname=0", "./testdata/safepoints")
			offsets := safePoints(t, program)
			require.Greater(t, len(offsets["(*core).putOne"]), 50, "ordinary functions can be preempted")
			for name := range exits {
				require.Contains(t, offsets, name)
				for i, offset := range offsets[name] {
					assert.EqualValues(t, i, offset, "%s can be preempted after its prologue", name)
				}
				assert.Less(t, len(offsets[name]), 20, "%s has a short prologue", name)
			}
		})
	}
}

// safePoints returns at which offsets in each function of the library the runtime would preempt.
func safePoints(t *testing.T, program string) (offsets map[string][]uint64) {
	file, err := elf.Open(program)
	require.NoError(t, err)
	defer file.Close()
	symbols, err := file.Symbols()
	require.NoError(t, err)
	args := []string{strconv.Itoa(mCurg)}
	for _, s := range symbols {
		if name, ok := strings.CutPrefix(s.Name, libraryPath+"."); ok && elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			args = append(args, name, strconv.FormatUint(s.Value, 10), strconv.FormatUint(s.Size, 10))
		}
	}
	run := exec.Command(program, args...)
	run.Env = append(os.Environ(), "GOCOVERDIR="+t.TempDir())
	stdout, err := run.Output()
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(stdout, &offsets))
	return offsets
}

// A compiled function is what the compiler prints of it.
type compiled struct {
	name, text   string
	instructions []instruction
	relocations  map[string]bool // what the linker fills in for calls
}

type instruction struct {
	pc       int
	file     string
	op, args string
}

func (in instruction) String() string { return in.op + "\t" + in.args }

var (
	listedFunction    = regexp.MustCompile(`^(\S.*) STEXT `)
	listedInstruction = regexp.MustCompile(`^\t0x[0-9a-f]+ (\d+) \((?:.*?/)?([^/]*?)(?::\d+)?\)\t([A-Z]\S*)(?:\t(.*))?$`)
	listedCall        = regexp.MustCompile(`^\trel \S+ t=R_(?:CALL|DUFF)\w* (.*)\+\w+$`)
	listedSymbol      = regexp.MustCompile(`^(.*)\(SB\)$`)
	withinFunction    = regexp.MustCompile(`^\d+$`)
)

// parseCode parses what the compiler prints with -S. Functions of the library go without its path,
// and those of the program have main before them, in a test too.
func parseCode(listing []byte) map[string]*compiled {
	text := strings.ReplaceAll(string(listing), userPath+".", "main.")
	text = strings.ReplaceAll(text, libraryPath+".", "")
	code := make(map[string]*compiled)
	var f *compiled
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "\t") {
			f = nil
			if m := listedFunction.FindStringSubmatch(line); m != nil {
				f = &compiled{name: m[1], relocations: make(map[string]bool)}
				code[f.name] = f
			}
			continue
		}
		if f == nil {
			continue
		}
		if m := listedCall.FindStringSubmatch(line); m != nil {
			f.relocations[m[1]] = true
		} else if m := listedInstruction.FindStringSubmatch(line); m != nil {
			pc, _ := strconv.Atoi(m[1])
			if in := (instruction{pc, m[2], m[3], m[4]}); in.op == "TEXT" {
				f.text = in.args
			} else {
				f.instructions = append(f.instructions, in)
			}
		}
	}
	return code
}

// callsInOrder returns the functions that are called or jumped to. A call of what has no name is
// there by its instruction.
func (f *compiled) callsInOrder() (calls []string) {
	for _, in := range f.instructions {
		jump := in.op == "JMP" || in.op == "B"
		if !jump && in.op != "CALL" && in.op != "BL" && !strings.HasPrefix(in.op, "DUFF") {
			continue
		}
		if m := listedSymbol.FindStringSubmatch(in.args); m != nil {
			calls = append(calls, m[1])
		} else if !jump || !withinFunction.MatchString(in.args) {
			calls = append(calls, in.String())
		}
	}
	return calls
}

// calls returns how often each function is called or jumped to.
func (f *compiled) calls() map[string]int {
	calls := make(map[string]int)
	for _, name := range f.callsInOrder() {
		calls[name]++
	}
	for name := range f.relocations { // in case that an instruction has passed unnoticed
		calls[name] = max(calls[name], 1)
	}
	return calls
}

// prologue returns the instructions before the first mark for unsafe points.
func (f *compiled) prologue() (before []instruction) {
	for _, in := range f.instructions {
		switch {
		case in.op == "PCDATA" && strings.HasPrefix(in.args, "$0,"):
			return before
		case in.op != "PCDATA" && in.op != "FUNCDATA" && in.op != "NOP":
			before = append(before, in)
		}
	}
	return before
}

// framePart is an operand of an instruction that makes a frame: the registers are those for that.
var framePart = regexp.MustCompile(`^(BP|SP|(-?\d+)?\(?(RSP|R20|R29|R30)\)?|\(R29|R30\)|\$-?\d+)$`)

// makesFrame reports whether an instruction does nothing but make a stack frame.
func (in instruction) makesFrame() bool {
	return !slices.ContainsFunc(strings.Split(in.args, ", "), func(part string) bool { return !framePart.MatchString(part) })
}

// goCommand runs the go command for Linux on arch and returns what it prints. It fails the test if
// that fails.
func goCommand(t *testing.T, arch string, args ...string) []byte {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command: ", err)
	}
	cmd := exec.Command("go", append([]string{args[0], "-buildvcs=false"}, args[1:]...)...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=", "GODEBUG=", "POOL_FASTPATH=")
	output, err := cmd.CombinedOutput()
	if err != nil { // without the listing
		said := regexp.MustCompile(`(?m)^(\t| +rel |\S+ S[A-Z]+ ).*\n`).ReplaceAll(output, nil)
		require.NoError(t, err, "go %s\n%s", strings.Join(args, " "), said[max(0, len(said)-4000):])
	}
	return output
}

// writeHotProfile writes a profile of a program in which the calls in some functions of the library
// are hot, or if callers has "", in all of them.
func writeHotProfile(t *testing.T, file string, callers []string) {
	const functionStartLine = 5 // the one field that profile_proto.go does without
	p := &protoProfile{
		strings:   map[string]uint64{"": 0},
		table:     []string{""},
		functions: make(map[string]uint64),
		locations: make(map[runtime.Frame]uint64),
	}
	p.message(profileSampleType, func(m *proto) {
		m.number(valueType, p.text("samples"))
		m.number(valueUnit, p.text("count"))
	})
	location := func(f function, line int) (id uint64) {
		id, ok := p.functions[f.name]
		if !ok {
			id = uint64(len(p.functions)) + 1
			p.functions[f.name] = id
			p.message(profileFunction, func(m *proto) {
				m.number(functionID, id)
				m.number(functionName, p.text(f.name))
				m.number(functionSystemName, p.text(f.name))
				m.number(functionFile, p.text(f.file))
				m.number(functionStartLine, uint64(f.line))
			})
		}
		place := runtime.Frame{Function: f.name, Line: line}
		at, ok := p.locations[place]
		if !ok {
			at = uint64(len(p.locations)) + 1
			p.locations[place] = at
			p.message(profileLocation, func(m *proto) {
				m.number(locationID, at)
				m.message(locationLine, func(l *proto) {
					l.number(lineFunction, id)
					l.number(lineNumber, uint64(line))
				})
			})
		}
		return at
	}
	sample := func(caller, callee function, line int, weight uint64) {
		var stack, values proto
		stack.varint(location(callee, callee.line))
		stack.varint(location(caller, line))
		values.varint(weight)
		p.message(profileSample, func(m *proto) {
			m.bytes(sampleLocation, stack)
			m.bytes(sampleValue, values)
		})
	}
	functions := parseFunctions(t)
	byName := make(map[string][]function)
	for _, f := range functions {
		byName[f.decl.Name.Name] = append(byName[f.decl.Name.Name], f)
	}
	// The compiler takes those calls for hot that make up 99 % of all. Of which type a method is does
	// not matter here: the compiler passes over calls that are not there.
	hot := 0
	for _, f := range functions {
		if !slices.Contains(callers, "") && !slices.Contains(callers, strings.TrimPrefix(f.name, libraryPath+".")) {
			continue
		}
		ast.Inspect(f.decl, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name := ""
			switch fun := call.Fun.(type) {
			case *ast.Ident:
				name = fun.Name
			case *ast.SelectorExpr:
				name = fun.Sel.Name
			}
			for _, callee := range byName[name] {
				sample(f, callee, f.lineOf(call), 100)
				hot++
			}
			return true
		})
	}
	for line := range hot/10 + 1 {
		cold := function{name: libraryPath + ".cold", line: 1}
		sample(cold, function{name: libraryPath + ".colder", line: 1}, line+1, 10)
	}
	for _, s := range p.table {
		p.bytes(profileStrings, []byte(s))
	}
	require.NoError(t, os.WriteFile(file, p.proto, 0o600))
}

// A function is one of the library.
type function struct {
	name string // as the linker has it
	file string
	line int
	decl *ast.FuncDecl
	set  *token.FileSet
}

// lineOf returns the line of a node.
func (f function) lineOf(n ast.Node) int { return f.set.Position(n.Pos()).Line }

// parseFunctions parses the library as it is built for this test.
func parseFunctions(t *testing.T) (functions []function) {
	pkg, err := build.ImportDir(".", 0)
	require.NoError(t, err)
	set := token.NewFileSet()
	for _, name := range pkg.GoFiles {
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range file.Decls {
			decl, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			f := function{file: name, line: set.Position(decl.Pos()).Line, decl: decl, set: set}
			f.name = libraryPath + "." + decl.Name.Name
			if decl.Recv != nil {
				switch recv := decl.Recv.List[0].Type.(type) {
				case *ast.StarExpr:
					if of, ok := recv.X.(*ast.Ident); ok {
						f.name = fmt.Sprintf("%s.(*%s).%s", libraryPath, of.Name, decl.Name.Name)
					}
				case *ast.Ident:
					f.name = fmt.Sprintf("%s.%s.%s", libraryPath, recv.Name, decl.Name.Name)
				}
			}
			functions = append(functions, f)
		}
	}
	return functions
}

// In a test that fuzzes, the compiler adds calls of other functions to get and put. The fast paths
// are off there, in the process that go test starts and in those that it starts in turn.
func TestFastCodeFuzzing(t *testing.T) {
	for _, args := range [][]string{ // as cmd/go and internal/fuzz have them
		{"user.test", "-test.paniconexit0", "-test.fuzzcachedir=/cache/fuzz/user", "-test.timeout=10m0s", "-test.fuzz=FuzzUse"},
		{"user.test", "-test.fuzzworker", "-test.paniconexit0", "-test.fuzzcachedir=/cache/fuzz/user", "-test.fuzz=FuzzUse"},
	} {
		assert.True(t, isFuzzing(args), args)
	}
	for _, args := range [][]string{
		{"user"}, {"user", "fuzz"},
		{"user.test", "-test.paniconexit0", "-test.timeout=10m0s", "-test.run=FuzzUse"},
	} {
		assert.False(t, isFuzzing(args), args)
	}
	if !*allCode {
		t.Skip("the rest compiles much of the standard library: run it with -allcode")
	}

	file := filepath.Join(t.TempDir(), "report")
	t.Setenv("POOL_TEST_REPORT", file)
	goCommand(t, runtime.GOARCH, "test", "-run=^$", "-fuzz=FuzzUse", "-fuzztime=1x", "-parallel=1", "./testdata/user")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	workers, others := 0, 0
	for line := range bytes.Lines(text) {
		var report struct {
			Args   []string
			Access string
		}
		require.NoError(t, json.Unmarshal(line, &report))
		assert.True(t, isFuzzing(report.Args), report.Args)
		assert.NotEqual(t, accessNosplit, report.Access, report.Args)
		if slices.Contains(report.Args, "-test.fuzzworker") {
			workers++
		} else {
			others++
		}
	}
	t.Logf("%s", text)
	assert.Positive(t, workers)
	assert.Positive(t, others)
}

// Get and Put allocate nothing, and do not make their callers allocate.
func TestFastCodeDoesNotAllocate(t *testing.T) {
	p := newStill[obj64](t)
	p.Put(p.Get())
	assert.Zero(t, testing.AllocsPerRun(1000, func() {
		x, y := p.Get(), p.GetNoZero()
		p.Put(x)
		p.Put(y)
	}))
}
