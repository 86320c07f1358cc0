//go:build !cuda && !cudaemu

package main

import (
	"errors"
	"strings"
	"testing"
)

// Without a twin, and so without a GPU, cuda is refused with what there is, and
// auto is the CPU.
func TestNoGPU(t *testing.T) {
	o := &options{device: "cuda", kernels: "auto"}
	dev, err := o.open()
	if dev != nil || !errors.Is(err, errNoTwin) || !strings.HasSuffix(err.Error(), "; there is: cpu") {
		t.Fatalf("want %q and the devices, got %v", errNoTwin, err)
	}
	o.device = "auto"
	if dev, err = o.open(); err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	if dev.Name() != "cpu" {
		t.Errorf("auto: want cpu, got %s", dev.Name())
	}
	list, missing := places()
	if len(list) != 1 || list[0].Device != "cpu" || !errors.Is(missing, errNoTwin) {
		t.Errorf("devices: want the CPU alone, got %v, %v", list, missing)
	}
}
