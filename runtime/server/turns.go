package server

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"

	"mop/runtime/chat"
	"mop/runtime/tokenizer"
)

// turn is one turn of a conversation as a client sends it.
type turn struct {
	role  string
	parts []contentPart
}

// contentPart is a text, or the file of a picture.
type contentPart struct {
	text  string
	image []byte // nil = a text
	field string // of the body that holds the picture, for errors
}

func textTurn(role, text string) turn { return turn{role, []contentPart{{text: text}}} }

// text joins the texts of a turn.
func (t *turn) text() string {
	var b strings.Builder
	for _, p := range t.parts {
		b.WriteString(p.text)
	}
	return b.String()
}

// contentForm says which types of parts a content may have.
type contentForm struct {
	texts     []string
	image     string                  // the type of pictures, "" = there are none
	readImage func(in *fields) []byte // reads the part of a picture
	refuse    string                  // why pictures are refused, "" = they are not
}

// The forms of the three ways to chat.
var (
	chatContent      = contentForm{texts: []string{"text"}, image: "image_url", readImage: readImageURL}
	messagesContent  = contentForm{texts: []string{"text"}, image: "image", readImage: readImageSource}
	responsesContent = contentForm{texts: []string{"input_text", "output_text", "text"}, image: "input_image", readImage: readInputImage}
)

// of is the form for a model.
func (c contentForm) of(m *Model) contentForm {
	if m.vision == nil {
		c.refuse = "the model " + m.Name + " takes texts only, no pictures"
	}
	return c
}

// readMessages reads the turns of a conversation. The content of one is a text or an array of
// parts.
func readMessages(f *fields, form contentForm) (turns []turn) {
	for i, raw := range f.list("messages") {
		in := &fields{prefix: f.prefix + "messages[" + strconv.Itoa(i) + "]."}
		if err := json.Unmarshal(raw, &in.raw); err != nil || in.raw == nil {
			f.fail("messages["+strconv.Itoa(i)+"]", "want an object, got %s", clip(raw))
			return nil
		}
		role, ok := in.text("role")
		switch {
		case !ok:
			in.fail("role", "is required")
		case role == "developer": // the newer name of the same role
			role = "system"
		case role != "system" && role != "user" && role != "assistant":
			in.fail("role", "want system, developer, user or assistant, got %q", clip([]byte(role)))
		}
		parts := readContent(in, "content", form)
		checkImageRole(in, role, parts)
		in.neutral("tool_calls", `[]`)
		in.ignore("name", "refusal", "annotations")
		f.close(in)
		turns = append(turns, turn{role, parts})
	}
	if len(turns) == 0 {
		f.fail("messages", "want at least one message, got none")
	}
	return turns
}

// checkImageRole refuses pictures that are not a user's.
func checkImageRole(f *fields, role string, parts []contentPart) {
	for _, p := range parts {
		if p.image != nil && role != "user" {
			f.fail("content", "want pictures in messages of the user only, got one of %s", role)
		}
	}
}

// readContent reads a text, or an array of parts of a form.
func readContent(f *fields, name string, form contentForm) (parts []contentPart) {
	raw, ok := f.raw[name]
	if !ok || string(raw) == "null" {
		f.fail(name, "is required")
		return nil
	}
	if raw[0] != '[' {
		text, _ := f.text(name)
		return []contentPart{{text: text}}
	}
	types := form.texts
	if form.image != "" {
		types = append(slices.Clone(types), form.image)
	}
	for i, part := range f.list(name) {
		in := &fields{prefix: f.prefix + name + "[" + strconv.Itoa(i) + "]."}
		if err := json.Unmarshal(part, &in.raw); err != nil || in.raw == nil {
			f.fail(name, "want an array of objects, got %s in it", clip(part))
			return nil
		}
		p := contentPart{field: strings.TrimSuffix(in.prefix, ".")}
		kind, _ := in.text("type")
		switch {
		case slices.Contains(form.texts, kind):
			if p.text, ok = in.text("text"); !ok {
				in.fail("text", "is required")
			}
		case kind == form.image && form.refuse != "":
			f.fail(name, "%s", form.refuse)
			return nil
		case kind == form.image && kind != "":
			p.image = form.readImage(in)
		default:
			f.fail(name, "want parts of type %s, got %q", strings.Join(types, " or "), clip([]byte(kind)))
			return nil
		}
		in.ignore("cache_control", "annotations", "citations")
		f.close(in)
		parts = append(parts, p)
	}
	return parts
}

// render makes the prompt of a conversation. Pictures are decoded only when the prompt is
// known to fit into the context.
func (c *chatRequest) render(turns []turn) *apiError {
	m := c.model
	template := m.template
	if template == nil {
		return badRequest("the model %s has no chat template: use /v1/completions, or start the server with --chat-template", m.Name)
	}
	if m.vision != nil {
		return c.renderImages(turns)
	}
	var messages []chat.Message
	for _, t := range turns {
		messages = append(messages, chat.Message{Role: t.role, Content: t.text()})
	}
	text, err := template.Render(messages, true)
	if err != nil {
		return badField("messages", "%v", err)
	}
	// The template writes BOS itself.
	if c.prompt, err = m.Tokenizer.Encode([]byte(text), tokenizer.EncodeOptions{Special: true}); err != nil {
		return badField("messages", "%v", err)
	}
	if len(c.prompt) == 0 {
		return badField("messages", "want at least one token, got none")
	}
	return nil
}

// pictureTurn lets one picture be decoded at a time, since the pixels of one can take much
// memory.
var pictureTurn sync.Mutex
