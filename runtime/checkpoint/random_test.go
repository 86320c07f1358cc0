package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/runtime/checkpoint/safetensors"
	"mop/runtime/config"
	"mop/runtime/random"
)

// Each element is the generator's value at its index; norms are exactly 1.
func TestRandomWeights(t *testing.T) {
	c := tinyConfig()
	for _, d := range []DType{F32, F16, BF16} {
		src := Random(c, 11, d)
		for _, info := range ExpectedTensors(c) {
			x, err := src.Tensor(info.Name)
			if err != nil {
				t.Fatal(err)
			}
			key := random.Key(11, info.Name)
			for i := range safetensors.Elements(info.Shape) {
				v := random.Uniform(key, uint64(i), random.Scale(0.02))
				if strings.HasSuffix(info.Name, "norm.weight") {
					v = 1
				}
				var want [4]byte
				Encode(want[:], d, v)
				if got := x.Data[i*d.Size() : (i+1)*d.Size()]; !bytes.Equal(got, want[:d.Size()]) {
					t.Fatalf("%v %s: element %d: want % x, got % x", d, info.Name, i, want[:d.Size()], got)
				}
			}
		}
	}
}

func TestRandomUsesInitializerRange(t *testing.T) {
	c := tinyConfig()
	c.Extra = map[string]any{"initializer_range": 0.5}
	x, err := Random(c, 1, F32).Tensor(EmbedName)
	if err != nil {
		t.Fatal(err)
	}
	want := random.Uniform(random.Key(1, EmbedName), 0, random.Scale(0.5))
	if got := math.Float32frombits(binary.LittleEndian.Uint32(x.Data)); got != want {
		t.Errorf("want %v, got %v", want, got)
	}
	if _, err := Random(c, 1, F32).Tensor("model.layers.1.self_attn.q_proj.weight"); err == nil {
		t.Error("a skipped block has weights")
	}
}

// A written model equals the generated one, also where a tensor is longer than the
// write buffer, and its config names its type.
func TestWriteRandom(t *testing.T) {
	c := tinyConfig()
	c.VocabSize, c.HiddenSize = 3001, 1500 // 9 MB of BF16: more than one buffer
	dir := filepath.Join(t.TempDir(), "m")
	if err := WriteRandom(dir, c, 4, BF16, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir)
	if !same(t, d, Random(c, 4, BF16)) {
		t.Error("differs from the source")
	}
	if got, err := DTypeOf(d.Config()); err != nil || got != BF16 {
		t.Errorf("want BF16, got %v, %v", got, err)
	}
}

// Untrained weights are the generator's values; only the last matrix of each block is
// smaller, by the square root of the number of blocks.
func TestWriteUntrained(t *testing.T) {
	c := tinyConfig()
	dir := filepath.Join(t.TempDir(), "m")
	if err := WriteUntrained(dir, c, 4, F32, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	got, plain := open(t, dir), Random(c, 4, F32)
	for _, info := range ExpectedTensors(c) {
		want := 1.0
		if strings.HasSuffix(info.Name, "o_proj.weight") || strings.HasSuffix(info.Name, "down_proj.weight") {
			want = 1 / math.Sqrt(2*float64(len(c.Layers)))
		}
		a, errA := got.Tensor(info.Name)
		b, errB := plain.Tensor(info.Name)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		x, y := Float32s(a), Float32s(b)
		for i := range x {
			if d := math.Abs(float64(x[i]) - want*float64(y[i])); d > 1e-6*math.Abs(float64(y[i])) {
				t.Fatalf("%s: element %d: want %v times %v, got %v", info.Name, i, want, y[i], x[i])
			}
		}
	}
}

// The index of LLaVA-1.5-7B lists every tensor of the language model, and Canonical
// tells them from the others.
func TestCanonicalNamesOfLLaVA(t *testing.T) {
	x, err := safetensors.ReadIndex(testutil.DataPath(t, "hf-llava-1.5-7b-hf/"+indexFile))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Preset("llava-1.5-7b")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for stored := range x {
		if name, ok := Canonical(stored); ok {
			found[name] = true
		}
	}
	want := ExpectedTensors(c)
	for _, info := range want {
		if !found[info.Name] {
			t.Errorf("%s: not found", info.Name)
		}
	}
	if len(found) != len(want) {
		t.Errorf("want %d names, got %d", len(want), len(found))
	}
}

var modelDir = flag.String("model", "", "model directory for BenchmarkOpen")

// BenchmarkOpen opens an existing model:
//
//	go test ./runtime/checkpoint -run xxx -bench Open -model DIR
func BenchmarkOpen(b *testing.B) {
	if *modelDir == "" {
		b.Skip("no -model")
	}
	for b.Loop() {
		d, err := Open(*modelDir)
		if err != nil {
			b.Fatal(err)
		}
		d.Close()
	}
}

func BenchmarkRandomTensor(b *testing.B) {
	c := tinyConfig()
	c.VocabSize, c.HiddenSize = 32000, 4096
	for _, d := range []DType{F32, F16, BF16} {
		b.Run(d.String(), func(b *testing.B) {
			src := Random(c, 1, d)
			for b.Loop() {
				if _, err := src.Tensor(EmbedName); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(c.VocabSize*c.HiddenSize)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelements/s")
		})
	}
}

// An impossible initializer_range is refused before anything is written.
func TestWriteUntrainedRefusesInitializerRange(t *testing.T) {
	for _, bad := range []any{json.Number("0"), json.Number("-1"), json.Number("1e300"), "x"} {
		c := tinyConfig()
		c.Extra = map[string]any{"initializer_range": bad}
		dir := filepath.Join(t.TempDir(), "model")
		if err := WriteUntrained(dir, c, 1, F16, SaveOptions{}); err == nil || !strings.Contains(err.Error(), "initializer_range: want") {
			t.Errorf("%v: want a refusal, got %v", bad, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%v: something stands there", bad)
		}
	}
}
