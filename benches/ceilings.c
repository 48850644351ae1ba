/* What this core can do at most, as JSON: its clock, byte and word products from registers, and reading of memory.
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

int main(void) {
  double clock = 0, vnni = 0, words = 0, memory = 0;
  unsigned long x = 3;
  BEST(clock, 3.0, __asm__ volatile("imul %0, %0" : "+r"(x)))
  if (__builtin_cpu_supports("avx512vnni"))
    /* Twelve sums: two ports times five cycles of latency keep ten going. */
    BEST(vnni, 12 * 64.0,
         __asm__ volatile(SIX("vpdpbusd %%zmm16, %%zmm17, %%zmm", "\n vpdpbusd %%zmm16, %%zmm17, %%zmm1", "\n")
                          ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                              "xmm15"))
  if (__builtin_cpu_supports("avx2"))
    BEST(words, 6 * 16.0,
         __asm__ volatile(SIX("vpmaddwd %%ymm14, %%ymm12, %%ymm13\n vpaddd %%ymm13, %%ymm", ", %%ymm", "\n")
                          ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm13"))
  size_t bytes = 256u << 20;
  char *data = aligned_alloc(64, bytes);
  memset(data, 1, bytes);
  for (int repeat = 0; repeat < REPEATS; repeat++) {
    double start = now();
    __m128i sum = _mm_setzero_si128();
    for (size_t i = 0; i < bytes; i += 64) {
      _mm_prefetch(data + i + 1024, _MM_HINT_T0);
      for (int part = 0; part < 4; part++) sum = _mm_xor_si128(sum, *(__m128i *)(data + i + 16 * part));
    }
    __asm__ volatile("" ::"x"(sum));
    double found = bytes / (now() - start) / 1e9;
    if (found > memory) memory = found;
  }
  printf("{\"clock_ghz\": %.2f, \"vpdpbusd_zmm_products_per_ns\": %.0f, \"vpmaddwd_ymm_products_per_ns\": %.0f, "
         "\"read_gb_per_s\": %.1f}\n", clock, vnni, words, memory);
  return 0;
}
