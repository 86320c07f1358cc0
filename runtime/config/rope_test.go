package config

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// The frequencies of transformers, by testdata/rope.py, to the last bit but one:
// its power function is not always rounded correctly.
func TestInvFreqGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/rope.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			HeadDim int             `json:"head_dim"`
			Rope    json.RawMessage `json:"rope"`
			Bits    []int32         `json:"inv_freq_bits"`
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	kinds, values, exact := map[string]int{}, 0, 0
	for _, g := range golden.Cases {
		c, err := Parse([]byte(`{"hidden_size":8,"vocab_size":9,"num_hidden_layers":1,"num_attention_heads":2,"intermediate_size":4,"head_dim":` +
			string(must(json.Marshal(g.HeadDim))) + `,"rope_parameters":` + string(g.Rope) + "}"))
		if err != nil {
			t.Fatal(err)
		}
		kind := "default"
		if c.RopeScaling != nil {
			kind = c.RopeScaling.Type
		}
		kinds[kind]++
		got := c.InvFreq()
		if len(got) != len(g.Bits) || len(got) != g.HeadDim/2 {
			t.Fatalf("%s: want %d frequencies, got %d", g.Rope, len(g.Bits), len(got))
		}
		for i, x := range got {
			values++
			off := int32(math.Float32bits(x)) - g.Bits[i]
			if off == 0 {
				exact++
			}
			if off < -1 || off > 1 {
				t.Errorf("%s: frequency %d of %d: want %v, got %v, %d units of the last place away", g.Rope, i, len(got), math.Float32frombits(uint32(g.Bits[i])), x, off)
			}
		}
	}
	if kinds["default"] == 0 || kinds["linear"] == 0 || kinds["llama3"] == 0 {
		t.Errorf("the goldens leave out a rope type: %v", kinds)
	}
	t.Logf("%d of %d to the last bit", exact, values)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
