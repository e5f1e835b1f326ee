package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/warmpage/pool/examples/programs/internal/charttest"
	"github.com/warmpage/pool/examples/programs/internal/child"
	"github.com/warmpage/pool/examples/programs/internal/command"
	"github.com/warmpage/pool/examples/programs/internal/commandtest"
)

// TestMain lets the test binary be its own child, as the program does.
func TestMain(m *testing.M) {
	child.Main(child.One(measure))
	os.Exit(m.Run())
}

var tiny = plan{Messages: 3*chunkSize + 7, Seed: 3, Live: 20_000}

// all reads src to the end, size messages at a time.
func all(t *testing.T, src source, size int) []message {
	t.Helper()
	var ms []message
	for buf := make([]message, size); ; {
		n, err := src.read(buf)
		ms = append(ms, buf[:n]...)
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			return ms
		}
	}
}

// A day depends on the seed alone, and not on how it is read. It has the right mix of messages.
func TestDay(t *testing.T) {
	ms := all(t, newDay(1, 200_000, 20_000), 1<<10)
	require.Len(t, ms, 200_000)
	assert.Equal(t, ms, all(t, newDay(1, 200_000, 20_000), 777))
	assert.NotEqual(t, ms, all(t, newDay(2, 200_000, 20_000), 1<<10))

	counts := map[kind]int{}
	for _, m := range ms {
		counts[m.kind]++
	}
	rest := float64(len(ms) - 20_000)
	assert.InDelta(t, 0.45, float64(counts[add]-20_000)/rest, 0.06)
	assert.InDelta(t, 0.48, float64(counts[cancel])/rest, 0.06)
	assert.InDelta(t, 0.05, float64(counts[market])/rest, 0.01)
	for _, m := range ms {
		require.Equal(t, m.kind == add, m.price > 0)
		require.LessOrEqual(t, m.price, int32(maxPrice))
		require.Equal(t, m.kind != cancel, m.kind != cancel && m.quantity > 0)
	}
}

func TestMeasure(t *testing.T) {
	var results []result
	for _, v := range variants {
		p := tiny
		p.Variant = v
		r, err := measure(t.Context(), p)
		require.NoError(t, err, v)
		assert.EqualValues(t, p.Messages, r.Outcome.Messages)
		assert.Positive(t, r.FinalGC)
		assert.Positive(t, r.Outcome.Tape.Trades)
		assert.InDelta(t, p.Live, r.Outcome.Standing, 10_000)
		assert.LessOrEqual(t, r.Busy, r.Wall)
		results = append(results, r)
	}
	assert.NoError(t, compare(results[0].Outcome, results[1].Outcome))
}

func TestCompare(t *testing.T) {
	a := outcome{Messages: 9, Tape: tape{Trades: 1, Hash: 2}, BookHash: 3}
	assert.NoError(t, compare(a, a))
	b := a
	b.Tape.Hash, b.BookHash = 7, 8
	err := compare(a, b)
	assert.ErrorContains(t, err, "hash of all trades: 2 with this pool, 7 with new")
	assert.ErrorContains(t, err, "hash of the book: 3 with this pool, 8 with new")
	assert.NotContains(t, err.Error(), "volume")
}

// The whole program, including its children and the chart.
func TestShow(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "orderbook.svg")
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-messages", "100000", "-seed", "5", "-svg", svg}, &stdout, &stderr), stderr.String())
	for _, want := range []string{
		"100000 messages from seed 5", "hash of all trades", "hash of the book", "messages/s",
		"p50", "p99 ", "p99.9 ", "p99.99 ", "max", "GC cycles", "total pause", "runtime.GC() with the final book", "resident memory",
	} {
		assert.Contains(t, stdout.String(), want)
	}
	chart := charttest.Read(t, svg)
	assert.Contains(t, chart, "99.99 %")
}

// write writes lines to a new file and returns its path.
func write(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "day.csv")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o666))
	return path
}

func TestShowCSV(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "one.svg")
	path := write(t, csvHeader, "add,1,sell,100,10", "market,2,buy,,4\r", "add,3,buy,90,1", "cancel,1,,,2", "cancel,3,,,", "")
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-csv", path, "-svg", svg}, &stdout, &stderr), stderr.String())
	assert.Contains(t, stdout.String(), "the messages of "+path)
	assert.Contains(t, stdout.String(), "Both: 5 messages; 2 orders rested, 1 cancelled, 1 reduced")
	assert.Contains(t, stdout.String(), "1 trades, volume 4,")
	assert.Contains(t, stdout.String(), "1 orders in the book")
	assert.FileExists(t, svg)

	path = write(t, csvHeader, "add,1,sell,100,10")
	assert.Zero(t, run(t.Context(), []string{"-csv", path, "-svg", svg}, &stdout, &stderr), "a chart of one message")
}

