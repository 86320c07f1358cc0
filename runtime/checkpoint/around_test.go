package checkpoint

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/runtime/config"
)

// storedOf lists a directory's tensors as its one file holds them.
func storedOf(t testing.TB, dir string) map[string]stored {
	t.Helper()
	list, err := parseFile(read(t, filepath.Join(dir, singleFile)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]stored{}
	for _, x := range list {
		out[x.name] = x
	}
	return out
}

// sliced is the first layers of a model.
type sliced struct {
	*Dir
	config *config.Config
}

func (s sliced) Config() *config.Config { return s.config }

// A LLaVA's language model opens, in both layouts and in either spelling of its
// names, and what is written again is the whole LLaVA: every other tensor and key
// as it was.
func TestLLaVAIsWrittenWhole(t *testing.T) {
	for _, c := range []struct {
		name  string
		pairs []string // names as another version spells them
	}{
		{"llava-hf", nil},
		{"llava-hf", []string{`"language_model.model.`, `"model.language_model.`, `"language_model.lm_head`, `"lm_head`,
			`"vision_tower.`, `"model.vision_tower.`, `"multi_modal_projector.`, `"model.multi_modal_projector.`}},
		{"llava-flat", nil},
	} {
		dir, from := t.TempDir(), filepath.Join("../model/testdata", c.name)
		for _, name := range []string{configFile, singleFile} {
			write(t, filepath.Join(dir, name), read(t, filepath.Join(from, name)))
		}
		if c.pairs != nil {
			editHeader(t, filepath.Join(dir, singleFile), c.pairs...)
		}
		d := open(t, dir)
		small := d.Config().Clone()
		small.Layers = small.Layers[:2]
		var kept []TensorSpec
		for _, info := range ExpectedTensors(small) {
			x, err := d.Tensor(info.Name)
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, Copy(x))
		}
		out := filepath.Join(t.TempDir(), "out")
		if err := Save(out, small, kept, SaveOptions{Wrapper: MultimodalWrapperOf(d)}); err != nil {
			t.Fatal(err)
		}
		if !same(t, open(t, out), sliced{d, small}) {
			t.Errorf("%s: the language model differs", c.name)
		}
		was, is := storedOf(t, dir), storedOf(t, out)
		for name, x := range was {
			y, ok := is[name]
			if cut := strings.Contains(name, "layers.") && !strings.Contains(name, "vision"); cut && !ok {
				continue
			}
			if x.dtype != y.dtype || !slices.Equal(x.shape, y.shape) || !bytes.Equal(x.data, y.data) {
				t.Errorf("%s: %s: was %s %v, is %s %v", c.name, name, x.dtype, x.shape, y.dtype, y.shape)
			}
			delete(is, name)
		}
		if len(is) > 0 {
			t.Errorf("%s: new tensors: %v", c.name, slices.Collect(maps.Keys(is)))
		}
		if got, want := open(t, out).Config().Multimodal, d.Config().Multimodal; len(got) == 0 || len(got) != len(want) {
			t.Errorf("%s: keys around it: want %v, got %v", c.name, want, got)
		}
		alone := filepath.Join(t.TempDir(), "alone")
		if err := Save(alone, small, kept, SaveOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := open(t, alone).Config(); got.Multimodal != nil || MultimodalWrapperOf(open(t, alone)) != nil {
			t.Errorf("%s: saved alone, but still within %v", c.name, got.Multimodal)
		}
	}
}

// Beside a config that says nothing of them, a vision tower's tensors are refused:
// nobody would carry them along.
func TestStrayVision(t *testing.T) {
	for _, name := range []string{"vision_tower.vision_model.post_layernorm.bias", "model.mm_projector.0.weight"} {
		dir := save(t, tiny(), 7, SaveOptions{})
		editHeader(t, filepath.Join(dir, singleFile), `{"__metadata__"`, `{"`+name+`":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"__metadata__"`)
		_, err := Open(dir)
		refused(t, err, singleFile, name)
	}
}
