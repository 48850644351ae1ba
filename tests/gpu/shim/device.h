// Stands in for device.cuh: the same functions on the shim's fibers. Macros where a call needs to say where it is.

#define TQ_SHARED_MEMORY(name) unsigned char* const name = shim::block.shared

#define tq_sync_block() shim::sync_block(__LINE__)
#define tq_sync_warp() shim::sync_warp(__LINE__)
#define tq_from_lane_xor(value, mask) shim::from_lane_xor(__LINE__, value, mask)
#define tq_from_lane(value, lane) shim::from_lane(__LINE__, value, lane)
#define tq_ballot(condition) shim::ballot(__LINE__, condition)
#define tq_mma(sum, a, b) shim::mma(__LINE__, sum, a, b)

static inline float tq_divide(float a, float b) { return a / b; }
static inline float tq_root(float a) { return __builtin_sqrtf(a); }

// With subnormal results, whatever the mode of the launch.
static inline float tq_product(float a, float b) {
    const unsigned mode = _mm_getcsr(), plain = mode & ~0x8040u;
    asm volatile("ldmxcsr %2\n\tmulss %1, %0\n\tldmxcsr %3" : "+x"(a) : "x"(b), "m"(plain), "m"(mode));
    return a;
}

static inline float tq_sum(float a, float b) {
    const unsigned mode = _mm_getcsr(), plain = mode & ~0x8040u;
    asm volatile("ldmxcsr %2\n\taddss %1, %0\n\tldmxcsr %3" : "+x"(a) : "x"(b), "m"(plain), "m"(mode));
    return a;
}
static inline float tq_quotient(float a, float b) {
    const unsigned mode = _mm_getcsr(), plain = mode & ~0x8040u;
    asm volatile("ldmxcsr %2\n\tdivss %1, %0\n\tldmxcsr %3" : "+x"(a) : "x"(b), "m"(plain), "m"(mode));
    return a;
}

static inline int tq_warp() { return (int)(threadIdx.x / 32); }

static inline void tq_four(const void* at) {
    if ((unsigned long long)at % 16) shim::fail("sixteen bytes at an address that is no multiple of 16");
}
static inline void tq_load_four(float* to, const float* from) { tq_four(from), memcpy(to, from, 16); }
static inline void tq_store_four(float* to, const float* from) { tq_four(to), memcpy(to, from, 16); }
static inline void tq_load_four(unsigned* to, const void* from) { tq_four(from), memcpy(to, from, 16); }
static inline void tq_store_four(void* to, const unsigned* from) { tq_four(to), memcpy(to, from, 16); }

static inline unsigned tq_bits(float value) {
    unsigned bits;
    memcpy(&bits, &value, 4);
    return bits;
}
static inline float tq_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
static inline int tq_round(float value) { return (int)__builtin_rintf(value); }
static inline float tq_to_float(int value) { return (float)value; }
static inline float tq_to_float(long long value) { return (float)value; }
static inline int tq_lowest_bit(unsigned word) { return __builtin_ctz(word); }

// One operating-system thread runs all fibers, and they switch in collectives only.
static inline void tq_atomic_least(unsigned long long* word, unsigned long long value) {
    if (value < *word) *word = value;
}
static inline unsigned tq_atomic_add(unsigned* word, unsigned value) {
    const unsigned before = *word;
    *word += value;
    return before;
}

static inline int tq_dp4a(int a, int b, int c) {
    for (int k = 0; k < 4; k++) c += (signed char)(a >> 8 * k) * (signed char)(b >> 8 * k);
    return c;
}

static inline unsigned tq_choose_bytes(unsigned a, unsigned b, unsigned selector) {
    const unsigned long long bytes = (unsigned long long)b << 32 | a;
    unsigned result = 0;
    for (int k = 0; k < 4; k++) {
        const unsigned place = selector >> 4 * k & 15u;
        if (place > 7) shim::fail("a byte selector has bit 3 set, which replicates a sign");
        result |= (unsigned)(bytes >> 8 * (place & 7u) & 0xffu) << 8 * k;
    }
    return result;
}
