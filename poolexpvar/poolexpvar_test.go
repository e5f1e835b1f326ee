package poolexpvar_test

import (
	"bytes"
	"encoding/json"
	"expvar"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmpage/pool"
	"github.com/warmpage/pool/poolexpvar"
)

// fields returns the JSON of each member of an object, by name.
func fields(t *testing.T, object string) map[string]json.RawMessage {
	t.Helper()
	var members map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(object), &members))
	return members
}

func TestPublish(t *testing.T) {
	poolexpvar.Publish("all")
	all := expvar.Get("all")
	require.NotNil(t, all)
	assert.Equal(t, "[]", string(fields(t, all.String())["Pools"]), "never null")

	p := pool.New[[64]byte](pool.WithName("orders\xff"), pool.WithLimit(1<<20))
	defer pool.SetProcessLimit(pool.SetProcessLimit(1 << 40))
	x := p.Get()
	members := fields(t, all.String())
	assert.Len(t, members, 3)
	var stats []pool.Stats
	require.NoError(t, json.Unmarshal(members["Pools"], &stats))
	want := p.Stats()
	want.Name = "orders\ufffd" // JSON is UTF-8
	assert.Equal(t, []pool.Stats{want}, stats, "current each time")
	assert.Equal(t, 1, stats[0].Live)
	var memory pool.Memory
	require.NoError(t, json.Unmarshal(members["Memory"], &memory))
	assert.Equal(t, pool.ReadMemory(), memory)
	assert.NotZero(t, memory.InUse)
	assert.Equal(t, "1099511627776", string(members["ProcessLimit"]))
	assert.Equal(t, int64(1<<40), pool.SetProcessLimit(-1), "unchanged by reading")

	var pools []map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(members["Pools"], &pools))
	assert.Contains(t, pools[0], "SlotSize", "members are named like the fields")
	assert.Contains(t, pools[0], "Lost")
	assert.Contains(t, fields(t, string(members["Memory"])), "InUse")
	assert.Contains(t, fields(t, string(members["Memory"])), "GoHeap")

	p.Put(x)
	require.NoError(t, p.Close())
	assert.Equal(t, "[]", string(fields(t, all.String())["Pools"]), "closed")
}

func TestServed(t *testing.T) {
	poolexpvar.Publish("served")
	w := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/debug/vars", nil))
	assert.Contains(t, fields(t, w.Body.String()), "served")
}

// Publishing a name twice makes one variable. A name that is taken by something else is an error.
// Nothing is printed.
func TestPublishTwice(t *testing.T) {
	var printed bytes.Buffer
	log.SetOutput(&printed)
	defer log.SetOutput(os.Stderr)

	const names = 1000
	for i := range names {
		name := fmt.Sprint("twice ", i)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				<-start
				assert.NotPanics(t, func() { poolexpvar.Publish(name) })
			}()
		}
		close(start)
		wg.Wait()
	}
	n := 0
	expvar.Do(func(v expvar.KeyValue) {
		if strings.HasPrefix(v.Key, "twice ") {
			n++
		}
	})
	assert.Equal(t, names, n, "one variable each")
	assert.PanicsWithError(t,
		`poolexpvar: Publish("memstats"): another expvar variable (expvar.Func) has this name: choose a different one`,
		func() { poolexpvar.Publish("memstats") })
	assert.Contains(t, fields(t, expvar.Get("memstats").String()), "HeapAlloc", "unchanged")
	assert.NotPanics(t, func() { poolexpvar.Publish("free") }, "still usable after a panic")
	assert.Empty(t, printed.String())
}

// A program that uses pools does not get net/http or expvar unless it asks for them.
func TestPoolHasNoHTTP(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip(err)
	}
	deps := func(pkg string) []string {
		out, err := exec.Command(tool, "list", "-deps", pkg).Output()
		require.NoError(t, err)
		return strings.Fields(string(out))
	}
	assert.Contains(t, deps("."), "net/http")
	assert.NotContains(t, deps(".."), "net/http")
	assert.NotContains(t, deps(".."), "expvar")
}
