// Package compare loads models side by side on one device, measures their latency in
// turns by the protocol of package latency, and returns the entries of a report. It is
// what mop bench does; mop compare, which compares pruning methods, is package study.
package compare

import (
	"context"
	"fmt"
	"slices"
	"time"

	"mop/bench/hardware"
	"mop/bench/latency"
	"mop/bench/report"
	"mop/bench/trace"
	"mop/internal/progress"
	"mop/runtime/device"
	"mop/runtime/kvcache"
	"mop/runtime/model"
	"mop/runtime/open"
	"mop/runtime/timing"
	"mop/runtime/vision"
)

// Options of a comparison.
type Options struct {
	Protocol latency.Protocol
	From     open.SourceOptions // of random weights
	Weights  open.ModelOptions
	Kernels  string // the set that the device was opened with
	KVType   string // of the KV cache: see device.WithCacheType

	// Precision asks for more rounds than the protocol's until every speed-up's interval
	// is at most this wide, as a share of the speed-up. That an interval is wide decides,
	// not the speed-up itself. 0 = never more.
	Precision float64
	Limit     time.Duration // no round begins later than this after the first

	// Image is a picture that every prompt holds behind its first token; nil = none. The
	// protocol's prompt tokens are then those of the text.
	Image *vision.Picture

	// Trace is called with a trace of every model's pass, after the measurements; nil = none.
	Trace func(trace.Pass) error

	Sample   func(latency.Sample) error // called after every run; an error ends the comparison
	Progress progress.Func
}

// Run loads all models on a device, the dense one first, and measures them. On an error
// the samples so far come with it.
func Run(ctx context.Context, dev device.Device, models []Model, o Options) ([]report.Entry, []latency.Sample, error) {
	caches, err := device.WithCacheType(dev, o.KVType)
	if err != nil {
		return nil, nil, err
	}
	loaded, layers, closeAll, err := load(dev, caches, models, &o)
	defer closeAll()
	if err != nil {
		return nil, nil, err
	}
	env, err := environment(caches, o, false)
	if err != nil {
		return nil, nil, err
	}
	p, start := o.Protocol, time.Now()
	samples, err := latency.Measure(ctx, p, loaded, latency.Options{
		OtherLoad: hardware.OtherLoad,
		More: func(rounds int, samples []latency.Sample) bool {
			if o.Precision == 0 || time.Since(start) > o.Limit {
				return false
			}
			width, err := latency.Widest(p, loaded, samples, rounds)
			return err == nil && width > o.Precision
		},
		Progress: o.Progress,
		Sample:   o.Sample,
	})
	if err != nil {
		return nil, samples, err
	}
	if o.Trace != nil {
		if err := traceAll(ctx, dev, loaded, p, o.Trace); err != nil {
			return nil, samples, err
		}
	}
	p.Runs = samples[len(samples)-1].Round + 1
	rows, err := latency.Rows(p, loaded, samples, env)
	if err != nil {
		return nil, samples, err
	}
	if env.RooflineLoad > latency.Busy || exceedsRoofline(rows) {
		again, err := environment(caches, o, true)
		if err != nil {
			return nil, samples, err
		}
		env.ReadGBps, env.FMAGflops = max(env.ReadGBps, again.ReadGBps), max(env.FMAGflops, again.FMAGflops)
		env.RooflineLoad = min(env.RooflineLoad, again.RooflineLoad) // of two measurements, the higher is the better
		if rows, err = latency.Rows(p, loaded, samples, env); err != nil {
			return nil, samples, err
		}
	}
	warnOfLoad(rows)
	entries := report.Entries(rows)
	for i := range entries {
		entries[i].Series, entries[i].Layers = models[i].Series, layers[i]
	}
	return entries, samples, nil
}

// exceedsRoofline reports whether rows exceed the machine's cached roofline, which was then
// measured in worse conditions.
func exceedsRoofline(rows []latency.Row) bool {
	return slices.ContainsFunc(rows, func(r latency.Row) bool {
		return r.Share != nil && *r.Share > 1 || r.PrefillShare != nil && *r.PrefillShare > 1
	})
}

