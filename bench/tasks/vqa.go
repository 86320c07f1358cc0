package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"mop/bench/vqa"
	"mop/internal/build"
	"mop/runtime/generate"
	"mop/runtime/kvcache"
	"mop/runtime/model"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
	"mop/runtime/vision"
)

// visualQA asks a LLaVA the questions of a benchmark about images, or scores the answers
// that another program wrote.
type visualQA struct {
	task, questions, images, annotations string
	answers, scoreOnly, log              string
	limit                                int
}

func (*visualQA) Name() string  { return "vqa" }
func (*visualQA) Usage() string { return "--task NAME --model DIR --questions FILE --images DIR" }
func (*visualQA) Summary() string {
	return "Questions about images: " + strings.Join(vqa.Names(), ", ")
}
func (*visualQA) Example() string {
	return "  mop eval vqa --task scienceqa --model ./llava --questions problems.json --images ./images --annotations problems.json --answers answers.jsonl\n" +
		"  mop eval vqa --task pope --questions coco_pope_random.json --score-only answers.jsonl --json --log rows.jsonl"
}

func (v *visualQA) Flags(f *pflag.FlagSet) {
	f.StringVar(&v.task, "task", "", "benchmark: "+strings.Join(vqa.Names(), ", "))
	f.StringVar(&v.questions, "questions", "", "the benchmark's questions, in its own format or in LLaVA's")
	f.StringVar(&v.images, "images", "", "folder of the images")
	f.StringVar(&v.annotations, "annotations", "", "the benchmark's file with the right answers; without it nothing is scored unless the questions have them")
	f.StringVar(&v.answers, "answers", "", "write the answers to this file, as the benchmark's own scorer takes them")
	f.StringVar(&v.scoreOnly, "score-only", "", "score the answers of this file; no model runs")
	f.StringVar(&v.log, "log", "", "write a JSON line for each question to this file")
	f.IntVar(&v.limit, "limit", 0, "only the first questions, 0 = all")
}

func (*visualQA) Required() []string { return []string{"task"} }

// NeedsModel reports whether a model runs.
func (v *visualQA) NeedsModel() bool { return v.scoreOnly == "" }

// Check refuses flags that do not go together.
func (v *visualQA) Check() error {
	switch {
	case v.task != "" && !slices.Contains(vqa.Names(), v.task):
		return fmt.Errorf("--task: want one of %s, got %q", strings.Join(vqa.Names(), ", "), v.task)
	case v.limit < 0:
		return fmt.Errorf("--limit: want 0 or more, got %d", v.limit)
	case v.scoreOnly != "" && (v.answers != "" || v.images != "" || v.limit > 0):
		return errors.New("--score-only runs no model: it excludes --answers, --images and --limit")
	case v.scoreOnly == "" && v.questions == "":
		return errors.New("--questions is required, or --score-only")
	case v.scoreOnly == "" && v.images == "":
		return errors.New("--images is required: the folder of the images")
	}
	return nil
}

// vqaResult is a score with the commit that computed it.
type vqaResult struct{ *vqa.Result }

func (r vqaResult) MarshalJSON() ([]byte, error) {
	data, err := r.Result.MarshalJSON()
	if err != nil {
		return nil, err
	}
	commit, err := json.Marshal(build.Commit())
	return fmt.Appendf(data[:len(data)-1], `,"commit":%s}`, commit), err
}

func (v *visualQA) Run(ctx context.Context, in Input) (Result, error) {
	set, err := vqa.Open(v.task, v.questions, v.annotations)
	if err != nil {
		return nil, err
	}
	if v.limit > 0 {
		set.Questions = set.Questions[:min(v.limit, len(set.Questions))]
	}
	var r *vqa.Result
	var rows []vqa.Row
	if v.scoreOnly != "" {
		if r, rows, err = set.ScoreFile(v.scoreOnly); err != nil {
			return nil, err
		}
	} else {
		texts, err := v.ask(ctx, in, set)
		if err != nil {
			return nil, v.keep(set, texts, in.Model.Name, err)
		}
		r, rows = set.Score(texts)
		if v.answers != "" {
			if err := set.WriteAnswers(v.answers, texts, filepath.Base(in.Model.Name)); err != nil {
				return nil, err
			}
		}
	}
	if v.log != "" {
		if err := vqa.WriteLog(v.log, rows); err != nil {
			return nil, err
		}
	}
	return vqaResult{r}, nil
}

