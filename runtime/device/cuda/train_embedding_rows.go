package cuda

import (
	"cmp"
	"slices"
)

// groupRowsByToken lists the rows grouped by token, the rows of one token in their original
// order. The rows of the i-th distinct token are list[from[i]:from[i+1]].
func groupRowsByToken(tokens []int) (list, from []int32) {
	list = make([]int32, len(tokens))
	for i := range list {
		list[i] = int32(i)
	}
	slices.SortStableFunc(list, func(a, b int32) int { return cmp.Compare(tokens[a], tokens[b]) })
	for i, r := range list {
		if i == 0 || tokens[r] != tokens[list[i-1]] {
			from = append(from, int32(i))
		}
	}
	return list, append(from, int32(len(tokens)))
}
