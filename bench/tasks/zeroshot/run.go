package zeroshot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"mop/internal/build"
	"mop/internal/files"
	"mop/internal/progress"
	"mop/runtime/checkpoint"
	"mop/runtime/metric"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
)

// Options of a run.
type Options struct {
	Tasks     []Task
	Data      string // folder or file
	Tokenizer string // directory of it; "" = the model's
	Limit     int    // questions of each task; 0 = all
	BOS       string // auto, on or off
	Log       string // file of the answers; "" = none
	Resume    bool   // continue the log
	Progress  progress.Func
}

// BOSStates are the values of Options.BOS.
var BOSStates = []string{"auto", "on", "off"}

// Run scores a model on the tasks. All data is read, and all of it tokenised, before the
// first question is answered.
func Run(ctx context.Context, m *open.Model, o Options) (result *Result, err error) {
	data, err := Load(o.Data, o.Tasks, o.Limit)
	if err != nil {
		return nil, err
	}
	e, err := newEncoder(m, cmp.Or(o.Tokenizer, m.Name), o.BOS)
	if err != nil {
		return nil, err
	}
	var requests [][][]metric.Continuation
	for i, d := range data {
		list, err := e.questions(d)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", d.Path, o.Tasks[i].Name, err)
		}
		requests = append(requests, list)
	}
	if e.cut > 0 {
		slog.Warn("contexts longer than the model's are cut on the left", "choices", e.cut, "context", e.limit)
	}
	l, err := openLog(o.Log, o.Resume)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	weights, vocabulary := "", ""
	if l != nil {
		if weights, err = checkpoint.Checksum(m.Source); err != nil {
			return nil, err
		}
		if vocabulary, err = files.Sum(e.tokenizer.File()); err != nil {
			return nil, err
		}
	}
	result = &Result{Model: m.Name, BOS: e.state(), Limit: o.Limit, Tasks: map[string]Figures{}, Commit: build.Commit()}
	for i, t := range o.Tasks {
		s := scorer{task: t, data: data[i], requests: requests[i], log: l, run: runKey(weights, vocabulary, e, data[i])}
		records, err := s.score(ctx, m, o.Progress)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		f, err := figures(data[i], t.Norm, records)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		result.add(t.Name, f)
	}
	return result, nil
}

// runKey identifies what an answer depends on. weights and tokenizer are checksums.
func runKey(weights, tokenizer string, e *encoder, d Data) string {
	text := strings.Join([]string{weights, tokenizer, fmt.Sprint(e.bos), fmt.Sprint(e.limit), d.Checksum, d.Format}, "\n")
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:16]
}

// newEncoder opens the tokenizer of a directory. With auto, contexts begin with BOS if the
// tokenizer adds it to texts, as they do in the harness.
func newEncoder(m *open.Model, dir, bos string) (*encoder, error) {
	t, err := tokenizer.Open(dir)
	if err != nil {
		return nil, err
	}
	if n := t.Vocab(); dir != m.Name && n > m.Config.VocabSize {
		return nil, fmt.Errorf("%s: its tokenizer has %d tokens, want at most the model's %d", dir, n, m.Config.VocabSize)
	}
	e := &encoder{tokenizer: t, limit: m.Config.MaxPositions}
	id := t.BOS()
	if id < 0 && bos == "on" {
		if id = m.Config.BOS; id < 0 {
			return nil, fmt.Errorf("%s: --bos on: neither its tokenizer nor its config.json has a BOS token", m.Name)
		}
	}
	if id >= 0 && bos != "off" {
		e.bos = []int{id}
	}
	return e, nil
}

// state is on or off.
func (e *encoder) state() string {
	if len(e.bos) > 0 {
		return "on"
	}
	return "off"
}

// questions tokenises a task's questions.
func (e *encoder) questions(d Data) ([][]metric.Continuation, error) {
	var out [][]metric.Continuation
	for i, q := range d.Questions {
		list, err := e.question(q)
		if err != nil {
			return nil, fmt.Errorf("question %d: %w", i+1, err)
		}
		out = append(out, list)
	}
	return out, nil
}

// scorer answers the questions of one task.
type scorer struct {
	task     Task
	data     Data
	requests [][]metric.Continuation
	log      *log
	run      string
}

// score returns the answers in the order of the questions. Those that the log has already
// are not computed again.
func (s *scorer) score(ctx context.Context, m *open.Model, p progress.Func) ([]Record, error) {
	done, err := s.log.answered(s.task.Name, s.run)
	if err != nil {
		return nil, err
	}
	records := make([]Record, len(s.requests))
	var missing []int
	var requests [][]metric.Continuation
	tick := p.Counter(0, s.task.Name, len(s.requests))
	for i, r := range s.requests {
		if old, ok := done[i]; ok {
			if len(old.Sums) != len(r) || (old.Norm != nil) != s.task.Norm {
				return nil, fmt.Errorf("%s: question %d: its answer was changed after it was written: give another name", s.log.file.Name(), i)
			}
			records[i] = old
			tick()
			continue
		}
		missing, requests = append(missing, i), append(requests, r)
	}
	err = metric.Choices(ctx, m.Model, requests, func(at int, sums []float64) error {
		i := missing[at]
		for _, sum := range sums {
			if math.IsNaN(sum) || math.IsInf(sum, 0) {
				return fmt.Errorf("question %d: the log-likelihoods are not finite: %v", i, sums)
			}
		}
		records[i] = s.record(i, sums)
		tick()
		return s.log.write(records[i])
	})
	return records, m.Wrap(err)
}

func (s *scorer) record(i int, sums []float64) Record {
	q := s.data.Questions[i]
	r := Record{Run: s.run, Task: s.task.Name, Question: i, Gold: q.Gold, Sums: sums}
	normed := slices.Clone(sums)
	for c := range sums {
		n := utf8.RuneCountInString(q.Choices[c].Text)
		r.Tokens, r.Characters = append(r.Tokens, len(s.requests[i][c].Tokens)), append(r.Characters, n)
		normed[c] /= float64(n)
	}
	r.Acc = right(sums, q.Gold)
	if s.task.Norm {
		n := right(normed, q.Gold)
		r.Norm = &n
	}
	return r
}

// right is 1 if the largest of the scores, the first among equals, is the gold one.
func right(scores []float64, gold int) int {
	best := 0
	for i, x := range scores {
		if x > scores[best] {
			best = i
		}
	}
	if best == gold {
		return 1
	}
	return 0
}
