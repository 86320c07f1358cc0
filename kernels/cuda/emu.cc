//go:build cudaemu

// The emulated device: every kernel, the fibers' scheduler, guarded memory, and
// the C functions that Go calls.
#include "types.cuh"

#include <cstdarg>
#include <sys/mman.h>

// EMULATED names other kernels than the device's.
#ifdef EMULATED
#include EMULATED
#else
#include "all.cuh"
#include "ptx/entries.inc"
#endif

namespace emu {
Machine m;
float f16_table[65536];

// switch_stack saves the callee-saved registers of System V on the present
// stack, and goes on where the other stack was left.
extern "C" void mop_switch_stack(void **from, void *to);
asm(R"(
.text
.globl mop_switch_stack
mop_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

constexpr size_t kPageBytes = 4096;
constexpr size_t kStack = 33 * kPageBytes + 17 * 64; // the stacks of a warp lie in different sets of the caches
static unsigned char *stacks, *shared_end[kMaxBlocks];

// A round: each runnable lane of a warp runs once, in a drawn order.
static struct Round {
  int warp, left, lane, stride; // lanes that had no turn yet, the first of them
} current;

static bool begin_round();

// next_fiber returns the thread that runs next, or nullptr where the cluster has ended or there
// is an error.
EMU_UNCHECKED static Fiber *next_fiber() {
  Round &r = current;
  while (!m.error[0]) {
    const Warp &w = m.warps[r.warp];
    while (r.left > 0) {
      const int l = r.lane;
      r.left--, r.lane = (l + r.stride) & 31;
      if (w.runnable >> l & 1)
        return &m.fibers[r.warp * 32 + l];
    }
    if (!begin_round())
      return nullptr;
  }
  return nullptr;
}

// to_scheduler goes on with another thread, from whose stack the processor's prediction of
// returns is right, or with run_cluster.
EMU_UNCHECKED void to_scheduler() {
  Fiber *from = m.now, *to = next_fiber();
  if (to == from)
    return;
  if (to)
    m.now = to;
  mop_switch_stack(&from->sp, to ? to->sp : m.scheduler);
}

void fail(const char *format, ...) {
  if (!m.error[0]) {
    const int *at = m.now->block->index;
    int n = snprintf(m.error, sizeof m.error, "block (%d,%d,%d): ", at[0], at[1], at[2]);
    va_list args;
    va_start(args, format);
    vsnprintf(m.error + n, sizeof m.error - n, format, args);
    va_end(args);
  }
  mop_switch_stack(&m.now->sp, m.scheduler);
  abort();
}

static void release_barrier(Block &b) {
  int warps = m.threads / 32;
  for (int w = b.rank * warps; w < (b.rank + 1) * warps; w++) {
    m.warps[w].runnable |= m.waiting[w];
    m.waiting[w] = 0;
  }
  b.at_barrier = 0;
}

static void release_group() { // of the thread that came last
  int group = m.now->tid / 128, first = m.now->block->rank * (m.threads / 32) + 4 * group;
  for (int w = first; w < first + 4; w++) {
    m.warps[w].runnable |= m.waiting_group[w];
    m.waiting_group[w] = 0;
  }
  m.now->block->at_group[group] = 0;
}

static void release_cluster() {
  for (int w = 0; w < m.cluster * m.threads / 32; w++) {
    m.warps[w].runnable |= m.waiting_cluster[w];
    m.waiting_cluster[w] = 0;
  }
  m.at_cluster = 0;
}

static void release_first(Block &b) {
  int warps = m.threads / 32;
  for (int w = b.rank * warps; w < (b.rank + 1) * warps; w++) {
    m.warps[w].runnable |= m.waiting_first[w];
    m.waiting_first[w] = 0;
  }
  b.at_first = 0;
}

static void fiber_main() {
  m.kernel->call(m.kernel->function, m.slots);
  Fiber &f = *m.now;
  Block &b = *f.block;
  f.done = true;
  Warp &w = warp();
  w.runnable &= ~(1u << lane());
  if (w.here)
    fail("thread %d ended while its warp is at %s", f.tid, w.op);
  if (f.products)
    fail("thread %d ended and has not waited for its products", f.tid);
  if (--b.live > 0 && b.at_barrier == b.live)
    release_barrier(b);
  if (--m.live > 0 && m.at_cluster == m.live)
    release_cluster();
  to_scheduler();
  abort();
}

static bool prepare() {
  if (stacks)
    return true;
  auto map = [](size_t n) { return (unsigned char *)mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); };
  unsigned char *s = map(kStack * kMaxThreads);
  m.fibers = (Fiber *)map(sizeof(Fiber) * kMaxThreads);
  if (s == MAP_FAILED || m.fibers == MAP_FAILED)
    return false;
  for (unsigned char *&end : shared_end) {
    unsigned char *sh = map(kShared + kPageBytes);
    if (sh == MAP_FAILED || mprotect(sh + kShared, kPageBytes, PROT_NONE))
      return false;
    end = sh + kShared;
  }
  for (int h = 0; h < 65536; h++) {
    int e = h >> 10 & 31, f = h & 1023;
    float v = e == 31 ? (f ? NAN : INFINITY) : e ? ldexpf(1024 + f, e - 25) : ldexpf(f, -24);
    f16_table[h] = h & 0x8000 ? -v : v;
  }
  stacks = s;
  return true;
}

uint16_t narrow_f16(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  uint32_t sign = u >> 16 & 0x8000;
  u &= 0x7fffffff;
  if (u > 0x7f800000)
    return 0x7fff;
  if (u >= 0x477ff000) // rounds to 65536 or more
    return sign | 0x7c00;
  if (u < 0x38800000) { // below 2^-14: a multiple of 2^-24
    float a;
    memcpy(&a, &u, 4);
    return sign | (uint16_t)nearbyintf(a * 16777216.0f);
  }
  u -= 112u << 23;
  return sign | (u + 0xfff + (u >> 13 & 1)) >> 13;
}

// left says what a block should not leave behind.
static void left(Block &b) {
  auto say = [&](const char *what, long n, int at) {
    snprintf(m.error, sizeof m.error, "block (%d,%d,%d): at its end %s: %ld, shared memory %#x", b.index[0], b.index[1], b.index[2], what, n, at);
  };
  for (int i = 0; i < b.barriers; i++)
    if (b.barrier[i].bytes)
      say("a barrier waits for bytes", b.barrier[i].bytes, b.barrier[i].at);
  const Fiber *f = m.fibers + b.rank * m.threads;
  for (int t = 0; t < m.threads; t++)
    if (f[t].issued != f[t / 128 * 128].issued)
      say("a thread's products are not its warpgroup's", t, 0);
}

static void deadlock() {
  Block &b = m.blocks[0];
  int n = snprintf(m.error, sizeof m.error, "block (%d,%d,%d): deadlock: %d of %d threads at a barrier, warp 0 at %s", b.index[0], b.index[1], b.index[2],
                   b.at_barrier + b.at_first, b.live, m.warps[0].here ? m.warps[0].op : "a barrier");
  for (int i = 0; i < m.cluster * m.threads; i++)
    if (const Fiber &f = m.fibers[i]; f.waits) {
      snprintf(m.error + n, sizeof m.error - n, "; thread %d of block %d waits for parity %d at %#x: %d of %d arrivals and %ld bytes to come, %u phases ended", f.tid,
               f.block->rank, f.parity, f.waits->at, f.waits->pending, f.waits->count, f.waits->bytes, f.waits->phase);
      break;
    }
}

// begin_round draws a warp with a runnable lane, and lets copies arrive; false where all threads
// have ended, or there is an error.
static bool begin_round() {
  const int warps = m.cluster * m.threads / 32;
  while (m.live > 0) {
    uint64_t r = draw();
    int w = r % warps, tried = 0;
    while (tried < warps && !m.warps[w].runnable)
      w = w + 1 < warps ? w + 1 : 0, tried++;
    const bool none = tried == warps;
    if (m.boxes && (none || r >> 60 < 4)) {
      deliver((r >> 50 & 255) % m.boxes);
      if (m.error[0])
        return false;
      continue;
    }
    if (none) {
      deadlock();
      return false;
    }
    current = {w, 32, (int)(r >> 32 & 31), (int)(r >> 40 & 31) | 1};
    return true;
  }
  return false;
}

// run_cluster runs the fibers of a cluster's blocks, the first of them number first,
// until all have ended.
static void run_cluster(long long first) {
  int warps = m.cluster * m.threads / 32;
  m.live = m.cluster * m.threads;
  m.at_cluster = m.boxes = 0;
  for (int w = 0; w < warps; w++) {
    m.warps[w].here = 0;
    m.warps[w].runnable = ~0u;
    m.waiting[w] = m.waiting_cluster[w] = m.waiting_first[w] = m.waiting_group[w] = 0;
  }
  for (int r = 0; r < m.cluster; r++) {
    Block &b = m.blocks[r];
    long long n = first + r;
    b.rank = r, b.index[0] = n % m.grid[0], b.index[1] = n / m.grid[0] % m.grid[1], b.index[2] = n / m.grid[0] / m.grid[1];
    b.live = m.threads, b.at_barrier = b.at_first = b.barriers = 0;
    for (int &here : b.at_group)
      here = 0;
    b.shared = shared_end[r] - m.shared_bytes;
    memset(b.shared, 0xff, m.shared_bytes);
    memset(b.written, 0, m.shared_bytes / 16 * sizeof b.written[0]);
    for (int t = 0; t < m.threads; t++) {
      int i = r * m.threads + t;
      Fiber &f = m.fibers[i];
      f.tid = t, f.block = &b, f.done = false, f.group = 0, f.copies = 0, f.waits = nullptr, f.fenced = false, f.proxies = 0, f.open = f.products = 0, f.issued = 0;
      void **top = (void **)(stacks + kStack * (i + 1)) - 2; // after ret the stack is as after a call
      top[0] = (void *)fiber_main;
      f.sp = top - 6;
    }
  }
  current.left = 0;
  if (Fiber *first = next_fiber()) {
    m.now = first;
    mop_switch_stack(&m.scheduler, first->sp);
  }
  if (m.error[0])
    return;
  if (m.boxes)
    snprintf(m.error, sizeof m.error, "block (%d,%d,%d): it ended before a copy to its shared memory had", m.box[0].block->index[0], m.box[0].block->index[1],
             m.box[0].block->index[2]);
  for (int r = 0; r < m.cluster && !m.error[0]; r++)
    left(m.blocks[r]);
}

// stop waits at a barrier of so many threads, unless this is the last to come.
static void stop(int &here, int all, uint32_t *waiting, void (*release)()) {
  Warp &w = warp();
  if (w.here)
    fail("thread %d is at a barrier while its warp is at %s", m.now->tid, w.op);
  if (++here == all)
    return release();
  waiting[(m.now - m.fibers) / 32] |= 1u << lane();
  w.runnable &= ~(1u << lane());
  to_scheduler();
}
} // namespace emu

