package gen

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
)

// A side has the snippets of one side. In them T stands for the object's type and
// SIZE for its size.
type side struct {
	name    catalog.Side
	ident   string // in names of types and files
	imports []string

	poolType string
	make     string
	close    string
	get      string
	getRaw   string // if the side itself does something else in raw mode
	zero     string // clears x in zeroed mode, unless get does
	put      string

	index bool // Get makes h, an index of p.Slots, and Put takes it
	batch bool
	bytes bool // x has its bytes in x.B
	bare  bool // there is no p
}

const (
	zeroObject = "*x = T{}"
	closeErr   = "Check(l.p.Close())"

	malloc = "m, err := p.UnsafeMalloc(SIZE)\n"
	free   = "Check(p.UnsafeFree(unsafe.Pointer(x)))"
)

var sides = []side{
	{
		name: catalog.Pool, ident: "pool", imports: []string{"github.com/warmpage/pool"},
		poolType: "*pool.Pool[T]", make: "pool.New[T]()", close: closeErr,
		get: "x := p.Get()", getRaw: "x := p.GetNoZero()", put: "p.Put(x)",
	},
	{
		name: catalog.PoolBatch, ident: "batch", imports: []string{"github.com/warmpage/pool"}, batch: true,
		poolType: "*pool.Pool[T]", make: "pool.New[T]()", close: closeErr,
		get: "x := p.Get()", put: "p.Put(x)",
	},
	{
		name: catalog.SyncPool, ident: "syncPool", imports: []string{"sync"},
		poolType: "*sync.Pool", make: "&sync.Pool{New: func() any { return new(T) }}",
		get: "x := p.Get().(*T)", zero: zeroObject, put: "p.Put(x)",
	},
	{
		name: catalog.Syncx, ident: "syncx", imports: []string{"github.com/bytedance/gopkg/lang/syncx"},
		poolType: "*syncx.Pool", make: "&syncx.Pool{New: func() any { return new(T) }}",
		get: "x := p.Get().(*T)", zero: zeroObject, put: "p.Put(x)",
	},
	{
		name: catalog.Modernc, ident: "modernc", imports: []string{"unsafe", "modernc.org/memory"},
		poolType: "*memory.Allocator", make: "new(memory.Allocator)", close: closeErr,
		get: malloc + "Check(err)\nx := (*T)(m)", zero: zeroObject, put: free,
	},
	{
		name: catalog.ModerncLock, ident: "moderncLock", imports: []string{"unsafe"},
		poolType: "*LockedAllocator", make: "new(LockedAllocator)", close: closeErr,
		get:  "p.Mu.Lock()\n" + malloc + "p.Mu.Unlock()\nCheck(err)\nx := (*T)(m)",
		zero: zeroObject,
		put:  "p.Mu.Lock()\nfreeErr := p.UnsafeFree(unsafe.Pointer(x))\np.Mu.Unlock()\nCheck(freeErr)",
	},
	{
		name: catalog.ByteBuffer, ident: "byteBuffer", bytes: true,
		imports:  []string{"encoding/binary", "github.com/valyala/bytebufferpool"},
		poolType: "*bytebufferpool.Pool", make: "new(bytebufferpool.Pool)",
		get:  "x := p.Get()\nif cap(x.B) < SIZE {\nx.B = make([]byte, SIZE)\n}\nx.B = x.B[:SIZE]",
		zero: "clear(x.B)", put: "p.Put(x)",
	},
	{
		name: catalog.FreeList, ident: "freeList",
		poolType: "*FreeList[T]", make: "new(FreeList[T])",
		get: "x := p.Get()", zero: zeroObject, put: "p.Put(x)",
	},
	{
		name: catalog.Slab, ident: "slab", index: true,
		poolType: "*Slab[T]", make: "new(Slab[T])",
		get: "h := p.Get()", zero: zeroObject, put: "p.Put(h)",
	},
	{
		name: catalog.SlabLock, ident: "slabLock", index: true,
		poolType: "*LockedSlab[T]", make: "NewLockedSlab[T]()",
		get: "h := p.Get()", zero: zeroObject, put: "p.Put(h)",
	},
	{
		name: catalog.Channel, ident: "channel",
		poolType: "chan *T", make: "make(chan *T, ChannelCap)",
		get:  "var x *T\nselect {\ncase x = <-p:\ndefault:\nx = new(T)\n}",
		zero: zeroObject,
		put:  "select {\ncase p <- x:\ndefault:\n}",
	},
	{
		name: catalog.New, ident: "new", bare: true,
		poolType: "struct{}", make: "struct{}{}",
		get: "x := new(T)", put: "l.Keep = x",
	},
	{
		name: catalog.Floor, ident: "floor",
		poolType: "*Floor[T]", make: "NewFloor[T]()", close: "l.p.Close()",
		get: "x := p.Get()", zero: zeroObject, put: "p.Put(x)",
	},
}

