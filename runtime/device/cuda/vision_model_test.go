//go:build cuda || cudaemu

package cuda

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/device/tolerance"
	"mop/runtime/kvcache"
	"mop/runtime/model"
	"mop/runtime/vision"
)

// roundedHost is the host with weights of 16 bits, as the device has them.
type roundedHost struct {
	*cpu.Device
	t checkpoint.DType
}

func (h roundedHost) Place(t checkpoint.Tensor, o device.PlaceOptions) (device.Weight, error) {
	if t.DType != h.t {
		t.Data, _ = convertTo16Bit(t.Data, t.DType, h.t)
		t.DType = h.t
	}
	return h.Device.Place(t, o)
}

// Whole LLaVAs in all layouts give the features, the embeddings and the logits of the host:
// quick-GELU and GELU, features of one layer and of several.
func TestVisionModels(t *testing.T) {
	for _, name := range []string{"dense", "pruned", "flat"} {
		for _, dt := range types {
			for _, set := range sets(t) {
				t.Run(name+"/"+dt.String()+"/"+set, func(t *testing.T) { checkLLaVA(t, filepath.Join("../../vision/testdata/models", name), dt, set) })
			}
		}
	}
}

func checkLLaVA(t *testing.T, dir string, dt checkpoint.DType, set string) {
	src, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	host, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	dev := openSet(t, orders[0], set)
	dev.SetComputeType(dt)
	var features, rows [][]float32
	var layers int
	for _, d := range []device.Vision{roundedHost{host, dt}, dev} {
		tower, err := vision.Open(d, src)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(tower.Close)
		layers = tower.Config.Layers
		f, e := runTower(t, tower)
		features, rows = append(features, f), append(rows, e)
	}
	within(t, "features", features[0], features[1], dt, layers)
	within(t, "embeddings", rows[0], rows[1], dt, layers+1)

	// The language model, behind the embeddings.
	at := model.Embeddings{At: 3, Rows: rows[1]}
	var logits [][]float32
	for _, d := range []device.Device{host, dev} {
		m, err := model.Load(d, stored{src, dt})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		tokens := make([]int, 3+len(at.Rows)/m.Config.HiddenSize+4)
		for i := range tokens {
			tokens[i] = (i*i*37 + 1) % m.Config.VocabSize
		}
		cache, err := kvcache.NewSequences(d, m.Config, 1, len(tokens))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cache.Close)
		if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Tokens: tokens, Embeddings: []model.Embeddings{at}}}}); err != nil {
			t.Fatal(err)
		}
		var last []float32
		if err := m.Logits([]int{len(tokens) - 1}, func(_ int, z []float32) error {
			last = append(last, z...)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		logits = append(logits, last)
		layers = len(m.Config.Layers)
	}
	within(t, "logits", logits[0], logits[1], dt, layers)
}

// within holds numbers to the host's, by what the roundings of so many layers explain.
func within(t *testing.T, what string, want, got []float32, dt checkpoint.DType, layers int) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%s: want %d numbers, got %d", what, len(want), len(got))
	}
	w, allow := worst{what: what}, tolerance.Features(dt, layers, largest(want))
	for i, v := range want {
		w.see(0, i, float64(v), float64(got[i]), allow)
	}
	t.Logf("%s: %.0f %% of the tolerance", what, 100*w.share)
	w.report(t)
	if allow == 0 || math.IsNaN(allow) {
		t.Errorf("%s: want numbers, got a largest of %v", what, largest(want))
	}
}

// A tower of CLIP's shape in small, with random weights: 82 rows, more than a tile, and heads
// of 64.
func TestVisionRandomTower(t *testing.T) {
	text := &config.Config{HiddenSize: 96, Multimodal: map[string]any{"vision_feature_layer": -2., "vision_config": map[string]any{
		"hidden_size": 128., "intermediate_size": 320., "num_hidden_layers": 3., "num_attention_heads": 2., "image_size": 126., "patch_size": 14.,
	}}}
	host, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	for _, set := range sets(t) {
		dev := openSet(t, orders[0], set)
		dev.SetComputeType(checkpoint.F16)
		var features, rows [][]float32
		for _, d := range []device.Vision{host, dev} {
			tower, err := vision.OpenRandom(d, text, 7)
			if err != nil {
				t.Fatal(err)
			}
			defer tower.Close()
			f, e := runTower(t, tower)
			features, rows = append(features, f), append(rows, e)
		}
		within(t, set+": features", features[0], features[1], checkpoint.F16, 2)
		within(t, set+": embeddings", rows[0], rows[1], checkpoint.F16, 3)
	}
}

// runTower gives the features and the embeddings of random pixels.
func runTower(t *testing.T, tower *vision.Tower) (features, embeddings []float32) {
	t.Helper()
	r := rand.New(rand.NewPCG(5, 6))
	pixels := make([]float32, 3*tower.Config.ImageSize*tower.Config.ImageSize)
	for i := range pixels {
		pixels[i] = float32(r.NormFloat64())
	}
	features, err := tower.Features(pixels)
	if err != nil {
		t.Fatal(err)
	}
	if embeddings, err = tower.Project(features); err != nil {
		t.Fatal(err)
	}
	return features, embeddings
}
