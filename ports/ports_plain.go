package main

import "github.com/warmpage/pool/ports/internal/rewrite"

// withoutPointers are ports whose pools hold types without pointers.
var withoutPointers = []port{
	{
		name: "lz4", module: "github.com/pierrec/lz4/v4", version: "v4.1.33", kind: offHeap,
		holds:    "compressor tables of 16 KiB and more, blocks of 64 KiB to 8 MiB",
		packages: []string{"./internal/lz4block", "."}, flags: []string{"-short"},
		bench: "WriterReset|WriterFlush|CompressBlock", benchIn: ".", unfit: map[string]string{"race": ""},
		note:   "CompressorHC has a pointer to a table, and stays as it is; its tests take many minutes with the race detector",
		change: changeLZ4,
	},
	{
		name: "s2", module: "github.com/klauspost/compress", version: "v1.20.4", kind: offHeap,
		holds:    "hash tables of 320 KiB to 4.5 MiB, cleared for each use",
		packages: []string{"./s2"}, flags: []string{"-short"},
		bench: "EncodeBetter|RandomEncodeBetter|EncodeBest", unfit: map[string]string{"race": ""},
		note:   "Get clears, so the functions that cleared are one line; its tests take many minutes with the race detector",
		change: changeS2,
	},
	{
		name: "http2", module: "golang.org/x/net", version: "v0.62.0", kind: goHeap,
		holds:    "chunks of request bodies, 1 to 16 KiB",
		packages: []string{"./http2"}, flags: []string{"-short"},
		note:   "a stream that is reset drops its chunks, so they are on the Go heap",
		change: changeHTTP2,
	},
	{
		name: "fastrand", module: "github.com/valyala/fastrand", version: "v1.1.0", kind: offHeap,
		holds:    "generators of 4 bytes that keep their state (WithInit)",
		packages: []string{"."}, bench: "Uint32n$", unfit: map[string]string{"pooldebug": "TestUint32"},
		note:   "the debug build keeps slots back and so makes many generators, which are seeded by the clock: its test finds equal numbers",
		change: changeFastrand,
	},
	{
		name: "wireguard", module: "golang.zx2c4.com/wireguard", version: "v0.0.0-20260522210424-ecfc5a8d5446", kind: offHeap,
		holds:    "packets of 64 KiB, and elements with pointers on the Go heap",
		packages: []string{"./device"}, flags: []string{"-short"}, bench: "Latency|Throughput",
		note:   "its WaitPool becomes WithMaxSlots and GetContext; where there is no bound, GetNoZero does not clear 64 KiB for each packet, and at a bound GetContext does",
		change: changeWireguard,
	},
	{
		name: "sio", module: "github.com/minio/sio", version: "v0.4.1", kind: goHeap,
		holds:    "packages of 64 KiB, cleared before each Put",
		packages: []string{"."}, flags: []string{"-short"}, bench: "(Encrypt|Decrypt)(Reader|Writer)_(8|64)KB",
		note:   "readers that are not read to the end keep their package, so they are on the Go heap; its own loop that cleared is gone; ReadAt put twice at the end of its source, which the change mends",
		change: changeSIO,
	},
}

func changeLZ4(m *sources) {
	m.edit("internal/lz4block/block.go", func(f *rewrite.File) {
		f.Value("compressorPool", "warmpool.New[Compressor]()")
		f.Expr("compressorPool.Get().(*Compressor)", "compressorPool.GetNoZero()")
	})
	m.edit("internal/lz4block/blocks.go", func(f *rewrite.File) {
		for pool, block := range map[string]string{
			"blockPool64K": "Block64Kb", "blockPool256K": "Block256Kb", "blockPool1M": "Block1Mb", "blockPool4M": "Block4Mb",
			"blockPool8M": "Block8Mb", "blockPoolLegacy": "legacyBlockBound",
		} {
			f.Value(pool, "warmpool.New[["+block+"]byte](warmpool.WithGoHeap())")
			f.Expr(pool+".Get().(*["+block+"]byte)", pool+".GetNoZero()")
		}
	})
}

func changeS2(m *sources) {
	m.edit("s2/hashtable_pool.go", func(f *rewrite.File) {
		for _, t := range []string{"better", "betterSnappy", "best"} {
			f.Value(t+"TablePool", "warmpool.New["+t+"Tables]()")
			f.Body("get"+string(t[0]-'a'+'A')+t[1:]+"Tables", "return "+t+"TablePool.Get()")
		}
	})
}

