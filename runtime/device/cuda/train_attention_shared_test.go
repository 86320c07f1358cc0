package cuda

import "testing"

// Attention's tiles fit a block of every GPU that is supported, and two of an H100.
func TestTrainAttentionFits(t *testing.T) {
	if got := attentionTrainShared(128); got > ada.shared || 2*(got+1024) > 228<<10 {
		t.Errorf("want at most %d bytes, and two blocks to an SM of 228 KiB, got %d", ada.shared, got)
	}
}
