package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// The load is open: each request has a time at which it is to be sent, whatever became
// of those before it, and its latency counts from that time. A server that stops for
// 100 ms then has 100 ms of requests that were late, as with clients who do not wait for
// each other, rather than one slow request a connection. Each connection has requests of its
// own, and sessions that no other connection uses, so that the answers do not depend on how
// requests of different connections interleave.

// A workload is what a server has to take.
type workload struct {
	Seed        uint64
	Connections int
	Members     int // sessions that stay
	Visitors    int // sessions opened in the burst, that expire after it
	Rate        int // trades a second; twice as many in the burst
	WarmUp      time.Duration
	Steady      time.Duration
	Burst       time.Duration
	Idle        time.Duration
}

const (
	openBatch    = 250 // sessions a request
	firstVisitor = 1 << 40
	legsAtMost   = 16
	requestTime  = 10 * time.Second // then something is wrong
)

// A tally is what came of the requests of a phase.
type tally struct {
	Requests uint64
	Refused  uint64 // of these, answered 503
	Failed   uint64 // of these, answered otherwise than with 200
	Opened   uint64 // requests that opened sessions, which are not counted above
	Checksum uint64 // of all answers
	Latency  histogram
	Late     histogram // how much of it had passed when the request was sent
}

func (t *tally) add(other *tally) {
	t.Requests += other.Requests
	t.Refused += other.Refused
	t.Failed += other.Failed
	t.Opened += other.Opened
	t.Checksum += other.Checksum // the same in whatever order the connections come
	t.Latency.merge(&other.Latency)
	t.Late.merge(&other.Late)
}

// A client is the connections that trade.
type client struct {
	load    workload
	address string
	conns   []*connection
}

// A connection sends one request at a time. Only its goroutine uses it.
type connection struct {
	net    net.Conn
	reader *bufio.Reader
	rng    *rand.Rand
	number int
	tally  tally

	request, body []byte
	answer        [8 << 10]byte
}

// openers is how many more connections open the visitors' sessions.
const openers = 4

func connect(ctx context.Context, address string, w workload) (*client, error) {
	conns, err := dial(ctx, address, w.Seed, 0, w.Connections)
	return &client{w, address, conns}, err
}

// dial makes n connections, numbered from first.
func dial(ctx context.Context, address string, seed uint64, first, n int) (conns []*connection, err error) {
	for number := first; number < first+n; number++ {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, errors.Join(err, hangUp(conns))
		}
		conns = append(conns, &connection{
			net: c, reader: bufio.NewReader(c), number: number,
			rng: rand.New(rand.NewPCG(seed, uint64(number))),
		})
	}
	return conns, nil
}

func hangUp(conns []*connection) error {
	var errs []error
	for _, k := range conns {
		errs = append(errs, k.net.Close())
	}
	return errors.Join(errs...)
}

func (c *client) close() error { return hangUp(c.conns) }

// each runs f for each connection, on a goroutine of its own, and adds up the tallies.
func each(conns []*connection, f func(i int, k *connection) error) (tally, error) {
	var wg sync.WaitGroup
	errs := make([]error, len(conns))
	for i, k := range conns {
		wg.Go(func() {
			k.tally = tally{}
			errs[i] = f(i, k)
		})
	}
	wg.Wait()
	var t tally
	for _, k := range conns {
		t.add(&k.tally)
	}
	return t, errors.Join(errs...)
}

// openMembers opens all sessions that stay, as fast as it goes.
func (c *client) openMembers(ctx context.Context) (tally, error) {
	return each(c.conns, func(i int, k *connection) error {
		return k.open(ctx, "member", i, len(c.conns), c.load.Members, func(int) time.Duration { return 0 })
	})
}

// steady trades for d.
func (c *client) steady(ctx context.Context, rate int, d time.Duration) (tally, error) {
	start := time.Now()
	return each(c.conns, func(_ int, k *connection) error { return c.trades(ctx, k, start, rate, d) })
}

