package config

import (
	"math"
	"slices"
	"strconv"
)

// A model whose layers differ is written with transformers' per_layer_config:
// the global keys hold the commonest shape, and a sparse object overrides it by
// layer, {"5": {"num_attention_heads": 3}, "11": {"skip": ["attention"]}}.
const (
	hetArchitecture = "MopLlamaForCausalLM"
	hetType         = "mop_llama"
)

// layers applies per_layer_config.
func (f *fields) layers(c *Config, modelType string) {
	v, ok := f.take("per_layer_config")
	if !ok || f.err != nil {
		return
	}
	all, ok := v.(map[string]any)
	if !ok {
		f.fail("per_layer_config: want an object, got %v", v)
		return
	}
	for key, v := range all {
		l, err := strconv.Atoi(key)
		if err != nil || strconv.Itoa(l) != key || l < 0 || l >= len(c.Layers) {
			f.fail("per_layer_config: want keys from \"0\" to \"%d\", got %q", len(c.Layers)-1, key)
			return
		}
		m, ok := v.(map[string]any)
		if !ok {
			f.fail("per_layer_config: layer %d: want an object, got %v", l, v)
			return
		}
		g := &fields{raw: m}
		s := &c.Layers[l]
		s.Heads = g.size("num_attention_heads", s.Heads, 1)
		s.KVHeads = g.size("num_key_value_heads", s.KVHeads, 1)
		s.MLP = g.size("intermediate_size", s.MLP, 1)
		if v, ok := g.take("skip"); ok {
			list, ok := v.([]any)
			if !ok {
				g.fail("skip: want a list, got %v", v)
			}
			for _, block := range list {
				switch block {
				case "attention":
					s.Heads, s.KVHeads = 0, 0
				case "mlp":
					s.MLP = 0
				default:
					g.fail("skip: want attention or mlp, got %v", block)
				}
			}
		}
		for key := range m {
			g.fail("unknown key %q", key)
		}
		if g.err != nil {
			f.fail("per_layer_config: layer %d: %w", l, g.err)
			return
		}
	}
}

// perLayer is the inverse of layers: the global shape and the overrides.
func (c *Config) perLayer() (LayerShape, map[string]any) {
	global := LayerShape{
		Heads:   common(c.Layers, func(s LayerShape) int { return s.Heads }),
		KVHeads: 0, HeadDim: c.HeadDim,
		MLP: common(c.Layers, func(s LayerShape) int { return s.MLP }),
	}
	global.KVHeads = common(c.Layers, func(s LayerShape) int {
		if s.Heads != global.Heads {
			return 0
		}
		return s.KVHeads
	})
	over := map[string]any{}
	for l, s := range c.Layers {
		o := map[string]any{}
		var skip []string
		if s.Heads == 0 {
			skip = append(skip, "attention")
		} else {
			if s.Heads != global.Heads {
				o["num_attention_heads"] = s.Heads
			}
			if s.KVHeads != global.KVHeads {
				o["num_key_value_heads"] = s.KVHeads
			}
		}
		if s.MLP == 0 {
			skip = append(skip, "mlp")
		} else if s.MLP != global.MLP {
			o["intermediate_size"] = s.MLP
		}
		if skip != nil {
			o["skip"] = skip
		}
		if len(o) > 0 {
			over[strconv.Itoa(l)] = o
		}
	}
	return global, over
}

// common is the commonest value above 0, the larger of two equally common; 1
// where there is none, since transformers wants one.
func common(layers []LayerShape, value func(LayerShape) int) int {
	count := map[int]int{}
	best := 0
	for _, s := range layers {
		if v := value(s); v > 0 {
			count[v]++
			if best == 0 || count[v] > count[best] || count[v] == count[best] && v > best {
				best = v
			}
		}
	}
	return max(best, 1)
}

// blocks applies Nemotron-NAS's block_configs: KV heads by their group size,
// MLP widths as a multiple of the model's, rounded up to 256.
func (f *fields) blocks(c *Config) {
	v, ok := f.take("block_configs")
	if !ok || f.err != nil {
		return
	}
	list, ok := v.([]any)
	if !ok || len(list) != len(c.Layers) {
		f.fail("block_configs: want a list of %d layers, got %d", len(c.Layers), len(list))
		return
	}
	for l, v := range list {
		m, _ := v.(map[string]any)
		part := func(name string) *fields {
			raw, ok := m[name].(map[string]any)
			if !ok {
				f.fail("block_configs: layer %d: no %q", l, name)
			}
			return &fields{raw: raw}
		}
		s := &c.Layers[l]
		a, ffn := part("attention"), part("ffn")
		if f.err != nil {
			return
		}
		for _, g := range []*fields{a, ffn} {
			if g.boolean("replace_with_linear", false) {
				f.fail("block_configs: layer %d: replace_with_linear is not supported", l)
			}
			for _, key := range []string{"window_length", "num_sink_tokens", "unshifted_sink", "use_prefill_window_in_sink_attention"} {
				if v, ok := g.take(key); ok && v != false && v != 0.0 {
					f.fail("block_configs: layer %d: %s is not supported", l, key)
				}
			}
			delete(g.raw, "sparsify")
		}
		if a.boolean("no_op", false) {
			s.Heads, s.KVHeads = 0, 0
		} else if n := a.size("n_heads_in_group", 0, 1); n > 0 {
			if s.Heads%n != 0 {
				a.fail("n_heads_in_group: want a divisor of %d, got %d", s.Heads, n)
			} else {
				s.KVHeads = s.Heads / n
			}
		}
		if ffn.boolean("no_op", false) {
			s.MLP = 0
		} else if mult := ffn.num("ffn_mult", 0); mult > 0 && mult < 1000 {
			s.MLP = (int(math.Trunc(2*mult*float64(c.Dim)/3)) + 255) / 256 * 256
		} else if s.MLP == 0 {
			ffn.fail("ffn_mult: want a positive number, got %v", mult)
		}
		for _, err := range []error{a.err, ffn.err} {
			if err != nil {
				f.fail("block_configs: layer %d: %w", l, err)
			}
		}
	}
}

// Clone copies the config; the layers are its own.
func (c *Config) Clone() *Config {
	d := *c
	d.Layers = slices.Clone(c.Layers)
	return &d
}
