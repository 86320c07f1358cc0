//go:build cuda || cudaemu

package cuda

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mop/runtime/device"
	"mop/runtime/random"
)

// sampled returns the token that device.SamplingParams determine, in float64. reliable reports
// that errors of float32 do not change it.
func sampled(z []float32, seen []int, by device.SamplingParams, key uint64, pos int) (token int, reliable bool) {
	const off = 2e-5
	v := make([]float64, len(z))
	order := make([]int, len(z))
	for i, x := range z {
		if x-x != 0 {
			return -1, true
		}
		if by.HasPenalty() && slices.Contains(seen, i) {
			if x > 0 {
				x /= float32(by.RepetitionPenalty)
			} else {
				x *= float32(by.RepetitionPenalty)
			}
		}
		v[i], order[i] = float64(x), i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(v[b], v[a]) })
	if by.Temperature == 0 {
		return order[0], true
	}
	if by.TopK > 0 && by.TopK < len(order) {
		order = order[:by.TopK]
	}
	weight := func(i int) float64 { return math.Exp((v[i] - v[order[0]]) / by.Temperature) }
	draw := func(topP, minP float64) (token int, margin float64) {
		kept := order
		if topP > 0 && topP < 1 {
			sum, acc := 0.0, 0.0
			for _, i := range order {
				sum += weight(i)
			}
			for n, i := range order {
				if acc += weight(i); acc >= topP*sum {
					kept = order[:n+1]
					break
				}
			}
		}
		best, second := math.Inf(-1), math.Inf(-1)
		for n, i := range kept {
			if n > 0 && weight(i) < minP {
				break
			}
			switch g := (v[i]-v[order[0]])/by.Temperature - math.Log(random.Exponential(key, uint64(pos*len(z)+i))); {
			case g > best:
				token, best, second = i, g, best
			case g > second:
				second = g
			}
		}
		return token, best - second
	}
	token, margin := draw(by.TopP, by.MinP)
	less, _ := draw(by.TopP*(1-off), by.MinP*(1-off))
	more, _ := draw(by.TopP*(1+off), by.MinP*(1+off))
	return token, margin > off && less == token && more == token
}

// sample runs the sampling kernels over rows of logits [n, V], each with its own
// parameters and stream. A row's slot is its number. Filters are used if they are needed or
// requested.
func sample(t *testing.T, d *Device, z []float32, V int, seen [][]int, by []device.SamplingParams, streams []uint64, positions []int, filters bool) (tokens []int32, after []uint32) {
	t.Helper()
	n := len(z) / V
	wide := make([]float64, len(z))
	for i, x := range z {
		wide[i] = float64(x)
	}
	b := floats(t, d, n, V, wide)
	made, err := d.NewDecodeRows(n, n, V)
	if err != nil {
		t.Fatal(err)
	}
	r := made.(*decodeRows)
	for i := range n {
		row := device.DecodeRow{Slot: n - 1 - i, Position: positions[i], Sampling: by[i], Stream: streams[i], Seen: []int{}}
		if seen != nil {
			row.Seen = seen[i]
		}
		if err := r.Set(i, row); err != nil {
			t.Fatal(err)
		}
	}
	r.upload()
	d.sample(b.p, b.pitch, V, n, r, filters || r.NeedFilters(n))
	tokens = download[int32](d, r.tokensAt(), n)
	for i, p := range download[[2]int32](d, r.positionsAt(), n) {
		if want := [2]int32{int32(n - 1 - i), int32(positions[i] + 1)}; p != want {
			t.Errorf("row %d: want slot and position %v, got %v", i, want, p)
		}
	}
	bits := download[uint32](d, r.seen.p, n*r.words)
	for i := range n {
		after = append(after, bits[(n-1-i)*r.words:(n-i)*r.words]...)
	}
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	return tokens, after
}

// repeated returns n times the same parameters.
func repeated(by device.SamplingParams, n int) (all []device.SamplingParams) {
	for range n {
		all = append(all, by)
	}
	return all
}

