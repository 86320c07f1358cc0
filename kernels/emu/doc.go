// Package emu is the host emulation of the CUDA kernels: emu.h, and a Go file
// behind the tag cudaemu.
package emu
