package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFrame(t *testing.T) {
	var buf [maxFrame]byte
	for _, size := range []int{0, 1, 7, 64, maxPayload} {
		payload := bytes.Repeat([]byte{0xa5}, size)
		want := header{sequence: 1<<63 + 7, sent: 3 * time.Second}
		frame := encode(buf[:], want, payload)
		require.Len(t, frame, headerSize+size)
		assert.Equal(t, want.sequence, sequenceOf(frame))
		got, body, err := parse(frame)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.True(t, bytes.Equal(payload, body))
	}
}

// parse detects every wrong bit, and every cut.
func TestCorruption(t *testing.T) {
	var buf [maxFrame]byte
	frame := encode(buf[:], header{sequence: 42, sent: time.Second}, []byte("fifteen letters"))
	for i := range len(frame) * 8 {
		bad := bytes.Clone(frame)
		bad[i/8] ^= 1 << (i % 8)
		_, _, err := parse(bad)
		if i/8 >= 4 && i/8 < 8 {
			assert.ErrorIs(t, err, errLength, i)
		} else {
			assert.ErrorIs(t, err, errChecksum, i)
		}
	}
	for n := range frame {
		_, _, err := parse(frame[:n])
		if n < headerSize {
			assert.ErrorIs(t, err, errShort, n)
			assert.Zero(t, sequenceOf(frame[:n]))
		} else {
			assert.ErrorIs(t, err, errLength, n)
		}
	}
	_, _, err := parse(append(bytes.Clone(frame), 0))
	assert.ErrorIs(t, err, errLength)
	_, _, err = parse(frame)
	assert.NoError(t, err)
}

func TestFrameAllocatesNothing(t *testing.T) {
	buf := make([]byte, maxFrame)
	payload := make([]byte, 100)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		frame := encode(buf, header{sequence: 1}, payload)
		if _, _, err := parse(frame); err != nil {
			t.Error(err)
		}
		frame[0]++
		if _, _, err := parse(frame); err == nil {
			t.Error("parse did not detect a wrong checksum")
		}
	}))
}
