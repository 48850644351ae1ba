// One block a row, the row in memory that the block shares: shared memory, or scratch for rows that exceed it.
//
// Transforms run in passes of four stages: a thread takes 16 coordinates into registers, and what a pass writes the next
// one reads after a barrier. Coordinate i lies at TQ_AT(i), so that neither end of a pass meets in one bank.

#define TQ_AT(i) ((i) ^ ((i) >> 5 & 31))
#define TQ_ROW_FLOATS ((TQ_DIM + 31) / 32 * 32)
#define TQ_RADIX_LOG 4

// The block's memory: two rows (permutations go from one to the other), codes as bytes, and what sums pass through.
struct tq_block {
    float* row;
    float* other;
    unsigned char* codes;
    float* sums;
};

#define TQ_SUM_FLOATS 96

// `fixed` bytes of shared memory are the kernel's own.
__device__ __forceinline__ tq_block tq_block_memory(unsigned char* shared, int fixed, float* scratch) {
    tq_block block;
    block.sums = (float*)(shared + fixed);
    float* rows = block.sums + TQ_SUM_FLOATS;
    if (TQ_IN_SCRATCH) rows = scratch + (long long)blockIdx.x * (2 * TQ_ROW_FLOATS + TQ_ROW_FLOATS / 4);
    block.row = rows;
    block.other = rows + TQ_ROW_FLOATS;
    block.codes = (unsigned char*)(rows + 2 * TQ_ROW_FLOATS);
    return block;
}

// Between rows no barrier is needed: loops over i = threadIdx.x, threadIdx.x + TQ_THREADS … touch only what is theirs.

// The largest of all threads' values, in all threads.
__device__ __forceinline__ unsigned tq_block_largest(tq_block& block, unsigned value) {
    unsigned* const shared = (unsigned*)block.sums;
    tq_sync_block();
#pragma unroll
    for (int half = 16; half; half /= 2) {
        const unsigned other = tq_from_lane_xor(value, half);
        value = other > value ? other : value;
    }
    if ((threadIdx.x & 31) == 0) shared[threadIdx.x / 32] = value;
    tq_sync_block();
    value = shared[0];
    for (int warp = 1; warp < TQ_THREADS / 32; warp++) value = shared[warp] > value ? shared[warp] : value;
    return value;
}

// Halve 64 sums, given by threads 0 … 63, to one that all threads get; docs/numerics.md section 3. The callers' barriers
// keep it apart from tq_block_largest; calls in a row need none between them, as the result has a place of its own.
__device__ __forceinline__ float tq_block_halve(tq_block& block, float sum) {
    if (threadIdx.x < 64) block.sums[threadIdx.x] = sum;
    tq_sync_block();
    if (threadIdx.x < 32) {
        float total = block.sums[threadIdx.x] + block.sums[threadIdx.x + 32];
#pragma unroll
        for (int half = 16; half; half /= 2) total = total + tq_from_lane_xor(total, half);
        if (threadIdx.x == 0) block.sums[64] = total;
    }
    tq_sync_block();
    return block.sums[64];
}

// Read row `x` and prepare it. Returns false for a row with NaN or inf, which is reported.
__device__ __forceinline__ bool tq_block_prepare(tq_block& block, const float* x, unsigned long long* faults,
                                                 long long row, int& e, float& norm) {
    unsigned top = 0;
    for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) {
        const float value = x[i];
        block.row[TQ_AT(i)] = value;
        const unsigned magnitude = tq_magnitude(tq_bits(value));
        top = magnitude > top ? magnitude : top;
    }
    top = tq_block_largest(block, top);
    e = 0;
    norm = 0.0f;
    if (top >= 0x7f800000u) {
        for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) {
            if (tq_magnitude(tq_bits(x[i])) >= 0x7f800000u) {
                tq_report(faults, TQ_FAULT_NONFINITE, row, i);
                break;
            }
        }
        return false;
    }
    const bool zero = top < 0x00800000u;
    if (!zero) e = tq_exponent(top);
    const bool lifted = !zero && e <= TQ_LIFTED_BELOW;
    for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) {
        float value = zero ? 0.0f : block.row[TQ_AT(i)];
        if (lifted) value = tq_lifted(tq_bits(value));
        block.row[TQ_AT(i)] = tq_prepared(tq_bits(value), lifted ? e + TQ_LIFT : e);
    }
    tq_sync_block();
    float sum = 0.0f;
    if (threadIdx.x < 64) {
        for (int i = threadIdx.x; i < TQ_DIM; i += 64) {
            const float value = block.row[TQ_AT(i)];
            sum = sum + value * value;
        }
    }
    norm = tq_root(tq_block_halve(block, sum));
    return true;
}

