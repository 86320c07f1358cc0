package vision

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"mop/runtime/config"
	"mop/runtime/device"
)

// Config is the shape of a vision tower and of the projector behind it.
type Config struct {
	HiddenSize   int // of the tower
	Intermediate int
	Layers       int
	Heads        int
	ImageSize    int // pixels of a side
	PatchSize    int
	NormEps      float64
	Activation   device.Activation

	// FeatureLayers are the hidden states that are the features: 0 is the input of the
	// first layer, n the output of layer n. Several stand side by side.
	FeatureLayers []int
	KeepClass     bool // the class token's feature is one of them

	ProjectorActivation device.Activation

	// ImageToken is the token that stands for an image in a prompt, -1 = the config names
	// none: LLaVA's own code looks for the text <image>.
	ImageToken int
}

// Patches is the number of patches of a picture.
func (c *Config) Patches() int { return (c.ImageSize / c.PatchSize) * (c.ImageSize / c.PatchSize) }

// Tokens is the number of embeddings that a picture becomes.
func (c *Config) Tokens() int {
	if c.KeepClass {
		return c.Patches() + 1
	}
	return c.Patches()
}

// FeatureSize is the number of elements of a patch's features.
func (c *Config) FeatureSize() int { return c.HiddenSize * len(c.FeatureLayers) }

// ErrNone means that a model has no vision tower.
var ErrNone = errors.New("the model has no vision tower: want a LLaVA")

// activations are transformers' names.
func activation(name string) (device.Activation, error) {
	switch name {
	case "quick_gelu":
		return device.QuickGELU, nil
	case "gelu":
		return device.GELU, nil
	case "gelu_pytorch_tanh", "gelu_new":
		return device.GELUTanh, nil
	}
	return 0, fmt.Errorf("want quick_gelu, gelu or gelu_pytorch_tanh, got %q", name)
}

// keys reads values of a config and keeps the first error.
type keys struct {
	raw map[string]any
	err error
}

func (k *keys) int(name string, absent int) int {
	n, ok := number(k.raw[name])
	switch {
	case k.raw[name] == nil:
		return absent
	case !ok || n != math.Trunc(n) || math.Abs(n) > 1e6:
		k.fail("%s: want an integer, got %v", name, k.raw[name])
		return absent
	}
	return int(n)
}

func (k *keys) string(name, absent string) string {
	switch v := k.raw[name].(type) {
	case nil:
		return absent
	case string:
		return v
	}
	k.fail("%s: want a string, got %v", name, k.raw[name])
	return absent
}

func (k *keys) fail(format string, args ...any) {
	if k.err == nil {
		k.err = fmt.Errorf(format, args...)
	}
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case float64:
		return v, true
	case int:
		return float64(v), true
	}
	return 0, false
}

// ParseConfig reads the shapes from a LLaVA's config.json: vision_config of transformers'
// layout, or the mm_ keys of LLaVA's own releases. The latter name the tower only, so its
// sizes are those of the stored tensors; tensors maps their names, see towerName, to their
// shapes.
func ParseConfig(c *config.Config, tensors map[string][]int) (*Config, error) {
	if c.Multimodal == nil {
		return nil, ErrNone
	}
	outer := &keys{raw: c.Multimodal}
	v := &Config{ImageToken: outer.int("image_token_index", outer.int("image_token_id", -1)), ProjectorActivation: device.GELU}
	inner, hasVision := c.Multimodal["vision_config"].(map[string]any)
	switch {
	case hasVision:
		v.parseTower(inner, outer)
	case c.Multimodal["mm_vision_tower"] != nil:
		v.fromTensors(tensors, outer)
	default: // transformers' default
		v.parseTower(map[string]any{"hidden_size": 1024., "intermediate_size": 4096., "num_hidden_layers": 24., "num_attention_heads": 16., "image_size": 336., "patch_size": 14.}, outer)
	}
	if c.Multimodal["mm_vision_tower"] != nil {
		v.releaseKeys(outer)
	} else {
		v.wrapperKeys(outer)
	}
	if outer.err == nil {
		outer.err = v.check()
	}
	if outer.err != nil {
		return nil, fmt.Errorf("config.json: vision tower: %w", outer.err)
	}
	return v, nil
}

// parseTower reads vision_config. Absent keys have the defaults of CLIPVisionConfig.
func (v *Config) parseTower(raw map[string]any, outer *keys) {
	k := &keys{raw: raw}
	if kind := k.string("model_type", "clip_vision_model"); kind != "clip_vision_model" && kind != "clip" {
		k.fail("model_type: want clip_vision_model, got %q", kind)
	}
	v.HiddenSize, v.Intermediate = k.int("hidden_size", 768), k.int("intermediate_size", 3072)
	v.Layers, v.Heads = k.int("num_hidden_layers", 12), k.int("num_attention_heads", 12)
	v.ImageSize, v.PatchSize = k.int("image_size", 224), k.int("patch_size", 32)
	if n := k.int("num_channels", 3); n != 3 {
		k.fail("num_channels: want 3, got %d", n)
	}
	v.NormEps = 1e-5
	if eps, ok := number(raw["layer_norm_eps"]); ok && eps >= 0 {
		v.NormEps = eps
	}
	var err error
	if v.Activation, err = activation(k.string("hidden_act", "quick_gelu")); err != nil {
		k.fail("hidden_act: %w", err)
	}
	if outer.err == nil {
		outer.err = k.err
	}
}

