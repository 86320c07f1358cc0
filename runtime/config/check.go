package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Bounds far above those of real models. They keep memory in proportion to the file,
// and every product of sizes within int64.
const (
	maxFile   = 16 << 20 // bytes of a config.json
	maxLayers = 10_000
	maxSize   = 1 << 24 // any one size, in elements; token ids and positions
	maxHead   = 1 << 16 // head_dim
	maxParams = 1 << 50
)

// Check is an error for a config that cannot run, whether it was read or built in
// code, and for sizes far above those of real models.
func (c *Config) Check() error {
	for _, s := range []struct {
		name    string
		n, most int
	}{
		{"vocab_size", c.VocabSize, maxSize}, {"hidden_size", c.HiddenSize, maxSize}, {"head_dim", c.HeadDim, maxHead},
		{"max_position_embeddings", c.MaxPositions, maxSize},
	} {
		if s.n < 1 || s.n > s.most {
			return fmt.Errorf("%s: want 1 to %d, got %d", s.name, s.most, s.n)
		}
	}
	if c.HeadDim%2 != 0 {
		return fmt.Errorf("head_dim: want an even number, got %d", c.HeadDim)
	}
	if !slices.Contains([]string{"float32", "float16", "bfloat16"}, c.DType) {
		return fmt.Errorf("dtype: want float32, float16 or bfloat16, got %s", show(c.DType))
	}
	if !(c.NormEps > 0 && c.NormEps < 1) {
		return fmt.Errorf("rms_norm_eps: want a value in (0, 1), got %v", c.NormEps)
	}
	if err := c.checkRope(); err != nil {
		return err
	}
	if c.BOS < -1 || c.BOS > maxSize {
		return fmt.Errorf("bos_token_id: want an id, or -1 for none, got %d", c.BOS)
	}
	for _, id := range c.EOS {
		if id < 0 || id > maxSize {
			return fmt.Errorf("eos_token_id: want ids from 0 to %d, got %d", maxSize, id)
		}
	}
	return c.checkLayers()
}

func (c *Config) checkLayers() error {
	if len(c.Layers) == 0 {
		return errors.New("num_hidden_layers: want at least one layer, got none")
	}
	if len(c.Layers) > maxLayers {
		return fmt.Errorf("num_hidden_layers: want at most %d, got %d", maxLayers, len(c.Layers))
	}
	params := 2 * float64(c.VocabSize) * float64(c.HiddenSize)
	for l, s := range c.Layers {
		switch {
		case s.HeadDim != c.HeadDim:
			return fmt.Errorf("layer %d: want the model's head_dim %d, got %d", l, c.HeadDim, s.HeadDim)
		case s.Heads < 0 || s.KVHeads < 0 || s.Heads > maxSize/s.HeadDim || s.Intermediate < 0 || s.Intermediate > maxSize:
			return fmt.Errorf("layer %d: want heads*head_dim and mlp up to %d, got %d*%d and %d", l, maxSize, s.Heads, s.HeadDim, s.Intermediate)
		case (s.Heads == 0) != (s.KVHeads == 0) || s.Heads > 0 && s.Heads%s.KVHeads != 0:
			return fmt.Errorf("layer %d: want kv heads that divide the heads, got %d and %d", l, s.KVHeads, s.Heads)
		}
		params += float64(s.Params(c.HiddenSize))
	}
	if params > maxParams {
		return fmt.Errorf("want at most %d parameters, got %.3g", int64(maxParams), params)
	}
	return nil
}

func (c *Config) checkRope() error {
	if !(c.RopeTheta >= 1 && c.RopeTheta <= 1e18) {
		return fmt.Errorf("rope_theta: want 1 to 1e18, got %v", c.RopeTheta)
	}
	r := c.RopeScaling
	if r == nil {
		return nil
	}
	if !(r.Factor >= 1 && r.Factor <= 1e9) {
		return fmt.Errorf("rope_scaling: factor: want 1 to 1e9, got %v", r.Factor)
	}
	switch r.Type {
	case "linear", "dynamic":
		if *r != (RopeScaling{Type: r.Type, Factor: r.Factor}) {
			return fmt.Errorf("rope_scaling: want only a factor for type %s", r.Type)
		}
	case "llama3":
		if !(r.LowFreqFactor > 0 && r.HighFreqFactor > r.LowFreqFactor && !math.IsInf(r.HighFreqFactor, 0)) {
			return fmt.Errorf("rope_scaling: want 0 < low_freq_factor < high_freq_factor, got %v and %v", r.LowFreqFactor, r.HighFreqFactor)
		}
		if r.OriginalPositions < 1 || r.OriginalPositions > maxSize {
			return fmt.Errorf("rope_scaling: original_max_position_embeddings: want 1 to %d, got %d", maxSize, r.OriginalPositions)
		}
	default:
		return fmt.Errorf("rope_scaling: rope type: want default, linear, dynamic or llama3, got %s", show(r.Type))
	}
	return nil
}
