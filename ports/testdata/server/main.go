// This program serves requests with gin, from clients in the same process, and prints what that took.
// It is built with gin as it is, and as changed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/gin-gonic/gin"
)

func main() {
	duration := flag.Duration("d", 5*time.Second, "how long")
	clients := flag.Int("clients", 64, "how many clients send a request at a time")
	flag.Parse()
	if err := run(*duration, *clients); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type item struct {
	ID   string   `json:"id"`
	Name string   `json:"name"`
	Tags []string `json:"tags"`
}

func run(duration time.Duration, clients int) error {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.GET("/users/:user/items/:item", func(c *gin.Context) {
		c.Set("user", c.Param("user"))
		c.JSON(http.StatusOK, item{c.Param("item"), c.Query("name"), []string{"a", "b", "c"}})
	})
	held := make([]*item, 200_000) // a heap of a server that has something to do
	for i := range held {
		held[i] = &item{ID: fmt.Sprint(i), Tags: []string{"x"}}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: router}
	go server.Serve(listener)
	url := "http://" + listener.Addr().String() + "/users/u/items/i?name=n"
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	var mu sync.Mutex
	total := hdrhistogram.New(1, 10_000_000, 3) // microseconds
	var failed atomic.Pointer[error]
	var g sync.WaitGroup
	begun := time.Now()
	for range clients {
		g.Go(func() {
			h := hdrhistogram.New(1, 10_000_000, 3)
			for time.Since(begun) < duration {
				at := time.Now()
				if err := fetch(client, url); err != nil {
					failed.Store(&err)
					return
				}
				h.RecordValue(time.Since(at).Microseconds())
			}
			mu.Lock()
			defer mu.Unlock()
			total.Merge(h)
		})
	}
	g.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	took := time.Since(begun)
	var gc debug.GCStats
	gc.PauseQuantiles = make([]time.Duration, 101)
	debug.ReadGCStats(&gc)
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	if held[0].ID != "0" {
		return fmt.Errorf("lost")
	}
	if err := server.Shutdown(context.Background()); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"PerSecond": float64(total.TotalCount()) / took.Seconds(),
		"P50":       float64(total.ValueAtQuantile(50)), "P99": float64(total.ValueAtQuantile(99)),
		"GCs": float64(gc.NumGC), "PauseP99": float64(gc.PauseQuantiles[99].Microseconds()),
		"BytesPerRequest": float64(sample[0].Value.Uint64()) / float64(total.TotalCount()),
	})
}

func fetch(client *http.Client, url string) error {
	r, err := client.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", r.StatusCode)
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err
}
