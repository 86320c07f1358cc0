package gguf

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// writeModel writes a model whose weights follow from goldenWeight's formula.
func writeModel(t *testing.T, dir string, c *config.Config) {
	t.Helper()
	d, err := checkpoint.DTypeOf(c)
	if err != nil {
		t.Fatal(err)
	}
	var specs []checkpoint.TensorSpec
	for _, info := range checkpoint.ExpectedTensors(c) {
		specs = append(specs, checkpoint.TensorSpec{Name: info.Name, DType: d, Shape: info.Shape, Write: func(w checkpoint.Writer) error {
			data := make([]byte, product(info.Shape)*d.Size())
			for i := range product(info.Shape) {
				checkpoint.Encode(data[i*d.Size():], d, goldenWeight(info.Name, i))
			}
			_, err := w.Write(data)
			return err
		}})
	}
	if err := checkpoint.Save(dir, c, specs, checkpoint.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
}

func shaped(dtype string, shapes ...config.LayerShape) *config.Config {
	return &config.Config{VocabSize: 50, HiddenSize: 24, HeadDim: shapes[0].HeadDim, Layers: shapes, RopeTheta: 10000, NormEps: 1e-5,
		MaxPositions: 64, BOS: 1, EOS: []int{2}, DType: dtype}
}

// exported writes a model and exports it.
func exported(t *testing.T, c *config.Config, o ExportOptions) (dir, file string, r *ExportResult) {
	t.Helper()
	dir, file = filepath.Join(t.TempDir(), "model"), filepath.Join(t.TempDir(), "m.gguf")
	writeModel(t, dir, c)
	src, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if r, err = Export(context.Background(), src, file, o); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(file); err != nil || st.Size() != r.Bytes {
		t.Errorf("want a file of %d bytes, got %v, %v", r.Bytes, st.Size(), err)
	}
	return dir, file, r
}

var (
	even = config.LayerShape{Heads: 6, KVHeads: 2, HeadDim: 4, Intermediate: 40}
	odd  = config.LayerShape{Heads: 3, KVHeads: 1, HeadDim: 4, Intermediate: 37}
	mlp  = config.LayerShape{HeadDim: 4, Intermediate: 9}
	attn = config.LayerShape{Heads: 4, KVHeads: 4, HeadDim: 4}
	none = config.LayerShape{HeadDim: 4}
)

// A model that is exported and imported again has the same files, to the last byte, except
// for its model card.
// Padding is taken back.
func TestRoundTrip(t *testing.T) {
	for name, c := range map[string]struct {
		shapes []config.LayerShape
		pad    int
		arch   string
		added  int64 // parameters
	}{
		"uniform":                 {[]config.LayerShape{even, even}, 0, "llama", 0},
		"odd heads":               {[]config.LayerShape{odd, odd}, 0, "llama", 0},
		"padded":                  {[]config.LayerShape{odd, odd}, 32, "llama", 2 * 3 * 27 * 24},
		"padded to the same":      {[]config.LayerShape{{Heads: 2, KVHeads: 2, HeadDim: 4, Intermediate: 33}, {Heads: 2, KVHeads: 2, HeadDim: 4, Intermediate: 64}}, 32, "llama", 3 * 31 * 24},
		"layers differ":           {[]config.LayerShape{odd, even, mlp, odd}, 0, "deci", 0},
		"no MLP":                  {[]config.LayerShape{odd, attn, even}, 0, "deci", (3 + 1) * 24},
		"no heads in front":       {[]config.LayerShape{mlp, even}, 0, "deci", (4*4 + 1) * 24},
		"no MLP at the end":       {[]config.LayerShape{even, odd, attn}, 16, "deci", (3*(8+11+16) + 1) * 24},
		"nothing, front and end":  {[]config.LayerShape{none, even, none, odd, none}, 0, "deci", (4*4 + 1 + 3*(3+1)) * 24},
		"nothing in all of them":  {[]config.LayerShape{none, none}, 4, "deci", (4*4 + 1 + 2*(12+1)) * 24},
		"one head, many neurons":  {[]config.LayerShape{{Heads: 1, KVHeads: 1, HeadDim: 2, Intermediate: 300}}, 256, "llama", 3 * 212 * 24},
		"a million times too few": {[]config.LayerShape{{Heads: 1, KVHeads: 1, HeadDim: 2, Intermediate: 1}}, MaxPadding, "llama", 3 * (MaxPadding - 1) * 24},
	} {
		for _, dtype := range []string{"float32", "float16", "bfloat16"} {
			t.Run(name+" "+dtype, func(t *testing.T) {
				c, tied := c, dtype == "float16"
				m := shaped(dtype, c.shapes...)
				if m.Tied = tied; tied {
					m.RopeScaling = &config.RopeScaling{Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalPositions: 16}
				} else if dtype == "bfloat16" {
					m.RopeScaling = &config.RopeScaling{Type: "linear", Factor: 4}
				}
				dir, file, r := exported(t, m, ExportOptions{PadTo: c.pad})
				if r.Architecture != c.arch || r.AddedParams != c.added {
					t.Errorf("want %s with %d parameters more, got %+v", c.arch, c.added, r)
				}
				again := filepath.Join(t.TempDir(), "again")
				if _, err := Import(file, again, ImportOptions{}); err != nil {
					t.Fatal(err)
				}
				want, got := testutil.ReadTree(t, dir), testutil.ReadTree(t, again)
				delete(got, "generation_config.json")
				delete(got, "README.md")
				testutil.CheckSameTree(t, "after the round trip", want, got, 2)
			})
		}
	}
}

// What the file holds is the model: other programs read it by these keys and names.
func TestExportedMetadata(t *testing.T) {
	_, file, _ := exported(t, shaped("float16", odd, mlp, even), ExportOptions{Name: "small"})
	f, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for key, want := range map[string][]int64{
		"deci.attention.head_count": {3, 0, 6}, "deci.attention.head_count_kv": {1, 0, 2}, "deci.feed_forward_length": {37, 9, 40},
		"deci.attention.key_length": {4}, "deci.attention.value_length": {4}, "deci.rope.dimension_count": {4}, "deci.block_count": {3},
		"deci.context_length": {64}, "deci.embedding_length": {24}, "deci.vocab_size": {50}, "general.file_type": {1},
	} {
		if got, err := f.Metadata.Ints(key); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: want %v, got %v, %v", key, want, got, err)
		}
	}
	if f.Metadata.Has(ownWidths) {
		t.Errorf("%s: want it only for padding", ownWidths)
	}
	for name, want := range map[string][]int{"token_embd.weight": {50, 24}, "output.weight": {50, 24}, "blk.0.attn_q.weight": {12, 24}, "blk.1.ffn_down.weight": {24, 9}} {
		if got, ok := f.Tensor(name); !ok || got.Type != F16 || !slices.Equal(got.Shape, want) {
			t.Errorf("%s: want F16 %v, got %s %v", name, want, got.Type, got.Shape)
		}
	}
	if norm, _ := f.Tensor("blk.2.attn_norm.weight"); norm.Type != F32 {
		t.Errorf("norms: want F32, got %s", norm.Type)
	}
	if _, ok := f.Tensor("blk.1.attn_q.weight"); ok {
		t.Error("a layer without heads has a query projection")
	}
}

