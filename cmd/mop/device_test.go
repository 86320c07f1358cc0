//go:build !cuda && !cudaemu

package main

import (
	"errors"
	"strings"
	"testing"

	"mop/runtime/open"
)

// A command that computes on no device also refuses one that does not exist.
func TestCommandsRefuseMissingGPU(t *testing.T) {
	for _, command := range []string{"inspect " + demoDir, "inspect --devices", "plan --model " + demoDir + " --sequence L", "tokenize --model " + demoDir, "import llama2c", "init"} {
		out, err := mop(t, "", append(strings.Fields(command), "--device", "cuda:1")...)
		if want := open.CheckDevice(open.DeviceID{Kind: "cuda", Index: 1}); err == nil || err.Error() != want.Error() || out != "" {
			t.Errorf("mop %s: want %q, got %v and %q", command, want, err, out)
		}
		if errors.Is(err, errUsage) {
			t.Errorf("mop %s: want a failure, not a wrong use", command)
		}
	}
}
