package checkpoint

import (
	"path/filepath"
	"testing"

	"mop/runtime/config"
)

// The checksum does not depend on the sharding, and differs when a weight, a type or
// a shape differs.
func TestChecksum(t *testing.T) {
	c := &config.Config{VocabSize: 11, HiddenSize: 8, HeadDim: 4, Layers: []config.LayerShape{{Heads: 2, KVHeads: 2, HeadDim: 4, Intermediate: 6}},
		RopeTheta: 1e4, NormEps: 1e-5, MaxPositions: 16, BOS: 1, DType: "bfloat16"}
	sum := func(s Source) string {
		t.Helper()
		x, err := Checksum(s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	want := sum(Random(c, 1, BF16))
	for _, shard := range []int64{0, 200} {
		dir := filepath.Join(t.TempDir(), "m")
		if err := WriteRandom(dir, c, 1, BF16, SaveOptions{ShardBytes: shard}); err != nil {
			t.Fatal(err)
		}
		d, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if got := sum(d); got != want {
			t.Errorf("shards of %d bytes: want %s, got %s", shard, want, got)
		}
	}
	other := c.Clone()
	other.Layers[0].Intermediate = 5
	seen := map[string]bool{want: true}
	for name, s := range map[string]Source{"seed": Random(c, 2, BF16), "type": Random(c, 1, F16), "shape": Random(other, 1, BF16)} {
		x := sum(s)
		if seen[x] {
			t.Errorf("another %s: the same sum", name)
		}
		seen[x] = true
	}
}
