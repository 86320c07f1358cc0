package zeroshot

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/montanaflynn/stats"
)

// Figures are a task's accuracies.
type Figures struct {
	N          int      `json:"n"`
	Acc        float64  `json:"acc"`
	AccStderr  *float64 `json:"acc_stderr,omitempty"` // absent for one question
	Norm       *float64 `json:"acc_norm,omitempty"`   // absent where the task has none
	NormStderr *float64 `json:"acc_norm_stderr,omitempty"`
	File       string   `json:"file"`
	Format     string   `json:"format"`
}

// Average is over the tasks of a run. A task without acc_norm counts with its acc in both.
type Average struct {
	Acc  float64 `json:"acc"`
	Norm float64 `json:"acc_norm"`
}

// Result is what Run measured.
type Result struct {
	Model   string             `json:"model"`
	BOS     string             `json:"bos"` // on or off
	Limit   int                `json:"limit,omitempty"`
	Tasks   map[string]Figures `json:"tasks"`
	Average Average            `json:"average"`
	Commit  string             `json:"commit"`

	order []string
}

// figures computes a task's accuracies.
func figures(d Data, norm bool, records []Record) (Figures, error) {
	f := Figures{N: len(records), File: d.Path, Format: d.Format}
	var acc, accNorm []float64
	for _, r := range records {
		acc = append(acc, float64(r.Acc))
		if norm {
			accNorm = append(accNorm, float64(*r.Norm))
		}
	}
	var err error
	if f.Acc, f.AccStderr, err = meanStderr(acc); err != nil || !norm {
		return f, err
	}
	mean, stderr, err := meanStderr(accNorm)
	f.Norm, f.NormStderr = &mean, stderr
	return f, err
}

// meanStderr returns the mean, and the sample standard deviation over sqrt(n).
func meanStderr(x []float64) (mean float64, stderr *float64, err error) {
	if mean, err = stats.Mean(x); err != nil || len(x) < 2 {
		return mean, nil, err
	}
	deviation, err := stats.StandardDeviationSample(x)
	deviation /= math.Sqrt(float64(len(x)))
	return mean, &deviation, err
}

func (r *Result) add(name string, f Figures) {
	r.order = append(r.order, name)
	r.Tasks[name] = f
	n := float64(len(r.order))
	norm := f.Acc
	if f.Norm != nil {
		norm = *f.Norm
	}
	r.Average.Acc += (f.Acc - r.Average.Acc) / n
	r.Average.Norm += (norm - r.Average.Norm) / n
}

// String is a table in percent.
func (r *Result) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "task (BOS %s)\tquestions\tacc\t±\tacc_norm\t±\t\n", r.BOS)
	for _, name := range r.order {
		f := r.Tasks[name]
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%s\t%s\t%s\t\n", name, f.N, 100*f.Acc, percent(f.AccStderr), percent(f.Norm), percent(f.NormStderr))
	}
	fmt.Fprintf(w, "average\t\t%.2f\t\t%.2f\t\t", 100*r.Average.Acc, 100*r.Average.Norm)
	w.Flush()
	return b.String()
}

func percent(x *float64) string {
	if x == nil {
		return ""
	}
	return fmt.Sprintf("%.2f", 100**x)
}
