package finetune_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"mop/prune/finetune"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
)

// Two steps of low-rank adapters, which are merged into the written model.
func ExampleRun() {
	dir, err := os.MkdirTemp("", "finetune")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	o := finetune.Defaults()
	o.Model = "../../bench/demo/model"
	o.Data = "../../bench/demo/text/calibration.jsonl"
	o.Out = filepath.Join(dir, "recovered")
	o.Steps, o.Batch, o.MaxLength = 2, 2, 32
	o.OpenDevice = func() (device.Device, error) { return cpu.New(2) }
	r, err := finetune.Run(context.Background(), o)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Steps, "steps,", r.Trained > 0, r.LastLoss > 0)
	// Output: 2 steps, true true
}
