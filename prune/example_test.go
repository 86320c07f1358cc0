package prune_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"mop/prune"
	"mop/prune/plan"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
)

// A model is pruned to 80 % of its parameters. Every step takes the candidate whose output
// is closer to that of the unpruned model.
func ExampleRun() {
	dir, err := os.MkdirTemp("", "prune")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	plans, err := prune.Run(context.Background(), prune.Options{
		Model:       "../bench/demo/model",
		Out:         filepath.Join(dir, "pruned"),
		Targets:     []float64{0.2},
		Criterion:   "kl",
		Width:       plan.Options{Rule: "auto"},
		Calibration: "../bench/demo/text/calibration.jsonl",
		Prompts:     8,
		Text:        "../bench/demo/text/windows.txt",
		Windows:     2,
		Context:     64,
		OpenDevice:  func() (device.Device, error) { return cpu.New(2) },
	})
	if err != nil {
		log.Fatal(err)
	}
	p := plans[0]
	last := p.Steps[p.Step-1]
	fmt.Println("at least 20 % removed:", last.Compression >= 0.2, "layers left:", len(p.Layers))
	// Output: at least 20 % removed: true layers left: 20
}
