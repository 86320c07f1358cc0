package cpu

import "testing"

func TestFamily(t *testing.T) {
	for version, want := range map[uint32]uint32{0x00a20f12: 25, 0x00a10f11: 25, 0x00b00f21: 26, 0x000806f8: 6} {
		if got := family(version); got != want {
			t.Errorf("%#x: want %d, got %d", version, want, got)
		}
	}
	if got := vendor(0x68747541, 0x69746e65, 0x444d4163); got != "AuthenticAMD" {
		t.Errorf("want AuthenticAMD, got %q", got)
	}
}