func TestBadCSV(t *testing.T) {
	for _, test := range []struct {
		lines []string
		want  string
	}{
		{nil, ":1: the file is empty"},
		{[]string{"id,price"}, `:1: the header is "id,price", want "type,id,side,price,quantity"`},
		{[]string{csvHeader}, "has no messages"},
		{[]string{csvHeader, "add,1,buy,100,1", "modify,1,,,"}, `:3: type "modify", want add, cancel or market`},
		{[]string{csvHeader, "add,1,buy,100"}, ":2: 4 columns, want 5"},
		{[]string{csvHeader, "", "add,1,buy,100,1"}, ":2: 1 columns, want 5"},
		{[]string{csvHeader, "add,1,buy,100,1,2"}, ":2: more than 5 columns"},
		{[]string{csvHeader, "add,0,buy,100,1"}, `:2: id "0", want a number from 1`},
		{[]string{csvHeader, "add,-1,buy,100,1"}, `:2: id "-1", want a number`},
		{[]string{csvHeader, "add,1,bid,100,1"}, `:2: side "bid", want buy or sell`},
		{[]string{csvHeader, "add,1,buy,,1"}, `:2: price "", want a number from 1 to 1048575`},
		{[]string{csvHeader, "add,1,buy,1048576,1"}, `:2: price "1048576", want`},
		{[]string{csvHeader, "add,1,buy,1.5,1"}, `:2: price "1.5", want`},
		{[]string{csvHeader, "add,1,buy,1,0"}, `:2: quantity "0", want a number from 1 to 4294967295`},
		{[]string{csvHeader, "add,1,buy,1,4294967296"}, `:2: quantity "4294967296", want`},
		{[]string{csvHeader, "add,1,buy,1,"}, `:2: quantity "", want`},
		{[]string{csvHeader, "cancel,1,buy,,"}, `:2: a cancel has no side, but this one has "buy"`},
		{[]string{csvHeader, "cancel,1,,7,3"}, `:2: a cancel has no price, but this one has "7"`},
		{[]string{csvHeader, "market,1,buy,7,3"}, `:2: a market order has no price, but this one has "7"`},
		{[]string{csvHeader, strings.Repeat("x", 1<<17)}, ":2: bufio.Scanner: token too long"},
	} {
		path := write(t, test.lines...)
		_, err := measure(t.Context(), plan{Variant: thisPool, CSV: path})
		require.ErrorAs(t, err, new(command.UsageError), test.lines)
		assert.ErrorContains(t, err, path)
		assert.ErrorContains(t, err, test.want)
	}
}

// The child finds an error after the header, and the parent reports it.
func TestBadCSVInChild(t *testing.T) {
	path := write(t, csvHeader, "add,1,buy,100,ten")
	var stdout, stderr bytes.Buffer
	assert.Equal(t, command.ExitUsage, run(t.Context(), []string{"-csv", path}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), path+`:2: quantity "ten"`)
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var stdout, stderr bytes.Buffer
	assert.Equal(t, command.ExitInterrupted, run(ctx, []string{"-messages", "2000000000"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "interrupted")
	assert.NotContains(t, stdout.String(), "messages/s")
}

func TestUnknownVariantInChild(t *testing.T) {
	_, err := child.Result[result](t.Context(), plan{Variant: "malloc"})
	assert.ErrorContains(t, err, `unknown variant "malloc"`, "the error of the child is passed on")
	assert.NotErrorAs(t, err, new(command.UsageError))
}

func TestBadFlags(t *testing.T) {
	commandtest.Refuses(t, run, "-messages", [][]string{
		{"-messages", "0", "-messages must be from 1 to 2000000000, not 0"},
		{"-messages", "many", `invalid value "many" for flag -messages`},
		{"-seed", "-1", `invalid value "-1" for flag -seed`},
		{"-csv", filepath.Join(t.TempDir(), "missing.csv"), "-csv: open "},
		{"-csv", write(t, "a,b"), "-csv: "},
		{"-csv", "x", "-seed", "2", "-messages, -seed and -quick cannot be used with -csv"},
		{"-svg", filepath.Join(t.TempDir(), "missing", "chart.svg"), "-svg: open "},
		{"-svg", t.TempDir(), "-svg: open "},
	})
}

func TestFlags(t *testing.T) {
	opts, err := parse(nil, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, options{plan: plan{Messages: usualMessages, Seed: usualSeed, Live: usualLive}}, opts)

	opts, err = parse([]string{"-quick"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, plan{Messages: quickMessages, Seed: usualSeed, Live: quickMessages / 5}, opts.plan)

	opts, err = parse([]string{"-quick", "-messages", "10", "-seed", "9"}, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, plan{Messages: 10, Seed: 9, Live: 2}, opts.plan)

	var stderr bytes.Buffer
	assert.Zero(t, run(t.Context(), []string{"-h"}, io.Discard, &stderr))
	assert.Contains(t, stderr.String(), "-messages")
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ns", 999: "999 ns", 1234: "1.23 µs", 12345: "12.3 µs", 123456: "123 µs",
		1234567: "1.23 ms", 12345678901: "12.3 s",
	} {
		assert.Equal(t, want, short(d))
	}
}

// A ladder keeps its levels when it grows in either direction.
func TestLadder(t *testing.T) {
	var l ladder[int32]
	prices := []int32{50_000, 50_257, 49_000, 1, maxPrice, 70_000}
	for i, price := range prices {
		assert.False(t, l.covers(0), fmt.Sprint(price))
		*l.reach(price) = price
		for _, p := range prices[:i+1] {
			require.True(t, l.covers(p))
			assert.Equal(t, p, *l.at(p))
		}
	}
	assert.Len(t, l.levels, maxPrice)
}
