package gguf

import (
	"errors"
	"fmt"
	"math"

	"mop/runtime/config"
)

// Limits of the per-layer keys, so that a file's numbers are not multiplied before
// config.Check has seen them.
const (
	maxLayers = 10_000
	maxSize   = 1 << 24
)

// architectures that are read: llama, and deci, whose layers differ.
func (f *File) architecture() (string, error) {
	arch, err := f.Metadata.Text("general.architecture")
	switch {
	case err != nil:
		return "", err
	case arch == "llama" || arch == "deci":
		return arch, nil
	case arch == "":
		return "", errors.New("general.architecture: missing")
	}
	return "", fmt.Errorf("general.architecture: want llama or deci, got %q", clip(arch))
}

// refuseParts refuses the keys of parts that LLaMA does not have.
func (f *File) refuseParts(arch string) error {
	if n, _, err := f.Metadata.Int(arch + ".expert_count"); err != nil {
		return err
	} else if n != 0 {
		return fmt.Errorf("%s.expert_count: a mixture of experts is not supported", arch)
	}
	context, _, err := f.Metadata.Int(arch + ".context_length")
	if err != nil {
		return err
	}
	if n, _, err := f.Metadata.Int(arch + ".attention.sliding_window"); err != nil {
		return err
	} else if n != 0 && n < context {
		return fmt.Errorf("%s.attention.sliding_window: a window of %d within the context of %d is not supported", arch, n, context)
	}
	if causal, err := f.Metadata.Bool(arch+".attention.causal", true); err != nil {
		return err
	} else if !causal {
		return fmt.Errorf("%s.attention.causal: attention to later tokens is not supported", arch)
	}
	if x, found, err := f.Metadata.Float(arch + ".rope.scaling.attn_factor"); err != nil {
		return err
	} else if found && x != 1 {
		return fmt.Errorf("%s.rope.scaling.attn_factor: want 1, got %v", arch, x)
	}
	for _, key := range []string{".attention.scale", ".logit_scale", ".residual_scale", ".embedding_scale", ".attention.clamp_kqv"} {
		if x, _, err := f.Metadata.Float(arch + key); err != nil {
			return err
		} else if x != 0 {
			return fmt.Errorf("%s%s: LLaMA does not have it, and it is not supported", arch, key)
		}
	}
	return nil
}

// readConfig is the model's config, without its type. Vocabulary and what the metadata
// leave out come from the tensors.
func (f *File) readConfig() (*config.Config, error) {
	arch, err := f.architecture()
	if err != nil {
		return nil, err
	}
	if err := f.refuseParts(arch); err != nil {
		return nil, err
	}
	m := &f.Metadata
	var failed error
	size := func(key string, absent int64) int {
		n, ok, err := m.Int(arch + key)
		switch {
		case err != nil:
		case !ok && absent == 0:
			err = fmt.Errorf("%s%s: missing", arch, key)
		case !ok:
			n = absent
		case n < 1 || n > maxSize:
			err = fmt.Errorf("%s%s: want 1 to %d, got %d", arch, key, maxSize, n)
		}
		failed = errors.Join(failed, err)
		return int(n)
	}
	c := &config.Config{BOS: -1, HiddenSize: size(".embedding_length", 0), MaxPositions: size(".context_length", 0)}
	layers := size(".block_count", 0)
	if failed != nil {
		return nil, failed
	}
	if layers > maxLayers {
		return nil, fmt.Errorf("%s.block_count: want at most %d, got %d", arch, maxLayers, layers)
	}
	if err := f.layers(c, arch, layers); err != nil {
		return nil, err
	}
	var ok bool
	if c.NormEps, ok, err = m.Float(arch + ".attention.layer_norm_rms_epsilon"); err != nil {
		return nil, err
	} else if !ok {
		return nil, fmt.Errorf("%s.attention.layer_norm_rms_epsilon: missing", arch)
	}
	if err := f.rope(c, arch); err != nil {
		return nil, err
	}
	embed, ok := f.Tensor("token_embd.weight")
	if !ok {
		return nil, errors.New("token_embd.weight: missing")
	}
	c.VocabSize = embed.Shape[0]
	if n := size(".vocab_size", int64(c.VocabSize)); failed != nil {
		return nil, failed
	} else if n != c.VocabSize {
		return nil, fmt.Errorf("%s.vocab_size: want the %d rows of token_embd.weight, got %d", arch, c.VocabSize, n)
	}
	_, head := f.Tensor("output.weight")
	c.Tied = !head
	return c, nil
}

