package prune

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/montanaflynn/stats"

	"mop/internal/testutil"
	"mop/prune/plan"
	"mop/prune/score"
	"mop/runtime/checkpoint"
	"mop/runtime/checkpoint/llama2c"
	"mop/runtime/dataset"
	"mop/runtime/metric"
	"mop/runtime/model"
	"mop/runtime/tokenizer"
)

// orderCase is a model with the documents on which it is scored and evaluated.
type orderCase struct {
	dir           string
	tok           *tokenizer.Tokenizer
	prompts, held []string
	maxTokens     int              // of a document
	rules         map[string]int64 // the steps, and how many layers' parameters each takes
}

// On trained models, removing what has the lowest AMP scores leaves a lower NLL on
// held-out stories than removing what has the highest ones, with the whole 95 % bootstrap
// interval over the stories. This holds for a step that removes heads and neurons and for
// one that removes only neurons.
func TestAMPOrder(t *testing.T) {
	for name, x := range map[string][2]string{
		"stories260K": {"stories260K/stories260K.bin", "stories260K/tok512.bin"},
		"babyllama":   {"babyllama-tok105/model5000.bin", "babyllama-tok105/tok105.bin"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "model")
			if err := llama2c.Import(testutil.DataPath(t, x[0]), dir, "", checkpoint.SaveOptions{}); err != nil {
				t.Fatal(err)
			}
			tok, err := tokenizer.OpenFile(testutil.DataPath(t, x[1]))
			if err != nil {
				t.Fatal(err)
			}
			docs, err := dataset.Documents(testutil.DataPath(t, "tinystories/tinystories_sample_2M.txt"), "<|endoftext|>")
			if err != nil {
				t.Fatal(err)
			}
			const stories, prompts = 24, 12
			compareOrders(t, orderCase{dir: dir, tok: tok, held: docs[:stories], prompts: docs[stories : stories+prompts], maxTokens: 120,
				rules: map[string]int64{"groups": 1, "mlp-only": 1}})
		})
	}
}

// The same holds on the demo's model. Its layers are small, so that the step removes as
// much as four of them have.
func TestAMPOrderOnDemo(t *testing.T) {
	tok, err := tokenizer.Open(demoModel)
	if err != nil {
		t.Fatal(err)
	}
	prompts, err := dataset.Documents(demoText+"calibration.jsonl", "")
	if err != nil {
		t.Fatal(err)
	}
	held, err := dataset.Documents(demoText+"evaluation.txt", "<|endoftext|>")
	if err != nil {
		t.Fatal(err)
	}
	compareOrders(t, orderCase{dir: demoModel, tok: tok, held: held[:12], prompts: prompts[:6], maxTokens: 96, rules: map[string]int64{"exact": 4}})
}

func compareOrders(t *testing.T, o orderCase) {
	src, err := checkpoint.Open(o.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	m, err := model.Load(host(t), src)
	if err != nil {
		t.Fatal(err)
	}
	c := src.Config()
	window := func(docs []string) []dataset.Window {
		w, err := dataset.Windows(o.tok, docs, o.maxTokens+1, 0, o.maxTokens)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	held := window(o.held)
	var tokens [][]int
	for _, w := range window(o.prompts) {
		tokens = append(tokens, w.Tokens)
	}
	scores, err := score.Measure(context.Background(), score.AMP(), m, score.Calibration{Prompts: tokens})
	if err != nil {
		t.Fatal(err)
	}
	reversed := &plan.Scores{}
	for l := range scores.Heads {
		reversed.Heads, reversed.Neurons = append(reversed.Heads, negative(scores.Heads[l])), append(reversed.Neurons, negative(scores.Neurons[l]))
	}
	for rule, layers := range o.rules {
		nll := func(s *plan.Scores) []float64 {
			st := plan.New(c)
			if rule == "groups" {
				st.Groups = 1 // as after some steps, so that a whole group is due
			}
			budget := float64(layers) * st.LayerBudget(c.HiddenSize)
			if layers == 1 {
				budget = 0 // an ordinary step
			}
			st, err := st.PruneWidth(c.HiddenSize, plan.Options{Rule: rule}, budget, s)
			if err != nil {
				t.Fatal(err)
			}
			for l, y := range st.Layers {
				if was := c.Layers[l]; y.Shape.Intermediate >= was.Intermediate || (y.Shape.Heads < was.Heads) == (rule == "mlp-only") {
					t.Fatalf("layer %d: %+v became %+v", l, was, y.Shape)
				}
			}
			return storyNLL(t, m, src, st, held)
		}
		low, high := nll(scores), nll(reversed)
		diff := make([]float64, len(low))
		for i := range diff {
			diff[i] = high[i] - low[i]
		}
		mean, lo, hi := bootstrapMean(diff)
		t.Logf("%s: nll %.4f in AMP's order, +%.4f [%.4f, %.4f] reversed, %d documents", rule, average(low), mean, lo, hi, len(diff))
		if !(lo > 0) {
			t.Errorf("%s: want the interval above 0, got [%v, %v]", rule, lo, hi)
		}
	}
}

func negative(x []float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = -v
	}
	return out
}

// storyNLL returns the mean NLL of each story under a state's model.
func storyNLL(t *testing.T, m *model.Model, src checkpoint.Source, s plan.State, held []dataset.Window) []float64 {
	t.Helper()
	r := &run{Options: Options{Device: m.Device(), Out: t.TempDir()}, base: src}
	pruned, err := r.loadCandidate(s)
	if err != nil {
		t.Fatal(err)
	}
	defer pruned.close()
	out := make([]float64, len(held))
	if err := metric.NLL(context.Background(), pruned.Model, held, nil, func(w int, x float64) { out[w] += x / float64(len(held[w].Tokens)-1) }); err != nil {
		t.Fatal(err)
	}
	return out
}

func average(x []float64) float64 {
	m, _ := stats.Mean(x)
	return m
}

// bootstrapMean returns the mean with its 95 % percentile interval.
func bootstrapMean(x []float64) (mean, lo, hi float64) {
	r := rand.New(rand.NewPCG(1, 2))
	means := make([]float64, 10_000)
	for i := range means {
		for range x {
			means[i] += x[r.IntN(len(x))] / float64(len(x))
		}
	}
	slices.Sort(means)
	return average(x), means[len(means)/40], means[len(means)-1-len(means)/40]
}
