package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	kernel "mop/kernels/cpu"
	"mop/runtime/chat"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/device/cuda"
	"mop/runtime/open"
)

// options are the flags that every command has, and those of weights that several have.
type options struct {
	device  deviceFlag
	threads int
	seed    uint64
	kernels string             // the name of a set of the CPU's or a GPU's kernels
	weights open.ModelOptions  // of the commands that run models
	kvType  string             // of the KV cache, "" = the default
	cpuKV   string             // the default on the CPU, "" = f32
	from    open.SourceOptions // of random weights; only bench has the flag --dtype
}

func (o *options) register(root *cobra.Command) {
	f := root.PersistentFlags()
	o.device.Set("auto")
	f.Var(&o.device, "device", "device to compute on: cpu, cuda (the first GPU), cuda:N, or auto: a GPU if there is one, else the CPU")
	f.IntVar(&o.threads, "threads", 0, "number of CPU threads, 0 = all cores")
	f.StringVar(&o.kernels, "kernels", "auto", "instruction set of the CPU's kernels: "+strings.Join(kernel.Names(), ", ")+"; or set of the GPU's kernels: "+strings.Join(cuda.Sets(), ", "))
	f.Uint64Var(&o.seed, "seed", 0, "seed of everything random (default 0)")
}

// generateFlags are for the commands that generate text or measure how fast it is generated.
// Their KV cache has 16 bits, which loses next to nothing and is faster.
func (o *options) generateFlags(c *cobra.Command) {
	o.runFlags(c, open.LatencyKV)
	o.openWithLatencyKV(c)
}

// measureFlags are for the commands that measure latencies as a table has them.
func (o *options) measureFlags(c *cobra.Command) {
	o.kvTypeFlag(c, open.LatencyKV)
	o.openWithLatencyKV(c)
}

// openWithLatencyKV makes the CPU's KV cache one of 16 bits unless --kv-type is given.
func (o *options) openWithLatencyKV(c *cobra.Command) {
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		o.cpuKV = open.LatencyKV
		return run(c, args)
	}
}

// weightsFlags are for the commands that compute logits or losses of models, with a precise
// KV cache.
func (o *options) weightsFlags(c *cobra.Command) { o.runFlags(c, "f32") }

func (o *options) runFlags(c *cobra.Command, cpuKV string) {
	o.kvTypeFlag(c, cpuKV)
	c.Flags().StringVar(&o.weights.Weights, "weights", "stored", "type that matrices are held in: stored, as in the checkpoint; or int8, with a scale for each row, multiplied by 16-bit activations")
	o.activationsFlag(c)
}

// kvTypes is the help on the values of --kv-type.
const kvTypes = "int8, with a scale for each head and position; or on the CPU f32, f16 or bf16"

func (o *options) kvTypeFlag(c *cobra.Command, cpuKV string) {
	c.Flags().StringVar(&o.kvType, "kv-type", "", "type of the KV cache: "+kvTypes+"; a smaller type saves memory (default "+cpuKV+"; on a GPU the 16-bit type that it computes in)")
}

// latencyKVFlag is for the commands that compute losses, with a precise KV cache, and measure
// latencies beside them, with the cache of mop bench.
func latencyKVFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "kv-type", "", "type of the KV cache while a latency is measured: "+kvTypes+" (default "+open.LatencyKV+"; on a GPU the 16-bit type that it computes in); losses are computed with f32")
}

// checkLatencyKV refuses types that no device has, and contradicting flags.
func (o *options) checkLatencyKV(kind string) error {
	d := o.deviceOptions()
	d.KVType = kind
	if err := d.Check(); err != nil {
		return usage("--%v", err)
	}
	if kind != "" && kind != "int8" && o.device.Kind == "cuda" {
		return usage("--kv-type %s: only the CPU supports it: want --device cpu or auto, got %s", kind, o.device.text)
	}
	return nil
}

func (o *options) activationsFlag(c *cobra.Command) {
	c.Flags().StringVar(&o.weights.Activations, "activations", "float32", "type of the activations that bfloat16 weights are multiplied by: float32, or bfloat16, which is twice as fast on some processors (CPU only)")
}

// dtypeFlag is for the commands that make random weights.
func (o *options) dtypeFlag(c *cobra.Command) {
	c.Flags().StringVar(&o.from.DType, "dtype", "", "type of random weights: "+strings.Join(open.DTypes(), ", ")+"; default: the preset's own")
}

// hfTypeFlag is for the commands that write models.
func hfTypeFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "hf-type", "", "the model type in config.json where all layers have one shape: "+strings.Join(config.HFTypes(), " or ")+
		"; default: llama, but mistral (the same network) where the heads do not divide the hidden size, because transformers 5 and vLLM refuse such a llama")
}

