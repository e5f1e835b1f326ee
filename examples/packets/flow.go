package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// A packet is what a slot holds. It has room for more than a frame, so that one
// that is too long is seen to be so, rather than cut.
type packet struct {
	data [2048]byte
	n    int // bytes of data that were received
}

// queueSize is how many packets may wait for a worker. Readers do not wait for
// room, they drop, so that what is lost is lost where it can be counted.
const queueSize = 1024

// readBuffer is what each reader asks the kernel to keep for it. It may get less.
const readBuffer = 4 << 20

var begin = time.Now()

// now is the clock of the frames. It goes on evenly when the wall clock is set.
func now() time.Duration { return time.Since(begin) }

// A flow is all of it at work: lines, each a sender and its reader, and workers
// that take from all readers.
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
	next    uint64         // sequence number; sender only

	sent uint64 // in this phase; sender only, until it is done

	mu    sync.Mutex
	tally lineTally
	ended byte // the last phase of which the end mark was read
}

type lineTally struct {
	read      uint64 // packets
	full      uint64 // of these, dropped because the queue had no room
	sequences uint64 // sum of the numbers of those that were not
}

// A worker counts what it has parsed.
type worker struct {
	mu    sync.Mutex
	tally workerTally
}

type workerTally struct {
	packets   uint64
	bad       uint64 // of these, not what was sent
	bytes     uint64
	sequences uint64 // sum
	latency   histogram
}

// errSockets is what the system's refusal of a socket is told by.
var errSockets = errors.New("UDP over loopback is needed, and the system refuses it")

// newFlow opens the sockets and starts readers and workers, which wait. What goes
// wrong with them later is told to fail.
func newFlow(p plan, s store, fail func(error)) (*flow, error) {
	f := &flow{store: s, queue: make(chan *packet, queueSize)}
	for i := range p.Readers {
		l, err := newLine(p.Host, uint64(i))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", errSockets, err), f.close())
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

func newLine(host string, seed uint64) (*line, error) {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return nil, err
	}
	in, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
	if err != nil {
		return nil, err
	}
	// With the system's default, which a refusal leaves, more is dropped.
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

// close ends readers and workers, and returns when all slots are back.
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

// readAll takes packets from the socket until that is closed. Once the queue has
// a packet, it is the worker's.
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
			// Any process of this machine may write to the socket; that is not counted.
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

// pass hands p to the workers, or drops it.
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

// work parses what comes until the queue is closed.
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
			w.tally.latency.count(took)
		}
		w.mu.Unlock()
		s.put(p)
	}
}
