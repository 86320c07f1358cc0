package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"mop/runtime/chat"
	"mop/runtime/generate"
	"mop/runtime/model"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
	"mop/runtime/vision"
)

// maxLine bounds a line that a person or a script types, in bytes.
const maxLine = 1 << 20

// conversation is a chat on a terminal: each line of input is a message, and the model
// answers it.
type conversation struct {
	c        *cobra.Command
	model    *open.Model
	draft    draft
	tok      *tokenizer.Tokenizer
	template *chat.Template
	options  generate.Options
	stops    []string
	system   string
	messages []chat.Message
}

// openTemplate gives the chat template that a user names, or the checkpoint's own.
func openTemplate(name, dir string) (*chat.Template, error) {
	if name != "" {
		return chat.OpenNamed(name, dir)
	}
	t, err := chat.Open(dir)
	if errors.Is(err, chat.ErrNone) {
		return nil, fmt.Errorf("%s: %w: see --chat-template", dir, err)
	}
	return t, err
}

// run reads messages until the end of the input or /exit.
func (v *conversation) run() error {
	v.reset()
	out, in := v.c.OutOrStdout(), bufio.NewScanner(v.c.InOrStdin())
	in.Buffer(nil, maxLine)
	terminal := onTerminal(out)
	if terminal {
		fmt.Fprintln(v.c.ErrOrStderr(), "A line is a message. /reset begins anew, /exit or Ctrl-D ends.")
	}
	for {
		if terminal {
			fmt.Fprint(out, "> ")
		}
		if !in.Scan() {
			if terminal {
				fmt.Fprintln(out)
			}
			return in.Err()
		}
		switch line := strings.TrimSpace(in.Text()); line {
		case "":
		case "/exit":
			return nil
		case "/reset":
			v.reset()
		default:
			err := v.answer(line, out)
			if errors.Is(err, model.ErrContext) {
				slog.Warn("the message was dropped; /reset begins anew", "because", err)
				continue
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(out)
		}
	}
}

// reset begins a new conversation.
func (v *conversation) reset() {
	v.messages = nil
	if v.system != "" {
		v.messages = []chat.Message{{Role: "system", Content: v.system}}
	}
}

// answer writes the model's answer to a message. Both become part of the conversation only if
// that succeeds.
func (v *conversation) answer(line string, out io.Writer) error {
	if v.model.Config.Multimodal != nil && strings.Contains(line, vision.Placeholder) {
		return v.model.Wrap(fmt.Errorf("%w: the message has %s, and a chat takes no images: see mop run --image", vision.ErrPlaceholders, vision.Placeholder))
	}
	messages := append(v.messages[:len(v.messages):len(v.messages)], chat.Message{Role: "user", Content: line})
	text, err := v.template.Render(messages, true)
	if err != nil {
		return err
	}
	tokens, err := v.tok.Encode([]byte(text), tokenizer.EncodeOptions{Special: true})
	if err != nil {
		return v.model.Wrap(err)
	}
	if len(tokens) == 0 {
		return v.model.Wrap(errors.New("the chat template gives an empty prompt"))
	}
	var reply strings.Builder
	filter := &generate.StopFilter{W: io.MultiWriter(out, &reply), Stops: v.stops}
	if _, err := continueText(v.c, v.model, v.draft, v.tok, tokens, v.options, filter); err != nil {
		return err
	}
	v.messages = append(messages, chat.Message{Role: "assistant", Content: reply.String()})
	return nil
}
