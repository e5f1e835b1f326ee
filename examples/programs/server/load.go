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

	"github.com/warmpage/pool/examples/programs/internal/latency"
	"github.com/warmpage/pool/examples/programs/internal/pace"
)

// The load is an open one: each request is due at a fixed time, whatever happens to the requests
// before it, and its latency counts from that time. If a server stops for 100 ms, all requests that
// are due in these 100 ms are late, as they are with clients that do not wait for each other. With
// a closed load, only one request per connection would be slow. Each connection has its own
// requests, and sessions that no other connection uses. The answers thus do not depend on how the
// requests of different connections interleave.

// A workload describes the load for a server.
type workload struct {
	Seed        uint64
	Connections int
	Members     int // sessions that stay
	Visitors    int // sessions that the burst opens, and that expire after it
	Rate        int // trades per second; the burst has twice as many
	WarmUp      time.Duration
	Steady      time.Duration
	Burst       time.Duration
	Idle        time.Duration
}

const (
	openBatch    = 250 // sessions per request
	firstVisitor = 1 << 40
	legsAtMost   = 16
	requestTime  = 10 * time.Second // after this something is wrong
)

// A tally counts the requests of a phase and their answers.
type tally struct {
	Requests uint64            // trades
	Refused  uint64            // requests answered with 503
	Failed   uint64            // requests answered with neither 200 nor 503
	Opened   uint64            // requests that opened sessions; Requests does not include them
	Checksum uint64            // of all answers
	Latency  latency.Histogram // of trades, from the time that the request was due
	Late     latency.Histogram // the part of the latency before the request was sent
}

func (t *tally) add(other *tally) {
	t.Requests += other.Requests
	t.Refused += other.Refused
	t.Failed += other.Failed
	t.Opened += other.Opened
	t.Checksum += other.Checksum // does not depend on the order of the connections
	t.Latency.Add(other.Latency)
	t.Late.Add(other.Late)
}

// A client is the set of connections that send trades.
type client struct {
	load    workload
	address string
	conns   []*connection
}

// A connection sends one request at a time. Only one goroutine at a time may use it.
type connection struct {
	net    net.Conn
	reader *bufio.Reader
	rng    *rand.Rand
	number int
	tally  tally

	request, body []byte
	answer        [8 << 10]byte
}

// openers is the number of additional connections, which open the visitors' sessions.
const openers = 4

// connect opens the connections of a client to the server at address.
func connect(ctx context.Context, address string, w workload) (*client, error) {
	conns, err := dial(ctx, address, w.Seed, 0, w.Connections)
	return &client{w, address, conns}, err
}

// dial opens n connections, numbered from first.
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

// each runs f for each connection on a goroutine of its own, waits for all of them, and returns the
// sum of the tallies.
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

// openMembers opens all members' sessions, as fast as possible.
func (c *client) openMembers(ctx context.Context) (tally, error) {
	return each(c.conns, func(i int, k *connection) error {
		return k.open(ctx, "member", i, len(c.conns), c.load.Members, func(int) time.Duration { return 0 })
	})
}

// steady sends rate trades per second for d.
func (c *client) steady(ctx context.Context, rate int, d time.Duration) (tally, error) {
	start := time.Now()
	return each(c.conns, func(_ int, k *connection) error { return c.trades(ctx, k, start, rate, d) })
}

// burst sends trades at twice the rate. In its first half it also opens the visitors' sessions.
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

// trades sends this connection's share of rate requests per second for d. The number of requests
// does not depend on the speed of the server.
func (c *client) trades(ctx context.Context, k *connection, start time.Time, rate int, d time.Duration) error {
	all := int(float64(rate) * d.Seconds())
	if all > 0 && c.load.Members < len(c.conns) {
		return errors.New("fewer sessions than connections")
	}
	for n := k.number; n < all; n += len(c.conns) {
		k.makeTrade(k.member(c.load.Members, len(c.conns)))
		due := start.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
		if err := pace.Sleep(ctx, time.Until(due)); err != nil {
			return err
		}
		k.tally.Late.Record(time.Since(due))
		status, answer, err := k.do()
		if err != nil {
			return fmt.Errorf("trade: %w", err)
		}
		k.tally.Latency.Record(time.Since(due))
		k.tally.Requests++
		k.count(status, answer)
	}
	return nil
}

// count adds an answer to the tally.
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

// member returns a random session of this connection. A connection has every conns-th session.
func (k *connection) member(members, conns int) uint64 {
	mine := (members - k.number + conns - 1) / conns
	return uint64(k.rng.IntN(mine)*conns + k.number)
}

// open opens this connection's share of all sessions, in batches. The connection is number i of n,
// and opens every n-th batch. due returns how long to wait before a batch is due.
func (k *connection) open(ctx context.Context, kind string, i, n, all int, due func(batch int) time.Duration) error {
	first := 0
	if kind == "visitor" {
		first = firstVisitor
	}
	for batch := i; batch*openBatch < all; batch += n {
		if err := pace.Sleep(ctx, due(batch)); err != nil {
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

// makeTrade sets request to a trade with 1 to 16 legs in session id.
func (k *connection) makeTrade(id uint64) {
	k.body = k.body[:0]
	for range 1 + k.rng.IntN(legsAtMost) {
		side := "BS"[k.rng.IntN(2)]
		k.body = fmt.Appendf(k.body, "%c %d %d\n", side, k.rng.IntN(instruments), 1+k.rng.IntN(maxQuantity))
	}
	k.request = fmt.Appendf(k.request[:0], "POST /sessions/%d/trades HTTP/1.1\r\nHost: loopback\r\nContent-Length: %d\r\n\r\n", id, len(k.body))
	k.request = append(k.request, k.body...)
}

// do sends the request and returns the answer, which is valid until the next do.
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

// tooSlow replaces errors of the connection by ones that say what they mean to the user.
func tooSlow(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("no answer in %v: the machine is too slow for this -rate", requestTime)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the server has closed the connection")
	}
	return err
}
