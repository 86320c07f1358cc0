package study

import (
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/montanaflynn/stats"

	"mop/bench/latency"
	"mop/bench/report"
)

// Result is what a study has found so far.
type Result struct {
	Model      string           `json:"model"`
	Command    string           `json:"command,omitempty"`
	Commit     string           `json:"commit"` // of the programs that computed the cells
	Tasks      []string         `json:"tasks"`
	Limit      int              `json:"limit,omitempty"` // questions of each task; 0 = all
	BOS        string           `json:"bos,omitempty"`
	Text       string           `json:"text,omitempty"` // of the perplexities
	Context    int              `json:"context,omitempty"`
	Recovery   *Recovery        `json:"recovery,omitempty"`
	Machine    string           `json:"machine"`
	Conditions string           `json:"latency_conditions,omitempty"`
	Protocol   latency.Protocol `json:"protocol"`
	Seeds      []uint64         `json:"seeds"`
	Rows       []Entry          `json:"rows"` // dense first
	Pairs      []Pair           `json:"pairs,omitempty"`
}

// Recovery describes the training.
type Recovery struct {
	Data     string         `json:"data"`
	Steps    int            `json:"steps"` // 0 = as many as the epochs have
	Settings map[string]any `json:"settings"`
}

// Entry is a row at one target: the models of all seeds.
type Entry struct {
	Row    string  `json:"row"`
	Flags  string  `json:"flags,omitempty"`
	Label  string  `json:"label"`  // the row and its target
	Target float64 `json:"target"` // compression; 0 = it was not pruned to one
	// LatencyTarget is the share of the dense model's latency that was asked for instead.
	LatencyTarget float64        `json:"latency_target,omitempty"`
	Models        []ModelResult  `json:"models"`
	Params        Stat           `json:"params"`
	Compression   Stat           `json:"compression"`
	Before        *Summary       `json:"before,omitempty"`
	After         *Summary       `json:"after,omitempty"` // recovery
	Latency       *LatencyResult `json:"latency,omitempty"`
	Fronts        []string       `json:"pareto,omitempty"` // the Pareto fronts that it is on
}

// ModelResult is one model of an entry.
type ModelResult struct {
	Seed   uint64         `json:"seed"`
	ID     string         `json:"id"`
	Dir    string         `json:"dir"`
	Params int64          `json:"params"`
	Path   string         `json:"path,omitempty"`
	Layers []report.Layer `json:"layers"`
	Before *Quality       `json:"before,omitempty"`
	After  *Quality       `json:"after,omitempty"`
}

// Stat is over the seeds.
type Stat struct {
	Mean float64  `json:"mean"`
	SD   *float64 `json:"sd,omitempty"` // absent for one value
}

// Summary is an entry's quality over its seeds. A task's accuracy is acc_norm, or acc where
// it has none. Errors of accuracies are those of the choice of questions.
type Summary struct {
	PPL     *Stat              `json:"ppl,omitempty"`
	KL      *Stat              `json:"kl,omitempty"` // mean over the positions, in nats
	Tasks   map[string]Stat    `json:"acc_norm,omitempty"`
	Acc     map[string]Stat    `json:"acc,omitempty"`
	Stderr  map[string]float64 `json:"stderr,omitempty"` // of Tasks, over the questions of one model
	Average *Stat              `json:"average,omitempty"`
	Error   float64            `json:"average_stderr,omitempty"`
	MeanAcc float64            `json:"average_acc,omitempty"` // the average of Acc
}

// LatencyResult is of the entry's first model, or the mean over models of several shapes.
type LatencyResult struct {
	E2E     float64       `json:"e2e_ms"`
	SD      *float64      `json:"sd_ms,omitempty"`
	TTFT    float64       `json:"ttft_ms"`
	ITL     *float64      `json:"itl_ms,omitempty"`
	Speedup latency.Ratio `json:"speedup"`
	Share   float64       `json:"share"`              // of the dense model's latency
	ShareSD *float64      `json:"share_sd,omitempty"` // over models of several shapes
	Gain    *float64      `json:"gain_per_compression,omitempty"`
}

// result collects the finished cells.
func (s *study) result() *Result {
	r := &Result{Model: s.Model, Command: s.Command, Commit: s.commits(), Limit: s.Limit, Text: filepath.Base(s.Text), Context: s.Context,
		Machine: s.machine, Protocol: s.Protocol, Seeds: s.seeds()}
	if s.Text == "" {
		r.Text, r.Context = "", 0
	}
	for _, t := range s.Tasks {
		r.Tasks = append(r.Tasks, t.Name)
	}
	if s.Recover {
		r.Recovery = &Recovery{filepath.Base(s.Recipe.Data), s.Recipe.Steps, s.Recipe.Settings()}
	}
	r.Rows = append(r.Rows, s.entry([]instance{s.denseInstance()}))
	if q := s.quality(s.dense.ID, "", 0); q != nil {
		r.BOS = q.BOS
	}
	if row, _ := s.latencyOf(s.dense.Shape); row != nil {
		r.Conditions = report.Conditions(*row)
	}
	for _, group := range s.groups() {
		r.Rows = append(r.Rows, s.entry(group))
	}
	r.markFronts()
	r.comparePairs()
	return r
}

