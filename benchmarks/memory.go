package main

import (
	"context"
	"fmt"
	"time"

	"github.com/warmpage/pool/benchmarks/internal/catalog"
	"github.com/warmpage/pool/benchmarks/internal/wire"
)

// memorySides are those of the memory study, each in a process of its own.
var memorySides = []catalog.Side{catalog.Pool, catalog.SyncPool}

// A memoryPlan is two bursts of objects and idleness after each.
type memoryPlan struct {
	objects int
	idle    time.Duration
}

func (p memoryPlan) expect() time.Duration { return 2*p.idle + p.idle/8 + time.Second }

func (p memoryPlan) expectAll() time.Duration {
	return time.Duration(len(memorySides)) * p.expect()
}

func measureMemory(ctx context.Context, p memoryPlan, worker string, pr *progress) (*Memory, error) {
	m := &Memory{Objects: p.objects}
	for _, s := range memorySides {
		pr.step(fmt.Sprintf("memory: %d objects of 64 bytes, %s", p.objects, s), p.expect())
		r, err := once[wire.Memory](ctx, worker, wire.VerbMemory, wire.MemorySpec{Side: s, Objects: p.objects, Idle: p.idle})
		if err != nil {
			return nil, err
		}
		m.Sides = append(m.Sides, r)
	}
	return m, nil
}
