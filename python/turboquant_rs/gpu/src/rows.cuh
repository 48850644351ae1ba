// One row's numbers: preparation and exact powers of two (docs/numerics.md section 2).
//
// Nothing up to a row's bytes makes or reads a subnormal float, so flush-to-zero (which CuPy switches on) changes no bit;
// decoded values and scores may be subnormal and are made by tq_product.

// Slots of `faults`, and a row as a word of them.
#define TQ_FAULT_NONFINITE 0
#define TQ_FAULT_NORM 1
#define TQ_FAULT_SQUARE 2

__device__ __forceinline__ void tq_report(unsigned long long* faults, int kind, long long row, int column) {
    tq_atomic_least(faults + kind, (unsigned long long)row << 17 | (unsigned)column);
}

__device__ __forceinline__ unsigned tq_magnitude(unsigned bits) { return bits & 0x7fffffffu; }

// e with 2^e <= top < 2^(e+1); `top` is the magnitude of a normal number.
__device__ __forceinline__ int tq_exponent(unsigned top) { return (int)(top >> 23) - 127; }

// x · 2^-e exactly, +0 below 2^-40; x as its bits.
__device__ __forceinline__ float tq_prepared(unsigned bits, int e) {
    const unsigned magnitude = tq_magnitude(bits);
    float value;
    if (magnitude < 0x00800000u) {
        // mantissa · 2^(-149-e): below 2^-40 unless e is near -126, so the power of two is clamped where it is not used.
        const int power = -149 - e < -64 ? -64 : -149 - e;
        value = tq_to_float((int)magnitude) * tq_float((unsigned)(power + 127) << 23);
    } else {
        const int field = (int)(magnitude >> 23) - e;
        value = field < 127 - 40 ? 0.0f : tq_float((unsigned)field << 23 | (magnitude & 0x007fffffu));
    }
    if (value < 9.094947017729282e-13f) return 0.0f;  // 2^-40
    return tq_float(tq_bits(value) | (bits & 0x80000000u));
}

// value · 2^e rounded once; 0 below 2^-126, ±inf beyond float32. `value` is 0, infinite or normal.
__device__ __forceinline__ float tq_times_power(float value, int e) {
    const unsigned bits = tq_bits(value), sign = bits & 0x80000000u, magnitude = tq_magnitude(bits);
    if (magnitude < 0x00800000u) return 0.0f;
    if (magnitude >= 0x7f800000u) return value;
    const int field = (int)(magnitude >> 23) + e;
    if (field >= 255) return tq_float(sign | 0x7f800000u);
    if (field >= 1) return tq_float(sign | (unsigned)field << 23 | (magnitude & 0x007fffffu));
    // Of all numbers below 2^-126, only the one that is half a subnormal step away rounds up to it.
    const bool up = field == 0 && (magnitude & 0x007fffffu) == 0x007fffffu;
    return up ? tq_float(sign | 0x00800000u) : 0.0f;
}

__device__ __forceinline__ bool tq_is_finite(float value) { return tq_magnitude(tq_bits(value)) < 0x7f800000u; }

// Whether value · 2^e is 2^limit or more; `value` is 0 or positive and normal.
__device__ __forceinline__ bool tq_reaches(float value, int e, int limit) {
    return value != 0.0f && tq_exponent(tq_bits(value)) + e >= limit;
}
