package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	kernel "mop/kernels/cpu"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/device/cuda"
	"mop/runtime/model"
)

// options are the flags of every command.
type options struct {
	device  string
	threads int
	seed    uint64
	kernels string // a name of kernels/cpu.Names, or of the sets of a GPU
	weights string // "" or "stored": in the checkpoint's type; "int8"

	// activations is what products multiply bfloat16 weights by: "" or "float32";
	// "bfloat16".
	activations string
	dtype       string // of random weights, "" = the config's own; only bench sets it
}

func (o *options) register(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&o.device, "device", "auto", "where to compute: cpu, cuda (the first GPU), cuda:N, or auto: cuda where there is one")
	f.IntVar(&o.threads, "threads", 0, "threads to compute with, 0 = all cores")
	f.StringVar(&o.kernels, "kernels", "auto", "instructions that the CPU computes with: "+strings.Join(kernel.Names(), ", ")+"; or, in place of the set of kernels that fits a GPU best: "+strings.Join(cuda.Sets(), ", "))
	f.Uint64Var(&o.seed, "seed", 0, "seed of whatever is drawn at random (default 0)")
}

// check refuses values that no command can use, also where it needs none.
func (o *options) check() error {
	on, err := parseDevice(o.device)
	if err != nil {
		return err
	}
	if o.threads < 0 || o.threads > 1024 {
		return usage("--threads: want 0 to 1024, got %d", o.threads)
	}
	if !slices.Contains([]string{"", "stored", "int8"}, o.weights) {
		return usage("--weights: want one of stored, int8, got %q", o.weights)
	}
	if !slices.Contains([]string{"", "float32", "bfloat16"}, o.activations) {
		return usage("--activations: want one of float32, bfloat16, got %q", o.activations)
	}
	if o.activations == "bfloat16" && o.weights == "int8" {
		return usage("--activations bfloat16: multiplies weights as they are stored, not --weights int8")
	}
	if names := append(kernel.Names(), cuda.Sets()...); !slices.Contains(names, o.kernels) {
		return usage("--kernels: want one of %s, got %q", strings.Join(names, ", "), o.kernels)
	}
	only, set := o.onlyCPU(), o.gpuSet()
	switch {
	case only != "" && set != "":
		return usage("--kernels %s and %s: no device has both", set, only)
	case only != "" && on.kind == "cuda":
		return usage("%s: only the CPU has it: want --device cpu or auto, got %s", only, o.device)
	case set != "" && on.kind == "cpu":
		return usage("--kernels %s: only a GPU has them: want --device cuda or auto, got cpu", set)
	}
	return nil
}

// gpuSet is the set of a GPU's kernels that is asked for, "" for its own.
func (o *options) gpuSet() string {
	if slices.Contains(cuda.Sets(), o.kernels) {
		return o.kernels
	}
	return ""
}

// onlyCPU names an option that is given and that only the CPU has.
func (o *options) onlyCPU() string {
	switch {
	case o.activations == "bfloat16":
		return "--activations bfloat16"
	case o.kernels != "auto" && o.gpuSet() == "":
		return "--kernels " + o.kernels
	}
	return ""
}

// open starts the device.
func (o *options) open() (device.Device, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	on, err := parseDevice(o.device)
	if err != nil {
		return nil, err
	}
	if o.gpuSet() != "" {
		on.kind = "cuda" // the CPU is no answer
	}
	only := o.onlyCPU()
	switch {
	case on.kind == "auto" && only != "":
		if gpus, _ := listCUDA(); len(gpus) > 0 {
			slog.Info("the CPU is taken, not the GPU", "because", "only it has "+only)
		}
	case on.kind != "cpu":
		dev, gpus, err := openCUDA(on, o.gpuSet())
		if dev != nil {
			return dev, nil
		}
		if on.kind == "cuda" {
			return nil, notThere(o.device, err, gpus)
		}
	}
	return cpu.Open(cpu.Options{Threads: o.threads, Kernels: o.kernels})
}

// weightsFlags are for the commands that only run models.
func (o *options) weightsFlags(c *cobra.Command) {
	c.Flags().StringVar(&o.weights, "weights", "stored", "hold matrices as they are stored, or as int8 with a scale for each row, multiplied by activations of 16 bits")
	o.activationsFlag(c)
}

func (o *options) activationsFlag(c *cobra.Command) {
	c.Flags().StringVar(&o.activations, "activations", "float32", "multiply bfloat16 weights by float32, or by numbers rounded to bfloat16, at which some processors are twice as fast (CPU)")
}

// model places a source's weights on a device.
func (o *options) model(dev device.Device, src checkpoint.Source) (*model.Model, error) {
	can, place := dev.Capabilities(), device.PlaceOptions{Int8: o.weights == "int8", BF16Activations: o.activations == "bfloat16"}
	switch {
	case place.BF16Activations && !can.BF16Activations:
		return nil, fmt.Errorf("--activations bfloat16: wants --device cpu, got %s", can.Name)
	case place.Int8 && !can.Int8Weights:
		return nil, fmt.Errorf("--weights int8: %s does not hold them", can.Name)
	}
	return model.LoadPlaced(dev, src, place)
}

// isPreset tells a preset's name from a directory's.
func isPreset(name string) bool { return strings.HasPrefix(name, "preset:") }

// source opens a model directory, or makes a preset with random weights.
func (o *options) source(name string) (checkpoint.Source, error) {
	if p, ok := strings.CutPrefix(name, "preset:"); ok {
		c, err := config.Preset(p)
		if err != nil {
			return nil, err
		}
		return checkpoint.Random(c, o.seed, o.randomType(c)), nil
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

// dtypes are what --dtype may say.
func dtypes() map[string]checkpoint.DType {
	return map[string]checkpoint.DType{"bf16": checkpoint.BF16, "f16": checkpoint.F16, "f32": checkpoint.F32}
}

// randomType is the type that random weights of a config are made in.
func (o *options) randomType(c *config.Config) checkpoint.DType {
	if d, ok := dtypes()[o.dtype]; ok {
		return d
	}
	return storedType(c)
}

// loaded is a model on its device, with what must be closed after it.
type loaded struct {
	*model.Model
	name   string // as the user gave it
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
	var m *model.Model
	if err = fits(dev, name, o.madeBytes(src)); err == nil {
		m, err = o.model(dev, src)
	}
	if err == nil {
		err = checkFinite(src)
	}
	if err != nil {
		src.Close()
		return nil, err
	}
	return &loaded{m, name, src}, nil
}

// checkFinite reads all stored weights once, as the first pass would, and
// refuses those that are not numbers: what comes out of them means nothing, and
// does not always look like it.
func checkFinite(src checkpoint.Source) error {
	if _, stored := src.(*checkpoint.Dir); !stored {
		return nil // generated ones are finite
	}
	return checkpoint.CheckFinite(src)
}

// fail says of which model an error of its running speaks.
func (l *loaded) fail(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", l.name, err)
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
		if c.Flag(f).Value.String() == "" {
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
