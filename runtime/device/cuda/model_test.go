//go:build cudaemu && !cuda

package cuda

import (
	"fmt"
	"testing"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/device/cpu"
	"mop/runtime/kvcache"
	"mop/runtime/model"
)

// logits runs prompt and continuation, the first as prefill, the rest one by one.
func logits(t *testing.T, dev device.Device, src checkpoint.Source, ids []int, first int) [][]float32 {
	t.Helper()
	m, err := model.Load(dev, src)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := kvcache.New(dev, m.Config, 1, len(ids))
	if err != nil {
		t.Fatal(err)
	}
	var out [][]float32
	keep := func(_ int, z []float32) error {
		out = append(out, append([]float32(nil), z...))
		return nil
	}
	if err := m.Forward(cache, []model.Chunk{{IDs: ids[:first]}}, nil); err != nil {
		t.Fatal(err)
	}
	rows := make([]int, first)
	for i := range rows {
		rows[i] = i
	}
	if err := m.Logits(rows, keep); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids[first:] {
		if err := m.Decode(cache, []model.Chunk{{IDs: []int{id}}}); err != nil {
			t.Fatal(err)
		}
		if err := m.Logits([]int{0}, keep); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestDemoModel(t *testing.T) {
	src, err := checkpoint.Open("../../../cmd/mop/demo/model")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	host, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	dev, err := OpenEmulated(1, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	ids := []int{1, 330, 45, 99, 512, 7, 300, 301, 18, 900, 77, 5}
	want := logits(t, host, src, ids, 8)
	got := logits(t, dev, src, ids, 8)
	for i := range want {
		worst, at := float32(0), 0
		for j := range want[i] {
			if e := want[i][j] - got[i][j]; e*e > worst*worst || e != e {
				worst, at = e, j
			}
		}
		fmt.Println(i, at, worst, want[i][at], got[i][at])
	}
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
}
