package pool_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"runtime/pprof"
	"strings"
	"time"
	"unsafe"

	"github.com/warmpage/pool"
)

// An Order has no pointer, string or slice, so it can live in a pool.
type Order struct {
	ID     uint64
	Price  int64
	Qty    int32
	Side   byte
	Symbol [8]byte
}

func Example() {
	orders := pool.New[Order](pool.WithName("orders"))
	o := orders.Get() // zeroed, off-heap
	o.ID, o.Price, o.Qty = 1, 10050, 3
	fmt.Println(o.ID, o.Price, o.Qty, orders.Stats().Live)
	orders.Put(o) // nobody may use o any more
	fmt.Println(orders.Stats().Live, orders.Close())
	// Output:
	// 1 10050 3 1
	// 0 <nil>
}

// One goroutine receives packets. Another one works on them and puts them.
func ExamplePool() {
	type Packet struct {
		Len  int
		Data [1500]byte
	}
	packets := pool.New[Packet](pool.WithName("packets"))
	received := make(chan *Packet, 16)
	go func() {
		defer close(received)
		for _, text := range []string{"ping", "hello"} {
			p := packets.GetNoZero()
			p.Len = copy(p.Data[:], text)
			received <- p
		}
	}()
	for p := range received {
		fmt.Printf("%s\n", p.Data[:p.Len])
		packets.Put(p)
	}
	fmt.Println(packets.Close())
	// Output:
	// ping
	// hello
	// <nil>
}

func ExampleNew() {
	type Session struct {
		User    uint64
		Expires int64
	}
	sessions := pool.New[Session](pool.WithName("sessions"), pool.WithLimit(64<<20))
	s := sessions.Get()
	defer sessions.Put(s)
	s.User = 7
	fmt.Println(*s)
	// Output: {7 0}
}

func ExampleCheckType() {
	type Item struct{ Name string }
	type Cart struct{ Items [4]Item }
	fmt.Println(pool.CheckType[[16]byte]())
	var e *pool.TypeError
	if errors.As(pool.CheckType[Cart](), &e) {
		fmt.Println(e.Path)
	}
	fmt.Println(pool.CheckType[[pool.MaxSlotSize]byte](), pool.CheckType[[pool.MaxSlotSize + 1]byte]() != nil)
	// Output:
	// <nil>
	// pool_test.Cart.Items[].Name (string)
	// <nil> true
}

func ExampleTypeError() {
	type User struct {
		ID   uint64
		Tags []uint32
	}
	defer func() {
		var e *pool.TypeError
		if err, ok := recover().(error); ok && errors.As(err, &e) {
			fmt.Println("cannot pool", e.Type)
			fmt.Println(e.Path)
			fmt.Println(err)
		}
	}()
	pool.New[User]()
	// Output:
	// cannot pool pool_test.User
	// pool_test.User.Tags ([]uint32)
	// pool: pool_test.User cannot live off-heap: pool_test.User.Tags ([]uint32) is or contains a Go pointer, which the garbage collector cannot see there; make the pool with WithGoHeap(), or store an index, a fixed-size array or an integer handle instead
}

func ExampleOption() {
	limit := int64(8 << 20) // from the program's configuration
	options := []pool.Option{pool.WithName("orders")}
	if limit > 0 {
		options = append(options, pool.WithLimit(limit))
	}
	orders := pool.New[Order](options...)
	fmt.Println(orders.Stats().LimitBytes)
	// Output: 8388608
}

func ExampleWithName() {
	orders := pool.New[Order](pool.WithName("incoming orders"))
	err := orders.Close()
	fmt.Println(orders.Stats().Name, err)
	fmt.Println(orders.Close())
	// Output:
	// incoming orders <nil>
	// pool "incoming orders" (pool_test.Order): Close: pool is closed: finish all use of a pool before Close
}

// A service whose bursts of requests are some minutes apart.
func ExampleWithWarmPages() {
	const burst = 10_000
	size := pool.New[Order]().Stats()
	pages := burst/size.SlotsPerPage + 1
	orders := pool.New[Order](pool.WithWarmPages(pages))
	batch := make([]*Order, burst)
	orders.GetBatch(batch)
	orders.PutBatch(batch) // the pages stay for the next burst
	fmt.Println(orders.Stats().Live)
	orders.Trim() // when no burst is to come
	fmt.Println(orders.Stats().WarmPages)
	// Output:
	// 0
	// 0
}

// If the program imports net/http/pprof, the profile is also at /debug/pprof/pool_live.
// A file that is opened with O_DIRECT reads into memory at multiples of 4096 bytes, on some disks.
func ExampleWithAlign() {
	type Block struct {
		Data   [8192]byte // read from the file
		Number uint64
	}
	blocks := pool.New[Block](pool.WithAlign(4096))
	b := blocks.Get()
	defer blocks.Put(b)
	fmt.Println(uintptr(unsafe.Pointer(b)) % 4096)
	// Output: 0
}

