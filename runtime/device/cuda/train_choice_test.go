package cuda

import "testing"

// Attention's tiles fit a block of every GPU that is supported, and two of an H100.
func TestTrainAttentionFits(t *testing.T) {
	if got := attendKeepShared(128); got != 3*64*132*4 || got > 227<<10/2 {
		t.Errorf("forward: want %d bytes, two to an SM, got %d", 3*64*132*4, got)
	}
	if got := attendBackShared(128); got != (2*64+2*32)*132*4+2*32*4 || got > 227<<10/2 || got > 163<<10 {
		t.Errorf("backward: want %d bytes, two to an SM, got %d", (2*64+2*32)*132*4+2*32*4, got)
	}
}