// keep writes the answers of a run that was stopped beside the file of all answers.
func (v *visualQA) keep(set *vqa.Set, texts []string, model string, err error) error {
	if v.answers == "" || len(texts) == 0 {
		return err
	}
	path := v.answers + ".partial"
	if failed := set.WriteAnswers(path, texts, filepath.Base(model)); failed != nil {
		return errors.Join(err, failed)
	}
	return fmt.Errorf("%w; the first %d answers are in %s", err, len(texts), path)
}

// imageOf is the path of a question's image, "" where it has none.
func (v *visualQA) imageOf(q *vqa.Question) (string, error) {
	if q.Image == nil {
		return "", nil
	}
	for _, name := range q.Image {
		path := filepath.Join(v.images, filepath.FromSlash(name))
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("question %s: no image %s in %s", q.ID, strings.Join(q.Image, " or "), v.images)
}

// ask answers all questions by greedy decoding. With an error it returns the answers so
// far.
func (v *visualQA) ask(ctx context.Context, in Input, set *vqa.Set) (texts []string, err error) {
	paths := make([]string, len(set.Questions))
	for i, q := range set.Questions { // before hours of answers
		if paths[i], err = v.imageOf(q); err != nil {
			return nil, err
		}
	}
	m := in.Model
	l, err := vision.OpenLLaVA(m.Device(), m.Name, m.Source)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	tok, err := tokenizer.Open(m.Name)
	if err != nil {
		return nil, err
	}
	a := &answerer{m: m, l: l, tok: tok, maxTokens: set.MaxTokens}
	defer a.close()
	count := in.Progress.Counter(0, "questions", len(set.Questions))
	for i, q := range set.Questions {
		text, err := a.answer(ctx, q.Prompt, paths[i])
		if err != nil {
			return texts, fmt.Errorf("question %s: %w", q.ID, m.Wrap(err))
		}
		texts = append(texts, text)
		count()
	}
	return texts, nil
}

// answerer answers questions one by one and keeps its KV cache.
type answerer struct {
	m         *open.Model
	l         *vision.LLaVA
	tok       *tokenizer.Tokenizer
	maxTokens int
	cache     *kvcache.Cache
}

func (a *answerer) close() {
	if a.cache != nil {
		a.cache.Close()
	}
}

func (a *answerer) answer(ctx context.Context, prompt, image string) (string, error) {
	var pictures []*vision.Picture
	if image != "" {
		p, err := vision.ReadPicture(image)
		if err != nil {
			return "", err
		}
		pictures = append(pictures, p)
	}
	in, err := a.l.Ask(prompt, pictures)
	if err != nil {
		return "", err
	}
	positions := min(len(in.Tokens)+a.maxTokens, a.m.Config.MaxPositions)
	if a.cache == nil || a.cache.MaxPositions < positions {
		a.close()
		if a.cache, err = open.Cache(a.m.Device(), a.m.Config, 1, positions); err != nil {
			return "", err
		}
	}
	var tokens []int
	o := generate.Options{MaxTokens: min(a.maxTokens, positions-len(in.Tokens)+1), Embeddings: [][]model.Embeddings{in.Embeddings}}
	if err := generate.Run(ctx, a.m.Model, a.cache, [][]int{in.Tokens}, o, func(_, next []int) []int {
		if a.tok.Has(next[0]) {
			tokens = append(tokens, next[0])
		}
		return nil
	}); err != nil {
		return "", err
	}
	text, err := a.tok.Decode(tokens)
	return strings.TrimSpace(strings.ToValidUTF8(string(text), "\uFFFD")), err
}
