// One warp a row, the row in registers: slot j of lane l holds coordinate 32·j + l (dims up to 2,048).
//
// So loads and stores are coalesced, one ballot packs 32 coordinates, and the terms of two of the 64 sums of
// docs/numerics.md section 3 meet in each lane, in order.

#define TQ_SLOTS_USED ((TQ_DIM + 31) / 32)
#define TQ_POWER_SLOTS ((TQ_POWER + 31) / 32)
#define TQ_SIGN_GROUPS ((TQ_POWER_SLOTS + 31) / 32)

typedef float tq_row[TQ_SLOTS];

__device__ __forceinline__ int tq_lane() { return threadIdx.x & 31; }

// Whether slot j of this lane holds a coordinate.
__device__ __forceinline__ bool tq_holds(int j) { return 32 * j + tq_lane() < TQ_DIM; }

// The 64 sums, of which a lane has two: by halving to one, the same in all lanes.
__device__ __forceinline__ float tq_warp_halve(float even, float odd) {
    float sum = even + odd;
#pragma unroll
    for (int half = 16; half; half /= 2) sum = sum + tq_from_lane_xor(sum, half);
    return sum;
}

__device__ __forceinline__ unsigned tq_warp_largest(unsigned value) {
#pragma unroll
    for (int half = 16; half; half /= 2) {
        const unsigned other = tq_from_lane_xor(value, half);
        value = other > value ? other : value;
    }
    return value;
}

// Read row `x` and prepare it. Returns false for a row with NaN or inf, which is reported.
__device__ __forceinline__ bool tq_warp_prepare(tq_row& v, const float* x, unsigned long long* faults, long long row,
                                                int& e, float& norm) {
    unsigned top = 0;
#pragma unroll
    for (int j = 0; j < TQ_SLOTS_USED; j++) {
        v[j] = tq_holds(j) ? x[32 * j + tq_lane()] : 0.0f;
        const unsigned magnitude = tq_magnitude(tq_bits(v[j]));
        top = magnitude > top ? magnitude : top;
    }
    top = tq_warp_largest(top);
    e = 0;
    norm = 0.0f;
    if (top >= 0x7f800000u) {
        for (int j = 0; j < TQ_SLOTS_USED; j++) {
            // Read again: an index that is not known at compile time would put the registers into memory.
            const bool bad = tq_holds(j) && tq_magnitude(tq_bits(x[32 * j + tq_lane()])) >= 0x7f800000u;
            const unsigned lanes = tq_ballot(bad);
            if (lanes) {
                if (tq_lane() == 0) tq_report(faults, TQ_FAULT_NONFINITE, row, 32 * j + tq_lowest_bit(lanes));
                break;
            }
        }
        return false;
    }
    const bool zero = top < 0x00800000u;
    if (!zero) e = tq_exponent(top);
    float even = 0.0f, odd = 0.0f;
#pragma unroll
    for (int j = 0; j < TQ_SLOTS_USED; j++) {
        v[j] = zero ? 0.0f : tq_prepared(tq_bits(v[j]), e);
        const float square = v[j] * v[j];
        if (j & 1) odd = odd + square; else even = even + square;
    }
    norm = tq_root(tq_warp_halve(even, odd));
    return true;
}

// Walsh–Hadamard of the first TQ_POWER coordinates of v, strides 1, 2, 4 …: below 32 across lanes, then across slots.
__device__ __forceinline__ void tq_warp_stages(tq_row& v) {
#pragma unroll
    for (int log = 0; log < 5; log++) {
        if ((1 << log) < TQ_POWER) {
            const unsigned flip = tq_lane() >> log & 1 ? 0x80000000u : 0u;
#pragma unroll
            for (int j = 0; j < TQ_POWER_SLOTS; j++) {
                const float other = tq_from_lane_xor(v[j], 1 << log);
                v[j] = other + tq_float(tq_bits(v[j]) ^ flip);  // a + b in the lower lane, a - b in the upper
            }
        }
    }
#pragma unroll
    for (int log = 0; log < 6; log++) {
        const int stride = 1 << log;
        if (stride < TQ_POWER_SLOTS) {
#pragma unroll
            for (int j = 0; j < TQ_POWER_SLOTS; j++) {
                if (!(j & stride)) {
                    const float a = v[j], b = v[j | stride];
                    v[j] = a + b;
                    v[j | stride] = a - b;
                }
            }
        }
    }
}