// headSize is that of all of OpenAI's CLIP models.
const headSize = 64

// fromTensors derives the sizes from the stored tensors.
func (v *Config) fromTensors(tensors map[string][]int, outer *keys) {
	patch, position, up := tensors["embeddings.patch_embedding.weight"], tensors["embeddings.position_embedding.weight"], tensors["encoder.layers.0.mlp.fc1.weight"]
	if len(patch) != 4 || len(position) != 2 || len(up) != 2 {
		outer.fail("the checkpoint holds no tensors of the tower that mm_vision_tower names, %v: save the model together with its vision tower", outer.raw["mm_vision_tower"])
		return
	}
	v.HiddenSize, v.PatchSize, v.Intermediate = patch[0], patch[2], up[0]
	v.ImageSize = int(math.Sqrt(float64(position[0]-1))) * v.PatchSize
	if v.Heads = v.HiddenSize / headSize; v.HiddenSize%headSize != 0 {
		outer.fail("hidden size: want a multiple of %d, that of CLIP's heads, got %d", headSize, v.HiddenSize)
	}
	for tensors[fmt.Sprintf("encoder.layers.%d.mlp.fc1.weight", v.Layers)] != nil {
		v.Layers++
	}
	v.NormEps, v.Activation = 1e-5, device.QuickGELU
}

// releaseKeys reads the keys of LLaVA's own releases.
func (v *Config) releaseKeys(k *keys) {
	v.FeatureLayers = []int{k.int("mm_vision_select_layer", -2)}
	switch s := k.string("mm_vision_select_feature", "patch"); s {
	case "patch":
	case "cls_patch":
		v.KeepClass = true
	default:
		k.fail("mm_vision_select_feature: want patch or cls_patch, got %q", s)
	}
	if use, ok := k.raw["mm_use_im_start_end"].(bool); ok && use {
		k.fail("mm_use_im_start_end: want false, got true")
	}
}

// wrapperKeys reads the keys of transformers' layout.
func (v *Config) wrapperKeys(k *keys) {
	switch layer := k.raw["vision_feature_layer"].(type) {
	case []any:
		for _, l := range layer {
			n, ok := number(l)
			if !ok {
				k.fail("vision_feature_layer: want integers, got %v", layer)
			}
			v.FeatureLayers = append(v.FeatureLayers, int(n))
		}
	default:
		v.FeatureLayers = []int{k.int("vision_feature_layer", -2)}
	}
	switch s := k.string("vision_feature_select_strategy", "default"); s {
	case "default":
	case "full":
		v.KeepClass = true
	default:
		k.fail("vision_feature_select_strategy: want default or full, got %q", s)
	}
	var err error
	if v.ProjectorActivation, err = activation(k.string("projector_hidden_act", "gelu")); err != nil {
		k.fail("projector_hidden_act: %w", err)
	}
}

// check refuses sizes that no tower has, and counts feature layers from the first one.
func (v *Config) check() error {
	for _, s := range []struct {
		name  string
		value int
	}{{"hidden_size", v.HiddenSize}, {"intermediate_size", v.Intermediate}, {"num_hidden_layers", v.Layers}, {"num_attention_heads", v.Heads}, {"image_size", v.ImageSize}, {"patch_size", v.PatchSize}} {
		if s.value < 1 || s.value > 1<<16 {
			return fmt.Errorf("%s: want 1 to %d, got %d", s.name, 1<<16, s.value)
		}
	}
	if v.HiddenSize%v.Heads != 0 {
		return fmt.Errorf("hidden_size: want a multiple of num_attention_heads %d, got %d", v.Heads, v.HiddenSize)
	}
	if v.PatchSize > v.ImageSize || v.ImageSize > maxSide {
		return fmt.Errorf("image_size: want %d to %d, got %d", v.PatchSize, maxSide, v.ImageSize)
	}
	if len(v.FeatureLayers) == 0 {
		return errors.New("vision_feature_layer: want at least one layer")
	}
	v.FeatureLayers = slices.Clone(v.FeatureLayers)
	for i, l := range v.FeatureLayers {
		if l < 0 {
			l += v.Layers + 1
		}
		if l < 0 || l > v.Layers {
			return fmt.Errorf("vision_feature_layer: want %d to %d, got %d", -v.Layers-1, v.Layers, v.FeatureLayers[i])
		}
		v.FeatureLayers[i] = l
	}
	return nil
}
