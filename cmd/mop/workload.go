package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"mop/bench/sweep"
	"mop/internal/files"
	"mop/internal/machine"
	"mop/prune"
	"mop/prune/criterion"
	"mop/prune/plan"
	"mop/runtime/checkpoint"
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

// warnExtrapolated says where a table's measurements are too few for the workload.
func (w *workloadFlags) warnExtrapolated(file string, t *predict.Table) {
	if why := t.Extrapolated(w.Workload); why != "" {
		slog.Warn("predicted times are extrapolated: sweep the batch or the context that is asked for", "table", file, "because", why)
	}
}

// parseShares reads the value of a flag whose targets are shares of the dense model.
func parseShares(flag, text string) ([]float64, error) {
	targets, err := plan.ParseTargets(text)
	if err == nil {
		err = plan.CheckTargets(targets)
	}
	if errors.Is(err, plan.ErrTarget) {
		return nil, usage("--%s: want shares of the dense model between 0 and 1, such as 0.6,0.8, got %q", flag, text)
	} else if err != nil {
		return nil, usage("--%s: %v", flag, err)
	}
	return targets, nil
}

// predictor loads a latency table for a model. kvType is that of --kv-type.
func (w *workloadFlags) predictor(file, kvType string, base *config.Config) (*predict.Table, *predict.Predictor, error) {
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
	if err := checkTableKV(kvType, file, t); err != nil {
		return nil, nil, err
	}
	if most := base.MaxPositions; w.In+w.Out > most {
		return nil, nil, usage("--in and --out-tokens: want at most %d positions, the model's context, got %d", most, w.In+w.Out)
	}
	w.warnExtrapolated(file, t)
	if t.Disturbed() {
		slog.Warn("the machine was busy whenever some passes of the latency table were measured, so that predictions may be too long: sweep again on an idle machine", "table", file)
	}
	p, err := t.Predictor(w.Workload)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return t, p, nil
}

// needsLatency reports whether the criterion of this name compares latencies.
func needsLatency(name string) bool {
	c, _ := criterion.ByName(name) // an unknown name is refused by prune
	s, ok := c.(criterion.Scorer)
	return ok && s.Needs().Latency
}

// pruneLatency gives a pruning run what it needs of latencies. kvType is that of --kv-type.
func pruneLatency(c *cobra.Command, o *options, p *prune.Options, work *workloadFlags, kvType, tableFile string, measure bool) error {
	if !measure && (!p.TargetLatency || tableFile == "") {
		return usage("--measure=false: want --target-latency, and the table by --latency")
	}
	if !needsLatency(p.Criterion) && !p.TargetLatency {
		if work.changed(c) || kvType != "" {
			return usage("--in, --out-tokens, --batch, --part and --kv-type need --criterion latency or --target-latency")
		}
		return nil
	}
	if err := work.check(); err != nil {
		return err
	}
	if err := o.checkLatencyKV(kvType); err != nil {
		return err
	}
	meter := &tableMeter{options: o, workload: work.Workload, kvType: kvType}
	p.MeasureLatency = meter.measure
	p.LatencyIdentity = fmt.Sprintf("%+v on %s", work.Workload, meter.identity())
	if tableFile == "" {
		return nil
	}
	base, err := open.Config(p.Model)
	if err != nil {
		return err
	}
	table, predictor, err := work.predictor(tableFile, kvType, base)
	if err != nil {
		return err
	}
	sum, err := files.Sum(tableFile)
	if err != nil {
		return err
	}
	p.LatencyIdentity += ", table " + sum
	if p.TargetLatency { // predictions and measurements have to agree
		meter.table, meter.file = table, tableFile
	}
	p.PredictLatency = func(_ context.Context, _ device.Device, _ *config.Config, layers []config.LayerShape, _ float64) (float64, error) {
		return predictor.Latency(layers), nil
	}
	if !measure {
		p.MeasureLatency, p.LatencyPredicted = p.PredictLatency, true
		p.LatencyIdentity = fmt.Sprintf("%+v predicted by table %s", work.Workload, sum)
	}
	return nil
}

// tableMeter measures models with random weights, since values do not change times. All
// measurements are of one base and one device.
type tableMeter struct {
	*options
	workload predict.Workload
	kvType   string         // that of --kv-type
	table    *predict.Table // whose machine and settings must be these ones; nil = none
	file     string         // of the table
	meter    *sweep.Meter
}

// identity names the machine and what the device is opened with.
func (m *tableMeter) identity() string {
	info := machine.Describe()
	text := fmt.Sprintf("%s %s, device %s, threads %d, kernels %s", info.CPU, info.Kind, m.device.text, m.threads, m.kernels)
	if kind := cmp.Or(m.kvType, open.LatencyKV); kind != "f32" { // the only one of former versions
		text += ", KV cache " + kind
	}
	return text
}

