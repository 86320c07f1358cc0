//go:build !cuda && !cudaemu

package main

import (
	"errors"
	"os"
	"path/filepath"
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

// A twin that cannot be started is told with the reason.
func TestTwinDoesNotStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), twinName)
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := askTwin(path); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("want the reason, got %v", err)
	}
}

// A twin that does not stop talking is stopped, whatever it does then.
func TestTwinTalksOn(t *testing.T) {
	for _, script := range []string{"cat /dev/zero", "cat /dev/zero >&2", "trap '' PIPE; cat /dev/zero; exit 0"} {
		path := filepath.Join(t.TempDir(), twinName)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := askTwin(path); !errors.Is(err, errLongReply) {
			t.Errorf("%s: want %v, got %v", script, errLongReply, err)
		}
	}
}