// Every kind of sampling, over logits that are close, partly equal, and all equal, so that the
// candidates fit shared memory in some cases and not in others. Each kind has its own thread
// order.
func TestSample(t *testing.T) {
	draws := []device.SamplingParams{
		{}, {RepetitionPenalty: 1.7}, {Temperature: 0.7}, {Temperature: 1.3, RepetitionPenalty: 0.5}, {Temperature: 1e-38}, {Temperature: 1e308, TopK: 3},
		{Temperature: 1, TopK: 1}, {Temperature: 0.8, TopK: 40}, {Temperature: 2, TopP: 0.9}, {Temperature: 1, TopP: 1e-9},
		{Temperature: 1.5, MinP: 0.05}, {Temperature: 1, TopK: 5000, TopP: 0.95, MinP: 0.001, RepetitionPenalty: 1.2}, {Temperature: 30, TopP: 0.999},
		{Temperature: 30, TopP: 0.99999994}, // all tokens that have any share
	}
	for _, V := range []int{1, 2, 97, 9941, 32001} {
		for k, kind := range []string{"alike", "ties", "flat"} {
			for i, by := range draws {
				if V == 32001 && kind != "ties" || testing.Short() && (V == 32001 || V == 9941 && i%3 != 0) {
					continue
				}
				t.Run(fmt.Sprintf("%d/%s/%d", V, kind, i), func(t *testing.T) {
					d := open(t, orders[(i+k)%len(orders)])
					n := 5
					if V < 100 {
						n = 40
					}
					r := rand.New(rand.NewPCG(uint64(V), uint64(i)))
					z, seen, streams, positions := make([]float32, n*V), make([][]int, n), make([]uint64, n), make([]int, n)
					for j := range z {
						switch z[j] = float32(3 * r.NormFloat64()); kind {
						case "ties":
							z[j] = float32(math.Round(float64(z[j])))
						case "flat":
							z[j] = -0.5
						}
					}
					bad := n - 1
					z[bad*V+V/2] = [...]float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}[i%3]
					for row := range n {
						streams[row], positions[row] = random.Key(uint64(i), fmt.Sprint(row%3)), row*7
						for range 20 {
							seen[row] = append(seen[row], r.IntN(V))
						}
					}
					got, after := sample(t, d, z, V, seen, repeated(by, n), streams, positions, false)
					near := 0
					for row := range n {
						if row != bad && (got[row] < 0 || int(got[row]) >= V) {
							t.Fatalf("row %d: got token %d", row, got[row])
						}
						want, reliable := sampled(z[row*V:(row+1)*V], seen[row], by, streams[row], positions[row])
						if !reliable {
							near++
						} else if int(got[row]) != want {
							t.Errorf("row %d: want token %d, got %d", row, want, got[row])
						}
						if by.HasPenalty() && row != bad && after[row*ceilDiv(V, 32)+int(got[row])/32]>>(got[row]%32)&1 == 0 {
							t.Errorf("row %d: token %d does not count as seen", row, got[row])
						}
					}
					if near > n/4 {
						t.Errorf("%d of %d rows are too close to tell", near, n)
					}
				})
			}
		}
	}
}

// The frequencies of samples are those of the softmax. Each thread order makes some of them.
func TestSampleFrequencies(t *testing.T) {
	const V, N, T = 5, 2000, 0.7
	want, total := [V]float64{}, 0.0
	for j := range want {
		want[j] = math.Exp(float64(j) / 2 / T)
		total += want[j]
	}
	z, streams, positions, by := make([]float32, N*V), make([]uint64, N), make([]int, N), device.SamplingParams{Temperature: T}
	for i := range z {
		z[i] = float32(i%V) / 2
	}
	for i := range N {
		streams[i], positions[i] = random.Key(1, "draw"), i
	}
	var count [V]float64
	for o, order := range orders {
		lo, hi := N*o/len(orders), N*(o+1)/len(orders)
		tokens, _ := sample(t, open(t, order), z[lo*V:hi*V], V, nil, repeated(by, hi-lo), streams[lo:hi], positions[lo:hi], false)
		for _, token := range tokens {
			count[token]++
		}
	}
	chi := 0.0
	for j := range V {
		e := N * want[j] / total
		chi += (count[j] - e) * (count[j] - e) / e
	}
	if chi > 18.5 { // 0.1 % of fair draws, four degrees of freedom
		t.Errorf("frequencies: chi square %g of %v", chi, count)
	}
}

// The largest float32 logits divided by a temperature are treated as finite: they are always
// or never chosen, and their row has a token.
func TestSampleLargestFloats(t *testing.T) {
	const V = 97
	for o, order := range orders {
		for _, by := range []device.SamplingParams{{Temperature: 0.3}, {Temperature: 0.3, TopK: 5}, {Temperature: 0.01}, {Temperature: 0.3, RepetitionPenalty: 1.1}, {}} {
			d := open(t, order)
			z := make([]float32, 2*V)
			z[7*o+3], z[V+7*o+3] = 3e38, -3e38
			tokens, _ := sample(t, d, z, V, [][]int{{7*o + 3}, {7*o + 3}}, repeated(by, 2), []uint64{1, 2}, []int{5, 9}, false)
			if tokens[0] != int32(7*o+3) || tokens[1] < 0 || tokens[1] == int32(7*o+3) {
				t.Errorf("%+v: want token %d and another, got %v", by, 7*o+3, tokens)
			}
		}
	}
}

// A row's token does not depend on the parameters of other rows, and rows without filters get
// the token of the kernel without filters.
func TestSampleMixedRows(t *testing.T) {
	const V = 1500
	all := []device.SamplingParams{{}, {RepetitionPenalty: 1.7}, {Temperature: 0.7}, {Temperature: 1.3, RepetitionPenalty: 0.5}, {Temperature: 1, TopK: 3}, {Temperature: 0.01}, {Temperature: 2, TopP: 0.9}, {Temperature: 1.5, MinP: 0.05, RepetitionPenalty: 1.2}}
	n := len(all)
	r := rand.New(rand.NewPCG(8, 9))
	z, seen, streams, positions := make([]float32, n*V), make([][]int, n), make([]uint64, n), make([]int, n)
	for i := range z {
		z[i] = float32(3 * r.NormFloat64())
	}
	for row := range n {
		streams[row], positions[row], seen[row] = r.Uint64(), r.IntN(100), []int{r.IntN(V), r.IntN(V)}
	}
	got, _ := sample(t, open(t, orders[0]), z, V, seen, all, streams, positions, true)
	for row, by := range all {
		want, _ := sample(t, open(t, orders[len(orders)-1]), z, V, seen, repeated(by, n), streams, positions, false)
		if got[row] != want[row] {
			t.Errorf("row %d, %+v: want token %d, got %d", row, by, want[row], got[row])
		}
	}
}
