package dataset

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"mop/runtime/chat"
	"mop/runtime/tokenizer"
)

// roles are ShareGPT's names of speakers.
var roles = map[string]string{"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "model": "assistant",
	"chatgpt": "assistant", "bing": "assistant", "bard": "assistant", "system": "system"}

// messagesRow reads a conversation under a key.
func messagesRow(fields map[string]json.RawMessage, key string) (row, error) {
	messages, err := parseMessages(fields[key], key)
	if err != nil {
		return row{}, err
	}
	system, err := stringField(fields, "system")
	if err != nil {
		return row{}, err
	}
	if system != "" && len(messages) > 0 && messages[0].Role != "system" {
		messages = append([]chat.Message{{Role: "system", Content: system}}, messages...)
	}
	r := row{messages: messages}
	if err := checkMessages(r); err != nil {
		return row{}, err
	}
	if err := undesired(fields); err != nil {
		return row{}, err
	}
	return r, unread(fields, "tools", "functions", "images", "image", "videos")
}

// parseMessages reads a list of {role, content} or {from, value}.
func parseMessages(value json.RawMessage, key string) ([]chat.Message, error) {
	var list []map[string]json.RawMessage
	if json.Unmarshal(value, &list) != nil {
		return nil, skip(key + " is not a list of messages")
	}
	var out []chat.Message
	for i, fields := range list {
		m, err := parseMessage(fields)
		if err != nil {
			return nil, skip(fmt.Sprintf("%s: message %d: %v", key, i+1, err))
		}
		out = append(out, m)
	}
	return out, nil
}

func parseMessage(fields map[string]json.RawMessage) (m chat.Message, err error) {
	name, content := "role", "content"
	if _, ok := fields[name]; !ok {
		name, content = "from", "value"
	}
	role, err := stringField(fields, name)
	if err != nil {
		return m, err
	}
	if role == "" {
		return m, errors.New("no role")
	}
	if m.Role = role; name == "from" {
		if m.Role = roles[strings.ToLower(role)]; m.Role == "" {
			return m, fmt.Errorf("speaker %s: want human, gpt or system", clip(role))
		}
	}
	if err := unread(fields, "tool_calls", "function_call", "reasoning_content", "reasoning", "thinking"); err != nil {
		return m, err
	}
	if m.Role == "assistant" {
		// Some programs mark turns whose loss does not count.
		for _, name := range []string{"weight", "train"} {
			if v := string(fields[name]); v != "" && v != "null" && v != "true" && v != "1" && v != "1.0" {
				return m, fmt.Errorf("%s %s is not supported: every turn of the assistant is learned", name, clip(v))
			}
		}
	}
	m.Content, err = contentOf(fields[content], content)
	return m, err
}

// contentOf reads the content of a message: a string, or parts of which all are text.
func contentOf(value json.RawMessage, name string) (text string, err error) {
	if len(value) == 0 || string(value) == "null" {
		return "", errors.New("no " + name)
	}
	if json.Unmarshal(value, &text) == nil {
		return text, nil
	}
	var parts []struct {
		Type string
		Text *string
	}
	if !bytes.HasPrefix(bytes.TrimSpace(value), []byte("[")) || json.Unmarshal(value, &parts) != nil {
		return "", errors.New(name + " is not a string")
	}
	var b strings.Builder
	for _, p := range parts {
		if p.Text == nil || p.Type != "" && p.Type != "text" {
			return "", fmt.Errorf("%s has a part of type %s: only text is supported", name, clip(p.Type))
		}
		b.WriteString(*p.Text)
	}
	return b.String(), nil
}

// checkMessages refuses a conversation that teaches nothing.
func checkMessages(r row) error {
	if len(r.messages) == 0 {
		return skip("no messages")
	}
	for i, m := range r.messages {
		if i >= r.learned && m.Role == "assistant" && strings.TrimSpace(m.Content) != "" {
			return nil
		}
	}
	return skip("no message of the assistant")
}

