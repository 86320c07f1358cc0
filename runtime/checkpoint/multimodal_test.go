package checkpoint

import (
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/runtime/checkpoint/safetensors"
	"mop/runtime/config"
)

// storedTensors lists the tensors of a checkpoint of one file, by stored name.
func storedTensors(t testing.TB, dir string) map[string]safetensors.Tensor {
	t.Helper()
	list, err := safetensors.Parse(read(t, filepath.Join(dir, singleFile)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]safetensors.Tensor{}
	for _, x := range list {
		out[x.Name] = x
	}
	return out
}

// truncatedDepth is the first layers of a checkpoint.
type truncatedDepth struct {
	*Dir
	config *config.Config
}

func (s truncatedDepth) Config() *config.Config { return s.config }

// A LLaVA's language model opens in both layouts and with either spelling of its
// names. Saving it writes the whole LLaVA again, with every other tensor and key
// unchanged.
func TestSaveWithMultimodalWrapper(t *testing.T) {
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
		if !same(t, open(t, out), truncatedDepth{d, small}) {
			t.Errorf("%s: the language model differs", c.name)
		}
		was, is := storedTensors(t, dir), storedTensors(t, out)
		for name, x := range was {
			y, ok := is[name]
			if cut := strings.Contains(name, "layers.") && !strings.Contains(name, "vision"); cut && !ok {
				continue
			}
			if x.DType != y.DType || !slices.Equal(x.Shape, y.Shape) || !bytes.Equal(x.Data, y.Data) {
				t.Errorf("%s: %s: was %s %v, is %s %v", c.name, name, x.DType, x.Shape, y.DType, y.Shape)
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

// The tensors of a vision tower are refused where the config does not mention one: a
// save would lose them.
func TestOpenRefusesVisionTensorsOfAPlainModel(t *testing.T) {
	for _, name := range []string{"vision_tower.vision_model.post_layernorm.bias", "model.mm_projector.0.weight"} {
		dir := save(t, tinyConfig(), 7, SaveOptions{})
		editHeader(t, filepath.Join(dir, singleFile), `{"__metadata__"`, `{"`+name+`":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"__metadata__"`)
		_, err := Open(dir)
		refused(t, err, singleFile, name)
	}
}
