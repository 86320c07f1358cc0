// Command weights writes a preset with seeded random weights as a Hugging Face
// directory, for comparisons with programs that need files.
//
//	go run ./bench/peers/weights [-dtype bf16|f16|f32] [-seed N] PRESET DIR
package main

import (
	"flag"
	"fmt"
	"os"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "weights:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("weights", flag.ContinueOnError)
	dtype := f.String("dtype", "bf16", "bf16, f16 or f32")
	seed := f.Uint64("seed", 0, "of the weights")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 2 {
		return fmt.Errorf("want PRESET and DIR, got %d arguments", f.NArg())
	}
	d, ok := map[string]checkpoint.DType{"bf16": checkpoint.BF16, "f16": checkpoint.F16, "f32": checkpoint.F32}[*dtype]
	if !ok {
		return fmt.Errorf("-dtype: want bf16, f16 or f32, got %q", *dtype)
	}
	c, err := config.Preset(f.Arg(0))
	if err != nil {
		return err
	}
	return checkpoint.WriteRandom(f.Arg(1), c, *seed, d, checkpoint.SaveOptions{})
}
