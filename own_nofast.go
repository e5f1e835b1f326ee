//go:build !gc || race || msan || asan || pooldebug || poolportable || go1.28 || poolunknown || !((linux && (amd64 || arm64)) || (poolfast && ((linux && (riscv64 || ppc64le || s390x || loong64)) || ((darwin || freebsd || netbsd || openbsd || windows) && (amd64 || arm64)))))

package pool

// This build has no fast paths: see own_nosplit.go.

const (
	fastBuild     = false
	storesInOrder = false
	stackPreempt  = 0
)

type (
	mLayout struct {
		curg *gLayout
		p    *pLayout
	}
	gLayout struct{ stackguard0 uintptr }
	pLayout struct{ id uint32 }
)

func getm() *mLayout                   { return nil }
func stepUnpin()                       {}
func (f *fastTable) store(*shardTable) {}
func fastPathIsOn() bool               { return false }
