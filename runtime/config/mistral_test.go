package config

import (
	"reflect"
	"strings"
	"testing"
)

// A Mistral without a sliding window within its context reads as a LLaMA and is written
// as a Mistral. Any other is refused with the key that makes the difference.
func TestMistral(t *testing.T) {
	const head = `{"model_type":"mistral","vocab_size":20,"hidden_size":12,"num_hidden_layers":2,"num_attention_heads":5,"head_dim":4,"intermediate_size":7`
	const whole = head + `,"num_key_value_heads":5,"max_position_embeddings":4096`
	for _, text := range []string{whole + `}`, whole + `,"sliding_window":null,"architectures":["MistralForCausalLM"]}`, whole + `,"sliding_window":4096}`, whole + `,"sliding_window":32768}`} {
		c, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if c.WrittenType() != TypeMistral {
			t.Errorf("%s: want a Mistral, got %+v", text, c)
		}
		out := must(Marshal(c))
		for _, want := range []string{`"model_type": "mistral"`, `"MistralForCausalLM"`, `"sliding_window": null`} {
			if !strings.Contains(string(out), want) {
				t.Errorf("want %s in %s", want, out)
			}
		}
		if again, err := Parse(out); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("want %+v, got %+v, %v", c, again, err)
		}
		c.SetHFType(TypeLlama)
		if llama := must(Parse(must(Marshal(c)))); llama.WrittenType() != TypeLlama || !reflect.DeepEqual(llama, c) {
			t.Errorf("want %+v, got %+v", c, llama)
		}
		c.Layers[0].Intermediate = 3 // heterogeneous models have mop's own type
		c.SetHFType(TypeMistral)
		if out := string(must(Marshal(c))); strings.Contains(out, "mistral") || !strings.Contains(out, heterogeneousType) {
			t.Errorf("layers that differ: got %s", out)
		}
	}
	for text, want := range map[string]string{
		head + `,"max_position_embeddings":4096}`:                                                             "got 8 and 5", // KV heads
		head + `,"num_key_value_heads":5}`:                                                                    "max_position_embeddings",
		head + `,"num_key_value_heads":5,"max_position_embeddings":4097}`:                                     "sliding_window",
		whole + `,"sliding_window":4095}`:                                                                     "sliding_window",
		whole + `,"architectures":["LlamaForCausalLM"]}`:                                                      "architectures",
		strings.Replace(whole, `"mistral"`, `"llama","architectures":["MistralForCausalLM"]`, 1) + `}`:        "architectures",
		strings.Replace(whole, `"mistral"`, `"mistral","attention_bias":true`, 1) + `,"sliding_window":null}`: "attention_bias",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want an error about %s, got %v", text, want, err)
		}
	}
}

// By default a model is written in the form that every engine loads: a LLaMA, or a
// Mistral where the heads do not divide the hidden size. A Mistral stays one.
func TestDefaultHFType(t *testing.T) {
	const sizes = `"vocab_size":20,"hidden_size":12,"num_hidden_layers":2,"num_key_value_heads":1,"head_dim":4,"intermediate_size":7,"sliding_window":null,"max_position_embeddings":64`
	for _, x := range []struct{ read, heads, asked, want string }{
		{"llama", "3", "", "llama"},
		{"llama", "5", "", "mistral"},
		{"llama", "5", "llama", "llama"},
		{"llama", "3", "mistral", "mistral"},
		{"mistral", "3", "", "mistral"},
		{"mistral", "5", "", "mistral"},
		{"mistral", "3", "llama", "llama"},
		{"mistral", "5", "llama", "llama"},
	} {
		c := must(Parse([]byte(`{"model_type":"` + x.read + `","num_attention_heads":` + x.heads + `,` + sizes + `}`)))
		if got := c.WrittenType(); got != x.read {
			t.Errorf("%v: want the type that was read, got %s", x, got)
		}
		c.SetHFType(x.asked)
		if got := c.WrittenType(); got != x.want {
			t.Errorf("%v: got %s", x, got)
		}
	}
	if err := CheckHFType("qwen"); err == nil || !strings.Contains(err.Error(), "llama, mistral") {
		t.Errorf("got %v", err)
	}
}

// The language model of a LLaVA is written in the same forms and read back.
func TestLLaVAHFType(t *testing.T) {
	const inner = `"vocab_size":20,"hidden_size":12,"num_hidden_layers":2,"num_attention_heads":5,"num_key_value_heads":1,"head_dim":4,"intermediate_size":7,"max_position_embeddings":64,"rms_norm_eps":1e-5`
	for _, text := range []string{
		`{"model_type":"llava","architectures":["LlavaForConditionalGeneration"],"vision_config":{},"text_config":{"model_type":"llama",` + inner + `}}`,
		`{"model_type":"llava_llama","architectures":["LlavaLlamaForCausalLM"],"mm_hidden_size":8,` + inner + `}`,
	} {
		c := must(Parse([]byte(text)))
		c.SetHFType("")
		out := must(Marshal(c))
		back := must(Parse(out))
		back.SetHFType("")
		if !reflect.DeepEqual(back, c) {
			t.Errorf("want %+v\ngot  %+v", c, back)
		}
		if nested := strings.Contains(text, "text_config"); nested != strings.Contains(string(out), `"model_type": "mistral"`) || strings.Contains(string(out), "auto_map") {
			t.Errorf("got %s", out)
		}
		if len(c.RemoteCode()) > 0 {
			t.Error("a LLaVA whose layers have one shape has remote code")
		}
		shape := c.Layers[0]
		c.Layers[0].Heads, c.Layers[0].KVHeads = 0, 0
		out = must(Marshal(c))
		if nested := strings.Contains(text, "text_config"); nested != strings.Contains(string(out), `"AutoConfig": "modeling_mop_llava.MopLlavaConfig"`) || nested != (len(c.RemoteCode()) == 2) {
			t.Errorf("remote code %d, got %s", len(c.RemoteCode()), out)
		}
		back = must(Parse([]byte(strings.Replace(string(out), `"LlavaForConditionalGeneration"`, `"MopLlavaForConditionalGeneration"`, 1))))
		if !reflect.DeepEqual(back, must(Parse(out))) {
			t.Error("the class that transformers saves makes another config")
		}
		back.Layers[0] = shape
		if out := string(must(Marshal(back))); strings.Contains(out, "auto_map") {
			t.Errorf("uniform again, got %s", out)
		}
	}
}
