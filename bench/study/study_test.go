package study

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mop/bench/demo"
	"mop/bench/latency"
	"mop/bench/tasks/zeroshot"
	"mop/internal/progress"
	"mop/internal/testutil"
	"mop/prune"
	"mop/runtime/device"
	"mop/runtime/open"
)

// demoStudy is a small study of the demo's model in a directory: three methods that end in
// three models, and one that ends in the model of another.
func demoStudy(t *testing.T, dir, out string) Options {
	t.Helper()
	model, text, err := demo.Unpack(dir)
	if err != nil {
		t.Fatal(err)
	}
	row := func(name string, change func(*prune.Options)) Row {
		o := prune.Options{Method: name, Calibration: filepath.Join(text, "calibration.jsonl"), Prompts: 4, Windows: 2, Context: 32,
			Text: filepath.Join(text, "windows.txt"), Separator: demo.Separator}
		if change != nil {
			change(&o)
		}
		return Row{Name: name, Flags: "--method=" + name, Prune: o}
	}
	again := row("magnitude", nil)
	again.Name = "magnitude again"
	o := Defaults()
	o.Model, o.Out, o.Targets = model, out, []float64{0.2}
	o.Rows = []Row{row("depth", nil), row("magnitude", nil), again, row("random", nil)}
	o.Text, o.Separator, o.Windows, o.Context = filepath.Join(text, "evaluation.txt"), demo.Separator, 2, 64
	o.KL = true
	o.Tasks, o.Data, o.Limit = tasks(t), questions(t, dir, text), 4
	o.Recover = true
	o.Recipe.Data, o.Recipe.Separator, o.Recipe.Steps, o.Recipe.Batch, o.Recipe.MaxLength = filepath.Join(text, "recovery.txt"), demo.Separator, 2, 2, 32
	o.Protocol = latency.Protocol{In: 4, Out: 3, Batch: 1, Runs: 3, Discard: 1}
	o.OpenDevice = func() (device.Device, error) { return open.Trainer(open.DeviceOptions{}) }
	return o
}

