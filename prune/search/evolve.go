package search

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"mop/internal/progress"
	"mop/runtime/random"
)

// job is the search for one target.
type job struct {
	*run
	target float64
	cost   *cost
	own    *values // evaluations, measurements and the number of generations
	judged []judged
}

// judged is a genome and its divergence on all windows.
type judged struct {
	genome
	kl float64
}

// stage is how many windows a candidate is judged on, and how many candidates go on.
type stage struct{ windows, keep int }

func (r *run) stages() []stage {
	middle := min(r.Windows, 4*r.LossWindows)
	return []stage{{r.LossWindows, max(1, r.Offspring/3)}, {middle, max(1, r.Offspring/6)}, {r.Windows, 1}}
}

// evaluate is divergence, once for each genome and number of windows.
func (j *job) evaluate(ctx context.Context, g genome, windows int) (float64, error) {
	x, err := j.evaluateOnce(ctx, g, windows)
	known := func(x judged) bool { return x.key() == g.key() }
	if err == nil && windows == j.Windows && !slices.ContainsFunc(j.judged, known) {
		j.judged = append(j.judged, judged{g, x})
	}
	return x, err
}

func (j *job) evaluateOnce(ctx context.Context, g genome, windows int) (float64, error) {
	key := fmt.Sprintf("kl %d %s", windows, g.key())
	if x, ok := j.own.values[key]; ok {
		return x, nil
	}
	start := time.Now()
	x, err := j.divergence(ctx, g, windows, nil)
	if err != nil {
		return 0, err
	}
	if err := j.own.add(key, x); err != nil {
		return 0, err
	}
	if _, known := j.own.values["generations"]; !known { // the time so far, also before a stop
		return x, j.own.add("seconds", j.own.values["seconds"]+time.Since(start).Seconds())
	}
	return x, nil
}

// chooseDivision returns the best of several divisions of the target over the blocks. The sum
// of the losses of single blocks is less than the loss of a model without all of them, and
// more so where single losses are large. Some divisions therefore count powers of the losses,
// which spreads the cuts over more blocks, and some leave every block a least width.
func (j *job) chooseDivision(ctx context.Context, first genome, x *losses) (genome, error) {
	var others []genome
	for _, power := range []float64{1, 1.5, 2} {
		for _, least := range []int{0, max(1, j.Levels/24), max(1, j.Levels/12), max(1, j.Levels/6)} {
			g, err := j.divide(x.bent(power, least), j.cost, j.target, j.keepsAttention(j.Attention))
			known := func(y genome) bool { return y.key() == g.key() }
			if err == nil && g.key() != first.key() && !slices.ContainsFunc(others, known) { // an error: the least widths exceed the target
				others = append(others, g)
			}
		}
	}
	best, err := j.choose(ctx, first, others)
	if _, known := j.own.values["seconds of divisions"]; err == nil && !known {
		err = j.own.add("seconds of divisions", j.own.values["seconds"])
	}
	return best, err
}

// evolve improves a genome. Every generation makes offspring of the present best one,
// judges them on more and more text, and keeps the best if it beats the parent on all of
// it. The random numbers of a generation depend on the seed and its number alone, and
// evaluations are stored, so that a resumed search ends with the same genome.
func (j *job) evolve(ctx context.Context, best genome) (genome, error) {
	generations, known := j.own.values["generations"]
	if j.Generations > 0 {
		generations, known = float64(j.Generations), true
	} else if j.Time == 0 {
		return best, nil
	}
	for n := 0; !known || n < int(generations); n++ {
		r := rand.New(rand.NewPCG(j.Seed, random.Key(uint64(n), fmt.Sprint("generation ", j.target))))
		offspring := j.offspring(r, best)
		var err error
		if best, err = j.choose(ctx, best, offspring); err != nil {
			return best, err
		}
		// The first generation shows how many fit into the time.
		if !known {
			before := j.own.values["seconds of divisions"]
			one := max(j.own.values["seconds"]-before, 1e-3)
			generations, known = max(1, float64(int((j.Time.Seconds()-before)/one))), true
			if err := j.own.add("generations", generations); err != nil {
				return best, err
			}
		}
		kl, err := j.evaluate(ctx, best, j.Windows)
		if err != nil {
			return best, err
		}
		j.Progress.Report(progress.Update{Phase: fmt.Sprintf("generations for target %v", j.target), Done: n + 1, Total: int(generations), Detail: fmt.Sprintf("KL %.4f", kl)})
	}
	return best, nil
}

// choose judges offspring and returns the best genome, the parent where none beats it.
func (j *job) choose(ctx context.Context, parent genome, candidates []genome) (genome, error) {
	for _, s := range j.stages() {
		scores := map[string]float64{}
		for _, g := range candidates {
			x, err := j.evaluate(ctx, g, s.windows)
			if err != nil {
				return parent, err
			}
			scores[g.key()] = x
		}
		slices.SortStableFunc(candidates, func(a, b genome) int { return cmp.Compare(scores[a.key()], scores[b.key()]) })
		candidates = candidates[:min(s.keep, len(candidates))]
	}
	if len(candidates) == 0 {
		return parent, nil
	}
	before, err := j.evaluate(ctx, parent, j.Windows)
	if err != nil {
		return parent, err
	}
	after, err := j.evaluate(ctx, candidates[0], j.Windows)
	if err != nil || after >= before {
		return parent, err
	}
	return candidates[0], nil
}

// offspring are mutations of a genome whose cost is at most the target.
func (j *job) offspring(r *rand.Rand, parent genome) []genome {
	seen := map[string]bool{parent.key(): true}
	var out []genome
	for range 50 * j.Offspring {
		if len(out) == j.Offspring {
			break
		}
		g, ok := j.mutate(r, parent)
		if ok && !seen[g.key()] {
			seen[g.key()] = true
			out = append(out, g)
		}
	}
	return out
}

// mutate moves one to three times some size from one block to another of the same kind,
// and then takes levels from MLP blocks, or gives them, until the cost is just below the
// target.
func (j *job) mutate(r *rand.Rand, parent genome) (genome, bool) {
	g := parent.clone()
	base, keep := j.base.Config().Layers, j.keepsAttention(j.Attention)
	for range 1 + r.IntN(3) {
		from, to := r.IntN(len(base)), r.IntN(len(base))
		if !keep && r.IntN(3) == 0 {
			if g.KVHeads[from] > 0 {
				g.KVHeads[from]--
			}
			if r.IntN(2) == 0 && g.KVHeads[to] < base[to].KVHeads {
				g.KVHeads[to]++
			}
			continue
		}
		n := 1 + r.IntN(max(1, j.Levels/6))
		n = min(n, g.Levels[from], j.Levels-g.Levels[to])
		g.Levels[from], g.Levels[to] = g.Levels[from]-n, g.Levels[to]+n
	}
	fits := func() bool { return j.cost.share(base, j.shapes(g)) <= j.target }
	for range 64 * len(base) {
		if fits() {
			break
		}
		if l := r.IntN(len(base)); g.Levels[l] > 0 {
			g.Levels[l]--
		}
	}
	if !fits() {
		return g, false
	}
	for misses := 0; misses < len(base); {
		l := r.IntN(len(base))
		if g.Levels[l] < j.Levels && base[l].Intermediate > 0 {
			g.Levels[l]++
			if fits() {
				continue
			}
			g.Levels[l]--
		}
		misses++
	}
	return g, true
}
