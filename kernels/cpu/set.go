package cpu

import (
	"fmt"
	"strings"
)

// Set names a family of kernels. Its methods are the operations; those of
// Generic are plain Go, and the others agree with them to rounding.
type Set uint8

const (
	Generic Set = iota // any processor
	AVX2               // amd64 with AVX2, FMA and F16C
	AVX512             // amd64 with AVX-512 F, BW, DQ and VL as well
)

var setNames = [...]string{"generic", "avx2", "avx512"}

// String is the name that a user types.
func (s Set) String() string { return setNames[s] }

// Names lists what Choose takes.
func Names() []string { return append([]string{"auto"}, setNames[:]...) }

// Choose is the set of a given name if this processor can run it, "auto" the
// fastest that it can.
func Choose(name string) (Set, error) {
	return choose(name, best())
}

// choose is Choose for a processor whose fastest set is best; each set needs all
// that those before it need.
func choose(name string, best Set) (Set, error) {
	if name == "auto" {
		return best, nil
	}
	for s, n := range setNames {
		if n != name {
			continue
		}
		if Set(s) > best {
			return 0, fmt.Errorf("kernels: want %s, this processor runs at most %v", name, best)
		}
		return Set(s), nil
	}
	return 0, fmt.Errorf("kernels: want one of %s, got %q", strings.Join(Names(), ", "), name)
}
