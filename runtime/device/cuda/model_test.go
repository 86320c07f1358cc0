//go:build cuda || cudaemu

package cuda

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/runtime/checkpoint"
	"mop/runtime/checkpoint/llama2c"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/device/tolerance"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// stored is a checkpoint whose weights are converted to another type.
type stored struct {
	checkpoint.Source
	t checkpoint.DType
}

func (s stored) Tensor(name string) (checkpoint.Tensor, error) {
	t, err := s.Source.Tensor(name)
	if err != nil || t.DType == s.t {
		return t, err
	}
	wide := make([]byte, 0, 4*len(t.Data)/t.DType.Size())
	for _, v := range checkpoint.Float32s(t) {
		wide = binary.LittleEndian.AppendUint32(wide, math.Float32bits(v))
	}
	if t.DType = s.t; s.t == checkpoint.F32 {
		t.Data = wide
		return t, nil
	}
	t.Data = make([]byte, len(wide)/2)
	roundTo(t.Data, wide, s.t)
	return t, nil
}

// mixed is a checkpoint that stores some tensors in another type.
type mixed struct {
	checkpoint.Source
	other checkpoint.DType
	is    func(name string) bool
}

func (m mixed) Tensor(name string) (checkpoint.Tensor, error) {
	if m.is(name) {
		return stored{m.Source, m.other}.Tensor(name)
	}
	return m.Source.Tensor(name)
}

// logits runs the first tokens as prefill and the rest one by one.
func logits(t *testing.T, m *model.Model, tokens []int, first int) [][]float32 {
	t.Helper()
	cache, err := kvcache.NewSequences(m.Device(), m.Config, 1, len(tokens))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	var out [][]float32
	keep := func(_ int, z []float32) error {
		out = append(out, append([]float32(nil), z...))
		return nil
	}
	if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Tokens: tokens[:first]}}}); err != nil {
		t.Fatal(err)
	}
	rows := make([]int, first)
	for i := range rows {
		rows[i] = i
	}
	if err := m.Logits(rows, keep); err != nil {
		t.Fatal(err)
	}
	for _, token := range tokens[first:] {
		if err := m.Forward(model.Pass{Phase: device.Decode, Cache: cache, Chunks: []model.Chunk{{Tokens: []int{token}}}}); err != nil {
			t.Fatal(err)
		}
		if err := m.Logits([]int{0}, keep); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// models are the demo's, stories260K, and the golden ones of every kind of shape.
func models(t *testing.T, each func(t *testing.T, src checkpoint.Source)) {
	dirs, err := filepath.Glob("../../model/testdata/*/config.json")
	if err != nil || len(dirs) < 8 {
		t.Fatalf("want at least 8 golden models, got %d, %v", len(dirs), err)
	}
	dirs = append(dirs, "../../../bench/demo/model/config.json")
	for _, f := range dirs {
		dir := filepath.Dir(f)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			src, err := checkpoint.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			each(t, src)
		})
	}
	t.Run("stories260K", func(t *testing.T) {
		src, err := llama2c.Open(testutil.DataPath(t, "stories260K/stories260K.bin"))
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		each(t, src)
	})
}

// pair loads one checkpoint on the host and on the device, in 8 bits or as stored.
func pair(t *testing.T, src checkpoint.Source, dev device.Device, eight bool) (host, other *model.Model) {
	t.Helper()
	load := func(d device.Device) (*model.Model, error) {
		return model.LoadPlaced(d, src, device.PlaceOptions{Int8: eight})
	}
	c, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if host, err = load(c); err != nil {
		t.Fatal(err)
	}
	if other, err = load(dev); err != nil {
		t.Fatal(err)
	}
	return host, other
}

func TestModelLogits(t *testing.T) {
	models(t, func(t *testing.T, src checkpoint.Source) {
		for _, f := range formats {
			for _, set := range sets(t) {
				t.Run(f.String()+"/"+set, func(t *testing.T) {
					dt := f.t
					host, dev := pair(t, stored{src, dt}, openSet(t, orders[0], set), f.eight)
					checkLogits(t, host, dev, dt)
				})
			}
		}
	})
}

