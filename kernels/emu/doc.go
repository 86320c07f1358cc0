// Package emu holds the headers that compile the CUDA kernels for the host, emu.h and hopper.h,
// and embeds them with the build tag cudaemu.
package emu
