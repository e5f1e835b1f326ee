package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	badEvery    = 1000 // one request in so many has no user
	longEvery   = 100  // one in so many has many arguments
	sampleEvery = 8    // each client takes the time of one request in so many
)

// A client sends requests on a connection, one after the other. It allocates nothing for them, so
// that what is allocated under load is the server's.
type client struct {
	conn    net.Conn
	replies *bufio.Reader
	line    []byte
	want    []byte
	args    []int64
	hash    uint64 // the sum of the hashes of all replies
	samples []time.Duration
}

// seed makes the hashes of all sides comparable.
var seed = maphash.MakeSeed()

func dial(ctx context.Context, address string, samples int) (*client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &client{
		conn:    conn,
		replies: bufio.NewReaderSize(conn, maxLine),
		line:    make([]byte, 0, maxLine),
		want:    make([]byte, 0, maxLine),
		args:    make([]int64, 0, 512),
		samples: make([]time.Duration, 0, samples),
	}, nil
}

// ask sends request number n and checks the reply.
func (c *client) ask(n int) error {
	c.prepare(uint64(n))
	if _, err := c.conn.Write(c.line); err != nil {
		return err
	}
	got, err := c.replies.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.Equal(got, c.want) {
		return fmt.Errorf("wrong answer to %q: %q, want %q", c.line, got, c.want)
	}
	c.hash += maphash.Bytes(seed, got)
	return nil
}

// askAll sends the requests from first up to last.
func (c *client) askAll(first, last int) error {
	for n := first; n < last; n++ {
		start := time.Now()
		if err := c.ask(n); err != nil {
			return err
		}
		if (n-first)%sampleEvery == 0 {
			c.samples = append(c.samples, time.Since(start))
		}
	}
	return nil
}

// prepare sets line to request n, and want to the reply.
func (c *client) prepare(n uint64) {
	random := n * 0x9e3779b97f4a7c15 // the same request for the same n
	random ^= random >> 29
	count := 4 + int(random%40)
	if n%longEvery == 0 {
		count *= 8
	}
	method := [...]string{"sum", "range", "median"}[n%3]
	headers := 2 + int(n%2)

	c.line = strconv.AppendUint(c.line[:0], n, 10)
	c.line = append(c.line, ' ')
	c.line = append(c.line, method...)
	hasUser := n%badEvery != badEvery-1
	if hasUser {
		c.line = append(c.line, " user=u"...)
		c.line = strconv.AppendUint(c.line, random%1_000_000, 10)
	}
	c.line = append(c.line, " trace="...)
	c.line = strconv.AppendUint(c.line, random, 16)
	if headers == 3 {
		c.line = append(c.line, " tenant=t"...)
		c.line = strconv.AppendUint(c.line, random%1000, 10)
	}
	c.line = append(c.line, " :"...)
	c.args = c.args[:0]
	var sum int64
	for range count {
		random = random*6364136223846793005 + 1442695040888963407
		x := int64(random>>51) - 4096
		c.args = append(c.args, x)
		sum += x
		c.line = append(c.line, ' ')
		c.line = strconv.AppendInt(c.line, x, 10)
	}
	c.line = append(c.line, '\n')

	c.want = strconv.AppendUint(c.want[:0], n, 10)
	if !hasUser {
		c.want = append(c.want, " error no user\n"...)
		return
	}
	slices.Sort(c.args)
	result := sum
	switch method {
	case "range":
		result = c.args[count-1] - c.args[0]
	case "median":
		result = c.args[count/2]
	}
	c.want = append(c.want, " ok "...)
	c.want = strconv.AppendInt(c.want, result, 10)
	user := bytes.Index(c.line, []byte(" user="))
	c.want = append(c.want, c.line[user:bytes.Index(c.line, []byte(" trace="))]...)
	c.want = append(c.want, " headers="...)
	c.want = strconv.AppendInt(c.want, int64(headers), 10)
	c.want = append(c.want, " args="...)
	c.want = strconv.AppendInt(c.want, int64(count), 10)
	c.want = append(c.want, '\n')
}

// clients share the requests of a load.
type clients []*client

func (all clients) close() {
	for _, c := range all {
		_ = c.conn.Close()
	}
}

// each calls f for all clients at the same time. i is the client's place.
func (all clients) each(f func(i int, c *client) error) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = f(i, c)
		}()
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err // one suffices: all clients may have the same
		}
	}
	return nil
}

// load sends the requests.
func (all clients) load(requests int) error {
	return all.each(func(i int, c *client) error {
		return c.askAll(requests*i/len(all), requests*(i+1)/len(all))
	})
}

// hash is the same for the same replies, whoever has got them.
func (all clients) hash() (sum uint64) {
	for _, c := range all {
		sum += c.hash
	}
	return sum
}

// percentile returns the time within which so many per cent of the sampled requests were answered.
func (all clients) percentile(percent int) time.Duration {
	var samples []time.Duration
	for _, c := range all {
		samples = append(samples, c.samples...)
	}
	slices.Sort(samples)
	return samples[(len(samples)-1)*percent/100]
}
