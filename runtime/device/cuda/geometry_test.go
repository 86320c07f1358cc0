package cuda

import (
	"encoding/json"
	"slices"
	"testing"

	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// The limits of an H200 and of a small GPU.
var (
	hopper = deviceLimits{sms: 132, shared: 227 << 10}
	ada    = deviceLimits{sms: 24, shared: 99 << 10}
)

func TestGEMVRowsPerPass(t *testing.T) {
	for _, c := range []struct {
		ld, n int
		l     deviceLimits
		want  int
	}{
		{4096, 1, hopper, 1},
		{4096, 8, hopper, 8},        // 8*(2*4128+4096) = 98,816 bytes, two blocks an SM
		{4096, 20, hopper, 8},       // a product has at most 8 columns
		{11008, 8, hopper, 4},       // 4*(2*11040+4096) = 104,704
		{14336, 8, hopper, 3},       // 3*(2*14368+4096) = 98,496
		{65536, 2, hopper, 1},       // 135,232: one block an SM
		{131072, 1, hopper, 0},      // does not fit
		{11008, 8, ada, 3},          // 78,528 of 101,376
		{rowPitch(9941), 1, ada, 1}, // a pruned width
	} {
		got := gemvRowsPerPass(c.ld, c.n, c.l)
		if got != c.want {
			t.Errorf("pitch %d, %d rows, %v: want %d rows per pass, got %d", c.ld, c.n, c.l, c.want, got)
		}
		if got > 0 && gemvSharedBytes(c.ld, got) > c.l.shared {
			t.Errorf("pitch %d: want at most %[3]d bytes of shared memory, got %[2]d", c.ld, gemvSharedBytes(c.ld, got), c.l.shared)
		}
	}
}

// In decode on sm_90a x stays in shared memory if that leaves at least four stages for the
// weights. Otherwise x is copied with the weights, which are read once for up to 64 rows.
func TestPipelineGeometry(t *testing.T) {
	for _, c := range []struct {
		ld, n         int
		variant       string
		rows, stages  int
		twoBlocks     bool
		weightsInByte int
	}{
		{4096, 1, "pipeline_", 1, 5, true, 2}, // 8256+4096+5*17424+8 = 99,480 bytes
		{4096, 3, "pipeline_", 3, 4, true, 2},
		{4096, 4, "batch8_", 4, 4, true, 2}, // 9216+4*23,056 = 101,440 bytes; x leaves three stages
		{4096, 8, "batch8_", 8, 4, true, 2},
		{64, 1, "pipeline_", 1, 5, true, 2},
		{11008, 1, "pipeline_", 1, 4, true, 2},
		{8848, 8, "pipeline_", 8, 4, false, 2}, // the shortest of the long rows that were measured with four
		{11008, 8, "batch8_", 8, 4, true, 2},   // x leaves two stages
		{14336, 1, "pipeline_", 1, 4, true, 2},
		{14336, 8, "batch8_", 8, 4, true, 2}, // eight rows alone are 229,888 bytes
		{65536, 2, "batch8_", 2, 4, true, 2},
		{131072, 1, "batch8_", 1, 4, true, 2}, // no row of x fits
		{4096, 9, "batch16_", 9, 8, false, 2},
		{4096, 20, "batch32_", 20, 6, false, 2},
		{4096, 64, "batch64_", 64, 4, false, 2}, // 9216+4*55,312 = 230,464 of 232,448 bytes
		{4096, 65, "batch64_", 33, 4, false, 2}, // two passes of equal size
		{4096, 200, "batch64_", 50, 4, false, 2},
		{4096, 8, "batch8_", 8, 8, false, 1},
		{4096, 16, "batch16_", 16, 6, false, 1},
		{4096, 32, "batch32_", 32, 4, false, 1},
		{4096, 64, "batch64_", 64, 2, false, 1},
	} {
		p := chooseGEMV(driver.SM90a, 1000, c.ld, c.weightsInByte, c.n, hopper)
		if p.variant != c.variant || p.rows != c.rows || p.stages != c.stages || p.half != (c.variant != "pipeline_") {
			t.Errorf("%d rows of %d: want %s in passes of %d with %d stages, got %+v", c.n, c.ld, c.variant, c.rows, c.stages, p)
		}
		if p.shared > hopper.shared {
			t.Errorf("%d rows of %d: want at most %d bytes of shared memory, got %d", c.n, c.ld, hopper.shared, p.shared)
		}
		if got := p.shared+max(p.shared, attentionDecodeSharedBytes(128, false), attentionDecodeSharedBytes(128, true))+2*1024 <= 228<<10; got != c.twoBlocks {
			t.Errorf("%d rows of %d, %d bytes of shared memory: want two blocks on an SM: %v", c.n, c.ld, p.shared, c.twoBlocks)
		}
	}
	for _, set := range []string{driver.SM80, driver.SM90} {
		if got, want := chooseGEMV(set, 1000, 4096, 2, 8, hopper), (gemvLaunch{"", 8, gemvThreads, 125, gemvSharedBytes(4096, 8), 0, false}); got != want {
			t.Errorf("%s: want %+v, got %+v", set, want, got)
		}
	}
}

// The weights are read once at every batch of up to 64 sequences, whatever the length of rows.
func TestWeightsAreReadOnce(t *testing.T) {
	for _, ld := range []int{64, 4096, 8848, 11008, 14336, 28672} {
		for _, weightBytes := range []int{1, 2} {
			for n := 1; n <= 64; n++ {
				if p := chooseGEMV(driver.SM90a, 2048, ld, weightBytes, n, hopper); p.rows != n || p.stages < 2 {
					t.Errorf("%d rows of %d: want one pass, got %+v", n, ld, p)
				}
			}
		}
	}
}

// The numbers of pairs that two blocks compute differ by at most one.
func TestGEMVBlocksShareRowsEvenly(t *testing.T) {
	for _, pairs := range []int{1, 7, 64, 2048, 6144, 9941, 11008, 64128} {
		for most, g := range map[int]int{264: gemvGrid(pairs, hopper), 132: pipelineGrid(pairs, hopper)} {
			if g < 1 || g > most {
				t.Fatalf("%d pairs: want 1 to %d blocks, got %d", pairs, most, g)
			}
			if least, most := pairsPerBlock(pairs, g); most-least > 1 {
				t.Errorf("%d pairs on %d blocks: want sizes that differ by at most 1, got %d to %d", pairs, g, least, most)
			}
		}
	}
}

// pairsPerBlock returns the smallest and the largest number of pairs that one of g blocks
// computes.
func pairsPerBlock(pairs, g int) (least, most int) {
	least = pairs
	for b := range g {
		n := pairs*(b+1)/g - pairs*b/g
		least, most = min(least, n), max(most, n)
	}
	return least, most
}

func TestGEMMTileChoice(t *testing.T) {
	for _, c := range []struct {
		n, out      int
		want, wgmma string
	}{
		{2048, 22016, "128x128", "wgmma256"},
		{2048, 4096, "128x128", "wgmma256"},
		{2048, 11136, "128x128", "wgmma256"}, // q, k and v of 29 heads: rounds of wgmma128 cost more than they save
		{2048, 17696, "128x128", "wgmma256"},
		{128, 4096, "64x64", "wgmma64"},
		{128, 22016, "64x64", "wgmma128"},
		{64, 4096, "64x32", "wgmma32"},
		{12, 4096, "16x32", "wgmma16"},
		{12, 22016, "16x32", "wgmma16"},
	} {
		if got := chooseMMATile(c.n, c.out, hopper); got.name != c.want {
			t.Errorf("[%d %d]: want %s tiles, got %s", c.n, c.out, c.want, got.name)
		}
		if got := chooseWGMMATile(tilePrices("a card that was not measured"), c.n, c.out, hopper); got.name != c.wgmma {
			t.Errorf("[%d %d], sm_90a: want %s tiles, got %s", c.n, c.out, c.wgmma, got.name)
		}
	}
	for _, tile := range wgmmaTiles {
		if tile.perSM*(tile.sharedBytes()+1024) > 228<<10 || tile.sharedBytes() > hopper.shared || tile.sharedBytes()%1024 != 0 {
			t.Errorf("%s: want shared memory that fits, got %d bytes", tile.name, tile.sharedBytes())
		}
		// For every shape the clusters are complete and every block has work.
		for _, out := range []int{1, 64, 65, 4096, 9941} {
			g := tile.persistentGrid(7, out, hopper)
			if g[0]%tile.cluster != 0 || g[0] < 1 || g[0] > tile.perSM*hopper.sms || g[0] > roundUp(ceilDiv(out, tile.cols), tile.along())*tile.across() {
				t.Errorf("%s, %d rows of W: want complete clusters with work, got %d blocks in clusters of %d", tile.name, out, g[0], tile.cluster)
			}
		}
	}
	// Clusters of four are not chosen on a card that was not measured. Elsewhere they are where their
	// price is lower, by the clusters that run at once.
	prices := tilePrices("a card that was not measured")
	for _, sms := range []int{114, 132} {
		for n := 1; n < 5000; n += 127 {
			for out := 1; out < 130000; out += 1021 {
				if got := chooseWGMMATile(prices, n, out, deviceLimits{sms: sms, shared: hopper.shared}); got.cluster == 4 {
					t.Fatalf("[%d %d], %d SMs: want a tile whose price was measured, got %s", n, out, sms, got.name)
				}
			}
		}
	}
	prices["wgmma256x4"] = 150
	few := hopper
	few.clustersOfFour = 32
	for _, c := range []struct {
		n, out int
		l      deviceLimits
		want   string
	}{{2048, 22016, hopper, "wgmma256x4"}, {2048, 33 * 256 * 4, hopper, "wgmma256x4"}, {2048, 33 * 256, few, "wgmma256"}, {200, 22016, hopper, "wgmma256"}} {
		if got := chooseWGMMATile(prices, c.n, c.out, c.l); got.name != c.want {
			t.Errorf("[%d %d], %d clusters of four: want %s tiles, got %s", c.n, c.out, c.l.clustersOfFour, c.want, got.name)
		}
	}
	for _, tile := range mmaTiles {
		if tile.perSM*(tile.sharedBytes()+1024) > 228<<10 || tile.sharedBytes() > ada.shared {
			t.Errorf("%s: want shared memory that fits, got %d bytes", tile.name, tile.sharedBytes())
		}
	}
}

// Every GPU that the committed file of prices names has the price of every tile.
func TestTilePrices(t *testing.T) {
	var all map[string]map[string]int
	if err := json.Unmarshal(tilePricesFile, &all); err != nil {
		t.Fatal(err)
	}
	if all["any"] == nil {
		t.Error("want prices for any GPU")
	}
	for gpu, prices := range all {
		for _, tile := range wgmmaTiles {
			if prices[tile.name] < 1 {
				t.Errorf("%s: want a price of %s from 1, got %d", gpu, tile.name, prices[tile.name])
			}
		}
		if len(prices) != len(wgmmaTiles) {
			t.Errorf("%s: want the prices of %d tiles, got %v", gpu, len(wgmmaTiles), prices)
		}
	}
}

func TestAttentionSharedMemory(t *testing.T) {
	for _, dh := range []int{2, 64, 128, maxHeadSize} {
		for _, int8KV := range []bool{false, true} {
			if got := attentionDecodeSharedBytes(dh, int8KV); 2*(got+1024) > 100<<10 && dh <= 128 || got > ada.shared {
				t.Errorf("head size %d, int8 %v: want less shared memory, got %d bytes", dh, int8KV, got)
			}
		}
	}
	for dh, want := range map[int]int{2: 64, 64: 64, 66: 128, 128: 128, 130: 0} {
		if got := attentionPrefillWidth(dh); got != want {
			t.Errorf("head size %d: want the kernel of width %d, got %d", dh, want, got)
		}
	}
	if got := attentionPrefillSharedBytes(128, false); got != 81920 {
		t.Errorf("prefill: want 81920 bytes of shared memory, got %d", got)
	}
	if got := attentionPrefillSharedBytes(128, true); 2*(got+1024) > 164<<10 { // of an A100's SM
		t.Errorf("prefill over 8 bits: want two blocks on an SM, got %d bytes of shared memory", got)
	}
	if got := attentionWGMMASharedBytes(128); got > hopper.shared || got%1024 != 0 {
		t.Errorf("prefill of sm_90a: want a multiple of 1024 bytes that fits, got %d", got)
	}
	if roundUp(9941, 64) != 9984 || rowPitch(1) != 64 {
		t.Error("want rows padded to 128 bytes")
	}
}

// The grid for a limit of positions has the splits of every position below the limit.
func TestAttentionDecodeGrid(t *testing.T) {
	mha, largeHeads := device.AttentionShape{H: 32, K: 32, Dh: 128}, device.AttentionShape{H: 20, K: 2, Dh: 258}
	for _, c := range []struct {
		hs              device.AttentionShape
		rows, positions int
		want            [3]int
	}{
		{mha, 1, 1, [3]int{1, 32, 1}},
		{mha, 7, 256, [3]int{1, 32, 7}},
		{mha, 1, 257, [3]int{3, 32, 1}},
		{mha, 1, 2048, [3]int{16, 32, 1}},
		{mha, 1, 100000, [3]int{16, 32, 1}},
		{device.AttentionShape{H: 32, K: 4, Dh: 64}, 1, 512, [3]int{1, 4, 1}},
		{device.AttentionShape{H: 32, K: 4, Dh: 64}, 1, 513, [3]int{3, 4, 1}},
		{largeHeads, 2, 300, [3]int{3, 12, 2}},
	} {
		if got := attentionDecodeGrid(c.hs, c.rows, c.positions); got != c.want {
			t.Errorf("%+v, %d rows below %d: want %v, got %v", c.hs, c.rows, c.positions, c.want, got)
		}
	}
	for _, c := range []struct {
		grid [3]int
		want int
	}{
		{[3]int{16, 32, 1}, 0},
		{[3]int{1, 32, 64}, 0},
		{[3]int{4, 8, 8}, 0},
		{[3]int{16, 32, 64}, 8},
		{[3]int{16, 8, 64}, 33},
		{[3]int{16, 29, 2}, 9},
		{[3]int{16, 150, 8}, 5},
		{[3]int{16, 300, 8}, 2},
		{[3]int{3, 100, 2}, 5},
	} {
		if got := balancedAttentionBlocks(c.grid, hopper.sms); got != c.want {
			t.Errorf("grid %v: want %d blocks a head, got %d", c.grid, c.want, got)
		}
	}
	for _, c := range []struct {
		spans []device.Span
		want  int
	}{
		{nil, -1},
		{[]device.Span{{Slot: 3, Start: 9, Row: 0, Len: 1}}, 3},
		{[]device.Span{{Slot: 1, Row: 0, Len: 1}, {Slot: 2, Row: 1, Len: 1}}, 1},
		{[]device.Span{{Slot: 1, Row: 0, Len: 1}, {Slot: 3, Row: 1, Len: 1}}, -1},
		{[]device.Span{{Slot: 1, Row: 1, Len: 1}, {Slot: 2, Row: 0, Len: 1}}, -1},
		{[]device.Span{{Slot: 1, Row: 0, Len: 2}}, -1},
	} {
		if got := consecutiveSlots(c.spans); got != c.want {
			t.Errorf("%+v: want first slot %d, got %d", c.spans, c.want, got)
		}
	}
	if one, eight := attentionPartialElements(mha), attentionPartialElements(largeHeads); one != 132 || eight != 8*132 {
		t.Errorf("partial results of 1 and 8 heads: want 132 and 1056 elements, got %d and %d", one, eight)
	}
}

// In the products of a decode step no SM reads much more weights than the mean. The shapes
// are those of the pruned checkpoints of the paper (mop plan --sequence LGGLLLGGLLGLGLLGGL).
func TestWeightBytesPerSM(t *testing.T) {
	const Dh, D = 128, 4096
	worst := 0.0
	for _, m := range []struct {
		name    string
		h, k, i int
		vocab   int
	}{
		{"llama-2-7b", 32, 32, 11008, 32000}, {"llama-2-7b 20 %", 29, 29, 9941, 32000}, {"llama-2-7b 30 %", 27, 27, 9217, 32000}, {"llama-2-7b 40 %", 26, 26, 8848, 32000},
		{"llama-3-8b", 32, 8, 14336, 128256}, {"llama-3-8b 20 %", 32, 8, 12043, 128256}, {"llama-3-8b 30 %", 32, 8, 11449, 128256}, {"llama-3-8b 40 %", 32, 8, 9641, 128256},
	} {
		for _, w := range []struct {
			name      string
			pairs, ld int
		}{
			{"qkv", (m.h + 2*m.k) * Dh / 2, D}, {"o", D / 2, rowPitch(m.h * Dh)}, {"gate-up", m.i, D}, {"down", D / 2, rowPitch(m.i)}, {"head", m.vocab / 2, D},
		} {
			// Blocks are assigned to the SMs in turn, two to each; gemv.cuh says which rows
			// each of them computes.
			g, sms := gemvGrid(w.pairs, hopper), make([]int, hopper.sms)
			total := 0
			for b := range g {
				at := 2 * b
				if half := (g + 1) / 2; b >= half {
					at = 2*(b-half) + 1
				}
				n := (w.pairs*(at+1)/g - w.pairs*at/g) * 2 * w.ld * 2
				sms[b%len(sms)] += n
				total += n
			}
			if want := w.pairs * 2 * w.ld * 2; total != want {
				t.Fatalf("%s %s: want %d bytes, got %d", m.name, w.name, want, total)
			}
			ratio := float64(slices.Max(sms)) * float64(len(sms)) / float64(total)
			t.Logf("%-15s %-7s %3d blocks, %9d bytes, most/mean %.3f", m.name, w.name, g, total, ratio)
			worst = max(worst, ratio)
			// The set sm_90a has one block on each SM.
			_, largest := pairsPerBlock(w.pairs, pipelineGrid(w.pairs, hopper))
			worst = max(worst, float64(largest)*float64(hopper.sms)/float64(w.pairs))
		}
	}
	if worst > 1.035 {
		t.Errorf("want at most 1.035 times the mean on every SM, got %.3f", worst)
	}
}
