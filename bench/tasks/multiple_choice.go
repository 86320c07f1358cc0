package tasks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"mop/bench/tasks/zeroshot"
)

// multipleChoice is the accuracy on tasks of questions with choices.
type multipleChoice struct {
	names string
	o     zeroshot.Options
}

func (*multipleChoice) Name() string    { return "tasks" }
func (*multipleChoice) Usage() string   { return "--model DIR --tasks NAMES --data DIR" }
func (*multipleChoice) Summary() string { return "Accuracy on multiple-choice tasks, zero-shot" }
func (*multipleChoice) Example() string {
	return "  mop eval tasks --model ./model --tasks piqa,hellaswag,winogrande,arc_easy,arc_challenge --data ./zero-shot\n" +
		"  mop eval tasks --model ./model --tasks arc_easy --data ./zero-shot --limit 200 --log answers.jsonl --json"
}

func (t *multipleChoice) Flags(f *pflag.FlagSet) {
	f.StringVar(&t.names, "tasks", "", "tasks with commas between them: "+strings.Join(zeroshot.Names(), ", "))
	f.StringVar(&t.o.Data, "data", "", "folder of the tasks' files (official or hub JSON lines, llm-foundry's, llama.cpp's hellaswag, sample logs of lm-evaluation-harness), told apart by content")
	f.StringVar(&t.o.Tokenizer, "tokenizer", "", "directory of the tokenizer, for a model without one such as preset:NAME; default: the model's")
	f.IntVar(&t.o.Limit, "limit", 0, "only so many questions of each task; 0 = all")
	f.StringVar(&t.o.BOS, "bos", "auto", "whether contexts begin with BOS: on, off, or auto: as the tokenizer does it with texts")
	f.StringVar(&t.o.Log, "log", "", "file for one row of JSON per question: the choices' log-likelihoods and token counts")
	f.BoolVar(&t.o.Resume, "resume", false, "continue the log of a run that was stopped, or of one with a lower limit")
}

func (*multipleChoice) Required() []string { return []string{"tasks", "data"} }

func (t *multipleChoice) Check() (err error) {
	if t.o.Tasks, err = zeroshot.Parse(t.names); err != nil {
		return fmt.Errorf("--tasks: %w", err)
	}
	if t.o.Limit < 0 {
		return fmt.Errorf("--limit: want 0 or more, got %d", t.o.Limit)
	}
	if !slices.Contains(zeroshot.BOSStates, t.o.BOS) {
		return fmt.Errorf("--bos: want one of %s, got %q", strings.Join(zeroshot.BOSStates, ", "), t.o.BOS)
	}
	if t.o.Resume && t.o.Log == "" {
		return fmt.Errorf("--resume: want the log that is continued: --log FILE")
	}
	return nil
}

func (t *multipleChoice) Run(ctx context.Context, in Input) (Result, error) {
	o := t.o
	o.Progress = in.Progress
	return zeroshot.Run(ctx, in.Model, o)
}
