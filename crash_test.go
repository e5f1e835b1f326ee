package pool

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// A crash is a program that misuses a pool and dies.
type crash struct {
	name string
	line string // the first line that it prints, with addresses as 0xADDR
	do   func()
}

// All messages about a quotePool begin with quotes.
const quotes = `pool "quotes" (pool.quote): `

// These texts follow the name of the call.
const (
	isFree     = "slot is not in use: it was Put before, or never came from Get; Put each slot once, when its last user is done"
	isReleased = "slot is not in use, not a slot of this pool: a page of this pool or another was there, and has been released since; Put each slot once, when its last user is done, and before Close"
	isUnknown  = "not a slot of this pool: no pool has had memory there (is it from new, or a variable?); Put only what Get returned"
	isInterior = "not a slot of this pool: it is 8 bytes into a slot; Put the pointer that Get returned, once"
	isOthers   = `not a slot of this pool: the memory belongs to pool "others" (pool.quote) now; Put each slot once, and to the pool that it came from`
	isClosed   = "pool is closed: finish all use of a pool before Close"
	isPointer  = "is or contains a Go pointer, which the garbage collector cannot see there; make the pool with WithGoHeap(), or store an index, a fixed-size array or an integer handle instead"
)

// behind returns the place n bytes into the memory at x.
func behind(x *quote, n int) *quote { return (*quote)(unsafe.Add(unsafe.Pointer(x), n)) }

// putHere returns a crash that puts what f returns.
func putHere(f func(p *Pool[quote]) *quote) func() {
	return func() {
		p := quotePool()
		p.Put(f(p))
	}
}

var heapQuote = new(quote)