// chatDate is the day that templates see which write it, so that data gives the same
// tokens on any day. It is the one that LLaMA-3.1's template has by default.
var chatDate = time.Date(2024, time.July, 26, 0, 0, 0, 0, time.UTC)

// chatTemplate is the template for the rows of messages, nil without such rows.
func (f *File) chatTemplate(t *table) (*chat.Template, error) {
	for _, r := range t.rows {
		if r.messages == nil {
			continue
		}
		if f.Template == nil {
			return nil, fmt.Errorf("row %d: messages: want a chat template, there is none", r.number)
		}
		template, err := f.Template()
		if err != nil {
			return nil, fmt.Errorf("row %d: messages: %w", r.number, err)
		}
		return template, nil
	}
	return nil, nil
}

// render is the text of the first n messages of a conversation. An error of the template
// concerns the row.
func render(template *chat.Template, messages []chat.Message, prompt bool) (string, error) {
	text, err := template.RenderWith(messages, chat.Options{AddGenerationPrompt: prompt, Now: chatDate})
	if err != nil {
		return "", skip(err.Error())
	}
	return text, nil
}

// chatPrompt is a conversation up to the last response of the assistant, which is to be
// generated.
func chatPrompt(template *chat.Template, r row) (string, error) {
	last := len(r.messages) - 1
	for r.messages[last].Role != "assistant" {
		last--
	}
	if last == 0 {
		return render(template, r.messages[:1], false)
	}
	return render(template, r.messages[:last], true)
}

// span is a part of a list of tokens: from start up to, but not including, end.
type span struct{ start, end int }

// chatExample tokenizes a conversation and finds the tokens of the assistant's turns:
// what the template writes for each of them after the prompt for it.
func chatExample(template *chat.Template, t *tokenizer.Tokenizer, r row, limit int) (tokens []int, turns []span, err error) {
	last := len(r.messages)
	for r.messages[last-1].Role != "assistant" {
		last--
	}
	whole, err := render(template, r.messages[:last], false)
	if err != nil {
		return nil, nil, err
	}
	o := tokenizer.EncodeOptions{Special: true}
	if tokens, err = t.EncodeFirst([]byte(whole), limit, o); err != nil {
		return nil, nil, skip(err.Error())
	}
	for i := r.learned; i < last; i++ {
		if r.messages[i].Role != "assistant" {
			continue
		}
		through, err := render(template, r.messages[:i+1], false)
		if err != nil {
			return nil, nil, err
		}
		before, err := beforeTurn(template, r.messages, i, whole, through)
		if err != nil {
			return nil, nil, err
		}
		if !strings.HasPrefix(whole, through) || !strings.HasPrefix(through, before) {
			return nil, nil, skip(fmt.Sprintf("the chat template (%s) writes message %d differently when others follow", template.Name(), i+1))
		}
		s := span{common(t, tokens, before, limit), common(t, tokens, through, limit)}
		if s.start < s.end {
			turns = append(turns, s)
		}
	}
	return tokens, turns, nil
}

// beforeTurn is the part of a conversation that precedes what the assistant writes as
// message i. whole is the conversation, through its part that ends with the message.
func beforeTurn(template *chat.Template, messages []chat.Message, i int, whole, through string) (string, error) {
	if i == 0 { // no prompt can be rendered
		if at := strings.Index(through, strings.TrimSpace(messages[0].Content)); at >= 0 {
			return through[:at], nil
		}
		return "", nil
	}
	before, err := render(template, messages[:i], true)
	if err == nil && !strings.HasPrefix(whole, before) { // the prompt is not a part of the conversation
		before, err = render(template, messages[:i], false)
	}
	return before, err
}

// common is the number of tokens that a text and the start of it have in common.
func common(t *tokenizer.Tokenizer, tokens []int, start string, limit int) int {
	if start == "" {
		return 0
	}
	ids, err := t.EncodeFirst([]byte(start), limit, tokenizer.EncodeOptions{Special: true})
	if err != nil {
		return 0
	}
	n := 0
	for n < len(ids) && n < len(tokens) && ids[n] == tokens[n] {
		n++
	}
	return n
}
