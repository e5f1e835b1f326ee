package main

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// A frame is the contents of a datagram. Numbers are in big-endian byte order:
//
//	0  checksum of everything that follows, CRC-32C
//	4  length of the payload in bytes
//	8  sequence number
//	16 time of sending, in nanoseconds since the process began
//	24 payload
const (
	headerSize = 24
	maxPayload = 1500
	maxFrame   = headerSize + maxPayload
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The errors that parse returns. It does not wrap them, because that would allocate.
var (
	errShort    = errors.New("shorter than a header")
	errLength   = errors.New("length differs from the one in the header")
	errChecksum = errors.New("wrong checksum")
)

// A header has the sequence number of a frame and the time at which it was sent.
type header struct {
	sequence uint64
	sent     time.Duration
}

// encode writes a frame to the start of dst, which must have room for it. It returns the frame.
func encode(dst []byte, h header, payload []byte) []byte {
	frame := dst[:headerSize+len(payload)]
	binary.BigEndian.PutUint32(frame[4:], uint32(len(payload)))
	binary.BigEndian.PutUint64(frame[8:], h.sequence)
	binary.BigEndian.PutUint64(frame[16:], uint64(h.sent))
	copy(frame[headerSize:], payload)
	binary.BigEndian.PutUint32(frame, crc32.Checksum(frame[4:], castagnoli))
	return frame
}

// parse checks a frame and returns its parts. The payload is a part of frame, not a copy.
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

// sequenceOf returns the sequence number of an unchecked frame, or 0 if the frame is too short.
func sequenceOf(frame []byte) uint64 {
	if len(frame) < headerSize {
		return 0
	}
	return binary.BigEndian.Uint64(frame[8:])
}