void __syncthreads() {
  using namespace emu;
  Block &b = *m.now->block;
  stop(b.at_barrier, b.live, m.waiting, [] { release_barrier(*m.now->block); });
}

void emu::sync_first(int threads) {
  if (m.now->tid >= threads || threads > m.threads)
    fail("thread %d is at a barrier of the first %d of %d", m.now->tid, threads, m.threads);
  stop(m.now->block->at_first, threads, m.waiting_first, [] { release_first(*m.now->block); });
}

void ptx::warpgroup_sync() {
  using namespace emu;
  stop(m.now->block->at_group[m.now->tid / 128], 128, m.waiting_group, release_group);
}

void ptx::cluster_sync() {
  using namespace emu;
  stop(m.at_cluster, m.live, m.waiting_cluster, release_cluster);
}

#include "../emu/rendezvous.h"
#include "emu_c.h"

// mop_emu_launch gives nullptr or what went wrong, valid until the next call.
extern "C" const char *mop_emu_launch(const char *name, int gx, int gy, int gz, int threads, int shared, int cluster, const uint64_t *slots, uint64_t seed) {
  using namespace emu;
  m.error[0] = 0;
  auto error = [](const char *text) {
    snprintf(m.error, sizeof m.error, "%s", text);
    return m.error;
  };
  if (!prepare())
    return error("out of memory");
  const Kernel *k = Kernel::first();
  while (k && strcmp(k->name, name))
    k = k->next;
  if (!k)
    return error("no such kernel");
  if (threads < 32 || threads % 32 || threads > k->threads)
    return error("the block does not fit the kernel's launch bounds");
  if (shared < 0 || (size_t)shared > kShared - 1024)
    return error("too much shared memory");
  if (gx < 1 || gy < 1 || gz < 1 || gy > 65535 || gz > 65535)
    return error("the grid is empty or too large");
  if (cluster < 1 || cluster > kMaxBlocks || gx % cluster || cluster * threads > kMaxThreads)
    return error("the grid is not made of such clusters");
  m.kernel = k, m.slots = slots, m.threads = threads, m.cluster = cluster, m.shared_bytes = ((size_t)shared + 15) / 16 * 16, m.seed = seed;
  m.grid[0] = gx, m.grid[1] = gy, m.grid[2] = gz;
  long long n = (long long)gx * gy * gz / cluster;
  // Clusters run one after the other, from a random one on, forward or backward.
  long long first = draw() % n;
  bool back = draw() & 1;
  for (long long i = 0; i < n; i++) {
    run_cluster((first + (back ? n - i : i)) % n * cluster);
    if (m.error[0])
      return m.error;
  }
  return nullptr;
}

