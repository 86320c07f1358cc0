package cuda

import (
	"slices"
	"testing"
)

func TestGroupRowsByToken(t *testing.T) {
	list, from := groupRowsByToken([]int{7, 2, 7, 0, 2, 7})
	if !slices.Equal(list, []int32{3, 1, 4, 0, 2, 5}) || !slices.Equal(from, []int32{0, 1, 3, 6}) {
		t.Errorf("want rows 3 | 1 4 | 0 2 5, got %v, begins %v", list, from)
	}
}
