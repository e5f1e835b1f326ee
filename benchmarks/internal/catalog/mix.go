package catalog

import (
	"math"
	"math/rand/v2"
)

// mixPoints say which share of messages has so many bytes or fewer. They are of workload W3 in B.
// Montazeri, Y. Li, M. Alizadeh and J. Ousterhout, "Homa: A Receiver-Driven Low-Latency Transport
// Protocol Using Network Priorities", SIGCOMM 2018 (https://doi.org/10.1145/3230543.3230564): the
// messages of all applications in a Google datacenter. Figure 1 there has the curve. These are its
// values at powers of two, of util/dist.cc in https://github.com/PlatformLab/HomaModule, rounded. The
// quarter of a thousandth that is above 1 MiB counts as 1 MiB.
var mixPoints = []struct{ bytes, share float64 }{
	{8, 0.065}, {32, 0.097}, {64, 0.155}, {128, 0.352}, {256, 0.498}, {512, 0.785}, {1 << 10, 0.863}, {2 << 10, 0.909},
	{4 << 10, 0.935}, {8 << 10, 0.964}, {16 << 10, 0.985}, {32 << 10, 0.9904}, {64 << 10, 0.9933}, {128 << 10, 0.9971},
	{256 << 10, 0.9985}, {512 << 10, 0.9995}, {1 << 20, 1},
}

// MixSizes returns n message sizes in random order, always the same. They are spread over the
// distribution evenly, so that few of them have the tail that many have.
func MixSizes(n int) []int32 {
	sizes := make([]int32, n)
	for i := range sizes {
		sizes[i] = mixSize((float64(i) + 0.5) / float64(n))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	rng.Shuffle(n, func(i, j int) { sizes[i], sizes[j] = sizes[j], sizes[i] })
	return sizes
}

// mixSize returns the size that a share of messages is below. Between two points, each ratio is as
// likely as any other.
func mixSize(share float64) int32 {
	from := mixPoints[0]
	if share <= from.share {
		return int32(from.bytes)
	}
	for _, to := range mixPoints[1:] {
		if share <= to.share {
			between := (share - from.share) / (to.share - from.share)
			return int32(from.bytes * math.Pow(to.bytes/from.bytes, between))
		}
		from = to
	}
	return int32(from.bytes)
}
