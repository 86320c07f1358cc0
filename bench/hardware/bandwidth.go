package hardware

import (
	"fmt"
	"time"

	"mop/internal/machine"
)

// Bandwidth is a measured read bandwidth.
type Bandwidth struct {
	Threads     int     `json:"threads"`
	ISA         string  `json:"isa"`
	GBps        float64 `json:"gbps"`         // of the fastest pass, 1e9 bytes/s
	BufferBytes int64   `json:"buffer_bytes"` // a pass reads a quarter of it
	Passes      int     `json:"passes"`
}

const (
	minBuffer  = 1 << 30
	maxBuffer  = 4 << 30
	quarters   = 4 // passes over the whole buffer
	readTime   = 400 * time.Millisecond
	minPasses  = 4
	maxThreads = 1024
)

// bufferBytes is far above the last cache, so that passes come from memory, and
// at most an eighth of that memory. (With a buffer of eight times a 32 MiB
// cache, passes were seen to be 12 % faster than with 1 GiB: a cache keeps some
// of what it saw in the pass before.)
func bufferBytes(m machine.Info) int64 {
	n := min(max(8*m.L3Bytes, minBuffer), maxBuffer)
	if m.MemoryBytes > 0 {
		n = min(n, m.MemoryBytes/8)
	}
	return max(n, 1<<20) &^ (1<<20 - 1)
}

// ReadBandwidth measures how fast threads together read memory with an
// instruction set of ISAs ("" = the widest): each sums its own part of one
// buffer, over and over, for about 0.4 s. A pass is a quarter of the buffer,
// which is so short that some passes are undisturbed even on a busy machine, and the
// fastest one counts: whatever else the machine does only slows a pass down.
func ReadBandwidth(m machine.Info, threads int, isa string) (Bandwidth, error) {
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
	// Pages that were never written are all the same page of zeros, which would be read
	// from the first-level cache. Each thread writes the part that it will read, so that
	// the memory is near it.
	each(threads, func(i int) {
		for j := range parts[i] {
			parts[i][j] = uint64(j)
		}
	})
	sums := make([]uint64, threads)
	var want [quarters]uint64
	b := Bandwidth{Threads: threads, ISA: p.isa, BufferBytes: int64(len(words)) * 8}
	begin := time.Now()
	for n := 0; n < 2*quarters || time.Since(begin) < readTime; n++ {
		quarter := n % quarters
		elapsed := each(threads, func(i int) { sums[i] = p.sum(split(parts[i], quarters)[quarter]) })
		var got, bytes uint64
		for i, s := range sums {
			got += s
			bytes += uint64(len(split(parts[i], quarters)[quarter])) * 8
		}
		if n < quarters { // the first round fills the processor's tables of pages
			want[quarter] = got
			continue
		}
		if got != want[quarter] { // also keeps the sums from being optimised away
			return Bandwidth{}, fmt.Errorf("hardware: memory reads differently the second time: sum %#x, then %#x", want[quarter], got)
		}
		b.GBps = max(b.GBps, float64(bytes)/float64(elapsed.Nanoseconds()))
		b.Passes++
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
