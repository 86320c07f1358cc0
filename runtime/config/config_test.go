package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mop/internal/testutil"
)

func TestPresetParams(t *testing.T) {
	known := map[string]int64{
		"llama-2-7b": 6_738_415_616, "llama-2-13b": 13_015_864_320, "llama-3-8b": 8_030_261_248, "tinyllama-1.1b": 1_100_048_384,
		"smollm2-135m": 134_515_008,
		"llava-1.5-7b": 6_738_415_616 + 2*64*4096, // 64 more ids than LLaMA-2, in two tables
	}
	for _, name := range PresetNames() {
		c, err := Preset(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Params(); got != known[name] {
			t.Errorf("%s: want %d parameters, got %d", name, known[name], got)
		}
		text, err := Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Parse(text); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s: want %+v, got %+v, %v", name, c, got, err)
		}
	}
	if len(known) != len(PresetNames()) {
		t.Errorf("want %d presets, got %v", len(known), PresetNames())
	}
	_, err := Preset("gpt-5")
	for name := range known {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("unknown preset: want an error that lists %s, got %v", name, err)
		}
	}
}

// The published config.json of each preset equals the preset.
func TestRealConfigs(t *testing.T) {
	for file, preset := range map[string]string{
		"hf-configs/Llama-2-7b-chat-hf/config.json":             "llama-2-7b",
		"hf-configs/Meta-Llama-3-8B/config.json":                "llama-3-8b",
		"hf-tinyllama-1.1b-chat/config.json":                    "tinyllama-1.1b",
		"hf-llava-1.5-7b-hf/config.json":                        "llava-1.5-7b",
		"hf-configs/liuhaotian-llava-v1.5-7b/config.clean.json": "llava-1.5-7b",
	} {
		t.Run(file, func(t *testing.T) {
			got, err := Load(testutil.DataPath(t, file))
			if err != nil {
				t.Fatal(err)
			}
			want := must(Preset(preset))
			want.Multimodal = nil // the files differ in keys
			if strings.Contains(file, "liuhaotian") {
				want.VocabSize = 32000 // without added tokens
			}
			if strings.Contains(file, "tinyllama") {
				want.DType = "float32" // a copy in float32
			}
			if llava := strings.Contains(file, "llava"); llava != (got.Multimodal != nil) {
				t.Errorf("is a LLaVA: %v, keys around: %v", llava, got.Multimodal)
			}
			whole := must(Marshal(got))
			if again := must(Parse(whole)); !reflect.DeepEqual(got, again) {
				t.Errorf("want %+v\ngot  %+v", got, again)
			}
			for key := range got.Multimodal {
				if !strings.Contains(string(whole), `"`+key+`"`) {
					t.Errorf("%q is not written back:\n%s", key, whole)
				}
			}
			got.Multimodal = nil // alone
			text := must(Marshal(got))
			for _, key := range []string{"vision", "mm_", "text_config", "auto_map", "image", "Llava"} {
				if strings.Contains(string(text), key) {
					t.Errorf("%q is written back:\n%s", key, text)
				}
			}
			got.Extra = nil
			if !reflect.DeepEqual(got, want) {
				t.Errorf("want %+v\ngot  %+v", want, got)
			}
		})
	}
}

// Errors name the file. One of the files is a published one with text after its JSON.
func TestLoadErrorsNameTheFile(t *testing.T) {
	path := testutil.DataPath(t, "hf-configs/liuhaotian-llava-v1.5-7b/config.json")
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), "data after") {
		t.Errorf("want an error that names %s, got %v", path, err)
	}
	missing := filepath.Join(t.TempDir(), "config.json")
	if _, err := Load(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("want an error that names %s, got %v", missing, err)
	}
	if err := os.WriteFile(missing, []byte(strings.Repeat(" ", maxFile+1)), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(missing); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("too large a file: got %v", err)
	}
}

