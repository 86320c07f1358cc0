// Package cuda holds the hand-written CUDA kernels: one operation per .cu file, all inline
// assembly in ptx.cuh and hopper.cuh, and the PTX that `make kernels` builds from them. With the build tag cuda
// it embeds the PTX. With the tag cudaemu it compiles the same sources for the host, and Launch
// runs a kernel by name.
package cuda
