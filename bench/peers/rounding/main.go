// Command rounding measures what 8-bit weights cost, for several ways to scale them and
// the activations that they are multiplied by: the divergence from the stored model, by a
// plain forward pass in which both factors of every matrix product are rounded.
//
//	go run ./bench/peers/rounding -text FILE [-split S] [-context N] [-windows N] MODEL
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"sync"

	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/dataset"
	"mop/runtime/device/reference"
	"mop/runtime/tokenizer"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		slog.Error("rounding", "error", err)
		os.Exit(1)
	}
}

// way is how a row of numbers is rounded: to multiples of a scale that each group of
// numbers has.
type way struct{ bits, group int } // bits 0: not at all; group 0: the whole row

func (w way) String() string {
	switch {
	case w.bits == 0:
		return "float32"
	case w.group == 0:
		return fmt.Sprintf("%d bits, rows", w.bits)
	}
	return fmt.Sprintf("%d bits, %d", w.bits, w.group)
}

// round is x rounded.
func (w way) round(x []float32) []float32 {
	if w.bits == 0 {
		return x
	}
	out := make([]float32, 0, len(x))
	group := w.group
	if group == 0 {
		group = len(x)
	}
	most := float64(int(1)<<(w.bits-1) - 1)
	for g := range slices.Chunk(x, group) {
		top := 0.0
		for _, v := range g {
			top = max(top, math.Abs(float64(v)))
		}
		scale := top / most
		for _, v := range g {
			if scale == 0 {
				out = append(out, 0)
				continue
			}
			out = append(out, float32(math.RoundToEven(float64(v)/scale)*scale))
		}
	}
	return out
}

// variant is a pair of ways.
type variant struct{ weights, activations way }

var (
	stored, rows = way{}, way{8, 0}
	groups       = []int{0, 128, 64, 32}
)

// variants are what is compared with the model as it is stored.
func variants() (vs []variant) {
	for _, g := range groups {
		vs = append(vs, variant{way{8, g}, stored})
	}
	for _, g := range []int{0, 128} {
		vs = append(vs, variant{rows, way{16, g}})
	}
	for _, g := range groups {
		vs = append(vs, variant{rows, way{8, g}})
	}
	return append(vs, variant{way{8, 32}, way{8, 32}})
}

func run(args []string) error {
	f := flag.NewFlagSet("rounding", flag.ContinueOnError)
	text := f.String("text", "", "text file")
	split := f.String("split", "", "between its documents")
	context := f.Int("context", 256, "tokens in a window")
	most := f.Int("windows", 16, "use the first so many")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return fmt.Errorf("want MODEL, got %d arguments", f.NArg())
	}
	src, err := checkpoint.Open(f.Arg(0))
	if err != nil {
		return err
	}
	defer src.Close()
	tok, err := tokenizer.Open(f.Arg(0))
	if err != nil {
		return err
	}
	docs, err := dataset.Documents(*text, *split)
	if err != nil {
		return err
	}
	windows, err := dataset.Windows(tok, docs, *context, 0, 0)
	if err != nil {
		return err
	}
	windows = windows[:min(*most, len(windows))]
	vs := append([]variant{{}}, variants()...)
	logits := make([][][]float32, len(vs)) // [V] for each window and position
	var wait sync.WaitGroup
	var failed error
	limit := make(chan struct{}, 2)
	for i, v := range vs {
		wait.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			m, err := load(src, v)
			if err != nil {
				failed = err
				return
			}
			for _, w := range windows {
				logits[i] = append(logits[i], m.forward(w.Tokens)...)
			}
		})
	}
	wait.Wait()
	if failed != nil {
		return failed
	}
	fmt.Printf("| weights | activations | KL, mean | 99th percentile | same argmax token, %% |\n|---|---|---:|---:|---:|\n")
	for i, v := range vs[1:] {
		mean, p99, same := compare(logits[0], logits[i+1])
		fmt.Printf("| %v | %v | %.2e | %.2e | %.2f |\n", v.weights, v.activations, mean, p99, 100*same)
	}
	fmt.Printf("\n%d positions\n", len(logits[0]))
	return nil
}

