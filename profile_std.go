package pool

import (
	"io"
	"reflect"
	"runtime/pprof"
	"sync"
	"unsafe"
)

// profileName is the profile's in runtime/pprof.
const profileName = "pool_live"

// startProfile makes the profile one of runtime/pprof's.
var startProfile = sync.OnceFunc(func() {
	if p := pprof.Lookup(profileName); p == nil {
		publishProfile(pprof.NewProfile(profileName))
	}
})

// publishProfile makes p write what WriteProfile writes. A pprof.Profile that is made
// by NewProfile counts stacks: it can neither weigh them by the sampling rate nor tell bytes.
// Those of the runtime can, because they have functions of their own to count and to write, in
// fields that are not exported. This sets these fields, if p has them and their
// types are as expected. Otherwise p stays empty, and WriteProfile is the way to
// the profile; TestProfilePublished tells for each Go release.
func publishProfile(p *pprof.Profile) bool {
	v := reflect.ValueOf(p).Elem()
	count := field[func() int](v, "count")
	write := field[func(io.Writer, int) error](v, "write")
	if count == nil || write == nil {
		return false
	}
	*count = func() int { return len(liveSamples()) }
	*write = WriteProfile
	return true
}

// field returns a pointer to the named field of a struct, or nil if it has none of
// type F.
func field[F any](v reflect.Value, name string) *F {
	f := v.FieldByName(name)
	if !f.IsValid() || f.Type() != reflect.TypeFor[F]() {
		return nil
	}
	return (*F)(unsafe.Pointer(f.UnsafeAddr()))
}