// Rows that are no whole blocks stay F16, the others have 32 elements a block.
func TestExportQ8(t *testing.T) {
	c := shaped("bfloat16", odd, even)
	c.HiddenSize = 64
	q := Q8_0
	_, file, r := exported(t, c, ExportOptions{Type: &q})
	f, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r.PadTo != 32 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "2 matrices, blk.0.attn_output.weight among them, stay f16") {
		t.Errorf("want a note on rows of heads, got %+v", r)
	}
	for name, want := range map[string]Type{"token_embd.weight": Q8_0, "blk.0.attn_output.weight": F16, "blk.1.ffn_down.weight": Q8_0, "blk.1.ffn_up.weight": Q8_0} {
		if got, _ := f.Tensor(name); got.Type != want {
			t.Errorf("%s: want %s, got %s", name, want, got.Type)
		}
	}
	s, err := NewSource(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Config().Layers, c.Layers) {
		t.Errorf("shapes: want %v, got %v", c.Layers, s.Config().Layers)
	}
	x, err := s.Tensor(checkpoint.LayerName(1, checkpoint.WDown))
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range checkpoint.Float32s(x) {
		if w := goldenWeight(x.Name, i); v < w-1.0/127 || v > w+1.0/127 {
			t.Fatalf("%s: element %d: want %v, got %v", x.Name, i, w, v)
		}
	}
}

