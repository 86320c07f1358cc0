package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/runtime/open"
)

const demoDir = "../../bench/demo/model"

// mop runs a command line and returns its stdout and its error.
func mop(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	root := newRoot()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	root.SetIn(strings.NewReader(stdin))
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	return out.String(), err
}

// A wrong command line has another exit status than a failure. Both give one line and write nothing.
func TestErrors(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for _, c := range []struct {
		usage bool
		args  string
	}{
		{true, "fly"},
		{true, "inspect"},
		{true, "inspect a b"},
		{true, "run"},
		{true, "run --model " + demoDir + " --temperature -1"},
		{true, "run --model " + demoDir + " --device tpu"},
		{true, "run --model " + demoDir + " --device cuda:x"},
		{true, "run --model " + demoDir + " --device cuda:-1"},
		{true, "run --model " + demoDir + " --device cpu:0"},
		{true, "run --model " + demoDir + " --device cuda --kernels generic"},
		{true, "run --model " + demoDir + " --device cuda:0 --activations bfloat16"},
		{true, "run --model " + demoDir + " --kernels sse9"},
		{true, "run --model " + demoDir + " --kernels sm_80 --device cpu"},
		{true, "run --model " + demoDir + " --kernels sm_80 --activations bfloat16"},
		{true, "logits --model " + demoDir + " --ids 1,x"},
		{true, "plan --model preset:llama-2-7b --sequence LGX"},
		{true, "plan --model preset:llama-3-8b --sequence LG --rule paper"},
		{true, "prune --model " + demoDir + " --out " + out + " --targets 0.2,x"},
		{true, "bench " + demoDir + " --at 3"},
		{true, "bench " + demoDir + ","},
		{true, "prune --model " + demoDir + " --out " + out + " --targets 1.5"},
		{true, "prune --model " + demoDir + " --out " + out + " --targets 0.2,0"},
		{true, "plan --model preset:llama-2-7b --sequence LG --target -0.1"},
		{false, "plan --model preset:llama-2-7b --criterion random --target 0.999"},
		{false, "bench " + demoDir + " --runs 2 --discard 1 --out 2 --report main.go"},
		{true, "bench " + demoDir + " --runs 3 --discard 3"},
		{true, "bench " + demoDir + " --runs 100000000000000"},
		{true, "bench " + demoDir + " --format xml"},
		{true, "bench " + demoDir + " --precision -1"},
		{true, "bench " + demoDir + " --precision NaN"},
		{true, "bench " + demoDir + " --dtype int3"},
		{true, "bench " + demoDir + " --dtype f16"},
		{true, "eval"},
		{true, "eval foo"},
		{true, "eval tasks --model " + demoDir + " --tasks mmlu --data ."},
		{true, "eval tasks --model " + demoDir + " --tasks piqa --data . --bos maybe"},
		{true, "eval tasks --model " + demoDir + " --tasks piqa --data . --limit -1"},
		{true, "eval tasks --model " + demoDir + " --tasks piqa --data . --resume"},
		{true, "import"},
		{true, "import gguf"},
		{true, "import gguf main.go"},
		{false, "import gguf main.go --out main.go/b"},
		{true, "import gguf main.go --out main.go/b --dtype q8_0"},
		{true, "run --model " + demoDir + " --prompt a --prompt-file main.go"},
		{false, "run --model " + demoDir + " --prompt-file nowhere.txt"},
		{false, "prune --model " + demoDir + " --out main.go/b --criterion random"},
		{true, "bench preset:tinyllama-1.1b,preset:llama-2-7b --plan nowhere.json"},
		{true, "bench training preset:tinyllama-1.1b --at 3"},
		{true, "bench training preset:tinyllama-1.1b --lengths 1"},
		{false, "bench training preset:tinyllama-1.1b --lengths 4096"},
		{false, "bench preset:tinyllama-1.1b --plan nowhere.json"},
		{true, "recover --model " + demoDir + " --out " + out},
		{true, "recover --model " + demoDir + " --data main.go --out " + out + " --rank 0"},
		{true, "recover --model " + demoDir + " --data main.go --out " + out + " --batch 9223372036854775807"},
		{false, "recover --model " + demoDir + " --data main.go --out " + out + " --steps 1 --log main.go"},
		{true, "prune --model " + demoDir + " --out " + out + " --criterion random --recover-steps 3"},
		{true, "prune --model " + demoDir + " --out " + out + " --criterion random --recover-lr 1"},
		{true, "prune --model " + demoDir + " --out " + out + " --criterion random --recover-rank 4"},
		{true, "prune --model " + demoDir + " --out " + out + " --criterion random --recover main.go --recover-rank 0"},
		{true, "recover --model " + demoDir + " --data main.go --out " + out + " --targets q,x"},
		{true, "recover --model " + demoDir + " --data main.go --out " + out + " --loss-average rows"},
		{true, "recover --model " + demoDir + " --data main.go --out " + out + " --adapter-init a --rank 4"},
		{false, "recover --model " + demoDir + " --data nowhere.json --out " + out},
		{false, "recover --model nowhere --data main.go --out " + out},
		{false, "inspect nowhere"},
		{false, "inspect preset:gpt-5"},
		{false, "logits --model " + demoDir + " --ids 1,9999"},
		{false, "logits --model " + demoDir + " --ids -1"},
		{false, "eval ppl --model " + demoDir + " --text nowhere.txt"},
		{false, "eval tasks --model " + demoDir + " --tasks piqa --data nowhere"},
		{false, "eval tasks --model " + demoDir + " --tasks piqa --data testdata"},
		{false, "eval ppl --model " + demoDir + " --text main.go --context 4096"},
		{false, "bench " + demoDir + " --in 500 --out 100"},
		{false, "bench " + demoDir + " --in 500 --out 12 --batch 32768"}, // a cache of 260 GB
		{false, "prune --model " + demoDir + " --out " + out + " --criterion kl --calibration nowhere.json --text main.go"},
		{true, "init --config ../../bench/demo/model/config.json --out " + out},
		{false, "init --config nowhere.json --tokenizer " + demoDir + " --out " + out},
		{false, "init --config ../../prune/finetune/testdata/model/config.json --tokenizer demo --out " + out},
		{false, "import llama2c --weights main.go --tokenizer ../../bench/demo/model/tokenizer.json --out " + out},
	} {
		text, err := mop(t, "", strings.Fields(c.args)...)
		if err == nil {
			t.Errorf("mop %s: want an error", c.args)
			continue
		}
		if errors.Is(err, errUsage) != c.usage {
			t.Errorf("mop %s: usage error: want %v, got %v", c.args, c.usage, err)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("mop %s: want one line, got %q", c.args, err)
		}
		if text != "" {
			t.Errorf("mop %s: stdout holds %q", c.args, text)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a refused command wrote its output directory")
	}
}

func TestInspectAndTokenize(t *testing.T) {
	text, err := mop(t, "", "inspect", demoDir, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var d open.Description
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Layers) != 22 || d.Layers[0].Heads != 16 || d.Bytes != 2*d.Params || d.DType != "bfloat16" {
		t.Errorf("got %s", text)
	}
	for _, in := range []string{"", "Once upon a time", " two  spaces ", "naïve 😀\n\x00"} {
		tokens, err := mop(t, in, "tokenize", "--model", demoDir)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(tokens, "[1") {
			t.Errorf("%q: want BOS first, got %s", in, tokens)
		}
		back, err := mop(t, tokens, "tokenize", "--model", demoDir, "--decode")
		if err != nil || back != in {
			t.Errorf("%q: decodes to %q, %v", in, back, err)
		}
	}
	for _, in := range []string{"", "null", "[null]", "[1, null]", "[1.5]", "{}", "[\"a\"]"} {
		if out, err := mop(t, in, "tokenize", "--model", demoDir, "--decode"); err == nil || !strings.Contains(err.Error(), "want a JSON array of token ids") {
			t.Errorf("%q: want an error, got %q, %v", in, out, err)
		}
	}
	if out, err := mop(t, "", "eval", "ppl", "--model", demoDir, "--text", "main.go", "--max-tokens-per-document", "-1"); err == nil || !strings.Contains(err.Error(), "want 0 or more") {
		t.Errorf("a negative limit: want an error, got %q, %v", out, err)
	}
}

// Windows without BOS are as long, and their first tokens are not scored.
func TestPerplexityWithoutBOS(t *testing.T) {
	type result struct {
		Tokens, Windows, Context int
		BOS                      string
	}
	of := func(bos string) (r result) {
		out, err := mop(t, "", "eval", "ppl", "--model", demoDir, "--text", "main.go", "--context", "16", "--max-tokens-per-document", "240", "--bos", bos, "--json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	for bos, want := range map[string]result{"auto": {240, 16, 16, "on"}, "on": {240, 16, 16, "on"}, "off": {225, 15, 16, "off"}} {
		if got := of(bos); got != want {
			t.Errorf("--bos %s: want %+v, got %+v", bos, want, got)
		}
	}
}

// A stop string only truncates a continuation, and sampling is the same for the same seed.
func TestRun(t *testing.T) {
	args := []string{"run", "--model", demoDir, "--prompt", "One day, Tom", "--max-tokens", "40", "--ignore-eos"}
	full, err := mop(t, "", args...)
	if err != nil || len(full) < 40 {
		t.Fatalf("got %q, %v", full, err)
	}
	stop := full[20:25]
	cut, err := mop(t, "", append(args, "--stop", stop)...)
	if want := full[:strings.Index(full, stop)]; err != nil || cut != want {
		t.Errorf("want %q, got %q, %v", want, cut, err)
	}
	drawn := append(args, "--temperature", "1", "--seed", "3")
	a, _ := mop(t, "", drawn...)
	b, _ := mop(t, "", drawn...)
	if a != b || a == full {
		t.Errorf("want one text for one seed, other than the greedy one: %q, %q", a, b)
	}
}
