package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mop/bench/hardware"
	"mop/bench/report"
	"mop/bench/sweep"
	"mop/internal/machine"
	"mop/runtime/open"
)

func sweepCommand(o *options) *cobra.Command {
	var name, what, dir string
	s := sweep.Options{}
	c := &cobra.Command{
		Use:   "sweep --model DIR|preset:NAME --what mlp,heads,context --out FILE",
		Short: "Measure what widths, heads, layers, batch and context cost on this device",
		Long: "Measure the time of attention and MLP blocks of many sizes, each in its place in a step,\n" +
			"on random weights, and write a latency table. mop plan, prune, search and validate\n" +
			"predict times from the table. Measurements that other processes disturbed are taken\n" +
			"again. A sweep may be stopped at any moment; the same command continues it. A sweep of\n" +
			"another quantity adds to the same table.",
		Example: "  mop sweep --model ./llama-2-7b --what mlp,heads,context --out table.json --report ./sweep\n" +
			"  mop sweep --model preset:smollm2-135m --what all --device cpu --out table.json",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model", "what", "out"); err != nil {
				return err
			}
			var err error
			if s.What, err = sweep.ParseWhat(what); err != nil {
				return usage("--%v", err)
			}
			if err := s.Check(); err != nil {
				return usage("%v", err)
			}
			if s.Base, err = open.Config(name); err != nil {
				return err
			}
			if dir != "" { // before the measurements, after which a wrong directory would be an error
				if err := report.CheckDirectory(dir, name); err != nil {
					return err
				}
				if err := os.MkdirAll(dir, 0o777); err != nil {
					return err
				}
			}
			s.Name, s.Seed, s.Place, s.Kernels, s.DType = name, o.seed, o.weights, o.kernels, o.from.ElementType(s.Base)
			dev, err := o.open()
			if err != nil {
				return err
			}
			defer dev.Close()
			if dev.Capabilities().HostMemory {
				s.ClockMHz = hardware.ClockMHz()
				roof, err := hardware.DefaultMeter().Measure(machine.Describe(), dev.Capabilities().Threads, "", false)
				if err != nil {
					return err
				}
				s.ReadGBps, s.FMAGflops = roof.Read.GBps, roof.FMA.GFLOPs
			} else if s.ReadGBps, err = dev.CopyBandwidth(); err != nil {
				return err
			} else {
				s.ReadGBps /= 1e9
				s.Driver = driverVersion(dev.Capabilities().Hardware)
			}
			bar := newBars(c.ErrOrStderr())
			s.Progress = bar.show
			r, err := sweep.Run(c.Context(), dev, s)
			bar.end()
			if err != nil {
				return repeatable(err)
			}
			if err := printSweep(c.OutOrStdout(), r); err != nil || dir == "" {
				return err
			}
			return report.WriteSweep(dir, r.Table)
		},
	}
	o.generateFlags(c)
	o.dtypeFlag(c)
	f := c.Flags()
	f.StringVar(&name, "model", "", "model directory or preset:NAME; only its shapes are used")
	f.StringVar(&what, "what", "", "quantities, with commas between them: "+strings.Join(sweep.Quantities(), ", ")+"; or all")
	f.StringVar(&s.Out, "out", "", "file of the latency table; the single measurements are kept beside it")
	f.IntVar(&s.Visits, "visits", 7, "undisturbed measurements of each kind")
	f.DurationVar(&s.Least, "visit-time", 300*time.Millisecond, "least time of one measurement")
	f.DurationVar(&s.Limit, "limit", 20*time.Minute, "time after which disturbed measurements are no longer repeated")
	f.Int64Var(&s.Memory, "memory", 3<<30, "bytes of weights of one measured model at most; larger models are measured with fewer layers")
	f.StringVar(&dir, "report", "", "write a directory with plots and verdicts")
	return c
}

// driverVersion is the driver of the GPU of that name, "" if it is not known.
func driverVersion(hardware string) string {
	list, _ := open.Devices()
	for _, d := range list {
		if d.Name == hardware {
			return d.Driver
		}
	}
	return ""
}

func printSweep(w io.Writer, r *sweep.Result) error {
	if _, err := fmt.Fprintf(w, "%d measurements of %d kinds, %d of them disturbed and not used\n", r.Visits, r.Kinds, r.Disturbed); err != nil {
		return err
	}
	if r.Unsettled > 0 {
		if _, err := fmt.Fprintf(w, "%d kinds were disturbed every time: their times are too long; run the same command on a quiet machine\n", r.Unsettled); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, report.SweepVerdict(r.Table))
	return err
}
