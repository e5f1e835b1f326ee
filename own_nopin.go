//go:build !gc || race || msan || asan || pooldebug || poolportable || !((linux && (amd64 || arm64)) || (poolfast && !go1.28 && !poolunknown && ((linux && (riscv64 || ppc64le || s390x || loong64)) || ((darwin || freebsd || netbsd || openbsd || windows) && (amd64 || arm64)))))

package pool

// This build has shards under locks only: see own_lock.go.

// pinned says that a shard is got by pinning, not by locking.
const pinned = false

func initOwn()           {}
func worldStops() uint64 { return 0 }

func (t *shardTable) pin() *shard { panic("pool: no pins in this build") }
func (s *shard) endPin()          {}
func waitForOwners([]*shard)      {}
func (c *core) grow()             {}
