// Runs the kernels of faults.cuh on the emulation, and says of each what it reports, or
// whether the product is right; then of tensors that cannot be mapped.
#define EMULATED "testdata/faults.cuh"
#include "../emu.cc"

int main() {
  uint16_t *w = (uint16_t *)mop_emu_alloc(50 * 128), *x = (uint16_t *)mop_emu_alloc(11 * 128); // of 64 and 16 rows
  float *y = (float *)mop_emu_alloc((64 * 16 + 64) * 4);
  // 40 of 64 elements of k; what lies behind them must count for nothing.
  auto number = [](int i, int k) { return (float)((i * 7 + k * 5) % 11 - 5); };
  auto fill = [&](uint16_t *p, int rows) {
    for (int i = 0; i < rows; i++)
      for (int k = 0; k < 64; k++)
        p[i * 64 + k] = k < 40 ? emu::narrow_bf16(number(i + rows, k)) : 0x7fc0;
  };
  fill(w, 50), fill(x, 11);
  struct {
    TensorMap w, x;
    float *y;
  } args;
  auto encode = [](TensorMap &map, void *p, uint64_t rows, uint64_t cols, uint64_t stride, uint32_t box, uint32_t inner) {
    const uint64_t dims[] = {cols, rows, 1}, strides[] = {stride, stride * rows};
    const uint32_t boxes[] = {inner, box, 1};
    return mop_emu_encode((uint64_t *)map.opaque, p, dims, strides, boxes);
  };
  encode(args.w, w, 50, 40, 128, 64, 64), encode(args.x, x, 11, 40, 128, 16, 64);
  args.y = y;
  uint64_t slots[33];
  memcpy(slots, &args.w, 128), memcpy(slots + 16, &args.x, 128), memcpy(slots + 32, &y, 8);
  for (const char *name : {
#define NAME(f) "fault_" #f,
           EACH_FAULT(NAME)
       })
    for (uint64_t seed = 1; seed < 4; seed++) {
      memset(y, 0, 64 * 16 * 4);
      const char *error = mop_emu_launch(name, 1, 1, 1, 128, 20 << 10, 1, slots, seed);
      bool right = true;
      for (int i = 0; i < 64; i++)
        for (int j = 0; j < 16; j++) {
          float sum = 0;
          for (int k = 0; k < 40 && i < 50 && j < 11; k++)
            sum += number(i + 50, k) * number(j + 11, k);
          right &= y[i * 16 + j] == sum;
        }
      printf("%s: %s\n", name, error ? error : right ? "right" : "wrong");
    }
  uint32_t *rw = (uint32_t *)mop_emu_alloc((kPipelineSteps + 1) * 128), *rx = (uint32_t *)mop_emu_alloc(128), *ry = (uint32_t *)mop_emu_alloc(128);
  for (int i = 0; i < (kPipelineSteps + 1) * 32; i++)
    rw[i] = i * i + 1;
  for (int i = 0; i < 32; i++)
    rx[i] = 3 * i + 1;
  const uint64_t pipeline[] = {(uint64_t)rw, (uint64_t)rx, (uint64_t)ry};
  for (const char *name : {EACH_PIPELINE_FAULT(NAME)})
    for (uint64_t seed = 1; seed < 4; seed++) {
      memset(ry, 0, 128);
      const char *error = mop_emu_launch(name, 1, 1, 1, 96, 416, 1, pipeline, seed);
      bool right = true;
      for (int l = 0; l < 32; l++) {
        uint32_t sum = 0;
        for (int c = 0; c < kPipelineSteps; c++)
          sum += rw[c * 32 + l] * rx[l];
        right &= ry[l] == sum;
      }
      printf("%s: %s\n", name, error ? error : right ? "right" : "wrong");
    }
  for (const char *name : {EACH_EXCHANGE_FAULT(NAME)})
    for (uint64_t seed = 1; seed < 4; seed++) {
      memset(y, 0, 64 * 16 * 4);
      const char *error = mop_emu_launch(name, 1, 1, 1, 256, 5 << 10, 1, slots + 32, seed);
      bool right = true;
      for (int i = 0; i < 32 * 32; i++)
        right &= y[i] == i % 32 * 100 + i / 32;
      printf("%s: %s\n", name, error ? error : right ? "right" : "wrong");
    }
  const char *stay = nullptr, *leave = nullptr;
  for (uint64_t seed = 1; seed < 20 && !stay && !leave; seed++) {
    stay = mop_emu_launch("blocks_stay", 2, 1, 1, 32, 1024, 2, slots + 32, seed);
    if (!stay)
      leave = mop_emu_launch("blocks_leave", 2, 1, 1, 32, 1024, 2, slots + 32, seed);
  }
  printf("blocks_stay: %s\nblocks_leave: %s\n", stay ? stay : "right", leave ? leave : "right");
  TensorMap m;
  auto say = [](const char *what, const char *error) { printf("%s: %s\n", what, error ? error : "right"); };
  say("map", encode(m, w, 50, 40, 128, 64, 64));
  say("address", encode(m, w + 4, 50, 40, 128, 64, 64));
  say("dimension", encode(m, w, 0, 40, 128, 64, 64));
  say("stride", encode(m, w, 50, 40, 120, 64, 64));
  say("box", encode(m, w, 50, 40, 128, 257, 64));
  say("span", encode(m, w, 50, 40, 128, 64, 72));
}
