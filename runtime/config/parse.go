package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
)

// Bounds that no real model comes near; they keep products within int64 and
// allocations within reason.
const (
	maxLayers = 10_000
	maxWidth  = 1 << 24
)

// Load reads a config.json.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse reads the text of a config.json of the LLaMA family: LLaMA-2, LLaMA-3,
// mop's own heterogeneous form, Nemotron's block_configs. What would change the
// forward pass and is not known is refused, never ignored.
func Parse(data []byte) (*Config, error) {
	if err := CheckJSON(data); err != nil {
		return nil, err
	}
	var raw map[string]any
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if raw == nil {
		return nil, errors.New("want a JSON object, got null")
	}
	f := &fields{raw: raw}
	c := &Config{}
	modelType := f.str("model_type", "llama")
	if !slices.Contains([]string{"llama", hetType, "nemotron-nas"}, modelType) {
		f.fail("model_type: want llama, %s or nemotron-nas, got %q", hetType, modelType)
	}
	if a, ok := raw["architectures"].([]any); ok && len(a) > 0 {
		switch a[0] {
		case "LlamaForCausalLM", hetArchitecture, "DeciLMForCausalLM":
		default:
			f.fail("architectures: want LlamaForCausalLM or %s, got %v", hetArchitecture, a[0])
		}
	}
	delete(raw, "architectures")
	delete(raw, "auto_map")
	delete(raw, "transformers_version")
	f.refuse()

	c.Vocab = f.size("vocab_size", 0, 1)
	c.Dim = f.size("hidden_size", 0, 1)
	layers := f.size("num_hidden_layers", 0, 1)
	if layers > maxLayers {
		f.fail("num_hidden_layers: want at most %d, got %d", maxLayers, layers)
		layers = 0
	}
	_, blocks := raw["block_configs"]
	heads := f.size("num_attention_heads", 0, 1)
	kv := heads
	if !blocks || raw["num_key_value_heads"] != nil {
		kv = f.size("num_key_value_heads", heads, 1)
	}
	c.HeadDim = f.size("head_dim", 0, 0)
	if c.HeadDim == 0 && heads > 0 {
		if c.Dim%heads != 0 {
			f.fail("head_dim: absent, and hidden_size %d is not a multiple of num_attention_heads %d", c.Dim, heads)
		}
		c.HeadDim = c.Dim / heads
	}
	mlp := 0
	if !blocks || raw["intermediate_size"] != nil {
		mlp = f.size("intermediate_size", 0, 1)
	}
	if f.err == nil {
		c.Layers = slices.Repeat([]LayerShape{{heads, kv, c.HeadDim, mlp}}, layers)
	}
	f.layers(c, modelType)
	f.blocks(c)
	f.rope(c)
	c.NormEps = f.num("rms_norm_eps", 1e-6)
	c.MaxPositions = f.size("max_position_embeddings", 2048, 1)
	c.Tied = f.boolean("tie_word_embeddings", false)
	c.BOS = f.size("bos_token_id", -1, -1)
	c.EOS = f.ids("eos_token_id")
	c.DType = f.str("torch_dtype", "")
	if d := f.str("dtype", ""); d != "" {
		c.DType = d
	}
	if c.DType == "" {
		c.DType = "float32"
	}
	if f.err != nil {
		return nil, f.err
	}
	if len(raw) > 0 {
		c.Extra = raw
	}
	return c, c.Check()
}

// Check refuses shapes that cannot run.
func (c *Config) Check() error {
	if c.HeadDim < 2 || c.HeadDim%2 != 0 {
		return fmt.Errorf("head_dim: want an even number of at least 2, got %d", c.HeadDim)
	}
	if !slices.Contains([]string{"float32", "float16", "bfloat16"}, c.DType) {
		return fmt.Errorf("dtype: want float32, float16 or bfloat16, got %q", c.DType)
	}
	if !(c.NormEps > 0 && c.NormEps < 1) {
		return fmt.Errorf("rms_norm_eps: want a value in (0, 1), got %v", c.NormEps)
	}
	if len(c.Layers) == 0 {
		return errors.New("want at least one layer, got none")
	}
	for l, s := range c.Layers {
		switch {
		case s.Heads < 0 || s.KVHeads < 0 || s.MLP < 0 || s.Heads > maxWidth || s.MLP > maxWidth || s.Heads*s.HeadDim > maxWidth:
			return fmt.Errorf("layer %d: sizes out of range: heads %d, kv heads %d, mlp %d", l, s.Heads, s.KVHeads, s.MLP)
		case (s.Heads == 0) != (s.KVHeads == 0) || s.Heads > 0 && s.Heads%s.KVHeads != 0:
			return fmt.Errorf("layer %d: want kv heads that divide the heads, got %d and %d", l, s.KVHeads, s.Heads)
		}
	}
	return nil
}