// heapSides are those of the goheap study. What makes their pools is in goheap.go of package loops.
var heapSides = []side{
	{
		name: catalog.Kept, ident: "heapKept", imports: []string{"github.com/warmpage/pool"},
		poolType: "*pool.Pool[T]", make: "NewKept()", close: closeErr,
		get: "x := p.Get()", put: "p.Put(x)",
	},
	{
		name: catalog.Reset, ident: "heapReset", imports: []string{"github.com/warmpage/pool"},
		poolType: "*pool.Pool[T]", make: "NewReset()", close: closeErr,
		get: "x := p.Get()", put: "p.Put(x)",
	},
	{
		name: catalog.Cleared, ident: "heapCleared", imports: []string{"github.com/warmpage/pool"},
		poolType: "*pool.Pool[T]", make: "NewCleared()", close: closeErr,
		get: "x := p.Get()", put: "p.Put(x)",
	},
	{
		name: catalog.SyncPool, ident: "heapSyncPool", imports: []string{"sync"},
		poolType: "*sync.Pool", make: "NewSyncKept()",
		get: "x := p.Get().(*T)", put: "p.Put(x)",
	},
	{
		name: catalog.SyncPoolCleared, ident: "heapSyncCleared", imports: []string{"sync"},
		poolType: "*sync.Pool", make: "&sync.Pool{New: func() any { return new(T) }}",
		get: "x := p.Get().(*T)", put: zeroObject + "\np.Put(x)",
	},
	{
		name: catalog.New, ident: "heapNew", bare: true,
		poolType: "struct{}", make: "struct{}{}",
		get: "x := new(T)", put: "l.Keep = x",
	},
}

// allImports are those of a file with some sides, standard library first.
func allImports(sides ...side) []string {
	paths := []string{"github.com/warmpage/pool/benchmarks/internal/catalog"}
	for _, s := range sides {
		paths = append(paths, s.imports...)
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

func (s side) variant(size int, mode catalog.Mode) variant {
	v := variant{
		Side: s.name, Size: size, Mode: mode, Batch: s.batch,
		Type: s.ident + strconv.Itoa(size) + strings.ToUpper(string(mode[:1])) + string(mode[1:]),
		T:    "Obj" + strconv.Itoa(size),
	}
	get := s.get
	if s.index {
		v.Find = "&p.Slots[h]"
		get += "\nx := " + v.Find
	}
	switch {
	case mode == catalog.Raw && s.getRaw != "":
		get = s.getRaw
	case mode == catalog.Zeroed && s.zero != "":
		get += "\n" + s.zero
	}
	if s.bytes {
		v.T = "bytebufferpool.ByteBuffer"
	}
	if !s.bare {
		v.Local = "p := l.p"
	}
	expand := strings.NewReplacer("*T", "*"+v.T, "[T]", "["+v.T+"]", "(T)", "("+v.T+")", "T{}", v.T+"{}", "SIZE", strconv.Itoa(size)).Replace
	v.H, v.Handle, v.Common, v.Table = "x", expand("*T"), expand("Common[T]"), expand("*Pointers[T]")
	if s.index {
		v.H, v.Handle, v.Common, v.Table = "h", "uint32", "IndexCommon", "*Indexes"
	}
	v.PoolType, v.Make, v.Close = expand(s.poolType), expand(s.make), expand(s.close)
	v.Get, v.Put = expand(get), expand(s.put)
	v.Write, v.Read = s.touch(size)
	return v
}

// touch returns snippets that write and read one word in each cache line of x, so
// that no side gets away without the cache misses that a user would have.
func (s side) touch(size int) (write, read string) {
	const line, words = 64, 8
	if size == catalog.HeapSize { // these words of it are in its two cache lines
		return "x.N[0], x.N[4] = uint64(i), uint64(i)", "sum += x.N[0] + x.N[4]"
	}
	write, read, end, step := "x[%s] = uint64(i)", "sum += x[%s]", "len(x)", words
	if s.bytes {
		write, read = "binary.NativeEndian.PutUint64(x.B[%s:], uint64(i))", "sum += binary.NativeEndian.Uint64(x.B[%s:])"
		end, step = "len(x.B)", line
	}
	if size <= line {
		return fmt.Sprintf(write, "0"), fmt.Sprintf(read, "0")
	}
	loop := fmt.Sprintf("for k := 0; k < %s; k += %d {\n", end, step)
	return loop + fmt.Sprintf(write, "k") + "\n}", loop + fmt.Sprintf(read, "k") + "\n}"
}
