// Package poolexpvar publishes the statistics of all pools of the process as a variable of the
// package expvar, for programs that serve /debug/vars.
//
//	func init() { poolexpvar.Publish("pools") }
//
// It is a separate package because expvar brings net/http into a program, and registers a handler
// for /debug/vars with http.DefaultServeMux. A program that uses a pool should get neither unless
// it asks for them.
package poolexpvar

import (
	"encoding/json"
	"expvar"
	"fmt"
	"sync"

	"github.com/warmpage/pool"
)

// publishing lets one Publish at a time check whether a name is taken, and take it.
var publishing sync.Mutex

// Publish makes an expvar variable with the given name. Its value is computed each time that it is
// read. It is a JSON object with these members:
//
//	Memory        what pool.ReadMemory returns
//	ProcessLimit  the limit set with pool.SetProcessLimit, in bytes; 0: no limit
//	Pools         what pool.ReadStats returns; [] if no pool is open
//
// The members of Memory and of each pool have the names and units of the fields of pool.Memory and
// pool.Stats. Reading the variable calls pool.ReadStats, which takes time in proportion to the
// pages of all pools.
//
// Publishing the same name again changes nothing. Publish panics with an error if a variable that
// it did not make has the name. It is safe for concurrent use, unless another goroutine publishes
// something else under the same name at that moment: then expvar itself logs and panics.
func Publish(name string) {
	publishing.Lock()
	defer publishing.Unlock()
	switch v := expvar.Get(name).(type) {
	case nil:
		expvar.Publish(name, variable{})
	case variable:
	default:
		panic(fmt.Errorf("poolexpvar: Publish(%q): another expvar variable (%T) has this name: choose a different one", name, v))
	}
}

// A variable is an expvar.Var that reads the pools each time.
type variable struct{}

// String returns the variable as JSON.
func (variable) String() string {
	v := struct {
		Memory       pool.Memory
		ProcessLimit int64
		Pools        []pool.Stats
	}{pool.ReadMemory(), pool.SetProcessLimit(-1), pool.ReadStats()}
	if v.Pools == nil {
		v.Pools = []pool.Stats{}
	}
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // impossible: JSON can represent every field of these types
	}
	return string(text)
}
