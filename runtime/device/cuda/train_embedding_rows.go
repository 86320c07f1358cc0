package cuda

import (
	"cmp"
	"slices"
)

// groupRowsByToken lists the rows by their ids, those of one id in their order: from[i] is
// where the i-th id's begin, and its last element where all end.
func groupRowsByToken(ids []int) (list, from []int32) {
	list = make([]int32, len(ids))
	for i := range list {
		list[i] = int32(i)
	}
	slices.SortStableFunc(list, func(a, b int32) int { return cmp.Compare(ids[a], ids[b]) })
	for i, r := range list {
		if i == 0 || ids[r] != ids[list[i-1]] {
			from = append(from, int32(i))
		}
	}
	return list, append(from, int32(len(ids)))
}
