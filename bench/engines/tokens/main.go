// Command tokens reads a JSON list of texts from stdin and writes a list of their token
// ids by mop's tokenizer, without BOS.
//
//	go run ./bench/engines/tokens DIR
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"mop/runtime/tokenizer"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "tokens:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("want the directory of a tokenizer, got %q", args)
	}
	t, err := tokenizer.Open(args[0])
	if err != nil {
		return err
	}
	var texts []string
	if err := json.NewDecoder(in).Decode(&texts); err != nil {
		return err
	}
	ids := make([][]int, len(texts))
	for i, text := range texts {
		if ids[i], err = t.Encode([]byte(text), tokenizer.EncodeOptions{}); err != nil {
			return err
		}
	}
	return json.NewEncoder(out).Encode(ids)
}