// checkLogits holds the logits of a prompt and of the four tokens after it to the host's.
func checkLogits(t *testing.T, host, dev *model.Model, dt checkpoint.DType) {
	t.Helper()
	n := min(20, host.Config.MaxPositions)
	tokens := make([]int, n)
	for i := range tokens {
		tokens[i] = (i*i*37 + 1) % host.Config.VocabSize
	}
	want, got := logits(t, host, tokens, n-4), logits(t, dev, tokens, n-4)
	w := worst{what: "logits"}
	for i := range want {
		tol := tolerance.Logits(dt, len(host.Config.Layers), largest(want[i]))
		for j, v := range want[i] {
			w.see(i, j, float64(v), float64(got[i][j]), tol)
		}
	}
	t.Logf("worst: position and token %v: %g and %g, %.0f %% of the tolerance", w.at, w.want, w.got, 100*w.share)
	w.report(t)
}

// largestMagnitude returns the largest absolute value.
func largest(z []float32) (top float64) {
	for _, v := range z {
		top = max(top, math.Abs(float64(v)))
	}
	return top
}

// Greedy tokens equal the host's up to the first step whose two largest logits are closer than
// the tolerance. After the host's tokens, every compared step has the same token again.
func TestGreedyText(t *testing.T) {
	compared := 0
	models(t, func(t *testing.T, src checkpoint.Source) {
		for _, dt := range types {
			host, dev := pair(t, stored{src, dt}, open(t, orders[0]), false)
			compared += checkGreedyText(t, host, dev, dt, 40)
		}
	})
	if want := 600; compared < want {
		t.Errorf("want %d steps to compare, got %d", want, compared)
	}
}

// checkGreedyText gives the number of steps whose two largest logits are apart.
func checkGreedyText(t *testing.T, host, dev *model.Model, dt checkpoint.DType, steps int) (compared int) {
	t.Helper()
	steps = min(steps, host.Config.MaxPositions-2)
	text := func(m *model.Model) (tokens []int) {
		cache, err := kvcache.NewSequences(m.Device(), m.Config, 1, steps+2)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cache.Close)
		if err := generate.Run(context.Background(), m, cache, [][]int{{1}}, generate.Options{MaxTokens: steps, IgnoreEOS: true}, func(_, next []int) []int {
			tokens = append(tokens, next[0])
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	want, got := text(host), text(dev)
	forced := append([]int{1}, want[:len(want)-1]...)
	z, again := logits(t, host, forced, len(want)), logits(t, dev, forced, len(want))
	same := true
	for i := range want {
		token, margin := topTwo(z[i])
		if tol := tolerance.Logits(dt, len(host.Config.Layers), largest(z[i])); margin < tol {
			if same {
				t.Logf("%v: equal for %d steps; at step %d the two largest logits are %.3g apart, the tolerance is %.3g", dt, i, i, margin, tol)
			}
			same = false
			continue
		}
		compared++
		if same && got[i] != want[i] {
			t.Fatalf("%v: step %d: want token %d, got %d, though its logit is %g above the next", dt, i, want[i], got[i], margin)
		}
		if other, _ := topTwo(again[i]); other != token {
			t.Fatalf("%v: step %d after the host's text: want token %d, got %d, though its logit is %g above the next", dt, i, token, other, margin)
		}
	}
	t.Logf("%v: %d of %d steps compared", dt, compared, steps)
	return compared
}

// topTwo returns the argmax token and its distance from the second largest logit.
func topTwo(z []float32) (token int, margin float64) {
	top, second := math.Inf(-1), math.Inf(-1)
	for i, v := range z {
		if x := float64(v); x > top {
			token, top, second = i, x, top
		} else if x > second {
			second = x
		}
	}
	return token, top - second
}

// nlls returns the negative log-likelihood of the token after each position.
func nlls(t *testing.T, m *model.Model, tokens []int) []float64 {
	t.Helper()
	cache, err := kvcache.NewSequences(m.Device(), m.Config, 1, len(tokens))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Tokens: tokens}}}); err != nil {
		t.Fatal(err)
	}
	rows := make([]int, len(tokens)-1)
	for i := range rows {
		rows[i] = i
	}
	nll, err := m.NLL(rows, tokens[1:])
	if err != nil {
		t.Fatal(err)
	}
	return nll
}

