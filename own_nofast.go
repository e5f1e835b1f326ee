//go:build !gc || race || msan || asan || pooldebug || poolportable || go1.28 || poolunknown || !((linux && (amd64 || arm64)) || (poolfast && ((linux && (riscv64 || ppc64le || s390x || loong64)) || ((darwin || freebsd || netbsd || openbsd || windows) && (amd64 || arm64)))))

package pool

// This build has no fast paths: see own_nosplit.go.

const fastBuild = false

type (
	mLayout   struct{}
	fastTable struct{}
)

func getm() *mLayout                    { return nil }
func (f *fastTable) has(*mLayout) bool  { return false }
func (f *fastTable) of(*mLayout) *shard { return nil }
func (f *fastTable) store(*shardTable)  {}
func (m *mLayout) wantsYield() bool     { return true }
func (s *shard) letGo()                 {}
func initFast()                         {}
func fastPathIsOn() bool                { return false }
func checkLayoutHere() bool             { return true }
func turnFastOff()                      {}
