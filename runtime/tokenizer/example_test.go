package tokenizer_test

import (
	"fmt"
	"log"

	"mop/runtime/tokenizer"
)

func Example() {
	tok, err := tokenizer.Open("../../bench/demo/model")
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := tok.Encode([]byte("Once upon a time"), tokenizer.EncodeOptions{BOS: true})
	if err != nil {
		log.Fatal(err)
	}
	text, err := tok.Decode(tokens)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tokens[0] == tok.BOS(), string(text))
	// Output: true Once upon a time
}
