package cuda

import "testing"

// An H200's and a small card's limits.
var (
	hopper = limits{sms: 132, shared: 227 << 10}
	ada    = limits{sms: 24, shared: 99 << 10}
)

func TestPassesOverTheWeights(t *testing.T) {
	for _, c := range []struct {
		ld, n int
		l     limits
		want  int
	}{
		{4096, 1, hopper, 1},
		{4096, 8, hopper, 8},     // 8*(2*4128+4096) = 98,816 bytes, two blocks an SM
		{4096, 20, hopper, 8},    // no more than a product has columns
		{11008, 8, hopper, 4},    // 4*(2*11040+4096) = 104,704
		{14336, 8, hopper, 3},    // 3*(2*14368+4096) = 98,496
		{65536, 2, hopper, 1},    // 135,232: one block an SM
		{131072, 1, hopper, 0},   // does not fit
		{11008, 8, ada, 3},       // 78,528 of 101,376
		{pitch(9941), 1, ada, 1}, // a pruned width
	} {
		got := streamPass(c.ld, c.n, c.l)
		if got != c.want {
			t.Errorf("rows of %d, %d at a time, %v: want passes of %d, got %d", c.ld, c.n, c.l, c.want, got)
		}
		if got > 0 && streamShared(c.ld, got) > c.l.shared {
			t.Errorf("rows of %d: %d bytes of shared memory, there are %d", c.ld, streamShared(c.ld, got), c.l.shared)
		}
	}
}

// The blocks' shares of any number of rows differ by one pair.
func TestRowsAreCutEvenly(t *testing.T) {
	for _, pairs := range []int{1, 7, 64, 2048, 6144, 9941, 11008, 64128} {
		g := streamGrid(pairs, hopper)
		if g < 1 || g > 264 {
			t.Fatalf("%d pairs: want 1 to 264 blocks, got %d", pairs, g)
		}
		least, most := pairs, 0
		for b := range g {
			n := pairs*(b+1)/g - pairs*b/g
			least, most = min(least, n), max(most, n)
		}
		if most-least > 1 {
			t.Errorf("%d pairs on %d blocks: shares of %d to %d", pairs, g, least, most)
		}
	}
}

func TestTiles(t *testing.T) {
	for _, c := range []struct {
		n, out int
		want   string
	}{
		{2048, 22016, "large"},
		{2048, 4096, "large"},
		{128, 4096, "small"},
		{64, 4096, "slim"},
		{12, 4096, "thin"},
		{12, 22016, "thin"},
	} {
		if got := productTile(c.n, c.out, hopper); got.name != c.want {
			t.Errorf("[%d %d]: want %s tiles, got %s", c.n, c.out, c.want, got.name)
		}
	}
	for _, tile := range tiles {
		if tile.perSM*(tile.shared()+1024) > 228<<10 || tile.shared() > ada.shared {
			t.Errorf("%s: %d bytes of shared memory", tile.name, tile.shared())
		}
	}
}

func TestAttentionFits(t *testing.T) {
	for _, c := range []struct{ h, k, dh int }{{32, 32, 128}, {32, 8, 128}, {29, 29, 64}, {64, 1, 128}, {1, 1, 2}, {8, 8, maxHeadWidth}} {
		if got := attendShared(c.h, c.k, c.dh); got > ada.shared {
			t.Errorf("%v: %d bytes of shared memory", c, got)
		}
	}
	for dh, want := range map[int]int{2: 64, 64: 64, 66: 128, 128: 128, 130: 0} {
		if got := prefillWidth(dh); got != want {
			t.Errorf("head width %d: want the kernel of %d, got %d", dh, want, got)
		}
	}
	if got := prefillShared(128); got != 81920 {
		t.Errorf("prefill: want 81920 bytes of shared memory, got %d", got)
	}
	if roundUp(9941, 64) != 9984 || pitch(1) != 64 {
		t.Error("rows are padded to 128 bytes")
	}
}
