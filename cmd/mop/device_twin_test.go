//go:build !cuda && !cudaemu

package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Without a twin, and so without a GPU, cuda is refused with what there is, and
// auto is the CPU.
func TestNoGPU(t *testing.T) {
	o := &options{device: "cuda", kernels: "auto"}
	dev, err := o.open()
	if dev != nil || !errors.Is(err, errNoCompanion) || !strings.HasSuffix(err.Error(), "; there is: cpu ("+cpuInfo().Name+")") {
		t.Fatalf("want %q and the devices, got %v", errNoCompanion, err)
	}
	o.device = "auto"
	if dev, err = o.open(); err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	if dev.Capabilities().Name != "cpu" {
		t.Errorf("auto: want cpu, got %s", dev.Capabilities().Name)
	}
	o.kernels = "sm_90" // which the CPU has not
	if dev, err := o.open(); dev != nil || !errors.Is(err, errNoCompanion) {
		t.Errorf("a GPU's kernels: want %q, got %v", errNoCompanion, err)
	}
	list, missing := listDevices()
	if len(list) != 1 || list[0].Device != "cpu" || !errors.Is(missing, errNoCompanion) {
		t.Errorf("devices: want the CPU alone, got %v, %v", list, missing)
	}
}

// A command that computes on no device does not take one that is not there either.
func TestNoGPUOnHost(t *testing.T) {
	for _, command := range []string{"inspect " + demoDir, "inspect --devices", "plan --model " + demoDir + " --sequence L", "tokenize --model " + demoDir, "import llama2c", "init"} {
		out, err := mop(t, "", append(strings.Fields(command), "--device", "cuda:1")...)
		if want := "--device cuda:1: " + errNoCompanion.Error() + "; there is: cpu (" + cpuInfo().Name + ")"; err == nil || err.Error() != want || out != "" {
			t.Errorf("mop %s: want %q, got %v and %q", command, want, err, out)
		}
		if errors.Is(err, errUsage) {
			t.Errorf("mop %s: want a failure, not a wrong use", command)
		}
	}
}

// A GPU is named by its number, the first also without one.
func TestDeviceFlag(t *testing.T) {
	for text, want := range map[string]deviceFlag{"cpu": {"cpu", 0}, "auto": {"auto", 0}, "cuda": {"cuda", 0}, "cuda:0": {"cuda", 0}, "cuda:17": {"cuda", 17}} {
		if got, err := parseDevice(text); got != want || err != nil {
			t.Errorf("%s: want %v, got %v, %v", text, want, got, err)
		}
	}
}

// A twin that cannot be started is told with the reason.
func TestTwinDoesNotStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), companionName)
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := queryCompanion(path); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("want the reason, got %v", err)
	}
}

// A twin that does not stop talking is stopped, whatever it does then.
func TestTwinTalksOn(t *testing.T) {
	for _, script := range []string{"cat /dev/zero", "cat /dev/zero >&2", "trap '' PIPE; cat /dev/zero; exit 0"} {
		path := filepath.Join(t.TempDir(), companionName)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := queryCompanion(path); !errors.Is(err, errLongReply) {
			t.Errorf("%s: want %v, got %v", script, errLongReply, err)
		}
	}
}

// A twin that is this binary itself, or was built without the tag, is refused before
// it is started: it would look for a twin in turn.
func TestTwinWithoutTheTag(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, companionName)
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := sameBuild(path); !errors.Is(err, errNotCUDA) {
		t.Errorf("want %q, got %v", errNotCUDA, err)
	}
	if err := sameBuild(filepath.Join(dir, "none")); err != nil {
		t.Errorf("a file that cannot be read is not sameBuild's to tell, got %v", err)
	}
}

// An interrupt is not kept waiting by a twin that says nothing.
func TestTwinInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), companionName)
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 50\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	caught := make(chan os.Signal, 1) // so that the test lives
	signal.Notify(caught, syscall.SIGTERM)
	defer signal.Stop(caught)
	time.AfterFunc(300*time.Millisecond, func() { syscall.Kill(os.Getpid(), syscall.SIGTERM) })
	begin := time.Now()
	if _, err := queryCompanion(path); !errors.Is(err, context.Canceled) || time.Since(begin) > 10*time.Second {
		t.Errorf("want %v at once, got %v after %v", context.Canceled, err, time.Since(begin))
	}
}
