package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/warmpage/pool/examples/programs/internal/command"
)

// csvHeader is the first line of a file of messages. README.md describes the columns.
const csvHeader = "type,id,side,price,quantity"

// A csvSource reads messages from a file. It does not use encoding/csv, which makes a string of
// each line: the collections that these cause would count against the books.
type csvSource struct {
	name  string
	lines *bufio.Scanner
	line  int // number of the last line read, from 1
}

// newCSV returns a source that reads in, after checking the header. name is for error messages.
func newCSV(name string, in io.Reader) (*csvSource, error) {
	c := &csvSource{name: name, lines: bufio.NewScanner(in)}
	header, err := c.next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, c.wrap(errors.New("the file is empty"))
	case err != nil:
		return nil, err
	case string(header) != csvHeader:
		return nil, c.wrap(fmt.Errorf("the header is %.80q, want %q", header, csvHeader))
	}
	return c, nil
}

// next returns the next line, which is valid until the next call, or io.EOF.
func (c *csvSource) next() ([]byte, error) {
	c.line++
	if c.lines.Scan() {
		return c.lines.Bytes(), nil
	}
	if err := c.lines.Err(); err != nil {
		return nil, c.wrap(err)
	}
	return nil, io.EOF
}

// wrap adds the file name and the line number to err, and makes it a command.UsageError.
func (c *csvSource) wrap(err error) error {
	return command.BadUsage(fmt.Errorf("%s:%d: %w", c.name, c.line, err))
}

func (c *csvSource) read(dst []message) (int, error) {
	for n := range dst {
		line, err := c.next()
		if err != nil {
			return n, err
		}
		if dst[n], err = parseMessage(line); err != nil {
			return n, c.wrap(err)
		}
	}
	return len(dst), nil
}

// parseMessage parses a line other than the header.
func parseMessage(line []byte) (m message, err error) {
	var fields [5][]byte
	rest, more := line, true
	for i := range fields {
		if !more {
			return m, fmt.Errorf("%d columns, want %d", i, len(fields))
		}
		fields[i], rest, more = bytes.Cut(rest, []byte{','})
	}
	if more {
		return m, fmt.Errorf("more than %d columns", len(fields))
	}
	what, id, side, price, quantity := fields[0], fields[1], fields[2], fields[3], fields[4]
	if m.kind, err = parseKind(what); err != nil {
		return m, err
	}
	if m.id, err = parseNumber("id", id, math.MaxUint64); err != nil {
		return m, err
	}
	if m.kind == cancel && len(quantity) == 0 {
		return m, wantEmpty("cancel", side, price)
	}
	q, err := parseNumber("quantity", quantity, math.MaxUint32)
	if err != nil {
		return m, err
	}
	m.quantity = uint32(q)
	switch m.kind {
	case cancel:
		return m, wantEmpty("cancel", side, price)
	case market:
		err = wantEmpty("market order", nil, price)
	case add:
		var p uint64
		p, err = parseNumber("price", price, maxPrice)
		m.price = int32(p)
	}
	if err != nil {
		return m, err
	}
	m.side, err = parseSide(side)
	return m, err
}

func parseKind(text []byte) (kind, error) {
	switch string(text) {
	case "add":
		return add, nil
	case "cancel":
		return cancel, nil
	case "market":
		return market, nil
	}
	return 0, fmt.Errorf("type %.40q, want add, cancel or market", text)
}

func parseSide(text []byte) (side, error) {
	switch string(text) {
	case "buy":
		return buy, nil
	case "sell":
		return sell, nil
	}
	return 0, fmt.Errorf("side %.40q, want buy or sell", text)
}

func parseNumber(column string, text []byte, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || n == 0 || n > most {
		return 0, fmt.Errorf("%s %.40q, want a number from 1 to %d", column, text, most)
	}
	return n, nil
}

// wantEmpty returns an error unless side and price are empty. what is the kind of the message.
func wantEmpty(what string, side, price []byte) error {
	switch {
	case len(side) > 0:
		return fmt.Errorf("a %s has no side, but this one has %.40q", what, side)
	case len(price) > 0:
		return fmt.Errorf("a %s has no price, but this one has %.40q", what, price)
	}
	return nil
}
