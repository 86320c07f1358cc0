// Package sweep measures how the time of a model depends on one quantity: the width of
// its MLP blocks, its heads, KV heads, layers, the batch, the context or the prompt.
//
// A visit runs a model whose layers have many different shapes, on random weights, and
// times every operation of every layer. So a block is measured in its place in a step:
// the layers before it have filled the processor's caches with their own weights, as they
// do in a real model. All kinds of visits take turns, each time with the blocks in a new
// order. The medians over visits make a latency table (package predict).
//
// All passes take turns with those of the unpruned model in the same setting, and count as
// shares of them: what slows the machine down for tenths of seconds, such as other machines
// on the same memory, slows both. A visit is disturbed if other processes or the hypervisor took part
// of the machine, or if the unpruned model was much slower than usual. Disturbed visits are
// measured again and do not count.
package sweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"time"

	"mop/internal/build"
	"mop/internal/machine"
	"mop/internal/progress"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/open"
	"mop/runtime/predict"
)

// Options of a sweep.
type Options struct {
	Name    string // of the model, for the table
	Base    *config.Config
	DType   checkpoint.DType // of the weights
	What    []string         // of Quantities
	Out     string           // the table
	Visits  int              // undisturbed visits of each kind that are wanted
	Limit   time.Duration    // no disturbed visit is repeated later than this after the start
	Least   time.Duration    // a visit takes at least this long
	Memory  int64            // bytes of weights of one model at most; 0 = 3 GiB
	Seed    uint64
	Place   open.ModelOptions
	Kernels string // the set that the device was opened with

	ClockMHz            float64
	Driver              string
	ReadGBps, FMAGflops float64 // the roofline, 0 = not measured

	Progress progress.Func

	// For tests: the clock, and the processor time of others; nil = the machine's.
	Now       func() time.Time
	OtherLoad func() (others, steal time.Duration, ok bool)
}

// Check refuses options that no sweep can have.
func (o *Options) Check() error {
	switch {
	case len(o.What) == 0:
		return errors.New("what: want at least one quantity")
	case o.Visits < 1:
		return fmt.Errorf("visits: want at least 1, got %d", o.Visits)
	case o.Limit < 0 || o.Least < 0 || o.Memory < 0:
		return fmt.Errorf("limit, visit time and memory: want 0 or more, got %v, %v and %d", o.Limit, o.Least, o.Memory)
	}
	return nil
}

// Result is what a sweep came to.
type Result struct {
	Table     *predict.Table
	Visits    int // all, those of former runs of the same sweep included
	Disturbed int // of these, how many do not count
	Kinds     int // kinds of visits
	Unsettled int // kinds without a single undisturbed visit
}

// Run measures and writes the table. When it is stopped, what it has measured is kept,
// and the same call goes on.
func Run(ctx context.Context, dev device.Device, o Options) (*Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Memory == 0 {
		o.Memory = 3 << 30
	}
	layers := roomFor(o.Base, o.DType, o.Memory)
	if w := widest(o.Base); w.Heads == 0 || w.Intermediate == 0 {
		return nil, fmt.Errorf("%s: want a model with attention and MLP blocks, got layers of %d heads and %d neurons", o.Name, w.Heads, w.Intermediate)
	}
	all := tasks(o.Base, o.What, layers, queues(dev))
	j, err := openVisits(o.Out, o.identity(dev, layers))
	if err != nil {
		return nil, err
	}
	defer j.Close()
	beside := withLayers(o.Base, o.Base.Layers[:layers]) // what every pass is measured beside
	own, besideWeights, err := pairOfWeights(dev, o.Seed, o.DType, modelBytes(stackOf(o.Base, layers), o.DType), modelBytes(beside, o.DType))
	if err != nil {
		return nil, err
	}
	base, err := place(dev, dev, besideWeights, beside, o.Place, 1, 1)
	if err != nil {
		return nil, err
	}
	defer base.close()
	m := &measurer{dev: dev, base: o.Base, weights: own, place: o.Place, meter: newLoadMeter(o.OtherLoad, o.Now), least: o.Least, now: o.Now, beside: base}
	if err := o.measure(ctx, m, j, all); err != nil {
		return nil, err
	}
	table, err := o.table(dev, j)
	if err != nil {
		return nil, err
	}
	if err := table.Save(o.Out); err != nil {
		return nil, err
	}
	return o.result(table, j, all), nil
}

