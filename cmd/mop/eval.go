package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"mop/internal/build"
	"mop/internal/progress"
	"mop/runtime/config"
	"mop/runtime/dataset"
	"mop/runtime/metric"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
)

// textFlags say how a text is divided into windows.
type textFlags struct {
	model, text, split     string
	context, stride, limit int
	json                   bool
}

func (t *textFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&t.model, "model", "", "model directory")
	f.StringVar(&t.text, "text", "", "text file: each row of a .jsonl file is a document, any other file is one document")
	f.StringVar(&t.split, "split", "", "text between the file's documents")
	f.IntVar(&t.context, "context", 0, "tokens in a window, BOS included; 0 = the smaller of 2048 and the model's maximum")
	f.IntVar(&t.stride, "stride", 0, "tokens from the start of one window to that of the next; 0 = no overlap")
	f.IntVar(&t.limit, "max-tokens-per-document", 0, "score only this many tokens of each document; 0 = all")
	f.BoolVar(&t.json, "json", false, "print JSON")
}

func (t *textFlags) windows(c *config.Config) ([]dataset.Window, error) {
	tok, err := tokenizer.Open(t.model)
	if err != nil {
		return nil, err
	}
	context := t.context
	if context == 0 {
		context = min(2048, c.MaxPositions)
	}
	if context > c.MaxPositions {
		return nil, fmt.Errorf("%s: context: %d tokens, the model's maximum is %d", t.model, context, c.MaxPositions)
	}
	return dataset.WindowsOfFile(tok, t.text, t.split, context, t.stride, t.limit)
}

func evalCommand(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "eval",
		Short: "Measure a model's quality: perplexity, divergence from another",
		Args:  cobra.ArbitraryArgs,
		RunE:  oneOf("ppl or kl"),
	}
	var p textFlags
	ppl := &cobra.Command{
		Use:     "ppl --model DIR --text FILE",
		Short:   "Perplexity on a text",
		Example: "  mop eval ppl --model ./model --text wiki.test.raw\n  mop eval ppl --model ./model --text stories.txt --split '<|endoftext|>' --json",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model", "text"); err != nil {
				return err
			}
			m, close, err := o.load(p.model)
			if err != nil {
				return err
			}
			defer close()
			w, err := p.windows(m.Config)
			if err != nil {
				return err
			}
			bar := newBars(c.ErrOrStderr())
			r, err := metric.Perplexity(c.Context(), m.Model, w, progress.Func(bar.show).Counter(0, "tokens", dataset.ScoredTokens(w)))
			bar.end()
			if err != nil {
				return m.Wrap(err)
			}
			if p.json {
				return json.NewEncoder(c.OutOrStdout()).Encode(struct {
					metric.PerplexityResult
					Commit string `json:"commit"`
				}{r, build.Commit()})
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "perplexity %.4f, nll %.4f nats, %d tokens\n", r.PPL, r.NLL, r.Tokens)
			return err
		},
	}
	p.register(ppl)
	o.weightsFlags(ppl)
	var k textFlags
	var reference string
	kl := &cobra.Command{
		Use:     "kl --model DIR --reference DIR --text FILE",
		Short:   "KL divergence from a reference model, in nats",
		Example: "  mop eval kl --model ./pruned/0.20 --reference ./model --text wiki.test.raw --json",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model", "reference", "text"); err != nil {
				return err
			}
			m, close, err := o.load(k.model)
			if err != nil {
				return err
			}
			defer close()
			ref, err := open.LoadModel(m.Device(), reference, o.from, open.ModelOptions{})
			if err != nil {
				return err
			}
			defer ref.Close()
			w, err := k.windows(m.Config)
			if err != nil {
				return err
			}
			bar := newBars(c.ErrOrStderr())
			r, err := metric.KL(c.Context(), ref.Model, m.Model, w, progress.Func(bar.show).Counter(0, "positions", dataset.Positions(w)))
			bar.end()
			if err != nil {
				return m.Wrap(err)
			}
			if k.json {
				return json.NewEncoder(c.OutOrStdout()).Encode(struct {
					metric.KLResult
					Commit string `json:"commit"`
				}{r, build.Commit()})
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "KL mean %.5f, median %.5f, 99th percentile %.5f nats; same argmax token %.2f %%; %d tokens\n", r.Mean, r.Median, r.P99, 100*r.SameArgmax, r.Tokens)
			return err
		},
	}
	k.register(kl)
	o.weightsFlags(kl)
	kl.Flags().StringVar(&reference, "reference", "", "model directory to compare with")
	c.AddCommand(ppl, kl)
	return c
}
