// Prepare queries, one block each; for a search (TQ_STAGED) also what its first stage is prepared from.

extern "C" __global__ void __launch_bounds__(TQ_THREADS, 512 / TQ_THREADS) query_block(
    const float* __restrict__ x, const unsigned* __restrict__ signs, const unsigned short* __restrict__ source,
    float factor, signed char* __restrict__ high, signed char* __restrict__ low, float* __restrict__ worth,
    float* __restrict__ rotated, float* __restrict__ norms,
    int* __restrict__ exponents, unsigned long long* faults, float level_scale, int cosine, long long rows, float* scratch) {
    TQ_SHARED_MEMORY(memory);
    tq_block block = tq_block_memory(memory, 0, scratch);
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        int e;
        float norm;
        if (!tq_block_prepare(block, x + row * TQ_DIM, faults, row, e, norm)) continue;
        tq_block_rotate(block, signs, source, factor);
        unsigned top = 0;
        for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) {
            const unsigned magnitude = tq_magnitude(tq_bits(block.row[TQ_AT(i)]));
            top = magnitude > top ? magnitude : top;
        }
        for (int i = threadIdx.x; i < TQ_STAGE_COLUMNS; i += TQ_THREADS) {
            rotated[row * TQ_STAGE_COLUMNS + i] = i < TQ_DIM ? block.row[TQ_AT(i)] : 0.0f;
        }
        const float largest = tq_float(tq_block_largest(block, top));
        const float inverse = tq_divide(tq_reach(TQ_WIDE), largest == 0.0f ? 1.0f : largest);
        for (int i = threadIdx.x; i < TQ_QUERY_BYTES; i += TQ_THREADS) {
            const int value = i < TQ_DIM ? tq_query_integer(block.row[TQ_AT(i)], inverse, TQ_WIDE) : 0;
            tq_store_integer(high, low, row * TQ_QUERY_BYTES + i, value, TQ_WIDE);
        }
        if (TQ_STAGED && threadIdx.x == 0) {
            norms[row] = norm;
            exponents[row] = e;
        }
        if (threadIdx.x == 0) worth[row] = tq_query_worth(faults, row, largest, norm, e, level_scale, cosine, TQ_WIDE);
    }
}
