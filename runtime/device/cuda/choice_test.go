package cuda

import (
	"slices"
	"testing"

	"mop/runtime/device"
	"mop/runtime/device/cuda/driver"
)

// An H200's and a small card's limits.
var (
	hopper = deviceLimits{sms: 132, shared: 227 << 10}
	ada    = deviceLimits{sms: 24, shared: 99 << 10}
)

func TestPassesOverTheWeights(t *testing.T) {
	for _, c := range []struct {
		ld, n int
		l     deviceLimits
		want  int
	}{
		{4096, 1, hopper, 1},
		{4096, 8, hopper, 8},        // 8*(2*4128+4096) = 98,816 bytes, two blocks an SM
		{4096, 20, hopper, 8},       // no more than a product has columns
		{11008, 8, hopper, 4},       // 4*(2*11040+4096) = 104,704
		{14336, 8, hopper, 3},       // 3*(2*14368+4096) = 98,496
		{65536, 2, hopper, 1},       // 135,232: one block an SM
		{131072, 1, hopper, 0},      // does not fit
		{11008, 8, ada, 3},          // 78,528 of 101,376
		{rowPitch(9941), 1, ada, 1}, // a pruned width
	} {
		got := gemvRowsPerPass(c.ld, c.n, c.l)
		if got != c.want {
			t.Errorf("rows of %d, %d at a time, %v: want passes of %d, got %d", c.ld, c.n, c.l, c.want, got)
		}
		if got > 0 && gemvSharedBytes(c.ld, got) > c.l.shared {
			t.Errorf("rows of %d: %d bytes of shared memory, there are %d", c.ld, gemvSharedBytes(c.ld, got), c.l.shared)
		}
	}
}

// Of sm_90a: passes are few and equal, and have two stages of weights at least; where x
// is small the next product's block has room beside this one's, or one of attention.
func TestRings(t *testing.T) {
	for _, c := range []struct {
		ld, n, rows, stages int
		together            bool
	}{
		{4096, 1, 1, 5, true}, // 8256+4096+5*17424+8 = 99,480 bytes
		{4096, 4, 4, 3, true},
		{4096, 8, 8, 2, true}, // 66,048+4096+2*17424+8 = 105,000
		{4096, 20, 7, 2, true},
		{64, 1, 1, 5, true},
		{11008, 1, 1, 4, true},
		{11008, 8, 8, 2, false}, // 176,640+4096+2*17424+8 = 215,592
		{14336, 8, 4, 6, false}, // eight rows alone are 229,888: 4+4 rather than 7+1
		{14336, 7, 4, 6, false},
		{65536, 2, 1, 5, false},
		{131072, 1, 0, 0, false},
	} {
		p := chooseGEMV(driver.SM90a, 1000, c.ld, c.n, hopper)
		if p.rows != c.rows || p.stages != c.stages {
			t.Errorf("%d rows of %d: want passes of %d with %d stages, got %d with %d", c.n, c.ld, c.rows, c.stages, p.rows, p.stages)
		}
		if p.rows == 0 {
			if p.shared <= hopper.shared {
				t.Errorf("rows of %d do not fit %d bytes, and want %d", c.ld, hopper.shared, p.shared)
			}
			continue
		}
		if want := pipelineSharedBytes(c.ld, c.rows, c.stages); p.shared != want || want > hopper.shared {
			t.Errorf("%d rows of %d: want %d bytes of shared memory, got %d", c.n, c.ld, want, p.shared)
		}
		if got := p.shared+max(p.shared, attentionDecodeSharedBytes(128))+2*1024 <= 228<<10; got != c.together {
			t.Errorf("%d rows of %d: %d bytes of shared memory: two blocks together: want %v", c.n, c.ld, p.shared, c.together)
		}
	}
	for _, set := range []string{driver.SM80, driver.SM90} {
		if got, want := chooseGEMV(set, 1000, 4096, 8, hopper), (gemvLaunch{"", 8, gemvThreads, 125, gemvSharedBytes(4096, 8), 0}); got != want {
			t.Errorf("%s: want %+v, got %+v", set, want, got)
		}
	}
}

// The blocks' shares of any number of rows differ by one pair.
func TestRowsAreCutEvenly(t *testing.T) {
	for _, pairs := range []int{1, 7, 64, 2048, 6144, 9941, 11008, 64128} {
		for most, g := range map[int]int{264: gemvGrid(pairs, hopper), 132: pipelineGrid(pairs, hopper)} {
			if g < 1 || g > most {
				t.Fatalf("%d pairs: want 1 to %d blocks, got %d", pairs, most, g)
			}
			if least, most := shares(pairs, g); most-least > 1 {
				t.Errorf("%d pairs on %d blocks: shares of %d to %d", pairs, g, least, most)
			}
		}
	}
}

// shares are the smallest and the largest of g blocks.
func shares(pairs, g int) (least, most int) {
	least = pairs
	for b := range g {
		n := pairs*(b+1)/g - pairs*b/g
		least, most = min(least, n), max(most, n)
	}
	return least, most
}

