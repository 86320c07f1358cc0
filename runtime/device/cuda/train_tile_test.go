package cuda

import "testing"

func TestChooseTrainTile(t *testing.T) {
	h200 := deviceLimits{sms: 132, shared: 227 << 10}
	for _, c := range []struct {
		n, out int
		want   trainTile
	}{
		{512, 4096, trainTile128x128}, // one on each SM but four
		{512, 11008, trainTile128x128},
		{200, 4096, trainTile128x64}, // more SMs at work
		{64, 4096, trainTile64x64},
		{1, 1, trainTile64x64},
		{256, 32000, trainTile128x128},
	} {
		if got := chooseTrainTile(c.n, c.out, h200); got != c.want {
			t.Errorf("%d rows by %d: want %s, got %s", c.n, c.out, c.want.name, got.name)
		}
	}
	for _, s := range []trainTile{trainTile128x128, trainTile128x64, trainTile64x64} {
		if s.shared() > 113<<10 {
			t.Errorf("%s: %d bytes of shared memory leave no room for a second block on an SM", s.name, s.shared())
		}
		g := s.grid(s.rows+1, s.cols)
		if g != [3]int{2, 1, 1} {
			t.Errorf("%s: want two blocks for a row more than one has, got %v", s.name, g)
		}
	}
}

// A few rows of logits, never all: 128 MB at most where 16 rows fit in it.
func TestLossRows(t *testing.T) {
	for vocab, want := range map[int]int{0: 256, 1: 256, 32000: 256, 128256: 256, 1 << 20: 32, 1 << 24: 16} {
		if got := lossRows(vocab); got != want {
			t.Errorf("%d tokens: want %d rows, got %d", vocab, want, got)
		}
	}
}

// A grid that leaves SMs without a block asks for more than half of the memory of one; others,
// and GPUs that give a block less, ask for what they need.
func TestSpreadShared(t *testing.T) {
	for _, c := range []struct {
		grid         [3]int
		shared, want int
		l            deviceLimits
	}{
		{[3]int{4, 26, 1}, 98304, 118784, hopper},
		{[3]int{4, 33, 1}, 98304, 118784, hopper},
		{[3]int{4, 34, 1}, 98304, 98304, hopper},
		{[3]int{4, 26, 1}, 98304, 98304, ada},
	} {
		if got := spreadShared(c.grid, c.shared, c.l); got != c.want {
			t.Errorf("%v: want %d bytes, got %d", c, c.want, got)
		}
	}
}
