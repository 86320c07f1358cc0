package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"mop/bench/hardware"
	"mop/bench/latency"
	"mop/bench/report"
	"mop/internal/files"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// modelUnderTest is a model to be measured, not loaded yet.
type modelUnderTest struct {
	name   string
	series string
	from   []int // base layer of each layer, nil = not known
	open   func() (checkpoint.Source, error)
}

// sampleLine is a run in the format jsonl, told from the models' rows by its kind.
type sampleLine struct {
	Kind string `json:"kind"` // "sample"
	latency.Sample
}

func benchCommand(o *options) *cobra.Command {
	var planFiles []string
	var at, format, dir string
	p := latency.Default()
	want := precision{limit: 5 * time.Minute}
	c := &cobra.Command{
		Use:   "bench DIR|preset:NAME[,...]",
		Short: "Measure end-to-end latency, models in turns",
		Long: "Measure end-to-end latency. The first model is the dense one that the others are\ncompared with. All take turns in one process, in a new order every round.\n" +
			"The defaults are the paper's protocol: 12 ids in, 128 out, 20 runs of which the first 10 are thrown away.",
		Example: "  mop bench ./model,./pruned/0.20,./pruned/0.40\n  mop bench preset:tinyllama-1.1b --plan plan.json --at 7,11 --format json\n" +
			"  mop bench ./model,./pruned/0.40 --report ./report",
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := report.CheckFormat(format); err != nil {
				return usage("%v", err)
			}
			if _, ok := dtypes()[o.dtype]; !ok && o.dtype != "" {
				return usage("--dtype: want one of bf16, f16, f32, got %q", o.dtype)
			}
			if !(want.width >= 0) || want.limit < 0 {
				return usage("--precision and --limit: want 0 or more, got %v and %v", want.width, want.limit)
			}
			p.Seed = o.seed
			if err := p.Validate(); err != nil {
				return usage("%v", err)
			}
			names := strings.Split(args[0], ",")
			if slices.Contains(names, "") {
				return usage("bench: want names with commas between, got %q", args[0])
			}
			if o.dtype != "" && len(planFiles) == 0 && !slices.ContainsFunc(names, isPreset) {
				return usage("bench: --dtype is of random weights: it wants a preset:NAME or a --plan")
			}
			if at != "" && len(planFiles) == 0 {
				return usage("bench: --at wants a --plan")
			}
			list, err := o.modelsUnderTest(names, planFiles, at)
			if err != nil {
				return err
			}
			if dir != "" { // before the measurements, which would be lost
				if err := os.MkdirAll(dir, 0o777); err != nil {
					return err
				}
			}
			var taken func(latency.Sample) error
			if format == "jsonl" { // at once: a measurement that is cut off is not lost
				lines := json.NewEncoder(c.OutOrStdout())
				lines.SetEscapeHTML(false)
				taken = func(s latency.Sample) error { return lines.Encode(sampleLine{"sample", s}) }
			}
			entries, samples, err := o.measure(c.Context(), p, list, want, taken)
			if err != nil {
				return err
			}
			if dir != "" {
				if err := report.WriteDirectory(dir, report.Report{Command: "mop " + strings.Join(os.Args[1:], " "), Entries: entries, Samples: samples}); err != nil {
					return err
				}
			}
			return report.Write(c.OutOrStdout(), format, entries)
		},
	}
	c.AddCommand(benchTrainingCommand(o))
	o.weightsFlags(c)
	f := c.Flags()
	f.StringArrayVar(&planFiles, "plan", nil, "measure the base and a plan's shapes, with random weights; may be repeated")
	f.StringVar(&o.dtype, "dtype", "", "type of random weights: bf16, f16 or f32; default: the preset's own")
	f.StringVar(&at, "at", "", "steps of the plan, with commas between; default: those that its targets took")
	f.IntVar(&p.In, "in", p.In, "prompt ids")
	f.IntVar(&p.Out, "out", p.Out, "ids to generate")
	f.IntVar(&p.Batch, "batch", p.Batch, "sequences at a time")
	f.IntVar(&p.Runs, "runs", p.Runs, "rounds")
	f.IntVar(&p.Discard, "discard", p.Discard, "rounds at the start that do not count")
	f.Float64Var(&want.width, "precision", 0, "more rounds until every speed-up's interval is at most this wide, as a share of it; 0 = never more")
	f.DurationVar(&want.limit, "limit", want.limit, "how long --precision may go on")
	f.StringVar(&format, "format", "md", strings.Join(report.Formats(), ", ")+"; jsonl has a line of kind sample after every run, and the models' rows last")
	f.StringVar(&dir, "report", "", "write a directory with tables, raw samples and plots")
	return c
}

