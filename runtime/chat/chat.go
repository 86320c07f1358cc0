// Package chat turns the messages of a conversation into the text of a prompt, by the
// chat template that a checkpoint brings along or by a built-in one.
//
// A checkpoint's own template is a Jinja program. It is run as transformers runs it
// (trim_blocks, lstrip_blocks, the special tokens as variables), without access to files
// and with bounds on its size, its steps, its memory, its output and its time.
package chat

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ardanlabs/jinja"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string // system, user, assistant, or another that the template knows
	Content string
	// Parts are the content as a list, for templates that want it so: objects such as
	// {"type": "image"} and {"type": "text", "text": "..."}. nil = Content alone.
	Parts []any
	// Fields are further keys that a template may read, such as name or tool_calls. A
	// content among them takes the place of Content.
	Fields map[string]any
}

// Template makes prompts of conversations. It may be used by many goroutines.
type Template struct {
	name    string
	program *program
	tokens  map[string]string // special tokens by their name in the template, such as bos_token
	parts   bool              // the template reads content as a list of parts
}

// Name says which template this is: the name of a built-in one, or the file of the
// checkpoint that it was read from.
func (t *Template) Name() string { return t.name }

// Token is the text of a special token that the template may write, such as bos_token, empty
// where there is none.
func (t *Template) Token(name string) string { return t.tokens[name] }

// Options of one rendering. The zero value is that of Render.
type Options struct {
	AddGenerationPrompt bool           // end with what precedes a response of the model
	Tools               []any          // JSON schemas of functions, as json.RawMessage where the order of keys matters; nil = none
	Variables           map[string]any // further variables, such as enable_thinking
	// Now is what the template's strftime_now formats. The zero time is the present.
	Now time.Time
}

// Render returns the prompt of a conversation. addGenerationPrompt ends it with what
// precedes a response of the model.
func (t *Template) Render(messages []Message, addGenerationPrompt bool) (string, error) {
	return t.RenderWith(messages, Options{AddGenerationPrompt: addGenerationPrompt})
}

// RenderWith is Render with further options.
func (t *Template) RenderWith(messages []Message, o Options) (string, error) {
	if len(messages) == 0 {
		return "", errors.New("no messages")
	}
	variables := map[string]any{"tools": nil, "documents": nil}
	for name, token := range t.tokens {
		variables[name] = token
	}
	for name, value := range o.Variables {
		variables[name] = value
	}
	if o.Tools != nil {
		variables["tools"] = o.Tools
	}
	list := make([]jinja.Value, len(messages))
	for i, m := range messages {
		var err error
		if list[i], err = t.value(m); err != nil {
			return "", fmt.Errorf("message %d: %w", i+1, err)
		}
	}
	variables["messages"] = jinja.NewList(list)
	variables["add_generation_prompt"] = o.AddGenerationPrompt
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	text, err := t.program.run(variables, now)
	if err != nil {
		return "", fmt.Errorf("chat template (%s): %w", t.name, err)
	}
	return text, nil
}

// value is a message as a template sees it: its role, its content and its further keys.
func (t *Template) value(m Message) (jinja.Value, error) {
	out := jinja.NewDict()
	content, ok := m.Fields["content"]
	switch {
	case m.Parts != nil:
		content = m.Parts
	case !ok:
		content = t.content(m.Content)
	}
	out.AsDict().Set("role", jinja.NewString(m.Role))
	set := func(name string, field any) error {
		v, err := valueOf(field)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		out.AsDict().Set(name, v)
		return nil
	}
	if err := set("content", content); err != nil {
		return out, err
	}
	for _, name := range slices.Sorted(maps.Keys(m.Fields)) {
		if name == "role" || name == "content" {
			continue
		}
		if err := set(name, m.Fields[name]); err != nil {
			return out, err
		}
	}
	return out, nil
}

// Builtin returns a built-in template by its name. The tokens are the texts of the
// special tokens that it writes, such as bos_token; missing ones get the built-in
// template's usual spelling.
func Builtin(name string, tokens map[string]string) (*Template, error) {
	for _, b := range builtins {
		if b.name != name {
			continue
		}
		p, err := compile(b.source)
		if err != nil {
			return nil, fmt.Errorf("chat template %s: %w", name, err)
		}
		all := map[string]string{}
		for key, token := range b.tokens {
			all[key] = token
		}
		for key, token := range tokens {
			all[key] = token
		}
		return &Template{name: name, program: p, tokens: all}, nil
	}
	return nil, fmt.Errorf("chat template: want one of %s, got %q", strings.Join(Builtins(), ", "), name)
}

// Builtins lists the names of the built-in templates.
func Builtins() []string {
	var names []string
	for _, b := range builtins {
		names = append(names, b.name)
	}
	return names
}

// Parse compiles a Jinja template. The name appears in errors; the tokens are the
// special tokens that the template may write, such as bos_token.
func Parse(name, source string, tokens map[string]string) (*Template, error) {
	p, err := compile(source)
	if err != nil {
		return nil, fmt.Errorf("chat template (%s): %w", name, err)
	}
	t := &Template{name: name, program: p, tokens: tokens}
	t.parts = t.readsParts()
	return t, nil
}

// content is the content of a message in the form that the template reads.
func (t *Template) content(text string) any {
	if t.parts {
		return []any{map[string]any{"type": "text", "text": text}}
	}
	return text
}

// readsParts reports whether a template reads content only as a list of parts, as those of
// LLaVA do: a string leaves no trace in what it writes.
func (t *Template) readsParts() bool {
	const probe = "probe-of-content"
	message := []Message{{Role: "user", Content: probe}}
	writes := func(parts bool) bool {
		with := &Template{name: t.name, program: t.program, tokens: t.tokens, parts: parts}
		text, err := with.Render(message, false)
		return err == nil && strings.Contains(text, probe)
	}
	return !writes(false) && writes(true)
}
