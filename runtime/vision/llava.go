package vision

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"mop/runtime/chat"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
)

// Placeholder is the text that stands for an image in a prompt.
const Placeholder = "<image>"

// ErrPlaceholders is wrapped by the errors of prompts with too few or too many placeholders.
var ErrPlaceholders = errors.New("images and placeholders differ in number")

// LLaVA is what a LLaVA has beside its language model: the vision tower, the preprocessing
// of pictures, and the form of its prompts.
type LLaVA struct {
	Tower     *Tower
	Processor *Processor

	text      *config.Config // of the language model
	tokenizer *tokenizer.Tokenizer
	template  *chat.Template
	known     bool          // the tokenizer has a token for the placeholder: the config's
	own       device.Device // a device that only the tower is on, nil = none
}

// OpenLLaVA loads the vision side of a model directory. The source is that of the language
// model; it must stay open. A device without the operations of a vision tower leaves the
// tower to the CPU.
func OpenLLaVA(dev device.Device, dir string, src checkpoint.Source) (*LLaVA, error) {
	l := &LLaVA{text: src.Config()}
	if err := l.open(dev, dir, src); err != nil {
		l.Close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return l, nil
}

// Device is the device that a tower runs on: the given one, or the CPU where that lacks the
// operations. own is the latter, for the caller to close; else it is nil.
func Device(dev device.Device) (on device.Vision, own device.Device, err error) {
	if on, ok := dev.(device.Vision); ok {
		return on, nil, nil
	}
	slog.Info("the vision tower runs on the CPU", "because", "device "+dev.Capabilities().Name+" does not have its operations")
	host, err := cpu.New(0)
	if err != nil {
		return nil, nil, err
	}
	return host, host, nil
}

func (l *LLaVA) open(dev device.Device, dir string, src checkpoint.Source) (err error) {
	if l.text.Multimodal == nil {
		return ErrNone
	}
	if l.template, err = chat.Open(dir); err != nil {
		return err
	}
	if l.tokenizer, err = tokenizer.Open(dir); err != nil {
		return err
	}
	on, own, err := Device(dev)
	if err != nil {
		return err
	}
	l.own = own
	if l.Tower, err = Open(on, src); err != nil {
		return err
	}
	if l.Processor, err = OpenProcessor(dir, l.text, l.Tower.Config.ImageSize); err != nil {
		return err
	}
	ids, err := l.tokenizer.Encode([]byte(Placeholder), tokenizer.EncodeOptions{Special: true})
	if err != nil {
		return err
	}
	l.known = len(ids) == 1 && ids[0] == l.Tower.Config.ImageToken
	return nil
}

// Template is the form of the model's prompts.
func (l *LLaVA) Template() *chat.Template { return l.template }

// Close frees the tower.
func (l *LLaVA) Close() error {
	if l.Tower != nil {
		l.Tower.Close()
	}
	if l.own != nil {
		return l.own.Close()
	}
	return nil
}

// Embed computes the embeddings that stand for a picture.   [Tokens, D]
func (l *LLaVA) Embed(p *Picture) ([]float32, error) { return l.EmbedPixels(l.Processor.Pixels(p)) }

// EmbedPixels is Embed for a picture that the processor has preprocessed.
func (l *LLaVA) EmbedPixels(pixels []float32) ([]float32, error) {
	features, err := l.Tower.Features(pixels)
	if err != nil {
		return nil, err
	}
	return l.Tower.Project(features)
}

// Prompt renders a question about some images by the model's template. A text that holds
// placeholders keeps them where they are; otherwise the images come first.
func (l *LLaVA) Prompt(text string, images int) (string, error) {
	if n := strings.Count(text, Placeholder); n > 0 {
		if n != images {
			return "", fmt.Errorf("%w: the prompt has %d of %s, and there are %d images", ErrPlaceholders, n, Placeholder, images)
		}
		images = 0
	}
	placed := strings.Count(text, Placeholder) + images
	var parts []any
	for range images {
		parts = append(parts, map[string]any{"type": "image"})
	}
	parts = append(parts, map[string]any{"type": "text", "text": text})
	// Some templates want the content as a list, others as a text.
	prompt, err := l.template.Render([]chat.Message{{Role: "user", Parts: parts}}, true)
	if err == nil && strings.Count(prompt, Placeholder) == placed && strings.Contains(prompt, strings.TrimSpace(text)) {
		return prompt, nil
	}
	content := strings.Repeat(Placeholder+"\n", images) + text
	prompt, err = l.template.Render([]chat.Message{{Role: "user", Content: content}}, true)
	if err != nil {
		return "", err
	}
	if n := strings.Count(prompt, Placeholder); n != placed {
		return "", fmt.Errorf("chat template (%s): want %d of %s in the prompt, got %d", l.template.Name(), placed, Placeholder, n)
	}
	return prompt, nil
}

// Ask makes the prompt of a question about pictures. The context is checked before their
// features are computed.
func (l *LLaVA) Ask(text string, pictures []*Picture) (*Input, error) {
	prompt, err := l.Prompt(text, len(pictures))
	if err != nil {
		return nil, err
	}
	if _, err := l.Encode(prompt, make([][]float32, len(pictures))); err != nil {
		return nil, err
	}
	images := make([][]float32, len(pictures))
	for i, p := range pictures {
		if images[i], err = l.Embed(p); err != nil {
			return nil, err
		}
	}
	return l.Encode(prompt, images)
}

// Input is a prompt as the language model takes it.
type Input struct {
	Tokens     []int
	Embeddings []model.Embeddings
}

// Encode turns a prompt with placeholders into tokens, as many for each placeholder as an
// image has embeddings, and puts the embeddings of the images in their places.
// images: each [Tokens, D]
func (l *LLaVA) Encode(prompt string, images [][]float32) (*Input, error) {
	if n := strings.Count(prompt, Placeholder); n != len(images) {
		return nil, fmt.Errorf("%w: the prompt has %d of %s, and there are %d images", ErrPlaceholders, n, Placeholder, len(images))
	}
	parts, err := l.encodeParts(prompt)
	if err != nil {
		return nil, err
	}
	per := l.Tower.Config.Tokens()
	in := &Input{Tokens: parts[0]}
	for i, part := range parts[1:] {
		in.Embeddings = append(in.Embeddings, model.Embeddings{At: len(in.Tokens), Rows: images[i]})
		for range per {
			in.Tokens = append(in.Tokens, l.filler())
		}
		in.Tokens = append(in.Tokens, part...)
	}
	if n, limit := len(in.Tokens), l.text.MaxPositions; n > limit {
		return nil, fmt.Errorf("%d images of %d tokens each and a text of %d: %d tokens: %w of %d", len(images), per, n-per*len(images), n, model.ErrContext, limit)
	}
	return in, nil
}

// filler is the token whose embedding an image's row replaces.
func (l *LLaVA) filler() int {
	if id := l.Tower.Config.ImageToken; id >= 0 && id < l.text.VocabSize {
		return id
	}
	return 0
}

// encodeParts encodes the text between the placeholders. Where the tokenizer knows the
// placeholder, the prompt is encoded as a whole, as transformers does it; else each part is
// encoded for itself, as LLaVA's own code does it.
func (l *LLaVA) encodeParts(prompt string) ([][]int, error) {
	// The template may write the BOS token, which encoding puts in front.
	if bos := l.template.Token("bos_token"); bos != "" {
		prompt = strings.TrimPrefix(prompt, bos)
	}
	if !l.known {
		var parts [][]int
		for i, text := range strings.Split(prompt, Placeholder) {
			tokens, err := l.tokenizer.Encode([]byte(text), tokenizer.EncodeOptions{BOS: i == 0, Special: true})
			if err != nil {
				return nil, err
			}
			parts = append(parts, tokens)
		}
		return parts, nil
	}
	tokens, err := l.tokenizer.Encode([]byte(prompt), tokenizer.EncodeOptions{BOS: true, Special: true})
	if err != nil {
		return nil, err
	}
	parts := [][]int{nil}
	for _, token := range tokens {
		if token == l.Tower.Config.ImageToken {
			parts = append(parts, nil)
			continue
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], token)
	}
	return parts, nil
}
