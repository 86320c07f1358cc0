package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mop/runtime/open"
)

func inspectCommand(*options) *cobra.Command {
	var asJSON, devices bool
	c := &cobra.Command{
		Use:     "inspect DIR|preset:NAME",
		Short:   "Show a model's size and the shape of every layer, or list the devices",
		Example: "  mop inspect ./llama-2-7b\n  mop inspect preset:llama-3-8b --json\n  mop inspect --devices",
		Args: func(c *cobra.Command, args []string) error {
			if devices {
				return exactly(0)(c, args)
			}
			return exactly(1)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			w := c.OutOrStdout()
			if devices {
				list, missing := open.Devices()
				if asJSON {
					return json.NewEncoder(w).Encode(list)
				}
				return writeDevices(w, list, missing)
			}
			d, err := open.Describe(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(w).Encode(d)
			}
			writeDescription(w, d)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&devices, "devices", false, "list the devices that --device can name")
	return c
}

// writeDescription has one line for every run of layers of the same shape.
func writeDescription(w io.Writer, d *open.Description) {
	fmt.Fprintf(w, "parameters  %d (%s)\nbytes       %d (%sB)\ndtype       %s\nvocabulary  %d\nhidden size %d\nlayers      %d\n",
		d.Params, human(d.Params), d.Bytes, human(d.Bytes), d.DType, d.Vocab, d.Dim, len(d.Layers))
	for i := 0; i < len(d.Layers); {
		j := i
		for j < len(d.Layers) && d.Layers[j] == d.Layers[i] {
			j++
		}
		s, at := d.Layers[i], fmt.Sprint(i)
		if j > i+1 {
			at = fmt.Sprintf("%d-%d", i, j-1)
		}
		fmt.Fprintf(w, "  %-8s %3d heads, %3d kv heads, head size %d, %5d neurons\n", at, s.Heads, s.KVHeads, s.HeadDim, s.Intermediate)
		i = j
	}
}

// writeDevices has one line for every device, and one that says why there is no GPU.
func writeDevices(w io.Writer, list []open.DeviceInfo, missing error) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range list {
		fmt.Fprintf(t, "%s\t%s", d.Device, d.Name)
		if d.Bytes > 0 {
			fmt.Fprintf(t, "\t%sB, compute capability %s, %d SMs, driver for CUDA %s, kernels of %s", human(d.Bytes), d.Capability, d.SMs, d.Driver, d.Kernels)
		}
		fmt.Fprintln(t)
	}
	if missing != nil {
		fmt.Fprintf(t, "cuda\tnone: %v\n", missing)
	}
	return t.Flush()
}
