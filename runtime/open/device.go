// Package open turns the names that a user gives into things that compute: "cuda:1" into
// a device, a directory or "preset:NAME" into a source of weights, and both together into
// a loaded model. It refuses what does not fit into memory before it is allocated.
package open

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"mop/internal/machine"
	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/device/cuda"
)

// DeviceInfo describes a device of this machine.
type DeviceInfo struct {
	Device     string `json:"device"` // "cpu", or "cuda:N" with N from 0
	Name       string `json:"name"`
	Bytes      int64  `json:"bytes,omitempty"`      // size of the device's own memory
	Capability string `json:"capability,omitempty"` // CUDA compute capability
	SMs        int    `json:"sms,omitempty"`
	Driver     string `json:"driver,omitempty"`  // CUDA version that the driver supports
	Kernels    string `json:"kernels,omitempty"` // the set of kernels that is used, see kernels/README.md
}

// DeviceID selects a device.
type DeviceID struct {
	Kind  string // "cpu", "cuda", or "auto": a GPU if there is one, else the CPU
	Index int    // of the GPU
}

// ParseDevice reads "cpu", "cuda", "cuda:N" or "auto"; "cuda" is the first GPU.
func ParseDevice(text string) (DeviceID, error) {
	kind, number, numbered := strings.Cut(text, ":")
	if !numbered {
		if slices.Contains([]string{"cpu", "cuda", "auto"}, text) {
			return DeviceID{Kind: text}, nil
		}
	} else if n, err := strconv.ParseUint(number, 10, 31); err == nil && kind == "cuda" {
		return DeviceID{kind, int(n)}, nil
	}
	return DeviceID{}, fmt.Errorf("want one of cpu, cuda, cuda:N, auto, got %q", text)
}

func (d DeviceID) String() string {
	if d.Kind == "cuda" {
		return gpuName(d.Index)
	}
	return d.Kind
}

// DeviceOptions says which device to open, and how.
type DeviceOptions struct {
	ID      DeviceID
	Threads int    // host threads that compute; 0 = all cores
	Kernels string // a set of kernels of the CPU or of a GPU; "" or "auto" = the best one

	// KVType is the type of the KV cache: "f32", "f16", "bf16" or "int8"; "" = CPUKVType on the CPU,
	// and on a GPU the 16-bit type that it computes in. A GPU's can only be that or int8.
	KVType string
	// CPUKVType is the type of the CPU's KV cache where KVType is ""; "" = f32.
	CPUKVType string

	// CPUOnly names an option that the user gave and that only the CPU supports;
	// "auto" then means the CPU. "" = there is none.
	CPUOnly string
}

// GPUKernels returns the set of a GPU's kernels that the options ask for, "" if none.
func (o DeviceOptions) GPUKernels() string {
	if slices.Contains(cuda.Sets(), o.Kernels) {
		return o.Kernels
	}
	return ""
}

// Device opens a device. The caller closes it.
//
// In a binary without CUDA support that is asked for a GPU, Device replaces the process
// by the companion binary, which was built with the tag cuda; see companion.go.
func Device(o DeviceOptions) (device.Device, error) {
	id := o.ID
	if o.GPUKernels() != "" {
		id.Kind = "cuda" // the CPU does not have these kernels
	}
	switch {
	case id.Kind == "auto" && o.CPUOnly != "":
		if gpus, _ := listGPUs(); len(gpus) > 0 {
			slog.Info("using the CPU although there is a GPU", "because", "only the CPU supports "+o.CPUOnly)
		}
	case id.Kind != "cpu":
		dev, gpus, err := openGPU(id, o.GPUKernels(), o.KVType == "int8")
		if dev != nil {
			return dev, nil
		}
		if id.Kind == "cuda" {
			return nil, unavailable(id, err, gpus)
		}
	}
	kernels := o.Kernels
	if kernels == "" {
		kernels = "auto"
	}
	kv, int8KV, err := o.kvType()
	if err != nil {
		return nil, err
	}
	return cpu.Open(cpu.Options{Threads: o.Threads, Kernels: kernels, KVType: kv, Int8KV: int8KV})
}

// kvType is the type that KVType names, or whether it is int8.
func (o DeviceOptions) kvType() (t checkpoint.DType, int8KV bool, err error) {
	name := o.KVType
	if name == "" {
		name = o.CPUKVType
	}
	switch name {
	case "", "f32":
		return checkpoint.F32, false, nil
	case "f16":
		return checkpoint.F16, false, nil
	case "bf16":
		return checkpoint.BF16, false, nil
	case "int8":
		return 0, true, nil
	}
	return 0, false, fmt.Errorf("kv-type: want one of f32, f16, bf16, int8, got %q", name)
}

// LatencyKV is the type of the CPU's KV cache while text is generated or a latency is measured,
// unless another one is asked for.
const LatencyKV = "f16"

// LatencyKVType is the type of KV caches on a device while a latency is measured, for
// device.WithCacheType: the one that was asked for, or else the default.
func LatencyKVType(dev device.Device, asked string) string {
	if asked == "" && dev.Capabilities().HostMemory {
		return LatencyKV
	}
	return asked
}

// Check refuses values that no device can be opened with.
func (o DeviceOptions) Check() error {
	_, _, err := o.kvType()
	return err
}

// Trainer opens a device that can train.
func Trainer(o DeviceOptions) (device.Trainer, error) {
	dev, err := Device(o)
	if err != nil {
		return nil, err
	}
	t, err := device.AsTrainer(dev)
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	return t, nil
}

// Devices lists the devices of this machine. If there is no GPU, missing says why.
func Devices() (list []DeviceInfo, missing error) {
	gpus, err := listGPUs()
	return append([]DeviceInfo{cpuInfo()}, gpus...), err
}

// CheckDevice returns an error if the device does not exist; it opens nothing.
func CheckDevice(id DeviceID) error {
	if id.Kind != "cuda" {
		return nil
	}
	gpus, err := listGPUs()
	if err == nil && id.Index >= len(gpus) {
		err = errNoSuchGPU
	}
	if err != nil {
		return unavailable(id, err, gpus)
	}
	return nil
}

func gpuName(index int) string { return fmt.Sprintf("cuda:%d", index) }

var errNoSuchGPU = errors.New("there is no such GPU")

func cpuInfo() DeviceInfo {
	return DeviceInfo{Device: "cpu", Name: fmt.Sprintf("%s, %d cores", machine.Describe().CPU, runtime.NumCPU())}
}

// unavailable says why a device cannot be opened, and which devices there are.
func unavailable(id DeviceID, why error, gpus []DeviceInfo) error {
	var names []string
	for _, d := range append([]DeviceInfo{cpuInfo()}, gpus...) {
		names = append(names, fmt.Sprintf("%s (%s)", d.Device, d.Name))
	}
	return fmt.Errorf("device %s: %w; available: %s", id, why, strings.Join(names, ", "))
}
