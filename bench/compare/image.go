package compare

import (
	"context"
	"errors"
	"time"

	"mop/bench/latency"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
	"mop/runtime/vision"
)

// imageStage is what a run with an image does before the language model begins.
type imageStage struct {
	tower     *vision.Tower
	processor *vision.Processor
	picture   *vision.Picture
	own       device.Device // of the tower alone, nil = none
	last      latency.Stages
}

// newImageStage opens the vision tower of a source: the stored one, or a random one for
// random weights of a LLaVA's config.
func newImageStage(dev device.Device, src checkpoint.Source, o *Options) (*imageStage, error) {
	if o.Protocol.Batch != 1 {
		return nil, errors.New("an image: want a batch of 1")
	}
	on, own, err := vision.Device(dev)
	if err != nil {
		return nil, err
	}
	s := &imageStage{picture: o.Image, own: own}
	if dir, stored := src.(*checkpoint.Dir); stored {
		if s.tower, err = vision.Open(on, src); err == nil {
			s.processor, err = vision.OpenProcessor(dir.Path, src.Config(), s.tower.Config.ImageSize)
		}
	} else if s.tower, err = vision.OpenRandom(on, src.Config(), o.From.Seed); err == nil {
		s.processor = vision.CLIPProcessor(s.tower.Config.ImageSize)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *imageStage) close() error {
	if s.tower != nil {
		s.tower.Close()
	}
	if s.own != nil {
		return s.own.Close()
	}
	return nil
}

// wrap makes a model's runs begin with the image. Its embeddings replace the tokens behind
// the first one. The clock is read between the stages, which all wait for their result.
func (s *imageStage) wrap(under *latency.Model, m *model.Model, cache *kvcache.Cache) {
	// The time to the first token is not that of the prompt's pass alone.
	under.PrefillFlops, under.PrefillBytes = 0, 0
	under.Stages = func() latency.Stages { return s.last }
	under.Generate = func(ctx context.Context, prompts [][]int, out int, step func()) error {
		start := time.Now()
		pixels := s.processor.Pixels(s.picture)
		preprocessed := time.Now()
		features, err := s.tower.Features(pixels)
		if err != nil {
			return err
		}
		seen := time.Now()
		rows, err := s.tower.Project(features)
		if err != nil {
			return err
		}
		s.last = latency.Stages{Preprocess: preprocessed.Sub(start), Vision: seen.Sub(preprocessed), Projection: time.Since(seen)}
		o := generate.Options{MaxTokens: out, IgnoreEOS: true, Embeddings: [][]model.Embeddings{{{At: 1, Rows: rows}}}}
		return generate.Run(ctx, m, cache, prompts, o, func(_, _ []int) []int {
			step()
			return nil
		})
	}
}
