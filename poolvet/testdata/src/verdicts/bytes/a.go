// Package bytes has pools of slices of bytes and of buffers.
package bytes

import (
	"bytes"
	"sync"
)

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }} // want `buffers holds \*bytes.Buffer: bytes: pool.Buffer \(if it is only written to; it has no Read\)`

var constructed = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, 512)) }} // want `constructed holds \*bytes.Buffer: bytes: pool.Buffer`

var slices = sync.Pool{New: func() any { return new([]byte) }} // want `slices holds \*\[\]byte: bytes: pool.NewBytes\(\)$`

var direct sync.Pool // want `direct holds \[\]byte: bytes: pool.NewBytes\(\)$`

func drop(b []byte) { direct.Put(b) }

type text []byte

var named = sync.Pool{New: func() any { return text(nil) }} // want `named holds text: bytes: pool.NewBytes\(\)`

const size = 4096

var fixed = sync.Pool{New: func() any { // want `fixed holds \*\[\]byte: bytes: pool.NewBytes\(\) \(or pool.New\[\[4096\]byte\]\(\), if no slice grows\)`
	b := make([]byte, size)
	return &b
}}
