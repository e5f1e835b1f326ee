//go:build go1.25

package pooltest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// New works in a bubble, and waits by the bubble's clock.
func TestNewInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New[[64]byte](t)
		x := p.Get()
		go func() {
			time.Sleep(20 * time.Millisecond) // of the bubble
			p.Put(x)
		}()
	})
	synctest.Test(t, func(t *testing.T) {
		r := record(t)
		p := New[[64]byte](r)
		x := p.Get()
		r.end()
		assert.Len(t, r.errors, 1)
		p.Put(x)
		assert.NoError(t, p.Close())
	})
}
