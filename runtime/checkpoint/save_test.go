package checkpoint

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/runtime/config"
)

// A model whose layers agree gets no remote code; the name is reserved for mop's own.
func TestSaveRemoteCode(t *testing.T) {
	c := tinyConfig()
	code := c.RemoteCode()[config.RemoteCodeFile]
	if got := read(t, filepath.Join(save(t, c, 1, SaveOptions{}), config.RemoteCodeFile)); string(got) != string(code) || len(got) == 0 {
		t.Errorf("layers differ: want the remote code, got %d bytes", len(got))
	}
	for l := range c.Layers {
		c.Layers[l] = config.LayerShape{Heads: 2, KVHeads: 1, HeadDim: c.HeadDim, Intermediate: 3}
	}
	if got := entries(t, save(t, c, 1, SaveOptions{})); slices.Contains(got, config.RemoteCodeFile) {
		t.Errorf("layers agree: want no remote code, got %v", got)
	}
	err := Save(filepath.Join(t.TempDir(), "m"), c, specs(t, Random(c, 1, F32)), SaveOptions{Data: map[string][]byte{config.RemoteCodeFile: nil}})
	if err == nil || !strings.Contains(err.Error(), config.RemoteCodeFile) {
		t.Errorf("want an error that names the file, got %v", err)
	}
}

func TestSaveCopiesSideFiles(t *testing.T) {
	src := t.TempDir()
	write(t, filepath.Join(src, "tokenizer.json"), []byte("{}"))
	write(t, filepath.Join(src, "notes.txt"), []byte("not carried"))
	side := SideFiles(src)
	if len(side) != 1 || side["tokenizer.json"] == "" {
		t.Fatalf("side files: want tokenizer.json alone, got %v", side)
	}
	dir := save(t, tinyConfig(), 1, SaveOptions{Files: side, Data: map[string][]byte{"plan.json": []byte("[]")}})
	want := []string{configFile, singleFile, config.RemoteCodeFile, "plan.json", "tokenizer.json"} // the layers differ
	if got := entries(t, dir); !slices.Equal(got, want) {
		t.Errorf("want %v, got %v", want, got)
	}
	if string(read(t, filepath.Join(dir, "tokenizer.json"))) != "{}" || string(read(t, filepath.Join(dir, "plan.json"))) != "[]" {
		t.Error("files changed on the way")
	}
}

// One file may hold tensors of several types. The caller lists the narrow types first.
func TestSaveMixedTypes(t *testing.T) {
	c := tinyConfig()
	c.Layers[1].Intermediate = 1
	var list []TensorSpec
	for i, s := range specs(t, Random(c, 3, F32)) {
		if i%2 == 0 {
			x, err := Random(c, 3, []DType{F16, BF16}[i/2%2]).Tensor(s.Name)
			if err != nil {
				t.Fatal(err)
			}
			s = Copy(x)
		}
		list = append(list, s)
	}
	dir := filepath.Join(t.TempDir(), "m")
	if err := Save(dir, c, list, SaveOptions{ShardBytes: 300}); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir)
	for _, s := range list {
		got, err := d.Tensor(s.Name)
		want, _ := Random(c, 3, s.DType).Tensor(s.Name)
		if err != nil || got.DType != s.DType || string(got.Data) != string(want.Data) {
			t.Errorf("%s: differs, %v", s.Name, err)
		}
	}
}

