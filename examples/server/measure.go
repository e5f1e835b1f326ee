package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A result is what one variant came to.
type result struct {
	Variant      variant
	Open         tally // of the members' sessions
	Steady       tally
	Burst        tally
	Start        sample // with all members' sessions, after the warm-up
	SteadyEnd    sample
	BurstEnd     sample
	IdleEnd      sample
	Watched      []point
	PeakSessions int // at any of the samples
}

// watchPeriod is how often a server is asked what it has.
const watchPeriod = 200 * time.Millisecond

// measure starts a server and gives it the load. It returns when the server has shut
// down, and an error if that found a slot in use.
func measure(ctx context.Context, c config, w workload, started func(addresses)) (r result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ch, err := startChild(ctx, c)
	if err != nil {
		return r, err
	}
	started(ch.addresses)
	r, err = drive(ctx, ch, w)
	if err != nil && ctx.Err() != nil {
		_ = ch.stop() // whatever came of it
		return r, ctx.Err()
	}
	r.Variant = c.Variant
	return r, errors.Join(err, ch.stop())
}

// drive is all that the load does to a server.
func drive(ctx context.Context, ch *child, w workload) (r result, err error) {
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
		{"idle", func() error { return sleep(ctx, w.Idle) }, &r.IdleEnd},
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

// checksum is of all answers.
func (r result) checksum() uint64 { return r.Open.Checksum + r.Steady.Checksum + r.Burst.Checksum }
func (r result) refused() uint64  { return r.Open.Refused + r.Steady.Refused + r.Burst.Refused }

// check returns an error that lists what went wrong. What counts nothing would pass
// any check, so it also wants requests to have been answered.
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
			fail("%d requests had another answer than 200 or 503", n)
		}
		if r.refused() > 0 {
			continue // what was refused is not there later
		}
		if got := r.IdleEnd.Sources[1].Live; got != w.Members {
			fail("%d sessions are left, want the %d members'", got, w.Members)
		}
		if got := r.IdleEnd.Sources[0].Live; got != 0 {
			fail("%d requests have not put back their scratch", got)
		}
		if first := results[0]; first.refused() == 0 && r.checksum() != first.checksum() {
			fail("the answers are not those of %s: checksum %016x, want %016x", first.Variant, r.checksum(), first.checksum())
		}
	}
	return errors.Join(errs...)
}
