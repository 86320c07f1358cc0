package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const suiteText = `{"note": "A note.", "comparisons": [{"name": "decode", "sides": [
	{"label": "ours", "command": ["${MOP}", "bench", "--format", "json"], "reads": "mop", "field": "decode_tps", "row": 1},
	{"label": "theirs", "command": ["${LLAMA}", "-o", "jsonl"], "reads": "llama-bench", "per_token": {"read_gbps": 2.5}}],
	"ratios": [{"of": "ours", "to": "theirs", "goal": 1.5},
		{"name": "at most", "of": "ours", "field": "share", "to": "theirs", "to_field": "read_gbps", "goal": 0}], "goals": [{"of": "ours", "field": "share", "goal": 0.85}]}]}`

// fakes answers as the two programs do: pair by pair 20, 30, 40 against 10, 20,
// 50.
func fakes(program string) (execute, *[]string) {
	var log []string
	ours, theirs := []string{"20", "30", "40"}, []string{"10", "20", "50"}
	take := func(x *[]string) string { v := (*x)[0]; *x = (*x)[1:]; return v }
	return func(_ context.Context, command []string) ([]byte, Disturbance, error) {
		var d Disturbance
		log = append(log, strings.Join(command, " "))
		switch command[0] {
		case "/a path/mop":
			if len(ours) == 0 {
				return nil, d, errors.New("gone")
			}
			return []byte(`[{"decode_tps": 1}, {"decode_tps": ` + take(&ours) + `, "share": 0.8, "ttft_ms": 3, "commit": "` + program + `", "itl_ms": null, "speedup": {"median": 2}}]`), d, nil
		case "/b/llama-bench":
			if len(theirs) == 0 {
				return nil, d, errors.New("gone")
			}
			v := take(&theirs)
			return []byte(`{"build_commit": "abc", "n_gen": 32, "samples_ts": [` + v + `, ` + v + `]}` + "\n"), d, nil
		}
		return nil, d, errors.New("no such program: " + command[0])
	}, &log
}

func TestCompare(t *testing.T) {
	dir := t.TempDir()
	suite, out := filepath.Join(dir, "suite.json"), filepath.Join(dir, "results", "decode")
	if err := os.WriteFile(suite, []byte(suiteText), 0o644); err != nil {
		t.Fatal(err)
	}
	do, log := fakes("c0ffee")
	args := []string{"-suite", suite, "-out", out, "-set", "MOP=/a path/mop", "-set", "LLAMA=/b/llama-bench"}
	call := func(do execute, more ...string) error {
		return run(context.Background(), append(args[:len(args):len(args)], more...), do, io.Discard)
	}
	// Two calls add up.
	if err := call(do, "-pairs", "2", "-about", "flags=-march=native"); err != nil {
		t.Fatal(err)
	}
	if err := call(do, "-pairs", "1"); err != nil {
		t.Fatal(err)
	}
	if len(*log) != 6 || !strings.Contains(strings.Join(*log, "\n"), "/a path/mop bench --format json") {
		t.Errorf("want six runs of the expanded commands, got %q", *log)
	}
	data, err := os.ReadFile(out + ".md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"A note.", "- flags: -march=native", "Builds: llama-bench abc, mop c0ffee.",
		"| ours, decode_tps | 30 | 20 to 40 | 3 | `${MOP} bench --format json` |",
		"| theirs, t/s | 20 | 10 to 50 | 3 |",
		// 20/10, 30/20, 40/50
		"| ours / theirs | **1.500** | 0.800 to 2.000 | 3 | >= 1.50 | reached |",
		// 0.8 over 25, 50, 125
		"| at most | **0.016** | 0.006 to 0.032 | 3 | - |",
		"| ours: share | **0.800** | 0.800 to 0.800 | 3 | >= 0.85 | missed by 5.9 % |",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("want %q in\n%s", want, data)
		}
	}
	all, err := os.ReadFile(out + ".json")
	if err != nil || strings.Contains(string(all), "/a path/") || strings.Contains(string(data), "/a path/") {
		t.Errorf("want no path of this machine in the results, %v", err)
	}
	// Another build does not add up with these pairs, and changes nothing.
	other, _ := fakes("decaf")
	if err := call(other, "-pairs", "1"); err == nil || !strings.Contains(err.Error(), "the file has pairs of build c0ffee, got one of decaf") {
		t.Errorf("got %v", err)
	}
	// What was measured before a failure is kept.
	if err := call(do, "-pairs", "1"); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("got %v", err)
	}
	if after, _ := os.ReadFile(out + ".json"); len(after) < len(all) {
		t.Errorf("want the pairs before the failure kept, got %d bytes after %d", len(after), len(all))
	}
	if err := run(context.Background(), args[:4], do, io.Discard); err == nil || !strings.Contains(err.Error(), "is not set") {
		t.Errorf("want an unset name refused, got %v", err)
	}
}

