// Package search chooses the shape of every layer for a wanted latency. It measures what
// the model loses when a single attention or MLP block is made smaller or left out,
// divides the wanted time over the blocks by dynamic programming (the knapsack of ZipLM,
// arXiv 2302.04089, and Puzzle, arXiv 2411.19146), and improves the result by evolution
// on growing amounts of text (EvoPress, arXiv 2410.14649). Kept heads and neurons are
// those with the highest importance scores.
package search

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mop/internal/progress"
	"mop/prune"
	"mop/prune/finetune"
	"mop/prune/plan"
	"mop/prune/score"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/predict"
)

// Objectives are the values of Options.Objective.
func Objectives() []string { return []string{"latency", "bytes"} }

// AttentionChoices are the values of Options.Attention: search makes attention blocks
// smaller too, keep leaves them as they are, and auto keeps them in models with
// grouped-query attention, as MoP does with LLaMA-3. On windows of few tokens a loss of KV
// heads costs less than it does on long text.
func AttentionChoices() []string { return []string{"auto", "keep", "search"} }

// Options of a search.
type Options struct {
	Model, Out string    // directories
	Targets    []float64 // shares of the dense model's latency or bytes, in (0, 1)
	Objective  string    // one of Objectives
	Seed       uint64

	Table    *predict.Table
	Workload predict.Workload
	// Measure measures a model on the device; the target is then met by measurement and
	// not by prediction alone. nil = predictions only.
	Measure prune.LatencyFunc

	// Identity names the table and the machine: a search does not continue one of another.
	Identity string

	OpenDevice func() (device.Device, error)

	Calibration string // file of the prompts on which heads and neurons are scored
	Prompts     int
	HeadScore   string // importance score of heads: a name of score.Methods; "" = amp
	NeuronScore string // that of neurons
	Refit       bool   // refit o_proj and down_proj of every candidate on the prompts
	Text        string // file of the text on which models are compared
	Separator   string
	Context     int // tokens of a window
	LossWindows int // windows on which the loss of a block is measured
	Windows     int // windows of evolution's last stage; the first stage has LossWindows

	Attention string // what becomes of attention blocks, one of AttentionChoices; "" = auto

	Levels      int           // sizes of an MLP block, evenly spaced, that evolution chooses among
	Time        time.Duration // of each target's evolution, about
	Generations int           // of each target's evolution; 0 = as many as fit into Time
	Offspring   int           // candidates of a generation

	Short  int              // steps that the best candidates are fine-tuned before the last choice, 0 = none
	Recipe finetune.Options // of that training; Model, Tokenizer, Device, Seed, Out and Steps are set by the search

	Resume   bool
	HFType   string
	Progress progress.Func
}

// Defaults are the options that most searches use.
func Defaults() Options {
	return Options{Objective: "latency", Workload: predict.Workload{In: 12, Out: 128, Batch: 1}, Prompts: 64, Context: 128,
		LossWindows: 4, Windows: 32, Levels: 24, Time: 5 * time.Minute, Offspring: 12, Recipe: finetune.Defaults()}
}

