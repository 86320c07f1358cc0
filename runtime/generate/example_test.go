package generate_test

import (
	"context"
	"fmt"
	"log"

	"mop/runtime/checkpoint"
	"mop/runtime/device/cpu"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
)

// A checkpoint directory is opened, loaded onto the CPU, and continues a prompt.
func Example() {
	const dir = "../../bench/demo/model"
	src, err := checkpoint.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	tok, err := tokenizer.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	dev, err := cpu.New(2) // threads
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	m, err := model.Load(dev, src)
	if err != nil {
		log.Fatal(err)
	}

	prompt, err := tok.Encode([]byte("Once upon a time"), tokenizer.EncodeOptions{BOS: true})
	if err != nil {
		log.Fatal(err)
	}
	cache, err := kvcache.NewSequences(dev, m.Config, 1, 64) // one sequence of up to 64 positions
	if err != nil {
		log.Fatal(err)
	}
	var tokens []int
	o := generate.Options{MaxTokens: 12} // greedy
	err = generate.Run(context.Background(), m, cache, [][]int{prompt}, o, func(_, next []int) []int {
		tokens = append(tokens, next[0])
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	text, err := tok.Decode(append(prompt, tokens...))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", text)
	// Output: Once upon a time there was a clever girl named Ella. She lived in the
}
