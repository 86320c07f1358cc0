//go:build cuda || cudaemu

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/tolerance"
	"mop/runtime/random"
)

func TestAMPSums(t *testing.T) {
	each(t, func(t *testing.T, d *Device, r *rand.Rand, f format, N, D int, hs device.AttentionShape, I int) {
		if f.eight { // refused: models are pruned as they are stored
			return
		}
		ampSums(t, d, r, f.t, N, D, hs, I)
	})
}

// Rows and outputs that need several blocks, and a number of neurons that ends within a block.
func TestAMPSumsOfManyBlocks(t *testing.T) {
	for _, o := range orders {
		for _, dt := range types {
			d := open(t, o)
			ampSums(t, d, rand.New(rand.NewPCG(2, o)), dt, 140, 131, device.AttentionShape{H: 2, K: 2, Dh: 8}, 96)
			// A head of more blocks than gather_sums has threads.
			const each = 700
			partial, want := make([]float32, 2*each), make([]float64, 2)
			for i := range partial {
				partial[i] = float32(i%97 + i/each)
				want[i/each] += float64(partial[i])
			}
			out := d.scratchMemory(scratchSums, 16, false)
			d.launch("reduce_head_sums", [3]int{2, 1, 1}, 256, 64, out, uploadScratch(d, scratchPartials, partial), each)
			if got := download[float64](d, out, 2); !slices.Equal(got, want) {
				t.Errorf("want %v, got %v", want, got)
			}
			if err := d.Sync(); err != nil {
				t.Error(err)
			}
		}
	}
}

// ampSums compares the sums over heads and neurons with the formula.
func ampSums(t *testing.T, d *Device, r *rand.Rand, dt checkpoint.DType, N, D int, hs device.AttentionShape, I int) {
	t.Helper()
	if hs.H > 0 {
		H, Dh := hs.H, hs.Dh
		wo, a := randomMatrix(r, D, H*Dh, dt), randomMatrix(r, N, H*Dh, dt)
		sums := make([]float64, H)
		sums[0] = 5
		d.HeadL1(sums, a.inner(t, d), N, wo.place(t, d, false), hs)
		w := worst{what: "head sums"}
		for h := range H {
			want := 0.0
			if h == 0 {
				want = 5
			}
			all := tolerance.Sum{Terms: Dh + N*D}
			for i := range N {
				for j := range D {
					y, b := product(wo.row(j)[h*Dh:(h+1)*Dh], a.row(i)[h*Dh:(h+1)*Dh], false)
					want += math.Abs(y)
					all.Magnitude += b.Magnitude
				}
			}
			w.see(h, 0, want, sums[h], all.Allow(0, dt)+1e-9)
		}
		w.report(t)
	}
	if I > 0 {
		m := randomMatrix(r, N, I, dt)
		sums := make([]float64, I)
		d.ColumnL1(sums, m.inner(t, d), N)
		for j := range I {
			want := 0.0
			for i := range N {
				want += math.Abs(m.row(i)[j])
			}
			if want != sums[j] {
				t.Fatalf("column %d: want %g exactly, got %g", j, want, sums[j])
			}
		}
	}
}

// Vocabularies of one tile, of several, and with a last tile of one token.
func TestLogitReductions(t *testing.T) {
	for _, s := range []struct{ N, D, V int }{{1, 3, 1}, {3, 8, 37}, {2, 16, vocabTile + 1}, {67, 24, 257}, {1, 8, 2*vocabTile + 1000}} {
		for _, dt := range types {
			for _, o := range orders {
				if testing.Short() && s.V > vocabTile+1 {
					continue
				}
				t.Run(fmt.Sprintf("%v/%v/%d", s, dt, o), func(t *testing.T) { logitReductions(t, open(t, o), s.N, s.D, s.V, dt) })
			}
		}
	}
}

