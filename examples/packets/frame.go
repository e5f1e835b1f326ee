package main

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// A frame is what a datagram holds, in big-endian byte order:
//
//	0  checksum of all that follows, CRC-32C
//	4  length of the payload
//	8  sequence number
//	16 time of sending, in nanoseconds since this process began
//	24 payload
const (
	headerSize = 24
	maxPayload = 1500
	maxFrame   = headerSize + maxPayload
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// What parse returns is one of these, as it is: wrapping it would allocate.
var (
	errShort    = errors.New("shorter than a header")
	errLength   = errors.New("not of the length that its header says")
	errChecksum = errors.New("wrong checksum")
)

// A header is a frame but for its payload.
type header struct {
	sequence uint64
	sent     time.Duration
}

// encode makes a frame at the start of dst, which has room for it, and returns it.
func encode(dst []byte, h header, payload []byte) []byte {
	frame := dst[:headerSize+len(payload)]
	binary.BigEndian.PutUint32(frame[4:], uint32(len(payload)))
	binary.BigEndian.PutUint64(frame[8:], h.sequence)
	binary.BigEndian.PutUint64(frame[16:], uint64(h.sent))
	copy(frame[headerSize:], payload)
	binary.BigEndian.PutUint32(frame, crc32.Checksum(frame[4:], castagnoli))
	return frame
}

// parse takes a frame apart. The payload is part of it, not a copy.
func parse(frame []byte) (h header, payload []byte, err error) {
	if len(frame) < headerSize {
		return header{}, nil, errShort
	}
	if uint64(binary.BigEndian.Uint32(frame[4:])) != uint64(len(frame)-headerSize) {
		return header{}, nil, errLength
	}
	if binary.BigEndian.Uint32(frame) != crc32.Checksum(frame[4:], castagnoli) {
		return header{}, nil, errChecksum
	}
	h = header{
		sequence: binary.BigEndian.Uint64(frame[8:]),
		sent:     time.Duration(binary.BigEndian.Uint64(frame[16:])),
	}
	return h, frame[headerSize:], nil
}

// sequenceOf returns the sequence number of a frame that nobody has checked, or 0.
func sequenceOf(frame []byte) uint64 {
	if len(frame) < headerSize {
		return 0
	}
	return binary.BigEndian.Uint64(frame[8:])
}
