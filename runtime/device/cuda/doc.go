// Package cuda runs the model's operations on an NVIDIA GPU, by the kernels of
// mop/kernels/cuda. What flows in: the operations of package device. What flows
// out: launches, on a driver: CUDA's own behind the tag cuda, or the host
// emulation of the kernels behind the tag cudaemu. Without either tag only the
// choice of kernels is left, which is pure.
//
// Weights are 16-bit on the device, rows padded to 128 bytes with zeros; the
// residual stream and all sums are float32; inner activations and the cache have
// the weights' type.
package cuda