// burst trades at twice the rate, while in its first half visitors open sessions.
func (c *client) burst(ctx context.Context) (t tally, err error) {
	extra, err := dial(ctx, c.address, c.load.Seed, len(c.conns), openers)
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, hangUp(extra)) }()
	start := time.Now()
	d := c.load.Burst
	batches := (c.load.Visitors + openBatch - 1) / openBatch
	due := func(batch int) time.Duration {
		return time.Until(start.Add(d / 2 * time.Duration(batch) / time.Duration(batches)))
	}
	return each(append(extra, c.conns...), func(i int, k *connection) error {
		if i < len(extra) {
			return k.open(ctx, "visitor", i, len(extra), c.load.Visitors, due)
		}
		return c.trades(ctx, k, start, 2*c.load.Rate, d)
	})
}

// trades sends this connection's part of rate requests a second. How many these are does
// not depend on how fast the server is.
func (c *client) trades(ctx context.Context, k *connection, start time.Time, rate int, d time.Duration) error {
	all := int(float64(rate) * d.Seconds())
	if all > 0 && c.load.Members < len(c.conns) {
		return errors.New("fewer sessions than connections")
	}
	for n := k.number; n < all; n += len(c.conns) {
		k.makeTrade(k.member(c.load.Members, len(c.conns)))
		due := start.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
		if err := sleep(ctx, time.Until(due)); err != nil {
			return err
		}
		k.tally.Late.record(max(time.Since(due), 0))
		status, answer, err := k.do()
		if err != nil {
			return fmt.Errorf("trade: %w", err)
		}
		k.tally.Latency.record(max(time.Since(due), 0))
		k.tally.Requests++
		k.count(status, answer)
	}
	return nil
}

// count notes an answer in the tally.
func (k *connection) count(status int, answer []byte) {
	switch status {
	case http.StatusOK:
	case http.StatusServiceUnavailable:
		k.tally.Refused++
	default:
		k.tally.Failed++
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %d %s", k.tally.Checksum, k.number, status, answer)
	k.tally.Checksum = h.Sum64()
}

// member draws one of the sessions of this connection, which are each conns-th of all.
func (k *connection) member(members, conns int) uint64 {
	mine := (members - k.number + conns - 1) / conns
	return uint64(k.rng.IntN(mine)*conns + k.number)
}

// open opens sessions 0 to all: of their batches, those of connection i of n, each when it
// is due, in so long.
func (k *connection) open(ctx context.Context, kind string, i, n, all int, due func(batch int) time.Duration) error {
	first := 0
	if kind == "visitor" {
		first = firstVisitor
	}
	for batch := i; batch*openBatch < all; batch += n {
		if err := sleep(ctx, due(batch)); err != nil {
			return err
		}
		from := batch * openBatch
		k.request = fmt.Appendf(k.request[:0], "POST /sessions?kind=%s&first=%d&count=%d HTTP/1.1\r\nHost: loopback\r\nContent-Length: 0\r\n\r\n",
			kind, first+from, min(openBatch, all-from))
		status, answer, err := k.do()
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		k.tally.Opened++
		k.count(status, answer)
	}
	return nil
}

// makeTrade sets request to one of 1 to 16 legs.
func (k *connection) makeTrade(id uint64) {
	k.body = k.body[:0]
	for range 1 + k.rng.IntN(legsAtMost) {
		side := "BS"[k.rng.IntN(2)]
		k.body = fmt.Appendf(k.body, "%c %d %d\n", side, k.rng.IntN(instruments), 1+k.rng.IntN(maxQuantity))
	}
	k.request = fmt.Appendf(k.request[:0], "POST /sessions/%d/trades HTTP/1.1\r\nHost: loopback\r\nContent-Length: %d\r\n\r\n", id, len(k.body))
	k.request = append(k.request, k.body...)
}

// do sends the request and returns the answer, which is good until the next one.
func (k *connection) do() (status int, answer []byte, err error) {
	if err := k.net.SetDeadline(time.Now().Add(requestTime)); err != nil {
		return 0, nil, err
	}
	if _, err := k.net.Write(k.request); err != nil {
		return 0, nil, tooSlow(err)
	}
	resp, err := http.ReadResponse(k.reader, nil)
	if err != nil {
		return 0, nil, tooSlow(err)
	}
	n, err := readBody(resp.Body, k.answer[:])
	return resp.StatusCode, k.answer[:n], tooSlow(errors.Join(err, resp.Body.Close()))
}

// tooSlow says what a deadline means.
func tooSlow(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer in %v: the machine is too slow for this -rate", requestTime)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the server has closed the connection")
	}
	return err
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