// check refuses a device on which the table was not measured.
func (m *tableMeter) check(dev device.Device) error {
	if m.table == nil {
		return nil
	}
	return sameMachine(dev, open.LatencyKVType(dev, m.kvType), m.file, m.table, m.options)
}

// measure is a prune.LatencyFunc.
func (m *tableMeter) measure(ctx context.Context, dev device.Device, base *config.Config, layers []config.LayerShape, dense float64) (float64, error) {
	if m.meter == nil {
		if err := m.check(dev); err != nil {
			return 0, err
		}
		v := sweep.VerifyOptions{Workload: m.workload, DType: m.from.ElementType(base), Place: m.weights, KVType: open.LatencyKVType(dev, m.kvType), Runs: 3, Tries: 15, Precision: 0.01, Seed: m.seed}
		if m.table != nil {
			v.DType, v.Place = tableDType(m.table, base), placeOf(m.table)
		}
		var err error
		if m.meter, err = sweep.NewMeter(dev, base, v); err != nil {
			return 0, err
		}
	}
	if dense == 0 {
		return m.meter.Base(ctx)
	}
	one, err := m.meter.Measure(ctx, layers, dense)
	if err == nil && one.Disturbed {
		slog.Warn("the machine was busy with other things: a measured latency may be wrong", "ms", one.MS)
	}
	return one.MS, err
}

// verifiedPlans chooses n plans to measure: a random path of another seed for each, or
// steps of the one path.
func verifiedPlans(p *plan.Plan, n int, dryRun func(seed uint64) (*plan.Plan, error)) ([]sweep.Shapes, error) {
	var out []sweep.Shapes
	if p.Sequence != "" {
		if n > len(p.Steps) {
			slog.Warn("--verify: all steps of the path are measured, which are fewer than wanted", "steps", len(p.Steps), "wanted", n)
		}
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

// sameMachine refuses a table of another machine or of other settings, whose times would be
// compared with this one's. kvType is the type of the KV cache that is measured with.
func sameMachine(dev device.Device, kvType, file string, t *predict.Table, o *options) error {
	caches, err := device.WithCacheType(dev, kvType)
	if err != nil {
		return err
	}
	m, got := t.Machine, caches.Capabilities()
	if !m.SameKVType(got.CacheType) {
		return kvTypeError(file, t, got.CacheType)
	}
	var other []string
	for _, x := range []struct{ what, want, got string }{
		{"device", m.Device, got.Hardware}, {"processor", m.CPU, machine.Describe().CPU},
		{"threads", fmt.Sprint(m.Threads), fmt.Sprint(got.Threads)}, {"kernels", m.Kernels, o.kernels}} {
		if x.want != x.got {
			other = append(other, fmt.Sprintf("%s %s, not %s", x.what, x.want, x.got))
		}
	}
	if len(other) == 0 {
		return nil
	}
	return fmt.Errorf("%s: the latency table was measured with %s: measure here with mop sweep, or choose the same flags", file, strings.Join(other, "; "))
}

// checkTableKV refuses a type of --kv-type that is not the table's. "" = the flag is not given.
func checkTableKV(kvType, file string, t *predict.Table) error {
	if kvType != "" && !t.Machine.SameKVType(kvType) {
		return kvTypeError(file, t, kvType)
	}
	return nil
}

func kvTypeError(file string, t *predict.Table, got string) error {
	return fmt.Errorf("%s: the latency table was measured with a KV cache of type %s, not %s: give --kv-type %[2]s, or measure another table with mop sweep", file, t.Machine.KVType(), got)
}

// placeOf is how a table's weights were held, and tableDType the type of random ones.
func placeOf(t *predict.Table) open.ModelOptions {
	return open.ModelOptions{Weights: t.Machine.Weights, Activations: t.Machine.Activations}
}

func tableDType(t *predict.Table, base *config.Config) checkpoint.DType {
	return open.SourceOptions{DType: strings.ToLower(t.Model.DType)}.ElementType(base)
}

// verifyPlans measures plans on the table's device.
func verifyPlans(c *cobra.Command, o *options, name, tableFile string, t *predict.Table, base *config.Config, models []sweep.Shapes, w predict.Workload, asJSON bool) error {
	dev, err := o.open()
	if err != nil {
		return err
	}
	defer dev.Close()
	if err := sameMachine(dev, "", tableFile, t, o); err != nil {
		return err
	}
	bar := newBars(c.ErrOrStderr())
	v, err := sweep.Verify(c.Context(), dev, t, base, models, sweep.VerifyOptions{Workload: w, DType: tableDType(t, base), Place: placeOf(t), Runs: 3, Tries: 12, Precision: 0.02, Seed: o.seed, Progress: bar.show})
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
