// Package goheap has pools of structs with pointers whose New only allocates.
package goheap

import (
	"bufio"
	"strings"
	"sync"
)

type job struct {
	name string
	done func()
}

var jobs = sync.Pool{New: func() any { return new(job) }} // want `jobs holds \*job \(\d+ bytes\): Go heap: pool.New\[job\]\(pool.WithGoHeap\(\)\)$`

type message struct {
	body []byte
}

var messages = sync.Pool{New: func() any { return &message{} }} // want `messages holds .*: Go heap: .* \(with WithInit if buffers or maps in it are to survive a Put\)`

var called = sync.Pool{New: newJob} // want `called holds \*job .*: Go heap: pool.New\[job\]\(pool.WithGoHeap\(\)\)$`

func newJob() any { return makeJob() }

func makeJob() *job { return &job{} }

var builders = sync.Pool{New: func() any { return new(strings.Builder) }} // want `builders holds \*strings.Builder .*: Go heap: pool.New\[strings.Builder\]\(pool.WithGoHeap\(\)\)`

var readers = sync.Pool{New: func() interface{} { return &bufio.Reader{} }} // want `readers holds \*bufio.Reader .*: Go heap: `

// Without New, the function that gets makes what is missing.
var lazy sync.Pool // want `lazy holds \*job .*: Go heap: pool.New\[job\]\(pool.WithGoHeap\(\)\)$`

func get() *job {
	j, ok := lazy.Get().(*job)
	if !ok {
		j = new(job)
	}
	return j
}
