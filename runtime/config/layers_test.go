package config

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// randomConfig has layers of few different sizes, so that some agree, and
// blocks skipped.
func randomConfig(rng *rand.Rand) *Config {
	c := &Config{VocabSize: 1 + rng.IntN(999), HiddenSize: 1 + rng.IntN(99), HeadDim: 2 * (1 + rng.IntN(8)), RopeTheta: 1e4 * (1 + rng.Float64()), NormEps: 1e-5,
		MaxPositions: 1 + rng.IntN(99), Tied: rng.IntN(2) == 0, BOS: rng.IntN(3) - 1, DType: []string{"float32", "float16", "bfloat16"}[rng.IntN(3)]}
	kinds := 1 + rng.IntN(3)
	for range 1 + rng.IntN(12) {
		k := rng.IntN(kinds)
		c.Layers = append(c.Layers, LayerShape{Heads: k * (1 + rng.IntN(kinds)), KVHeads: k, HeadDim: c.HeadDim, Intermediate: rng.IntN(kinds) * 7})
	}
	if rng.IntN(4) == 0 {
		c.Layers = slices.Repeat([]LayerShape{{4, 2, c.HeadDim, 7}}, len(c.Layers))
	}
	switch rng.IntN(3) {
	case 1:
		c.RopeScaling = &RopeScaling{"llama3", 1 + rng.Float64(), rng.Float64() + 0.1, 4, 64}
		c.EOS = []int{3, 4}
	case 2:
		c.RopeScaling = &RopeScaling{Type: "linear", Factor: 2}
		c.EOS = []int{0}
		c.Extra = map[string]any{"use_cache": true, "x": []any{json.Number("1.50"), nil, "s"}}
	}
	return c
}

// A config, written and read, is the same config; the same config gives the same
// text; and only layers that differ are spelt out.
func TestWriteRead(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	plain, different := 0, 0
	for range 2000 {
		c := randomConfig(rng)
		text, err := Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !reflect.DeepEqual(got, c) {
			t.Fatalf("want %+v\ngot  %+v\n%s", c, got, text)
		}
		if again := must(Marshal(got)); string(again) != string(text) {
			t.Fatalf("want\n%s\ngot\n%s", text, again)
		}
		var raw struct {
			Architectures []string                  `json:"architectures"`
			ModelType     string                    `json:"model_type"`
			PerLayer      map[string]map[string]any `json:"per_layer_config"`
			AutoMap       map[string]string         `json:"auto_map"`
		}
		if err := json.Unmarshal(text, &raw); err != nil {
			t.Fatal(err)
		}
		if c.Uniform() {
			plain++
			wantType, wantClass := "llama", "LlamaForCausalLM"
			if c.HiddenSize%c.Layers[0].Heads != 0 {
				wantType, wantClass = "mistral", "MistralForCausalLM"
			}
			if raw.PerLayer != nil || raw.AutoMap != nil || raw.ModelType != wantType || raw.Architectures[0] != wantClass {
				t.Fatalf("uniform, but\n%s", text)
			}
			continue
		}
		different++
		if raw.ModelType != "mop_llama" || raw.Architectures[0] != "MopLlamaForCausalLM" || raw.AutoMap["AutoModelForCausalLM"] != "modeling_mop_llama.MopLlamaForCausalLM" {
			t.Fatalf("not uniform, but\n%s", text)
		}
		for _, o := range raw.PerLayer {
			if len(o) == 0 {
				t.Fatalf("an override of nothing:\n%s", text)
			}
		}
	}
	if plain < 100 || different < 100 {
		t.Errorf("too few of a kind: %d plain, %d different", plain, different)
	}
}

// The example of the format's description, by hand.
func TestPerLayerConfig(t *testing.T) {
	c := parse(t, `,"model_type":"mop_llama","architectures":["MopLlamaForCausalLM"],"num_key_value_heads":2,
		"per_layer_config":{"1":{"num_attention_heads":3,"num_key_value_heads":1,"intermediate_size":5},"2":{"skip":["attention"]}}`)
	want := []LayerShape{{4, 2, 2, 4}, {3, 1, 2, 5}, {0, 0, 2, 4}}
	if !reflect.DeepEqual(c.Layers, want) {
		t.Errorf("want %v, got %v", want, c.Layers)
	}
	// The commonest MLP is 4; of the equally common 4 and 3 heads the larger.
	var raw map[string]any
	if err := json.Unmarshal(must(Marshal(c)), &raw); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(raw["num_attention_heads"], raw["num_key_value_heads"], raw["intermediate_size"], raw["per_layer_config"]); got !=
		"4 2 4 map[1:map[intermediate_size:5 num_attention_heads:3 num_key_value_heads:1] 2:map[skip:[attention]]]" {
		t.Errorf("got %s", got)
	}
	// As transformers 5 saves it: padded keys, and one head in the caches of a layer
	// without attention.
	padded := parse(t, `,"model_type":"mop_llama","num_key_value_heads":2,"allow_global_per_layer_attribute_access":true,
		"per_layer_config":{"01":{"intermediate_size":5,"num_attention_heads":3,"num_key_value_heads":1},"02":{"num_attention_heads":1,"num_key_value_heads":1,"skip":["attention"]}}`)
	if !reflect.DeepEqual(padded.Layers, want) {
		t.Errorf("want %v, got %v", want, padded.Layers)
	}
	if _, err := Parse([]byte("{" + small + `,"per_layer_config":{"1":{"intermediate_size":5},"01":{"intermediate_size":6}}}`)); err == nil || !strings.Contains(err.Error(), "layer 1 stands twice") {
		t.Errorf("want an error about layer 1, got %v", err)
	}
	c.Layers[1], c.Layers[2] = c.Layers[0], c.Layers[0]
	if text := string(must(Marshal(c))); !strings.Contains(text, `"LlamaForCausalLM"`) {
		t.Errorf("want a plain LLaMA once all layers agree, got\n%s", text)
	}
}

