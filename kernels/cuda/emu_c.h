//go:build cudaemu

// What Go calls of the emulated device; see emu.cc.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
const char *mop_emu_launch(const char *name, int gx, int gy, int gz, int threads, int shared, int cluster, const uint64_t *slots, uint64_t seed);
const char *mop_emu_encode(uint64_t *map, void *address, const uint64_t *dims, const uint64_t *strides, const uint32_t *box);
void *mop_emu_alloc(size_t bytes);
int mop_emu_intact(void *p);
void mop_emu_free(void *p);
#ifdef __cplusplus
}
#endif
