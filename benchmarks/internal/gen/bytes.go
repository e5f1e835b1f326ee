package gen

import (
	"slices"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// A bytesSide has the snippets of one side of the bytes study, as the template sees them.
type bytesSide struct {
	Side    catalog.Side
	Type    string // its name
	imports []string

	PoolType string
	Make     string
	Close    string
	Local    string // makes p
	T        string // of x
	Get      string
	Bytes    string
	Put      string
}

var bytesSides = []bytesSide{
	{
		Side: wire.BytesOnHeap, Type: "bytesOnHeap", imports: []string{"github.com/warmpage/pool"},
		PoolType: "*pool.Bytes", Make: "pool.NewBytes()", Close: closeErr, Local: local,
		T: "[]byte", Get: "x := p.Get(n)", Bytes: "x", Put: "p.Put(x)",
	},
	{
		Side: wire.BytesOffHeap, Type: "bytesOffHeap", imports: []string{"github.com/warmpage/pool"},
		PoolType: "*pool.Bytes", Make: "pool.NewBytes(pool.WithOffHeap())", Close: closeErr, Local: local,
		T: "[]byte", Get: "x := p.Get(n)", Bytes: "x", Put: "p.Put(x)",
	},
	{
		Side: catalog.SyncPool, Type: "bytesSyncPool", imports: []string{"sync"},
		PoolType: "*sync.Pool", Make: "&sync.Pool{New: func() any { return new([]byte) }}", Local: local,
		T: "*[]byte", Get: "x := p.Get().(*[]byte)\n" + growIn("*x", "(*x)"), Bytes: "*x", Put: "p.Put(x)",
	},
	{
		Side: catalog.ByteBuffer, Type: "bytesByteBuffer", imports: []string{"github.com/valyala/bytebufferpool"},
		PoolType: "*bytebufferpool.Pool", Make: "new(bytebufferpool.Pool)", Local: local,
		T: "*bytebufferpool.ByteBuffer", Get: "x := p.Get()\n" + growIn("x.B", "x.B"), Bytes: "x.B", Put: "p.Put(x)",
	},
	{
		Side: wire.Mcache, Type: "bytesMcache", imports: []string{"github.com/bytedance/gopkg/lang/mcache"},
		PoolType: "struct{}", Make: "struct{}{}",
		T: "[]byte", Get: "x := mcache.Malloc(n)", Bytes: "x", Put: "mcache.Free(x)",
	},
	{
		Side: wire.Make, Type: "bytesMake",
		PoolType: "struct{}", Make: "struct{}{}",
		T: "[]byte", Get: "x := make([]byte, n)", Bytes: "x", Put: "l.Keep = x",
	},
}

const local = "p := l.p"

// growIn returns a snippet for a slice that a pool of slices has handed out. If it is too small, a
// new one takes its place. operand is the slice where it is sliced.
func growIn(slice, operand string) string {
	return "if cap(" + slice + ") < n {\n" + slice + " = make([]byte, n)\n}\n" + slice + " = " + operand + "[:n]"
}

// bytesImports are those of the file, standard library first.
func bytesImports() []string {
	paths := []string{"github.com/warmpage/pool/benchmarks/internal/wire"}
	for _, s := range bytesSides {
		paths = append(paths, s.imports...)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
