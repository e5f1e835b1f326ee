//go:build nobytes || nogoheap

package main

import "io"

// A library without Bytes has no bytes study.
var bytesVerbs map[string]func(spec []byte, out io.Writer) error
