package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/warmpage/pool"
)

const (
	mostLive = 3_000_000
	perLive  = 200 // bytes of an order, with whatever refers to it, and to spare
	share    = 8   // of the memory that is available, one in so many
)

// fewMillion returns how many orders the machine has room for, and mostLive at most.
func fewMillion() int {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 {
			return max(min(mostLive, kib<<10/share/perLive), 1)
		}
	}
	return mostLive / 3
}

// A holder holds live orders.
type holder struct {
	name string
	fill func(n int)
	drop func() error // gives everything back
}

// holders are the three ways to hold orders.
func holders() []holder {
	var byRef, byPointer *pool.Pool[Order]
	var refs []pool.Ref[Order]
	var pointers, onHeap []*Order
	finish := func(p *pool.Pool[Order]) error {
		p.Trim()
		return p.Close()
	}
	return []holder{
		{
			"pool, by Ref",
			func(n int) {
				byRef = pool.New[Order](pool.WithName("orders"))
				refs = make([]pool.Ref[Order], n) // 8 bytes each, and no pointers
				for i := range refs {
					r, o := byRef.GetRef()
					fill(o, uint64(i))
					refs[i] = r
				}
			},
			func() error {
				byRef.PutRefs(refs)
				refs = nil
				return finish(byRef)
			},
		},
		{
			"by pointer",
			func(n int) {
				byPointer = pool.New[Order](pool.WithName("orders"))
				pointers = make([]*Order, n)
				for i := range pointers {
					pointers[i] = byPointer.Get()
					fill(pointers[i], uint64(i))
				}
			},
			func() error {
				byPointer.PutBatch(pointers)
				pointers = nil
				return finish(byPointer)
			},
		},
		{
			"new",
			func(n int) {
				onHeap = make([]*Order, n)
				for i := range onHeap {
					onHeap[i] = new(Order)
					fill(onHeap[i], uint64(i))
				}
			},
			func() error {
				onHeap = nil
				return nil
			},
		},
	}
}

// held is what live orders have cost.
type held struct {
	collection    time.Duration
	objects       uint64
	memory, after int64
	ok            bool // the system reports memory
}

// measureHeld fills h, and drops it again.
func measureHeld(h holder, n int) (held, error) {
	debug.FreeOSMemory()
	before := snapshot()
	h.fill(n)
	r := held{collection: time.Hour}
	for range 3 {
		start := time.Now()
		runtime.GC()
		r.collection = min(r.collection, time.Since(start))
	}
	full := snapshot()
	err := h.drop()
	debug.FreeOSMemory()
	after := snapshot()
	r.objects = full.mem.HeapObjects - min(before.mem.HeapObjects, full.mem.HeapObjects)
	r.memory, r.after = full.rss-before.rss, max(after.rss-before.rss, 0)
	r.ok = before.rssOK && full.rssOK && after.rssOK
	return r, err
}

// showLive holds orders in each way.
func showLive(ctx context.Context, w work, out io.Writer) error {
	var all []held
	var names []string
	for _, h := range holders() {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := measureHeld(h, w.live)
		if err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		all, names = append(all, r), append(names, h.name)
	}
	fmt.Fprintf(out, "%d orders are live at a time, on %d processors:\n\n", w.live, runtime.GOMAXPROCS(0))
	t := table{out}
	row := func(label string, cell func(r held) string) {
		t.row(label, cell(all[0]), cell(all[1]), cell(all[2]))
	}
	memory := func(bytes int64, ok bool) string {
		if !ok {
			return "n/a"
		}
		return mib(bytes)
	}
	t.row("", names...)
	row("one garbage collection", func(r held) string { return millis(r.collection) })
	row("objects that it looks after", func(r held) string { return fmt.Sprint(r.objects) })
	row("memory", func(r held) string { return memory(r.memory, r.ok) })
	row("memory when they are gone", func(r held) string { return memory(r.after, r.ok) })
	fmt.Fprint(out, `
A collection looks up each pointer that it finds, wherever it leads: hold Refs.
What stays of the pool by Ref is the tables of its Refs.
`)
	return nil
}

// showMistake puts an order twice.
func showMistake(_ context.Context, _ work, out io.Writer) (err error) {
	orders := pool.New[Order](pool.WithName("orders"))
	o := orders.Get()
	orders.Put(o)
	mistake := func() (err error) {
		defer func() { err, _ = recover().(error) }()
		orders.Put(o)
		return nil
	}()
	if !errors.Is(mistake, pool.ErrDoublePut) {
		return errors.New("a second Put was not found")
	}
	fmt.Fprintf(out, "\nAn order is put twice. The pool panics, and stays usable:\n\n%s\n", wrap(mistake.Error(), 76))
	return orders.Close()
}

// wrap breaks text into lines of up to width bytes, two spaces in.
func wrap(text string, width int) string {
	var b strings.Builder
	at := 0
	for _, word := range strings.Fields(text) {
		switch {
		case at == 0:
			b.WriteString("  ")
		case at+1+len(word) > width:
			b.WriteString("\n  ")
			at = 0
		default:
			b.WriteString(" ")
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	return b.String()
}
