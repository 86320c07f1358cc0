// x[n] = table[ids[n]].   x [N, D] f32, pitch ldx; table [V, D], pitch ld
//
// Grid: N blocks of 256. Bound by memory: 6*N*D bytes, or 8 from a float32 table.
#include "rows.cuh"

template <class T> DEVICE void embed(float *x, int ldx, const void *table, int ld, const int *ids, int D) {
  ptx::release();
  ptx::after_previous();
  int id = ids[ptx::bidx()];
  const void *from = Row<T>::at(table, id < 0 ? 0 : id, ld); // -1: the step before chose none
  float *to = x + (long long)ptx::bidx() * ldx;
  for (int k = 4 * ptx::tid(); k < D; k += 4 * 256)
    *(F4 *)(to + k) = Row<T>::four(from, k);
}

#define EMBED(T, name)                                                                                                     \
  KERNEL(256, 1, embed_##name, float *x, int ldx, const void *table, int ld, const int *ids, int D) {                      \
    embed<T>(x, ldx, table, ld, ids, D);                                                                                   \
  }
EMBED(BF16, bf16)
EMBED(F16, f16)
EMBED(F32, f32)

// embed_back: table'[ids[n]] += x'[n], in the order of n.
//   list: the rows that have the same id, ids ascending, each id's rows in order;
//   from[i]..from[i+1]-1 are those of the i-th id
//
// Grid: a block of 256 for each id that occurs. Bound by memory.
KERNEL(256, 1, embed_back, float *dtable, int ld, const float *dx, int ldx, const int *ids, const int *list, const int *from, int D) {
  ptx::after_previous();
  ptx::release();
  int first = from[ptx::bidx()], end = from[ptx::bidx() + 1];
  float *to = dtable + (long long)ids[list[first]] * ld;
  for (int k = 4 * ptx::tid(); k < D; k += 4 * 256) {
    F4 sum = ptx::load_floats(to + k);
    for (int i = first; i < end; i++) {
      F4 v = ptx::load_floats(dx + (long long)list[i] * ldx + k);
      sum = {sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w};
    }
    *(F4 *)(to + k) = sum;
  }
}

// embed_i8: x[n] = scale * row, of a table of 8 bits whose scales follow its V rows.
KERNEL(256, 1, embed_i8, float *x, int ldx, const Byte *table, int ld, const int *ids, int D, int V) {
  ptx::release();
  ptx::after_previous();
  int id = ids[ptx::bidx()];
  id = id < 0 ? 0 : id;
  const Byte *from = table + (long long)id * ld;
  const float scale = ((const float *)(table + (long long)V * ld))[id];
  float *to = x + (long long)ptx::bidx() * ldx;
  for (int k = ptx::tid(); k < D; k += 256)
    to[k] = from[byte_place(k)] * scale;
}
