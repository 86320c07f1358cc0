package main

import (
	"github.com/spf13/pflag"

	"mop/runtime/complete"
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

// load loads the draft onto the device of the model. It returns nil where no draft is given.
func (d *draftFlags) load(m *open.Model, o *options) (*complete.Draft, error) {
	if d.dir == "" {
		return nil, nil
	}
	small, err := open.LoadModel(m.Device(), d.dir, o.from, o.weights)
	if err != nil {
		return nil, err
	}
	return &complete.Draft{Model: small, Tokens: d.tokens}, nil
}

func closeDraft(d *complete.Draft) {
	if d != nil {
		d.Model.Close()
	}
}
