package cpu

import "sync"

// distance is how many bytes of a row before their use the kernels of DotsAlong ask for
// them. The processor's own prefetching brings most of what a stream needs into the
// second cache, but stops at pages. A Zen 4 wants the lines that it brought moved into
// the first one shortly before their use: asked for from memory, 2 or 4 KiB ahead, they
// occupy what it keeps track of misses with. A Zen 5 wants to be asked long before.
func distance(t Type) int {
	switch {
	case !zen5():
		return 384
	case t == I8:
		return 4096
	}
	return 2048
}

// zen5 tells AMD's family 26.
var zen5 = sync.OnceValue(func() bool {
	_, b, c, d := cpuid(0)
	version, _, _, _ := cpuid(1)
	return vendor(b, d, c) == "AuthenticAMD" && family(version) == 26
})

// vendor is the text that three registers hold.
func vendor(registers ...uint32) string {
	var text []byte
	for _, r := range registers {
		text = append(text, byte(r), byte(r>>8), byte(r>>16), byte(r>>24))
	}
	return string(text)
}

// family is what leaf 1 tells: AMD64 Architecture Programmer's Manual, volume 3, CPUID
// Fn0000_0001_EAX.
func family(version uint32) uint32 {
	base, extended := version>>8&15, version>>20&255
	if base == 15 {
		return base + extended
	}
	return base
}

// cpuid is the instruction, for a leaf without subleaves.
//
//go:noescape
func cpuid(leaf uint32) (a, b, c, d uint32)
