// Command generate continues a prompt with the demo's model, or with the model directory
// that is given as its argument.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"mop/runtime/checkpoint"
	"mop/runtime/device/cpu"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
)

func main() {
	dir := "bench/demo/model"
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	if err := run(dir, "Once upon a time", 40); err != nil {
		log.Fatal(err)
	}
}

// run prints the greedy continuation of a prompt.
func run(dir, prompt string, maxTokens int) error {
	src, err := checkpoint.Open(dir)
	if err != nil {
		return err
	}
	defer src.Close()
	tok, err := tokenizer.Open(dir)
	if err != nil {
		return err
	}
	dev, err := cpu.New(2) // threads
	if err != nil {
		return err
	}
	defer dev.Close()
	m, err := model.Load(dev, src)
	if err != nil {
		return err
	}
	defer m.Close()

	tokens, err := tok.Encode([]byte(prompt), tokenizer.EncodeOptions{BOS: true})
	if err != nil {
		return err
	}
	cache, err := kvcache.NewSequences(dev, m.Config, 1, len(tokens)+maxTokens)
	if err != nil {
		return err
	}
	defer cache.Close()
	options := generate.Options{MaxTokens: maxTokens}
	err = generate.Run(context.Background(), m, cache, [][]int{tokens}, options, func(_, next []int) []int {
		tokens = append(tokens, next[0])
		return nil
	})
	if err != nil {
		return err
	}
	text, err := tok.Decode(tokens)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", text)
	return nil
}
