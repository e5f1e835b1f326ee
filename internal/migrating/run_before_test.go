package migrating

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBefore(t *testing.T) {
	CheckCopyAll(t, copyAll)
	CheckJobs(t, newJob, (*job).finish)
	CheckPick(t, pick)
	CheckMessages(t, newMessage, (*message).free, func(m *message) Message { return Message{m.topic, m.header, &m.body} })
	CheckBuffers(t, func() *bytes.Buffer { return buffers.Get().(*bytes.Buffer) }, freeBuffer, maxKept)
	CheckChunks(t, new(chunks), chunkSize)
	CheckWriteLines(t, writeLines)
	CheckGreet(t, greet)
	CheckPackets(t, newPacket, (*packet).release, func(p *packet) []byte { return p.data[:p.n] })
	CheckCompress(t, compress)
	CheckSum(t, sumOf)
	CheckTree(t, insert, drop, keysOf)

	peer := netip.MustParseAddrPort("192.0.2.1:80")
	r := begin("/orders", peer)
	r.body = append(r.body, "hello"...)
	assert.Equal(t, peer, r.peer)
	assert.Equal(t, "/orders", r.route)
	assert.WithinDuration(t, time.Now(), r.received, time.Minute)
	requests.Put(r)
	assert.Empty(t, begin("/", peer).body)
}

func keysOf(n *node) []int64 {
	if n == nil {
		return nil
	}
	return append(append(keysOf(n.left), n.key), keysOf(n.right)...)
}
