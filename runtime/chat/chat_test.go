package chat

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func writeAll(t *testing.T, contents map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A checkpoint's own template comes first, in the order in which transformers looks;
// then the tokens decide, and nothing is guessed.
func TestOpen(t *testing.T) {
	hello := []Message{{Role: "user", Content: "Hi"}}
	for _, c := range []struct {
		files      map[string]string
		name, want string // the end of the template's name; the rendered text
	}{
		{map[string]string{"tokenizer_config.json": `{"chat_template":"{{ bos_token }}{{ messages[0].content }}","bos_token":"<b>"}`}, "tokenizer_config.json", "<b>Hi"},
		{map[string]string{"tokenizer_config.json": `{"chat_template":"x","bos_token":{"content":"<b>"}}`, "chat_template.jinja": "{{ bos_token }}!\n"}, "chat_template.jinja", "<b>!"},
		{map[string]string{"tokenizer_config.json": `{"chat_template":[{"name":"tool_use","template":"a"},{"name":"default","template":"b"}]}`}, "tokenizer_config.json", "b"},
		{map[string]string{"tokenizer_config.json": `{}`, "special_tokens_map.json": `{"eos_token":"</e>"}`, "chat_template.json": `{"chat_template":"{{ eos_token }}"}`}, "chat_template.json", "</e>"},
		{map[string]string{"tokenizer_config.json": `{"chat_template":null,"bos_token":"<|begin_of_text|>"}`, "tokenizer.json": `{"added_tokens":[{"content":"<|start_header_id|>"}]}`}, "llama-3",
			"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"},
		{map[string]string{"tokenizer_config.json": `{"added_tokens_decoder":{"7":{"content":"<|im_start|>"}}}`}, "chatml", "<|im_start|>user\nHi<|im_end|>\n"},
		{map[string]string{"config.json": `{"model_type":"llava"}`}, "vicuna",
			"<s>A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and polite answers to the user's questions. USER: Hi "},
	} {
		template, err := Open(writeAll(t, c.files))
		if err != nil {
			t.Errorf("%v: %v", c.files, err)
			continue
		}
		if got, err := template.Render(hello, false); err != nil || got != c.want || !strings.HasSuffix(template.Name(), c.name) {
			t.Errorf("%v: got %q by %s, %v, want %q by %s", c.files, got, template.Name(), err, c.want, c.name)
		}
	}
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{}, "no chat template"},
		{map[string]string{"tokenizer_config.json": `[]`}, "want a JSON object"},
		{map[string]string{"tokenizer_config.json": `{"chat_template":7}`}, "want a string, or a list"},
		{map[string]string{"tokenizer_config.json": `{"chat_template":[{"name":"rag","template":"a"},{"name":"tool_use","template":"b"}]}`}, "want one called default, got rag, tool_use"},
		{map[string]string{"chat_template.jinja": "{% if %}"}, "chat_template.jinja"},
	} {
		if _, err := Open(writeAll(t, c.files)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: want an error with %q, got %v", c.files, c.want, err)
		}
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNone) {
		t.Errorf("want ErrNone, got %v", err)
	}
	if _, err := OpenNamed("llama-4", t.TempDir()); err == nil || !strings.Contains(err.Error(), "llama-2, llama-3, vicuna, chatml") {
		t.Errorf("an unknown name: got %v", err)
	}
}

// A template that is broken, endless or too large is an error.
func TestHostileTemplates(t *testing.T) {
	for _, source := range []string{
		"{{", "{% for %}", "{% if x %}", "{{ 'open }}", "{% include 'x' %}", "{% import '/etc/passwd' as x %}", "{% extends 'x' %}", "{% raw %}",
		"{{ x | nosuchfilter }}", "{{ x() }}", "{{ 'a' * 100000000000 }}", "{{ 'a' * -1 }}{{ x() }}", "{% set a, b = 1, 2 %}",
		"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
		"{% macro f(g) %}{{ g(g) }}{% endmacro %}{{ f(f) }}",
		"{% for i in range(1000000000000) %}{% endfor %}",
		"{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}",
		"{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
		"{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
		"{% for i in range(1000) %}{{ 'a' * 1000000 }}{% endfor %}",
		"{{ " + strings.Repeat("(", 100000) + "1" + strings.Repeat(")", 100000) + " }}",
		"{{ " + strings.Repeat("not ", 200000) + "1 }}", "{{ " + strings.Repeat("-", 200000) + "1 }}", "{{ x" + strings.Repeat(".a", 200000) + " }}",
		strings.Repeat("{% if 1 %}", 10000) + strings.Repeat("{% endif %}", 10000),
		"{{ raise_exception('no') }}", "{{ strftime_now() }}",
		strings.Repeat("x", maxSource+1),
	} {
		template, err := Parse("x", source, nil)
		if err == nil {
			_, err = template.Render([]Message{{Role: "user", Content: "Hi"}}, true)
		}
		if err == nil || len(err.Error()) > 500 || strings.Contains(err.Error(), "runtime error") {
			t.Errorf("%s: want a short error, got %v", clip(source), err)
		}
	}
}

// The names of days and months are Python's, and a caller can fix the time.
func TestNow(t *testing.T) {
	template, err := Parse("x", "{{ strftime_now('%d %b %Y, %A %H:%M %% %q') }}", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := template.RenderWith([]Message{{Role: "user"}}, Options{Now: time.Date(2024, 7, 26, 9, 5, 0, 0, time.UTC)})
	if want := "26 Jul 2024, Friday 09:05 % %q"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, b := range builtins {
		f.Add(b.source, "Hi")
	}
	f.Add("{%- raw -%}{{ x }}{% endraw %}{# c #}{% set x %}a{% endset %}{{ x[1:] }}", "\x00'}")
	f.Fuzz(func(t *testing.T, source, content string) {
		template, err := Parse("x", source, nil)
		if err != nil {
			return
		}
		_, _ = template.Render([]Message{{Role: "system", Content: content}, {Role: "user", Content: "b"}}, true)
	})
}

// A template that reads content as a list of parts, as those of LLaVA do, gets one.
func TestContentOfParts(t *testing.T) {
	const source = `{% for m in messages %}{{ m.role }}: {% for c in m.content | selectattr('type', 'equalto', 'image') %}<image>{% endfor %}` +
		`{% for c in m.content | selectattr('type', 'equalto', 'text') %}{{ c.text }}{% endfor %};{% endfor %}`
	template, err := Parse("x", source, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := template.Render([]Message{{Role: "user", Content: "Hi"}, {Role: "user", Fields: map[string]any{"content": []any{map[string]any{"type": "image"}, map[string]any{"type": "text", "text": "What?"}}}}}, false)
	if want := "user: Hi;user: <image>What?;"; err != nil || got != want {
		t.Errorf("want %q, got %q, %v", want, got, err)
	}
}
