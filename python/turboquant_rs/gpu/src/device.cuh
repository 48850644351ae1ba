// Every instruction that is more than plain C++, one function each: a CPU emulation replaces this file and no other.

#define TQ_ALL_LANES 0xffffffffu
// The block's dynamic shared memory.
#define TQ_SHARED_MEMORY(name) extern __shared__ __align__(16) unsigned char name[]

__device__ __forceinline__ void tq_sync_block() { __syncthreads(); }
__device__ __forceinline__ void tq_sync_warp() { __syncwarp(); }

__device__ __forceinline__ float tq_from_lane_xor(float value, int mask) {
    return __shfl_xor_sync(TQ_ALL_LANES, value, mask);
}
__device__ __forceinline__ unsigned tq_from_lane_xor(unsigned value, int mask) {
    return __shfl_xor_sync(TQ_ALL_LANES, value, mask);
}
// The value of any lane.
__device__ __forceinline__ float tq_from_lane(float value, int lane) { return __shfl_sync(TQ_ALL_LANES, value, lane); }
// This thread's warp in its block; the exchange tells the compiler that all lanes have the same.
__device__ __forceinline__ int tq_warp() { return __shfl_sync(TQ_ALL_LANES, threadIdx.x / 32, 0); }
// Bit i: whether the condition holds in lane i.
__device__ __forceinline__ unsigned tq_ballot(bool condition) { return __ballot_sync(TQ_ALL_LANES, condition); }

// One step of a division or root holds fused multiply-adds, and is correctly rounded all the same.
#ifdef TQ_WITHOUT_DIVISION
// What is left then must hold none: the build check compiles it so and looks.
__device__ __forceinline__ float tq_divide(float a, float b) { return a * b; }
__device__ __forceinline__ float tq_root(float a) { return a + 1.0f; }
#else
__device__ __forceinline__ float tq_divide(float a, float b) { return __fdiv_rn(a, b); }
__device__ __forceinline__ float tq_root(float a) { return __fsqrt_rn(a); }
#endif

// a · b where the product may be subnormal: an instruction by name, which -ftz=true does not turn into one that flushes.
__device__ __forceinline__ float tq_product(float a, float b) {
    float result;
    asm("mul.rn.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
    return result;
}

// a + b and a / b where operands or the result may be subnormal, likewise.
__device__ __forceinline__ float tq_sum(float a, float b) {
    float result;
    asm("add.rn.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
    return result;
}
__device__ __forceinline__ float tq_quotient(float a, float b) {
#ifdef TQ_WITHOUT_DIVISION
    return tq_product(a, b);
#else
    float result;
    asm("div.rn.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
    return result;
#endif
}

// Four floats or words at a multiple of 16 bytes, in one access.
__device__ __forceinline__ void tq_load_four(float* to, const float* from) {
    const float4 four = *(const float4*)from;
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
}
__device__ __forceinline__ void tq_store_four(float* to, const float* from) {
    *(float4*)to = make_float4(from[0], from[1], from[2], from[3]);
}

__device__ __forceinline__ void tq_load_four(unsigned* to, const void* from) {
    const uint4 four = *(const uint4*)from;
    to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
}
__device__ __forceinline__ void tq_store_four(void* to, const unsigned* from) {
    *(uint4*)to = make_uint4(from[0], from[1], from[2], from[3]);
}

__device__ __forceinline__ unsigned tq_bits(float value) { return __float_as_uint(value); }
__device__ __forceinline__ float tq_float(unsigned bits) { return __uint_as_float(bits); }
// To the nearest integer, halves to even.
__device__ __forceinline__ int tq_round(float value) { return __float2int_rn(value); }
__device__ __forceinline__ float tq_to_float(int value) { return __int2float_rn(value); }
__device__ __forceinline__ float tq_to_float(long long value) { return __ll2float_rn(value); }
// Trailing zeros of a word that is not 0.
__device__ __forceinline__ int tq_lowest_bit(unsigned word) { return __ffs(word) - 1; }

__device__ __forceinline__ void tq_atomic_least(unsigned long long* word, unsigned long long value) {
    atomicMin(word, value);
}
// What was there before.
__device__ __forceinline__ unsigned tq_atomic_add(unsigned* word, unsigned value) { return atomicAdd(word, value); }

// c + the products of four signed bytes each.
__device__ __forceinline__ int tq_dp4a(int a, int b, int c) { return __dp4a(a, b, c); }

// Byte i of the result is byte (selector >> 4·i) & 7 of the eight bytes b:a. No selector here has bit 3 of a nibble set.
__device__ __forceinline__ unsigned tq_choose_bytes(unsigned a, unsigned b, unsigned selector) {
    unsigned result;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(a), "r"(b), "r"(selector));
    return result;
}

// sum (16 × 8) += a (16 × 32) · b (32 × 8), signed bytes, in the fragments of mma.m16n8k32: with group = lane / 4 and
// place = 4·(lane % 4), a holds rows group, group + 8 at columns place, then both at place + 16; b holds column group at
// rows place, place + 16; sum holds rows group, group, group + 8, group + 8 at columns place / 2, place / 2 + 1.
__device__ __forceinline__ void tq_mma(int (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
