// Package pace waits, and does things at regular times.
package pace

import (
	"context"
	"sync"
	"time"
)

// Sleep returns after d, or with an error as soon as ctx ends.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Every calls f once per period on a goroutine of its own. stop ends that, and waits for a call
// that is under way. There is none if the period is 0.
func Every(period time.Duration, f func()) (stop func()) {
	if period <= 0 {
		return func() {}
	}
	var wg sync.WaitGroup
	quit := make(chan struct{})
	wg.Go(func() {
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f()
			case <-quit:
				return
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
	}
}