// A checkpoint of several types is computed in the one of most bytes of its matrices;
// what is stored in another is rounded to it, and all that a model gives is the host's.
func TestMixedTypes(t *testing.T) {
	const F32, F16, BF16 = checkpoint.F32, checkpoint.F16, checkpoint.BF16
	has := func(parts ...string) func(string) bool {
		return func(name string) bool {
			return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(name, p) })
		}
	}
	for _, dir := range []string{"gqa-bf16", "tied-f16"} {
		src, err := checkpoint.Open("../../model/testdata/" + dir)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		for _, c := range []struct {
			what       string
			most, rest checkpoint.DType
			is         func(string) bool
		}{
			{"head", BF16, F16, has("lm_head")},
			{"head", F16, BF16, has("lm_head")},
			{"norms and table", F16, F32, has("norm", "embed")},
			{"norms", BF16, F32, has("norm")},
			{"norms", F16, BF16, has("norm")},
			{"last norm", BF16, F16, has("model.norm")},
			{"gates", BF16, F16, has("gate")},
			{"keys and values", F16, BF16, has("k_proj", "v_proj")},
			{"a layer", F16, BF16, has("layers.1.")},
			{"all but the norms", BF16, F32, has("proj", "embed", "head")},
		} {
			for _, eight := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s: %v, %s %v, int8 %v", dir, c.most, c.what, c.rest, eight), func(t *testing.T) {
					d := open(t, orders[0])
					host, dev := pair(t, mixed{stored{src, c.most}, c.rest, c.is}, d, eight)
					if got := d.computeType; got != c.most {
						t.Errorf("want it computed in %v, got %v", c.most, got)
					}
					checkLogits(t, host, dev, c.most)
					checkGreedyText(t, host, dev, c.most, 8)
					tokens := []int{1, 5, 7, 9, 3, 2}
					want := nlls(t, host, tokens)
					got := nlls(t, dev, tokens)
					z := logits(t, host, tokens, len(tokens))
					for i := range want {
						if tol := 2 * tolerance.Logits(c.most, len(host.Config.Layers), largest(z[i])); math.Abs(want[i]-got[i]) > tol {
							t.Errorf("nll at %d: want %g, got %g, tolerance %g", i, want[i], got[i], tol)
						}
					}
				})
			}
		}
	}
}

// A sequence has the same bits in a batch as alone, and a prompt the same bits in parts as
// whole.
func TestSameBitsInABatch(t *testing.T) {
	for _, set := range sets(t) {
		t.Run(set, func(t *testing.T) { sameBitsInABatch(t, openSet(t, orders[0], set)) })
	}
}

