package main

import (
	"fmt"
	"strings"

	"mop/runtime/open"
	"mop/runtime/vision"
)

// readImages reads the pictures of a prompt. It refuses what a model without a vision tower
// would misread, before the weights are loaded.
func readImages(dir string, prompt []byte, paths []string) ([]*vision.Picture, error) {
	placeholders := strings.Count(string(prompt), vision.Placeholder)
	if len(paths) == 0 && placeholders == 0 {
		return nil, nil
	}
	c, err := open.Config(dir)
	if err != nil {
		return nil, err
	}
	if c.Multimodal == nil {
		if len(paths) == 0 {
			return nil, nil // a text like any other
		}
		return nil, fmt.Errorf("%s: %w", dir, vision.ErrNone)
	}
	if placeholders > 0 && placeholders != len(paths) {
		return nil, fmt.Errorf("%w: the prompt has %d of %s, and --image is given %d times", vision.ErrPlaceholders, placeholders, vision.Placeholder, len(paths))
	}
	var pictures []*vision.Picture
	for _, path := range paths {
		p, err := vision.ReadPicture(path)
		if err != nil {
			return nil, err
		}
		pictures = append(pictures, p)
	}
	return pictures, nil
}

// encodeImages turns a question about pictures into a prompt by the model's template, with
// the embeddings of the pictures.
func encodeImages(m *open.Model, text string, pictures []*vision.Picture) (*vision.Input, error) {
	l, err := vision.OpenLLaVA(m.Device(), m.Name, m.Source)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.Ask(text, pictures)
}
