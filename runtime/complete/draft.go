package complete

import (
	"context"
	"fmt"

	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/open"
)

// Draft is a smaller model of the same vocabulary that proposes tokens.
type Draft struct {
	Model  *open.Model
	Tokens int // proposed at a time; 0 for as many as are fastest by measurement
	Stats  generate.Speculation
}

// String reports how many of the proposals were accepted.
func (d *Draft) String() string {
	s := d.Stats
	return fmt.Sprintf("draft: %d of %d proposed tokens accepted (%.0f %%), %d passes of the model", s.Accepted, s.Drafted, 100*s.Acceptance(), s.Passes)
}

func (d *Draft) generate(ctx context.Context, m *open.Model, cache *kvcache.Cache, prompt []int, o generate.Options, emit func(token int) (done bool)) error {
	other, err := open.Cache(m.Device(), d.Model.Config, 1, min(cache.MaxPositions, d.Model.Config.MaxPositions))
	if err != nil {
		return d.Model.Wrap(err)
	}
	defer other.Close()
	stats, err := generate.RunSpeculative(ctx, m.Model, cache, generate.Draft{Model: d.Model.Model, Cache: other, Tokens: d.Tokens}, prompt, o, emit)
	d.Stats.Drafted += stats.Drafted
	d.Stats.Accepted += stats.Accepted
	d.Stats.Passes += stats.Passes
	return err
}
