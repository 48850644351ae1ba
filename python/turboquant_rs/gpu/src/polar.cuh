// PolarQuant's levels and radii where they lie in packed rows (docs/numerics-papers.md section 6). Everything is read as the
// kernel runs, so that all codecs share kernels.

// A level as the host's table has it (polar.py): bits of a code, bits that choose in a quadrant or all, the first bit of its
// codes in a row's string, the first float of its table.
struct tq_polar_level {
    int bits, inner, start, table;
};

__device__ __forceinline__ tq_polar_level tq_load_polar(const int* shape, int level) {
    return {shape[4 * level], shape[4 * level + 1], shape[4 * level + 2], shape[4 * level + 3]};
}

#define TQ_HALF_INFINITY 0x7c00u

// The nearest float16 of a value that is not negative, ties to even; beyond its range infinity.
__device__ __forceinline__ unsigned tq_to_half(float value) {
    if (value >= 65520.0f) return TQ_HALF_INFINITY;
    if (value < 6.103515625e-05f) return (unsigned)tq_round(value * 16777216.0f);
    const unsigned bits = tq_bits(value) - (112u << 23);
    return (bits + 0xfffu + (bits >> 13 & 1u)) >> 13;
}

__device__ __forceinline__ float tq_from_half(unsigned half) {
    const unsigned magnitude = half & 0x7fffu, sign = (half & 0x8000u) << 16;
    if (magnitude >= TQ_HALF_INFINITY) return tq_float(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    const float small = tq_to_float((int)magnitude) * 5.9604644775390625e-08f;  // · 2^-24
    return tq_float(sign | (magnitude < 0x400u ? tq_bits(small) : (magnitude << 13) + (112u << 23)));
}

// Radius j of a packed row.
__device__ __forceinline__ float tq_polar_radius(const unsigned char* row, int j, bool half) {
    if (half) return tq_from_half(row[2 * j] | (unsigned)row[2 * j + 1] << 8);
    unsigned bits = 0;
#pragma unroll
    for (int k = 0; k < 4; k++) bits |= (unsigned)row[4 * j + k] << 8 * k;
    return tq_float(bits);
}

// The code of `bits` bits at a bit of a string.
__device__ __forceinline__ unsigned tq_polar_field(const unsigned char* string, int at, int bits) {
    unsigned wide = string[at / 8];
    if ((at & 7) + bits > 8) wide |= (unsigned)string[at / 8 + 1] << 8;
    return wide >> (at & 7) & ((1u << bits) - 1u);
}
