package gguf

import (
	"strings"
	"testing"
	"text/template"

	"mop/runtime/config"
)

type message struct{ Role, Content string }

// Ollama renders a conversation to the text that the model's own template gives.
func TestModelfile(t *testing.T) {
	talk := struct {
		System, Prompt, Response string
		Messages                 []message
	}{"Be brief.", "Hi", "", []message{{"system", "Be brief."}, {"user", "Hi"}}}
	for _, c := range []struct{ jinja, want string }{
		{"", "Hi"},
		{"{% for m in messages %}{{'<|im_start|>' + m['role'] + ...", "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"},
		{"... <|start_header_id|> ...", "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
		{"... <|user|> ...", "<|system|>\nBe brief.</s>\n<|user|>\nHi</s>\n<|assistant|>\n"},
		{"... [INST] ...", "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] "},
	} {
		v := &vocabulary{texts: []string{"<s>", "</s>", "\""}, ends: []int{1, 2}, chatTemplate: c.jinja}
		text := string(modelfile("some/where/m.gguf", &config.Config{MaxPositions: 64}, v))
		head, rest, ok := strings.Cut(text, "TEMPLATE \"\"\"")
		if want := "FROM ./m.gguf\nPARAMETER num_ctx 64\nPARAMETER stop \"</s>\"\n"; !ok || head != want {
			t.Errorf("%q: want %q, got %q", c.jinja, want, head)
		}
		var got strings.Builder
		if err := template.Must(template.New("").Parse(strings.TrimSuffix(rest, "\"\"\"\n"))).Execute(&got, talk); err != nil || got.String() != c.want {
			t.Errorf("%q: want %q, got %q, %v", c.jinja, c.want, got.String(), err)
		}
	}
	if text := string(modelfile("m.gguf", &config.Config{MaxPositions: 64}, nil)); strings.Contains(text, "TEMPLATE") {
		t.Errorf("without a tokenizer: got %q", text)
	}
}