// mop_emu_encode makes the map of a tensor of 16-bit elements of three dimensions, whose
// boxes are swizzled by 128 bytes and hold zeros where there is nothing; or says which
// of cuTensorMapEncodeTiled's conditions does not hold. Strides in bytes.
extern "C" const char *mop_emu_encode(uint64_t *map, void *address, const uint64_t *dims, const uint64_t *strides, const uint32_t *box) {
  if ((uintptr_t)address % 16)
    return "the tensor is not aligned to 16 bytes";
  for (int i = 0; i < 3; i++)
    if (dims[i] < 1 || dims[i] > (uint64_t)1 << 32)
      return "a dimension is not of 1 to 2^32 elements";
  for (int i = 0; i < 2; i++)
    if (strides[i] % 16 || strides[i] >= (uint64_t)1 << 40)
      return "a stride is not a multiple of 16 bytes below 2^40";
  for (int i = 0; i < 3; i++)
    if (box[i] < 1 || box[i] > 256)
      return "a box is not of 1 to 256 elements in each dimension";
  if (2 * box[0] % 16 || 2 * box[0] > 128)
    return "the rows of a box are not of a multiple of 16 bytes, 128 at most";
  emu::Tensor t = {emu::kTensor, (uint64_t)address, {dims[0], dims[1], dims[2]}, {strides[0], strides[1]}, {box[0], box[1], box[2]}, {}, 0};
  t.check = emu::check(t);
  memcpy(map, &t, sizeof t);
  return nullptr;
}

