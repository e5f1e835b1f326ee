package main

import "github.com/warmpage/pool/ports/internal/rewrite"

// withPointers are ports whose pools hold structs with pointers.
var withPointers = []port{
	{
		name: "quic-go", module: "github.com/quic-go/quic-go", version: "v0.65.0", kind: goKept,
		holds:    "sent packets, cleared; stream frames and packets, which keep their buffers",
		packages: []string{"./internal/ackhandler", "./internal/wire", "."}, flags: []string{"-short", "-run", "^Test[A-Z]?[a-z]*(Ack|Sent|Packet|Frame|Stream|Buffer|Conn)"},
		bench:  "SendAndAcknowledge",
		unfit:  map[string]string{"pooldebug": "TestFrameParserAllocs"},
		note:   "lost packets are never put, which is why they are on the Go heap; a frame that is split lends its flag fromPool to one that is not, so Owns decides",
		change: changeQUIC,
	},
	{
		name: "gin", module: "github.com/gin-gonic/gin", version: "v1.12.0", kind: goKept,
		holds:    "request contexts, which keep their slices",
		packages: []string{"."}, bench: "OneRoute|5Params|ManyRoutesLast|404Many",
		note:   "an engine and its pool refer to each other: an engine that is dropped should close its pool",
		change: changeGin,
	},
	{
		name: "chi", module: "github.com/go-chi/chi/v5", version: "v5.5.0", kind: goKept,
		holds:    "routing contexts, which keep their slices",
		packages: []string{"."}, bench: "Mux$",
		change: changeChi,
	},
	{
		name: "fastjson", module: "github.com/valyala/fastjson", version: "v1.6.10", kind: goKept,
		holds:    "parsers and arenas, which keep their buffers",
		packages: []string{"."}, bench: "Parse/(small|medium)|ArenaTypicalUse",
		note:   "ParserPool{} works there, so the pool is made at the first Get",
		change: changeFastJSON,
	},
	{
		name: "msgpack", module: "github.com/vmihailenco/msgpack/v5", version: "v5.4.1", kind: goKept,
		holds:    "encoders and decoders, which keep their buffers",
		packages: []string{"."}, bench: "StructVmihailenco|StructMarshal|StructUnmarshal",
		change: changeMsgpack,
	},
	{
		name: "zerolog", module: "github.com/rs/zerolog", version: "v1.35.1", kind: goKept,
		holds:    "events and arrays, which keep their buffers",
		packages: []string{"."}, bench: "LogEmpty|Disabled|Info|ContextFields|LogFields",
		note:   "buffers above 64 KiB are not put, and the collector takes them",
		change: changeZerolog,
	},
	{
		name: "logfmt", module: "github.com/go-logfmt/logfmt", version: "v0.6.1", kind: goKept,
		holds:    "bytes.Buffer, which keep their memory",
		packages: []string{"."}, bench: "EncodeKeyval|WriteStringKey",
		change: changeLogfmt,
	},
	{
		name: "interceptor", module: "github.com/pion/interceptor", version: "v0.1.51", kind: goHeap,
		holds:    "RTP headers, and payloads of 1,460 bytes",
		packages: []string{"./internal/rtpbuffer", "./pkg/nack"},
		note:     "payloads are arrays now; the pointers to slices are gone",
		change:   changeInterceptor,
	},
}

func changeQUIC(m *sources) {
	m.edit("internal/ackhandler/packet.go", func(f *rewrite.File) {
		f.Value("packetPool", "warmpool.New[packet](warmpool.WithGoHeap())")
		f.Body("getPacket", "return packetPool.Get()")
		f.Body("putPacket", "packetPool.Put(p)")
	})
	m.edit("internal/wire/pool.go", func(f *rewrite.File) {
		f.Value("pool", `warmpool.New[StreamFrame](warmpool.WithGoHeap(), warmpool.WithInit(func(f *StreamFrame) {
			f.Data = make([]byte, 0, protocol.MaxPacketBufferSize)
			f.fromPool = true
		}))`)
		f.Remove("init")
		f.Gets("pool")
		f.Expr("!f.fromPool", "!pool.Owns(f)")
	})
	m.edit("buffer_pool.go", func(f *rewrite.File) {
		f.Value("bufferPool", "newPacketBuffers(protocol.MaxPacketBufferSize), newPacketBuffers(protocol.MaxLargePacketBufferSize)")
		f.Remove("init")
		f.Gets("bufferPool")
		f.Gets("largeBufferPool")
		f.Append(`func newPacketBuffers(size int) *warmpool.Pool[packetBuffer] {
			return warmpool.New[packetBuffer](warmpool.WithGoHeap(), warmpool.WithInit(func(b *packetBuffer) {
				b.Data = make([]byte, 0, size)
			}))
		}`)
	})
}

