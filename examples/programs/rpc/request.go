package main

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
)

// A request is what a handler needs for one request: a map, slices, buffers and a struct.
type request struct {
	id      uint64
	method  string
	header  map[string]string
	args    []int64
	scratch []int64 // args in order
	line    []byte  // as received
	reply   []byte
	total   totals
}

type totals struct {
	sum, least, greatest int64
}

// prepare makes the map and the buffers of a zeroed request. They suffice for most requests.
func prepare(r *request) {
	r.header = make(map[string]string, 8)
	r.args = make([]int64, 0, 64)
	r.scratch = make([]int64, 0, 64)
	r.line = make([]byte, 0, 512)
	r.reply = make([]byte, 0, 256)
}

// reset removes what a request has left, and keeps the map and the buffers.
func reset(r *request) {
	r.id, r.method, r.total = 0, "", totals{}
	clear(r.header)
	r.args, r.scratch, r.line, r.reply = r.args[:0], r.scratch[:0], r.line[:0], r.reply[:0]
}

// The names of methods and headers are not allocated for each request.
var names = map[string]string{
	"sum": "sum", "range": "range", "median": "median",
	"user": "user", "trace": "trace", "tenant": "tenant",
}

var (
	errSyntax = errors.New("syntax")
	errNoUser = errors.New("no user")
)

// parse reads a line: an id, a method, headers such as user=u7, a colon, and whole numbers.
func (r *request) parse(line []byte) error {
	r.line = append(r.line, line...)
	inArgs := false
	for n, rest := 0, bytes.TrimSpace(r.line); len(rest) > 0; n++ {
		var word []byte
		word, rest, _ = bytes.Cut(rest, []byte{' '})
		var err error
		switch {
		case n == 0:
			r.id, err = strconv.ParseUint(string(word), 10, 64)
		case n == 1:
			r.method = names[string(word)]
		case string(word) == ":":
			inArgs = true
		case inArgs:
			var x int64
			x, err = strconv.ParseInt(string(word), 10, 64)
			r.args = append(r.args, x)
		default:
			name, value, _ := bytes.Cut(word, []byte{'='})
			r.header[names[string(name)]] = string(value)
		}
		if err != nil {
			return errSyntax
		}
	}
	switch {
	case r.method == "" || len(r.args) == 0:
		return errSyntax
	case r.header["user"] == "":
		return errNoUser
	}
	return nil
}

// answer writes the reply. It says how many headers and arguments there were. That would show if
// the last user of the request had left some.
func (r *request) answer() {
	r.scratch = append(r.scratch, r.args...)
	slices.Sort(r.scratch)
	r.total.least, r.total.greatest = r.scratch[0], r.scratch[len(r.scratch)-1]
	for _, x := range r.args {
		r.total.sum += x
	}
	r.reply = strconv.AppendUint(r.reply, r.id, 10)
	r.reply = append(r.reply, " ok "...)
	switch r.method {
	case "sum":
		r.reply = strconv.AppendInt(r.reply, r.total.sum, 10)
	case "range":
		r.reply = strconv.AppendInt(r.reply, r.total.greatest-r.total.least, 10)
	case "median":
		r.reply = strconv.AppendInt(r.reply, r.scratch[len(r.scratch)/2], 10)
	}
	r.reply = append(r.reply, " user="...)
	r.reply = append(r.reply, r.header["user"]...)
	r.reply = append(r.reply, " headers="...)
	r.reply = strconv.AppendInt(r.reply, int64(len(r.header)), 10)
	r.reply = append(r.reply, " args="...)
	r.reply = strconv.AppendInt(r.reply, int64(len(r.args)), 10)
	r.reply = append(r.reply, '\n')
}

// refuse writes a reply that has the reason.
func (r *request) refuse(reason error) {
	r.reply = strconv.AppendUint(r.reply, r.id, 10)
	r.reply = append(r.reply, " error "...)
	r.reply = append(r.reply, reason.Error()...)
	r.reply = append(r.reply, '\n')
}
