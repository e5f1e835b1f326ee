//go:build poolyield && linux && (amd64 || arm64) && !race && !pooldebug && !poolportable && !go1.28 && !poolunknown

package pool

import "sync"

// The build tag poolyield is for tests that explore interleavings (step_test.go, step_all_test.go).
// One goroutine runs at a time. At each yield point, and where it would wait, it calls the test's
// scheduler, which chooses which goroutine goes on. The scheduler also says on which P a goroutine
// is, so that several can be pinned at once.

// stepper is the test's scheduler, or nil.
var stepper interface {
	step()                  // may let others run
	wait(ready func() bool) // lets others run, until ready if that is not nil
	pin() int               // returns the P that the running goroutine is pinned to
	unpin()
}

// stepping says that the build explores interleavings.
const stepping = true

func yieldPoint() {
	if stepper != nil {
		stepper.step()
	}
}

type mutex struct{ sync.Mutex }

func (m *mutex) Lock() {
	if stepper == nil {
		m.Mutex.Lock()
		return
	}
	stepper.step()
	for !m.TryLock() {
		stepper.wait(m.isFree)
	}
}

func (m *mutex) isFree() bool {
	if !m.TryLock() {
		return false
	}
	m.Unlock()
	return true
}

func pause(int) {
	if stepper != nil {
		stepper.wait(nil)
	}
}

func procPin() int { return stepper.pin() }

func procUnpin() { stepper.unpin() }

// getm pins as well here. The fast paths end that by stepUnpin.
func getm() *mLayout {
	return &mLayout{curg: new(gLayout), p: &pLayout{id: uint32(stepper.pin())}}
}

func stepUnpin() { stepper.unpin() }

// collectedPages are those whose slots the collector has taken. The runtime's goroutine only notes them,
// and a goroutine of the test does the rest: nobody else may come to a yield point.
var collectedPages struct {
	mu    sync.Mutex
	pages []*page
}

// whenCollected is the cleanup of the slots of pg.
func whenCollected(pg *page) {
	collectedPages.mu.Lock()
	defer collectedPages.mu.Unlock()
	collectedPages.pages = append(collectedPages.pages, pg)
}

// noteCollected does what the runtime's goroutine has left.
func noteCollected() {
	collectedPages.mu.Lock()
	pages := collectedPages.pages
	collectedPages.pages = nil
	collectedPages.mu.Unlock()
	for _, pg := range pages {
		pg.collected()
	}
}
