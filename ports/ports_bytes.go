package main

import "github.com/warmpage/pool/ports/internal/rewrite"

// ofBytes are ports whose pools hold slices of bytes of many lengths.
var ofBytes = []port{
	{
		name: "gnet", module: "github.com/panjf2000/gnet/v2", version: "v2.9.7", kind: byteSize,
		holds:    "slices in 32 classes; tasks with pointers on the Go heap",
		packages: []string{"./pkg/pool/byteslice", "./pkg/queue", "./pkg/buffer/elastic", "./pkg/buffer/linkedlist", "./pkg/buffer/ring"}, bench: "ByteSlice",
		unfit:  map[string]string{"pooldebug": "TestByteSlice"},
		note:   "a test wants the slice that was put last, which quarantine keeps back in the debug build",
		change: changeGnet,
	},
	{
		name: "easyjson", module: "github.com/mailru/easyjson", version: "v0.9.2", kind: byteSize,
		holds:    "chunks of 512 bytes to 32 KiB",
		packages: []string{"./buffer", "./jwriter", "./jlexer"},
		note:     "Init, which made a map of pools, sets sizes only",
		change:   changeEasyJSON,
	},
	{
		name: "dns", module: "github.com/miekg/dns", version: "v1.1.73", kind: byteSize,
		holds:    "datagrams of the size that the server is set to",
		packages: []string{"."}, flags: []string{"-short"}, bench: "Serve",
		note:   "a message that is too short is read after its Put; sync.Pool does not notice",
		change: changeDNS,
	},
}

func changeGnet(m *sources) {
	m.edit("pkg/pool/byteslice/byteslice.go", func(f *rewrite.File) {
		f.Value("builtinPool", "Pool{pools: warmpool.NewBytes()}")
		f.Field("Pool", "pools", "*warmpool.Bytes")
		f.Body("Pool.Get", `if size <= 0 {
			return nil
		}
		if size > warmpool.MaxSlotSize {
			return make([]byte, size)
		}
		return p.pools.Get(size)`)
		f.Body("Pool.Put", "p.pools.TryPut(buf)")
		f.Remove("index")
	})
	m.edit("pkg/queue/queue.go", func(f *rewrite.File) {
		f.Value("taskPool", "warmpool.New[Task](warmpool.WithGoHeap())")
		f.Gets("taskPool")
	})
}

func changeEasyJSON(m *sources) {
	m.edit("buffer/pool.go", func(f *rewrite.File) {
		f.Value("buffers", "warmpool.NewBytes()")
		f.Body("initBuffers", "")
		f.Body("getBuf", "return buffers.Get(size)[:0:size]")
		f.Body("putBuf", `if cap(buf) >= config.PooledSize {
			buffers.TryPut(buf)
		}`)
	})
}

func changeDNS(m *sources) {
	m.edit("server.go", func(f *rewrite.File) {
		f.Field("Server", "udpPool", "*warmpool.Bytes")
		f.Assign("srv.udpPool.New", `if srv.udpPool == nil {
			srv.udpPool = warmpool.NewBytes()
		}`)
		f.Remove("makeUDPBuffer")
		f.Expr("srv.udpPool.Get().([]byte)", "srv.udpPool.Get(srv.UDPSize)")
		f.Expr("cap(m) == srv.UDPSize", "cap(m) >= srv.UDPSize")
	})
}