// questions are those of the demo as a file of a task.
func questions(t *testing.T, dir, text string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(text, "questions.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "arc_easy.jsonl")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func tasks(t *testing.T) []zeroshot.Task {
	t.Helper()
	list, err := zeroshot.Parse("arc_easy")
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func mustRun(t *testing.T, o Options) *Result {
	t.Helper()
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// evaluations counts the perplexities and trainings of a run.
func evaluations(o *Options) map[string]bool {
	seen := map[string]bool{}
	o.Progress = func(u progress.Update) { seen[u.Phase] = true }
	return seen
}

// A study prunes, evaluates, trains and measures every row; equal models are evaluated once,
// and equal shapes are measured once. The same options do nothing again; other rows, seeds
// and targets are added, and other settings are refused.
func TestStudy(t *testing.T) {
	dir := t.TempDir()
	o := demoStudy(t, filepath.Join(dir, "demo"), filepath.Join(dir, "out"))
	r := mustRun(t, o)
	if len(r.Rows) != 5 || r.Rows[0].Row != "dense" {
		t.Fatalf("want the dense model and 4 rows, got %+v", r.Rows)
	}
	for i, e := range r.Rows {
		if e.Before == nil || e.Before.PPL == nil || e.Before.Average == nil || e.After == nil || e.Latency == nil {
			t.Fatalf("%s: want quality before and after, and a latency, got %+v", e.Row, e)
		}
		if before, after := e.Before.KL, e.After.KL; before == nil || after == nil || (before.Mean == 0) != (i == 0) || after.Mean <= 0 {
			t.Errorf("%s: want the KL divergence 0 of the dense model, and more of all others, got %+v and %+v", e.Row, before, after)
		}
		if i > 0 && (e.Compression.Mean < 0.15 || e.Compression.Mean > 0.25) {
			t.Errorf("%s: want 0.2 smaller, got %v", e.Row, e.Compression.Mean)
		}
	}
	if a, b := r.Rows[2], r.Rows[3]; a.Models[0].ID != b.Models[0].ID || a.Before.PPL.Mean != b.Before.PPL.Mean || a.After.PPL.Mean != b.After.PPL.Mean {
		t.Errorf("the same method twice: want the same model and figures, got %+v and %+v", a.Models[0], b.Models[0])
	}
	cells := readCells(t, o.Out)
	count := func(is func(cell) bool) (n int) {
		for _, c := range cells {
			if is(c) {
				n++
			}
		}
		return n
	}
	for what, got := range map[string][2]int{
		"pruned":            {4, count(func(c cell) bool { return c.Pruned != nil })},
		"as pruned":         {4, count(func(c cell) bool { return c.Quality != nil && c.Quality.Recovery == "" })},
		"trained":           {4, count(func(c cell) bool { return c.Quality != nil && c.Quality.Recovery != "" })},
		"latencies":         {1, count(func(c cell) bool { return c.Latency != nil })},
		"models in latency": {3, len(cells[len(cells)-1].Latency.Rows)}, // magnitude and random keep as many heads and neurons
	} {
		if got[0] != got[1] {
			t.Errorf("%s: want %d, got %d", what, got[0], got[1])
		}
	}
	checkReport(t, o.Out, r)

	seen := evaluations(&o)
	if again := mustRun(t, o); len(seen) > 0 || len(readCells(t, o.Out)) != len(cells) {
		t.Errorf("the same study again: want nothing computed, got %v", seen)
	} else if a, b := again.Markdown(), r.Markdown(); a != b {
		t.Errorf("want the same report, got %s and %s", a, b)
	}
	more := o
	more.Seeds = 2
	r = mustRun(t, more)
	if e := r.Rows[4]; len(e.Models) != 2 || e.Models[0].ID == e.Models[1].ID || e.Before.PPL.SD == nil {
		t.Errorf("random with two seeds: want two models, got %+v", e)
	}
	if e := r.Rows[1]; len(e.Models) != 2 || e.Models[0].ID != e.Models[1].ID || *e.Before.PPL.SD != 0 {
		t.Errorf("depth does not depend on the seed: want one model, got %+v", e)
	}
	given := o
	given.Rows = append(slices.Clone(o.Rows), Row{Name: "given", Flags: "finished models", Models: []string{r.Rows[1].Models[0].Dir}})
	r = mustRun(t, given)
	if e := r.Rows[5]; e.Target != 0.2 || e.Models[0].ID != r.Rows[1].Models[0].ID || e.Before.PPL.Mean != r.Rows[1].Before.PPL.Mean {
		t.Errorf("a finished model: want the figures of the row that pruned it, got %+v", e)
	}
	for want, change := range map[string]func(*Options){
		"its limit is": func(o *Options) { o.Limit = 3 },
		"row depth was pruned by \"--method=depth\", got \"--other\"": func(o *Options) { o.Rows = slices.Clone(o.Rows); o.Rows[0].Flags = "--other" },
		"models were trained by": func(o *Options) { o.Recipe.Steps = 3 },
		"its windows is":         func(o *Options) { o.Context = 32 },
		"has more settings":      func(o *Options) { o.KL = false },
	} {
		wrong := o
		change(&wrong)
		_, err := Run(context.Background(), wrong)
		testutil.CheckError(t, "another study in the same directory", err, want, "give", "another --out")
	}
}

func readCells(t *testing.T, out string) []cell {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, cellsFile))
	if err != nil {
		t.Fatal(err)
	}
	var cells []cell
	for _, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n"))[1:] {
		var c cell
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		cells = append(cells, c)
	}
	return cells
}

