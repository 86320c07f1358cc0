package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"mop/bench/study"
)

// A row's own flags override those of all rows, and a method that does not use one of them
// does without it.
func TestStudyRows(t *testing.T) {
	o := &options{}
	c := compareCommand(o)
	c.SetArgs(nil)
	if err := c.ParseFlags([]string{"--prompts=5", "--calibration=all.json", "--windows=3"}); err != nil {
		t.Fatal(err)
	}
	rows, err := studyRows(c, o, filepath.Join("..", "..", "bench", "demo", "model"), "depth,mop",
		[]string{"ours=--method wanda-sp --refit --calibration 'own text.json'"}, []string{"found=x,other=y", "found=z"})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 5 {
		t.Fatalf("want 5 rows, got %+v", rows)
	}
	if r := rows[0]; r.Name != "depth" || r.Prune.Method != "depth" || r.Prune.Criterion != "" || r.Flags != "--calibration=all.json --prompts=5 --windows=3 --method=depth" {
		t.Errorf("depth: got %q: %+v", r.Flags, r.Prune)
	}
	if r := rows[1].Prune; r.Method != "mop" || r.Criterion != "kl" || r.Windows != 3 || r.Prompts != 5 {
		t.Errorf("mop: got %+v", r)
	}
	if r := rows[2].Prune; r.Method != "wanda-sp" || !r.Refit || r.Calibration != "own text.json" || r.Prompts != 5 {
		t.Errorf("ours: got %+v", r)
	}
	if r := rows[3]; r.Name != "found" || len(r.Models) != 2 || r.Models[1] != "z" || rows[4].Name != "other" {
		t.Errorf("finished models: got %+v", rows[3:])
	}
}

// Windows 0 are those of the method, as the help says.
func TestWindowsOfTheMethod(t *testing.T) {
	for name, want := range map[string]int{"mop": 32, "sleb": 8, "depth": 1} {
		for _, flags := range [][]string{nil, {"--windows=0"}} {
			p, err := pruneOptions(&options{}, filepath.Join("..", "..", "bench", "demo", "model"), append(methodFlags(name), flags...))
			if err != nil || p.Windows != want {
				t.Errorf("%s %v: want %d windows, got %d, %v", name, flags, want, p.Windows, err)
			}
		}
	}
}

func TestStudyRowsRefused(t *testing.T) {
	o := &options{}
	model := filepath.Join("..", "..", "bench", "demo", "model")
	for _, c := range []struct {
		methods    string
		rows, dirs []string
	}{
		{methods: "mopp"},
		{rows: []string{"no flags"}},
		{rows: []string{"x=--no-such-flag 1"}},
		{rows: []string{"x='open"}},
		{rows: []string{"x=--method magnitude; --refit"}},
		{rows: []string{"x=--method magnitude > file"}},
		{rows: []string{"x=--method magnitude --help"}},
		{rows: []string{"x=--recover rows.json"}},
		{rows: []string{"x=--target-latency 0.7"}},
		{rows: []string{"x=--targets 0.5"}},
		{rows: []string{"x=--plan plan.json"}},
		{rows: []string{"x=--out elsewhere"}},
		{dirs: []string{"none=" + filepath.Join(t.TempDir(), "*")}},
		{dirs: []string{"pattern=[x"}},
		{dirs: []string{"only-a-name"}},
	} {
		_, err := studyRows(compareCommand(o), o, model, c.methods, c.rows, c.dirs)
		if err == nil {
			var none []study.Row
			t.Errorf("%+v: want an error, got none and %v", c, none)
		}
	}
}

// A pattern stands for the models among what it matches.
func TestModelPatterns(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"0.70-seed2", "0.70-seed1", "0.80-seed1"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "config.json"), nil, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "0.70-seed1.log"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	rows, err := studyRows(compareCommand(&options{}), &options{}, dir, "", nil, []string{"search=" + filepath.Join(dir, "0.70-seed*") + ",other=x"})
	if want := []string{filepath.Join(dir, "0.70-seed1"), filepath.Join(dir, "0.70-seed2")}; err != nil || len(rows) != 2 || !slices.Equal(rows[0].Models, want) {
		t.Errorf("want %v and another row, got %+v, %v", want, rows, err)
	}
}
