package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/warmpage/pool/examples/programs/internal/command"
)

// TestMain lets the test binary be its own child, as programs do.
func TestMain(m *testing.M) {
	Main(work)
	os.Exit(m.Run())
}

type plan struct {
	Count int
	Then  string
}

// work sends the numbers up to Count.
func work(ctx context.Context, p plan, send func(int) error) error {
	for i := range p.Count {
		if err := send(i + 1); err != nil {
			return err
		}
	}
	switch p.Then {
	case "fail":
		return errors.New("no luck")
	case "refuse":
		return fmt.Errorf("file: %w", command.BadUsage(errors.New("line 3")))
	case "chatter":
		_, err := fmt.Println("panic: oh")
		return err
	case "wait":
		<-ctx.Done()
		return ctx.Err()
	case "serve":
		<-ctx.Done()
	}
	return nil
}

func TestRun(t *testing.T) {
	var got []int
	require.NoError(t, Run(t.Context(), plan{Count: 3}, func(n int) { got = append(got, n) }))
	assert.Equal(t, []int{1, 2, 3}, got)

	n, err := Result[int](t.Context(), plan{Count: 1})
	assert.NoError(t, err)
	assert.Equal(t, 1, n)

	_, err = Result[int](t.Context(), plan{Count: 1, Then: "fail"})
	assert.ErrorContains(t, err, "no luck", "the error of the child is passed on")
	assert.NotErrorAs(t, err, new(command.UsageError))

	_, err = Result[int](t.Context(), plan{Then: "refuse"})
	assert.ErrorAs(t, err, new(command.UsageError))
	assert.EqualError(t, err, "file: line 3")

	_, err = Result[int](t.Context(), plan{Count: 1, Then: "chatter"})
	assert.ErrorContains(t, err, "reading the output of the child")
}

// The interrupt comes when the child has begun, and would never end by itself.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := time.Now()
	assert.ErrorIs(t, Run(ctx, plan{Count: 1, Then: "wait"}, func(int) { cancel() }), context.Canceled)
	assert.Less(t, time.Since(start), patience, "nothing had to be killed")
}

func TestStop(t *testing.T) {
	p, err := Start(t.Context(), plan{Count: 1, Then: "serve"})
	require.NoError(t, err)
	var n int
	require.NoError(t, p.Next(&n))
	assert.Equal(t, 1, n)
	assert.NoError(t, p.Stop())
}

func TestChild(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Equal(t, command.ExitFailed, do(t.Context(), "{", &stdout, &stderr, work))
	assert.Contains(t, stderr.String(), variable+": ")

	stderr.Reset()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, command.ExitInterrupted, do(ctx, `{"Then":"wait"}`, &stdout, &stderr, work))
	assert.Empty(t, stderr.String(), "the parent says so")

	one := One(func(_ context.Context, p plan) (int, error) { return p.Count, nil })
	assert.Zero(t, do(t.Context(), `{"Count":7}`, &stdout, &stderr, one))
	assert.Equal(t, "7\n", stdout.String())
}
