package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"mop/bench/hardware"
	"mop/bench/latency"
	"mop/bench/report"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// contender is a model to be measured, not loaded yet.
type contender struct {
	name   string
	series string
	from   []int // base layer of each layer, nil = not known
	open   func() (checkpoint.Source, error)
}

func benchCommand(o *options) *cobra.Command {
	var planFile, at, format, dir string
	p := latency.Default()
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
			p.Seed = o.seed
			if err := p.Validate(); err != nil {
				return usage("%v", err)
			}
			names := strings.Split(args[0], ",")
			list, err := o.contenders(names, planFile, at)
			if err != nil {
				return err
			}
			entries, samples, err := o.measure(c.Context(), p, list)
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
	f := c.Flags()
	f.StringVar(&planFile, "plan", "", "measure the base and a plan's shapes, with random weights")
	f.StringVar(&at, "at", "", "steps of the plan, with commas between; default: those that its targets took")
	f.IntVar(&p.In, "in", p.In, "prompt ids")
	f.IntVar(&p.Out, "out", p.Out, "ids to generate")
	f.IntVar(&p.Batch, "batch", p.Batch, "sequences at a time")
	f.IntVar(&p.Runs, "runs", p.Runs, "rounds")
	f.IntVar(&p.Discard, "discard", p.Discard, "rounds at the start that do not count")
	f.StringVar(&format, "format", "md", strings.Join(report.Formats(), ", "))
	f.StringVar(&dir, "report", "", "write a directory with tables, raw samples and plots")
	return c
}

// contenders lists the models by name, and a plan's shapes after them.
func (o *options) contenders(names []string, planFile, at string) ([]contender, error) {
	var list []contender
	for _, n := range names {
		list = append(list, contender{name: n, series: "MoP", open: func() (checkpoint.Source, error) { return o.source(n) }})
		if p, err := plan.Load(n + "/plan.json"); err == nil {
			for _, l := range p.Layers {
				list[len(list)-1].from = append(list[len(list)-1].from, l.From)
			}
		}
	}
	if planFile == "" {
		return list, nil
	}
	if len(names) != 1 {
		return nil, usage("bench: --plan wants one base model, got %d", len(names))
	}
	p, err := plan.Load(planFile)
	if err != nil {
		return nil, err
	}
	base, err := o.configOf(names[0])
	if err != nil {
		return nil, err
	}
	shapes, _ := p.LayerShapes(0)
	if !slices.Equal(shapes, base.Layers) {
		return nil, fmt.Errorf("%s: made for other layers than those of %s", planFile, names[0])
	}
	dt := storedType(base)
	random := func(c *config.Config) func() (checkpoint.Source, error) {
		return func() (checkpoint.Source, error) { return checkpoint.Random(c, o.seed, dt), nil }
	}
	list[0].open = random(base)
	steps, err := planSteps(p, at)
	if err != nil {
		return nil, err
	}
	for _, n := range steps {
		shapes, err := p.LayerShapes(n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", planFile, err)
		}
		c := base.Clone()
		c.Layers = shapes
		list = append(list, contender{name: fmt.Sprintf("%s step %d", names[0], n), series: "MoP", open: random(c)})
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

// measure loads all contenders on one device and runs the protocol.
func (o *options) measure(ctx context.Context, p latency.Protocol, list []contender) ([]report.Entry, []latency.Sample, error) {
	dev, err := o.open()
	if err != nil {
		return nil, nil, err
	}
	defer dev.Close()
	var subjects []latency.Subject
	var layers [][]report.Layer
	for i, x := range list {
		start := time.Now()
		src, err := x.open()
		if err != nil {
			return nil, nil, err
		}
		defer src.Close()
		m, err := model.Load(dev, src)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", x.name, err)
		}
		s, err := subject(dev, m, x.name, p, time.Since(start))
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
	machine := hardware.Describe()
	band, err := hardware.DefaultMeter().Measure(machine, dev.Threads(), false)
	if err != nil {
		return nil, nil, err
	}
	var bar *progressbar.ProgressBar
	if b := newBars(os.Stderr); b.w != nil {
		bar = progressbar.NewOptions(p.Runs*len(subjects), progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription("measuring"), progressbar.OptionClearOnFinish())
	}
	samples, err := latency.Measure(ctx, p, subjects, latency.Options{Progress: func(latency.Progress) {
		if bar != nil {
			bar.Add(1)
		}
	}})
	if err != nil {
		return nil, samples, err
	}
	rows, err := latency.Rows(p, subjects, samples, latency.Environment{Device: dev.Name(), CPU: machine.CPU, Threads: dev.Threads(),
		Commit: latency.BuildCommit(), ReadGBps: band.GBps, Date: time.Now()})
	if err != nil {
		return nil, samples, err
	}
	entries := report.Entries(rows)
	for i := range entries {
		entries[i].Series, entries[i].Layers = list[i].series, layers[i]
	}
	return entries, samples, nil
}

// subject wraps a loaded model for the harness.
func subject(dev device.Device, m *model.Model, name string, p latency.Protocol, load time.Duration) (latency.Subject, error) {
	if p.In+p.Out > m.Config.MaxPositions {
		return latency.Subject{}, fmt.Errorf("%d ids in and %d out: %w of %d", p.In, p.Out, model.ErrContext, m.Config.MaxPositions)
	}
	cache, err := kvcache.New(dev, m.Config, p.Batch, p.In+p.Out)
	if err != nil {
		return latency.Subject{}, err
	}
	// A step reads the weights once for all sequences, and each one's own cache.
	weights := m.BytesPerToken(0)
	perToken := weights/int64(p.Batch) + m.BytesPerToken(p.In+p.Out/2) - weights
	special := slices.Clone(m.Config.EOS)
	if m.Config.BOS >= 0 {
		special = append(special, m.Config.BOS)
	}
	return latency.Subject{
		Name: name, Params: m.Config.Params(), Vocab: m.Config.Vocab, Special: special, Context: m.Config.MaxPositions,
		BytesPerToken: perToken, PeakBytes: m.WeightBytes() + kvcache.Bytes(m.Config, p.Batch, p.In+p.Out), Load: load,
		Run: func(ctx context.Context, prompts [][]int, out int, step func()) error {
			return generate.Run(ctx, m, cache, prompts, generate.Options{MaxTokens: out, IgnoreEOS: true}, func(_, _ []int) []int {
				step()
				return nil
			})
		},
	}, nil
}
