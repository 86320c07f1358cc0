package tasks

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"mop/internal/build"
	"mop/runtime/dataset"
	"mop/runtime/metric"
)

// The protocols of perplexity.
const (
	protocolWindows = "windows" // the text as one stream, cut into windows of the context
	protocolHarness = "harness" // lm-evaluation-harness's task wikitext, see wikitext.go
)

// perplexity is exp of the mean negative log-likelihood of a text's tokens.
type perplexity struct {
	text     textFlags
	protocol string
}

type perplexityResult struct {
	metric.PerplexityResult
	Protocol string `json:"protocol"`
	BOS      string `json:"bos"` // whether windows begin with BOS: on or off
	Context  int    `json:"context"`
	Stride   int    `json:"stride"`
	Windows  int    `json:"windows"`
	Commit   string `json:"commit"`
}

func (*perplexity) Name() string    { return "ppl" }
func (*perplexity) Usage() string   { return "--model DIR --text FILE" }
func (*perplexity) Summary() string { return "Perplexity on a text" }
func (*perplexity) Example() string {
	return "  mop eval ppl --model ./model --text wiki.test.raw\n  mop eval ppl --model ./model --text stories.txt --split '<|endoftext|>' --json"
}

func (p *perplexity) Flags(f *pflag.FlagSet) {
	p.text.register(f)
	f.StringVar(&p.protocol, "protocol", protocolWindows, "windows: each document as one stream, cut into windows of the context, as pruning papers and llama.cpp do; "+
		"harness: WikiText's pages as lm-evaluation-harness scores them, per word and per byte")
}
func (*perplexity) Required() []string { return []string{"text"} }
func (p *perplexity) Check() error {
	switch p.protocol {
	case protocolWindows:
		return p.text.check()
	case protocolHarness:
		if p.text.split != "" || p.text.stride != 0 || p.text.limit != 0 || p.text.special || p.text.template != "" || p.text.wantBOS != autoBOS {
			return fmt.Errorf("--protocol harness: it has pages and windows of its own: want none of --split, --stride, --bos, --max-tokens-per-document, --special and --chat-template")
		}
		return p.text.check()
	}
	return fmt.Errorf("--protocol: want %s or %s, got %q", protocolWindows, protocolHarness, p.protocol)
}

func (p *perplexity) Run(ctx context.Context, in Input) (Result, error) {
	if p.protocol == protocolHarness {
		length, err := p.text.contextLength(in.Model, in.Model.Config.MaxPositions)
		if err != nil {
			return nil, err
		}
		return wikitext(ctx, in.Model, p.text.text, length, in.Progress)
	}
	w, err := p.text.windows(in.Model)
	if err != nil {
		return nil, err
	}
	r, err := metric.Perplexity(ctx, in.Model.Model, w, in.Progress.Counter(0, "tokens", dataset.ScoredTokens(w)))
	if err != nil {
		return nil, in.Model.Wrap(err)
	}
	return perplexityResult{r, protocolWindows, p.text.bos, dataset.Longest(w), p.text.step, len(w), build.Commit()}, nil
}

func (r perplexityResult) String() string {
	return fmt.Sprintf("perplexity %.4f, nll %.4f nats, %d tokens (%d windows of %d, stride %d, BOS %s)", r.PPL, r.NLL, r.Tokens, r.Windows, r.Context, r.Stride, r.BOS)
}
