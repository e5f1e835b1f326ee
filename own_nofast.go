//go:build !gc || race || msan || asan || pooldebug || poolportable || go1.28 || poolunknown || !((linux && (amd64 || arm64)) || (poolfast && ((linux && (riscv64 || ppc64le || s390x || loong64)) || ((darwin || freebsd || netbsd || openbsd || windows) && (amd64 || arm64)))))

package pool

// This build has no fast paths: see own_nosplit.go.

const fastBuild = false

type mLayout struct{}

func getm() *mLayout                   { return nil }
func (c *core) fastTable() *shardTable { return nil }
func (m *mLayout) id() uint            { return 0 }
func (m *mLayout) wantsYield() bool    { return true }
func (s *shard) letGo()                {}
func initFast()                        {}
func fastPathIsOn() bool               { return false }
func checkLayoutHere() bool            { return true }
func turnFastOff()                     {}
