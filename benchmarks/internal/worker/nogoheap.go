//go:build nogoheap

package main

import "io"

// A library without WithGoHeap has no goheap study.
var (
	heapMakers map[variant]maker
	heapVerbs  map[string]func(spec []byte, out io.Writer) error
)
