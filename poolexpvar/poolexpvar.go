// Package poolexpvar publishes what the pools of the process hold as a variable of
// the package expvar, for programs that have /debug/vars.
//
//	func init() { poolexpvar.Publish("pools") }
//
// It is a package of its own because expvar brings net/http into a program, and
// registers a handler for /debug/vars with http.DefaultServeMux: what programs that
// do not ask for it should not get with a pool.
package poolexpvar

import (
	"encoding/json"
	"expvar"
	"fmt"
	"sync"

	"github.com/warmpage/pool"
)

// publishing lets one Publish at a time ask whether a name is taken, and take it.
var publishing sync.Mutex

// Publish makes an expvar variable of that name, which is read anew whenever somebody
// asks for it. It is an object with the members
//
//	Memory        what pool.ReadMemory returns
//	ProcessLimit  what pool.SetProcessLimit was given, in bytes; 0: no limit
//	Pools         what pool.ReadStats returns; [] if no pool is open
//
// in which members have the names of the fields of pool.Memory and pool.Stats, and
// their units. Reading is pool.ReadStats, and takes as long: its time is in proportion
// to the pages of all pools.
//
// To publish the same name again changes nothing. Publish panics with an error if
// the name is that of a variable which is not Publish's. Any goroutine may call it,
// but not while another one gives the name to something else: then it is expvar
// that panics, and that logs.
func Publish(name string) {
	publishing.Lock()
	defer publishing.Unlock()
	switch v := expvar.Get(name).(type) {
	case nil:
		expvar.Publish(name, variable{})
	case variable:
	default:
		panic(fmt.Errorf("poolexpvar: Publish(%q): there is an expvar variable of this name already (%T): give another name", name, v))
	}
}

// A variable is what Publish publishes. It implements expvar.Var.
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
		panic(err) // these types have nothing that JSON has not
	}
	return string(text)
}
