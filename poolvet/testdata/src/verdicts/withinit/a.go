// Package withinit has pools of what a constructor makes.
package withinit

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"hash"
	"io"
	"runtime"
	"sync"
)

type message struct {
	header map[string]string
}

var messages = sync.Pool{New: func() any { return &message{header: make(map[string]string)} }} // want `messages holds \*message .*: Go heap with WithInit: pool.New\[message\]\(pool.WithGoHeap\(\), pool.WithInit\(...\)\) \(WithInit does what New does, and WithReset what runs before each Put\)`

var encoders = sync.Pool{New: func() any { return gzip.NewWriter(io.Discard) }} // want `encoders holds \*gzip.Writer .*: Go heap with WithInit: pool.New\[holder\].* \(type holder struct\{ \*gzip.Writer \}\)`

var levels = sync.Pool{New: func() any { // want `levels holds \*gzip.Writer .*type holder struct\{ \*gzip.Writer \}`
	w, err := gzip.NewWriterLevel(io.Discard, 9)
	if err != nil {
		panic(err)
	}
	return w
}}

var hashes = sync.Pool{New: func() any { return sha256.New() }} // want `hashes holds hash.Hash: Go heap with WithInit: .*type holder struct\{ hash.Hash \}`

func sum() hash.Hash { return hashes.Get().(hash.Hash) }

var maps = sync.Pool{New: func() any { return make(map[string]int) }} // want `maps holds map\[string\]int: Go heap with WithInit: .*type holder struct\{ v map\[string\]int \}`

var signals = sync.Pool{New: func() any { return make(chan error, 1) }} // want `signals holds chan error: Go heap with WithInit: .*type holder struct\{ v chan error \}`

var handles = sync.Pool{New: func() any { return new(*message) }} // want `handles holds \*\*message: Go heap with WithInit`

// Without New, a type of another package needs its constructor.
var readers sync.Pool // want `readers holds \*bufio.Reader .*: Go heap with WithInit: .*type holder struct\{ \*bufio.Reader \}`

func reader(r io.Reader) *bufio.Reader {
	v := readers.Get()
	if v == nil {
		return bufio.NewReader(r)
	}
	b := v.(*bufio.Reader)
	b.Reset(r)
	return b
}

// Without New, the function that gets calls a constructor.
var lazy sync.Pool // want `lazy holds \*message .*: Go heap with WithInit: pool.New\[message\]`

func get() *message {
	if m, ok := lazy.Get().(*message); ok {
		return m
	}
	return &message{header: make(map[string]string)}
}

type pipe struct{ fds [2]int }

// A finalizer is for an object that is allocated on its own.
var pipes = sync.Pool{New: newPipe} // want `pipes holds \*pipe .*type holder struct\{ \*pipe \}, because slots take no finalizers`

func newPipe() any {
	p := new(pipe)
	runtime.SetFinalizer(p, func(*pipe) {})
	return p
}
