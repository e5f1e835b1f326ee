package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/command"
	"github.com/warmpage/pool/examples/programs/internal/latency"
)

// A packet is the contents of a slot. It has room for more than a frame, so that a datagram that is
// too long is detected rather than cut.
type packet struct {
	data [2048]byte
	n    int // bytes received into data
}

// queueSize is how many packets may wait for a worker. Readers do not wait for room. They drop the
// packet, so that packets are lost where they can be counted.
const queueSize = 1024

// readBuffer is the size in bytes of the receive buffer that each reader asks the kernel for. The
// kernel may give it less.
const readBuffer = 4 << 20

var begin = time.Now()

// now returns the time since the process began, for the time stamps in frames. It is not affected
// when the wall clock is set.
func now() time.Duration { return time.Since(begin) }

// A flow consists of lines, each with a sender and its reader, and of workers that serve all
// readers.
type flow struct {
	store   store
	lines   []*line
	queue   chan *packet
	workers []*worker

	reading, working sync.WaitGroup
}

// A line is two sockets, with a sender at one end and a reader at the other.
type line struct {
	out, in *net.UDPConn
	peer    netip.AddrPort // of out
	rng     *rand.Rand     // sender only
	next    uint64         // next sequence number; sender only

	sent uint64 // packets sent in this phase; sender only, until it is done

	mu    sync.Mutex // guards the fields below
	tally lineTally
	ended byte // the last phase whose end mark was read
}

// A lineTally counts the packets that a reader has handled in this phase.
type lineTally struct {
	read      uint64 // packets read
	full      uint64 // of these, dropped because the queue was full
	sequences uint64 // sum of the sequence numbers of the others
}

// A worker parses packets and counts them.
type worker struct {
	mu    sync.Mutex // guards tally
	tally workerTally
}

// A workerTally counts the packets that a worker has handled in this phase.
type workerTally struct {
	packets   uint64
	bad       uint64            // of these, corrupted
	bytes     uint64            // of the frames that were not
	sequences uint64            // sum of their sequence numbers
	latency   latency.Histogram // from send to parse
}

// newFlow opens the sockets and starts readers and workers, which wait for packets. It passes later
// errors of the readers to fail.
func newFlow(p plan, s store, fail func(error)) (*flow, error) {
	f := &flow{store: s, queue: make(chan *packet, queueSize)}
	for i := range p.Readers {
		l, err := newLine(p.Host, uint64(i))
		if err != nil {
			_ = f.close() // what it says is of no use
			return nil, command.BadUsage(fmt.Errorf("this program needs UDP over loopback, but the system refuses it: %w", err))
		}
		f.lines = append(f.lines, l)
	}
	for _, l := range f.lines {
		f.reading.Go(func() {
			if err := l.readAll(f.queue, s); err != nil {
				fail(err)
			}
		})
	}
	for range p.Workers {
		w := new(worker)
		f.workers = append(f.workers, w)
		f.working.Go(func() { w.work(f.queue, s) })
	}
	return f, nil
}

// newLine opens the two sockets of a line on the address host.
func newLine(host string, seed uint64) (*line, error) {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil, err
	}
	in, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	if err != nil {
		return nil, err
	}
	// If this fails, the default size remains, and more packets are dropped.
	_ = in.SetReadBuffer(readBuffer)
	out, err := net.DialUDP("udp4", nil, in.LocalAddr().(*net.UDPAddr))
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	peer := out.LocalAddr().(*net.UDPAddr).AddrPort()
	return &line{
		in: in, out: out,
		peer: netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()),
		rng:  rand.New(rand.NewPCG(1, seed)),
	}, nil
}

// close ends the readers and workers. When it returns, all slots are back in the store.
func (f *flow) close() error {
	var errs []error
	for _, l := range f.lines {
		errs = append(errs, l.out.Close(), l.in.Close())
	}
	f.reading.Wait()
	close(f.queue)
	f.working.Wait()
	return errors.Join(errs...)
}

// readAll receives packets from the socket until it is closed. A packet in the queue belongs to the
// worker that takes it.
func (l *line) readAll(queue chan<- *packet, s store) error {
	for {
		p := s.get()
		n, from, err := l.in.ReadFromUDPAddrPort(p.data[:])
		switch {
		case errors.Is(err, net.ErrClosed):
			s.put(p)
			return nil
		case err != nil:
			s.put(p)
			return err
		case from != l.peer || n == markSize:
			// Any process on this machine may write to the socket. Do not count such packets.
			if from == l.peer {
				l.end(p.data[0])
			}
			s.put(p)
		default:
			p.n = n
			l.pass(p, queue, s)
		}
	}
}

// pass hands p to the workers, or drops it if the queue is full.
func (l *line) pass(p *packet, queue chan<- *packet, s store) {
	sequence := sequenceOf(p.data[:p.n])
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally.read++
	select {
	case queue <- p:
		l.tally.sequences += sequence
	default:
		l.tally.full++
		s.put(p)
	}
}

// work parses the packets in the queue until the queue is closed.
func (w *worker) work(queue <-chan *packet, s store) {
	for p := range queue {
		h, payload, err := parse(p.data[:p.n])
		took := now() - h.sent
		w.mu.Lock()
		w.tally.packets++
		if err != nil {
			w.tally.bad++
		} else {
			w.tally.bytes += uint64(headerSize + len(payload))
			w.tally.sequences += h.sequence
			w.tally.latency.Record(took)
		}
		w.mu.Unlock()
		s.put(p)
	}
}
