package trace

import (
	"strings"
	"testing"
	"time"

	"mop/runtime/device"
	"mop/runtime/device/cpu"
)

// Launches of one kernel and grid are one row, the longest first; rates and the share of the
// roofline are those of the sums; what is not known is a dash.
func TestMarkdown(t *testing.T) {
	grid := [3]int{32, 2, 1}
	p := Pass{Title: "a pass", Hardware: "a card", Commit: "abc", Wall: 3 * time.Millisecond,
		Limits: device.Limits{BytesPerSecond: 2e12, FlopsPerSecond: 1e15, ClockMHz: 1500},
		Launches: []device.Launch{
			{Kernel: "norm", Grid: [3]int{1, 1, 1}, Time: 100 * time.Microsecond},
			{Kernel: "product", Grid: grid, Time: 400 * time.Microsecond, Flops: 2e11, Bytes: 1e8, CacheBytes: 4e9},
			{Kernel: "product", Grid: [3]int{16, 2, 1}, Time: 50 * time.Microsecond, Bytes: 8e7},
			{Kernel: "product", Grid: grid, Time: 600 * time.Microsecond, Flops: 3e11, Bytes: 1e8, CacheBytes: 1e9},
		}}
	var b strings.Builder
	if err := p.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"4 launches, 1.15 ms in all; 3 ms of wall time without events.",
		"Copy 2000 GB/s, measured; tensor cores 1000 TFLOP/s at 1500 MHz",
		"|---:| | product | 32 2 1 | 2 | 500 | 1 | 200 | 500 | 5 | 50 | | norm | 1 1 1 | 1 | 100 | 0.1 | - | - | - | - | | product | 16 2 1 | 1 | 50 | 0.05 | 1600 | - | - | 80 |",
	} {
		if !strings.Contains(strings.ReplaceAll(text, "|---: |", "|---:|"), want) {
			t.Errorf("want %q in\n%s", want, b.String())
		}
	}
}

// A device that cannot time its launches is refused.
func TestRecordRefused(t *testing.T) {
	dev, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	if _, _, err := Record(dev, func() error { return nil }); err == nil || !strings.Contains(err.Error(), "device cpu") {
		t.Errorf("want the device refused, got %v", err)
	}
}