// The largest layer count that is read costs little.
func TestMaximumLayerCount(t *testing.T) {
	c := parse(t, "")
	for len(c.Layers) < maxLayers {
		c.Layers = append(c.Layers, LayerShape{1 + len(c.Layers)%7, 1, 2, 1 + len(c.Layers)%11})
	}
	if got := must(Parse(must(Marshal(c)))); !reflect.DeepEqual(got, c) {
		t.Error("10,000 layers do not come back")
	}
}

// By DeciLM's rule: 2/3 of ffn_mult*D, rounded up to a multiple of 256. The last
// row has the widths of Nemotron-Super-49B, whose MLP at 5.25 is LLaMA-3-70B's.
func TestNemotron(t *testing.T) {
	block := func(attention, ffn string) string {
		return `{"attention":{"no_op":false,"num_sink_tokens":null,"replace_with_linear":false,"sparsify":null,"unshifted_sink":false,
			"use_prefill_window_in_sink_attention":false,"window_length":null,` + attention + `},"ffn":{"replace_with_linear":false,"sparsify":null,` + ffn + `}}`
	}
	model := func(blocks ...string) string {
		return `{"model_type":"nemotron-nas","architectures":["DeciLMForCausalLM"],"hidden_size":8192,"vocab_size":9,"num_attention_heads":64,
			"num_key_value_heads":null,"intermediate_size":null,"num_hidden_layers":` + fmt.Sprint(len(blocks)) + `,"block_configs":[` + strings.Join(blocks, ",") + "]}"
	}
	text := model(block(`"n_heads_in_group":8`, `"ffn_mult":2.625,"no_op":false`), strings.Replace(block(`"n_heads_in_group":null`, `"ffn_mult":0.5,"no_op":false`), `"no_op":false`, `"no_op":true`, 1),
		block(`"n_heads_in_group":16`, `"ffn_mult":null,"no_op":true`), block(`"n_heads_in_group":8`, `"ffn_mult":5.25`), block(`"n_heads_in_group":8`, `"ffn_mult":1.3`))
	c, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []LayerShape{{64, 8, 128, 14336}, {0, 0, 128, 2816}, {64, 4, 128, 0}, {64, 8, 128, 28672}, {64, 8, 128, 7168}}
	if !reflect.DeepEqual(c.Layers, want) {
		t.Errorf("want %v\ngot  %v", want, c.Layers)
	}
	if again := must(Parse(must(Marshal(c)))); !reflect.DeepEqual(again, c) {
		t.Errorf("want %+v\ngot  %+v", c, again)
	}
	for from, to := range map[string]string{
		`"replace_with_linear":false`: `"replace_with_linear":true`,
		`"window_length":null`:        `"window_length":8192`,
		`"num_sink_tokens":null`:      `"num_sink_tokens":4`,
		`"n_heads_in_group":8`:        `"n_heads_in_group":7`,
		`"ffn_mult":2.625`:            `"ffn_mult":0`,
		`"ffn_mult":2.625,`:           `"ffn_mult":2.625,"intermediate_size":14335,`,
		`"ffn_mult":2.625,"no_op"`:    `"ffn_mult":null,"no_op"`,
		`"ffn":{`:                     `"ffn":{"hidden_act":"gelu",`,
		`"sparsify":null`:             `"sparsify":["x"]`,
		`"unshifted_sink":false`:      `"moe":{}`,
	} {
		if _, err := Parse([]byte(strings.Replace(text, from, to, 1))); err == nil || !strings.Contains(err.Error(), "block_configs: layer 0") {
			t.Errorf("%s: want an error at layer 0, got %v", to, err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("{" + small + `,"per_layer_config":{"1":{"skip":["mlp"]}},"use_cache":true}`))
	f.Add([]byte("{" + small + `,"rope_parameters":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":64}}`))
	f.Add([]byte("{" + small + `,"block_configs":[{"attention":{"n_heads_in_group":2},"ffn":{"ffn_mult":1}}]}`))
	f.Add([]byte(`{"model_type":"llava","text_config":{"vocab_size":40}}`))
	rng := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		f.Add(must(Marshal(randomConfig(rng))))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		text, err := Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if !reflect.DeepEqual(c, again) {
			t.Fatalf("want %+v\ngot  %+v\n%s", c, again, text)
		}
		for i, x := range c.InvFreq() {
			if !(x >= 0 && x <= 1) {
				t.Fatalf("frequency %d: want 0 to 1, got %v", i, x)
			}
		}
		if n := c.Params(); n <= 0 {
			t.Fatalf("%d parameters", n)
		}
	})
}
