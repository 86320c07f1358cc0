package model

import (
	"testing"

	"mop/runtime/config"
)

// Worked by hand: D 3, V 5; one layer of H 4, K 2, Dh 2, I 7 and one without heads, I 1.
func TestFlops(t *testing.T) {
	c := &config.Config{VocabSize: 5, HiddenSize: 3, Layers: []config.LayerShape{{Heads: 4, KVHeads: 2, HeadDim: 2, Intermediate: 7}, {HeadDim: 2, Intermediate: 1}}}
	// One position costs, in multiply-adds: q and o 3*8 each, k and v 3*4 each,
	// gate, up and down 3*7 each; the other layer 3*1 three times.
	const position = 2*24 + 2*12 + 3*21 + 3*3
	for _, x := range []struct{ past, n, rows, want int }{
		{0, 1, 0, 2 * (position + 2*8*1)}, // sees itself
		{0, 1, 1, 2 * (position + 2*8*1 + 5*3)},
		{10, 1, 1, 2 * (position + 2*8*11 + 5*3)},
		{0, 3, 1, 2 * (3*position + 2*8*(1+2+3) + 5*3)},
		{10, 3, 2, 2 * (3*position + 2*8*(11+12+13) + 2*5*3)},
	} {
		if got := Flops(c, x.past, x.n, x.rows); got != int64(x.want) {
			t.Errorf("%+v: got %d", x, got)
		}
	}
	// The operations of two passes add up to those of one.
	if a, b := Flops(c, 0, 9, 0), Flops(c, 0, 4, 0)+Flops(c, 4, 5, 0); a != b {
		t.Errorf("9 positions: %d, 4 and then 5: %d", a, b)
	}
}

// Worked by hand: D 3, V 5, three layers, the last one without attention.
func TestPromptFlops(t *testing.T) {
	first, second := config.LayerShape{Heads: 1, KVHeads: 1, HeadDim: 1, Intermediate: 2}, config.LayerShape{Heads: 4, KVHeads: 2, HeadDim: 2, Intermediate: 7}
	c := &config.Config{VocabSize: 5, HiddenSize: 3, Layers: []config.LayerShape{first, second, {HeadDim: 2, Intermediate: 1}}}
	// The first layer runs all 40 positions. The second computes keys and values of all,
	// but queries, output and MLP of the last one only, which attends to 40 positions.
	// The third runs the last position.
	all := 40*(4*3+3*3*2) + 2*1*40*41/2
	cut := 40*2*3*4 + (2*3*8 + 3*3*7) + 2*8*40
	if got, want := PromptFlops(c, 40), int64(2*(all+cut+3*3*1+5*3)); got != want {
		t.Errorf("40 positions: want %d, got %d", want, got)
	}
	if got, want := PromptFlops(c, 31), Flops(c, 0, 31, 1); got != want {
		t.Errorf("31 positions, all of them in all layers: want %d, got %d", want, got)
	}
	c.Layers = []config.LayerShape{{Intermediate: 2}, {Intermediate: 2}}
	if got, want := PromptFlops(c, 40), int64(2*(2*3*3*2+5*3)); got != want {
		t.Errorf("no attention: want %d, got %d", want, got)
	}
}
