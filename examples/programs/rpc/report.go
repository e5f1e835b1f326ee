package main

import (
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/columns"
)

func report(out io.Writer, w work, results []result) {
	keeps := "The pool keeps empty pages for good."
	if !w.warm {
		keeps = "The pool releases empty pages within a second."
	}
	fmt.Fprintf(out, `%d requests over TCP from %d clients in the same process, GOMAXPROCS %d.
A client waits for the answer before it sends its next request. A handler gets a
request object before it waits for a line.
%s

`, w.requests, w.goroutines, runtime.GOMAXPROCS(0), keeps)

	row := columns.Rows(out, 35, 15, results)
	perRequest := func(n uint64) string { return fmt.Sprintf("%.1f", float64(n)/float64(w.requests)) }
	counted := func(r result, n any) string {
		if !r.leak.counted {
			return "-"
		}
		return fmt.Sprint(n)
	}
	row("", func(r result) string { return r.side })
	row("requests/s", func(r result) string { return fmt.Sprintf("%.0f", float64(w.requests)/r.load.time.Seconds()) })
	row("round trip, p50", func(r result) string { return r.load.p50.Round(time.Microsecond).String() })
	row("  p99", func(r result) string { return r.load.p99.Round(time.Microsecond).String() })
	row("allocations per request", func(r result) string { return perRequest(r.load.mallocs) })
	row("  bytes", func(r result) string { return perRequest(r.load.bytes) })
	row("collections", func(r result) string { return fmt.Sprint(r.load.gcs) })
	row("request objects made", func(r result) string { return fmt.Sprint(r.load.made) })
	row("heap after the load", func(r result) string { return kib(r.idle.heapBefore) })
	row(fmt.Sprintf("after %d collections in %v", idleCollections, w.idle), func(r result) string { return kib(r.idle.heapAfter) })
	row("  objects still warm", func(r result) string { return fmt.Sprintf("%d of %d", r.idle.warm, w.goroutines) })
	fmt.Fprintf(out, "then a leak: %d requests, %d not put\n", w.leakRequests(), w.leaks())
	row("  request objects made", func(r result) string { return fmt.Sprint(r.leak.made) })
	row("  counted as in use (Stats.Live)", func(r result) string { return counted(r, r.leak.live) })
	row("  counted as lost (Stats.Lost)", func(r result) string { return counted(r, r.leak.lost) })

	fmt.Fprint(out, "\nThe leak in the pool's profile pool_live, with the functions of this program:\n\n")
	for _, r := range results {
		for _, line := range r.leak.profile {
			fmt.Fprintln(out, line)
		}
	}
	fmt.Fprintf(out, `
All sides gave the same answers. The rows down to the objects made are from the
run with the median time of %d. Allocations are those of the whole process. The
strings in the header map are left where objects are kept. The heap is what
there is more than before the load. An object is warm if a handler of the next
burst gets it; the others have to be made. For the leak, each side has a new
store, and the pool has a profile of every Get. A lost object is one that the
collector has taken, with its page. sync.Pool and new cannot tell a lost object
from one in use.
`, repeats)
}

func kib(bytes int64) string { return fmt.Sprintf("%d KiB", bytes/1024) }
