package llama2c

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// sample is a version 0 or 1 file of dim 4, hidden 3, 2 layers, 2 heads, 1 KV
// head, 5 tokens, 6 positions, whose i-th float is i.
func sample(v1, tied bool) []byte {
	vocab := int32(5)
	var out []byte
	put := func(v int32) { out = binary.LittleEndian.AppendUint32(out, uint32(v)) }
	if v1 {
		put(magic)
		put(1)
	} else if !tied {
		vocab = -vocab
	}
	for _, v := range []int32{4, 3, 2, 2, 1, vocab, 6} {
		put(v)
	}
	if v1 {
		out = append(out, make([]byte, v1Header-len(out))...)
		if tied {
			out[36] = 1
		}
	}
	floats := 5*4 + 2*(2*4+2*16+2*8+3*12) + 4 // embedding, layers, final norm
	if !v1 {
		floats += 6 * 2
	}
	if !tied {
		floats += 5 * 4
	}
	for i := range floats {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(i)))
	}
	return out
}

func floats(t *testing.T, s *Source, name string) []float32 {
	t.Helper()
	x, err := s.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	var out []float32
	for b := x.Data; len(b) > 0; b = b[4:] {
		out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return out
}

// Worked by hand: where each tensor of the sample begins, and the order of the rows of
// q and k. The head size is 2, so the two rows of a head keep their order; the next
// test has head size 4.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		v1, tied bool
		first    map[string]float32
	}{
		{false, true, map[string]float32{checkpoint.EmbedName: 0,
			"model.layers.0.input_layernorm.weight": 20, "model.layers.1.input_layernorm.weight": 24,
			"model.layers.0.self_attn.q_proj.weight": 28, "model.layers.1.self_attn.q_proj.weight": 44,
			"model.layers.0.self_attn.k_proj.weight": 60, "model.layers.0.self_attn.v_proj.weight": 76,
			"model.layers.0.self_attn.o_proj.weight": 92, "model.layers.1.post_attention_layernorm.weight": 128,
			"model.layers.0.mlp.gate_proj.weight": 132, "model.layers.0.mlp.down_proj.weight": 156,
			"model.layers.1.mlp.up_proj.weight": 192, checkpoint.NormName: 204}},
		{false, false, map[string]float32{checkpoint.NormName: 204, checkpoint.HeadName: 220}},
		{true, false, map[string]float32{
			"model.layers.1.input_layernorm.weight": 4, "model.layers.0.post_attention_layernorm.weight": 8,
			checkpoint.NormName: 16, checkpoint.EmbedName: 20, "model.layers.0.self_attn.q_proj.weight": 40,
			"model.layers.0.self_attn.o_proj.weight": 104, "model.layers.0.mlp.gate_proj.weight": 136,
			"model.layers.1.mlp.up_proj.weight": 196, checkpoint.HeadName: 208}},
	} {
		s, err := Parse(sample(c.v1, c.tied))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range c.first {
			if got := floats(t, s, name)[0]; got != want {
				t.Errorf("v1 %v: %s: want it to begin with %v, got %v", c.v1, name, want, got)
			}
		}
		if _, err := s.Tensor(checkpoint.HeadName); (err == nil) == c.tied {
			t.Errorf("v1 %v tied %v: head: %v", c.v1, c.tied, err)
		}
	}
}

// Two heads of size 4 over one column: interleaved pairs (0,1)(2,3) become the
// halves (0,2)(1,3).
func TestUnpermute(t *testing.T) {
	x := checkpoint.Tensor{Shape: []int{8, 1}}
	for i := range 8 {
		x.Data = append(x.Data, byte(i), 0, 0, 0)
	}
	var got []byte
	for b := unpermute(x, 4); len(b) > 0; b = b[4:] {
		got = append(got, b[0])
	}
	if want := []byte{0, 2, 1, 3, 4, 6, 5, 7}; !bytes.Equal(got, want) {
		t.Errorf("want rows %v, got %v", want, got)
	}
}

func TestRefused(t *testing.T) {
	set := func(b []byte, at int, v int32) []byte {
		b = slices.Clone(b)
		binary.LittleEndian.PutUint32(b[at:], uint32(v))
		return b
	}
	v0, v1 := sample(false, true), sample(true, true)
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "truncated"},
		{"half a header", v0[:27], "truncated"},
		{"half a v1 header", v1[:255], "truncated"},
		{"a byte short", v0[:len(v0)-1], "want 908 bytes"},
		{"a byte long", append(slices.Clone(v1), 0), "want 1088 bytes"},
		{"version 2", set(v1, 4, 2), "got version 2"},
		{"flag of 2", set(v1, 36, 2), "shared classifier"},
		{"dim 0", set(v0, 0, 0), "dim: want 1"},
		{"dim negative", set(v0, 0, -4), "dim: want 1"},
		{"dim huge", set(v0, 0, 1<<30), "dim: want 1"},
		{"layers huge", set(v0, 8, math.MaxInt32), "n_layers: want 1"},
		{"heads 3", set(v0, 12, 3), "even multiple"},
		{"odd head width", set(v0, 12, 4), "even multiple"},
		{"KV heads 3", set(set(v0, 12, 2), 16, 3), "divide"},
		{"vocabulary of least int32", set(v0, 20, math.MinInt32), "vocab_size: want 1"},
		{"untied without a head", set(v0, 20, -5), "want 988 bytes"},
	} {
		if _, err := Parse(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q, got %v", c.name, c.want, err)
		}
	}
}