// modelPlan is the plan beside a model, if there is one.
func modelPlan(dir string) (*plan.Plan, error) {
	path := filepath.Join(dir, "plan.json")
	if _, err := files.Check(path); err != nil {
		return nil, err
	}
	return plan.Load(path)
}

// modelsUnderTest lists the models by name, and the plans' shapes after them.
func (o *options) modelsUnderTest(names, planFiles []string, at string) ([]modelUnderTest, error) {
	var list []modelUnderTest
	for _, n := range names {
		list = append(list, modelUnderTest{name: n, series: "MoP", open: func() (checkpoint.Source, error) { return o.source(n) }})
		if p, err := modelPlan(n); err == nil {
			for _, l := range p.Layers {
				list[len(list)-1].from = append(list[len(list)-1].from, l.From)
			}
		}
	}
	if len(planFiles) == 0 {
		return list, nil
	}
	if len(names) != 1 {
		return nil, usage("bench: --plan wants one base model, got %d", len(names))
	}
	base, err := o.configOf(names[0])
	if err != nil {
		return nil, err
	}
	dt := o.randomType(base)
	random := func(c *config.Config) func() (checkpoint.Source, error) {
		return func() (checkpoint.Source, error) { return checkpoint.Random(c, o.seed, dt), nil }
	}
	list[0].open = random(base)
	for _, file := range planFiles {
		p, err := plan.Load(file)
		if err != nil {
			return nil, err
		}
		shapes, _ := p.LayerShapes(0)
		if !slices.Equal(shapes, base.Layers) {
			return nil, fmt.Errorf("%s: made for other layers than those of %s", file, names[0])
		}
		name := names[0]
		if len(planFiles) > 1 {
			name = strings.TrimSuffix(filepath.Base(file), ".json")
		}
		steps, err := planSteps(p, at)
		if err != nil {
			return nil, err
		}
		for _, n := range steps {
			shapes, err := p.LayerShapes(n)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			c := base.Clone()
			c.Layers = shapes
			list = append(list, modelUnderTest{name: fmt.Sprintf("%s step %d", name, n), series: "MoP", open: random(c)})
		}
	}
	return list, nil
}

func planSteps(p *plan.Plan, at string) ([]int, error) {
	var steps []int
	if at != "" {
		for f := range strings.SplitSeq(at, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(f))
			if err != nil || n < 1 {
				return nil, usage("--at: want steps from 1 with commas between, got %q", f)
			}
			steps = append(steps, n)
		}
		return steps, nil
	}
	if len(p.Steps) == 0 {
		return nil, fmt.Errorf("the plan has no steps")
	}
	for _, t := range p.Targets {
		steps = append(steps, plan.Nearest(p.Compressions(), t))
	}
	if len(steps) == 0 {
		steps = []int{len(p.Steps)}
	}
	return slices.Compact(steps), nil
}

// precision asks for more rounds than the protocol's while a speed-up's interval
// is wide. That it is wide, and not what it says, decides.
type precision struct {
	width float64       // of the interval over the speed-up, enough; 0 = any is
	limit time.Duration // no round begins later than this after the first
}

