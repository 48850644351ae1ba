// One warp a row, the row in registers: slot j of lane l holds coordinate 32·j + l (dims up to 2,048).
//
// So loads and stores are coalesced, one ballot packs 32 coordinates, and the terms of two of the 64 sums of
// docs/numerics.md section 3 meet in each lane, in order.

#define TQ_SLOTS_USED ((TQ_DIM + 31) / 32)
#define TQ_POWER_SLOTS ((TQ_POWER + 31) / 32)
#define TQ_SIGN_GROUPS ((TQ_POWER_SLOTS + 31) / 32)

typedef float tq_row[TQ_SLOTS];

// Whether slot j of this lane holds a coordinate.
__device__ __forceinline__ bool tq_holds(int j) { return 32 * j + tq_lane() < TQ_DIM; }

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
    // The condition is the same in all lanes, as is every other that follows from `top`; a ballot says so.
    if (tq_ballot(top >= 0x7f800000u)) {
#pragma unroll 1
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
    int lifted = 0;
    if (tq_ballot(top < 0x00800000u)) {
#pragma unroll
        for (int j = 0; j < TQ_SLOTS_USED; j++) v[j] = 0.0f;
    } else {
        e = tq_exponent(top);
        if (tq_ballot(e <= TQ_LIFTED_BELOW)) {
#pragma unroll
            for (int j = 0; j < TQ_SLOTS_USED; j++) v[j] = tq_lifted(tq_bits(v[j]));
            lifted = TQ_LIFT;
        }
    }
    float even = 0.0f, odd = 0.0f;
#pragma unroll
    for (int j = 0; j < TQ_SLOTS_USED; j++) {
        v[j] = tq_prepared(tq_bits(v[j]), e + lifted);
        const float square = v[j] * v[j];
        if (j & 1) odd = odd + square; else even = even + square;
    }
    norm = tq_root(tq_warp_halve(even, odd));
    return true;
}

// Walsh–Hadamard of the first TQ_POWER coordinates of v, strides 1, 2, 4 …: the least in registers after a transposition,
// then across lanes what is left below 32, then across slots.
//
// The transposition goes by tiles of up to 32 slots through shared memory, 32 floats a slot. A tile of S slots comes back
// with S consecutive coordinates in a lane, read in fours; exchanging the fours of a line by its number keeps the eight
// lanes that are served together in different banks.
#define TQ_TILE (TQ_POWER_SLOTS < 32 ? TQ_POWER_SLOTS : 32)
#define TQ_TILE_LOG (TQ_POWER_SLOTS < 8 ? 2 : TQ_POWER_SLOTS < 16 ? 3 : TQ_POWER_SLOTS < 32 ? 4 : 5)
#define TQ_TRANSPOSED (TQ_POWER_SLOTS >= 4)
// Floats of shared memory that a warp needs.
#define TQ_WARP_FLOATS (TQ_WARP_BYTES / 4)

__device__ __forceinline__ int tq_tile_at(int i) {
    return i ^ (i >> 5 & (TQ_TILE / 4 - 1)) << 2;
}

__device__ __forceinline__ void tq_warp_stages(tq_row& v, float* buffer) {
    const int low_logs = TQ_TRANSPOSED ? TQ_TILE_LOG : 0;
    if (TQ_TRANSPOSED) {
#pragma unroll
        for (int j = 0; j < TQ_POWER_SLOTS; j++) buffer[tq_tile_at(32 * j + tq_lane())] = v[j];
        tq_sync_warp();
#pragma unroll
        for (int tile = 0; tile < TQ_POWER_SLOTS; tile += TQ_TILE) {
            float low[32];
#pragma unroll
            for (int k = 0; k < TQ_TILE; k += 4) {
                tq_load_four(low + k, buffer + tq_tile_at(32 * tile + TQ_TILE * tq_lane() + k));
            }
#pragma unroll
            for (int log = 0; log < 5; log++) {
#pragma unroll
                for (int k = 0; k < TQ_TILE; k++) {
                    if (log < low_logs && !(k >> log & 1)) {
                        const float a = low[k], b = low[k | 1 << log];
                        low[k] = tq_add(a, b);
                        low[k | 1 << log] = tq_subtract(a, b);
                    }
                }
            }
#pragma unroll
            for (int k = 0; k < TQ_TILE; k += 4) {
                tq_store_four(buffer + tq_tile_at(32 * tile + TQ_TILE * tq_lane() + k), low + k);
            }
        }
        tq_sync_warp();
#pragma unroll
        for (int j = 0; j < TQ_POWER_SLOTS; j++) v[j] = buffer[tq_tile_at(32 * j + tq_lane())];
        // A lane of the next transposition writes where it has read here; what comes between overlapping blocks does not.
        if (TQ_POWER != TQ_DIM) tq_sync_warp();
    }
#pragma unroll
    for (int log = 0; log < 5; log++) {
        if (log >= low_logs && (1 << log) < TQ_POWER) {
            const unsigned flip = tq_lane() >> log & 1 ? 0x80000000u : 0u;
#pragma unroll
            for (int j = 0; j < TQ_POWER_SLOTS; j++) {
                const float other = tq_from_lane_xor(v[j], 1 << log);
                v[j] = tq_add(other, tq_float(tq_bits(v[j]) ^ flip));  // a + b in the lower lane, a - b in the upper
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
                    v[j] = tq_add(a, b);
                    v[j | stride] = tq_subtract(a, b);
                }
            }
        }
    }
}

