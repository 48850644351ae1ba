// Decode, one warp a row: levels, inverse rotation, one multiply.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, TQ_RESIDENT) decode_warp(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const float* __restrict__ levels,
    const unsigned* __restrict__ signs, const unsigned short* __restrict__ places, float factor,
    float* __restrict__ out, long long rows) {
    TQ_SHARED_MEMORY(memory);
    float* const level = (float*)memory;
    float* const buffer = level + TQ_TABLE_BYTES / 4 + tq_warp() * TQ_WARP_FLOATS;
    for (int i = threadIdx.x; i < 1 << TQ_KEEP; i += 32 * TQ_WARPS) level[i] = levels[i];
    tq_sync_block();

    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const unsigned char* const codes = packed + row * tq_row_bytes();
        tq_row v;
#pragma unroll
        for (int j = 0; j < TQ_SLOTS_USED; j++) v[j] = tq_holds(j) ? level[tq_unpack(codes, 32 * j + tq_lane())] : 0.0f;
        tq_warp_rotate_back(v, buffer, signs, places, factor);
        const float scale = scales[row];
#pragma unroll
        for (int j = 0; j < TQ_SLOTS_USED; j++) {
            if (tq_holds(j)) out[row * TQ_DIM + 32 * j + tq_lane()] = tq_product(v[j] * TQ_LAST_FACTOR, scale);
        }
    }
}