func ExampleWithProfile() {
	orders := pool.New[Order](pool.WithName("orders"), pool.WithProfile(pool.DefaultProfileRate))
	defer orders.Close()
	profile := pprof.Lookup("pool_live")
	fmt.Println(profile.Name())
	// Output: pool_live
}

func ExamplePool_Get() {
	orders := pool.New[Order]()
	o := orders.Get()
	defer orders.Put(o)
	fmt.Println(*o == Order{})
	// Output: true
}

func ExamplePool_GetNoZero() {
	buffers := pool.New[[4096]byte]()
	b := buffers.GetNoZero() // holds anything
	defer buffers.Put(b)
	n := copy(b[:], "read only what you have written")
	fmt.Printf("%s\n", b[:n])
	// Output: read only what you have written
}

// A server that refuses requests for which it has no memory.
func ExamplePool_TryGet() {
	orders := pool.New[Order](pool.WithLimit(16 << 20))
	accept := func(id uint64) string {
		o, err := orders.TryGet()
		switch {
		case errors.Is(err, pool.ErrLimit), errors.Is(err, pool.ErrOutOfMemory):
			return "busy, try later"
		case errors.Is(err, pool.ErrClosed):
			return "shutting down"
		}
		defer orders.Put(o)
		o.ID = id
		return fmt.Sprint("accepted ", o.ID)
	}
	fmt.Println(accept(1))
	if err := orders.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(accept(2))
	// Output:
	// accepted 1
	// shutting down
}

func ExamplePool_Put() {
	orders := pool.New[Order](pool.WithName("orders"))
	o := orders.Get()
	orders.Put(o)
	defer func() {
		err, _ := recover().(error)
		fmt.Println(errors.Is(err, pool.ErrDoublePut))
	}()
	orders.Put(o)
	// Output: true
}

// Put takes only slots that a Get of the same pool returned.
func ExamplePool_Put_foreign() {
	orders := pool.New[Order](pool.WithName("orders"))
	defer func() {
		err, _ := recover().(error)
		fmt.Println(errors.Is(err, pool.ErrForeignPut))
	}()
	orders.Put(&Order{ID: 1})
	// Output: true
}

func ExamplePool_GetBatch() {
	orders := pool.New[Order]()
	batch := make([]*Order, 64)
	orders.GetBatch(batch)
	fmt.Println(orders.Stats().Live)
	orders.PutBatch(batch)
	fmt.Println(orders.Stats().Live)
	// Output:
	// 64
	// 0
}

// The program collects slots that it no longer needs, and puts them in one call.
func ExamplePool_PutBatch() {
	orders := pool.New[Order]()
	done := make([]*Order, 0, 64)
	for id := range uint64(200) {
		o := orders.Get()
		o.ID = id
		if done = append(done, o); len(done) == cap(done) {
			orders.PutBatch(done)
			done = done[:0]
		}
	}
	orders.PutBatch(done)
	fmt.Println(orders.Stats().Gets, orders.Stats().Live)
	// Output: 200 0
}

func ExamplePool_Close() {
	orders := pool.New[Order]()
	o := orders.Get()
	if err := orders.Close(); errors.Is(err, pool.ErrInUse) {
		fmt.Println("an order was never put")
	}
	orders.Put(o)
	fmt.Println(orders.Close())
	// Output:
	// an order was never put
	// <nil>
}

func ExamplePool_Stats() {
	orders := pool.New[Order](pool.WithName("orders"))
	for range 3 {
		orders.Put(orders.Get())
	}
	o := orders.Get()
	defer orders.Put(o)
	st := orders.Stats()
	fmt.Printf("%s: %d in use, %d got\n", st.Name, st.Live, st.Gets)
	// Output: orders: 1 in use, 4 got
}

// Metrics for one pool.
func ExampleStats() {
	orders := pool.New[Order](pool.WithLimit(1 << 20))
	batch := make([]*Order, 64)
	orders.GetBatch(batch)
	orders.PutBatch(batch[:24])
	st := orders.Stats()
	fmt.Println("in use:", st.Live)
	fmt.Println("put:", st.Gets-st.FailedGets-uint64(st.Live))
	fmt.Println("pages in use, of those allowed:", st.MappedBytes*100/st.LimitBytes, "%")
	orders.PutBatch(batch[24:])
	// Output:
	// in use: 40
	// put: 24
	// pages in use, of those allowed: 6 %
}

