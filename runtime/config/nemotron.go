package config

import (
	_ "embed" // the remote code
	"errors"
	"fmt"
	"math"
)

// TypeNemotronNAS is a value of HFType for mop export nemotron-nas.
const TypeNemotronNAS = "nemotron-nas"

const nemotronArchitecture = "DeciLMForCausalLM"

// nemotronCodeFile is the Python file beside the config.json of an exported model. vLLM
// has the network, but no config class for it.
const nemotronCodeFile = "configuration_nemotron_nas.py"

//go:embed configuration_nemotron_nas.py
var nemotronCode []byte

// nemotronBlocks is the inverse of blocks, with the intermediate size itself in place of
// ffn_mult, which gives only multiples of 256. All layers with attention have the same
// number of query heads in this form: heads.
func (c *Config) nemotronBlocks() (heads int, blocks []any, err error) {
	first := -1
	for l, s := range c.Layers {
		attention := map[string]any{"n_heads_in_group": nil, "no_op": s.Heads == 0, "replace_with_linear": false}
		ffn := map[string]any{"no_op": s.Intermediate == 0, "replace_with_linear": false}
		if s.Heads > 0 {
			if first < 0 {
				first, heads = l, s.Heads
			}
			if s.Heads != heads {
				return 0, nil, fmt.Errorf("layer %d: want %d query heads, as layer %d has, got %d: %s has one number of query heads for all layers with attention",
					l, heads, first, s.Heads, TypeNemotronNAS)
			}
			attention["n_heads_in_group"] = s.Heads / s.KVHeads
		}
		if s.Intermediate > 0 {
			if first < 0 {
				return 0, nil, fmt.Errorf("layer %d: has an MLP, but neither it nor a layer before it has attention: vLLM's code for %s fails there; vLLM serves the model itself with --trust-remote-code",
					l, TypeNemotronNAS)
			}
			ffn["intermediate_size"] = s.Intermediate
		}
		blocks = append(blocks, map[string]any{"attention": attention, "ffn": ffn})
	}
	if first < 0 {
		return 0, nil, errors.New("no layer has attention, which " + TypeNemotronNAS + " cannot express")
	}
	return heads, blocks, nil
}

// blocks applies the block_configs of Nemotron-NAS (DeciLM): for each layer the query
// heads per KV head, and the intermediate size, given as intermediate_size or as a
// multiple of the hidden size,
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
	s.Intermediate = ffn.intermediate(hidden)
	if act := ffn.str("hidden_act", "silu"); act != "silu" && act != "swish" {
		ffn.fail("hidden_act: want silu, got %s", show(act))
	}
	attention.rest()
	ffn.rest()
	if attention.err != nil {
		return attention.err
	}
	return ffn.err
}

// intermediate is the intermediate size of an ffn block, 0 for no_op; hidden is D.
func (f *fields) intermediate(hidden int) int {
	skip := f.boolean("no_op", false)
	hasMult, hasSize := f.has("ffn_mult"), f.has("intermediate_size")
	mult, size := f.num("ffn_mult", 0), f.size("intermediate_size", 0, 0)
	switch {
	case skip:
		return 0
	case hasMult && !(mult > 0 && mult < 1000):
		f.fail("ffn_mult: want a number above 0, got %v", mult)
	case hasMult:
		rounded := (int(math.Trunc(2*mult*float64(hidden)/3)) + 255) / 256 * 256
		if hasSize && size != rounded {
			f.fail("intermediate_size: want %d, which follows from ffn_mult %v, or no ffn_mult; got %d", rounded, mult, size)
		}
		return rounded
	case size < 1:
		f.fail("want an intermediate_size or an ffn_mult above 0, or no_op")
	}
	return size
}
