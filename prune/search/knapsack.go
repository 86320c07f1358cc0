package search

import (
	"math"
)

// choice is one size of a block.
type choice struct{ cost, loss float64 }

// bins divide the budget of the knapsack.
const bins = 4000

// knapsack chooses one size for each block so that the sum of the losses is least and the
// costs add up to at most the budget. It returns nil where even the cheapest sizes exceed
// it.
func knapsack(blocks [][]choice, budget float64) []int {
	if !(budget > 0) || math.IsInf(budget, 1) {
		return nil
	}
	// Costs are rounded to bins, and the budget is lowered until the true costs fit.
	for room := float64(bins); room > bins/2; room -= 2 {
		chosen := solve(blocks, budget/bins, int(room))
		if chosen == nil {
			return nil
		}
		total := 0.0
		for i, c := range chosen {
			total += blocks[i][c].cost
		}
		if total <= budget {
			return chosen
		}
	}
	return nil
}

// solve is the dynamic program over whole bins.
func solve(blocks [][]choice, bin float64, room int) []int {
	best := make([]float64, room+1) // least loss of the blocks so far, by bins used at most
	taken := make([][]int16, len(blocks))
	for i, sizes := range blocks {
		next := make([]float64, room+1)
		taken[i] = make([]int16, room+1)
		for b := range next {
			next[b], taken[i][b] = math.Inf(1), -1
			for c, x := range sizes {
				used := int(math.Round(x.cost / bin))
				if used <= b && best[b-used]+x.loss < next[b] {
					next[b], taken[i][b] = best[b-used]+x.loss, int16(c)
				}
			}
		}
		best = next
	}
	if math.IsInf(best[room], 1) {
		return nil
	}
	chosen := make([]int, len(blocks))
	for i, b := len(blocks)-1, room; i >= 0; i-- {
		c := int(taken[i][b])
		chosen[i] = c
		b -= int(math.Round(blocks[i][c].cost / bin))
	}
	return chosen
}

// divide finds the genome of the least sum of losses whose cost is at most a share of the
// dense model's.
func (s grid) divide(x *losses, k *cost, target float64, keepAttention bool) (genome, error) {
	base := s.layers
	fixed, kept := k.total(base), 0.0
	var blocks [][]choice
	for l, y := range base {
		attention := make([]choice, y.KVHeads+1)
		for kv := range attention {
			attention[kv] = choice{k.attention(s.shape(l, kv, 0)), x.attention[l][kv]}
			if keepAttention && kv < y.KVHeads {
				attention[kv].loss = math.Inf(1)
			}
		}
		mlp := make([]choice, s.levels+1)
		for v := range mlp {
			mlp[v] = choice{k.mlp(s.shape(l, 0, v)), x.mlp[l][v]}
		}
		fixed -= attention[y.KVHeads].cost + mlp[s.levels].cost
		if keepAttention {
			kept += attention[y.KVHeads].cost
		}
		blocks = append(blocks, attention, mlp)
	}
	// Costs of blocks are those of ordinary layers; the last layers of a prompt differ a
	// little. The budget is corrected until the whole model's cost is met.
	wanted := target * k.total(base) / k.factor
	budget := wanted - fixed
	for range 20 {
		chosen := knapsack(blocks, budget)
		if chosen == nil {
			break
		}
		g := genome{}
		for l := range base {
			g.KVHeads, g.Levels = append(g.KVHeads, chosen[2*l]), append(g.Levels, chosen[2*l+1])
		}
		over := k.total(s.shapes(g)) - wanted
		if over <= 0 {
			return g, nil
		}
		budget -= over * 1.01
	}
	return genome{}, beyondReach(target, max(0, (fixed+kept)/k.total(base)*k.factor))
}
