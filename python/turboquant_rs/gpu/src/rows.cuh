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

// Below this exponent of a row, subnormal coordinates may be 2^-40 of the largest and count.
#define TQ_LIFTED_BELOW (-86)
#define TQ_LIFT 100

// x · 2^TQ_LIFT exactly, normal unless 0; for coordinates of a row whose exponent is TQ_LIFTED_BELOW or less.
__device__ __forceinline__ float tq_lifted(unsigned bits) {
    const unsigned magnitude = tq_magnitude(bits);
    const float subnormal = tq_to_float((int)magnitude) * 1.7763568394002505e-15f;  // · 2^(TQ_LIFT - 149)
    const unsigned lifted = magnitude < 0x00800000u ? tq_bits(subnormal) : magnitude + ((unsigned)TQ_LIFT << 23);
    return tq_float(lifted | (bits & 0x80000000u));
}

// x · 2^-e exactly, +0 below 2^-40; for |x| below 2^(e+1).
__device__ __forceinline__ float tq_prepared(unsigned bits, int e) {
    const int kept = (int)tq_magnitude(bits) - e * (1 << 23);
    return kept < (127 - 40) << 23 ? 0.0f : tq_float(bits - (unsigned)e * (1u << 23));
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

// The same of a value that may be subnormal.
__device__ __forceinline__ float tq_times_power_of_any(float value, int e) {
    const unsigned magnitude = tq_magnitude(tq_bits(value));
    if (magnitude == 0 || magnitude >= 0x00800000u) return tq_times_power(value, e);
    return tq_times_power(tq_lifted(tq_bits(value)), e - TQ_LIFT);
}

__device__ __forceinline__ bool tq_is_finite(float value) { return tq_magnitude(tq_bits(value)) < 0x7f800000u; }

// Whether value · 2^e is 2^limit or more; `value` is 0 or positive and normal.
__device__ __forceinline__ bool tq_reaches(float value, int e, int limit) {
    return value != 0.0f && tq_exponent(tq_bits(value)) + e >= limit;
}