// A status page for all pools.
func ExampleReadStats() {
	quotes := pool.New[Order](pool.WithName("quotes"))
	q := quotes.Get()
	for _, st := range pool.ReadStats() {
		if st.Name == "quotes" { // one pool among others
			fmt.Println(st.Name, st.Type, st.Live)
		}
	}
	quotes.Put(q)
	fmt.Println(quotes.Close())
	// Output:
	// quotes pool_test.Order 1
	// <nil>
}

func ExampleSetProcessLimit() {
	previous := pool.SetProcessLimit(2 << 30) // in a container of 4 GiB
	defer pool.SetProcessLimit(previous)
	fmt.Println(pool.SetProcessLimit(-1)>>20, "MiB") // only asks
	// Output: 2048 MiB
}

// A pool that samples each Get says who got the slots that were never put.
func ExampleLeaks() {
	trades := pool.New[Order](pool.WithName("trades"), pool.WithProfile(1))
	t := trades.Get()
	for _, leak := range pool.Leaks() {
		if leak.Pool == "trades" {
			function, _, _ := strings.Cut(strings.TrimSpace(leak.Stack()), "\n")
			fmt.Println("never put, got in", function)
		}
	}
	trades.Put(t)
	// Output: never put, got in github.com/warmpage/pool_test.ExampleLeaks
}

// Pooled objects refer to each other by Refs. The garbage collector does not follow those.
func ExampleRef() {
	type node struct {
		value int
		next  pool.Ref[node]
	}
	nodes := pool.New[node]()
	var head pool.Ref[node]
	for v := range 3 {
		n := nodes.Get()
		n.value, n.next = v, head
		head = nodes.Ref(n)
	}
	for n := nodes.Deref(head); n != nil; n = nodes.Deref(n.next) {
		fmt.Println(n.value)
	}
	// Output:
	// 2
	// 1
	// 0
}

func ExampleRef_IsZero() {
	var best pool.Ref[Order]
	fmt.Println(best.IsZero())
	orders := pool.New[Order]()
	best = orders.Ref(orders.Get())
	fmt.Println(best.IsZero(), orders.PutRef(best))
	fmt.Println(best.IsZero(), orders.Deref(best) == nil) // its slot was put, but the Ref is not zero
	// Output:
	// true
	// false true
	// false true
}

func ExampleRef_String() {
	var none pool.Ref[Order]
	fmt.Println("best offer:", none) // others look like ref(3072.1)
	// Output: best offer: ref(nil)
}

// The garbage collector does not look into a map from keys to Refs.
func ExamplePool_Ref() {
	orders := pool.New[Order]()
	byID := make(map[uint64]pool.Ref[Order])
	for id := range uint64(3) {
		o := orders.Get()
		o.ID, o.Price = id, int64(id)*100
		byID[id] = orders.Ref(o)
	}
	fmt.Println(orders.Deref(byID[2]).Price)
	// Output: 200
}

func ExamplePool_Deref() {
	sessions := pool.New[[16]byte]()
	s := sessions.Get()
	copy(s[:], "alice")
	ref := sessions.Ref(s)
	if s := sessions.Deref(ref); s != nil {
		fmt.Printf("%s\n", s[:5])
	}
	sessions.Put(s)
	fmt.Println(sessions.Deref(ref) == nil)
	// Output:
	// alice
	// true
}

// An order is filled, or it times out. The one that comes first puts it.
func ExamplePool_PutRef() {
	orders := pool.New[Order]()
	ref := orders.Ref(orders.Get())
	fmt.Println("filled:", orders.PutRef(ref))
	fmt.Println("timed out:", orders.PutRef(ref))
	// Output:
	// filled: true
	// timed out: false
}

func ExamplePool_All() {
	sessions := pool.New[[32]byte]()
	for id := range 4 {
		copy(sessions.Get()[:], fmt.Sprintf("session %d", id))
	}
	for ref, s := range sessions.All() { // sessions with odd numbers have ended
		if s[8]%2 != 0 {
			sessions.PutRef(ref)
		}
	}
	fmt.Println(sessions.Stats().Live)
	// Output: 2
}

// A server that works on at most 100 requests at a time.
func ExampleWithMaxSlots() {
	type Scratch struct{ Buf [4096]byte }
	scratch := pool.New[Scratch](pool.WithName("scratch"), pool.WithMaxSlots(100))
	var held []*Scratch
	for {
		s, err := scratch.TryGet()
		if errors.Is(err, pool.ErrLimit) {
			fmt.Println(err)
			break
		}
		held = append(held, s)
	}
	fmt.Println(len(held))
	scratch.PutBatch(held)
	// Output:
	// pool "scratch" (pool_test.Scratch): limit reached: no slot is free, and WithMaxSlots allows no more than 100; Put slots, or raise the bound
	// 100
}