// compare is the divergence of q's rows of logits from p's, in nats.
func compare(p, q [][]float32) (mean, p99, same float64) {
	var all []float64
	for i := range p {
		var lp, lq, kl float64
		for j := range p[i] {
			lp += math.Exp(float64(p[i][j]))
			lq += math.Exp(float64(q[i][j]))
		}
		lp, lq = math.Log(lp), math.Log(lq)
		for j := range p[i] {
			a, b := float64(p[i][j])-lp, float64(q[i][j])-lq
			kl += math.Exp(a) * (a - b)
		}
		all = append(all, kl)
		mean += kl
		if slices.Index(p[i], slices.Max(p[i])) == slices.Index(q[i], slices.Max(q[i])) {
			same++
		}
	}
	slices.Sort(all)
	n := float64(len(all))
	return mean / n, all[len(all)*99/100], same / n
}

// model holds rounded weights as float32.
type model struct {
	c       *config.Config
	x       way                  // of activations
	tensors map[string][]float32 // matrices [out, in], vectors [n]
}

func load(src checkpoint.Source, v variant) (*model, error) {
	m := &model{src.Config(), v.activations, map[string][]float32{}}
	for _, info := range checkpoint.ExpectedTensors(m.c) {
		t, err := src.Tensor(info.Name)
		if err != nil {
			return nil, err
		}
		w := checkpoint.Float32s(t)
		if len(t.Shape) == 2 {
			var rounded []float32
			for row := range slices.Chunk(w, t.Shape[1]) {
				rounded = append(rounded, v.weights.round(row)...)
			}
			w = rounded
		}
		m.tensors[info.Name] = w
	}
	return m, nil
}

// linear is W round(x[n]).   x [n, in]
func (m *model) linear(name string, x []float32, n int) []float32 {
	w := m.tensors[name]
	in := len(x) / n
	out := len(w) / in
	y := make([]float32, 0, n*out)
	for row := range slices.Chunk(x, in) {
		row = m.x.round(row)
		for o := range out {
			y = append(y, kernel.Dot(w[o*in:(o+1)*in], row))
		}
	}
	return y
}

// forward returns the logits after each token.
func (m *model) forward(tokens []int) (logits [][]float32) {
	c, n := m.c, len(tokens)
	var x []float32
	for _, token := range tokens {
		x = append(x, m.tensors[checkpoint.EmbedName][token*c.HiddenSize:(token+1)*c.HiddenSize]...)
	}
	h := make([]float32, len(x))
	add := func(y []float32) {
		for i, v := range y {
			x[i] += v
		}
	}
	for l, s := range c.Layers {
		name := func(p checkpoint.Param) string { return checkpoint.LayerName(l, p) }
		if s.Heads > 0 {
			reference.Norm(h, x, m.tensors[name(checkpoint.AttnNorm)], n, c.HiddenSize, c.NormEps)
			q, k, v := m.linear(name(checkpoint.WQ), h, n), m.linear(name(checkpoint.WK), h, n), m.linear(name(checkpoint.WV), h, n)
			reference.RoPE(q, n, s.Heads, s.HeadDim, c.InvFreq(), 1)
			reference.RoPE(k, n, s.KVHeads, s.HeadDim, c.InvFreq(), 1)
			a, sums := make([]float32, len(q)), make([]float32, n*s.Heads)
			reference.Attention(a, sums, q, k, v, n, s.Heads, s.KVHeads, s.HeadDim)
			add(m.linear(name(checkpoint.WO), a, n))
		}
		if s.Intermediate > 0 {
			reference.Norm(h, x, m.tensors[name(checkpoint.MLPNorm)], n, c.HiddenSize, c.NormEps)
			g, u := m.linear(name(checkpoint.WGate), h, n), m.linear(name(checkpoint.WUp), h, n)
			reference.SwiGLU(g, g, u)
			add(m.linear(name(checkpoint.WDown), g, n))
		}
	}
	reference.Norm(h, x, m.tensors[checkpoint.NormName], n, c.HiddenSize, c.NormEps)
	head := checkpoint.HeadName
	if c.Tied {
		head = checkpoint.EmbedName
	}
	return slices.Collect(slices.Chunk(m.linear(head, h, n), c.VocabSize))
}
