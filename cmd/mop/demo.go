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
			"are complete. Times do not decide this; the output says whether they are trustworthy.\n" +
			"With --model and --text, prune that model to about 80 and 70 %, train all three, and measure\n" +
			"their own latency; --text is a directory with calibration.jsonl, windows.txt, recovery.txt\n" +
			"and evaluation.txt, whose documents have <|endoftext|> between them.",
		Example: "  mop demo\n  mop demo --out ./demo\n  mop demo --model out/smollm2 --text bench/demo/opticks --out out/demo-smollm2",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) (err error) {
			d.Seed, d.Protocol.Seed, d.Kernels = o.seed, o.seed, o.kernels
			if err := d.Protocol.Validate(); err != nil {
				return usage("%v", err)
			}
			if (d.Model == "") != (d.Text == "") {
				return usage("--model and --text: want both or neither")
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
	f.StringVar(&d.Model, "model", "", "directory of a model to prune in place of the carried one")
	f.StringVar(&d.Text, "text", "", "directory of the texts for --model")
	f.IntVar(&d.Protocol.Runs, "runs", d.Protocol.Runs, "rounds of the latency measurement")
	f.IntVar(&d.Protocol.Discard, "discard", d.Protocol.Discard, "rounds at the start that do not count")
	turnsFlag(f, &d.Protocol)
	return c
}
