// Package cuda holds the hand-written CUDA kernels: one operation a .cu file, all
// inline assembly in ptx.cuh, the PTX that `make kernels` builds of them, and
// (tag cudaemu) the same sources run on the host. What flows in: a kernel's name.
// What flows out: the text that a driver loads, or a launch.
package cuda
