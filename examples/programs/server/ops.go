package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/warmpage/pool/poolprom"
)

//go:embed page.html
var page []byte

// ops is the operators' side of the server. It has its own listener, because clients that may trade
// need not see profiles.
//
//	/               the live page
//	/stats          a sample, as JSON
//	/events         server-sent events: the samples of the last minutes, then new ones as they come
//	/metrics        metrics for Prometheus
//	/debug/pprof/   profiles, including pool_live
type ops struct {
	service   *service
	history   *history
	ending    chan struct{} // closed when the server shuts down
	listeners atomic.Int32  // open requests for /events
}

const (
	maxListeners = 32
	sendTime     = 5 * time.Second // how long a listener may take to receive what it is sent
	retryPeriod  = time.Second     // how long a page that was cut off waits before it tries again
)

func (o *ops) handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(poolprom.NewCollector(), collectors.NewGoCollector())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", o.page)
	mux.HandleFunc("GET /stats", o.stats)
	mux.HandleFunc("GET /events", o.events)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	// Index serves all profiles by name, including those of libraries, except the four below.
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// page serves the page, which is a single file. The policy makes the browser refuse to load any
// other.
func (o *ops) page(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; img-src data:; "+
		"script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	_, _ = w.Write(page)
}

func (o *ops) stats(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(o.history.label(o.service.sample()))
}

// events sends samples until the listener disconnects or the server shuts down.
func (o *ops) events(w http.ResponseWriter, r *http.Request) {
	defer o.listeners.Add(-1)
	if o.listeners.Add(1) > maxListeners {
		http.Error(w, "too many open pages", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	from := o.history.position(r.Header.Get("Last-Event-ID"))
	fmt.Fprintf(w, "retry: %d\n\n", retryPeriod.Milliseconds())
	for {
		samples, last, more := o.history.after(from)
		_ = rc.SetWriteDeadline(time.Now().Add(sendTime))
		for i, text := range samples {
			fmt.Fprintf(w, "id: %s.%d\ndata: %s\n\n", o.history.process, last-uint64(len(samples)-1-i), text)
		}
		if rc.Flush() != nil {
			return
		}
		from = last
		select {
		case <-more:
		case <-r.Context().Done():
			return
		case <-o.ending:
			return
		}
	}
}

// position returns the sequence number in id, which is that of the last event a listener has
// received. It returns 0 if the event came from another process, or if id is malformed.
func (h *history) position(id string) uint64 {
	process, number, _ := strings.Cut(id, ".")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || process != h.process {
		return 0
	}
	return n
}
