package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"mop/bench/sweep"
	"mop/internal/files"
	"mop/internal/machine"
	"mop/prune"
	"mop/prune/plan"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/open"
	"mop/runtime/predict"
)

// workloadFlags are the flags of what is timed.
type workloadFlags struct {
	predict.Workload
	part string
}

func (w *workloadFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.IntVar(&w.In, "in", w.In, "prompt tokens of the predicted time")
	f.IntVar(&w.Out, "out-tokens", w.Out, "generated tokens of the predicted time")
	f.IntVar(&w.Batch, "batch", w.Batch, "sequences of the predicted time")
	f.StringVar(&w.part, "part", "all", "the part that counts: all, prefill, or decode (one step)")
}

func (w *workloadFlags) changed(c *cobra.Command) bool {
	for _, name := range []string{"in", "out-tokens", "batch", "part"} {
		if c.Flags().Changed(name) {
			return true
		}
	}
	return false
}

// check reads the part and refuses workloads that cannot run.
func (w *workloadFlags) check() error {
	switch w.part {
	case "all":
		w.Part = predict.EndToEnd
	case string(predict.PrefillOnly), string(predict.DecodeStep):
		w.Part = predict.Part(w.part)
	default:
		return usage("--part: want all, prefill or decode, got %q", w.part)
	}
	if err := w.Workload.Check(); err != nil {
		return usage("%v", err)
	}
	return nil
}

// predictor loads a latency table for a model.
func (w *workloadFlags) predictor(file string, base *config.Config) (*predict.Table, *predict.Predictor, error) {
	if err := w.check(); err != nil {
		return nil, nil, err
	}
	t, err := predict.Load(file)
	if err != nil {
		return nil, nil, err
	}
	if err := t.CheckModel(base); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	p, err := t.Predictor(w.Workload)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return t, p, nil
}

// pruneLatency gives a pruning run what it needs of latencies.
func pruneLatency(c *cobra.Command, o *options, p *prune.Options, work *workloadFlags, tableFile string) error {
	criterionUses := p.Criterion == "latency"
	if !criterionUses && !p.TargetLatency {
		if work.changed(c) {
			return usage("--in, --out-tokens, --batch and --part need --criterion latency or --target-latency")
		}
		return nil
	}
	if err := work.check(); err != nil {
		return err
	}
	p.MeasureLatency = meterFunc(o, work.Workload)
	info := machine.Describe()
	p.LatencyIdentity = fmt.Sprintf("%+v on %s %s, device %s, threads %d, kernels %s", work.Workload, info.CPU, info.Kind, o.device.text, o.threads, o.kernels)
	if tableFile == "" {
		return nil
	}
	base, err := open.Config(p.Model)
	if err != nil {
		return err
	}
	_, predictor, err := work.predictor(tableFile, base)
	if err != nil {
		return err
	}
	sum, err := files.Sum(tableFile)
	if err != nil {
		return err
	}
	p.LatencyIdentity += ", table " + sum
	p.PredictLatency = func(_ context.Context, _ device.Device, _ *config.Config, layers []config.LayerShape, _ float64) (float64, error) {
		return predictor.Latency(layers), nil
	}
	return nil
}

// meterFunc measures models with random weights, since values do not change times. All
// calls are of one base and one device.
func meterFunc(o *options, w predict.Workload) prune.LatencyFunc {
	var meter *sweep.Meter
	return func(ctx context.Context, dev device.Device, base *config.Config, layers []config.LayerShape, dense float64) (float64, error) {
		if meter == nil {
			var err error
			if meter, err = sweep.NewMeter(dev, base, sweep.VerifyOptions{Workload: w, DType: o.from.ElementType(base), Place: o.weights, Runs: 3, Tries: 15, Precision: 0.01, Seed: o.seed}); err != nil {
				return 0, err
			}
		}
		if dense == 0 {
			return meter.Base(ctx)
		}
		one, err := meter.Measure(ctx, layers, dense)
		if err == nil && one.Disturbed {
			slog.Warn("the machine was busy with other things: a measured latency may be wrong", "ms", one.MS)
		}
		return one.MS, err
	}
}

// verifiedPlans chooses n plans to measure: a random path of another seed for each, or
// steps of the one path.
func verifiedPlans(p *plan.Plan, n int, dryRun func(seed uint64) (*plan.Plan, error)) ([]sweep.Shapes, error) {
	var out []sweep.Shapes
	if p.Sequence != "" {
		for i := range min(n, len(p.Steps)) {
			s := p.Steps[(i+1)*len(p.Steps)/min(n, len(p.Steps))-1]
			out = append(out, sweep.Shapes{Name: fmt.Sprintf("step %d", s.Step), Layers: s.Shapes})
		}
		return out, nil
	}
	for i := range uint64(n) {
		q, err := dryRun(p.Seed + i)
		if err != nil {
			return nil, err
		}
		if len(q.Steps) == 0 {
			return nil, fmt.Errorf("seed %d: the path has no steps", q.Seed)
		}
		s := q.Steps[int(i)*7919%len(q.Steps)] // a prime: the steps of neighbouring seeds differ
		out = append(out, sweep.Shapes{Name: fmt.Sprintf("seed %d step %d", q.Seed, s.Step), Layers: s.Shapes})
	}
	return out, nil
}

// sameMachine refuses a table of another machine, whose times would be compared with
// this one's.
func sameMachine(dev device.Device, t *predict.Table, o *options) error {
	m, got, cpu := t.Machine, dev.Capabilities(), machine.Describe().CPU
	if got.Hardware == m.Device && got.Threads == m.Threads && cpu == m.CPU && o.kernels == m.Kernels && got.CacheElementBytes == m.CacheBytes {
		return nil
	}
	return fmt.Errorf("the latency table was measured on %s (%s) with %d threads, kernels %s and %d bytes for a number in the KV cache, this is %s (%s) with %d, %s and %d: measure here with mop sweep, or choose the same flags",
		m.Device, m.CPU, m.Threads, m.Kernels, m.CacheBytes, got.Hardware, cpu, got.Threads, o.kernels, got.CacheElementBytes)
}

// verifyPlans measures plans on the table's device.
func verifyPlans(c *cobra.Command, o *options, name string, t *predict.Table, base *config.Config, models []sweep.Shapes, w predict.Workload, asJSON bool) error {
	place := open.ModelOptions{Weights: t.Machine.Weights, Activations: t.Machine.Activations}
	dev, err := o.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	if err := sameMachine(dev, t, o); err != nil {
		return err
	}
	bar := newBars(c.ErrOrStderr())
	from := o.from
	v, err := sweep.Verify(c.Context(), dev, t, base, models, sweep.VerifyOptions{Workload: w, DType: from.ElementType(base), Place: place, Runs: 3, Tries: 12, Precision: 0.02, Seed: o.seed, Progress: bar.show})
	bar.end()
	if v == nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	write := func() error { return v.Write(c.OutOrStdout()) }
	if asJSON {
		e := json.NewEncoder(c.OutOrStdout())
		e.SetIndent("", "  ")
		write = func() error { return e.Encode(v) }
	}
	return errors.Join(write(), err)
}
