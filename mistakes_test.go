package pool

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// A mistake is a program that uses its slots wrongly, and what the builds that look
// for that print: a regular expression, or nothing for a build that has nothing to
// say.
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
		`^panic: pool "quotes" \(pool\.quote\): Trim: slot 0x[0-9a-f]+, byte 8: stray write: it was used after its Put, found now; it was\s+got at:\s+.*\s+.*mistakes_test\.go:\d+\n(.*\n)*\s+put at:\s+.*\s+.*mistakes_test\.go:\d+\n`,
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
	{"Close with slots out", "", `^panic: pool "quotes" \(pool\.quote\): Close: slots are in use: 1 of its slots have not been Put\s+slot 0x[0-9a-f]+, got at:\s+.*\s+.*mistakes_test\.go:\d+\n`, "", func() {
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

// Each build that looks for mistakes finds those it is for, and says where, and
// nothing in programs without.
func TestMistakes(t *testing.T) {
	if !watchAll {
		t.Skip("this build does not look; -race, -asan and -tags pooldebug do")
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

// A guarded slot ends the program where it is used after its Put.
var lateUse = mistake{name: "use of a guarded slot after Put", do: func() {
	p := quotePool(WithGuardSampling(1))
	for range 2 { // random which of the two is guarded
		x, _ := p.TryGet()
		p.Put(x)
		useLate(x)
	}
}}

func TestGuardCrash(t *testing.T) {
	if !offHeap || watchAll {
		t.Skip("in this build memory comes from the Go heap, or others find it first")
	}
	_, stderr, code := runSelf(t, crashEnv+"="+lateUse.name)
	assert.Regexp(t, `^unexpected fault address 0x[0-9a-f]+\nfatal error: fault\n(.*\n)+.*useLate`, stderr)
	assert.Equal(t, 2, code)
}