// commits are those of the programs that computed the cells, in the order of the cells. A
// study may be continued by another program.
func (s *study) commits() string {
	var out []string
	for _, c := range s.cells.Records {
		if !slices.Contains(out, c.Commit) {
			out = append(out, c.Commit)
		}
	}
	return strings.Join(out, ", ")
}

// groups are the models of each row and target, over the seeds. Rows are in their order, and
// each one's models from the largest to the smallest.
func (s *study) groups() [][]instance {
	var out [][]instance
	for _, row := range s.Rows {
		var of [][]instance
		for _, m := range s.models {
			if m.Row != row.Name {
				continue
			}
			i := slices.IndexFunc(of, func(g []instance) bool { return g[0].goal == m.goal && m.goal != goal{} })
			if i < 0 {
				of = append(of, []instance{m})
				continue
			}
			of[i] = append(of[i], m)
		}
		slices.SortStableFunc(of, func(a, b []instance) int { return int(b[0].Params - a[0].Params) })
		out = append(out, of...)
	}
	return out
}

// entry sums up the models of a row and target.
func (s *study) entry(models []instance) Entry {
	e := Entry{Row: models[0].Row, Flags: models[0].Flags, Target: models[0].Target, LatencyTarget: models[0].LatencyTarget}
	var params, compression []float64
	var before, after []*Quality
	for _, m := range models {
		r := ModelResult{Seed: m.Seed, ID: m.ID, Dir: m.Dir, Params: m.Params, Path: m.Path, Layers: m.Layers, Before: s.quality(m.ID, "", 0)}
		if s.Recover {
			r.After = s.quality(m.ID, s.recipe, m.Seed)
		}
		e.Models = append(e.Models, r)
		params, compression = append(params, float64(m.Params)), append(compression, m.Compression)
		before, after = append(before, r.Before), append(after, r.After)
	}
	e.Params, e.Compression = stat(params), stat(compression)
	e.Label = e.name()
	e.Before, e.After = summary(before), summary(after)
	e.Latency = s.latencyResult(models, e.Compression.Mean)
	return e
}

// latencyResult is of all models, nil if one was not measured.
func (s *study) latencyResult(models []instance, compression float64) *LatencyResult {
	var e2e, ttft, share []float64
	l := &LatencyResult{}
	for i, m := range models {
		row, dense := s.latencyOf(m.Shape)
		if row == nil {
			return nil
		}
		e2e, ttft, share = append(e2e, row.E2E.Median), append(ttft, row.TTFT), append(share, row.E2E.Median/dense.E2E.Median)
		if i == 0 {
			l.SD, l.ITL, l.Speedup = row.E2E.SD, row.ITL, row.Speedup
		}
	}
	l.E2E, l.TTFT, l.Share = stat(e2e).Mean, stat(ttft).Mean, stat(share).Mean
	if len(models) > 1 {
		l.Speedup.Median = 1 / l.Share
		l.SD = stat(e2e).SD
		if sd := stat(share).SD; *sd > 0 {
			l.ShareSD, l.Speedup.Lo, l.Speedup.Hi = sd, nil, nil // these were of the first model
		}
	}
	if compression > 0 {
		gain := (1 - l.Share) / compression
		l.Gain = &gain
	}
	return l
}

func stat(x []float64) Stat {
	mean, _ := stats.Mean(x)
	s := Stat{Mean: mean}
	if len(x) > 1 {
		sd, _ := stats.StandardDeviationSample(x)
		s.SD = &sd
	}
	return s
}

// summary is of the qualities of all seeds, nil if one is missing.
func summary(list []*Quality) *Summary {
	if slices.Contains(list, nil) {
		return nil
	}
	s := &Summary{Tasks: map[string]Stat{}, Acc: map[string]Stat{}, Stderr: map[string]float64{}}
	var ppl, kl, average []float64
	for _, q := range list {
		if q.Perplexity != nil {
			ppl = append(ppl, q.Perplexity.PPL)
		}
		if q.KL != nil {
			kl = append(kl, q.KL.Mean)
		}
		if q.Average != nil {
			average = append(average, q.Average.Norm)
			s.MeanAcc += q.Average.Acc / float64(len(list))
		}
	}
	if len(ppl) > 0 {
		x := stat(ppl)
		s.PPL = &x
	}
	if len(kl) > 0 {
		x := stat(kl)
		s.KL = &x
	}
	if len(average) == 0 {
		return s
	}
	x := stat(average)
	s.Average = &x
	variance := 0.0
	for task := range list[0].Tasks {
		var acc, norm []float64
		for _, q := range list {
			f := q.Tasks[task]
			acc = append(acc, f.Acc)
			n, stderr := f.Acc, f.AccStderr
			if f.Norm != nil {
				n, stderr = *f.Norm, f.NormStderr
			}
			norm = append(norm, n)
			if stderr != nil {
				s.Stderr[task] = *stderr
			}
		}
		s.Acc[task], s.Tasks[task] = stat(acc), stat(norm)
		variance += s.Stderr[task] * s.Stderr[task]
	}
	s.Error = math.Sqrt(variance) / float64(len(list[0].Tasks))
	return s
}
