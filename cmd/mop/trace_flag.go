package main

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"mop/bench/trace"
	"mop/runtime/device"
)

// traceFlag adds --trace; what is traced.
func traceFlag(f *pflag.FlagSet, file *string, what string) {
	f.StringVar(file, "trace", "", "also time every kernel launch of "+what+" of each model, and write a table of them to this file (CUDA only)")
}

// createTrace creates the file of --trace. It returns what writes a table to it, at once, and
// what closes it; nil where there is no file.
func createTrace(name string) (add func(trace.Pass) error, closeFile func(), err error) {
	if name == "" {
		return nil, func() {}, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, nil, fmt.Errorf("--trace: %w", err)
	}
	add = func(p trace.Pass) error {
		if err := p.Markdown(f); err != nil {
			return fmt.Errorf("--trace: %w", err)
		}
		return f.Sync()
	}
	return add, func() { f.Close() }, nil
}

// checkTracer refuses --trace on a device that cannot time launches, before anything is
// measured.
func checkTracer(dev device.Device, file string) error {
	if _, ok := dev.(device.Tracer); file != "" && !ok {
		return usage("--trace: want --device cuda, got %s, whose launches cannot be timed", dev.Capabilities().Name)
	}
	return nil
}
