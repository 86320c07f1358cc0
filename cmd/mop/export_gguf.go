package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mop/runtime/checkpoint/gguf"
	"mop/runtime/open"
)

func exportGGUF(o *options) *cobra.Command {
	var name, out, kind string
	var padTo int
	var bare bool
	var e gguf.ExportOptions
	types := slices.Sorted(maps.Keys(gguf.Types()))
	c := &cobra.Command{
		Use:   "gguf --model DIR --out FILE",
		Short: "Write a GGUF file for llama.cpp, with a Modelfile for Ollama",
		Long: `Write a GGUF file for llama.cpp, and a Modelfile for Ollama beside it. A model whose
layers are all alike has the architecture llama, any other one deci.

Widths of MLPs are padded by zero neurons to a multiple of --pad-to, which changes no
result. Quantized types need rows of whole blocks: 32 elements for q8_0 and the types of
4 and 5 bits, 256 for the K-quants. Pad to 256 for a file that llama-quantize is to turn
into Q4_K_M; otherwise it keeps the rows that do not fit in a larger type.

A tokenizer that llama.cpp cannot imitate is refused with the reason.`,
		Example: "  mop export gguf --model ./pruned/0.40 --out pruned.gguf\n" +
			"  mop export gguf --model ./pruned/0.40 --out pruned-f16.gguf --type f16 --pad-to 256\n" +
			"  llama-quantize pruned-f16.gguf pruned-q4.gguf Q4_K_M",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model", "out"); err != nil {
				return err
			}
			if kind != "" {
				t, ok := gguf.Types()[kind]
				if !ok {
					return usage("--type: want one of %s, got %q", strings.Join(types, ", "), kind)
				}
				e.Type = &t
			}
			if c.Flag("pad-to").Changed && (padTo < 1 || padTo > gguf.MaxPadding) {
				return usage("--pad-to: want 1 to %d, got %d", gguf.MaxPadding, padTo)
			}
			src, err := open.Source(name, o.from)
			if err != nil {
				return err
			}
			defer src.Close()
			e.PadTo, e.Name = padTo, filepath.Base(name)
			if !open.IsPreset(name) && !bare { // a preset has no tokenizer
				e.Tokenizer = name
			}
			bar := newBars(c.ErrOrStderr())
			e.Progress = bar.show
			r, err := gguf.Export(c.Context(), src, out, e)
			bar.end()
			if errors.Is(err, gguf.ErrTokenizer) {
				return fmt.Errorf("%w; --no-tokenizer leaves it out", err)
			}
			if err != nil {
				return err
			}
			return writeExported(c.OutOrStdout(), r)
		},
	}
	f := c.Flags()
	f.StringVar(&name, "model", "", "directory of the model, or preset:NAME for random weights")
	f.StringVar(&out, "out", "", "file to write")
	f.StringVar(&kind, "type", "", "type of the matrices: "+strings.Join(types, ", ")+" (default: that of the checkpoint)")
	f.IntVar(&padTo, "pad-to", 0, "pad the width of every MLP to a multiple of this (default: 32 for q8_0, else 1)")
	f.BoolVar(&bare, "no-tokenizer", false, "leave the tokenizer out: the file then serves for measuring speed")
	f.BoolVar(&e.Replace, "force", false, "replace existing files")
	return c
}

// writeExported says what was written, and what padding costs.
func writeExported(w io.Writer, r *gguf.ExportResult) error {
	fmt.Fprintf(w, "%s: architecture %s, %s, %s bytes\n", r.Path, r.Architecture, r.Type, human(r.Bytes))
	if r.AddedParams > 0 {
		fmt.Fprintf(w, "padding: %d zero neurons and %d zero heads, %s parameters, %s bytes (%.2f %% of the file)\n",
			r.AddedNeurons, r.AddedHeads, human(r.AddedParams), human(r.AddedBytes), 100*float64(r.AddedBytes)/float64(r.Bytes))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	_, err := fmt.Fprintf(w, "for Ollama: %s\n", r.Modelfile)
	return err
}
