// Package places has pools wherever they can be.
package places

import "sync"

type item struct{ n int }

func newItem() any { return new(item) }

var value = sync.Pool{New: newItem} // want `sync.Pool value holds \*item`

var pointer = &sync.Pool{New: newItem} // want `sync.Pool pointer holds \*item`

var made = new(sync.Pool) // want `sync.Pool made holds \*item`

func init() { made.New = newItem }

type server struct {
	field   sync.Pool  // want `sync.Pool field holds \*item`
	pointed *sync.Pool // its pool is the literal in newServer
	shared  *sync.Pool // an alias of value
	foreign *sync.Pool // want `sync.Pool foreign holds \*item`
}

func newServer(foreign *sync.Pool) *server {
	s := &server{
		pointed: &sync.Pool{New: newItem}, // want `sync.Pool pointed holds \*item`
		shared:  &value,
		foreign: foreign,
	}
	s.field.New = newItem
	s.foreign.Put(new(item))
	return s
}

type embedded struct {
	sync.Pool // want `sync.Pool Pool holds \*item`
}

func (e *embedded) get() *item { return e.Get().(*item) }

type shelf map[string]*sync.Pool

var byName = shelf{ // want `sync.Pool byName holds \*item`
	"a": {New: newItem},
	"b": {New: newItem},
}

func local() *item {
	var p = sync.Pool{New: newItem} // want `sync.Pool p holds \*item`
	q := &p
	return q.Get().(*item)
}

func returned() *sync.Pool {
	return &sync.Pool{New: newItem} // want `sync.Pool literal holds \*item`
}

// Where the pool is known only by what a parameter does with it.
var byParam sync.Pool // want `sync.Pool byParam holds \*item`

func use() { give(&byParam, &item{}) }

func give(p *sync.Pool, x *item) { p.Put(x) }

// A copy of a literal, and one that resets a pool, are no pools of their own.
var copied = byValue() // want `sync.Pool copied holds \*item`

func byValue() sync.Pool { return sync.Pool{New: newItem} }

func reset(p *sync.Pool) { *p = sync.Pool{} }

var sections = func() (ps []*sync.Pool) { // want `sync.Pool sections holds \*item`
	for range 3 {
		ps = append(ps, &sync.Pool{New: newItem})
	}
	return ps
}()
