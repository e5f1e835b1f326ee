package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/warmpage/pool/examples/programs/internal/pace"
)

// A result is what measuring one variant gave.
type result struct {
	Variant      variant
	Open         tally // opening the members' sessions
	Steady       tally
	Burst        tally
	Start        sample // with all members' sessions, after the warm-up
	SteadyEnd    sample
	BurstEnd     sample
	IdleEnd      sample
	Watched      []point
	PeakSessions int // the most in any of Watched
}

// watchPeriod is the time between two points of Watched.
const watchPeriod = 200 * time.Millisecond

// measure starts a server, calls started with its addresses, and gives it the load. It returns when
// the server has shut down. The error says so if a slot was still in use then.
func measure(ctx context.Context, c config, w workload, started func(addresses)) (r result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ch, err := startRemote(ctx, c)
	if err != nil {
		return r, err
	}
	started(ch.addresses)
	r, err = drive(ctx, ch, w)
	if err != nil && ctx.Err() != nil {
		_ = ch.stop() // the result does not matter
		return r, ctx.Err()
	}
	r.Variant = c.Variant
	return r, errors.Join(err, ch.stop())
}

// drive gives the whole load to a server.
func drive(ctx context.Context, ch *remote, w workload) (r result, err error) {
	client, err := connect(ctx, ch.Service, w)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, client.close()) }()
	if r.Open, err = client.openMembers(ctx); err != nil {
		return r, err
	}
	if _, err = client.steady(ctx, w.Rate, w.WarmUp); err != nil {
		return r, err
	}
	watcher := ch.watch(ctx, watchPeriod)
	defer func() {
		r.Watched = watcher.end()
		for _, p := range r.Watched {
			r.PeakSessions = max(r.PeakSessions, p.Sessions)
		}
	}()
	for _, step := range []struct {
		name string
		do   func() error
		then *sample
	}{
		{"warm-up", func() error { return nil }, &r.Start},
		{"steady", func() (err error) { r.Steady, err = client.steady(ctx, w.Rate, w.Steady); return err }, &r.SteadyEnd},
		{"burst", func() (err error) { r.Burst, err = client.burst(ctx); return err }, &r.BurstEnd},
		{"idle", func() error { return pace.Sleep(ctx, w.Idle) }, &r.IdleEnd},
	} {
		if err := step.do(); err != nil {
			return r, fmt.Errorf("%s: %w", step.name, err)
		}
		if *step.then, err = ch.sample(ctx); err != nil {
			return r, fmt.Errorf("after %s: %w", step.name, err)
		}
	}
	return r, nil
}

// checksum returns the checksum of all answers.
func (r result) checksum() uint64 { return r.Open.Checksum + r.Steady.Checksum + r.Burst.Checksum }
func (r result) refused() uint64  { return r.Open.Refused + r.Steady.Refused + r.Burst.Refused }

// check returns an error that lists what went wrong. Counters that count nothing would pass, so
// check also demands that requests were answered.
func check(w workload, results []result) error {
	var errs []error
	for _, r := range results {
		fail := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("  %s: %s", r.Variant, fmt.Sprintf(format, args...)))
		}
		want := uint64(float64(w.Rate)*w.Steady.Seconds()) + uint64(float64(2*w.Rate)*w.Burst.Seconds())
		if got := r.Steady.Requests + r.Burst.Requests; got != want || got == 0 {
			fail("%d trades were answered, want %d", got, want)
		}
		if n := r.Open.Failed + r.Steady.Failed + r.Burst.Failed; n > 0 {
			fail("%d requests got an answer other than 200 or 503", n)
		}
		if r.refused() > 0 {
			continue // the refused sessions and trades are missing from the rest
		}
		if got := r.IdleEnd.Sources[1].Live; got != w.Members {
			fail("%d sessions are left, want the %d of members", got, w.Members)
		}
		if got := r.IdleEnd.Sources[0].Live; got != 0 {
			fail("%d requests have not put back their scratch slot", got)
		}
		if first := results[0]; first.refused() == 0 && r.checksum() != first.checksum() {
			fail("the answers differ from those of %s: checksum %016x, want %016x", first.Variant, r.checksum(), first.checksum())
		}
	}
	return errors.Join(errs...)
}