// checkReport checks that all forms of a report are there and agree.
func checkReport(t *testing.T, out string, r *Result) {
	t.Helper()
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	lines, err := csv.NewReader(strings.NewReader(read("study.csv"))).ReadAll()
	if err != nil || len(lines) != len(r.Rows)+1 {
		t.Errorf("csv: want %d lines, got %d, %v", len(r.Rows)+1, len(lines), err)
	}
	var stored Result
	if err := json.Unmarshal([]byte(read("study.json")), &stored); err != nil || len(stored.Rows) != len(r.Rows) {
		t.Errorf("json: %v", err)
	}
	md, html := read("report.md"), read("report.html")
	for _, e := range r.Rows {
		if !strings.Contains(md, "| "+e.Row) || !strings.Contains(html, e.Row) {
			t.Errorf("%s is missing in report.md or report.html", e.Row)
		}
	}
	for _, outside := range []string{"src=", "href=", "@import", "url(", "fetch("} {
		if strings.Contains(html, outside) {
			t.Errorf("report.html refers to something outside of it: %s", outside)
		}
	}
}

// TestChild is the study that TestKilled starts as a child process. Its output directory
// follows --.
func TestChild(t *testing.T) {
	if flag.NArg() != 2 || flag.Arg(0) != "killed" {
		t.Skip("runs in a process of its own, for TestKilled")
	}
	mustRun(t, killedStudy(t, flag.Arg(1)))
}

// killedStudy has no latency, which is different each time.
func killedStudy(t *testing.T, out string) Options {
	o := demoStudy(t, filepath.Join(filepath.Dir(out), "demo"), out)
	o.Latency, o.Rows = false, o.Rows[:2]
	return o
}

