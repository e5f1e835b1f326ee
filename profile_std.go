package pool

import (
	"io"
	"reflect"
	"runtime/pprof"
	"sync"
	"unsafe"
)

// profileName is the name of the profile in runtime/pprof.
const profileName = "pool_live"

// startProfile makes the profile one of those of runtime/pprof.
var startProfile = sync.OnceFunc(func() {
	if p := pprof.Lookup(profileName); p == nil {
		publishProfile(pprof.NewProfile(profileName))
	}
})

// publishProfile makes p write what WriteProfile writes. A pprof.Profile that NewProfile has made
// counts stacks. It can neither weigh them by the sampling rate nor tell bytes. The profiles of the
// runtime can, because they have functions of their own to count and to write, in fields that are
// not exported. This sets these fields, if p has them and their types are as expected, and reports
// whether it did. Otherwise p stays empty, and only WriteProfile has the profile.
// TestProfilePublished tells which is the case for a Go release.
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

// field returns a pointer to the named field of a struct, or nil if there is none of type F.
func field[F any](v reflect.Value, name string) *F {
	f := v.FieldByName(name)
	if !f.IsValid() || f.Type() != reflect.TypeFor[F]() {
		return nil
	}
	return (*F)(unsafe.Pointer(f.UnsafeAddr()))
}
