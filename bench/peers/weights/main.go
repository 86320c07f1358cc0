// Command weights writes a preset, or what a plan makes of it, with seeded random
// weights as a Hugging Face directory, for comparisons with programs that need
// files.
//
//	go run ./bench/peers/weights [-dtype bf16|f16|f32] [-seed N] [-plan FILE -step N] [-layers N] PRESET DIR
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		slog.Error("weights", "error", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("weights", flag.ContinueOnError)
	dtype := f.String("dtype", "bf16", "bf16, f16 or f32")
	seed := f.Uint64("seed", 0, "of the weights")
	planFile := f.String("plan", "", "a plan of the preset")
	step := f.Int("step", 1, "of the plan")
	layers := f.Int("layers", 0, "keep the first so many, 0 = all")
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
	if *planFile != "" {
		p, err := plan.Load(*planFile)
		if err != nil {
			return err
		}
		if base, _ := p.LayerShapes(0); !slices.Equal(base, c.Layers) {
			return fmt.Errorf("%s: made for other layers than those of %s", *planFile, f.Arg(0))
		}
		if c.Layers, err = p.LayerShapes(*step); err != nil {
			return fmt.Errorf("%s: %w", *planFile, err)
		}
	}
	if *layers < 0 || *layers > len(c.Layers) {
		return fmt.Errorf("-layers: want at most %d, got %d", len(c.Layers), *layers)
	}
	if *layers > 0 {
		c.Layers = c.Layers[:*layers]
	}
	return checkpoint.WriteRandom(f.Arg(1), c, *seed, d, checkpoint.SaveOptions{})
}
