package main

import (
	"io"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"github.com/warmpage/pool"
)

// disturb does to the pools what a program's surroundings do now and then.
func disturb(s *soak) {
	o := newOwner(s.seed)
	for s.sleep(time.Duration(100+o.IntN(500)) * time.Millisecond) {
		switch o.IntN(10) {
		case 0, 1, 2:
			runtime.GC()
		case 3:
			debug.FreeOSMemory()
		case 4:
			pool.TrimAll()
		case 5:
			if time.Since(s.began) > time.Duration(s.warmUp)*s.interval {
				runtime.GOMAXPROCS(1 + o.IntN(maxProcs()))
			}
		case 6:
			refuse(s)
		case 7:
			if err := pool.WriteProfile(io.Discard, o.IntN(2)); err != nil {
				s.fault(err)
			}
		case 8:
			if p := pprof.Lookup("pool_live"); p != nil {
				if err := p.WriteTo(io.Discard, 0); err != nil {
					s.fault(err)
				}
			}
		case 9:
			for _, st := range pool.ReadStats() {
				_ = st.String()
			}
		}
	}
}

// maxProcs is more than the machine has, so that Ps are interrupted at any point.
func maxProcs() int { return 2 * min(runtime.NumCPU(), 8) }

// refuse lowers the process limit for a moment, so that pools are refused memory.
func refuse(s *soak) {
	s.lowUntil.Store(int64(time.Hour * 1e5))
	pool.SetProcessLimit(pool.ReadMemory().Committed / 2)
	time.Sleep(20 * time.Millisecond)
	pool.SetProcessLimit(processLimit)
	s.lowUntil.Store(int64(time.Since(s.began) + 10*time.Second)) // for Gets that were on their way, on a slow machine
}