// measure loads all contenders on one device and runs the protocol. taken,
// which may be nil, is called after every run; its error ends the measurement.
func (o *options) measure(ctx context.Context, p latency.Protocol, list []modelUnderTest, want precision, taken func(latency.Sample) error) ([]report.Entry, []latency.Sample, error) {
	dev, err := o.open()
	if err != nil {
		return nil, nil, err
	}
	defer dev.Close()
	var subjects []latency.Model
	var layers [][]report.Layer
	made := 0.0 // bytes of weights that were made, not mapped
	for i, x := range list {
		start := time.Now()
		src, err := x.open()
		if err != nil {
			return nil, nil, err
		}
		defer src.Close()
		made += o.madeBytes(src)
		if err := fits(dev, x.name+" and those before it", made); err != nil {
			return nil, nil, err
		}
		m, err := o.model(dev, src)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", x.name, err)
		}
		s, err := loadedModel(dev, m, x.name, p, time.Since(start))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", x.name, err)
		}
		if err := checkFinite(src); err != nil { // after the load, whose time counts
			return nil, nil, err
		}
		if i > 0 {
			s.Compression = 1 - float64(s.Params)/float64(subjects[0].Params)
		}
		subjects = append(subjects, s)
		shapes, err := report.Layers(m.Config.Layers, x.from)
		if err != nil {
			shapes = nil
		}
		layers = append(layers, shapes)
	}
	env, err := o.environment(dev, false)
	if err != nil {
		return nil, nil, err
	}
	var bar *progressbar.ProgressBar
	if b := newBars(os.Stderr); b.w != nil {
		bar = progressbar.NewOptions(p.Runs*len(subjects), progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription("measuring"), progressbar.OptionClearOnFinish())
	}
	start := time.Now()
	more := func(rounds int, samples []latency.Sample) bool {
		if want.width == 0 || time.Since(start) > want.limit {
			return false
		}
		if width, err := latency.Widest(p, subjects, samples, rounds); err != nil || width <= want.width {
			return false
		}
		if bar != nil {
			bar.ChangeMax((rounds + 1) * len(subjects))
		}
		return true
	}
	samples, err := latency.Measure(ctx, p, subjects, latency.Options{OtherLoad: hardware.OtherLoad, More: more, Progress: func(done latency.Progress) error {
		if bar != nil {
			bar.Add(1)
		}
		if taken == nil {
			return nil
		}
		return taken(done.Sample)
	}})
	if err != nil {
		return nil, samples, err
	}
	p.Runs = samples[len(samples)-1].Round + 1
	rows, err := latency.Rows(p, subjects, samples, env)
	if err != nil {
		return nil, samples, err
	}
	if env.LimitLoad > latency.Busy || contradicted(rows) {
		again, err := o.environment(dev, true)
		if err != nil {
			return nil, samples, err
		}
		env.ReadGBps, env.FMAGflops = max(env.ReadGBps, again.ReadGBps), max(env.FMAGflops, again.FMAGflops)
		env.LimitLoad = min(env.LimitLoad, again.LimitLoad) // of a limit, the larger value is the better
		if rows, err = latency.Rows(p, subjects, samples, env); err != nil {
			return nil, samples, err
		}
	}
	warnOfLoad(rows)
	entries := report.Entries(rows)
	for i := range entries {
		entries[i].Series, entries[i].Layers = list[i].series, layers[i]
	}
	return entries, samples, nil
}

// contradicted says that rows took more than all of the machine's limits, which were
// remembered of another time then.
func contradicted(rows []latency.Row) bool {
	return slices.ContainsFunc(rows, func(r latency.Row) bool {
		return r.Share != nil && *r.Share > 1 || r.PrefillShare != nil && *r.PrefillShare > 1
	})
}