func logitReductions(t *testing.T, d *Device, N, D, V int, dt checkpoint.DType) {
	r := rand.New(rand.NewPCG(uint64(N*1000+V), 1))
	gain := randomMatrix(r, 1, D, dt)
	type side struct {
		w matrix
		x []float64
		h device.LMHead
		z [][]float64
		e float64 // largest error of a logit
	}
	var p, q side
	for _, s := range []*side{&p, &q} {
		s.w, s.x = randomMatrix(r, V, D, dt), normal(r, N*D)
		for i := range s.w.v {
			s.w.v[i] = round16(s.w.v[i]/math.Sqrt(float64(D)), dt)
		}
		if V > 20 { // a tie: both devices take the lower
			copy(s.w.row(20), s.w.row(11))
		}
		s.h = device.LMHead{X: floats(t, d, N, D, s.x), Norm: gain.place(t, d, true), W: s.w.place(t, d, false), Eps: epsilon}
		for i := range N {
			h := normRow(s.x[i*D:(i+1)*D], gain.v, epsilon, dt)
			z := make([]float64, V)
			for j := range z {
				var b tolerance.Sum
				z[j], b = product(s.w.row(j), h, true)
				s.e = max(s.e, b.Allow(z[j], dt))
			}
			s.z = append(s.z, z)
		}
	}
	rows, targets := make([]int, N), make([]int, N)
	for i := range rows {
		rows[i], targets[i] = N-1-i, r.IntN(V)
	}
	nll, tokens, div := make([]float64, N), make([]int, N), make([]device.Divergence, N)
	d.NLL(nll, p.h, rows, targets)
	d.Argmax(tokens, p.h, rows)
	decoded, nlls := make([]int, N), make([]float64, N)
	alone := p.h
	alone.Phase = device.Decode
	d.Argmax(decoded, alone, rows)
	d.NLL(nlls, alone, rows, targets)
	d.CompareLogits(div, p.h, q.h, rows)
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	wn, wk, wc := worst{what: "nll"}, worst{what: "kl"}, worst{what: "cosine"}
	for i, row := range rows {
		zp, zq := p.z[row], q.z[row]
		lp, lq := logSum(zp, 1), logSum(zq, 1)
		wn.see(i, 1, lp-zp[targets[i]], nlls[i], 2*p.e+1e-5)
		if got := zp[decoded[i]]; got < slices.Max(zp)-2*p.e {
			t.Errorf("argmax of row %d, decode: token %d has %g, the largest is %g", row, decoded[i], got, slices.Max(zp))
		}
		wn.see(i, 0, lp-zp[targets[i]], nll[i], 2*p.e+1e-5)
		if got := zp[tokens[i]]; got < slices.Max(zp)-2*p.e {
			t.Errorf("argmax of row %d: token %d has %g, the largest is %g", row, tokens[i], got, slices.Max(zp))
		}
		if tokens[i] == 20 && V > 20 {
			t.Errorf("argmax of row %d: a tie took the higher token", row)
		}
		var kl, pp, qq, pq, spread float64
		for j := range zp {
			kl += math.Exp(zp[j]-lp) * ((zp[j] - lp) - (zq[j] - lq))
			pp, qq, pq = pp+zp[j]*zp[j], qq+zq[j]*zq[j], pq+zp[j]*zq[j]
			spread = max(spread, math.Abs(zp[j]-lp-zq[j]+lq))
		}
		wk.see(i, 0, kl, div[i].KL, 2*(p.e+q.e)*(1+spread)+1e-5)
		n := math.Sqrt(pp * qq)
		wc.see(i, 0, pq/n, div[i].Cosine, 4*float64(V)*(p.e+q.e)*math.Sqrt(max(pp, qq)/float64(V))/n+1e-5)
	}
	wn.report(t)
	wk.report(t)
	wc.report(t)
}

