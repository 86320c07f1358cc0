package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mop/bench/tasks"
	"mop/internal/progress"
	"mop/runtime/open"
)

func evalCommand(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "eval",
		Short: "Measure a model's quality: perplexity, divergence, task accuracies",
		Args:  cobra.ArbitraryArgs,
		RunE:  oneOf(strings.Join(tasks.Names(), " or ")),
	}
	for _, t := range tasks.All() {
		c.AddCommand(taskCommand(o, t))
	}
	return c
}

// taskCommand is the subcommand of one evaluation task.
func taskCommand(o *options, t tasks.Task) *cobra.Command {
	var name string
	var asJSON bool
	c := &cobra.Command{
		Use:     t.Name() + " " + t.Usage(),
		Short:   t.Summary(),
		Example: t.Example(),
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, t.Required()...); err != nil {
				return err
			}
			if err := t.Check(); err != nil {
				return usage("%v", err)
			}
			if alone, ok := t.(tasks.ModelOptional); ok && !alone.NeedsModel() {
				result, err := t.Run(c.Context(), tasks.Input{})
				return printResult(c, result, asJSON, err)
			}
			if err := need(c, "model"); err != nil {
				return err
			}
			m, closeModel, err := o.load(name)
			if err != nil {
				return err
			}
			defer closeModel()
			bar := newBars(c.ErrOrStderr())
			result, err := t.Run(c.Context(), tasks.Input{
				Model: m,
				Load: func(name string) (*open.Model, error) {
					return open.LoadModel(m.Device(), name, o.from, open.ModelOptions{})
				},
				Progress: progress.Func(bar.show),
			})
			bar.end()
			return printResult(c, result, asJSON, err)
		},
	}
	c.Flags().StringVar(&name, "model", "", "model directory")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	t.Flags(c.Flags())
	o.weightsFlags(c)
	return c
}

// printResult prints what a task measured, unless it failed.
func printResult(c *cobra.Command, r tasks.Result, asJSON bool, err error) error {
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(c.OutOrStdout()).Encode(r)
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), r)
	return err
}
