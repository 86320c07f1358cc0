package training

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"mop/bench/compare"
	"mop/bench/trace"
	"mop/internal/build"
	"mop/prune/finetune"
	"mop/runtime/device"
	"mop/runtime/model"
	"mop/runtime/open"
)

// Run loads a model onto a device and measures its training; see Measure for traced.
func Run(ctx context.Context, dev device.Trainer, x compare.Model, from open.SourceOptions, o finetune.Options, lengths []Length, traced func(trace.Pass) error) (*Row, error) {
	src, err := x.Open()
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if err := open.CheckMemory(dev, x.Name, from.GeneratedBytes(src)); err != nil {
		return nil, err
	}
	longest := 0
	for _, l := range lengths {
		longest = max(longest, l.Tokens)
	}
	if limit := src.Config().MaxPositions; longest > limit {
		return nil, fmt.Errorf("%d tokens: %w of %d", longest, model.ErrContext, limit)
	}
	m, err := model.Load(dev, src)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	r, err := Measure(ctx, m, src, o, lengths, traced)
	if err != nil {
		return nil, err
	}
	r.Model, r.Device, r.Commit, r.Date = x.Name, dev.Capabilities().Hardware, build.Commit(), time.Now().UTC()
	return r, nil
}

// Markdown writes a table with a row for each measurement, and a line on what it was
// measured with.
func Markdown(w io.Writer, rows []*Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t, "| model\t| parameters\t| lengths\t| rank\t| steps\t| tokens/s\t| TFLOP/s\t| memory, GB\t| recipe, h\t|\n|---\t|---:\t|---\t|---:\t|---:\t|---:\t|---:\t|---:\t|---:\t|")
	for _, r := range rows {
		memory := "-"
		if r.PeakBytes > 0 {
			memory = fmt.Sprintf("%.2f", float64(r.PeakBytes)/1e9)
		}
		fmt.Fprintf(t, "| %s\t| %s\t| %s\t| %d\t| %d\t| %.5g\t| %.4g\t| %s\t| %.3g\t|\n", r.Model, parameters(r.Params), r.Lengths, r.Rank, r.Steps, r.TokensPerSecond, r.TFLOPS, memory, r.RecipeHours)
	}
	if len(rows) > 0 {
		fmt.Fprintf(t, "\n%s; commit %s, %s\n", rows[0].Device, rows[0].Commit, rows[0].Date.Format(time.RFC3339))
	}
	return t.Flush()
}

func parameters(n int64) string {
	if n >= 1e9 {
		return fmt.Sprintf("%.2f G", float64(n)/1e9)
	}
	return fmt.Sprintf("%.2f M", float64(n)/1e6)
}