func TestTiles(t *testing.T) {
	for _, c := range []struct {
		n, out      int
		want, boxed string
	}{
		{2048, 22016, "128x128", "wgmma256"},
		{2048, 4096, "128x128", "wgmma256"},
		{128, 4096, "64x64", "wgmma64"},
		{128, 22016, "64x64", "wgmma128"},
		{64, 4096, "64x32", "wgmma32"},
		{12, 4096, "16x32", "wgmma16"},
		{12, 22016, "16x32", "wgmma16"},
	} {
		if got := chooseMMATile(c.n, c.out, hopper); got.name != c.want {
			t.Errorf("[%d %d]: want %s tiles, got %s", c.n, c.out, c.want, got.name)
		}
		if got := chooseWGMMATile(c.n, c.out, hopper); got.name != c.boxed {
			t.Errorf("[%d %d] of sm_90a: want %s tiles, got %s", c.n, c.out, c.boxed, got.name)
		}
	}
	for _, tile := range wgmmaTiles {
		if tile.perSM*(tile.sharedBytes()+1024) > 228<<10 || tile.sharedBytes() > hopper.shared || tile.sharedBytes()%1024 != 0 {
			t.Errorf("%s: %d bytes of shared memory", tile.name, tile.sharedBytes())
		}
		// Whatever the shape, clusters are whole and there is work for each block.
		for _, out := range []int{1, 64, 65, 4096, 9941} {
			g := tile.persistentGrid(7, out, hopper)
			if g[0]%tile.cluster != 0 || g[0] < 1 || g[0] > tile.perSM*hopper.sms || g[0] > roundUp(ceilDiv(out, tile.cols), tile.cluster) {
				t.Errorf("%s: %d rows of W: %d blocks in clusters of %d", tile.name, out, g[0], tile.cluster)
			}
		}
	}
	for _, tile := range mmaTiles {
		if tile.perSM*(tile.sharedBytes()+1024) > 228<<10 || tile.sharedBytes() > ada.shared {
			t.Errorf("%s: %d bytes of shared memory", tile.name, tile.sharedBytes())
		}
	}
}

func TestAttentionFits(t *testing.T) {
	for _, dh := range []int{2, 64, 128, maxHeadSize} {
		if got := attentionDecodeSharedBytes(dh); 2*(got+1024) > 100<<10 && dh <= 128 || got > ada.shared {
			t.Errorf("heads of %d: %d bytes of shared memory", dh, got)
		}
	}
	for dh, want := range map[int]int{2: 64, 64: 64, 66: 128, 128: 128, 130: 0} {
		if got := attentionPrefillWidth(dh); got != want {
			t.Errorf("head width %d: want the kernel of %d, got %d", dh, want, got)
		}
	}
	if got := attentionPrefillSharedBytes(128); got != 81920 {
		t.Errorf("prefill: want 81920 bytes of shared memory, got %d", got)
	}
	if got := attentionWGMMASharedBytes(128); got > hopper.shared || got%1024 != 0 {
		t.Errorf("prefill of sm_90a: %d bytes of shared memory", got)
	}
	if roundUp(9941, 64) != 9984 || rowPitch(1) != 64 {
		t.Error("rows are padded to 128 bytes")
	}
}

// A recorded step's grid, that of its limit, has the parts of every position below.
func TestAttendGrid(t *testing.T) {
	mha, wide := device.AttentionShape{H: 32, K: 32, Dh: 128}, device.AttentionShape{H: 20, K: 2, Dh: 258}
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
		{wide, 2, 300, [3]int{3, 12, 2}},
	} {
		if got := attentionDecodeGrid(c.hs, c.rows, c.positions); got != c.want {
			t.Errorf("%+v, %d rows below %d: want %v, got %v", c.hs, c.rows, c.positions, c.want, got)
		}
	}
	for _, c := range []struct {
		spans []device.Span
		want  int
	}{
		{nil, -1},
		{[]device.Span{{Seq: 3, Start: 9, Row: 0, Len: 1}}, 3},
		{[]device.Span{{Seq: 1, Row: 0, Len: 1}, {Seq: 2, Row: 1, Len: 1}}, 1},
		{[]device.Span{{Seq: 1, Row: 0, Len: 1}, {Seq: 3, Row: 1, Len: 1}}, -1},
		{[]device.Span{{Seq: 1, Row: 1, Len: 1}, {Seq: 2, Row: 0, Len: 1}}, -1},
		{[]device.Span{{Seq: 1, Row: 0, Len: 2}}, -1},
	} {
		if got := consecutiveSlots(c.spans); got != c.want {
			t.Errorf("%+v: want rows from sequence %d on, got %d", c.spans, c.want, got)
		}
	}
	if mha, wide := attentionPartialElements(mha), attentionPartialElements(wide); mha != 132 || wide != 8*132 {
		t.Errorf("parts of 1 and 8 heads: got %d and %d elements", mha, wide)
	}
}

// Bytes of weights an SM reads in a decode step's products, the most of any over the
// mean, along the released paths (mop plan --sequence LGGLLLGGLLGLGLLGGL): every SM
// has its share, whatever the widths.
func TestBytesPerSM(t *testing.T) {
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
			// Blocks go to the SMs in turn, two to each; stream_share (gemv.cuh) says which
			// rows they take.
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
			// Of sm_90a: one block an SM.
			_, largest := shares(w.pairs, pipelineGrid(w.pairs, hopper))
			worst = max(worst, float64(largest)*float64(hopper.sms)/float64(w.pairs))
		}
	}
	if worst > 1.035 {
		t.Errorf("want at most 1.035 of the mean on any SM, got %.3f", worst)
	}
}