// Sizes whose product overflows 64 bits are refused before anything is allocated.
func TestOverflow(t *testing.T) {
	const n = math.MaxInt32
	h := header{dim: n - 1, mlp: n, layers: n, heads: 1, kv: 1, vocab: n, positions: n}
	if _, ok := h.bytes(); ok {
		t.Error("want the overflow to be seen")
	}
}

// Both versions of one model give the same tensors, bit for bit.
func TestVersionsAgree(t *testing.T) {
	a, err := Open(testutil.DataPath(t, "stories260K/stories260K.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := Open(testutil.DataPath(t, "stories260K/checkpoint_v1.bin"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, info := range checkpoint.ExpectedTensors(a.Config()) {
		x, err1 := a.Tensor(info.Name)
		y, err2 := b.Tensor(info.Name)
		if err1 != nil || err2 != nil || !slices.Equal(x.Shape, y.Shape) || !bytes.Equal(x.Data, y.Data) {
			t.Errorf("%s: differs (%v, %v)", info.Name, err1, err2)
		}
	}
	if err := checkpoint.CheckFinite(a); err != nil {
		t.Error(err)
	}
}

func TestImport(t *testing.T) {
	for _, c := range []struct {
		file  string
		vocab int
		shape config.LayerShape
		n     int // layers
	}{
		{"stories260K/stories260K.bin", 512, config.LayerShape{Heads: 8, KVHeads: 4, HeadDim: 8, Intermediate: 172}, 5},
		{"babyllama-tok105/model5000.bin", 105, config.LayerShape{Heads: 8, KVHeads: 4, HeadDim: 16, Intermediate: 352}, 5},
		{"aidreams260K/aidreams260K.bin", 512, config.LayerShape{Heads: 4, KVHeads: 4, HeadDim: 16, Intermediate: 172}, 4},
	} {
		path := testutil.DataPath(t, c.file)
		out := filepath.Join(t.TempDir(), "m")
		if err := Import(path, out, "", checkpoint.SaveOptions{Data: map[string][]byte{"tokenizer.json": []byte("{}")}}); err != nil {
			t.Fatal(err)
		}
		d, err := checkpoint.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		got := d.Config()
		if got.VocabSize != c.vocab || len(got.Layers) != c.n || got.Layers[0] != c.shape || !got.Tied || got.BOS != 1 || !slices.Equal(got.EOS, []int{2}) {
			t.Errorf("%s: got %+v", c.file, got)
		}
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, info := range checkpoint.ExpectedTensors(got) {
			x, err1 := d.Tensor(info.Name)
			y, err2 := s.Tensor(info.Name)
			if err1 != nil || err2 != nil || !bytes.Equal(x.Data, y.Data) {
				t.Errorf("%s: %s: differs (%v, %v)", c.file, info.Name, err1, err2)
			}
		}
	}
}

func TestImportRefusesNaN(t *testing.T) {
	data := sample(false, true)
	binary.LittleEndian.PutUint32(data[v0Header+4*(60+5):], 0x7fc00000) // k of layer 0, row 1, column 1
	dir := t.TempDir()
	path := filepath.Join(dir, "w.bin")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	err := Import(path, filepath.Join(dir, "m"), "", checkpoint.SaveOptions{})
	want := path + ": layer 0: model.layers.0.self_attn.k_proj.weight: element [1 1] is not finite"
	if err == nil || err.Error() != want {
		t.Errorf("want %q, got %v", want, err)
	}
}

func FuzzLlama2c(f *testing.F) {
	for _, v1 := range []bool{false, true} {
		for _, tied := range []bool{false, true} {
			f.Add(sample(v1, tied))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse(data)
		if err != nil {
			if s != nil || err.Error() == "" {
				t.Errorf("want an error alone, got %v and %q", s, err)
			}
			return
		}
		n := 0
		for _, info := range checkpoint.ExpectedTensors(s.Config()) {
			x, err := s.Tensor(info.Name)
			if err != nil {
				t.Fatal(err)
			}
			n += len(x.Data)
		}
		if n > len(data) {
			t.Errorf("%d bytes of tensors in a file of %d", n, len(data))
		}
	})
}
