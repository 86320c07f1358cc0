//go:build !cuda && !cudaemu

package open

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

	"mop/runtime/device"
)

// Without a companion, and so without a GPU, cuda is refused with a list of the devices
// that there are, and auto is the CPU.
func TestDeviceWithoutGPU(t *testing.T) {
	open := func(id, kernels string) (device.Device, error) {
		parsed, err := ParseDevice(id)
		if err != nil {
			t.Fatal(err)
		}
		return Device(DeviceOptions{ID: parsed, Kernels: kernels})
	}
	dev, err := open("cuda", "auto")
	if dev != nil || !errors.Is(err, errNoCompanion) || !strings.HasSuffix(err.Error(), "; available: cpu ("+cpuInfo().Name+")") {
		t.Fatalf("want %q and the devices, got %v", errNoCompanion, err)
	}
	if dev, err = open("auto", "auto"); err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	if dev.Capabilities().Name != "cpu" {
		t.Errorf("auto: want cpu, got %s", dev.Capabilities().Name)
	}
	if dev, err := open("auto", "sm_90"); dev != nil || !errors.Is(err, errNoCompanion) { // the CPU does not have these kernels
		t.Errorf("a GPU's kernels: want %q, got %v", errNoCompanion, err)
	}
	list, missing := Devices()
	if len(list) != 1 || list[0].Device != "cpu" || !errors.Is(missing, errNoCompanion) {
		t.Errorf("devices: want the CPU alone, got %v, %v", list, missing)
	}
	want := "device cuda:1: " + errNoCompanion.Error() + "; available: cpu (" + cpuInfo().Name + ")"
	if err := CheckDevice(DeviceID{"cuda", 1}); err == nil || err.Error() != want {
		t.Errorf("want %q, got %v", want, err)
	}
	if err := CheckDevice(DeviceID{Kind: "auto"}); err != nil {
		t.Error(err)
	}
}

// A GPU is named by its index; "cuda" is the first one.
func TestParseDevice(t *testing.T) {
	for text, want := range map[string]DeviceID{"cpu": {"cpu", 0}, "auto": {"auto", 0}, "cuda": {"cuda", 0}, "cuda:0": {"cuda", 0}, "cuda:17": {"cuda", 17}} {
		if got, err := ParseDevice(text); got != want || err != nil {
			t.Errorf("%s: want %v, got %v, %v", text, want, got, err)
		}
	}
}

// If the companion cannot be started, the error says why.
func TestCompanionDoesNotStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), companionName)
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := queryCompanion(path); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("want the reason, got %v", err)
	}
}

// A companion that does not stop writing is stopped.
func TestCompanionReplyTooLong(t *testing.T) {
	for _, script := range []string{"cat /dev/zero", "cat /dev/zero >&2", "trap '' PIPE; cat /dev/zero; exit 0"} {
		path := filepath.Join(t.TempDir(), companionName)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := queryCompanion(path); !errors.Is(err, errReplyTooLong) {
			t.Errorf("%s: want %v, got %v", script, errReplyTooLong, err)
		}
	}
}

// A companion that was built without the tag is refused before it is started: it would
// look for a companion in turn.
func TestCompanionWithoutTag(t *testing.T) {
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
	if err := checkTag(path); !errors.Is(err, errNotCUDA) {
		t.Errorf("want %q, got %v", errNotCUDA, err)
	}
	if err := checkTag(filepath.Join(dir, "none")); err != nil {
		t.Errorf("a file that cannot be read: want no error, got %v", err)
	}
}

// An interrupt ends the wait for a companion that does not reply.
func TestCompanionInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), companionName)
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 50\n"), 0o777); err != nil {
		t.Fatal(err)
	}
	caught := make(chan os.Signal, 1) // so that the test lives
	signal.Notify(caught, syscall.SIGTERM)
	defer signal.Stop(caught)
	time.AfterFunc(300*time.Millisecond, func() { syscall.Kill(os.Getpid(), syscall.SIGTERM) })
	begin := time.Now()
	if _, err := queryCompanion(path); !errors.Is(err, context.Canceled) || time.Since(begin) > 40*time.Second {
		t.Errorf("want %v before the child ends by itself, got %v after %v", context.Canceled, err, time.Since(begin))
	}
}

// The reply of a companion is JSON: its error is passed on as it is, and a companion of
// another commit is refused. Output that is no reply is shown by its first line.
func TestCompanionReply(t *testing.T) {
	for _, c := range []struct{ script, want string }{
		{`echo '{"commit":"unknown","gpus":[],"error":"the driver is too old"}'`, companionName + ": the driver is too old"},
		{`echo '{"commit":"unknown","gpus":[]}'`, "the driver finds no GPU"},
		{`echo '{"commit":"unknown","gpus":[{"device":"cuda:0","name":"x"}]}'`, ""},
		{`echo hello`, companionName + ": reply: invalid character 'h' looking for beginning of value"},
		{`echo "libcuda.so.1: cannot open"; echo more; exit 127`, companionName + " does not start: exit status 127: libcuda.so.1: cannot open"},
	} {
		path := filepath.Join(t.TempDir(), companionName)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+c.script+"\n"), 0o777); err != nil {
			t.Fatal(err)
		}
		gpus, err := queryCompanion(path)
		if c.want == "" {
			if err != nil || len(gpus) != 1 || gpus[0].Name != "x" {
				t.Errorf("%s: want a GPU, got %v, %v", c.script, gpus, err)
			}
		} else if err == nil || err.Error() != c.want {
			t.Errorf("%s: want %q, got %v", c.script, c.want, err)
		}
	}
}
