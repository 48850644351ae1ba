// One warp a row, the row read from memory in passes: any number of coordinates, no shared memory. A row is given as a
// function of the coordinate, so that what is computed from memory on the fly can be one.

// The power of two of a row whose largest magnitude is `top`, and how its coordinates are taken.
struct tq_power {
    int e;
    bool zero, lifted;
};

__device__ __forceinline__ tq_power tq_power_of(unsigned top) {
    tq_power power;
    power.zero = top < 0x00800000u;
    power.e = power.zero ? 0 : tq_exponent(top);
    power.lifted = !power.zero && power.e <= TQ_LIFTED_BELOW;
    return power;
}

// A coordinate of the prepared row (docs/numerics.md section 2).
__device__ __forceinline__ float tq_take(const tq_power& power, float value) {
    if (power.zero) return 0.0f;
    if (power.lifted) return tq_prepared(tq_bits(tq_lifted(tq_bits(value))), power.e + TQ_LIFT);
    return tq_prepared(tq_bits(value), power.e);
}

template <class Value>
__device__ __forceinline__ unsigned tq_stream_top(int count, Value value) {
    unsigned top = 0;
    for (int i = tq_lane(); i < count; i += 32) {
        const unsigned magnitude = tq_magnitude(tq_bits(value(i)));
        top = magnitude > top ? magnitude : top;
    }
    return tq_warp_largest(top);
}

// The sum of `count` terms in the one order of docs/numerics.md section 3.
template <class Term>
__device__ __forceinline__ float tq_stream_sum(int count, Term term) {
    float even = 0.0f, odd = 0.0f;
    for (int i = tq_lane(); i < count; i += 64) {
        even = even + term(i);
        if (i + 32 < count) odd = odd + term(i + 32);
    }
    return tq_warp_halve(even, odd);
}

template <class Value>
__device__ __forceinline__ float tq_stream_norm(int count, const tq_power& power, Value value) {
    return tq_root(tq_stream_sum(count, [&](int i) {
        const float v = tq_take(power, value(i));
        return v * v;
    }));
}

// Whether all of a row is finite; if not, its first column that is not is reported.
template <class Value>
__device__ __forceinline__ bool tq_stream_finite(int count, unsigned top, unsigned long long* faults, long long row,
                                                 Value value) {
    if (!tq_ballot(top >= 0x7f800000u)) return true;
    for (int first = 0; first < count; first += 32) {
        const int i = first + tq_lane();
        const unsigned lanes = tq_ballot(i < count && tq_magnitude(tq_bits(value(i < count ? i : first))) >= 0x7f800000u);
        if (lanes) {
            if (tq_lane() == 0) tq_report(faults, TQ_FAULT_NONFINITE, row, first + tq_lowest_bit(lanes));
            break;
        }
    }
    return false;
}

// A prepared row in fixed point (docs/numerics.md section 11) as two planes of `stride` signed bytes, a multiple of 4:
// 256·high + low. What lies behind the row is 0. A lane writes four bytes at a time.
template <class Value>
__device__ __forceinline__ void tq_store_fixed(unsigned* high, unsigned* low, int stride, int count, float norm,
                                               Value value) {
    const float factor = tq_divide(32000.0f, norm == 0.0f ? 1.0f : norm);
    for (int word = tq_lane(); word < stride / 4; word += 32) {
        unsigned upper = 0, lower = 0;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const int i = 4 * word + k;
            const int fixed = i < count ? tq_round(value(i) * factor) : 0;
            const int top = (fixed + 128) >> 8;
            upper |= ((unsigned)top & 0xffu) << 8 * k;
            lower |= ((unsigned)fixed & 0xffu) << 8 * k;
        }
        high[word] = upper;
        low[word] = lower;
    }
}