// Bursts of 10,000 orders that are minutes apart.
func ExampleWithWarmSlots() {
	orders := pool.New[Order](pool.WithWarmSlots(10_000))
	burst := make([]*Order, 10_000)
	orders.GetBatch(burst)
	orders.PutBatch(burst) // the memory stays for the next burst
	fmt.Println(orders.Live())
	// Output: 0
}

// A Get that waits for a slot, but not for ever.
func ExamplePool_GetContext() {
	conns := pool.New[[512]byte](pool.WithMaxSlots(1))
	first := conns.Get()

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := conns.GetContext(ctx)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))

	go conns.Put(first)
	second, err := conns.GetContext(context.Background())
	fmt.Println(second == first, err)
	conns.Put(second)
	// Output:
	// true
	// true <nil>
}

func ExamplePool_Live() {
	orders := pool.New[Order]()
	a, b := orders.Get(), orders.Get()
	orders.Put(a)
	fmt.Println(orders.Live())
	orders.Put(b)
	fmt.Println(orders.Live())
	// Output:
	// 1
	// 0
}

// The objects of a level end together. Nobody has to find them all to put them.
func ExamplePool_Clear() {
	type Bullet struct{ X, Y, DX, DY float32 }
	bullets := pool.New[Bullet]()
	for range 1000 {
		bullets.Get().DX = 1
	}
	fmt.Println(bullets.Live())
	bullets.Clear() // the level is over, and nobody uses the pool
	fmt.Println(bullets.Live(), *bullets.Get())
	// Output:
	// 1000
	// 0 {0 0 0 0}
}

// The program ends while orders are on their way. Whoever puts the last one closes the pool.
func ExamplePool_CloseWhenEmpty() {
	orders := pool.New[Order]()
	queue := make(chan *Order, 2)
	queue <- orders.Get()
	queue <- orders.Get()
	close(queue)
	fmt.Println(orders.CloseWhenEmpty())
	_, err := orders.TryGet()
	fmt.Println(errors.Is(err, pool.ErrClosed))
	for o := range queue {
		orders.Put(o)
	}
	fmt.Println(errors.Is(orders.Close(), pool.ErrClosed)) // it is closed already
	// Output:
	// <nil>
	// true
	// true
}

// A queue that may hold the same order twice, by a mistake elsewhere.
func ExamplePool_TryPut() {
	orders := pool.New[Order](pool.WithName("orders"))
	o := orders.Get()
	queue := []*Order{o, o, new(Order)}
	for _, o := range queue {
		err := orders.TryPut(o)
		fmt.Println(err == nil, errors.Is(err, pool.ErrDoublePut), errors.Is(err, pool.ErrForeignPut))
	}
	// Output:
	// true false false
	// false true false
	// false false true
}

// Orders come from two pools, and from new.
func ExamplePool_Owns() {
	bids, asks := pool.New[Order](), pool.New[Order]()
	free := func(o *Order) string {
		switch {
		case bids.Owns(o):
			bids.Put(o)
			return "bid"
		case asks.Owns(o):
			asks.Put(o)
			return "ask"
		}
		return "the garbage collector's"
	}
	fmt.Println(free(asks.Get()), free(bids.Get()), free(new(Order)))
	// Output: ask bid the garbage collector's
}

func ExamplePool_GetRef() {
	orders := pool.New[Order]()
	byID := make(map[uint64]pool.Ref[Order])
	r, o := orders.GetRef()
	o.ID = 7
	byID[o.ID] = r
	fmt.Println(orders.Deref(byID[7]).ID)
	// Output: 7
}

func ExamplePool_PutRefs() {
	orders := pool.New[Order]()
	var filled []pool.Ref[Order]
	for range 3 {
		r, _ := orders.GetRef()
		filled = append(filled, r)
	}
	orders.PutRef(filled[1]) // somebody was faster
	fmt.Println(orders.PutRefs(filled), orders.Live())
	// Output: 2 0
}

func ExampleStats_String() {
	st := pool.Stats{ // as Pool.Stats returns it
		Name: "scratch", Type: "[4096]uint8", SlotSize: 4096, Live: 1, MaxSlots: 16,
		Pages: 1, MappedBytes: 64 << 10, LimitBytes: 1 << 20, Gets: 1, SlowGets: 1,
	}
	fmt.Println(st)
	// Output:
	// pool "scratch" ([4096]uint8), slots of 4096 bytes
	//   slots:  1 in use, 16 at most
	//   memory: 64 KiB in 1 pages, 0 empty; at most 1024 KiB
	//   gets:   1, 0 failed, 1 slow
}