// Multiply the first TQ_POWER coordinates by ±factor; `signs` is one transform's, by lane.
__device__ __forceinline__ void tq_warp_multiply(tq_row& v, const unsigned* signs, float factor) {
#pragma unroll
    for (int j = 0; j < TQ_POWER_SLOTS; j++) {
        const unsigned word = signs[32 * (j / 32) + tq_lane()];
        v[j] = tq_float(tq_bits(v[j] * factor) ^ (word << (31 - (j & 31)) & 0x80000000u));
    }
}

// One block transform, or its inverse, of the first TQ_POWER coordinates of v; the others stay.
__device__ __forceinline__ void tq_warp_transform(tq_row& v, const unsigned* signs, float factor, bool forward) {
    const float kept = v[0];
    if (forward) tq_warp_multiply(v, signs, factor);
    tq_warp_stages(v);
    if (!forward) tq_warp_multiply(v, signs, factor);
    if (TQ_POWER < 32 && tq_lane() >= TQ_POWER) v[0] = kept;
}

// Between transforms of dims that are no power of two, the row passes through TQ_DIM floats of shared memory.
__device__ __forceinline__ void tq_warp_store(float* buffer, const tq_row& v, int offset, int slots) {
#pragma unroll
    for (int j = 0; j < TQ_SLOTS_USED; j++) {
        const int i = 32 * j + tq_lane();
        if (j < slots && i < TQ_DIM - offset) buffer[offset + i] = v[j];
    }
    tq_sync_warp();
}

__device__ __forceinline__ void tq_warp_load(tq_row& v, const float* buffer, int offset, int slots) {
#pragma unroll
    for (int j = 0; j < TQ_SLOTS_USED; j++) {
        const int i = 32 * j + tq_lane();
        if (j < slots) v[j] = i < TQ_DIM - offset ? buffer[offset + i] : 0.0f;
    }
    tq_sync_warp();
}

#define TQ_TRANSFORMS (TQ_POWER == TQ_DIM ? 1 : 2)
#define TQ_SIGNS(round, step) (signs + ((round) * TQ_TRANSFORMS + (step)) * TQ_SIGN_GROUPS * 32)

__device__ __forceinline__ void tq_warp_rotate(tq_row& v, float* buffer, const unsigned* signs,
                                               const unsigned short* source, float factor) {
    for (int round = 0; round < TQ_ROUNDS; round++) {
        tq_warp_transform(v, TQ_SIGNS(round, 0), factor, true);
        if (TQ_POWER != TQ_DIM) {
            tq_warp_store(buffer, v, 0, TQ_SLOTS_USED);
            tq_warp_load(v, buffer, TQ_DIM - TQ_POWER, TQ_POWER_SLOTS);
            tq_warp_transform(v, TQ_SIGNS(round, 1), factor, true);
            tq_warp_store(buffer, v, TQ_DIM - TQ_POWER, TQ_POWER_SLOTS);
            const bool shuffled = round + 1 < TQ_ROUNDS;
#pragma unroll
            for (int j = 0; j < TQ_SLOTS_USED; j++) {
                const int i = 32 * j + tq_lane();
                if (tq_holds(j)) v[j] = buffer[shuffled ? source[round * TQ_DIM + i] : i];
            }
            tq_sync_warp();
        }
    }
}

__device__ __forceinline__ void tq_warp_rotate_back(tq_row& v, float* buffer, const unsigned* signs,
                                                    const unsigned short* source, float factor) {
    for (int round = TQ_ROUNDS - 1; round >= 0; round--) {
        if (TQ_POWER != TQ_DIM) {
            const bool shuffled = round + 1 < TQ_ROUNDS;
#pragma unroll
            for (int j = 0; j < TQ_SLOTS_USED; j++) {
                const int i = 32 * j + tq_lane();
                if (tq_holds(j)) buffer[shuffled ? source[round * TQ_DIM + i] : i] = v[j];
            }
            tq_sync_warp();
            tq_warp_load(v, buffer, TQ_DIM - TQ_POWER, TQ_POWER_SLOTS);
            tq_warp_transform(v, TQ_SIGNS(round, 1), factor, false);
            tq_warp_store(buffer, v, TQ_DIM - TQ_POWER, TQ_POWER_SLOTS);
            tq_warp_load(v, buffer, 0, TQ_SLOTS_USED);
        }
        tq_warp_transform(v, TQ_SIGNS(round, 0), factor, false);
    }
}
