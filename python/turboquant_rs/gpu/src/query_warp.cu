// Prepare queries, one warp each; for a search (TQ_STAGED) also what its first stage is prepared from.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, TQ_RESIDENT) query_warp(
    const float* __restrict__ x, const unsigned* __restrict__ signs, const unsigned short* __restrict__ places,
    float factor, signed char* __restrict__ high, signed char* __restrict__ low, float* __restrict__ worth,
    float* __restrict__ rotated, float* __restrict__ norms,
    int* __restrict__ exponents, unsigned long long* faults, float level_scale, int cosine, long long rows) {
    TQ_SHARED_MEMORY(memory);
    float* const buffer = (float*)memory + tq_warp() * TQ_WARP_FLOATS;
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        tq_row v;
        int e;
        float norm;
        if (!tq_warp_prepare(v, x + row * TQ_DIM, faults, row, e, norm)) continue;
        tq_warp_rotate(v, buffer, signs, places, factor);
        unsigned top = 0;
#pragma unroll
        for (int j = 0; j < TQ_SLOTS_USED; j++) {
            v[j] = v[j] * TQ_LAST_FACTOR;
            const unsigned magnitude = tq_holds(j) ? tq_magnitude(tq_bits(v[j])) : 0u;
            top = magnitude > top ? magnitude : top;
        }
#pragma unroll
        for (int j = 0; j < TQ_SLOTS_USED; j++) {
            const int i = 32 * j + tq_lane();
            if (i < TQ_STAGE_COLUMNS) rotated[row * TQ_STAGE_COLUMNS + i] = tq_holds(j) ? v[j] : 0.0f;
        }
        const float largest = tq_float(tq_warp_largest(top));
        const float inverse = tq_divide(tq_reach(TQ_WIDE), largest == 0.0f ? 1.0f : largest);
#pragma unroll
        for (int j = 0; j < TQ_SLOTS_USED; j++) {
            const int value = tq_holds(j) ? tq_query_integer(v[j], inverse, TQ_WIDE) : 0;
            tq_store_integer(high, low, row * TQ_QUERY_BYTES + 32 * j + tq_lane(), value, TQ_WIDE);
        }
        if (TQ_STAGED && tq_lane() == 0) {
            norms[row] = norm;
            exponents[row] = e;
        }
        if (tq_lane() == 0) worth[row] = tq_query_worth(faults, row, largest, norm, e, level_scale, cosine, TQ_WIDE);
    }
}