func TestSaveRefuses(t *testing.T) {
	c := tinyConfig()
	good := func() []TensorSpec { return specs(t, Random(c, 1, F32)) }
	some := func(n int) func(Writer) error {
		return func(w Writer) error { w.Write(make([]byte, n)); return nil } // drops the error
	}
	for _, k := range []struct {
		name  string
		specs func() []TensorSpec
		o     SaveOptions
		want  string
	}{
		{"missing", func() []TensorSpec { return good()[1:] }, SaveOptions{}, "model.embed_tokens.weight: missing"},
		{"unexpected", func() []TensorSpec { return append(good(), TensorSpec{Name: "model.layers.0.x"}) }, SaveOptions{}, "layer 0: model.layers.0.x: unexpected"},
		{"twice", func() []TensorSpec { return append(good(), good()[0]) }, SaveOptions{}, "twice"},
		{"shape", func() []TensorSpec { s := good(); s[0].Shape = []int{4, 8}; return s }, SaveOptions{}, "want [8 4], got [4 8]"},
		{"too few bytes", func() []TensorSpec { s := good(); s[1].Write = some(15); return s }, SaveOptions{}, "layer 0: model.layers.0.input_layernorm.weight: want 16 bytes for F32 [4], got 15"},
		{"too many bytes", func() []TensorSpec { s := good(); s[1].Write = some(17); return s }, SaveOptions{}, "input_layernorm.weight: 1 bytes too many"},
		{"a write that fails", func() []TensorSpec {
			s := good()
			s[2].Write = func(Writer) error { return errors.New("no such luck") }
			return s
		}, SaveOptions{}, "q_proj.weight: no such luck"},
		{"a file that leaves", good, SaveOptions{Data: map[string][]byte{"../x": nil}}, "../x: not a name"},
		{"a file named as weights", good, SaveOptions{Data: map[string][]byte{"model.safetensors": nil}}, "not a name"},
		{"a file that is absent", good, SaveOptions{Files: map[string]string{"x": "/nowhere/x"}}, "/nowhere/x"},
	} {
		t.Run(k.name, func(t *testing.T) {
			parent := t.TempDir()
			refused(t, Save(filepath.Join(parent, "m"), c, k.specs(), k.o), k.want)
			if left := entries(t, parent); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestSaveExisting(t *testing.T) {
	dir := save(t, tinyConfig(), 1, SaveOptions{Data: map[string][]byte{"old.txt": nil}})
	if err := WriteRandom(dir, tinyConfig(), 2, F32, SaveOptions{}); !errors.Is(err, ErrExists) {
		t.Fatalf("want ErrExists, got %v", err)
	}
	old := open(t, dir)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skip(err)
	}
	if err := WriteRandom(link, tinyConfig(), 2, F32, SaveOptions{Replace: true}); err != nil {
		t.Fatal(err)
	}
	if !same(t, open(t, dir), Random(tinyConfig(), 2, F32)) {
		t.Error("not replaced")
	}
	if !same(t, old, Random(tinyConfig(), 1, F32)) {
		t.Error("a reader of the old model sees something else")
	}
	if got := entries(t, filepath.Dir(dir)); !slices.Equal(got, []string{"model"}) {
		t.Errorf("left behind: %v", got)
	}
	if got := entries(t, dir); slices.Contains(got, "old.txt") {
		t.Errorf("old and new are mixed: %v", got)
	}
}

// A directory that holds something besides a model is not replaced.
func TestReplaceKeepsOtherDirectories(t *testing.T) {
	for name, file := range map[string]string{"no config": "thesis.txt", "a directory inside": "config.json/x"} {
		dir := t.TempDir()
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, path, nil)
		refused(t, WriteRandom(dir, tinyConfig(), 2, F32, SaveOptions{Replace: true}), "will not be replaced")
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: lost: %v", name, err)
		}
	}
}

func TestConcurrentSaves(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "m")
	list := specs(t, Random(tinyConfig(), 1, F32))
	inner := list[0].Write
	list[0].Write = func(w Writer) error {
		refused(t, WriteRandom(dir, tinyConfig(), 2, F32, SaveOptions{}), "another save of it is running")
		return inner(w)
	}
	if err := Save(dir, tinyConfig(), list, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	if !same(t, open(t, dir), Random(tinyConfig(), 1, F32)) {
		t.Error("the first save did not win")
	}
}

func TestFreeDisk(t *testing.T) {
	refused(t, CheckFree(t.TempDir(), math.MaxInt64), "want 9223372036854775807 bytes of free disk, got ")
	// A model that no disk holds is refused before a byte of it is made.
	c := tinyConfig()
	c.VocabSize, c.HiddenSize = 1<<24, 1<<24
	c.Layers = nil
	c.Layers = append(c.Layers, tinyConfig().Layers[1])
	parent := t.TempDir()
	err := WriteRandom(filepath.Join(parent, "m"), c, 1, F32, SaveOptions{})
	refused(t, err, "bytes of free disk")
	if strings.Contains(err.Error(), "-") {
		t.Errorf("sizes overflow: %v", err)
	}
	if left := entries(t, parent); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