// Padding that has been trained is a part of the model and stays.
func TestTrainedPaddingStays(t *testing.T) {
	_, file, _ := exported(t, shaped("float32", odd), ExportOptions{PadTo: 8})
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	up, _ := f.Tensor("blk.0.ffn_up.weight")
	copy(up.Data[len(up.Data)-4:], []byte{0, 0, 128, 63})
	s, err := NewSource(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Config().Layers[0].Intermediate; got != 40 {
		t.Errorf("want 40 neurons, got %d", got)
	}
}

// A failed or refused export leaves what was there.
func TestExportRefuses(t *testing.T) {
	c := shaped("float32", odd)
	dir, file, _ := exported(t, c, ExportOptions{})
	src, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	before := testutil.ReadTree(t, filepath.Dir(file))
	ctx := context.Background()
	if _, err := Export(ctx, src, file, ExportOptions{}); !errors.Is(err, checkpoint.ErrExists) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("want %v, got %v", checkpoint.ErrExists, err)
	}
	k := Q4_0
	_, err = Export(ctx, src, file+"2", ExportOptions{Type: &k})
	testutil.CheckError(t, "type", err, "want f32, f16, bf16 or q8_0, got Q4_0")
	_, err = Export(ctx, src, file+"2", ExportOptions{PadTo: -1})
	testutil.CheckError(t, "padding", err, "want multiples of 1")
	_, err = Export(ctx, src, filepath.Dir(file), ExportOptions{Replace: true})
	testutil.CheckError(t, "a directory", err, "is not a regular file")
	stopped, stop := context.WithCancel(ctx)
	stop()
	if _, err := Export(stopped, src, file, ExportOptions{Replace: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("want %v, got %v", context.Canceled, err)
	}
	_, err = Export(ctx, overflowing{src}, file, ExportOptions{Replace: true, Type: new(F16)})
	testutil.CheckError(t, "too large for F16", err, "token_embd.weight", "row 1: element 3", "does not fit in F16")
	testutil.CheckSameTree(t, "after refused exports", before, testutil.ReadTree(t, filepath.Dir(file)), 2)
	if _, err := Export(ctx, src, file, ExportOptions{Replace: true}); err != nil {
		t.Error(err)
	}
	testutil.CheckSameTree(t, "replaced", before, testutil.ReadTree(t, filepath.Dir(file)), 2)
}

// overflowing has an element that only F32 and BF16 can hold.
type overflowing struct{ checkpoint.Source }

func (o overflowing) Tensor(name string) (checkpoint.Tensor, error) {
	x, err := o.Source.Tensor(name)
	if name == checkpoint.EmbedName {
		x.Data = bytes.Clone(x.Data)
		checkpoint.Encode(x.Data[4*(24+3):], checkpoint.F32, 1e6)
	}
	return x, err
}

// The rows of q and k go to llama.cpp's order and back.
func TestHalves(t *testing.T) {
	for row := range 24 {
		if got := interleaved(halves(row, 8), 8); got != row {
			t.Errorf("row %d: got %d", row, got)
		}
	}
}

// Every tensor must be as long as its shape says.
func TestWriteTensorsChecksLengths(t *testing.T) {
	short := tensorSpec{name: "x", kind: F32, shape: []int{2, 3}, write: func(w io.Writer) error { _, err := w.Write(make([]byte, 20)); return err }}
	testutil.CheckError(t, "short", writeTensors(io.Discard, []tensorSpec{short}), "x: want 24 bytes, got 20")
}
