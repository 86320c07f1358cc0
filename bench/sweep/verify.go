package sweep

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"mop/internal/progress"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/open"
	"mop/runtime/predict"
)

// Shapes are a model that is to be measured, with random weights.
type Shapes struct {
	Name   string
	Layers []config.LayerShape
}

// VerifyOptions of a verification.
type VerifyOptions struct {
	Workload predict.Workload
	DType    checkpoint.DType
	Place    open.ModelOptions
	KVType   string // of the KV cache: see device.WithCacheType
	Runs     int    // undisturbed runs of each model at least
	Tries    int    // most runs of each model
	// Precision is how well a model's share of the base's time is to be known: half the
	// width of its 95 % interval, relative.
	Precision float64
	Seed      uint64
	Progress  progress.Func

	// For tests; nil = the machine's.
	Now       func() time.Time
	OtherLoad func() (others, steal time.Duration, ok bool)
}

// Verified compares a prediction with a measurement. Times are in milliseconds.
type Verified struct {
	Name      string  `json:"name"`
	Predicted float64 `json:"predicted_ms"`
	Measured  float64 `json:"measured_ms"` // the measured share of the base's measured time
	Error     float64 `json:"error"`       // predicted / measured - 1, both as shares of the base's time
	Runs      int     `json:"runs"`        // that count
	Interval  float64 `json:"interval"`    // half the width of the measured share's 95 % interval, relative
	Disturbed bool    `json:"disturbed"`   // there were too few undisturbed runs
}

// Verification is the result of measuring predicted models.
type Verification struct {
	Workload predict.Workload `json:"workload"`
	Models   []Verified       `json:"models"`
	Median   float64          `json:"median_error"` // of the absolute errors
	Worst    float64          `json:"worst_error"`
	// RepeatMedian and RepeatWorst are the machine's own error: how far single runs of the
	// base beside itself, one in each turn, are from equal.
	RepeatMedian float64 `json:"repeat_median"`
	RepeatWorst  float64 `json:"repeat_worst"`
	// BaseError is that of the base's own predicted time in milliseconds: how much slower
	// or faster the whole machine is than when the table was measured.
	BaseError float64 `json:"base_error"`
	Disturbed int     `json:"disturbed"` // models with too few undisturbed runs
	// Unsettled are the models whose share is not known to Precision.
	Unsettled int     `json:"unsettled"`
	Precision float64 `json:"precision"`
}

// Verify measures models end to end, each as a share of the base's time, and compares the
// shares with those that the table predicts. If ctx ends after all models were measured
// once, what was measured comes with the error.
func Verify(ctx context.Context, dev device.Device, t *predict.Table, base *config.Config, models []Shapes, o VerifyOptions) (*Verification, error) {
	p, err := t.Predictor(o.Workload)
	if err != nil {
		return nil, err
	}
	m, err := NewMeter(dev, base, o)
	if err != nil {
		return nil, err
	}
	runs, err := m.verify(ctx, append([]Shapes{{"base", base.Layers}}, models...))
	if err != nil && len(runs) == 0 {
		return nil, err
	}
	predicted, dense := p.Latency(base.Layers), median(runs[0].base)
	v := &Verification{Workload: o.Workload, Precision: o.Precision, BaseError: predicted/dense - 1}
	var errors, repeats []float64
	for i, s := range models {
		one := runs[i+1].measured(o.Runs, dense)
		x := Verified{Name: s.Name, Predicted: p.Latency(s.Layers), Measured: one.MS, Runs: one.Runs, Interval: one.Interval, Disturbed: one.Disturbed}
		x.Error = x.Predicted/predicted/one.Share - 1
		v.Models = append(v.Models, x)
		if x.Disturbed {
			v.Disturbed++
		}
		if x.Interval > o.Precision {
			v.Unsettled++
		}
		errors = append(errors, math.Abs(x.Error))
	}
	v.Median, v.Worst = median(errors), slices.Max(errors)
	for _, share := range runs[0].share {
		repeats = append(repeats, math.Abs(share-1))
	}
	v.RepeatMedian, v.RepeatWorst = median(repeats), slices.Max(repeats)
	return v, err
}

// verify measures the models, of which the first is the base. They take turns, and each has
// turns until its share is known to o.Precision or o.Tries are used up. An error comes with
// the runs if it is the end of ctx and every model has one.
func (m *Meter) verify(ctx context.Context, all []Shapes) ([]pairs, error) {
	base, err := m.place(m.beside, m.base.Layers)
	if err != nil {
		return nil, err
	}
	defer base.close()
	runs := make([]pairs, len(all))
	for round := range max(m.o.Tries, m.o.Runs) {
		settled := 0
		for i, s := range all {
			if i > 0 && runs[i].settled(m.o.Runs, m.o.Precision) {
				settled++
				continue
			}
			err := m.turn(ctx, base, s.Layers, 1, &runs[i])
			switch {
			case ctx.Err() != nil && round > 0:
				return runs, ctx.Err()
			case err != nil:
				return nil, fmt.Errorf("%s: %w", s.Name, err)
			}
		}
		m.o.Progress.Report(progress.Update{Phase: "verifying", Done: settled, Total: len(all) - 1, Detail: fmt.Sprintf("%d turns", round+1)})
		if settled == len(all)-1 {
			break
		}
	}
	return runs, nil
}

// Write prints a table for people.
func (v *Verification) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "plan\tpredicted ms\tmeasured ms\t± %\terror\t")
	for _, m := range v.Models {
		note := ""
		if m.Disturbed {
			note = " disturbed"
		}
		fmt.Fprintf(t, "%s\t%.4g\t%.4g\t%.1f\t%+.1f %%\t%s\n", m.Name, m.Predicted, m.Measured, 100*m.Interval, 100*m.Error, note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d in, %d out, batch %d: error of the predicted share of the base's time: median %.1f %%, worst %.1f %%; single runs of the base beside itself differ by %.1f %% in the median, %.1f %% at worst; the base's own predicted time is off by %+.1f %%\n",
		v.Workload.In, v.Workload.Out, v.Workload.Batch, 100*v.Median, 100*v.Worst, 100*v.RepeatMedian, 100*v.RepeatWorst, 100*v.BaseError)
	if err == nil && v.Unsettled > 0 {
		_, err = fmt.Fprintf(w, "%d of %d measured shares are not known to %.0f %%: their errors are partly those of the measurement\n", v.Unsettled, len(v.Models), 100*v.Precision)
	}
	if err == nil && v.Disturbed > 0 {
		_, err = fmt.Fprintf(w, "%d of %d models were disturbed by other load in too many runs: these errors are not those of the prediction\n", v.Disturbed, len(v.Models))
	}
	return err
}
