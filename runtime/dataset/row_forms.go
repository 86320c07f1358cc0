package dataset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// parseRow reads one value of JSON.
func parseRow(value []byte) (row, error) {
	var text string
	if json.Unmarshal(value, &text) == nil && len(value) > 0 && bytes.TrimSpace(value)[0] == '"' {
		return textRow(text)
	}
	if !json.Valid(value) {
		return row{}, skip("not valid JSON")
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(value, &fields) != nil || fields == nil {
		return row{}, skip("not a JSON object")
	}
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			v, ok := fields[name]
			return ok && string(v) != "null"
		})
	}
	switch {
	case has("messages"):
		return messagesRow(fields, "messages")
	case has("conversations"):
		return messagesRow(fields, "conversations")
	case has("instruction"):
		return instructionRow(fields)
	case has("prompt", "completion") && has("completion", "response") && !has("chosen"):
		return promptRow(fields)
	case has("question") && has("choices"):
		return scienceRow(fields)
	case has("text"):
		if text, err := stringField(fields, "text"); err != nil {
			return row{}, err
		} else {
			return textRow(text)
		}
	case has("output", "input"):
		return row{}, skip("no instruction")
	}
	var keys []string
	for key := range fields {
		keys = append(keys, clip(key))
	}
	slices.Sort(keys)
	if len(keys) == 0 {
		return row{}, skip("an empty object")
	}
	return row{}, skip(fmt.Sprintf("found %s; want text, instruction and output, prompt and completion, messages, or conversations", strings.Join(keys[:min(len(keys), 8)], ", ")))
}

func textRow(text string) (row, error) {
	if strings.TrimSpace(text) == "" {
		return row{}, skip("the text is empty")
	}
	return row{text: []byte(text)}, nil
}

// stringField returns a field that is a string, "" if it is absent or null.
func stringField(fields map[string]json.RawMessage, name string) (text string, err error) {
	if v, ok := fields[name]; ok && json.Unmarshal(v, &text) != nil {
		return "", skip(name + " is not a string")
	}
	return text, nil
}

// unread refuses a row with further fields that would change its meaning.
func unread(fields map[string]json.RawMessage, names ...string) error {
	for _, name := range names {
		switch v := strings.Join(strings.Fields(string(fields[name])), ""); v {
		case "", "null", `""`, "[]", "{}":
		default:
			return skip(name + " is not supported")
		}
	}
	return nil
}

// instructionRow reads Alpaca's form, and Dolly's with context and response.
func instructionRow(fields map[string]json.RawMessage) (r row, err error) {
	names := [3]string{"instruction", "input", "output"}
	if _, ok := fields["output"]; !ok {
		if _, ok := fields["response"]; ok {
			names = [3]string{"instruction", "context", "response"}
		}
	}
	for i, to := range []*string{&r.instruction, &r.input, &r.output} {
		if *to, err = stringField(fields, names[i]); err != nil {
			return row{}, err
		}
	}
	switch {
	case strings.TrimSpace(r.instruction) == "":
		return row{}, skip("no instruction")
	case strings.TrimSpace(r.output) == "":
		return row{}, skip("no " + names[2])
	}
	return r, unread(fields, "history", "system", "tools", "images")
}

// promptRow reads a prompt and its completion, which are strings or lists of messages.
func promptRow(fields map[string]json.RawMessage) (r row, err error) {
	completion := "completion"
	if _, ok := fields[completion]; !ok {
		completion = "response"
	}
	if bytes.HasPrefix(bytes.TrimSpace(fields["prompt"]), []byte("[")) {
		before, err := parseMessages(fields["prompt"], "prompt")
		if err != nil {
			return row{}, err
		}
		after, err := parseMessages(fields[completion], completion)
		if err != nil {
			return row{}, err
		}
		r = row{messages: slices.Concat(before, after), learned: len(before)}
		if err := checkMessages(r); err != nil {
			return row{}, err
		}
		return r, undesired(fields)
	}
	r.isPrompt = true
	for name, to := range map[string]*string{"prompt": &r.prompt, completion: &r.completion} {
		if *to, err = stringField(fields, name); err != nil {
			return row{}, err
		}
	}
	switch {
	case r.prompt == "":
		return row{}, skip("no prompt")
	case strings.TrimSpace(r.completion) == "":
		return row{}, skip("no " + completion)
	}
	if err := undesired(fields); err != nil {
		return row{}, err
	}
	return r, unread(fields, "images", "tools")
}

// undesired refuses a row that marks its completion as a bad one, as data for preference
// training (KTO) do.
func undesired(fields map[string]json.RawMessage) error {
	if v := string(fields["label"]); v == "false" {
		return skip("label false: the completion is one to avoid")
	}
	return nil
}

// clip shortens a text for a message.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "..."
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}
