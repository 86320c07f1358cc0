package compare

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"mop/bench/hardware"
	"mop/bench/latency"
	"mop/internal/build"
	"mop/internal/machine"
	"mop/runtime/device"
)

// environment is what all rows of a comparison share: machine, build, and the device's
// roofline, which is cached unless again asks for a new measurement.
func environment(dev device.Device, o Options, again bool) (latency.Environment, error) {
	info := machine.Describe()
	env := latency.Environment{Device: dev.Capabilities().Hardware, CPU: info.CPU, Threads: dev.Capabilities().Threads, KVType: dev.Capabilities().CacheType, Commit: build.Commit(), Date: time.Now()}
	if _, _, ok := hardware.OtherLoad(); ok {
		env.Cores = info.Cores
	}
	bytesPerSecond, err := dev.CopyBandwidth()
	if env.ReadGBps = bytesPerSecond / 1e9; err != nil || bytesPerSecond > 0 {
		return env, err
	}
	if dev.Capabilities().Name != "cpu" {
		return env, nil
	}
	roofline, err := hardware.DefaultMeter().Measure(info, dev.Capabilities().Threads, instructionSet(o), again)
	if err != nil {
		return env, err
	}
	env.ReadGBps, env.FMAGflops, env.FMAISA = roofline.Read.GBps, roofline.FMA.GFLOPs, roofline.FMA.ISA
	env.RooflineLoad = roofline.Others
	return env, nil
}

// instructionSet is the one whose arithmetic peak bounds the CPU's products: that of the
// kernels and of the weights' type; "" = the widest.
func instructionSet(o Options) string {
	isa := o.Kernels
	if isa == "auto" {
		isa = ""
	}
	if o.Weights.Rounded() && slices.Contains(hardware.ISAs(), hardware.BF16) && (isa == "" || isa == "avx512") {
		return hardware.BF16
	}
	if o.Weights.Int8() {
		for _, name := range hardware.ISAs() { // the widest first
			if set, ok := strings.CutSuffix(name, hardware.Int16); ok && (isa == "" || isa == set) {
				return name
			}
		}
	}
	return isa
}

// warnOfLoad logs how busy the machine was with other things during the measurement.
func warnOfLoad(rows []latency.Row) {
	others, steal := OtherLoad(rows)
	if others+steal > latency.Busy {
		slog.Warn("the machine was busy with other things: times are too long, and intervals wide",
			"other processes", fmt.Sprintf("%.0f %% of the cores", 100*others), "stolen by the hypervisor", fmt.Sprintf("%.0f %%", 100*steal))
	}
}

// OtherLoad is the largest share of the cores that other processes, and the hypervisor,
// took during the runs of a model; 0 where it is not known.
func OtherLoad(rows []latency.Row) (others, steal float64) {
	for _, r := range rows {
		if r.OtherLoad != nil && r.StealLoad != nil {
			others, steal = max(others, *r.OtherLoad), max(steal, *r.StealLoad)
		}
	}
	return others, steal
}