// Multiply the first TQ_POWER coordinates by ±factor; `signs` is one transform's, by lane. Where the factor is a power of
// two and all coordinates meet it equally often (TQ_DEFERRED), only signs change here, and the kernel multiplies once by
// all rounds' factors: exactly, so that no bit differs.
__device__ __forceinline__ void tq_warp_multiply(tq_row& v, const unsigned* signs, float factor) {
#pragma unroll
    for (int j = 0; j < TQ_POWER_SLOTS; j++) {
        const unsigned word = signs[32 * (j / 32) + tq_lane()];
        const float value = TQ_DEFERRED ? v[j] : tq_multiply(v[j], factor);
        v[j] = tq_float(tq_bits(value) ^ (word << (31 - (j & 31)) & 0x80000000u));
    }
}
#define TQ_LAST_FACTOR (TQ_DEFERRED ? factor : 1.0f)

// One block transform, or its inverse, of the first TQ_POWER coordinates of v; the others stay.
__device__ __forceinline__ void tq_warp_transform(tq_row& v, float* buffer, const unsigned* signs, float factor,
                                                  bool forward) {
    const float kept = v[0];
    if (forward) tq_warp_multiply(v, signs, factor);
    tq_warp_stages(v, buffer);
    if (!forward) tq_warp_multiply(v, signs, factor);
    if (TQ_POWER < 32 && tq_lane() >= TQ_POWER) v[0] = kept;
}

// Where coordinate i of a row lies in shared memory between overlapping transforms: what the second transform takes comes
// first, as its transposition uses that place, and what it leaves alone behind.
__device__ __forceinline__ int tq_place(int i) { return i < TQ_DIM - TQ_POWER ? TQ_POWER + i : i - (TQ_DIM - TQ_POWER); }

// Before the second transform of a round: all coordinates in, by a permutation where the inverse has one here; then the
// second transform's out.
__device__ __forceinline__ void tq_warp_to_second(tq_row& v, float* buffer, const unsigned short* places) {
#pragma unroll
    for (int j = 0; j < TQ_SLOTS_USED; j++) {
        const int i = 32 * j + tq_lane();
        if (tq_holds(j)) buffer[places ? places[i] : tq_place(i)] = v[j];
    }
    tq_sync_warp();
#pragma unroll
    for (int j = 0; j < TQ_POWER_SLOTS; j++) v[j] = buffer[TQ_POWER < 32 ? tq_lane() % TQ_POWER : 32 * j + tq_lane()];
    tq_sync_warp();
}

// After the second transform: its coordinates in, where the others already are.
__device__ __forceinline__ void tq_warp_from_second(const tq_row& v, float* buffer) {
#pragma unroll
    for (int j = 0; j < TQ_POWER_SLOTS; j++) {
        if (TQ_POWER >= 32 || tq_lane() < TQ_POWER) buffer[32 * j + tq_lane()] = v[j];
    }
    tq_sync_warp();
}

#define TQ_TRANSFORMS (TQ_POWER == TQ_DIM ? 1 : 2)
#define TQ_SIGNS(round, step) (signs + ((round) * TQ_TRANSFORMS + (step)) * TQ_SIGN_GROUPS * 32)

// `places` holds the permutations as places: coordinate i is taken from places[i].
__device__ __forceinline__ void tq_warp_rotate(tq_row& v, float* buffer, const unsigned* signs,
                                               const unsigned short* places, float factor) {
    for (int round = 0; round < TQ_ROUNDS; round++) {
        tq_warp_transform(v, buffer, TQ_SIGNS(round, 0), factor, true);
        if (TQ_POWER != TQ_DIM) {
            tq_warp_to_second(v, buffer, nullptr);
            tq_warp_transform(v, buffer, TQ_SIGNS(round, 1), factor, true);
            tq_warp_from_second(v, buffer);
            const bool shuffled = round + 1 < TQ_ROUNDS;
#pragma unroll
            for (int j = 0; j < TQ_SLOTS_USED; j++) {
                const int i = 32 * j + tq_lane();
                if (tq_holds(j)) v[j] = buffer[shuffled ? places[round * TQ_DIM + i] : tq_place(i)];
            }
            tq_sync_warp();
        }
    }
}

__device__ __forceinline__ void tq_warp_rotate_back(tq_row& v, float* buffer, const unsigned* signs,
                                                    const unsigned short* places, float factor) {
    for (int round = TQ_ROUNDS - 1; round >= 0; round--) {
        if (TQ_POWER != TQ_DIM) {
            tq_warp_to_second(v, buffer, round + 1 < TQ_ROUNDS ? places + round * TQ_DIM : nullptr);
            tq_warp_transform(v, buffer, TQ_SIGNS(round, 1), factor, false);
            tq_warp_from_second(v, buffer);
#pragma unroll
            for (int j = 0; j < TQ_SLOTS_USED; j++) {
                if (tq_holds(j)) v[j] = buffer[tq_place(32 * j + tq_lane())];
            }
            tq_sync_warp();
        }
        tq_warp_transform(v, buffer, TQ_SIGNS(round, 0), factor, false);
    }
}