// Exactly known logits with the largest one in each tile of the vocabulary. Sums of earlier
// tiles are rescaled, and among equal logits in several tiles the lowest token id is chosen.
func TestVocabTiles(t *testing.T) {
	d := open(t, orders[len(orders)-1])
	dt := checkpoint.BF16
	const V = 2*vocabTile + 300
	r := rand.New(rand.NewPCG(8, 8))
	ones := matrix{rows: 1, cols: 1, v: []float64{1}, t: dt}
	// x is 1 and -1, its norm too: the rows' logits are the weights, and less the weights.
	x := floats(t, d, 2, 1, []float64{1, -1})
	signs := []float64{1, -1}
	head := func(set func(z []float64)) (device.LMHead, []float64) {
		w := randomMatrix(r, V, 1, dt)
		for i, v := range w.v {
			w.v[i] = max(-3, min(v, 3))
		}
		set(w.v)
		return device.LMHead{X: x, Norm: ones.place(t, d, true), W: w.place(t, d, false)}, w.v
	}
	step := func(by float64) func(z []float64) { // each part that much above the one before
		return func(z []float64) {
			for i := range z {
				z[i] = round16(z[i]+by*float64(i/vocabTile), dt)
			}
		}
	}
	// Largest of all at some tokens, and smallest at others.
	at := func(most, least []int) func(z []float64) {
		return func(z []float64) {
			for _, i := range most {
				z[i] = 9
			}
			for _, i := range least {
				z[i] = -9
			}
		}
	}
	const first, second, third = 70, vocabTile + 69, 2*vocabTile + 5
	const low1, low2, low3 = 100, vocabTile + 99, 2*vocabTile + 35
	for _, c := range []struct {
		what string
		p, q func(z []float64)
		same [2]bool
	}{
		{"steps of one", step(1), step(-1), [2]bool{}},
		{"steps of a hundred", step(100), step(-100), [2]bool{}},
		{"ties of p", at([]int{first, second, third}, []int{low2, low3}), at([]int{first}, []int{low2}), [2]bool{true, true}},
		{"ties of q", at([]int{second}, []int{low1}), at([]int{second, third}, []int{low1, low2}), [2]bool{true, true}},
		{"ties in a tile", at([]int{second, second + 1, second + 256}, []int{0, 1, 512}), at([]int{second}, []int{0}), [2]bool{true, true}},
		{"not the later", at([]int{first, second}, []int{low1, low3}), at([]int{second}, []int{low3}), [2]bool{false, false}},
		{"one offset in two tiles", at([]int{first}, []int{low1}), at([]int{vocabTile + first}, []int{vocabTile + low1}), [2]bool{false, false}},
		{"the last", at([]int{V - 1}, []int{vocabTile - 1}), at([]int{V - 1}, []int{vocabTile}), [2]bool{true, false}},
	} {
		p, zp := head(c.p)
		q, zq := head(c.q)
		div := make([]device.Divergence, 2)
		d.CompareLogits(div, p, q, []int{0, 1})
		rows := []int{0, 1, 0, 1, 0, 1, 0, 1, 0, 1}
		targets := []int{0, 0, vocabTile - 1, vocabTile, second, 2 * vocabTile, 2*vocabTile - 1, V - 1, V - 1, vocabTile}
		nll := make([]float64, len(rows))
		d.NLL(nll, p, rows, targets)
		for i, token := range targets {
			sign := signs[rows[i]]
			if want := logSum(zp, sign) - sign*zp[token]; math.Abs(nll[i]-want) > 1e-6*(1+want) {
				t.Errorf("%s: nll of token %d of row %d: want %g, got %g", c.what, token, rows[i], want, nll[i])
			}
		}
		for row, sign := range signs {
			lp, lq := logSum(zp, sign), logSum(zq, sign)
			var kl, pp, qq, pq float64
			for j := range zp {
				a, b := sign*zp[j], sign*zq[j]
				kl += math.Exp(a-lp) * ((a - lp) - (b - lq))
				pp, qq, pq = pp+a*a, qq+b*b, pq+a*b
			}
			if got := div[row]; math.Abs(got.KL-kl) > 1e-6*(1+kl) || math.Abs(got.Cosine-pq/math.Sqrt(pp*qq)) > 1e-12 || got.SameArgmax != c.same[row] {
				t.Errorf("%s: row %d: want a divergence of %g, cosine %g, the same token: %v, got %+v", c.what, row, kl, pq/math.Sqrt(pp*qq), c.same[row], got)
			}
		}
	}
	if err := d.Sync(); err != nil {
		t.Error(err)
	}
}

// logSum returns log sum exp of sign*z.
func logSum(z []float64, sign float64) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range z {
		top = max(top, sign*v)
	}
	for _, v := range z {
		sum += math.Exp(sign*v - top)
	}
	return top + math.Log(sum)
}

// Random weights that are generated on the device have the host's bits.
func TestPlaceRandom(t *testing.T) {
	for i := range len(types) * len(orders) {
		dt, d := types[i%len(types)], open(t, orders[i/len(types)])
		for _, s := range [][]int{{1, 1}, {3, 7}, {5, 64}, {2, 9941}} {
			key, scale := random.Key(3, "w"), random.Scale(0.02)
			if s[1] == 7 {
				scale = random.Scale(1e-6) // float16's subnormals
			}
			w, err := d.PlaceRandom(checkpoint.RandomSpec{Name: "w", Shape: s, DType: dt, Key: key, Scale: scale}, device.PlaceOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := make([]byte, 2*s[0]*s[1])
			if dt == checkpoint.F16 {
				random.FillF16(want, key, 0, scale)
			} else {
				random.FillBF16(want, key, 0, scale)
			}
			b := w.(*weight)
			got := download[uint16](d, b.p, s[0]*b.pitch)
			for i := range s[0] {
				for j := range b.pitch {
					v := uint16(0)
					if j < s[1] {
						v = uint16(want[2*(i*s[1]+j)]) | uint16(want[2*(i*s[1]+j)+1])<<8
					}
					if got[i*b.pitch+j] != v {
						t.Fatalf("%v %v: [%d %d]: want %#x, got %#x", dt, s, i, j, v, got[i*b.pitch+j])
					}
				}
			}
		}
	}
}
