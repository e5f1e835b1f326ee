package pool

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// An input of the model is two bytes that say what its pools are like, and then two
// for each operation: an opcode, of 256 that all mean something, and an argument.
const (
	modelHeader = 2
	modelMaxOps = 400
)

// opcodes has the operation of each opcode.
var opcodes = func() (table [256]*operation) {
	next := 0
	for k := range operations {
		for range operations[k].weight {
			table[next] = &operations[k]
			next++
		}
	}
	if next != len(table) {
		panic(fmt.Sprintf("the weights of the operations add up to %d", next))
	}
	return table
}()

// A step is an operation with its argument.
type step struct {
	*operation
	arg byte
}

// stepsOf decodes an input.
func stepsOf(input []byte) []step {
	var steps []step
	for rest := input[modelHeader:]; len(rest) >= 2; rest = rest[2:] {
		steps = append(steps, step{opcodes[rest[0]], rest[1]})
	}
	return steps
}

func (s step) pool() int  { return int(s.arg >> 2 & 1) }
func (s step) shard() int { return int(s.arg & 3) }
func (s step) n() int     { return int(s.arg >> 3) }

func (s step) String() string {
	return fmt.Sprintf("%s(pool %d, shard %d, %d)", s.name, s.pool(), s.shard(), s.n())
}

// runModel does what an input says. It counts operations by name in tried.
func runModel(t testing.TB, input []byte, tried map[string]int) {
	if len(input) < modelHeader || len(input) > modelHeader+2*modelMaxOps {
		return
	}
	steps := stepsOf(input)
	var now int
	t.Cleanup(func() {
		if t.Failed() {
			var b strings.Builder
			for _, s := range steps[:min(now+1, len(steps))] {
				fmt.Fprintln(&b, s)
			}
			t.Logf("input %q, pools %#x, the last of these:\n%s", input, input[:modelHeader], &b)
		}
	})
	m := newModel(t, [2]byte(input))
	for k, s := range steps {
		now = k
		p := m.pools[s.pool()]
		// As shards are added, those that there were become idle.
		first := len(p.shards) - modelShards
		s.do(p, p.shards[(first+s.shard())%len(p.shards)], s.n())
		p.check()
		if tried != nil {
			tried[s.name]++
		}
	}
	now++
	m.end()
}

// A script writes an input by the names of operations.
type script []byte

// op adds an operation.
func (b script) op(name string, pool, shard, n int) script {
	for code, op := range opcodes {
		if op.name == name {
			return append(b, byte(code), byte(n<<3|pool<<2|shard))
		}
	}
	panic(name)
}

// FuzzPool does on a model whatever its input says.
func FuzzPool(f *testing.F) {
	if debugging {
		f.Skip("the model works below what the debug build adds")
	}
	runtime.GOMAXPROCS(1) // once, rather than for each input
	for _, seed := range seeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) { runModel(t, input, nil) })
}

func seeds() []script {
	return []script{
		// What shards give up when they are idle is used again, and what waits
		// there is not taken for free twice.
		script{configRefs | 5, 0}.
			op("getNoZero", 0, 0, 0).op("tickAll", 0, 0, 0).op("tickAll", 0, 0, 0).op("doublePut", 0, 0, 0),
		// Second Puts among slots that cross between shards.
		script{1, 0}.
			op("getMany", 0, 1, 21).op("doublePut", 0, 2, 0).op("doublePut", 0, 2, 2).op("putMany", 0, 1, 15).
			op("getBatch", 0, 0, 1).op("putAllBut", 0, 1, 0).op("getBatch", 0, 2, 1).op("doublePut", 0, 2, 0),
		// All that a limit allows, and one more.
		script{configLimit | configRefs | 6, 0}.
			op("getMany", 0, 0, 31).op("put", 0, 1, 3).op("tryGet", 0, 2, 0).op("get", 0, 2, 0).op("getBatch", 0, 0, 1),
		// Pages that empty are released, purged, and another pool's.
		script{0, configRefs | 1}.
			op("getMany", 0, 0, 31).op("all", 0, 0, 1).op("putAllBut", 0, 1, 0).op("longIdle", 0, 0, 0).
			op("getMany", 1, 0, 30).op("trim", 0, 0, 0).op("tryGetCore", 0, 0, 8).op("putAllBut", 1, 0, 0).op("trim", 1, 0, 0).
			op("getBatch", 0, 2, 28).op("checkAll", 0, 0, 0),
		// Memory that the system would not take back, at a limit of the process.
		script{0, 3}.
			op("getMany", 0, 0, 31).op("failPurge", 0, 0, 7).op("putAllBut", 0, 0, 0).op("trim", 0, 0, 0).
			op("processLimit", 0, 0, 3|3<<2).op("getMany", 1, 0, 10).op("tryGetCore", 0, 1, 8).op("failCommit", 0, 0, 2).
			op("processLimit", 0, 0, 0).op("getMany", 0, 0, 31),
		// A pool is closed, and the next has its memory.
		script{configRefs, configWarmPages | 4}.
			op("getMany", 0, 0, 26).op("ref", 0, 0, 7).op("close", 0, 0, 0).op("putAllBut", 0, 1, 0).op("close", 0, 0, 1).
			op("getBatch", 1, 0, 26).op("get", 0, 0, 2).op("refMisuse", 0, 0, 9).op("doublePut", 0, 0, 9).op("putOther", 1, 0, 0),
		// What was parked on a shard is another pool's when it is put there again.
		script{0, configSame}.
			op("getMany", 0, 0, 26).op("put", 0, 0, 0).op("getNoZero", 0, 0, 0).op("putAllBut", 0, 1, 0).op("tick", 0, 1, 31).
			op("getMany", 1, 0, 25).op("doublePut", 0, 0, 1),
		// More Ps, while what others have is on its way.
		script{configWarmPages | 7, configLowLimit | 2}.
			op("getMany", 0, 0, 31).op("stallPut", 0, 1, 29).op("addShard", 0, 0, 0).op("stallTick", 0, 0, 0).op("stallGet", 0, 0, 0).
			op("getBatch", 0, 2, 21).op("settle", 0, 2, 0).op("putBatch", 0, 2, 31).op("putBadBatch", 0, 1, 9).op("putRef", 0, 1, 4).
			op("getMany", 1, 1, 27).op("collectGarbage", 0, 0, 0).op("putAllBut", 1, 2, 1).op("close", 1, 0, 0),
	}
}

var modelInputs = flag.Int("model", 150, "how many inputs TestModel makes up")

// The model, on inputs made up at random.
func TestModel(t *testing.T) {
	if debugging {
		t.Skip("the model works below what the debug build adds")
	}
	n := *modelInputs
	if testing.Short() {
		n = n/10 + 1
	}
	tried := make(map[string]int)
	for _, seed := range seeds() {
		t.Run("seed", func(t *testing.T) { runModel(t, seed, tried) })
	}
	for range n {
		input := make([]byte, modelHeader+2*rand.IntN(modelMaxOps/2))
		for k := range input {
			input[k] = byte(rand.Uint32())
		}
		if !t.Run("random", func(t *testing.T) { runModel(t, input, tried) }) {
			break
		}
	}
	total := 0
	for _, op := range operations {
		total += tried[op.name]
	}
	for _, op := range operations {
		if tried[op.name] == 0 && total != 0 && !testing.Short() { // 0: -run wants others
			t.Errorf("%s was not tried", op.name)
		}
	}
	t.Logf("%d operations: %v", total, tried)
}
