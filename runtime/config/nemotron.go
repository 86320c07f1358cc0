package config

import "math"

// blocks applies the block_configs of Nemotron-NAS (DeciLM): for each layer the query
// heads per KV head, and the intermediate size as a multiple of the hidden size,
//
//	I = the smallest multiple of 256 that is at least floor(2*ffn_mult*D/3)
//
// or no_op for a block that is absent. Blocks replaced by a linear map, attention
// windows and sinks are refused.
func (f *fields) blocks(c *Config) {
	v, ok := f.take("block_configs")
	if !ok || f.err != nil {
		return
	}
	list, ok := v.([]any)
	if !ok || len(list) != len(c.Layers) {
		f.fail("block_configs: want a list of num_hidden_layers = %d, got %s", len(c.Layers), show(v))
		return
	}
	for l, v := range list {
		m, _ := v.(map[string]any)
		block := &fields{raw: m}
		attention, ffn := block.object("attention"), block.object("ffn")
		if block.rest(); block.err == nil && (attention == nil || ffn == nil) {
			block.fail("want attention and ffn, got %s", show(v))
		}
		if block.err == nil {
			block.err = c.Layers[l].block(c.HiddenSize, &fields{raw: attention}, &fields{raw: ffn})
		}
		if block.err != nil {
			f.fail("block_configs: layer %d: %w", l, block.err)
			return
		}
	}
}

func (s *LayerShape) block(hidden int, attention, ffn *fields) error {
	for _, b := range []struct {
		f     *fields
		flags []string // must be false
		none  []string // must be null
	}{
		{attention, []string{"replace_with_linear", "unshifted_sink", "use_prefill_window_in_sink_attention"}, []string{"num_sink_tokens", "sparsify", "window_length"}},
		{ffn, []string{"replace_with_linear"}, []string{"sparsify"}},
	} {
		for _, key := range b.flags {
			if b.f.boolean(key, false) {
				b.f.fail("%s: not supported", key)
			}
		}
		for _, key := range b.none {
			if v, ok := b.f.take(key); ok {
				b.f.fail("%s: not supported, got %s", key, show(v))
			}
		}
	}
	group, skip := attention.size("n_heads_in_group", 0, 0), attention.boolean("no_op", false)
	switch {
	case skip:
		s.Heads, s.KVHeads = 0, 0
	case group == 0 || s.Heads%group != 0:
		attention.fail("n_heads_in_group: want a divisor of %d, got %d", s.Heads, group)
	default:
		s.KVHeads = s.Heads / group
	}
	mult, skip := ffn.num("ffn_mult", 0), ffn.boolean("no_op", false)
	switch {
	case skip:
		s.Intermediate = 0
	case !(mult > 0 && mult < 1000):
		ffn.fail("ffn_mult: want a number above 0, got %v", mult)
	default:
		s.Intermediate = (int(math.Trunc(2*mult*float64(hidden)/3)) + 255) / 256 * 256
	}
	attention.rest()
	ffn.rest()
	if attention.err != nil {
		return attention.err
	}
	return ffn.err
}
