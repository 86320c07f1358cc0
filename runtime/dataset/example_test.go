package dataset_test

import (
	"fmt"
	"log"

	"mop/runtime/dataset"
	"mop/runtime/tokenizer"
)

// The text on which a perplexity is measured is cut into windows.
func ExampleWindowsOfFile() {
	tok, err := tokenizer.Open("../../bench/demo/model")
	if err != nil {
		log.Fatal(err)
	}
	text := dataset.File{Path: "../../bench/demo/text/evaluation.txt"}
	windows, err := dataset.WindowsOfFile(tok, text, 128, 127, 384) // context, stride, tokens at most
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(windows), "windows,", dataset.ScoredTokens(windows), "scored tokens")
	// Output: 4 windows, 384 scored tokens
}
