package main

import (
	"github.com/spf13/cobra"

	"mop/bench/demo"
)

func demoCommand(o *options) *cobra.Command {
	d := demo.Options{Protocol: demo.Protocol()}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Prune a small trained model, and measure what pruning costs and gains",
		Long: "Prune the small trained model that mop carries by MoP to about 80, 70 and 60 % of its size,\n" +
			"evaluate each model's perplexity, and train the dense and the smallest one alike. Then\n" +
			"measure latency on the shape of a released model, with random weights, along a released\n" +
			"path to about 20, 30 and 40 %. Write a report with plots. The command fails unless\n" +
			"perplexity rises with compression, training gives back at least half of that, and all files\n" +
			"are complete. Times do not decide this; the output says whether they are trustworthy.",
		Example: "  mop demo\n  mop demo --out ./demo",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			d.Seed, d.Protocol.Seed, d.Kernels = o.seed, o.seed, o.kernels
			if err := d.Protocol.Validate(); err != nil {
				return usage("%v", err)
			}
			if err := demo.Clear(d.Out); err != nil {
				return err
			}
			if d.Device, err = o.openTrainer(); err != nil {
				return err
			}
			defer d.Device.Close()
			bar := newBars(c.ErrOrStderr())
			d.Progress = bar.update
			r, err := demo.Run(c.Context(), d)
			bar.end()
			if err != nil {
				return err
			}
			if err := r.Write(c.OutOrStdout()); err != nil {
				return err
			}
			return r.Check()
		},
	}
	f := c.Flags()
	f.StringVar(&d.Out, "out", "out/demo", "directory for models and report")
	f.IntVar(&d.Protocol.Runs, "runs", d.Protocol.Runs, "rounds of the latency measurement")
	f.IntVar(&d.Protocol.Discard, "discard", d.Protocol.Discard, "rounds at the start that do not count")
	return c
}