const small = `"hidden_size":8,"vocab_size":9,"num_hidden_layers":3,"num_attention_heads":4,"intermediate_size":4`

func parse(t *testing.T, add string) *Config {
	t.Helper()
	c, err := Parse([]byte("{" + small + add + "}"))
	if err != nil {
		t.Fatalf("%s: %v", add, err)
	}
	return c
}

// Absent keys have defaults, and different spellings of a value give the same config.
func TestSpellings(t *testing.T) {
	c := parse(t, "")
	want := &Config{VocabSize: 9, HiddenSize: 8, HeadDim: 2, Layers: slices.Repeat([]LayerShape{{4, 4, 2, 4}}, 3),
		RopeTheta: 10000, NormEps: 1e-6, MaxPositions: 2048, BOS: 1, EOS: []int{2}, DType: "float32"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("want LLaMA's defaults %+v\ngot %+v", want, c)
	}
	same := map[string]string{
		`,"head_dim":null,"num_key_value_heads":null,"rope_scaling":null`: "",
		`,"dtype":"bfloat16"`:                               `,"torch_dtype":"bfloat16"`,
		`,"torch_dtype":"torch.float16"`:                    `,"torch_dtype":"float16"`,
		`,"hidden_act":"swish"`:                             "",
		`,"architectures":["LLaMAForCausalLM"]`:             "",
		`,"architectures":["LlamaModel"]`:                   "",
		`,"sliding_window":4096,"use_sliding_window":false`: "",
		`,"sliding_window":16,"use_sliding_window":true`:    "", // LlamaForCausalLM reads neither
		`,"num_local_experts":0,"logits_scaling":1`:         `,"num_local_experts":0,"logits_scaling":1.0`,
		`,"bos_token_id":-1,"eos_token_id":-1`:              `,"bos_token_id":null,"eos_token_id":null`,
		`,"eos_token_id":[5,-1]`:                            `,"eos_token_id":5`,
		`,"rope_scaling":{"type":"linear","factor":2,"original_max_position_embeddings":256,"finetuned":true,"mscale":1}`:                                                      `,"rope_scaling":{"type":"linear","factor":2}`,
		`,"rope_scaling":{"rope_type":"default","rope_theta":7},"rope_parameters":{"rope_type":"default","rope_theta":7}`:                                                      `,"rope_theta":7`,
		`,"rope_theta":7,"rope_scaling":{"type":"linear","factor":2},"rope_parameters":{"rope_type":"linear","rope_theta":7,"factor":2}`:                                       `,"rope_theta":7,"rope_scaling":{"type":"linear","factor":2}`,
		`,"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":64,"attention_factor":1,"beta_fast":32}`: `,"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":64}`,
		`,"eos_token_id":[5]`: `,"eos_token_id":5`,
		`,"rope_parameters":{"rope_theta":7,"rope_type":"default"}`:                                                                     `,"rope_theta":7.0`,
		`,"rope_theta":5,"rope_scaling":{"type":"linear","factor":2}`:                                                                   `,"rope_parameters":{"rope_theta":5,"rope_type":"linear","factor":2.0}`,
		`,"model_type":"llama","architectures":["LlamaForCausalLM"],"layer_types":["full_attention","full_attention","full_attention"]`: "",
	}
	for a, b := range same {
		x, y := parse(t, a), parse(t, b)
		if s, ok := x.Extra["logits_scaling"]; ok && s != nil { // kept as it is spelled
			x.Extra, y.Extra = nil, nil
		}
		if !reflect.DeepEqual(x, y) {
			t.Errorf("%s: want %+v\ngot  %+v", a, y, x)
		}
	}
	if c := parse(t, `,"bos_token_id":null,"eos_token_id":null`); c.BOS != -1 || c.EOS != nil {
		t.Errorf("null ids: want none, got %d and %v", c.BOS, c.EOS)
	}
	if c := parse(t, `,"eos_token_id":[3,4],"num_key_value_heads":2,"head_dim":6`); !reflect.DeepEqual(c.EOS, []int{3, 4}) || c.Layers[1] != (LayerShape{4, 2, 6, 4}) {
		t.Errorf("want two EOS ids and 4 heads over 2 of size 6, got %v and %v", c.EOS, c.Layers[1])
	}
	for _, kind := range []string{"linear", "dynamic"} {
		c = parse(t, `,"rope_scaling":{"type":"`+kind+`","factor":2}`)
		if c.RopeScaling == nil || *c.RopeScaling != (RopeScaling{Type: kind, Factor: 2}) {
			t.Errorf("%s: got %+v", kind, c.RopeScaling)
		}
		if again := must(Parse(must(Marshal(c)))); !reflect.DeepEqual(c, again) {
			t.Errorf("%s: want %+v, got %+v", kind, c, again)
		}
	}
	if a, b := parse(t, `,"rope_scaling":{"type":"dynamic","factor":2}`).InvFreq(), parse(t, "").InvFreq(); !slices.Equal(a, b) {
		t.Errorf("dynamic within the context: want %v, got %v", b, a)
	}
	c = parse(t, `,"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":64}`)
	if c.RopeScaling == nil || *c.RopeScaling != (RopeScaling{"llama3", 8, 1, 4, 64}) {
		t.Errorf("got %+v", c.RopeScaling)
	}
}

