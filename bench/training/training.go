// Package training measures how fast a device trains a model's adapters: tokens a
// second, useful FLOPs, memory, and how long the whole recipe takes at that speed. It
// takes a model on a device, the recipe, and the lengths of the examples. The tokens are
// random, which does not change the speed.
package training

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mop/bench/trace"
	"mop/internal/build"
	"mop/prune/finetune"
	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/model"
	"mop/runtime/random"
	"mop/runtime/train"
)

// Length of an example: the number of its tokens, and the index of the first one that is
// a target.
type Length struct{ Tokens, First int }

// Same returns n examples of one length. All tokens but the first are targets.
func Same(tokens, n int) []Length {
	out := make([]Length, n)
	for i := range out {
		out[i] = Length{tokens, 1}
	}
	return out
}

//go:embed alpaca.json
var alpaca []byte

// Alpaca returns the lengths of real rows, in their order; alpaca.json names the rows.
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

// ErrLengths says that a text is neither a number of tokens nor the name of real lengths.
var ErrLengths = errors.New("want 2 to 1048576 tokens, or alpaca")

// Lengths returns n examples for a text: a number of tokens, or alpaca for those of real
// rows, which are repeated where n is larger.
func Lengths(text string, n int) ([]Length, error) {
	if text != "alpaca" {
		tokens, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || tokens < 2 || tokens > 1<<20 {
			return nil, fmt.Errorf("%w, got %q", ErrLengths, text)
		}
		return Same(tokens, n), nil
	}
	rows, err := Alpaca()
	if err != nil {
		return nil, err
	}
	out := make([]Length, n)
	for i := range out {
		out[i] = rows[i%len(rows)]
	}
	return out, nil
}

// The paper's recipe is two epochs of alpaca-cleaned.
const recipeRows, recipeEpochs = 51760, 2

// Row is one measurement.
type Row struct {
	Model      string `json:"model"`
	Params     int64  `json:"params"`
	Lengths    string `json:"lengths"` // of the examples: a number of tokens, or "alpaca"
	Rank       int    `json:"rank"`
	Batch      int    `json:"batch"`                 // examples of a step
	PassTokens int    `json:"pass_tokens,omitempty"` // of several examples in a pass; 0 = one example each
	Recompute  bool   `json:"recompute"`

	Steps    int     `json:"steps"` // that were timed, after one that was not
	Examples int     `json:"examples"`
	Tokens   int     `json:"tokens"`
	Seconds  float64 `json:"seconds"`

	TokensPerSecond float64 `json:"train_tps"`
	TFLOPS          float64 `json:"train_tflops"` // useful operations, see Flops
	PeakBytes       int64   `json:"peak_bytes,omitempty"`
	RecipeHours     float64 `json:"recipe_hours"` // for two epochs of 51,760 rows, the size of alpaca-cleaned, of these lengths

	Device string    `json:"device"`
	Commit string    `json:"commit"`
	Date   time.Time `json:"date"`
}

// Flops is the number of operations for training a model's adapters on one example: the
// forward pass, and as many again for the gradients with respect to every layer's input.
// Not counted, since they are a few percent: the adapters' own products, the second half
// of attention's gradients, and what is computed twice.
func Flops(m *model.Model, l Length) int64 {
	return 2 * model.Flops(m.Config, 0, l.Tokens, l.Tokens-l.First)
}

// Measure runs one step that warms up the device, and then times as many steps of the
// recipe's batch as lengths has examples for. An incomplete last step is left out. traced, if
// it is not nil, is called with a trace of one more step, like the last one.
func Measure(ctx context.Context, m *model.Model, src checkpoint.Source, o finetune.Options, lengths []Length, traced func(trace.Pass) error) (*Row, error) {
	o.SetPassTokens(m.Device())
	o.Steps, o.NoShuffle, o.Epochs = len(lengths)/o.Batch, true, 1
	if o.Steps < 1 {
		return nil, fmt.Errorf("want at least a step's %d examples, got %d", o.Batch, len(lengths))
	}
	lengths = lengths[:o.Steps*o.Batch]
	o.Steps++
	timed := o.Steps // the number of the last step that is timed
	if traced != nil {
		o.Steps++
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	l, err := train.New(m, src, train.Options{Rank: o.Rank, Alpha: o.Alpha, Dropout: o.Dropout, Targets: o.Targets, Recompute: o.Recompute, Seed: o.Seed})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	// The warm-up step has the longest examples, so that all memory is allocated and every
	// kernel is loaded.
	longest := lengths[0]
	for _, x := range lengths {
		if x.Tokens > longest.Tokens {
			longest = x
		}
	}
	examples := make([]dataset.Example, 0, o.Batch+len(lengths))
	flops := int64(0)
	key := random.Key(o.Seed, "training")
	for i := range o.Batch * o.Steps {
		x := longest
		if i >= o.Batch*timed { // the step that is traced
			x = lengths[len(lengths)-o.Batch*(timed+1)+i]
		} else if i >= o.Batch {
			x = lengths[i-o.Batch]
			flops += Flops(m, x)
		}
		if x.First < 1 || x.First >= x.Tokens {
			return nil, fmt.Errorf("length %d: want tokens, and at least one of them a target, got %+v", i, x)
		}
		e := dataset.Example{Row: i + 1, FirstTarget: x.First, Tokens: make([]int32, x.Tokens)}
		for t := range e.Tokens {
			e.Tokens[t] = int32(random.Word(key, uint64(i)<<20+uint64(t)) % uint64(m.Config.VocabSize))
		}
		examples = append(examples, e)
	}
	r := &Row{Params: m.Config.Params(), Rank: o.Rank, Batch: o.Batch, PassTokens: o.PassTokens, Recompute: o.Recompute, Examples: len(lengths)}
	var last time.Duration
	run := func(first, steps int) error {
		o := o
		o.Steps = steps
		return finetune.Train(ctx, l, examples, &o, first, func(s finetune.Step) error {
			if s.Step > 1 && s.Step <= timed {
				r.Steps, r.Tokens, r.Seconds = r.Steps+1, r.Tokens+s.Tokens, r.Seconds+s.Seconds
				last = time.Duration(s.Seconds * float64(time.Second))
			}
			return nil
		})
	}
	if err := run(0, timed); err != nil {
		return nil, err
	}
	if traced != nil {
		pass := trace.Pass{Title: fmt.Sprintf("training: a step of %d examples, rank %d, dropout %v", o.Batch, o.Rank, o.Dropout), Hardware: m.Device().Capabilities().Hardware, Commit: build.Commit(), Wall: last}
		var err error
		if pass.Launches, pass.Limits, err = trace.Record(m.Device(), func() error { return run(timed, timed+1) }); err != nil {
			return nil, err
		}
		if err := traced(pass); err != nil {
			return nil, err
		}
	}
	if r.Seconds <= 0 {
		return nil, errors.New("the clock did not move")
	}
	r.TokensPerSecond, r.TFLOPS = float64(r.Tokens)/r.Seconds, float64(flops)/r.Seconds/1e12
	r.RecipeHours = recipeEpochs * recipeRows * r.Seconds / float64(r.Examples) / 3600
	r.PeakBytes = m.Device().PeakBytes()
	return r, nil
}
