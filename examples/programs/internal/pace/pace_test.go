package pace

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		assert.NoError(t, Sleep(ctx, 0))
		assert.NoError(t, Sleep(ctx, time.Second))
		assert.Equal(t, time.Second, time.Since(start))
		assert.ErrorIs(t, Sleep(ctx, time.Hour), context.DeadlineExceeded)
		assert.Equal(t, time.Minute, time.Since(start))
		assert.ErrorIs(t, Sleep(ctx, 0), context.DeadlineExceeded)
	})
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		stop := Every(time.Second, func() { calls++ })
		time.Sleep(3500 * time.Millisecond)
		stop()
		assert.Equal(t, 3, calls)
		Every(0, func() { t.Error("there is no such time") })()
	})
}
