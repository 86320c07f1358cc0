package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"mop/runtime/chat"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/engine"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
	"mop/runtime/vision"
)

// Spec says which model is served, and how.
type Spec struct {
	Name    string // that clients select it by
	Dir     string // the checkpoint, or preset:NAME with a Tokenizer
	Weights open.ModelOptions
	Engine  engine.Options
	// Chat is the chat template: the name of a built-in one or a file; "" = the checkpoint's own.
	Chat string
	// Draft is the directory of a smaller model that proposes tokens; "" = there is none.
	Draft       string
	DraftTokens int // proposed at a time; 0 = as many as are fastest by measurement
	// Tokenizer is the directory of the tokenizer; "" = the checkpoint's own.
	Tokenizer string
}

// Check returns an error if there is no such checkpoint, draft or chat template. It reads no
// weights.
func (s Spec) Check() error {
	for _, dir := range []string{s.Dir, s.Draft} {
		if dir == "" {
			continue
		}
		src, err := checkpoint.Open(dir)
		if err != nil {
			return err
		}
		src.Close()
	}
	_, err := openTemplate(s.Chat, s.Dir)
	return err
}

// Load loads a model onto a device that others may share.
func Load(dev device.Device, spec Spec) (*Model, error) {
	t, err := tokenizer.Open(cmp.Or(spec.Tokenizer, spec.Dir))
	if err != nil {
		return nil, err
	}
	template, err := openTemplate(spec.Chat, spec.Dir)
	if err != nil {
		return nil, err
	}
	loaded, err := open.LoadModel(dev, spec.Dir, open.SourceOptions{}, spec.Weights)
	if err != nil {
		return nil, err
	}
	m := NewModel(spec.Name, spec.Dir, loaded.Config, t, nil)
	m.template = template
	closers := []func() error{loaded.Close}
	m.close = func() (err error) {
		for _, c := range slices.Backward(closers) {
			err = errors.Join(err, c())
		}
		return err
	}
	used := []*open.Model{loaded}
	if spec.Draft != "" {
		draft, err := loadDraft(dev, spec, t)
		if err != nil {
			return nil, errors.Join(err, m.close())
		}
		closers = append(closers, draft.Close)
		used = append(used, draft)
		spec.Engine.Draft, m.drafted = &engine.Draft{Model: draft.Model, Tokens: spec.DraftTokens}, true
	}
	if loaded.Config.Multimodal != nil {
		if m.vision, err = vision.OpenLLaVA(dev, spec.Dir, loaded.Source); err != nil {
			return nil, errors.Join(err, m.close())
		}
		closers = append(closers, m.vision.Close)
		if spec.Chat == "" {
			m.template = m.vision.Template()
		}
	}
	if err = loaded.Wrap(checkCache(dev, used, spec.Engine, orDefault(spec.Engine.MaxContext, loaded.Config.MaxPositions))); err == nil {
		m.Engine, err = engine.New(loaded.Model, spec.Engine)
	}
	if err != nil {
		return nil, errors.Join(err, m.close())
	}
	closers = append(closers, m.Engine.Close)
	return m, nil
}

// loadDraft loads the model that proposes tokens for another one with the tokenizer t.
func loadDraft(dev device.Device, spec Spec, t *tokenizer.Tokenizer) (*open.Model, error) {
	own, err := tokenizer.Open(spec.Draft)
	if err != nil {
		return nil, err
	}
	if why := t.Difference(own); why != "" {
		return nil, fmt.Errorf("%s: want a draft with the tokenizer of %s: %s", spec.Draft, spec.Dir, why)
	}
	return open.LoadModel(dev, spec.Draft, open.SourceOptions{}, spec.Weights)
}

// checkCache refuses the caches of models that do not fit into the host's memory.
func checkCache(dev device.Device, models []*open.Model, o engine.Options, context int) error {
	bytes := 0.0
	for _, m := range models {
		bytes += open.CacheBytes(dev, m.Config, o.MaxBatch, context)
	}
	if o.CacheBytes > 0 {
		bytes = min(bytes, float64(o.CacheBytes))
	}
	return open.CheckMemory(dev, fmt.Sprintf("a KV cache of %d sequences of %d positions", o.MaxBatch, context), bytes)
}

// openTemplate gives the chat template that a user names, or the checkpoint's own, nil
// where it has none.
func openTemplate(name, dir string) (*chat.Template, error) {
	if name != "" {
		return chat.OpenNamed(name, dir)
	}
	t, err := chat.Open(dir)
	if errors.Is(err, chat.ErrNone) {
		return nil, nil
	}
	return t, err
}

// Close frees the memory of a model that Load has loaded. Its engine must have ended.
func (m *Model) Close() error {
	if m.close == nil {
		return nil
	}
	return m.close()
}

// RunEngines runs the engines of models until all of them were stopped, ctx ends, or one
// fails. Models that share a device take turns, step by step.
func RunEngines(ctx context.Context, models ...*Model) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var turn sync.Mutex
	ended := make(chan error, len(models))
	for _, m := range models {
		if len(models) > 1 {
			m.Engine.ShareDevice(&turn)
		}
		go func() { ended <- m.Engine.Run(ctx) }()
	}
	var failed error
	for range models {
		if err := <-ended; err != nil && failed == nil {
			failed = err
			cancel()
		}
	}
	return failed
}
