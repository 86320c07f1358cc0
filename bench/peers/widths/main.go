// Command widths writes two plans of one preset with the same number of
// parameters: round.json, whose layers all have one MLP width, a multiple of
// 64, and odd.json, whose layers all have odd widths, no two alike. A runtime
// that likes round numbers is slower on the second.
//
//	go run ./bench/peers/widths [-keep 0.61] PRESET DIR
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"

	"mop/prune/plan"
	"mop/runtime/config"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		slog.Error("widths", "error", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	f := flag.NewFlagSet("widths", flag.ContinueOnError)
	keep := f.Float64("keep", 0.61, "share of each layer's neurons that stays, about")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 2 || !(*keep > 0 && *keep < 1) {
		return fmt.Errorf("want PRESET, DIR and -keep in (0, 1)")
	}
	c, err := config.Preset(f.Arg(0))
	if err != nil {
		return err
	}
	round, odd, err := pair(c, *keep)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.Arg(1), 0o777); err != nil {
		return err
	}
	for name, shapes := range map[string][]config.LayerShape{"round": round, "odd": odd} {
		if err := write(filepath.Join(f.Arg(1), name+".json"), c, shapes); err != nil {
			return err
		}
	}
	return nil
}

// pair makes both lists of layers. Layers 2k and 2k+1 lie at the same odd
// distance (2k+1)*step above and below the round width, so that the sums agree
// to the neuron; the last of an odd number of layers is one neuron off.
func pair(c *config.Config, keep float64) (round, odd []config.LayerShape, err error) {
	const multiple = 64
	round, odd = slices.Clone(c.Layers), slices.Clone(c.Layers)
	L := len(c.Layers)
	for l, s := range c.Layers {
		width := max(multiple, int(keep*float64(s.Intermediate))/multiple*multiple)
		// The farthest distance, for k = L/2-1, is about a fifth of the width.
		step := max(1, width/5/max(1, L)) | 1
		distance := (l/2*2 + 1) * step
		switch {
		case l == L-1 && l%2 == 0:
			distance = 1
		case l%2 == 1:
			distance = -distance
		}
		round[l].Intermediate, odd[l].Intermediate = width, width+distance
		if odd[l].Intermediate < 1 || odd[l].Intermediate > s.Intermediate || round[l].Intermediate > s.Intermediate {
			return nil, nil, fmt.Errorf("layer %d: no room for an odd width of %d in %d neurons", l, odd[l].Intermediate, s.Intermediate)
		}
	}
	return round, odd, nil
}

// write writes a plan of one width step to the shapes.
func write(file string, c *config.Config, shapes []config.LayerShape) error {
	p := plan.NewPlan(c, plan.Options{Rule: "mlp-only", RoundTo: 1, HeadsMultiple: 1, Allocation: plan.Uniform})
	cut := c.Clone()
	cut.Layers = shapes
	p.Steps = []plan.Step{{Step: 1, Kind: plan.Width, Params: cut.Params(), Shapes: shapes,
		Compression: 1 - float64(cut.Params())/float64(p.Base.Params)}}
	if err := p.Check(); err != nil {
		return err
	}
	out, err := renameio.NewPendingFile(file, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer out.Cleanup()
	if err := p.Write(out); err != nil {
		return err
	}
	return out.CloseAtomicallyReplace()
}
