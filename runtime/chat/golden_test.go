package chat

import (
	"encoding/json"
	"flag"
	"os"
	"testing"
)

var updateSources = flag.Bool("update-sources", false, "write testdata/builtin.json for testdata/chat.py")

// The texts are those of transformers' apply_chat_template; testdata/chat.py makes them.
func TestGolden(t *testing.T) {
	if *updateSources {
		sources := map[string]string{}
		for _, b := range builtins {
			sources["builtin "+b.name] = b.source
		}
		data, err := json.MarshalIndent(sources, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/builtin.json", append(data, '\n'), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	var golden struct {
		Conversations [][]Message
		Cases         []struct {
			Template     string
			Conversation int
			Prompt       bool
			Text         *string
		}
	}
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	tokens := map[string]string{"bos_token": "<s>", "eos_token": "</s>"}
	templates := map[string]*Template{}
	for _, b := range builtins {
		template, err := Builtin(b.name, tokens)
		if err != nil {
			t.Fatal(err)
		}
		templates["builtin "+b.name] = template
	}
	if len(golden.Cases) < 100 {
		t.Fatalf("want at least 100 cases, got %d", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		template := templates[c.Template]
		if template == nil {
			source, err := os.ReadFile("testdata/templates/" + c.Template + ".jinja")
			if err != nil {
				t.Fatal(err)
			}
			if template, err = Parse(c.Template, string(source), tokens); err != nil {
				t.Fatal(err)
			}
			templates[c.Template] = template
		}
		got, err := template.Render(golden.Conversations[c.Conversation], c.Prompt)
		switch {
		case c.Text == nil:
			if err == nil {
				t.Errorf("%s, conversation %d: want an error, got %q", c.Template, c.Conversation, got)
			}
		case err != nil:
			t.Errorf("%s, conversation %d: %v", c.Template, c.Conversation, err)
		case got != *c.Text:
			t.Errorf("%s, conversation %d, prompt %v:\nwant %q\ngot  %q", c.Template, c.Conversation, c.Prompt, *c.Text, got)
		}
	}
}
