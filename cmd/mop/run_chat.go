package main

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"mop/runtime/chat"
	"mop/runtime/complete"
	"mop/runtime/model"
)

// maxLine bounds a line that a person or a script types, in bytes.
const maxLine = 1 << 20

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

// converse answers messages until the end of the input or /exit. Each line is a message.
func converse(c *cobra.Command, v *complete.Conversation) error {
	out, in := c.OutOrStdout(), bufio.NewScanner(c.InOrStdin())
	in.Buffer(nil, maxLine)
	terminal := onTerminal(out)
	if terminal {
		fmt.Fprintln(c.ErrOrStderr(), "A line is a message. /reset starts a new conversation, /exit or Ctrl-D ends.")
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
			v.Reset()
		default:
			err := v.Answer(c.Context(), line, out)
			if errors.Is(err, model.ErrContext) {
				slog.Warn("the message was dropped; /reset starts a new conversation", "because", err)
				continue
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(out)
		}
	}
}
