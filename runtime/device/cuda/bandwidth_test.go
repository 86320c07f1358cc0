//go:build cuda || cudaemu

package cuda

import "testing"

// A bandwidth is measured, and its buffers are freed.
func TestCopyBandwidth(t *testing.T) {
	d := open(t, 1)
	before, err := d.driver.FreeMemory()
	if err != nil {
		t.Fatal(err)
	}
	rate, err := d.CopyBandwidth()
	if err != nil || !(rate > 1e6) {
		t.Errorf("want a bandwidth, got %v, %v", rate, err)
	}
	if after, err := d.driver.FreeMemory(); err != nil || after < before {
		t.Errorf("want %d bytes free as before, got %d, %v", before, after, err)
	}
	if d.PeakBytes() >= maxCopyBytes {
		t.Errorf("the buffers count as the device's peak: %d bytes", d.PeakBytes())
	}
}
