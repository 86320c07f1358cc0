package hardware

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mop/internal/machine"
)

func TestCPUTimes(t *testing.T) {
	stat := "cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n"
	if busy, steal, ok := cpuTimes([]byte(stat)); !ok || busy != 1630*time.Millisecond || steal != 80*time.Millisecond {
		t.Errorf("want 1.63s busy and 80ms stolen, got %v, %v, %v", busy, steal, ok)
	}
	for _, broken := range []string{"", "cpu", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3 4 5 6 7", "cpu 1 2 3 4 5 6 7 x", "cpu 1 2 3 -4 5 6 7 8", "cpu 1 2 3 99999999999999 5 6 7 8"} {
		if _, _, ok := cpuTimes([]byte(broken)); ok {
			t.Errorf("%q: want not ok", broken)
		}
	}
}

func TestBufferBytes(t *testing.T) {
	for _, c := range []struct {
		m    machine.Info
		want int64
	}{
		{machine.Info{}, 1 << 30},
		{machine.Info{L3Bytes: 8 << 20, MemoryBytes: 64 << 30}, 1 << 30},
		{machine.Info{L3Bytes: 200 << 20, MemoryBytes: 64 << 30}, 1600 << 20},
		{machine.Info{L3Bytes: 1152 << 20, MemoryBytes: 64 << 30}, 4 << 30},
		{machine.Info{L3Bytes: 32 << 20, MemoryBytes: 1<<30 + 5}, 128 << 20},
		{machine.Info{MemoryBytes: 100}, 1 << 20},
	} {
		if got := bufferBytes(c.m); got != c.want {
			t.Errorf("%+v: want %d, got %d", c.m, c.want, got)
		}
	}
}

func TestSplitLosesNothing(t *testing.T) {
	words := make([]uint64, 1003)
	for i := range words {
		words[i] = uint64(i)
	}
	for _, parts := range []int{1, 2, 3, 64} {
		if pieces := split(words, parts); !slices.Equal(slices.Concat(pieces...), words) || len(pieces) != parts {
			t.Errorf("%d parts: got %d, of other words", parts, len(pieces))
		}
	}
}

// Every instruction set's loops against the plain formula, around the length
// of a block, between guard words that would show a read too many.
func TestSumOfEveryISA(t *testing.T) {
	for _, p := range probes() {
		for _, n := range []int{1, 7, 8, 9, 63, 64, 65, 127, 128, 1000, 1003, 4096} {
			guarded := make([]uint64, n+2*blockOfTests)
			for i := range guarded {
				guarded[i] = 1 << 63
			}
			words := guarded[blockOfTests : blockOfTests+n]
			var want uint64
			for i := range words {
				words[i] = uint64(i)*0x9e3779b97f4a7c15 + 1
				want += words[i]
			}
			if got := p.sum(words); got != want {
				t.Errorf("%s: %d words: want sum %#x, got %#x", p.isa, n, want, got)
			}
		}
	}
}

const blockOfTests = 64

func TestFMAOfEveryISA(t *testing.T) {
	for _, p := range probes() {
		for _, n := range []int{0, 1, 2, 1000} {
			if got, sums := p.fma(n, 3, 0.5); got != 1.5*float64(n*sums) || sums < 8 {
				t.Errorf("%s: %d steps of %d sums: want %v, got %v", p.isa, n, sums, 1.5*float64(n*sums), got)
			}
		}
	}
	if p, err := probeFor(""); err != nil || p.isa != ISAs()[0] {
		t.Errorf("want the widest, %s, got %s, %v", ISAs()[0], p.isa, err)
	}
	if _, err := probeFor("avx9"); err == nil || !strings.Contains(err.Error(), "generic") {
		t.Errorf("want an error that says what there is, got %v", err)
	}
}

