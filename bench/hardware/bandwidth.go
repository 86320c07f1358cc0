package hardware

import (
	"fmt"
	"time"
)

// Bandwidth is a measured read bandwidth.
type Bandwidth struct {
	Threads     int     `json:"threads"`
	ISA         string  `json:"isa"`
	GBps        float64 `json:"gbps"`         // of the fastest pass, 1e9 bytes/s
	BufferBytes int64   `json:"buffer_bytes"` // read by each pass
	Passes      int     `json:"passes"`
}

const (
	minBuffer  = 1 << 30
	maxBuffer  = 4 << 30
	readTime   = 400 * time.Millisecond
	minPasses  = 5
	maxThreads = 1024
)

// bufferBytes is far above the last cache, so that passes come from memory, and
// at most an eighth of that memory. (With a buffer of eight times a 32 MiB
// cache, passes were seen to be 12 % faster than with 1 GiB: a cache keeps some
// of what it saw in the pass before.)
func bufferBytes(m Machine) int64 {
	n := min(max(8*m.L3Bytes, minBuffer), maxBuffer)
	if m.MemoryBytes > 0 {
		n = min(n, m.MemoryBytes/8)
	}
	return max(n, 1<<20) &^ (1<<20 - 1)
}

// ReadBandwidth measures how fast threads together read memory with an
// instruction set of ISAs ("" = the widest): each sums its own part of one
// buffer, pass after pass, for about 0.4 s, and the fastest pass counts, since
// whatever else the machine does only slows one down.
func ReadBandwidth(m Machine, threads int, isa string) (Bandwidth, error) {
	if threads < 1 || threads > maxThreads {
		return Bandwidth{}, fmt.Errorf("hardware: threads: want 1 to %d, got %d", maxThreads, threads)
	}
	p, err := probeFor(isa)
	if err != nil {
		return Bandwidth{}, err
	}
	words, release, err := allocate(bufferBytes(m))
	if err != nil {
		return Bandwidth{}, fmt.Errorf("hardware: buffer of %d bytes: %w", bufferBytes(m), err)
	}
	defer release()
	parts := split(words, threads)
	// Untouched pages are all the same page of zeros, which would be read from
	// the first cache. Each thread writes the part that it will read, so that
	// the memory is near it.
	each(threads, func(i int) {
		for j := range parts[i] {
			parts[i][j] = uint64(j)
		}
	})
	sums := make([]uint64, threads)
	pass := func() (total uint64) {
		each(threads, func(i int) { sums[i] = p.sum(parts[i]) })
		for _, s := range sums {
			total += s
		}
		return total
	}
	b := Bandwidth{Threads: threads, ISA: p.isa, BufferBytes: int64(len(words)) * 8}
	want := pass()
	for begin := time.Now(); b.Passes < minPasses || time.Since(begin) < readTime; b.Passes++ {
		start := time.Now()
		got := pass()
		taken := time.Since(start)
		if got != want { // also keeps the sums from being optimised away
			return Bandwidth{}, fmt.Errorf("hardware: memory reads differently the second time: sum %#x, then %#x", want, got)
		}
		b.GBps = max(b.GBps, float64(b.BufferBytes)/float64(taken.Nanoseconds()))
	}
	return b, nil
}

// split cuts words into parts of nearly the same length, at least one word each
// (the smallest buffer is far longer than the number of threads).
func split(words []uint64, parts int) [][]uint64 {
	out := make([][]uint64, parts)
	for i := range out {
		out[i] = words[i*len(words)/parts : (i+1)*len(words)/parts]
	}
	return out
}