func TestSuitesAreSound(t *testing.T) {
	files, err := filepath.Glob("../*/suite*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, err := loadSuite(f); err != nil {
			t.Error(err)
		}
	}
	for name, change := range map[string][2]string{
		"no such sides":    {`"to": "theirs"`, `"to": "others"`},
		"label of its own": {`"label": "theirs"`, `"label": "ours"`},
		"want mop or":      {`"reads": "llama-bench"`, `"reads": "ollama"`},
		"want one":         {`"field": "decode_tps", `, ``},
		"no such side":     {`"goals": [{"of": "ours"`, `"goals": [{"of": "nobody"`},
		"fields want":      {`"name": "at most", `, ``},
		"unknown field":    {`"note"`, `"nota"`},
	} {
		text := strings.Replace(suiteText, change[0], change[1], 1)
		file := filepath.Join(t.TempDir(), "suite.json")
		if text == suiteText {
			t.Fatalf("%s: nothing changed", name)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := loadSuite(file); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q, got %v", name, err)
		}
	}
}

func TestReadLlamaRefuses(t *testing.T) {
	for _, text := range []string{"", "x", `{"samples_ts":[]}`, `{"samples_ts":[1]}{"samples_ts":[2]}`, `{"samples_ts":[0]}`} {
		if r, err := readLlama([]byte(text)); err == nil {
			t.Errorf("%q: want an error, got %+v", text, r)
		}
	}
}

// A disturbed run takes its pair out of the count, whatever its figure, and
// another is made.
func TestDisturbedPairsAreMadeAgain(t *testing.T) {
	c := Comparison{Name: "x", Sides: []Side{
		{Label: "a", Command: []string{"a"}, Reads: "llama-bench"},
		{Label: "b", Command: []string{"b"}, Reads: "llama-bench"},
	}, Ratios: []Ratio{{Of: "a", To: "b"}}}
	n := 0
	readings, err := measure(context.Background(), c, nil, 0, 3, func(_ context.Context, command []string) ([]byte, Disturbance, error) {
		n++
		d, value := Disturbance{OtherLoad: 0.05, DiskBytes: 256 << 20}, "2"
		switch {
		case command[0] == "b":
			value = "1"
		case n <= 2: // a in the first pair
			d.OtherLoad, value = 0.051, "100"
		case n <= 4: // and in the second
			d.DiskBytes, value = 256<<20+1, "100"
		}
		return []byte(`{"samples_ts": [` + value + `]}`), d, nil
	}, nil)
	if err != nil || len(readings) != 10 {
		t.Fatalf("want five pairs for three calm ones, got %d readings, %v", len(readings), err)
	}
	text := tables(c, readings)
	for _, want := range []string{"2 pairs do not count", "| a / b | **2.000** | 2.000 to 2.000 | 3 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in\n%s", want, text)
		}
	}
	// Nothing but disturbance comes to an end.
	always := func(context.Context, []string) ([]byte, Disturbance, error) {
		return []byte(`{"samples_ts": [1]}`), Disturbance{OtherLoad: 1}, nil
	}
	if readings, err := measure(context.Background(), c, nil, 7, 3, always, nil); err != nil || len(readings) != 2*8 {
		t.Errorf("want eight pairs, got %d readings, %v", len(readings), err)
	}
}

// A real program: its output comes back, what it used is not others' load.
func TestShell(t *testing.T) {
	out, d, err := shell(context.Background(), []string{"go", "version"})
	if err != nil || !strings.HasPrefix(string(out), "go version") || d.OtherLoad < 0 || d.DiskBytes < 0 {
		t.Errorf("got %q, %+v, %v", out, d, err)
	}
	if _, _, err := shell(context.Background(), []string{"go", "no-such-command"}); err == nil || !strings.Contains(err.Error(), "unknown command") {
		t.Errorf("want what the program said, got %v", err)
	}
}
