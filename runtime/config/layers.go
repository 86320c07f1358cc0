package config

import (
	_ "embed" // the remote code
	"strconv"
	"strings"
)

// A heterogeneous model is written with transformers' per_layer_config: the global keys
// hold the commonest shape, and an object overrides them for single layers,
// {"5": {"num_attention_heads": 3}, "11": {"skip": ["attention"]}}. The model type is
// mop's own, so that no reader mistakes the model for a plain LLaMA. auto_map names the
// classes of RemoteCodeFile, with which transformers and vLLM load it.
const (
	heterogeneousArchitecture = "MopLlamaForCausalLM"
	heterogeneousType         = "mop_llama"
)

// RemoteCodeFile is the Python file beside the config.json of a heterogeneous model, and
// llavaCodeFile that beside a LLaVA whose language model is one.
const (
	RemoteCodeFile = "modeling_mop_llama.py"
	llavaCodeFile  = "modeling_mop_llava.py"
)

var (
	//go:embed modeling_mop_llama.py
	remoteCode []byte
	//go:embed modeling_mop_llava.py
	llavaCode []byte
)

// RemoteCode holds the Python files that belong beside the config.json that Marshal writes,
// by name; none for a model that engines load without them.
func (c *Config) RemoteCode() map[string][]byte {
	switch {
	case c.WrittenType() == TypeNemotronNAS && c.Multimodal == nil:
		return map[string][]byte{nemotronCodeFile: nemotronCode}
	case c.WrittenType() == heterogeneousType && c.Multimodal == nil:
		return map[string][]byte{RemoteCodeFile: remoteCode}
	case c.WrittenType() == heterogeneousType && c.Nested():
		return map[string][]byte{RemoteCodeFile: remoteCode, llavaCodeFile: llavaCode}
	}
	return nil
}

// IsRemoteCode reports whether a file beside a model has a name that RemoteCode gives.
func IsRemoteCode(name string) bool {
	return name == RemoteCodeFile || name == llavaCodeFile || name == nemotronCodeFile
}

func autoMap() map[string]string {
	module := strings.TrimSuffix(RemoteCodeFile, ".py") + "."
	return map[string]string{
		"AutoConfig":           module + "MopLlamaConfig",
		"AutoModel":            module + "MopLlamaModel",
		"AutoModelForCausalLM": module + heterogeneousArchitecture,
	}
}

func llavaAutoMap() map[string]string {
	module := strings.TrimSuffix(llavaCodeFile, ".py") + "."
	return map[string]string{
		"AutoConfig":                  module + "MopLlavaConfig",
		"AutoModel":                   module + "MopLlavaModel",
		"AutoModelForImageTextToText": module + "MopLlavaForConditionalGeneration",
	}
}

// layers applies per_layer_config.
func (f *fields) layers(c *Config) {
	all := f.object("per_layer_config")
	if f.err != nil {
		return
	}
	seen := map[int]bool{}
	for _, key := range sortedKeys(all) {
		// transformers 5 pads the numbers with zeros to one width.
		n, err := strconv.ParseUint(key, 10, 31)
		l := int(n)
		if err != nil || l >= len(c.Layers) {
			f.fail("per_layer_config: want keys from \"0\" to \"%d\", got %s", len(c.Layers)-1, show(key))
			return
		}
		if seen[l] {
			f.fail("per_layer_config: layer %d stands twice", l)
			return
		}
		seen[l] = true
		m, ok := all[key].(map[string]any)
		if !ok {
			f.fail("per_layer_config: layer %d: want an object, got %s", l, show(all[key]))
			return
		}
		g := &fields{raw: m}
		g.layer(&c.Layers[l])
		if g.rest(); g.err != nil {
			f.fail("per_layer_config: layer %d: %w", l, g.err)
			return
		}
	}
}

func (f *fields) layer(s *LayerShape) {
	s.Heads = f.size("num_attention_heads", s.Heads, 1)
	s.KVHeads = f.size("num_key_value_heads", s.KVHeads, 1)
	s.Intermediate = f.size("intermediate_size", s.Intermediate, 1)
	v, ok := f.take("skip")
	if !ok {
		return
	}
	list, ok := v.([]any)
	if !ok {
		f.fail("skip: want a list, got %s", show(v))
		return
	}
	for _, block := range list {
		switch {
		case block == "attention" && s.Heads > 0:
			s.Heads, s.KVHeads = 0, 0
		case block == "mlp" && s.Intermediate > 0:
			s.Intermediate = 0
		default:
			f.fail("skip: want attention and mlp, each once at most, got %s", show(v))
		}
	}
}

// perLayer is the inverse of layers: the global shape and the overrides.
func (c *Config) perLayer() (LayerShape, map[string]any) {
	global := LayerShape{HeadDim: c.HeadDim}
	global.Heads = common(c.Layers, func(s LayerShape) int { return s.Heads })
	global.Intermediate = common(c.Layers, func(s LayerShape) int { return s.Intermediate })
	global.KVHeads = common(c.Layers, func(s LayerShape) int {
		if s.Heads != global.Heads {
			return 0 // so that some layer has the global pair
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
		if s.Intermediate == 0 {
			skip = append(skip, "mlp")
		} else if s.Intermediate != global.Intermediate {
			o["intermediate_size"] = s.Intermediate
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

// common is the commonest value above 0, and the largest among equally common ones. It
// is 1 where there is none, because transformers requires one.
func common(layers []LayerShape, value func(LayerShape) int) int {
	count := map[int]int{}
	best := 0
	for _, s := range layers {
		if v := value(s); v > 0 {
			count[v]++
		}
	}
	for v, n := range count {
		if best == 0 || n > count[best] || n == count[best] && v > best {
			best = v
		}
	}
	return max(best, 1)
}