func sameBitsInABatch(t *testing.T, d *Device) {
	src, err := checkpoint.Open("../../model/testdata/different-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m, err := model.Load(d, src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	run := func(sequences int, passes ...[]model.Chunk) (out [][]float32) {
		cache, err := kvcache.NewSequences(d, m.Config, sequences, 90)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cache.Close)
		for i, chunks := range passes {
			pass := func() error { return m.Forward(model.Pass{Cache: cache, Chunks: chunks}) }
			if i == len(passes)-1 {
				pass = func() error { return m.Forward(model.Pass{Phase: device.Decode, Cache: cache, Chunks: chunks}) }
			}
			if err := pass(); err != nil {
				t.Fatal(err)
			}
		}
		rows := make([]int, len(passes[len(passes)-1]))
		for i := range rows {
			rows[i] = i
		}
		if err := m.Logits(rows, func(_ int, z []float32) error {
			out = append(out, append([]float32(nil), z...))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	long := make([]int, 80)
	for i := range long {
		long[i] = i * 7 % m.Config.VocabSize
	}
	alone := run(1, []model.Chunk{{Tokens: long}}, []model.Chunk{{Tokens: []int{3}}})
	parts := run(1, []model.Chunk{{Tokens: long[:13]}}, []model.Chunk{{Tokens: long[13:70]}}, []model.Chunk{{Tokens: long[70:]}}, []model.Chunk{{Tokens: []int{3}}})
	batch := run(11, []model.Chunk{{Slot: 4, Tokens: long}, {Slot: 0, Tokens: long[:5]}, {Slot: 9, Tokens: long[:66]}},
		[]model.Chunk{{Slot: 0, Tokens: []int{1}}, {Slot: 1, Tokens: []int{1}}, {Slot: 2, Tokens: []int{1}}, {Slot: 3, Tokens: []int{1}}, {Slot: 5, Tokens: []int{1}}, {Slot: 6, Tokens: []int{1}}, {Slot: 7, Tokens: []int{2}}, {Slot: 8, Tokens: []int{2}}, {Slot: 10, Tokens: []int{2}}, {Slot: 4, Tokens: []int{3}}})
	for i, v := range alone[0] {
		if v != parts[0][i] || v != batch[9][i] {
			t.Fatalf("token %d: want the same bits, got %g alone, %g in parts, %g in a batch", i, v, parts[0][i], batch[9][i])
		}
	}
}

// If only the last tokens of prompts pass through the whole last layer, these tokens and the
// keys and values have the bits of a whole pass.
func TestForwardLast(t *testing.T) {
	src, err := checkpoint.Open("../../model/testdata/different-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	d := open(t, orders[0])
	m, err := model.Load(d, src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	tokens := make([]int, 60)
	for i := range tokens {
		tokens[i] = i * 7 % m.Config.VocabSize
	}
	run := func(last bool) (out [][]float32) {
		cache, err := kvcache.NewSequences(d, m.Config, 2, 90)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cache.Close)
		keep := func(rows []int) {
			if err := m.Logits(rows, func(_ int, z []float32) error {
				out = append(out, append([]float32(nil), z...))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		chunks, rows := []model.Chunk{{Slot: 1, Tokens: tokens}, {Slot: 0, Tokens: tokens[:20]}}, []int{59, 79}
		if last {
			rows = []int{0, 1}
		}
		if err := m.Forward(model.Pass{Cache: cache, Chunks: chunks, LastOnly: last}); err != nil {
			t.Fatal(err)
		}
		keep(rows)
		if err := m.Forward(model.Pass{Phase: device.Decode, Cache: cache, Chunks: []model.Chunk{{Slot: 1, Tokens: []int{3}}, {Slot: 0, Tokens: []int{4}}}}); err != nil {
			t.Fatal(err)
		}
		keep([]int{0, 1})
		return out
	}
	want, got := run(false), run(true)
	for i := range want {
		if !slices.Equal(want[i], got[i]) {
			t.Fatalf("row %d: want the bits of a whole pass, got %v for %v", i, got[i], want[i])
		}
	}
}

// Sequences that are decoded by a graph, several at a time and one ending before the others,
// get the tokens that single steps give. The cache's length is the number of tokens that
// passed through the model.
func TestGraphDecode(t *testing.T) {
	src, err := checkpoint.Open("../../model/testdata/gqa-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	d := open(t, orders[len(orders)-1])
	m, err := model.Load(d, src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	prompts := [][]int{{1, 5, 9}, {2}, {7, 3}}
	const n = 12
	// The same device, that of choosing knows nothing.
	host, err := model.Load(struct{ device.Device }{d}, src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	if host.DecodesByGraph() || !m.DecodesByGraph() {
		t.Fatal("want a model whose tokens the device chooses, and one whose tokens the host does")
	}
	run := func(m *model.Model, prompts [][]int, stop int, o generate.Options) ([][]int, *kvcache.Cache) {
		out := make([][]int, len(prompts))
		cache, err := kvcache.NewSequences(d, m.Config, len(prompts), 20)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cache.Close)
		if err := generate.Run(context.Background(), m, cache, prompts, o, func(seqs, tokens []int) (done []int) {
			for i, s := range seqs {
				if out[s] = append(out[s], tokens[i]); s == 1 && len(out[s]) == stop {
					done = append(done, s)
				}
				if want := len(prompts[s]) + len(out[s]) - 1; cache.Len(s) != want {
					t.Errorf("sequence %d: want a cache of %d, got %d", s, want, cache.Len(s))
				}
			}
			return done
		}); err != nil {
			t.Fatal(err)
		}
		return out, cache
	}
	o := generate.Options{MaxTokens: n, IgnoreEOS: true}
	got, cache := run(m, prompts, 5, o)
	if len(got[1]) != 5 || len(got[0]) != n || len(got[2]) != n {
		t.Fatalf("want 5 tokens of sequence 1 and %d of the others, got %v", n, got)
	}
	for i := range prompts {
		if cache.Allocated(i) {
			t.Errorf("sequence %d: want its slot free", i)
		}
	}
	// What the device chooses is what the host chooses of the same logits.
	for _, by := range []generate.SamplingParams{
		{}, {RepetitionPenalty: 1.3}, {Temperature: 1, Seed: 3}, {Temperature: 1.2, TopK: 9, RepetitionPenalty: 1.1, Seed: 4}, {Temperature: 1.5, TopP: 0.8, MinP: 0.01, Seed: 5},
	} {
		o.SamplingParams = by
		own, _ := run(m, prompts, 0, o)
		want, _ := run(host, prompts, 0, o)
		for i := range prompts {
			if fmt.Sprint(own[i]) != fmt.Sprint(want[i]) {
				t.Errorf("%+v: sequence %d: want %v, got %v", by, i, want[i], own[i])
			}
		}
	}
	// Sampling: the same seed gives the same tokens, and each sequence the same as alone.
	o = generate.Options{MaxTokens: n, IgnoreEOS: true, SamplingParams: generate.SamplingParams{Temperature: 1.5, Seed: 7}}
	first, _ := run(m, prompts, 0, o)
	again, _ := run(m, prompts, 0, o)
	other := o
	other.Seed = 8
	third, _ := run(m, prompts, 0, other)
	alone, _ := run(m, prompts[:1], 0, o)
	if fmt.Sprint(first) != fmt.Sprint(again) || fmt.Sprint(first[0]) != fmt.Sprint(alone[0]) {
		t.Errorf("want the same samples by the same seed, got %v, %v and alone %v", first, again, alone)
	}
	if fmt.Sprint(first) == fmt.Sprint(third) || fmt.Sprint(first[0]) == fmt.Sprint(got[0]) {
		t.Errorf("want other samples by another seed, and other tokens than the argmax, got %v", first)
	}
	var over *kvcache.Cache
	if over, err = kvcache.NewSequences(d, m.Config, 1, 6); err != nil {
		t.Fatal(err)
	}
	said := 0
	err = generate.Run(context.Background(), m, over, [][]int{{1, 2}}, generate.Options{MaxTokens: 50, IgnoreEOS: true}, func(_, _ []int) []int { said++; return nil })
	if !errors.Is(err, model.ErrContext) || said != 5 {
		t.Errorf("want the context's end after 5 tokens, got %v after %d", err, said)
	}
}

// stepCounter counts the launches of a captured step.
type stepCounter struct {
	*Device
	launches int
}

func (c *stepCounter) Capture(rows device.DecodeRows, n, limit int, step func()) (device.DecodeGraph, error) {
	s, err := c.Device.Capture(rows, n, limit, step)
	if err == nil {
		c.launches = len(s.(*decodeGraph).recorder.calls)
	}
	return s, err
}

// A captured step has five launches for each layer with attention and MLP, and those of the
// embedding, the final norm, the LM head and sampling.
func TestLaunchesPerToken(t *testing.T) {
	src, err := checkpoint.Open("../../model/testdata/gqa-bf16")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	d := &stepCounter{Device: open(t, orders[0])}
	m, err := model.Load(d, src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	want := 4
	for _, s := range m.Config.Layers {
		if s.Heads > 0 {
			want += 3
		}
		if s.Intermediate > 0 {
			want += 2
		}
	}
	for _, by := range []generate.SamplingParams{{}, {RepetitionPenalty: 1.2}, {Temperature: 1, TopK: 5, TopP: 0.9, MinP: 0.01, RepetitionPenalty: 1.2}} {
		cache, err := kvcache.NewSequences(d, m.Config, 1, 20)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cache.Close)
		if err := generate.Run(context.Background(), m, cache, [][]int{{1, 2}}, generate.Options{MaxTokens: 4, IgnoreEOS: true, SamplingParams: by}, func(_, _ []int) []int { return nil }); err != nil {
			t.Fatal(err)
		}
		if d.launches != want {
			t.Errorf("%+v: want %d launches a token, got %d", by, want, d.launches)
		}
	}
}

// Without memory the error says how much was wanted, and the device can be used again.
func TestOutOfMemory(t *testing.T) {
	d := open(t, orders[0])
	_, err := d.Buffer(1<<20, 1<<20)
	if !errors.Is(err, device.ErrMemory) {
		t.Fatalf("want %v, got %v", device.ErrMemory, err)
	}
	t.Log(err)
	if err := d.Sync(); err != nil {
		t.Fatalf("the device is of no use any more: %v", err)
	}
	b, err := d.Buffer(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	d.Write(b, 0, []float32{1, 2, 3, 4, 5, 6})
	if got := read(d, b); got[5] != 6 {
		t.Errorf("want 6, got %v", got)
	}
}

// Memory that is freed can be allocated again, and a second Free does nothing.
func TestFreedMemoryIsUsedAgain(t *testing.T) {
	d := open(t, orders[0])
	free, err := d.driver.FreeMemory()
	if err != nil {
		t.Fatal(err)
	}
	const part = 1 << 20
	before := d.used
	for i := range 6 { // of which two fit
		b, err := d.Buffer(int(free/3/4/part)+1, part)
		if err != nil {
			t.Fatalf("buffer %d: %v", i, err)
		}
		b.Free()
		b.Free()
	}
	if d.used != before {
		t.Errorf("want %d bytes in use, got %d", before, d.used)
	}
}

// An operation on a buffer or a weight that was freed is an error.
func TestUseAfterFree(t *testing.T) {
	for _, what := range []string{"buffer", "weight"} {
		d := open(t, orders[0])
		x, y := floats(t, d, 2, 4, nil), floats(t, d, 2, 3, nil)
		w := matrix{rows: 3, cols: 4, v: make([]float64, 12), t: checkpoint.BF16}.place(t, d, false)
		if what == "buffer" {
			x.Free()
		} else {
			w.Free()
		}
		d.Linear(device.Prefill, y, x, 2, w)
		if err := d.Sync(); !errors.Is(err, device.ErrFreed) {
			t.Errorf("%s: want %v, got %v", what, device.ErrFreed, err)
		}
		d.err = nil
	}
}

// A failure names the operation, and the device keeps it.
func TestFailureIsKept(t *testing.T) {
	d := open(t, orders[0])
	x, err := d.Buffer(1, 4)
	if err != nil {
		t.Fatal(err)
	}
	w := matrix{rows: 2, cols: 4, v: make([]float64, 8), t: checkpoint.BF16}.place(t, d, false)
	d.Embed(x, w, []int{2})
	first := d.Sync()
	if first == nil || !strings.Contains(first.Error(), "embed: want a token below 2, got 2") {
		t.Fatalf("want the failure of embed, got %v", first)
	}
	d.Embed(x, w, []int{0})
	if again := d.Sync(); again != first {
		t.Errorf("want the first failure again, got %v", again)
	}
	d.err = nil
}