// measure visits all tasks in turns, and then again those with too few undisturbed
// visits, until the limit.
func (o *Options) measure(ctx context.Context, m *measurer, j visits, all []task) error {
	start := o.Now()
	total := o.Visits * len(all)
	r := rand.New(rand.NewPCG(o.Seed, uint64(len(j.Records))+1))
	for {
		var short []*task
		done, usual := 0, j.usual()
		for i := range all {
			n := j.undisturbed(&all[i], usual)
			done += min(n, o.Visits)
			if n < o.Visits {
				short = append(short, &all[i])
			}
		}
		o.Progress.Report(progress.Update{Phase: "undisturbed visits", Done: done, Total: total})
		if len(short) == 0 {
			return nil
		}
		late := o.Now().Sub(start) > o.Limit
		r.Shuffle(len(short), func(a, b int) { short[a], short[b] = short[b], short[a] })
		visited := false
		for _, t := range short {
			if late && len(j.of(t.key)) >= o.Visits {
				continue // it was measured as often as wanted, though disturbed
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			v, err := m.visit(ctx, t, r)
			if err != nil {
				return err
			}
			if err := j.Add(v); err != nil {
				return err
			}
			visited = true
			if v.usable(j.usual()[t.setting]) {
				done++
			}
			o.Progress.Report(progress.Update{Phase: "undisturbed visits", Done: min(done, total), Total: total, Detail: fmt.Sprintf("%d visits", len(j.Records))})
			late = o.Now().Sub(start) > o.Limit
		}
		if !visited {
			slog.Warn("the machine was busy with other things: some blocks have too few undisturbed measurements, and the table says which passes",
				"kinds", len(short), "of", len(all))
			return nil
		}
	}
}

// identity is what all visits of a table have in common.
func (o *Options) identity(dev device.Device, layers int) map[string]string {
	info := machine.Describe()
	return map[string]string{
		"model":       fmt.Sprintf("vocab %d, hidden size %d, tied %v, %d layers of %v", o.Base.VocabSize, o.Base.HiddenSize, o.Base.Tied, layers, widest(o.Base)),
		"dtype":       o.DType.String(),
		"device":      dev.Capabilities().Hardware,
		"processor":   info.CPU + " " + info.Kind,
		"threads":     fmt.Sprint(dev.Capabilities().Threads),
		"kernels":     o.Kernels,
		"cache":       cacheIdentity(dev.Capabilities()),
		"weights":     o.Place.Weights,
		"activations": o.Place.Activations,
		"commit":      build.Commit(),
	}
}

// cacheIdentity names the type of the KV cache. Two types of the CPU have two bytes.
func cacheIdentity(can device.Capabilities) string {
	if can.CacheType == "f16" || can.CacheType == "bf16" {
		return can.CacheType
	}
	return fmt.Sprintf("%d bytes a number", can.CacheElementBytes)
}

func (o *Options) result(t *predict.Table, j visits, all []task) *Result {
	r := &Result{Table: t, Visits: len(j.Records), Kinds: len(all)}
	usual := j.usual()
	for i := range all {
		n := j.undisturbed(&all[i], usual)
		r.Disturbed += len(j.of(all[i].key)) - n
		if n == 0 {
			r.Unsettled++
		}
	}
	return r
}

// source describes the machine for the table.
func (o *Options) source(dev device.Device) predict.Source {
	can := dev.Capabilities()
	weights, activations := o.Place.Weights, o.Place.Activations
	if weights == "" {
		weights = "stored"
	}
	if activations == "" {
		activations = "float32"
	}
	return predict.Source{Device: can.Hardware, CPU: machine.Describe().CPU, ClockMHz: o.ClockMHz, Driver: o.Driver, Threads: can.Threads, Kernels: o.Kernels,
		Weights: weights, Activations: activations, PrefillRows: can.PrefillRows, ReadGBps: o.ReadGBps, FMAGflops: o.FMAGflops,
		CacheType: can.CacheType, CacheBytes: can.CacheElementBytes, CacheScaleBytes: can.CacheScaleBytes, Commit: build.Commit(), Go: runtime.Version(), Date: o.Now().UTC().Format(time.RFC3339)}
}
