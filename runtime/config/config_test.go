package config

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"mop/internal/sharedata"
)

func TestPresetParams(t *testing.T) {
	for name, want := range map[string]int64{
		"llama-2-7b": 6_738_415_616, "llama-2-13b": 13_015_864_320,
		"llama-3-8b": 8_030_261_248, "tinyllama-1.1b": 1_100_048_384,
	} {
		c, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Params(); got != want {
			t.Errorf("%s: want %d parameters, got %d", name, want, got)
		}
	}
	if _, err := Preset("gpt-5"); err == nil || !strings.Contains(err.Error(), "llama-3-8b") {
		t.Errorf("unknown preset: want an error that lists the known ones, got %v", err)
	}
}

func TestRealConfigs(t *testing.T) {
	for file, preset := range map[string]string{
		"hf-configs/Llama-2-7b-chat-hf/config.json": "llama-2-7b",
		"hf-configs/Meta-Llama-3-8B/config.json":    "llama-3-8b",
		"hf-tinyllama-1.1b-chat/config.json":        "tinyllama-1.1b",
	} {
		t.Run(preset, func(t *testing.T) {
			c, err := Load(sharedata.Path(t, file))
			if err != nil {
				t.Fatal(err)
			}
			p, _ := Preset(preset)
			if !reflect.DeepEqual(c.Layers, p.Layers) || c.Params() != p.Params() || c.RopeTheta != p.RopeTheta || c.MaxPositions != p.MaxPositions {
				t.Errorf("want the preset's shapes, got %d parameters, theta %v, %d positions", c.Params(), c.RopeTheta, c.MaxPositions)
			}
		})
	}
}

// A config of random shapes, written and read, is the same config.
func TestWriteRead(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		c := &Config{Vocab: 1 + rng.IntN(999), Dim: 1 + rng.IntN(99), HeadDim: 2 * (1 + rng.IntN(8)), RopeTheta: 1e4, NormEps: 1e-5,
			MaxPositions: 1 + rng.IntN(99), Tied: rng.IntN(2) == 0, BOS: rng.IntN(3) - 1, DType: "bfloat16"}
		for range 1 + rng.IntN(6) {
			k := rng.IntN(3)
			c.Layers = append(c.Layers, LayerShape{Heads: k * (1 + rng.IntN(2)), KVHeads: k, HeadDim: c.HeadDim, MLP: rng.IntN(4)})
		}
		if rng.IntN(2) == 0 {
			c.RopeScaling = &RopeScaling{"llama3", 8, 1, 4, 64}
			c.EOS = []int{3, 4}
		}
		data, err := Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(data)
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if !reflect.DeepEqual(got, c) {
			t.Fatalf("want %+v\ngot  %+v\n%s", c, got, data)
		}
	}
}

func TestRefused(t *testing.T) {
	base := `"hidden_size":8,"vocab_size":9,"num_hidden_layers":2,"num_attention_heads":2,"intermediate_size":4`
	if _, err := Parse([]byte("{" + base + "}")); err != nil {
		t.Fatal(err)
	}
	for add, want := range map[string]string{
		`"hidden_act":"gelu"`:                              "hidden_act",
		`"attention_bias":true`:                            "attention_bias",
		`"rope_scaling":{"rope_type":"yarn","factor":2}`:   "yarn",
		`"rope_scaling":{"type":"linear","factor":0.5}`:    "factor",
		`"model_type":"mistral"`:                           "mistral",
		`"quantization_config":{"bits":4}`:                 "quantization_config",
		`"num_key_value_heads":3`:                          "divide",
		`"vocab_size":10`:                                  "twice",
		`"head_dim":3`:                                     "even",
		`"head_dim":1e9`:                                   "head_dim",
		`"per_layer_config":{"2":{}}`:                      `"2"`,
		`"per_layer_config":{"01":{}}`:                     `"01"`,
		`"per_layer_config":{"1":{"skip":["norm"]}}`:       "skip",
		`"per_layer_config":{"1":{"hidden_size":4}}`:       "hidden_size",
		`"per_layer_config":{"1":{"intermediate_size":0}}`: "intermediate_size",
		`"torch_dtype":"int8"`:                             "int8",
		`"block_configs":[]`:                               "block_configs",
	} {
		if _, err := Parse([]byte("{" + base + "," + add + "}")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want an error with %q, got %v", add, want, err)
		}
	}
	for _, text := range []string{"", "null", "[]", "{", "{} {}", `{"num_hidden_layers":1000000000}`, strings.Repeat(`{"a":`, 1000)} {
		if c, err := Parse([]byte(text)); err == nil {
			t.Errorf("%.20q: want an error, got %+v", text, c)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"hidden_size":8,"vocab_size":9,"num_hidden_layers":2,"num_attention_heads":2,"intermediate_size":4,"per_layer_config":{"1":{"skip":["mlp"]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		again, err := Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Parse(again)
		if err != nil {
			t.Fatalf("%v\n%s", err, again)
		}
		if !reflect.DeepEqual(c.Layers, d.Layers) || c.Params() != d.Params() {
			t.Fatalf("want %+v, got %+v", c, d)
		}
	})
}
