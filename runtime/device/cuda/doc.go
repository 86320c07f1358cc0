// Package cuda implements device.Device on an NVIDIA GPU with the kernels of
// mop/kernels/cuda. Every operation checks its operands, chooses a kernel and its launch
// geometry, and queues it on a driver (package driver). The build tag cuda selects the CUDA
// driver, and cudaemu the host emulation of the kernels. Without a tag the package only has
// the launch geometry (the *geometry.go files), which depends on shapes alone.
//
// Weights are 16-bit on the device, with rows padded to 128 bytes with zeros. The residual
// stream and all sums are float32. Activations within a layer and the KV cache have the
// type of the weights.
package cuda
