package cpu

import "testing"

// sets are those that this processor can run.
func sets() []Set {
	all := []Set{Generic, AVX2, AVX512}
	return all[:best()+1]
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name string
		best Set
		want Set
		ok   bool
	}{
		{"auto", AVX512, AVX512, true}, {"auto", Generic, Generic, true},
		{"generic", AVX2, Generic, true}, {"avx2", AVX512, AVX2, true}, {"avx512", AVX512, AVX512, true},
		{"avx512", AVX2, 0, false}, {"avx2", Generic, 0, false}, {"sse", AVX512, 0, false}, {"", AVX512, 0, false},
	} {
		got, err := choose(c.name, c.best)
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("%q on %v: want %v, %v, got %v, %v", c.name, c.best, c.want, c.ok, got, err)
		}
	}
}