// A study that is killed at random moments and started again each time ends with the same
// figures and models as an undisturbed one, and leaves nothing else behind.
func TestKilled(t *testing.T) {
	straight, disturbed := testutil.KillRepeatedly(t, "killed")
	want, got := testutil.ReadTree(t, straight), testutil.ReadTree(t, disturbed)
	for name := range want {
		if name == cellsFile || strings.HasPrefix(name, "report.") || name == "study.json" {
			continue // they hold times and directories
		}
		if want[name] != got[name] {
			t.Errorf("%s differs", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("left behind: %s", name)
		}
	}
	a, b := readCells(t, straight), readCells(t, disturbed)
	if len(a) != len(b) {
		t.Fatalf("want %d cells, got %d", len(a), len(b))
	}
}

func TestOptionsAreChecked(t *testing.T) {
	dir := t.TempDir()
	for want, change := range map[string]func(*Options){
		"rows: depth is there twice":            func(o *Options) { o.Rows[1].Name = "depth" },
		"rows: dense is there twice":            func(o *Options) { o.Rows[1].Name = "dense" },
		"rows: want a name of at most 80":       func(o *Options) { o.Rows[1].Name = "../x" },
		"rows: want at least one":               func(o *Options) { o.Rows = nil },
		"seeds: want 1 to 100, got 0":           func(o *Options) { o.Seeds = 0 },
		"limit: want 0 or more, got -1":         func(o *Options) { o.Limit = -1 },
		"bos: want one of auto, on, off":        func(o *Options) { o.BOS = "maybe" },
		"data: want the folder":                 func(o *Options) { o.Data = "" },
		"want tasks, or a text":                 func(o *Options) { o.Tasks, o.Text = nil, "" },
		"KL divergence: want a text for it":     func(o *Options) { o.Text = "" },
		"group: want at least 2 models":         func(o *Options) { o.Group = 1 },
		"perplexity: want 0 or more windows":    func(o *Options) { o.Context = 1 },
		"recovery: batch: want 1 to":            func(o *Options) { o.Recipe.Batch = 0 },
		"bench: runs: want at least 1, got 0":   func(o *Options) { o.Protocol.Runs = 0 },
		"out: " + dir + "/demo/model/x lies in": func(o *Options) { o.Out = filepath.Join(dir, "demo/model/x") },
		"given: " + dir + "/demo/text/../model is there twice": func(o *Options) {
			o.Rows = append(o.Rows, Row{Name: "given", Models: []string{o.Model, dir + "/demo/text/../model"}})
		},
		"no such file or directory": func(o *Options) { o.Rows = append(o.Rows, Row{Name: "given", Models: []string{"missing"}}) },
	} {
		o := demoStudy(t, filepath.Join(dir, "demo"), filepath.Join(dir, "out"))
		change(&o)
		_, err := Run(context.Background(), o)
		testutil.CheckError(t, want, err, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
		t.Error("wrong options have made the directory")
	}
}

// Rows that cannot be pruned, and models that cannot be read or are of another tokenizer, are found
// before anything is evaluated.
func TestRowsAreCheckedFirst(t *testing.T) {
	dir := t.TempDir()
	given := func(name string, damage func(dir string) error) func(*Options) {
		return func(o *Options) {
			model := filepath.Join(dir, name)
			if err := os.CopyFS(model, os.DirFS(o.Model)); err != nil {
				t.Fatal(err)
			}
			if err := damage(model); err != nil {
				t.Fatal(err)
			}
			o.Rows = append(o.Rows, Row{Name: "given", Models: []string{model}})
		}
	}
	for want, change := range map[string]func(*Options){
		"magnitude: prompts: want at least 1": func(o *Options) { o.Rows[1].Prune.Prompts = -1 },
		"depth: target 0.99: beyond reach":    func(o *Options) { o.Targets = []float64{0.99} },
		"magnitude: stat missing.jsonl":       func(o *Options) { o.Rows[1].Prune.Method, o.Rows[1].Prune.Calibration = "wanda-sp", "missing.jsonl" },
		"given: " + dir + "/short/model.safetensors": given("short", func(model string) error {
			return os.Truncate(filepath.Join(model, "model.safetensors"), 100_000)
		}),
		"given: " + dir + "/plan/plan.json": given("plan", func(model string) error {
			return os.WriteFile(filepath.Join(model, "plan.json"), []byte("{"), 0o666)
		}),
		dir + "/words have different tokenizers": given("words", func(model string) error {
			path := filepath.Join(model, "tokenizer.json")
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, []byte(strings.NewReplacer(`"x": 306`, `"x": 307`, `"y": 307`, `"y": 306`).Replace(string(text))), 0o666)
		}),
		"given: " + dir + "/other has a vocabulary of 97, the dense model one of 1024": func(o *Options) {
			o.Rows = append(o.Rows, Row{Name: "given", Models: []string{filepath.Join(dir, "other")}})
		},
	} {
		o := demoStudy(t, filepath.Join(dir, "demo"), filepath.Join(dir, "out"))
		if err := os.CopyFS(filepath.Join(dir, "other"), os.DirFS("../../runtime/model/testdata/mha-f32")); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		change(&o)
		seen := evaluations(&o)
		_, err := Run(context.Background(), o)
		testutil.CheckError(t, want, err, want)
		if len(seen) > 0 {
			t.Errorf("%s: want nothing computed, got %v", want, seen)
		}
	}
}

// A report that no study wrote here is not overwritten.
func TestReportOfAnother(t *testing.T) {
	dir := t.TempDir()
	o := demoStudy(t, filepath.Join(dir, "demo"), dir)
	path := filepath.Join(dir, "report.md")
	if err := os.WriteFile(path, []byte("mine"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := Run(context.Background(), o)
	testutil.CheckError(t, "report.md", err, "it has a report.md but no cells.jsonl of a study")
	if text, _ := os.ReadFile(path); string(text) != "mine" {
		t.Errorf("want the report as it was, got %q", text)
	}
}

// The last finished cell leaves none.
func TestCellsLeft(t *testing.T) {
	var lines bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&lines, nil)))
	defer slog.SetDefault(before)
	dir := t.TempDir()
	o := demoStudy(t, filepath.Join(dir, "demo"), filepath.Join(dir, "out"))
	o.Rows, o.Recover, o.Latency = o.Rows[1:2], false, false
	mustRun(t, o)
	var left []string
	for _, m := range regexp.MustCompile(`cells_left=(\d+)`).FindAllStringSubmatch(lines.String(), -1) {
		left = append(left, m[1])
	}
	if want := []string{"2", "1", "0"}; !slices.Equal(left, want) {
		t.Errorf("want %v left, got %v", want, left)
	}
}
