package machine

import (
	"os"
	"testing"
)

func TestProcField(t *testing.T) {
	file := []byte("processor\t: 0\nmodel name\t: Zilog  Z80 : fast\nflags: a b\nmodel name\t: other\n")
	for name, want := range map[string]string{"model name": "Zilog  Z80 : fast", "processor": "0", "model": "", "flags": "a b"} {
		if got := procField(file, name); got != want {
			t.Errorf("%s: want %q, got %q", name, want, got)
		}
	}
}

func TestKibibytes(t *testing.T) {
	for text, want := range map[string]int64{
		"32768K": 32 << 20, "16384000 kB": 16384000 << 10, "1 kB": 1024,
		"": 0, "K": 0, "-5 kB": 0, "x kB": 0, "77": 0, "99999999999999999999K": 0, "9000000000000000000K": 0,
	} {
		if got := kibibytes(text); got != want {
			t.Errorf("%q: want %d, got %d", text, want, got)
		}
	}
}

func TestDescribe(t *testing.T) {
	m := Describe()
	if m.CPU == "" || m.Cores < 1 {
		t.Errorf("want a name and at least one core, got %+v", m)
	}
	if _, err := os.Stat("/proc/meminfo"); err == nil && m.MemoryBytes < 64<<20 {
		t.Errorf("want the physical memory, got %d bytes", m.MemoryBytes)
	}
}
