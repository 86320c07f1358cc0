package server

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"

	"mop/runtime/engine"
	"mop/runtime/model"
	"mop/runtime/vision"
)

// Limits of pictures.
const (
	maxImages      = 16       // in a request
	maxImagePixels = 32 << 20 // of each, before it is scaled down
)

// chatBody is the largest body of a chat: larger where a model takes pictures.
func (s *Server) chatBody() int64 {
	for _, m := range s.served() {
		if m.vision != nil {
			return max(s.o.MaxBody, s.o.MaxImageBody)
		}
	}
	return s.o.MaxBody
}

// readImageURL reads a part {"type":"image_url","image_url":{"url":"data:...","detail":"auto"}}.
func readImageURL(f *fields) []byte {
	in := f.object("image_url")
	if in == nil {
		f.fail("image_url", "is required")
		return nil
	}
	image := readDataURL(in, "url")
	readDetail(in)
	f.close(in)
	return image
}

// readInputImage reads a part {"type":"input_image","image_url":"data:..."}.
func readInputImage(f *fields) []byte {
	image := readDataURL(f, "image_url")
	readDetail(f)
	return image
}

// readDetail reads how closely the model is to look at a picture. A tower has one size.
func readDetail(f *fields) { f.neutral("detail", `"auto"`, `"low"`) }

// readImageSource reads a part {"type":"image","source":{"type":"base64","media_type":"image/png","data":"..."}}.
func readImageSource(f *fields) []byte {
	in := f.object("source")
	if in == nil {
		f.fail("source", "is required")
		return nil
	}
	defer func() { f.close(in) }()
	if kind, _ := in.text("type"); kind != "base64" {
		in.fail("type", "want base64, got %q: pictures must be in the request, and are not fetched", clip([]byte(kind)))
		return nil
	}
	media, _ := in.text("media_type")
	data, _ := in.text("data")
	return decodeImage(in, "data", media, data)
}

// readDataURL reads a picture in an address of the form data:image/png;base64,.... Others are
// refused: the server fetches nothing.
func readDataURL(f *fields, name string) []byte {
	url, ok := f.text(name)
	if !ok {
		f.fail(name, "is required")
		return nil
	}
	rest, ok := strings.CutPrefix(url, "data:")
	if !ok {
		f.fail(name, "want a picture as data:image/png;base64,..., got %q: addresses are not fetched", clip([]byte(url)))
		return nil
	}
	head, data, ok := strings.Cut(rest, ",")
	media, base64 := strings.CutSuffix(head, ";base64")
	if !ok || !base64 {
		f.fail(name, "want data:image/png;base64,..., got %q", clip([]byte(url)))
		return nil
	}
	return decodeImage(f, name, media, data)
}

// decodeImage decodes the base64 text of a picture's file. The type that the client states must
// be that of a picture; the format itself is read from the file.
func decodeImage(f *fields, name, media, data string) []byte {
	if !strings.HasPrefix(strings.ToLower(media), "image/") {
		f.fail(name, "want a picture of type image/png or image/jpeg, got %q", clip([]byte(media)))
		return nil
	}
	image, err := base64.StdEncoding.DecodeString(data)
	switch {
	case err != nil:
		f.fail(name, "want base64: %v", err)
		return nil
	case len(image) == 0:
		f.fail(name, "%v: the file is empty", vision.ErrPicture)
		return nil
	}
	return image
}

// renderImages makes the prompt of a conversation with a model that takes pictures.
func (c *chatRequest) renderImages(turns []turn) *apiError {
	m := c.model
	var all []vision.Turn
	var images []contentPart
	for _, t := range turns {
		out := vision.Turn{Role: t.role}
		for _, p := range t.parts {
			out.Parts = append(out.Parts, vision.Part{Text: p.text, Image: p.image != nil})
			if p.image != nil {
				images = append(images, p)
			}
		}
		all = append(all, out)
	}
	if len(images) > maxImages {
		return badField("messages", "want at most %d pictures, got %d", maxImages, len(images))
	}
	text, err := m.vision.Conversation(m.template, all)
	var in *vision.Input
	if err == nil {
		in, err = m.vision.Encode(text, make([][]float32, len(images)))
	}
	if limit := m.Engine.Stats().MaxContext; err == nil && len(in.Tokens) > limit {
		err = fmt.Errorf("a conversation of %d tokens with %d pictures: %w of %d", len(in.Tokens), len(images), model.ErrContext, limit)
	}
	if err != nil {
		bad := badField("messages", "%v", err)
		if errors.Is(err, model.ErrContext) {
			bad.Code = "context_length_exceeded"
		}
		return bad
	}
	c.prompt = in.Tokens
	for i, p := range images {
		pixels, err := m.pixels(p.image)
		if err != nil {
			return badField(p.field, "%v", err)
		}
		// All sequences of the request share what the first one computes.
		compute := sync.OnceValues(func() ([]float32, error) { return m.vision.EmbedPixels(pixels) })
		c.base.Images = append(c.base.Images, engine.Image{At: in.Embeddings[i].At, Tokens: m.vision.Tower.Config.Tokens(), Compute: compute})
	}
	return nil
}

// pixels decodes and preprocesses the file of a picture.
func (m *Model) pixels(file []byte) ([]float32, error) {
	pictureTurn.Lock()
	defer pictureTurn.Unlock()
	p, err := vision.DecodeUpTo(file, maxImagePixels)
	if err != nil {
		return nil, err
	}
	return m.vision.Processor.Pixels(p), nil
}

// checkPlaceholders refuses a prompt with the token that stands for a picture, which only a
// chat can have.
func (m *Model) checkPlaceholders(prompt []int) error {
	if m.vision == nil {
		return nil
	}
	for _, id := range prompt {
		if id == m.vision.Tower.Config.ImageToken {
			return fmt.Errorf("%w: token %d stands for a picture: use /v1/chat/completions", vision.ErrPlaceholders, id)
		}
	}
	return nil
}