// layers reads the shapes of the layers: numbers for all, or arrays with one for each.
func (f *File) layers(c *config.Config, arch string, count int) error {
	read := func(key string, absent []int64) ([]int64, error) {
		list, err := f.Metadata.Ints(arch + key)
		switch {
		case err != nil:
			return nil, err
		case list == nil && absent == nil:
			return nil, fmt.Errorf("%s%s: missing", arch, key)
		case list == nil:
			return absent, nil
		}
		if v := f.Metadata.find(arch + key); !v.array {
			one := list[0]
			list = make([]int64, count)
			for i := range list {
				list[i] = one
			}
		}
		if len(list) != count {
			return nil, fmt.Errorf("%s%s: want %d entries, one for each layer, got %d", arch, key, count, len(list))
		}
		for l, n := range list {
			if n < 0 || n > maxSize {
				return nil, fmt.Errorf("%s%s: layer %d: want 0 to %d, got %d", arch, key, l, maxSize, n)
			}
		}
		return list, nil
	}
	heads, err := read(".attention.head_count", nil)
	if err != nil {
		return err
	}
	kv, err := read(".attention.head_count_kv", heads)
	if err != nil {
		return err
	}
	mlp, err := read(".feed_forward_length", nil)
	if err != nil {
		return err
	}
	if err := f.headDim(c, arch, int(heads[0])); err != nil {
		return err
	}
	for l := range count {
		s := config.LayerShape{Heads: int(heads[l]), KVHeads: int(kv[l]), HeadDim: c.HeadDim, Intermediate: int(mlp[l])}
		switch {
		case s.Heads == 0:
			s.KVHeads = 0
		case s.KVHeads == 0:
			return fmt.Errorf("layer %d: %d heads without KV heads: a linear layer in place of attention is not supported", l, s.Heads)
		}
		c.Layers = append(c.Layers, s)
	}
	return nil
}

// headDim finds the head size; without a key it is the hidden size over the heads of
// the first layer.
func (f *File) headDim(c *config.Config, arch string, heads int) error {
	m := &f.Metadata
	usual := int64(0)
	if heads > 0 {
		usual = int64(c.HiddenSize / heads)
	}
	n, ok, err := m.Int(arch + ".attention.key_length")
	if err != nil {
		return err
	}
	if !ok {
		if n, ok, err = m.Int(arch + ".rope.dimension_count"); err != nil {
			return err
		} else if !ok {
			n = usual
		}
	}
	if n < 1 || n > maxSize {
		return fmt.Errorf("%s.attention.key_length: want 1 to %d, got %d", arch, maxSize, n)
	}
	for _, key := range []string{".attention.value_length", ".rope.dimension_count"} {
		if other, ok, err := m.Int(arch + key); err != nil {
			return err
		} else if ok && other != n {
			return fmt.Errorf("%s%s: want the head size %d, got %d", arch, key, n, other)
		}
	}
	c.HeadDim = int(n)
	return nil
}

// rope reads the rotary base and its scaling: linear by keys, LLaMA-3's by the
// tensor of factors that llama.cpp divides the frequencies by.
func (f *File) rope(c *config.Config, arch string) error {
	m := &f.Metadata
	c.RopeTheta = 10000
	if theta, ok, err := m.Float(arch + ".rope.freq_base"); err != nil {
		return err
	} else if ok {
		c.RopeTheta = theta
	}
	kind, err := m.Text(arch + ".rope.scaling.type")
	if err != nil {
		return err
	}
	factor, ok, err := m.Float(arch + ".rope.scaling.factor")
	if err != nil {
		return err
	}
	if !ok {
		if factor, ok, err = m.Float(arch + ".rope.scale_linear"); err != nil { // the older key
			return err
		}
	}
	factors, scaled := f.Tensor("rope_freqs.weight")
	switch {
	case kind != "" && kind != "none" && kind != "linear":
		return fmt.Errorf("%s.rope.scaling.type: want none or linear, got %q", arch, clip(kind))
	case kind != "none" && ok && factor != 0 && factor != 1:
		if scaled {
			return errors.New("rope_freqs.weight beside linear scaling is not supported")
		}
		c.RopeScaling = &config.RopeScaling{Type: "linear", Factor: factor}
	case scaled:
		return f.llama3(c, factors)
	}
	return nil
}

