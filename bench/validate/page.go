package validate

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"mop/runtime/config"
)

// judge writes the verdict.
func (v *Page) judge() {
	var why []string
	v.Friendly = true
	if v.Compression <= 0 {
		v.Friendly = false
		why = append(why, "it is no smaller than the dense model")
	} else if v.GainPerCompression < 0.9 {
		v.Friendly = false
		why = append(why, fmt.Sprintf("it saves %.0f %% of the time for %.0f %% of the parameters", 100*v.Gain, 100*v.Compression))
	} else {
		why = append(why, fmt.Sprintf("it saves %.0f %% of the time for %.0f %% of the parameters", 100*v.Gain, 100*v.Compression))
	}
	for _, r := range v.Rounding {
		if r.Up && r.Latency < -0.02 || !r.Up && r.Latency < r.Params-0.02 {
			v.Friendly = false
			way := "down"
			if r.Up {
				way = "up"
			}
			why = append(why, fmt.Sprintf("rounding its widths %s to multiples of %d would change the time by %+.1f %% and the parameters by %+.1f %%", way, r.Multiple, 100*r.Latency, 100*r.Params))
			break
		}
	}
	if v.Better != nil {
		why = append(why, fmt.Sprintf("%s have the same size and take %.0f %% less time, if their quality is as good", v.Better.What, 100*(1-v.Better.Predicted/v.Predicted)))
	}
	answer := "hardware-friendly here"
	if !v.Friendly {
		answer = "not hardware-friendly here"
	}
	if v.Disturbed {
		answer += " (the machine was busy: measure again)"
	}
	v.Verdict = answer + ": " + strings.Join(why, "; ")
}

// Write prints the page.
func (v *Page) Write(w io.Writer) error {
	var b strings.Builder
	m := v.Machine
	fmt.Fprintf(&b, "# %s\n\n%s.\n\n", v.Name, v.Verdict)
	fmt.Fprintf(&b, "%d tokens in, %d out, batch %d; %s, %s, %d threads.\n\n", v.Workload.In, v.Workload.Out, v.Workload.Batch, m.Device, m.CPU, m.Threads)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tparameters\tpredicted ms\tmeasured ms\t")
	row := func(name string, n int64, predicted float64, measured *float64) {
		text := "-"
		if measured != nil {
			text = fmt.Sprintf("%.4g", *measured)
		}
		fmt.Fprintf(t, "%s\t%d\t%.4g\t%s\t\n", name, n, predicted, text)
	}
	row("dense", v.DenseParams, v.DensePredicted, v.DenseMeasured)
	row("plan", v.Params, v.Predicted, v.Measured)
	t.Flush()
	fmt.Fprintf(&b, "\ngain per compression: %.2f\n", v.GainPerCompression)
	if v.EqualWidth > 0 {
		fmt.Fprintf(&b, "It costs as much as I = %d in every layer of the dense model.\n", v.EqualWidth)
	}
	if len(v.Parts) > 0 {
		b.WriteString("\nWhere the time goes:\n\n")
		t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "operation\tprefill ms\tshare\tdecode step ms\tshare\t")
		for _, p := range v.Parts {
			fmt.Fprintf(t, "%s\t%.4g\t%.0f %%\t%.4g\t%.0f %%\t\n", p.Op, p.Prefill, 100*p.Prefill/v.Profile.Prefill.Total, p.Decode, 100*p.Decode/max(v.Profile.Decode.Total, 1e-9))
		}
		t.Flush()
		b.WriteString("\nSlowest layers of a decode step:\n\n")
		t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "layer\theads\tneurons\tms\t")
		for _, l := range v.Slowest {
			fmt.Fprintf(t, "%d\t%d\t%d\t%.4g\t\n", l.Layer, l.Shape.Heads, l.Shape.Intermediate, l.Decode)
		}
		t.Flush()
	}
	if len(v.Rounding) > 0 {
		b.WriteString("\nRounding all MLP widths, predicted:\n\n")
		t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "multiples of\tdown: time\tparameters\tup: time\tparameters\t")
		for _, m := range []int{8, 16, 32, 64, 128} {
			cells := [4]string{"-", "-", "-", "-"}
			known := false
			for _, r := range v.Rounding {
				if r.Multiple != m {
					continue
				}
				at := 0
				if r.Up {
					at = 2
				}
				cells[at], cells[at+1], known = fmt.Sprintf("%+.2f %%", 100*r.Latency), fmt.Sprintf("%+.2f %%", 100*r.Params), true
			}
			if known {
				fmt.Fprintf(t, "%d\t%s\t\n", m, strings.Join(cells[:], "\t"))
			}
		}
		t.Flush()
	}
	if v.Better != nil {
		fmt.Fprintf(&b, "\nFaster at the same size, predicted: %s, %.4g ms.\n", v.Better.What, v.Better.Predicted)
	} else {
		b.WriteString("\nThe table knows no uniform model of the same size that is over 2 % faster.\n")
	}
	if q := v.Quality; q != nil {
		fmt.Fprintf(&b, "\nThe blocks' losses add up to a KL of %.4f, each block made smaller alone.\n", q.Loss)
		if q.Better != nil {
			fmt.Fprintf(&b, "Better at the same time, predicted: a loss of %.4f in %.4g ms, %d parameters: %s\n", q.Better.Loss, q.Better.Predicted, q.Better.Params, describe(q.Better.Shapes))
		}
		if q.Faster != nil {
			fmt.Fprintf(&b, "Faster at the same loss, predicted: %.4g ms (%+.1f %%), a loss of %.4f, %d parameters: %s\n", q.Faster.Predicted, 100*(q.Faster.Predicted/v.Predicted-1), q.Faster.Loss, q.Faster.Params, describe(q.Faster.Shapes))
		}
		if q.Better == nil && q.Faster == nil {
			b.WriteString("The losses and the table know no plan that is over 2 % better or faster.\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// describe lists the shapes of layers as heads x neurons.
func describe(shapes []config.LayerShape) string {
	var parts []string
	for _, s := range shapes {
		parts = append(parts, fmt.Sprintf("%dx%d", s.Heads, s.Intermediate))
	}
	return strings.Join(parts, " ")
}