func TestMeasureRoofline(t *testing.T) {
	here := machine.Info{CPU: "here", MemoryBytes: 512 << 20} // a buffer of 64 MiB: short
	l, err := MeasureRoofline(here, 2, "")
	if err != nil {
		t.Fatal(err)
	}
	r, f := l.Read, l.FMA
	if l.Machine != here || r.Threads != 2 || r.BufferBytes != 64<<20 || r.Passes < minPasses || f.Threads != 2 || f.Passes < minPasses || r.ISA != f.ISA {
		t.Errorf("got %+v", l)
	}
	if !(r.GBps > 0 && f.GFLOPs > 0) || math.IsInf(r.GBps, 0) || math.IsInf(f.GFLOPs, 0) {
		t.Errorf("want positive rates, got %v GB/s and %v GFLOP/s", r.GBps, f.GFLOPs)
	}
	for _, isa := range ISAs() {
		k, err := FMAPeak(1, isa)
		if err != nil || k.ISA != isa || k.GFLOPs <= 0 {
			t.Errorf("%s: got %+v, %v", isa, k, err)
		}
		t.Logf("%s: %.1f GFLOP/s, one thread", isa, k.GFLOPs)
	}
	t.Logf("2 threads: %.1f GB/s, %.1f GFLOP/s", r.GBps, f.GFLOPs)
	if l, err := MeasureRoofline(here, 1, "generic"); err != nil || l.FMA.ISA != "generic" || l.Read.ISA != ISAs()[0] {
		t.Errorf("want plain Go's peak and the widest reads, got %+v, %v", l, err)
	}
	for _, threads := range []int{0, -1, 1025} {
		if _, err := ReadBandwidth(machine.Info{}, threads, ""); err == nil {
			t.Errorf("%d threads: want an error", threads)
		}
		if _, err := FMAPeak(threads, ""); err == nil {
			t.Errorf("%d threads: want an error", threads)
		}
	}
}

func TestMeterCaches(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	calls := 0
	m := Meter{
		Dir: dir,
		Now: func() time.Time { return now },
		Roofline: func(m machine.Info, threads int, isa string) (Roofline, error) {
			calls++
			return Roofline{Machine: m, Read: Bandwidth{Threads: threads, GBps: float64(calls)}, FMA: Peak{Threads: threads, ISA: isa, GFLOPs: 1}}, nil
		},
	}
	here := machine.Info{CPU: "A/B ../C", Kind: "1/2/3", Cores: 4}
	ask := func(m Meter, info machine.Info, threads int, force bool, want float64) {
		t.Helper()
		l, err := m.Measure(info, threads, "generic", force)
		if err != nil || l.Read.GBps != want || l.Read.Threads != threads || l.Machine != info || l.FMA.ISA != "generic" {
			t.Errorf("want measurement %v, got %+v, %v", want, l, err)
		}
	}
	ask(m, here, 2, false, 1)
	ask(m, here, 2, false, 1)
	ask(m, here, 4, false, 2) // other threads
	ask(m, here, 2, true, 3)  // forced
	ask(m, here, 2, false, 3) // and remembered
	other := here
	other.Kind = "1/2/4"
	ask(m, other, 2, false, 4) // another processor of the same name
	now = now.Add(10*time.Minute + 1)
	ask(m, here, 2, false, 5) // too old
	now = now.Add(-time.Minute)
	ask(m, here, 2, false, 6) // from the future
	now = now.Add(2 * time.Minute)
	m.MaxAge = time.Minute
	ask(m, here, 2, false, 7) // too old for a shorter memory

	if files, err := filepath.Glob(dir + "/*"); err != nil || len(files) != 3 {
		t.Fatalf("want one file each for three keys, got %v, %v", files, err)
	}
	good, err := os.ReadFile(m.file(here, 2, "generic"))
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []string{"", "{", strings.Replace(string(good), `"gbps": 7`, `"gbps": -7`, 1), strings.Replace(string(good), "1/2/3", "1/2/5", 1)} {
		if broken == string(good) {
			t.Fatalf("nothing broken in %s", good)
		}
		if err := os.WriteFile(m.file(here, 2, "generic"), []byte(broken), 0o644); err != nil {
			t.Fatal(err)
		}
		ask(m, here, 2, false, float64(calls+1))
	}

	quiet := m.Roofline
	m.Roofline = func(info machine.Info, threads int, isa string) (Roofline, error) {
		l, err := quiet(info, threads, isa)
		l.Others = 0.3
		return l, err
	}
	ask(m, here, 2, true, float64(calls+1))  // measured while others were at work
	ask(m, here, 2, false, float64(calls-1)) // and so not remembered: what was known before is
	m.Roofline = quiet

	m.Dir = ""
	ask(m, here, 2, false, float64(calls+1))
	ask(m, here, 2, false, float64(calls+1))

	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	m.Dir = blocked // not a directory: measured all the same
	ask(m, here, 2, false, float64(calls+1))

	m.Roofline = func(machine.Info, int, string) (Roofline, error) { return Roofline{}, errors.New("boom") }
	if _, err := m.Measure(here, 2, "generic", true); err == nil || err.Error() != "boom" {
		t.Errorf("want boom, got %v", err)
	}
}