// A buffer ends at an unmapped page; the bytes that alignment leaves before and
// after it hold a pattern.
namespace {
struct Head {
  size_t bytes, mapped;
  unsigned char *user;
};
constexpr unsigned char kGuard = 0xa5;
constexpr size_t kAlign = 256;
size_t up(size_t n, size_t to) { return (n + to - 1) / to * to; }
Head *head(void *p) { return (Head *)(((uintptr_t)p / emu::kPageBytes - 1) * emu::kPageBytes); }
} // namespace

extern "C" void *mop_emu_alloc(size_t bytes) {
  using emu::kPageBytes;
  size_t room = up(up(bytes, kAlign), kPageBytes), mapped = room + 2 * kPageBytes;
  if (!bytes)
    room = kPageBytes, mapped = 3 * kPageBytes;
  unsigned char *base = (unsigned char *)mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED)
    return nullptr;
  unsigned char *end = base + kPageBytes + room, *user = end - up(bytes ? bytes : 1, kAlign);
  memset(base + kPageBytes, kGuard, user - base - kPageBytes);
  memset(user, 0xff, bytes);
  memset(user + bytes, kGuard, end - user - bytes);
  *(Head *)base = {bytes, mapped, user};
  mprotect(base, kPageBytes, PROT_READ);
  mprotect(end, kPageBytes, PROT_NONE);
  return user;
}

// mop_emu_intact says whether the pattern around a buffer is as it was made.
extern "C" int mop_emu_intact(void *p) {
  Head *h = head(p);
  unsigned char *begin = (unsigned char *)h + emu::kPageBytes, *end = (unsigned char *)h + h->mapped - emu::kPageBytes;
  for (unsigned char *c = begin; c < h->user; c++)
    if (*c != kGuard)
      return 0;
  for (unsigned char *c = h->user + h->bytes; c < end; c++)
    if (*c != kGuard)
      return 0;
  return 1;
}

extern "C" void mop_emu_free(void *p) {
  Head *h = head(p);
  munmap(h, h->mapped);
}