func changeHTTP2(m *sources) {
	m.edit("http2/databuffer.go", func(f *rewrite.File) {
		f.Value("dataChunkPools", `struct {
			a *warmpool.Pool[[1 << 10]byte]
			b *warmpool.Pool[[2 << 10]byte]
			c *warmpool.Pool[[4 << 10]byte]
			d *warmpool.Pool[[8 << 10]byte]
			e *warmpool.Pool[[16 << 10]byte]
		}{
			warmpool.New[[1 << 10]byte](warmpool.WithGoHeap()),
			warmpool.New[[2 << 10]byte](warmpool.WithGoHeap()),
			warmpool.New[[4 << 10]byte](warmpool.WithGoHeap()),
			warmpool.New[[8 << 10]byte](warmpool.WithGoHeap()),
			warmpool.New[[16 << 10]byte](warmpool.WithGoHeap()),
		}`)
		for i, class := range []struct{ field, size string }{{"a", "1"}, {"b", "2"}, {"c", "4"}, {"d", "8"}, {"e", "16"}} {
			old := "dataChunkPools[" + string(rune('0'+i)) + "]"
			f.Expr(old+".Get().(*["+class.size+" << 10]byte)", "dataChunkPools."+class.field+".Get()")
			f.Expr(old+".Put", "dataChunkPools."+class.field+".Put")
		}
	})
}

func changeFastrand(m *sources) {
	m.edit("fastrand.go", func(f *rewrite.File) {
		f.Value("rngPool", "warmpool.New[RNG](warmpool.WithInit(func(*RNG) {}))")
		f.Body("Uint32", `r := rngPool.Get()
			x := r.Uint32()
			rngPool.Put(r)
			return x`)
	})
}

func changeWireguard(m *sources) {
	pools := []struct{ field, t, opts, init string }{
		{"messageBuffers", "[MaxMessageSize]byte", "", ""},
		{"inboundElements", "QueueInboundElement", "warmpool.WithGoHeap()", ""},
		{"outboundElements", "QueueOutboundElement", "warmpool.WithGoHeap()", ""},
		{"inboundElementsContainer", "QueueInboundElementsContainer", "warmpool.WithGoHeap()", "QueueInboundElement"},
		{"outboundElementsContainer", "QueueOutboundElementsContainer", "warmpool.WithGoHeap()", "QueueOutboundElement"},
	}
	m.edit("device/device.go", func(f *rewrite.File) {
		for _, p := range pools {
			f.Field("Device", p.field, "*warmpool.Pool["+p.t+"]")
		}
	})
	m.edit("device/pools.go", func(f *rewrite.File) {
		populate := "n := warmpool.WithMaxSlots(int(PreallocatedBuffersPerPool))\n"
		for _, p := range pools {
			opts := "n"
			if p.opts != "" {
				opts += ", " + p.opts
			}
			if p.init != "" {
				opts += ", warmpool.WithInit(func(c *" + p.t + ") { c.elems = make([]*" + p.init + ", 0, device.BatchSize()) })"
			}
			populate += "device.pool." + p.field + " = warmpool.New[" + p.t + "](" + opts + ")\n"
			f.Expr("device.pool."+p.field+".Get().(*"+p.t+")", "await(device.pool."+p.field+")")
		}
		f.Body("Device.PopulatePools", populate)
		f.Append(`// await waits for a slot at the bound.
			func await[T any](p *warmpool.Pool[T]) *T {
				if PreallocatedBuffersPerPool == 0 {
					return p.GetNoZero()
				}
				x, err := p.GetContext(context.Background())
				if err != nil {
					panic(err)
				}
				return x
			}`)
	})
}

func changeSIO(m *sources) {
	m.edit("reader-v2.go", func(f *rewrite.File) {
		f.Value("packageBufferPool", "warmpool.New[[maxPackageSize]byte](warmpool.WithGoHeap())")
		f.Body("recyclePackageBufferPool", `if cap(b) >= maxPackageSize {
			packageBufferPool.Put((*[maxPackageSize]byte)(b[:maxPackageSize]))
		}`)
		f.Gets("packageBufferPool")
	})
	m.edit("reader-v1.go", func(f *rewrite.File) {
		f.Gets("packageBufferPool")
		f.Undefer("recyclePackageBufferPool(buffer)")
		f.Assign("decReader.SeqNum", "decReader.SeqNum = uint32(t)\ndefer decReader.recycle()")
	})
	for _, file := range []string{"writer-v1.go", "writer-v2.go"} {
		m.edit(file, func(f *rewrite.File) { f.Gets("packageBufferPool") })
	}
}
