package pool_test

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/warmpage/pool"
)

func ExampleBytes() {
	b := pool.NewBytes(pool.WithName("bodies"))
	body := b.Get(1000)
	n := copy(body, "hello")
	fmt.Println(string(body[:n]), len(body), cap(body))
	b.Put(body)
	// Output:
	// hello 1000 1024
}

func ExampleNewBytes() {
	b := pool.NewBytes(pool.WithName("bodies"), pool.WithLimit(1<<20))
	var held [][]byte
	for {
		s, err := b.TryGet(100 << 10)
		if err != nil {
			fmt.Println(errors.Is(err, pool.ErrLimit))
			break
		}
		held = append(held, s)
	}
	for _, s := range held {
		b.Put(s)
	}
	b.Put(b.Get(10)) // memory of one class is there for another, when it is free
	fmt.Println(b.Stats().MappedBytes <= b.Stats().LimitBytes)
	// Output:
	// true
	// true
}

func ExampleWithOffHeap() {
	b := pool.NewBytes(pool.WithOffHeap())
	s := b.Get(100)
	fmt.Println(errors.Is(b.Close(), pool.ErrInUse))
	b.Put(s)
	fmt.Println(b.Close())
	// Output:
	// true
	// <nil>
}

func ExampleBytes_Get() {
	b := pool.NewBytes()
	for _, n := range []int{0, 1, 100, 128, 129, 1000, 5000} {
		s := b.Get(n)
		fmt.Println(len(s), cap(s))
		b.Put(s)
	}
	// Output:
	// 0 16
	// 1 16
	// 100 112
	// 128 128
	// 129 144
	// 1000 1024
	// 5000 5120
}

func ExampleBytes_TryGet() {
	b := pool.NewBytes(pool.WithName("bodies"), pool.WithLimit(8<<10))
	_, err := b.TryGet(100 << 10)
	fmt.Println(errors.Is(err, pool.ErrLimit))
	// Output:
	// true
}

func ExampleBytes_Put() {
	b := pool.NewBytes()
	s := b.Get(100)
	b.Put(s[10:20]) // any part of it
	fmt.Println(b.Stats().Live)
	// Output:
	// 0
}

func ExampleBytes_TryPut() {
	b := pool.NewBytes()
	s := b.Get(16)
	s = append(s, "more than fits"...) // append moves it to memory of its own
	fmt.Println(b.TryPut(s))
	// Output:
	// false
}

func ExampleBytes_Owns() {
	b := pool.NewBytes()
	s := b.Get(16)
	fmt.Println(b.Owns(s), b.Owns(s[8:]), b.Owns(make([]byte, 16)))
	b.Put(s)
	// Output:
	// true true false
}

func ExampleBytes_Grow() {
	b := pool.NewBytes()
	var s []byte
	for _, word := range strings.Fields("a slice that moves through the classes of a Bytes") {
		s = b.Grow(s, len(word)+1)
		s = append(s, word...)
		s = append(s, ' ')
	}
	fmt.Println(len(s), cap(s), b.Stats().Live)
	b.Put(s)
	// Output:
	// 50 64 1
}

func ExampleBytes_Stats() {
	b := pool.NewBytes(pool.WithName("bodies"))
	small, large := b.Get(10), b.Get(5000)
	st := b.Stats()
	fmt.Println(st.Name, st.Live, st.LiveBytes)
	for _, class := range st.Classes {
		fmt.Println(class.Size, class.Type, class.Live)
	}
	b.Put(small)
	b.Put(large)
	// Output:
	// bodies 2 5136
	// 16 [16]byte 1
	// 5120 [5120]byte 1
}

func ExampleBytes_Trim() {
	b := pool.NewBytes()
	b.Put(b.Get(1000))
	b.Trim()
	fmt.Println(b.Stats().MappedBytes)
	// Output:
	// 0
}

func ExampleBytes_Close() {
	b := pool.NewBytes()
	s := b.Get(1000)
	fmt.Println(b.Close(), b.Stats().Lost) // on the Go heap, whatever is out
	fmt.Println(string(s[:0]) == "", errors.Is(b.Close(), pool.ErrClosed))
	// Output:
	// <nil> 1
	// true true
}

func ExampleBuffer() {
	var buf pool.Buffer // ready to use
	defer buf.Free()
	fmt.Fprintf(&buf, "%d bottles", 99)
	buf.WriteString(" of beer")
	fmt.Println(buf.String())
	// Output:
	// 99 bottles of beer
}

func ExampleNewBuffer() {
	bodies := pool.NewBytes(pool.WithName("bodies"), pool.WithLimit(64<<20))
	buf := pool.NewBuffer(bodies)
	defer buf.Free()
	buf.WriteString("hello")
	fmt.Println(buf, bodies.Stats().Live)
	// Output:
	// hello 1
}

func ExampleBuffer_Write() {
	var buf pool.Buffer
	defer buf.Free()
	buf.Write([]byte("hello, "))
	buf.WriteString("world")
	buf.WriteByte('!')
	fmt.Println(buf.String())
	// Output:
	// hello, world!
}

func ExampleBuffer_ReadFrom() {
	var buf pool.Buffer
	defer buf.Free()
	n, err := buf.ReadFrom(strings.NewReader("hello"))
	fmt.Println(n, err, buf.String())
	// Output:
	// 5 <nil> hello
}

func ExampleBuffer_WriteTo() {
	var buf pool.Buffer
	defer buf.Free()
	buf.WriteString("hello\n")
	n, err := buf.WriteTo(os.Stdout)
	fmt.Println(n, err, buf.Len())
	// Output:
	// hello
	// 6 <nil> 0
}

func ExampleBuffer_Truncate() {
	var buf pool.Buffer
	defer buf.Free()
	buf.WriteString("hello, world")
	buf.Truncate(5)
	fmt.Println(buf.String(), buf.Len())
	buf.Reset()
	fmt.Println(buf.Len(), buf.Cap())
	// Output:
	// hello 5
	// 0 16
}

func ExampleBuffer_Free() {
	bodies := pool.NewBytes()
	buf := pool.NewBuffer(bodies)
	buf.Grow(1000)
	fmt.Println(buf.Cap(), bodies.Stats().Live)
	buf.Free()
	buf.Free() // does nothing
	fmt.Println(buf.Cap(), bodies.Stats().Live)
	// Output:
	// 1024 1
	// 0 0
}

func ExampleBuffer_Bytes() {
	var buf pool.Buffer
	defer buf.Free()
	buf.WriteString("hello")
	body := buf.Bytes() // until buf changes, or is freed
	fmt.Println(len(body), cap(body))
	// Output:
	// 5 16
}
