package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/model"
)

// options are the flags of every command.
type options struct {
	device  string
	threads int
	seed    uint64
}

func (o *options) register(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&o.device, "device", "auto", "where to compute: cpu or auto")
	f.IntVar(&o.threads, "threads", 0, "threads to compute with, 0 = all cores")
	f.Uint64Var(&o.seed, "seed", 0, "seed of whatever is drawn at random")
}

// open starts the device.
func (o *options) open() (device.Device, error) {
	if o.device != "cpu" && o.device != "auto" {
		return nil, usage("--device: want one of cpu, auto, got %q", o.device)
	}
	if o.threads < 0 || o.threads > 1024 {
		return nil, usage("--threads: want 0 to 1024, got %d", o.threads)
	}
	return cpu.New(o.threads)
}

// source opens a model directory, or makes a preset with random weights.
func (o *options) source(name string) (checkpoint.Source, error) {
	if p, ok := strings.CutPrefix(name, "preset:"); ok {
		c, err := config.Preset(p)
		if err != nil {
			return nil, err
		}
		return checkpoint.Random(c, o.seed, storedType(c)), nil
	}
	return checkpoint.Open(name)
}

// configOf reads only the config of what source opens.
func (o *options) configOf(name string) (*config.Config, error) {
	if p, ok := strings.CutPrefix(name, "preset:"); ok {
		return config.Preset(p)
	}
	return config.Load(name + "/config.json")
}

// storedType is the type a config's weights are written in.
func storedType(c *config.Config) checkpoint.DType {
	switch c.DType {
	case "float16":
		return checkpoint.F16
	case "float32":
		return checkpoint.F32
	}
	return checkpoint.BF16
}

// loaded is a model on its device, with what must be closed after it.
type loaded struct {
	*model.Model
	source checkpoint.Source
}

func (o *options) load(name string) (*loaded, error) {
	dev, err := o.open()
	if err != nil {
		return nil, err
	}
	l, err := o.loadOn(dev, name)
	if err != nil {
		dev.Close()
	}
	return l, err
}

// loadOn loads onto a device that others share.
func (o *options) loadOn(dev device.Device, name string) (*loaded, error) {
	src, err := o.source(name)
	if err != nil {
		return nil, err
	}
	m, err := model.Load(dev, src)
	if err != nil {
		src.Close()
		return nil, err
	}
	return &loaded{m, src}, nil
}

func (l *loaded) close() {
	l.Device().Close()
	l.source.Close()
}

// ids parses "1,2,3".
func parseIDs(text string) ([]int, error) {
	var ids []int
	for f := range strings.SplitSeq(text, ",") {
		id, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil {
			return nil, usage("--ids: want whole numbers with commas between, got %q", f)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// need refuses a flag that must be given and was not.
func need(c *cobra.Command, flags ...string) error {
	for _, f := range flags {
		if c.Flag(f).Value.String() == "" && !c.Flag(f).Changed {
			return usage("%s: --%s is needed", c.CommandPath(), f)
		}
	}
	return nil
}

// human is a count in the unit a person reads.
func human(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f G", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2f M", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f k", float64(n)/1e3)
	}
	return fmt.Sprint(n)
}
