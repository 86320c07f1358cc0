// Rows of activations, as training keeps them, and of weights of any type, four elements
// at a time. Rows lie 128 bytes' multiples apart with zeros behind their last element, so
// that four may reach past it.
#pragma once
#include "types.cuh"

// F32 is the type of trained parameters.
struct F32 {};

// Row reads and writes elements c..c+3 of a row, c a multiple of four.
template <class T> struct Row {
  static __device__ __forceinline__ float4 four(const void *row, int c) {
    uint2 v = *(const uint2 *)((const u16 *)row + c);
    return {T::widen((u16)v.x), T::widen((u16)(v.x >> 16)), T::widen((u16)v.y), T::widen((u16)(v.y >> 16))};
  }
  static __device__ __forceinline__ void put(void *row, int c, float4 v) {
    *(uint2 *)((u16 *)row + c) = {T::pack(v.x, v.y), T::pack(v.z, v.w)};
  }
  static __device__ __forceinline__ const void *at(const void *m, long long r, int ld) {
    return (const u16 *)m + r * ld;
  }
  static __device__ __forceinline__ void *at(void *m, long long r, int ld) { return (u16 *)m + r * ld; }
};
template <> struct Row<F32> {
  static __device__ __forceinline__ float4 four(const void *row, int c) {
    return ptx::ld_global_f4((const float *)row + c);
  }
  static __device__ __forceinline__ void put(void *row, int c, float4 v) { *(float4 *)((float *)row + c) = v; }
  static __device__ __forceinline__ const void *at(const void *m, long long r, int ld) {
    return (const float *)m + r * ld;
  }
  static __device__ __forceinline__ void *at(void *m, long long r, int ld) { return (float *)m + r * ld; }
};
