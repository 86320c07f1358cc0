package cuda

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Sizes of the prefill products; see kernels/cuda/gemm.cuh.
const (
	gemmStages = 3  // pipeline stages of the square tiles
	gemmTileK  = 64 // elements of K in a stage
)

// gemmTile is the shape of the blocks of a prefill product.
type gemmTile struct {
	name       string // in the kernel's name
	rows, cols int    // rows of x and rows of W
	threads    int
	stages     int // of the pipeline
	perSM      int // blocks that fit an SM
	cost       int // time of a block for an element of K, in tenths of a cycle, while the SM is full
	cluster    int // blocks of a cluster: two share rows of x, of four two share rows of W; 0 for tiles without TMA
}

// The costs of the square tiles are computed: a tile is bound either by its products (1024 a
// cycle) or by its copies (64 bytes a cycle). Those of the tiles of wgmma come from
// tile_prices.json.
var (
	tile128x128 = gemmTile{"128x128", 128, 128, 256, gemmStages, 2, 160, 0}
	tile64x64   = gemmTile{"64x64", 64, 64, 128, gemmStages, 4, 52, 0}
	tile64x32   = gemmTile{"64x32", 64, 32, 128, 8, 2, 30, 0}
	tile16x32   = gemmTile{"16x32", 16, 32, 64, 12, 3, 15, 0}

	tile256x4 = gemmTile{"wgmma256x4", 256, 128, 384, 4, 1, 0, 4}

	// mmaTiles are the tiles of kernels/cuda/gemm.cuh.
	mmaTiles = []gemmTile{tile128x128, tile64x64, tile64x32, tile16x32}

	// wgmmaTiles are the tiles of kernels/cuda/gemm_wgmma.cuh, for the set sm_90a. Those of 128
	// and 256 rows have two warpgroups that multiply, the others one.
	wgmmaTiles = []gemmTile{
		{"wgmma256", 256, 128, 384, 4, 1, 0, 2},
		{"wgmma128", 128, 128, 384, 6, 1, 0, 2},
		{"wgmma64", 64, 64, 160, 6, 2, 0, 1},
		{"wgmma32", 32, 64, 160, 8, 2, 0, 1},
		{"wgmma16", 16, 64, 160, 9, 2, 0, 1},
		tile256x4,
	}
)

// tilePricesFile holds the costs of the tiles of wgmma by GPU, as BenchmarkTiles measures and
// prints them; "any" is for GPUs that were not measured. A key is found in the GPU's name. The
// file is read as it is committed: another choice of tiles changes no result.
//
//go:embed tile_prices.json
var tilePricesFile []byte

// tilePrices returns the costs of the tiles of wgmma on a GPU, by their names.
func tilePrices(gpu string) map[string]int {
	var all map[string]map[string]int
	if err := json.Unmarshal(tilePricesFile, &all); err != nil {
		panic(fmt.Sprintf("tile_prices.json: %v", err)) // the program's own file
	}
	prices, longest := all["any"], ""
	for name, p := range all {
		if strings.Contains(gpu, name) && len(name) > len(longest) {
			prices, longest = p, name
		}
	}
	return prices
}

// sharedBytes returns the shared memory of a block. With TMA it also has the barriers and,
// for each 64 rows of W, the memory through which the epilogue writes: two buffers of 32
// tokens with 128 bytes each, and 24 bytes for each row of x.
func (t gemmTile) sharedBytes() int {
	n := t.stages * (t.rows + t.cols) * gemmTileK * 2
	if t.cluster > 0 {
		epilogue := t.cols / 64 * (2*32*128 + 24*t.rows)
		n += roundUp(2*8*t.stages+epilogue, 1024) // swizzled rows begin at a multiple of 1024 bytes
	}
	return n
}

// grid returns the number of tiles of a product of n rows of x by out rows of W: along W,
// along x, 1.
func (t gemmTile) grid(n, out int) [3]int { return [3]int{ceilDiv(out, t.cols), ceilDiv(n, t.rows), 1} }

// persistentGrid returns the grid of the TMA kernels, whose clusters compute one tile after
// another.
func (t gemmTile) persistentGrid(n, out int, l deviceLimits) [3]int {
	return [3]int{min(t.clusters(n, out), t.residentClusters(l)) * t.cluster, 1, 1}
}

// along returns the number of a cluster's blocks that lie beside each other along W and share rows
// of x, across that along x, which share rows of W.
func (t gemmTile) along() int  { return min(max(t.cluster, 1), 2) }
func (t gemmTile) across() int { return max(t.cluster, 1) / t.along() }

// clusters returns the number of clusters' tiles of a product.
func (t gemmTile) clusters(n, out int) int {
	g := t.grid(n, out)
	return ceilDiv(g[0], t.along()) * ceilDiv(g[1], t.across())
}

// residentClusters returns the number of clusters that run at once.
func (t gemmTile) residentClusters(l deviceLimits) int {
	if t.cluster == 4 && l.clustersOfFour > 0 {
		return l.clustersOfFour
	}
	return max(1, l.sms*t.perSM/max(t.cluster, 1))
}

// chooseMMATile returns the tile for a product of n rows of x by out rows of W, and
// chooseWGMMATile that of the set sm_90a. All tiles of a list add in the same order, so that
// the choice does not change the result.
func chooseMMATile(n, out int, l deviceLimits) gemmTile { return fastestTile(mmaTiles, n, out, l) }
func chooseWGMMATile(prices map[string]int, n, out int, l deviceLimits) gemmTile {
	tiles := slices.Clone(wgmmaTiles)
	for i, t := range tiles {
		tiles[i].cost = prices[t.name]
	}
	return fastestTile(tiles, n, out, l)
}

// fastestTile returns the tile whose busiest SM is estimated to finish first. A wave of
// blocks takes at least two cycles for an element of K, because a product of 16 elements
// waits for the one before it.
func fastestTile(list []gemmTile, n, out int, l deviceLimits) gemmTile {
	const minWaveCost = 20
	best, bestTime := gemmTile{}, math.MaxInt
	for _, t := range list {
		g := t.grid(n, out)
		blocks := g[0] * g[1]
		time := max(ceilDiv(blocks, l.sms)*t.cost, ceilDiv(blocks, l.sms*t.perSM)*minWaveCost)
		if t.cluster == 4 { // they do not fill every part of a GPU
			time = ceilDiv(t.clusters(n, out), t.residentClusters(l)) * t.cost
		}
		if time < bestTime {
			best, bestTime = t, time
		}
	}
	return best
}
