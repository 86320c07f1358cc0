package open

import (
	"testing"

	"mop/runtime/config"
	"mop/runtime/device"
)

// sixteenBit is a device that only says how large a cached number is.
type sixteenBit struct{ device.Device }

func (sixteenBit) Capabilities() device.Capabilities {
	return device.Capabilities{CacheElementBytes: 2}
}

// A cache is counted in the device's element type: keys and values of 3 sequences of 5
// positions of 2 heads of 8 numbers, of 2 bytes each.
func TestCacheBytes(t *testing.T) {
	c := &config.Config{Layers: []config.LayerShape{{Heads: 4, KVHeads: 2, HeadDim: 8}, {}}}
	if got, want := CacheBytes(sixteenBit{}, c, 3, 5), 2.*3*5*2*8*2; got != want {
		t.Errorf("want %v bytes, got %v", want, got)
	}
}
