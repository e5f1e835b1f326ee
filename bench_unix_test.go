//go:build unix

package pool

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// cpuTime returns how long the process has used processors.
func cpuTime(b *testing.B) time.Duration {
	var r unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkManyPools uses many pools ten times a second each. It reports the share of a core that
// this takes, the slowest pair of a Get and a Put, and the share of a core when nobody has used the
// pools for two seconds. Run it with -benchtime 1x.
func BenchmarkManyPools(b *testing.B) {
	const period, rounds = 100 * time.Millisecond, 30
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			pools := make([]*Pool[obj64], n)
			for i := range pools {
				pools[i] = New[obj64]()
				pools[i].Put(pools[i].Get())
			}
			for range b.N {
				cpu, begun := cpuTime(b), time.Now()
				var worst time.Duration
				for round := range time.Duration(rounds) {
					for _, p := range pools {
						before := time.Now()
						x := p.Get()
						x[0] = 1
						p.Put(x)
						worst = max(worst, time.Since(before))
					}
					time.Sleep(time.Until(begun.Add((round + 1) * period)))
				}
				b.ReportMetric(100*(cpuTime(b)-cpu).Seconds()/time.Since(begun).Seconds(), "%cpu")
				b.ReportMetric(float64(worst.Microseconds())/1000, "ms-worst")
				time.Sleep(2 * time.Second)
				cpu = cpuTime(b)
				time.Sleep(time.Second)
				b.ReportMetric(100*(cpuTime(b)-cpu).Seconds(), "%cpu-idle")
				b.ReportMetric(0, "ns/op")
			}
			for _, p := range pools {
				require.NoError(b, p.Close())
			}
		})
	}
}
