package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"mop/bench/sweep"
	"mop/bench/validate"
	"mop/prune/search"
	"mop/runtime/device"
	"mop/runtime/predict"
)

func validateCommand(o *options) *cobra.Command {
	work := workloadFlags{Workload: predict.Workload{In: 12, Out: 128, Batch: 1}}
	var tableFile, searched string
	var measure, asJSON bool
	c := &cobra.Command{
		Use:   "validate PLAN|DIR --latency TABLE",
		Short: "Say whether a plan's shapes are worth having on this device",
		Long: "Print one page about a plan, or a pruned model: predicted and measured time, where the\n" +
			"time goes, the gain per compression, what rounding its widths would cost and gain, and\n" +
			"faster shapes of the same size, if the table knows any. Weights are random. With the\n" +
			"losses of a search, also better plans of the same time and faster ones of the same loss.",
		Example: "  mop validate ./pruned/0.40 --latency table.json\n  mop validate plan.json --latency table.json --measure=false --json",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := need(c, "latency"); err != nil {
				return err
			}
			if err := work.check(); err != nil {
				return err
			}
			t, err := predict.Load(tableFile)
			if err != nil {
				return err
			}
			if err := checkTableKV(o.kvType, tableFile, t); err != nil {
				return err
			}
			s, err := validate.Open(args[0])
			if err != nil {
				return err
			}
			if err := s.UseTable(t); err != nil {
				return fmt.Errorf("%s: %w", tableFile, err)
			}
			work.warnExtrapolated(tableFile, t)
			var losses *search.BlockLosses
			if searched != "" {
				if losses, err = search.ReadLosses(searched, s.Base); err != nil {
					return err
				}
			}
			var dev device.Device
			if measure {
				if dev, err = o.open(); err != nil {
					return err
				}
				defer dev.Close()
				if err := sameMachine(dev, "", tableFile, t, o); err != nil {
					return err
				}
			}
			page, err := validate.Run(c.Context(), dev, s, t, losses, sweep.VerifyOptions{Workload: work.Workload, DType: tableDType(t, s.Base), Place: placeOf(t), Runs: 5, Tries: 20, Precision: 0.01, Seed: o.seed})
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(page)
			}
			return page.Write(c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&tableFile, "latency", "", "latency table of mop sweep")
	f.StringVar(&searched, "losses", "", "output directory of a mop search of the same dense model: look for a plan of the same time that loses less, and for a faster one of the same loss")
	f.BoolVar(&measure, "measure", true, "measure on the device as well; false: predictions only")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	work.register(c)
	o.measureFlags(c)
	return c
}
