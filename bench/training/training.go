// Package training measures how fast a device trains a model's adapters. What flows
// in: a model on a device, the recipe, and the lengths of the examples. What flows
// out: tokens a second, the FLOPs that were of use, the memory, and the time that the
// whole recipe takes at that speed. The ids are random: what they are changes nothing.
package training

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mop/prune/finetune"
	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/model"
	"mop/runtime/random"
	"mop/runtime/train"
)

// Length of an example: its ids, and how many of them are no targets.
type Length struct{ Tokens, First int }

// Same are n examples of one length, all ids but the first being targets.
func Same(ids, n int) []Length {
	out := make([]Length, n)
	for i := range out {
		out[i] = Length{ids, 1}
	}
	return out
}

//go:embed alpaca.json
var alpaca []byte

// Alpaca are the lengths of real rows, in their order; the file says of which.
func Alpaca() ([]Length, error) {
	var file struct{ Lengths [][2]int }
	if err := json.Unmarshal(alpaca, &file); err != nil {
		return nil, fmt.Errorf("alpaca.json: %w", err)
	}
	out := make([]Length, len(file.Lengths))
	for i, p := range file.Lengths {
		out[i] = Length{p[0], p[1]}
	}
	return out, nil
}

// The paper's recipe: alpaca-cleaned, twice.
const recipeRows, recipeEpochs = 51760, 2

// Row is one measurement.
type Row struct {
	Model     string `json:"model"`
	Params    int64  `json:"params"`
	Lengths   string `json:"lengths"` // what the examples are
	Rank      int    `json:"rank"`
	Batch     int    `json:"batch"` // examples of a step, a pass each
	Recompute bool   `json:"recompute"`

	Steps    int     `json:"steps"` // that were timed, after one that was not
	Examples int     `json:"examples"`
	Tokens   int     `json:"tokens"`
	Seconds  float64 `json:"seconds"`

	TokensPerSecond float64 `json:"train_tps"`
	TFLOPS          float64 `json:"train_tflops"` // of use, see Flops
	PeakBytes       int64   `json:"peak_bytes,omitempty"`
	RecipeHours     float64 `json:"recipe_hours"` // for two epochs of alpaca-cleaned's 51,760 rows, were they of these lengths

	Device string    `json:"device"`
	Commit string    `json:"commit"`
	Date   time.Time `json:"date"`
}

// Flops is what training the adapters of a model on one example takes: its forward
// pass, and the gradients by every layer's input, as much again. The adapters' own
// products, the second half of attention's gradients and what is computed twice, some
// percents, are not counted.
func Flops(m *model.Model, l Length) int64 {
	return 2 * model.Flops(m.Config, 0, l.Tokens, l.Tokens-l.First)
}

// Measure takes a step that warms the device up and then, of the recipe's batch, as
// many as lengths has examples for; a last one that is not full is left out.
func Measure(ctx context.Context, m *model.Model, src checkpoint.Source, o finetune.Options, lengths []Length) (*Row, error) {
	o.Steps, o.NoShuffle, o.Epochs = len(lengths)/o.Batch, true, 1
	if o.Steps < 1 {
		return nil, fmt.Errorf("want at least a step's %d examples, got %d", o.Batch, len(lengths))
	}
	lengths = lengths[:o.Steps*o.Batch]
	o.Steps++
	if err := o.Check(); err != nil {
		return nil, err
	}
	l, err := train.New(m, src, train.Options{Rank: o.Rank, Alpha: o.Alpha, Dropout: o.Dropout, Targets: o.Targets, Recompute: o.Recompute, Seed: o.Seed})
	if err != nil {
		return nil, err
	}
	// The step to warm up has the examples that are the longest: all memory is taken,
	// and every kernel is loaded.
	longest := lengths[0]
	for _, x := range lengths {
		if x.Tokens > longest.Tokens {
			longest = x
		}
	}
	examples := make([]dataset.Example, 0, o.Batch+len(lengths))
	flops := int64(0)
	key := random.Key(o.Seed, "training")
	for i := range o.Batch + len(lengths) {
		x := longest
		if i >= o.Batch {
			x = lengths[i-o.Batch]
			flops += Flops(m, x)
		}
		if x.First < 1 || x.First >= x.Tokens {
			return nil, fmt.Errorf("length %d: want ids and some of them targets, got %+v", i, x)
		}
		e := dataset.Example{Row: i + 1, FirstTarget: x.First, Tokens: make([]int32, x.Tokens)}
		for t := range e.Tokens {
			e.Tokens[t] = int32(random.Word(key, uint64(i)<<20+uint64(t)) % uint64(m.Config.VocabSize))
		}
		examples = append(examples, e)
	}
	r := &Row{Params: m.Config.Params(), Rank: o.Rank, Batch: o.Batch, Recompute: o.Recompute, Examples: len(lengths)}
	err = finetune.Train(ctx, l, examples, &o, 0, func(s finetune.Step) error {
		if s.Step > 1 {
			r.Steps, r.Tokens, r.Seconds = r.Steps+1, r.Tokens+s.Tokens, r.Seconds+s.Seconds
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if r.Seconds <= 0 {
		return nil, errors.New("the clock stood still")
	}
	r.TokensPerSecond, r.TFLOPS = float64(r.Tokens)/r.Seconds, float64(flops)/r.Seconds/1e12
	r.RecipeHours = recipeEpochs * recipeRows * r.Seconds / float64(r.Examples) / 3600
	r.PeakBytes = m.Device().PeakBytes()
	return r, nil
}
