package plan

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// Table prints the steps as a table for people, with the base model as step 0.
func (p *Plan) Table(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	header := "step\tkind\tlayers\theads\tkv heads\tneurons\tparameters\tcompression\t"
	if p.Base.LatencyMS > 0 {
		header += "latency ms\tof the base\t"
	}
	fmt.Fprintln(t, header)
	row := func(step int, kind string, shapes []Shape, params int64, c, ms float64) {
		bounds := func(f func(Shape) int) string { // of all layers
			lo, hi := f(shapes[0]), f(shapes[0])
			for _, s := range shapes {
				lo, hi = min(lo, f(s)), max(hi, f(s))
			}
			if lo == hi {
				return fmt.Sprint(lo)
			}
			return fmt.Sprintf("%d-%d", lo, hi)
		}
		fmt.Fprintf(t, "%d\t%s\t%d\t%s\t%s\t%s\t%s\t%.2f %%\t", step, kind, len(shapes), bounds(func(s Shape) int { return s.Heads }),
			bounds(func(s Shape) int { return s.KVHeads }), bounds(func(s Shape) int { return s.Intermediate }), thousands(params), 100*c)
		if p.Base.LatencyMS > 0 {
			fmt.Fprintf(t, "%.4g\t%.1f %%\t", ms, 100*ms/p.Base.LatencyMS)
		}
		fmt.Fprintln(t)
	}
	row(0, "base", p.Base.Shapes, p.Base.Params, 0, p.Base.LatencyMS)
	for _, s := range p.Steps {
		kind := string(s.Kind)
		if s.Forced != "" {
			kind += " (forced)"
		}
		row(s.Step, kind, s.Shapes, s.Params, s.Compression, s.LatencyMS)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range p.Steps {
		if s.Forced != "" {
			if _, err := fmt.Fprintf(w, "step %d: %s\n", s.Step, s.Forced); err != nil {
				return err
			}
		}
	}
	return nil
}

// thousands formats n >= 0 with commas.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