// Check refuses options that no search can have.
func (o *Options) Check() error {
	if err := plan.CheckTargets(o.Targets); err != nil {
		return err
	}
	switch {
	case !slices.Contains(Objectives(), o.Objective):
		return fmt.Errorf("objective: want one of %s, got %q", strings.Join(Objectives(), ", "), o.Objective)
	case o.Attention != "" && !slices.Contains(AttentionChoices(), o.Attention):
		return fmt.Errorf("attention: want one of %s, got %q", strings.Join(AttentionChoices(), ", "), o.Attention)
	case o.Objective == "latency" && o.Table == nil:
		return errors.New("objective latency: want a latency table")
	case o.Prompts < 1 || o.LossWindows < 1 || o.Windows < o.LossWindows || o.Context < 2:
		return fmt.Errorf("text: want at least 1 prompt, 1 window for a block's loss, as many windows in all, and 2 tokens a window, got %d, %d, %d and %d",
			o.Prompts, o.LossWindows, o.Windows, o.Context)
	case o.Levels < 2 || o.Levels > 1024:
		return fmt.Errorf("levels: want 2 to 1024, got %d", o.Levels)
	case o.Time < 0 || o.Generations < 0 || o.Offspring < 1:
		return fmt.Errorf("evolution: want a time and generations of 0 or more and offspring of at least 1, got %v, %d and %d", o.Time, o.Generations, o.Offspring)
	case o.Short < 0:
		return fmt.Errorf("short recovery: want 0 or more steps, got %d", o.Short)
	case o.Short > 0 && o.Recipe.Data == "":
		return errors.New("short recovery: want a file to train on")
	case o.Calibration == "" || o.Text == "":
		return errors.New("want a file of prompts for the scores, and a text to compare models on")
	}
	if _, err := score.New(score.Options{Heads: o.HeadScore, Neurons: o.NeuronScore, Seed: o.Seed}); err != nil {
		return err
	}
	return o.Workload.Check()
}

// cost is what the search minimises the loss under: milliseconds or bytes.
type cost struct {
	total     func(layers []config.LayerShape) float64
	attention func(s config.LayerShape) float64 // of one block
	mlp       func(s config.LayerShape) float64
	factor    float64 // measured cost over predicted cost, relative to the dense model
}

func (o *Options) cost(base *config.Config) (*cost, error) {
	if o.Objective == "bytes" {
		params := func(layers []config.LayerShape) float64 {
			c := base.Clone()
			c.Layers = layers
			return float64(c.Params())
		}
		return &cost{params,
			func(s config.LayerShape) float64 { return float64(s.AttentionParams(base.HiddenSize)) },
			func(s config.LayerShape) float64 { return float64(s.MLPParams(base.HiddenSize)) }, 1}, nil
	}
	if err := o.Table.CheckModel(base); err != nil {
		return nil, err
	}
	p, err := o.Table.Predictor(o.Workload)
	if err != nil {
		return nil, err
	}
	return predictedCost(p), nil
}

// cheapest are the shapes of the least cost that a search can choose.
func (g grid) cheapest(keepAttention bool) []config.LayerShape {
	x := g.dense()
	for l := range x.Levels {
		x.Levels[l] = 0
		if !keepAttention {
			x.KVHeads[l] = 0
		}
	}
	return g.shapes(x)
}

// checkReach refuses targets that are out of reach, before anything is measured. Where models
// are measured, the share may be smaller than the predicted one.
func (r *run) checkReach(k *cost) error {
	margin := 1.0
	if r.Measure != nil && r.Objective == "latency" {
		margin = 1.25
	}
	least := k.share(r.layers, r.cheapest(r.keepsAttention(r.Attention)))
	for _, target := range r.Targets {
		if least > margin*target {
			return beyondReach(target, least)
		}
	}
	return nil
}

func beyondReach(target, least float64) error {
	return fmt.Errorf("target %v: beyond reach: what is outside of the blocks that the search makes smaller takes %.3f of the dense model's time or bytes", target, least)
}

// predictedCost is the time that a table predicts.
func predictedCost(p *predict.Predictor) *cost {
	return &cost{p.Latency, p.Attention, func(s config.LayerShape) float64 { return p.MLP(s.Intermediate) }, 1}
}

// share is the cost of layers as a share of the dense model's.
func (k *cost) share(base, layers []config.LayerShape) float64 {
	return k.factor * k.total(layers) / k.total(base)
}

// measuredShare is that by measurement.
func (r *run) measuredShare(ctx context.Context, layers []config.LayerShape) (float64, error) {
	dense, err := r.measure(ctx, r.base.Config().Layers)
	if err != nil {
		return 0, err
	}
	ms, err := r.measure(ctx, layers)
	return ms / dense, err
}
