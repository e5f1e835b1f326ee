package pool

import (
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// A crash is a program that misuses a pool, and dies.
type crash struct {
	name string
	line string // the first of what it prints, with addresses as 0xADDR
	do   func()
}

// What all messages about one pool begin with.
const quotes = `pool "quotes" (pool.quote): `

// What follows the call and the error in them.
const (
	isFree     = "slot is not in use: it was Put before, or never came from Get; Put each slot once, when its last user is done"
	isReleased = "slot is not in use, not a slot of this pool: a slot was there, and its page has been released since; Put each slot once, when its last user is done"
	isUnknown  = "not a slot of this pool: no pool has memory there (is it from new, a variable, or a pool since closed?); Put only what Get returned"
	isInterior = "not a slot of this pool: it is 8 bytes into a slot; Put the pointer that Get returned"
	isOthers   = `not a slot of this pool: it belongs to pool "others" (pool.quote); Put a slot to the pool that it came from`
	isClosed   = "pool is closed: finish all use of a pool before Close"
	isPointer  = "is or contains a Go pointer, which the garbage collector cannot see there; store an index, a fixed-size array or an integer handle instead"
)

// quotePool makes the pool of a crash.
func quotePool(opts ...Option) *Pool[quote] {
	return New[quote](append(opts, WithName("quotes"))...)
}

// behind returns the place n bytes into the memory at x.
func behind(x *quote, n int) *quote { return (*quote)(unsafe.Add(unsafe.Pointer(x), n)) }

// putHere is a crash that puts once what f returns.
func putHere(f func(p *Pool[quote]) *quote) func() {
	return func() {
		p := quotePool()
		p.Put(f(p))
	}
}

var heapQuote = new(quote)

// misuses are the caller's fault, and what they print says what to do instead.
var misuses = []crash{
	{"double Put", quotes + "Put(0xADDR): " + isFree, func() {
		p := quotePool()
		x := p.Get()
		p.Put(x)
		p.Put(x)
	}},
	{"double Put on another goroutine", quotes + "Put(0xADDR): " + isFree, func() {
		p := quotePool()
		x := p.Get()
		p.Put(x)
		done := make(chan bool)
		go func() {
			p.Put(x)
			close(done)
		}()
		<-done
	}},
	{"double Put after Trim", quotes + "Put(0xADDR): " + isReleased, func() {
		p := quotePool()
		x := p.Get()
		p.Put(x)
		p.Trim()
		p.Put(x)
	}},
	{"double Put in PutBatch", quotes + "PutBatch(0xADDR): " + isFree, func() {
		p := quotePool()
		x := p.Get()
		p.PutBatch([]*quote{p.Get(), x, x})
	}},
	// PutRef panics only if a Put of the slot comes between two of its steps. Here
	// that Put is made not to see that the slot has a Ref.
	{"double Put by PutRef", quotes + "PutRef(0xADDR): " + isFree, func() {
		p := quotePool()
		x := p.Get()
		r := p.Ref(x)
		p.core.hasRefs.Store(false)
		p.Put(x)
		p.PutRef(r)
	}},
	{"Ref of a slot put before", quotes + "Ref(0xADDR): " + isFree, func() {
		p := quotePool()
		x := p.Get()
		p.Put(x)
		p.Ref(x)
	}},
	{"Put of a slot never handed out", quotes + "Put(0xADDR): " + isFree, putHere(func(p *Pool[quote]) *quote {
		return behind(p.Get(), 1000*p.Stats().SlotSize)
	})},
	{"Put of heap memory", quotes + "Put(0xADDR): " + isUnknown, putHere(func(*Pool[quote]) *quote { return heapQuote })},
	{"Put of stack memory", quotes + "Put(0xADDR): " + isUnknown, func() {
		var x quote
		quotePool().Put(&x)
	}},
	{"Put of global memory", quotes + "Put(0xADDR): " + isUnknown, putHere(func(*Pool[quote]) *quote { return &global })},
	{"PutBatch of global memory", quotes + "PutBatch(0xADDR): " + isUnknown, func() {
		quotePool().PutBatch([]*quote{&global})
	}},
	{"Ref of global memory", quotes + "Ref(0xADDR): " + isUnknown, func() { quotePool().Ref(&global) }},
	{"Put of an interior pointer", quotes + "Put(0xADDR): " + isInterior, putHere(func(p *Pool[quote]) *quote {
		return behind(p.Get(), 8)
	})},
	{"Put of another pool's slot", quotes + "Put(0xADDR): " + isOthers, putHere(func(*Pool[quote]) *quote {
		return New[quote](WithName("others")).Get()
	})},

	{"Get after Close", quotes + "Get: " + isClosed, func() { closed().Get() }},
	{"GetNoZero after Close", quotes + "Get: " + isClosed, func() { closed().GetNoZero() }},
	{"Put after Close", quotes + "Put: " + isClosed, func() { closed().Put(&global) }},
	{"GetBatch after Close", quotes + "GetBatch: " + isClosed, func() { closed().GetBatch(make([]*quote, 3)) }},
	{"PutBatch after Close", quotes + "PutBatch: " + isClosed, func() { closed().PutBatch([]*quote{&global}) }},
	{"Trim after Close", quotes + "Trim: " + isClosed, func() { closed().Trim() }},
	{"Ref after Close", quotes + "Ref: " + isClosed, func() { closed().Ref(&global) }},
	{"All after Close", quotes + "All: " + isClosed, func() {
		for range closed().All() {
		}
	}},

	{"New of a pointer type", "pool: *pool.quote cannot live off-heap: *pool.quote (*pool.quote) " + isPointer, func() { New[*quote]() }},
	{"New of a type with a string", "pool: pool.order cannot live off-heap: pool.order.Items[].Name (string) " + isPointer, func() { New[order]() }},
	{"New of size 0", "pool: struct {} cannot live off-heap: struct {} has size 0: there is nothing to pool; use the type's zero value",
		func() { New[struct{}]() }},
	{"New of a type too large", "pool: [524289]uint8 cannot live off-heap: [524289]uint8 has 524289 bytes, and a slot at most 524288 (MaxSlotSize); pool its parts, or allocate it with new",
		func() { New[[MaxSlotSize + 1]byte]() }},
	{"negative limit", quotes + "WithLimit(-1): a page of this pool takes 65536 bytes; allow at least that, or 0 for no limit",
		func() { quotePool(WithLimit(-1)) }},
	{"limit below a page", quotes + "WithLimit(65535): a page of this pool takes 65536 bytes; allow at least that, or 0 for no limit",
		func() { quotePool(WithLimit(1<<16 - 1)) }},
	{"negative warm pages", quotes + "WithWarmPages(-1): give a number of pages, or 0 for none",
		func() { quotePool(WithWarmPages(-1)) }},
	{"a pool without a name", "pool (pool.quote): Put(0xADDR): " + isUnknown, func() { New[quote]().Put(&global) }},
}

// copied returns a copy of p, as a struct has that is made with *pool.New[T]().
func copied[T any](p *Pool[T]) *Pool[T] {
	q := new(Pool[T])
	reflect.ValueOf(q).Elem().Set(reflect.ValueOf(p).Elem())
	return q
}

// refusals say what there is no more of, or know of no pool.
var refusals = []crash{
	{"Get beyond WithLimit", quotes + "memory limit reached: no slot is free, and WithLimit allows no more than 64 KiB; Put slots, or raise the limit", func() {
		p := quotePool(WithLimit(1 << 16))
		for range 1<<16/unsafe.Sizeof(quote{}) + 1 {
			p.Get()
		}
	}},
	{"Get beyond SetProcessLimit", quotes + "cannot get a page of 64 KiB: memory limit reached: all pools together have 64 KiB, and SetProcessLimit allows 100; Put slots, Trim pools, or raise the limit", func() {
		SetProcessLimit(100 << 10)
		p := quotePool()
		for range 1<<16/unsafe.Sizeof(quote{}) + 1 {
			p.Get()
		}
	}},
	{"Get without memory", quotes + "cannot get a page of 64 KiB: out of memory: refused", func() {
		refuse := *system.Load()
		refuse.commit = func([]byte) error { return errors.New("refused") }
		system.Store(&refuse)
		quotePool().Get()
	}},
	{"Get without address space", quotes + "cannot get a page of 64 KiB: out of memory: the system refuses to reserve more address space", func() {
		refuse := *system.Load()
		refuse.reserve = func(uintptr) ([]byte, error) { return nil, errors.New("refused") }
		system.Store(&refuse)
		quotePool().Get()
	}},
	{"a Pool that New did not make", "pool: use of a Pool that New did not make; make it with pool.New", func() { new(Pool[quote]).Get() }},
	{"a copy of a Pool", "pool: use of a copy of a Pool; keep the *Pool that New returned", func() { copied(quotePool()).Get() }},
}

// A program that misuses a pool ends with a message which says what it did, to
// which pool of what, and what to do instead.
func TestCrash(t *testing.T) {
	names := regexp.MustCompile(`^(pool ("quotes" )?\(pool\.quote\)|pool: .+ cannot live off-heap): `)
	advises := regexp.MustCompile(`[;:] (Put|finish|store|use|pool its|allow|give) `)
	for _, c := range misuses {
		assert.Regexp(t, names, c.line)
		assert.Regexp(t, advises, c.line)
	}
	address := regexp.MustCompile(`0x[0-9a-f]+`)
	for _, c := range slices.Concat(misuses, refusals) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, stderr, code := runSelf(t, crashEnv+"="+c.name)
			line, _, _ := strings.Cut(stderr, "\n")
			assert.Equal(t, "panic: "+c.line, address.ReplaceAllString(line, "0xADDR"), stderr)
			assert.Equal(t, 2, code)
		})
	}
}
