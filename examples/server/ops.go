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

// The operators' side has a listener of its own: who may trade need not see profiles.
//
//	/               the live page
//	/stats          a sample, as JSON
//	/events         samples as they come, as server-sent events, those of the last minutes first
//	/metrics        for Prometheus
//	/debug/pprof/   profiles, of these pool_live
type ops struct {
	service   *service
	history   *history
	ending    chan struct{} // closed when the server shuts down
	listeners atomic.Int32  // at /events
}

const (
	maxListeners = 32
	sendTime     = 5 * time.Second // for a listener to take what it is sent
	retryPeriod  = time.Second     // after which a page that was cut off tries again
)

func (o *ops) handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(poolprom.NewCollector(), collectors.NewGoCollector())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", o.page)
	mux.HandleFunc("GET /stats", o.stats)
	mux.HandleFunc("GET /events", o.events)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	// Index serves all profiles by their names, those of libraries too, but for these four.
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// page is one file. The policy makes the browser see to it that it stays one.
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

// events sends samples until the listener goes or the server ends.
func (o *ops) events(w http.ResponseWriter, r *http.Request) {
	defer o.listeners.Add(-1)
	if o.listeners.Add(1) > maxListeners {
		http.Error(w, "too many pages are open", http.StatusServiceUnavailable)
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

// position returns the sequence number in the id of the last event that a listener
// has got, or 0 if that was from another process.
func (h *history) position(id string) uint64 {
	process, number, _ := strings.Cut(id, ".")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || process != h.process {
		return 0
	}
	return n
}
