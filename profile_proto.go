package pool

import (
	"compress/gzip"
	"io"
	"runtime"
	"time"
)

// The format of pprof (github.com/google/pprof, proto/profile.proto), as far as this profile needs
// it. That project's package for it would be one more dependency for every user of this package.

// Field numbers in profile.proto.
const (
	profileSampleType  = 1
	profileSample      = 2
	profileLocation    = 4
	profileFunction    = 5
	profileStrings     = 6
	profileTime        = 9
	profileDefaultType = 14

	valueType, valueUnit = 1, 2

	sampleLocation, sampleValue, sampleLabel = 1, 2, 3

	labelKey, labelString = 1, 2

	locationID, locationAddress, locationLine = 1, 3, 4

	lineFunction, lineNumber = 1, 2

	functionID, functionName, functionSystemName, functionFile = 1, 2, 3, 4
)

// A proto is a message of Protocol Buffers under construction.
type proto []byte

func (p *proto) varint(x uint64) {
	for ; x >= 0x80; x >>= 7 {
		*p = append(*p, byte(x)|0x80)
	}
	*p = append(*p, byte(x))
}

// number adds a field that holds an integer.
func (p *proto) number(field int, x uint64) {
	p.varint(uint64(field) << 3)
	p.varint(x)
}

// bytes adds a field that holds a string or a message.
func (p *proto) bytes(field int, b []byte) {
	p.varint(uint64(field)<<3 | 2)
	p.varint(uint64(len(b)))
	*p = append(*p, b...)
}

// message adds a field that holds the message that fill makes.
func (p *proto) message(field int, fill func(*proto)) {
	var m proto
	fill(&m)
	p.bytes(field, m)
}

// A protoProfile is a profile under construction. It gives strings, functions and locations
// numbers.
type protoProfile struct {
	proto
	strings   map[string]uint64
	table     []string
	functions map[string]uint64
	locations map[runtime.Frame]uint64
}

// text returns the number of a string. The empty string has 0.
func (p *protoProfile) text(s string) uint64 {
	n, ok := p.strings[s]
	if !ok {
		n = uint64(len(p.table))
		p.strings[s] = n
		p.table = append(p.table, s)
	}
	return n
}

// function returns the number of a frame's function. Numbers begin with 1.
func (p *protoProfile) function(f runtime.Frame) uint64 {
	n, ok := p.functions[f.Function]
	if !ok {
		n = uint64(len(p.functions)) + 1
		p.functions[f.Function] = n
		p.message(profileFunction, func(m *proto) {
			m.number(functionID, n)
			m.number(functionName, p.text(f.Function))
			m.number(functionSystemName, p.text(f.Function))
			m.number(functionFile, p.text(f.File))
		})
	}
	return n
}

// location returns the number of a frame. Numbers begin with 1. Each frame is a location of its
// own, also the frame of an inlined function, because frames name their functions already.
func (p *protoProfile) location(f runtime.Frame) uint64 {
	place := runtime.Frame{PC: f.PC, Function: f.Function, File: f.File, Line: f.Line}
	n, ok := p.locations[place]
	if !ok {
		n = uint64(len(p.locations)) + 1
		p.locations[place] = n
		function := p.function(f)
		p.message(profileLocation, func(m *proto) {
			m.number(locationID, n)
			m.number(locationAddress, uint64(f.PC))
			m.message(locationLine, func(line *proto) {
				line.number(lineFunction, function)
				line.number(lineNumber, uint64(f.Line))
			})
		})
	}
	return n
}

// sample adds what one stack holds.
func (p *protoProfile) sample(s liveSample) {
	var stack, values proto
	for _, f := range s.frames {
		stack.varint(p.location(f))
	}
	values.varint(uint64(s.slots + 0.5))
	values.varint(uint64(s.bytes + 0.5))
	p.message(profileSample, func(m *proto) {
		m.bytes(sampleLocation, stack)
		m.bytes(sampleValue, values)
		m.message(sampleLabel, func(label *proto) {
			label.number(labelKey, p.text("pool"))
			label.number(labelString, p.text(s.pool))
		})
	})
}

// writeProto writes the profile for pprof.
func writeProto(w io.Writer, samples []liveSample) error {
	p := &protoProfile{
		strings:   map[string]uint64{"": 0},
		table:     []string{""},
		functions: make(map[string]uint64),
		locations: make(map[runtime.Frame]uint64),
	}
	for _, t := range [][2]string{{"slots", "count"}, {"bytes", "bytes"}} {
		p.message(profileSampleType, func(m *proto) {
			m.number(valueType, p.text(t[0]))
			m.number(valueUnit, p.text(t[1]))
		})
	}
	for _, s := range samples {
		p.sample(s)
	}
	p.number(profileTime, uint64(time.Now().UnixNano()))
	p.number(profileDefaultType, p.text("bytes"))
	for _, s := range p.table {
		p.bytes(profileStrings, []byte(s))
	}
	zw := gzip.NewWriter(w)
	if _, err := zw.Write(p.proto); err != nil {
		return err
	}
	return zw.Close()
}