// warnOfLoad says when the machine was not the measurement's own.
func warnOfLoad(rows []latency.Row) {
	others, steal := 0.0, 0.0
	for _, r := range rows {
		if r.OtherLoad != nil && r.StealLoad != nil {
			others, steal = max(others, *r.OtherLoad), max(steal, *r.StealLoad)
		}
	}
	if others+steal > latency.Busy {
		slog.Warn("the machine was busy with other things: times are too long, and intervals wide",
			"other processes", fmt.Sprintf("%.0f %% of the cores", 100*others), "stolen by the hypervisor", fmt.Sprintf("%.0f %%", 100*steal))
	}
}

// environment is what all rows share, the host's limits among them where the
// host computes: remembered ones, or measured again.
func (o *options) environment(dev device.Device, again bool) (latency.Environment, error) {
	machine := hardware.Describe()
	env := latency.Environment{Device: dev.Capabilities().Hardware, CPU: machine.CPU, Threads: dev.Capabilities().Threads, Commit: latency.BuildCommit(), Date: time.Now()}
	if _, _, ok := hardware.OtherLoad(); ok {
		env.Cores = machine.Cores
	}
	if dev.Capabilities().Name != "cpu" {
		return env, nil
	}
	isa := o.kernels
	if isa == "auto" {
		isa = "" // the widest
	}
	if slices.Contains(hardware.ISAs(), hardware.BF16) && o.activations == "bfloat16" && (isa == "" || isa == "avx512") {
		isa = hardware.BF16
	}
	if o.weights == "int8" {
		for _, name := range hardware.ISAs() { // the widest first
			if set, ok := strings.CutSuffix(name, hardware.Int16); ok && (isa == "" || isa == set) {
				isa = name
				break
			}
		}
	}
	limits, err := hardware.DefaultMeter().Measure(machine, dev.Capabilities().Threads, isa, again)
	if err != nil {
		return env, err
	}
	env.ReadGBps, env.FMAGflops, env.FMAISA = limits.Read.GBps, limits.FMA.GFLOPs, limits.FMA.ISA
	env.LimitLoad = limits.Others
	return env, nil
}

// loadedModel wraps a loaded model for the harness.
func loadedModel(dev device.Device, m *model.Model, name string, p latency.Protocol, load time.Duration) (latency.Model, error) {
	if p.In+p.Out > m.Config.MaxPositions {
		return latency.Model{}, fmt.Errorf("%d ids in and %d out: %w of %d", p.In, p.Out, model.ErrContext, m.Config.MaxPositions)
	}
	if err := cacheFits(dev, m.Config, p.Batch, p.In+p.Out); err != nil {
		return latency.Model{}, err
	}
	cache, err := kvcache.New(dev, m.Config, p.Batch, p.In+p.Out)
	if err != nil {
		return latency.Model{}, err
	}
	// A step reads the weights once for all sequences, and each one's own cache.
	weights := m.BytesPerToken(0)
	perToken := weights/int64(p.Batch) + m.BytesPerToken(p.In+p.Out/2) - weights
	special := slices.Clone(m.Config.EOS)
	if m.Config.BOS >= 0 {
		special = append(special, m.Config.BOS)
	}
	return latency.Model{
		Name: name, Params: m.Config.Params(), Vocab: m.Config.VocabSize, SpecialTokens: special, Context: m.Config.MaxPositions,
		BytesPerToken: perToken, PrefillBytes: weights,
		PrefillFlops: int64(p.Batch) * model.PromptFlops(m.Config, p.In), DecodeFlops: model.Flops(m.Config, p.In+p.Out/2, 1, 1),
		PeakBytes: m.WeightBytes() + kvcache.Bytes(m.Config, p.Batch, p.In+p.Out), Load: load,
		Run: func(ctx context.Context, prompts [][]int, out int, step func()) error {
			return generate.Run(ctx, m, cache, prompts, generate.Options{MaxTokens: out, IgnoreEOS: true}, func(_, _ []int) []int {
				step()
				return nil
			})
		},
	}, nil
}
