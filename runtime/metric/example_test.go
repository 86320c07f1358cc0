package metric_test

import (
	"context"
	"fmt"
	"log"

	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/device/cpu"
	"mop/runtime/metric"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
)

const exampleModel = "../../bench/demo/model"

// openExample loads a small model onto the CPU.
func openExample() (*model.Model, *tokenizer.Tokenizer, func()) {
	src, err := checkpoint.Open(exampleModel)
	if err != nil {
		log.Fatal(err)
	}
	tok, err := tokenizer.Open(exampleModel)
	if err != nil {
		log.Fatal(err)
	}
	dev, err := cpu.New(2) // threads
	if err != nil {
		log.Fatal(err)
	}
	m, err := model.Load(dev, src)
	if err != nil {
		log.Fatal(err)
	}
	return m, tok, func() { dev.Close(); src.Close() }
}

// The perplexity on a text that is cut into windows of at most 128 tokens.
func ExamplePerplexity() {
	m, tok, closeModel := openExample()
	defer closeModel()
	text := "Once upon a time there was a clever girl named Ella."
	windows, err := dataset.Windows(tok, []string{text}, 128, 0, 0)
	if err != nil {
		log.Fatal(err)
	}
	p, err := metric.Perplexity(context.Background(), m, windows, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("perplexity %.1f on %d tokens\n", p.PPL, p.Tokens)
	// Output: perplexity 1.4 on 12 tokens
}

// A choice between two continuations of one context, as in multiple-choice tasks.
func ExampleLogLikelihoods() {
	m, tok, closeModel := openExample()
	defer closeModel()
	const question = "Once upon a time there was a little"
	choices := []string{" girl", " under"}
	var requests []metric.Continuation
	for _, choice := range choices {
		before, err := tok.Encode([]byte(question), tokenizer.EncodeOptions{BOS: true})
		if err != nil {
			log.Fatal(err)
		}
		all, err := tok.Encode([]byte(question+choice), tokenizer.EncodeOptions{BOS: true})
		if err != nil {
			log.Fatal(err)
		}
		requests = append(requests, metric.Continuation{Context: before, Tokens: all[len(before):]})
	}
	sums := make([]float64, len(choices))
	if err := metric.LogLikelihoods(context.Background(), m, requests, func(i int, l metric.LogLikelihood) error {
		sums[i] = l.Sum()
		return nil
	}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the first continuation is the likelier one:", sums[0] > sums[1])
	// Output: the first continuation is the likelier one: true
}
