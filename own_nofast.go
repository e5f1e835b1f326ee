//go:build !gc || race || msan || asan || pooldebug || poolportable || go1.28 || poolunknown || !((linux && (amd64 || arm64)) || (poolfast && ((linux && (riscv64 || ppc64le || s390x || loong64)) || ((darwin || freebsd || netbsd || openbsd || windows) && (amd64 || arm64)))))

package pool

// This build has no fast paths: see own_nosplit.go.

const fastBuild = false

type (
	mLayout   struct{}
	fastEntry struct{}
)

func getm() *mLayout                   { return nil }
func (e *fastEntry) load() *shardTable { return nil }
func (e *fastEntry) store(*shardTable) {}
func (m *mLayout) id() uint            { return 0 }
func (m *mLayout) wantsYield() bool    { return true }
func (s *shard) letGo()                {}
func initFast()                        {}
func fastPathIsOn() bool               { return false }
func checkLayoutHere() bool            { return true }
func turnFastOff()                     {}
