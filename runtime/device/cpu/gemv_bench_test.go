package cpu

import (
	"fmt"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
)

// A matrix far larger than any cache, then small ones one after the other, as a
// token meets them.
func BenchmarkGEMV(b *testing.B) {
	for _, count := range []int{1, 32} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			d, err := New(0)
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			const in = 2048
			out := 1 << 17 / count
			src := checkpoint.Random(&config.Config{VocabSize: out * count, HiddenSize: in, HeadDim: 2}, 1, checkpoint.BF16)
			t, err := src.Tensor(checkpoint.EmbedName)
			if err != nil {
				b.Fatal(err)
			}
			var ws []device.Weight
			for i := range count {
				n := len(t.Data) / count
				w, err := d.Place(checkpoint.Tensor{Name: "w", DType: t.DType, Shape: []int{out, in}, Data: t.Data[i*n : (i+1)*n]}, device.PlaceOptions{})
				if err != nil {
					b.Fatal(err)
				}
				ws = append(ws, w)
			}
			x, _ := d.Buffer(1, in)
			y, _ := d.Buffer(1, out)
			b.SetBytes(int64(len(t.Data)))
			for b.Loop() {
				for _, w := range ws {
					d.Linear(device.Decode, y, x, 1, w)
				}
			}
		})
	}
}
