package vision

import (
	"fmt"
	"strings"

	"mop/runtime/chat"
)

// Turn is one turn of a conversation about images.
type Turn struct {
	Role  string
	Parts []Part // in their order
}

// Part of a turn is a text, or the place of the next image.
type Part struct {
	Text  string
	Image bool
}

// Conversation renders a conversation by a template, with a placeholder for each image. A text
// that holds the placeholder itself is refused: it would be taken for an image.
func (l *LLaVA) Conversation(t *chat.Template, turns []Turn) (string, error) {
	images := 0
	lists, texts := make([]chat.Message, len(turns)), make([]chat.Message, len(turns))
	for i, turn := range turns {
		var parts []any
		var content strings.Builder
		for _, p := range turn.Parts {
			if p.Image {
				images++
				parts = append(parts, map[string]any{"type": "image"})
				content.WriteString(Placeholder + "\n")
				continue
			}
			if strings.Contains(p.Text, Placeholder) {
				return "", fmt.Errorf("%w: a text says %s, which stands for an image", ErrPlaceholders, Placeholder)
			}
			parts = append(parts, map[string]any{"type": "text", "text": p.Text})
			content.WriteString(p.Text)
		}
		lists[i] = chat.Message{Role: turn.Role, Parts: parts}
		texts[i] = chat.Message{Role: turn.Role, Content: content.String()}
	}
	// Some templates want the content as a list, others as a text.
	if images > 0 {
		prompt, err := t.Render(lists, true)
		if err == nil && strings.Count(prompt, Placeholder) == images && saysAll(prompt, turns) {
			return prompt, nil
		}
	}
	prompt, err := t.Render(texts, true)
	if err != nil {
		return "", err
	}
	if n := strings.Count(prompt, Placeholder); n != images {
		return "", fmt.Errorf("%w: chat template (%s): want %d of %s in the prompt, got %d", ErrPlaceholders, t.Name(), images, Placeholder, n)
	}
	return prompt, nil
}

// saysAll reports whether a prompt holds every text of a conversation.
func saysAll(prompt string, turns []Turn) bool {
	for _, turn := range turns {
		for _, p := range turn.Parts {
			if !strings.Contains(prompt, strings.TrimSpace(p.Text)) {
				return false
			}
		}
	}
	return true
}
