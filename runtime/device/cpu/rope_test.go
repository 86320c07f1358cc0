package cpu

import (
	"slices"
	"testing"

	"mop/runtime/device"
)

// Tables belong to the values of the frequencies, not to the memory that holds them, and
// their number is bounded.
func TestRoPETables(t *testing.T) {
	d, err := New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	freq := []float32{1, 0.5}
	first := d.ropeTable(device.RoPEFrequencies{InvFreq: freq}, 10)
	want := slices.Clone(first.cs)
	if again := d.ropeTable(device.RoPEFrequencies{InvFreq: slices.Clone(freq)}, 10); again != first {
		t.Error("want one table for equal frequencies")
	}
	for i := range 2 * maxRoPETables {
		freq[1] = float32(i+2) / 100 // the same memory
		got := d.ropeTable(device.RoPEFrequencies{InvFreq: freq}, 10)
		cos, sin := make([]float32, 2), make([]float32, 2)
		angles(cos, sin, 9, device.RoPEFrequencies{InvFreq: freq})
		if c, s := got.at(9); !slices.Equal(c, cos) || !slices.Equal(s, sin) {
			t.Errorf("frequencies %v: want %v and %v at position 9, got %v and %v", freq, cos, sin, c, s)
		}
	}
	if len(d.ropes) != maxRoPETables {
		t.Errorf("want %d tables, got %d", maxRoPETables, len(d.ropes))
	}
	if got := d.ropeTable(device.RoPEFrequencies{InvFreq: []float32{1, 0.5}}, 10); !slices.Equal(got.cs, want) {
		t.Error("want the same table again after it was dropped")
	}
}
