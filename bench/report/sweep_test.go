package report

import (
	"strings"
	"testing"

	"mop/runtime/predict"
)

// Two widths cost the same only where their intervals do not tell them apart.
func TestCompareWidths(t *testing.T) {
	width := func(n int, ms, lo, hi float64) predict.WidthCost {
		return predict.WidthCost{Width: n, MS: ms, Lo: lo, Hi: hi}
	}
	same := compareWidths(width(1343, 0.14, 0.13, 0.21), width(1344, 0.16, 0.13, 0.2))
	if !strings.Contains(same, "costs what 1344 costs") || !strings.Contains(same, "87.5 %") {
		t.Errorf("overlapping intervals: want no difference, got %q", same)
	}
	apart := compareWidths(width(1343, 0.18, 0.17, 0.19), width(1344, 0.16, 0.15, 0.165))
	if !strings.Contains(apart, "costs 112.5 % of what 1344 costs") {
		t.Errorf("intervals apart: want a difference, got %q", apart)
	}
}