// Keys that change nothing are written back with their spelling.
func TestExtra(t *testing.T) {
	c := parse(t, `,"pad_token_id":null,"use_cache":true,"initializer_range":2e-2,"big":12345678901234567890,"s":"<&>","n":{"x":[0.10]},"pretraining_tp":1`)
	if x, ok := c.ExtraNumber("initializer_range"); !ok || x != 0.02 {
		t.Errorf("initializer_range: got %v, %v", x, ok)
	}
	if _, ok := c.ExtraNumber("s"); ok {
		t.Error("a string is taken for a number")
	}
	text := string(must(Marshal(c)))
	for _, want := range []string{`"pad_token_id": null`, `"use_cache": true`, `"initializer_range": 2e-2`, `"big": 12345678901234567890`, `"s": "<&>"`, "0.10", `"pretraining_tp": 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("want %s in\n%s", want, text)
		}
	}
	if again := must(Parse([]byte(text))); !reflect.DeepEqual(c, again) {
		t.Errorf("want %+v\ngot  %+v", c, again)
	}
}

// A LLaVA keeps its language model in text_config and leaves out LLaMA's defaults.
func TestLLaVA(t *testing.T) {
	c, err := Parse([]byte(`{"model_type":"llava","architectures":["LlavaForConditionalGeneration"],"torch_dtype":"float16","vision_config":{"hidden_size":1},
		"text_config":{"vocab_size":40,"num_hidden_layers":2,"num_key_value_heads":8,"pad_token_id":3}}`))
	if err != nil {
		t.Fatal(err)
	}
	if c.VocabSize != 40 || c.HiddenSize != 4096 || c.DType != "float16" || len(c.Layers) != 2 || c.Layers[1] != (LayerShape{32, 8, 128, 11008}) || len(c.Extra) != 1 {
		t.Errorf("got %+v", c)
	}
	for text, want := range map[string]string{
		`{"model_type":"llava","text_config":{"model_type":"mistral"}}`:    "sliding_window",
		`{"model_type":"llava","text_config":[]}`:                          "text_config",
		`{"model_type":"llava"}`:                                           "language model: vocab_size: absent",
		`{"model_type":"llava_next","text_config":{}}`:                     "llava_next",
		`{"model_type":"llava","architectures":["X"],"text_config":{}}`:    "X",
		`{"model_type":"llava","quantization_config":{},"text_config":{}}`: "quantization_config",
		`{"model_type":"llava","text_config":{"hidden_act":"gelu"}}`:       "hidden_act",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want an error with %q, got %v", text, want, err)
		}
	}
}
