package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
	"mop/runtime/device/cpu"
	"mop/runtime/metric"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
)

// The model has learned its stories: for every kind of question, the right choice is the
// argmax of the choices' log-likelihoods far more often than by chance.
func TestModelAnswers(t *testing.T) {
	modelDir, textDir, err := Unpack(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	src, err := checkpoint.Open(modelDir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dev, err := cpu.New(0)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	m, err := model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Open(modelDir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(textDir, "questions.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	asked, right := map[string]int{}, map[string]int{}
	chance, variance := map[string]float64{}, map[string]float64{} // of the number right, by guessing
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var q struct {
			Kind, Query string
			Choices     []string
			Gold        int
		}
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			t.Fatal(err)
		}
		var windows []dataset.Window
		for _, c := range q.Choices {
			before, err := tok.Encode([]byte(q.Query), tokenizer.EncodeOptions{BOS: true})
			if err != nil {
				t.Fatal(err)
			}
			all, err := tok.Encode([]byte(q.Query+c), tokenizer.EncodeOptions{BOS: true})
			if err != nil {
				t.Fatal(err)
			}
			windows = append(windows, dataset.Window{Tokens: all, FirstScored: len(before)})
		}
		nll := make([]float64, len(windows))
		if err := metric.NLL(context.Background(), m, windows, nil, func(w int, x float64) { nll[w] += x }); err != nil {
			t.Fatal(err)
		}
		asked[q.Kind]++
		p := 1 / float64(len(q.Choices))
		chance[q.Kind] += p
		variance[q.Kind] += p * (1 - p)
		best := 0
		for i := range nll {
			if nll[i] < nll[best] {
				best = i
			}
		}
		if best == q.Gold {
			right[q.Kind]++
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"agreement", "memory", "arithmetic"} {
		// Guessing gets beyond 3.1 deviations about once in a thousand.
		bar := chance[kind] + 3.1*math.Sqrt(variance[kind])
		t.Logf("%s: %d of %d, by chance %.0f, wanted more than %.1f", kind, right[kind], asked[kind], chance[kind], bar)
		if asked[kind] < 50 || float64(right[kind]) <= bar {
			t.Errorf("%s: %d of %d right, want more than %.1f", kind, right[kind], asked[kind], bar)
		}
	}
}
