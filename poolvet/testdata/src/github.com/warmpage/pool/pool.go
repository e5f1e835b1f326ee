// Package pool has the names of the real one that tests of the analyzers need.
package pool

type Pool[T any] struct{ _ int }

func New[T any](...Option) *Pool[T] { return nil }

func (*Pool[T]) Get() *T { return nil }
func (*Pool[T]) Put(*T)  {}

type Bytes struct{ _ int }

func NewBytes(...Option) *Bytes { return nil }

type Buffer struct{ buf []byte }

func (*Buffer) Free() {}

type Option func()

func WithGoHeap() Option               { return nil }
func WithOffHeap() Option              { return nil }
func WithName(string) Option           { return nil }
func WithLimit(int64) Option           { return nil }
func WithMaxSlots(int) Option          { return nil }
func WithWarmPages(int) Option         { return nil }
func WithWarmSlots(int) Option         { return nil }
func WithAlign(int) Option             { return nil }
func WithProfile(int) Option           { return nil }
func WithGuardSampling(int) Option     { return nil }
func WithInit[T any](func(*T)) Option  { return nil }
func WithReset[T any](func(*T)) Option { return nil }
