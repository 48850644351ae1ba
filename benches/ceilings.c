/* What this core can do at most, as JSON: its clock, byte and word products and float sums from registers, and reading of caches and memory.
 *
 * Instructions that the processor lacks are left out (null). Best of several repeats, by the thread's CPU time. */
#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TURNS = 4000000, REPEATS = 7 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

#define BEST(rate, count, code)                          \
  for (int repeat = 0; repeat < REPEATS; repeat++) {     \
    double start = now();                                \
    for (long turn = 0; turn < TURNS; turn++) { code; }  \
    double found = (count)*TURNS / (now() - start) / 1e9; \
    if (found > rate) rate = found;                      \
  }

#define SIX(a, b, c) a "0" b "0" c a "1" b "1" c a "2" b "2" c a "3" b "3" c a "4" b "4" c a "5" b "5" c
/* Twelve sums in flight: two ports, each with an instruction a cycle that takes up to five. */
#define TWELVE(a, b, c) SIX(a, b, c) a "6" b "6" c a "7" b "7" c a "8" b "8" c a "9" b "9" c a "10" b "10" c a "11" b "11" c
#define CLOBBERED "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11"

/* GB/s of reading `bytes` again and again, 64 at a time; what is asked for ahead counts only in memory. */
static double reading(const char *data, size_t bytes, int wide) {
  double best = 0;
  size_t rounds = bytes > 64u << 20 ? 1 : (64u << 20) / bytes;
  for (int repeat = 0; repeat < REPEATS; repeat++) {
    double start = now();
    for (size_t round = 0; round < rounds; round++)
      for (const char *at = data; at < data + bytes; at += 256)
        if (wide)
          __asm__ volatile("prefetcht0 1024(%0)\n vmovaps (%0), %%zmm0\n vmovaps 64(%0), %%zmm1\n"
                           "vmovaps 128(%0), %%zmm2\n vmovaps 192(%0), %%zmm3" ::"r"(at) : "xmm0", "xmm1", "xmm2", "xmm3");
        else
          __asm__ volatile("prefetcht0 1024(%0)\n movaps (%0), %%xmm0\n movaps 16(%0), %%xmm1\n movaps 32(%0), %%xmm0\n"
                           "movaps 48(%0), %%xmm1\n movaps 64(%0), %%xmm0\n movaps 80(%0), %%xmm1\n"
                           "movaps 96(%0), %%xmm0\n movaps 112(%0), %%xmm1\n movaps 128(%0), %%xmm0\n"
                           "movaps 144(%0), %%xmm1\n movaps 160(%0), %%xmm0\n movaps 176(%0), %%xmm1\n"
                           "movaps 192(%0), %%xmm0\n movaps 208(%0), %%xmm1\n movaps 224(%0), %%xmm0\n"
                           "movaps 240(%0), %%xmm1" ::"r"(at) : "xmm0", "xmm1");
    double found = bytes * rounds / (now() - start) / 1e9;
    if (found > best) best = found;
  }
  return best;
}

int main(void) {
  double clock = 0, vnni = 0, words = 0, sums = 0, halves = 0;
  unsigned long x = 3;
  BEST(clock, 3.0, __asm__ volatile("imul %0, %0" : "+r"(x)))
  if (__builtin_cpu_supports("avx512vnni"))
    BEST(vnni, 12 * 64.0, __asm__ volatile(TWELVE("vpdpbusd %%zmm16, %%zmm17, %%zmm", " # ", "\n") ::: CLOBBERED))
  if (__builtin_cpu_supports("avx512f"))
    BEST(sums, 12 * 16.0, __asm__ volatile(TWELVE("vaddps %%zmm16, %%zmm", ", %%zmm", "\n") ::: CLOBBERED))
  if (__builtin_cpu_supports("avx2")) {
    BEST(halves, 12 * 8.0, __asm__ volatile(TWELVE("vaddps %%ymm14, %%ymm", ", %%ymm", "\n") ::: CLOBBERED))
    BEST(words, 6 * 16.0,
         __asm__ volatile(SIX("vpmaddwd %%ymm14, %%ymm12, %%ymm13\n vpaddd %%ymm13, %%ymm", ", %%ymm", "\n")
                          ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm13"))
  }
  size_t bytes = 256u << 20;
  char *data = aligned_alloc(64, bytes + 4096);
  memset(data, 1, bytes + 4096);
  int wide = __builtin_cpu_supports("avx512f") != 0;
  double first = reading(data, 16u << 10, wide), second = reading(data, 512u << 10, wide);
  double third = reading(data, 8u << 20, wide), memory = reading(data, bytes, wide);
  printf("{\"clock_ghz\": %.2f, \"vpdpbusd_zmm_products_per_ns\": %.0f, \"vpmaddwd_ymm_products_per_ns\": %.0f, "
         "\"vaddps_zmm_sums_per_ns\": %.0f, \"vaddps_ymm_sums_per_ns\": %.0f, \"read_l1_gb_per_s\": %.1f, "
         "\"read_l2_gb_per_s\": %.1f, \"read_l3_gb_per_s\": %.1f, \"read_gb_per_s\": %.1f}\n",
         clock, vnni, words, sums, halves, first, second, third, memory);
  return 0;
}
