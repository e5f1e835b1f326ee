package pool_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/warmpage/pool"
)

// A packet is read by one goroutine, and put by whoever is done with it.
type packet struct {
	length  int
	payload [1500]byte
}

// A reader fills packets, and workers use them. There are 64 packets: if the workers fall behind, the
// reader waits, and memory stays as it is. At the end, what is on its way still reaches a worker, and
// the last Put closes the pool.
func Example_workers() {
	packets := pool.New[packet](pool.WithName("packets"), pool.WithMaxSlots(64))
	queue := make(chan *packet, 64)

	var bytes atomic.Int64
	var workers sync.WaitGroup
	for range 4 {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for p := range queue {
				bytes.Add(int64(p.length))
				packets.Put(p) // p must not be used any more
			}
		}()
	}

	ctx := context.Background() // of the program, which ends with it
	for i := range 10_000 {
		p, err := packets.GetContext(ctx) // waits while 64 are out
		if err != nil {
			fmt.Println(err)
			break
		}
		p.length = copy(p.payload[:], fmt.Sprintf("packet %04d", i))
		queue <- p
	}
	close(queue)
	if err := packets.CloseWhenEmpty(); err != nil {
		fmt.Println(err)
	}
	workers.Wait()
	_, err := packets.TryGet()
	fmt.Println(bytes.Load(), "bytes")
	fmt.Println(err)
	// Output:
	// 110000 bytes
	// pool "packets" (pool_test.packet): Get: pool is closed: finish all use of a pool before Close
}