// fields takes known keys out of a JSON object and keeps the first error.
type fields struct {
	raw map[string]any
	err error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// take removes a key; null counts as absent.
func (f *fields) take(key string) (any, bool) {
	v, ok := f.raw[key]
	delete(f.raw, key)
	return v, ok && v != nil
}

func (f *fields) num(key string, absent float64) float64 {
	v, ok := f.take(key)
	if !ok {
		return absent
	}
	x, ok := v.(float64)
	if !ok || math.IsInf(x, 0) || math.IsNaN(x) {
		f.fail("%s: want a number, got %v", key, v)
	}
	return x
}

// size is a whole number from low to maxWidth; a key that is absent gives the
// default, and is an error where the default is below low.
func (f *fields) size(key string, absent, low int) int {
	if v, ok := f.raw[key]; !ok || v == nil {
		delete(f.raw, key)
		if absent < low {
			f.fail("%s: absent", key)
		}
		return absent
	}
	x := f.num(key, 0)
	if x != math.Trunc(x) || x < float64(low) || x > maxWidth {
		f.fail("%s: want a whole number from %d to %d, got %v", key, low, maxWidth, x)
		return absent
	}
	return int(x)
}

func (f *fields) str(key, absent string) string {
	v, ok := f.take(key)
	if !ok {
		return absent
	}
	s, ok := v.(string)
	if !ok {
		f.fail("%s: want a string, got %v", key, v)
	}
	return s
}

func (f *fields) boolean(key string, absent bool) bool {
	v, ok := f.take(key)
	if !ok {
		return absent
	}
	b, ok := v.(bool)
	if !ok {
		f.fail("%s: want true or false, got %v", key, v)
	}
	return b
}

// ids is one id or a list of ids.
func (f *fields) ids(key string) []int {
	v, ok := f.take(key)
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []int
	for _, v := range list {
		x, ok := v.(float64)
		if !ok || x != math.Trunc(x) || x < 0 || x > maxWidth {
			f.fail("%s: want ids, got %v", key, v)
			return nil
		}
		out = append(out, int(x))
	}
	return out
}

// refuse fails on every key whose value would change the forward pass in a way
// that is not built.
func (f *fields) refuse() {
	if act := f.str("hidden_act", "silu"); act != "silu" {
		f.fail("hidden_act: want silu, got %q", act)
	}
	for _, key := range []string{"attention_bias", "mlp_bias"} {
		if f.boolean(key, false) {
			f.fail("%s: biases are not supported", key)
		}
	}
	for _, key := range []string{"quantization_config", "sliding_window"} {
		if v, ok := f.take(key); ok {
			f.fail("%s: not supported, got %v", key, v)
		}
	}
	if p := f.num("partial_rotary_factor", 1); p != 1 {
		f.fail("partial_rotary_factor: want 1, got %v", p)
	}
}

// rope reads the rotary base and its scaling, in the older form (rope_theta,
// rope_scaling) or the newer (rope_parameters).
func (f *fields) rope(c *Config) {
	c.RopeTheta = f.num("rope_theta", 10000)
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		v, ok := f.take(key)
		if !ok {
			continue
		}
		m, ok := v.(map[string]any)
		if !ok {
			f.fail("%s: want an object, got %v", key, v)
			return
		}
		g := &fields{raw: m}
		kind := g.str("type", "")
		kind = g.str("rope_type", kind)
		c.RopeTheta = g.num("rope_theta", c.RopeTheta)
		r := &RopeScaling{Type: kind}
		switch kind {
		case "default", "":
			r = nil
		case "linear":
			r.Factor = g.num("factor", 0)
		case "llama3":
			r.Factor = g.num("factor", 0)
			r.LowFreqFactor = g.num("low_freq_factor", 0)
			r.HighFreqFactor = g.num("high_freq_factor", 0)
			r.OriginalPositions = g.size("original_max_position_embeddings", 0, 1)
			if !(r.LowFreqFactor > 0 && r.HighFreqFactor > r.LowFreqFactor) {
				g.fail("want 0 < low_freq_factor < high_freq_factor, got %v and %v", r.LowFreqFactor, r.HighFreqFactor)
			}
		default:
			g.fail("rope type: want default, linear or llama3, got %q", kind)
		}
		if r != nil && !(r.Factor >= 1) {
			g.fail("factor: want at least 1, got %v", r.Factor)
		}
		if g.err == nil && kind != "" {
			for key := range m {
				g.fail("unknown key %q for rope type %q", key, kind)
			}
		}
		if g.err != nil {
			f.fail("%s: %w", key, g.err)
			return
		}
		c.RopeScaling = r
	}
	if !(c.RopeTheta > 0) {
		f.fail("rope_theta: want above 0, got %v", c.RopeTheta)
	}
}
