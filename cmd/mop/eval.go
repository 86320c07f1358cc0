package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"mop/runtime/config"
	"mop/runtime/dataset"
	"mop/runtime/metric"
	"mop/runtime/tokenizer"
)

// textFlags say how a text is cut into windows.
type textFlags struct {
	model, text, split     string
	context, stride, limit int
	json                   bool
}

func (t *textFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&t.model, "model", "", "model directory")
	f.StringVar(&t.text, "text", "", "text file: .jsonl rows are documents, another file is one stream")
	f.StringVar(&t.split, "split", "", "text between the file's documents")
	f.IntVar(&t.context, "context", 0, "ids in a window, BOS included; 0 = the smaller of 2048 and the model's maximum")
	f.IntVar(&t.stride, "stride", 0, "a window begins every so many ids; 0 = no overlap")
	f.IntVar(&t.limit, "max-tokens-per-document", 0, "score the first ids of each document only; 0 = all")
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
		return nil, fmt.Errorf("%s: context: %d ids, the model's maximum is %d", t.model, context, c.MaxPositions)
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
			m, err := o.load(p.model)
			if err != nil {
				return err
			}
			defer m.close()
			w, err := p.windows(m.Config)
			if err != nil {
				return err
			}
			bar := newBars(c.ErrOrStderr())
			r, err := metric.Perplexity(c.Context(), m.Model, w, bar.count("ids", dataset.ScoredTokens(w)))
			bar.end()
			if err != nil {
				return m.fail(err)
			}
			if p.json {
				return json.NewEncoder(c.OutOrStdout()).Encode(r)
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
			m, err := o.load(k.model)
			if err != nil {
				return err
			}
			defer m.close()
			stored := *o
			stored.weights, stored.activations = "stored", "float32"
			ref, err := stored.loadOn(m.Device(), reference)
			if err != nil {
				return err
			}
			defer ref.source.Close()
			w, err := k.windows(m.Config)
			if err != nil {
				return err
			}
			bar := newBars(c.ErrOrStderr())
			r, err := metric.KL(c.Context(), ref.Model, m.Model, w, bar.count("positions", dataset.Positions(w)))
			bar.end()
			if err != nil {
				return m.fail(err)
			}
			if k.json {
				return json.NewEncoder(c.OutOrStdout()).Encode(r)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "KL mean %.5f, median %.5f, 99th percentile %.5f nats; same likeliest id %.2f %%; %d tokens\n", r.Mean, r.Median, r.P99, 100*r.SameArgmax, r.Tokens)
			return err
		},
	}
	k.register(kl)
	o.weightsFlags(kl)
	kl.Flags().StringVar(&reference, "reference", "", "model directory to compare with")
	c.AddCommand(ppl, kl)
	return c
}