// misuses are the caller's fault. Their messages say what to do instead.
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
	// PutRef panics only if a Put of the slot comes between two of its steps. Here, that Put does
	// not see that the slot has a Ref.
	{"double Put by PutRef", quotes + "PutRef(0xADDR): " + isFree, func() {
		p := quotePool()
		x := p.Get()
		r := p.Ref(x)
		p.core.hasRefs.Store(false) // this Put shall not end the Ref, like one that is under way
		for _, s := range p.core.shards.Load().present() {
			s.lower(signalRefs)
		}
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
		return behind(p.Get(), 400*p.Stats().SlotSize)
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
	{"New of size 0", "pool: struct {} cannot live in a pool: struct {} has size 0: there is nothing to pool; use the type's zero value",
		func() { New[struct{}]() }},
	{"New of a type too large", "pool: [67108865]uint8 cannot live in a pool: [67108865]uint8 has 67108865 bytes, and a slot at most 67108864 (MaxSlotSize); pool its parts, or allocate it with new",
		func() { New[[MaxSlotSize + 1]byte]() }},
	{"negative limit", quotes + "WithLimit(-1): a page takes 65536 bytes; allow at least that, or 0 for no limit",
		func() { quotePool(WithLimit(-1)) }},
	{"limit below a page", quotes + "WithLimit(65535): a page takes 65536 bytes; allow at least that, or 0 for no limit",
		func() { quotePool(WithLimit(1<<16 - 1)) }},
	{"negative warm pages", quotes + "WithWarmPages(-1): give a number of pages, or 0 for none",
		func() { quotePool(WithWarmPages(-1)) }},
	{"alignment to no power of two", quotes + "WithAlign(48): give a power of two from 1 to 4096, in bytes",
		func() { quotePool(WithAlign(48)) }},
	{"a pool without a name", "pool (pool.quote): Put(0xADDR): " + isUnknown, func() { New[quote]().Put(&global) }},
}

// refusals are Gets that find no memory, and Gets from a Pool that New did not make.
var refusals = []crash{
	{"Get beyond WithLimit", quotes + "limit reached: no slot is free, and WithLimit allows no more than 64 KiB; Put slots, or raise the limit", func() {
		p := quotePool(WithLimit(1 << 16))
		for range 1<<16/unsafe.Sizeof(quote{}) + 1 {
			p.Get()
		}
	}},
	{"Get beyond SetProcessLimit", quotes + "cannot get a page of 64 KiB: limit reached: all pools together have 64 KiB, and SetProcessLimit allows 100; Put slots, Trim pools, or raise the limit", func() {
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
	{"Get without address space", quotes + "cannot get a page of 64 KiB: out of memory: no more address space: refused", func() {
		refuse := *system.Load()
		refuse.reserve = func(uintptr) ([]byte, error) { return nil, errors.New("refused") }
		system.Store(&refuse)
		quotePool().Get()
	}},
	{"a Pool that New did not make", "pool: use of a Pool that New did not make; make it with pool.New", func() { new(Pool[quote]).Get() }},
	{"a copy of a Pool", "pool: use of a copy of a Pool; keep the *Pool that New returned", func() { copied(quotePool()).Get() }},
}

// A program that misuses a pool ends with a message that says what it did, to which pool of which
// type, and what to do instead.
func TestCrash(t *testing.T) {
	t.Parallel()
	names := regexp.MustCompile(`^(pool ("quotes" )?\(pool\.quote\)|pool: .+ cannot live (off-heap|in a pool)): `)
	advises := regexp.MustCompile(`[;:] (Put|finish|make|use|pool its|allow|give) `)
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

// A mistake is a program that uses its slots wrongly. For each build that looks for mistakes, it
// has a regular expression for what the program prints, or "" if it prints nothing.
type mistake struct {
	name              string
	race, debug, asan string
	do                func()
}

//go:noinline
func useLate(x *quote) { x.price = 7 }

//go:noinline
func readLate(x *quote) int64 { return x.price }

var sink int64

var mistakes = []mistake{
	{"no mistake", "", "", "", func() {
		p := quotePool()
		slots := make(chan *quote, 10)
		var wg group
		for range 8 {
			wg.Go(func() {
				for range 300 {
					x := p.Get()
					x.price++
					slots <- x
					y := <-slots
					y.id++
					p.Put(y)
				}
			})
		}
		wg.Wait()
		p.Trim()
		if err := p.Close(); err != nil {
			panic(err)
		}
	}},
	{"write after Put", "",
		`^panic: pool "quotes" \(pool\.quote\): Trim: slot 0x[0-9a-f]+, byte 8: stray write: it was used after its Put, found now; it was\s+got at:\s+.*\s+.*crash_test\.go:\d+\n(.*\n)*\s+put at:\s+.*\s+.*crash_test\.go:\d+\n`,
		`use-after-poison on address .*\nWRITE of size 8 `,
		func() {
			p := quotePool()
			x := p.Get()
			p.Put(x)
			useLate(x)
			p.Trim()
		}},
	{"write after Put, found by Get", "",
		`^panic: pool "quotes" \(pool\.quote\): Get: slot 0x[0-9a-f]+, byte 8: stray write: it was used after its Put`,
		`use-after-poison`,
		func() {
			p := quotePool()
			x := p.Get()
			p.Put(x)
			p.core.endQuarantine("Trim")
			useLate(x)
			p.Get()
		}},
	{"read after Put", "", "", `use-after-poison on address .*\nREAD of size 8 `, func() {
		p := quotePool()
		x := p.Get()
		p.Put(x)
		sink = readLate(x)
	}},
	{"write beyond the end", "",
		`^panic: pool "quotes" \(pool\.quote\): Put: slot 0x[0-9a-f]+, byte 32: stray write: a write went beyond the slot's end; the slot was\s+got at:\n`, "",
		func() {
			p := quotePool()
			x, y := p.Get(), p.Get()
			*(*byte)(unsafe.Add(unsafe.Pointer(x), 32)) = 1
			p.Put(x)
			p.Put(y)
		}},
	{"Close with slots out", "", `^panic: pool "quotes" \(pool\.quote\): Close: slots are in use: 1 of its slots have not been Put\s+slot 0x[0-9a-f]+, got at:\s+.*\s+.*crash_test\.go:\d+\n`, "", func() {
		p := quotePool()
		p.Get()
		if err := p.Close(); err != nil && debugging {
			panic(err)
		}
	}},
	{"write while another goroutine puts", "WARNING: DATA RACE(.*\n)+.*useLate", "", "", func() {
		p := quotePool()
		x := p.Get()
		done := make(chan struct{})
		go func() {
			if raceEnabled {
				useLate(x)
			}
			close(done)
		}()
		p.Put(x)
		<-done
	}},
	{"read while another goroutine puts", "WARNING: DATA RACE(.*\n)+.*readLate", "", "", func() {
		p := quotePool()
		x := p.Get()
		done := make(chan struct{})
		go func() {
			if raceEnabled {
				sink = readLate(x)
			}
			close(done)
		}()
		p.Put(x)
		<-done
	}},
	{"two goroutines share a slot", "WARNING: DATA RACE(.*\n)+.*useLate", "", "", func() {
		p := quotePool()
		x := p.Get()
		done := make(chan struct{})
		go func() {
			useLate(x)
			close(done)
		}()
		useLate(x)
		<-done
		p.Put(x)
	}},
}

// Each build that looks for mistakes finds those that it is made for and says where they are. It
// finds nothing in programs without mistakes.
func TestMistakes(t *testing.T) {
	if !watchAll {
		t.Skip("this build does not look for mistakes; those with -race, -asan and -tags pooldebug do")
	}
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			want := ""
			switch {
			case raceEnabled && !debugging:
				want = m.race
			case debugging && !raceEnabled:
				want = m.debug
			case asanEnabled:
				want = m.asan
			}
			_, stderr, code := runSelf(t, crashEnv+"="+m.name)
			if want == "" {
				assert.Empty(t, stderr)
				assert.Zero(t, code)
				return
			}
			assert.Regexp(t, want, stderr)
			assert.NotZero(t, code)
		})
	}
}
