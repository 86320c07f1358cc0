// The next id of each row: argmax of the logits, or a draw at a temperature.
//
//   z [N, V] f32; ids [N]; best [N, gridx]; counters [N], zero before and after
//
// Temperature 0: the largest logit, the lowest index of equals. Else the largest
// of z/temperature + gumbel, a draw from softmax(z/temperature), by word pos*V + i
// of the row's own stream (package random), so that it depends on neither batch nor
// order. A penalty goes before either.
// A logit that is not finite makes the id -1. With advance, each row's place moves
// one position on: ids and places are the next step's input, no host in between.
// Grid: (parts, N), 256 threads; the block that ends last joins the parts. Bound by
// latency: 4*V bytes a row.
#include "draw.cuh"

KERNEL(256, 1, choose, int *ids, const float *z, int ldz, int V, float temperature, float penalty, u32 *seen, int lds,
       const u64 *streams, Place *places, int advance, Best *best, u32 *counters) {
  ptx::after_previous();
  ptx::release();
  const Draw by = {temperature, penalty, seen, lds, streams};
  const int n = ptx::bidy(), parts = ptx::gridx();
  const int lo = (int)((long long)V * ptx::bidx() / parts), hi = (int)((long long)V * (ptx::bidx() + 1) / parts);
  const float *row = z + (long long)n * ldz;
  Best b = {-kInf, lo};
  u64 key = temperature > 0 ? streams[n] : 0, first = temperature > 0 ? (u64)places[n].pos * V : 0;
  for (int i = lo + ptx::tid(); i < hi; i += 256) {
    float v = by.penalised(n, i, row[i]);
    if (v - v != 0)
      v = kInf; // wins over all
    else if (temperature > 0) // what overflows is not to win over that
      v = max(-3e38f, min(v / temperature, 3e38f)) + gumbel(key, first + i);
    if (v > b.value)
      b = {v, i};
  }
  b = block_best<8>(b, (Best *)ptx::shared());
  u32 *last = (u32 *)(ptx::shared() + 64);
  if (ptx::tid() == 0) {
    best[n * parts + ptx::bidx()] = b;
    ptx::fence();
    *last = ptx::add(counters + n, 1) == (u32)(parts - 1);
    if (*last)
      counters[n] = 0;
  }
  ptx::sync();
  if (!*last || ptx::tid() >= 32)
    return;
  ptx::fence();
  b = {-kInf, 0x7fffffff};
  for (int i = ptx::tid(); i < parts; i += 32)
    b = better(b, best[n * parts + i]);
  b = warp_best(b);
  if (ptx::tid() == 0) {
    ids[n] = b.value < kInf ? b.index : -1;
    by.saw(n, ids[n]);
    if (advance)
      places[n].pos++;
  }
}
