//go:build nogoheap

package main

import "io"

// A library without WithGoHeap has no goheap study, and no large one.
var heapVerbs, largeVerbs map[string]func(spec []byte, out io.Writer) error
