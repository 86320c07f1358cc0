//go:build cuda || cudaemu

package cuda

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// BenchmarkTiles times every tile of wgmma on full waves of blocks, and reports its price in
// the unit of tile_prices.json, where the first tile keeps its 160. With MOP_TILE_PRICES the
// prices of the GPU are also written, once all are known, to that file, in the form of the committed one.
func BenchmarkTiles(b *testing.B) {
	if !slices.Contains(sets(b), driver.SM90a) {
		b.Skip("no set with tiles of wgmma")
	}
	const in, waves = 4096, 4
	defer func(all []gemmTile) { wgmmaTiles = all }(wgmmaTiles)
	prices := map[string]int{}
	var unit float64
	d := openSet(b, 1, driver.SM90a)
	tiles := wgmmaTiles
	for i, tile := range tiles {
		if tile.cluster == 4 {
			d.countClustersOfFour()
		}
		n, out, k := waves*tile.rows*tile.across(), tile.cols*tile.along()*tile.residentClusters(d.limits), in
		if testing.Short() {
			k = 64
		}
		b.Run(tile.name, func(b *testing.B) {
			wgmmaTiles = []gemmTile{tile}
			w := made(b, d, out, k)
			x, y := randomRows(b, d, n, k), floats(b, d, n, out, nil)
			measure(b, d, func(int) { d.Linear(device.Prefill, y, x, n, w) })
			// Nanoseconds of a block and an element of K, while the SM is full.
			ns := float64(b.Elapsed()) / float64(b.N) / float64(waves*tile.perSM) / float64(k) / float64(time.Nanosecond)
			if i == 0 { // the last of its runs counts: the first has one iteration
				unit = 160 / ns
			}
			prices[tile.name] = max(1, int(unit*ns+0.5))
			b.ReportMetric(float64(prices[tile.name]), "price")
			b.ReportMetric(2*float64(n)*float64(out)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
		})
	}
	if file := os.Getenv("MOP_TILE_PRICES"); file != "" && len(prices) == len(tiles) {
		text, err := json.MarshalIndent(map[string]any{d.info.Name: prices}, "", "  ")
		if err == nil {
			err = os.WriteFile(file, append(text, '\n'), 0o666)
		}
		if err != nil {
			b.Fatal(fmt.Errorf("MOP_TILE_PRICES: %w", err))
		}
	}
}

// BenchmarkTileChoice times qkv of step 7 of the path of llama-2-7b, 29 heads, with each of the
// large tiles of wgmma: the prices decide between them.
func BenchmarkTileChoice(b *testing.B) {
	if !slices.Contains(sets(b), driver.SM90a) {
		b.Skip("no set with tiles of wgmma")
	}
	n := 2048
	if testing.Short() {
		n = 2
	}
	l := layer{"", 4096, 9941, device.AttentionShape{H: 29, K: 29, Dh: 128}}
	d := openSet(b, 1, driver.SM90a)
	qkv := operationsOf(b, d, l.D, l.I, l.hs, n, n, []device.Span{{Len: n}})[0]
	ws := qkv.copies(b, d, 0, device.PlaceOptions{})[0]
	for _, tile := range wgmmaTiles {
		if tile.cluster < 2 {
			continue
		}
		if tile.cluster == 4 {
			d.countClustersOfFour()
		}
		b.Run(tile.name, func(b *testing.B) {
			defer func(all []gemmTile) { wgmmaTiles = all }(wgmmaTiles)
			wgmmaTiles = []gemmTile{tile}
			measure(b, d, func(int) { qkv.run(device.Prefill, ws) })
			b.ReportMetric(2*float64(n)*qkv.elements()*float64(b.N)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
		})
	}
}
