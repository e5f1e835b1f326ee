package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// This file has the business of the desk. A request has legs; each is an instrument to buy or sell.
// The desk fills the legs against the levels of the instrument's book, and books the fills in the
// session. All prices are computed from the instrument's number, so that the same requests always
// have the same answers.
const (
	instruments = 4096
	maxLegs     = 64
	maxQuantity = 10_000
	maxBody     = 1024 // bytes; 64 of the longest legs take 960
	depth       = 64   // levels on each side of a book
)

// A scratch is the working memory of a request. It is too large for the stack of each connection's
// goroutine, and it is not needed any more once the answer is written.
type scratch struct {
	body   [maxBody + 1]byte // one byte more, to detect a body that is too long
	legs   [maxLegs]leg
	fills  [maxLegs]fill
	levels [depth]level
	n      int // number of legs, and of fills

	// These are copied from the session while it is locked.
	requests uint64
	cash     int64
	exposure int64

	reply [maxLegs*48 + 128]byte
}

type leg struct {
	instrument, quantity int32
	sell                 bool
}

// A fill is the result of a leg. Its quantity and cost are negative if the leg sells.
type fill struct {
	instrument, quantity int32
	cost                 int64 // in cents
}

type level struct{ price, size int64 }

// A state is the contents of a session.
type state struct {
	id       uint64
	lastUse  time.Duration // since the server's start
	kind     kind
	requests uint64
	cash     int64
	sectors  [32]int64 // quantity held, by sector of the instrument
	recent   [12]fill  // ring buffer of the last fills
	booked   uint64    // number of fills so far
}

var (
	errEmpty = errors.New("no legs")
	errMany  = fmt.Errorf("more than %d legs", maxLegs)
)

// parse reads the legs in body, which is a part of sc. There is one leg per line, as in "B 17 300".
func (sc *scratch) parse(body []byte) error {
	sc.n = 0
	for line := range bytes.Lines(body) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if sc.n == maxLegs {
			return errMany
		}
		l, ok := parseLeg(line)
		if !ok {
			return fmt.Errorf("line %d: %q: want B or S, an instrument below %d, and a quantity from 1 to %d", sc.n+1, line, instruments, maxQuantity)
		}
		sc.legs[sc.n] = l
		sc.n++
	}
	if sc.n == 0 {
		return errEmpty
	}
	return nil
}

func parseLeg(line []byte) (l leg, ok bool) {
	side, rest, _ := bytes.Cut(line, []byte(" "))
	instrument, quantity, _ := bytes.Cut(rest, []byte(" "))
	i, ok1 := parseNumber(instrument, instruments-1)
	q, ok2 := parseNumber(quantity, maxQuantity)
	isSell := bytes.Equal(side, []byte("S"))
	return leg{i, q, isSell}, ok1 && ok2 && q > 0 && (isSell || bytes.Equal(side, []byte("B")))
}

// parseNumber parses decimal digits. Unlike strconv, it does not need a string.
func parseNumber(digits []byte, most int32) (n int32, ok bool) {
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		if n = 10*n + int32(d-'0'); n > most {
			return 0, false
		}
	}
	return n, len(digits) > 0
}

// price fills all legs.
func (sc *scratch) price() {
	for i, l := range sc.legs[:sc.n] {
		sc.openBook(l)
		f := fill{instrument: l.instrument}
		for _, lv := range sc.levels {
			q := min(int64(l.quantity-f.quantity), lv.size)
			f.quantity += int32(q)
			f.cost += q * lv.price
			if f.quantity == l.quantity {
				break
			}
		}
		if l.sell {
			f.quantity, f.cost = -f.quantity, -f.cost
		}
		sc.fills[i] = f
	}
}

// openBook sets levels to the side of the book against which a leg is filled, with the best level
// first.
func (sc *scratch) openBook(l leg) {
	h := mix(uint64(l.instrument))
	mid := int64(10_000 + h%90_000) // cents
	tick := int64(1 + h>>32%5)
	if l.sell {
		tick = -tick
	}
	for k := range sc.levels {
		h = mix(h)
		sc.levels[k] = level{price: mid + tick*int64(k+1), size: int64(10 + h%200)}
	}
}

// book adds the fills of sc to the session, and copies the new totals to sc.
func (st *state) book(sc *scratch) {
	st.requests++
	for _, f := range sc.fills[:sc.n] {
		st.cash -= f.cost
		st.sectors[int(f.instrument)%len(st.sectors)] += int64(f.quantity)
		st.recent[st.booked%uint64(len(st.recent))] = f
		st.booked++
	}
	sc.requests, sc.cash, sc.exposure = st.requests, st.cash, 0
	for _, q := range st.sectors {
		sc.exposure += max(q, -q)
	}
	for _, f := range st.recent {
		sc.exposure += int64(f.quantity) * int64(f.instrument)
	}
}

// write returns the reply, which is in sc. It always fits, because a fill takes at most 48 bytes.
func (sc *scratch) write(id uint64) []byte {
	b := sc.reply[:0]
	for _, f := range sc.fills[:sc.n] {
		b = append(b, "fill "...)
		b = strconv.AppendInt(b, int64(f.instrument), 10)
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(f.quantity), 10)
		b = append(b, " for "...)
		b = strconv.AppendInt(b, f.cost, 10)
		b = append(b, '\n')
	}
	b = append(b, "session "...)
	b = strconv.AppendUint(b, id, 10)
	b = append(b, " request "...)
	b = strconv.AppendUint(b, sc.requests, 10)
	b = append(b, " cash "...)
	b = strconv.AppendInt(b, sc.cash, 10)
	b = append(b, " exposure "...)
	b = strconv.AppendInt(b, sc.exposure, 10)
	return append(b, '\n')
}

// mix is a step of splitmix64: a change of any bit of x changes about half of the bits of the
// result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
