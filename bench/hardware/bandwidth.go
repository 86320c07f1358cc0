package hardware

import (
	"fmt"
	"runtime"
	"sync"
	"time"
)

// Bandwidth is a measured read bandwidth.
type Bandwidth struct {
	CPU         string    `json:"cpu"`
	Threads     int       `json:"threads"`
	GBps        float64   `json:"gbps"`         // of the fastest pass, 1e9 bytes/s
	BufferBytes int64     `json:"buffer_bytes"` // read by each pass
	Passes      int       `json:"passes"`
	Measured    time.Time `json:"measured"`
}

const (
	minBuffer   = 256 << 20
	maxBuffer   = 1 << 30
	measureTime = 400 * time.Millisecond
	maxThreads  = 1024
)

// bufferBytes is well above the last cache, so that passes come from memory,
// and at most an eighth of that memory.
func bufferBytes(m Machine) int64 {
	n := min(max(8*m.L3Bytes, minBuffer), maxBuffer)
	if m.MemoryBytes > 0 {
		n = min(n, m.MemoryBytes/8)
	}
	return max(n, 1<<20) &^ (1<<20 - 1)
}

// ReadBandwidth measures how fast threads together read memory: each sums its
// own part of one buffer as 64-bit words, pass after pass, for about 0.4 s, and
// the fastest pass counts, since whatever else the machine does only slows one
// down. It is what Go code can read; code with wider loads may get a few
// percent more from one thread.
func ReadBandwidth(m Machine, threads int) (Bandwidth, error) {
	if threads < 1 || threads > maxThreads {
		return Bandwidth{}, fmt.Errorf("hardware: threads: want 1 to %d, got %d", maxThreads, threads)
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
	each(parts, func(part []uint64) uint64 {
		for i := range part {
			part[i] = uint64(i)
		}
		return 0
	})
	b := Bandwidth{CPU: m.CPU, Threads: threads, BufferBytes: int64(len(words)) * 8, Measured: time.Now()}
	want := each(parts, sum)
	for begin := time.Now(); b.Passes < 3 || time.Since(begin) < measureTime; b.Passes++ {
		start := time.Now()
		got := each(parts, sum)
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

// each runs f over all parts at once, on a thread each, and adds up what it
// returns.
func each(parts [][]uint64, f func([]uint64) uint64) uint64 {
	sums := make([]uint64, len(parts))
	var wait sync.WaitGroup
	for i, part := range parts {
		wait.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			sums[i] = f(part)
		})
	}
	wait.Wait()
	var total uint64
	for _, s := range sums {
		total += s
	}
	return total
}

// sum adds all words modulo 2^64, eight streams of additions at a time: loads,
// and not the latency of the addition, set the pace.
func sum(words []uint64) uint64 {
	var a, b, c, d, e, f, g, h uint64
	for len(words) >= 8 {
		w := words[:8:8]
		a += w[0]
		b += w[1]
		c += w[2]
		d += w[3]
		e += w[4]
		f += w[5]
		g += w[6]
		h += w[7]
		words = words[8:]
	}
	for _, w := range words {
		a += w
	}
	return a + b + c + d + e + f + g + h
}
