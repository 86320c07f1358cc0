package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/open"
)

// description is what inspect --json prints.
type description struct {
	Params int64               `json:"params"`
	Bytes  int64               `json:"bytes"`
	DType  string              `json:"dtype"`
	Vocab  int                 `json:"vocab"`
	Dim    int                 `json:"d_model"`
	Layers []config.LayerShape `json:"layers"`
}

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
			d, err := describe(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(w).Encode(d)
			}
			d.write(w)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&devices, "devices", false, "list the devices that --device can name")
	return c
}

// describe opens a model. Of a preset, and of a directory that has only a config, it says
// what the config asks for.
func describe(name string) (*description, error) {
	if !open.IsPreset(name) {
		src, err := checkpoint.Open(name)
		if err == nil {
			defer src.Close()
			return describeStored(src)
		}
		if !errors.Is(err, checkpoint.ErrNoWeights) {
			return nil, err
		}
		slog.Warn("no weights: the sizes are those that the config asks for", "model", name)
	}
	cfg, err := open.Config(name)
	if err != nil {
		return nil, err
	}
	return &description{cfg.Params(), cfg.Params() * int64(open.StoredType(cfg).Size()), cfg.DType, cfg.VocabSize, cfg.HiddenSize, cfg.Layers}, nil
}

// describeStored takes the size and the type from the tensors. Of several types it names
// the one that most bytes have.
func describeStored(src checkpoint.Source) (*description, error) {
	cfg := src.Config()
	d := &description{Params: cfg.Params(), Vocab: cfg.VocabSize, Dim: cfg.HiddenSize, Layers: cfg.Layers}
	bytes := map[checkpoint.DType]int64{}
	for _, info := range checkpoint.ExpectedTensors(cfg) {
		t, err := src.Tensor(info.Name)
		if err != nil {
			return nil, err
		}
		bytes[t.DType] += int64(len(t.Data))
		d.Bytes += int64(len(t.Data))
	}
	most := int64(0)
	for _, dt := range []checkpoint.DType{checkpoint.F32, checkpoint.F16, checkpoint.BF16} {
		if bytes[dt] > most {
			most, d.DType = bytes[dt], dt.ConfigName()
		}
	}
	return d, nil
}

// write has one line for every run of layers of the same shape.
func (d *description) write(w io.Writer) {
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