// check refuses values that no command can use, also in commands that do not need them.
func (o *options) check() error {
	o.from.Seed = o.seed
	if o.threads < 0 || o.threads > 1024 {
		return usage("--threads: want 0 to 1024, got %d", o.threads)
	}
	if err := o.weights.Check(); err != nil {
		return usage("--%v", err)
	}
	if err := o.from.Check(); err != nil {
		return usage("--%v", err)
	}
	if names := append(kernel.Names(), cuda.Sets()...); !slices.Contains(names, o.kernels) {
		return usage("--kernels: want one of %s, got %q", strings.Join(names, ", "), o.kernels)
	}
	d := o.deviceOptions()
	if err := d.Check(); err != nil {
		return usage("--%v", err)
	}
	switch gpu := d.GPUKernels(); {
	case d.CPUOnly != "" && gpu != "":
		return usage("--kernels %s and %s: no device supports both", gpu, d.CPUOnly)
	case d.CPUOnly != "" && d.ID.Kind == "cuda":
		return usage("%s: only the CPU supports it: want --device cpu or auto, got %s", d.CPUOnly, o.device.text)
	case gpu != "" && d.ID.Kind == "cpu":
		return usage("--kernels %s: only a GPU has them: want --device cuda or auto, got cpu", gpu)
	}
	return nil
}

// deviceOptions says which device the flags ask for.
func (o *options) deviceOptions() open.DeviceOptions {
	d := open.DeviceOptions{ID: o.device.DeviceID, Threads: o.threads, Kernels: o.kernels, KVType: o.kvType, CPUKVType: o.cpuKV}
	switch {
	case o.weights.Rounded():
		d.CPUOnly = "--activations bfloat16"
	case o.kvType != "" && o.kvType != "int8":
		d.CPUOnly = "--kv-type " + o.kvType
	case o.kernels != "auto" && d.GPUKernels() == "":
		d.CPUOnly = "--kernels " + o.kernels
	}
	return d
}

// open opens the device. The caller closes it.
func (o *options) open() (device.Device, error) { return open.Device(o.deviceOptions()) }

// openTrainer opens a device that can train.
func (o *options) openTrainer() (device.Trainer, error) { return open.Trainer(o.deviceOptions()) }

// load opens the device and loads a model onto it. closeModel closes both.
func (o *options) load(name string) (m *open.Model, closeModel func(), err error) {
	dev, err := o.open()
	if err != nil {
		return nil, nil, err
	}
	if m, err = open.LoadModel(dev, name, o.from, o.weights); err != nil {
		dev.Close()
		return nil, nil, err
	}
	return m, func() {
		m.Close()
		dev.Close()
	}, nil
}

// hostOnly makes a command that computes on no device, and the commands below it, refuse a
// --device that does not exist, as the commands do that compute.
func (o *options) hostOnly(c *cobra.Command) *cobra.Command {
	for _, sub := range c.Commands() {
		o.hostOnly(sub)
	}
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := open.CheckDevice(o.device.DeviceID); err != nil {
			return err
		}
		return run(c, args)
	}
	return c
}

// deviceFlag is the value of --device.
type deviceFlag struct {
	open.DeviceID
	text string // as it was typed
}

var _ pflag.Value = (*deviceFlag)(nil)

func (d *deviceFlag) Set(text string) (err error) {
	d.text = text
	d.DeviceID, err = open.ParseDevice(text)
	return err
}

func (d *deviceFlag) String() string { return d.text }
func (d *deviceFlag) Type() string   { return "string" }

// intsFlag is a flag of whole numbers of at least min, with commas between them.
type intsFlag struct {
	values []int
	min    int
	want   string // what the numbers are, for errors
}

var _ pflag.Value = (*intsFlag)(nil)

func (f *intsFlag) Set(text string) error {
	f.values = nil
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < f.min {
			return fmt.Errorf("want %s with commas between them, got %q", f.want, field)
		}
		f.values = append(f.values, n)
	}
	return nil
}

func (f *intsFlag) String() string {
	var fields []string
	for _, n := range f.values {
		fields = append(fields, strconv.Itoa(n))
	}
	return strings.Join(fields, ",")
}

func (f *intsFlag) Type() string { return "numbers" }

// dataFlags are for the commands that read rows of data.
func dataFlags(c *cobra.Command, special *bool, template *string) {
	c.Flags().BoolVar(special, "special", false, "parse the text of special tokens in the data, such as <|im_start|>, as these tokens")
	c.Flags().StringVar(template, "chat-template", "", "template for rows of messages: "+strings.Join(chat.Builtins(), ", ")+", or a file; default: the model's own")
}

// need refuses a command line that lacks a required flag.
func need(c *cobra.Command, flags ...string) error {
	for _, f := range flags {
		if c.Flag(f).Value.String() == "" {
			return usage("%s: --%s is required", c.CommandPath(), f)
		}
	}
	return nil
}

// human writes a count with the unit that a person reads.
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
