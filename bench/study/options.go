// Package study compares pruning methods: it prunes a model by each of them, trains all
// results alike, evaluates them before and after, measures their latency, and writes one
// report. Every finished cell, which is one model pruned, evaluated or measured, is kept in
// a file, so that a study continues after a kill.
package study

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mop/bench/latency"
	"mop/bench/tasks/zeroshot"
	"mop/internal/progress"
	"mop/prune"
	"mop/prune/finetune"
	"mop/prune/plan"
	"mop/runtime/device"
)

// Row is one row of the report: a way to prune, or models that exist already.
type Row struct {
	Name  string
	Flags string // how its options were given, which identifies the row

	// Prune are the options of the row. Model, Out, Targets, Seed, Device, Resume and
	// Progress are set by the study.
	Prune prune.Options

	// Models are directories of finished models, instead of Prune.
	Models []string
}

// Options of a study.
type Options struct {
	Model, Out string // directories
	Rows       []Row
	Targets    []float64 // compressions of the rows that are pruned
	Seed       uint64    // the first one
	Seeds      int       // how many seeds

	Tasks []zeroshot.Task
	Data  string // folder of their files
	Limit int    // questions of each task; 0 = all
	BOS   string // of contexts: auto, on or off

	Text      string // file that perplexities are computed on; "" = none
	Separator string // between its documents
	Windows   int    // the first windows of it; 0 = all
	Context   int    // tokens of a window, BOS included
	KL        bool   // also measure the KL divergence from the dense model on these windows

	Recover bool             // train every model, by Recipe
	Recipe  finetune.Options // Model, Tokenizer, Out, Device, Seed, Resume and Progress are set by the study

	Latency  bool // measure it
	Protocol latency.Protocol
	Group    int    // models that are measured in turns, the dense one among them
	Kernels  string // the set that the device was opened with
	KVType   string // of the KV cache while latency is measured; "" = that of open.LatencyKVType
	Command  string // for the report

	OpenDevice func() (device.Device, error)
	Progress   progress.Func
}

// Defaults are the options that most studies use.
func Defaults() Options {
	return Options{Seeds: 1, BOS: "auto", Windows: 20, Context: 512, Recipe: finetune.Defaults(), Latency: true,
		Protocol: latency.Default(), Group: 12}
}

// denseName is the row of the dense model.
const denseName = "dense"

// Check refuses options that no study can have.
func (o *Options) Check() error {
	names := map[string]bool{denseName: true}
	pruned := false
	for _, r := range o.Rows {
		switch {
		case strings.TrimSpace(r.Name) == "":
			return errors.New("rows: want a name for each")
		case r.Name[0] == '.' || strings.ContainsAny(r.Name, `/\:`) || len(r.Name) > 80:
			return fmt.Errorf("rows: want a name of at most 80 characters that can be a directory, got %q", r.Name)
		case names[r.Name]:
			return fmt.Errorf("rows: %s is there twice", r.Name)
		}
		names[r.Name] = true
		pruned = pruned || len(r.Models) == 0
	}
	switch {
	case len(o.Rows) == 0:
		return errors.New("rows: want at least one method or directory")
	case o.Seeds < 1 || o.Seeds > 100:
		return fmt.Errorf("seeds: want 1 to 100, got %d", o.Seeds)
	case o.Limit < 0:
		return fmt.Errorf("limit: want 0 or more, got %d", o.Limit)
	case !slices.Contains(zeroshot.BOSStates, o.BOS):
		return fmt.Errorf("bos: want one of %s, got %q", strings.Join(zeroshot.BOSStates, ", "), o.BOS)
	case len(o.Tasks) > 0 && o.Data == "":
		return errors.New("data: want the folder of the tasks' files")
	case len(o.Tasks) == 0 && o.Text == "":
		return errors.New("want tasks, or a text for perplexities, or both")
	case o.KL && o.Text == "":
		return errors.New("KL divergence: want a text for it, that of the perplexities")
	case o.Windows < 0 || o.Context < 2:
		return fmt.Errorf("perplexity: want 0 or more windows of at least 2 tokens, got %d of %d", o.Windows, o.Context)
	case o.Group < 2:
		return fmt.Errorf("group: want at least 2 models that take turns, got %d", o.Group)
	case o.OpenDevice == nil:
		return errors.New("device: want one")
	}
	if pruned {
		if err := plan.CheckTargets(o.Targets); err != nil {
			return err
		}
	}
	if o.Recover {
		if err := o.Recipe.Check(); err != nil {
			return fmt.Errorf("recovery: %w", err)
		}
	}
	return o.Protocol.Validate()
}

// seeds lists the seeds.
func (o *Options) seeds() []uint64 {
	out := make([]uint64, o.Seeds)
	for i := range out {
		out[i] = o.Seed + uint64(i)
	}
	return out
}