// load loads all models; caches makes their KV caches. closeAll is never nil, and is called whatever else load returns.
func load(dev, caches device.Device, models []Model, o *Options) (loaded []latency.Model, layers [][]report.Layer, closeAll func(), err error) {
	var closers []func() error
	closeAll = func() {
		for _, c := range slices.Backward(closers) {
			c()
		}
	}
	generated := 0.0 // bytes of weights that are not mapped
	text := 0        // prompt tokens beside those of the image
	for i, x := range models {
		start := time.Now()
		src, err := x.Open()
		if err != nil {
			return nil, nil, closeAll, err
		}
		closers = append(closers, src.Close)
		generated += o.From.GeneratedBytes(src)
		if err := open.CheckMemory(dev, x.Name+" and the models before it", generated); err != nil {
			return nil, nil, closeAll, err
		}
		m, err := open.PlaceWeights(dev, src, o.Weights)
		if err != nil {
			return nil, nil, closeAll, fmt.Errorf("%s: %w", x.Name, err)
		}
		closers = append(closers, m.Close)
		var image *imageStage
		if o.Image != nil {
			if image, err = newImageStage(dev, src, o); err != nil {
				return nil, nil, closeAll, fmt.Errorf("%s: %w", x.Name, err)
			}
			closers = append(closers, image.close)
			if i == 0 {
				o.Protocol.In += image.tower.Config.Tokens()
				text = o.Protocol.In - image.tower.Config.Tokens()
			} else if n := image.tower.Config.Tokens(); text+n != o.Protocol.In {
				return nil, nil, closeAll, fmt.Errorf("%s: an image has %d tokens, that of %s has %d", x.Name, n, models[0].Name, o.Protocol.In-text)
			}
		}
		one, cache, err := underTest(caches, m, x.Name, o.Protocol, time.Since(start))
		if err != nil {
			return nil, nil, closeAll, fmt.Errorf("%s: %w", x.Name, err)
		}
		closers = append(closers, func() error { cache.Close(); return nil })
		if image != nil {
			image.wrap(&one, m, cache)
		}
		if err := open.CheckFinite(src); err != nil { // not part of the load time
			return nil, nil, closeAll, err
		}
		if i > 0 {
			one.Compression = 1 - float64(one.Params)/float64(loaded[0].Params)
		}
		shapes, err := report.Layers(m.Config.Layers, x.From)
		if err != nil {
			shapes = nil
		}
		loaded, layers = append(loaded, one), append(layers, shapes)
	}
	return loaded, layers, closeAll, nil
}

// underTest describes a loaded model to package latency, with the cache that it runs with.
func underTest(caches device.Device, m *model.Model, name string, p latency.Protocol, load time.Duration) (latency.Model, *kvcache.Cache, error) {
	c := m.Config
	if p.In+p.Out > c.MaxPositions {
		return latency.Model{}, nil, fmt.Errorf("%d tokens in and %d out: %w of %d", p.In, p.Out, model.ErrContext, c.MaxPositions)
	}
	cache, err := open.Cache(caches, c, p.Batch, p.In+p.Out)
	if err != nil {
		return latency.Model{}, nil, err
	}
	// A decode step reads the weights once for all sequences, and each sequence's cache.
	weights := m.BytesPerToken(0)
	perToken := weights/int64(p.Batch) + int64(open.CacheBytes(caches, c, 1, p.In+p.Out/2))
	special := slices.Clone(c.EOS)
	if c.BOS >= 0 {
		special = append(special, c.BOS)
	}
	return latency.Model{
		Name: name, Params: c.Params(), Vocab: c.VocabSize, SpecialTokens: special, Context: c.MaxPositions,
		BytesPerToken: perToken, PrefillBytes: weights,
		PrefillFlops: int64(p.Batch) * model.PromptFlops(c, p.In), DecodeFlops: model.Flops(c, p.In+p.Out/2, 1, 1),
		PeakBytes: m.WeightBytes() + int64(open.CacheBytes(caches, c, p.Batch, p.In+p.Out)), Load: load,
		Generate: timing.Generator(m, cache),
	}, cache, nil
}
