package group

import (
	"strings"
	"sync"
)

var (
	mu     sync.Mutex
	fourth = sync.Pool{New: func() any { return &[4]byte{} }} // want `sync.Pool fourth holds`
)

func other() string {
	mu.Lock()
	defer mu.Unlock()
	b := fourth.Get().(*[4]byte)
	defer fourth.Put(b)
	copy(b[:], "text")
	return strings.Clone(string(b[:])) + more()
}
