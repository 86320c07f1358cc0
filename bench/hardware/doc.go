// Package hardware measures the roofline of this machine, which a model's speed is
// compared with: the bandwidth of reading memory, which bounds decode, and the peak rate
// of multiply-adds, which bounds prefill. It also reads how much processor time other
// processes and the hypervisor take.
package hardware
