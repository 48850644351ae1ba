// Encode, one block a row: for dims beyond a warp's registers.

// <y, c> and <c, c> of the row with the codes that `bounds` give; leaves the codes in the block's memory.
__device__ __forceinline__ void tq_block_assign(tq_block& block, const float* bounds, const float* level, float& a,
                                                float& q) {
    for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) {
        block.codes[i] = (unsigned char)(tq_code_offset(bounds, block.row[TQ_AT(i)], [](int, bool) {}) / 4);
    }
    tq_sync_block();
    float a_sum = 0.0f, q_sum = 0.0f;
    if (threadIdx.x < 64) {
        for (int i = threadIdx.x; i < TQ_DIM; i += 64) {
            const float c = level[block.codes[i]];
            a_sum = a_sum + block.row[TQ_AT(i)] * c;
            q_sum = q_sum + c * c;
        }
    }
    a = tq_block_halve(block, a_sum);
    q = tq_block_halve(block, q_sum);
}

// Write the units of the row, a byte a thread.
__device__ __forceinline__ void tq_block_store_units(const tq_block& block, unsigned char* row) {
    int left = TQ_BITS, offset = 0;
#pragma unroll
    for (int unit = 0; unit < TQ_MOST_UNITS; unit++) {
        const int width = tq_unit_width(unit);
        if (width) {
            left -= width;
            const int fields = 8 / width;
            for (int at = threadIdx.x; at < tq_unit_bytes(width); at += TQ_THREADS) {
                unsigned byte = 0;
                for (int k = 0; k < fields; k++) {
                    const int i = at * fields + k;
                    if (i < TQ_DIM) byte |= (block.codes[i] >> left & ((1u << width) - 1)) << k * width;
                }
                row[offset + at] = (unsigned char)byte;
            }
            offset += tq_unit_bytes(width);
        }
    }
}

extern "C" __global__ void __launch_bounds__(TQ_THREADS, 512 / TQ_THREADS) encode_block(
    const float* __restrict__ x, const float* __restrict__ tables, const unsigned* __restrict__ signs,
    const unsigned short* __restrict__ source, float factor, unsigned char* __restrict__ packed,
    float* __restrict__ scales, float* __restrict__ squares, unsigned long long* faults, float root, int unit_norm,
    long long rows, float* scratch) {
    TQ_SHARED_MEMORY(memory);
    float* const bounds = (float*)memory;
    const float* const level = bounds + (TQ_TRIALS << TQ_BITS);
    for (int i = threadIdx.x; i < (TQ_TRIALS + 1) << TQ_BITS; i += TQ_THREADS) bounds[i] = tables[i];
    tq_block block = tq_block_memory(memory, TQ_TABLE_BYTES, scratch);

    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        int e;
        float norm;
        if (!tq_block_prepare(block, x + row * TQ_DIM, faults, row, e, norm)) continue;
        tq_block_rotate(block, signs, source, factor);
        const float gain = tq_divide(root, norm == 0.0f ? 1.0f : norm);
        for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) block.row[TQ_AT(i)] = block.row[TQ_AT(i)] * gain;

        float a, q;
        int best = 0;
        if (TQ_TRIALS > 1) {
            float most = 0.0f;
            for (int trial = 0; trial < TQ_TRIALS; trial++) {
                tq_block_assign(block, bounds + (trial << TQ_BITS), level, a, q);
                const float cosine = tq_divide(a, tq_root(q));
                if (trial == 0 || cosine > most) {
                    most = cosine;
                    best = trial;
                }
            }
        }
        tq_block_assign(block, bounds + (best << TQ_BITS), level, a, q);
        tq_block_store_units(block, packed + row * tq_row_bytes());
        if (threadIdx.x == 0) tq_finish_row(scales, squares, faults, row, norm, e, root, a, q, unit_norm);
    }
}
