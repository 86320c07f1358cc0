package tasks

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/pflag"

	"mop/internal/build"
	"mop/runtime/dataset"
	"mop/runtime/metric"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
)

// klDivergence is KL(reference || model) of the next token's distribution, over all
// positions of a text.
type klDivergence struct {
	text      textFlags
	reference string
}

type klResult struct {
	metric.KLResult
	BOS    string `json:"bos"` // whether windows begin with BOS: on or off
	Commit string `json:"commit"`
}

func (*klDivergence) Name() string    { return "kl" }
func (*klDivergence) Usage() string   { return "--model DIR --reference DIR --text FILE" }
func (*klDivergence) Summary() string { return "KL divergence from a reference model, in nats" }
func (*klDivergence) Example() string {
	return "  mop eval kl --model ./pruned/0.20 --reference ./model --text wiki.test.raw --json"
}

func (k *klDivergence) Flags(f *pflag.FlagSet) {
	k.text.register(f)
	f.StringVar(&k.reference, "reference", "", "model directory to compare with")
}
func (*klDivergence) Required() []string { return []string{"reference", "text"} }
func (k *klDivergence) Check() error     { return k.text.check() }

func (k *klDivergence) Run(ctx context.Context, in Input) (Result, error) {
	ref, err := in.Load(k.reference)
	if err != nil {
		return nil, err
	}
	defer ref.Close()
	if err := sameTokens(in.Model, ref); err != nil {
		return nil, err
	}
	w, err := k.text.windows(in.Model)
	if err != nil {
		return nil, err
	}
	r, err := metric.KL(ctx, ref.Model, in.Model.Model, w, in.Progress.Counter(0, "positions", dataset.Positions(w)))
	return klResult{r, k.text.bos, build.Commit()}, in.Model.Wrap(err)
}

// sameTokens refuses models whose token ids mean different texts: a divergence between
// their distributions is a number without meaning.
func sameTokens(m, reference *open.Model) error {
	a, err := tokenizer.Open(m.Name)
	if err != nil {
		return err
	}
	b, err := tokenizer.Open(reference.Name)
	if err != nil {
		slog.Warn("the tokenizers cannot be compared", "reference", reference.Name, "error", err)
		return nil
	}
	if d := a.Difference(b); d != "" {
		return fmt.Errorf("%s and %s have different tokenizers: %s: give models with the same tokenizer", m.Name, reference.Name, d)
	}
	return nil
}

func (r klResult) String() string {
	return fmt.Sprintf("KL mean %.5f, median %.5f, 99th percentile %.5f nats; same argmax token %.2f %%; %d tokens, BOS %s",
		r.Mean, r.Median, r.P99, 100*r.SameArgmax, r.Tokens, r.BOS)
}
