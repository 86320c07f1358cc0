package prune

import (
	"context"
	"path/filepath"
	"testing"

	"mop/runtime/device/cpu"
)

// BenchmarkDemo prunes the demo's model to three targets by kl, in about twenty steps.
func BenchmarkDemo(b *testing.B) {
	dev, err := cpu.New(2)
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Close()
	for b.Loop() {
		o := Options{Model: demoModel, Out: filepath.Join(b.TempDir(), "out"), Device: dev, Targets: []float64{0.2, 0.3, 0.4}, Criterion: "kl",
			Calibration: demoText + "calibration.jsonl", Prompts: 24, Text: demoText + "windows.txt", Separator: "<|endoftext|>", Windows: 8, Context: 128}
		if _, err := Run(context.Background(), o); err != nil {
			b.Fatal(err)
		}
	}
}