// llama3 finds the parameters of LLaMA-3's scaling that give the stored factors, of
// which there is one for each frequency. The file does not hold them, and two of them
// follow only up to a common scale: the original context is taken to be 8192, as in
// all of LLaMA-3.
func (f *File) llama3(c *config.Config, t TensorInfo) error {
	const original = 8192
	if t.Type != F32 || len(t.Shape) != 1 || t.Shape[0] != c.HeadDim/2 {
		return fmt.Errorf("rope_freqs.weight: want F32 [%d], got %s %v", c.HeadDim/2, t.Type, t.Shape)
	}
	factors := make([]float32, t.Shape[0])
	widenF32(factors, t.Data)
	largest := float64(0)
	for _, x := range factors {
		largest = max(largest, float64(x))
	}
	if largest == 1 {
		return nil // no scaling
	}
	bare := *c
	bare.RopeScaling = nil
	frequencies := bare.InvFreq()
	if r, err := f.ownScaling(); err != nil {
		return err
	} else if r != nil {
		bare.RopeScaling = r
		if difference(frequencies, bare.InvFreq(), factors) < 1e-4 {
			c.RopeScaling = r
			return nil
		}
	}
	candidate := config.RopeScaling{Type: "llama3", Factor: shortest(float32(largest)), LowFreqFactor: 1, HighFreqFactor: 4, OriginalPositions: original}
	for range 2 {
		bare.RopeScaling = &candidate
		if worst := difference(frequencies, bare.InvFreq(), factors); worst < 1e-4 {
			c.RopeScaling = &candidate
			return nil
		}
		if low, high, ok := fitRamp(frequencies, factors, largest, original); ok {
			candidate.LowFreqFactor, candidate.HighFreqFactor = low, high
		}
	}
	return errors.New("rope_freqs.weight: these factors are not LLaMA-3's scaling for a context of 8192, and not supported")
}

// ownScaling reads the parameters that Export stores beside the factors, nil where
// there are none.
func (f *File) ownScaling() (*config.RopeScaling, error) {
	r := &config.RopeScaling{Type: "llama3"}
	var failed error
	all := true
	for _, p := range []struct {
		key  string
		into *float64
	}{{"factor", &r.Factor}, {"low_freq_factor", &r.LowFreqFactor}, {"high_freq_factor", &r.HighFreqFactor}} {
		x, ok, err := f.Metadata.Float(ownScaling + p.key)
		*p.into = x
		all, failed = all && ok, errors.Join(failed, err)
	}
	n, ok, err := f.Metadata.Int(ownScaling + "original_context_length")
	if failed = errors.Join(failed, err); failed != nil || !all || !ok {
		return nil, failed
	}
	if !(r.Factor >= 1 && r.LowFreqFactor > 0 && r.HighFreqFactor > r.LowFreqFactor) || n < 1 || n > maxSize {
		return nil, fmt.Errorf("%s: want factors of LLaMA-3's RoPE scaling, got %v and %d", ownScaling, *r, n)
	}
	r.OriginalPositions = int(n)
	return r, nil
}

// difference is the largest relative difference between stored factors and those by
// which a scaling divides the frequencies.
func difference(bare, scaled, factors []float32) float64 {
	worst := 0.0
	for i := range bare {
		d := math.Abs(float64(bare[i])/float64(scaled[i])/float64(factors[i]) - 1)
		if !(d <= worst) { // NaN is the worst
			worst = d
		}
	}
	return worst
}

// fitRamp solves for low_freq_factor and high_freq_factor from the factors between 1
// and the largest one: there 1/factor = (1-s)/largest + s, with the straight line
// s = (original/wavelength - low) / (high - low).
func fitRamp(frequencies, factors []float32, largest, original float64) (low, high float64, ok bool) {
	var xs, ys []float64
	for i, f := range factors {
		if y := (1/float64(f) - 1/largest) / (1 - 1/largest); y > 1e-4 && y < 1-1e-4 {
			xs, ys = append(xs, original*float64(frequencies[i])/(2*math.Pi)), append(ys, y)
		}
	}
	if len(xs) < 2 {
		return 0, 0, false
	}
	last := len(xs) - 1
	slope := (ys[0] - ys[last]) / (xs[0] - xs[last])
	low = xs[last] - ys[last]/slope
	return rounded(low), rounded(low + 1/slope), slope > 0 && low > 0
}

// rounded takes a fitted parameter to three decimals: released ones are such numbers.
func rounded(x float64) float64 { return math.Round(x*1000) / 1000 }
