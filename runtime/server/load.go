package server

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"mop/runtime/chat"
	"mop/runtime/device"
	"mop/runtime/engine"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
	"mop/runtime/vision"
)

// Spec says which model is served, and how.
type Spec struct {
	Name    string // that clients select it by
	Dir     string // the checkpoint
	Weights open.ModelOptions
	Engine  engine.Options
	// Chat is the chat template: the name of a built-in one or a file; "" = the checkpoint's own.
	Chat string
}

// Load loads a model onto a device that others may share.
func Load(dev device.Device, spec Spec) (*Model, error) {
	t, err := tokenizer.Open(spec.Dir)
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
	context := orDefault(spec.Engine.MaxContext, loaded.Config.MaxPositions)
	err = loaded.Wrap(checkCache(dev, loaded, spec.Engine, context))
	var e *engine.Engine
	var eyes *vision.LLaVA
	if err == nil && loaded.Config.Multimodal != nil {
		eyes, err = vision.OpenLLaVA(dev, spec.Dir, loaded.Source)
	}
	if err == nil {
		e, err = engine.New(loaded.Model, spec.Engine)
	}
	if err != nil {
		return nil, errors.Join(err, closeVision(eyes), loaded.Close())
	}
	m := NewModel(spec.Name, spec.Dir, loaded.Config, t, e)
	m.template, m.vision = template, eyes
	if eyes != nil && spec.Chat == "" {
		m.template = eyes.Template()
	}
	m.close = func() error { return errors.Join(e.Close(), closeVision(eyes), loaded.Close()) }
	return m, nil
}

func closeVision(l *vision.LLaVA) error {
	if l == nil {
		return nil
	}
	return l.Close()
}

// checkCache refuses a cache that does not fit into the host's memory.
func checkCache(dev device.Device, m *open.Model, o engine.Options, context int) error {
	bytes := open.CacheBytes(dev, m.Config, o.MaxBatch, context)
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
