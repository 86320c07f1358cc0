package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mop/bench/hardware"
)

// deviceInfo is a device that --device can name, as inspect --devices lists it.
type deviceInfo struct {
	Device     string `json:"device"` // "cpu"; "cuda:0" and on
	Name       string `json:"name"`
	Bytes      int64  `json:"bytes,omitempty"`      // of its own memory
	Capability string `json:"capability,omitempty"` // compute capability
	SMs        int    `json:"sms,omitempty"`
	Driver     string `json:"driver,omitempty"`  // CUDA version that the driver supports
	Kernels    string `json:"kernels,omitempty"` // the set that is used, see kernels/README.md
}

// deviceFlag is what --device says: the index of a GPU, that of the first by the name
// cuda alone.
type deviceFlag struct {
	kind  string // cpu, cuda, auto
	index int
}

func parseDevice(text string) (deviceFlag, error) {
	kind, number, numbered := strings.Cut(text, ":")
	if !numbered {
		if slices.Contains([]string{"cpu", "cuda", "auto"}, text) {
			return deviceFlag{kind: text}, nil
		}
	} else if n, err := strconv.ParseUint(number, 10, 31); err == nil && kind == "cuda" {
		return deviceFlag{kind, int(n)}, nil
	}
	return deviceFlag{}, usage("--device: want one of cpu, cuda, cuda:N, auto, got %q", text)
}

// gpuName is the place of the GPU of an index.
func gpuName(index int) string { return fmt.Sprintf("cuda:%d", index) }

// noGPU says that there is no GPU of an index.
func noGPU(index int) error { return fmt.Errorf("no %s", gpuName(index)) }

// cpuInfo is always there.
func cpuInfo() deviceInfo {
	return deviceInfo{Device: "cpu", Name: fmt.Sprintf("%s, %d cores", hardware.Describe().CPU, runtime.NumCPU())}
}

// notThere says why a device that --device names is not there, and which are.
func notThere(device string, why error, gpus []deviceInfo) error {
	var names []string
	for _, p := range append([]deviceInfo{cpuInfo()}, gpus...) {
		names = append(names, fmt.Sprintf("%s (%s)", p.Device, p.Name))
	}
	return fmt.Errorf("--device %s: %w; there is: %s", device, why, strings.Join(names, ", "))
}

// listDevices lists the devices there are, and why there are no others.
func listDevices() (list []deviceInfo, missing error) {
	gpus, err := listCUDA()
	return append([]deviceInfo{cpuInfo()}, gpus...), err
}

// onHost makes a command that computes on no device, and those below it, refuse a
// --device that is not there, as those do that compute.
func (o *options) onHost(c *cobra.Command) *cobra.Command {
	for _, sub := range c.Commands() {
		o.onHost(sub)
	}
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		on, err := parseDevice(o.device)
		if err != nil {
			return err
		}
		if on.kind == "cuda" {
			gpus, err := listCUDA()
			if err == nil && on.index >= len(gpus) {
				err = noGPU(on.index)
			}
			if err != nil {
				return notThere(o.device, err, gpus)
			}
		}
		return run(c, args)
	}
	return c
}

func writeDevices(w io.Writer, list []deviceInfo, missing error, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(list)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range list {
		fmt.Fprintf(t, "%s\t%s", p.Device, p.Name)
		if p.Bytes > 0 {
			fmt.Fprintf(t, "\t%sB, compute capability %s, %d SMs, driver for CUDA %s, kernels of %s", human(p.Bytes), p.Capability, p.SMs, p.Driver, p.Kernels)
		}
		fmt.Fprintln(t)
	}
	if missing != nil {
		fmt.Fprintf(t, "cuda\tnone: %v\n", missing)
	}
	return t.Flush()
}
