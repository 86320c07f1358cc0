package hardware

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
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

func TestBufferBytes(t *testing.T) {
	for _, c := range []struct {
		m    Machine
		want int64
	}{
		{Machine{}, 256 << 20},
		{Machine{L3Bytes: 8 << 20, MemoryBytes: 64 << 30}, 256 << 20},
		{Machine{L3Bytes: 100 << 20, MemoryBytes: 64 << 30}, 800 << 20},
		{Machine{L3Bytes: 512 << 20, MemoryBytes: 64 << 30}, 1 << 30},
		{Machine{L3Bytes: 32 << 20, MemoryBytes: 1<<30 + 5}, 128 << 20},
		{Machine{MemoryBytes: 100}, 1 << 20},
	} {
		if got := bufferBytes(c.m); got != c.want {
			t.Errorf("%+v: want %d, got %d", c.m, c.want, got)
		}
	}
}

func TestSumAndSplitLoseNothing(t *testing.T) {
	for _, n := range []int{1, 7, 8, 9, 16, 1000, 1003} {
		words := make([]uint64, n)
		var want uint64
		for i := range words {
			words[i] = uint64(i)*0x9e3779b97f4a7c15 + 1
			want += words[i]
		}
		for _, parts := range []int{1, 2, 3, 64} {
			pieces := split(words, parts)
			if got := slices.Concat(pieces...); !slices.Equal(got, words) || len(pieces) != parts {
				t.Errorf("%d words in %d parts: got %d words in %d parts", n, parts, len(got), len(pieces))
			}
			if got := each(pieces, sum); got != want {
				t.Errorf("%d words in %d parts: want sum %d, got %d", n, parts, want, got)
			}
		}
	}
}

func TestReadBandwidth(t *testing.T) {
	b, err := ReadBandwidth(Machine{CPU: "here", MemoryBytes: 512 << 20}, 2) // a buffer of 64 MiB: short
	if err != nil {
		t.Fatal(err)
	}
	if b.CPU != "here" || b.Threads != 2 || b.BufferBytes != 64<<20 || b.Passes < 3 {
		t.Errorf("got %+v", b)
	}
	// From a slow board to more than any processor's memory.
	if b.GBps < 0.1 || b.GBps > 5000 {
		t.Errorf("want a plausible bandwidth, got %v GB/s", b.GBps)
	}
	t.Logf("%.1f GB/s, %d passes", b.GBps, b.Passes)
	for _, threads := range []int{0, -1, 1025} {
		if _, err := ReadBandwidth(Machine{}, threads); err == nil {
			t.Errorf("%d threads: want an error", threads)
		}
	}
}

func TestMeterRemembers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	calls := 0
	m := Meter{
		Dir: dir,
		Now: func() time.Time { return now },
		Read: func(m Machine, threads int) (Bandwidth, error) {
			calls++
			return Bandwidth{CPU: m.CPU, Threads: threads, GBps: float64(calls)}, nil
		},
	}
	here := Machine{CPU: "A/B ../C", Cores: 4}
	ask := func(m Meter, machine Machine, threads int, force bool, want float64) {
		t.Helper()
		b, err := m.Measure(machine, threads, force)
		if err != nil || b.GBps != want || b.Threads != threads {
			t.Errorf("want measurement %v, got %+v, %v", want, b, err)
		}
	}
	ask(m, here, 2, false, 1)
	ask(m, here, 2, false, 1)
	ask(m, here, 4, false, 2)                            // other threads
	ask(m, here, 2, true, 3)                             // forced
	ask(m, here, 2, false, 3)                            // and remembered
	ask(m, Machine{CPU: "other", Cores: 4}, 2, false, 4) // other processor
	now = now.Add(7*24*time.Hour + 1)
	ask(m, here, 2, false, 5) // too old
	now = now.Add(-time.Hour)
	ask(m, here, 2, false, 6) // from the future
	now = now.Add(2 * time.Hour)
	m.MaxAge = time.Hour
	ask(m, here, 2, false, 7) // too old for a shorter memory

	if files, err := filepath.Glob(dir + "/*"); err != nil || len(files) != 3 {
		t.Fatalf("want one file each for three keys, got %v, %v", files, err)
	}
	for _, broken := range []string{"", "{", `{"cpu":"A/B ../C","threads":2,"gbps":-3,"measured":"2026-01-08T01:00:00Z"}`, `{"cpu":"x","threads":2,"gbps":3,"measured":"2026-01-08T01:00:00Z"}`} {
		if err := os.WriteFile(m.file(here, 2), []byte(broken), 0o644); err != nil {
			t.Fatal(err)
		}
		ask(m, here, 2, false, float64(calls+1))
	}

	m.Dir = ""
	ask(m, here, 2, false, float64(calls+1))
	ask(m, here, 2, false, float64(calls+1))

	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	m.Dir = blocked // not a directory: measured all the same
	ask(m, here, 2, false, float64(calls+1))

	m.Read = func(Machine, int) (Bandwidth, error) { return Bandwidth{}, errors.New("boom") }
	if _, err := m.Measure(here, 2, true); err == nil || err.Error() != "boom" {
		t.Errorf("want boom, got %v", err)
	}
}