// Multiply a value by ±factor.
__device__ __forceinline__ float tq_signed(float value, const unsigned* signs, int i, float factor) {
    return tq_float(tq_bits(tq_multiply(value, factor)) ^ (signs[i / 32] << (31 - (i & 31)) & 0x80000000u));
}

// One block transform of the coordinates from `offset`, or its inverse.
__device__ __forceinline__ void tq_block_transform(float* row, int offset, const unsigned* signs, float factor,
                                                   bool forward) {
    if (TQ_LOG == 0 && threadIdx.x == 0) row[TQ_AT(offset)] = tq_signed(row[TQ_AT(offset)], signs, 0, factor);
#pragma unroll
    for (int done = 0; done < TQ_LOG; done += TQ_RADIX_LOG) {
        const int logs = TQ_LOG - done < TQ_RADIX_LOG ? TQ_LOG - done : TQ_RADIX_LOG;
        const bool first = done == 0, last = done + TQ_RADIX_LOG >= TQ_LOG;
        for (int tile = threadIdx.x; tile < TQ_POWER >> logs; tile += TQ_THREADS) {
            const int start = (tile >> done << (done + logs)) | (tile & ((1 << done) - 1));
            float v[1 << TQ_RADIX_LOG];
#pragma unroll
            for (int k = 0; k < 1 << TQ_RADIX_LOG; k++) {
                if (k < 1 << logs) {
                    const int i = start + (k << done);
                    v[k] = row[TQ_AT(offset + i)];
                    if (first && forward) v[k] = tq_signed(v[k], signs, i, factor);
                }
            }
#pragma unroll
            for (int log = 0; log < TQ_RADIX_LOG; log++) {
#pragma unroll
                for (int k = 0; k < 1 << TQ_RADIX_LOG; k++) {
                    if (log < logs && k < 1 << logs && !(k >> log & 1)) {
                        const float a = v[k], b = v[k | 1 << log];
                        v[k] = tq_add(a, b);
                        v[k | 1 << log] = tq_subtract(a, b);
                    }
                }
            }
#pragma unroll
            for (int k = 0; k < 1 << TQ_RADIX_LOG; k++) {
                if (k < 1 << logs) {
                    const int i = start + (k << done);
                    if (last && !forward) v[k] = tq_signed(v[k], signs, i, factor);
                    row[TQ_AT(offset + i)] = v[k];
                }
            }
        }
        tq_sync_block();
    }
}

#define TQ_TRANSFORMS (TQ_POWER == TQ_DIM ? 1 : 2)
#define TQ_SIGNS(round, step) (signs + ((round) * TQ_TRANSFORMS + (step)) * ((TQ_POWER + 31) / 32))

__device__ __forceinline__ void tq_block_rotate(tq_block& block, const unsigned* signs, const unsigned short* source,
                                                float factor) {
    for (int round = 0; round < TQ_ROUNDS; round++) {
        tq_block_transform(block.row, 0, TQ_SIGNS(round, 0), factor, true);
        if (TQ_POWER == TQ_DIM) continue;
        tq_block_transform(block.row, TQ_DIM - TQ_POWER, TQ_SIGNS(round, 1), factor, true);
        if (round + 1 == TQ_ROUNDS) continue;
        for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) {
            block.other[TQ_AT(i)] = block.row[TQ_AT((int)source[round * TQ_DIM + i])];
        }
        tq_sync_block();
        float* const row = block.row;
        block.row = block.other;
        block.other = row;
    }
}

__device__ __forceinline__ void tq_block_rotate_back(tq_block& block, const unsigned* signs,
                                                     const unsigned short* source, float factor) {
    tq_sync_block();
    for (int round = TQ_ROUNDS - 1; round >= 0; round--) {
        if (TQ_POWER != TQ_DIM) {
            if (round + 1 < TQ_ROUNDS) {
                for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) {
                    block.other[TQ_AT((int)source[round * TQ_DIM + i])] = block.row[TQ_AT(i)];
                }
                tq_sync_block();
                float* const row = block.row;
                block.row = block.other;
                block.other = row;
            }
            tq_block_transform(block.row, TQ_DIM - TQ_POWER, TQ_SIGNS(round, 1), factor, false);
        }
        tq_block_transform(block.row, 0, TQ_SIGNS(round, 0), factor, false);
    }
}
