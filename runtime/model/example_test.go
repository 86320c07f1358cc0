package model_test

import (
	"fmt"
	"log"

	"mop/runtime/checkpoint"
	"mop/runtime/device/cpu"
	"mop/runtime/kvcache"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
)

// One pass over a prompt gives the logits after its last token, and with them the
// next token.
func ExampleModel_Forward() {
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

	prompt, err := tok.Encode([]byte("Once upon a time, there was a little"), tokenizer.EncodeOptions{BOS: true})
	if err != nil {
		log.Fatal(err)
	}
	cache, err := kvcache.NewSequences(dev, m.Config, 1, len(prompt)) // one sequence
	if err != nil {
		log.Fatal(err)
	}
	pass := model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: prompt}}, LastOnly: true}
	if err := m.Forward(pass); err != nil {
		log.Fatal(err)
	}
	next, err := m.Argmax([]int{0}) // row 0 is the last token of the only chunk
	if err != nil {
		log.Fatal(err)
	}
	text, err := tok.Decode(next)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", text)
	// Output: "girl"
}
