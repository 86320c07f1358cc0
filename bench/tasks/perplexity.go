package tasks

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"mop/internal/build"
	"mop/runtime/dataset"
	"mop/runtime/metric"
)

// perplexity is exp of the mean negative log-likelihood of a text's tokens.
type perplexity struct{ text textFlags }

type perplexityResult struct {
	metric.PerplexityResult
	Commit string `json:"commit"`
}

func (*perplexity) Name() string    { return "ppl" }
func (*perplexity) Usage() string   { return "--model DIR --text FILE" }
func (*perplexity) Summary() string { return "Perplexity on a text" }
func (*perplexity) Example() string {
	return "  mop eval ppl --model ./model --text wiki.test.raw\n  mop eval ppl --model ./model --text stories.txt --split '<|endoftext|>' --json"
}

func (p *perplexity) Flags(f *pflag.FlagSet) { p.text.register(f) }
func (*perplexity) Required() []string       { return []string{"text"} }
func (p *perplexity) Check() error           { return p.text.check() }

func (p *perplexity) Run(ctx context.Context, in Input) (Result, error) {
	w, err := p.text.windows(in.Model)
	if err != nil {
		return nil, err
	}
	r, err := metric.Perplexity(ctx, in.Model.Model, w, in.Progress.Counter(0, "tokens", dataset.ScoredTokens(w)))
	return perplexityResult{r, build.Commit()}, in.Model.Wrap(err)
}

func (r perplexityResult) String() string {
	return fmt.Sprintf("perplexity %.4f, nll %.4f nats, %d tokens", r.PPL, r.NLL, r.Tokens)
}