func changeGin(m *sources) {
	m.edit("gin.go", func(f *rewrite.File) {
		f.Field("Engine", "pool", "*warmpool.Pool[Context]")
		f.Assign("engine.pool.New", `engine.pool = warmpool.New[Context](warmpool.WithGoHeap(), warmpool.WithInit(func(c *Context) {
			params := make(Params, 0, engine.maxParams)
			skipped := make([]skippedNode, 0, engine.maxSections)
			c.engine, c.params, c.skippedNodes = engine, &params, &skipped
		}))`)
		f.Gets("engine.pool")
	})
}

func changeChi(m *sources) {
	m.edit("mux.go", func(f *rewrite.File) {
		f.Field("Mux", "pool", "*warmpool.Pool[Context]")
		f.Body("NewMux", `keep := warmpool.WithInit(func(*Context) {})
			return &Mux{tree: &node{}, pool: warmpool.New[Context](warmpool.WithGoHeap(), keep)}`)
		f.Gets("mx.pool")
	})
}

func changeFastJSON(m *sources) {
	m.edit("pool.go", func(f *rewrite.File) {
		for pool, t := range map[string]string{"ParserPool": "Parser", "ArenaPool": "Arena"} {
			f.Field(pool, "pool", "lazyPool["+t+"]")
		}
		f.Body("ParserPool.Get", "return pp.pool.get().Get()")
		f.Body("ParserPool.Put", "pp.pool.get().Put(p)")
		f.Body("ArenaPool.Get", "return ap.pool.get().Get()")
		f.Body("ArenaPool.Put", "a.Reset()\nap.pool.get().Put(a)")
		f.Append(`// A lazyPool makes its pool when somebody asks for it.
			type lazyPool[T any] struct {
				once sync.Once
				pool *warmpool.Pool[T]
			}

			func (l *lazyPool[T]) get() *warmpool.Pool[T] {
				l.once.Do(func() {
					l.pool = warmpool.New[T](warmpool.WithGoHeap(), warmpool.WithInit(func(*T) {}))
				})
				return l.pool
			}`)
	})
}

func changeMsgpack(m *sources) {
	m.edit("encode.go", func(f *rewrite.File) {
		f.Value("encPool", `warmpool.New[Encoder](warmpool.WithGoHeap(), warmpool.WithInit(func(e *Encoder) {
			*e = *NewEncoder(nil)
		}))`)
		f.Gets("encPool")
	})
	m.edit("decode.go", func(f *rewrite.File) {
		f.Value("decPool", `warmpool.New[Decoder](warmpool.WithGoHeap(), warmpool.WithInit(func(d *Decoder) {
			*d = *NewDecoder(nil)
		}))`)
		f.Gets("decPool")
	})
}

func changeZerolog(m *sources) {
	for file, p := range map[string]struct{ pool, t string }{"event.go": {"eventPool", "Event"}, "array.go": {"arrayPool", "Array"}} {
		m.edit(file, func(f *rewrite.File) {
			f.Value(p.pool, "warmpool.New["+p.t+"](warmpool.WithGoHeap(), warmpool.WithInit(func(x *"+p.t+") { x.buf = make([]byte, 0, 500) }))")
			f.Gets(p.pool)
		})
	}
}

func changeLogfmt(m *sources) {
	m.edit("jsonstring.go", func(f *rewrite.File) {
		f.Value("bufferPool", "warmpool.New[bytes.Buffer](warmpool.WithGoHeap(), warmpool.WithInit(func(*bytes.Buffer) {}))")
		f.Gets("bufferPool")
	})
}

func changeInterceptor(m *sources) {
	m.edit("internal/rtpbuffer/packet_factory.go", func(f *rewrite.File) {
		f.Field("PacketFactoryCopy", "headerPool", "*warmpool.Pool[rtp.Header]")
		f.Field("PacketFactoryCopy", "payloadPool", "*warmpool.Pool[payloadArray]")
		f.Body("NewPacketFactoryCopy", `return &PacketFactoryCopy{
			headerPool:   warmpool.New[rtp.Header](warmpool.WithGoHeap()),
			payloadPool:  warmpool.New[payloadArray](warmpool.WithGoHeap()),
			rtxSequencer: rtp.NewRandomSequencer(),
		}`)
		f.Gets("m.headerPool")
		f.Gets("m.payloadPool")
		f.Expr("*retainablePacket.buffer", "retainablePacket.buffer[:]")
		f.Expr("*[]byte", "*payloadArray")
		f.Append("type payloadArray = [maxPayloadLen]byte")
	})
	m.edit("internal/rtpbuffer/retainable_packet.go", func(f *rewrite.File) { f.Expr("*[]byte", "*payloadArray") })
}
