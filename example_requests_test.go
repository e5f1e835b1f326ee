package pool_test

import (
	"bufio"
	"fmt"
	"net/url"
	"strings"

	"github.com/warmpage/pool"
)

// A request has pointers: its maps and slices stay with it, from one use to the next.
type request struct {
	path   string
	query  map[string]string
	answer []byte
}

// parse fills r with what a line says.
func (r *request) parse(line string) error {
	path, query, _ := strings.Cut(line, "?")
	r.path = path
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		text, err := url.QueryUnescape(value)
		if err != nil {
			return err
		}
		r.query[name] = text
	}
	return nil
}

// A service whose request objects have a map and a buffer. WithInit makes these once for each object,
// WithReset empties them in each Put, and no request allocates them again.
func Example_requests() {
	requests := pool.New[request](pool.WithName("requests"), pool.WithGoHeap(),
		pool.WithInit(func(r *request) {
			r.query = make(map[string]string)
			r.answer = make([]byte, 0, 1024)
		}),
		pool.WithReset(func(r *request) {
			r.path = ""
			clear(r.query)
			r.answer = r.answer[:0]
		}))
	handle := func(line string) string {
		r := requests.Get()
		defer requests.Put(r)
		if err := r.parse(line); err != nil {
			return err.Error()
		}
		r.answer = fmt.Appendf(r.answer, "%s for %s", r.path, r.query["name"])
		return string(r.answer)
	}
	lines := bufio.NewScanner(strings.NewReader("/orders?name=Ada+L.\n/prices?name=%zz\n/prices?day=1&name=Bo"))
	for lines.Scan() {
		fmt.Println(handle(lines.Text()))
	}
	fmt.Println(requests.Stats().Live, "in use")
	// Output:
	// /orders for Ada L.
	// invalid URL escape "%zz"
	// /prices for Bo
	// 0 in use
}
