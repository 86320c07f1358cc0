package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/open"
)

// draftFlags say which model proposes tokens.
type draftFlags struct {
	dir    string
	tokens int
}

func (d *draftFlags) register(f *pflag.FlagSet) {
	f.StringVar(&d.dir, "draft", "", "directory of a smaller model of the same vocabulary, such as a pruned one, that proposes tokens: the text stays the same, or has the same distribution with a temperature, and comes faster where most proposals are right")
	f.IntVar(&d.tokens, "draft-tokens", 0, "tokens that the draft proposes at a time, 1 to 8, 0 = as many as are fastest by measurement")
}

func (d *draftFlags) check() error {
	if d.tokens < 0 || d.tokens > 8 {
		return usage("--draft-tokens: want 0 to 8, got %d", d.tokens)
	}
	if d.tokens > 0 && d.dir == "" {
		return usage("--draft-tokens: needs a --draft")
	}
	return nil
}

// draft is the loaded draft model; the zero value is none.
type draft struct {
	model  *open.Model
	tokens int
	stats  *generate.Speculation
}

// load loads the draft onto the device of the model.
func (d *draftFlags) load(m *open.Model, o *options) (draft, error) {
	if d.dir == "" {
		return draft{}, nil
	}
	small, err := open.LoadModel(m.Device(), d.dir, o.from, o.weights)
	if err != nil {
		return draft{}, err
	}
	return draft{small, d.tokens, &generate.Speculation{}}, nil
}

func (d draft) close() {
	if d.model != nil {
		d.model.Close()
	}
}

// report writes how the proposals fared.
func (d draft) report(w io.Writer) {
	if d.model != nil {
		fmt.Fprintf(w, "draft: %d of %d proposed tokens accepted (%.0f %%), %d passes of the model\n", d.stats.Accepted, d.stats.Drafted, 100*d.stats.Acceptance(), d.stats.Passes)
	}
}

// run continues a prompt with the model, with the draft where there is one. The cache has one
// sequence.
func (d draft) run(ctx context.Context, m *open.Model, cache *kvcache.Cache, prompt []int, g generate.Options, emit func(token int) (done bool)) error {
	if d.model == nil {
		return generate.Run(ctx, m.Model, cache, [][]int{prompt}, g, func(_, tokens []int) []int {
			if emit(tokens[0]) {
				return []int{0}
			}
			return nil
		})
	}
	other, err := open.Cache(m.Device(), d.model.Config, 1, min(cache.MaxPositions, d.model.Config.MaxPositions))
	if err != nil {
		return d.model.Wrap(err)
	}
	defer other.Close()
	stats, err := generate.RunSpeculative(ctx, m.Model, cache, generate.Draft{Model: d.model.Model, Cache: other, Tokens: d.tokens}, prompt, g, emit)
	d.stats.Drafted, d.stats.Accepted, d.stats.Passes = d.stats.Drafted+stats.Drafted, d.stats.Accepted+stats.Accepted, d.stats.Passes+stats.Passes
	return err
}
