package complete

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"mop/runtime/chat"
	"mop/runtime/generate"
	"mop/runtime/tokenizer"
	"mop/runtime/vision"
)

// Conversation is a chat: the model answers one message after the other.
type Conversation struct {
	Completer
	Template *chat.Template
	Options  generate.Options
	Stops    []string
	System   string // message in front of all others, or empty

	messages []chat.Message
}

// Reset begins a new conversation.
func (c *Conversation) Reset() { c.messages = nil }

// Answer writes the model's answer to a message. Both become part of the conversation only
// if that succeeds.
func (c *Conversation) Answer(ctx context.Context, message string, out io.Writer) error {
	m := c.Model
	if m.Config.Multimodal != nil && strings.Contains(message, vision.Placeholder) {
		return m.Wrap(fmt.Errorf("%w: the message has %s, and a chat takes no images: see mop run --image", vision.ErrPlaceholders, vision.Placeholder))
	}
	messages := c.messages[:len(c.messages):len(c.messages)]
	if len(messages) == 0 && c.System != "" {
		messages = []chat.Message{{Role: "system", Content: c.System}}
	}
	messages = append(messages, chat.Message{Role: "user", Content: message})
	text, err := c.Template.Render(messages, true)
	if err != nil {
		return err
	}
	tokens, err := c.Tokenizer.Encode([]byte(text), tokenizer.EncodeOptions{Special: true})
	if err != nil {
		return m.Wrap(err)
	}
	if len(tokens) == 0 {
		return m.Wrap(errors.New("the chat template gives an empty prompt"))
	}
	var reply strings.Builder
	filter := &generate.StopFilter{W: io.MultiWriter(out, &reply), Stops: c.Stops}
	if _, err := c.Continue(ctx, tokens, c.Options, filter); err != nil {
		return err
	}
	c.messages = append(messages, chat.Message{Role: "assistant", Content: reply.String()})
	return nil
}
