package columns

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRows(t *testing.T) {
	var out strings.Builder
	row := Rows(&out, 8, 5, []int{1, 20})
	row("number", strconv.Itoa)
	row("µs", func(int) string { return "1 µs" })
	assert.Equal(t, "number      1   20\nµs       1 µs 1 µs\n", out.String())
}
